//! Pictures of a run: a page to look at, lines for machines, and packets for those who know Wireshark.

mod frames;
mod html;
mod json;
mod pcap;
mod plot;

pub use frames::{Damaged, Frame, Kind};
pub use plot::{Column, spread, svg};

use crate::actor::Profile;
use crate::fleet::Outcome;
use crate::scenario::Scenario;
use crate::trace::Traced;
use crate::world::NodeId;

/// A name or a path as one word of a shell's command.
pub fn quoted(named: &str) -> String {
    let plain = named.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_./".contains(letter));
    if plain { named.to_owned() } else { format!("'{}'", named.replace('\'', r"'\''")) }
}

/// A story that was played once, with everything that happened.
#[derive(Debug)]
pub struct Recording {
    story: Scenario,
    profile: Profile,
    seed: u64,
    /// How a reader plays it again.
    command: String,
    outcome: Outcome,
    names: Vec<(NodeId, String)>,
    server: NodeId,
    events: Vec<Traced>,
    end_ms: u64,
}

impl Recording {
    /// Plays a story and keeps what happens: the same run as [`Scenario::run`], with the same hash. `named` is what the user calls
    /// the story, a name or a path.
    pub fn play(story: &Scenario, named: &str, profile: Profile, seed: u64) -> Self {
        let story = story.drawn(seed);
        let mut fleet = story.fleet(profile, seed);
        fleet.world.record();
        story.play(&mut fleet);
        Self {
            story,
            profile,
            seed,
            command: format!("holdline-sim run {} --seed {seed} --profile {}", quoted(named), profile.name()),
            outcome: fleet.outcome(true),
            names: fleet.named(),
            server: fleet.server(),
            end_ms: fleet.world.now().as_millis(),
            events: fleet.world.recorded().to_vec(),
        }
    }

    /// What became of it.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// Every line that was written, with its fate.
    pub fn frames(&self) -> Vec<Frame> {
        frames::all(&self.events, self.end_ms)
    }

    /// One page that needs nothing else: a lane for each device, outages, links, and every frame.
    pub fn html(&self) -> String {
        html::page(self)
    }

    /// A line of JSON for the run, and one for each thing that happened.
    ///
    /// The first line has `story`, `about`, `profile`, `seed`, `hash` (hexadecimal), `end_ms`, `nodes` (`node`, `name`), `outages` (`number`,
    /// `at_ms`, `for_ms`, `device`, and the outage as in a scenario), `account` (`sent`, `delivered`, `lost`, `repeated`, `reordered`,
    /// `damaged`) and `violations`.
    /// Every other has `at_ms` and `what`:
    ///
    /// | `what` | with |
    /// |---|---|
    /// | `asked`, `opened` | `stream`, `from`, `to` |
    /// | `failed` | `stream`, `node`, `why` |
    /// | `written`, `arrived` | `stream`, `way` (`out` from who opened the stream, `back` to it), `length`, and the bytes as `text`, or as `hex` if they are not UTF-8 |
    /// | `noise` | `stream`, `way`, and the places of the bytes that it `flipped` and `dropped`, counted from 0 over all that was written that way |
    /// | `closed` | `stream`, and the `node` that saw it |
    /// | `power` | `node`, `on` |
    /// | `up` | `node` |
    /// | `down` | `node`, `why` |
    /// | `outage` | `number`, `node`, `begins` |
    /// | `note` | `node`, `text` |
    pub fn json_lines(&self) -> String {
        json::lines(self)
    }

    /// A classic pcap file of IPv4 and TCP: the server is 10.0.0.1:10101, node `n` has the address 10.0.0.1 + `n`, and each stream a
    /// port of its own. A segment is captured when it was written, its acknowledgement when it arrived: what was lost is never acknowledged.
    /// TCP knows no noise: what it damaged is acknowledged as it was written.
    pub fn pcap(&self) -> Vec<u8> {
        pcap::file(self)
    }

    fn name(&self, node: NodeId) -> &str {
        self.names.iter().find(|(other, _)| *other == node).map_or("?", |(_, name)| name)
    }
}
