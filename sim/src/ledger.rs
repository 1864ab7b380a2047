//! What each application sent and got, and whether that is what the protocol promises.
//!
//! Messages of one direction and one delivery are numbered 1, 2, 3 …; the number is in the text, so the receiving application knows
//! what it got without trusting the session. Every profile is judged twice: by what its wire promises (SPEC.md, section 12), and by
//! whether anything was lost, repeated or reordered although nobody forgot anything.

mod account;
mod delivery;
mod noise;
mod numbers;
mod reports;

pub use account::Account;
pub use delivery::{Deliveries, Delivery};
pub(crate) use reports::Report;

use crate::actor::Profile;
use holdline_proto::Instant;
use noise::Noise;
use numbers::{Numbers, Odd};
use reports::{Counts, Reports};
use std::collections::{BTreeSet, VecDeque};

/// The account of one direction between one device and the server, kept on both sides of the world at once.
#[derive(Clone, Debug)]
pub struct Ledger {
    profile: Profile,
    /// By delivery.
    numbers: [Numbers; 3],
    /// What lies in the sender's outbox, oldest first.
    held: VecDeque<Held>,
    /// Two senders or two receivers share the name: nobody can say which of them got what.
    contested: bool,
    noise: Noise,
    /// Noise is not found out, because lines carry no checks.
    unguarded: bool,
    /// Whether the sender has queued nothing since it began without memory.
    begins: bool,
    /// The first message of each life of the sender: a classic wire gives it the id 0.
    firsts: BTreeSet<(Delivery, u64)>,
    pub(crate) reports: Reports,
    violations: Vec<String>,
    holes: Vec<String>,
}

/// A message in an outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    delivery: Delivery,
    number: u64,
    /// When the application gave it.
    since: Instant,
}

/// Where both ends of a direction were at some moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    held: VecDeque<Held>,
    counts: Counts,
}

/// What a session did with a message that its application gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It is at the end of the outbox.
    Queued,
    /// It has taken the place of the newest value in the outbox.
    InPlace,
    /// It is on the wire, and not held.
    OnTheWire,
    /// It was dropped at once: no link, or no room.
    Dropped,
}

impl Ledger {
    /// An empty account, to be judged by what this profile promises.
    pub fn new(profile: Profile) -> Self {
        Self {
            profile,
            numbers: Default::default(),
            held: VecDeque::new(),
            contested: false,
            noise: Noise::default(),
            unguarded: false,
            begins: true,
            firsts: BTreeSet::new(),
            reports: Reports::new(profile),
            violations: Vec::new(),
            holes: Vec::new(),
        }
    }

    fn of(&mut self, delivery: Delivery) -> &mut Numbers {
        &mut self.numbers[delivery as usize]
    }

    /// The number of the next message of a delivery.
    pub fn next_number(&self, delivery: Delivery) -> u64 {
        self.numbers[delivery as usize].sent + 1
    }

    /// The sending application has handed its next message of a delivery to its session.
    pub fn sent(&mut self, delivery: Delivery, placed: Placed, now: Instant) {
        let contested = self.contested;
        let is_safe = placed != Placed::OnTheWire || !self.noise.takes_datagram();
        let numbers = self.of(delivery);
        numbers.sent += 1;
        let number = numbers.sent;
        if contested {
            numbers.may_be_lost.insert(number);
            numbers.may_be_repeated.insert(number);
        }
        match placed {
            Placed::OnTheWire if is_safe => {}
            Placed::OnTheWire => drop(numbers.may_be_lost.insert(number)),
            Placed::Dropped => {
                numbers.withdraw(number);
                numbers.may_be_lost.insert(number);
            }
            Placed::Queued => {
                if std::mem::take(&mut self.begins) {
                    self.firsts.insert((delivery, number));
                }
                self.held.push_back(Held { delivery, number, since: now });
                self.reports.queued();
            }
            Placed::InPlace => self.replaced(delivery, number, now),
        }
    }

    fn replaced(&mut self, delivery: Delivery, number: u64, now: Instant) {
        let Some(held) = self.held.iter_mut().rev().find(|held| held.delivery == delivery) else {
            self.violation(|| format!("{} {number} took the place of none", delivery.noun()));
            return;
        };
        let old = std::mem::replace(held, Held { delivery, number, since: now });
        if self.firsts.remove(&(delivery, old.number)) {
            self.firsts.insert((delivery, number));
        }
        self.of(delivery).withdraw(old.number);
    }

