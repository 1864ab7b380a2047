//! What is known of one device, apart from what its session says.

use crate::ledger::Ledger;
use holdline_proto::Instant;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// The two accounts of one device: what it sends, and what it is sent.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    /// Device → server.
    pub up: Ledger,
    /// Server → device.
    pub down: Ledger,
    /// Links that came up.
    pub links: u32,
    /// When the session went down, while it is.
    pub down_since: Option<Instant>,
    /// Every pause between two links, in milliseconds.
    pub pauses: Vec<u64>,
    /// What broke a promise that is not about messages.
    pub violations: Vec<String>,
    /// When the device tried to connect, in the last minute.
    attempts: VecDeque<Instant>,
    /// Whether the device's session was up when it was last heard of.
    is_up: bool,
    /// What the actors do wrong on purpose.
    pub(crate) defect: Option<Defect>,
}

/// Something that the actors do wrong, to see that an oracle notices.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// A session's timers are never served at the device.
    TimersIgnored,
    /// Every tenth message is accepted on receipt, and lost before the application has it.
    AcceptedOnReceipt,
    /// What is read back after a loss of power is an older commit.
    CursorNotCommitted,
    /// A device without memory draws the same epoch again.
    EpochReused,
    /// A failed connection is tried again at once.
    NoBackoff,
    /// Every tenth message is given to the application twice.
    GivenTwice,
    /// The end of a link is not told.
    DownUntold,
}

/// A device that keeps to its backoff does not connect more often than this in any minute.
const ATTEMPTS_A_MINUTE: usize = 60;

impl Accounts {
    /// Notes that something broke a promise; the first 16 are kept.
    pub fn violation(&mut self, what: impl FnOnce() -> String) {
        if self.violations.len() < 16 {
            self.violations.push(what());
        }
    }

    /// The device tries to connect.
    pub fn tried(&mut self, now: Instant) {
        self.attempts.push_back(now);
        while self.attempts.front().is_some_and(|&first| now.since(first) > 60_000) {
            self.attempts.pop_front();
        }
        if self.attempts.len() > ATTEMPTS_A_MINUTE {
            self.attempts.clear();
            self.violation(|| {
                format!("more than {ATTEMPTS_A_MINUTE} attempts to connect in the minute before {} ms", now.as_millis())
            });
        }
    }

    /// The device's session says that it is up.
    pub fn came_up(&mut self) {
        if std::mem::replace(&mut self.is_up, true) {
            self.violation(|| "the session came up twice and never went down".into());
        }
    }

    /// It says that it is down, or it is no more.
    pub fn went_down(&mut self) {
        self.is_up = false;
    }
}

/// Shared by the device and the server that talk to each other.
pub type Shared = Rc<RefCell<Accounts>>;
