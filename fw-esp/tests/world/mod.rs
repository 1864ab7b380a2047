//! A board in virtual time: an executor that is polled by hand, a clock that jumps to the next deadline, a wire that splits and stalls
//! as it is told, and a server that is a session of the protocol crate.
#![allow(dead_code, unreachable_pub, missing_debug_implementations, reason = "each test uses a part of it")]

use embedded_io_async::{ErrorKind, ErrorType, Read, Write};
use holdline_esp::{Clock, ConnectFailure, Connector, Hooks, Instant, JoinFailed, Network, Stream};
use holdline_proto::{DownReason, Event, Greeting, Incarnation, Server, ValidConfig, VecOutbox, native};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::ops::ControlFlow;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// How many polls are too many for one instant: somebody spins.
const POLLS_MAX: u32 = 200_000;

// ---- time ----

#[derive(Clone, Default)]
pub struct Time {
    now: Rc<Cell<u64>>,
    timers: Rc<RefCell<Vec<(u64, Waker)>>>,
}

impl Time {
    pub fn ms(&self) -> u64 {
        self.now.get()
    }

    fn next(&self) -> Option<u64> {
        self.timers.borrow().iter().map(|timer| timer.0).min()
    }

    fn advance(&self, to: u64) {
        self.now.set(self.now.get().max(to));
        let now = self.now.get();
        self.timers.borrow_mut().retain(|(at, waker)| {
            if *at <= now {
                waker.wake_by_ref();
            }
            *at > now
        });
    }

    pub async fn sleep(&self, ms: u64) {
        let at = Instant::from_millis(self.ms() + ms);
        self.wait_until(at).await;
    }
}

impl Clock for Time {
    fn now(&self) -> Instant {
        Instant::from_millis(self.ms())
    }

    async fn wait_until(&self, at: Instant) {
        let at = at.as_millis();
        poll_fn(|cx| {
            if at <= self.ms() {
                return Poll::Ready(());
            }
            self.timers.borrow_mut().push((at, cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}

// ---- the wire ----

/// How bytes pass.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// All that there is at once.
    Whole,
    /// One at a time, and each only when it is asked for a second time.
    Bytes,
}

#[derive(Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    ended: bool,
    reader: Option<Waker>,
}

/// What the tests do to the wire, and see of it.
pub struct Air {
    pub pace: Cell<Pace>,
    /// Nothing passes, and nobody is told.
    pub black_hole: Cell<bool>,
    /// What the next attempts to connect come to, before they succeed.
    pub failures: RefCell<VecDeque<ConnectFailure>>,
    /// Attempts to connect.
    pub attempts: Cell<u32>,
    /// The streams end when so many more bytes have passed, both directions together.
    pub cut_after: Cell<Option<u64>>,
    /// Reads and writes that were dropped before they were ready.
    pub dropped: Cell<u32>,
    /// Bytes passed.
    pub passed: Cell<u64>,
    /// What the server has not accepted yet.
    incoming: RefCell<VecDeque<Rc<Connection>>>,
    /// Whether a network can be joined, and is.
    pub network: Cell<bool>,
    pub joined: Cell<bool>,
    pub joins: Cell<u32>,
}

struct Connection {
    up: RefCell<Pipe>,
    down: RefCell<Pipe>,
}

impl Connection {
    fn end(&self) {
        for pipe in [&self.up, &self.down] {
            let mut pipe = pipe.borrow_mut();
            pipe.ended = true;
            if let Some(waker) = pipe.reader.take() {
                waker.wake();
            }
        }
    }
}

#[derive(Clone)]
pub struct Radio(pub Rc<Air>);

impl Radio {
    pub fn new() -> Self {
        Self(Rc::new(Air {
            pace: Cell::new(Pace::Whole),
            black_hole: Cell::new(false),
            failures: RefCell::default(),
            attempts: Cell::new(0),
            cut_after: Cell::new(None),
            dropped: Cell::new(0),
            passed: Cell::new(0),
            incoming: RefCell::default(),
            network: Cell::new(true),
            joined: Cell::new(false),
            joins: Cell::new(0),
        }))
    }
}

impl Air {
    /// Counts a byte that passes; `false` if the stream has ended by it.
    fn pass(&self) -> bool {
        self.passed.set(self.passed.get() + 1);
        match self.cut_after.get() {
            Some(0) => {
                self.cut_after.set(None);
                false
            }
            left => {
                self.cut_after.set(left.map(|left| left - 1));
                true
            }
        }
    }

    /// Whether this call has to be made again, as the pace wants it.
    async fn stall(&self) {
        if self.pace.get() == Pace::Bytes {
            let mut stalled = false;
            poll_fn(|cx| {
                if std::mem::replace(&mut stalled, true) {
                    return Poll::Ready(());
                }
                cx.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
        }
    }
}

impl Connector for Radio {
    type Stream<'s> = Wire;

    async fn connect(&mut self) -> Result<Wire, ConnectFailure> {
        self.0.attempts.set(self.0.attempts.get() + 1);
        let failure = self.0.failures.borrow_mut().pop_front();
        match failure {
            Some(ConnectFailure::TimedOut) => std::future::pending().await,
            Some(failure) => return Err(failure),
            None if self.0.black_hole.get() => std::future::pending().await,
            None => {}
        }
        self.0.stall().await;
        let connection = Rc::new(Connection { up: RefCell::default(), down: RefCell::default() });
        self.0.incoming.borrow_mut().push_back(Rc::clone(&connection));
        Ok(Wire { air: Rc::clone(&self.0), connection })
    }
}

impl Network for Radio {
    async fn join(&mut self) -> Result<(), JoinFailed> {
        self.0.joins.set(self.0.joins.get() + 1);
        self.0.stall().await;
        self.0.joined.set(self.0.network.get());
        if self.0.network.get() { Ok(()) } else { Err(JoinFailed) }
    }

    async fn leave(&mut self) {
        self.0.joined.set(false);
    }

    fn is_up(&mut self) -> bool {
        self.0.joined.get() && self.0.network.get()
    }
}

pub struct Wire {
    air: Rc<Air>,
    connection: Rc<Connection>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        if !self.air.black_hole.get() {
            self.connection.end();
        }
    }
}

pub struct Reader<'h>(&'h Wire);
pub struct Writer<'h>(&'h Wire);

#[derive(Debug)]
pub struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the wire is broken")
    }
}

