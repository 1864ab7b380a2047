//! A story told to a fleet: each outage at its time or after its count, then everything heals.

use super::{Count, Scenario, When};
use crate::fleet::Fleet;
use crate::ledger::Delivery;
use crate::outage::{Outage, Remembers, Site, Target, Way};
use holdline_proto::Instant;
use std::collections::BTreeSet;

/// How long a run may take to come to rest once everything is healed, in milliseconds: the longest backoff, the longest quiet time,
/// and time for what has piled up.
const SETTLE_MS: u32 = 240_000;

/// How long it goes on after it has come to rest, in timeouts: what is dead and does not know it shows in that time.
const REST_TIMEOUTS: u32 = 4;

/// One thing that happens in a story; see [`Scenario::take`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step {
    /// When, in milliseconds.
    pub at_ms: u32,
    what: Happens,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happens {
    // Of one instant the ends come before the beginnings.
    BackUp,
    Ends(usize),
    Begins(usize),
}

impl Scenario {
    /// Plays the story in a world made by [`Scenario::fleet`], heals everything, and lets it come to rest. What a `[random]` block
    /// leaves open does not happen: see [`Scenario::drawn`].
    pub fn play(&self, fleet: &mut Fleet) {
        let mut script = Script::new(self);
        if !script.waiting.is_empty() {
            fleet.world.count();
        }
        while let Some(step) = script.next(fleet) {
            fleet.run_until(Instant::from_millis(step.at_ms.into()));
            self.take(step, fleet);
        }
        fleet.run_until(Instant::from_millis(self.for_ms.into()));
        fleet.heal();
        self.settle(fleet);
    }

    fn settle(&self, fleet: &mut Fleet) {
        let bound = fleet.world.now().plus(self.settle_ms());
        while fleet.world.now() < bound {
            while fleet.world.now() < bound && !at_rest(fleet) {
                let next = fleet.world.now().plus(1_000);
                fleet.run_until(next.min(bound));
            }
            let links = links(fleet);
            let rest = fleet.world.now().plus(REST_TIMEOUTS * self.fleet.timeout_ms);
            fleet.run_until(rest);
            if at_rest(fleet) && links == self::links(fleet) {
                break;
            }
        }
    }

    /// How long a site may take to come to rest once it is healed, in milliseconds.
    pub fn settle_ms(&self) -> u32 {
        SETTLE_MS + 4 * self.fleet.timeout_ms
    }

    /// What happens when, in order; of one instant the ends before the beginnings. After the last one a site is to be healed. What
    /// waits for a count, or is drawn, is not among them.
    pub fn steps(&self) -> Vec<Step> {
        Script::new(self).timed.into_iter().collect()
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
            }
            // One that lasts no time is over at once.
            if begins && entry.for_ms == 0 {
                site.note(index as u32, (!entry.outage.is_servers()).then_some(target), false);
            }
            if !begins || entry.for_ms == 0 {
                entry.outage.end(site, target);
            }
        }
    }
}

/// Whether every device has a link and every application everything that was sent to it.
fn at_rest(fleet: &Fleet) -> bool {
    (0..fleet.devices()).all(|index| fleet.accounts(Target(index)).is_at_rest())
}

/// Links that came up so far.
fn links(fleet: &Fleet) -> u64 {
    (0..fleet.devices()).map(|index| u64::from(fleet.accounts(Target(index)).links)).sum()
}

/// What is still to be done.
struct Script<'s> {
    story: &'s Scenario,
    timed: BTreeSet<Step>,
    /// What waits for a count, and not before when.
    waiting: Vec<(When, Step)>,
}

impl<'s> Script<'s> {
    fn new(story: &'s Scenario) -> Self {
        let mut script = Self { story, timed: BTreeSet::new(), waiting: Vec::new() };
        for (index, entry) in story.outages.iter().enumerate() {
            let remembers = match entry.outage {
                Outage::PowerCycle { memory, .. } | Outage::ServerStop { memory, .. } => memory,
                _ => Remembers::Nothing,
            };
            let begins = Step { at_ms: entry.at_ms, what: Happens::Begins(index) };
            match entry.when {
                None => {
                    script.timed.insert(begins);
                    script.ends(index, entry.at_ms);
                    if remembers == Remembers::OldCopy {
                        script.timed.insert(Step { at_ms: entry.at_ms / 2, what: Happens::BackUp });
                    }
                }
                Some(when) => {
                    if remembers == Remembers::OldCopy {
                        let half = When { number: when.number / 2, ..when };
                        script.waiting.push((half, Step { at_ms: 0, what: Happens::BackUp }));
                    }
                    script.waiting.push((when, begins));
                }
            }
        }
        script
    }

    fn ends(&mut self, index: usize, begins_ms: u32) {
        let for_ms = self.story.outages[index].for_ms;
        if for_ms == 0 {
            return;
        }
        let over = begins_ms.saturating_add(for_ms);
        self.timed.insert(Step { at_ms: over.min(self.story.for_ms.max(begins_ms)), what: Happens::Ends(index) });
    }

    /// The next step; runs the fleet to the millisecond in which a count is reached.
    fn next(&mut self, fleet: &mut Fleet) -> Option<Step> {
        while !self.waiting.is_empty() {
            let now = fleet.world.now().as_millis() as u32;
            let reached = |(when, step): &(When, Step)| now >= step.at_ms && when.is_reached(fleet);
            if let Some(place) = self.waiting.iter().position(reached) {
                let (_, step) = self.waiting.remove(place);
                if let Happens::Begins(index) = step.what {
                    self.ends(index, now);
                }
                return Some(Step { at_ms: now, ..step });
            }
            let next = self.timed.first().map_or(self.story.for_ms, |step| step.at_ms).min(self.story.for_ms);
            if now >= next {
                break;
            }
            fleet.run_until(Instant::from_millis(u64::from(now) + 1));
        }
        self.timed.pop_first()
    }
}

impl When {
    fn is_reached(&self, fleet: &Fleet) -> bool {
        let target = Target(self.device as usize);
        let counted = match self.count {
            Count::Delivered => {
                let accounts = fleet.accounts(target);
                let ledger = if self.way == Way::Up { &accounts.up } else { &accounts.down };
                ledger.account(Delivery::Reliable).delivered
            }
            Count::Line => fleet.world.counted(fleet.node(target), self.way == Way::Up).lines,
            Count::Byte => fleet.world.counted(fleet.node(target), self.way == Way::Up).bytes,
        };
        counted >= self.number
    }
}
