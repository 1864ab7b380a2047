//! What the application's handles and the driver share: one session, its inbox, and who waits for what.
//!
//! All state is under one lock that is held for computation only, never across an await or a system call. Who has to wait
//! takes a seat under the same lock under which it saw that it has to wait; so no wake-up is lost. A seat is kept until the
//! call is over or dropped; so what concerns a waiting call is never forgotten, and nothing of it stays behind.

use crate::error::{Closed, WriteError};
use crate::report::What;
use crate::sync::{Mutex, MutexGuard, lock};
use holdline_proto::classic::Flavour;
use holdline_proto::{
    ByeCode, DownReason, Event, Instant, Message, Outbox, Receipt, Role, SendError, TakeoverGuard, VecOutbox, classic,
};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
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

/// A session of whatever profile. The classic ones are apart, because they are larger and the others are many.
pub(crate) type Session<R> = holdline_proto::Session<R, VecOutbox, Box<classic::Session<R, VecOutbox>>>;

#[derive(Debug)]
pub(crate) struct Channel<R> {
    pub(crate) id: Arc<str>,
    /// Messages that may wait for the application beyond the session's window: best effort, and classic.
    inbox_max: usize,
    state: Mutex<State<R>>,
}

#[derive(Debug)]
pub(crate) struct State<R> {
    pub(crate) session: Session<R>,
    /// Server only: what it remembers of takeovers.
    pub(crate) guard: TakeoverGuard,
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
    waiters: Vec<Waiter>,
    /// The last seat that was taken.
    seat: u64,
    /// Up, as it was last reported.
    reported_up: bool,
    /// When the present or last link came up, if it did.
    up_at: Option<Instant>,
    /// When and why the last link ended.
    down: (Instant, DownReason),
    /// Since when the session has been without a link that is up.
    outage: Instant,
    /// Whether the driver has left input unread until the inbox has room.
    backlogged: bool,
    /// The longest line that was ever queued, at least.
    longest_line: usize,
    closed: bool,
    /// Whether no driver waits any more for its transport to take its last line.
    cut: bool,
}

/// What a waiting call of the application needs before it can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// A message in the inbox.
    Message,
    /// The message with this ticket delivered.
    Delivered(u64),
    /// More messages out of the outbox than had left it at this count.
    Room(u64),
    /// The link up.
    Up,
    /// The line closed.
    Closed,
}

#[derive(Debug)]
struct Waiter {
    seat: u64,
    need: Need,
    /// Taken out to wake the call, which leaves it again if it has to go on waiting.
    waker: Option<Waker>,
}

/// A call's place among those who wait; 0 while it has none.
#[derive(Debug, Default)]
pub(crate) struct Seat(u64);

/// How far a call gets under the lock.
pub(crate) enum Attempt<T> {
    Done(T),
    Wait(Need),
}

/// A call of the application: tried again until it gets through. Dropped before, it leaves nothing behind.
pub(crate) struct Call<'c, R: Role, F> {
    channel: &'c Channel<R>,
    seat: Seat,
    attempt: F,
}

impl<R: Role, T, F: FnMut(&mut Locked<'_, R>) -> Attempt<T> + Unpin> Future for Call<'_, R, F> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let Self { channel, seat, attempt } = &mut *self;
        channel.poll(cx, seat, attempt)
    }
}

impl<R: Role, F> Drop for Call<'_, R, F> {
    fn drop(&mut self) {
        self.channel.leave(&mut self.seat);
    }
}

/// A locked channel; when it is let go, everybody who can go on is woken.
pub(crate) struct Locked<'c, R: Role> {
    state: Option<MutexGuard<'c, State<R>>>,
    inbox_max: usize,
    wake_driver: bool,
}

impl<R: Role> Channel<R> {
    pub(crate) fn new(id: Arc<str>, session: Session<R>, inbox_max: usize) -> Self {
        let state = State {
            session,
            guard: TakeoverGuard::new(),
            link: 0,
            connects: 0,
            inbox: VecDeque::new(),
            datagrams: Vec::new(),
            queued: 0,
            dropped: Vec::new(),
            driver: None,
            waiters: Vec::new(),
            seat: 0,
            reported_up: false,
            up_at: None,
            down: (Instant::default(), DownReason::Closed),
            outage: Instant::default(),
            backlogged: false,
            longest_line: 0,
            closed: false,
            cut: false,
        };
        Self { id, inbox_max, state: Mutex::new(state) }
    }

