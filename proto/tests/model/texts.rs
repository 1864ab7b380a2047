//! An outbox of one-letter texts, small and with one representation for each content, so that equal states look equal.

use holdline_proto::{Full, Outbox};

/// At most this many messages are sent each way.
pub const MESSAGES: usize = 3;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Texts {
    letters: [u8; MESSAGES],
    len: u8,
}

impl Texts {
    /// Which messages wait, as a set.
    pub fn set(&self) -> Set {
        self.letters[..self.len()].iter().fold(Set::default(), |set, &letter| set.with(number_of(letter)))
    }

    /// The messages that wait, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        self.letters.into_iter().take(self.len()).map(number_of)
    }
}

/// The letter of a message: 0 is `a`.
pub fn letter(message: usize) -> &'static str {
    ["a", "b", "c"][message]
}

fn number_of(letter: u8) -> usize {
    usize::from(letter - b'a')
}

/// The message that a text is.
pub fn message(text: &str) -> usize {
    number_of(text.as_bytes()[0])
}

impl Outbox for Texts {
    fn len(&self) -> usize {
        usize::from(self.len)
    }

    fn get(&self, index: usize) -> Option<&[u8]> {
        self.letters[..self.len()].get(index..=index)
    }

    fn slot(&self, _: usize) -> Option<u8> {
        None
    }

    fn push(&mut self, _: Option<u8>, text: &str) -> Result<(), Full> {
        let end = self.len();
        *self.letters.get_mut(end).ok_or(Full)? = text.as_bytes()[0];
        self.len += 1;
        Ok(())
    }

    fn replace(&mut self, _: usize, _: &str) -> Result<(), Full> {
        Err(Full)
    }

    fn pop(&mut self, count: usize) {
        let count = count.min(self.len());
        self.letters.copy_within(count.., 0);
        self.len -= count as u8;
        self.letters[usize::from(self.len)..].fill(0);
    }
}

/// A set of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Set(u8);

impl Set {
    pub fn first(count: u8) -> Self {
        Self((1 << count) - 1)
    }

    pub fn has(self, message: usize) -> bool {
        self.0 & 1 << message != 0
    }

    #[must_use]
    pub fn with(self, message: usize) -> Self {
        Self(self.0 | 1 << message)
    }

    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..MESSAGES).filter(move |&message| self.has(message))
    }
}
