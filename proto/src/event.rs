//! What a session tells its adapter, and whose fault an error is.

use crate::words;
use core::fmt;

/// Something that happened to the session; read with `poll_event` after every input.
///
/// Ranges of sequence numbers are inclusive; `from > to` is the empty range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Event {
    /// The link is up: messages flow.
    Up {
        /// Whether this session has been up before.
        resumed: bool,
    },
    /// The link is down, for this reason: write what `poll_transmit` still has, then close the transport.
    Down(DownReason),
    /// The peer's application has accepted every message up to this number.
    Acked(u64),
    /// The peer's sending stream begins anew: it restarted without memory of the session.
    PeerReset,
    /// Messages of the peer are lost for good: this side had accepted them before, and lost the memory of it (a restored
    /// backup), or the peer dropped them by policy. From 1 on: this side's store knows nothing of the peer's stream.
    LostIncoming {
        /// The first number lost.
        from: u64,
        /// The last number lost.
        to: u64,
    },
    /// The peer had accepted these messages and has lost the memory of it (a restored backup).
    LostOutgoing {
        /// The first number lost.
        from: u64,
        /// The last number lost.
        to: u64,
    },
    /// The peer remembers nothing of this stream, and these messages were unacknowledged; `on_forgotten` was applied to them.
    PeerForgot {
        /// The first number concerned.
        from: u64,
        /// The last number concerned.
        to: u64,
        /// Whether they were dropped (`Skip`) and not kept to be sent again (`Redeliver`).
        dropped: bool,
    },
    /// This side's own store turned out to be older than what the peer remembers: everything held has been renumbered under
    /// a new epoch and may arrive a second time.
    OwnReset {
        /// How many messages were dropped instead, because they may have arrived and the policy is `Skip`.
        dropped: u64,
    },
    /// A message is longer than this peer can take: it and what follows it wait.
    Blocked {
        /// Its sequence number.
        seq: u64,
        /// The length of its text, in bytes.
        len: u32,
        /// The longest text that the peer takes, in bytes.
        max: u32,
    },
}

/// Why a link ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum DownReason {
    /// Nothing was received for the whole timeout.
    Outage,
    /// The transport took no output for the whole timeout.
    Stall,
    /// No welcome came in time.
    HelloTimeout,
    /// The stream ended, or the transport reported an error.
    Disconnected,
    /// The peer said goodbye.
    Bye {
        /// Its reason.
        code: ByeCode,
        /// How long it asks to be left alone, in milliseconds; 0 if it does not say.
        retry_ms: u32,
    },
    /// The server refused the hello.
    Refused {
        /// Its reason.
        code: RefusalCode,
        /// How long it asks to be left alone, in milliseconds; 0 if it does not say.
        retry_ms: u32,
    },
    /// What answered the hello does not speak Holdline.
    NotHoldline,
    /// The peer violated the protocol.
    Fault(PeerFault),
    /// A newer link of the same session took over.
    Takeover,
    /// This side has to greet again, because its sending stream changed in a way that the peer must hear in a hello.
    Reset,
    /// The peer began a new link on the same stream (only with `check`): its hello is still unconsumed.
    NewHello,
    /// This side closed.
    Closed,
}

/// The word in a `B` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ByeCode {
    /// `done`: the application is finished.
    Done,
    /// `closing`: the program is stopping and will be back.
    Closing,
    /// `takeover`: a newer link carries the session.
    Takeover,
    /// `reset`: the sender's stream changed; it will greet again.
    Reset,
    /// The peer saw a fault in what it was sent.
    Fault(PeerFault),
    /// A code that this version does not know.
    Unknown,
}

impl ByeCode {
    const ALL: [Self; 16] = [
        Self::Fault(PeerFault::Frame),
        Self::Fault(PeerFault::Number),
        Self::Fault(PeerFault::Long),
        Self::Fault(PeerFault::Utf8),
        Self::Fault(PeerFault::Nul),
        Self::Fault(PeerFault::Window),
        Self::Fault(PeerFault::Ack),
        Self::Fault(PeerFault::Rewind),
        Self::Fault(PeerFault::Hello),
        Self::Fault(PeerFault::Slow),
        Self::Fault(PeerFault::Mute),
        Self::Done,
        Self::Closing,
        Self::Takeover,
        Self::Reset,
        Self::Unknown,
    ];

    /// The word on the wire.
    pub const fn token(self) -> &'static str {
        words::text(BYES, self.place())
    }

    pub(crate) fn word(self) -> &'static [u8] {
        words::nth(BYES, self.place())
    }

    const fn place(self) -> usize {
        match self {
            Self::Fault(fault) => fault as usize,
            Self::Done => 11,
            Self::Closing => 12,
            Self::Takeover => 13,
            Self::Reset => 14,
            Self::Unknown => 15,
        }
    }

    pub(crate) fn from_token(token: &[u8]) -> Self {
        words::find(BYES, token).and_then(|place| Self::ALL.get(place).copied()).unwrap_or(Self::Unknown)
    }
}

/// In the order of [`ByeCode::ALL`]: the faults, in their order, come first.
const BYES: &[u8] = b"frame number long utf8 nul window ack rewind hello slow mute done closing takeover reset unknown";

