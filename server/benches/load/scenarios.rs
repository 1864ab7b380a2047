//! What is measured, and how.

use super::Options;
use super::devices::{Devices, rest};
use super::process::{Kind, Process};
use super::report::{Row, percentile, print_head};
use std::io;
use std::time::Duration;
use tokio::time::Instant;

/// How long the devices of a scenario are at it before the measurement begins.
const WARM_UP: Duration = Duration::from_millis(500);

type Scenario = fn(&Options, &mut Vec<Row>);

pub(crate) fn run(options: &Options) {
    raise_descriptor_limit();
    println!("load before: {}; {} worker threads", load(), options.workers);
    let mut rows = Vec::new();
    let scenarios: [(&str, Scenario); 5] =
        [("idle", idle), ("pipelined", pipelined), ("paced", paced), ("latency", latency), ("return", come_back)];
    for (name, scenario) in scenarios {
        if options.scenarios.is_empty() || options.scenarios.iter().any(|wanted| wanted == name) {
            eprintln!("measuring: {name}");
            scenario(options, &mut rows);
        }
    }
    println!();
    print_head(&options.kinds);
    for row in &rows {
        row.print(&options.kinds);
    }
    println!("\nload after: {}; ratio: holdline over echo; medians", load());
}

/// Starts each server, in turns, and measures it; one that fails is left out with the reason.
fn each(options: &Options, rounds: usize, mut measure: impl FnMut(&Process) -> io::Result<()>) {
    for round in 0..rounds {
        for &kind in &options.kinds {
            let measured = Process::start(kind, options).and_then(|process| measure(&process).map_err(|error| error.to_string()));
            if let Err(reason) = measured
                && (round == 0 || kind != Kind::Mosquitto)
            {
                println!("{} skipped: {reason}", kind.name());
            }
        }
    }
}

fn idle(options: &Options, rows: &mut Vec<Row>) {
    let mut memory = Row::new("memory of an idle connection", "bytes", "1024");
    let mut cpu = Row::new("CPU of idle connections, each second", "ms", "ratio 1.15");
    let mut rate = Row::new("devices admitted a second", "1/s", "10000");
    let mut admission = Row::new("CPU of an admission", "µs", "");
    each(options, 1, |process| {
        let kind = process.kind;
        let mut devices = Devices::new(kind.wire(), process.address, options.idle_timeout_ms)?;
        let period = Duration::from_millis(options.idle_timeout_ms / 4);
        rest(Duration::from_millis(200));
        let (empty, cpu_before, start) = (process.memory(), process.cpu(), Instant::now());
        devices.connect(options.devices)?;
        let took = start.elapsed();
        rate.add(kind, options.devices as f64 / took.as_secs_f64());
        admission.add(kind, micros(process.cpu() - cpu_before) / options.devices as f64);
        // A connection that has carried a message may keep more than one that has not.
        devices.say_something()?;
        devices.idle(period, None, 2 * period)?;
        for _ in 0..options.rounds {
            let (before, start) = (process.cpu(), Instant::now());
            devices.idle(period, None, period)?;
            cpu.add(kind, micros(process.cpu() - before) / 1e3 / start.elapsed().as_secs_f64());
        }
        memory.add(kind, (process.memory() - empty) as f64 / options.devices as f64);
        if devices.lost > 0 {
            println!(
                "{}: {} of {} connections were lost: the machine is too slow or too busy",
                kind.name(),
                devices.lost,
                options.devices
            );
        }
        Ok(())
    });
    rows.extend([memory, cpu, rate, admission]);
}

fn pipelined(options: &Options, rows: &mut Vec<Row>) {
    let mut cpu = Row::new("CPU of a message, 100 devices pipelined", "µs", "2");
    let mut rate = Row::new("messages a second, 100 devices pipelined", "1/s", "");
    each(options, options.rounds, |process| {
        let mut devices = Devices::new(process.kind.wire(), process.address, options.timeout_ms)?;
        devices.connect(100)?;
        devices.pipeline(options.window, WARM_UP)?;
        let (before, start) = (process.cpu(), Instant::now());
        let done = devices.pipeline(options.window, Duration::from_secs(2))? as f64;
        cpu.add(process.kind, micros(process.cpu() - before) / done);
        rate.add(process.kind, done / start.elapsed().as_secs_f64());
        Ok(())
    });
    rows.extend([cpu, rate]);
}

fn paced(options: &Options, rows: &mut Vec<Row>) {
    let second = Duration::from_secs(1);
    // With a timeout of 8 s a message each second says enough; with the default of 2 s a keepalive is due between two of them.
    let alone = (8_000, second, 1, Row::new("CPU of a message, 1000 devices, 1/s each", "µs", "30"));
    let between = (options.timeout_ms, second / 2, 2, Row::new("the same, and a keepalive between two", "µs", ""));
    for (timeout_ms, period, message_each, mut cpu) in [alone, between] {
        each(options, options.rounds.min(3), |process| {
            let mut devices = Devices::new(process.kind.wire(), process.address, timeout_ms)?;
            devices.connect(1_000)?;
            devices.idle(period, Some(message_each), 4 * WARM_UP)?;
            let before = process.cpu();
            let done = devices.idle(period, Some(message_each), 5 * second)? as f64;
            cpu.add(process.kind, micros(process.cpu() - before) / done);
            Ok(())
        });
        rows.push(cpu);
    }
}

fn latency(options: &Options, rows: &mut Vec<Row>) {
    let mut half = Row::new("one message at a time, p50", "µs", "ratio 1.6");
    let mut tail = Row::new("one message at a time, p99", "µs", "");
    each(options, options.rounds, |process| {
        let mut devices = Devices::new(process.kind.wire(), process.address, options.timeout_ms)?;
        devices.connect(1)?;
        devices.ping_pong(1_000)?;
        let times: Vec<f64> = devices.ping_pong(10_000)?.into_iter().map(micros).collect();
        half.add(process.kind, percentile(&times, 50));
        tail.add(process.kind, percentile(&times, 99));
        Ok(())
    });
    rows.extend([half, tail]);
}

fn come_back(options: &Options, rows: &mut Vec<Row>) {
    let mut row = Row::new("200 devices back at one moment", "ms", "2000");
    each(options, options.rounds, |process| {
        let mut devices = Devices::new(process.kind.wire(), process.address, options.timeout_ms)?;
        devices.connect(200)?;
        row.add(process.kind, micros(devices.come_back()?) / 1e3);
        Ok(())
    });
    rows.push(row);
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// As many descriptors as the system lets this process, and those it starts, have.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
