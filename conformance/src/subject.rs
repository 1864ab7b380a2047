//! A reference subject: a client or a server over `holdline-proto` that does what a shim is asked for.
//!
//! It does no I/O and reads no clock, as the protocol crate itself: [`crate::bench::in_process`] drives it under virtual time, and the
//! reference shim over TCP.

mod client;
mod record;
mod seat;
mod server;
mod settings;

pub use record::{Memory, Store};
pub use settings::Settings;

use client::Client;
use holdline_proto::Instant;
use serde_json::{Value as Json, json};
use server::Server;
use std::collections::VecDeque;

/// What a subject wants of its driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Io {
    /// Bytes are to be written; the driver reports with [`Subject::handle_transmitted`] how many were taken.
    Write {
        /// To this stream.
        stream: u64,
        /// These.
        bytes: Vec<u8>,
    },
    /// A stream is to be closed, behind what is to be written.
    Close {
        /// This one.
        stream: u64,
    },
    /// A connection is to be opened; the driver reports with [`Subject::handle_connected`].
    Connect {
        /// It is given up after so long.
        timeout_ms: u32,
    },
    /// No new connection is to be taken any more.
    StopListening,
}

/// The subject.
#[derive(Debug)]
pub struct Subject {
    part: Part,
    random: Random,
    store: Box<dyn Store>,
    output: VecDeque<Io>,
}

#[derive(Debug)]
enum Part {
    Idle,
    Client(Box<Client>),
    Server(Box<Server>),
}

/// What an answer says besides `ok`.
pub(crate) type Answer = Result<Json, Refused>;

/// A request that was not done: the word for it, and why.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) &'static str, pub(crate) String);

impl Subject {
    /// A subject that was not started yet. `seed` is what it makes its random numbers of.
    pub fn new(seed: u64, store: Box<dyn Store>) -> Self {
        Self { part: Part::Idle, random: Random(seed), store, output: VecDeque::new() }
    }

    /// Does what a shim is asked for; the answer, without its `id`.
    pub fn ask(&mut self, now: Instant, request: &Json) -> Json {
        match self.answer(now, request) {
            Ok(Json::Object(mut answer)) => {
                answer.insert("ok".to_owned(), json!(true));
                Json::Object(answer)
            }
            Ok(_) => json!({"ok": true}),
            Err(Refused(error, why)) => json!({"ok": false, "error": error, "why": why}),
        }
    }

    fn answer(&mut self, now: Instant, request: &Json) -> Answer {
        let verb = request.get("do").and_then(Json::as_str).unwrap_or_default();
        match (verb, &mut self.part) {
            ("hello", _) => Ok(json!({
                "shim": 1,
                "name": "holdline-proto",
                "version": env!("CARGO_PKG_VERSION"),
                "roles": ["client", "server"],
                "profiles": ["native", "classic-2020", "classic-2019"],
                "keeps": ["none", "sent", "seen", "both"],
                "check": ["none", "crc32"],
            })),
            ("start", Part::Idle) => {
                let settings = Settings::read(request)?;
                self.part = match settings.is_server {
                    true => Part::Server(Box::new(Server::start(settings, &mut self.random, self.store.as_ref()))),
                    false => {
                        Part::Client(Box::new(Client::start(settings, &mut self.random, self.store.as_ref(), &mut self.output)?))
                    }
                };
                Ok(Json::Null)
            }
            ("start", _) => Err(Refused("failed", "it was started before".to_owned())),
            ("send" | "recv" | "state" | "close" | "shutdown", Part::Idle) => {
                Err(Refused("failed", "it was not started".to_owned()))
            }
            ("stop", _) => Ok(Json::Null),
            (_, Part::Client(client)) => client.answer(now, request, &mut Hands::of(&mut self.output, self.store.as_mut())),
            (_, Part::Server(server)) => {
                let hands = &mut Hands::of(&mut self.output, self.store.as_mut());
                server.answer(now, request, hands)
            }
            _ => Err(unknown(verb)),
        }
    }

    /// Tells that somebody has connected.
    pub fn handle_accepted(&mut self, now: Instant, stream: u64) {
        if let Part::Server(server) = &mut self.part {
            server.accepted(now, stream, &mut self.output);
        }
    }

    /// Tells how an attempt to connect ended: with a stream, or with the word for the failure.
    pub fn handle_connected(&mut self, now: Instant, result: Result<u64, holdline_proto::ConnectFailure>) {
        if let Part::Client(client) = &mut self.part {
            let fresh = self.random.next();
            client.connected(now, result, fresh, &mut Hands::of(&mut self.output, self.store.as_mut()));
        }
    }

    /// Tells that bytes were received.
    pub fn handle_input(&mut self, now: Instant, stream: u64, bytes: &[u8]) {
        let hands = &mut Hands::of(&mut self.output, self.store.as_mut());
        match &mut self.part {
            Part::Idle => {}
            Part::Client(client) => client.received(now, stream, bytes, hands),
            Part::Server(server) => server.received(now, stream, bytes, &mut self.random, hands),
        }
    }

    /// Tells that a stream ended or broke.
    pub fn handle_disconnected(&mut self, now: Instant, stream: u64) {
        let hands = &mut Hands::of(&mut self.output, self.store.as_mut());
        match &mut self.part {
            Part::Idle => {}
            Part::Client(client) => client.ended(now, stream, hands),
            Part::Server(server) => server.ended(now, stream, hands),
        }
    }

    /// Tells that a stream took the next bytes of what was to be written.
    pub fn handle_transmitted(&mut self, now: Instant, stream: u64, bytes: usize) {
        let hands = &mut Hands::of(&mut self.output, self.store.as_mut());
        match &mut self.part {
            Part::Idle => {}
            Part::Client(client) => client.transmitted(now, stream, bytes, hands),
            Part::Server(server) => server.transmitted(now, stream, bytes, hands),
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let hands = &mut Hands::of(&mut self.output, self.store.as_mut());
        match &mut self.part {
            Part::Idle => {}
            Part::Client(client) => client.timeout(now, hands),
            Part::Server(server) => server.timeout(now, hands),
        }
    }

    /// When [`Subject::handle_timeout`] is wanted next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.part {
            Part::Idle => None,
            Part::Client(client) => client.deadline(),
            Part::Server(server) => server.deadline(),
        }
    }

    /// What the driver is to do next.
    pub fn poll_io(&mut self) -> Option<Io> {
        self.output.pop_front()
    }
}

pub(crate) fn unknown(verb: &str) -> Refused {
    Refused("unimplemented", format!("no verb {verb:?}"))
}

/// Where output and memory go.
#[derive(Debug)]
pub(crate) struct Hands<'h> {
    pub(crate) output: &'h mut VecDeque<Io>,
    pub(crate) store: &'h mut dyn Store,
}

impl<'h> Hands<'h> {
    fn of(output: &'h mut VecDeque<Io>, store: &'h mut dyn Store) -> Self {
        Self { output, store }
    }
}

/// SplitMix64: random numbers that a seed repeats.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }
}
