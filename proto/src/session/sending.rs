//! The sending half of a native session: the outbox, its numbers, and what the peer's report does to them.

use super::receiving::ahead;
use crate::config::OnForgotten;
use crate::event::Event;
use crate::frame::stream_sum;
use crate::outbox::{Full, Outbox};

/// Messages `acked + 1 … next - 1` lie in the outbox.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Sending<O> {
    pub(crate) outbox: O,
    /// The longest text the peer takes, as it said last.
    pub(crate) max_text: u32,
    pub(crate) epoch: u64,
    pub(crate) acked: u64,
    /// Checksum of messages 1 … `acked`; kept only where the outbox survives a restart.
    pub(crate) sum: Option<u32>,
    /// How many of the outbox were ever put on a wire under this epoch, from the oldest on.
    pub(crate) sent: u32,
    /// Whether a handshake with the peer was completed under this epoch.
    pub(crate) contacted: bool,
    /// The peer's `boot` in the last handshake.
    pub(crate) peer_boot: u64,
}

/// What the receiver remembers of this stream, from its hello or welcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Report {
    pub(crate) epoch: u64,
    pub(crate) seen: u64,
    pub(crate) held: u16,
    pub(crate) sum: Option<u32>,
    pub(crate) boot: u64,
}

impl<O: Outbox> Sending<O> {
    pub(crate) fn next(&self) -> u64 {
        self.acked + 1 + self.outbox.len() as u64
    }

    /// Queues a message and returns its number.
    pub(crate) fn push(&mut self, slot: Option<u8>, text: &str) -> Result<u64, Full> {
        let seq = self.next();
        self.outbox.push(slot, text)?;
        Ok(seq)
    }

    /// Puts `text` in the place of an entry of `slot` that no wire has seen, or queues it.
    pub(crate) fn push_latest(&mut self, slot: u8, text: &str) -> Result<u64, Full> {
        // HL-0090
        match (self.sent as usize..self.outbox.len()).find(|&index| self.outbox.slot(index) == Some(slot)) {
            Some(index) => {
                self.outbox.replace(index, text)?;
                Ok(self.acked + 1 + index as u64)
            }
            None => self.push(Some(slot), text),
        }
    }

    /// Forgets the `count` oldest messages, which the caller has checked to be there.
    pub(crate) fn prune(&mut self, count: u32) {
        self.sum = self.sum.map(|sum| self.sum_over(sum, count));
        self.outbox.pop(count as usize);
        self.acked += u64::from(count);
        self.sent = self.sent.saturating_sub(count);
    }

    fn sum_over(&self, sum: u32, count: u32) -> u32 {
        (0..count as usize).filter_map(|index| self.outbox.get(index)).fold(sum, stream_sum)
    }

    /// Applies the sender's rows of the cursor table. `fresh` becomes the epoch where a new one is needed.
    pub(crate) fn learn(&mut self, report: Report, policy: OnForgotten, fresh: u64) -> Option<Event> {
        if report.epoch == self.epoch {
            // HL-0160: who names this stream has taken it up.
            self.contacted = true;
            let Some(seen) = ahead(report.seen, self.acked) else {
                // HL-0065: what the same life of the peer says less of was said before, and came late.
                let lost = Event::LostOutgoing { from: report.seen + 1, to: self.acked };
                return (report.boot != self.peer_boot).then_some(lost);
            };
            // HL-0063, HL-0064
            let received = seen.saturating_add(report.held.into());
            if received > self.sent || self.differs(received, report.sum) {
                return Some(self.renumber(policy, fresh));
            }
            // HL-0062
            self.prune(seen);
            return None;
        }
        // HL-0066, HL-0067
        if !self.contacted || report.boot == self.peer_boot {
            // HL-0068: it has not forgotten this stream, it has never taken it up.
            return None;
        }
        let from = self.acked + 1;
        let dropped = policy == OnForgotten::Skip;
        let count = if dropped { self.sent } else { self.outbox.len() as u32 };
        if dropped {
            self.prune(count);
        }
        Some(Event::PeerForgot { from, to: from + u64::from(count) - 1, dropped })
    }

    /// Whether the peer received other texts under these numbers than this side holds.
    fn differs(&self, received: u32, sum: Option<u32>) -> bool {
        // HL-0064
        self.sum.zip(sum).is_some_and(|(own, sum)| self.sum_over(own, received) != sum)
    }

    /// Begins a new incarnation with everything held, so that no number is ever used for two texts.
    // HL-0019
    fn renumber(&mut self, policy: OnForgotten, fresh: u64) -> Event {
        // What was on a wire may have been accepted: `Skip` does not send it again.
        let dropped = match policy {
            OnForgotten::Skip => self.sent,
            OnForgotten::Redeliver => 0,
        };
        self.outbox.pop(dropped as usize);
        self.epoch = if fresh == 0 || fresh == self.epoch { self.epoch.wrapping_add(1).max(1) } else { fresh };
        self.acked = 0;
        self.sum = self.sum.map(|_| 0);
        self.sent = 0;
        self.contacted = false;
        Event::OwnReset { dropped: dropped.into() }
    }
}
