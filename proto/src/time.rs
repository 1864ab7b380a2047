//! Time as the caller tells it: an instant on the caller's own timeline, and deadlines that say why they exist.

/// A point on the caller's monotonic timeline, in milliseconds.
///
/// The origin is the caller's choice (program start, boot); only differences matter. 64 bits never wrap.
/// An adapter on a chip with a 32-bit tick counter widens it before it comes here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Instant(u64);

impl Instant {
    /// The instant `ms` milliseconds after the origin.
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the origin.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The instant `ms` milliseconds later; saturates at the end of the timeline.
    pub const fn plus(self, ms: u32) -> Self {
        Self(self.0.saturating_add(ms as u64))
    }

    /// Milliseconds from `earlier` to this instant; zero if `earlier` is in fact later.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// When the session next wants `handle_timeout`, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Deadline {
    /// The instant from which `handle_timeout` has something to do.
    pub at: Instant,
    /// The timer that expires then.
    pub timer: Timer,
}

impl Deadline {
    /// The earlier of this deadline and another that may not exist; `self` where both are due at once.
    pub(crate) fn sooner(self, other: Option<Self>) -> Self {
        match other {
            Some(other) if other.at < self.at => other,
            _ => self,
        }
    }
}

/// Why a deadline exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Timer {
    /// A blank line is due, because nothing was sent for a while.
    Keepalive,
    /// Nothing was received for the whole timeout: the link will be declared dead.
    Outage,
    /// The welcome has not come.
    Hello,
    /// Output was handed over and the transport takes none of it.
    Stall,
    /// A gap in the peer's messages lasts: ask again for the missing one.
    Rewind,
    /// The oldest message in flight makes no progress: ask the peer what it has.
    Probe,
    /// The peer has not answered a probe.
    Answer,
    /// A line was begun and is not complete.
    Line,
    /// Classic: an unacknowledged message is due for repetition (2020) or for confirmation (2019).
    Repeat,
    /// Classic: the pause after the id line, before the first message or keepalive, ends.
    Settle,
}
