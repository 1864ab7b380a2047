//! What can be done to a connection, each with its attributes.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Error;
use crate::outage::{ConnectFails, Shape};

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal,)+) => {
        /// What a toxic does, with its attributes.
        ///
        /// The first eight are Toxiproxy's, with its names, units and defaults; the rest are ours.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize)]
        #[serde(untagged)]
        pub enum Kind {
            $($(#[$doc])* $kind($kind),)+
        }

        impl Kind {
            /// The `type` of the HTTP API.
            pub const fn type_name(&self) -> &'static str {
                match self { $(Self::$kind(_) => $name,)+ }
            }

            pub(super) fn parse(type_name: &str, attributes: Value) -> Result<Self, Error> {
                let attributes = match attributes {
                    Value::Null => Value::Object(serde_json::Map::new()),
                    Value::Object(given) => Value::Object(given.into_iter().filter(|(_, value)| !value.is_null()).collect()),
                    _ => return Err(Error::BadRequestBody(format!("attributes of {type_name}: not a JSON object"))),
                };
                match type_name {
                    $($name => serde_json::from_value(attributes).map(Self::$kind)
                        .map_err(|error| Error::BadRequestBody(format!("attributes of {type_name}: {error}"))),)+
                    _ => Err(Error::InvalidToxicType),
                }
            }
        }

        $(impl From<$kind> for Kind {
            fn from(attributes: $kind) -> Self {
                Self::$kind(attributes)
            }
        })+
    };
}

kinds! {
    /// Does nothing.
    Noop = "noop",
    /// Bytes arrive late.
    Latency = "latency",
    /// Bytes arrive at a limited rate.
    Bandwidth = "bandwidth",
    /// The end of the stream arrives late.
    SlowClose = "slow_close",
    /// Bytes are thrown away; the connection closes after a time, or when the toxic is removed.
    Timeout = "timeout",
    /// The connection is reset.
    ResetPeer = "reset_peer",
    /// Bytes arrive in small pieces.
    Slicer = "slicer",
    /// The connection closes after so many bytes from now on.
    LimitData = "limit_data",
    /// Nothing passes and nobody notices; everything that waited passes when it ends.
    BlackHole = "black_hole",
    /// The sender is no longer read from.
    Stall = "stall",
    /// The connection closes after exactly so many bytes since it opened.
    Cut = "cut",
    /// A line starts or stops another toxic.
    Trigger = "trigger",
    /// One end is gone and the other does not know.
    HalfOpen = "half_open",
    /// Stalls one after the other, as TCP makes of losses in bursts.
    BurstLoss = "burst_loss",
    /// An idle connection is forgotten on the way.
    NatIdle = "nat_idle",
    /// Connecting does not work.
    NoConnect = "no_connect",
    /// A captive portal answers in place of the server.
    Portal = "portal",
    /// A second device with the same id comes.
    CloneId = "clone",
    /// Bytes are flipped and lost, as on a serial line.
    Noise = "noise",
}

/// Does nothing: a place in the chain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noop {}

/// Bytes and the end of the stream arrive `latency` ± `jitter` after they were sent, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Latency {
    /// Milliseconds, 0 by default.
    pub latency: u64,
    /// Milliseconds more or less, each equally likely, 0 by default. A piece never overtakes another.
    pub jitter: u64,
}

/// At most `rate` kilobytes (1,000 bytes) a second arrive, without bursts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bandwidth {
    /// Kilobytes a second; at 0, the default, nothing passes.
    pub rate: u64,
}

/// The end of the stream is passed on after `delay`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SlowClose {
    /// Milliseconds, 0 by default.
    pub delay: u64,
}

/// Bytes are thrown away. The connection closes `timeout` after the toxic began to act on it, and in any case when the toxic
/// is removed, for the stream has a hole by then. Where bytes should wait instead, take [`BlackHole`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Timeout {
    /// Milliseconds; 0, the default, is never.
    pub timeout: u64,
}

/// Both ends see a reset `timeout` after the first byte, or the end of the stream, that comes while the toxic acts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResetPeer {
    /// Milliseconds, 0 by default.
    pub timeout: u64,
}

/// Bytes arrive in pieces of `average_size` ± `size_variation`, each in a write of its own, `delay` apart.
///
/// Where the pieces end follows from the seed and not from how the sender wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Slicer {
    /// Bytes; at least 1, and there is no default.
    pub average_size: u64,
    /// Bytes more or less, 0 by default. A piece has at least one byte.
    pub size_variation: u64,
    /// Microseconds between two pieces, 0 by default.
    pub delay: u64,
}

