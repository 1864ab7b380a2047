//! Client id → session, and who may have one.

use crate::channel::{Channel, Session};
use crate::clock::Clock;
use crate::config::CheckedConfig;
use crate::connection::Profile;
use crate::mismatch::Mismatches;
use crate::report::{Reporter, What};
use crate::sync::{Mutex, lock};
use holdline_proto::{DownReason, Greeting, Incarnation, RefusalCode, Server as ServerRole, VecOutbox, classic, native};
use std::borrow::Borrow;
use std::collections::{BTreeMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::Notify;

/// All sessions of a server.
#[derive(Debug)]
pub(crate) struct Registry {
    pub(crate) config: CheckedConfig,
    pub(crate) clock: Clock,
    pub(crate) reporter: Reporter,
    pub(crate) mismatches: Mismatches,
    /// Drawn once for the program: every session says the same.
    boot: u64,
    /// Connections so far.
    arrivals: AtomicU32,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    sessions: HashSet<Entry>,
    /// Sessions that somebody waits for: told when they appear, or the server closes. One entry for each, so that ten thousand who
    /// wait are not all woken ten thousand times.
    awaited: BTreeMap<Arc<str>, Arc<Notify>>,
    /// While set, hellos are refused; the server is shutting down.
    closing: bool,
}

/// A session, found by its client id.
#[derive(Debug)]
struct Entry(Arc<Channel<ServerRole>>);

impl Borrow<str> for Entry {
    fn borrow(&self) -> &str {
        &self.0.id
    }
}

impl Hash for Entry {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id.hash(state);
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for Entry {}

/// The number of a connection, in the order in which they were accepted. It begins again after 2³²: every link keeps one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arrival(u32);

impl Arrival {
    /// As many connections as are never accepted within one hello timeout. Of two that are further apart, which happens when a link
    /// has lasted for long, none is known to be the older one.
    const SPAN: u32 = 1 << 24;

    fn is_before(self, other: Self) -> bool {
        (1..Self::SPAN).contains(&other.0.wrapping_sub(self.0))
    }
}

/// Why a greeting is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TurnedAway {
    /// The peer is told, if its profile has words for it.
    Refused(Refusal),
    /// Its client has given this connection up for a newer one, and nobody would hear an answer.
    Overtaken,
}

impl From<RefusalCode> for TurnedAway {
    fn from(code: RefusalCode) -> Self {
        Self::Refused(code.into())
    }
}

/// What a peer that is turned away is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: RefusalCode,
    pub(crate) retry_ms: u32,
}

impl From<RefusalCode> for Refusal {
    fn from(code: RefusalCode) -> Self {
        Self { code, retry_ms: 0 }
    }
}

/// What an admitted link needs.
pub(crate) struct Admitted {
    pub(crate) channel: Arc<Channel<ServerRole>>,
    pub(crate) link: u32,
}

