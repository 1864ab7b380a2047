//! What the server printed, judged by what both ends declare. The server keeps nothing over its own end, and of the boards one does.

use crate::stage::Printed;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The most that is on its way at one moment, and may be repeated or lost when an end forgets it: the windows and the board's outbox.
const ON_ITS_WAY: u64 = 64;

/// Messages of the device in the order in which the server printed them.
#[derive(Default)]
pub(crate) struct Judge {
    /// Whether the board keeps both directions over a reset.
    pub(crate) is_durable: bool,
    boot: Option<u64>,
    /// The number that comes next.
    next: u64,
    counted: u64,
    repeated: u64,
    /// What is answered of each life of the server: the number that comes next.
    answers: BTreeMap<u64, u64>,
    /// Resets of the board that its messages have not told of; of resets in quick succession some never are.
    resets: u32,
    resets_seen: u32,
    resets_made: u32,
    /// How many messages had been counted when the board was reset last, and how many of the start before came after that.
    counted_then: u64,
    late: u64,
    /// Whether the server may have forgotten that it printed the last messages, and what the device may say twice for that.
    may_repeat: bool,
    /// In which lives of the server the next answer is the first of a start of the board, before which it may have forgotten some.
    may_skip: BTreeSet<u64>,
    /// In which life of the server something was heard.
    heard: u64,
    life: u64,
}

impl Judge {
    pub(crate) fn new(is_durable: bool) -> Self {
        Self { is_durable, ..Self::default() }
    }

    /// The server ends here without memory.
    pub(crate) fn expect_repeats(&mut self) {
        self.may_repeat = true;
        self.life += 1;
    }

    /// The board ends here without memory.
    pub(crate) fn expect_reset(&mut self) {
        (self.resets, self.resets_made) = (self.resets + 1, self.resets_made + 1);
        self.counted_then = self.counted;
    }

    pub(crate) fn was_heard_in(&self, life: u64) -> bool {
        self.heard > 0 && self.heard - 1 == life
    }

    /// How many texts of this life of the server the device has answered.
    pub(crate) fn answered(&self, life: u64) -> u64 {
        self.answers.get(&life).copied().unwrap_or(0)
    }

    /// How many messages of the start before the last reset came after it.
    pub(crate) fn late(&self) -> u64 {
        self.late
    }

    pub(crate) fn counted(&self) -> u64 {
        self.counted
    }

    /// A message that the server of this life has printed.
    pub(crate) fn hear(&mut self, (life, text): &Printed) {
        self.heard = life + 1;
        let mut words = text.split(' ');
        let kind = words.next();
        let numbers: Vec<u64> = words.filter_map(|word| word.parse().ok()).collect();
        match (kind, &numbers[..]) {
            (Some("u"), &[boot, number]) => self.count(boot, number),
            (Some("g"), &[boot, life, number]) => {
                self.note_boot(boot, text);
                self.answer(life, number);
            }
            _ => panic!("the device never says {text:?}"),
        }
    }

    fn note_boot(&mut self, boot: u64, text: &str) {
        match self.boot {
            Some(known) if known == boot => {}
            None => self.boot = Some(boot),
            Some(known) => {
                assert!(self.resets > 0, "{text:?} is of another start than {known}, and nobody has reset the board");
                self.resets -= 1;
                (self.resets_seen, self.late) = (self.resets_seen + 1, self.counted - self.counted_then);
                (self.boot, self.next, self.may_repeat) = (Some(boot), 0, false);
                self.may_skip = (0..=self.life).collect();
            }
        }
    }

    fn count(&mut self, boot: u64, number: u64) {
        self.note_boot(boot, "u");
        if number < self.next && self.may_repeat {
            assert!(self.next - number <= ON_ITS_WAY, "{number} comes again, and {} was to come", self.next);
            self.repeated += self.next - number;
            (self.next, self.may_repeat) = (number, false);
        }
        assert_eq!(number, self.next, "a message of start {boot} is lost, repeated or out of order");
        self.next += 1;
        self.counted += 1;
    }

    fn answer(&mut self, life: u64, number: u64) {
        let next = self.answers.entry(life).or_default();
        let forgot = self.may_skip.remove(&life);
        if number != *next {
            let forgiven = forgot || life < self.life;
            assert!(forgiven, "answer {number} of life {life} is lost, repeated or out of order: {next} was to come");
            // The board answers before it accepts, in two steps: between them a reset has it answer twice.
            let is_twice = number + 1 == *next;
            assert!(
                is_twice || !self.is_durable || life < self.life,
                "answer {number} of life {life} is lost: {next} was to come"
            );
            assert!(number.abs_diff(*next) <= ON_ITS_WAY, "answer {number} of life {life}, where {next} was to come");
            *next = number;
        }
        *next += 1;
    }

    /// What is to hold at the end besides, when the board has started so often.
    pub(crate) fn verdict(&self, starts: u32) {
        assert!(starts <= 1 + self.resets_made, "the board has started {starts} times, after {} resets", self.resets_made);
        assert!(self.resets_seen >= 2, "the board was reset, and it showed");
    }
}

impl fmt::Display for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answers: u64 = self.answers.values().sum();
        let (counted, repeated, resets) = (self.counted, self.repeated, self.resets_seen);
        write!(f, "{counted} messages up, {answers} down, {resets} resets, {} restarts, {repeated} repeated for them", self.life)
    }
}
