//! The reference subject with one defect, to show that the suite sees it.
//!
//! The protocol crate is as it ships: a defect tampers with what passes the subject's boundary. Lines in and out, settings, answers
//! and events of its application, its clock, and what it finds in its store.

mod catalogue;
mod defect;
mod scene;
mod store;
mod tampering;

#[cfg(test)]
pub(crate) use catalogue::SOUND;
pub use catalogue::{defects, find};
pub use defect::Defect;

use crate::bench::Stop;
use crate::subject::{Io, Store, Subject};
use defect::Kind;
use holdline_proto::{ConnectFailure, Instant};
use scene::{Link, Past, Setup};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, VecDeque};
use store::Tampered;

/// A [`Subject`] with a defect, or with none.
#[derive(Debug)]
pub struct Mutant {
    defect: Option<&'static Defect>,
    subject: Subject,
    setup: Setup,
    links: BTreeMap<u64, Link>,
    pasts: BTreeMap<String, Past>,
    /// What the application is given besides what the subject has for it.
    inbox: BTreeMap<String, VecDeque<Json>>,
    output: VecDeque<Io>,
    /// What is said later, and when.
    later: Vec<(u64, u64, Vec<u8>)>,
    clock: Clock,
    ended: Option<Stop>,
    /// How often it was woken at this time.
    wakes: (u64, u32),
    /// How many connections it wanted, and the one that it has still to wait for: from when on, and for how long.
    attempts: u64,
    attempt: Option<(u64, u32)>,
}

/// How the subject's time follows from the world's.
#[derive(Clone, Copy, Debug)]
struct Clock {
    origin: u64,
    now: u64,
    ahead: u64,
    is_slow: bool,
}

impl Clock {
    fn inner(self, outer: u64) -> u64 {
        let passed = outer.saturating_sub(self.origin);
        self.origin + if self.is_slow { passed / 2 } else { passed } + self.ahead
    }

    fn outer(self, inner: u64) -> u64 {
        let passed = inner.saturating_sub(self.ahead).saturating_sub(self.origin);
        self.origin + if self.is_slow { passed.saturating_mul(2) } else { passed }
    }
}

/// Woken so often in one millisecond, it is not going to rest.
const WAKES_MAX: u32 = 20_000;

impl Mutant {
    /// A subject that was not started yet, made of the random numbers of `seed`.
    pub fn new(defect: Option<&'static Defect>, seed: u64, store: Box<dyn Store>) -> Self {
        let store = match defect {
            Some(defect) if defect.tampers_with_store() => Box::new(Tampered::new(store, defect)),
            _ => store,
        };
        Self {
            defect,
            subject: Subject::new(seed, store),
            setup: Setup::default(),
            links: BTreeMap::new(),
            pasts: BTreeMap::new(),
            inbox: BTreeMap::new(),
            output: VecDeque::new(),
            later: Vec::new(),
            clock: Clock { origin: 0, now: 0, ahead: 0, is_slow: false },
            ended: None,
            wakes: (0, 0),
            attempts: 0,
            attempt: None,
        }
    }

    /// Why it does not live any more, if it does not.
    pub fn ended(&self) -> Option<&Stop> {
        self.ended.as_ref()
    }

    fn has(&self, wanted: fn(&Kind) -> bool) -> bool {
        self.defect.is_some_and(|defect| defect.kinds.iter().any(wanted))
    }

    fn turn(&mut self, now: Instant) -> Instant {
        self.clock.now = now.as_millis();
        Instant::from_millis(self.clock.inner(self.clock.now))
    }

    /// As [`Subject::ask`].
    pub fn ask(&mut self, now: Instant, request: &Json) -> Json {
        if self.ended.is_some() {
            return json!({"ok": false, "error": "failed", "why": "it is dead"});
        }
        let Some(defect) = self.defect else { return self.subject.ask(now, request) };
        if request.get("do").is_some_and(|verb| verb == "start") {
            self.clock.origin = now.as_millis();
            self.clock.is_slow = self.has(|kind| matches!(kind, Kind::SlowClock));
            self.setup = Setup::read(request);
        }
        let inner = self.turn(now);
        let verb = request.get("do").and_then(Json::as_str).unwrap_or_default();
        let client = self.setup.client_of(request);
        if verb == "recv"
            && let Some(given) = self.inbox.get_mut(&client).and_then(VecDeque::pop_front)
        {
            return given;
        }
        let mut asked = request.clone();
        for kind in defect.kinds {
            match kind {
                Kind::Start(tamper) if verb == "start" => tamper(&mut asked),
                Kind::Ask(tamper) => tamper(&mut asked),
                _ => {}
            }
        }
        let mut answer = self.subject.ask(inner, &asked);
        if verb == "state"
            && let Some(events) = answer.get_mut("events").and_then(Json::as_array_mut)
        {
            for kind in defect.kinds {
                if let Kind::Event(tamper) = kind {
                    *events = std::mem::take(events).into_iter().flat_map(tamper).collect();
                }
            }
        }
        let mut deeds = Vec::new();
        for kind in defect.kinds {
            if let Kind::Answer(tamper) = kind {
                deeds.extend(tamper(request, &mut answer));
            }
        }
        self.drain();
        if let Some(stream) = self.stream_of(&client) {
            if verb == "recv" && answer.get("delivery").is_some_and(|delivery| delivery == "exactly-once") {
                deeds.extend(self.accepted(stream));
            }
            self.perform(stream, deeds);
        }
        answer
    }

