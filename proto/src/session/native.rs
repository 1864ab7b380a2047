//! A session of the native profile.

use super::link::{Link, Phase};
use super::receiving::{Arrival, Receiving, Stream};
use super::sending::{Report, Sending};
use super::{Client, Incarnation, Input, Message, Receipt, Role, Server};
use crate::config::{Config, Keeps, LINE_MAX, ValidConfig};
use crate::event::{ByeCode, DownReason, Event, PeerFault, SendError};
use crate::frame::{self, CHECK_LEN, Writer};
use crate::hello::{Answer, HELLO_MAX, Hello, Terms, is_greeting, retry, write_terms};
use crate::outbox::Outbox;
use crate::time::{Deadline, Instant, Timer};

/// What a message line takes besides its text, at most: `M`, twenty digits, a space.
pub(crate) const OVERHEAD: u32 = 22;

/// One end of a session in the native profile: it outlives every link that carries it.
///
/// The run loop, a picture and an example are on [the crate's first page](crate).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Session<R, O> {
    role: R,
    config: ValidConfig,
    boot: u64,
    sending: Sending<O>,
    receiving: Receiving,
    link: Link,
    events: Events,
    /// The longest line the peer takes, as it said last; 0 before the first contact.
    peer_max: u32,
    peer_keeps: Keeps,
    /// Whether this session has been up before.
    was_up: bool,
    garbled: u32,
}

/// Events that wait to be read; each kind at most once, told in this order.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash)]
struct Events {
    down: Option<DownReason>,
    outgoing: Option<Event>,
    incoming: Option<Event>,
    up: Option<bool>,
    acked: bool,
    blocked: Option<Event>,
}

/// What a session must remember over a restart, besides the texts in its outbox.
///
/// A durable endpoint that keeps its outbox stores `epoch`, `acked`, `acked_sum` and `contacted` with it; one that keeps its cursor
/// stores `peer_epoch`, `accepted` and `accepted_sum` in the same transaction as the message. Leave out what is not kept: 0, or
/// `None`, or `false`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The incarnation of this side's stream.
    pub epoch: u64,
    /// Every message of it up to this number is acknowledged.
    pub acked: u64,
    /// The checksum of those messages.
    pub acked_sum: Option<u32>,
    /// Whether a handshake was completed under this incarnation.
    pub contacted: bool,
    /// The peer's `boot` in that handshake: while it stays the same, the peer cannot have forgotten anything.
    pub peer_boot: u64,
    /// The incarnation of the peer's stream; 0 for none.
    pub peer_epoch: u64,
    /// The last message of it that the application accepted.
    pub accepted: u64,
    /// The checksum of the accepted messages, if the peer keeps its outbox.
    pub accepted_sum: Option<u32>,
}

impl<O: Outbox> Session<Client, O> {
    /// Tells that a stream to the server is open: the hello is due.
    ///
    /// `fresh` is a random number that the caller draws for every link; it becomes the epoch if a new one is needed.
    pub fn handle_connected(&mut self, now: Instant, fresh: u64) {
        self.link = Link::new(Phase::Hello, now, self.config.get().timeout_ms, fresh);
        self.link.due.greeting = true;
    }
}

impl<O: Outbox> Session<Server, O> {
    /// Takes up a link whose first line, read by [`Greeting::read`](crate::Greeting::read), was this hello. An earlier link that is
    /// still up is replaced: the caller writes [`write_bye`](crate::write_bye)`(Takeover)` to it, and discards what it has not read
    /// from it.
    ///
    /// `fresh` is a random number that the caller draws for every link; it becomes the epoch if a new one is needed.
    pub fn handle_hello(&mut self, now: Instant, fresh: u64, hello: &Hello<'_>) {
        // HL-0121
        if self.link.phase != Phase::Down {
            self.events.down = Some(DownReason::Takeover);
        }
        let config = self.config.get();
        // HL-0023
        let timeout_ms = hello.terms.timeout_ms.clamp(config.timeout_min_ms, config.timeout_max_ms);
        self.link = Link::new(Phase::Up, now, timeout_ms, fresh);
        self.link.due.greeting = true;
        // HL-0058, HL-0059
        self.link.adopt = Some(Stream { epoch: hello.terms.epoch, base: hello.terms.base, sum: hello.terms.base_sum });
        self.learn(&hello.terms);
        self.sending.peer_boot = hello.terms.boot;
    }
}

