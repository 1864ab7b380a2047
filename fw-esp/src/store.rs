//! What survives a loss of power: the outbox and both cursors, in a store of numbered records.
//!
//! One rule carries it: nothing goes on the wire that the store does not know. Before anything is transmitted the store holds every
//! message of the outbox and the cursors as they are. So what a peer was told is remembered.

use crate::channel::{Session, State};
use crate::transport::Clock;
use core::cell::RefCell;
use core::fmt;
use core::future::{Future, poll_fn};
use core::task::Poll;
use holdline_proto::native::Snapshot;
use holdline_proto::{Outbox as _, Receipt};

/// Records by number, each replaced as a whole: after a loss of power there is the old one or the new one.
///
/// `FlashStore` (feature `flash`) keeps them in NOR flash. A client uses 33 numbers: 0 for the cursors, 1 to 32 for messages.
pub trait Store {
    /// Reads a record to the start of `into`; returns its length, or `None` if there is none.
    ///
    /// # Errors
    /// The store cannot be read, or the record is longer than `into`.
    fn load(&mut self, number: u8, into: &mut [u8]) -> impl Future<Output = Result<Option<usize>, StoreFailed>>;

    /// Replaces a record, and returns when it is safe.
    ///
    /// Dropped before, it counts as a loss of power.
    ///
    /// # Errors
    /// The store cannot be written. The client sends nothing before it can, and tries again after a second.
    fn save(&mut self, number: u8, record: &[u8]) -> impl Future<Output = Result<(), StoreFailed>>;
}

/// The store cannot be read or written: it is worn out, too small, or something else has written to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct StoreFailed;

impl fmt::Display for StoreFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the store cannot be read or written")
    }
}

impl core::error::Error for StoreFailed {}

/// How many messages a durable outbox holds.
pub(crate) const MESSAGES: u64 = 16;
/// What a stored message takes besides its text: epoch, number, slot.
pub(crate) const HEADER: usize = 18;
/// The length of the record of the cursors.
pub(crate) const CURSORS: usize = 49;

/// What the store is known to hold.
#[derive(Debug)]
pub(crate) struct Durable<'b> {
    saved: Snapshot,
    /// Which half of the numbers the messages of `saved.epoch` are under.
    saved_half: bool,
    /// The incarnation whose messages are being saved, its half, and the last of them that is.
    epoch: u64,
    half: bool,
    message: u64,
    /// Whether a message that was saved, or is being saved, has been replaced.
    replaced: bool,
    record: Option<&'b mut [u8]>,
}

/// What the record holds that is being saved.
#[derive(Clone, Copy)]
enum Saving {
    Cursors(Snapshot, bool),
    Message { epoch: u64, seq: u64 },
}

fn number_of(seq: u64, half: bool) -> u8 {
    1 + (seq % MESSAGES) as u8 + if half { MESSAGES as u8 } else { 0 }
}

impl<'b> Durable<'b> {
    /// Reads the cursors, and whether there are any.
    pub(crate) async fn load(store: &mut impl Store, record: &'b mut [u8]) -> Result<Self, StoreFailed> {
        let (mut saved, mut saved_half) = (Snapshot::default(), true);
        if let Some(len) = store.load(0, record).await? {
            (saved, saved_half) = record.get(..len).and_then(read_cursors).ok_or(StoreFailed)?;
        }
        let (epoch, message) = (saved.epoch, saved.acked);
        Ok(Self { saved, saved_half, epoch, half: saved_half, message, replaced: false, record: Some(record) })
    }

    pub(crate) fn saved(&self) -> Snapshot {
        self.saved
    }

