//! How fast the simulator is, beside what it ought to be.

use super::Ended;
use holdline_proto::{Config, ValidConfig};
use holdline_sim::actor::{Profile, Traffic};
use holdline_sim::fleet::{Fleet, FleetSetup};
use holdline_sim::ledger::Delivery;
use holdline_sim::{Access, Happened, Instant};
use serde::Serialize;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(crate) struct Bench {
    /// How often each figure is taken; the best counts, because others use the machine too.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// What is measured: so many devices with a server, for so long.
#[derive(Clone, Copy, Debug)]
struct Work {
    name: &'static str,
    devices: usize,
    simulated_s: u64,
    goal: Goal,
}

#[derive(Clone, Copy, Debug)]
enum Goal {
    /// At least so many simulated seconds in a second.
    Rate(f64),
    /// All of it in less than so many seconds.
    Within(f64),
}

const WORKS: [Work; 2] = [
    Work { name: "two nodes", devices: 1, simulated_s: 400_000, goal: Goal::Rate(200_000.0) },
    Work { name: "1,000 devices, one hour", devices: 1_000, simulated_s: 3_600, goal: Goal::Within(10.0) },
];

#[derive(Debug, Serialize)]
struct Figures {
    name: &'static str,
    devices: usize,
    simulated_s: u64,
    /// Of the best round.
    wall_s: f64,
    simulated_s_per_s: f64,
    events_per_s: f64,
    frames_per_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    goal_simulated_s_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    goal_wall_s: Option<f64>,
    met: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    /// A world runs on one core.
    cores: u32,
    cores_of_the_machine: usize,
    optimised: bool,
    rounds: u32,
    figures: Vec<Figures>,
}

impl Bench {
    pub(crate) fn run(self) -> Ended {
        let config = Config::new().validate()?;
        let report = Report {
            cores: 1,
            cores_of_the_machine: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            optimised: !cfg!(debug_assertions),
            rounds: self.rounds,
            figures: WORKS.iter().map(|work| work.measure(config, self.rounds)).collect(),
        };
        if self.json {
            println!("{}", serde_json::to_string_pretty(&report)?);
        } else {
            report.print();
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Report {
    fn print(&self) {
        println!("Each device and the server send the other a 64-byte message a second; native, T = 2 s.");
        println!("One core of {}, best of {}.\n", self.cores_of_the_machine, self.rounds);
        for figures in &self.figures {
            let verdict = if figures.met { "met" } else { "missed" };
            let goal = match (figures.goal_simulated_s_per_s, figures.goal_wall_s) {
                (Some(rate), _) => format!("goal: at least {} simulated s/s, {verdict}", grouped(rate)),
                (None, Some(within)) => format!("goal: under {within} s, {verdict}"),
                (None, None) => String::new(),
            };
            println!("{}", figures.name);
            println!("  {:>11} simulated s/s", grouped(figures.simulated_s_per_s));
            println!("  {:>11.2} s for {} simulated s    {goal}", figures.wall_s, grouped(figures.simulated_s as f64));
            println!("  {:>11} events/s", grouped(figures.events_per_s));
            println!("  {:>11} frames/s", grouped(figures.frames_per_s));
        }
        if !self.optimised {
            println!("\nThis is a debug build. For figures that count:  cargo run --release -p holdline-sim -- bench");
        }
    }
}

impl Work {
    fn fleet(self, config: ValidConfig) -> Fleet {
        let traffic = Traffic {
            every_ms: 1_000,
            length: 64,
            deliveries: vec![Delivery::Reliable].into(),
            until: Instant::from_millis(u64::MAX / 2),
        };
        let setup = FleetSetup {
            devices: self.devices,
            profile: Profile::Native,
            device: config,
            server: config,
            traffic,
            usual: Access::default(),
            clock_wraps: None,
        };
        Fleet::new(setup, 1)
    }

    #[expect(clippy::disallowed_methods, reason = "what is measured is the simulator's own time")]
    fn measure(self, config: ValidConfig, rounds: u32) -> Figures {
        let frames_per_simulated_s = self.frames_per_simulated_s(config);
        let (mut wall_s, mut events) = (f64::INFINITY, 0);
        for round in 1..=rounds {
            let mut fleet = self.fleet(config);
            let began = std::time::Instant::now();
            for part in 1..=20 {
                fleet.run_until(Instant::from_millis(self.simulated_s * 1_000 * part / 20));
                progress(&format!("{}, round {round} of {rounds}: {} %", self.name, part * 5));
            }
            wall_s = wall_s.min(began.elapsed().as_secs_f64());
            events = fleet.world.events();
        }
        progress("");
        let simulated_s_per_s = self.simulated_s as f64 / wall_s;
        let (rate, within) = match self.goal {
            Goal::Rate(rate) => (Some(rate), None),
            Goal::Within(within) => (None, Some(within)),
        };
        Figures {
            name: self.name,
            devices: self.devices,
            simulated_s: self.simulated_s,
            wall_s,
            simulated_s_per_s,
            events_per_s: events as f64 / wall_s,
            frames_per_s: frames_per_simulated_s * simulated_s_per_s,
            goal_simulated_s_per_s: rate,
            goal_wall_s: within,
            met: rate.is_none_or(|rate| simulated_s_per_s >= rate) && within.is_none_or(|within| wall_s < within),
        }
    }

    /// How many lines are written in a simulated second, counted in a recorded minute of the same run: recording would slow the rest.
    fn frames_per_simulated_s(self, config: ValidConfig) -> f64 {
        let mut fleet = self.fleet(config);
        fleet.run_until(Instant::from_millis(60_000));
        fleet.world.record();
        fleet.run_until(Instant::from_millis(120_000));
        let lines = fleet.world.recorded().iter().map(|traced| match &traced.what {
            Happened::Written { bytes, .. } => bytes.iter().filter(|&&byte| byte == b'\n').count(),
            _ => 0,
        });
        lines.sum::<usize>() as f64 / 60.0
    }
}

/// Says on a terminal how far it is; an empty text wipes that out.
fn progress(text: &str) {
    let mut terminal = std::io::stderr();
    if terminal.is_terminal() {
        // Progress that cannot be shown is no reason to stop.
        let _ = write!(terminal, "\r\x1b[K{text}");
        let _ = terminal.flush();
    }
}

/// A whole number with its thousands apart.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
