//! What can be wrong, and whose fault it is.

use core::fmt;
use holdline_proto::{ConfigError, InvalidClientId, SendError};

/// A channel could not be made: its parameters or its buffers do not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum InvalidChannel {
    /// The name is no client id.
    Id(InvalidClientId),
    /// A parameter is out of range.
    Config(ConfigError),
    /// The receive buffer is smaller than this: the longest line and a message's receipt.
    Inbox(usize),
    /// The transmit buffer is smaller than this: what every link has to send.
    Transmit(usize),
    /// The buffer for records is smaller than this: the cursors.
    #[cfg(feature = "durable")]
    Record(usize),
    /// The store could not be read.
    #[cfg(feature = "durable")]
    Store(crate::StoreFailed),
}

impl fmt::Display for InvalidChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(error) => error.fmt(f),
            Self::Config(error) => error.fmt(f),
            Self::Inbox(least) => write!(f, "the receive buffer needs {least} bytes for lines of this length"),
            Self::Transmit(least) => write!(f, "the transmit buffer needs {least} bytes for what every link has to send"),
            #[cfg(feature = "durable")]
            Self::Record(least) => write!(f, "the buffer for records needs {least} bytes for the cursors"),
            #[cfg(feature = "durable")]
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for InvalidChannel {}

/// The channel was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the channel was closed")
    }
}

impl core::error::Error for Closed {}

/// No message could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ReadError {
    /// The channel was closed, and all that was received has been read.
    Closed,
    /// The next message takes a buffer of this many bytes; it waits still.
    TooLong(usize),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => Closed.fmt(f),
            Self::TooLong(len) => write!(f, "the next message needs a buffer of {len} bytes"),
        }
    }
}

impl core::error::Error for ReadError {}

/// A message was not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum WriteError {
    /// The channel was closed; a message that was queued may have arrived.
    Closed,
    /// The server lost its memory, and the policy is not to send again what may have arrived.
    Dropped,
    /// The text cannot be sent.
    Text(SendError),
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => Closed.fmt(f),
            Self::Dropped => f.write_str("the message may have arrived, and was dropped as the policy says"),
            Self::Text(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for WriteError {}
