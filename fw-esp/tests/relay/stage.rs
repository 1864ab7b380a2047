//! A relay between a host that is played by hand and a server that is played by hand, in virtual time.
#![allow(unreachable_pub, missing_debug_implementations, reason = "it is used by the file beside it")]

use crate::world::{FarEnd, Tasks, Time};
use embedded_io_async::{ErrorKind, ErrorType, Read, Write};
use holdline_esp::{Configure, ConnectFailure, Connector, Instant, JoinFailed, Network, Relay, RelayBoard, RelayHooks};
use holdline_esp::{Settings, Stream, WireEnded};
use holdline_proto::crc32;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

// ---- pipes ----

/// Bytes in one direction.
pub struct Pipe {
    bytes: RefCell<VecDeque<u8>>,
    /// How many may wait.
    pub room: Cell<usize>,
    /// How many are read or written at a time.
    pub chunk: Cell<usize>,
    /// Its end; what is in it can be read still.
    pub ended: Cell<bool>,
    /// Whether there is always something to read.
    pub endless: Cell<bool>,
    /// What the next read fails with.
    pub noise: Cell<Option<ErrorKind>>,
    /// Reads and writes that were dropped before they were ready.
    pub dropped: Cell<u32>,
    reader: RefCell<Option<Waker>>,
    writer: RefCell<Option<Waker>>,
}

impl Pipe {
    fn new() -> Rc<Self> {
        Rc::new(Self {
            bytes: RefCell::default(),
            room: Cell::new(usize::MAX),
            chunk: Cell::new(usize::MAX),
            ended: Cell::new(false),
            endless: Cell::new(false),
            noise: Cell::new(None),
            dropped: Cell::new(0),
            reader: RefCell::default(),
            writer: RefCell::default(),
        })
    }

    pub fn put(&self, bytes: &[u8]) {
        self.bytes.borrow_mut().extend(bytes);
        self.wake();
    }

    /// Takes so many at most.
    pub fn take(&self, most: usize) -> Vec<u8> {
        let mut bytes = self.bytes.borrow_mut();
        let count = most.min(bytes.len());
        let taken = bytes.drain(..count).collect();
        drop(bytes);
        self.wake();
        taken
    }

    pub fn len(&self) -> usize {
        self.bytes.borrow().len()
    }

    pub fn end(&self) {
        self.ended.set(true);
        self.wake();
    }

    /// Something about it was changed.
    pub fn wake(&self) {
        for waker in [&self.reader, &self.writer] {
            if let Some(waker) = waker.borrow_mut().take() {
                waker.wake();
            }
        }
    }
}

/// Counts an operation that is not ready when it is dropped.
struct Watch<'w>(&'w Pipe, bool);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.0.dropped.set(self.0.dropped.get() + u32::from(!self.1));
    }
}

#[derive(Clone)]
pub struct Source(pub Rc<Pipe>);
#[derive(Clone)]
pub struct Sink(pub Rc<Pipe>);

impl ErrorType for Source {
    type Error = ErrorKind;
}

impl ErrorType for Sink {
    type Error = ErrorKind;
}

impl Read for Source {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ErrorKind> {
        let pipe = &self.0;
        let mut watch = Watch(pipe, false);
        let read = poll_fn(|cx| {
            if let Some(noise) = pipe.noise.take() {
                return Poll::Ready(Err(noise));
            }
            let mut bytes = pipe.bytes.borrow_mut();
            if pipe.endless.get() {
                bytes.push_back(b'x');
            }
            let count = buffer.len().min(pipe.chunk.get()).min(bytes.len());
            if count == 0 && !pipe.ended.get() {
                *pipe.reader.borrow_mut() = Some(cx.waker().clone());
                return Poll::Pending;
            }
            buffer.iter_mut().zip(bytes.drain(..count)).for_each(|(place, byte)| *place = byte);
            drop(bytes);
            if let Some(waker) = pipe.writer.borrow_mut().take() {
                waker.wake();
            }
            Poll::Ready(Ok(count))
        })
        .await;
        watch.1 = true;
        read
    }
}

