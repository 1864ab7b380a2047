//! The live proxy.

use super::Ended;
use holdline_sim::proxy::{self, Options, ProxySpec};
use holdline_sim::{library, live};
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(crate) struct Proxy {
    /// Where clients connect, a host and a port.
    #[arg(long, requires = "upstream")]
    listen: Option<String>,
    /// The server they are carried to.
    #[arg(long, requires = "listen")]
    upstream: Option<String>,
    /// Where the HTTP API listens; `none` for no API.
    #[arg(long, default_value = "127.0.0.1:8474")]
    api: String,
    /// A story to play, a name from `list` or a file: its outages begin when the proxy does.
    #[arg(long, requires = "listen")]
    scenario: Option<String>,
    /// What every random decision follows from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Proxy {
    pub(crate) fn run(self) -> Ended {
        let line = self.listen.zip(self.upstream).map(|(listen, upstream)| ProxySpec::new("line", listen, upstream));
        let outages = match self.scenario {
            Some(story) => live::plan(&library::load(&story)?.drawn(self.seed))?,
            None => Vec::new(),
        };
        let api = (self.api != "none").then_some(self.api);
        let options = Options { api, proxies: line.into_iter().collect(), outages, seed: self.seed, ..Options::default() };
        Ok(carry(options))
    }
}

fn carry(options: Options) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("holdline-sim: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(proxy::run(options, &mut std::io::stdout())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("holdline-sim: {error}");
            ExitCode::FAILURE
        }
    }
}