    pub(crate) fn lock(&self) -> Locked<'_, R> {
        Locked { state: Some(lock(&self.state)), inbox_max: self.inbox_max, wake_driver: false }
    }

    pub(crate) fn call<T, F: FnMut(&mut Locked<'_, R>) -> Attempt<T>>(&self, attempt: F) -> Call<'_, R, F> {
        Call { channel: self, seat: Seat::default(), attempt }
    }

    /// Tries once; where that is not enough, `seat` is taken until it is tried again or left.
    pub(crate) fn poll<T>(
        &self,
        cx: &Context<'_>,
        seat: &mut Seat,
        attempt: impl FnOnce(&mut Locked<'_, R>) -> Attempt<T>,
    ) -> Poll<T> {
        let mut locked = self.lock();
        match attempt(&mut locked) {
            Attempt::Done(result) => {
                locked.get().leave(seat);
                Poll::Ready(result)
            }
            Attempt::Wait(need) => {
                locked.get().wait(seat, need, cx);
                Poll::Pending
            }
        }
    }

    pub(crate) fn leave(&self, seat: &mut Seat) {
        if seat.0 != 0 {
            self.lock().get().leave(seat);
        }
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

    pub(crate) fn is_cut(&self) -> bool {
        self.cut
    }

    /// Whether the message with this ticket is delivered.
    pub(crate) fn delivered(&self, ticket: u64) -> Attempt<Result<(), WriteError>> {
        // HL-0085
        if self.dropped.iter().any(|&(from, to)| (from..=to).contains(&ticket)) {
            Attempt::Done(Err(WriteError::Dropped))
        } else if self.resolved() >= ticket {
            Attempt::Done(Ok(()))
        } else if self.closed {
            Attempt::Done(Err(Closed.into()))
        } else {
            Attempt::Wait(Need::Delivered(ticket))
        }
    }

    pub(crate) fn up(&self) -> Attempt<Result<(), Closed>> {
        match (self.closed, self.session.is_up()) {
            (true, _) => Attempt::Done(Err(Closed)),
            (_, true) => Attempt::Done(Ok(())),
            _ => Attempt::Wait(Need::Up),
        }
    }

    pub(crate) fn closed(&self) -> Attempt<()> {
        if self.closed { Attempt::Done(()) } else { Attempt::Wait(Need::Closed) }
    }

    fn meets(&self, need: Need) -> bool {
        match need {
            _ if self.closed => true,
            Need::Message => !self.inbox.is_empty(),
            Need::Delivered(ticket) => self.resolved() >= ticket,
            Need::Up => self.session.is_up(),
            Need::Room(resolved) => self.resolved() > resolved,
            Need::Closed => false,
        }
    }

    fn wait(&mut self, seat: &mut Seat, need: Need, cx: &Context<'_>) {
        if let Some(waiter) = self.waiters.iter_mut().find(|waiter| waiter.seat == seat.0) {
            waiter.need = need;
            match &mut waiter.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                None => waiter.waker = Some(cx.waker().clone()),
            }
            return;
        }
        self.seat += 1;
        seat.0 = self.seat;
        self.waiters.reserve_exact(1);
        self.waiters.push(Waiter { seat: seat.0, need, waker: Some(cx.waker().clone()) });
    }

    fn leave(&mut self, seat: &mut Seat) {
        let left = std::mem::take(&mut seat.0);
        if left != 0 {
            self.waiters.retain(|waiter| waiter.seat != left);
        }
    }
}

impl<R: Role> Locked<'_, R> {
    #[expect(clippy::expect_used, reason = "the guard is taken out in `drop` only")]
    pub(crate) fn get(&mut self) -> &mut State<R> {
        self.state.as_mut().expect("the lock is held until it is dropped")
    }

    /// The next message; accepted at once if `accept`, else when the application says so.
    pub(crate) fn receive(&mut self, accept: bool) -> Attempt<Result<Received, Closed>> {
        let state = self.get();
        let Some(received) = state.inbox.pop_front() else {
            return if state.closed { Attempt::Done(Err(Closed)) } else { Attempt::Wait(Need::Message) };
        };
        if state.inbox.is_empty() {
            // A line that rests owns no queue.
            state.inbox = VecDeque::new();
        }
        self.resume();
        if let Some(receipt) = received.receipt.filter(|_| accept) {
            self.accept(receipt);
        }
        Attempt::Done(Ok(received))
    }

    pub(crate) fn accept(&mut self, receipt: Receipt) -> bool {
        let moved = self.get().session.accept(receipt);
        self.wake_driver |= moved;
        self.resume();
        moved
    }

    /// Lets the driver present again what it had to leave unread.
    fn resume(&mut self) {
        let backlogged = std::mem::take(&mut self.get().backlogged);
        self.wake_driver |= backlogged;
    }

    /// Queues a message and returns its ticket.
    pub(crate) fn send(&mut self, now: Instant, slot: Option<u8>, text: &str) -> Result<u64, WriteError> {
        let state = self.get();
        if state.closed {
            return Err(Closed.into());
        }
        let before = state.session.outbox().len();
        let sent = match slot {
            None => state.session.send(now, text),
            Some(slot) => state.session.send_latest(now, slot, text),
        };
        let seq = match sent {
            // No acknowledgement makes room for it.
            Err(SendError::Full) if before == 0 => {
                return Err(SendError::TooLong { max: state.session.outbox().max_bytes() }.into());
            }
            sent => sent?,
        };
        state.longest_line = state.longest_line.max(text.len() + FRAMING);
        state.queued += (state.session.outbox().len() - before) as u64;
        let ticket = state.queued - (state.session.next_seq() - 1 - seq);
        self.wake_driver = true;
        Ok(ticket)
    }

    /// Queues a message as soon as there is room, and returns its ticket.
    pub(crate) fn queue(&mut self, now: Instant, slot: Option<u8>, text: &str) -> Attempt<Result<u64, WriteError>> {
        match self.send(now, slot, text) {
            // HL-0088
            Err(error) if error.is_full() => Attempt::Wait(Need::Room(self.get().resolved())),
            result => Attempt::Done(result),
        }
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

    /// Hands the session over to a new link, whose number is returned, unless the line is closed; `greet` tells the session about it.
    pub(crate) fn begin_link(
        &mut self,
        greet: impl FnOnce(&mut State<R>, &mut Vec<What>),
        now: Instant,
        reports: &mut Vec<What>,
    ) -> Option<u32> {
        let state = self.get();
        if state.closed {
            return None;
        }
        state.up_at = None;
        greet(state, reports);
        state.datagrams = Vec::new();
        state.link = state.link.wrapping_add(1);
        state.backlogged = false;
        let link = state.link;
        self.collect(now, reports);
        self.wake_driver = true;
        Some(link)
    }

    /// Tells the session that the transport of this link is gone, unless a newer link has the session already.
    pub(crate) fn lose_link(&mut self, link: u32, now: Instant, reports: &mut Vec<What>) {
        if self.get().link == link {
            self.get().session.handle_disconnected(now);
            self.collect(now, reports);
        }
    }

    /// Feeds received bytes to the session and its messages to the inbox; returns how many bytes it is done with.
    pub(crate) fn feed(&mut self, now: Instant, bytes: &[u8], reports: &mut Vec<What>) -> usize {
        let inbox_max = self.inbox_max;
        let mut at = 0;
        loop {
            let state = self.get();
            if state.must_backlog() && state.inbox.len() >= inbox_max && at < bytes.len() {
                return state.leave_unread(now, at);
            }
            let rest = bytes.get(at..).unwrap_or_default();
            let input = state.session.handle_input(now, rest);
            let consumed = input.consumed;
            at += consumed;
            if let Some(Message { text, receipt }) = input.message {
                if state.inbox.len() < inbox_max || state.is_windowed(receipt) {
                    state.inbox.push_back(Received { text: text.to_owned(), receipt });
                } else {
                    state.decline(receipt);
                }
            } else if consumed == 0 && state.must_backlog() && rest.contains(&b'\n') {
                return state.leave_unread(now, at);
            }
            self.collect(now, reports);
            if consumed == 0 || at == bytes.len() || !self.get().session.has_link() {
                return at;
            }
        }
    }

    /// Reads the session's events into reports.
    pub(crate) fn collect(&mut self, now: Instant, reports: &mut Vec<What>) {
        let inbox_max = self.inbox_max;
        let state = self.get();
        while let Some(event) = state.session.poll_event() {
            match event {
                Event::Up { .. } => {
                    state.connects += 1;
                    state.up_at = Some(now);
                    state.drop_orphans(inbox_max);
                    // HL-0141
                    if !std::mem::replace(&mut state.reported_up, true) {
                        let after = Duration::from_millis(now.since(state.outage));
                        reports.push(if state.connects == 1 { What::Connected } else { What::Resumed { after } });
                    }
                }
                Event::Down(reason) => state.go_down(now, reason, reports),
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
    ///
    /// Best effort goes first: a classic message of it got its id before those that the session writes now. `out` must have room for
    /// [`DATAGRAMS_MAX`] and the longest line.
    pub(crate) fn fill(&mut self, out: &mut [u8]) -> usize {
        let state = self.get();
        // HL-0091
        let mut datagrams = std::mem::take(&mut state.datagrams);
        if !state.session.has_link() {
            datagrams.clear();
        }
        // HL-0029
        match out.split_at_mut_checked(datagrams.len()) {
            Some((first, rest)) => {
                first.copy_from_slice(&datagrams);
                first.len() + state.session.poll_transmit(rest)
            }
            None => {
                debug_assert!(false, "the caller's buffer is too small");
                state.session.poll_transmit(out)
            }
        }
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

    /// Ends the line for good; its link says its last line only if the transport takes it at once.
    pub(crate) fn cut(&mut self) {
        self.close(ByeCode::Closing, 0);
        self.get().cut = true;
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

    /// Has the driver keep what it received beyond `at` until the application has taken or accepted a message.
    fn leave_unread(&mut self, now: Instant, at: usize) -> usize {
        self.backlogged = true;
        self.session.handle_backlog(now);
        at
    }

    /// Leaves a message for which there is no room: best effort is dropped, a classic sender repeats it.
    fn decline(&mut self, receipt: Option<Receipt>) {
        if let (Session::Classic(session), Some(receipt)) = (&mut self.session, receipt) {
            // HL-0044
            session.decline(receipt);
        }
    }

    /// Drops messages of streams that the peer has given up (another epoch, a later base), of which nobody keeps count any more, beyond
    /// what the inbox has room for. None of them was acknowledged.
    fn drop_orphans(&mut self, inbox_max: usize) {
        let Session::Native(session) = &self.session else { return };
        let stream = session.snapshot();
        let counted = |receipt: Receipt| receipt.epoch == stream.peer_epoch && receipt.seq > stream.accepted;
        let mut orphans = 0;
        // HL-0144
        self.inbox.retain(|received| {
            received.receipt.is_some_and(counted) || {
                orphans += 1;
                orphans <= inbox_max
            }
        });
    }

    /// The session has lost its link.
    pub(crate) fn go_down(&mut self, now: Instant, reason: DownReason, reports: &mut Vec<What>) {
        self.down = (now, reason);
        match reason {
            DownReason::Takeover => reports.push(What::Takeover),
            DownReason::Fault(fault) => reports.push(What::Fault(fault)),
            DownReason::Refused { code, .. } => reports.push(What::Refused(code)),
            DownReason::NotHoldline => reports.push(What::NotHoldline),
            _ => {}
        }
        // HL-0141
        if std::mem::replace(&mut self.reported_up, false) {
            self.outage = now;
            reports.push(What::Outage(reason));
        }
    }

    /// Remembers that the last `count` messages which left the outbox were dropped, for as long as a writer waits for one of them.
    fn drop_tickets(&mut self, count: u64) {
        let to = self.resolved();
        self.dropped.push((to + 1 - count, to));
        let awaited = self.waiters.iter().filter_map(|waiter| match waiter.need {
            Need::Delivered(ticket) => Some(ticket),
            _ => None,
        });
        let oldest = awaited.min().unwrap_or(u64::MAX);
        self.dropped.retain(|&(from, to)| from <= to && to >= oldest);
    }
}

impl<R: Role> Drop for Locked<'_, R> {
    fn drop(&mut self) {
        let Some(mut guard) = self.state.take() else { return };
        let state = &mut *guard;
        let driver = if self.wake_driver { state.driver.take() } else { None };
        let mut ready = Vec::new();
        for index in 0..state.waiters.len() {
            if state.meets(state.waiters[index].need) {
                ready.extend(state.waiters[index].waker.take());
            }
        }
        drop(guard);
        driver.into_iter().chain(ready).for_each(Waker::wake);
    }
}
