//! One buffer for what was received: messages that wait for the application in front, bytes that are no whole line yet behind.
//!
//! A message stays where it arrived until the application takes it. So a device with room for one long line has room for one
//! long message, or for many short ones, without a second copy of either.
//!
//! Before there is any input on a link its place is that of the greeting, which is longer than most lines and answered by another.

use holdline_proto::{Message, Receipt};

/// What a waiting message takes besides its text: two bytes of length, one that says whether there is a receipt, and the receipt.
pub(crate) const RECORD: usize = 23;

#[derive(Debug)]
pub(crate) struct Inbox<'b> {
    buffer: &'b mut [u8],
    /// Where the messages end and the input begins.
    queued: usize,
    /// Where the input ends.
    filled: usize,
    messages: u16,
    /// Whether what arrives is dropped up to the end of its line.
    skipping: bool,
    /// Whether a greeting that is to be transmitted is where the input will be; nothing is put meanwhile.
    greeting: bool,
}

/// The oldest message, still in its place.
pub(crate) struct Record {
    pub(crate) len: usize,
    pub(crate) receipt: Option<Receipt>,
}

/// Where a message lies in the input, once the borrow of its text is over.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    at: usize,
    len: usize,
    receipt: Option<Receipt>,
}

impl Place {
    /// The place of a message that was lent from `input`.
    pub(crate) fn of(message: &Message<'_>, input: &[u8]) -> Self {
        let at = (message.text.as_ptr() as usize).wrapping_sub(input.as_ptr() as usize);
        Self { at, len: message.text.len(), receipt: message.receipt }
    }
}

impl<'b> Inbox<'b> {
    pub(crate) fn new(buffer: &'b mut [u8]) -> Self {
        Self { buffer, queued: 0, filled: 0, messages: 0, skipping: false, greeting: false }
    }

    /// How many messages wait.
    pub(crate) fn messages(&self) -> u16 {
        self.messages
    }

    /// What is not consumed yet.
    pub(crate) fn input(&self) -> &[u8] {
        self.buffer.get(self.queued..self.filled).unwrap_or_default()
    }

    /// The length of the first whole line, with its LF.
    pub(crate) fn line(&self) -> Option<usize> {
        self.input().iter().position(|&byte| byte == b'\n').map(|lf| lf + 1)
    }

    /// Has a greeting written where the input will be; `write` returns its length, or 0 if there is no room or no greeting.
    pub(crate) fn greet(&mut self, write: impl FnOnce(&mut [u8]) -> usize) {
        if self.filled == self.queued {
            self.filled += write(self.buffer.get_mut(self.queued..).unwrap_or_default());
            self.greeting = self.filled > self.queued;
        }
    }

    /// Moves as much of the greeting as fits to the start of `into`, and returns how much that was.
    pub(crate) fn take_greeting(&mut self, into: &mut [u8]) -> usize {
        if !self.greeting {
            return 0;
        }
        let count = self.input().len().min(into.len());
        into.iter_mut().zip(self.input()).for_each(|(to, from)| *to = *from);
        self.consume(count);
        self.greeting = self.filled > self.queued;
        count
    }

    pub(crate) fn has_greeting(&self) -> bool {
        self.greeting
    }

