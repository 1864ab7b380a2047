//! Proxies as a program: with the HTTP API, and what happens by itself.

use super::collection::{Proxies, ProxySpec};
use super::plan::{Outage, play};
use super::{Error, api, listener};
use std::io::{self, Write};
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// How a proxy program starts.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the HTTP API listens, `127.0.0.1:8474` by default; `None` for no API.
    pub api: Option<String>,
    /// The proxies of the beginning.
    pub proxies: Vec<ProxySpec>,
    /// What happens by itself.
    pub outages: Vec<Outage>,
    /// From which every random decision follows; 1 by default.
    pub seed: u64,
    /// Bytes that a connection holds in a direction at most, 262,144 by default; the kernel's buffers come on top. Latency times
    /// rate must fit for the rate to be kept: the default carries 2.6 MB/s at 100 ms.
    pub capacity: usize,
    /// Connections that live at a time, 4,096 by default. More wait to be accepted.
    pub connections: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            api: Some("127.0.0.1:8474".to_owned()),
            proxies: Vec::new(),
            outages: Vec::new(),
            seed: 1,
            capacity: 256 << 10,
            connections: 4096,
        }
    }
}

/// Proxies, and their API if there is one. Dropping it closes everything.
#[derive(Debug)]
pub struct Running {
    proxies: Proxies,
    api: Option<SocketAddr>,
    serving: TaskTracker,
    playing: Option<JoinHandle<Option<Result<(), Error>>>>,
    stop: DropGuard,
}

/// Starts what the options say. It runs on the Tokio runtime that this is called on.
///
/// # Errors
///
/// [`Error::Listen`] and whatever else [`Proxies::create`] says; nothing runs then.
pub async fn start(options: Options) -> Result<Running, Error> {
    let proxies = Proxies::new(options.seed, options.capacity, options.connections);
    for spec in &options.proxies {
        proxies.create(spec).await?;
    }
    let stop = CancellationToken::new();
    let serving = TaskTracker::new();
    let mut api = None;
    if let Some(address) = options.api {
        let fail = |source| Error::Listen { address: address.clone(), source };
        let listener = TcpListener::bind(&*listener::resolve(&address).await?).await.map_err(fail)?;
        api = Some(listener.local_addr().map_err(fail)?);
        serving.spawn(api::serve(listener, proxies.clone(), stop.clone()));
    }
    serving.close();
    let (stage, scene) = (proxies.clone(), stop.clone());
    let playing = tokio::spawn(async move { scene.run_until_cancelled(play(&stage, &options.outages)).await });
    Ok(Running { proxies, api, serving, playing: Some(playing), stop: stop.drop_guard() })
}

/// Starts what the options say, tells `out` where it listens, and runs until Ctrl-C or until an outage cannot happen.
///
/// # Errors
///
/// As [`start`] and [`play`].
pub async fn run(options: Options, out: &mut impl Write) -> Result<(), Error> {
    let seed = options.seed;
    let mut running = start(options).await?;
    // Somebody who does not listen to this does not need to.
    let _ = running.describe(seed, out).await;
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    tokio::select! {
        over = running.outages_are_over() => {
            over?;
            let _ = interrupted.await;
        }
        _ = &mut interrupted => {}
    }
    running.stop().await;
    Ok(())
}

impl Running {
    /// The handle to the proxies.
    pub const fn proxies(&self) -> &Proxies {
        &self.proxies
    }

    /// Where the HTTP API listens.
    pub const fn api(&self) -> Option<SocketAddr> {
        self.api
    }

    /// Returns when the outages are over; later calls return at once. Dropping the future changes nothing.
    ///
    /// # Errors
    ///
    /// As [`play`].
    pub async fn outages_are_over(&mut self) -> Result<(), Error> {
        let Some(playing) = &mut self.playing else { return Ok(()) };
        let over = playing.await;
        self.playing = None;
        over.ok().flatten().unwrap_or(Ok(()))
    }

    /// Closes everything, and returns when it is closed.
    pub async fn stop(self) {
        drop(self.stop);
        self.serving.wait().await;
        self.proxies.stop().await;
    }

    async fn describe(&self, seed: u64, out: &mut impl Write) -> io::Result<()> {
        for (name, proxy) in self.proxies.list().await {
            writeln!(out, "{name}: {} -> {}", proxy.listen, proxy.upstream)?;
        }
        if let Some(api) = self.api {
            writeln!(out, "HTTP API: http://{api}")?;
        }
        writeln!(out, "seed: {seed}; Ctrl-C stops")?;
        out.flush()
    }
}
