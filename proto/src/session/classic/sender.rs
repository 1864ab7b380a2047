//! The sending half of a classic session: the outbox, the ids of what is in flight, and when to repeat it.

use super::frames;
use super::ids::{Set, id_at};
use crate::frame::{SEQ_LIMIT, Writer};
use crate::outbox::{Full, Outbox};
use crate::time::{Deadline, Instant, Timer};

/// How many ids lie between the oldest unacknowledged message and the next one, at most: the peer's list forgets at 128.
pub(crate) const IN_FLIGHT_MAX: u64 = 100;

/// Places of the ids in flight. They are counted from the start of the program, and never span 128.
type Places = Set<4>;

/// A message is due for repetition when it has passed the last of these stages, a quarter of the timeout each.
const STAGES: usize = 5;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Sending<O> {
    pub(crate) outbox: O,
    /// Every message up to this number is done with.
    pub(crate) acked: u64,
    /// The place of the next id.
    next: u64,
    /// The place of the oldest message in flight; `next` without one.
    first: u64,
    /// Of the places from `first` on: those of reliable messages,
    messages: Places,
    /// and those of them that are not acknowledged.
    open: Places,
    /// Written before, and to be written again.
    due: Places,
    /// Written a timeout ago; 2019: delivered as soon as the peer shows a sign of life.
    aged: Places,
    /// Written lately, youngest first.
    stages: [Places; STAGES],
    /// When the stages last moved.
    moved: Option<Instant>,
}

/// The ids of a sender, as they survive a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flight {
    pub(crate) acked: u64,
    pub(crate) first: u64,
    pub(crate) next: u64,
    pub(crate) messages: [u32; 4],
    pub(crate) open: [u32; 4],
}

/// A message that cannot be written as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blocked {
    pub(crate) seq: u64,
    pub(crate) len: u32,
}

impl<O: Outbox> Sending<O> {
    pub(crate) fn restore(flight: Flight, outbox: O) -> Self {
        // What storage says is not trusted further than arithmetic allows.
        let next = flight.next.min(SEQ_LIMIT);
        let messages = Set::from_words(flight.messages);
        let open = messages.and(Set::from_words(flight.open));
        Self {
            outbox,
            acked: flight.acked.min(SEQ_LIMIT),
            next,
            first: flight.first.clamp(next.saturating_sub(IN_FLIGHT_MAX), next),
            messages,
            open,
            due: open,
            aged: Places::default(),
            stages: [Places::default(); STAGES],
            moved: None,
        }
    }

    pub(crate) fn flight(&self) -> Flight {
        Flight { acked: self.acked, first: self.first, next: self.next, messages: self.messages.words(), open: self.open.words() }
    }

    /// The number that the next message will get.
    pub(crate) fn next_seq(&self) -> u64 {
        self.acked + 1 + self.outbox.len() as u64
    }

    /// Queues a message and returns its number.
    pub(crate) fn push(&mut self, slot: Option<u8>, text: &str) -> Result<u64, Full> {
        let seq = self.next_seq();
        self.outbox.push(slot, text)?;
        Ok(seq)
    }

    /// Puts `text` in the place of an entry of `slot` that no wire has seen, or queues it.
    pub(crate) fn push_latest(&mut self, slot: u8, text: &str) -> Result<u64, Full> {
        let unsent = self.in_flight()..self.outbox.len();
        // HL-0090
        match unsent.into_iter().find(|&index| self.outbox.slot(index) == Some(slot)) {
            Some(index) => {
                self.outbox.replace(index, text)?;
                Ok(self.acked + 1 + index as u64)
            }
            None => self.push(Some(slot), text),
        }
    }

    /// How many messages at the front of the outbox have an id.
    fn in_flight(&self) -> usize {
        self.messages.len() as usize
    }

    /// The link is gone: what is in flight will be written again on the next.
    pub(crate) fn end_link(&mut self) {
        // HL-0040
        self.due = self.open;
        self.aged = Places::default();
        self.rest();
    }

    fn rest(&mut self) {
        self.stages = [Places::default(); STAGES];
        self.moved = None;
    }

    /// An id for a message that is sent once and not remembered; `None` while too many are in flight, or some are to be sent again
    /// first.
    pub(crate) fn best_effort_id(&self) -> Option<u8> {
        (self.next - self.first < IN_FLIGHT_MAX && self.due.is_empty()).then(|| id_at(self.next))
    }

    pub(crate) fn sent_best_effort(&mut self) {
        // HL-0047
        self.next += 1;
        self.advance();
    }

