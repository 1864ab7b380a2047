//! Something that the endpoints do wrong on purpose, to see that an oracle notices.
//!
//! Only tests of the simulator itself have a use for these: they are switched on with the cargo feature `defects`, which nothing but
//! this crate's own tests asks for. Without it nobody can name a defect, and every question for one is answered with no before the
//! program is built.

/// What an endpoint, its adapter or its application does wrong.
#[allow(dead_code, unreachable_pub, reason = "without the feature nobody makes one, and nobody can name it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// A device's sessions are never served their timers.
    TimersIgnored,
    /// The server's sessions are never served their timers.
    ServerTimersIgnored,
    /// Every tenth message is accepted on receipt, and lost before the application has it.
    AcceptedOnReceipt,
    /// Every tenth message is given to the application twice.
    GivenTwice,
    /// Every tenth message is given to the application after the one that follows it.
    GivenLate,
    /// Every second acknowledgement takes one message too many out of the outbox.
    PrunedEarly,
    /// The outbox takes whatever it is given.
    OutboxUnbounded,
    /// A value takes the place of the newest one in the outbox, even if that is on the wire already.
    LatestForgotten,
    /// Best effort is put on the wire twice.
    BestEffortTwice,
    /// Every tenth datagram is forgotten although the link is up.
    BestEffortForgotten,
    /// What is read back after a loss of power is an older commit.
    CursorNotCommitted,
    /// A device without memory draws the same epoch and boot again. The epoch alone would do no harm: the session hears in the welcome
    /// that the server knows more of it than the device does, and numbers anew. The boot hides from the server that the device forgot.
    BootReused,
    /// A failed connection is tried again at once.
    NoBackoff,
    /// Every device draws the same random waits.
    InStep,
    /// After a failed attempt there is no other.
    GivesUp,
    /// The end of a link is not told.
    DownUntold,
    /// Reports of loss do not reach the application.
    ReportSwallowed,
    /// A loss is reported at the sender each time that a link comes up.
    LossInventedAtSender,
    /// A loss is reported at the receiver each time that a link comes up.
    LossInventedAtReceiver,
    /// A 32-bit clock is not widened: it begins again at 0.
    ClockNotWidened,
    /// A torn record is read as far as it goes.
    TornRead,
    /// On a checked stream a line is taken whose check is wrong.
    ChecksIgnored,
}

/// The same bytes, with the right check on each whole line that has a wrong one.
pub(crate) fn with_right_checks(bytes: &[u8]) -> Vec<u8> {
    const CHECK: usize = "*01234567\n".len();
    let mut mended = bytes.to_vec();
    for line in mended.split_inclusive_mut(|&byte| byte == b'\n') {
        let Some(end) = line.len().checked_sub(CHECK) else { continue };
        if let (body, [b'*', digits @ .., b'\n']) = line.split_at_mut(end) {
            digits.copy_from_slice(format!("{:08x}", holdline_proto::crc32(0, body)).as_bytes());
        }
    }
    mended
}

/// The defect that an endpoint has, if any.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seeded(Option<Defect>);

impl Seeded {
    #[cfg(feature = "defects")]
    pub(crate) const fn new(defect: Option<Defect>) -> Self {
        Self(defect)
    }

    /// Whether it is this one.
    pub(crate) fn is(self, defect: Defect) -> bool {
        cfg!(feature = "defects") && self.0 == Some(defect)
    }
}
