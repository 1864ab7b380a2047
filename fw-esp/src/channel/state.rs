//! What the application's handles and the client share: one session, its inbox, and who waits.
//!
//! It is borrowed for computation only, never across an await. Who has to wait leaves a waker under the same borrow under which it
//! saw that it has to; so no wake-up is lost.

use crate::inbox::{Inbox, Place};
use core::mem;
use core::task::{Poll, Waker};
#[cfg(feature = "classic")]
use holdline_proto::classic::Flavour;
#[cfg(not(feature = "classic"))]
use holdline_proto::native;
use holdline_proto::{Client as Role, DownReason, Event, Instant, Outbox as _, SendError, SliceOutbox};

type Outbox<'b> = SliceOutbox<&'b mut [u8]>;
/// Without the classic profiles nobody pays for them.
#[cfg(not(feature = "classic"))]
pub(crate) type Session<'b> = native::Session<Role, Outbox<'b>>;
#[cfg(feature = "classic")]
pub(crate) type Session<'b> = holdline_proto::Session<Role, Outbox<'b>>;

/// What frames a text in a line is no longer than this.
pub(super) const FRAMING: usize = 31;
/// What a record of the outbox takes besides its text.
const OUTBOX_RECORD: usize = 4;
/// How long the last line of a link may take to leave, in milliseconds.
const FAREWELL_MS: u32 = 1_000;

#[derive(Debug)]
pub(crate) struct State<'b> {
    pub(crate) session: Session<'b>,
    inbox: Inbox<'b>,
    /// Lent to who writes to the transport.
    transmit: Option<&'b mut [u8]>,
    /// Best-effort lines that wait at the start of `transmit`.
    datagrams: usize,
    waiting: &'b mut [Option<Waker>],
    driver: Option<Waker>,
    /// The time when the client last looked.
    pub(crate) now: Instant,
    /// The longest text that fits the buffers.
    pub(super) max_text: u32,
    pub(super) queue_max: u16,
    /// Since when input is left unread, because a message in it has no place.
    blocked: Option<Instant>,
    pub(crate) closed: bool,
    /// Messages ever queued. The ticket of a message is this count just after it was queued.
    pub(super) queued: u32,
    /// Tickets of messages that were dropped by policy: from the first to before the second.
    dropped: (u32, u32),
    pub(crate) connects: u32,
    /// When the present or last link came up, if it did.
    pub(crate) up_at: Option<Instant>,
    /// When and why the last link ended.
    pub(crate) down: (Instant, DownReason),
    reported_up: bool,
    signals: Signals,
    #[cfg(feature = "durable")]
    pub(crate) durable: Option<crate::store::Durable<'b>>,
    /// The profile to go over to when what answers is no Holdline server.
    #[cfg(feature = "classic")]
    pub(super) fallback: Option<Flavour>,
}

/// What the hooks are to be told.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Signals {
    pub(crate) up: bool,
    pub(crate) down: bool,
    pub(crate) beat: bool,
}

/// How far a call of the application gets.
pub(crate) type Attempt<T> = Poll<T>;

impl<'b> State<'b> {
    pub(super) fn new(
        session: Session<'b>,
        outbox_len: usize,
        inbox: &'b mut [u8],
        transmit: &'b mut [u8],
        waiting: &'b mut [Option<Waker>],
    ) -> Self {
        let max_text = outbox_len.saturating_sub(OUTBOX_RECORD).min(transmit.len().saturating_sub(FRAMING));
        Self {
            session,
            inbox: Inbox::new(inbox),
            transmit: Some(transmit),
            datagrams: 0,
            waiting,
            driver: None,
            now: Instant::default(),
            max_text: max_text as u32,
            queue_max: 20,
            blocked: None,
            closed: false,
            queued: 0,
            dropped: (0, 0),
            connects: 0,
            up_at: None,
            down: (Instant::default(), DownReason::Closed),
            reported_up: false,
            signals: Signals::default(),
            #[cfg(feature = "durable")]
            durable: None,
            #[cfg(feature = "classic")]
            fallback: None,
        }
    }

    /// Leaves the waker of a task that waits. Where there is no seat left all are woken, to look again.
    pub(crate) fn wait(&mut self, waker: &Waker) {
        if self.waiting.iter().flatten().any(|seated| seated.will_wake(waker)) {
            return;
        }
        if self.waiting.iter().all(Option::is_some) {
            self.wake();
        }
        if let Some(seat) = self.waiting.iter_mut().find(|seat| seat.is_none()) {
            *seat = Some(waker.clone());
        }
    }

