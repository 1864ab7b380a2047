//! The subject as a server: sessions by client id, and connections that have not said hello.

use super::record::{Records, load, save};
use super::seat::Seat;
use super::{Answer, Hands, Io, Random, Refused, Settings, Store, unknown};
use holdline_proto::{
    ByeCode, DownReason, Greeting, Incarnation, Instant, Outbox, RefusalCode, Server as Role, Session, TakeoverGuard,
    classic::Flavour, refuse, write_bye,
};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, VecDeque};

#[derive(Debug)]
pub(super) struct Server {
    settings: Settings,
    boot: u64,
    clients: BTreeMap<String, Guest>,
    /// Connections without a hello: since when, and what they have said.
    pending: BTreeMap<u64, (Instant, Vec<u8>)>,
    /// Events that concern no client that exists.
    events: Vec<Json>,
    closing: Option<u32>,
}

#[derive(Debug)]
struct Guest {
    seat: Seat<Role>,
    guard: TakeoverGuard,
}

/// How long a client is asked to stay away while the server is full.
const BUSY_RETRY_MS: u32 = 10_000;

impl Server {
    pub(super) fn start(settings: Settings, random: &mut Random, store: &dyn Store) -> Self {
        let boot = random.next();
        let mut clients = BTreeMap::new();
        if settings.keeps_store {
            for (id, record) in load(store) {
                let incarnation = Incarnation { boot, epoch: random.next() };
                let seat = Seat::new(Role, &settings, None, incarnation, &record);
                clients.insert(id, Guest { seat, guard: TakeoverGuard::new() });
            }
        }
        Self { settings, boot, clients, pending: BTreeMap::new(), events: Vec::new(), closing: None }
    }

    pub(super) fn accepted(&mut self, now: Instant, stream: u64, output: &mut VecDeque<Io>) {
        // HL-0113
        if self.pending.len() >= self.settings.half_open || self.closing.is_some() {
            output.push_back(Io::Close { stream });
        } else {
            self.pending.insert(stream, (now, Vec::new()));
        }
    }

    pub(super) fn received(&mut self, now: Instant, stream: u64, bytes: &[u8], random: &mut Random, hands: &mut Hands<'_>) {
        if let Some((_, first)) = self.pending.get_mut(&stream) {
            first.extend_from_slice(bytes);
            self.greet(now, stream, random, hands);
        } else if let Some(id) = self.owner(stream) {
            if let Some(guest) = self.clients.get_mut(&id) {
                guest.seat.receive(now, bytes);
            }
            self.settle(now, &id, hands);
            self.greet(now, stream, random, hands);
        }
    }

    fn owner(&self, stream: u64) -> Option<String> {
        self.clients.iter().find(|(_, guest)| guest.seat.stream == Some(stream)).map(|(id, _)| id.clone())
    }

    /// Reads the first line of a connection, if it is complete.
    fn greet(&mut self, now: Instant, stream: u64, random: &mut Random, hands: &mut Hands<'_>) {
        let check = self.settings.config.get().check;
        let Some((_, first)) = self.pending.get(&stream).cloned() else { return };
        let refusal = match Greeting::read(&first, check) {
            Ok(None) => return,
            Ok(Some((greeting, taken))) => {
                let is_native = matches!(greeting, Greeting::Native(_));
                match self.admit(now, stream, &greeting, random, hands) {
                    Ok(id) => {
                        self.pending.remove(&stream);
                        if let Some(guest) = self.clients.get_mut(&id) {
                            // HL-0027
                            guest.seat.receive(now, &first[taken..]);
                        }
                        self.settle(now, &id, hands);
                        return;
                    }
                    Err(refusal) => Some(refusal).filter(|_| is_native),
                }
            }
            Err(code) => {
                let native = [&b"HOLD/"[..], b"SEAL/"].iter().any(|native| first.starts_with(native));
                Some((code, 0)).filter(|_| native)
            }
        };
        self.pending.remove(&stream);
        if let Some((code, retry_ms)) = refusal {
            let mut buffer = [0; 128];
            let length = refuse(code, retry_ms, check, &mut buffer);
            hands.output.push_back(Io::Write { stream, bytes: buffer[..length].to_vec() });
        }
        hands.output.push_back(Io::Close { stream });
    }

