//! Time as it passes; the one place where this crate reads a clock.

use std::time::Duration;

/// Milliseconds since it was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(std::time::Instant);

impl Clock {
    /// A clock that begins now.
    #[expect(
        clippy::disallowed_methods,
        reason = "a subject lives in real time, and there is no runtime whose clock could be asked"
    )]
    pub(crate) fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// Milliseconds since then.
    #[expect(clippy::disallowed_methods, reason = "see above")]
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// How long it is until a time of this clock.
    pub(crate) fn until(&self, at: u64) -> Duration {
        Duration::from_millis(at.saturating_sub(self.now()))
    }
}

/// Waits; only where there is nothing that could wake us.
#[expect(clippy::disallowed_methods, reason = "each case has a thread of its own, and no runtime")]
pub(crate) fn rest(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}
