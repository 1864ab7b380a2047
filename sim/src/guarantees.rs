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

/// Lost, repeated, reordered.
type Fates = [Seen; 3];

/// The rows and columns of the table, with their runs; the same on every machine.
pub fn table() -> String {
    let circumstances = [
        ("outages of any number and length, nobody reboots", None),
        ("the same, and both ends reboot with everything they had committed", Some("everything")),
        ("the same, and both ends reboot without memory", Some("nothing")),
        ("the same, and both ends reboot with an older copy", Some("old-copy")),
    ];
    let mut out = format!("Seen in {RUNS} runs of each cell:\n\n| what happens | |");
    for profile in Profile::ALL {
        let _ = write!(out, " {} |", profile.name());
    }
    out.push_str("\n|---|---|---|---|---|\n");
    for (what, memory) in circumstances {
        let reboots = memory.map_or(String::new(), |memory| REBOOTS.replace("MEMORY", memory));
        let story = Scenario::parse(&format!("{NETWORK}{reboots}")).unwrap_or_default();
        // A classic endpoint keeps nothing: that row would be the one without memory.
        let keeps = |profile| profile == Profile::Native || !matches!(memory, Some("everything" | "old-copy"));
        let columns = Profile::ALL.map(|profile| keeps(profile).then(|| fates(&story, profile)));
        let explained = ["only messages not yet acked", "only messages not yet acked", "only what an older outbox brought back"];
        for (row, (title, explained)) in ["lost", "repeated", "reordered"].into_iter().zip(explained).enumerate() {
            let _ = write!(out, "| {} | {title} |", if row == 0 { what } else { "" });
            for column in &columns {
                let _ = write!(out, " {} |", column.map_or("keeps nothing", |fates| fates[row].cell(explained)));
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