    /// Reads the messages after the acknowledged ones and gives each to `push`.
    pub(crate) async fn load_messages(
        &mut self,
        store: &mut impl Store,
        mut push: impl FnMut(Option<u8>, &str) -> Result<(), StoreFailed>,
    ) -> Result<(), StoreFailed> {
        let Some(record) = &mut self.record else { return Ok(()) };
        while self.saved.epoch != 0 && self.message - self.saved.acked < MESSAGES {
            let seq = self.message + 1;
            let Some(len) = store.load(number_of(seq, self.half), record).await? else { break };
            let Some((header, text)) = record.get(..len).and_then(|bytes| bytes.split_first_chunk::<HEADER>()) else {
                return Err(StoreFailed);
            };
            let (numbers, slot) = header.split_at(16);
            let (epoch, number) = numbers.split_at(8);
            if epoch != self.epoch.to_le_bytes() || number != seq.to_le_bytes() {
                // It is what is left of an earlier message.
                break;
            }
            let slot = match slot {
                [1, slot] => Some(*slot),
                _ => None,
            };
            push(slot, core::str::from_utf8(text).map_err(|_| StoreFailed)?)?;
            self.message = seq;
        }
        Ok(())
    }

    /// What is to be saved next, of a session that has come so far.
    fn next(&mut self, now: Snapshot, last: u64) -> Option<Saving> {
        if self.epoch != now.epoch {
            // Its messages go where none of the old incarnation is, and count when the cursors say so.
            (self.epoch, self.message, self.half) = (now.epoch, now.acked, !self.saved_half);
        }
        self.message = self.message.max(now.acked);
        let cursors = (self.saved != now).then_some(Saving::Cursors(now, self.half));
        let message = (self.message < last).then_some(Saving::Message { epoch: now.epoch, seq: self.message + 1 });
        // A place is free only when the store knows that its message was acknowledged.
        if self.saved.epoch == now.epoch { cursors.or(message) } else { message.or(cursors) }
    }

    fn saved_now(&mut self, what: Saving) {
        match what {
            Saving::Cursors(snapshot, half) => (self.saved, self.saved_half) = (snapshot, half),
            Saving::Message { epoch, seq } => {
                if epoch == self.epoch && !self.replaced {
                    self.message = self.message.max(seq);
                }
            }
        }
    }
}

impl<'b> State<'b> {
    /// Whether the store knows all that may go on the wire.
    pub(crate) fn is_saved(&mut self) -> bool {
        let (Some(now), last) = (self.snapshot(), self.session.next_seq() - 1) else { return true };
        self.durable.as_mut().is_none_or(|durable| durable.next(now, last).is_none())
    }

    /// Whether every message that was queued is safe.
    pub(crate) fn is_outbox_saved(&self) -> bool {
        let (now, last) = (self.snapshot(), self.session.next_seq() - 1);
        match (&self.durable, now) {
            (Some(durable), Some(now)) => durable.saved.epoch == now.epoch && durable.message >= last,
            _ => true,
        }
    }

    /// Whether the store knows the stream that a message is of, so that a receipt the application kept is known for a later one.
    pub(crate) fn is_stream_saved(&self, receipt: Receipt) -> bool {
        match (&self.durable, self.snapshot()) {
            (Some(durable), Some(now)) => now.peer_epoch != receipt.epoch || durable.saved.peer_epoch == receipt.epoch,
            _ => true,
        }
    }

    fn snapshot(&self) -> Option<Snapshot> {
        match &self.session {
            #[cfg(feature = "classic")]
            Session::Native(session) => Some(session.snapshot()),
            #[cfg(feature = "classic")]
            Session::Classic(_) => None,
            #[cfg(not(feature = "classic"))]
            session => Some(Session::snapshot(session)),
        }
    }

    /// Whether the outbox holds as many messages as the store has numbers for.
    pub(crate) fn is_store_full(&self) -> bool {
        self.durable.is_some() && self.session.outbox().len() as u64 >= MESSAGES
    }

    /// Notes that the message with this number has another text now.
    pub(crate) fn note_replaced(&mut self, seq: u64) {
        if let Some(durable) = &mut self.durable {
            durable.replaced = true;
            durable.message = durable.message.min(seq - 1);
        }
    }