impl<R: Role, O: Outbox> Session<R, O> {
    /// A session without memory.
    ///
    /// `outbox` may hold messages from before a restart only with [`Session::restore`].
    pub fn new(role: R, config: ValidConfig, incarnation: Incarnation, outbox: O) -> Self {
        let snapshot = Snapshot { epoch: incarnation.epoch.max(1), ..Snapshot::default() };
        Self::restore(role, config, incarnation.boot, snapshot, outbox)
    }

    /// A session that remembers: `outbox` holds the messages after `snapshot.acked`, oldest first.
    ///
    /// `boot` is drawn anew at every start. A snapshot without an outbox epoch (`epoch: 0`) would reuse numbers: fill in a fresh
    /// one there, as [`Incarnation::epoch`] says.
    pub fn restore(role: R, config: ValidConfig, boot: u64, snapshot: Snapshot, outbox: O) -> Self {
        let keeps_sent = config.get().keeps.sent();
        let mut sending = Sending {
            outbox,
            epoch: snapshot.epoch.max(1),
            acked: snapshot.acked,
            sum: snapshot.acked_sum.or((keeps_sent && snapshot.acked == 0).then_some(0)).filter(|_| keeps_sent),
            sent_high: 0,
            contacted: snapshot.contacted,
            peer_boot: snapshot.peer_boot,
        };
        sending.sent_high = sending.next() - 1;
        Self {
            role,
            config,
            boot,
            sending,
            receiving: Receiving::restore(snapshot.peer_epoch, snapshot.accepted, snapshot.accepted_sum),
            link: Link::down(),
            events: Events::default(),
            peer_max: 0,
            peer_keeps: Keeps::None,
            was_up: false,
            garbled: 0,
        }
    }

