//! The receiving half of a native session: what has come, and what the application has accepted.

use super::Receipt;
use crate::event::Event;
use crate::frame::stream_sum;

/// `accepted <= received`: the messages between wait in the application's queue.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Receiving {
    /// The incarnation of the peer's stream; 0 while none is known.
    pub(crate) epoch: u64,
    received: u64,
    received_sum: u32,
    pub(crate) accepted: u64,
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
        Self { epoch, received: accepted, received_sum: known, accepted, accepted_sum: known, summed: sum.is_some() }
    }

    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    pub(crate) fn sum(&self) -> Option<u32> {
        self.summed.then_some(self.accepted_sum)
    }

    /// Applies the receiver's rows of the cursor table.
    pub(crate) fn adopt(&mut self, stream: Stream) -> Option<Event> {
        if stream.epoch != self.epoch {
            // HL-0072, HL-0073
            let known = self.epoch != 0;
            *self = Self::restore(stream.epoch, stream.base, stream.sum);
            return known.then_some(Event::PeerReset);
        }
        if stream.base > self.accepted {
            // HL-0071
            let lost = (stream.base > self.received).then_some(Event::LostIncoming { from: self.received + 1, to: stream.base });
            let received = self.received.max(stream.base);
            *self = Self::restore(stream.epoch, stream.base, stream.sum.filter(|_| received == stream.base));
            self.received = received;
            return lost;
        }
        // HL-0070
        if let (false, Some(sum)) = (self.summed, stream.sum)
            && stream.base == self.received
        {
            *self = Self::restore(stream.epoch, stream.base, Some(sum));
        }
        self.summed &= stream.sum.is_some();
        None
    }

    pub(crate) fn arrive(&mut self, seq: u64, text: &str, window: u16) -> Arrival {
        if seq == self.received + 1 {
            // HL-0150
            if seq > self.accepted + u64::from(window) {
                return Arrival::BeyondWindow;
            }
            self.received = seq;
            if self.summed {
                self.received_sum = stream_sum(self.received_sum, text.as_bytes());
            }
            return Arrival::New(Receipt { epoch: self.epoch, seq, sum: self.received_sum });
        }
        // HL-0080
        if seq <= self.received {
            return Arrival::Duplicate { accepted: seq <= self.accepted };
        }
        if seq > self.accepted.saturating_add(window.into()) { Arrival::BeyondWindow } else { Arrival::Gap }
    }

    /// Moves the cursor to a message the application took; `false` for one of an earlier incarnation or accepted before.
    pub(crate) fn accept(&mut self, receipt: Receipt) -> bool {
        let moves = receipt.epoch == self.epoch && (self.accepted + 1..=self.received).contains(&receipt.seq);
        if moves {
            self.accepted = receipt.seq;
            self.accepted_sum = receipt.sum;
        }
        moves
    }
}
