//! The `holdline-sim` command.

use clap::{Parser, Subcommand, ValueEnum};
use holdline_sim::actor::Profile;
use holdline_sim::fleet::Outcome;
use holdline_sim::picture::{self, Recording};
use holdline_sim::proxy::{self, Options, ProxySpec};
use holdline_sim::scenario::Scenario;
use holdline_sim::{library, live, swarm};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;

/// Plays outages against Holdline in virtual time, from a seed, and says what was lost, repeated or reordered.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    after_help = "Try:  holdline-sim run ap-reboot-fleet\n      holdline-sim compare half-open-server --seeds 200\n      holdline-sim swarm --seeds 10000"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The stories that come with the simulator.
    List,
    /// Prints a story as a file, to begin one's own from.
    Show {
        /// Its name.
        story: String,
    },
    /// Plays a story once, and says what became of it. Exit status 1 if the guarantee was broken.
    Run {
        /// A name from `list`, or a file.
        story: String,
        /// What everything random follows from.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// The wire.
        #[arg(long, value_enum, default_value_t = Wire::Native)]
        profile: Wire,
        #[command(flatten)]
        pictures: Pictures,
    },
    /// Plays a story in every profile with many seeds, side by side.
    Compare {
        /// A name from `list`, or a file.
        story: String,
        /// How many seeds.
        #[arg(long, default_value_t = 100)]
        seeds: u64,
        /// Also draws it, as an SVG file.
        #[arg(long, value_name = "FILE")]
        svg: Option<PathBuf>,
    },
    /// Plays random stories, a seed each. Exit status 1 if native broke the guarantee; the first story that did is shrunk and printed.
    Swarm {
        /// How many.
        #[arg(long, default_value_t = 1_000)]
        seeds: u64,
        /// The first seed.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// The wire.
        #[arg(long, value_enum, default_value_t = Wire::Native)]
        profile: Wire,
    },
    /// Stands between real programs on TCP and does the same to them; answers Toxiproxy's HTTP API.
    Proxy {
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
    },
}