impl std::error::Error for Broken {}

impl embedded_io_async::Error for Broken {
    fn kind(&self) -> ErrorKind {
        ErrorKind::ConnectionReset
    }
}

impl Stream for Wire {
    type Reader<'h> = Reader<'h>;
    type Writer<'h> = Writer<'h>;

    fn split(&mut self) -> (Reader<'_>, Writer<'_>) {
        (Reader(self), Writer(self))
    }
}

impl ErrorType for Reader<'_> {
    type Error = Broken;
}

impl ErrorType for Writer<'_> {
    type Error = Broken;
}

/// Counts an operation that is not ready when it is dropped.
struct Watch<'w> {
    air: &'w Air,
    done: bool,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.air.dropped.set(self.air.dropped.get() + 1);
        }
    }
}

impl Read for Reader<'_> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Broken> {
        let Wire { air, connection } = self.0;
        let mut watch = Watch { air, done: false };
        air.stall().await;
        let most = if air.pace.get() == Pace::Bytes { 1 } else { buffer.len() };
        let count = poll_fn(|cx| {
            let mut pipe = connection.down.borrow_mut();
            let mut count = 0;
            while count < most
                && let Some(byte) = pipe.bytes.pop_front()
            {
                buffer[count] = byte;
                count += 1;
            }
            if count == 0 && !pipe.ended {
                pipe.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(count)
        })
        .await;
        watch.done = true;
        Ok(count)
    }
}

