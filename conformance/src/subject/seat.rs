//! One session of a subject, its application, and the stream that carries it.

use super::record::{Record, Seen, Sent};
use super::{Answer, Io, Refused, Settings};
use holdline_proto::{
    ByeCode, DownReason, Event, Incarnation, Instant, Outbox, Receipt, Role, SendError, Session, VecOutbox, classic::Flavour,
    native,
};
use serde_json::{Value as Json, json};
use std::collections::VecDeque;

#[derive(Debug)]
pub(super) struct Seat<R: Role> {
    pub(super) session: Session<R, VecOutbox>,
    pub(super) stream: Option<u64>,
    inbox: VecDeque<(String, Option<Receipt>)>,
    events: Vec<Json>,
    links: u32,
    was_up: bool,
    /// Received, and not consumed.
    pub(super) unread: Vec<u8>,
    /// Written, and not taken by the transport.
    unsent: usize,
    /// How many messages the application has room for (classic).
    room: usize,
    /// Why the present or last link ended, until somebody asks.
    pub(super) down: Option<DownReason>,
    /// Whether the link came up since somebody asked.
    pub(super) came_up: bool,
}

impl<R: Role + Copy> Seat<R> {
    pub(super) fn new(role: R, settings: &Settings, flavour: Option<Flavour>, incarnation: Incarnation, record: &Record) -> Self {
        let mut outbox = VecOutbox::new(settings.outbox, 64 << 20);
        let session = match flavour {
            Some(flavour) => Session::Classic(holdline_proto::classic::Session::new(role, flavour, settings.config, outbox)),
            None => {
                let mut snapshot = native::Snapshot { epoch: incarnation.epoch, ..native::Snapshot::default() };
                if let Some(sent) = &record.sent {
                    for text in &sent.texts {
                        // It was in such an outbox before.
                        let _ = outbox.push(None, text);
                    }
                    snapshot.epoch = sent.epoch;
                    snapshot.acked = sent.acked;
                    snapshot.acked_sum = sent.sum;
                    snapshot.contacted = sent.contacted;
                    snapshot.peer_boot = sent.peer_boot;
                }
                if let Some(seen) = &record.seen {
                    snapshot.peer_epoch = seen.epoch;
                    snapshot.accepted = seen.accepted;
                    snapshot.accepted_sum = seen.sum;
                }
                Session::Native(native::Session::restore(role, settings.config, incarnation.boot, snapshot, outbox))
            }
        };
        Self {
            session,
            stream: None,
            inbox: VecDeque::new(),
            events: Vec::new(),
            links: 0,
            was_up: false,
            unread: Vec::new(),
            unsent: 0,
            room: settings.config.get().window.into(),
            down: None,
            came_up: false,
        }
    }

    /// Gives the session a new stream; what belonged to the old one is gone.
    pub(super) fn begin(&mut self, stream: u64) {
        self.stream = Some(stream);
        self.unread.clear();
        self.unsent = 0;
    }

    pub(super) fn is_native(&self) -> bool {
        matches!(self.session, Session::Native(_))
    }

    /// Presents received bytes to the session, and keeps what it does not take.
    pub(super) fn receive(&mut self, now: Instant, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        let presented = std::mem::take(&mut self.unread);
        let mut at = 0;
        while self.session.has_link() {
            // HL-0055
            if self.is_2019() && self.inbox.len() >= self.room {
                self.session.handle_backlog(now);
                break;
            }
            let input = self.session.handle_input(now, &presented[at..]);
            at += input.consumed;
            let (consumed, message) = (input.consumed, input.message.map(|message| (message.text.to_owned(), message.receipt)));
            self.listen();
            if let Some((text, receipt)) = message {
                self.take(text, receipt);
            }
            if consumed == 0 || matches!(self.down, Some(DownReason::NewHello)) {
                break;
            }
        }
        if self.session.has_link() || matches!(self.down, Some(DownReason::NewHello)) {
            self.unread = presented[at.min(presented.len())..].to_vec();
        }
    }