impl Write for Sink {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        let pipe = &self.0;
        let mut watch = Watch(pipe, false);
        let written = poll_fn(|cx| {
            if pipe.ended.get() {
                return Poll::Ready(Err(ErrorKind::BrokenPipe));
            }
            let count = pipe.room.get().saturating_sub(pipe.bytes.borrow().len()).min(pipe.chunk.get()).min(bytes.len());
            if count == 0 {
                *pipe.writer.borrow_mut() = Some(cx.waker().clone());
                return Poll::Pending;
            }
            pipe.bytes.borrow_mut().extend(&bytes[..count]);
            if let Some(waker) = pipe.reader.borrow_mut().take() {
                waker.wake();
            }
            Poll::Ready(Ok(count))
        })
        .await;
        watch.1 = true;
        written
    }

    async fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

// ---- the air and the server ----

/// A connection as the server has it.
pub struct Connection {
    /// From the relay.
    pub up: Rc<Pipe>,
    /// To the relay.
    pub down: Rc<Pipe>,
    /// Whether the relay closed it in order.
    pub closed: Cell<bool>,
    /// Whether closing it in order never ends.
    pub close_hangs: Cell<bool>,
    /// Whether the relay has dropped it.
    pub gone: Cell<bool>,
}

/// The network, the server, and what was asked of them.
#[derive(Default)]
pub struct Lab {
    /// What happened, in order.
    pub log: RefCell<Vec<String>>,
    /// What the next attempts to join come to, before they succeed; `None`: nothing, for ever.
    pub joins: RefCell<VecDeque<Option<bool>>>,
    /// What the next attempts to connect come to, before they succeed; `None`: nothing, for ever.
    pub connects: RefCell<VecDeque<Option<ConnectFailure>>>,
    pub is_up: Cell<bool>,
    /// The relay is dropped, and called again.
    pub is_dropped: Cell<bool>,
    /// How long it takes to join, and to connect, in milliseconds.
    pub delay_ms: Cell<u64>,
    pub leave_hangs: Cell<bool>,
    pub connections: RefCell<Vec<Rc<Connection>>>,
    pub fed: Cell<u64>,
    pub longest_hunger: Cell<u64>,
    pub beats: Cell<u32>,
    pub time: RefCell<Time>,
}

impl Lab {
    fn note(&self, what: impl Into<String>) {
        self.log.borrow_mut().push(what.into());
    }

    async fn delay(&self) {
        let time = self.time.borrow().clone();
        if self.delay_ms.get() > 0 {
            time.sleep(self.delay_ms.get()).await;
        }
    }

    /// What has happened since this was asked last.
    pub fn news(&self) -> Vec<String> {
        std::mem::take(&mut *self.log.borrow_mut())
    }

    /// The connection that was opened last.
    pub fn connection(&self) -> Rc<Connection> {
        Rc::clone(self.connections.borrow().last().expect("one was opened"))
    }
}

/// The relay's radio.
pub struct Radio(Rc<Lab>);
/// The relay's way to the server.
pub struct Dialler(Rc<Lab>);

impl Configure for Radio {
    fn configure(&mut self, settings: &Settings<'_>) {
        self.0.note(format!("network {} {}", settings.ssid, settings.password));
    }
}

impl Configure for Dialler {
    fn configure(&mut self, settings: &Settings<'_>) {
        self.0.note(format!("server {}:{}", settings.server, settings.port));
    }
}

impl Network for Radio {
    async fn join(&mut self) -> Result<(), JoinFailed> {
        self.0.note("join");
        self.0.delay().await;
        let outcome = self.0.joins.borrow_mut().pop_front();
        match outcome.unwrap_or(Some(true)) {
            Some(true) => self.0.is_up.set(true),
            Some(false) => return Err(JoinFailed),
            None => pending().await,
        }
        Ok(())
    }

    async fn leave(&mut self) {
        self.0.note("leave");
        self.0.is_up.set(false);
        if self.0.leave_hangs.get() {
            pending().await
        }
    }

    fn is_up(&mut self) -> bool {
        self.0.is_up.get()
    }
}

impl Connector for Dialler {
    type Stream<'s> = Socket;

