//! A session of the classic profiles: the lines of micropython-iot, of January 2019 and of 2020.

mod frames;
mod ids;
mod link;
mod sender;

use self::frames::Line;
use self::ids::{Arrival, Receiving, Set};
use self::link::{Link, Part, Phase};
use self::sender::{Flight, Sending};
use super::{Client, Input, Message, Receipt, Role, Server};
use crate::config::ValidConfig;
use crate::event::{DownReason, Event, PeerFault, SendError};
use crate::frame::{self, Writer};
use crate::outbox::Outbox;
use crate::time::{Deadline, Instant, Timer};

/// Which revision of micropython-iot the peer speaks. The wire does not tell, so it is configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Flavour {
    /// As of January 2019: nothing is acknowledged; what was written shortly before an outage is written again.
    V2019,
    /// As of 2020: each message is acknowledged by its id, and repeated until then.
    #[default]
    V2020,
}

impl Flavour {
    /// The timeout that the programs of this revision use unless they are told another, in milliseconds.
    pub const fn default_timeout_ms(self) -> u32 {
        match self {
            Self::V2019 => 1_500,
            Self::V2020 => 2_000,
        }
    }
}

/// One end of a session in a classic profile: it outlives every link that carries it.
///
/// It is driven as the native one is ([`native::Session`](super::native::Session)); the run loop, a picture and an example are on
/// [the crate's first page](crate). What differs:
///
/// - Nothing is negotiated: the timeout and the longest line are those of the configuration, on both ends.
/// - The peer's best effort cannot be told from its reliable messages, so every [`Message`] has a receipt.
/// - There is no window: a caller without room for a message declines it ([`Session::decline`]), or stops reading.
/// - [`Event::Acked`] under 2019 means: a timeout has passed since the message was written, and the peer was heard after the
///   first half of it. There is no better proof on that wire.
/// - [`Event::PeerReset`] means that the peer used id 0, which it does once, after power-up.
/// - Without [`Config::in_order`](crate::Config::in_order) up to 100 messages are on their way at once, but nothing goes beside the
///   very first: its repeat on a new link makes the peer forget all ids. One timer serves them all, so that a message is repeated
///   after the timeout and a quarter of it at most; in order after the timeout exactly.
/// - There is no goodbye: after a fault the transport is just closed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Session<R, O> {
    role: R,
    part: Part,
    config: ValidConfig,
    sending: Sending<O>,
    receiving: Receiving,
    link: Link,
    events: Events,
    was_up: bool,
}

/// Events that wait to be read; each kind at most once, told in this order.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash)]
struct Events {
    down: Option<DownReason>,
    reset: bool,
    up: Option<bool>,
    /// Whether both are of one link, which ended as soon as it was up; else it was an older one that ended.
    up_first: bool,
    acked: bool,
    blocked: Option<Event>,
}

/// What a session must remember over a restart, besides the texts in its outbox.
///
/// A durable endpoint that keeps its outbox stores the first five fields with it whenever a message was written or acknowledged;
/// one that keeps its cursor stores the last two in the same transaction as the message. Leave out what is not kept: the
/// default is no memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Every message up to this number is acknowledged.
    pub acked: u64,
    /// The place, counted in ids used since the beginning, of the oldest unacknowledged message that was written.
    pub first: u64,
    /// The place of the next id.
    pub next: u64,
    /// Which places from `first` on, modulo 128, are those of messages in the outbox.
    pub messages: [u32; 4],
    /// Which of these messages are not acknowledged.
    pub open: [u32; 4],
    /// The last id received.
    pub newest: Option<u8>,
    /// The ids whose messages were accepted.
    pub accepted: [u32; 8],
}

impl<O: Outbox> Session<Client, O> {
    /// Tells that a stream to the server is open: the id line is due.
    pub fn handle_connected(&mut self, now: Instant) {
        self.begin_link(now);
    }
}

impl<O: Outbox> Session<Server, O> {
    /// Takes up a link whose first line, read by [`Greeting::read`](crate::Greeting::read), was the id of this session's client. An
    /// earlier link that is still up is replaced: the caller closes it, and discards what it has not read from it.
    pub fn handle_id(&mut self, now: Instant) {
        // HL-0122
        if self.has_link() {
            self.end_link(DownReason::Takeover);
        }
        self.begin_link(now);
        self.go_up();
    }
}