    /// Appends as much as fits, and returns how much that was. What belongs to a line that is being skipped fits always.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> usize {
        if self.skipping {
            return match bytes.iter().position(|&byte| byte == b'\n') {
                Some(lf) => {
                    self.skipping = false;
                    lf + 1
                }
                None => bytes.len(),
            };
        }
        let count = bytes.len().min(self.room());
        if let (Some(to), Some(from)) = (self.buffer.get_mut(self.filled..self.filled + count), bytes.get(..count)) {
            to.copy_from_slice(from);
        }
        self.filled += count;
        count
    }

    /// How many bytes of input have room, besides the record of the message that they may end.
    fn room(&self) -> usize {
        self.buffer.len().saturating_sub(self.filled + RECORD)
    }

    /// Whether a line that is not complete has no room to become so.
    pub(crate) fn is_full(&self) -> bool {
        self.room() == 0
    }

    pub(crate) fn is_skipping(&self) -> bool {
        self.skipping
    }

    /// Drops the line that has no room, and what will come of it.
    pub(crate) fn skip(&mut self) {
        self.clear_input();
        self.skipping = true;
    }

    /// Forgets input that belongs to a link that is over.
    pub(crate) fn clear_input(&mut self) {
        self.filled = self.queued;
        (self.skipping, self.greeting) = (false, false);
    }

    /// Drops consumed input.
    pub(crate) fn consume(&mut self, count: usize) {
        let from = (self.queued + count).min(self.filled);
        self.buffer.copy_within(from..self.filled, self.queued);
        self.filled -= from - self.queued;
    }

    /// Whether a message of the line that comes next, be it as long as the line, has a place to wait.
    pub(crate) fn has_place(&self) -> bool {
        self.filled + RECORD <= self.buffer.len()
    }

    /// Drops consumed input, all but the message in it, which waits from now on. There is a place for it.
    pub(crate) fn keep(&mut self, consumed: usize, message: Place) {
        let Place { at, len, receipt } = message;
        let text = self.queued + at;
        let (start, rest) = (self.queued + RECORD, self.queued + consumed);
        let end = start + len;
        let moved = end + self.filled - rest;
        if moved > self.buffer.len() {
            debug_assert!(false, "the caller asks `has_place` first");
            return self.consume(consumed);
        }
        if end > rest {
            self.buffer.copy_within(rest..self.filled, end);
            self.buffer.copy_within(text..text + len, start);
        } else {
            self.buffer.copy_within(text..text + len, start);
            self.buffer.copy_within(rest..self.filled, end);
        }
        self.write_record(len, receipt);
        (self.queued, self.filled) = (end, moved);
        self.messages += 1;
    }

    fn write_record(&mut self, len: usize, receipt: Option<Receipt>) {
        let Receipt { epoch, seq, sum } = receipt.unwrap_or(Receipt { epoch: 0, seq: 0, sum: 0 });
        if let Some([l0, l1, has, rest @ ..]) = self.buffer.get_mut(self.queued..self.queued + RECORD) {
            [*l0, *l1] = (len as u16).to_le_bytes();
            *has = u8::from(receipt.is_some());
            let (numbers, tail) = rest.split_at_mut(16);
            let (first, second) = numbers.split_at_mut(8);
            first.copy_from_slice(&epoch.to_le_bytes());
            second.copy_from_slice(&seq.to_le_bytes());
            tail.copy_from_slice(&sum.to_le_bytes());
        }
    }

    /// The oldest message.
    pub(crate) fn peek(&self) -> Option<Record> {
        if self.messages == 0 {
            return None;
        }
        let (&[l0, l1, has, ref rest @ ..], _) = self.buffer.split_first_chunk::<RECORD>()?;
        let (epoch, rest) = rest.split_first_chunk()?;
        let (seq, rest) = rest.split_first_chunk()?;
        let (sum, _) = rest.split_first_chunk()?;
        let receipt = Receipt { epoch: u64::from_le_bytes(*epoch), seq: u64::from_le_bytes(*seq), sum: u32::from_le_bytes(*sum) };
        Some(Record { len: usize::from(u16::from_le_bytes([l0, l1])), receipt: (has != 0).then_some(receipt) })
    }

    /// Takes the oldest message, whose text is copied to the start of `into`, as far as that has room.
    pub(crate) fn pop(&mut self, into: &mut [u8]) {
        let Some(Record { len, .. }) = self.peek() else { return };
        let end = RECORD + len;
        if let Some(text) = self.buffer.get(RECORD..end) {
            into.iter_mut().zip(text).for_each(|(to, from)| *to = *from);
        }
        self.buffer.copy_within(end..self.filled, 0);
        self.queued -= end;
        self.filled -= end;
        self.messages -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use std::{string::String, vec::Vec};

    fn feed(inbox: &mut Inbox<'_>, receipt: Option<Receipt>) {
        let consumed = inbox.line().expect("a whole line");
        assert!(inbox.has_place());
        let text = core::str::from_utf8(&inbox.input()[3..consumed - 1]).expect("UTF-8");
        let place = Place::of(&Message { text, receipt }, inbox.input());
        inbox.keep(consumed, place);
    }

    fn take(inbox: &mut Inbox<'_>) -> (String, Option<Receipt>) {
        let Record { len, receipt } = inbox.peek().expect("a message waits");
        let mut text = [0; 64];
        inbox.pop(&mut text);
        (String::from_utf8(text[..len].to_vec()).expect("UTF-8"), receipt)
    }

    #[test]
    fn messages_wait_in_front_of_the_input_they_came_from() {
        let receipt = |seq| Some(Receipt { epoch: u64::MAX - 1, seq, sum: 0xfedc_ba98 });
        for long in 0..40 {
            let mut buffer = [0; 160];
            let mut inbox = Inbox::new(&mut buffer);
            let first: String = "x".repeat(long);
            let input = std::format!("M1 {first}\nM2 two\nM3 th");
            assert_eq!(inbox.put(input.as_bytes()), input.len());
            feed(&mut inbox, receipt(1));
            feed(&mut inbox, receipt(2));
            assert_eq!((inbox.messages(), inbox.input(), inbox.line()), (2, &b"M3 th"[..], None));
            assert_eq!(take(&mut inbox), (first, receipt(1)));
            assert_eq!(inbox.put(b"ree\n"), 4);
            feed(&mut inbox, None);
            assert_eq!(take(&mut inbox), ("two".into(), receipt(2)));
            assert_eq!(take(&mut inbox), ("three".into(), None));
            assert_eq!((inbox.messages(), inbox.input().len(), inbox.peek().is_none()), (0, 0, true));
        }
    }

    #[test]
    fn a_greeting_leaves_from_behind_the_messages_while_they_are_read() {
        let hello: String = ('a'..='z').collect();
        for part in 1..=hello.len() {
            let mut buffer = [0; 100];
            let mut inbox = Inbox::new(&mut buffer);
            inbox.put(b"M1 one\nM2 two\n");
            feed(&mut inbox, None);
            feed(&mut inbox, None);
            let mut room = 0;
            let mut write = |into: &mut [u8]| {
                room = into.len();
                into.get_mut(..hello.len()).map_or(0, |into| {
                    into.copy_from_slice(hello.as_bytes());
                    hello.len()
                })
            };
            inbox.greet(&mut write);
            let mut sent = Vec::new();
            let mut into = std::vec![0; part];
            for text in ["one", "two", ""] {
                let count = inbox.take_greeting(&mut into);
                sent.extend_from_slice(&into[..count]);
                if !text.is_empty() {
                    assert_eq!(take(&mut inbox).0, text);
                }
            }
            while inbox.has_greeting() {
                let count = inbox.take_greeting(&mut into);
                sent.extend_from_slice(&into[..count]);
            }
            assert_eq!((sent, room), (hello.clone().into_bytes(), 100 - 2 * (RECORD + 3)));
            assert_eq!((inbox.put(b"HOLD/1"), inbox.take_greeting(&mut into)), (6, 0));
        }
    }

    #[test]
    fn a_line_without_a_place_is_skipped_to_its_end_and_no_further() {
        let mut buffer = [0; 60];
        let mut inbox = Inbox::new(&mut buffer);
        inbox.put(b"M1 x\n");
        feed(&mut inbox, None);
        let long: Vec<u8> = std::iter::repeat_n(b'y', 100).collect();
        assert_eq!(inbox.put(&long), 60 - 24 - RECORD);
        assert!(inbox.is_full() && inbox.line().is_none());
        inbox.skip();
        assert_eq!(inbox.put(&long), 100);
        assert_eq!(inbox.put(b"y\nA1\n"), 2);
        assert!(!inbox.is_skipping());
        assert_eq!(inbox.put(b"A1\n"), 3);
        assert_eq!(inbox.input(), b"A1\n");
        inbox.consume(3);
        assert_eq!(take(&mut inbox).0, "x");
    }
}
