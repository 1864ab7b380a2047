//! What the application's handles and the driver share: one session, its inbox, and who waits for what.
//!
//! All state is under one lock that is held for computation only, never across an await or a system call. Who has to wait
//! takes a seat under the same lock under which it saw that it has to wait; so no wake-up is lost. A seat is kept until the
//! call is over or dropped; so what concerns a waiting call is never forgotten, and nothing of it stays behind.

mod driving;
mod waiting;

use crate::error::{Closed, WriteError};
use crate::registry::Arrival;
use crate::sync::{Mutex, MutexGuard, lock};
use holdline_proto::{DownReason, Instant, Outbox, Receipt, Role, SendError, TakeoverGuard, VecOutbox, classic};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use waiting::Waiters;
pub(crate) use waiting::{Need, Seat};

/// A message that the peer's application sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its text.
    pub text: String,
    /// What to hand to `accept`; `None` for best effort.
    pub receipt: Option<Receipt>,
}

/// Bytes of best-effort messages that may wait for the transport.
const DATAGRAMS_MAX: usize = 64 * 1024;
/// Room for what a driver writes in one turn besides best effort; a longer line has room as well.
const TURN_OUTPUT: usize = 16 * 1024;
/// What frames a text is shorter than this in every profile.
const FRAMING: usize = 64;

/// A session of whatever profile. The classic ones are apart, because they are larger and the others are many.
pub(crate) type Session<R> = holdline_proto::Session<R, VecOutbox, Box<classic::Session<R, VecOutbox>>>;

#[derive(Debug)]
pub(crate) struct Channel<R> {
    pub(crate) id: Arc<str>,
    state: Mutex<State<R>>,
}

#[derive(Debug)]
pub(crate) struct State<R> {
    pub(crate) session: Session<R>,
    /// Server only: what it remembers of takeovers, once there was one.
    guard: Option<Box<TakeoverGuard>>,
    /// How many links this session has had: the driver of the latest owns the session.
    pub(crate) link: u32,
    /// Server only: which connection the present or last link came on.
    pub(crate) arrival: Arrival,
    connects: u32,
    inbox: VecDeque<Received>,
    /// Messages that may wait for the application beyond the session's window: best effort, and classic.
    inbox_max: u32,
    /// Messages ever queued. The ticket of a message is this count just after it was queued.
    queued: u64,
    rare: Option<Box<Rare>>,
    driver: Option<Waker>,
    waiters: Waiters,
    /// Up, as it was last reported.
    reported_up: bool,
    /// Since when the session has been without a link that is up.
    outage: Instant,
    /// Whether the driver has left input unread until the inbox has room.
    backlogged: bool,
    /// The longest line that was ever queued, at least.
    longest_line: u32,
    closed: bool,
    /// Whether no driver waits any more for its transport to take its last line.
    cut: bool,
}

/// What most lines of a server never have: it takes memory from the first time on that there is some.
#[derive(Debug, Default)]
struct Rare {
    /// Best-effort lines for the present link.
    datagrams: Vec<u8>,
    /// Tickets of messages that were dropped by policy, for writers that still wait.
    dropped: Vec<(u64, u64)>,
    /// Client only.
    last_link: LastLink,
}

/// How the present or last link of a client went.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LastLink {
    /// When it came up, if it did.
    pub(crate) up_at: Option<Instant>,
    /// When and why it ended, if it did.
    pub(crate) down: Option<(Instant, DownReason)>,
}

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
    wake_driver: bool,
}

impl<R: Role> Channel<R> {
    pub(crate) fn new(id: Arc<str>, session: Session<R>, inbox_max: usize) -> Self {
        let state = State {
            session,
            guard: None,
            link: 0,
            arrival: Arrival::default(),
            connects: 0,
            inbox: VecDeque::new(),
            inbox_max: u32::try_from(inbox_max).unwrap_or(u32::MAX),
            queued: 0,
            rare: None,
            driver: None,
            waiters: Waiters::default(),
            reported_up: false,
            outage: Instant::default(),
            backlogged: false,
            longest_line: 0,
            closed: false,
            cut: false,
        };
        Self { id, state: Mutex::new(state) }
    }

    pub(crate) fn lock(&self) -> Locked<'_, R> {
        Locked { state: Some(lock(&self.state)), wake_driver: false }
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
                locked.get().waiters.leave(seat);
                Poll::Ready(result)
            }
            Attempt::Wait(need) => {
                locked.get().waiters.wait(seat, need, cx);
                Poll::Pending
            }
        }
    }

    pub(crate) fn leave(&self, seat: &mut Seat) {
        if seat.is_taken() {
            self.lock().get().waiters.leave(seat);
        }
    }
}

impl<R: Role> State<R> {
    /// Answers the peer's keepalive with this side's, if more than half of the time until that has passed: one wake-up serves both.
    pub(crate) fn answer_keepalive(&mut self, now: Instant) {
        if let Session::Native(session) = &mut self.session {
            session.hasten_keepalive(now, session.timeout_ms() / 8);
        }
    }