    /// Wakes every task that waits.
    pub(crate) fn wake(&mut self) {
        self.waiting.iter_mut().filter_map(Option::take).for_each(Waker::wake);
    }

    /// Leaves the waker of the client.
    pub(crate) fn park_driver(&mut self, waker: &Waker) {
        match &mut self.driver {
            Some(driver) => driver.clone_from(waker),
            None => self.driver = Some(waker.clone()),
        }
    }

    pub(crate) fn wake_driver(&mut self) {
        if let Some(driver) = &self.driver {
            driver.wake_by_ref();
        }
    }

    // ---- the application ----

    /// Copies the next message to the start of `into` and returns how long it is; accepted at once if `accept`.
    pub(crate) fn receive(
        &mut self,
        into: &mut [u8],
        accept: bool,
    ) -> Attempt<Result<(usize, Option<holdline_proto::Receipt>), crate::ReadError>> {
        let Some(record) = self.inbox.peek() else {
            return if self.closed { Poll::Ready(Err(crate::ReadError::Closed)) } else { Poll::Pending };
        };
        if record.len > into.len() {
            return Poll::Ready(Err(crate::ReadError::TooLong(record.len)));
        }
        #[cfg(feature = "durable")]
        if record.receipt.is_some_and(|receipt| !self.is_stream_saved(receipt)) {
            return Poll::Pending;
        }
        self.inbox.pop(into);
        self.blocked = self.blocked.map(|_| self.now);
        if let Some(receipt) = record.receipt.filter(|_| accept) {
            self.session.accept(receipt);
        }
        self.wake_driver();
        Poll::Ready(Ok((record.len, record.receipt)))
    }

    pub(crate) fn accept(&mut self, receipt: holdline_proto::Receipt) -> bool {
        self.wake_driver();
        self.session.accept(receipt)
    }

    fn fits(&self, text: &str) -> Result<(), SendError> {
        let max = self.max_text;
        if text.len() > max as usize { Err(SendError::TooLong { max }) } else { Ok(()) }
    }

    /// Queues a message and returns its ticket.
    pub(crate) fn send(&mut self, slot: Option<u8>, text: &str) -> Result<u32, SendError> {
        self.fits(text)?;
        // It would stay for ever once the session is a classic one.
        #[cfg(feature = "classic")]
        if self.fallback.is_some() && text.is_empty() {
            return Err(SendError::Empty);
        }
        let before = self.session.outbox().len();
        #[cfg(feature = "durable")]
        if self.is_store_full() {
            return Err(SendError::Full);
        }
        let seq = match slot {
            None => self.session.send(self.now, text),
            Some(slot) => self.session.send_latest(self.now, slot, text),
        }?;
        #[cfg(feature = "durable")]
        if self.session.outbox().len() == before {
            self.note_replaced(seq);
        }
        self.queued = self.queued.wrapping_add((self.session.outbox().len() - before) as u32);
        self.wake_driver();
        Ok(self.queued.wrapping_sub((self.session.next_seq() - 1 - seq) as u32))
    }

    pub(crate) fn send_best_effort(&mut self, text: &str) -> Result<(), SendError> {
        self.fits(text)?;
        let buffer = self.transmit.as_mut().and_then(|buffer| buffer.get_mut(self.datagrams..));
        self.datagrams += self.session.send_best_effort(text, buffer.unwrap_or_default())?;
        self.wake_driver();
        Ok(())
    }

    /// Whether the message with this ticket is delivered.
    pub(crate) fn delivered(&self, ticket: u32) -> Attempt<Result<(), crate::WriteError>> {
        let (from, to) = self.dropped;
        if ticket.wrapping_sub(from) < to.wrapping_sub(from) {
            Poll::Ready(Err(crate::WriteError::Dropped))
        } else if self.resolved().wrapping_sub(ticket).cast_signed() >= 0 {
            Poll::Ready(Ok(()))
        } else if self.closed {
            Poll::Ready(Err(crate::WriteError::Closed))
        } else {
            Poll::Pending
        }
    }

    /// Messages that have left the outbox: delivered, or dropped by policy.
    fn resolved(&self) -> u32 {
        self.queued.wrapping_sub(self.session.outbox().len() as u32)
    }

