//! What the application's handles and the driver share: one session, its inbox, and who waits for what.
//!
//! All state is under one lock that is held for computation only, never across an await or a system call. Who has to wait
//! leaves a waker under the same lock under which it saw that it has to wait; so no wake-up is lost.

use crate::error::{Closed, WriteError};
use crate::report::What;
use crate::sync::{Arc, Mutex, MutexGuard, lock};
use holdline_proto::classic::Flavour;
use holdline_proto::{ByeCode, DownReason, Event, Instant, Message, Outbox, Receipt, Role, SendError, Session, VecOutbox};
use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// A message that the peer's application sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its text.
    pub text: String,
    /// What to hand to `accept`; `None` for best effort.
    pub receipt: Option<Receipt>,
}

/// Bytes of best-effort messages that may wait for the transport.
pub(crate) const DATAGRAMS_MAX: usize = 64 * 1024;
/// What frames a text is shorter than this in every profile.
const FRAMING: usize = 64;
/// An empty inbox keeps room for this many messages.
const INBOX_IDLE: usize = 4;

#[derive(Debug)]
pub(crate) struct Channel<R> {
    pub(crate) id: Arc<str>,
    /// Messages that may wait for the application beyond the session's window: best effort, and classic.
    inbox_max: usize,
    state: Mutex<State<R>>,
}

#[derive(Debug)]
pub(crate) struct State<R> {
    pub(crate) session: Session<R, VecOutbox>,
    /// How many links this session has had: the driver of the latest owns the session.
    pub(crate) link: u32,
    connects: u32,
    inbox: VecDeque<Received>,
    /// Best-effort lines for the present link.
    datagrams: Vec<u8>,
    /// Messages ever queued. The ticket of a message is this count just after it was queued.
    queued: u64,
    /// Tickets of messages that were dropped by policy, for writers that still wait.
    dropped: Vec<(u64, u64)>,
    driver: Option<Waker>,
    waiters: Vec<(Need, Waker)>,
    /// Up, as it was last reported.
    reported_up: bool,
    /// When the present or last link came up, if it did.
    up_at: Option<Instant>,
    /// When and why the last link ended.
    down: (Instant, DownReason),
    /// Whether the driver has left input unread until the inbox has room.
    backlogged: bool,
    /// The longest line that was ever queued, at least.
    longest_line: usize,
    closed: bool,
}

/// What a waiting call of the application needs before it can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// A message in the inbox.
    Message,
    /// The message with this ticket delivered.
    Delivered(u64),
    /// More messages out of the outbox than had left it at this count.
    Room(u64),
    /// The link up.
    Up,
}

/// A locked channel; when it is let go, everybody who can go on is woken.
pub(crate) struct Locked<'c, R: Role> {
    state: Option<MutexGuard<'c, State<R>>>,
    inbox_max: usize,
    wake_driver: bool,
}

impl<R: Role> Channel<R> {
    pub(crate) fn new(id: Arc<str>, session: Session<R, VecOutbox>, inbox_max: usize) -> Self {
        let state = State {
            session,
            link: 0,
            connects: 0,
            inbox: VecDeque::new(),
            datagrams: Vec::new(),
            queued: 0,
            dropped: Vec::new(),
            driver: None,
            waiters: Vec::new(),
            reported_up: false,
            up_at: None,
            down: (Instant::default(), DownReason::Closed),
            backlogged: false,
            longest_line: 0,
            closed: false,
        };
        Self { id, inbox_max, state: Mutex::new(state) }
    }