impl<R: Role, O: Outbox> Session<R, O> {
    /// A session without memory: its first message gets id 0, by which the peer learns of the restart.
    ///
    /// `outbox` may hold messages from before a restart.
    pub fn new(role: R, flavour: Flavour, config: ValidConfig, outbox: O) -> Self {
        Self::restore(role, flavour, config, Snapshot::default(), outbox)
    }

    /// A session that remembers: `outbox` holds the messages after `snapshot.acked`, oldest first.
    pub fn restore(role: R, flavour: Flavour, config: ValidConfig, snapshot: Snapshot, outbox: O) -> Self {
        let Snapshot { acked, first, next, messages, open, newest, accepted } = snapshot;
        Self {
            role,
            part: Part { flavour, is_client: R::IS_CLIENT },
            config,
            sending: Sending::restore(Flight { acked, first, next, messages, open }, outbox),
            receiving: Receiving::restore(newest, Set::from_words(accepted)),
            link: Link::down(),
            events: Events::default(),
            was_up: false,
        }
    }

    /// The ids of both directions as they are now.
    pub fn snapshot(&self) -> Snapshot {
        let Flight { acked, first, next, messages, open } = self.sending.flight();
        let (newest, accepted) = self.receiving.accepted();
        Snapshot { acked, first, next, messages, open, newest, accepted: accepted.words() }
    }

    /// The revision of the peer.
    pub fn flavour(&self) -> Flavour {
        self.part.flavour
    }

    /// Whether the link carries messages: at a server from the id line on, at a client from the server's first byte on.
    pub fn is_up(&self) -> bool {
        self.link.phase == Phase::Up
    }

    /// Whether a link is open, be it up or not yet answered.
    pub fn has_link(&self) -> bool {
        self.link.phase != Phase::Down
    }

    /// The timeout of the present link, in milliseconds; 0 without one.
    pub fn timeout_ms(&self) -> u32 {
        self.link.timeout_ms
    }

    /// Every message up to this number is acknowledged.
    pub fn acked(&self) -> u64 {
        self.sending.acked
    }

    /// The number that the next message will get.
    pub fn next_seq(&self) -> u64 {
        self.sending.next_seq()
    }

    /// The messages that are not acknowledged, and those acknowledged out of order behind one that is not.
    pub fn outbox(&self) -> &O {
        &self.sending.outbox
    }

    /// The configuration that was given.
    pub fn config(&self) -> &ValidConfig {
        &self.config
    }