    /// The sender's outbox holds `held` messages now: what is no longer there was acknowledged. `proven`: whether what the sender has
    /// heard lets a message given then count as delivered on a wire without acknowledgements (HL-0054).
    pub fn acknowledged_to(&mut self, held: usize, proven: impl Fn(Instant) -> bool) {
        while self.held.len() > held {
            let Some(Held { delivery, number, since }) = self.held.pop_front() else { break };
            self.reports.acknowledged();
            let is_guess = self.unguarded || self.profile == Profile::Classic2019 && proven(since);
            let numbers = self.of(delivery);
            // HL-0077, HL-0084
            if numbers.was_received(number) || numbers.may_be_lost.contains(&number) {
                continue;
            }
            if is_guess {
                numbers.hole_lost.insert(number);
            } else {
                self.violation(|| format!("{} {number} was acknowledged and never accepted", delivery.noun()));
            }
        }
    }

    /// The sender has dropped its `count` oldest messages, and said so.
    pub fn dropped(&mut self, count: u64) {
        for _ in 0..count {
            let Some(Held { delivery, number, .. }) = self.held.pop_front() else { break };
            self.of(delivery).may_be_lost.insert(number);
        }
    }

    /// The sender's link has ended: best effort that was on its way need not arrive.
    pub fn link_ended(&mut self) {
        self.of(Delivery::BestEffort).excuse_outstanding();
    }

    /// The sender has lost all memory: what it held may be lost.
    pub fn sender_forgot(&mut self) {
        self.dropped(u64::MAX);
        self.begins = true;
        self.reports.sender_forgot();
    }

    /// Where both ends are now, for one that is rolled back to it later.
    pub fn mark(&self) -> Mark {
        Mark { held: self.held.clone(), counts: self.reports.counts() }
    }

    /// The sender has fallen back to where it was.
    pub fn sender_rolled_back(&mut self, to: &Mark) {
        self.dropped(u64::MAX);
        self.held.clone_from(&to.held);
        for &Held { delivery, number, .. } in &to.held {
            self.of(delivery).restore(number);
        }
        self.reports.sender_rolled_back(to.counts);
    }

    /// The receiver has lost all memory: what is not acknowledged may come again.
    pub fn receiver_forgot(&mut self) {
        self.excuse_repeats();
        self.reports.receiver_forgot();
    }

    /// The receiver has fallen back to where it was.
    pub fn receiver_rolled_back(&mut self, to: &Mark) {
        self.excuse_repeats();
        self.reports.receiver_rolled_back(to.counts);
    }

    fn excuse_repeats(&mut self) {
        for index in 0..self.held.len() {
            let Held { delivery, number, .. } = self.held[index];
            self.of(delivery).may_be_repeated.insert(number);
        }
    }

    /// A second endpoint uses the same name from now on, or no more: what is held or sent meanwhile is promised nothing.
    pub fn contest(&mut self, contested: bool) {
        self.contested = contested;
        self.excuse_repeats();
        for index in 0..self.held.len() {
            let Held { delivery, number, .. } = self.held[index];
            self.of(delivery).may_be_lost.insert(number);
        }
        self.link_ended();
        self.reports.contested();
    }

    /// Noise begins on the line, or ends: a line that it damages is found out by its check, and best effort is lost with it.
    pub fn disturbed(&mut self, noisy: bool) {
        self.noise = if noisy { Noise::Lasts } else { Noise::Echoes };
        self.link_ended();
    }

    /// Noise is not found out from now on, for the lines have no checks: nothing is promised any more, and all that happens is a hole.
    pub fn unguarded(&mut self) {
        self.unguarded = true;
        self.reports.contested();
    }

    /// Whether the sender holds nothing.
    pub fn is_at_rest(&self) -> bool {
        self.held.is_empty()
    }