    fn admit(
        &mut self,
        now: Instant,
        stream: u64,
        greeting: &Greeting<'_>,
        random: &mut Random,
        hands: &mut Hands<'_>,
    ) -> Result<String, (RefusalCode, u32)> {
        let (id, flavour, boot) = match greeting {
            Greeting::Native(hello) => (hello.client, None, Some(hello.terms.boot)),
            Greeting::Classic(id) => (*id, Some(self.settings.flavour.unwrap_or(Flavour::V2020)), None),
        };
        // HL-0118, HL-0117, HL-0125, HL-0115
        if !(if boot.is_some() { self.settings.serves_native } else { self.settings.serves_classic }) {
            return Err((RefusalCode::Profile, 0));
        }
        if self.settings.expected.as_ref().is_some_and(|expected| !expected.iter().any(|one| one == id)) {
            return Err((RefusalCode::UnknownClient, 0));
        }
        if let Some(retry_ms) = self.closing {
            return Err((RefusalCode::Closing, retry_ms));
        }
        if !self.clients.contains_key(id) {
            if self.clients.len() >= self.settings.sessions {
                return Err((RefusalCode::Busy, BUSY_RETRY_MS));
            }
            let seat = self.seat(flavour, random);
            self.clients.insert(id.to_owned(), Guest { seat, guard: TakeoverGuard::new() });
        }
        let Some(guest) = self.clients.get_mut(id) else { return Err((RefusalCode::Busy, BUSY_RETRY_MS)) };
        let (live, timeout_ms) = (guest.seat.session.has_link(), guest.seat.session.timeout_ms());
        // HL-0123, HL-0124
        if let Err(retry_ms) = guest.guard.admit(now, boot, live, timeout_ms) {
            guest.seat.tell(json!({"event": "duplicate-client", "client": id}));
            return Err((RefusalCode::DuplicateClient, retry_ms));
        }
        if let Some(old) = guest.seat.stream {
            // HL-0121, HL-0122
            let mut buffer = [0; 64];
            let check = self.settings.config.get().check;
            let length = if guest.seat.is_native() { write_bye(ByeCode::Takeover, 0, check, &mut buffer) } else { 0 };
            if length > 0 && old != stream {
                hands.output.push_back(Io::Write { stream: old, bytes: buffer[..length].to_vec() });
            }
            if old != stream {
                hands.output.push_back(Io::Close { stream: old });
            }
        }
        if guest.seat.is_native() == flavour.is_some() {
            // HL-0013
            let texts = texts(&guest.seat);
            let mut seat = self.seat(flavour, random);
            for text in texts {
                let _ = seat.session.send(now, &text);
            }
            if let Some(guest) = self.clients.get_mut(id) {
                guest.seat = seat;
            }
        }
        if let Some(guest) = self.clients.get_mut(id) {
            guest.seat.begin(stream);
            // Its profile is the greeting's by now.
            let _ = guest.seat.session.handle_greeting(now, random.next(), greeting);
            guest.seat.listen();
            guest.seat.down = None;
        }
        Ok(id.to_owned())
    }

    fn seat(&self, flavour: Option<Flavour>, random: &mut Random) -> Seat<Role> {
        let incarnation = Incarnation { boot: self.boot, epoch: random.next() };
        Seat::new(Role, &self.settings, flavour, incarnation, &super::record::Record::default())
    }

    pub(super) fn ended(&mut self, now: Instant, stream: u64, hands: &mut Hands<'_>) {
        if self.pending.remove(&stream).is_some() {
            hands.output.push_back(Io::Close { stream });
        } else if let Some(id) = self.owner(stream) {
            if let Some(guest) = self.clients.get_mut(&id) {
                guest.seat.session.handle_disconnected(now);
            }
            self.settle(now, &id, hands);
        }
    }

    pub(super) fn transmitted(&mut self, now: Instant, stream: u64, bytes: usize, hands: &mut Hands<'_>) {
        if let Some(id) = self.owner(stream) {
            if let Some(guest) = self.clients.get_mut(&id) {
                guest.seat.transmitted(now, bytes);
            }
            self.settle(now, &id, hands);
        }
    }