    /// The longest text that can be sent, in bytes: what a line of `max_line` bytes holds, and at a client no more than 4093, because
    /// an original server cannot take a longer line reliably.
    pub fn max_text(&self) -> u32 {
        let max = self.config.get().max_line;
        // HL-0032
        let line = if R::IS_CLIENT { max.min(frames::CLIENT_LINE_MAX) } else { max };
        line - frames::OVERHEAD
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
    /// [`SendError::Down`] while the link does not carry messages yet, or any more; [`SendError::Full`] if `buffer` is too small,
    /// or 100 ids were used since the oldest unacknowledged message. The message is dropped.
    pub fn send_best_effort(&mut self, text: &str, buffer: &mut [u8]) -> Result<usize, SendError> {
        self.fits(text)?;
        if !self.link.is_open() || self.link.id_due {
            return Err(SendError::Down);
        }
        let id = self.sending.best_effort_id().ok_or(SendError::Full)?;
        let mut writer = Writer::new(buffer, false);
        if !frames::write_message(&mut writer, id, text.as_bytes()) {
            return Err(SendError::Full);
        }
        self.sending.sent_best_effort();
        let written = writer.written();
        self.link.produced(written);
        Ok(written)
    }

    fn fits(&self, text: &str) -> Result<(), SendError> {
        // HL-0007
        let max = self.max_text();
        if text.is_empty() {
            return Err(SendError::Empty);
        }
        if text.len() > max as usize {
            return Err(SendError::TooLong { max });
        }
        match frame::find_lf(text.as_bytes()) {
            None => Ok(()),
            Some(_) => Err(SendError::LineFeed),
        }
    }

    /// Tells that the application has taken a message: it will be acknowledged, where there is anything to say it with.
    ///
    /// `false` if that changes nothing: accepted before, or the peer has begun anew since.
    pub fn accept(&mut self, receipt: Receipt) -> bool {
        self.receiving.accept(receipt)
    }

    /// Tells that the application has no room for a message: it is forgotten, as if it had never come. A 2020 peer sends it again
    /// after the timeout; a 2019 peer does not, so stop reading there instead ([`Session::handle_backlog`]).
    ///
    /// `false` if that changes nothing, as in [`Session::accept`].
    pub fn decline(&mut self, receipt: Receipt) -> bool {
        self.receiving.decline(receipt)
    }

    /// Ends the link. [`Session::poll_transmit`] still has the acknowledgements of what was accepted.
    pub fn close(&mut self) {
        if self.has_link() {
            self.end_link(DownReason::Closed);
        }
    }

    /// Takes received bytes: whole lines up to the first that yields a message or an event. Present the bytes beyond
    /// [`Input::consumed`] again, at once until nothing more is consumed, then with what is received next or after a message was
    /// accepted.
    ///
    /// The caller's buffer must be able to hold a line of `max_line` bytes and its LF.
    pub fn handle_input<'i>(&mut self, now: Instant, input: &'i [u8]) -> Input<'i> {
        let mut consumed = 0;
        if self.has_link() && !input.is_empty() {
            self.hear(now);
        }
        while self.has_link() {
            let rest = input.get(consumed..).unwrap_or_default();
            let line = match frame::split(rest, self.config.get().max_line as usize) {
                Ok(Some(line)) => line.bytes,
                Ok(None) => {
                    self.link.partial = if rest.is_empty() { None } else { self.link.partial.or(Some(now)) };
                    return Input { consumed, message: None };
                }
                Err(fault) => {
                    self.fault(fault);
                    break;
                }
            };
            self.link.partial = None;
            match self.handle_line(line) {
                Ok(Taken::Line(message)) => {
                    consumed += line.len() + 1;
                    if message.is_some() || self.events.pending() {
                        return Input { consumed, message };
                    }
                }
                Ok(Taken::Nothing) => return Input { consumed, message: None },
                Err(fault) => self.fault(fault),
            }
        }
        // HL-0003
        Input { consumed: input.len(), message: None }
    }

    /// Tells that received bytes wait because the application is slow to take them: a sign of life of the peer.
    pub fn handle_backlog(&mut self, now: Instant) {
        if self.has_link() {
            self.hear(now);
        }
    }

    /// Tells that the transport took the next `bytes` of what [`Session::poll_transmit`] wrote.
    pub fn handle_transmitted(&mut self, now: Instant, bytes: usize) {
        self.link.transmitted(now, bytes);
    }

    /// Tells that the stream ended or broke. An unterminated line is dropped: the caller discards what was not consumed.
    pub fn handle_disconnected(&mut self, now: Instant) {
        self.link.clock = now;
        if self.has_link() {
            self.end_link(DownReason::Disconnected);
        }
    }

    /// Does what is due at `now`; too early or too often does no harm. The next deadline is later than `now`.
    ///
    /// Read what the transport holds before an outage is judged: bytes that wait unread are no silence.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(deadline) = self.poll_timeout().filter(|deadline| deadline.at <= now) {
            self.link.clock = now;
            match deadline.timer {
                Timer::Keepalive => self.link.beat(now),
                Timer::Settle => self.link.settle(self.part, now),
                Timer::Repeat => match self.part.flavour {
                    // HL-0045
                    Flavour::V2020 => self.sending.repeat(self.link.timeout_ms),
                    Flavour::V2019 => self.events.acked |= self.sending.confirm(self.link.timeout_ms, self.link.heard),
                },
                Timer::Outage => self.end_link(DownReason::Outage),
                Timer::Stall => self.end_link(DownReason::Stall),
                Timer::Line => self.fault(PeerFault::Slow),
                Timer::Hello | Timer::Rewind | Timer::Probe | Timer::Answer => break,
            }
        }
    }

    /// When [`Session::handle_timeout`] is wanted next; `None` without a link.
    pub fn poll_timeout(&self) -> Option<Deadline> {
        self.link.deadline(self.part).map(|deadline| deadline.sooner(self.sending.deadline(self.link.timeout_ms)))
    }

    /// The next event; read them all after every input.
    pub fn poll_event(&mut self) -> Option<Event> {
        let events = &mut self.events;
        // HL-0141
        if core::mem::take(&mut events.up_first)
            && let Some(resumed) = events.up.take()
        {
            return Some(Event::Up { resumed });
        }
        if let Some(reason) = events.down.take() {
            return Some(Event::Down(reason));
        }
        if core::mem::take(&mut events.reset) {
            return Some(Event::PeerReset);
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
    /// A buffer of [`Session::max_text`] + 3 bytes holds any line.
    pub fn poll_transmit(&mut self, buffer: &mut [u8]) -> usize {
        let mut writer = Writer::new(buffer, false);
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
        if self.link.id_due {
            fits(writer.put(self.role.client_id().unwrap_or_default()).end())?;
            self.link.id_due = false;
            // HL-0026: an original server loses what comes with it.
            return None;
        }
        if self.part.flavour == Flavour::V2020 {
            // HL-0042, HL-0043
            while let Some(id) = self.receiving.next_ack() {
                fits(frames::write_ack(writer, id))?;
                self.receiving.acked(id);
            }
        }
        if self.link.keepalive_due {
            fits(writer.end())?;
            self.link.keepalive_due = false;
        }
        if self.link.is_open() {
            self.write_messages(writer);
        }
        Some(())
    }

    fn write_messages(&mut self, writer: &mut Writer<'_>) {
        let (max, in_order) = (self.max_text(), self.config.get().in_order);
        if let Err(Some(blocked)) = self.sending.write(writer, self.link.clock, max, in_order)
            && !self.link.blocked_told
        {
            self.events.blocked = Some(Event::Blocked { seq: blocked.seq, len: blocked.len, max });
            self.link.blocked_told = true;
        }
    }

    fn handle_line<'i>(&mut self, line: &'i [u8]) -> Result<Taken<'i>, PeerFault> {
        let taken = match Line::parse(line)? {
            Line::Keepalive => Taken::Line(None),
            // HL-0041
            Line::Bare(id) if self.part.flavour == Flavour::V2020 => {
                self.events.acked |= self.sending.ack(id);
                Taken::Line(None)
            }
            // HL-0053
            Line::Bare(id) => self.handle_message(id, ""),
            Line::Message(id, text) => self.handle_message(id, frame::utf8(text)?),
        };
        self.link.answered = true;
        Ok(taken)
    }

    fn handle_message<'i>(&mut self, id: u8, text: &'i str) -> Taken<'i> {
        match self.receiving.arrive(id) {
            Arrival::New { receipt, reset } => {
                self.events.reset |= reset;
                Taken::Line(Some(Message { text, receipt: Some(receipt) }))
            }
            Arrival::Duplicate => Taken::Line(None),
            Arrival::Held => match self.part.flavour {
                // HL-0055: nobody would send it again.
                Flavour::V2019 => Taken::Nothing,
                Flavour::V2020 => Taken::Line(None),
            },
        }
    }

    fn hear(&mut self, now: Instant) {
        let was_up = self.is_up();
        self.link.hear(self.part, now);
        if !was_up {
            self.go_up();
        }
        self.events.acked |= self.part.flavour == Flavour::V2019 && self.sending.hear();
    }

    fn go_up(&mut self) {
        self.events.up = Some(self.was_up);
        self.was_up = true;
    }

    fn fault(&mut self, fault: PeerFault) {
        self.end_link(DownReason::Fault(fault));
    }

    fn begin_link(&mut self, now: Instant) {
        // HL-0108
        self.link = Link::new(self.part, now, self.config.get().timeout_ms);
        self.receiving.begin_link();
    }

    fn end_link(&mut self, reason: DownReason) {
        self.link = Link::down();
        self.sending.end_link();
        // The transport is still whole after these two.
        self.receiving.end_link(matches!(reason, DownReason::Closed | DownReason::Fault(_)));
        self.events.up_first = self.events.up.is_some();
        self.events.down = Some(reason);
    }
}

/// What became of a line.
enum Taken<'i> {
    Line(Option<Message<'i>>),
    /// It stays with the caller until the application has accepted more.
    Nothing,
}

impl Events {
    /// Whether something waits that must be told before the next line is read.
    fn pending(&self) -> bool {
        self.down.is_some() || self.reset || self.up.is_some()
    }
}
