//! The smallest story that still fails, found by leaving things out and making numbers smaller and rounder.

use crate::fleet::Outcome;
use crate::scenario::{Entry, FleetTable, Scenario};
use std::collections::BTreeSet;

/// The most stories that are tried.
const TRIES: u32 = 4_000;

/// What broke the guarantee, without the numbers: two runs that share one of these have failed in the same way.
pub fn kinds(outcome: &Outcome) -> BTreeSet<String> {
    outcome.violations.iter().map(|what| what.chars().filter(|letter| !letter.is_ascii_digit()).collect()).collect()
}

/// The smallest story that can be found for which `fails` still holds: fewer outages, devices and messages, shorter outages, round
/// numbers, what is usual instead of what is not.
pub fn shrink(story: &Scenario, fails: impl Fn(&Scenario) -> bool) -> Scenario {
    let mut search = Search { smallest: story.clone(), tries: TRIES, fails };
    loop {
        let before = search.smallest.clone();
        search.leave_out_outages();
        search.leave_out_devices();
        search.end_sooner();
        search.calm_the_fleet();
        for index in 0..search.smallest.outages.len() {
            search.simplify(index);
        }
        search.attempt(|story| story.outages.sort_by_key(|entry| entry.at_ms));
        if search.smallest == before || search.tries == 0 {
            return before;
        }
    }
}

struct Search<F> {
    smallest: Scenario,
    tries: u32,
    fails: F,
}

impl<F: Fn(&Scenario) -> bool> Search<F> {
    /// Keeps what `change` makes of the story if that is one, and still fails.
    fn attempt(&mut self, change: impl FnOnce(&mut Scenario)) -> bool {
        let mut candidate = self.smallest.clone();
        change(&mut candidate);
        if candidate == self.smallest || self.tries == 0 || Scenario::parse(&candidate.to_toml()).as_ref() != Ok(&candidate) {
            return false;
        }
        self.tries -= 1;
        let fails = (self.fails)(&candidate);
        if fails {
            self.smallest = candidate;
        }
        fails
    }

    /// Delta debugging: halves first, then quarters, down to single ones.
    fn leave_out_outages(&mut self) {
        let mut length = self.smallest.outages.len();
        while length > 0 {
            let mut start = 0;
            while start < self.smallest.outages.len() {
                let end = (start + length).min(self.smallest.outages.len());
                if !self.attempt(|story| drop(story.outages.drain(start..end))) {
                    start = end;
                }
            }
            length /= 2;
        }
    }

    fn leave_out_devices(&mut self) {
        for device in (0..self.smallest.fleet.devices).rev() {
            if self.smallest.fleet.devices > 1 {
                self.attempt(|story| without_device(story, device));
            }
        }
    }

    fn end_sooner(&mut self) {
        let last = self.smallest.outages.iter().map(|entry| entry.at_ms.saturating_add(entry.for_ms)).max().unwrap_or(0);
        for for_ms in [last.div_ceil(1_000).max(1) * 1_000, last.div_ceil(1_000).max(1) * 1_000 + 5_000] {
            if for_ms < self.smallest.for_ms && self.attempt(|story| story.for_ms = for_ms) {
                return;
            }
        }
    }

    fn calm_the_fleet(&mut self) {
        let usual = FleetTable::default();
        self.attempt(|story| story.fleet.window = usual.window);
        self.attempt(|story| story.fleet.message_length = usual.message_length);
        self.attempt(|story| story.fleet.timeout_ms = usual.timeout_ms);
        self.attempt(|story| story.fleet.latency_ms = usual.latency_ms);
        self.attempt(|story| story.fleet.jitter_ms = 0);
        self.attempt(|story| story.fleet.check = usual.check);
        for every_ms in [10_000, 5_000, 3_000, 2_000, 1_000] {
            if every_ms > self.smallest.fleet.message_every_ms && self.attempt(|story| story.fleet.message_every_ms = every_ms) {
                break;
            }
        }
    }

    fn simplify(&mut self, index: usize) {
        for for_ms in simpler(self.smallest.outages[index].for_ms) {
            if self.attempt(|story| story.outages[index].for_ms = for_ms) {
                break;
            }
        }
        for at_ms in rounder(self.smallest.outages[index].at_ms) {
            if self.attempt(|story| story.outages[index].at_ms = at_ms) {
                break;
            }
        }
        if self.smallest.fleet.devices == 1 {
            self.attempt(|story| story.outages[index].device = None);
        }
        let Ok(parameters) = toml::Table::try_from(self.smallest.outages[index].outage) else { return };
        for (key, value) in &parameters {
            let Some(number) = value.as_integer().and_then(|number| u32::try_from(number).ok()) else {
                self.attempt(|story| set(&mut story.outages[index], key, None));
                continue;
            };
            for simpler in simpler(number) {
                if self.attempt(|story| set(&mut story.outages[index], key, Some(simpler))) {
                    break;
                }
            }
        }
    }
}

