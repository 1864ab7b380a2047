//! What an endpoint may choose, checked once.

use core::fmt;

/// What of the session survives a loss of power on this endpoint; told to the peer as `keeps=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Keeps {
    /// Nothing: a restart begins a new session on this side.
    #[default]
    None,
    /// The outbox: messages not yet acknowledged are sent after the restart.
    Sent,
    /// The cursor: messages accepted before the restart are not delivered again.
    Seen,
    /// Both.
    Both,
}

impl Keeps {
    /// Whether the outbox survives.
    pub const fn sent(self) -> bool {
        matches!(self, Self::Sent | Self::Both)
    }

    /// Whether the cursor survives.
    pub const fn seen(self) -> bool {
        matches!(self, Self::Seen | Self::Both)
    }

    /// In the order of the words that name them on the wire.
    pub(crate) const ALL: [Self; 4] = [Self::None, Self::Sent, Self::Seen, Self::Both];
    pub(crate) const WORDS: &'static [u8] = b"none sent seen both";
}

/// What to do with unacknowledged messages when the peer has lost its memory of this stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum OnForgotten {
    /// Send them again: nothing is lost, and what the peer took without acknowledging it may be repeated.
    #[default]
    Redeliver,
    /// Drop those that were ever put on a wire: nothing is repeated, and what the peer did not take is lost.
    Skip,
}

/// Choices of one endpoint, built in a `const` and checked by [`Config::validate`].
///
/// ```
/// use holdline_proto::{Config, Keeps, ValidConfig};
/// const DEVICE: ValidConfig = match Config::new().timeout_ms(4_000).window(2).max_line(512).keeps(Keeps::Sent).validate() {
///     Ok(config) => config,
///     Err(_) => panic!("the device's configuration is out of range"),
/// };
/// assert_eq!(DEVICE.get().window, 2);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Config {
    /// The timeout T, in milliseconds: a client proposes it, and it is the default of a classic link. Default 2000,
    /// range 200 to 3,600,000. An outage is noticed within T of the last byte received.
    pub timeout_ms: u32,
    /// A server's lower bound for the timeout a client proposes, in milliseconds. Default 200.
    pub timeout_min_ms: u32,
    /// A server's upper bound for the timeout a client proposes, in milliseconds. Default 3,600,000.
    pub timeout_max_ms: u32,
    /// How many messages this endpoint is ready to hold before its application accepts them. Default 16, range 1 to 65,535.
    pub window: u16,
    /// The longest line this endpoint can receive, in bytes without its LF. Default 4096, range 128 to 1,048,576.
    pub max_line: u32,
    /// What survives a loss of power here. Default nothing.
    pub keeps: Keeps,
    /// What to do with unacknowledged messages when the peer remembers nothing. Default: send them again.
    pub on_forgotten: OnForgotten,
    /// Whether every line but the keepalive carries a CRC-32: for streams that can lose or flip bytes. Default off; it must be what
    /// the server expects on the stream. A server's native session goes by the hello of each link ([`Hello::check`](crate::Hello)).
    pub check: bool,
    /// Classic profiles: one reliable message at a time, which is what keeps their order. Default on.
    pub in_order: bool,
}

impl Config {
    /// The defaults.
    pub const fn new() -> Self {
        Self {
            timeout_ms: 2_000,
            timeout_min_ms: TIMEOUT_MIN_MS,
            timeout_max_ms: TIMEOUT_MAX_MS,
            window: 16,
            max_line: 4_096,
            keeps: Keeps::None,
            on_forgotten: OnForgotten::Redeliver,
            check: false,
            in_order: true,
        }
    }

    /// Sets [`Config::timeout_ms`].
    pub const fn timeout_ms(mut self, ms: u32) -> Self {
        self.timeout_ms = ms;
        self
    }

    /// Sets [`Config::timeout_min_ms`] and [`Config::timeout_max_ms`].
    pub const fn timeout_range_ms(mut self, min: u32, max: u32) -> Self {
        self.timeout_min_ms = min;
        self.timeout_max_ms = max;
        self
    }

    /// Sets [`Config::window`].
    pub const fn window(mut self, messages: u16) -> Self {
        self.window = messages;
        self
    }

    /// Sets [`Config::max_line`].
    pub const fn max_line(mut self, bytes: u32) -> Self {
        self.max_line = bytes;
        self
    }

    /// Sets [`Config::keeps`].
    pub const fn keeps(mut self, keeps: Keeps) -> Self {
        self.keeps = keeps;
        self
    }

    /// Sets [`Config::on_forgotten`].
    pub const fn on_forgotten(mut self, policy: OnForgotten) -> Self {
        self.on_forgotten = policy;
        self
    }

    /// Sets [`Config::check`].
    pub const fn check(mut self, check: bool) -> Self {
        self.check = check;
        self
    }

    /// Sets [`Config::in_order`].
    pub const fn in_order(mut self, in_order: bool) -> Self {
        self.in_order = in_order;
        self
    }

    /// Checks every field against its range.
    ///
    /// # Errors
    /// The first field that is out of range.
    pub const fn validate(self) -> Result<ValidConfig, ConfigError> {
        const fn within(value: u32, min: u32, max: u32) -> bool {
            value >= min && value <= max
        }
        if !within(self.timeout_ms, TIMEOUT_MIN_MS, TIMEOUT_MAX_MS) {
            return Err(ConfigError::Timeout);
        }
        if !within(self.timeout_min_ms, TIMEOUT_MIN_MS, self.timeout_max_ms) || self.timeout_max_ms > TIMEOUT_MAX_MS {
            return Err(ConfigError::TimeoutRange);
        }
        if self.window == 0 {
            return Err(ConfigError::Window);
        }
        if !within(self.max_line, LINE_MIN, LINE_MAX) {
            return Err(ConfigError::MaxLine);
        }
        Ok(ValidConfig(self))
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}

/// A configuration whose every field is in range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ValidConfig(Config);

impl ValidConfig {
    /// The checked fields.
    pub const fn get(&self) -> &Config {
        &self.0
    }

    /// The same with another [`Config::check`], which has no range to leave.
    pub(crate) const fn with_check(self, check: bool) -> Self {
        Self(self.0.check(check))
    }
}

impl Default for ValidConfig {
    /// The defaults, which are in range.
    fn default() -> Self {
        Self(Config::new())
    }
}

/// A field of [`Config`] that is out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ConfigError {
    /// `timeout_ms` is not within 200 to 3,600,000.
    Timeout,
    /// `timeout_min_ms` to `timeout_max_ms` is no range within 200 to 3,600,000.
    TimeoutRange,
    /// `window` is zero.
    Window,
    /// `max_line` is not within 128 to 1,048,576.
    MaxLine,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Timeout => "the timeout must be 200 to 3600000 ms",
            Self::TimeoutRange => "the timeout range must lie within 200 to 3600000 ms, lower bound first",
            Self::Window => "the window must be 1 to 65535 messages",
            Self::MaxLine => "the longest line must be 128 to 1048576 bytes",
        })
    }
}

impl core::error::Error for ConfigError {}

pub(crate) const TIMEOUT_MIN_MS: u32 = 200;
pub(crate) const TIMEOUT_MAX_MS: u32 = 3_600_000;
pub(crate) const LINE_MIN: u32 = 128;
pub(crate) const LINE_MAX: u32 = 1_048_576;
