//! A wire that splits and stalls as it is told, and the network that it hangs on.

use super::time::yield_once;
use embedded_io_async::{ErrorKind, ErrorType, Read, Write};
use holdline_esp::{ConnectFailure, Connector, JoinFailed, Network, Stream};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::task::{Poll, Waker};

/// How bytes pass.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// All that there is at once.
    Whole,
    /// One at a time, and each only when it is asked for a second time.
    Bytes,
}

/// One direction of a connection.
#[derive(Default)]
pub(super) struct Pipe {
    pub(super) bytes: VecDeque<u8>,
    pub(super) ended: bool,
    pub(super) reader: Option<Waker>,
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
    /// Bytes passed, and those that a black hole took.
    pub passed: Cell<u64>,
    pub swallowed: RefCell<Vec<u8>>,
    /// What the server has not accepted yet.
    pub(super) incoming: RefCell<VecDeque<Rc<Connection>>>,
    /// Whether a network can be joined, and is.
    pub network: Cell<bool>,
    pub joined: Cell<bool>,
    pub joins: Cell<u32>,
}

pub struct Connection {
    pub(super) up: RefCell<Pipe>,
    pub(super) down: RefCell<Pipe>,
}

impl Connection {
    pub(super) fn end(&self) {
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
            swallowed: RefCell::default(),
            incoming: RefCell::default(),
            network: Cell::new(true),
            joined: Cell::new(false),
            joins: Cell::new(0),
        }))
    }
}

impl Air {
    /// Counts a byte that passes; `false` if the stream has ended by it.
    pub(super) fn pass(&self) -> bool {
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
            yield_once().await;
        }
    }
}

impl Connector for Radio {
    type Stream<'s> = Wire;

    async fn connect(&mut self) -> Result<Wire, ConnectFailure> {
        self.0.attempts.set(self.0.attempts.get() + 1);
        let failure = self.0.failures.borrow_mut().pop_front();
        match failure {
            Some(ConnectFailure::TimedOut) => pending().await,
            Some(failure) => return Err(failure),
            None if self.0.black_hole.get() => pending().await,
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
        if self.0.black_hole.get() {
            pending::<()>().await;
        }
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

    async fn close(&mut self) {
        if self.air.black_hole.get() {
            pending::<()>().await;
        }
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
            air.swallowed.borrow_mut().extend(bytes);
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