/// The connection closes with a FIN after `bytes` have arrived since the toxic began to act on it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LimitData {
    /// Bytes; at 0, the default, it closes instead of passing the first one on.
    pub bytes: u64,
}

/// Nothing passes, no end of stream and no reset either, and both sockets stay open. Bytes wait; when the toxic is removed they
/// arrive on the same connection, in order.
///
/// A connection that comes meanwhile is accepted by the kernel and goes no further: the server does not see it before the end,
/// and never if the client has given up by then.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BlackHole {
    /// Only the toxic's own direction; both by default.
    pub one_way: bool,
}

/// The sender is not read from, so that its window closes and its writes wait, as with a receiver that has stopped reading.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stall {
    /// Bytes of the connection that are still read, 0 by default.
    pub after: u64,
}

/// The connection closes when exactly `bytes` have been passed on in the toxic's direction since it opened; at once if it was
/// more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cut {
    /// Bytes; at 0, the default, no byte passes.
    pub bytes: u64,
    /// `fin`, the default, `rst` or `silent`. A reset may overtake bytes that the network between the proxy and the receiver still
    /// holds.
    pub close: Close,
}

/// A line in the toxic's direction starts or stops another toxic, on the connection that the line was seen on.
///
/// The effect begins when the whole line, newline included, has been passed on. A toxic that is to wait for its trigger is created
/// with toxicity 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Trigger {
    /// What the line holds, as UTF-8; 1 to 1,024 bytes, no newline.
    pub line: String,
    /// Where it holds it: `contains`, the default, or `starts_with`.
    #[serde(rename = "match")]
    pub place: Place,
    /// The other toxic's name.
    pub toxic: String,
    /// `start`, the default, or `stop`.
    pub action: Action,
    /// Milliseconds until the other toxic is again as it was; 0, the default, is until the connection ends.
    #[serde(rename = "for")]
    pub lasts: u64,
    /// The how manieth such line of a connection it is; at least 1, the default.
    pub count: u64,
    /// Whether counting begins again afterwards; by default a connection has one effect.
    pub repeat: bool,
}

impl Default for Trigger {
    fn default() -> Self {
        Self {
            line: String::new(),
            place: Place::default(),
            toxic: String::new(),
            action: Action::default(),
            lasts: 0,
            count: 1,
            repeat: false,
        }
    }
}

/// Where a line holds what is looked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Anywhere.
    #[default]
    Contains,
    /// At its beginning.
    StartsWith,
}

/// What a line does to another toxic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It acts on this connection, whatever its toxicity.
    #[default]
    Start,
    /// It no longer does.
    Stop,
}

/// One end's connection closes and the other's stays open for good: what it sends is taken and thrown away, and it hears
/// nothing. When the toxic is removed it gets a reset, as from a host that has come back without knowing the connection.
///
/// It acts on the connections of the moment in which it was added; later ones are left alone, so that a device can return
/// while its old connection is half open. The toxic's `stream` means nothing here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HalfOpen {
    /// The end whose connection stays: `server`, the default, or `client`.
    pub stays: End,
    /// How the other's closes: `fin`, the default, or `rst`; with `silent` it stays open too, and neither hears anything.
    pub close: Close,
}

/// Losses in bursts: TCP repairs them, so what is seen is stalls of random length, one after the other. In a stall nothing passes,
/// as in a [`BlackHole`], and a connection that comes waits too.
///
/// When and how long follows from the seed, for each connection on its own, counted from when the toxic began to act on it. The
/// attributes are those of the simulator's `burst-loss`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BurstLoss {
    /// The longest stall: 1 to 600,000 milliseconds, and there is no default.
    pub longest: u32,
    /// The mean time between two stalls: 10 to 600,000 milliseconds, and there is no default.
    pub every: u32,
    /// `heavy-tailed`, the default, or `gilbert-elliott`.
    #[serde(default)]
    pub shape: Shape,
    /// Only the toxic's own direction; both by default.
    #[serde(default)]
    pub one_way: bool,
}

/// A connection that has carried nothing either way for `idle` is forgotten, as by a NAT: from then on nothing passes, and nobody
/// is told. Both sockets stay open until their own ends close them, and what is sent is taken and thrown away.
///
/// It is forgotten for good: removing the toxic brings it no more back than a router's memory would. The toxic's `stream` means
/// nothing here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NatIdle {
    /// 1 to 86,400,000 milliseconds, and there is no default. What the connection has been idle for before the toxic came counts.
    pub idle: u32,
}