    fn is_2019(&self) -> bool {
        matches!(&self.session, Session::Classic(session) if session.flavour() == Flavour::V2019)
    }

    fn take(&mut self, text: String, receipt: Option<Receipt>) {
        if let (Session::Classic(session), Some(receipt)) = (&mut self.session, receipt)
            && self.inbox.len() >= self.room
        {
            // HL-0044
            session.decline(receipt);
            return;
        }
        if receipt.is_none() && self.inbox.len() >= 2 * self.room {
            // HL-0092
            return;
        }
        self.inbox.push_back((text, receipt));
    }

    /// Reads what the session has to tell.
    pub(super) fn listen(&mut self) {
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Up { .. } => {
                    self.links += 1;
                    (self.was_up, self.came_up) = (true, true);
                    self.tell(json!({"event": "up"}));
                }
                Event::Down(reason) => self.tell_down(reason),
                Event::Acked(_) => {}
                Event::PeerReset => self.tell(json!({"event": "peer-reset"})),
                Event::LostIncoming { from, to } => {
                    self.tell(json!({"event": "lost", "from": from, "to": to, "direction": "in"}))
                }
                Event::LostOutgoing { from, to } => {
                    self.tell(json!({"event": "lost", "from": from, "to": to, "direction": "out"}))
                }
                Event::PeerForgot { from, to, .. } => self.tell(json!({"event": "peer-forgot", "from": from, "to": to})),
                Event::OwnReset { .. } => self.tell(json!({"event": "own-reset"})),
                // The length of its line, and the longest that the peer takes.
                Event::Blocked { seq, len, max } => self.tell(json!({"event": "blocked", "seq": seq, "len": len, "max": max})),
                _ => {}
            }
        }
    }

    pub(super) fn tell(&mut self, event: Json) {
        self.events.push(event);
    }

    fn tell_down(&mut self, reason: DownReason) {
        self.down = Some(reason);
        match reason {
            DownReason::Fault(fault) => self.tell(json!({"event": "fault", "fault": fault.code()})),
            DownReason::NotHoldline => self.tell(json!({"event": "not-holdline"})),
            DownReason::Refused { code, retry_ms } => {
                // HL-0156
                self.tell(json!({"event": "refused", "code": code.token(), "retry": retry_ms}))
            }
            _ => {}
        }
        if std::mem::take(&mut self.was_up) {
            // HL-0025
            self.tell(json!({"event": "down", "reason": word(reason)}));
        }
    }

    /// What the session has to say, as far as the transport has taken what it said before.
    pub(super) fn speak(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut buffer = vec![0; self.session.max_text() as usize + 512];
        let over = !self.session.has_link();
        while self.unsent == 0 || over {
            let written = self.session.poll_transmit(&mut buffer);
            if written == 0 {
                break;
            }
            bytes.extend_from_slice(&buffer[..written]);
            self.unsent += written;
        }
        self.listen();
        bytes
    }

    pub(super) fn transmitted(&mut self, now: Instant, bytes: usize) {
        self.unsent = self.unsent.saturating_sub(bytes);
        self.session.handle_transmitted(now, bytes);
    }

    /// The driver's share of output: what is said, and the end of a link that is over.
    pub(super) fn output(&mut self, output: &mut VecDeque<Io>) {
        let bytes = self.speak();
        let Some(stream) = self.stream else { return };
        if !bytes.is_empty() {
            output.push_back(Io::Write { stream, bytes });
        }
        if !self.session.has_link() && !matches!(self.down, Some(DownReason::NewHello)) {
            output.push_back(Io::Close { stream });
            self.stream = None;
            self.unread.clear();
        }
    }

    pub(super) fn record(&self) -> Option<Record> {
        let Session::Native(session) = &self.session else { return None };
        let keeps = session.config().get().keeps;
        let snapshot = session.snapshot();
        let text = |index| session.outbox().get(index).map(|text| String::from_utf8_lossy(text).into_owned());
        let sent = keeps.sent().then(|| Sent {
            epoch: snapshot.epoch,
            acked: snapshot.acked,
            sum: snapshot.acked_sum,
            contacted: snapshot.contacted,
            peer_boot: snapshot.peer_boot,
            texts: (0..session.outbox().len()).filter_map(text).collect(),
        });
        let seen =
            keeps.seen().then_some(Seen { epoch: snapshot.peer_epoch, accepted: snapshot.accepted, sum: snapshot.accepted_sum });
        Some(Record { sent, seen })
    }

    /// `send`; a best-effort line goes to the stream at once.
    pub(super) fn send(&mut self, now: Instant, request: &Json, output: &mut VecDeque<Io>) -> Answer {
        let Some(text) = request.get("text").and_then(Json::as_str) else { return Err(failed("there is no text")) };
        let refused = |error: SendError| {
            let word = match error {
                SendError::Full => "full",
                SendError::TooLong { .. } => "too-long",
                SendError::LineFeed | SendError::Nul | SendError::Empty => "not-text",
                SendError::Down => "down",
                _ => "failed",
            };
            Refused(word, error.to_string())
        };
        match request.get("delivery").and_then(Json::as_str).unwrap_or("exactly-once") {
            "exactly-once" => self.session.send(now, text).map(|_| Json::Null).map_err(refused),
            "latest" => {
                let slot = request.get("slot").and_then(Json::as_u64).and_then(|slot| u8::try_from(slot).ok()).unwrap_or(0);
                self.session.send_latest(now, slot, text).map(|_| Json::Null).map_err(refused)
            }
            "best-effort" => {
                let mut buffer = vec![0; text.len() + 64];
                let written = self.session.send_best_effort(text, &mut buffer).map_err(refused)?;
                if let Some(stream) = self.stream {
                    self.unsent += written;
                    output.push_back(Io::Write { stream, bytes: buffer[..written].to_vec() });
                }
                Ok(Json::Null)
            }
            other => Err(Refused("unimplemented", format!("no delivery {other:?}"))),
        }
    }

    /// `recv`: taking a message accepts it.
    pub(super) fn hand_over(&mut self, now: Instant) -> Json {
        let Some((text, receipt)) = self.inbox.pop_front() else { return json!({"text": null}) };
        let delivery = if receipt.is_some() { "exactly-once" } else { "best-effort" };
        if let Some(receipt) = receipt {
            self.session.accept(receipt);
        }
        if self.is_2019() {
            self.receive(now, &[]);
        }
        json!({"text": text, "delivery": delivery})
    }

    pub(super) fn state(&mut self) -> Json {
        json!({
            "up": self.session.is_up(),
            "links": self.links,
            "outbox": self.session.outbox().len(),
            "events": std::mem::take(&mut self.events),
        })
    }

    pub(super) fn close(&mut self, code: ByeCode, retry_ms: u32) {
        self.session.close(code, retry_ms);
        self.listen();
    }
}

fn failed(why: &str) -> Refused {
    Refused("failed", why.to_owned())
}

/// The word of SPEC.md, section 11.
fn word(reason: DownReason) -> &'static str {
    match reason {
        DownReason::Outage => "silence",
        DownReason::Stall => "stall",
        DownReason::HelloTimeout => "hello-timeout",
        DownReason::Disconnected => "end-of-stream",
        DownReason::Bye { code, .. } => code.token(),
        DownReason::Refused { .. } => "refused",
        DownReason::NotHoldline => "not-holdline",
        DownReason::Fault(fault) => fault.code(),
        DownReason::Takeover | DownReason::NewHello => "takeover",
        DownReason::Reset => "reset",
        DownReason::Closed => "done",
        _ => "transport",
    }
}