    /// The cursors of both streams as they are now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            epoch: self.sending.epoch,
            acked: self.sending.acked,
            acked_sum: self.sending.sum,
            contacted: self.sending.contacted,
            peer_boot: self.sending.peer_boot,
            peer_epoch: self.receiving.epoch,
            accepted: self.receiving.accepted,
            accepted_sum: self.receiving.sum(),
        }
    }

    /// Whether the link is established: both ends have heard the other's greeting.
    pub fn is_up(&self) -> bool {
        self.link.phase == Phase::Up && self.link.adopt.is_none()
    }

    /// Whether a link is open, be it up or still greeting.
    pub fn has_link(&self) -> bool {
        self.link.phase != Phase::Down
    }

    /// The timeout of the present link, in milliseconds; 0 without one.
    pub fn timeout_ms(&self) -> u32 {
        self.link.timeout_ms
    }

    /// What the peer said survives its loss of power; [`Keeps::None`] before the first contact.
    pub fn peer_keeps(&self) -> Keeps {
        self.peer_keeps
    }

    /// Every message up to this number is acknowledged.
    pub fn acked(&self) -> u64 {
        self.sending.acked
    }

    /// The number that the next message will get.
    pub fn next_seq(&self) -> u64 {
        self.sending.next()
    }

    /// The messages that are not acknowledged.
    pub fn outbox(&self) -> &O {
        &self.sending.outbox
    }

    /// Lines that failed their check, since the session began.
    pub fn garbled(&self) -> u32 {
        self.garbled
    }

    /// The configuration that was given.
    pub fn config(&self) -> &ValidConfig {
        &self.config
    }

    /// The longest text that can be sent now, in bytes.
    pub fn max_text(&self) -> u32 {
        let max = if self.peer_max == 0 { LINE_MAX } else { self.peer_max };
        // HL-0087
        max - OVERHEAD - if self.config.get().check { CHECK_LEN as u32 } else { 0 }
    }

    /// Queues a reliable message; returns its number. It is safe to forget once [`Event::Acked`] has reached that number.
    ///
    /// # Errors
    /// Nothing is queued on [`SendError`]; `Full` passes with the next acknowledgement.
    pub fn send(&mut self, now: Instant, text: &str) -> Result<u64, SendError> {
        self.fits(text)?;
        self.link.clock = now;
        self.sending.push(None, text).map_err(|_| SendError::Full)
    }

    /// Queues a reliable message that replaces one of the same slot, if that one has never been on a wire; it keeps the place and
    /// number of the one it replaces. Returns its number.
    ///
    /// # Errors
    /// As [`Session::send`].
    pub fn send_latest(&mut self, now: Instant, slot: u8, text: &str) -> Result<u64, SendError> {
        self.fits(text)?;
        self.link.clock = now;
        self.sending.push_latest(slot, text).map_err(|_| SendError::Full)
    }

    /// Writes a best-effort message into the caller's transmit buffer and returns the length of its line: sent at most once,
    /// never queued. The bytes count as produced by [`Session::poll_transmit`].
    ///
    /// # Errors
    /// [`SendError::Down`] while the link is not up, [`SendError::Full`] if `buffer` is too small; the message is dropped.
    pub fn send_best_effort(&mut self, text: &str, buffer: &mut [u8]) -> Result<usize, SendError> {
        self.fits(text)?;
        // HL-0091
        if !self.is_up() || self.link.due.greeting {
            return Err(SendError::Down);
        }
        let mut writer = Writer::new(buffer, self.config.get().check);
        if !writer.put(b"D ").put(text.as_bytes()).end() {
            return Err(SendError::Full);
        }
        let written = writer.written();
        self.link.produced(written);
        Ok(written)
    }

    fn fits(&self, text: &str) -> Result<(), SendError> {
        let max = self.max_text();
        if text.len() > max as usize {
            return Err(SendError::TooLong { max });
        }
        // HL-0007
        match memchr::memchr2(frame::LF, 0, text.as_bytes()).and_then(|at| text.as_bytes().get(at)) {
            None => Ok(()),
            Some(&frame::LF) => Err(SendError::LineFeed),
            Some(_) => Err(SendError::Nul),
        }
    }

    /// Tells that the application has taken a message, and all before it: it will be acknowledged.
    ///
    /// `false` if that changes nothing: accepted before, or the peer has begun anew since. A durable endpoint then keeps the
    /// cursor it has.
    pub fn accept(&mut self, receipt: Receipt) -> bool {
        // HL-0077
        let moved = self.receiving.accept(receipt);
        let same_stream = self.link.adopt.is_none_or(|stream| stream.epoch == receipt.epoch);
        self.link.due.ack |= moved && same_stream && self.link.phase == Phase::Up;
        moved
    }

    /// Ends the link in order: the peer is told why, and how long to stay away (0: it may come back at once).
    pub fn close(&mut self, code: ByeCode, retry_ms: u32) {
        if self.has_link() {
            self.link.retry_ms = retry_ms;
            let ack = self.link.due.ack;
            self.end_link(DownReason::Closed, Some(code));
            // HL-0126: what the application accepted is said before the goodbye.
            self.link.due.ack = ack;
        }
    }

    /// Takes received bytes: whole lines up to the first that yields a message or an event. Present the bytes beyond
    /// [`Input::consumed`] again, at once until nothing more is consumed, then with what is received next.
    ///
    /// The caller's buffer must be able to hold a line of `max_line` bytes and its LF (512 at least, for the greeting).
    pub fn handle_input<'i>(&mut self, now: Instant, input: &'i [u8]) -> Input<'i> {
        let mut consumed = 0;
        if self.link.phase != Phase::Down && !input.is_empty() {
            self.link.hear(now);
        }
        while self.link.phase != Phase::Down {
            let rest = input.get(consumed..).unwrap_or_default();
            let max = match self.link.phase {
                Phase::Hello => HELLO_MAX.max(self.config.get().max_line as usize),
                _ => self.config.get().max_line as usize,
            };
            let line = match frame::split(rest, max) {
                Ok(Some(line)) => line,
                Ok(None) => {
                    // HL-0154
                    self.link.partial = if rest.is_empty() { None } else { self.link.partial.or(Some(now)) };
                    return Input { consumed, message: None };
                }
                Err(fault) => {
                    self.fault(fault);
                    break;
                }
            };
            self.link.partial = None;
            match self.handle_line(now, line) {
                Ok(message) => {
                    if self.events.down == Some(DownReason::NewHello) {
                        return Input { consumed, message: None };
                    }
                    consumed += line.len() + 1;
                    if message.is_some() || self.events.pending() {
                        return Input { consumed, message };
                    }
                }
                Err(fault) => self.fault(fault),
            }
        }
        // HL-0003
        Input { consumed: input.len(), message: None }
    }

    /// Tells that received bytes wait because the application is slow to take them: a sign of life of the peer.
    pub fn handle_backlog(&mut self, now: Instant) {
        self.link.hear(now);
    }

    /// Tells that the transport took the next `bytes` of what [`Session::poll_transmit`] wrote.
    pub fn handle_transmitted(&mut self, now: Instant, bytes: usize) {
        self.link.transmitted(now, bytes);
    }

    /// Tells that the stream ended or broke. An unterminated line is dropped.
    pub fn handle_disconnected(&mut self, now: Instant) {
        self.link.clock = now;
        if self.has_link() {
            self.end_link(DownReason::Disconnected, None);
        }
    }

    /// Does what is due at `now`; too early or too often does no harm. The next deadline is later than `now`.
    ///
    /// Read what the transport holds before an outage is judged: bytes that wait unread are no silence.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(deadline) = self.poll_timeout().filter(|deadline| deadline.at <= now) {
            self.link.clock = now;
            match deadline.timer {
                // HL-0103
                Timer::Keepalive => self.link.due.keepalive = true,
                // HL-0093
                Timer::Rewind => {
                    self.link.due.rewind = true;
                    self.link.gap = Some(now);
                }
                // HL-0095
                Timer::Probe => {
                    self.link.due.probe = true;
                    self.link.progress = now;
                    self.link.probing = self.link.probing.or(Some(now));
                }
                // HL-0104
                Timer::Outage => self.end_link(DownReason::Outage, None),
                // HL-0106
                Timer::Stall => self.end_link(DownReason::Stall, None),
                Timer::Hello => self.end_link(DownReason::HelloTimeout, None),
                Timer::Answer => self.fault(PeerFault::Mute),
                Timer::Line => self.fault(PeerFault::Slow),
                Timer::Repeat | Timer::Settle => break,
            }
        }
    }

    /// When [`Session::handle_timeout`] is wanted next; `None` without a link.
    pub fn poll_timeout(&self) -> Option<Deadline> {
        self.link.deadline(self.link.cursor > self.sending.acked + 1)
    }

    /// The next event; read them all after every input.
    pub fn poll_event(&mut self) -> Option<Event> {
        let events = &mut self.events;
        if let Some(reason) = events.down.take() {
            return Some(Event::Down(reason));
        }
        let told = events.outgoing.take().or_else(|| events.incoming.take());
        if told.is_some() {
            return told;
        }
        if let Some(resumed) = events.up.take() {
            return Some(Event::Up { resumed });
        }
        if core::mem::take(&mut events.acked) {
            return Some(Event::Acked(self.sending.acked));
        }
        events.blocked.take()
    }

    /// Writes as many whole lines as are due and fit into `buffer`, and returns their length. Call it after every input until it
    /// writes nothing; hand the bytes to the transport in order and report with [`Session::handle_transmitted`].
    ///
    /// A buffer of [`Session::max_text`] + 31 bytes holds any line; 512 are needed for a greeting.
    pub fn poll_transmit(&mut self, buffer: &mut [u8]) -> usize {
        let mut writer = Writer::new(buffer, self.config.get().check);
        // A line that does not fit stays due.
        let _ = self.write_lines(&mut writer);
        let written = writer.written();
        self.link.produced(written);
        written
    }

    fn write_lines(&mut self, writer: &mut Writer<'_>) -> Option<()> {
        fn fits(ended: bool) -> Option<()> {
            ended.then_some(())
        }
        if self.link.due.greeting {
            if R::IS_CLIENT && self.link.phase == Phase::Up {
                // HL-0060
                fits(writer.end())?;
            } else {
                let terms = self.terms();
                fits(write_terms(writer, self.role.client_id(), &terms))?;
                // HL-0068
                self.sending.contacted |= !R::IS_CLIENT;
            }
            self.link.due.greeting = false;
        }
        if self.link.due.rewind {
            fits(writer.put(b"R").number(self.receiving.received() + 1).end())?;
            self.link.due.rewind = false;
        }
        if self.link.due.ack {
            // HL-0082
            fits(writer.put(b"A").number(self.receiving.accepted).end())?;
            self.link.due.ack = false;
        }
        if let Some(code) = self.link.due.bye {
            fits(bye(writer, code, self.link.retry_ms))?;
            self.link.due.bye = None;
        }
        if self.link.phase != Phase::Up {
            return None;
        }
        self.write_messages(writer)?;
        if self.link.due.probe {
            // HL-0095
            fits(writer.put(b"P").number(self.link.cursor - 1).end())?;
            self.link.due.probe = false;
        }
        if self.link.due.keepalive {
            if writer.written() == 0 {
                fits(writer.end())?;
            }
            self.link.due.keepalive = false;
        }
        Some(())
    }

    fn write_messages(&mut self, writer: &mut Writer<'_>) -> Option<()> {
        // HL-0086
        let end = self.sending.next().min(self.sending.acked + 1 + u64::from(self.link.peer_window));
        let max = self.max_text();
        while self.link.cursor < end {
            let seq = self.link.cursor;
            let text = self.sending.text(seq)?;
            let len = text.len() as u32;
            if len > max {
                // HL-0087
                if !self.link.blocked_told {
                    self.events.blocked = Some(Event::Blocked { seq, len, max });
                    self.link.blocked_told = true;
                }
                break;
            }
            if !writer.put(b"M").number(seq).put(b" ").put(text).end() {
                return None;
            }
            if seq == self.sending.acked + 1 {
                self.link.progress = self.link.clock;
            }
            self.sending.sent_high = self.sending.sent_high.max(seq);
            self.link.cursor = seq + 1;
        }
        Some(())
    }

    fn terms(&self) -> Terms {
        let config: &Config = self.config.get();
        Terms {
            boot: self.boot,
            epoch: self.sending.epoch,
            base: self.sending.acked,
            base_sum: self.sending.sum,
            peer: self.receiving.epoch,
            seen: self.receiving.accepted,
            seen_sum: self.receiving.sum(),
            keeps: config.keeps,
            timeout_ms: self.link.timeout_ms,
            window: config.window,
            max_line: config.max_line,
        }
    }

    fn handle_line<'i>(&mut self, now: Instant, line: &'i [u8]) -> Result<Option<Message<'i>>, PeerFault> {
        let check = self.config.get().check;
        let body = match line {
            [] => line,
            _ if check => match frame::unchecked(line) {
                Some(body) => body,
                // HL-0098
                None => {
                    self.garbled = self.garbled.saturating_add(1);
                    return Ok(None);
                }
            },
            _ => line,
        };
        if R::IS_CLIENT && self.link.phase == Phase::Hello {
            return self.handle_answer(now, body).map(|()| None);
        }
        if self.link.due.greeting && !R::IS_CLIENT {
            // HL-0024: a client waits for the welcome.
            return Err(PeerFault::Hello);
        }
        if let [b'B', rest @ ..] = body {
            self.handle_bye(rest);
            return Ok(None);
        }
        if is_greeting(body) {
            if !check {
                return Err(PeerFault::Hello);
            }
            let reason = if R::IS_CLIENT { DownReason::Reset } else { DownReason::NewHello };
            self.end_link(reason, None);
            return Ok(None);
        }
        if let Some(stream) = self.link.adopt.take() {
            // HL-0059
            self.events.incoming = self.receiving.adopt(stream);
            self.go_up();
        }
        // HL-0146, HL-0147: these go before what the letter or a number has to say.
        self.handle_frame(now, body).map_err(|fault| frame::text(body).err().unwrap_or(fault))
    }

    fn handle_frame<'i>(&mut self, now: Instant, line: &'i [u8]) -> Result<Option<Message<'i>>, PeerFault> {
        let sequence = |digits| frame::sequence(digits).ok_or(PeerFault::Number);
        match line {
            [] => Ok(None),
            [b'M', rest @ ..] => {
                let (seq, text) = match frame::take_number(rest) {
                    Some((seq @ ..frame::SEQ_LIMIT, [b' ', text @ ..])) => (seq, text),
                    _ => return Err(PeerFault::Number),
                };
                self.handle_message(now, seq, frame::text(text)?)
            }
            [b'D', b' ', text @ ..] => Ok(Some(Message { text: frame::text(text)?, receipt: None })),
            [b'A', digits @ ..] => self.handle_ack(now, sequence(digits)?).map(|()| None),
            [b'R', digits @ ..] => self.handle_rewind(now, sequence(digits)?).map(|()| None),
            [b'P', digits @ ..] => {
                // HL-0096
                if self.receiving.received() >= sequence(digits)? {
                    self.link.due.ack = true;
                } else {
                    self.link.due.rewind = true;
                    self.link.gap = Some(now);
                }
                Ok(None)
            }
            _ => Err(PeerFault::Frame),
        }
    }

    fn handle_message<'i>(&mut self, now: Instant, seq: u64, text: &'i str) -> Result<Option<Message<'i>>, PeerFault> {
        match self.receiving.arrive(seq, text, self.config.get().window) {
            Arrival::New(receipt) => {
                self.link.gap = None;
                Ok(Some(Message { text, receipt: Some(receipt) }))
            }
            Arrival::Duplicate { accepted } => {
                // HL-0081
                self.link.due.ack |= accepted;
                Ok(None)
            }
            Arrival::Gap => {
                // HL-0093
                if self.link.gap.is_none() {
                    self.link.due.rewind = true;
                    self.link.gap = Some(now);
                }
                Ok(None)
            }
            Arrival::BeyondWindow => Err(PeerFault::Window),
        }
    }

    fn handle_ack(&mut self, now: Instant, seq: u64) -> Result<(), PeerFault> {
        // HL-0151
        if seq >= self.sending.next() {
            return Err(PeerFault::Ack);
        }
        self.link.probing = None;
        if self.sending.prune(seq) {
            self.link.progress = now;
            self.link.cursor = self.link.cursor.max(seq + 1);
            self.events.acked = true;
        }
        Ok(())
    }

    fn handle_rewind(&mut self, now: Instant, seq: u64) -> Result<(), PeerFault> {
        // HL-0152
        if seq <= self.sending.acked || seq > self.sending.next() {
            return Err(PeerFault::Rewind);
        }
        self.link.probing = None;
        self.link.progress = now;
        self.link.cursor = self.link.cursor.min(seq);
        Ok(())
    }

    fn handle_bye(&mut self, rest: &[u8]) {
        let mut words = rest.split(|&byte| byte == b' ');
        let code = ByeCode::from_token(words.next().unwrap_or_default());
        let retry_ms = words.next().and_then(|word| word.strip_prefix(b"retry=")).map_or(0, retry);
        self.end_link(DownReason::Bye { code, retry_ms }, None);
    }

    fn handle_answer(&mut self, now: Instant, line: &[u8]) -> Result<(), PeerFault> {
        match Answer::parse(line)? {
            Answer::Welcome(terms) => self.handle_welcome(now, &terms),
            Answer::Refusal { code, retry_ms } => self.end_link(DownReason::Refused { code, retry_ms }, None),
            // On a lossy stream it is what was left of the link before.
            Answer::NotHoldline if self.config.get().check => {}
            // HL-0014
            Answer::NotHoldline => self.end_link(DownReason::NotHoldline, None),
        }
        Ok(())
    }

    fn handle_welcome(&mut self, now: Instant, terms: &Terms) {
        self.link.timeout_ms = terms.timeout_ms;
        self.learn(terms);
        // HL-0069
        let must_greet_again = match self.events.outgoing {
            Some(Event::OwnReset { .. }) => true,
            Some(Event::PeerForgot { from, to, dropped }) => dropped && from <= to,
            _ => false,
        };
        if must_greet_again {
            self.end_link(DownReason::Reset, Some(ByeCode::Reset));
            return;
        }
        self.sending.contacted = true;
        self.sending.peer_boot = terms.boot;
        self.events.incoming = self.receiving.adopt(Stream { epoch: terms.epoch, base: terms.base, sum: terms.base_sum });
        self.link.phase = Phase::Up;
        self.link.progress = now;
        self.link.due.greeting = true;
        self.go_up();
    }

    /// Takes from the peer's terms what concerns this side's sending.
    fn learn(&mut self, terms: &Terms) {
        self.link.peer_window = terms.window;
        self.peer_max = terms.max_line;
        self.peer_keeps = terms.keeps;
        let acked = self.sending.acked;
        let report = Report { epoch: terms.peer, seen: terms.seen, sum: terms.seen_sum, boot: terms.boot };
        self.events.outgoing = self.sending.learn(report, self.config.get().on_forgotten, self.link.fresh);
        self.events.acked |= self.events.outgoing.is_none() && self.sending.acked > acked;
        self.link.cursor = self.sending.acked + 1;
    }

    fn go_up(&mut self) {
        self.events.up = Some(self.was_up);
        self.was_up = true;
    }

    fn fault(&mut self, fault: PeerFault) {
        self.end_link(DownReason::Fault(fault), Some(ByeCode::Fault(fault)));
    }

    fn end_link(&mut self, reason: DownReason, bye: Option<ByeCode>) {
        let retry_ms = self.link.retry_ms;
        let was_greeting = self.link.phase == Phase::Hello && self.link.due.greeting;
        self.link = Link { fresh: self.link.fresh, retry_ms, ..Link::down() };
        // HL-0142
        self.link.due.bye = bye.filter(|_| !was_greeting);
        self.events.down = Some(reason);
    }
}

impl Events {
    /// Whether something waits that must be told before the next line is read.
    fn pending(&self) -> bool {
        self.down.is_some() || self.outgoing.is_some() || self.incoming.is_some() || self.up.is_some()
    }
}

/// Writes a `B` line.
pub(crate) fn bye(writer: &mut Writer<'_>, code: ByeCode, retry_ms: u32) -> bool {
    writer.put(b"B").put(code.token().as_bytes());
    if retry_ms > 0 {
        writer.put(b" retry=").number(retry_ms.into());
    }
    writer.end()
}