    /// As [`Subject::handle_accepted`].
    pub fn handle_accepted(&mut self, now: Instant, stream: u64) {
        let inner = self.turn(now);
        if self.has(|kind| matches!(kind, Kind::CapsAllLinks)) && self.links.len() as u64 >= self.setup.half_open {
            self.output.push_back(Io::Close { stream });
            return;
        }
        if self.defect.is_some() {
            self.links.insert(stream, Link::new(stream, self.clock.now, &self.setup));
        }
        self.subject.handle_accepted(inner, stream);
        self.drain();
    }

    /// As [`Subject::handle_connected`].
    pub fn handle_connected(&mut self, now: Instant, result: Result<u64, ConnectFailure>) {
        let inner = self.turn(now);
        if !self.links.is_empty() {
            // It has one, and this one comes of the defect.
            return;
        }
        if let (Some(_), Ok(stream)) = (self.defect, result) {
            let mut link = Link::new(stream, self.clock.now, &self.setup);
            link.client = self.setup.client.clone();
            self.links.insert(stream, link);
            self.pasts.entry(self.setup.client.clone()).or_default().links += 1;
        }
        self.subject.handle_connected(inner, result);
        self.drain();
    }

    /// As [`Subject::handle_input`].
    pub fn handle_input(&mut self, now: Instant, stream: u64, bytes: &[u8]) {
        let inner = self.turn(now);
        if self.defect.is_none() {
            self.subject.handle_input(inner, stream, bytes);
        } else if self.ended.is_none() {
            self.hear(stream, bytes);
            self.hear_waiting();
            self.hurry();
        }
    }

    /// As [`Subject::handle_disconnected`].
    pub fn handle_disconnected(&mut self, now: Instant, stream: u64) {
        let inner = self.turn(now);
        self.end(stream);
        self.subject.handle_disconnected(inner, stream);
        self.forget(stream);
        self.drain();
        self.hear_waiting();
        self.hurry();
    }

    /// As [`Subject::handle_transmitted`].
    pub fn handle_transmitted(&mut self, now: Instant, stream: u64, bytes: usize) {
        let inner = self.turn(now);
        let bytes = match self.links.get_mut(&stream) {
            Some(link) => link.transmitted(bytes),
            None => bytes,
        };
        if bytes > 0 || self.defect.is_none() {
            self.subject.handle_transmitted(inner, stream, bytes);
        }
        self.drain();
    }

    /// As [`Subject::handle_timeout`].
    pub fn handle_timeout(&mut self, now: Instant) {
        let inner = self.turn(now);
        if self.defect.is_some() {
            let wakes = if self.wakes.0 == self.clock.now { self.wakes.1 + 1 } else { 0 };
            self.wakes = (self.clock.now, wakes);
            if wakes > WAKES_MAX {
                self.ended = Some(Stop::Hung("it does not come to rest".to_owned()));
            }
            if self.ended.is_some() {
                return;
            }
            self.ring();
        }
        self.subject.handle_timeout(inner);
        self.drain();
        self.hear_waiting();
        self.hurry();
    }

    /// As [`Subject::poll_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = self.subject.poll_timeout();
        if self.defect.is_none() || self.ended.is_some() {
            return due.filter(|_| self.ended.is_none());
        }
        let due = due.map(|at| self.clock.outer(at.as_millis()).max(self.clock.now + u64::from(self.clock.is_slow)));
        let later = self.later.iter().map(|(at, _, _)| *at).chain(self.attempt.map(|(at, _)| at));
        due.into_iter().chain(later).chain(self.alarms()).min().map(Instant::from_millis)
    }

    /// As [`Subject::poll_io`].
    pub fn poll_io(&mut self) -> Option<Io> {
        if self.defect.is_none() { self.subject.poll_io() } else { self.output.pop_front() }
    }

    fn stream_of(&self, client: &str) -> Option<u64> {
        self.links.values().filter(|link| link.client == client).map(|link| link.stream).next_back()
    }
}
