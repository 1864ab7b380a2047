//! What was lost, repeated and reordered under which circumstances: the table of SPEC.md, section 12.2, from runs.

use crate::actor::Profile;
use crate::fleet::Fleet;
use crate::ledger::Delivery;
use crate::outage::{Site, Target};
use crate::scenario::Scenario;
use crate::swarm;
use std::fmt::Write;
use std::ops::ControlFlow;

/// Runs of each circumstance in each profile.
const RUNS: u64 = 400;

/// What goes wrong in every circumstance.
const NETWORK: &str = r#"
name = "guarantees"
about = "What SPEC.md's table of guarantees is made from."
for_ms = 30000

[fleet]
devices = 2
message_every_ms = 400
deliveries = ["reliable"]

[[random]]
count = [2, 5]
at_ms = [100, 27000]
for_ms = [50, 6000]
device = [0, 1]
do = "black-hole"
way = ["both", "up", "down"]
then = ["resume", "fin", "rst", "never"]

[[random]]
count = [0, 4]
at_ms = [100, 27000]
for_ms = [50, 4000]
device = [0, 1]
do = ["ap-reboot", "roam", "cut", "suspend", "clock-jump"]

[[random]]
count = [0, 1]
at_ms = [100, 20000]
for_ms = [1000, 9000]
do = "bufferbloat"
latency_ms = [100, 1200]
jitter_ms = [0, 400]

[[random]]
count = [0, 2]
at_ms = [100, 20000]
for_ms = [1000, 9000]
do = "burst-loss"
longest_ms = 3000
every_ms = [300, 2000]
"#;

/// What else goes wrong; `MEMORY` is what the endpoint remembers.
const REBOOTS: &str = r#"
[[random]]
count = [1, 3]
at_ms = [100, 27000]
for_ms = [50, 3000]
device = [0, 1]
do = "power-cycle"
memory = "MEMORY"
reset = [true, false]

[[random]]
count = [1, 2]
at_ms = [100, 27000]
for_ms = [50, 3000]
do = "server-stop"
how = ["killed", "graceful", "host-lost"]
memory = "MEMORY"
"#;

/// A serial line, besides.
const NOISE: &str = r#"
[[random]]
count = [1, 3]
at_ms = [100, 20000]
for_ms = [1000, 9000]
do = "noise"
flip_per_million = [100, 5000]
drop_per_million = [0, 2000]
"#;

/// What goes wrong besides outages of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Besides {
    Nothing,
    /// Both ends reboot, and remember this.
    Reboots(&'static str),
    /// Bytes are damaged, and lines carry checks or not.
    Noise {
        check: bool,
    },
}

impl Besides {
    fn story(self) -> Scenario {
        let text = match self {
            Self::Nothing => NETWORK.to_owned(),
            Self::Reboots(memory) => format!("{NETWORK}{}", REBOOTS.replace("MEMORY", memory)),
            Self::Noise { check } => format!("{}{NOISE}", NETWORK.replace("[fleet]", &format!("[fleet]\ncheck = {check}"))),
        };
        Scenario::parse(&text).unwrap_or_default()
    }

    /// Why there is nothing to be seen in a profile; `None` if there is.
    fn missing(self, profile: Profile) -> Option<&'static str> {
        match self {
            _ if profile == Profile::Native => None,
            // That row would be the one without memory.
            Self::Reboots("everything" | "old-copy") => Some("keeps nothing"),
            // And that the one without checks.
            Self::Noise { check: true } => Some("has no checks"),
            _ => None,
        }
    }
}

/// What happened to the messages of some runs in one circumstance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Whether it happened.
    happened: bool,
    /// Whether it happened to messages of which no endpoint had forgotten anything.
    unexplained: bool,
}

impl Seen {
    fn cell(self, explained: &str) -> &str {
        match self {
            Self { happened: false, .. } => "never",
            Self { unexplained: false, .. } => explained,
            Self { .. } => "happens",
        }
    }
}

/// Lost, repeated, reordered, delivered with another text.
type Fates = [Seen; 4];

/// The rows and columns of the table, with their runs; the same on every machine.
pub fn table() -> String {
    let circumstances = [
        ("outages of any number and length, nobody reboots", Besides::Nothing),
        ("the same, and both ends reboot with everything they had committed", Besides::Reboots("everything")),
        ("the same, and both ends reboot without memory", Besides::Reboots("nothing")),
        ("the same, and both ends reboot with an older copy", Besides::Reboots("old-copy")),
        ("outages, nobody reboots, and noise flips and drops bytes of checked lines", Besides::Noise { check: true }),
        ("the same noise on lines without checks", Besides::Noise { check: false }),
    ];
    let mut out = format!("Seen in {RUNS} runs of each cell:\n\n| what happens | |");
    for profile in Profile::ALL {
        let _ = write!(out, " {} |", profile.name());
    }
    out.push_str("\n|---|---|---|---|---|\n");
    for (what, besides) in circumstances {
        let story = besides.story();
        let columns = Profile::ALL.map(|profile| besides.missing(profile).ok_or_else(|| fates(&story, profile)));
        let titles = ["lost", "repeated", "reordered", "damaged"];
        let excuses =
            ["only messages not yet acked", "only messages not yet acked", "only what an older outbox brought back", "never"];
        // Where there is no noise nothing can be damaged.
        let rows = if matches!(besides, Besides::Noise { .. }) { 4 } else { 3 };
        for row in 0..rows {
            let _ = write!(out, "| {} | {} |", if row == 0 { what } else { "" }, titles[row]);
            for column in &columns {
                let _ = write!(out, " {} |", column.unwrap_or_else(|fates| fates[row].cell(excuses[row])));
            }
            out.push('\n');
        }
    }
    out
}

fn fates(story: &Scenario, profile: Profile) -> Fates {
    let seen = std::sync::Mutex::new(Fates::default());
    let run = |seed| {
        let story = story.drawn(seed);
        let mut fleet = story.fleet(profile, seed);
        story.play(&mut fleet);
        let mut outcome = fleet.outcome(true);
        if let Ok(mut seen) = seen.lock() {
            note(&mut seen, &fleet);
        }
        outcome.violations.clear();
        outcome
    };
    swarm::play(0..RUNS, run, |_, _| ControlFlow::Continue(()));
    seen.into_inner().unwrap_or_default()
}

fn note(seen: &mut Fates, fleet: &Fleet) {
    for target in (0..fleet.devices()).map(Target) {
        let accounts = fleet.accounts(target);
        for ledger in [&accounts.up, &accounts.down] {
            let account = ledger.account(Delivery::Reliable);
            let holes = ledger.holes(true);
            let any = |words: &[&str]| holes.iter().any(|hole| words.iter().any(|word| hole.contains(word)));
            let found = [
                (account.lost > 0, any(&["was lost", "never accepted"])),
                (account.repeated > 0, any(&["twice"])),
                (account.reordered > 0, any(&["out of order", "after a later one"])),
                (account.damaged > 0, account.damaged > 0),
            ];
            for (seen, (happened, unexplained)) in seen.iter_mut().zip(found) {
                seen.happened |= happened;
                seen.unexplained |= unexplained;
            }
        }
    }
}

/// The line before the table in SPEC.md.
pub const BEGIN: &str = "<!-- written by `holdline-sim table` -->";
/// The line behind it.
pub const END: &str = "<!-- end of what `holdline-sim table` wrote -->";

/// The text with the table between its marks; `None` if a mark is missing.
pub fn insert(text: &str, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{table}\n{END}{after}"))
}
