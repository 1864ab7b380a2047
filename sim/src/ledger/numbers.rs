//! What became of the numbered messages of one delivery in one direction.

use super::{Account, Delivery};
use std::collections::BTreeSet;

/// The messages 1, 2, 3 … of one delivery.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers {
    pub(super) sent: u64,
    /// The number after the highest that was received.
    next: u64,
    missing: BTreeSet<u64>,
    /// Never put on a wire, and never to be: replaced by a newer value, or dropped while the link was down.
    withdrawn: BTreeSet<u64>,
    /// Somebody forgot, and this may be what it cost.
    pub(super) may_be_lost: BTreeSet<u64>,
    pub(super) may_be_repeated: BTreeSet<u64>,
    /// What this wire cannot promise although nobody forgot: a hole of the profile.
    pub(super) hole_lost: BTreeSet<u64>,
    repeated: u64,
    repeated_excused: u64,
    reordered: u64,
    pub(super) damaged: u64,
}

/// What a receiving application can see of a message that it should not have got now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Odd {
    NeverSent,
    Withdrawn,
    Twice,
    Late,
}

impl Numbers {
    pub(super) fn was_received(&self, number: u64) -> bool {
        number < self.next && !self.missing.contains(&number)
    }

    /// Takes note of a message that the receiving application was given.
    pub(super) fn received(&mut self, number: u64) -> Option<Odd> {
        self.next = self.next.max(1);
        if number == 0 || number > self.sent {
            return Some(Odd::NeverSent);
        }
        let withdrawn = self.withdrawn.contains(&number).then_some(Odd::Withdrawn);
        if number >= self.next {
            self.missing.extend(self.next..number);
            self.next = number + 1;
            return withdrawn;
        }
        if self.missing.remove(&number) {
            self.reordered += 1;
            return Some(Odd::Late).filter(|_| !self.may_be_repeated.contains(&number));
        }
        let excused = self.may_be_repeated.contains(&number);
        self.repeated += 1;
        self.repeated_excused += u64::from(excused);
        // HL-0080
        Some(Odd::Twice).filter(|_| !excused)
    }

    pub(super) fn withdraw(&mut self, number: u64) {
        self.withdrawn.insert(number);
    }

    /// It is in an outbox again, by a store that was rolled back.
    pub(super) fn restore(&mut self, number: u64) {
        self.withdrawn.remove(&number);
        self.may_be_repeated.insert(number);
    }

    /// Everything sent and not received.
    pub(super) fn outstanding(&self) -> impl Iterator<Item = u64> + '_ {
        self.missing.iter().copied().chain(self.next.max(1)..=self.sent)
    }

    /// The link of the sender has ended: what has not arrived by now need not.
    pub(super) fn excuse_outstanding(&mut self) {
        let outstanding: Vec<u64> = self.outstanding().collect();
        self.may_be_lost.extend(outstanding);
    }

    /// What is lost although nobody forgot it.
    pub(super) fn lost(&self) -> impl Iterator<Item = u64> + '_ {
        self.outstanding().filter(|number| !self.may_be_lost.contains(number) && !self.withdrawn.contains(number))
    }

    pub(super) fn account(&self, delivery: Delivery) -> Account {
        let lost = self.outstanding().count() as u64;
        let excused = |number: &u64| self.may_be_lost.contains(number) && !self.withdrawn.contains(number);
        let replaced = match delivery {
            Delivery::Latest => self.withdrawn.iter().filter(|&&number| !self.was_received(number)).count() as u64,
            Delivery::Reliable | Delivery::BestEffort => 0,
        };
        Account {
            sent: self.sent,
            delivered: self.sent - lost,
            replaced,
            lost: lost - replaced,
            repeated: self.repeated,
            reordered: self.reordered,
            damaged: self.damaged,
            lost_excused: self.outstanding().filter(excused).count() as u64,
            repeated_excused: self.repeated_excused,
        }
    }
}