    /// Messages that have left the outbox: delivered, or dropped by policy.
    fn resolved(&self) -> u64 {
        self.queued - self.session.outbox().len() as u64
    }

    pub(crate) fn backlogged(&self) -> bool {
        self.backlogged
    }

    /// How long a buffer has to be for [`Locked::fill`]: best effort goes into it whole, and the longest line, or many short ones.
    pub(crate) fn room(&self) -> usize {
        let datagrams = self.rare.as_ref().map_or(0, |rare| rare.datagrams.len());
        datagrams + TURN_OUTPUT.max(self.longest_line as usize)
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
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

    /// Client only.
    pub(crate) fn last_link(&self) -> LastLink {
        self.rare.as_ref().map(|rare| rare.last_link).unwrap_or_default()
    }

    fn tell_last_link(&mut self, tell: impl FnOnce(&mut LastLink)) {
        if R::IS_CLIENT {
            tell(&mut self.rare().last_link);
        }
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
        let mut dropped = self.rare.iter().flat_map(|rare| &rare.dropped);
        if dropped.any(|&(from, to)| (from..=to).contains(&ticket)) {
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
        // No text is longer than its outbox, whose bytes are counted in 32 bits.
        state.longest_line = state.longest_line.max(u32::try_from(text.len() + FRAMING).unwrap_or(u32::MAX));
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
        let datagrams = &mut state.rare.get_or_insert_default().datagrams;
        let start = datagrams.len();
        let room = text.len() + FRAMING;
        if start + room > DATAGRAMS_MAX {
            return Err(SendError::Full);
        }
        datagrams.resize(start + room, 0);
        let written = state.session.send_best_effort(text, &mut datagrams[start..]);
        datagrams.truncate(start + *written.as_ref().unwrap_or(&0));
        written?;
        self.wake_driver = true;
        Ok(())
    }
}

impl<R: Role> Drop for Locked<'_, R> {
    fn drop(&mut self) {
        let Some(mut guard) = self.state.take() else { return };
        let state = &mut *guard;
        let driver = if self.wake_driver { state.driver.take() } else { None };
        let mut waiters = std::mem::take(&mut state.waiters);
        let ready = waiters.ready(|need| state.meets(need));
        state.waiters = waiters;
        drop(guard);
        driver.into_iter().chain(ready).for_each(Waker::wake);
    }
}

#[cfg(all(test, not(holdline_loom)))]
mod tests {
    use super::*;
    use crate::connection::Connection;
    use holdline_proto::{Client, ClientId, Incarnation, ValidConfig, native};
    use std::pin::pin;

    fn channel() -> Arc<Channel<Client>> {
        let role = Client { id: ClientId::new("dev").expect("a valid id") };
        let (incarnation, outbox) = (Incarnation { boot: 1, epoch: 1 }, VecOutbox::new(2, 100));
        let session = Session::Native(native::Session::new(role, ValidConfig::default(), incarnation, outbox));
        Arc::new(Channel::new("dev".into(), session, 4))
    }

    fn is_ready(call: impl Future) -> bool {
        pin!(call).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn calls_that_are_dropped_leave_nothing_behind() {
        let channel = channel();
        let line = Connection::new(Arc::clone(&channel), crate::clock::Clock::new());
        assert!(is_ready(line.send("1")) && is_ready(line.send("2")));
        for _ in 0..100 {
            assert!(!is_ready(line.readline()) && !is_ready(line.recv()) && !is_ready(line.wait_up()));
            assert!(!is_ready(line.send("3")) && !is_ready(line.write("3")) && !is_ready(line.flush()));
        }
        assert!(channel.lock().get().waiters.is_empty());
        assert_eq!(line.status().unacked, 2);
    }

    #[test]
    fn a_writer_that_was_woken_for_a_drop_is_told_of_it_however_late_it_asks() {
        let channel = channel();
        let cx = Context::from_waker(Waker::noop());
        let mut seat = Seat::default();
        channel.lock().send(Instant::default(), None, "x").expect("there is room");
        assert!(channel.poll(&cx, &mut seat, |locked| locked.get().delivered(1)).is_pending());
        let mut locked = channel.lock();
        // As if the policy had dropped it: it is out of the outbox, and then others are.
        locked.get().queued += 1;
        locked.get().drop_tickets(1);
        for _ in 0..10 {
            locked.get().queued += 1;
            locked.get().drop_tickets(1);
        }
        drop(locked);
        let told = channel.poll(&cx, &mut seat, |locked| locked.get().delivered(1));
        assert_eq!(told, Poll::Ready(Err(WriteError::Dropped)));
        channel.lock().get().drop_tickets(1);
        assert!(channel.lock().get().rare().dropped.is_empty(), "nobody waits any more");
    }
}