    /// The receiving application was given a message.
    pub fn received(&mut self, delivery: Delivery, number: u64) {
        let odd = self.of(delivery).received(number);
        if delivery != Delivery::BestEffort {
            self.reports.received();
        }
        let noun = delivery.noun();
        match odd {
            None => {}
            Some(Odd::NeverSent) if self.unguarded => self.holes.push(format!("{noun} {number} was never sent")),
            Some(Odd::NeverSent) => self.violation(|| format!("{noun} {number} was never sent")),
            Some(Odd::Withdrawn) if self.unguarded => {}
            Some(Odd::Withdrawn) => self.violation(|| format!("{noun} {number} was dropped or replaced, and arrived")),
            Some(Odd::Twice) => {
                // The first hole of section 12.3: id 0 cannot be told from that of a peer that has restarted.
                let hole = self.profile != Profile::Native && self.firsts.contains(&(delivery, number));
                self.hole(hole, format!("{noun} {number} was delivered twice"));
            }
            Some(Odd::Late) => self.hole(false, format!("{noun} {number} was delivered after a later one")),
        }
    }

    /// The receiving application was given a text that nobody sent.
    pub fn damaged(&mut self, delivery: Delivery) {
        self.of(delivery).damaged += 1;
        self.hole(false, format!("a {} arrived with another text than was sent", delivery.noun()));
    }

    fn hole(&mut self, of_profile: bool, what: String) {
        if !of_profile && !self.unguarded {
            self.violation(|| what.clone());
        }
        self.holes.push(what);
    }

    fn violation(&mut self, what: impl FnOnce() -> String) {
        if self.violations.len() < 16 {
            self.violations.push(what());
        }
    }

    /// What became of everything sent so far in one delivery.
    pub fn account(&self, delivery: Delivery) -> Account {
        self.numbers[delivery as usize].account(delivery)
    }

    /// Everything that broke what the profile promises. After a run has been healed and has come to rest, `settled`, what is missing
    /// counts.
    pub fn violations(&self, settled: bool) -> Vec<String> {
        let mut found = self.violations.clone();
        found.extend(self.reports.violations(settled));
        if settled && !self.unguarded {
            found.extend(self.lost(|numbers, number| !numbers.hole_lost.contains(&number)).take(16));
        }
        found
    }

    /// Everything that was lost, repeated or reordered although nobody forgot anything, be it promised or not.
    pub fn holes(&self, settled: bool) -> Vec<String> {
        let mut found = self.holes.clone();
        if settled {
            found.extend(self.lost(|_, _| true));
        }
        found
    }

