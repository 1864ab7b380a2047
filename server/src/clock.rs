//! Tokio's time on the session's timeline; under a paused runtime it stands still with it.

use holdline_proto::Instant;
use std::time::Duration;

/// Milliseconds since the clock was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    base: tokio::time::Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { base: tokio::time::Instant::now() }
    }

    pub(crate) fn now(self) -> Instant {
        let elapsed = tokio::time::Instant::now().saturating_duration_since(self.base);
        Instant::from_millis(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
    }

    pub(crate) fn at(self, instant: Instant) -> tokio::time::Instant {
        // Tokio's timers have a resolution of a millisecond as well and fire at or after their instant.
        self.base + Duration::from_millis(instant.as_millis())
    }
}