    pub(crate) fn lock(&self) -> Locked<'_, R> {
        Locked { state: Some(lock(&self.state)), inbox_max: self.inbox_max, wake_driver: false }
    }

    /// The next message; accepted at once if `accept`, else when the application says so.
    pub(crate) fn poll_receive(&self, cx: &mut Context<'_>, accept: bool) -> Poll<Result<Received, Closed>> {
        let mut locked = self.lock();
        if let Some(received) = locked.take() {
            if let Some(receipt) = received.receipt.filter(|_| accept) {
                locked.accept(receipt);
            }
            return Poll::Ready(Ok(received));
        }
        locked.wait(Need::Message, cx)
    }

    /// Queues a message as soon as there is room, and returns its ticket.
    pub(crate) fn poll_send(
        &self,
        cx: &mut Context<'_>,
        now: Instant,
        slot: Option<u8>,
        text: &str,
    ) -> Poll<Result<u64, WriteError>> {
        let mut locked = self.lock();
        match locked.send(now, slot, text) {
            Err(error) if error.is_full() => {
                let resolved = locked.get().resolved();
                locked.wait(Need::Room(resolved), cx).map_err(WriteError::Closed)
            }
            result => Poll::Ready(result),
        }
    }

    /// Waits until the message with this ticket is delivered.
    pub(crate) fn poll_delivered(&self, cx: &mut Context<'_>, ticket: u64) -> Poll<Result<(), WriteError>> {
        let mut locked = self.lock();
        if locked.get().dropped.iter().any(|&(from, to)| (from..=to).contains(&ticket)) {
            return Poll::Ready(Err(WriteError::Dropped));
        }
        if locked.get().resolved() >= ticket {
            return Poll::Ready(Ok(()));
        }
        locked.wait(Need::Delivered(ticket), cx).map_err(WriteError::Closed)
    }

    pub(crate) fn poll_up(&self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        let mut locked = self.lock();
        if locked.get().session.is_up() {
            return Poll::Ready(Ok(()));
        }
        locked.wait(Need::Up, cx)
    }
}

impl<R: Role> State<R> {
    /// Messages that have left the outbox: delivered, or dropped by policy.
    fn resolved(&self) -> u64 {
        self.queued - self.session.outbox().len() as u64
    }

    pub(crate) fn backlogged(&self) -> bool {
        self.backlogged
    }

    pub(crate) fn longest_line(&self) -> usize {
        self.longest_line
    }

    /// Fills an empty outbox of the same bounds with what waits, for a session of another profile.
    pub(crate) fn move_outbox(&self, mut outbox: VecOutbox) -> VecOutbox {
        let from = self.session.outbox();
        for index in 0..from.len() {
            let text = from.get(index).and_then(|text| std::str::from_utf8(text).ok());
            let fits = text.map(|text| outbox.push(from.slot(index), text));
            debug_assert_eq!(fits, Some(Ok(())), "an outbox holds text, and the bounds are equal");
        }
        outbox
    }

    /// When the last link came up, if it did, and when and why it ended.
    pub(crate) fn last_link(&self) -> (Option<Instant>, Instant, DownReason) {
        (self.up_at, self.down.0, self.down.1)
    }

    /// The ticket of the message that was queued last.
    pub(crate) fn last_ticket(&self) -> u64 {
        self.queued
    }

    pub(crate) fn connects(&self) -> u32 {
        self.connects
    }

    pub(crate) fn unread(&self) -> usize {
        self.inbox.len()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    fn meets(&self, need: Need) -> bool {
        match need {
            _ if self.closed => true,
            Need::Message => !self.inbox.is_empty(),
            Need::Delivered(ticket) => self.resolved() >= ticket,
            Need::Up => self.session.is_up(),
            Need::Room(resolved) => self.resolved() > resolved,
        }
    }
}

impl<R: Role> Locked<'_, R> {
    #[expect(clippy::expect_used, reason = "the guard is taken out in `drop` only")]
    pub(crate) fn get(&mut self) -> &mut State<R> {
        self.state.as_mut().expect("the lock is held until it is dropped")
    }

    fn wait<T>(&mut self, need: Need, cx: &mut Context<'_>) -> Poll<Result<T, Closed>> {
        let state = self.get();
        if state.closed {
            return Poll::Ready(Err(Closed));
        }
        match state.waiters.iter_mut().find(|(other, waker)| *other == need && waker.will_wake(cx.waker())) {
            Some(_) => {}
            None => {
                state.waiters.reserve_exact(1);
                state.waiters.push((need, cx.waker().clone()));
            }
        }
        Poll::Pending
    }

