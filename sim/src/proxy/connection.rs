//! The sockets of one connection: the only place that reads and writes what is carried.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::chance::Chance;
use super::kind::{Close, End, HalfOpen};
use super::link::{Link, Standing, Step};
use super::listed::Orders;
use super::toxic::Stream;

/// How long a server may take to accept.
const DIAL: Duration = Duration::from_secs(30);
/// How long, and how many bytes, a connection that closes in order waits for the other end to close too.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1 << 20;
/// Writes of one direction before the other has its turn.
const WRITES_AT_ONCE: usize = 16;
const SMALLEST_READ: usize = 4 << 10;
const LARGEST_READ: usize = 64 << 10;

/// What a connection needs to know of its proxy.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) number: u64,
    pub(super) chance: Chance,
    /// Bytes that it holds in a direction at most.
    pub(super) capacity: usize,
    pub(super) upstream: Arc<str>,
    pub(super) orders: watch::Receiver<Arc<Orders>>,
}

/// Carries a connection until it ends. Dropping the future closes both sockets.
///
/// # Errors
///
/// If the server cannot be reached; the client's socket is closed.
pub(super) async fn carry(client: TcpStream, mut setup: Setup) -> io::Result<()> {
    let orders = Arc::clone(&setup.orders.borrow_and_update());
    let link = Link::new(setup.number, setup.chance, setup.capacity, orders, Instant::now());
    let mut waiting = Waiting { client, inlet: Inlet::default(), link, orders: setup.orders };
    if !waiting.for_the_server().await {
        return Ok(());
    }
    let server = timeout(DIAL, TcpStream::connect(&*setup.upstream)).await.map_err(|_| io::ErrorKind::TimedOut)??;
    let Waiting { client, inlet, link, orders } = waiting;
    for socket in [&client, &server] {
        // Pieces leave as they are; it fails only where the peer is already gone, and reading tells.
        let _ = socket.set_nodelay(true);
    }
    Relay { client, server, link, orders, inlets: [inlet, Inlet::default()] }.run().await;
    Ok(())
}

/// A connection that has a client only.
struct Waiting {
    client: TcpStream,
    inlet: Inlet,
    link: Link,
    orders: watch::Receiver<Arc<Orders>>,
}

impl Waiting {
    /// Waits while the server is out of reach; says whether the client still wants it then.
    async fn for_the_server(&mut self) -> bool {
        loop {
            let now = Instant::now();
            if self.link.standing(now) != Standing::Unreachable {
                return true;
            }
            let room = self.link.room(Stream::Upstream);
            match self.inlet.read(&self.client, room) {
                Read::Bytes(bytes) => {
                    self.link.received(Stream::Upstream, bytes);
                    continue;
                }
                Read::Nothing => {}
                Read::End | Read::Reset => return false,
            }
            let deadline = self.link.deadline(now);
            tokio::select! {
                _ = self.client.readable(), if room > 0 => {}
                () = sleep_until(deadline.unwrap_or(now)), if deadline.is_some() => {}
                changed = self.orders.changed() => {
                    if changed.is_err() {
                        return false;
                    }
                    self.link.order(Arc::clone(&self.orders.borrow_and_update()), Instant::now());
                }
            }
        }
    }
}

/// A connection with both ends.
struct Relay {
    client: TcpStream,
    server: TcpStream,
    link: Link,
    orders: watch::Receiver<Arc<Orders>>,
    inlets: [Inlet; 2],
}

/// What became of an attempt to write.
enum Written {
    /// There was nothing to do.
    Nothing,
    Something,
    /// The socket takes no more.
    Blocked,
    Over(Close),
    HalfOpen(HalfOpen),
}

impl Relay {
    async fn run(mut self) {
        loop {
            let mut moved = false;
            for stream in Stream::BOTH {
                moved |= self.read(stream);
            }
            // After reading: what was sent after a change was acknowledged never passes without it.
            match self.orders.has_changed() {
                Ok(true) => self.link.order(Arc::clone(&self.orders.borrow_and_update()), Instant::now()),
                Ok(false) => {}
                Err(_) => return,
            }
            // One time for all that is done in a turn, so that what falls due meanwhile is waited for.
            let now = Instant::now();
            let settled = self.link.settled();
            let mut blocked = [false; 2];
            for stream in Stream::BOTH {
                match self.write(stream, now).await {
                    Written::Nothing => {}
                    Written::Something => moved = true,
                    Written::Blocked => blocked[stream as usize] = true,
                    Written::Over(how) => {
                        tokio::join!(close(&mut self.client, how), close(&mut self.server, how));
                        return;
                    }
                    Written::HalfOpen(how) => return self.stay_half_open(&how).await,
                }
            }
            if moved || self.link.settled() != settled {
                tokio::task::consume_budget().await;
            } else if !self.wait(blocked, now).await {
                return;
            }
        }
    }

