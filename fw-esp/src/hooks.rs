//! What a board may do when something happens: a light, a watchdog, a word to whoever watches the first start.

use core::ops::ControlFlow;
use core::sync::atomic::{AtomicU32, Ordering};
use embedded_hal::digital::{OutputPin, PinState};
use holdline_proto::Instant;

/// Called by [`Client::run`](crate::Client::run), between its turns and never while it holds anything. Every method may be left
/// out; `()` leaves out all.
pub trait Hooks {
    /// The longest pause between two calls of [`Hooks::feed`], in milliseconds, while the client runs. Default: `feed` is called when
    /// there is something else to do, which after an hour of outage can take half a minute.
    const FEED_MS: u32 = 3_600_000;

    /// A link came up (`true`) or went down.
    fn connection(&mut self, up: bool) {
        let _ = up;
    }

    /// A keepalive of the server arrived, or several at once. A native server sends one when it has said nothing for a quarter of the
    /// timeout, and so none while it has something to say; an original server sends them always.
    fn heartbeat(&mut self) {}

    /// The client is alive: feed the watchdog.
    fn feed(&mut self) {}

    /// The network could not be joined, and never was before. `Break` gives up: [`Client::run`](crate::Client::run) returns.
    fn bad_wifi(&mut self) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    /// The server could not be reached or refused, and no link was ever up. `Break` gives up: [`Client::run`](crate::Client::run)
    /// returns.
    fn bad_server(&mut self) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

impl Hooks for () {}

/// A light that changes with every keepalive of the server.
///
/// It blinks while the link is up and idle, and rests when it is down, or so busy that the server sends no keepalive
/// ([`Hooks::heartbeat`]).
#[derive(Debug)]
pub struct Heartbeat<P> {
    led: P,
    lit: bool,
}

impl<P: OutputPin> Heartbeat<P> {
    /// A light on this pin.
    pub const fn new(led: P) -> Self {
        Self { led, lit: false }
    }

    /// Changes the light. A pin that fails is not worth a link: the error is dropped.
    pub fn toggle(&mut self) {
        self.lit = !self.lit;
        let _ = self.led.set_state(PinState::from(self.lit));
    }
}

impl<P: OutputPin> Hooks for Heartbeat<P> {
    fn heartbeat(&mut self) {
        self.toggle();
    }
}

/// A watchdog in software, for chips whose own is taken: a timer interrupt asks it whether the client is alive, and resets the
/// board if not.
///
/// ```
/// use holdline_esp::{Instant, SoftwareWatchdog};
/// static WATCHDOG: SoftwareWatchdog = SoftwareWatchdog::new(10_000);
/// let at = Instant::from_millis;
/// // In `Hooks::feed`:
/// WATCHDOG.feed(at(5_000));
/// // In the interrupt of a timer:
/// assert!(!WATCHDOG.is_starved(at(14_999)));
/// assert!(WATCHDOG.is_starved(at(15_000)));
/// ```
#[derive(Debug)]
pub struct SoftwareWatchdog {
    timeout_ms: u32,
    /// The low half of the time in milliseconds: 49 days, of which half can be told from the other half.
    fed: AtomicU32,
}

impl SoftwareWatchdog {
    /// A watchdog that starves after this time; at most 24 days, and longer than [`Hooks::FEED_MS`].
    pub const fn new(timeout_ms: u32) -> Self {
        Self { timeout_ms, fed: AtomicU32::new(0) }
    }

    /// Tells that the client is alive.
    pub fn feed(&self, now: Instant) {
        self.fed.store(now.as_millis() as u32, Ordering::Relaxed);
    }

    /// Whether nobody has fed it for its timeout.
    pub fn is_starved(&self, now: Instant) -> bool {
        (now.as_millis() as u32).wrapping_sub(self.fed.load(Ordering::Relaxed)) >= self.timeout_ms
    }
}