    /// Writes the record that is to be saved next, and lends it.
    fn poll_record<'c>(&mut self, state: &'c RefCell<Self>) -> Poll<Lent<'c, 'b>> {
        let (Some(now), last) = (self.snapshot(), self.session.next_seq() - 1) else { return Poll::Pending };
        let Some(durable) = &mut self.durable else { return Poll::Pending };
        let Some(what) = durable.next(now, last) else { return Poll::Pending };
        let Some(record) = durable.record.take() else { return Poll::Pending };
        durable.replaced = false;
        let (number, len) = match what {
            Saving::Cursors(now, half) => (0, write_cursors(record, &now, half)),
            Saving::Message { epoch, seq } => {
                let index = (seq - now.acked - 1) as usize;
                let outbox = self.session.outbox();
                let text = outbox.get(index).unwrap_or_default();
                (number_of(seq, durable.half), write_message(record, epoch, seq, outbox.slot(index), text))
            }
        };
        Poll::Ready(Lent { state, record: Some(record), number, len, what })
    }
}

/// The record while it is saved; it goes back however that ends.
struct Lent<'c, 'b> {
    state: &'c RefCell<State<'b>>,
    record: Option<&'b mut [u8]>,
    number: u8,
    len: usize,
    what: Saving,
}

impl Lent<'_, '_> {
    fn bytes(&self) -> &[u8] {
        self.record.as_deref().and_then(|record| record.get(..self.len)).unwrap_or_default()
    }
}

impl Drop for Lent<'_, '_> {
    fn drop(&mut self) {
        if let Some(durable) = &mut self.state.borrow_mut().durable {
            durable.record = self.record.take();
        }
    }
}

/// Saves whatever is to be saved, for ever.
pub(crate) async fn keep(state: &RefCell<State<'_>>, store: &mut impl Store, clock: &impl Clock) -> ! {
    loop {
        let lent = poll_fn(|_| state.borrow_mut().poll_record(state)).await;
        let outcome = store.save(lent.number, lent.bytes()).await;
        let what = lent.what;
        drop(lent);
        if outcome.is_err() {
            clock.wait_until(clock.now().plus(RETRY_MS)).await;
            continue;
        }
        let mut state = state.borrow_mut();
        if let Some(durable) = &mut state.durable {
            durable.saved_now(what);
        }
        state.wake();
        state.wake_driver();
    }
}

/// The pause after the store has failed, in milliseconds.
const RETRY_MS: u32 = 1_000;

fn write_message(record: &mut [u8], epoch: u64, seq: u64, slot: Option<u8>, text: &[u8]) -> usize {
    let mut at = 0;
    for part in [&epoch.to_le_bytes()[..], &seq.to_le_bytes(), &[u8::from(slot.is_some()), slot.unwrap_or(0)], text] {
        at += put(record, at, part);
    }
    at
}

fn write_cursors(record: &mut [u8], now: &Snapshot, half: bool) -> usize {
    let mut at = 0;
    for number in [now.epoch, now.acked, now.peer_boot, now.peer_epoch, now.accepted] {
        at += put(record, at, &number.to_le_bytes());
    }
    for sum in [now.acked_sum, now.accepted_sum] {
        at += put(record, at, &sum.unwrap_or(0).to_le_bytes());
    }
    let flags = [now.acked_sum.is_some(), now.accepted_sum.is_some(), now.contacted, half];
    let flags = flags.iter().rev().fold(0, |bits, &flag| bits << 1 | u8::from(flag));
    at + put(record, at, &[flags])
}

/// Writes `part` at `at`; the record was checked to be long enough for any.
fn put(record: &mut [u8], at: usize, part: &[u8]) -> usize {
    match record.get_mut(at..at + part.len()) {
        Some(place) => {
            place.copy_from_slice(part);
            part.len()
        }
        None => 0,
    }
}

fn read_cursors(record: &[u8]) -> Option<(Snapshot, bool)> {
    let record: &[u8; CURSORS] = record.try_into().ok()?;
    let number = |at: usize| record.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
    let sum = |at: usize| record.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
    let flags = record[48];
    let snapshot = Snapshot {
        epoch: number(0)?,
        acked: number(8)?,
        acked_sum: if flags & 1 != 0 { Some(sum(40)?) } else { None },
        contacted: flags & 4 != 0,
        peer_boot: number(16)?,
        peer_epoch: number(24)?,
        accepted: number(32)?,
        accepted_sum: if flags & 2 != 0 { Some(sum(44)?) } else { None },
    };
    Some((snapshot, flags & 8 != 0))
}