    fn read(&mut self, stream: Stream) -> bool {
        let room = self.link.room(stream);
        let socket = match stream {
            Stream::Upstream => &self.client,
            Stream::Downstream => &self.server,
        };
        match self.inlets[stream as usize].read(socket, room) {
            Read::Bytes(bytes) => self.link.received(stream, bytes),
            Read::End => self.link.finished(stream),
            Read::Reset => self.link.broken(stream),
            Read::Nothing => {
                if self.link.is_empty(stream) {
                    self.inlets[stream as usize].free();
                }
                return false;
            }
        }
        true
    }

    async fn write(&mut self, stream: Stream, now: Instant) -> Written {
        let mut written = Written::Nothing;
        for _ in 0..WRITES_AT_ONCE {
            let socket = match stream {
                Stream::Upstream => &mut self.server,
                Stream::Downstream => &mut self.client,
            };
            match self.link.next(stream, now) {
                Step::Wait => return written,
                Step::Write(bytes) => match socket.try_write(&bytes) {
                    Ok(count) => self.link.sent(stream, count),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Written::Blocked,
                    Err(_) => self.link.refused(stream),
                },
                // It fails where the peer is gone, and reading tells.
                Step::Finish => drop(socket.shutdown().await),
                Step::Close(how) => return Written::Over(how),
                Step::HalfOpen(half_open) => return Written::HalfOpen(half_open),
            }
            written = Written::Something;
        }
        written
    }

    /// Waits until there may be something to do; says whether the proxy still exists.
    async fn wait(&mut self, blocked: [bool; 2], now: Instant) -> bool {
        let deadline = self.link.deadline(now);
        tokio::select! {
            _ = self.client.readable(), if self.link.room(Stream::Upstream) > 0 => true,
            _ = self.server.readable(), if self.link.room(Stream::Downstream) > 0 => true,
            _ = self.server.writable(), if blocked[Stream::Upstream as usize] => true,
            _ = self.client.writable(), if blocked[Stream::Downstream as usize] => true,
            () = sleep_until(deadline.unwrap_or(now)), if deadline.is_some() => true,
            changed = self.orders.changed() => {
                // Left as changed for the loop, which looks at it after reading.
                if changed.is_ok() {
                    self.orders.mark_changed();
                }
                changed.is_ok()
            }
        }
    }

    async fn stay_half_open(self, how: &HalfOpen) {
        let Self { client, server, mut link, mut orders, .. } = self;
        let (mut stays, mut gone) = match how.stays {
            End::Client => (client, server),
            End::Server => (server, client),
        };
        let staying = async {
            loop {
                let now = Instant::now();
                if link.standing(now) != Standing::HalfOpen {
                    return close(&mut stays, Close::Rst).await;
                }
                let deadline = link.deadline(now);
                tokio::select! {
                    _ = drain(&stays, usize::MAX) => return,
                    () = sleep_until(deadline.unwrap_or(now)), if deadline.is_some() => {}
                    changed = orders.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        link.order(Arc::clone(&orders.borrow_and_update()), Instant::now());
                    }
                }
            }
        };
        let going = async {
            close(&mut gone, how.close).await;
            drop(gone);
        };
        tokio::join!(staying, going);
    }
}

/// Makes a socket ready to be dropped.
async fn close(socket: &mut TcpStream, how: Close) {
    match how {
        // Both fail only where there is nothing left to close.
        Close::Rst => drop(socket.set_zero_linger()),
        Close::Fin => {
            drop(socket.shutdown().await);
            // A socket that is dropped with bytes unread sends a reset, which would overtake what the peer has not read yet.
            let _ = timeout(LINGER, drain(socket, LINGER_BYTES)).await;
        }
    }
}

/// Reads and forgets until the end, an error, or so many bytes.
async fn drain(socket: &TcpStream, mut most: usize) -> io::Result<()> {
    let mut forgotten = [0; 1024];
    while most > 0 {
        socket.readable().await?;
        match socket.try_read(&mut forgotten) {
            Ok(0) => return Ok(()),
            Ok(count) => most = most.saturating_sub(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        tokio::task::consume_budget().await;
    }
    Ok(())
}

/// A read buffer that is large where much comes and nothing where nothing does.
#[derive(Debug)]
struct Inlet {
    buffer: BytesMut,
    size: usize,
}

impl Default for Inlet {
    fn default() -> Self {
        Self { buffer: BytesMut::new(), size: SMALLEST_READ }
    }
}

enum Read {
    Bytes(bytes::Bytes),
    End,
    Reset,
    Nothing,
}

impl Inlet {
    fn read(&mut self, socket: &TcpStream, room: usize) -> Read {
        if room == 0 {
            return Read::Nothing;
        }
        if self.buffer.capacity() < SMALLEST_READ / 4 {
            self.buffer.reserve(self.size);
        }
        match socket.try_read_buf(&mut (&mut self.buffer).limit(room)) {
            Ok(0) => Read::End,
            Ok(count) => {
                if count == self.size {
                    self.size = (self.size * 2).min(LARGEST_READ);
                }
                Read::Bytes(self.buffer.split().freeze())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Read::Nothing,
            Err(_) => Read::Reset,
        }
    }

    fn free(&mut self) {
        self.buffer = BytesMut::new();
    }
}
