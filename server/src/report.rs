//! What the operator is told: one stream of events for all sessions of a server, or for one client.

use crate::sync::{Mutex, lock};
use holdline_proto::{DownReason, Event, PeerFault, RefusalCode};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;

/// Something that happened to one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The client id of the session.
    pub client: Arc<str>,
    /// What happened.
    pub what: What,
}

/// What happened to a session.
///
/// `Connected` or `Resumed` and `Outage` alternate strictly, beginning with `Connected`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// The first link of this session is up.
    Connected,
    /// A further link is up.
    Resumed {
        /// How long the session was without one.
        after: Duration,
    },
    /// The link is down; the session waits for the next one.
    Outage(DownReason),
    /// A newer connection of this client takes the place of one that was still open.
    Takeover,
    /// A connection was turned away: two devices use this client id in turns.
    Duplicate,
    /// A client that the configuration does not name; whether it is served depends on the configuration.
    Unknown {
        /// Whether it was turned away.
        refused: bool,
    },
    /// Server only: a client is made for streams of the other kind. Its hello had no check on a checked stream, or one on a stream
    /// without checks, and the two cannot understand each other. Told at most once a minute for each of the two, whoever it was.
    WrongCheck {
        /// Whether the stream on which it came is a checked one.
        checked: bool,
    },
    /// The peer violated the protocol; the outage that follows names the same fault.
    Fault(PeerFault),
    /// The session lost or repeats something, as told by the protocol crate.
    Session(Event),
    /// Client only: the server refused the hello.
    Refused {
        /// Its reason.
        code: RefusalCode,
        /// How long it asks to be left alone; zero if it does not say. The client waits that long, an hour at most.
        retry: Duration,
    },
    /// Client only: what answered does not speak Holdline.
    NotHoldline,
    /// Client only: no link has been up yet, and this attempt failed.
    NotReached {
        /// What went wrong, for people; that of the connection attempt, or of the greeting.
        reason: String,
        /// Whether somebody took the connection and did not answer, or hung up.
        unanswered: bool,
    },
}

/// How many reports a slow reader may lag behind before it misses some.
const BACKLOG: usize = 4_096;

/// Where reports go.
///
/// Every link holds one, so it is a single pointer.
#[derive(Clone, Debug)]
pub(crate) struct Reporter(Arc<Desk>);

#[derive(Debug)]
struct Desk {
    reports: broadcast::Sender<Report>,
    faults: Mutex<BTreeMap<&'static str, u64>>,
}

impl Reporter {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Desk { reports: broadcast::Sender::new(BACKLOG), faults: Mutex::new(BTreeMap::new()) }))
    }

    pub(crate) fn tell(&self, client: &Arc<str>, what: What) {
        // HL-0158
        tracing::debug!(client = %client.escape_debug(), ?what);
        if let What::Fault(fault) = what {
            // HL-0142
            *lock(&self.0.faults).entry(fault.code()).or_default() += 1;
        }
        if self.0.reports.receiver_count() > 0 {
            // A receiver that went away meanwhile is no loss.
            let _ = self.0.reports.send(Report { client: Arc::clone(client), what });
        }
    }

    pub(crate) fn tell_all(&self, client: &Arc<str>, reports: Vec<What>) {
        for what in reports {
            self.tell(client, what);
        }
    }

    /// How often peers violated the protocol, by the name of the fault.
    pub(crate) fn faults(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.0.faults).clone()
    }

    pub(crate) fn subscribe(&self) -> Reports {
        Reports(self.0.reports.subscribe())
    }
}

/// The reports since this stream was asked for.
#[derive(Debug)]
pub struct Reports(broadcast::Receiver<Report>);

impl Reports {
    /// The next report; `None` when the server or client is gone. A reader that lags by more than 4,096 reports misses the oldest, and
    /// a warning is logged.
    ///
    /// Cancel safe: a dropped call takes no report.
    pub async fn next(&mut self) -> Option<Report> {
        loop {
            match self.0.recv().await {
                Ok(report) => return Some(report),
                Err(broadcast::error::RecvError::Lagged(missed)) => tracing::warn!(missed, "reports were not read in time"),
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}
