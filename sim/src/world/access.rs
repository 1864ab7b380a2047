//! How the network of one node behaves.

/// How the network of one node behaves. What two nodes say of the stream between them adds up, or the narrower of the two holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// One-way delay, in milliseconds. Default 5.
    pub latency_ms: u32,
    /// Up to this much more, drawn for each segment. Default 0.
    pub jitter_ms: u32,
    /// Bytes from this node go nowhere while set; they wait, as TCP has them wait.
    pub out_blocked: bool,
    /// Bytes to this node go nowhere while set.
    pub in_blocked: bool,
    /// What happens to a connection attempt from or to this node.
    pub connecting: Connecting,
    /// Bytes that one direction of a stream can hold before its writer has to wait. Default 65,536.
    pub buffer: usize,
    /// Bytes that can wait for this node to read them before their writer has to wait. Default: any number.
    pub window: usize,
    /// The largest segment, in bytes. Default 1,460.
    pub segment: usize,
    /// Bytes for each millisecond; 0: no limit.
    pub rate: u32,
    /// A stream that carried nothing for so long is forgotten on the way, and nobody is told, in milliseconds; 0: never.
    pub nat_idle_ms: u32,
    /// Of a million bytes to or from this node so many have one bit flipped, as on a serial line; 0, as TCP promises, by default.
    pub flip_per_million: u32,
    /// Of a million bytes to or from this node so many never arrive, as on a serial line; 0, as TCP promises, by default.
    pub drop_per_million: u32,
}

impl Access {
    /// Whether bytes to and from this node are damaged.
    pub const fn is_noisy(&self) -> bool {
        self.flip_per_million > 0 || self.drop_per_million > 0
    }
}

/// What happens to a connection attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connecting {
    /// It succeeds after a round trip.
    Works,
    /// Somebody answers that nobody listens.
    Refused,
    /// Nobody answers.
    Silent,
    /// There is no way there.
    Unreachable,
    /// It succeeds, and is closed at once.
    AcceptedThenClosed,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            latency_ms: 5,
            jitter_ms: 0,
            out_blocked: false,
            in_blocked: false,
            connecting: Connecting::Works,
            buffer: 64 * 1024,
            window: usize::MAX,
            segment: 1_460,
            rate: 0,
            nat_idle_ms: 0,
            flip_per_million: 0,
            drop_per_million: 0,
        }
    }
}
