//! What a defect is.

use super::scene::{Link, Scene, Setup};
use crate::case::{Case, Profile, Role};
use crate::requirement::{Requirement, cited};
use serde_json::Value as Json;
use std::fmt;

/// A defect that a subject can be given.
#[derive(Debug)]
pub struct Defect {
    /// Its name.
    pub name: &'static str,
    /// What the subject does wrong, in one sentence.
    pub what: &'static str,
    /// The ids of the requirements that it breaks, with a blank between.
    pub(super) breaks: &'static str,
    /// The roles that it is a defect of.
    pub roles: &'static [Role],
    /// The profiles that it is a defect of.
    pub profiles: &'static [Profile],
    pub(super) kinds: &'static [Kind],
}

impl Defect {
    /// The requirements that it breaks.
    pub fn requirements(&self) -> impl Iterator<Item = Requirement> {
        cited(self.breaks)
    }

    /// Whether a case is one of a role and a profile that this is a defect of.
    pub fn concerns(&self, case: &Case) -> bool {
        self.roles.contains(&case.role) && self.profiles.contains(&case.profile)
    }

    /// Whether a case checks what this breaks.
    pub fn is_sought_by(&self, case: &Case) -> bool {
        self.concerns(case) && self.requirements().any(|id| case.requirements.contains(&id))
    }

    pub(super) fn tampers_with_store(&self) -> bool {
        self.kinds.iter().any(|kind| matches!(kind, Kind::Load(_) | Kind::StaleStore))
    }
}

/// What a hook for lines looks at, and what it makes of one.
pub(super) type OnLine = fn(&mut Scene<'_>, &[u8]) -> Vec<Deed>;

/// One way to tamper.
pub(super) enum Kind {
    /// With the settings.
    Start(fn(&mut Json)),
    /// With what the application asks for.
    Ask(fn(&mut Json)),
    /// With what it is answered.
    Answer(fn(&Json, &mut Json) -> Vec<Deed>),
    /// With what it is told.
    Event(fn(Json) -> Vec<Json>),
    /// With a line that comes in, in one piece; without its LF and check.
    Heard(OnLine),
    /// With a line that goes out; without its LF and check.
    Said(OnLine),
    /// With bytes as they come in.
    Bytes(fn(&mut Scene<'_>, &[u8]) -> Vec<u8>),
    /// At a time of a link.
    Alarm(fn(&Setup, &Link) -> Option<u64>, OnLine),
    /// With what was kept.
    Load(fn(&mut Json)),
    /// What is kept is always one change behind.
    StaleStore,
    /// The application is taken to have accepted what has just been read; `true`: and when its queue is full, the link is dropped.
    Greedy(bool),
    /// Its clock runs at half speed.
    SlowClock,
    /// When the peer ends a link, before the subject learns of it.
    Ended(OnLine),
    /// When the application has taken a message.
    Accepted(fn(&mut Scene<'_>) -> Vec<Deed>),
    /// A client does not wait before it connects.
    NoWaits,
    /// It waits so many milliseconds more before its n-th connection, from 1.
    Waits(fn(u64) -> u64),
    /// It takes what it has written as sent.
    NoStalls,
    /// A link that was taken over stays open, and what comes on it is read as the new one's.
    ReadsOldLink,
    /// Its cap on connections without a hello counts those with one, too.
    CapsAllLinks,
    /// A classic server does not wait before its first message.
    NoRest,
    /// One connection is served at a time until it has said hello.
    OneHello,
    /// It reads a line only when it is complete.
    WholeLines,
    /// A check is not looked at.
    Unchecked,
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kind")
    }
}

/// What is done instead.
#[derive(Debug)]
pub(super) enum Deed {
    /// The subject is given this line.
    Hear(Vec<u8>),
    /// It is given these bytes.
    HearBytes(Vec<u8>),
    /// The peer is sent this line.
    Say(Vec<u8>),
    /// The peer is sent these bytes.
    SayBytes(Vec<u8>),
    /// It is sent them after so many milliseconds.
    SayLater(u64, Vec<u8>),
    /// The application is given this text.
    Deliver(String),
    /// The link is closed.
    Close,
    /// Another one is.
    CloseOther(u64),
    /// All are.
    CloseAll,
    /// A client opens a connection that its session knows nothing of.
    Connect,
    /// The program ends.
    Crash,
}
