//! Ids of classic messages: 0 after power-up, then 1 to 255 for ever; and the list that tells a repeat from news.

use super::super::Receipt;

/// The places an id can be ahead of the newest one and still be news: half of the circle of 255.
const AHEAD_MAX: u16 = 127;

/// A set of small numbers, taken modulo its size of 32 for each word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Set<const WORDS: usize>([u32; WORDS]);

/// A set of the 256 ids.
pub(crate) type Ids = Set<8>;

impl<const WORDS: usize> Default for Set<WORDS> {
    fn default() -> Self {
        Self([0; WORDS])
    }
}

impl<const WORDS: usize> Set<WORDS> {
    pub(crate) fn from_words(words: [u32; WORDS]) -> Self {
        Self(words)
    }

    pub(crate) fn words(self) -> [u32; WORDS] {
        self.0
    }

    pub(crate) fn contains(&self, member: u64) -> bool {
        self.0.get(Self::word(member)).is_some_and(|word| word & Self::bit(member) != 0)
    }

    pub(crate) fn insert(&mut self, member: u64) {
        if let Some(word) = self.0.get_mut(Self::word(member)) {
            *word |= Self::bit(member);
        }
    }

    /// Takes a member out; whether it was one.
    pub(crate) fn remove(&mut self, member: u64) -> bool {
        let was = self.contains(member);
        if let Some(word) = self.0.get_mut(Self::word(member)) {
            *word &= !Self::bit(member);
        }
        was
    }

    pub(crate) fn len(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|&word| word == 0)
    }

    /// The smallest member.
    pub(crate) fn min(&self) -> Option<u8> {
        let index = self.0.iter().position(|&word| word != 0)?;
        Some(index as u8 * 32 + self.0.get(index)?.trailing_zeros() as u8)
    }

    /// The greatest member.
    pub(crate) fn max(&self) -> Option<u8> {
        let index = self.0.iter().rposition(|&word| word != 0)?;
        Some(index as u8 * 32 + 31 - self.0.get(index)?.leading_zeros() as u8)
    }

    pub(crate) fn and(self, other: Self) -> Self {
        self.zip(other, |mine, theirs| mine & theirs)
    }

    pub(crate) fn or(self, other: Self) -> Self {
        self.zip(other, |mine, theirs| mine | theirs)
    }

    pub(crate) fn minus(self, other: Self) -> Self {
        self.zip(other, |mine, theirs| mine & !theirs)
    }

    fn zip(mut self, other: Self, combine: impl Fn(u32, u32) -> u32) -> Self {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine = combine(*mine, theirs);
        }
        self
    }

    fn word(member: u64) -> usize {
        (member as usize / 32) % WORDS
    }

    fn bit(member: u64) -> u32 {
        1 << (member % 32)
    }
}

/// The id that stands at a place of a sender's count, which begins at 0 when its program starts.
pub(crate) fn id_at(place: u64) -> u8 {
    // HL-0028
    match place {
        0 => 0,
        _ => ((place - 1) % 255) as u8 + 1,
    }
}

/// How far `id` is ahead of `newest` on the circle of 255; 0 stands where 255 does.
fn ahead(newest: u8, id: u8) -> u16 {
    (u16::from(id) + 255 - u16::from(newest)) % 255
}

/// What was received, what the application has of it, and what is owed to the peer for it.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Receiving {
    newest: Option<u8>,
    /// Ids whose message was taken. Those ahead of `newest` mean nothing.
    taken: Ids,
    /// Ids whose message the application has not accepted.
    waiting: Ids,
    /// Ids received on the present link.
    on_link: Ids,
    /// Ids whose acknowledgement the peer waits for on the present link.
    owed: Ids,
    /// Counts links.
    link: u64,
    /// The link on which the last id 0 was taken: only its receipt counts.
    zero_link: u64,
}

/// What a message line turns out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// News; `reset`: the peer has begun anew with it.
    New { receipt: Receipt, reset: bool },
    /// Seen before.
    Duplicate,
    /// News, but the application still holds the last message of that id.
    Held,
}