impl Write for Writer<'_> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Broken> {
        let Wire { air, connection } = self.0;
        let mut watch = Watch { air, done: false };
        air.stall().await;
        if air.black_hole.get() {
            // As a TCP stack: it takes what fits its buffer.
            watch.done = true;
            return Ok(bytes.len());
        }
        watch.done = true;
        if connection.up.borrow().ended {
            return Err(Broken);
        }
        let most = if air.pace.get() == Pace::Bytes { 1 } else { bytes.len() };
        for (count, &byte) in bytes.iter().take(most).enumerate() {
            if !air.pass() {
                connection.end();
                return Ok(count.max(1));
            }
            connection.up.borrow_mut().bytes.push_back(byte);
        }
        Ok(most)
    }

    async fn flush(&mut self) -> Result<(), Broken> {
        Ok(())
    }
}

// ---- the server ----

/// The other end: it accepts what arrives at once, and numbers what it sends.
pub struct Peer {
    pub session: native::Session<Server, VecOutbox>,
    air: Rc<Air>,
    link: Option<Rc<Connection>>,
    tail: Vec<u8>,
    greeted: bool,
    pub received: Vec<String>,
    pub events: Vec<Event>,
    random: u64,
}

impl Peer {
    pub fn new(radio: &Radio, config: ValidConfig) -> Self {
        Self {
            session: native::Session::new(Server, config, Incarnation { boot: 7, epoch: 8 }, VecOutbox::new(1_000, 1 << 20)),
            air: Rc::clone(&radio.0),
            link: None,
            tail: Vec::new(),
            greeted: false,
            received: Vec::new(),
            events: Vec::new(),
            random: 0x5eed,
        }
    }

    /// Forgets all, as a server without a store does when it is started again.
    pub fn restart(&mut self, config: ValidConfig) {
        if let Some(link) = self.link.take() {
            link.end();
        }
        self.random += 1;
        let incarnation = Incarnation { boot: self.random, epoch: self.random };
        self.session = native::Session::new(Server, config, incarnation, VecOutbox::new(1_000, 1 << 20));
    }

    /// Ends the link without a word.
    pub fn hang_up(&mut self) {
        if let Some(link) = &self.link {
            link.end();
        }
    }

    fn deadline(&self) -> Option<u64> {
        self.session.poll_timeout().map(|deadline| deadline.at.as_millis())
    }

    /// Does what is to be done now; whether that was anything.
    fn step(&mut self, now: Instant) -> bool {
        let mut moved = false;
        if let Some(link) = self.air.incoming.borrow_mut().pop_front() {
            if let Some(old) = self.link.replace(link) {
                old.end();
            }
            (self.tail, self.greeted, moved) = (Vec::new(), false, true);
        }
        let Some(link) = self.link.clone() else { return moved };
        if self.air.black_hole.get() {
            let due = self.deadline().is_some_and(|at| at <= now.as_millis());
            self.session.handle_timeout(now);
            self.collect();
            let mut lost = [0; 2048];
            self.session.poll_transmit(&mut lost);
            return moved | due;
        }
        let before = self.tail.len();
        self.tail.extend(link.up.borrow_mut().bytes.drain(..));
        moved |= self.tail.len() > before;
        if !self.greeted
            && let Ok(Some((Greeting::Native(hello), taken))) = Greeting::read(&self.tail, false)
        {
            self.random += 1;
            self.session.handle_hello(now, self.random, &hello);
            self.tail.drain(..taken);
            self.greeted = true;
        }
        if self.greeted {
            self.feed(now);
            if link.up.borrow().ended {
                self.session.handle_disconnected(now);
            }
            self.session.handle_timeout(now);
            self.collect();
            moved |= self.write(now, &link);
        }
        if link.up.borrow().ended || (self.greeted && !self.session.has_link()) {
            self.session.handle_disconnected(now);
            self.collect();
            link.end();
            self.link = None;
        }
        moved
    }

    fn feed(&mut self, now: Instant) {
        let bytes = std::mem::take(&mut self.tail);
        let mut at = 0;
        while at < bytes.len() {
            let input = self.session.handle_input(now, &bytes[at..]);
            let (consumed, receipt) = (input.consumed, input.message.and_then(|message| message.receipt));
            if let Some(message) = input.message {
                self.received.push(message.text.into());
            }
            if let Some(receipt) = receipt {
                self.session.accept(receipt);
            }
            self.collect();
            at += consumed;
            if consumed == 0 {
                break;
            }
        }
        self.tail = bytes[at..].to_vec();
    }

