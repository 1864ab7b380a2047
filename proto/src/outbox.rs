//! Where unacknowledged messages wait: a small trait, and the two stores most callers need.

/// Messages that were handed to the session and are not acknowledged, oldest first.
///
/// The session numbers them by position: it never asks an outbox to know a sequence number. Implement it over whatever the
/// platform has; [`SliceOutbox`] is for a device without an allocator, `VecOutbox` (feature `alloc`) for a server.
pub trait Outbox {
    /// How many messages wait.
    fn len(&self) -> usize;

    /// Whether none waits.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of the text at `index`, counted from the oldest; `None` past the end.
    fn get(&self, index: usize) -> Option<&[u8]>;

    /// The slot that the message at `index` was given, if any.
    fn slot(&self, index: usize) -> Option<u8>;

    /// Appends a message.
    ///
    /// # Errors
    /// [`Full`] when there is no room; nothing has changed then.
    fn push(&mut self, slot: Option<u8>, text: &str) -> Result<(), Full>;

    /// Puts another text in the place of the one at `index`; the slot stays.
    ///
    /// # Errors
    /// [`Full`] when the new text does not fit, or there is no such message; nothing has changed then.
    fn replace(&mut self, index: usize, text: &str) -> Result<(), Full>;

    /// Forgets the `count` oldest messages, or all if there are fewer.
    fn pop(&mut self, count: usize);
}

/// The outbox has no room for this message now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Full;

/// An outbox over a byte slice of the caller: each message takes its text and four bytes.
///
/// Records lie one after the other; what was acknowledged at the front is reclaimed when the end of the slice is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SliceOutbox<B> {
    buffer: B,
    head: usize,
    tail: usize,
    len: usize,
}

/// Two bytes of length, one that says whether there is a slot, one for the slot.
const RECORD: usize = 4;

impl<B: AsRef<[u8]> + AsMut<[u8]>> SliceOutbox<B> {
    /// An empty outbox over `buffer`.
    pub const fn new(buffer: B) -> Self {
        Self { buffer, head: 0, tail: 0, len: 0 }
    }

    /// Gives the buffer back.
    pub fn into_inner(self) -> B {
        self.buffer
    }

    fn record(&self, at: usize) -> Option<(usize, Option<u8>)> {
        match self.buffer.as_ref().get(at..self.tail)? {
            &[low, high, has_slot, slot, ..] => {
                Some((usize::from(u16::from_le_bytes([low, high])), (has_slot != 0).then_some(slot)))
            }
            _ => None,
        }
    }

    fn find(&self, index: usize) -> Option<usize> {
        if index >= self.len {
            return None;
        }
        let mut at = self.head;
        for _ in 0..index {
            at += RECORD + self.record(at)?.0;
        }
        Some(at)
    }

