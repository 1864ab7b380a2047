//! Tokio's time on the session's timeline; under a paused runtime it stands still with it.

use holdline_proto::Instant;
use std::sync::OnceLock;
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

/// A random 64-bit number.
///
/// Where the system's source fails, which it does not on a system that has started, the keys of the standard library's hash maps
/// still make a number that is unlikely to repeat.
#[expect(clippy::disallowed_methods, reason = "this is the one place where chance enters the server and the client")]
pub(crate) fn random() -> u64 {
    getrandom::u64().unwrap_or_else(|error| {
        static WARNED: OnceLock<()> = OnceLock::new();
        WARNED.get_or_init(|| tracing::error!(%error, "the system has no random numbers"));
        use std::hash::{BuildHasher, Hasher, RandomState};
        RandomState::new().build_hasher().finish()
    })
}