    fn collect(&mut self) {
        while let Some(event) = self.session.poll_event() {
            self.events.push(event);
        }
    }

    fn write(&mut self, now: Instant, link: &Connection) -> bool {
        let mut buffer = [0; 2048];
        let written = self.session.poll_transmit(&mut buffer);
        self.session.handle_transmitted(now, written);
        for &byte in &buffer[..written] {
            if link.down.borrow().ended {
                break;
            }
            if !self.air.pass() {
                link.end();
                break;
            }
            let mut pipe = link.down.borrow_mut();
            pipe.bytes.push_back(byte);
            if let Some(waker) = pipe.reader.take() {
                waker.wake();
            }
        }
        self.collect();
        written > 0
    }
}

/// Anything at the other end of the wire.
pub trait FarEnd {
    fn step(&mut self, now: Instant) -> bool;
    fn deadline(&self) -> Option<u64>;
}

impl FarEnd for Peer {
    fn step(&mut self, now: Instant) -> bool {
        Peer::step(self, now)
    }

    fn deadline(&self) -> Option<u64> {
        Peer::deadline(self)
    }
}

/// The classic kind, which is all there is to say about it.
pub struct ClassicPeer {
    pub session: holdline_proto::classic::Session<Server, VecOutbox>,
    air: Rc<Air>,
    link: Option<Rc<Connection>>,
    tail: Vec<u8>,
    greeted: bool,
    pub received: Vec<String>,
}

impl ClassicPeer {
    pub fn new(radio: &Radio, flavour: holdline_proto::classic::Flavour, config: ValidConfig) -> Self {
        Self {
            session: holdline_proto::classic::Session::new(Server, flavour, config, VecOutbox::new(1_000, 1 << 20)),
            air: Rc::clone(&radio.0),
            link: None,
            tail: Vec::new(),
            greeted: false,
            received: Vec::new(),
        }
    }

    /// Ends the link without a word.
    pub fn hang_up(&mut self) {
        if let Some(link) = &self.link {
            link.end();
        }
    }
}

impl FarEnd for ClassicPeer {
    fn step(&mut self, now: Instant) -> bool {
        let mut moved = false;
        if let Some(link) = self.air.incoming.borrow_mut().pop_front() {
            if let Some(old) = self.link.replace(link) {
                old.end();
            }
            (self.tail, self.greeted, moved) = (Vec::new(), false, true);
        }
        let Some(link) = self.link.clone() else { return moved };
        let before = self.tail.len();
        self.tail.extend(link.up.borrow_mut().bytes.drain(..));
        moved |= self.tail.len() > before;
        if !self.greeted
            && let Ok(Some((Greeting::Classic(_), taken))) = Greeting::read(&self.tail, false)
        {
            self.session.handle_id(now);
            self.tail.drain(..taken);
            self.greeted = true;
        }
        if self.greeted {
            let mut at = 0;
            while at < self.tail.len() {
                let input = self.session.handle_input(now, &self.tail[at..]);
                at += input.consumed;
                if let Some(message) = input.message {
                    self.received.push(message.text.into());
                    if let Some(receipt) = message.receipt {
                        self.session.accept(receipt);
                    }
                }
                while self.session.poll_event().is_some() {}
                if input.consumed == 0 {
                    break;
                }
            }
            self.tail.drain(..at);
            if link.up.borrow().ended {
                self.session.handle_disconnected(now);
            }
            self.session.handle_timeout(now);
            let mut buffer = [0; 2048];
            let written = self.session.poll_transmit(&mut buffer);
            self.session.handle_transmitted(now, written);
            while self.session.poll_event().is_some() {}
            if written > 0 && !link.down.borrow().ended {
                moved = true;
                let mut pipe = link.down.borrow_mut();
                pipe.bytes.extend(&buffer[..written]);
                if let Some(waker) = pipe.reader.take() {
                    waker.wake();
                }
            }
            if !self.session.has_link() {
                link.end();
            }
        }
        if link.up.borrow().ended {
            self.link = None;
        }
        moved
    }

    fn deadline(&self) -> Option<u64> {
        self.session.poll_timeout().map(|deadline| deadline.at.as_millis())
    }
}

