//! The sending half of a native session: the outbox, its numbers, and what the peer's report does to them.

use crate::config::OnForgotten;
use crate::event::Event;
use crate::frame::stream_sum;
use crate::outbox::{Full, Outbox};

/// Messages `acked + 1 … next - 1` lie in the outbox.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Sending<O> {
    pub(crate) outbox: O,
    pub(crate) epoch: u64,
    pub(crate) acked: u64,
    /// Checksum of messages 1 … `acked`; kept only where the outbox survives a restart.
    pub(crate) sum: Option<u32>,
    /// The highest number that was ever put on a wire under this epoch.
    pub(crate) sent_high: u64,
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
    pub(crate) sum: Option<u32>,
    pub(crate) boot: u64,
}

impl<O: Outbox> Sending<O> {
    pub(crate) fn next(&self) -> u64 {
        self.acked + 1 + self.outbox.len() as u64
    }

    pub(crate) fn text(&self, seq: u64) -> Option<&[u8]> {
        self.outbox.get(self.index(seq)?)
    }

    fn index(&self, seq: u64) -> Option<usize> {
        usize::try_from(seq.checked_sub(self.acked + 1)?).ok()
    }

    /// Queues a message and returns its number.
    pub(crate) fn push(&mut self, slot: Option<u8>, text: &str) -> Result<u64, Full> {
        let seq = self.next();
        self.outbox.push(slot, text)?;
        Ok(seq)
    }

    /// Puts `text` in the place of an entry of `slot` that no wire has seen, or queues it.
    pub(crate) fn push_latest(&mut self, slot: u8, text: &str) -> Result<u64, Full> {
        let unsent = self.acked.max(self.sent_high) + 1;
        // HL-0090
        match (unsent..self.next()).find(|&seq| self.index(seq).and_then(|index| self.outbox.slot(index)) == Some(slot)) {
            Some(seq) => {
                self.outbox.replace(self.index(seq).ok_or(Full)?, text)?;
                Ok(seq)
            }
            None => self.push(Some(slot), text),
        }
    }

    /// Forgets every message up to `seq`, which the caller has checked to be below `next`. Whether that was any.
    pub(crate) fn prune(&mut self, seq: u64) -> bool {
        if seq <= self.acked {
            return false;
        }
        let count = (seq - self.acked) as usize;
        self.sum = self.sum.map(|sum| self.sum_over(sum, count));
        self.outbox.pop(count);
        self.acked = seq;
        // A pruned message was on a wire, whatever a restored snapshot says.
        self.sent_high = self.sent_high.max(seq);
        true
    }

    fn sum_over(&self, sum: u32, count: usize) -> u32 {
        (0..count).filter_map(|index| self.outbox.get(index)).fold(sum, stream_sum)
    }

    /// Applies the sender's rows of the cursor table. `fresh` becomes the epoch where a new one is needed.
    pub(crate) fn learn(&mut self, report: Report, policy: OnForgotten, fresh: u64) -> Option<Event> {
        if report.epoch == self.epoch {
            // HL-0063, HL-0064
            if report.seen >= self.next() || self.differs(report) {
                return Some(self.renumber(policy, fresh));
            }
            // HL-0065
            if report.seen < self.acked {
                return Some(Event::LostOutgoing { from: report.seen + 1, to: self.acked });
            }
            // HL-0062
            self.prune(report.seen);
            return None;
        }
        // HL-0066, HL-0067
        if !self.contacted || report.boot == self.peer_boot {
            // HL-0068: it has not forgotten this stream, it has never taken it up.
            return None;
        }
        let from = self.acked + 1;
        let dropped = policy == OnForgotten::Skip;
        let to = if dropped { self.sent_high.max(self.acked) } else { self.next() - 1 };
        if dropped {
            self.prune(to);
        }
        Some(Event::PeerForgot { from, to, dropped })
    }

    /// Whether the peer accepted other texts under these numbers than this side holds.
    fn differs(&self, report: Report) -> bool {
        match (self.sum, report.sum, report.seen.checked_sub(self.acked)) {
            // HL-0064
            (Some(own), Some(seen), Some(ahead)) => self.sum_over(own, ahead as usize) != seen,
            _ => false,
        }
    }

    /// Begins a new incarnation with everything held, so that no number is ever used for two texts.
    fn renumber(&mut self, policy: OnForgotten, fresh: u64) -> Event {
        // What was on a wire may have been accepted: `Skip` does not send it again.
        let dropped = match policy {
            OnForgotten::Skip => self.sent_high.saturating_sub(self.acked).min(self.outbox.len() as u64),
            OnForgotten::Redeliver => 0,
        };
        self.outbox.pop(dropped as usize);
        self.epoch = if fresh == 0 || fresh == self.epoch { self.epoch.wrapping_add(1).max(1) } else { fresh };
        self.acked = 0;
        self.sum = self.sum.map(|_| 0);
        self.sent_high = 0;
        self.contacted = false;
        Event::OwnReset { dropped }
    }
}