    /// Moves all records to the front of the buffer.
    fn compact(&mut self) {
        self.buffer.as_mut().copy_within(self.head..self.tail, 0);
        self.tail -= self.head;
        self.head = 0;
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Outbox for SliceOutbox<B> {
    fn len(&self) -> usize {
        self.len
    }

    fn get(&self, index: usize) -> Option<&[u8]> {
        let at = self.find(index)?;
        let (length, _) = self.record(at)?;
        self.buffer.as_ref().get(at + RECORD..at + RECORD + length)
    }

    fn slot(&self, index: usize) -> Option<u8> {
        self.record(self.find(index)?)?.1
    }

    fn push(&mut self, slot: Option<u8>, text: &str) -> Result<(), Full> {
        let length = u16::try_from(text.len()).map_err(|_| Full)?;
        let size = RECORD + text.len();
        let capacity = self.buffer.as_ref().len();
        if capacity - self.tail < size {
            if capacity - (self.tail - self.head) < size {
                return Err(Full);
            }
            self.compact();
        }
        let record = self.buffer.as_mut().get_mut(self.tail..self.tail + size).ok_or(Full)?;
        let (header, body) = record.split_at_mut(RECORD);
        let [low, high] = length.to_le_bytes();
        header.copy_from_slice(&[low, high, u8::from(slot.is_some()), slot.unwrap_or(0)]);
        body.copy_from_slice(text.as_bytes());
        self.tail += size;
        self.len += 1;
        Ok(())
    }

    fn replace(&mut self, index: usize, text: &str) -> Result<(), Full> {
        let length = u16::try_from(text.len()).map_err(|_| Full)?;
        let (old, _) = self.find(index).and_then(|at| self.record(at)).ok_or(Full)?;
        if self.buffer.as_ref().len() - (self.tail - self.head) + old < text.len() {
            return Err(Full);
        }
        self.compact();
        let at = self.find(index).ok_or(Full)?;
        let rest = at + RECORD + old..self.tail;
        let buffer = self.buffer.as_mut();
        buffer.copy_within(rest, at + RECORD + text.len());
        buffer[at..at + 2].copy_from_slice(&length.to_le_bytes());
        buffer[at + RECORD..at + RECORD + text.len()].copy_from_slice(text.as_bytes());
        self.tail = self.tail - old + text.len();
        Ok(())
    }

    fn pop(&mut self, count: usize) {
        for _ in 0..count.min(self.len) {
            let Some((length, _)) = self.record(self.head) else { break };
            self.head += RECORD + length;
            self.len -= 1;
        }
        if self.len == 0 {
            (self.head, self.tail) = (0, 0);
        }
    }
}

#[cfg(feature = "alloc")]
pub use growing::VecOutbox;

#[cfg(feature = "alloc")]
mod growing {
    use super::{Full, Outbox};
    use alloc::{boxed::Box, collections::VecDeque};

    /// An outbox on the heap, bounded by a number of messages and a number of bytes of text.
    ///
    /// While it is empty it owns room for a few entries at most.
    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    pub struct VecOutbox {
        messages: VecDeque<(Box<str>, Option<u8>)>,
        bytes: u32,
        max_messages: u32,
        max_bytes: u32,
    }

    impl VecOutbox {
        /// An outbox of at most `max_messages` messages that hold at most `max_bytes` bytes of text together.
        pub const fn new(max_messages: u32, max_bytes: u32) -> Self {
            Self { messages: VecDeque::new(), bytes: 0, max_messages, max_bytes }
        }

        /// How many bytes of text it holds at most.
        pub const fn max_bytes(&self) -> u32 {
            self.max_bytes
        }
    }

    /// An empty outbox keeps room for this many entries, so that one message at a time does not allocate the queue anew.
    const IDLE_CAPACITY: usize = 4;

    /// A text's share of the byte bound; a text beyond 4 GiB fits no outbox.
    fn size(text: &str) -> u32 {
        u32::try_from(text.len()).unwrap_or(u32::MAX)
    }

    impl Outbox for VecOutbox {
        fn len(&self) -> usize {
            self.messages.len()
        }

        fn get(&self, index: usize) -> Option<&[u8]> {
            self.messages.get(index).map(|(text, _)| text.as_bytes())
        }

        fn slot(&self, index: usize) -> Option<u8> {
            self.messages.get(index)?.1
        }

        fn push(&mut self, slot: Option<u8>, text: &str) -> Result<(), Full> {
            let bytes = self.bytes.checked_add(size(text)).filter(|&bytes| bytes <= self.max_bytes).ok_or(Full)?;
            if self.messages.len() >= self.max_messages as usize {
                return Err(Full);
            }
            self.messages.push_back((text.into(), slot));
            self.bytes = bytes;
            Ok(())
        }

        fn replace(&mut self, index: usize, text: &str) -> Result<(), Full> {
            let (old, _) = self.messages.get_mut(index).ok_or(Full)?;
            let bytes = (self.bytes - size(old)).checked_add(size(text)).filter(|&bytes| bytes <= self.max_bytes).ok_or(Full)?;
            *old = text.into();
            self.bytes = bytes;
            Ok(())
        }

        fn pop(&mut self, count: usize) {
            for (text, _) in self.messages.drain(..count.min(self.messages.len())) {
                self.bytes -= size(&text);
            }
            if self.messages.is_empty() && self.messages.capacity() > IDLE_CAPACITY {
                self.messages = VecDeque::new();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_outbox_reclaims_what_was_acknowledged() {
        let mut outbox = SliceOutbox::new([0; 32]);
        for round in 0..50 {
            let text = ["a", "bcd", "", "efghij"][round % 4];
            outbox.push(None, text).expect("there is room for two");
            outbox.push(Some(7), "twelve bytes").expect("there is room for two");
            assert_eq!(outbox.push(None, "too much for it"), Err(Full));
            assert_eq!((outbox.get(0), outbox.get(1), outbox.get(2)), (Some(text.as_bytes()), Some(&b"twelve bytes"[..]), None));
            outbox.pop(1);
            assert_eq!((outbox.get(0), outbox.slot(0)), (Some(&b"twelve bytes"[..]), Some(7)));
            outbox.pop(1);
        }
    }

    #[test]
    fn a_replacement_moves_what_stands_behind_it() {
        let mut outbox = SliceOutbox::new([0; 24]);
        outbox.push(None, "x").expect("room");
        outbox.push(Some(1), "old").expect("room");
        outbox.push(None, "tail").expect("room");
        outbox.pop(1);
        outbox.replace(0, "newer text").expect("it fits once the front is reclaimed");
        assert_eq!((outbox.get(0), outbox.slot(0), outbox.get(1)), (Some(&b"newer text"[..]), Some(1), Some(&b"tail"[..])));
        assert_eq!(outbox.replace(0, "much longer than there is room for"), Err(Full));
        assert_eq!(outbox.get(0), Some(&b"newer text"[..]));
    }
}