    pub(super) fn timeout(&mut self, now: Instant, hands: &mut Hands<'_>) {
        let patience = self.settings.hello_timeout_ms;
        // HL-0111
        let late: Vec<u64> =
            self.pending.iter().filter(|(_, (since, _))| since.plus(patience) <= now).map(|(&stream, _)| stream).collect();
        for stream in late {
            self.pending.remove(&stream);
            hands.output.push_back(Io::Close { stream });
        }
        let ids: Vec<String> = self.clients.keys().cloned().collect();
        for id in ids {
            if let Some(guest) = self.clients.get_mut(&id) {
                guest.seat.session.handle_timeout(now);
            }
            self.settle(now, &id, hands);
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let hellos = self.pending.values().map(|(since, _)| since.plus(self.settings.hello_timeout_ms));
        let links = self.clients.values().filter_map(|guest| guest.seat.session.poll_timeout().map(|deadline| deadline.at));
        hellos.chain(links).min()
    }

    /// What follows from an input to a session: what is kept, and then what is said.
    fn settle(&mut self, now: Instant, id: &str, hands: &mut Hands<'_>) {
        let mut said = VecDeque::new();
        if let Some(guest) = self.clients.get_mut(id) {
            guest.seat.listen();
            guest.seat.output(&mut said);
            if guest.seat.down.take() == Some(DownReason::NewHello)
                && let Some(stream) = guest.seat.stream.take()
            {
                // HL-0100: the stream waits for a hello again, which is what the session left unread.
                self.pending.insert(stream, (now, std::mem::take(&mut guest.seat.unread)));
            }
        }
        if self.settings.keeps_store {
            let records: Records =
                self.clients.iter().filter_map(|(id, guest)| Some((id.clone(), guest.seat.record()?))).collect();
            save(hands.store, &records);
        }
        hands.output.append(&mut said);
    }

    pub(super) fn answer(&mut self, now: Instant, request: &Json, hands: &mut Hands<'_>) -> Answer {
        let verb = request.get("do").and_then(Json::as_str).unwrap_or_default();
        let id = request.get("client").and_then(Json::as_str).unwrap_or_default().to_owned();
        if verb == "shutdown" {
            self.shut_down(now, request, hands);
            return Ok(Json::Null);
        }
        let Some(guest) = self.clients.get_mut(&id) else {
            return match verb {
                "state" => Ok(json!({"up": false, "links": 0, "outbox": 0, "events": std::mem::take(&mut self.events)})),
                "recv" => Ok(json!({"text": null})),
                "send" | "close" => Err(Refused("failed", format!("no client {id:?} was ever here"))),
                other => Err(unknown(other)),
            };
        };
        let answer = match verb {
            "send" => guest.seat.send(now, request, hands.output)?,
            "recv" => guest.seat.hand_over(now),
            "state" => guest.seat.state(),
            "close" => {
                guest.seat.close(ByeCode::Done, 0);
                json!({})
            }
            other => return Err(unknown(other)),
        };
        self.settle(now, &id, hands);
        Ok(answer)
    }

    /// Says goodbye on every link, and takes no more of them.
    fn shut_down(&mut self, now: Instant, request: &Json, hands: &mut Hands<'_>) {
        let retry = request.get("retry_ms").and_then(Json::as_u64).and_then(|ms| u32::try_from(ms).ok()).unwrap_or(0);
        self.closing = Some(retry);
        hands.output.push_back(Io::StopListening);
        let ids: Vec<String> = self.clients.keys().cloned().collect();
        for (place, id) in ids.iter().enumerate() {
            // HL-0128
            let apart = u32::try_from(place).unwrap_or(0).saturating_mul(retry / 8 + 1) % (retry + 1);
            if let Some(guest) = self.clients.get_mut(id) {
                guest.seat.close(ByeCode::Closing, retry.saturating_add(apart));
            }
            self.settle(now, id, hands);
        }
        for &stream in self.pending.keys() {
            hands.output.push_back(Io::Close { stream });
        }
        self.pending.clear();
    }
}

fn texts(seat: &Seat<Role>) -> Vec<String> {
    let text = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
    match &seat.session {
        Session::Native(session) => (0..session.outbox().len()).filter_map(|n| session.outbox().get(n).map(text)).collect(),
        Session::Classic(session) => (0..session.outbox().len()).filter_map(|n| session.outbox().get(n).map(text)).collect(),
    }
}
