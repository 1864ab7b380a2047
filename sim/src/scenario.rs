//! A story of outages as a file: written by people, by the swarm, and by the shrinker.

use crate::actor::{Profile, Traffic};
use crate::fleet::{Fleet, FleetSetup, Outcome};
use crate::outage::{Outage, Remembers, Site, Target};
use crate::rng::SplitMix64;
use crate::world::Access;
use holdline_proto::{Config, Instant, Keeps, ValidConfig};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A story: a fleet, its traffic, and what goes wrong when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What a user would search for.
    pub name: String,
    /// What happens, and why it matters.
    pub about: String,
    /// How long things go wrong and applications talk, in milliseconds; then everything heals.
    pub for_ms: u32,
    /// The devices, and how the network is when nothing is wrong.
    #[serde(default)]
    pub fleet: FleetTable,
    /// What goes wrong.
    #[serde(default, rename = "outage", skip_serializing_if = "Vec::is_empty")]
    pub outages: Vec<Entry>,
}

/// The devices of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FleetTable {
    /// How many; 1 to 10,000.
    pub devices: u32,
    /// The session's timeout, in milliseconds.
    pub timeout_ms: u32,
    /// The window of both sides, in messages.
    pub window: u16,
    /// A message each way, for each device, every so many milliseconds; 0: none.
    pub message_every_ms: u32,
    /// The length of each text, in bytes.
    pub message_length: u32,
    /// One-way delay, in milliseconds.
    pub latency_ms: u32,
    /// Up to this much more, drawn for each segment.
    pub jitter_ms: u32,
}

impl Default for FleetTable {
    fn default() -> Self {
        Self {
            devices: 1,
            timeout_ms: 2_000,
            window: 16,
            message_every_ms: 1_000,
            message_length: 64,
            latency_ms: 5,
            jitter_ms: 3,
        }
    }
}

/// One outage of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When it begins, in milliseconds.
    pub at_ms: u32,
    /// How long it lasts, in milliseconds.
    #[serde(default)]
    pub for_ms: u32,
    /// Which device, counted from 0; all of them if it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<u32>,
    /// What happens.
    #[serde(flatten)]
    pub outage: Outage,
}

/// A scenario that cannot be run, and where it says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioError(String);

impl ScenarioError {
    pub(crate) fn in_file(self, file: &str) -> Self {
        Self(format!("{file}: {}", self.0))
    }

    pub(crate) fn unknown(name: &str, error: &std::io::Error) -> Self {
        Self(format!("`{name}` is no story of `holdline-sim list`, and as a file it cannot be read: {error}"))
    }
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ScenarioError {}

/// How long a run may take to come to rest once everything is healed, in milliseconds: the longest backoff, the longest quiet time,
/// and time for what has piled up.
const SETTLE_MS: u32 = 240_000;

impl Scenario {
    /// Reads a scenario file.
    ///
    /// # Errors
    /// What is wrong, with line and column.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        let scenario: Self = toml::from_str(text).map_err(|error| ScenarioError(error.to_string()))?;
        scenario.check()?;
        Ok(scenario)
    }

    /// An error about this scenario.
    pub(crate) fn wrong(&self, what: &str) -> ScenarioError {
        ScenarioError(format!("scenario `{}`: {what}", self.name))
    }

    fn check(&self) -> Result<(), ScenarioError> {
        let wrong = |what: String| Err(self.wrong(&what));
        let fleet = &self.fleet;
        if !(1..=10_000).contains(&fleet.devices) {
            return wrong(format!("fleet.devices is {}, and must be 1 to 10000", fleet.devices));
        }
        if !(24..=4_000).contains(&fleet.message_length) {
            return wrong(format!("fleet.message_length is {}, and must be 24 to 4000 bytes", fleet.message_length));
        }
        if let Err(error) = self.session(Profile::Native) {
            return wrong(format!("fleet: {error}"));
        }
        for (index, entry) in self.outages.iter().enumerate() {
            if entry.at_ms > self.for_ms {
                return wrong(format!("outage {} begins at {} ms, after the end at {} ms", index + 1, entry.at_ms, self.for_ms));
            }
            if entry.device.is_some_and(|device| device >= fleet.devices) {
                return wrong(format!(
                    "outage {} concerns device {}, and there are {}",
                    index + 1,
                    entry.device.unwrap_or(0),
                    fleet.devices
                ));
            }
        }
        Ok(())
    }