    /// Remembers that the last `count` messages which left the outbox were dropped.
    fn drop_tickets(&mut self, count: u64) {
        // HL-0085
        let to = self.resolved().wrapping_add(1);
        let from = to.wrapping_sub(count as u32);
        let (earlier, _) = self.dropped;
        // A writer may be waiting still whose message was dropped earlier: whatever lies between may not have arrived either.
        let waits = self.waiting.iter().any(Option::is_some) && self.dropped.0 != self.dropped.1;
        self.dropped = (if waits { earlier } else { from }, to);
    }

    pub(crate) fn unread(&self) -> u16 {
        self.inbox.messages()
    }

    pub(crate) fn close(&mut self) {
        // HL-0129
        self.closed = true;
        self.session.close(holdline_proto::ByeCode::Done, 0);
        self.collect();
        self.wake();
        self.wake_driver();
    }

    // ---- the link ----

    /// Begins a link over a stream that was opened.
    pub(crate) fn begin_link(&mut self, now: Instant, fresh: u64) {
        self.now = now;
        self.up_at = None;
        self.datagrams = 0;
        self.blocked = None;
        self.inbox.clear_input();
        self.session.handle_connected(now, fresh);
        self.collect();
    }

    /// Tells the session that the stream is gone.
    pub(crate) fn lose_link(&mut self) {
        self.session.handle_disconnected(self.now);
        self.inbox.clear_input();
        self.collect();
    }

    /// What the client does first whenever it is polled: it looks at the clock, and presents again what had no place.
    pub(crate) fn look(&mut self, now: Instant, waker: &Waker) {
        self.now = now;
        self.park_driver(waker);
        self.resume();
    }

    /// Goes over to the classic profile if the server of the last link does not speak Holdline; whether it does.
    #[cfg(feature = "classic")]
    pub(crate) fn fall_back(&mut self) -> bool {
        // HL-0015
        let flavour = self.fallback.take_if(|_| self.down.1 == DownReason::NotHoldline);
        if let Some(flavour) = flavour {
            self.session.fall_back(flavour, SliceOutbox::new(Default::default()));
        }
        flavour.is_some()
    }

    /// Takes received bytes; `Pending` while there is no room for any, until the application takes a message.
    pub(crate) fn take_input(&mut self, bytes: &[u8]) -> Poll<usize> {
        if self.inbox.has_greeting() {
            return Poll::Pending;
        }
        let mut taken = 0;
        loop {
            let more = self.inbox.put(bytes.get(taken..).unwrap_or_default());
            taken += more;
            self.feed();
            if more == 0 {
                break;
            }
        }
        if taken == 0 { Poll::Pending } else { Poll::Ready(taken) }
    }

    fn resume(&mut self) {
        if self.blocked.is_some() {
            self.feed();
        }
    }

    /// Presents what was received to the session, a line at a time.
    fn feed(&mut self) {
        loop {
            self.collect();
            if !self.session.has_link() {
                return self.inbox.clear_input();
            }
            let Some(line) = self.inbox.line() else { return self.feed_part() };
            let letter = self.inbox.input().first().copied().unwrap_or_default();
            if self.may_be_message(letter, line) && !self.has_place(letter) {
                if self.is_blocked() {
                    return;
                }
                // On any stream a line may be lost: its sender is asked for it with the next one, or asks itself.
                self.inbox.consume(line);
                self.session.handle_backlog(self.now);
                let _ = self.session.handle_input(self.now, &[]);
                continue;
            }
            self.signals.beat |= line == 1;
            let bytes = self.inbox.input().get(..line).unwrap_or_default();
            let input = self.session.handle_input(self.now, bytes);
            let (consumed, message) = (input.consumed, input.message.map(|message| Place::of(&message, bytes)));
            match message {
                Some(message) => {
                    self.inbox.keep(consumed, message);
                    self.blocked = None;
                    self.wake();
                }
                // HL-0055
                None if consumed == 0 && self.session.has_link() => {
                    self.blocked = Some(self.now);
                    return;
                }
                None => self.inbox.consume(consumed),
            }
        }
    }

    /// Presents the beginning of a line, which has a timer of its own.
    fn feed_part(&mut self) {
        if self.inbox.is_full() && self.inbox.messages() > 0 {
            if self.is_blocked() {
                return;
            }
            self.inbox.skip();
        }
        if self.inbox.is_skipping() {
            return self.session.handle_backlog(self.now);
        }
        let _ = self.session.handle_input(self.now, self.inbox.input());
        self.collect();
    }

