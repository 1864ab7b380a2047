//! What is drawn from a seed: the outages of a `[random]` block, and whole stories.

use super::{Entry, FleetTable, Scenario};
use crate::outage::{ConnectFails, End, Outage, Stop, Then, Way};
use crate::rng::SplitMix64;
use serde::ser::{Serialize, Serializer};
use std::collections::BTreeMap;

/// A range of numbers, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The lowest.
    pub low: u64,
    /// The highest.
    pub high: u64,
}

impl Span {
    fn draw(self, chance: &mut SplitMix64) -> u64 {
        self.low + chance.next_u64() % (self.high - self.low + 1)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.low == self.high { self.low.serialize(serializer) } else { [self.low, self.high].serialize(serializer) }
    }
}

/// What a parameter is drawn from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Any number of a range.
    Number(Span),
    /// One of some words.
    Words(Vec<String>),
    /// True, false, or either.
    Flags(Vec<bool>),
}

impl Choice {
    fn draw(&self, chance: &mut SplitMix64) -> toml::Value {
        let mut place = |length: usize| (chance.next_u64() % length.max(1) as u64) as usize;
        match self {
            Self::Number(span) => toml::Value::Integer(span.draw(chance) as i64),
            Self::Words(words) => words.get(place(words.len())).cloned().unwrap_or_default().into(),
            Self::Flags(flags) => flags.get(place(flags.len())).copied().unwrap_or_default().into(),
        }
    }

    /// Both ends of a range, or everything.
    fn extremes(&self) -> Vec<toml::Value> {
        match self {
            Self::Number(Span { low, high }) => vec![toml::Value::Integer(*low as i64), toml::Value::Integer(*high as i64)],
            Self::Words(words) => words.iter().cloned().map(toml::Value::String).collect(),
            Self::Flags(flags) => flags.iter().copied().map(toml::Value::Boolean).collect(),
        }
    }
}

impl Serialize for Choice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(span) => span.serialize(serializer),
            Self::Words(words) if words.len() == 1 => words[0].serialize(serializer),
            Self::Words(words) => words.serialize(serializer),
            Self::Flags(flags) if flags.len() == 1 => flags[0].serialize(serializer),
            Self::Flags(flags) => flags.serialize(serializer),
        }
    }
}

/// Outages of which only ranges are known: a `[random]` block of a scenario.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Template {
    /// How many.
    pub count: Span,
    /// When each begins, in milliseconds.
    pub at_ms: Span,
    /// How long each lasts, in milliseconds.
    pub for_ms: Span,
    /// Which device; all of them if it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Span>,
    /// `do`, and what the outage takes.
    #[serde(flatten)]
    pub(super) parameters: BTreeMap<String, Choice>,
}

impl Template {
    /// Every parameter at every end of what it is drawn from, the others as they come first.
    pub(super) fn extremes(&self) -> Vec<toml::Table> {
        let first: toml::Table =
            self.parameters.iter().filter_map(|(key, choice)| Some((key.clone(), choice.extremes().first()?.clone()))).collect();
        let mut all = vec![first.clone()];
        for (key, choice) in &self.parameters {
            for value in choice.extremes().into_iter().skip(1) {
                let mut keys = first.clone();
                keys.insert(key.clone(), value);
                all.push(keys);
            }
        }
        all
    }

    /// Every number at its highest, the others as they come first.
    pub(super) fn highest(&self) -> toml::Table {
        let highest = |choice: &Choice| match choice {
            Choice::Number(_) => choice.extremes().pop(),
            _ => choice.extremes().into_iter().next(),
        };
        self.parameters.iter().filter_map(|(key, choice)| Some((key.clone(), highest(choice)?))).collect()
    }

    fn draw(&self, chance: &mut SplitMix64) -> Vec<Entry> {
        let count = self.count.draw(chance);
        let one = |_| {
            let (at_ms, for_ms) = (self.at_ms.draw(chance) as u32, self.for_ms.draw(chance) as u32);
            let device = self.device.map(|device| device.draw(chance) as u32);
            let keys: toml::Table = self.parameters.iter().map(|(key, choice)| (key.clone(), choice.draw(chance))).collect();
            // The reader has tried every word and both ends of every range.
            let outage: Outage = keys.try_into().ok()?;
            let device = device.filter(|_| !outage.is_servers());
            Some(Entry { at_ms, when: None, for_ms, device, outage })
        };
        (0..count).filter_map(one).collect()
    }
}

/// Keeps what is drawn for a `[random]` block apart from what the run itself draws from the same seed.
const DRAWS: u64 = 0x5eed_0f0a_570a;

