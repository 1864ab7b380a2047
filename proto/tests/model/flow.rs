//! One direction of traffic as an observer who sees everything sees it, and what the guarantee allows it to be.

use super::texts::{MESSAGES, Set, Texts};

/// A property that was broken, and by that the name of the property.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Broken {
    /// A message was taken again, though the receiver had not forgotten it before it was acknowledged.
    Twice,
    /// A message was taken after one that was sent later.
    Order,
    /// A message was taken while an earlier one is missing that nobody is permitted to lose.
    Gap,
    /// A message left the outbox that the receiver has not accepted.
    AckedUnaccepted,
    /// An event told of a loss of memory that has not happened, or of a lost message that is not lost.
    FalseAlarm,
    /// One correct end found the other at fault, or refused it.
    Fault,
}

impl Broken {
    /// The property.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Twice => {
                "no message is taken twice, but one that the receiver forgot unacked, or that its sender was rolled back to"
            }
            Self::Order => "no message is taken after a later one",
            Self::Gap => "no message is left out, but with its sender's memory, or told to both ends",
            Self::AckedUnaccepted => "no message leaves the outbox before the receiver has accepted it",
            Self::FalseAlarm => "no loss of memory or of a message is told that has not happened",
            Self::Fault => "no correct end finds the other at fault",
        }
    }
}

/// Messages are numbered from 0 in the order the application sent them, over all restarts of the sender.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flow {
    pub sent: u8,
    /// How often each was taken, as far as the receiver's store remembers: a restored backup takes it back.
    pub taken: [u8; MESSAGES],
    /// How often each may be taken again.
    repeats: [u8; MESSAGES],
    /// Those that may stay away: their sender lost its memory before they were acknowledged, or dropped them by policy and said so.
    excused: Set,
    /// Those that the sender's application was told the receiver has lost.
    lost_out: Set,
    /// Those that the receiver's application was told it has lost.
    lost_in: Set,
    /// Under which epoch and number the sender knows each; 0 if it does not.
    pub numbers: [(u8, u8); MESSAGES],
    /// Those whose acknowledgement may still be on its way from before the receiver was rolled back: on a stream that never ends.
    ack_on_wire: Set,
    /// The epoch and message taken last, since the receiver's start.
    last: Option<(u8, usize)>,
}

impl Flow {
    /// The receiver's application takes a message.
    pub fn take(&mut self, message: usize, epoch: u64) -> Result<(), Broken> {
        let epoch = epoch as u8;
        if self.last.is_some_and(|(last_epoch, last)| last_epoch == epoch && last >= message)
            || self.taken[message] == 0 && !self.told_lost(message) && self.taken[message + 1..].iter().any(|&taken| taken > 0)
        {
            return Err(if self.taken[message] > 0 { Broken::Twice } else { Broken::Order });
        }
        self.last = Some((epoch, message));
        self.taken[message] += 1;
        if self.taken[message] > 1 + self.repeats[message] {
            return Err(Broken::Twice);
        }
        if (0..message).all(|earlier| self.accounted(earlier)) { Ok(()) } else { Err(Broken::Gap) }
    }

    /// Whether a message arrived, or both applications were told that it is lost, or the guarantee does not cover it.
    fn accounted(&self, message: usize) -> bool {
        self.taken[message] > 0 || self.excused.has(message) || self.told_lost(message)
    }

    fn told_lost(&self, message: usize) -> bool {
        self.lost_in.has(message) && self.lost_out.has(message)
    }

    pub fn complete(&self) -> bool {
        (0..usize::from(self.sent)).all(|message| self.accounted(message))
    }

    /// Messages left the sender's outbox. One that was told to be lost or dropped may come back into it with an older store, and go.
    pub fn pruned(&mut self, messages: Set, dropped_and_told: bool) -> Result<(), Broken> {
        if dropped_and_told {
            self.excused = self.excused.and(messages);
            return Ok(());
        }
        let accepted = |message| self.accounted(message) || self.ack_on_wire.has(message);
        if messages.iter().all(accepted) { Ok(()) } else { Err(Broken::AckedUnaccepted) }
    }

    /// What the sender holds, and under which numbers.
    pub fn numbered(&mut self, epoch: u64, acked: u64, held: &Texts) {
        for (index, message) in held.iter().enumerate() {
            self.numbers[message] = (epoch as u8, acked as u8 + 1 + index as u8);
        }
    }

    /// The sender begins a new epoch with the messages it holds: of all others it knows nothing any more.
    pub fn sender_renumbered(&mut self, held: Set) {
        let others = Set::first(self.sent).without(held);
        self.excused = self.excused.and(others);
        for message in others.iter() {
            self.numbers[message] = (0, 0);
        }
    }

    /// The sender's application is told that the receiver lost messages.
    pub fn told_sender(&mut self, epoch: u64, from: u64, to: u64) -> Result<(), Broken> {
        let lost = self.range(epoch, from, to);
        self.lost_out = self.lost_out.and(lost);
        self.really_lost(lost)
    }

    /// The sender's application is told that the receiver remembers nothing: what was acknowledged is lost too, unless the receiver
    /// keeps no memory, and had used it.
    pub fn told_forgotten(&mut self, epoch: u64, acked: u64) {
        self.lost_out = self.lost_out.and(self.range(epoch, 1, acked));
    }

    /// The receiver's application is told that it lost messages.
    pub fn told_receiver(&mut self, epoch: u64, from: u64, to: u64) -> Result<(), Broken> {
        let lost = self.range(epoch, from, to);
        self.lost_in = self.lost_in.and(lost);
        self.really_lost(lost)
    }

    /// Of a message that was repeated, the repetition may be what is lost.
    fn really_lost(&self, messages: Set) -> Result<(), Broken> {
        let lost = |message| self.taken[message] <= self.repeats[message];
        if messages.iter().all(lost) { Ok(()) } else { Err(Broken::FalseAlarm) }
    }

    fn range(&self, epoch: u64, from: u64, to: u64) -> Set {
        let named = |&message: &usize| {
            let (its_epoch, seq) = self.numbers[message];
            u64::from(its_epoch) == epoch && (from..=to).contains(&u64::from(seq))
        };
        (0..MESSAGES).filter(named).fold(Set::default(), Set::with)
    }

    /// The receiver restarts. `memory` is what its store remembers of what was taken; without a store the world remembers, and the
    /// receiver may take again what is not acknowledged.
    pub fn receiver_crashed(&mut self, memory: Option<[u8; MESSAGES]>, unacked: Set, may_repeat: bool, wire_survives: bool) {
        self.last = None;
        match memory {
            Some(taken) => {
                if wire_survives {
                    let forgotten = (0..MESSAGES).filter(|&message| self.taken[message] > taken[message]);
                    self.ack_on_wire = forgotten.fold(self.ack_on_wire, Set::with);
                }
                self.taken = taken;
            }
            None if may_repeat => {
                for message in unacked.iter().filter(|&message| self.taken[message] > 0) {
                    self.repeats[message] += 1;
                }
            }
            None => {}
        }
    }

    /// The sender restarts with less than it knew: with the messages before `known`, of which `held` are in its outbox.
    pub fn sender_forgot(&mut self, known: u8, numbers: [(u8, u8); MESSAGES], held: Set, may_repeat: bool) {
        self.excused = self.excused.and(Set::first(self.sent).without(Set::first(known)));
        self.numbers = numbers;
        if may_repeat {
            for message in held.iter() {
                self.repeats[message] += 1;
            }
        }
    }
}
