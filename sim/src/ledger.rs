//! What each application sent and got, and whether that is what the protocol promises.
//!
//! Messages of one direction are numbered 1, 2, 3 …; the number is in the text, so the receiving application knows what it got
//! without trusting the session.

use std::collections::{BTreeSet, VecDeque};

/// The account of one direction between one device and the server, kept on both sides of the world at once.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    sent: u64,
    /// The numbers in the sender's outbox, oldest first.
    held: VecDeque<u64>,
    /// The number after the highest that was received.
    next: u64,
    missing: BTreeSet<u64>,
    may_be_lost: BTreeSet<u64>,
    may_be_repeated: BTreeSet<u64>,
    /// Two senders or two receivers share the name: nobody can say which of them got what.
    contested: bool,
    repeated: u64,
    reordered: u64,
    /// Those of them that an older outbox brought back.
    restored: u64,
    violations: Vec<String>,
}

/// What became of the messages of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Given to the session by the sending application.
    pub sent: u64,
    /// Given to the receiving application, repeats not counted.
    pub delivered: u64,
    /// Never delivered.
    pub lost: u64,
    /// Delivered once more.
    pub repeated: u64,
    /// Delivered after a later one.
    pub reordered: u64,
}

impl std::ops::AddAssign for Account {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.delivered += other.delivered;
        self.lost += other.lost;
        self.repeated += other.repeated;
        self.reordered += other.reordered;
    }
}

impl Ledger {
    /// The number of the next message.
    pub fn next_number(&self) -> u64 {
        self.sent + 1
    }

    /// The sending application has handed a message to its session.
    pub fn sent(&mut self) {
        self.sent += 1;
        self.held.push_back(self.sent);
        if self.contested {
            self.may_be_lost.insert(self.sent);
            self.may_be_repeated.insert(self.sent);
        }
    }

    /// The sender's outbox holds `held` messages now: what is no longer there was acknowledged.
    pub fn acknowledged_to(&mut self, held: usize) {
        while self.held.len() > held {
            let Some(number) = self.held.pop_front() else { break };
            // HL-0077, HL-0084
            if !self.was_received(number) && !self.may_be_lost.contains(&number) {
                self.violation(|| format!("message {number} was acknowledged and never accepted"));
            }
        }
    }

    /// The sender has dropped its `count` oldest messages, and said so.
    pub fn dropped(&mut self, count: u64) {
        let count = (count as usize).min(self.held.len());
        self.may_be_lost.extend(self.held.drain(..count));
    }

    /// The sender has lost all memory: what it held may be lost.
    pub fn sender_forgot(&mut self) {
        self.may_be_lost.extend(self.held.drain(..));
    }

    /// The sender has fallen back to an outbox with these numbers.
    pub fn sender_rolled_back(&mut self, outbox: &VecDeque<u64>) {
        self.may_be_lost.extend(self.held.drain(..));
        self.held.clone_from(outbox);
        self.may_be_repeated.extend(outbox);
    }

    /// The receiver has lost memory: what is not acknowledged may come again.
    pub fn receiver_forgot(&mut self) {
        self.may_be_repeated.extend(&self.held);
    }

    /// A second endpoint uses the same name from now on, or no more: what is held or sent meanwhile is promised nothing.
    pub fn contest(&mut self, contested: bool) {
        self.contested = contested;
        self.may_be_lost.extend(&self.held);
        self.may_be_repeated.extend(&self.held);
    }

    /// The numbers in the sender's outbox.
    pub fn held(&self) -> &VecDeque<u64> {
        &self.held
    }

    fn was_received(&self, number: u64) -> bool {
        number < self.next && !self.missing.contains(&number)
    }

    /// The receiving application was given a message.
    pub fn received(&mut self, number: u64) {
        self.next = self.next.max(1);
        if number > self.sent {
            self.violation(|| format!("message {number} was never sent"));
        } else if number >= self.next {
            self.missing.extend(self.next..number);
            self.next = number + 1;
        } else if self.missing.remove(&number) {
            self.reordered += 1;
            self.restored += u64::from(self.may_be_repeated.contains(&number));
        } else {
            self.repeated += 1;
            // HL-0080
            if !self.may_be_repeated.contains(&number) {
                self.violation(|| format!("message {number} was delivered twice"));
            }
        }
    }

    fn violation(&mut self, what: impl FnOnce() -> String) {
        if self.violations.len() < 16 {
            self.violations.push(what());
        }
    }

    /// What became of everything sent so far.
    pub fn account(&self) -> Account {
        let beyond = self.sent + 1 - self.next.max(1);
        let lost = self.missing.len() as u64 + beyond;
        Account { sent: self.sent, delivered: self.sent - lost, lost, repeated: self.repeated, reordered: self.reordered }
    }

    /// Everything that broke the guarantee. After a run has been healed and has come to rest, `settled`, what is missing counts.
    pub fn violations(&self, settled: bool) -> Vec<String> {
        let mut found = self.violations.clone();
        if settled {
            let unexplained = |number: &u64| !self.may_be_lost.contains(number);
            found.extend(
                self.missing
                    .iter()
                    .copied()
                    .chain(self.next.max(1)..=self.sent)
                    .filter(unexplained)
                    .take(16)
                    .map(|number| format!("message {number} was lost")),
            );
        }
        if self.reordered > self.restored {
            found.push(format!("{} messages came out of order", self.reordered - self.restored));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(sent: u64) -> Ledger {
        let mut ledger = Ledger::default();
        for _ in 0..sent {
            ledger.sent();
        }
        ledger
    }

    #[test]
    fn a_clean_run_has_nothing_to_complain_about() {
        let mut ledger = ledger(3);
        for number in 1..=3 {
            ledger.received(number);
            ledger.acknowledged_to(3 - number as usize);
        }
        assert_eq!(ledger.account(), Account { sent: 3, delivered: 3, ..Account::default() });
        assert!(ledger.violations(true).is_empty());
    }

    #[test]
    fn each_kind_of_wrong_is_seen() {
        let mut lost = ledger(2);
        lost.received(2);
        assert_eq!(lost.violations(true), ["message 1 was lost"]);
        let mut repeated = ledger(1);
        repeated.received(1);
        repeated.received(1);
        assert_eq!(repeated.violations(false), ["message 1 was delivered twice"]);
        let mut reordered = ledger(2);
        reordered.received(2);
        reordered.received(1);
        assert_eq!(reordered.violations(true), ["1 messages came out of order"]);
        let mut forged = ledger(1);
        forged.acknowledged_to(0);
        assert_eq!(forged.violations(false), ["message 1 was acknowledged and never accepted"]);
    }

    #[test]
    fn lost_memory_excuses_what_it_can_have_cost_and_no_more() {
        let mut ledger = ledger(3);
        ledger.received(1);
        ledger.acknowledged_to(2);
        ledger.sender_forgot();
        ledger.sent();
        ledger.received(4);
        assert!(ledger.violations(true).is_empty());
        ledger.receiver_forgot();
        ledger.received(4);
        assert!(ledger.violations(true).is_empty());
        ledger.received(1);
        assert_eq!(ledger.violations(true), ["message 1 was delivered twice"]);
    }
}
