//! What belongs to one connection, replaced whole by the next.

use super::receiving::Stream;
use crate::event::ByeCode;
use crate::time::{Deadline, Instant, Timer};

/// The shortest time a client gives a server to answer, in milliseconds.
pub(crate) const HELLO_TIMEOUT_MIN_MS: u32 = 5_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    Down,
    /// A client that waits for its welcome.
    Hello,
    Up,
}

/// Lines that are due, besides messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Due {
    /// A client's hello, and once the welcome is there the blank line that confirms it; a server's welcome.
    pub(crate) greeting: bool,
    pub(crate) keepalive: bool,
    pub(crate) ack: bool,
    /// The answer to a probe has to be said even if it is no news.
    pub(crate) rewind: bool,
    pub(crate) probe: bool,
    pub(crate) bye: Option<ByeCode>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Link {
    pub(crate) phase: Phase,
    pub(crate) due: Due,
    pub(crate) blocked_told: bool,
    pub(crate) peer_window: u16,
    pub(crate) timeout_ms: u32,
    /// A random number of the caller's, for a new epoch should one be needed.
    pub(crate) fresh: u64,
    /// The time of the last input.
    pub(crate) clock: Instant,
    /// When the last byte was received; before the first, when the link was opened.
    pub(crate) heard: Instant,
    /// When the transport last took output.
    pub(crate) spoke: Instant,
    /// Bytes of output that the transport has not taken yet.
    pub(crate) unsent: usize,
    /// Since when a line is incomplete.
    pub(crate) partial: Option<Instant>,
    /// The number of the message to send next on this link.
    pub(crate) cursor: u64,
    /// When the oldest message in flight last made progress; before the welcome, when the link was opened.
    pub(crate) progress: Instant,
    /// Since when a probe is unanswered.
    pub(crate) probing: Option<Instant>,
    /// When the last rewind for the gap that lasts was asked for.
    pub(crate) gap: Option<Instant>,
    /// A server adopts this when the client's first line shows that it has read the welcome.
    pub(crate) adopt: Option<Stream>,
    pub(crate) retry_ms: u32,
}

impl Link {
    pub(crate) fn new(phase: Phase, now: Instant, timeout_ms: u32, fresh: u64) -> Self {
        Self {
            phase,
            due: Due::default(),
            blocked_told: false,
            peer_window: 0,
            timeout_ms,
            fresh,
            clock: now,
            heard: now,
            spoke: now,
            unsent: 0,
            partial: None,
            cursor: 0,
            progress: now,
            probing: None,
            gap: None,
            adopt: None,
            retry_ms: 0,
        }
    }

    pub(crate) fn down() -> Self {
        Self::new(Phase::Down, Instant::default(), 0, 0)
    }

    /// Records that bytes arrived.
    pub(crate) fn hear(&mut self, now: Instant) {
        self.clock = now;
        // HL-0104
        self.heard = now;
    }

    /// Records output that was written for the transport.
    pub(crate) fn produced(&mut self, bytes: usize) {
        if self.unsent == 0 && bytes > 0 {
            self.spoke = self.clock;
        }
        self.unsent += bytes;
    }

    /// Records output that the transport took.
    pub(crate) fn transmitted(&mut self, now: Instant, bytes: usize) {
        self.clock = now;
        if bytes > 0 {
            self.unsent = self.unsent.saturating_sub(bytes);
            self.spoke = now;
        }
    }

    /// The earliest deadline; `in_flight`: messages are sent and not acknowledged.
    pub(crate) fn deadline(&self, in_flight: bool) -> Option<Deadline> {
        let timeout = self.timeout_ms;
        let deadline = |since: Instant, ms: u32, timer| Deadline { at: since.plus(ms), timer };
        if self.phase == Phase::Down {
            return None;
        }
        let stall = (self.unsent > 0).then(|| deadline(self.spoke, timeout, Timer::Stall));
        let line = self.partial.map(|since| deadline(since, timeout.saturating_mul(4), Timer::Line));
        if self.phase == Phase::Hello {
            let hello = deadline(self.progress, timeout.max(HELLO_TIMEOUT_MIN_MS), Timer::Hello);
            return Some(hello.sooner(stall));
        }
        let keepalive = (self.unsent == 0 && !self.due.keepalive).then(|| deadline(self.spoke, timeout / 4, Timer::Keepalive));
        let gap = self.gap.filter(|_| !self.due.rewind).map(|since| deadline(since, timeout / 4, Timer::Rewind));
        let probe = (in_flight && !self.due.probe).then(|| deadline(self.progress, timeout / 2, Timer::Probe));
        let answer = self.probing.map(|since| deadline(since, timeout, Timer::Answer));
        let outage = deadline(self.heard, timeout, Timer::Outage);
        Some(outage.sooner(stall).sooner(line).sooner(answer).sooner(keepalive).sooner(gap).sooner(probe))
    }
}
