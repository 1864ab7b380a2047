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

/// Lines that are due, besides messages and the goodbye: a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Due(u8);

impl Due {
    /// A client's hello, and once the welcome is there the blank line that confirms it; a server's welcome.
    pub(crate) const GREETING: Self = Self(1);
    pub(crate) const REWIND: Self = Self(2);
    /// The answer to a probe has to be said even if it is no news.
    pub(crate) const ACK: Self = Self(4);
    pub(crate) const PROBE: Self = Self(8);
    pub(crate) const KEEPALIVE: Self = Self(16);

    pub(crate) fn has(self, line: Self) -> bool {
        self.0 & line.0 != 0
    }

    pub(crate) fn add(&mut self, line: Self) {
        self.0 |= line.0;
    }

    pub(crate) fn remove(&mut self, line: Self) {
        self.0 &= !line.0;
    }
}

/// An instant or none, in the space of an instant: the end of the timeline stands for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Since(Instant);

impl Since {
    pub(crate) const NONE: Self = Self(Instant::from_millis(u64::MAX));

    pub(crate) fn new(now: Instant) -> Self {
        Self(now)
    }

    pub(crate) fn is_none(self) -> bool {
        self == Self::NONE
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Link {
    pub(crate) phase: Phase,
    pub(crate) due: Due,
    pub(crate) bye: Option<ByeCode>,
    pub(crate) blocked_told: bool,
    pub(crate) peer_window: u16,
    pub(crate) timeout_ms: u32,
    /// A random number of the caller's, for a new epoch should one be needed. A server goes on to keep the client's, which names
    /// the link on a stream with checks.
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
    pub(crate) partial: Since,
    /// How many messages of the outbox, from the oldest on, were sent on this link.
    pub(crate) sent: u32,
    /// When the oldest message in flight last made progress; before the welcome, when the link was opened.
    pub(crate) progress: Instant,
    /// Since when a probe is unanswered.
    pub(crate) probing: Since,
    /// When the last rewind for the gap that lasts was asked for.
    pub(crate) gap: Since,
    /// A server adopts this when the client's first line shows that it has read the welcome.
    pub(crate) adopt: Option<Stream>,
    pub(crate) retry_ms: u32,
}

impl Link {
    pub(crate) fn new(phase: Phase, now: Instant, timeout_ms: u32, fresh: u64) -> Self {
        Self {
            phase,
            due: Due::default(),
            bye: None,
            blocked_told: false,
            peer_window: 0,
            timeout_ms,
            fresh,
            clock: now,
            heard: now,
            spoke: now,
            unsent: 0,
            partial: Since::NONE,
            sent: 0,
            progress: now,
            probing: Since::NONE,
            gap: Since::NONE,
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

    /// The earliest deadline.
    pub(crate) fn deadline(&self) -> Option<Deadline> {
        let timeout = self.timeout_ms;
        let mut soonest = match self.phase {
            Phase::Down => return None,
            Phase::Hello => Deadline { at: self.progress.plus(timeout.max(HELLO_TIMEOUT_MIN_MS)), timer: Timer::Hello },
            Phase::Up => Deadline { at: self.heard.plus(timeout), timer: Timer::Outage },
        };
        let mut consider = |since, ms, timer| earlier(&mut soonest, since, ms, timer);
        let silent = self.unsent == 0;
        if !silent {
            consider(self.spoke, timeout, Timer::Stall);
        }
        if self.phase == Phase::Up {
            consider(self.partial.0, timeout * 4, Timer::Line);
            consider(self.probing.0, timeout, Timer::Answer);
            if silent && !self.due.has(Due::KEEPALIVE) {
                consider(self.spoke, timeout / 4, Timer::Keepalive);
            }
            if !self.due.has(Due::REWIND) {
                consider(self.gap.0, timeout / 4, Timer::Rewind);
            }
            if self.sent > 0 && !self.due.has(Due::PROBE) {
                consider(self.progress, timeout / 2, Timer::Probe);
            }
        }
        Some(soonest)
    }
}

/// Once for all timers: 64-bit arithmetic takes much code on a small CPU.
#[inline(never)]
fn earlier(soonest: &mut Deadline, since: Instant, ms: u32, timer: Timer) {
    let at = since.plus(ms);
    if at < soonest.at {
        *soonest = Deadline { at, timer };
    }
}