    /// The scenario as a file.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).unwrap_or_else(|error| format!("# cannot be written: {error}"))
    }

    fn session(&self, profile: Profile) -> Result<ValidConfig, holdline_proto::ConfigError> {
        let durable = self.outages.iter().any(|entry| match entry.outage {
            Outage::PowerCycle { memory, .. } | Outage::ServerStop { memory, .. } => memory != Remembers::Nothing,
            _ => false,
        });
        let keeps = if durable && profile == Profile::Native { Keeps::Both } else { Keeps::None };
        Config::new().timeout_ms(self.fleet.timeout_ms).window(self.fleet.window).keeps(keeps).validate()
    }

    /// The world of this scenario, before anything has happened.
    pub fn fleet(&self, profile: Profile, seed: u64) -> Fleet {
        // `check` has seen to the range.
        let config = self.session(profile).unwrap_or_default();
        let fleet = self.fleet;
        let setup = FleetSetup {
            devices: fleet.devices as usize,
            profile,
            device: config,
            server: config,
            traffic: Traffic {
                every_ms: fleet.message_every_ms,
                length: fleet.message_length as usize,
                until: Instant::from_millis(self.for_ms.into()),
            },
            usual: Access { latency_ms: fleet.latency_ms, jitter_ms: fleet.jitter_ms, ..Access::default() },
        };
        Fleet::new(setup, seed)
    }

    /// Plays the story, heals everything, lets it come to rest, and says what became of it.
    pub fn run(&self, profile: Profile, seed: u64) -> Outcome {
        let mut fleet = self.fleet(profile, seed);
        self.play(&mut fleet);
        fleet.outcome(true)
    }

    /// Plays the story in a world made by [`Scenario::fleet`].
    pub fn play(&self, fleet: &mut Fleet) {
        for step in self.steps() {
            fleet.run_until(Instant::from_millis(step.at_ms.into()));
            self.take(step, fleet);
        }
        fleet.run_until(Instant::from_millis(self.for_ms.into()));
        fleet.heal();
        let rest = fleet.world.now().plus(self.settle_ms());
        fleet.run_until(rest);
    }

    /// How long a site may take to come to rest once it is healed, in milliseconds.
    pub fn settle_ms(&self) -> u32 {
        SETTLE_MS + 4 * self.fleet.timeout_ms
    }

    /// Lets happen what [`Scenario::steps`] says, to whatever it can happen to.
    pub fn take(&self, step: Step, site: &mut impl Site) {
        match step.what {
            Happens::BackUp => site.back_up(),
            Happens::Begins(index) => self.each(site, index, true),
            Happens::Ends(index) => self.each(site, index, false),
        }
    }

    fn each(&self, site: &mut impl Site, index: usize, begins: bool) {
        let entry = &self.outages[index];
        let devices = match entry.device {
            _ if entry.outage.is_servers() => 0..1,
            Some(device) => device as usize..device as usize + 1,
            None => 0..site.devices(),
        };
        for target in devices.map(Target) {
            site.note(index as u32, (!entry.outage.is_servers()).then_some(target), begins);
            if begins {
                entry.outage.begin(site, target, entry.for_ms);
            } else {
                entry.outage.end(site, target);
            }
        }
    }

    /// What happens when, in order; of one instant the ends before the beginnings. After the last one a site is to be healed.
    pub fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for (index, entry) in self.outages.iter().enumerate() {
            let remembers = match entry.outage {
                Outage::PowerCycle { memory, .. } | Outage::ServerStop { memory, .. } => memory,
                _ => Remembers::Nothing,
            };
            if remembers == Remembers::OldCopy {
                steps.push(Step { at_ms: entry.at_ms / 2, what: Happens::BackUp });
            }
            steps.push(Step { at_ms: entry.at_ms, what: Happens::Begins(index) });
            let end_ms = entry.at_ms.saturating_add(entry.for_ms).min(self.for_ms.max(entry.at_ms));
            steps.push(Step { at_ms: end_ms, what: Happens::Ends(index) });
        }
        steps.sort_by_key(|step| (step.at_ms, matches!(step.what, Happens::Begins(_))));
        steps
    }

    /// A story drawn at random from a seed: up to three devices and up to six outages in a minute.
    pub fn random(seed: u64) -> Self {
        let mut chance = SplitMix64::from_seed(seed);
        let mut below = |bound: u32| (chance.next_u64() % u64::from(bound)) as u32;
        let devices = 1 + below(3);
        let outages = (0..1 + below(6))
            .map(|_| {
                let outage = random_outage(&mut below);
                let device = (below(3) > 0 && !outage.is_servers()).then(|| below(devices));
                Entry { at_ms: 500 + below(50_000), for_ms: 50 + below(9_000), device, outage }
            })
            .collect();
        let fleet = FleetTable {
            devices,
            window: [1, 2, 16][below(3) as usize],
            message_every_ms: [200, 1_000, 3_000][below(3) as usize],
            ..FleetTable::default()
        };
        Self { name: format!("seed-{seed}"), about: "Drawn at random.".into(), for_ms: 60_000, fleet, outages }
    }
}

/// One thing that happens in a story; see [`Scenario::take`].
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// When, in milliseconds.
    pub at_ms: u32,
    what: Happens,
}

#[derive(Clone, Copy, Debug)]
enum Happens {
    BackUp,
    Begins(usize),
    Ends(usize),
}

fn random_outage(below: &mut impl FnMut(u32) -> u32) -> Outage {
    use crate::outage::{ConnectFails, End, Stop, Then, Way};
    let memory = [Remembers::Nothing, Remembers::Everything, Remembers::OldCopy][below(3) as usize];
    match below(16) {
        0..4 => Outage::BlackHole {
            way: [Way::Both, Way::Both, Way::Up, Way::Down][below(4) as usize],
            then: [Then::Resume, Then::Fin, Then::Rst, Then::Never][below(4) as usize],
        },
        4 => Outage::Cut { with: [End::Rst, End::Fin][below(2) as usize] },
        5 => Outage::ApReboot,
        6 => Outage::Roam,
        7 | 8 => Outage::PowerCycle { memory, reset: below(2) == 0 },
        9 | 10 => Outage::ServerStop { how: [Stop::Graceful, Stop::Killed, Stop::HostLost][below(3) as usize], memory },
        11 => Outage::Bufferbloat { latency_ms: 100 + below(1_500), jitter_ms: below(500) },
        12 => Outage::BurstLoss { longest_ms: 3_000, every_ms: 1_000 },
        13 => Outage::Segments { size: 1 + below(20) },
        14 => [Outage::Suspend, Outage::ClockJump, Outage::ZeroWindow { buffer: 64 }][below(3) as usize],
        _ => Outage::NoConnect {
            how: [ConnectFails::Refused, ConnectFails::Silent, ConnectFails::AcceptedThenClosed][below(3) as usize],
        },
    }
}
