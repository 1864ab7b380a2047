//! A story of outages as a file: written by people, by the swarm, and by the shrinker.

mod error;
mod play;
mod random;
mod read;

pub use error::ScenarioError;
pub use play::Step;
pub use random::{Choice, Span, Template};

use crate::actor::{Profile, Traffic};
use crate::fleet::{Fleet, FleetSetup, Outcome, Wrap};
use crate::ledger::Deliveries;
use crate::outage::{Outage, Remembers, Way};
use crate::world::Access;
use holdline_proto::{Config, Instant, Keeps, ValidConfig};
use serde::Serialize;

/// A story: a fleet, its traffic, and what goes wrong when.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Scenario {
    /// What a user would search for.
    pub name: String,
    /// What happens, and why it matters.
    pub about: String,
    /// How long things go wrong and applications talk, in milliseconds; then everything heals.
    pub for_ms: u32,
    /// The seed of a run that is given none; 1 if it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The devices, and how the network is when nothing is wrong.
    pub fleet: FleetTable,
    /// What goes wrong.
    #[serde(rename = "outage", skip_serializing_if = "Vec::is_empty")]
    pub outages: Vec<Entry>,
    /// What goes wrong besides, drawn from the seed of the run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub random: Vec<Template>,
}

/// The devices of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
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
    /// How each message is delivered: one of each of these at a time.
    pub deliveries: Deliveries,
    /// One-way delay, in milliseconds.
    pub latency_ms: u32,
    /// Up to this much more, drawn for each segment.
    pub jitter_ms: u32,
    /// Every line carries a check, as on a serial line (SPEC.md, section 8.2); the classic wires have none.
    pub check: bool,
}

impl Default for FleetTable {
    fn default() -> Self {
        Self {
            devices: 1,
            timeout_ms: 2_000,
            window: 16,
            message_every_ms: 1_000,
            message_length: 64,
            deliveries: Deliveries::default(),
            latency_ms: 5,
            jitter_ms: 3,
            check: false,
        }
    }
}

/// One outage of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// When it begins, in milliseconds; with `when`, not before this.
    pub at_ms: u32,
    /// After what it begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<When>,
    /// How long it lasts, in milliseconds.
    pub for_ms: u32,
    /// Which device, counted from 0; all of them if it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<u32>,
    /// What happens.
    #[serde(flatten)]
    pub outage: Outage,
}

/// A count after which an outage begins, once: in the millisecond in which it is reached, after everything else of that millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct When {
    /// What is counted, from the start of the run and over all links.
    pub count: Count,
    /// How many.
    pub number: u64,
    /// At which device, counted from 0.
    pub device: u32,
    /// What the device writes, `up`, or what is written to it, `down`.
    pub way: Way,
}

/// What a trigger counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Lines that were written, keepalives and greetings among them.
    Line,
    /// Bytes that were written.
    Byte,
    /// Messages that the receiving application was given, repeats not counted.
    Delivered,
}

impl std::fmt::Display for When {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let way = if self.way == Way::Up { "from" } else { "to" };
        let what = match self.count {
            Count::Line => "written",
            Count::Byte => "written, in bytes,",
            Count::Delivered => "delivered",
        };
        let noun = match self.count {
            Count::Line => "line ",
            Count::Byte => "",
            Count::Delivered => "message ",
        };
        write!(formatter, "{noun}{} was {what} {way} device-{}", self.number, self.device)
    }
}

impl Serialize for When {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = serializer.serialize_map(Some(3))?;
        let key = match self.count {
            Count::Line => "line",
            Count::Byte => "byte",
            Count::Delivered => "delivered",
        };
        map.serialize_entry(key, &self.number)?;
        map.serialize_entry("device", &self.device)?;
        map.serialize_entry("way", &self.way)?;
        map.end()
    }
}

impl Scenario {
    /// Reads a scenario file.
    ///
    /// # Errors
    /// What is wrong, with line and column.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        read::scenario(text)
    }

    /// An error about this scenario.
    pub(crate) fn wrong(&self, what: &str) -> ScenarioError {
        ScenarioError::new(format!("scenario `{}`: {what}", self.name))
    }

    /// How many link outages are timed in it: one for each outage and each device that it concerns, and one for each of the server's.
    pub fn link_outages(&self) -> u64 {
        let each =
            |entry: &Entry| if entry.outage.is_servers() || entry.device.is_some() { 1 } else { self.fleet.devices.into() };
        self.outages.iter().filter(|entry| entry.when.is_none()).map(each).sum()
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
        let check = self.fleet.check && profile == Profile::Native;
        Config::new().timeout_ms(self.fleet.timeout_ms).window(self.fleet.window).keeps(keeps).check(check).validate()
    }

    /// The world of this scenario, before anything has happened.
    pub fn fleet(&self, profile: Profile, seed: u64) -> Fleet {
        Fleet::new(self.setup(profile), seed)
    }

    /// What its fleet is made of.
    pub fn setup(&self, profile: Profile) -> FleetSetup {
        // The reader has seen to the range.
        let config = self.session(profile).unwrap_or_default();
        let fleet = self.fleet;
        FleetSetup {
            devices: fleet.devices as usize,
            profile,
            device: config,
            server: config,
            traffic: Traffic {
                every_ms: fleet.message_every_ms,
                length: fleet.message_length as usize,
                deliveries: fleet.deliveries,
                until: Instant::from_millis(self.for_ms.into()),
            },
            usual: Access { latency_ms: fleet.latency_ms, jitter_ms: fleet.jitter_ms, ..Access::default() },
            clock_wraps: self
                .outages
                .iter()
                .find(|entry| entry.outage == Outage::ClockWrap)
                .map(|entry| Wrap { at_ms: entry.at_ms, device: entry.device }),
        }
    }

    /// Plays the story with what this seed makes of it, heals everything, lets it come to rest, and says what became of it.
    pub fn run(&self, profile: Profile, seed: u64) -> Outcome {
        let story = self.drawn(seed);
        let mut fleet = story.fleet(profile, seed);
        story.play(&mut fleet);
        fleet.outcome(true)
    }
}
