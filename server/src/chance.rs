//! The one place where chance enters the server and the client.

use std::fmt;
use std::sync::{Arc, OnceLock};

/// Where random numbers come from: the system, unless a test brings its own.
///
/// What is drawn tells sessions and starts apart, and spreads those who come back: two ends that draw the same numbers may take
/// messages of one for repeats of the other's. A source of one's own is for runs that are to be repeated.
#[derive(Clone, Default)]
pub struct Chance(Option<Arc<Source>>);

type Source = dyn Fn() -> u64 + Send + Sync;

impl Chance {
    /// Draws every number from `source`, each of the 2^64 to be equally likely.
    pub fn new(source: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(source)))
    }

    pub(crate) fn draw(&self) -> u64 {
        self.0.as_ref().map_or_else(systems, |source| source())
    }

    /// A time between `ms` and twice that, so that clients which are sent away together do not return together.
    pub(crate) fn spread(&self, ms: u32) -> u32 {
        let extra = (u128::from(self.draw()) * (u128::from(ms) + 1)) >> 64;
        ms.saturating_add(u32::try_from(extra).unwrap_or(0))
    }
}

impl fmt::Debug for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Chance(own)" } else { "Chance(system)" })
    }
}

/// A random 64-bit number of the system.
///
/// Where the system's source fails, which it does not on a system that has started, the keys of the standard library's hash maps
/// still make a number that is unlikely to repeat.
#[expect(clippy::disallowed_methods, reason = "this is the one place where chance enters the server and the client")]
fn systems() -> u64 {
    getrandom::u64().unwrap_or_else(|error| {
        static WARNED: OnceLock<()> = OnceLock::new();
        WARNED.get_or_init(|| tracing::error!(%error, "the system has no random numbers"));
        use std::hash::{BuildHasher, Hasher, RandomState};
        RandomState::new().build_hasher().finish()
    })
}
