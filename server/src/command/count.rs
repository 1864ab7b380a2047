//! Numbered messages: how a receiver tells what was lost, repeated or reordered.

use serde::Serialize;
use std::fmt;
use std::ops::RangeInclusive;

/// The number of a message, written `count=17 run=5f3a91c2`. A run is one start of a sender: it counts from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Numbered<'t> {
    pub(super) number: u64,
    pub(super) run: &'t str,
}

impl<'t> Numbered<'t> {
    /// Reads a text of this form; `run=` may be missing.
    pub(super) fn read(text: &'t str) -> Option<Self> {
        let (number, run) = text.strip_prefix("count=")?.split_once(" run=").unwrap_or((text.strip_prefix("count=")?, ""));
        Some(Self { number: number.parse().ok().filter(|&number| number > 0)?, run })
    }
}

impl fmt::Display for Numbered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, run } = self;
        if run.is_empty() { write!(f, "count={number}") } else { write!(f, "count={number} run={run}") }
    }
}

/// A name for a run that is unlikely to be used twice.
pub(super) fn new_run() -> String {
    use std::hash::{BuildHasher, Hasher, RandomState};
    format!("{:08x}", RandomState::new().build_hasher().finish() & 0xffff_ffff)
}

/// How long a list of gaps may get; a sender that makes more of them is miscounted in its own disfavour.
const GAPS_MAX: usize = 1_024;

/// What became of the messages of one run, as their receiver sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Count {
    run: String,
    /// The number of the first message: 1, unless this receiver came later than the sender.
    from: u64,
    /// The highest number so far.
    to: u64,
    received: u64,
    lost: u64,
    repeated: u64,
    reordered: u64,
    #[serde(skip)]
    gaps: Vec<RangeInclusive<u64>>,
}

impl Count {
    /// Counts from the first message that arrives.
    pub(super) fn of(run: &str) -> Self {
        Self { run: run.into(), ..Self::default() }
    }

    /// Counts from 1: what is missing before the first message that arrives is lost.
    pub(super) fn from_one(run: &str) -> Self {
        Self { from: 1, ..Self::of(run) }
    }

    pub(super) fn run(&self) -> &str {
        &self.run
    }

    pub(super) fn received(&self) -> u64 {
        self.received
    }

    pub(super) fn repeated(&self) -> u64 {
        self.repeated
    }

    pub(super) fn reordered(&self) -> u64 {
        self.reordered
    }

    /// How many messages have been passed over.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// Whether nothing was lost, repeated or reordered.
    pub(super) fn is_clean(&self) -> bool {
        (self.lost, self.repeated, self.reordered) == (0, 0, 0)
    }

    /// Takes the number of a message that has arrived.
    pub(super) fn take(&mut self, number: u64) {
        if self.from == 0 {
            (self.from, self.to) = (number, number - 1);
        }
        if number > self.to {
            if number > self.to + 1 {
                self.lost += number - self.to - 1;
                self.gaps.push(self.to + 1..=number - 1);
                if self.gaps.len() > GAPS_MAX {
                    self.gaps.remove(0);
                }
            }
            self.to = number;
            self.received += 1;
        } else if self.fill_gap(number) {
            self.lost -= 1;
            self.reordered += 1;
            self.received += 1;
        } else {
            self.repeated += 1;
        }
    }

    /// Takes a number out of the gaps, if it is in one.
    fn fill_gap(&mut self, number: u64) -> bool {
        let Some(index) = self.gaps.iter().position(|gap| gap.contains(&number)) else { return false };
        let gap = self.gaps.swap_remove(index);
        self.gaps.extend([*gap.start()..=number - 1, number + 1..=*gap.end()].into_iter().filter(|part| !part.is_empty()));
        true
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { run, from, to, received, lost, repeated, reordered, .. } = self;
        if !run.is_empty() {
            write!(f, "run {run}: ")?;
        }
        write!(f, "{from} to {to}, {received} received, {lost} lost, {repeated} repeated, {reordered} reordered")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_are_written() {
        for numbered in [Numbered { number: 17, run: "5f3a91c2" }, Numbered { number: 1, run: "" }] {
            assert_eq!(Numbered::read(&numbered.to_string()), Some(numbered));
        }
        for other in ["", "count", "count=", "count=0", "count=x", "count=-1 run=a", "17"] {
            assert_eq!(Numbered::read(other), None, "{other}");
        }
    }

    #[test]
    fn what_goes_wrong_is_counted() {
        let count = |numbers: &[u64]| {
            let mut count = Count::from_one("a");
            numbers.iter().for_each(|&number| count.take(number));
            (count.received, count.lost, count.repeated, count.reordered)
        };
        assert_eq!(count(&[1, 2, 3]), (3, 0, 0, 0));
        assert_eq!(count(&[1, 2, 2, 3, 1]), (3, 0, 2, 0));
        assert_eq!(count(&[1, 5, 6]), (3, 3, 0, 0));
        assert_eq!(count(&[1, 5, 3, 6]), (4, 2, 0, 1));
        assert_eq!(count(&[1, 5, 3, 3, 2, 4]), (5, 0, 1, 3));
        assert_eq!(count(&[3, 4]), (2, 2, 0, 0));
    }

    #[test]
    fn a_receiver_that_came_later_counts_from_there() {
        let mut count = Count::of("a");
        [58, 59, 61].into_iter().for_each(|number| count.take(number));
        assert_eq!(count.to_string(), "run a: 58 to 61, 3 received, 1 lost, 0 repeated, 0 reordered");
        assert!(!count.is_clean());
    }
}
