//! A session of the native profile.

use super::link::{Due, Link, Phase, Since};
use super::receiving::{Arrival, Receiving, Stream, ahead};
use super::sending::{Report, Sending};
use super::{Client, Incarnation, Input, Message, Receipt, Role, Server};
use crate::config::{Config, Keeps, LINE_MAX, ValidConfig};
use crate::digits;
use crate::event::{ByeCode, DownReason, Event, PeerFault, SendError};
use crate::frame::{self, CHECK_LEN, Line, Writer};
use crate::hello::{Answer, HELLO_MAX, Hello, Terms, is_greeting, parse_welcome, retry, write_terms};
use crate::outbox::Outbox;
use crate::time::{Deadline, Instant, Timer};
use crate::words;
use core::mem;

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
    peer_keeps: Keeps,
    garbled: u32,
}

/// Events that wait to be read; each kind at most once, told in the order of their bits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Events {
    waiting: u8,
    /// Whether the session has been up before, and had been when it last went up.
    was_up: bool,
    resumed: bool,
    down: DownReason,
    outgoing: Event,
    incoming: Event,
    blocked: Event,
}

/// What a session must remember over a restart, besides the texts in its outbox.
///
/// A durable endpoint that keeps its outbox stores `epoch`, `acked`, `acked_sum`, `contacted` and `peer_boot` with it; one that keeps
/// its cursor stores `peer_epoch`, `accepted` and `accepted_sum` in the same transaction as the message. Leave out what is not kept:
/// 0, or `None`, or `false`.
// HL-0078, HL-0079
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
        self.link.due.add(Due::GREETING);
    }
}

