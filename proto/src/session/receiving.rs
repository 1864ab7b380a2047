//! The receiving half of a native session: what has come, and what the application has accepted.

use super::Receipt;
use crate::event::Event;
use crate::frame::stream_sum;

/// What the application has of the peer's stream, and what it will have to accept.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Receiving {
    /// The incarnation of the peer's stream; 0 while none is known.
    pub(crate) epoch: u64,
    pub(crate) accepted: u64,
    /// How many messages after that one wait in the application's queue.
    waiting: u32,
    received_sum: u32,
    accepted_sum: u32,
    /// Whether the sums are kept: only for a sender that asked for it by its `bsum`.
    summed: bool,
}

/// The sender's description of its stream, from its hello or welcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stream {
    pub(crate) epoch: u64,
    pub(crate) base: u64,
    pub(crate) sum: Option<u32>,
}

/// What a message line turns out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The next in order.
    New(Receipt),
    /// Seen before; `accepted` says whether its acknowledgement can be repeated.
    Duplicate { accepted: bool },
    /// One before it is missing.
    Gap,
    /// More than was asked for.
    BeyondWindow,
}

impl Receiving {
    pub(crate) fn restore(epoch: u64, accepted: u64, sum: Option<u32>) -> Self {
        let known = sum.unwrap_or(0);
        Self { epoch, accepted, waiting: 0, received_sum: known, accepted_sum: known, summed: sum.is_some() }
    }

    pub(crate) fn received(&self) -> u64 {
        self.accepted + u64::from(self.waiting)
    }

    /// How many messages after `accepted` wait in the application's queue; never more than a window.
    pub(crate) fn held(&self) -> u16 {
        u16::try_from(self.waiting).unwrap_or(u16::MAX)
    }

    /// The checksum of the stream with the messages that wait.
    pub(crate) fn held_sum(&self) -> Option<u32> {
        // HL-0076
        self.summed.then_some(self.received_sum)
    }

    pub(crate) fn sum(&self) -> Option<u32> {
        self.summed.then_some(self.accepted_sum)
    }

    /// Applies the receiver's rows of the cursor table, and tells what is lost by them. `keeps`: this side's cursor survives its
    /// restarts.
    pub(crate) fn adopt(&mut self, stream: Stream, keeps: bool) -> Option<Event> {
        if stream.epoch != self.epoch {
            // HL-0072, HL-0073
            *self = Self::restore(stream.epoch, stream.base, stream.sum);
            // HL-0159
            return (keeps && stream.base > 0).then_some(Event::LostIncoming { from: 1, to: stream.base });
        }
        if let Some(skipped @ 1..) = ahead(stream.base, self.accepted) {
            // HL-0071
            let lost = (skipped > self.waiting).then_some(Event::LostIncoming { from: self.received() + 1, to: stream.base });
            let waiting = self.waiting.saturating_sub(skipped);
            *self = Self::restore(stream.epoch, stream.base, stream.sum.filter(|_| waiting == 0));
            self.waiting = waiting;
            return lost;
        }
        // HL-0070
        if let (false, Some(sum)) = (self.summed, stream.sum)
            && stream.base == self.received()
        {
            *self = Self::restore(stream.epoch, stream.base, Some(sum));
        }
        self.summed &= stream.sum.is_some();
        None
    }

    pub(crate) fn arrive(&mut self, seq: u64, text: &str, window: u16) -> Arrival {
        let Some(place @ 1..) = ahead(seq, self.accepted) else {
            return Arrival::Duplicate { accepted: true };
        };
        // HL-0080
        if place <= self.waiting {
            return Arrival::Duplicate { accepted: false };
        }
        // HL-0150
        if place > window.into() {
            return Arrival::BeyondWindow;
        }
        if place > self.waiting + 1 {
            return Arrival::Gap;
        }
        self.waiting = place;
        if self.summed {
            self.received_sum = stream_sum(self.received_sum, text.as_bytes());
        }
        Arrival::New(Receipt { epoch: self.epoch, seq, sum: self.received_sum })
    }

    /// Moves the cursor to a message the application took; `false` for one of an earlier incarnation or accepted before.
    pub(crate) fn accept(&mut self, receipt: Receipt) -> bool {
        // HL-0074
        match ahead(receipt.seq, self.accepted) {
            Some(place @ 1..) if place <= self.waiting && receipt.epoch == self.epoch => {
                self.waiting -= place;
                self.accepted = receipt.seq;
                self.accepted_sum = receipt.sum;
                true
            }
            _ => false,
        }
    }
}

/// How far a number is ahead of another: 32 bits tell all distances that matter. `None` if it is behind.
pub(crate) fn ahead(seq: u64, of: u64) -> Option<u32> {
    seq.checked_sub(of).map(|distance| u32::try_from(distance).unwrap_or(u32::MAX))
}