    fn take(&mut self) -> Option<Received> {
        let state = self.get();
        let received = state.inbox.pop_front()?;
        if state.inbox.is_empty() && state.inbox.capacity() > INBOX_IDLE {
            state.inbox = VecDeque::new();
        }
        let backlogged = std::mem::take(&mut state.backlogged);
        self.wake_driver |= backlogged;
        Some(received)
    }

    pub(crate) fn accept(&mut self, receipt: Receipt) -> bool {
        let moved = self.get().session.accept(receipt);
        self.wake_driver |= moved;
        moved
    }

    pub(crate) fn send(&mut self, now: Instant, slot: Option<u8>, text: &str) -> Result<u64, WriteError> {
        let state = self.get();
        if state.closed {
            return Err(Closed.into());
        }
        state.longest_line = state.longest_line.max(text.len() + FRAMING);
        let before = state.session.outbox().len();
        let seq = match slot {
            None => state.session.send(now, text)?,
            Some(slot) => state.session.send_latest(now, slot, text)?,
        };
        state.queued += (state.session.outbox().len() - before) as u64;
        let ticket = state.queued - (state.session.next_seq() - 1 - seq);
        self.wake_driver = true;
        Ok(ticket)
    }

    pub(crate) fn send_best_effort(&mut self, text: &str) -> Result<(), SendError> {
        let state = self.get();
        let start = state.datagrams.len();
        let room = text.len() + FRAMING;
        if start + room > DATAGRAMS_MAX {
            return Err(SendError::Full);
        }
        state.datagrams.resize(start + room, 0);
        let written = state.session.send_best_effort(text, &mut state.datagrams[start..]);
        state.datagrams.truncate(start + *written.as_ref().unwrap_or(&0));
        written?;
        self.wake_driver = true;
        Ok(())
    }

    /// Hands the session over to a new link, whose number is returned; `greet` tells the session about it.
    pub(crate) fn begin_link(&mut self, greet: impl FnOnce(&mut State<R>), now: Instant, reports: &mut Vec<What>) -> u32 {
        let state = self.get();
        state.up_at = None;
        greet(state);
        state.datagrams = Vec::new();
        state.link = state.link.wrapping_add(1);
        state.backlogged = false;
        let link = state.link;
        self.collect(now, reports);
        self.wake_driver = true;
        link
    }

    /// Feeds received bytes to the session and its messages to the inbox; returns how many bytes it is done with.
    pub(crate) fn feed(&mut self, now: Instant, bytes: &[u8], reports: &mut Vec<What>) -> usize {
        let inbox_max = self.inbox_max;
        let mut at = 0;
        loop {
            let state = self.get();
            if state.must_backlog() && state.inbox.len() >= inbox_max && at < bytes.len() {
                state.backlogged = true;
                state.session.handle_backlog(now);
                return at;
            }
            let input = state.session.handle_input(now, bytes.get(at..).unwrap_or_default());
            at += input.consumed;
            if let Some(Message { text, receipt }) = input.message {
                if state.inbox.len() < inbox_max || state.is_windowed(receipt) {
                    state.inbox.push_back(Received { text: text.to_owned(), receipt });
                } else {
                    state.decline(receipt);
                }
            }
            let consumed = input.consumed;
            self.collect(now, reports);
            if consumed == 0 || at == bytes.len() || !self.get().session.has_link() {
                return at;
            }
        }
    }

