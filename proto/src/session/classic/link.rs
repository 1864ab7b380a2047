//! What belongs to one classic connection, replaced whole by the next; and the rhythm of each flavour and role.

use super::Flavour;
use crate::time::{Deadline, Instant, Timer};

/// How long a server lets a classic client settle before its first message (2019: its first line), in milliseconds.
const SETTLE_MS: u32 = 200;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    Down,
    /// A client that has not been answered yet.
    Waiting,
    Up,
}

/// What messages wait for at the beginning of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Gate {
    /// The peer's first byte after the id.
    FirstByte,
    Until(Instant),
    Open,
}

/// Which of the four programs this side stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Part {
    pub(crate) flavour: Flavour,
    pub(crate) is_client: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Link {
    pub(crate) phase: Phase,
    pub(crate) gate: Gate,
    pub(crate) id_due: bool,
    pub(crate) keepalive_due: bool,
    pub(crate) blocked_told: bool,
    /// Whether a line of the peer has been read.
    pub(crate) answered: bool,
    pub(crate) timeout_ms: u32,
    /// The time of the last input.
    pub(crate) clock: Instant,
    /// When the last byte was received; before the first, when the link was opened.
    pub(crate) heard: Instant,
    /// When the transport last took output.
    spoke: Instant,
    /// Bytes of output that the transport has not taken yet.
    unsent: usize,
    /// Since when a line is incomplete.
    pub(crate) partial: Option<Instant>,
    /// When the last keepalive of those that come always was due.
    beat: Instant,
}

impl Link {
    pub(crate) fn new(part: Part, now: Instant, timeout_ms: u32) -> Self {
        // HL-0048, HL-0049, HL-0056, HL-0057
        let gate = match part {
            Part { flavour: Flavour::V2019, is_client: true } => Gate::Until(now.plus(timeout_ms / 3)),
            Part { flavour: Flavour::V2019, is_client: false } => Gate::Until(now.plus(SETTLE_MS)),
            Part { flavour: Flavour::V2020, .. } => Gate::FirstByte,
        };
        Self {
            phase: if part.is_client { Phase::Waiting } else { Phase::Up },
            gate,
            id_due: part.is_client,
            // HL-0051
            keepalive_due: part == Part { flavour: Flavour::V2020, is_client: false },
            timeout_ms,
            clock: now,
            heard: now,
            spoke: now,
            beat: now,
            ..Self::down()
        }
    }

    pub(crate) fn down() -> Self {
        Self {
            phase: Phase::Down,
            gate: Gate::FirstByte,
            id_due: false,
            keepalive_due: false,
            blocked_told: false,
            answered: false,
            timeout_ms: 0,
            clock: Instant::default(),
            heard: Instant::default(),
            spoke: Instant::default(),
            unsent: 0,
            partial: None,
            beat: Instant::default(),
        }
    }

    /// Records that bytes arrived: the peer is there, and listens.
    pub(crate) fn hear(&mut self, part: Part, now: Instant) {
        self.clock = now;
        // HL-0104
        self.heard = now;
        self.phase = Phase::Up;
        if self.gate == Gate::FirstByte {
            self.gate = if part.is_client { Gate::Open } else { Gate::Until(now.plus(SETTLE_MS)) };
        }
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

    /// The pause at the beginning is over.
    pub(crate) fn settle(&mut self, part: Part, now: Instant) {
        self.gate = Gate::Open;
        // HL-0056, HL-0057
        if part.flavour == Flavour::V2019 {
            self.beat(now);
        }
    }

    /// A keepalive is due.
    pub(crate) fn beat(&mut self, now: Instant) {
        self.keepalive_due = true;
        self.beat = now;
    }

    /// Whether messages may be written.
    pub(crate) fn is_open(&self) -> bool {
        self.phase == Phase::Up && self.gate == Gate::Open
    }

    /// The earliest deadline of the link itself.
    pub(crate) fn deadline(&self, part: Part) -> Option<Deadline> {
        let timeout = self.timeout_ms;
        let deadline = |since: Instant, ms: u32, timer| Some(Deadline { at: since.plus(ms), timer });
        if self.phase == Phase::Down {
            return None;
        }
        // HL-0052
        let patience = match part {
            Part { flavour: Flavour::V2020, is_client: true } if !self.answered => 2,
            _ => 1,
        };
        let outage = Deadline { at: self.heard.plus(timeout.saturating_mul(patience)), timer: Timer::Outage };
        // HL-0106
        let stall = if self.unsent > 0 { deadline(self.spoke, timeout, Timer::Stall) } else { None };
        // HL-0154
        let line = self.partial.and_then(|since| deadline(since, timeout.saturating_mul(4), Timer::Line));
        let settle = match self.gate {
            Gate::Until(at) => Some(Deadline { at, timer: Timer::Settle }),
            Gate::FirstByte | Gate::Open => None,
        };
        // HL-0050, HL-0051, HL-0056, HL-0057
        let keepalive = match part {
            _ if self.keepalive_due => None,
            Part { flavour: Flavour::V2019, .. } if self.gate != Gate::Open => None,
            Part { flavour: Flavour::V2019, is_client: true } => deadline(self.beat, timeout * 2 / 3, Timer::Keepalive),
            Part { flavour: Flavour::V2019, is_client: false } => deadline(self.beat, timeout / 2, Timer::Keepalive),
            Part { flavour: Flavour::V2020, is_client: true } if self.unsent > 0 => None,
            Part { flavour: Flavour::V2020, is_client: true } => deadline(self.spoke, timeout / 4, Timer::Keepalive),
            Part { flavour: Flavour::V2020, is_client: false } => deadline(self.beat, timeout / 4, Timer::Keepalive),
        };
        Some(outage.sooner(stall).sooner(line).sooner(settle).sooner(keepalive))
    }
}