    /// Leaves what has no place unread, for the application to take a message; `false` when it has had its time.
    fn is_blocked(&mut self) -> bool {
        let since = *self.blocked.get_or_insert(self.now);
        let waits = self.must_wait() || self.now < since.plus(self.patience());
        if waits {
            // HL-0089
            self.session.handle_backlog(self.now);
        }
        waits
    }

    /// How long the lines behind a message wait for it, in milliseconds.
    fn patience(&self) -> u32 {
        self.session.timeout_ms() / 4
    }

    /// Whether nothing may be dropped that has no place: a greeting, and what a sender without acknowledgements would never send again.
    fn must_wait(&self) -> bool {
        #[cfg(feature = "classic")]
        if matches!(&self.session, Session::Classic(session) if session.flavour() == Flavour::V2019) {
            return true;
        }
        !self.session.is_up()
    }

    fn may_be_message(&self, letter: u8, line: usize) -> bool {
        #[cfg(feature = "classic")]
        if matches!(self.session, Session::Classic(_)) {
            // More than an acknowledgement.
            return line > 3;
        }
        line > 3 && matches!(letter, b'M' | b'D')
    }

    fn has_place(&self, letter: u8) -> bool {
        let windowed = letter == b'M' && self.is_native();
        self.inbox.has_place() && (windowed || self.inbox.messages() < self.queue_max)
    }

    /// Whether every line carries a check; those of a classic profile never do.
    #[cfg(feature = "relay")]
    pub(crate) fn is_checked(&self) -> bool {
        self.is_native() && self.session.config().get().check
    }

    fn is_native(&self) -> bool {
        #[cfg(feature = "classic")]
        return matches!(self.session, Session::Native(_));
        #[cfg(not(feature = "classic"))]
        true
    }

    /// When the client has something to do for the sake of time.
    pub(crate) fn deadline(&self) -> Instant {
        let Some(next) = self.session.poll_timeout() else {
            return self.down.0.plus(FAREWELL_MS);
        };
        match self.blocked {
            Some(since) if !self.must_wait() && self.now < since.plus(self.patience()) => {
                next.at.min(since.plus(self.patience()))
            }
            _ => next.at,
        }
    }

    /// Does what is due; `false` if the link is over and its last line has had its time.
    pub(crate) fn tick(&mut self, now: Instant) -> bool {
        self.now = now;
        if !self.session.has_link() {
            return now < self.down.0.plus(FAREWELL_MS);
        }
        self.resume();
        self.session.handle_timeout(now);
        self.collect();
        self.wake_driver();
        true
    }

    /// What is due to be written, and the buffer it is in; `Pending` while there is nothing, and no bytes once there is nothing more on
    /// this link.
    pub(crate) fn take_output(&mut self) -> Poll<(&'b mut [u8], usize)> {
        #[cfg(feature = "durable")]
        if self.session.has_link() && !self.is_saved() {
            return Poll::Pending;
        }
        let Some(buffer) = self.transmit.take() else { return Poll::Pending };
        // The session learns the time of what it writes.
        self.session.handle_transmitted(self.now, 0);
        let written = if self.is_greeting() { self.write_greeting(buffer) } else { self.write_lines(buffer) };
        self.collect();
        if written > 0 || !self.session.has_link() {
            return Poll::Ready((buffer, written));
        }
        self.transmit = Some(buffer);
        Poll::Pending
    }

    /// Whether nothing but a greeting that may be longer than the transmit buffer can be due.
    fn is_greeting(&self) -> bool {
        self.is_native() && self.session.has_link() && !self.session.is_up()
    }

    /// Writes what has room of the greeting. The rest waits where its answer will be received; what comes before it has left, waits too.
    fn write_greeting(&mut self, buffer: &mut [u8]) -> usize {
        self.inbox.greet(|room| self.session.poll_transmit(room));
        let written = self.inbox.take_greeting(buffer);
        if written > 0 && !self.inbox.has_greeting() {
            self.wake_driver();
        }
        written
    }

