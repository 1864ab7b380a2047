//! What is due when, in the order in which it was scheduled.
//!
//! Nearly everything in a world is due within a few seconds, and time is counted in milliseconds: a slot for each of the next 4,096 holds
//! what is due then, first scheduled, first served, and what is later waits in a heap until its slot is in reach. A thousand devices
//! keep some three thousand entries; a heap alone spends a third of their run on ordering them.

use super::{NodeId, StreamId};
use crate::stream::Direction;
use holdline_proto::Instant;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// A machine's own deadline, or that of one of its streams.
    Timer { node: NodeId, stream: Option<StreamId> },
    /// A connection attempt is decided.
    Opening(StreamId),
    /// The head of a pipe has arrived, or may be written to again.
    Arrival { stream: StreamId, direction: Direction },
}

/// Everything that is to happen.
#[derive(Debug)]
pub(super) struct Agenda {
    /// When the last event was taken, in milliseconds; nothing is due before. The slots begin here.
    start: u64,
    slots: Box<[Chain]>,
    /// A bit for each slot that is not empty, and one for each such word.
    busy: Box<[u64; WORDS]>,
    busy_words: u64,
    entries: Vec<Entry>,
    /// The first entry that is not in use.
    free: u32,
    /// What is beyond the slots, and a number that orders what is due at once.
    later: BinaryHeap<Reverse<(u64, u64, Due)>>,
    postponed: u64,
}

/// The entries of one slot, by their indices: the first and the last.
#[derive(Clone, Copy, Debug)]
struct Chain {
    first: u32,
    last: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    due: Due,
    next: u32,
}

/// One bit a word, in one word.
const WORDS: usize = 64;
const SPAN: u64 = 64 * WORDS as u64;
const NONE: u32 = u32::MAX;

impl Default for Agenda {
    fn default() -> Self {
        Self {
            start: 0,
            slots: vec![Chain { first: NONE, last: NONE }; SPAN as usize].into_boxed_slice(),
            busy: Box::new([0; WORDS]),
            busy_words: 0,
            entries: Vec::new(),
            free: NONE,
            later: BinaryHeap::new(),
            postponed: 0,
        }
    }
}

impl Agenda {
    /// Puts something behind everything that is due at the same instant. What should have been earlier than the event that was taken
    /// last is due at once.
    pub(super) fn schedule(&mut self, at: Instant, due: Due) {
        let at = at.as_millis().max(self.start);
        if at - self.start < SPAN {
            self.append(at, due);
        } else {
            self.postponed += 1;
            self.later.push(Reverse((at, self.postponed, due)));
        }
    }

    /// When something is due next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next_due().map(Instant::from_millis)
    }

    fn next_due(&self) -> Option<u64> {
        self.next_slot().or_else(|| Some(self.later.peek()?.0.0))
    }

    /// Takes what comes next, if that is not after `end`.
    pub(super) fn take(&mut self, end: Instant) -> Option<(Instant, Due)> {
        let at = self.next_due()?;
        if at > end.as_millis() {
            return None;
        }
        self.start = at;
        // Before anything can be put into the slots that came into reach: it was scheduled earlier.
        while let Some(&Reverse((at, _, due))) = self.later.peek()
            && at - self.start < SPAN
        {
            self.later.pop();
            self.append(at, due);
        }
        Some((Instant::from_millis(at), self.take_first(at)))
    }

    fn append(&mut self, at: u64, due: Due) {
        let entry = Entry { due, next: NONE };
        let index = if self.free == NONE {
            self.entries.push(entry);
            self.entries.len() as u32 - 1
        } else {
            let index = self.free;
            self.free = std::mem::replace(&mut self.entries[index as usize], entry).next;
            index
        };
        let slot = (at % SPAN) as usize;
        let chain = &mut self.slots[slot];
        if chain.first == NONE {
            chain.first = index;
            self.busy[slot / 64] |= 1 << (slot % 64);
            self.busy_words |= 1 << (slot / 64);
        } else {
            self.entries[chain.last as usize].next = index;
        }
        self.slots[slot].last = index;
    }

    fn take_first(&mut self, at: u64) -> Due {
        let slot = (at % SPAN) as usize;
        let index = self.slots[slot].first;
        let Entry { due, next } = self.entries[index as usize];
        self.entries[index as usize].next = self.free;
        self.free = index;
        self.slots[slot].first = next;
        if next == NONE {
            self.busy[slot / 64] &= !(1 << (slot % 64));
            if self.busy[slot / 64] == 0 {
                self.busy_words &= !(1 << (slot / 64));
            }
        }
        due
    }

    /// When the first slot that is not empty is due.
    fn next_slot(&self) -> Option<u64> {
        let from = (self.start % SPAN) as usize;
        let word = from / 64;
        let here = self.busy[word] >> (from % 64);
        if here != 0 {
            return Some(self.start + u64::from(here.trailing_zeros()));
        }
        // Once around, to the lower part of the same word.
        let ahead = self.busy_words.rotate_right(word as u32 + 1);
        if ahead == 0 {
            return None;
        }
        let word = (word + 1 + ahead.trailing_zeros() as usize) % WORDS;
        let slot = word as u64 * 64 + u64::from(self.busy[word].trailing_zeros());
        Some(self.start + (slot + SPAN - from as u64) % SPAN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// However far apart events are, and whenever they are scheduled, they come by time and then by age.
        #[test]
        fn events_come_by_time_and_then_by_age(steps in prop::collection::vec((prop_oneof![0u64..4, 0u64..5_000, 0u64..100_000], 0u8..4), 1..400)) {
            let mut agenda = Agenda::default();
            let mut expected = BTreeMap::new();
            let mut now = 0;
            for (number, &(ahead, takes)) in (0u32..).zip(&steps) {
                let due = Due::Opening(StreamId(number));
                agenda.schedule(Instant::from_millis(now + ahead), due);
                expected.insert((now + ahead, number), due);
                // A look that is too early changes nothing.
                let first = expected.first_key_value().map_or(now, |(&(at, _), _)| at);
                prop_assert!(first == 0 || agenda.take(Instant::from_millis(first - 1)).is_none());
                for _ in 0..takes {
                    let first = expected.pop_first().map(|((at, _), due)| (Instant::from_millis(at), due));
                    prop_assert_eq!(agenda.take(Instant::from_millis(u64::MAX)), first);
                    now = first.map_or(now, |(at, _)| at.as_millis());
                }
            }
            for ((at, _), due) in expected {
                prop_assert_eq!(agenda.take(Instant::from_millis(u64::MAX)), Some((Instant::from_millis(at), due)));
            }
            prop_assert_eq!(agenda.take(Instant::from_millis(u64::MAX)), None);
        }
    }
}
