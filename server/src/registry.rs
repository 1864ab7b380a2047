//! Client id → session, and who may have one.

use crate::channel::Channel;
use crate::clock::{Clock, random};
use crate::config::CheckedConfig;
use crate::connection::Profile;
use crate::report::{Reporter, What};
use crate::sync::{Arc, Mutex, lock};
use holdline_proto::{
    Greeting, Incarnation, RefusalCode, Server as ServerRole, Session, TakeoverGuard, VecOutbox, classic, native,
};
use std::collections::HashMap;
use tokio::sync::Notify;

/// All sessions of a server.
#[derive(Debug)]
pub(crate) struct Registry {
    pub(crate) config: CheckedConfig,
    pub(crate) clock: Clock,
    pub(crate) reporter: Reporter,
    /// Drawn once for the program: every session says the same.
    boot: u64,
    entries: Mutex<Entries>,
    /// Told when a session appears, or the server closes.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Entries {
    sessions: HashMap<Arc<str>, Entry>,
    /// While set, hellos are refused; the server is shutting down.
    closing: bool,
}

#[derive(Debug)]
struct Entry {
    channel: Arc<Channel<ServerRole>>,
    guard: TakeoverGuard,
}

/// Why a greeting is turned away.
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
        Self {
            config,
            clock: Clock::new(),
            reporter: Reporter::new(),
            boot: random(),
            entries: Mutex::default(),
            changed: Notify::new(),
        }
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<Channel<ServerRole>>> {
        lock(&self.entries).sessions.get(id).map(|entry| Arc::clone(&entry.channel))
    }

    pub(crate) fn all(&self) -> Vec<Arc<Channel<ServerRole>>> {
        lock(&self.entries).sessions.values().map(|entry| Arc::clone(&entry.channel)).collect()
    }

    pub(crate) fn is_closing(&self) -> bool {
        lock(&self.entries).closing
    }

    /// From now on every hello is refused.
    pub(crate) fn close(&self) {
        lock(&self.entries).closing = true;
        self.changed.notify_waiters();
    }

    /// Waits until `find` finds what it looks for; `None` if the server closes first.
    pub(crate) async fn wait<T>(&self, mut find: impl FnMut(&Self) -> Option<T>) -> Option<T> {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            if let Some(found) = find(self) {
                return Some(found);
            }
            if self.is_closing() {
                return None;
            }
            changed.await;
        }
    }

    /// Lets a greeting in, or says why not; the session has taken up the link when this returns.
    pub(crate) fn admit(&self, greeting: &Greeting<'_>) -> Result<Admitted, Refusal> {
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
            return Err(Refusal { code: RefusalCode::Closing, retry_ms: config.limits.busy_retry_ms });
        }
        let unknown = !config.expected.is_empty() && !config.expected.contains(id);
        if !entries.sessions.contains_key(id) {
            if unknown {
                // HL-0117
                self.reporter.tell(&Arc::from(id), What::Unknown { refused: config.only_expected });
                if config.only_expected {
                    return Err(RefusalCode::UnknownClient.into());
                }
            }
            // HL-0115
            if entries.sessions.len() >= config.limits.sessions {
                return Err(Refusal { code: RefusalCode::Busy, retry_ms: config.limits.busy_retry_ms });
            }
            let id: Arc<str> = id.into();
            let session = self.session(profile, self.config.outbox());
            let channel = Arc::new(Channel::new(Arc::clone(&id), session, config.limits.inbox));
            entries.sessions.insert(id, Entry { channel, guard: TakeoverGuard::new() });
        }
        let Some(entry) = entries.sessions.get_mut(id) else { return Err(RefusalCode::Busy.into()) };
        let channel = Arc::clone(&entry.channel);
        let mut reports = Vec::new();
        let mut locked = channel.lock();
        let state = locked.get();
        if state.is_closed() {
            return Err(RefusalCode::Closing.into());
        }
        let (live, timeout_ms) = (state.session.has_link(), state.session.timeout_ms());
        // HL-0123, HL-0124
        if let Err(retry_ms) = entry.guard.admit(now, boot, live, timeout_ms) {
            drop(locked);
            self.reporter.tell(&channel.id, What::Duplicate);
            return Err(Refusal { code: RefusalCode::DuplicateClient, retry_ms });
        }
        drop(entries);
        let link = locked.begin_link(
            |state| {
                // HL-0013
                if matches!(state.session, Session::Native(_)) != boot.is_some() {
                    state.session = self.session(profile, state.move_outbox(self.config.outbox()));
                }
                let taken = state.session.handle_greeting(now, random(), greeting);
                debug_assert_eq!(taken, Ok(()), "the session has the greeting's profile");
            },
            now,
            &mut reports,
        );
        drop(locked);
        for what in reports {
            self.reporter.tell(&channel.id, what);
        }
        self.changed.notify_waiters();
        Ok(Admitted { channel, link })
    }

    fn session(&self, profile: Profile, outbox: VecOutbox) -> Session<ServerRole, VecOutbox> {
        let config = self.config.session(profile);
        match profile {
            Profile::Native => {
                let incarnation = Incarnation { boot: self.boot, epoch: random() };
                Session::Native(native::Session::new(ServerRole, config, incarnation, outbox))
            }
            Profile::Classic(flavour) => Session::Classic(classic::Session::new(ServerRole, flavour, config, outbox)),
        }
    }
}