    async fn connect(&mut self) -> Result<Socket, ConnectFailure> {
        self.0.note("connect");
        self.0.delay().await;
        let outcome = self.0.connects.borrow_mut().pop_front();
        match outcome {
            Some(Some(failure)) => return Err(failure),
            Some(None) => pending().await,
            None => {}
        }
        let connection = Rc::new(Connection {
            up: Pipe::new(),
            down: Pipe::new(),
            closed: Cell::new(false),
            close_hangs: Cell::new(false),
            gone: Cell::new(false),
        });
        self.0.connections.borrow_mut().push(Rc::clone(&connection));
        Ok(Socket(connection))
    }
}

/// A connection as the relay has it.
pub struct Socket(Rc<Connection>);

impl Drop for Socket {
    fn drop(&mut self) {
        self.0.gone.set(true);
    }
}

impl Stream for Socket {
    type Reader<'h> = Source;
    type Writer<'h> = Sink;

    fn split(&mut self) -> (Source, Sink) {
        (Source(Rc::clone(&self.0.down)), Sink(Rc::clone(&self.0.up)))
    }

    async fn close(&mut self) {
        if self.0.close_hangs.get() {
            pending().await
        }
        self.0.closed.set(true);
    }
}

/// The relay's light, watchdog and memory.
pub struct Signs(Rc<Lab>);

impl RelayHooks for Signs {
    fn feed(&mut self) {
        let now = self.0.time.borrow().ms();
        self.0.longest_hunger.set(self.0.longest_hunger.get().max(now - self.0.fed.replace(now)));
    }

    fn keepalive(&mut self) {
        self.0.beats.set(self.0.beats.get() + 1);
    }

    fn free_memory(&mut self) -> Option<u32> {
        Some(61_440)
    }
}

// ---- the host ----

/// What the relay said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The text of a control line whose check is right.
    Line(String),
    /// Bytes of the session.
    Bytes(Vec<u8>),
}

/// The host's end of the wire.
pub struct Host {
    pub to_relay: Rc<Pipe>,
    pub from_relay: Rc<Pipe>,
    /// Whether it reads.
    pub reads: bool,
    line: Option<Vec<u8>>,
    pub heard: Vec<Heard>,
}

impl FarEnd for Host {
    fn step(&mut self, _: Instant) -> bool {
        let bytes = if self.reads { self.from_relay.take(usize::MAX) } else { Vec::new() };
        self.hears(&bytes);
        !bytes.is_empty()
    }

    fn deadline(&self) -> Option<u64> {
        None
    }
}

impl Host {
    /// What SPEC says of a wire, told once more than in the code under test.
    fn hear(&mut self, byte: u8) {
        match (byte, &mut self.line) {
            (0xff, _) => {}
            (0xfe, line) => *line = Some(vec![0xfe]),
            (b'\n', line @ Some(_)) => {
                let line = String::from_utf8_lossy(&line.take().unwrap_or_default()[1..]).into_owned();
                let (text, check) = line.rsplit_once('*').expect("a control line has its check");
                assert_eq!(check, format!("{:08x}", crc32(crc32(0, &[0xfe]), text.as_bytes())));
                self.heard.push(Heard::Line(text.into()));
            }
            (byte, Some(line)) => line.push(byte),
            (byte, None) => match self.heard.last_mut() {
                Some(Heard::Bytes(bytes)) => bytes.push(byte),
                _ => self.heard.push(Heard::Bytes(vec![byte])),
            },
        }
    }

    pub fn hears(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.hear(byte));
    }

    pub fn says(&self, text: &str) {
        self.to_relay.put(&control(text));
    }

    /// What the relay is, by the last of its lines in `heard`.
    pub fn last(&self, key: &str) -> String {
        let lines = self.heard.iter().rev().filter_map(|heard| match heard {
            Heard::Line(line) => line.strip_prefix("relay\t"),
            Heard::Bytes(_) => None,
        });
        let line = lines.clone().next().unwrap_or_default();
        line.split('\t').find_map(|field| field.strip_prefix(key)?.strip_prefix('=')).unwrap_or_default().into()
    }

    /// The session's bytes in `heard`.
    pub fn bytes(&self) -> Vec<u8> {
        self.heard.iter().flat_map(|heard| if let Heard::Bytes(bytes) = heard { bytes.clone() } else { Vec::new() }).collect()
    }
}

/// A control line.
pub fn control(text: &str) -> Vec<u8> {
    let check = crc32(crc32(0, &[0xfe]), text.as_bytes());
    [&[0xfe], text.as_bytes(), format!("*{check:08x}\n").as_bytes()].concat()
}