// ---- hooks ----

#[derive(Clone, Default)]
pub struct Diary(pub Rc<DiaryPages>);

#[derive(Default)]
pub struct DiaryPages {
    pub connections: RefCell<Vec<bool>>,
    pub beats: Cell<u32>,
    pub bad_wifi: Cell<u32>,
    pub bad_server: Cell<u32>,
    pub gives_up: Cell<bool>,
    pub fed_at: Cell<u64>,
    pub longest_hunger: Cell<u64>,
    pub time: RefCell<Time>,
}

impl Hooks for Diary {
    const FEED_MS: u32 = 700;

    fn connection(&mut self, up: bool) {
        self.0.connections.borrow_mut().push(up);
    }

    fn heartbeat(&mut self) {
        self.0.beats.set(self.0.beats.get() + 1);
    }

    fn feed(&mut self) {
        let now = self.0.time.borrow().ms();
        self.0.longest_hunger.set(self.0.longest_hunger.get().max(now - self.0.fed_at.replace(now)));
    }

    fn bad_wifi(&mut self) -> ControlFlow<()> {
        self.0.bad_wifi.set(self.0.bad_wifi.get() + 1);
        if self.0.gives_up.get() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn bad_server(&mut self) -> ControlFlow<()> {
        self.0.bad_server.set(self.0.bad_server.get() + 1);
        if self.0.gives_up.get() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

// ---- the executor ----

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

type Task<'t> = Pin<Box<dyn Future<Output = ()> + 't>>;

/// Tasks, in the order in which they are polled.
pub struct Tasks<'t> {
    tasks: Vec<(Option<Task<'t>>, Arc<Flag>)>,
    time: Time,
}

impl<'t> Tasks<'t> {
    pub fn new(time: &Time) -> Self {
        Self { tasks: Vec::new(), time: time.clone() }
    }

    pub fn spawn(&mut self, task: impl Future<Output = ()> + 't) {
        self.tasks.push((Some(Box::pin(task)), Arc::new(Flag(AtomicBool::new(true)))));
    }

    fn poll_woken(&mut self) -> bool {
        let mut polled = false;
        for (task, flag) in &mut self.tasks {
            if let Some(future) = task
                && flag.0.swap(false, Ordering::Relaxed)
            {
                polled = true;
                if future.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(flag)))).is_ready() {
                    *task = None;
                }
            }
        }
        polled
    }

    /// Runs until `done`, or fails when virtual time is up.
    #[track_caller]
    pub fn run<P: FarEnd>(&mut self, peer: &RefCell<P>, limit_ms: u64, mut done: impl FnMut(&mut P) -> bool) {
        let end = self.time.ms() + limit_ms;
        let mut polls = 0;
        loop {
            let moved = self.poll_woken() | peer.borrow_mut().step(self.time.now());
            if done(&mut peer.borrow_mut()) {
                return;
            }
            if moved {
                polls += 1;
                assert!(polls < POLLS_MAX, "somebody spins at {} ms", self.time.ms());
                continue;
            }
            let next = [self.time.next(), peer.borrow().deadline()].into_iter().flatten().min();
            let next = next.expect("nothing will ever happen again");
            assert!(next <= end, "not done in {limit_ms} ms");
            if next > self.time.ms() {
                polls = 0;
            }
            polls += 1;
            assert!(polls < POLLS_MAX, "a deadline that never passes, at {} ms", self.time.ms());
            self.time.advance(next);
        }
    }
}

/// Drops the future when it has been polled so often.
pub async fn for_polls<F: Future>(polls: u32, future: F) -> Option<F::Output> {
    let mut future = Box::pin(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        let polled = future.as_mut().poll(cx).map(Some);
        if polled.is_pending() && left == 0 {
            cx.waker().wake_by_ref();
        }
        polled
    })
    .await
}

pub fn random() -> impl FnMut() -> u64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

pub fn reason(peer: &Peer) -> Option<DownReason> {
    peer.events.iter().rev().find_map(|event| match event {
        Event::Down(reason) => Some(*reason),
        _ => None,
    })
}

pub fn numbered(count: u32) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}