    /// Reads the session's events into reports.
    pub(crate) fn collect(&mut self, now: Instant, reports: &mut Vec<What>) {
        let state = self.get();
        while let Some(event) = state.session.poll_event() {
            match event {
                Event::Up { .. } => {
                    state.connects += 1;
                    state.up_at = Some(now);
                    if !std::mem::replace(&mut state.reported_up, true) {
                        let after = Duration::from_millis(now.since(state.down.0));
                        reports.push(if state.connects == 1 { What::Connected } else { What::Resumed { after } });
                    }
                }
                Event::Down(reason) => {
                    state.down = (now, reason);
                    match reason {
                        DownReason::Takeover => reports.push(What::Takeover),
                        DownReason::Fault(fault) => reports.push(What::Fault(fault)),
                        DownReason::Refused { code, .. } => reports.push(What::Refused(code)),
                        DownReason::NotHoldline => reports.push(What::NotHoldline),
                        _ => {}
                    }
                    // HL-0141
                    if std::mem::replace(&mut state.reported_up, false) {
                        reports.push(What::Outage(reason));
                    }
                }
                Event::Acked(_) => {}
                Event::PeerForgot { from, to, dropped } => {
                    if dropped {
                        state.drop_tickets(to + 1 - from);
                    }
                    reports.push(What::Session(event));
                }
                Event::OwnReset { dropped } => {
                    state.drop_tickets(dropped);
                    reports.push(What::Session(event));
                }
                _ => reports.push(What::Session(event)),
            }
        }
    }

    /// Moves everything that is due into `out`, as far as it fits; returns its length.
    pub(crate) fn fill(&mut self, out: &mut [u8]) -> usize {
        let state = self.get();
        let written = state.session.poll_transmit(out);
        if !state.session.has_link() {
            state.datagrams = Vec::new();
        }
        let Some(room) = out.get_mut(written..) else { return written };
        if state.datagrams.is_empty() || state.datagrams.len() > room.len() {
            return written;
        }
        room[..state.datagrams.len()].copy_from_slice(&state.datagrams);
        let total = written + state.datagrams.len();
        state.datagrams = Vec::new();
        total
    }

    /// Leaves the driver's waker, for whoever has something to send.
    pub(crate) fn park_driver(&mut self, cx: &Context<'_>) {
        let state = self.get();
        match &mut state.driver {
            Some(waker) => waker.clone_from(cx.waker()),
            None => state.driver = Some(cx.waker().clone()),
        }
    }

    /// Ends the line for good: whoever waits is told, and the link is closed with `code`.
    pub(crate) fn close(&mut self, code: ByeCode, retry_ms: u32) {
        let state = self.get();
        state.closed = true;
        state.session.close(code, retry_ms);
        self.wake_driver = true;
    }

    /// Ends the present link in order, and not the line.
    pub(crate) fn close_link(&mut self, code: ByeCode, retry_ms: u32) {
        self.get().session.close(code, retry_ms);
        self.wake_driver = true;
    }
}

impl<R: Role> State<R> {
    /// Whether the sender has promised not to send more than this side can hold.
    fn is_windowed(&self, receipt: Option<Receipt>) -> bool {
        matches!(self.session, Session::Native(_)) && receipt.is_some()
    }

    /// Whether a full inbox has to stop the reading, because what is not taken would never come again.
    fn must_backlog(&self) -> bool {
        // HL-0055
        matches!(&self.session, Session::Classic(session) if session.flavour() == Flavour::V2019)
    }

    /// Leaves a message for which there is no room: best effort is dropped, a classic sender repeats it.
    fn decline(&mut self, receipt: Option<Receipt>) {
        if let (Session::Classic(session), Some(receipt)) = (&mut self.session, receipt) {
            // HL-0044
            session.decline(receipt);
        }
    }

    fn drop_tickets(&mut self, count: u64) {
        let waits = self.waiters.iter().any(|(need, _)| matches!(need, Need::Delivered(_)));
        if count > 0 && waits {
            let to = self.resolved();
            self.dropped.push((to + 1 - count, to));
        } else if !waits {
            self.dropped.clear();
        }
    }
}

impl<R: Role> Drop for Locked<'_, R> {
    fn drop(&mut self) {
        let Some(mut state) = self.state.take() else { return };
        let driver = if self.wake_driver { state.driver.take() } else { None };
        let mut ready = Vec::new();
        let mut index = 0;
        while let Some(&(need, _)) = state.waiters.get(index) {
            if state.meets(need) {
                ready.push(state.waiters.swap_remove(index).1);
            } else {
                index += 1;
            }
        }
        drop(state);
        driver.into_iter().chain(ready).for_each(Waker::wake);
    }
}