    /// Writes what is due again, then what is new. `Err(None)`: the buffer is full.
    pub(crate) fn write(
        &mut self,
        writer: &mut Writer<'_>,
        now: Instant,
        max_text: u32,
        in_order: bool,
    ) -> Result<(), Option<Blocked>> {
        if !self.due.is_empty() {
            let mut index = 0;
            for place in self.first..self.next {
                if self.due.contains(place) {
                    self.write_message(writer, now, max_text, index, place)?;
                }
                index += usize::from(self.messages.contains(place));
            }
        }
        // HL-0037, HL-0038, HL-0039. Nothing goes beside message 0, whose repeat would make the peer forget the others.
        while self.next - self.first < if in_order || self.first == 0 { 1 } else { IN_FLIGHT_MAX }
            && self.in_flight() < self.outbox.len()
        {
            // HL-0029
            self.write_message(writer, now, max_text, self.in_flight(), self.next)?;
            self.messages.insert(self.next);
            self.open.insert(self.next);
            self.next += 1;
        }
        Ok(())
    }

    fn write_message(
        &mut self,
        writer: &mut Writer<'_>,
        now: Instant,
        max_text: u32,
        index: usize,
        place: u64,
    ) -> Result<(), Option<Blocked>> {
        let text = self.outbox.get(index).unwrap_or_default();
        let len = text.len() as u32;
        if text.is_empty() || len > max_text {
            return Err(Some(Blocked { seq: self.acked + 1 + index as u64, len }));
        }
        if !frames::write_message(writer, id_at(place), text) {
            return Err(None);
        }
        self.due.remove(place);
        for stage in &mut self.stages {
            stage.remove(place);
        }
        // The first message sets the rhythm; a later one waits for it, in a stage of its own.
        let [later, first, ..] = &mut self.stages;
        if self.moved.is_some() { later } else { first }.insert(place);
        self.moved = self.moved.or(Some(now));
        Ok(())
    }

    /// The peer acknowledged `id`. Whether the oldest message in flight is done with by that.
    pub(crate) fn ack(&mut self, id: u8) -> bool {
        let place = self.first + (u64::from(id) + 255 - self.first % 255) % 255;
        // HL-0046
        if place >= self.next || id_at(place) != id {
            return false;
        }
        self.open.remove(place);
        self.due.remove(place);
        self.advance()
    }

    /// Moves `first` to the oldest open place; whether messages were left behind by that.
    fn advance(&mut self) -> bool {
        let mut done = 0;
        while self.first < self.next && !self.open.contains(self.first) {
            done += usize::from(self.messages.remove(self.first));
            self.first += 1;
        }
        self.outbox.pop(done);
        self.acked += done as u64;
        if self.open.is_empty() {
            self.rest();
        }
        done > 0
    }

    /// When the stages move next.
    pub(crate) fn deadline(&self, timeout_ms: u32) -> Option<Deadline> {
        self.moved.map(|moved| Deadline { at: moved.plus(timeout_ms.div_ceil(4)), timer: Timer::Repeat })
    }

    /// Moves the stages; returns the messages that were written a timeout ago.
    fn step(&mut self, timeout_ms: u32) -> Places {
        let [.., oldest] = self.stages;
        self.stages.rotate_right(1);
        let [youngest, ..] = &mut self.stages;
        *youngest = Places::default();
        self.moved = self.moved.map(|moved| moved.plus(timeout_ms.div_ceil(4)));
        if self.stages.iter().all(Set::is_empty) {
            self.moved = None;
        }
        oldest.and(self.open)
    }

    /// 2020: what was written a timeout ago is due again.
    pub(crate) fn repeat(&mut self, timeout_ms: u32) {
        let unanswered = self.step(timeout_ms);
        self.due = self.due.or(unanswered);
    }

    /// 2019: what was written a timeout ago counts as delivered, if the peer was heard since.
    pub(crate) fn confirm(&mut self, timeout_ms: u32, heard: Instant) -> bool {
        let at = self.deadline(timeout_ms).map_or(heard, |deadline| deadline.at);
        let unanswered = self.step(timeout_ms);
        self.aged = self.aged.or(unanswered);
        // HL-0054
        at.since(heard) <= u64::from(timeout_ms / 2) && self.hear()
    }

    /// 2019: bytes of the peer arrived. Whether the oldest message in flight is done with by that.
    pub(crate) fn hear(&mut self) -> bool {
        let delivered = core::mem::take(&mut self.aged);
        self.open = self.open.minus(delivered);
        !delivered.is_empty() && self.advance()
    }
}
