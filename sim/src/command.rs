//! What the command can do, a file each, and what the files share.

mod bench;
mod compare;
mod list;
mod proxy;
mod run;
mod swarm;
mod table;

use clap::{Subcommand, ValueEnum};
use holdline_sim::actor::Profile;
#[cfg(feature = "defects")]
use holdline_sim::fleet::Fleet;
use holdline_sim::fleet::Outcome;
use holdline_sim::picture;
use holdline_sim::scenario::Scenario;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

/// How a command ends: with a status, or with what was wrong with the way it was called.
type Ended = Result<ExitCode, Box<dyn Error>>;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The stories that come with the simulator.
    List,
    /// Prints a story as a file, to begin one's own from.
    Show(list::Show),
    /// Plays a story once, and says what became of it. Exit status 1 if the guarantee was broken.
    Run(run::Run),
    /// Plays a story in every profile with many seeds, side by side.
    Compare(compare::Compare),
    /// Plays random stories, a seed each. Exit status 1 if native broke the guarantee; the first story that did is shrunk and printed.
    Swarm(swarm::Swarm),
    /// Measures how fast the simulator is, beside what it ought to be.
    Bench(bench::Bench),
    /// What SPEC.md says was seen lost, repeated and reordered, from runs.
    Table(table::Table),
    /// Stands between real programs on TCP and does the same to them; answers Toxiproxy's HTTP API.
    Proxy(proxy::Proxy),
}

impl Command {
    pub(crate) fn run(self) -> Ended {
        match self {
            Self::List => list::list(),
            Self::Show(show) => show.run(),
            Self::Run(run) => run.run(),
            Self::Compare(compare) => compare.run(),
            Self::Swarm(swarm) => swarm.run(),
            Self::Bench(bench) => bench.run(),
            Self::Table(table) => table.run(),
            Self::Proxy(proxy) => proxy.run(),
        }
    }
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

/// What a test can make of the runs.
#[derive(Clone, Debug, Default, clap::Args)]
struct Hook {
    /// Lets every endpoint do something wrong, to see that it is found.
    #[cfg(feature = "defects")]
    #[arg(long, hide = true, value_parser = ["given-twice", "timers-ignored", "accepted-on-receipt"])]
    defect: Option<String>,
}

#[cfg(not(feature = "defects"))]
impl Hook {
    fn run(&self, story: &Scenario, profile: Profile, seed: u64) -> Outcome {
        story.run(profile, seed)
    }

    fn flag(&self) -> String {
        String::new()
    }
}

#[cfg(feature = "defects")]
impl Hook {
    fn run(&self, story: &Scenario, profile: Profile, seed: u64) -> Outcome {
        use holdline_sim::defect::Defect;
        let defect = match self.defect.as_deref() {
            None => return story.run(profile, seed),
            Some("timers-ignored") => Defect::TimersIgnored,
            Some("accepted-on-receipt") => Defect::AcceptedOnReceipt,
            Some(_) => Defect::GivenTwice,
        };
        let story = story.drawn(seed);
        let mut fleet = Fleet::with_defect(story.setup(profile), seed, Some(defect));
        story.play(&mut fleet);
        fleet.outcome(true)
    }

    fn flag(&self) -> String {
        self.defect.as_ref().map_or(String::new(), |defect| format!(" --defect {defect}"))
    }
}

const HEADER: &str =
    "profile         sent  delivered   lost  repeated  reordered   noticed p50 / max   recovered p50 / max  bytes/message";

fn row(name: &str, outcome: &Outcome) -> String {
    let account = outcome.account;
    let noticed = picture::spread([&outcome.device_noticed_ms[..], &outcome.server_noticed_ms].concat());
    let recovered = picture::spread(outcome.recovered_ms.clone());
    format!(
        "{name:<13} {:>6} {:>10} {:>6} {:>9} {:>10} {noticed:>19} {recovered:>21} {:>14.1}",
        account.sent,
        account.delivered,
        account.lost,
        account.repeated,
        account.reordered,
        outcome.bytes_per_message(),
    )
}

fn write(file: &Path, bytes: &[u8]) -> Result<(), String> {
    std::fs::write(file, bytes).map_err(|error| format!("{}: {error}", file.display()))
}

fn verdict(outcome: &Outcome) -> ExitCode {
    if outcome.violations.is_empty() {
        match outcome.holes.as_slice() {
            [] => println!("The guarantee held."),
            [first, others @ ..] => {
                let more = if others.is_empty() { String::new() } else { format!(", and {} more", others.len()) };
                println!("What this wire promises held; but although nobody forgot anything, {first}{more}.");
            }
        }
        return ExitCode::SUCCESS;
    }
    println!("The guarantee was broken:");
    for violation in outcome.violations.iter().take(20) {
        println!("  {violation}");
    }
    ExitCode::FAILURE
}