impl<O: Outbox> Session<Server, O> {
    /// Takes up a link whose first line, read by [`Greeting::read`](crate::Greeting::read), was this hello. An earlier link that is
    /// still up is replaced: the caller writes [`write_bye`](crate::write_bye)`(Takeover)` to it, and discards what it has not read
    /// from it.
    ///
    /// Lines of the new link carry checks if the hello did, whatever [`Config::check`] says and the link before was.
    ///
    /// `fresh` is a random number that the caller draws for every link; it becomes the epoch if a new one is needed.
    pub fn handle_hello(&mut self, now: Instant, fresh: u64, hello: &Hello<'_>) {
        // HL-0121
        if self.link.phase != Phase::Down {
            self.events.tell_down(DownReason::Takeover);
        }
        // HL-0097
        self.config = self.config.with_check(hello.check);
        let config = self.config.get();
        // HL-0023
        let timeout_ms = hello.terms.timeout_ms.clamp(config.timeout_min_ms, config.timeout_max_ms);
        self.link = Link::new(Phase::Up, now, timeout_ms, fresh);
        self.link.due.add(Due::GREETING);
        // HL-0058, HL-0059
        self.link.adopt = Some(Stream { epoch: hello.terms.epoch, base: hello.terms.base, sum: hello.terms.base_sum });
        self.learn(&hello.terms);
        self.sending.peer_boot = hello.terms.boot;
        self.link.fresh = hello.terms.link;
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
        let sending = Sending {
            sent: outbox.len() as u32,
            max_text: max_text(LINE_MAX, config),
            outbox,
            epoch: snapshot.epoch.max(1),
            acked: snapshot.acked,
            sum: snapshot.acked_sum.or((keeps_sent && snapshot.acked == 0).then_some(0)).filter(|_| keeps_sent),
            contacted: snapshot.contacted,
            peer_boot: snapshot.peer_boot,
        };
        Self {
            role,
            config,
            boot,
            sending,
            receiving: Receiving::restore(snapshot.peer_epoch, snapshot.accepted, snapshot.accepted_sum),
            link: Link::down(),
            events: Events::new(),
            peer_keeps: Keeps::None,
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

    /// What a session of another profile goes on with; `empty` is left here for the messages that wait.
    pub(super) fn hand_over(&mut self, empty: O) -> (R, ValidConfig, O)
    where
        R: Copy,
    {
        (self.role, self.config, core::mem::replace(&mut self.sending.outbox, empty))
    }

    /// Whether the link is established: both ends have heard the other's greeting.
    pub fn is_up(&self) -> bool {
        self.link.phase == Phase::Up && (R::IS_CLIENT || self.link.adopt.is_none())
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
        self.sending.max_text
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
        if !self.is_up() || self.link.due.has(Due::GREETING) {
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
        frame::sendable(text)
    }

    /// Tells that the application has taken a message, and all before it: it will be acknowledged.
    ///
    /// `false` if that changes nothing: accepted before, or the peer has begun anew since. A durable endpoint then keeps the
    /// cursor it has.
    pub fn accept(&mut self, receipt: Receipt) -> bool {
        // HL-0077
        let moved = self.receiving.accept(receipt);
        let same_stream = R::IS_CLIENT || self.link.adopt.is_none_or(|stream| stream.epoch == receipt.epoch);
        if moved && same_stream && self.link.phase == Phase::Up {
            self.link.due.add(Due::ACK);
        }
        moved
    }

    /// Ends the link in order: the peer is told why, and how long to stay away (0: it may come back at once).
    pub fn close(&mut self, code: ByeCode, retry_ms: u32) {
        if self.has_link() {
            let ack = self.link.due.has(Due::ACK);
            // HL-0024: before the welcome a client says nothing but its hello.
            let bye = (self.link.phase != Phase::Hello).then_some(code);
            self.end_link(DownReason::Closed, bye);
            self.link.retry_ms = retry_ms;
            // HL-0126: what the application accepted is said before the goodbye.
            if ack {
                self.link.due.add(Due::ACK);
            }
        }
    }

    /// Takes received bytes: whole lines up to the first that yields a message or an event. Present the bytes beyond
    /// [`Input::consumed`] again, at once until nothing more is consumed, then with what is received next.
    ///
    /// The caller's buffer must be able to hold a line of `max_line` bytes and its LF (512 at least, for the greeting).
    pub fn handle_input<'i>(&mut self, now: Instant, input: &'i [u8]) -> Input<'i> {
        if input.is_empty() {
            self.link.partial = Since::NONE;
        } else if self.has_link() {
            self.link.hear(now);
        }
        let mut rest = input;
        while self.has_link() && !rest.is_empty() {
            let consumed = input.len() - rest.len();
            let line = match frame::split(rest, self.line_max()) {
                Ok(Some(line)) => line,
                Ok(None) => {
                    // HL-0154
                    if self.link.partial.is_none() {
                        self.link.partial = Since::new(now);
                    }
                    return Input { consumed, message: None };
                }
                Err(fault) => {
                    self.fault(fault);
                    break;
                }
            };
            self.link.partial = Since::NONE;
            match self.handle_line(now, line) {
                Ok(None) if !self.events.urgent() => {}
                Ok(_) if !R::IS_CLIENT && self.events.down == DownReason::NewHello => {
                    return Input { consumed, message: None };
                }
                Ok(message) => return Input { consumed: consumed + line.bytes.len() + 1, message },
                Err(fault) => self.fault(fault),
            }
            rest = rest.get(line.bytes.len() + 1..).unwrap_or_default();
        }
        // HL-0003
        Input { consumed: input.len(), message: None }
    }

    /// Tells that received bytes wait because the application is slow to take them: a sign of life of the peer.
    pub fn handle_backlog(&mut self, now: Instant) {
        // HL-0089
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
                Timer::Keepalive => self.link.due.add(Due::KEEPALIVE),
                // HL-0093
                Timer::Rewind => self.ask_again(now),
                // HL-0095
                Timer::Probe => {
                    self.link.due.add(Due::PROBE);
                    self.link.progress = now;
                    if self.link.probing.is_none() {
                        self.link.probing = Since::new(now);
                    }
                }
                // HL-0104
                Timer::Outage => self.end_link(DownReason::Outage, None),
                // HL-0106
                Timer::Stall => self.end_link(DownReason::Stall, None),
                // HL-0107
                Timer::Hello => self.end_link(DownReason::HelloTimeout, None),
                // HL-0155
                Timer::Answer => self.fault(PeerFault::Mute),
                Timer::Line => self.fault(PeerFault::Slow),
                Timer::Repeat | Timer::Settle => break,
            }
        }
    }

    /// Says the keepalive now if it is the next thing that time brings, and within `ms` from now; for a caller that has just read the
    /// peer's and is awake.
    ///
    /// Two ends that are idle have the same period. Where each waits for its own timer a period costs both of them two wake-ups, and
    /// where one answers the other, one.
    pub fn hasten_keepalive(&mut self, now: Instant, ms: u32) {
        if self.poll_timeout().is_some_and(|next| next.timer == Timer::Keepalive && next.at <= now.plus(ms)) {
            self.link.clock = now;
            self.link.due.add(Due::KEEPALIVE);
        }
    }

    /// When [`Session::handle_timeout`] is wanted next; `None` without a link.
    pub fn poll_timeout(&self) -> Option<Deadline> {
        self.link.deadline()
    }

    /// The next event; read them all after every input.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.take(self.sending.acked)
    }

    /// Writes as many whole lines as are due and fit into `buffer`, and returns their length. Call it after every input until it
    /// writes nothing; hand the bytes to the transport in order and report with [`Session::handle_transmitted`].
    ///
    /// A buffer of [`Session::max_text`] + 31 bytes holds any line; 512 are needed for a greeting.
    pub fn poll_transmit(&mut self, buffer: &mut [u8]) -> usize {
        let mut writer = Writer::new(buffer, self.config.get().check);
        let _ = self.write_lines(&mut writer);
        let written = writer.written();
        self.link.produced(written);
        written
    }

    fn write_lines(&mut self, writer: &mut Writer<'_>) -> Option<()> {
        if self.link.due.has(Due::GREETING) {
            self.write_greeting(writer)?;
        }
        self.write_frame(writer, Due::REWIND, b'R', self.receiving.received() + 1)?;
        // HL-0082
        self.write_frame(writer, Due::ACK, b'A', self.receiving.accepted)?;
        if self.link.phase != Phase::Up {
            if let Some(code) = self.link.bye {
                ended(bye(writer, code, self.link.retry_ms))?;
                self.link.bye = None;
            }
            return None;
        }
        self.write_messages(writer)?;
        // HL-0095
        self.write_frame(writer, Due::PROBE, b'P', self.sending.acked + u64::from(self.link.sent))?;
        if self.link.due.has(Due::KEEPALIVE) {
            if writer.written() == 0 {
                ended(writer.end())?;
            }
            self.link.due.remove(Due::KEEPALIVE);
        }
        Some(())
    }

    fn write_greeting(&mut self, writer: &mut Writer<'_>) -> Option<()> {
        if R::IS_CLIENT && self.link.phase == Phase::Up {
            // HL-0060
            ended(writer.end())?;
        } else {
            let terms = self.terms();
            ended(write_terms(writer, self.role.client_id(), &terms))?;
            // HL-0068
            self.sending.contacted |= !R::IS_CLIENT;
        }
        self.link.due.remove(Due::GREETING);
        Some(())
    }

    /// Writes a frame of a letter and a number, if it is due.
    fn write_frame(&mut self, writer: &mut Writer<'_>, line: Due, letter: u8, number: u64) -> Option<()> {
        if self.link.due.has(line) {
            ended(writer.frame(letter, number, None))?;
            self.link.due.remove(line);
        }
        Some(())
    }

    fn write_messages(&mut self, writer: &mut Writer<'_>) -> Option<()> {
        let max = self.max_text();
        // HL-0086
        while self.link.sent < self.link.peer_window.into()
            && let Some(text) = self.sending.outbox.get(self.link.sent as usize)
        {
            let seq = self.sending.acked + 1 + u64::from(self.link.sent);
            let len = text.len() as u32;
            if len > max {
                // HL-0087
                if !self.link.blocked_told {
                    self.events.blocked = Event::Blocked { seq, len, max };
                    self.events.waiting |= Events::BLOCKED;
                    self.link.blocked_told = true;
                }
                break;
            }
            ended(writer.frame(b'M', seq, Some(text)))?;
            if self.link.sent == 0 {
                self.link.progress = self.link.clock;
            }
            self.link.sent += 1;
            self.sending.sent = self.sending.sent.max(self.link.sent);
        }
        Some(())
    }

    fn terms(&self) -> Terms {
        let config: &Config = self.config.get();
        // HL-0021, HL-0075, HL-0076
        Terms {
            boot: self.boot,
            epoch: self.sending.epoch,
            base: self.sending.acked,
            base_sum: self.sending.sum,
            peer: self.receiving.epoch,
            seen: self.receiving.accepted,
            held: self.receiving.held(),
            seen_sum: self.receiving.held_sum(),
            keeps: config.keeps,
            timeout_ms: self.link.timeout_ms,
            window: config.window,
            max_line: config.max_line,
            // HL-0161, HL-0162
            link: if config.check { self.link.fresh } else { 0 },
        }
    }

    /// The longest line that is taken.
    fn line_max(&self) -> usize {
        let max = self.config.get().max_line as usize;
        if R::IS_CLIENT && self.link.phase == Phase::Hello { max.max(HELLO_MAX) } else { max }
    }

    fn handle_line<'i>(&mut self, now: Instant, line: Line<'i>) -> Result<Option<Message<'i>>, PeerFault> {
        let mut frame = line.bytes;
        if self.config.get().check || !self.is_up() || self.link.due.has(Due::GREETING) || matches!(frame, [b'B' | b'H', ..]) {
            match self.admit(now, frame)? {
                Some(admitted) => frame = admitted,
                None => return Ok(None),
            }
        }
        let taken = if line.nul { Err(PeerFault::Nul) } else { self.handle_frame(now, frame) };
        // HL-0146, HL-0147: these go before what the letter or a number has to say.
        taken.map_err(|fault| frame::utf8(frame).err().unwrap_or(fault))
    }

    /// Looks at a line that may be something else than a frame of an established link: `None` if it was.
    #[cold]
    fn admit<'i>(&mut self, now: Instant, line: &'i [u8]) -> Result<Option<&'i [u8]>, PeerFault> {
        let check = self.config.get().check;
        let mut body = line;
        if check && !body.is_empty() {
            match frame::unchecked(body) {
                Some(checked) => body = checked,
                None => {
                    // HL-0098
                    self.garbled = self.garbled.saturating_add(1);
                    return Ok(None);
                }
            }
        }
        if R::IS_CLIENT && self.link.phase == Phase::Hello {
            return self.handle_answer(now, body).map(|()| None);
        }
        if self.link.due.has(Due::GREETING) && !R::IS_CLIENT && !(check && is_greeting(body)) {
            // HL-0024: a client waits for the welcome, or on a checked stream says hello again.
            return Err(PeerFault::Hello);
        }
        // HL-0025
        if let [b'B', rest @ ..] = body {
            self.handle_bye(rest);
            return Ok(None);
        }
        if is_greeting(body) {
            if !check {
                // HL-0153
                return Err(PeerFault::Hello);
            }
            // HL-0100, HL-0101
            let reason = if R::IS_CLIENT { DownReason::Reset } else { DownReason::NewHello };
            self.end_link(reason, None);
            return Ok(None);
        }
        if !R::IS_CLIENT
            && let Some(stream) = self.link.adopt.take()
        {
            // HL-0059
            self.adopt(stream);
            self.go_up();
        }
        Ok(Some(body))
    }

    /// Handles a line without a NUL. Whatever is wrong with it is found before it changes anything.
    // HL-0143, HL-0148, HL-0149
    fn handle_frame<'i>(&mut self, now: Instant, line: &'i [u8]) -> Result<Option<Message<'i>>, PeerFault> {
        let Some((&letter, rest)) = line.split_first() else {
            return Ok(None);
        };
        let (seq, rest) = match letter {
            b'D' => (None, rest),
            b'M' | b'A' | b'R' | b'P' => match digits::take(rest) {
                Some((seq @ ..frame::SEQ_LIMIT, rest)) => (Some(seq), rest),
                _ => return Err(PeerFault::Number),
            },
            _ => return Err(PeerFault::Frame),
        };
        if let b'D' | b'M' = letter {
            if rest.first() != Some(&b' ') {
                return Err(if seq.is_some() { PeerFault::Number } else { PeerFault::Frame });
            }
            let text = frame::text(line, line.len() - rest.len() + 1)?;
            return match seq {
                Some(seq) => self.handle_message(now, seq, text),
                None => Ok(Some(Message { text, receipt: None })),
            };
        }
        let seq = seq.filter(|_| rest.is_empty()).ok_or(PeerFault::Number)?;
        match letter {
            b'A' => self.handle_ack(now, seq)?,
            b'R' => self.handle_rewind(now, seq)?,
            // HL-0096
            _ if self.receiving.received() >= seq => self.link.due.add(Due::ACK),
            _ => self.ask_again(now),
        }
        Ok(None)
    }

    /// The peer is to send again from the first message that is missing.
    fn ask_again(&mut self, now: Instant) {
        self.link.due.add(Due::REWIND);
        self.link.gap = Since::new(now);
    }

    fn handle_message<'i>(&mut self, now: Instant, seq: u64, text: &'i str) -> Result<Option<Message<'i>>, PeerFault> {
        match self.receiving.arrive(seq, text, self.config.get().window) {
            Arrival::New(receipt) => {
                self.link.gap = Since::NONE;
                Ok(Some(Message { text, receipt: Some(receipt) }))
            }
            Arrival::Duplicate { accepted } => {
                // HL-0081
                if accepted {
                    self.link.due.add(Due::ACK);
                }
                Ok(None)
            }
            Arrival::Gap => {
                // HL-0093
                if self.link.gap.is_none() {
                    self.ask_again(now);
                }
                Ok(None)
            }
            Arrival::BeyondWindow => Err(PeerFault::Window),
        }
    }

    fn handle_ack(&mut self, now: Instant, seq: u64) -> Result<(), PeerFault> {
        let count = ahead(seq, self.sending.acked).unwrap_or(0);
        // HL-0151
        if count > self.sending.sent {
            return Err(PeerFault::Ack);
        }
        self.link.probing = Since::NONE;
        // HL-0083
        if count > 0 {
            self.sending.prune(count);
            self.link.progress = now;
            self.link.sent = self.link.sent.saturating_sub(count);
            self.events.waiting |= Events::ACKED;
        }
        Ok(())
    }

    fn handle_rewind(&mut self, now: Instant, seq: u64) -> Result<(), PeerFault> {
        let sent = match ahead(seq, self.sending.acked + 1) {
            Some(sent) if sent as usize <= self.sending.outbox.len() => sent,
            // HL-0152
            _ => return Err(PeerFault::Rewind),
        };
        self.link.probing = Since::NONE;
        self.link.progress = now;
        // HL-0094
        self.link.sent = self.link.sent.min(sent);
        Ok(())
    }

    fn handle_bye(&mut self, rest: &[u8]) {
        let (code, rest) = words::split(rest);
        let retry_ms = words::after(b"retry=", words::split(rest).0).map_or(0, retry);
        self.end_link(DownReason::Bye { code: ByeCode::from_token(code), retry_ms }, None);
    }

    fn handle_answer(&mut self, now: Instant, line: &[u8]) -> Result<(), PeerFault> {
        match Answer::parse(line)? {
            Answer::Welcome(fields) => {
                let terms = parse_welcome(fields)?;
                // HL-0163
                if !self.config.get().check || terms.link == self.link.fresh {
                    self.handle_welcome(now, &terms);
                }
            }
            // HL-0156
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
        // HL-0069
        let must_greet_again = match self.learn(terms) {
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
        self.adopt(Stream { epoch: terms.epoch, base: terms.base, sum: terms.base_sum });
        self.link.phase = Phase::Up;
        self.link.progress = now;
        self.link.due.add(Due::GREETING);
        self.go_up();
    }

    /// Takes from the peer's terms what concerns this side's sending.
    fn learn(&mut self, terms: &Terms) -> Option<Event> {
        self.link.peer_window = terms.window;
        self.sending.max_text = max_text(terms.max_line, self.config);
        self.peer_keeps = terms.keeps;
        let acked = self.sending.acked;
        let report = Report { epoch: terms.peer, seen: terms.seen, held: terms.held, sum: terms.seen_sum, boot: terms.boot };
        let told = self.sending.learn(report, self.config.get().on_forgotten, self.link.fresh);
        if let Some(event) = told {
            self.events.outgoing = event;
            self.events.waiting |= Events::OUTGOING;
        } else if self.sending.acked > acked {
            self.events.waiting |= Events::ACKED;
        }
        told
    }

    fn adopt(&mut self, stream: Stream) {
        let known = self.receiving.epoch;
        if known != 0 && known != stream.epoch {
            // HL-0073
            self.events.waiting |= Events::RESET;
        }
        if let Some(lost) = self.receiving.adopt(stream, self.config.get().keeps.seen()) {
            self.events.incoming = lost;
            self.events.waiting |= Events::INCOMING;
        }
    }

    fn go_up(&mut self) {
        let events = &mut self.events;
        events.waiting |= Events::UP;
        events.resumed = mem::replace(&mut events.was_up, true);
    }

    fn fault(&mut self, fault: PeerFault) {
        self.end_link(DownReason::Fault(fault), Some(ByeCode::Fault(fault)));
    }

    fn end_link(&mut self, reason: DownReason, bye: Option<ByeCode>) {
        let was_greeting = self.link.phase == Phase::Hello && self.link.due.has(Due::GREETING);
        self.link = Link::down();
        // HL-0142
        self.link.bye = bye.filter(|_| !was_greeting);
        self.events.tell_down(reason);
    }
}

impl Events {
    const DOWN: u8 = 1;
    const OUTGOING: u8 = 2;
    const RESET: u8 = 4;
    const INCOMING: u8 = 8;
    const UP: u8 = 16;
    const ACKED: u8 = 32;
    const BLOCKED: u8 = 64;
    /// These must be told before the next line is read.
    const URGENT: u8 = Self::DOWN | Self::OUTGOING | Self::RESET | Self::INCOMING | Self::UP;
    /// Stands where none waits.
    const NONE: Event = Event::PeerReset;

    const fn new() -> Self {
        Self {
            waiting: 0,
            was_up: false,
            resumed: false,
            down: DownReason::Closed,
            outgoing: Self::NONE,
            incoming: Self::NONE,
            blocked: Self::NONE,
        }
    }

    fn urgent(&self) -> bool {
        self.waiting & Self::URGENT != 0
    }

    fn tell_down(&mut self, reason: DownReason) {
        self.down = reason;
        self.waiting |= Self::DOWN;
    }

    /// The next one, where `acked` is how far the peer has accepted by now.
    fn take(&mut self, acked: u64) -> Option<Event> {
        let next = self.waiting & self.waiting.wrapping_neg();
        self.waiting ^= next;
        let kept = match next {
            0 => return None,
            Self::DOWN => return Some(Event::Down(mem::replace(&mut self.down, DownReason::Closed))),
            Self::RESET => return Some(Event::PeerReset),
            Self::UP => return Some(Event::Up { resumed: self.resumed }),
            Self::ACKED => return Some(Event::Acked(acked)),
            Self::OUTGOING => &mut self.outgoing,
            Self::INCOMING => &mut self.incoming,
            _ => &mut self.blocked,
        };
        Some(mem::replace(kept, Self::NONE))
    }
}

/// The longest text in a line of at most `max` bytes.
fn max_text(max: u32, config: ValidConfig) -> u32 {
    max - OVERHEAD - if config.get().check { CHECK_LEN as u32 } else { 0 }
}

/// A line that did not fit stays due, and what comes after it too.
fn ended(fits: bool) -> Option<()> {
    fits.then_some(())
}

/// Writes a `B` line.
pub(crate) fn bye(writer: &mut Writer<'_>, code: ByeCode, retry_ms: u32) -> bool {
    writer.put(b"B").put(code.word());
    if retry_ms > 0 {
        writer.put(b" retry=").number(retry_ms.into());
    }
    writer.end()
}