/// What to keep of a run besides its sums.
#[derive(Debug, clap::Args)]
struct Pictures {
    /// Draws the run into one page for a browser: every device, outage and frame, to zoom and to point at.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Writes everything that happened as lines of JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes the streams as a capture file for Wireshark.
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Wire {
    /// Holdline's own.
    Native,
    /// micropython-iot since late January 2019.
    #[value(name = "classic-2020")]
    Classic2020,
    /// micropython-iot of January 2019.
    #[value(name = "classic-2019")]
    Classic2019,
}

impl From<Wire> for Profile {
    fn from(wire: Wire) -> Self {
        match wire {
            Wire::Native => Self::Native,
            Wire::Classic2020 => Self::Classic2020,
            Wire::Classic2019 => Self::Classic2019,
        }
    }
}

fn main() -> ExitCode {
    let result: Result<ExitCode, Box<dyn Error>> = match Arguments::parse().command {
        Command::List => {
            list();
            Ok(ExitCode::SUCCESS)
        }
        Command::Show { story } => library::load(&story).map_err(Into::into).map(|story| {
            print!("{}", story.to_toml());
            ExitCode::SUCCESS
        }),
        Command::Run { story, seed, profile, pictures } => run(&story, profile.into(), seed, &pictures),
        Command::Compare { story, seeds, svg } => compare(&story, seeds, svg.as_deref()),
        Command::Swarm { seeds, from, profile } => Ok(swarm(from, seeds, profile.into())),
        Command::Proxy { listen, upstream, api, scenario, seed } => {
            let line = listen.zip(upstream).map(|(listen, upstream)| ProxySpec::new("line", listen, upstream));
            let planned = scenario.map_or(Ok(Vec::new()), |story| library::load(&story).and_then(|story| live::plan(&story)));
            planned.map_err(Into::into).map(|outages| {
                let api = (api != "none").then_some(api);
                proxy(Options { api, proxies: line.into_iter().collect(), outages, seed, ..Options::default() })
            })
        }
    };
    result.unwrap_or_else(|error| {
        eprintln!("holdline-sim: {error}");
        ExitCode::from(2)
    })
}

fn proxy(options: Options) -> ExitCode {
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

fn list() {
    for name in library::names() {
        let about = library::load(name).map(|story| story.about).unwrap_or_default();
        let first = about.trim().split_inclusive('.').next().unwrap_or_default().replace('\n', " ");
        println!("{name:<24} {first}");
    }
}

const HEADER: &str = "profile         sent  delivered   lost  repeated  reordered  links  longest pause  bytes/message";

fn row(name: &str, outcome: &Outcome) -> String {
    let account = outcome.account;
    format!(
        "{name:<13} {:>6} {:>10} {:>6} {:>9} {:>10} {:>6} {:>12.1} s {:>14.1}",
        account.sent,
        account.delivered,
        account.lost,
        account.repeated,
        account.reordered,
        outcome.links,
        outcome.longest_pause_ms as f64 / 1_000.0,
        outcome.bytes as f64 / account.sent.max(1) as f64,
    )
}

fn run(named: &str, profile: Profile, seed: u64, pictures: &Pictures) -> Result<ExitCode, Box<dyn Error>> {
    let story = library::load(named)?;
    println!("{}\n", story.about.trim());
    let outcome = match pictures {
        Pictures { html: None, json: None, pcap: None } => story.run(profile, seed),
        Pictures { html, json, pcap } => {
            let recording = Recording::play(&story, named, profile, seed);
            if let Some(file) = html {
                write(file, recording.html().as_bytes())?;
            }
            if let Some(file) = json {
                write(file, recording.json_lines().as_bytes())?;
            }
            if let Some(file) = pcap {
                write(file, &recording.pcap())?;
            }
            recording.outcome().clone()
        }
    };
    println!("{HEADER}\n{}", row(profile.name(), &outcome));
    println!("\nseed {seed}, trace {:016x}", outcome.hash);
    Ok(verdict(&outcome))
}

fn write(file: &Path, bytes: &[u8]) -> Result<(), String> {
    std::fs::write(file, bytes).map_err(|error| format!("{}: {error}", file.display()))
}

fn verdict(outcome: &Outcome) -> ExitCode {
    if outcome.violations.is_empty() {
        println!("The guarantee held.");
        return ExitCode::SUCCESS;
    }
    println!("The guarantee was broken:");
    for violation in outcome.violations.iter().take(20) {
        println!("  {violation}");
    }
    ExitCode::FAILURE
}

fn compare(named: &str, seeds: u64, svg: Option<&Path>) -> Result<ExitCode, Box<dyn Error>> {
    let story = library::load(named)?;
    println!("{}\n\n{seeds} seeds each:\n\n{HEADER}  runs in which the guarantee broke", story.about.trim());
    let mut columns = Vec::new();
    for profile in Profile::ALL {
        let pauses = Mutex::new(Vec::new());
        let play = |seed| {
            let outcome = story.run(profile, seed);
            if let Ok(mut pauses) = pauses.lock() {
                pauses.extend(&outcome.pauses_ms);
            }
            outcome
        };
        let total = swarm::play(0..seeds, play, swarm::progress);
        println!("{} {:>6}", row(profile.name(), &total.outcome), total.broken.len());
        let pauses_ms = pauses.into_inner().unwrap_or_default();
        columns.push(picture::Column { name: profile.name().to_owned(), total: total.outcome, pauses_ms });
    }
    if let Some(file) = svg {
        write(file, picture::svg(&story.name, seeds, &columns).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn swarm(from: u64, seeds: u64, profile: Profile) -> ExitCode {
    let total = swarm::play(from..from + seeds, |seed| Scenario::random(seed).run(profile, seed), swarm::progress);
    println!("{HEADER}\n{}", row(profile.name(), &total.outcome));
    let Some(&seed) = total.broken.first() else {
        println!("{seeds} stories, and the guarantee held in each.");
        return ExitCode::SUCCESS;
    };
    println!("{} of {seeds} stories broke the guarantee, the first with seed {seed}. Shrunk:\n", total.broken.len());
    let story = swarm::shrink(&Scenario::random(seed), |story| !story.run(profile, seed).violations.is_empty());
    println!("{}", story.to_toml());
    println!("# Save it, and play it again with:  holdline-sim run FILE --seed {seed} --profile {}", profile.name());
    let _ = verdict(&story.run(profile, seed));
    if profile == Profile::Native { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