/// The word in a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum RefusalCode {
    /// `malformed`: the hello does not follow the grammar.
    Malformed,
    /// `version`: a version of the protocol that this server does not speak.
    Version,
    /// `sealed`: this listener does not take sealed lines.
    Sealed,
    /// `profile`: this listener does not serve this profile.
    Profile,
    /// `duplicate-client`: two devices are using one client id.
    DuplicateClient,
    /// `unknown-client`: this server does not expect that client id.
    UnknownClient,
    /// `busy`: a limit of the server is reached.
    Busy,
    /// `closing`: the server is stopping.
    Closing,
    /// A code that this version does not know.
    Unknown,
}

impl RefusalCode {
    const ALL: [Self; 9] = [
        Self::Malformed,
        Self::Version,
        Self::Sealed,
        Self::Profile,
        Self::DuplicateClient,
        Self::UnknownClient,
        Self::Busy,
        Self::Closing,
        Self::Unknown,
    ];

    /// The word on the wire.
    pub const fn token(self) -> &'static str {
        words::text(REFUSALS, self as usize)
    }

    pub(crate) fn from_token(token: &[u8]) -> Self {
        words::find(REFUSALS, token).and_then(|place| Self::ALL.get(place).copied()).unwrap_or(Self::Unknown)
    }
}

/// In the order of [`RefusalCode`].
const REFUSALS: &[u8] = b"malformed version sealed profile duplicate-client unknown-client busy closing unknown";

/// One violation of the protocol by the peer. Each closes the link it happened on, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum PeerFault {
    /// A line that is no frame of the profile.
    Frame,
    /// A number that is malformed or out of range.
    Number,
    /// A line longer than this side said it can take.
    Long,
    /// A text that is not UTF-8.
    Utf8,
    /// A text with a NUL.
    Nul,
    /// More messages outstanding than this side's window.
    Window,
    /// An acknowledgement of a message that was never sent.
    Ack,
    /// A rewind to a message that is acknowledged already, or was never sent.
    Rewind,
    /// A greeting in the middle of a link, or a malformed welcome.
    Hello,
    /// A line that was begun and not completed for four timeouts.
    Slow,
    /// Bytes arrive, and a probe is not answered: what this side sends does not get through.
    Mute,
}

impl PeerFault {
    /// The word in the `B` line that tells the peer.
    pub const fn code(self) -> &'static str {
        words::text(BYES, self as usize)
    }
}

/// Why a message was not taken. The application can mend each of these; nothing was queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum SendError {
    /// The outbox is full: wait for an acknowledgement.
    Full,
    /// The text is longer than the peer, or this endpoint's buffer, takes.
    TooLong {
        /// The longest text that would do, in bytes.
        max: u32,
    },
    /// The text contains an LF, which ends a line.
    LineFeed,
    /// The text contains a NUL.
    Nul,
    /// The text is empty, which the classic profiles cannot carry: its line would be an acknowledgement.
    Empty,
    /// Best effort only: the link is down, so the message is dropped.
    Down,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the outbox is full until the peer acknowledges a message"),
            Self::TooLong { max } => write!(f, "the message is longer than {max} bytes"),
            Self::LineFeed => f.write_str("a message cannot contain a line feed: send it as two, or escape it"),
            Self::Nul => f.write_str("a message cannot contain a NUL"),
            Self::Empty => f.write_str("the classic profiles cannot carry an empty message"),
            Self::Down => f.write_str("the link is down, and best effort does not wait"),
        }
    }
}

impl core::error::Error for SendError {}

impl fmt::Display for PeerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Frame => "a line that is no frame",
            Self::Number => "a malformed number",
            Self::Long => "a line longer than announced",
            Self::Utf8 => "a text that is not UTF-8",
            Self::Nul => "a text with a NUL",
            Self::Window => "more messages than the window",
            Self::Ack => "an acknowledgement of nothing that was sent",
            Self::Rewind => "a rewind out of range",
            Self::Hello => "a greeting out of place or malformed",
            Self::Slow => "a line that was never completed",
            Self::Mute => "no answer to a probe",
        })
    }
}

impl fmt::Display for DownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outage => f.write_str("silence for the whole timeout"),
            Self::Stall => f.write_str("the transport takes no output"),
            Self::HelloTimeout => f.write_str("no welcome in time"),
            Self::Disconnected => f.write_str("the stream ended"),
            Self::Bye { code, .. } => write!(f, "the peer said goodbye: {}", code.token()),
            Self::Refused { code, .. } => write!(f, "the server refused: {}", code.token()),
            Self::NotHoldline => f.write_str("the server does not speak Holdline"),
            Self::Fault(fault) => write!(f, "peer fault: {fault}"),
            Self::Takeover => f.write_str("a newer link took over"),
            Self::Reset => f.write_str("greeting again after a reset"),
            Self::NewHello => f.write_str("the peer greeted again on the same stream"),
            Self::Closed => f.write_str("closed by this side"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_read_as_it_is_written() {
        for code in ByeCode::ALL {
            assert_eq!(ByeCode::from_token(code.token().as_bytes()), code);
        }
        for code in RefusalCode::ALL {
            assert_eq!(RefusalCode::from_token(code.token().as_bytes()), code);
        }
        assert_eq!((PeerFault::Mute.code(), ByeCode::Takeover.token(), RefusalCode::Busy.token()), ("mute", "takeover", "busy"));
        assert_eq!((ByeCode::from_token(b"moved"), RefusalCode::from_token(b"")), (ByeCode::Unknown, RefusalCode::Unknown));
    }
}
