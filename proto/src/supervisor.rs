//! A client's supervisor: when to join the network, connect, and wait. It decides, the adapter does.

use crate::event::DownReason;
use crate::time::Instant;

/// The longest pause between two attempts, in milliseconds.
const BACKOFF_MAX_MS: u32 = 30_000;
/// The bound of the first pause, in milliseconds; it doubles with every attempt.
const BACKOFF_MIN_MS: u32 = 500;
/// The shortest time a connection attempt is given, in milliseconds.
const CONNECT_TIMEOUT_MIN_MS: u32 = 5_000;
/// After so many network failures in a row the network is left and joined again.
const NETWORK_FAILURES_MAX: u8 = 3;

/// Choices of a supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SupervisorConfig {
    /// The session's timeout T, in milliseconds.
    pub timeout_ms: u32,
    /// Whether the adapter has a network to join and leave (the WiFi of a device); a desktop has it always up.
    pub has_network: bool,
    /// Whether to keep quiet for two timeouts after an outage, as a classic server needs.
    pub classic: bool,
}

/// What the adapter is asked to do; it reports the outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Action {
    /// Join the network, then report with [`Supervisor::handle_network`] or [`Supervisor::handle_join_failed`].
    JoinNetwork {
        /// Whether to leave it first: attempts keep timing out on a network that claims to be up.
        leave_first: bool,
    },
    /// Connect to the server, then report with [`Supervisor::handle_connected`] or [`Supervisor::handle_connect_failed`].
    Connect {
        /// Give up after this time, in milliseconds, and report [`ConnectFailure::TimedOut`].
        timeout_ms: u32,
    },
}

/// Why a connection attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ConnectFailure {
    /// Somebody answered that nobody listens there: the server is down, the network is not.
    Refused,
    /// Nobody answered.
    TimedOut,
    /// There is no way there, or the name has no address.
    Unreachable,
}

/// A failure before the very first link, when a person is likely to be watching.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum FirstFailure {
    /// The network cannot be joined: the original's `bad_wifi`.
    BadWifi,
    /// The server cannot be reached or refuses: the original's `bad_server`.
    BadServer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The network is to be joined.
    NetworkDown {
        leave_first: bool,
    },
    Joining,
    Waiting {
        until: Instant,
        /// Whether the network is to be joined after the wait; else the server is to be connected to.
        join: bool,
    },
    /// The wait is over: connecting is to begin.
    Ready,
    Connecting,
    Hello,
    Up {
        since: Instant,
    },
}

/// Decides when a client joins its network, connects, and waits.
///
/// ```
/// use holdline_proto::{Action, ConnectFailure, Instant, Supervisor, SupervisorConfig};
/// let config = SupervisorConfig { timeout_ms: 2_000, has_network: false, classic: false };
/// let mut supervisor = Supervisor::new(config, 0x5eed);
/// let now = Instant::from_millis(0);
/// assert_eq!(supervisor.poll_action(), Some(Action::Connect { timeout_ms: 5_000 }));
/// supervisor.handle_connect_failed(now, ConnectFailure::Refused);
/// let again = supervisor.poll_timeout().expect("it tries again");
/// supervisor.handle_timeout(again);
/// assert!(matches!(supervisor.poll_action(), Some(Action::Connect { .. })));
/// ```
#[derive(Clone, Debug)]
pub struct Supervisor {
    config: SupervisorConfig,
    state: State,
    random: u64,
    /// Failed attempts in a row; a link that was lost too soon is one.
    attempts: u8,
    /// Whether the session has asked to greet again since it was last up.
    greeting_again: bool,
    network_failures: u8,
    /// Not before this: the quiet time of the classic profiles, or what the server asked for.
    not_before: Instant,
    ever_joined: bool,
    ever_up: bool,
    first_failure: Option<FirstFailure>,
}

impl Supervisor {
    /// A supervisor that wants to connect at once; `seed` is a random number.
    pub const fn new(config: SupervisorConfig, seed: u64) -> Self {
        Self {
            config,
            state: if config.has_network { State::NetworkDown { leave_first: false } } else { State::Ready },
            random: seed,
            attempts: 0,
            greeting_again: false,
            network_failures: 0,
            not_before: Instant::from_millis(0),
            ever_joined: false,
            ever_up: false,
            first_failure: None,
        }
    }

    /// Tells that the session goes on in a classic profile.
    pub fn set_classic(&mut self) {
        self.config.classic = true;
    }

    /// What to do now; `None` while the supervisor waits for a report or for [`Supervisor::poll_timeout`].
    pub fn poll_action(&mut self) -> Option<Action> {
        match self.state {
            State::NetworkDown { leave_first } => {
                self.state = State::Joining;
                Some(Action::JoinNetwork { leave_first })
            }
            State::Ready => {
                self.state = State::Connecting;
                // HL-0135
                Some(Action::Connect { timeout_ms: self.config.timeout_ms.max(CONNECT_TIMEOUT_MIN_MS) })
            }
            _ => None,
        }
    }