    fn lost(&self, counts: impl Fn(&Numbers, u64) -> bool) -> impl Iterator<Item = String> {
        Delivery::ALL.into_iter().flat_map(move |delivery| {
            let numbers = &self.numbers[delivery as usize];
            let lost: Vec<u64> = numbers.lost().filter(|&number| counts(numbers, number)).collect();
            lost.into_iter().map(move |number| format!("{} {number} was lost", delivery.noun()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_millis(0);

    fn ledger(sent: u64, profile: Profile) -> Ledger {
        let mut ledger = Ledger::new(profile);
        for _ in 0..sent {
            ledger.sent(Delivery::Reliable, Placed::Queued, NOW);
        }
        ledger
    }

    fn native(sent: u64) -> Ledger {
        ledger(sent, Profile::Native)
    }

    fn got(ledger: &mut Ledger, number: u64) {
        ledger.received(Delivery::Reliable, number);
    }

    #[test]
    fn a_clean_run_has_nothing_to_complain_about() {
        let mut ledger = native(3);
        for number in 1..=3 {
            got(&mut ledger, number);
            ledger.acknowledged_to(3 - number as usize, |_| false);
        }
        assert_eq!(ledger.account(Delivery::Reliable), Account { sent: 3, delivered: 3, ..Account::default() });
        assert!(ledger.violations(true).is_empty() && ledger.holes(true).is_empty());
    }

    #[test]
    fn each_kind_of_wrong_is_seen() {
        let mut lost = native(2);
        got(&mut lost, 2);
        assert_eq!(lost.violations(true), ["message 1 was lost"]);
        let mut repeated = native(1);
        got(&mut repeated, 1);
        got(&mut repeated, 1);
        assert_eq!(repeated.violations(false), ["message 1 was delivered twice"]);
        let mut reordered = native(2);
        got(&mut reordered, 2);
        got(&mut reordered, 1);
        assert_eq!(reordered.violations(true), ["message 1 was delivered after a later one"]);
        let mut forged = native(1);
        forged.acknowledged_to(0, |_| true);
        assert_eq!(forged.violations(false), ["message 1 was acknowledged and never accepted"]);
    }

    #[test]
    fn lost_memory_excuses_what_it_can_have_cost_and_no_more() {
        let mut ledger = native(3);
        got(&mut ledger, 1);
        ledger.acknowledged_to(2, |_| false);
        ledger.sender_forgot();
        ledger.reports.told(Report::PeerReset, 0);
        ledger.sent(Delivery::Reliable, Placed::Queued, NOW);
        got(&mut ledger, 4);
        assert!(ledger.violations(true).is_empty());
        ledger.receiver_forgot();
        ledger.reports.told(Report::PeerForgot, 0);
        got(&mut ledger, 4);
        assert!(ledger.violations(true).is_empty() && ledger.holes(true).is_empty());
        got(&mut ledger, 1);
        assert_eq!(ledger.violations(true), ["message 1 was delivered twice"]);
    }

    #[test]
    fn a_value_may_be_replaced_and_the_last_one_has_to_arrive() {
        let mut ledger = Ledger::new(Profile::Native);
        ledger.sent(Delivery::Latest, Placed::Queued, NOW);
        ledger.sent(Delivery::Latest, Placed::InPlace, NOW);
        assert_eq!(ledger.violations(true), ["value 2 was lost"]);
        ledger.received(Delivery::Latest, 2);
        assert!(ledger.violations(true).is_empty());
        assert_eq!(ledger.account(Delivery::Latest), Account { sent: 2, delivered: 1, replaced: 1, ..Account::default() });
        ledger.received(Delivery::Latest, 1);
        assert_eq!(ledger.violations(true), ["value 1 was delivered after a later one"]);
    }

    #[test]
    fn best_effort_may_be_lost_with_its_link_and_never_comes_twice() {
        let mut ledger = Ledger::new(Profile::Native);
        ledger.sent(Delivery::BestEffort, Placed::Dropped, NOW);
        ledger.sent(Delivery::BestEffort, Placed::OnTheWire, NOW);
        assert_eq!(ledger.violations(true), ["datagram 2 was lost"]);
        ledger.link_ended();
        assert!(ledger.violations(true).is_empty());
        ledger.received(Delivery::BestEffort, 2);
        ledger.received(Delivery::BestEffort, 2);
        assert_eq!(ledger.violations(true), ["datagram 2 was delivered twice"]);
    }

    #[test]
    fn what_a_classic_wire_cannot_promise_is_a_hole_and_no_violation() {
        let mut zero = ledger(2, Profile::Classic2020);
        for number in [1, 1, 2] {
            got(&mut zero, number);
        }
        assert_eq!(zero.holes(true), ["message 1 was delivered twice"]);
        assert!(zero.violations(true).is_empty());
        got(&mut zero, 2);
        assert_eq!(zero.violations(true), ["message 2 was delivered twice"], "id 1 can be told from a restart");
        let mut guessed = ledger(2, Profile::Classic2019);
        guessed.acknowledged_to(1, |_| true);
        guessed.acknowledged_to(0, |_| false);
        assert_eq!(guessed.holes(true), ["message 1 was lost", "message 2 was lost"]);
        assert_eq!(guessed.violations(true), ["message 2 was acknowledged and never accepted", "message 2 was lost"]);
    }

    #[test]
    fn a_report_without_a_loss_and_a_loss_without_a_report_are_seen() {
        let mut false_alarm = native(1);
        false_alarm.reports.told(Report::LostIncoming, 1);
        assert_eq!(false_alarm.violations(false), ["a loss was reported that did not happen: LostIncoming"]);
        let mut silent = native(3);
        got(&mut silent, 1);
        let copy = silent.mark();
        got(&mut silent, 2);
        got(&mut silent, 3);
        silent.acknowledged_to(0, |_| false);
        silent.receiver_rolled_back(&copy);
        silent.reports.told(Report::LostOutgoing, 2);
        assert_eq!(silent.violations(true), ["a loss was not reported: LostIncoming"]);
    }
}