impl Receiving {
    pub(crate) fn restore(newest: Option<u8>, taken: Ids) -> Self {
        Self { newest, taken, ..Self::default() }
    }

    /// The last id taken, and the ids whose messages were accepted.
    pub(crate) fn accepted(&self) -> (Option<u8>, Ids) {
        (self.newest, self.taken.minus(self.waiting))
    }

    pub(crate) fn begin_link(&mut self) {
        self.link += 1;
        self.on_link = Ids::default();
        self.owed = Ids::default();
    }

    /// Keeps, of what is owed, what can be said at once, if anything still can be.
    pub(crate) fn end_link(&mut self, can_speak: bool) {
        self.owed = if can_speak { self.ready() } else { Ids::default() };
    }

    /// Judges the id of a message line.
    pub(crate) fn arrive(&mut self, id: u8) -> Arrival {
        let member = u64::from(id);
        let ahead = match self.newest {
            Some(newest) if id != 0 => ahead(newest, id),
            _ => 0,
        };
        let forward = (1..=AHEAD_MAX).contains(&ahead);
        let news = match self.newest {
            // HL-0033
            None => true,
            // HL-0036: a power cycle makes a new link.
            Some(_) if id == 0 => !self.on_link.contains(0),
            // HL-0034
            Some(_) => forward || !self.taken.contains(member),
        };
        if !news {
            self.on_link.insert(member);
            self.owed.insert(member);
            return Arrival::Duplicate;
        }
        // Two receipts of one id could not be told apart.
        if id != 0 && self.waiting.contains(member) {
            self.owed.remove(member);
            return Arrival::Held;
        }
        let reset = id == 0 && self.newest.is_some();
        match self.newest {
            Some(_) if id == 0 => self.begin_anew(),
            Some(newest) if forward => {
                self.skip(newest, ahead);
                self.newest = Some(id);
            }
            Some(_) => {}
            None => self.newest = Some(id),
        }
        if id == 0 {
            self.zero_link = self.link;
        }
        for set in [&mut self.taken, &mut self.waiting, &mut self.on_link, &mut self.owed] {
            set.insert(member);
        }
        Arrival::New { receipt: Receipt { epoch: self.link, seq: member, sum: 0 }, reset }
    }

    /// The peer's power came back. What it has sent on this link before its message 0 came late is of its new stream.
    fn begin_anew(&mut self) {
        // HL-0035
        self.taken = self.on_link;
        self.newest = Some(self.on_link.max().unwrap_or(0));
    }

    /// Forgets what ids between `newest` and the one `ahead` of it meant a round ago.
    fn skip(&mut self, newest: u8, ahead: u16) {
        for step in 1..u64::from(ahead) {
            let skipped = u64::from(id_at(u64::from(newest) + step));
            self.taken.remove(skipped);
            self.owed.remove(skipped);
        }
    }

    /// The application has taken this message; `false` if that changes nothing.
    pub(crate) fn accept(&mut self, receipt: Receipt) -> bool {
        self.holds(receipt) && self.waiting.remove(receipt.seq)
    }

    /// The application has no room for this message: as if it had never come.
    pub(crate) fn decline(&mut self, receipt: Receipt) -> bool {
        let held = self.holds(receipt);
        if held {
            // HL-0044
            for set in [&mut self.taken, &mut self.waiting, &mut self.on_link, &mut self.owed] {
                set.remove(receipt.seq);
            }
        }
        held
    }

    fn holds(&self, receipt: Receipt) -> bool {
        let is_latest = receipt.seq != 0 || receipt.epoch == self.zero_link;
        is_latest && receipt.seq <= u64::from(u8::MAX) && self.waiting.contains(receipt.seq)
    }

    /// Ids to be acknowledged now.
    fn ready(&self) -> Ids {
        self.owed.minus(self.waiting)
    }

    /// The next id to be acknowledged.
    pub(crate) fn next_ack(&self) -> Option<u8> {
        self.ready().min()
    }

    pub(crate) fn acked(&mut self, id: u8) {
        self.owed.remove(id.into());
    }
}