impl Scenario {
    /// The story that this seed makes of it: what `[random]` blocks leave open is drawn.
    pub fn drawn(&self, seed: u64) -> Self {
        let mut chance = SplitMix64::from_seed(seed ^ DRAWS);
        let mut story = Self { random: Vec::new(), ..self.clone() };
        for template in &self.random {
            story.outages.extend(template.draw(&mut chance));
        }
        story
    }

    /// A story drawn at random from a seed, the run of which takes the same seed: up to three devices, and three to twelve outages in half a minute.
    /// One in twelve is that of a serial line, with checks and times of noise.
    pub fn random(seed: u64) -> Self {
        let mut chance = SplitMix64::from_seed(seed);
        let mut below = |bound: u32| (chance.next_u64() % u64::from(bound)) as u32;
        let devices = 1 + below(3);
        let mut outages: Vec<_> = (0..3 + below(10))
            .map(|_| {
                let outage = random_outage(&mut below);
                let device = (below(3) > 0 && !outage.is_servers()).then(|| below(devices));
                // Most are short: what they meet is a session that has only just come back.
                let longest = [500, 2_500, 9_000][below(3) as usize];
                Entry { at_ms: 500 + below(27_000), when: None, for_ms: 50 + below(longest), device, outage }
            })
            .collect();
        let check = add_noise(seed, &mut outages);
        outages.sort_by_key(|entry: &Entry| entry.at_ms);
        let fleet = FleetTable {
            devices,
            window: [1, 2, 16][below(3) as usize],
            message_every_ms: [200, 1_000, 3_000][below(3) as usize],
            check,
            ..FleetTable::default()
        };
        let name = format!("seed-{seed}");
        let about = format!("Drawn at random from the seed {seed}.");
        // A file has no larger numbers.
        let seed = i64::try_from(seed).is_ok().then_some(seed);
        Self { name, about, for_ms: 30_000, seed, fleet, outages, random: Vec::new() }
    }
}

/// Keeps what is drawn for noise apart from the rest of a random story, which is the same with it and without.
const NOISE: u64 = 0x5e71_a100_0a5e;

/// Makes one story in twelve that of a serial line, with up to three times of noise; whether it did.
fn add_noise(seed: u64, outages: &mut Vec<Entry>) -> bool {
    let mut chance = SplitMix64::from_seed(seed ^ NOISE);
    let mut below = |bound: u32| (chance.next_u64() % u64::from(bound)) as u32;
    if below(12) > 0 {
        return false;
    }
    for _ in 0..1 + below(3) {
        // From a line now and then to nearly every one.
        let most = [200, 2_000, 20_000][below(3) as usize];
        let outage = Outage::Noise { flip_per_million: 1 + below(most), drop_per_million: below(most / 2) };
        outages.push(Entry { at_ms: 500 + below(27_000), when: None, for_ms: 50 + below(9_000), device: None, outage });
    }
    true
}

fn random_outage(below: &mut impl FnMut(u32) -> u32) -> Outage {
    use crate::outage::Remembers::{Everything, Nothing, OldCopy, Torn, TornInPlace};
    use crate::outage::Shape::{GilbertElliott, HeavyTailed};
    let memory = [Nothing, Everything, OldCopy, Torn, TornInPlace][below(5) as usize];
    match below(16) {
        0..4 => Outage::BlackHole {
            way: [Way::Both, Way::Both, Way::Up, Way::Down][below(4) as usize],
            then: [Then::Resume, Then::Fin, Then::Rst, Then::Never][below(4) as usize],
        },
        4 => Outage::Cut { with: [End::Rst, End::Fin][below(2) as usize] },
        5 => Outage::ApReboot { dhcp_ms: [0, 3_000][below(2) as usize] },
        6 => Outage::Roam,
        7 | 8 => Outage::PowerCycle { memory, reset: below(2) == 0 },
        9 | 10 => Outage::ServerStop { how: [Stop::Graceful, Stop::Killed, Stop::HostLost][below(3) as usize], memory },
        11 => Outage::Bufferbloat { latency_ms: 100 + below(1_500), jitter_ms: below(500) },
        12 => Outage::BurstLoss { longest_ms: 3_000, every_ms: 1_000, shape: [HeavyTailed, GilbertElliott][below(2) as usize] },
        13 => Outage::Segments { size: 1 + below(20) },
        14 => [
            Outage::Suspend,
            Outage::ClockJump,
            Outage::ClockWrap,
            Outage::ClockDrift { ppm: 50_000, slow: below(2) == 0 },
            Outage::ZeroWindow { buffer: 64 },
        ][below(5) as usize],
        _ => Outage::NoConnect {
            how: [ConnectFails::Refused, ConnectFails::Silent, ConnectFails::AcceptedThenClosed][below(3) as usize],
        },
    }
}