pub const CONFIG: &str = "config\tserver=10.0.0.2\tport=8124\tssid=attic\tpassword=secret\treport=0";

// ---- all of it ----

pub struct Stage {
    pub time: Time,
    pub lab: Rc<Lab>,
    pub host: RefCell<Host>,
    pub ended: Rc<Cell<Option<WireEnded>>>,
    tasks: RefCell<Tasks<'static>>,
}

impl Stage {
    /// A relay that has just been started.
    pub fn new() -> Self {
        let time = Time::default();
        let (to_relay, from_relay) = (Pipe::new(), Pipe::new());
        let lab = Rc::new(Lab { time: RefCell::new(time.clone()), ..Lab::default() });
        let mut tasks = Tasks::new(&time);
        let mut board = RelayBoard {
            reader: Source(Rc::clone(&to_relay)),
            writer: Sink(Rc::clone(&from_relay)),
            network: Radio(Rc::clone(&lab)),
            connector: Dialler(Rc::clone(&lab)),
            clock: time.clone(),
            boot: 0xb007,
            hooks: Signs(Rc::clone(&lab)),
        };
        let ended = Rc::new(Cell::new(None));
        let told = Rc::clone(&ended);
        tasks.spawn(async move {
            let mut relay = Relay::<256, 64>::new();
            let lab = Rc::clone(&board.network.0);
            loop {
                let mut running = pin!(relay.run(&mut board));
                let ended = poll_fn(|cx| match lab.is_dropped.take() {
                    true => Poll::Ready(None),
                    false => running.as_mut().poll(cx).map(Some),
                });
                if let Some(ended) = ended.await {
                    return told.set(Some(ended));
                }
            }
        });
        let host = RefCell::new(Host { to_relay, from_relay, reads: true, line: None, heard: Vec::new() });
        Self { time, lab, host, ended, tasks: RefCell::new(tasks) }
    }

    /// A relay that has joined the network: `join=1`.
    pub fn joined() -> Self {
        let stage = Self::new();
        stage.says(CONFIG);
        stage.says("want\tjoin=1\tlink=0");
        stage.until(|host| host.last("wifi") == "up");
        stage.news();
        stage.lab.news();
        stage
    }

    /// A relay with an open connection: `join=1 link=5`.
    pub fn connected() -> Self {
        let stage = Self::joined();
        stage.says("want\tjoin=1\tlink=5");
        stage.until(|host| host.last("tcp") == "open");
        stage.news();
        stage.lab.news();
        stage
    }

    pub fn says(&self, text: &str) {
        self.host.borrow().says(text);
    }

    /// Runs until it is so, for a minute at most.
    #[track_caller]
    pub fn until(&self, done: impl FnMut(&mut Host) -> bool) {
        self.tasks.borrow_mut().run(&self.host, 60_000, done);
    }

    /// Runs for this long.
    #[track_caller]
    pub fn pass(&self, ms: u64) {
        let (time, done) = (self.time.clone(), Rc::new(Cell::new(false)));
        let told = Rc::clone(&done);
        self.tasks.borrow_mut().spawn(async move {
            time.sleep(ms).await;
            // What is due at this very moment has its turn.
            for _ in 0..50 {
                yield_now().await;
            }
            told.set(true);
        });
        self.tasks.borrow_mut().run(&self.host, ms, |_| done.get());
    }

    /// All that was heard since this was asked last.
    pub fn news(&self) -> Vec<Heard> {
        std::mem::take(&mut self.host.borrow_mut().heard)
    }

    /// Bytes that found no room, by the next report.
    pub fn dropped(&self) -> u32 {
        self.says(&CONFIG.replace("report=0", "report=1"));
        self.pass(1_200);
        let heard = self.news();
        let report = heard.iter().find_map(|heard| match heard {
            Heard::Line(line) => line.strip_prefix("report\t")?.rsplit_once("dropped="),
            Heard::Bytes(_) => None,
        });
        report.and_then(|(_, dropped)| dropped.parse().ok()).expect("a report")
    }

    /// What the relay is, by its last line.
    pub fn last(&self, key: &str) -> String {
        self.host.borrow().last(key)
    }
}

async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