    /// When [`Supervisor::handle_timeout`] is wanted next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Waiting { until, .. } => Some(until),
            _ => None,
        }
    }

    /// The failure to tell the application before its first link, each time it happens.
    pub fn poll_first_failure(&mut self) -> Option<FirstFailure> {
        self.first_failure.take()
    }

    /// Ends a wait that is over; too early or too often does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.state {
            State::Waiting { until, join } if until <= now => {
                self.state = if join { State::NetworkDown { leave_first: true } } else { State::Ready };
            }
            _ => {}
        }
    }

    /// Tells that the network was joined, or went away.
    pub fn handle_network(&mut self, now: Instant, up: bool) {
        if !up {
            // HL-0138
            self.state = State::NetworkDown { leave_first: false };
        } else if matches!(self.state, State::Joining | State::NetworkDown { .. }) {
            self.ever_joined = true;
            (self.network_failures, self.attempts) = (0, 0);
            // What failed before says nothing about a network just joined; and a whole fleet may have joined it at this moment.
            let pause = self.below(self.config.timeout_ms / 4);
            self.wait(now, pause);
        }
    }

    /// Tells that the network could not be joined; the next attempt follows the backoff.
    pub fn handle_join_failed(&mut self, now: Instant) {
        // HL-0140
        if !self.ever_joined {
            self.first_failure = Some(FirstFailure::BadWifi);
        }
        // HL-0132
        let until = now.plus(self.backoff());
        self.state = State::Waiting { until, join: true };
    }

    /// Tells that a connection attempt failed.
    pub fn handle_connect_failed(&mut self, now: Instant, failure: ConnectFailure) {
        if self.is_without_network() {
            return;
        }
        self.note_bad_server();
        match failure {
            // HL-0136
            ConnectFailure::Refused => self.network_failures = 0,
            ConnectFailure::TimedOut | ConnectFailure::Unreachable => {
                self.network_failures = self.network_failures.saturating_add(1)
            }
        }
        let pause = self.backoff();
        self.wait(now, pause);
    }

    /// Tells that the stream is open and the hello is on its way.
    pub fn handle_connected(&mut self) {
        self.network_failures = 0;
        self.state = State::Hello;
    }

    /// Tells that the session is up.
    pub fn handle_up(&mut self, now: Instant) {
        self.ever_up = true;
        self.greeting_again = false;
        self.state = State::Up { since: now };
    }

    /// Tells that the link has ended, be it that it never came up.
    pub fn handle_down(&mut self, now: Instant, reason: DownReason) {
        if let DownReason::Bye { retry_ms, .. } | DownReason::Refused { retry_ms, .. } = reason
            && retry_ms > 0
        {
            // HL-0134
            let spread = self.below(self.config.timeout_ms / 4);
            self.keep_away(now, retry_ms.saturating_add(spread));
        }
        if self.config.classic {
            // HL-0139
            self.keep_away(now, self.config.timeout_ms.saturating_mul(2));
        }
        if self.is_without_network() {
            return;
        }
        // HL-0133
        let lasted = matches!(self.state, State::Up { since } if now.since(since) >= u64::from(self.config.timeout_ms) * 3);
        if lasted {
            self.attempts = 0;
        } else if !matches!(self.state, State::Up { .. }) {
            self.note_bad_server();
        }
        let pause = match reason {
            DownReason::Reset if !self.greeting_again => 0,
            // HL-0131
            _ if lasted => self.below(self.config.timeout_ms / 4),
            _ => self.backoff(),
        };
        self.greeting_again = reason == DownReason::Reset;
        self.wait(now, pause);
    }

    /// Whether the network is to be joined before anything else; what ends meanwhile has ended for want of it.
    fn is_without_network(&self) -> bool {
        // HL-0138
        matches!(self.state, State::NetworkDown { .. } | State::Joining)
    }

    fn note_bad_server(&mut self) {
        // HL-0140
        if !self.ever_up {
            self.first_failure = Some(FirstFailure::BadServer);
        }
    }

    /// Counts a failed attempt and draws the pause after it: exponential backoff with full jitter.
    fn backoff(&mut self) -> u32 {
        let bound = (BACKOFF_MIN_MS << self.attempts.min(16)).min(BACKOFF_MAX_MS);
        self.attempts = self.attempts.saturating_add(1);
        self.below(bound)
    }

    /// Not even a network that is joined anew shortens this.
    fn keep_away(&mut self, now: Instant, pause: u32) {
        self.not_before = self.not_before.max(now.plus(pause));
    }

    fn wait(&mut self, now: Instant, pause: u32) {
        let until = self.not_before.max(now.plus(pause));
        // HL-0137
        self.state = if self.config.has_network && self.network_failures >= NETWORK_FAILURES_MAX {
            self.network_failures = 0;
            State::NetworkDown { leave_first: true }
        } else {
            State::Waiting { until, join: false }
        };
    }

    /// A random number from 0 to `bound`, by xorshift: good enough to spread devices out.
    fn below(&mut self, bound: u32) -> u32 {
        let mut x = self.random | 1;
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.random = x;
        (((x >> 32) * (u64::from(bound) + 1)) >> 32) as u32
    }
}