/// Connections that come while the toxic is there do not get to the server; those that there are stay as they are. The toxic's
/// `stream` means nothing here.
///
/// With `refused` nobody listens while it is there, for every client unless its toxicity is 0. With `silent` the kernel still
/// accepts in place of the server, and then nothing comes; who is still waiting when the toxic goes gets through then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoConnect {
    /// `refused`, `silent` or `accepted-then-closed`; there is no default.
    pub how: ConnectFails,
}

/// Connections that come while the toxic is there get to a captive portal and not to the server: whatever a client sends first is
/// answered with an HTTP redirect, and the connection closes. The toxic's `stream` means nothing here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Portal {
    /// Where the browser is sent, `http://portal.invalid/login` by default: 1 to 1,024 printable ASCII characters without `<`, `>`, `"`
    /// and blanks.
    pub location: String,
}

impl Default for Portal {
    fn default() -> Self {
        Self { location: "http://portal.invalid/login".to_owned() }
    }
}

/// A second connection comes to the server, says what the client said in its first line, and then only listens: a device with the
/// same id. Each connection that the toxic takes has one, until the server closes it or the toxic is removed; a client that comes
/// back is followed anew. The toxic's `stream` means nothing here.
///
/// A first line longer than 1,024 bytes is not repeated. A [`Trigger`] can start it; it stops only as said above.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CloneId {
    /// How long after the client's first line it comes, or after the toxic was added if that was later: milliseconds, 1,000 by default.
    pub delay: u64,
}

impl Default for CloneId {
    fn default() -> Self {
        Self { delay: 1_000 }
    }
}

/// Bytes have one bit flipped or never arrive, as on a serial line and never in TCP.
///
/// Which ones follows from the seed and their place in the stream, and not from how the sender wrote. The names are the simulator's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Noise {
    /// Of a million bytes so many have one bit flipped; 0 by default, and a million at most with those that are dropped.
    pub flip_per_million: u32,
    /// Of a million bytes so many never arrive; 0 by default.
    pub drop_per_million: u32,
}

/// One of the two programs that the proxy stands between.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// It connected to the proxy.
    Client,
    /// The proxy connected to it.
    #[default]
    Server,
}

const LONGEST_PATTERN: usize = 1024;
const LONGEST_LOCATION: usize = 1024;
const MILLION: u32 = 1_000_000;

impl Kind {
    /// Refuses attributes that contradict each other.
    pub(super) fn check(&self) -> Result<(), Error> {
        let wrong = match self {
            Self::Slicer(slicer) if slicer.average_size == 0 => "a slicer needs an average_size of at least 1 byte",
            Self::Trigger(trigger) if trigger.line.is_empty() || trigger.line.len() > LONGEST_PATTERN => {
                "a trigger needs a line of 1 to 1024 bytes"
            }
            Self::Trigger(trigger) if trigger.line.contains('\n') => "a trigger's line is one line: it holds no newline",
            Self::Trigger(trigger) if trigger.toxic.is_empty() => "a trigger needs the name of the toxic that it starts or stops",
            Self::Trigger(trigger) if trigger.count == 0 => "a trigger's count is at least 1",
            Self::BurstLoss(loss) if !(1..=600_000).contains(&loss.longest) => "a burst_loss's longest is 1 to 600000 ms",
            Self::BurstLoss(loss) if !(10..=600_000).contains(&loss.every) => "a burst_loss's every is 10 to 600000 ms",
            Self::NatIdle(nat) if !(1..=86_400_000).contains(&nat.idle) => "a nat_idle's idle is 1 to 86400000 ms",
            Self::Portal(portal) if !is_location(&portal.location) => {
                "a portal's location is 1 to 1024 printable ASCII characters without <, >, \" and blanks"
            }
            Self::Noise(noise) if noise.flip_per_million.saturating_add(noise.drop_per_million) > MILLION => {
                "of a million bytes, a noise cannot flip and drop more than a million"
            }
            _ => return Ok(()),
        };
        Err(Error::BadRequestBody(wrong.to_owned()))
    }
}

fn is_location(location: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"<>\"".contains(&byte);
    (1..=LONGEST_LOCATION).contains(&location.len()) && location.bytes().all(is_plain)
}

/// How a connection is closed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Close {
    /// In order: both ends read to the end and see a FIN.
    #[default]
    Fin,
    /// At once: both ends see a reset, and what was still under way is lost.
    Rst,
    /// Nobody is told: nothing passes any more, and each socket stays open until its own end closes it. What is sent is taken and
    /// thrown away.
    Silent,
}

/// A number of milliseconds, a year at most: what is longer than any run is not worth an overflow.
pub(super) const fn millis(milliseconds: u64) -> Duration {
    const YEAR: u64 = 365 * 24 * 3600 * 1000;
    Duration::from_millis(if milliseconds > YEAR { YEAR } else { milliseconds })
}