impl Registry {
    pub(crate) fn new(config: CheckedConfig) -> Self {
        // HL-0020
        let boot = config.given.chance.draw();
        Self {
            config,
            clock: Clock::new(),
            reporter: Reporter::new(),
            mismatches: Mismatches::default(),
            boot,
            arrivals: AtomicU32::new(0),
            entries: Mutex::default(),
        }
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<Channel<ServerRole>>> {
        lock(&self.entries).sessions.get(id).map(|entry| Arc::clone(&entry.0))
    }

    /// All sessions, in the order of their ids: what is done to each is done in the same order in every run.
    pub(crate) fn all(&self) -> Vec<Arc<Channel<ServerRole>>> {
        let mut all: Vec<_> = lock(&self.entries).sessions.iter().map(|entry| Arc::clone(&entry.0)).collect();
        all.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        all
    }

    /// Forgets a session whose line was closed for good; `false` if there is none.
    pub(crate) fn forget_closed(&self, id: &str) -> bool {
        let mut entries = lock(&self.entries);
        let is_closed = entries.sessions.get(id).is_some_and(|entry| entry.0.lock().get().is_closed());
        is_closed && entries.sessions.remove(id)
    }

    /// From now on every hello is refused.
    pub(crate) fn close(&self) {
        let mut entries = lock(&self.entries);
        entries.closing = true;
        for awaited in std::mem::take(&mut entries.awaited) {
            awaited.1.notify_waiters();
        }
    }

    /// The session of a client as soon as there is one; `None` if the server closes first.
    pub(crate) async fn wait(&self, id: &str) -> Option<Arc<Channel<ServerRole>>> {
        // Dropped last, when the handle on the notification is gone.
        let _forget = Awaiting { registry: self, id };
        let appears = {
            let mut entries = lock(&self.entries);
            if let Some(entry) = entries.sessions.get(id) {
                return Some(Arc::clone(&entry.0));
            }
            if entries.closing {
                return None;
            }
            // Whoever notifies from here on notifies this one: the lock is held.
            Arc::clone(entries.awaited.entry(id.into()).or_default()).notified_owned()
        };
        appears.await;
        self.get(id)
    }

    /// The number of a connection that has just been accepted.
    pub(crate) fn arrive(&self) -> Arrival {
        Arrival(self.arrivals.fetch_add(1, Ordering::Relaxed))
    }

    /// Lets a greeting in, or says why not; the session has taken up the link when this returns. `arrival` is that of the connection
    /// on which it came.
    pub(crate) fn admit(&self, greeting: &Greeting<'_>, arrival: Arrival) -> Result<Admitted, TurnedAway> {
        let config = &self.config.given;
        let (id, profile, boot) = match greeting {
            Greeting::Native(hello) => (hello.client, Profile::Native, Some(hello.terms.boot)),
            Greeting::Classic(id) => (*id, Profile::Classic(self.config.flavour(id)), None),
        };
        // HL-0118
        if !(if boot.is_some() { config.native } else { config.classic }) {
            return Err(RefusalCode::Profile.into());
        }
        let mut entries = lock(&self.entries);
        let now = self.clock.now();
        // HL-0125
        if entries.closing {
            return Err(TurnedAway::Refused(self.come_back_later(RefusalCode::Closing)));
        }
        let known = entries.sessions.get(id).map(|entry| Arc::clone(&entry.0));
        let channel = match known {
            Some(channel) => channel,
            None => self.begin_session(&mut entries, id, profile)?,
        };
        let mut reports = Vec::new();
        let mut locked = channel.lock();
        let live = locked.get().session.has_link();
        // HL-0164: tasks run in any order, and a hello may have waited in the network.
        if live && arrival.is_before(locked.get().arrival) {
            return Err(TurnedAway::Overtaken);
        }
        if let Err(retry_ms) = locked.get().guard(now, boot) {
            drop(locked);
            self.reporter.tell(&channel.id, What::Duplicate);
            return Err(TurnedAway::Refused(Refusal { code: RefusalCode::DuplicateClient, retry_ms }));
        }
        drop(entries);
        let link = locked.begin_link(
            |state, reports| {
                state.arrival = arrival;
                // HL-0013
                if matches!(state.session, Session::Native(_)) != boot.is_some() {
                    state.session = self.session(profile, state.move_outbox(self.config.outbox()));
                    if live {
                        state.go_down(now, DownReason::Takeover, reports);
                    }
                }
                let taken = state.session.handle_greeting(now, config.chance.draw(), greeting);
                debug_assert_eq!(taken, Ok(()), "the session has the greeting's profile");
            },
            now,
            &mut reports,
        );
        drop(locked);
        self.reporter.tell_all(&channel.id, reports);
        match link {
            Some(link) => Ok(Admitted { channel, link }),
            // The application has closed this line for good.
            None => Err(RefusalCode::Closing.into()),
        }
    }

    /// Makes a session for a client that has none, if it may have one.
    fn begin_session(&self, entries: &mut Entries, id: &str, profile: Profile) -> Result<Arc<Channel<ServerRole>>, TurnedAway> {
        let config = &self.config.given;
        if !config.expected.is_empty() && !config.expected.contains(id) {
            // HL-0117
            self.reporter.tell(&Arc::from(id), What::Unknown { refused: config.only_expected });
            if config.only_expected {
                return Err(RefusalCode::UnknownClient.into());
            }
        }
        // HL-0115
        if entries.sessions.len() >= config.limits.sessions {
            return Err(TurnedAway::Refused(self.come_back_later(RefusalCode::Busy)));
        }
        let id: Arc<str> = id.into();
        let session = self.session(profile, self.config.outbox());
        let channel = Arc::new(Channel::new(Arc::clone(&id), session, config.limits.inbox));
        if let Some(awaited) = entries.awaited.remove(&id) {
            awaited.notify_waiters();
        }
        entries.sessions.insert(Entry(Arc::clone(&channel)));
        Ok(channel)
    }

    /// HL-0128: those who are turned away together do not come back together.
    fn come_back_later(&self, code: RefusalCode) -> Refusal {
        Refusal { code, retry_ms: self.spread(self.config.given.limits.busy_retry_ms) }
    }

    /// A time between `ms` and twice that.
    pub(crate) fn spread(&self, ms: u32) -> u32 {
        self.config.given.chance.spread(ms)
    }

    fn session(&self, profile: Profile, outbox: VecOutbox) -> Session<ServerRole> {
        let config = self.config.session(profile);
        match profile {
            Profile::Native => {
                let incarnation = Incarnation { boot: self.boot, epoch: self.config.given.chance.draw() };
                Session::Native(native::Session::new(ServerRole, config, incarnation, outbox))
            }
            Profile::Classic(flavour) => Session::Classic(Box::new(classic::Session::new(ServerRole, flavour, config, outbox))),
        }
    }
}

/// A call that waits for a session to appear; the last one to give up leaves no trace.
struct Awaiting<'r> {
    registry: &'r Registry,
    id: &'r str,
}

impl Drop for Awaiting<'_> {
    fn drop(&mut self) {
        let mut entries = lock(&self.registry.entries);
        if entries.awaited.get(self.id).is_some_and(|awaited| Arc::strong_count(awaited) == 1) {
            entries.awaited.remove(self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_connection_is_older_survives_the_end_of_the_count() {
        for (one, other, expected) in [(0, 1, true), (1, 0, false), (1, 1, false), (u32::MAX, 0, true), (0, u32::MAX, false)] {
            assert_eq!(Arrival(one).is_before(Arrival(other)), expected, "{one} and {other}");
        }
    }
}