fn without_device(story: &mut Scenario, device: u32) {
    story.fleet.devices -= 1;
    let concerns = |entry: &Entry| entry.device == Some(device) || entry.when.is_some_and(|when| when.device == device);
    story.outages.retain(|entry| !concerns(entry));
    for entry in &mut story.outages {
        let above = |number: &mut u32| *number -= u32::from(*number > device);
        entry.device.iter_mut().for_each(above);
        entry.when.iter_mut().for_each(|when| above(&mut when.device));
    }
}

/// Gives a parameter this number, or what it is by default; nothing where that is no outage.
fn set(entry: &mut Entry, key: &str, number: Option<u32>) {
    let Ok(mut keys) = toml::Table::try_from(entry.outage) else { return };
    match number {
        Some(number) => drop(keys.insert(key.to_owned(), i64::from(number).into())),
        None => drop(keys.remove(key)),
    }
    if let Ok(outage) = keys.try_into() {
        entry.outage = outage;
    }
}

/// Smaller numbers, the simplest first: nothing, then fewer digits, then half.
fn simpler(number: u32) -> impl Iterator<Item = u32> {
    std::iter::once(0).chain(rounder(number)).chain([number / 2]).filter(move |&other| other < number)
}

/// The number with fewer and fewer digits set to zero.
fn rounder(number: u32) -> impl Iterator<Item = u32> {
    [10_000, 1_000, 500, 100, 50, 10]
        .into_iter()
        .map(move |step| number / step * step)
        .filter(move |&other| 0 < other && other < number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outage::{Outage, Then, Way};

    fn crowded() -> Scenario {
        (0..).map(Scenario::random).find(|story| story.outages.len() == 12 && story.fleet.devices == 3).expect("there is one")
    }

    #[test]
    fn a_story_is_shrunk_to_the_outages_that_matter() {
        let story = crowded();
        let needed = [story.outages[3].outage, story.outages[8].outage];
        let has = |story: &Scenario| needed.iter().all(|outage| story.outages.iter().any(|entry| entry.outage == *outage));
        let shrunk = shrink(&story, has);
        assert_eq!(shrunk.outages.len(), 2, "{}", shrunk.to_toml());
        assert!(
            shrunk.outages.iter().all(|entry| entry.for_ms == 0 && entry.at_ms.is_multiple_of(1_000)),
            "{}",
            shrunk.to_toml()
        );
        assert_eq!((shrunk.fleet.devices, shrunk.fleet.message_every_ms), (1, 10_000));
    }

    #[test]
    fn times_are_no_shorter_than_the_failure_needs_and_round() {
        let story = crowded();
        let shrunk = shrink(&story, |story| story.outages.iter().any(|entry| entry.for_ms >= 437 && entry.at_ms >= 2_345));
        assert_eq!(shrunk.outages.len(), 1);
        let entry = shrunk.outages[0];
        assert!((437..=500).contains(&entry.for_ms), "{}", entry.for_ms);
        assert!((2_345..=3_000).contains(&entry.at_ms) || entry.at_ms % 1_000 == 0, "{}", entry.at_ms);
    }

    #[test]
    fn noise_is_no_more_than_the_failure_needs() {
        let noisy = |story: &Scenario| {
            let drops = |entry: &Entry| matches!(entry.outage, Outage::Noise { drop_per_million: 300.., .. });
            story.fleet.check && story.outages.iter().any(drops)
        };
        let story = (0..).map(Scenario::random).find(noisy).expect("there is one");
        let shrunk = shrink(&story, noisy);
        let [Entry { outage: Outage::Noise { flip_per_million: 0, drop_per_million }, for_ms: 0, .. }] = shrunk.outages[..]
        else {
            panic!("{}", shrunk.to_toml());
        };
        assert!((300..=500).contains(&drop_per_million), "{drop_per_million}");
    }

    #[test]
    fn a_parameter_is_as_usual_unless_it_matters() {
        let mut story = crowded();
        story.outages.truncate(1);
        story.outages[0].outage = Outage::BlackHole { way: Way::Down, then: Then::Fin };
        let down =
            |story: &Scenario| story.outages.iter().any(|entry| matches!(entry.outage, Outage::BlackHole { way: Way::Down, .. }));
        assert_eq!(shrink(&story, down).outages[0].outage, Outage::BlackHole { way: Way::Down, then: Then::Resume });
    }

    #[test]
    fn the_device_that_matters_stays() {
        let mut story = crowded();
        story.outages.truncate(2);
        (story.outages[0].device, story.outages[1].device) = (Some(2), Some(1));
        let needed = story.outages[0].outage;
        let concerns_one = |story: &Scenario| story.outages.iter().any(|entry| entry.outage == needed && entry.device.is_some());
        let shrunk = shrink(&story, concerns_one);
        assert_eq!((shrunk.fleet.devices, shrunk.outages[0].device), (1, Some(0)));
    }
}