    /// Writes whole lines.
    fn write_lines(&mut self, buffer: &mut [u8]) -> usize {
        let first = mem::take(&mut self.datagrams);
        // HL-0029, HL-0091
        let first = if self.session.has_link() { first } else { 0 };
        first + self.session.poll_transmit(buffer.get_mut(first..).unwrap_or_default())
    }

    /// Takes the buffer of [`State::take_output`] back.
    pub(crate) fn return_output(&mut self, buffer: &'b mut [u8]) {
        self.transmit = Some(buffer);
    }

    pub(crate) fn transmitted(&mut self, bytes: usize) {
        self.session.handle_transmitted(self.now, bytes);
    }

    /// What the hooks have not been told.
    pub(crate) fn take_signals(&mut self) -> Signals {
        mem::take(&mut self.signals)
    }

    /// Reads the session's events.
    fn collect(&mut self) {
        while let Some(event) = self.session.poll_event() {
            log(event);
            match event {
                Event::Up { .. } => {
                    self.connects = self.connects.wrapping_add(1);
                    self.up_at = Some(self.now);
                    // HL-0141
                    self.signals.up |= !mem::replace(&mut self.reported_up, true);
                }
                Event::Down(reason) => {
                    self.down = (self.now, reason);
                    self.signals.down |= mem::replace(&mut self.reported_up, false);
                }
                Event::PeerForgot { from, to, dropped: true } => self.drop_tickets(to + 1 - from),
                Event::OwnReset { dropped } => self.drop_tickets(dropped),
                _ => {}
            }
            self.wake();
        }
    }
}

#[cfg(feature = "defmt")]
fn log(event: Event) {
    match event {
        Event::Acked(seq) => defmt::trace!("acknowledged up to {}", seq),
        Event::Up { .. } | Event::Down(_) => defmt::info!("{}", event),
        _ => defmt::warn!("{}", event),
    }
}

#[cfg(not(feature = "defmt"))]
fn log(_: Event) {}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use crate::inbox::RECORD;
    use holdline_proto::native::{self, Snapshot};
    use holdline_proto::{ClientId, Config, HELLO_MAX, Keeps};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::vec::Vec;

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// A session whose hello has the longest value in every field.
    fn lavish(outbox: &mut [u8]) -> native::Session<Role, Outbox<'_>> {
        let role = Role { id: ClientId::new(&"i".repeat(64)).expect("valid") };
        let config = Config::new().timeout_ms(3_600_000).window(u16::MAX).max_line(1 << 20).keeps(Keeps::Both).check(true);
        let last = (1 << 62) - 1;
        let snapshot = Snapshot {
            epoch: u64::MAX,
            acked: last,
            acked_sum: Some(u32::MAX),
            contacted: true,
            peer_boot: 0,
            peer_epoch: u64::MAX,
            accepted: last,
            accepted_sum: Some(u32::MAX),
        };
        native::Session::restore(role, config.validate().expect("in range"), u64::MAX, snapshot, SliceOutbox::new(outbox))
    }

    #[test]
    fn the_longest_hello_leaves_through_the_smallest_buffers_before_anything_is_received() {
        let now = Instant::default();
        let (mut outbox, mut twin) = ([0; 8], [0; 8]);
        let mut whole = [0; HELLO_MAX];
        let mut expected = lavish(&mut twin);
        expected.handle_connected(now, u64::MAX);
        let len = expected.poll_transmit(&mut whole);
        assert!(len > 300);

        let (mut inbox, mut transmit) = ([0; HELLO_MAX + 1 + RECORD], [0; FRAMING]);
        let session = lavish(&mut outbox);
        #[cfg(feature = "classic")]
        let session = Session::Native(session);
        let mut state = State::new(session, 8, &mut inbox, &mut transmit, &mut []);
        state.begin_link(now, u64::MAX);
        let woken = Arc::new(Woken::default());
        state.look(now, &Waker::from(Arc::clone(&woken)));
        let mut sent = Vec::new();
        while let Poll::Ready((buffer, count)) = state.take_output() {
            assert!(count > 0);
            sent.extend_from_slice(&buffer[..count]);
            state.transmitted(count);
            state.return_output(buffer);
            // Noise of the link before is left to the transport until all has left. Then it is asked for.
            assert_eq!(state.take_input(b"noise\n").is_ready(), sent.len() == len);
            assert_eq!(woken.0.load(Ordering::Relaxed), sent.len() == len);
        }
        assert_eq!(sent, whole[..len]);
        assert!(state.session.has_link());
    }
}
