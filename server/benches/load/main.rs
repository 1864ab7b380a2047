//! What a server costs: memory of an idle connection, CPU of a message, latency, admission, the return of many at once.
//!
//!     cargo bench -p holdline-server --bench load [-- [option…] [scenario…]]
//!
//! It reports and never fails. Each server runs in a process of its own (this program again, or mosquitto) and the devices in this
//! one, hand-written over raw sockets; CPU is what the system charged the server's process. `--help` lists scenarios and options.

mod devices;
mod process;
mod report;
mod scenarios;
mod service;
mod wire;

use process::Kind;
use std::process::ExitCode;

const HELP: &str = "\
usage: cargo bench -p holdline-server --bench load [-- [option…] [scenario…]]

scenarios (default: all)
  idle        memory and CPU of many idle connections, and how fast they are admitted
  pipelined   CPU of a message while 100 devices send as fast as they may
  paced       CPU of a message of 1000 devices that send one a second
  latency     one message at a time
  return      200 devices that come back at one moment

options
  --devices N    idle connections (10000)
  --rounds N     repetitions of the other scenarios, of which the median counts (5)
  --workers N    threads of the Tokio servers (as many as there are CPUs)
  --window N     messages in flight in `pipelined` (16, the default window of a session)
  --timeout MS   the idle devices' timeout; they and the server say something each quarter of it (8000)
  --only NAME    one server: echo, holdline (an application task for each line), gathered (one for all), mosquitto; repeatable
";

/// Choices of one run.
pub(crate) struct Options {
    devices: usize,
    rounds: usize,
    workers: usize,
    window: u64,
    timeout_ms: u64,
    idle_timeout_ms: u64,
    kinds: Vec<Kind>,
    scenarios: Vec<String>,
}

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, kind, workers] = &arguments[..]
        && mode == "serve"
    {
        return service::run(kind, workers.parse().unwrap_or(1));
    }
    // Cargo says so when it is a benchmark that is asked for, and not a test of whether it can be built.
    let Some(at) = arguments.iter().position(|argument| argument == "--bench") else {
        println!("load: measures under `cargo bench` only");
        return ExitCode::SUCCESS;
    };
    arguments.remove(at);
    match options(arguments) {
        Ok(options) => {
            scenarios::run(&options);
            ExitCode::SUCCESS
        }
        Err(usage) => {
            eprint!("{usage}{HELP}");
            ExitCode::from(2)
        }
    }
}

fn options(arguments: Vec<String>) -> Result<Options, String> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let mut options = Options {
        devices: 10_000,
        rounds: 5,
        workers,
        window: 16,
        timeout_ms: 2_000,
        idle_timeout_ms: 8_000,
        kinds: Vec::new(),
        scenarios: Vec::new(),
    };
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} wants a value\n\n"));
        let number = |value: String| value.parse::<usize>().ok().filter(|&n| n > 0).ok_or(format!("{value}: no number\n\n"));
        match &*argument {
            "--help" => return Err(String::new()),
            "--devices" => options.devices = number(value()?)?,
            "--rounds" => options.rounds = number(value()?)?,
            "--workers" => options.workers = number(value()?)?,
            "--timeout" => options.idle_timeout_ms = number(value()?)?.max(200) as u64,
            "--window" => options.window = number(value()?)? as u64,
            "--only" => {
                let name = value()?;
                options.kinds.push(Kind::from_name(&name).ok_or(format!("no server {name}\n\n"))?);
            }
            "idle" | "pipelined" | "paced" | "latency" | "return" => options.scenarios.push(argument),
            _ => return Err(format!("what is {argument}?\n\n")),
        }
    }
    if options.kinds.is_empty() {
        options.kinds = Kind::ALL.to_vec();
    }
    Ok(options)
}
