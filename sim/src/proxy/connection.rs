//! The sockets of one connection: the only place that reads and writes what is carried.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::chance::Chance;
use super::clone;
use super::kind::{Close, End, HalfOpen, Kind};
use super::link::{Link, Standing, Step};
use super::listed::Orders;
use super::portal;
use super::toxic::Stream;
use crate::outage::ConnectFails;

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
    /// Where whatever it starts besides is counted.
    pub(super) tasks: TaskTracker,
}

/// Carries a connection until it ends. Dropping the future closes both sockets.
///
/// # Errors
///
/// If the server cannot be reached; the client's socket is closed.
pub(super) async fn carry(client: TcpStream, mut setup: Setup) -> io::Result<()> {
    let orders = Arc::clone(&setup.orders.borrow_and_update());
    let link = Link::new(setup.number, setup.chance, setup.capacity, orders, Instant::now());
    let Some(waited) = (Waiting { client, inlet: Inlet::default(), link, orders: setup.orders }).for_the_server().await else {
        return Ok(());
    };
    let server = dial(&setup.upstream).await?;
    let Waiting { client, inlet, link, orders } = waited;
    for socket in [&client, &server] {
        // Pieces leave as they are; it fails only where the peer is already gone, and reading tells.
        let _ = socket.set_nodelay(true);
    }
    let mut clones = Clones { number: setup.number, upstream: setup.upstream, tasks: setup.tasks, live: Vec::new() };
    Relay { client, server, link, orders, inlets: [inlet, Inlet::default()], clones: &mut clones }.run().await;
    for clone in clones.live {
        // It may outlive the connection that it followed; an error is a task that is over too.
        let _ = clone.await;
    }
    Ok(())
}

/// Connects to the server.
pub(super) async fn dial(upstream: &str) -> io::Result<TcpStream> {
    timeout(DIAL, TcpStream::connect(upstream)).await.map_err(|_| io::ErrorKind::TimedOut)?
}

/// The devices of the same id that came after this one.
struct Clones {
    number: u64,
    upstream: Arc<str>,
    tasks: TaskTracker,
    live: Vec<AbortOnDropHandle<()>>,
}

impl Clones {
    fn come(&mut self, toxic: u64, hello: bytes::Bytes, orders: &watch::Receiver<Arc<Orders>>) {
        self.live.retain(|clone| !clone.is_finished());
        let reason = clone::Reason { toxic, connection: self.number, orders: orders.clone() };
        let visit = clone::visit(Arc::clone(&self.upstream), hello, reason);
        self.live.push(AbortOnDropHandle::new(self.tasks.spawn(visit)));
    }
}

/// A connection that has a client only.
struct Waiting {
    client: TcpStream,
    inlet: Inlet,
    link: Link,
    orders: watch::Receiver<Arc<Orders>>,
}

impl Waiting {
    /// Waits while the server is out of reach; `None` if the connection is over by then.
    async fn for_the_server(mut self) -> Option<Self> {
        loop {
            let now = Instant::now();
            let portal = match self.link.standing(now) {
                Standing::Open => return Some(self),
                Standing::Closing(Close::Silent) => {
                    stay_dead(Some(self.client), None, self.link, self.orders).await;
                    return None;
                }
                Standing::Closing(how) => return self.over(how).await,
                // The server has never heard of it.
                Standing::HalfOpen(how) if how.stays == End::Server => return self.over(how.close).await,
                Standing::HalfOpen(_) => return Some(self),
                Standing::TurnedAway(Kind::NoConnect(no)) if no.how == ConnectFails::Refused => {
                    return self.over(Close::Rst).await;
                }
                Standing::TurnedAway(Kind::NoConnect(no)) if no.how == ConnectFails::AcceptedThenClosed => {
                    return self.over(Close::Fin).await;
                }
                Standing::TurnedAway(Kind::Portal(portal)) => Some(portal),
                Standing::TurnedAway(_) | Standing::Unreachable => None,
            };
            let room = self.link.room(Stream::Upstream);
            match (self.inlet.read(&self.client, room), portal) {
                (Read::Bytes(_), Some(portal)) => {
                    portal::answer(&mut self.client, &portal).await;
                    return self.over(Close::Fin).await;
                }
                (Read::Bytes(bytes), None) => {
                    self.link.received(Stream::Upstream, bytes);
                    continue;
                }
                (Read::Nothing, _) => {}
                (Read::End | Read::Reset, _) => return None,
            }
            let deadline = self.link.deadline(now);
            tokio::select! {
                _ = self.client.readable(), if room > 0 => {}
                () = sleep_until(deadline.unwrap_or(now)), if deadline.is_some() => {}
                changed = self.orders.changed() => {
                    changed.ok()?;
                    self.link.order(Arc::clone(&self.orders.borrow_and_update()), Instant::now());
                }
            }
        }
    }

    async fn over(mut self, how: Close) -> Option<Self> {
        close(&mut self.client, how).await;
        None
    }
}

/// A connection with both ends.
struct Relay<'a> {
    client: TcpStream,
    server: TcpStream,
    link: Link,
    orders: watch::Receiver<Arc<Orders>>,
    inlets: [Inlet; 2],
    clones: &'a mut Clones,
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

impl Relay<'_> {
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
                    Written::Over(Close::Silent) => {
                        return stay_dead(Some(self.client), Some(self.server), self.link, self.orders).await;
                    }
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
                Step::Clone(toxic, hello) => self.clones.come(toxic, hello, &self.orders),
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
                if !matches!(link.standing(now), Standing::HalfOpen(_)) {
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
            match how.close {
                Close::Silent => drop(drain(&gone, usize::MAX).await),
                how => close(&mut gone, how).await,
            }
            drop(gone);
        };
        tokio::join!(staying, going);
    }
}

/// Keeps what nothing passes through any more, each socket until its own end closes it, or both until they are to close otherwise.
async fn stay_dead(
    mut client: Option<TcpStream>,
    mut server: Option<TcpStream>,
    mut link: Link,
    mut orders: watch::Receiver<Arc<Orders>>,
) {
    while client.is_some() || server.is_some() {
        tokio::select! {
            () = closed(client.as_ref()) => client = None,
            () = closed(server.as_ref()) => server = None,
            changed = orders.changed() => {
                if changed.is_err() {
                    return;
                }
                link.order(Arc::clone(&orders.borrow_and_update()), Instant::now());
                if let Standing::Closing(how @ (Close::Fin | Close::Rst)) = link.standing(Instant::now()) {
                    let both = [client, server].into_iter().flatten();
                    for mut socket in both {
                        close(&mut socket, how).await;
                    }
                    return;
                }
            }
        }
    }
}

/// Returns when the end of a socket has closed it.
async fn closed(socket: Option<&TcpStream>) {
    match socket {
        // An error is a reset.
        Some(socket) => drop(drain(socket, usize::MAX).await),
        None => std::future::pending().await,
    }
}

/// Makes a socket ready to be dropped.
pub(super) async fn close(socket: &mut TcpStream, how: Close) {
    match how {
        // Both fail only where there is nothing left to close.
        Close::Rst => drop(socket.set_zero_linger()),
        // A silent one is over only when its own end closes it, and then all are the same.
        Close::Fin | Close::Silent => {
            drop(socket.shutdown().await);
            // A socket that is dropped with bytes unread sends a reset, which would overtake what the peer has not read yet.
            let _ = timeout(LINGER, drain(socket, LINGER_BYTES)).await;
        }
    }
}

/// Reads and forgets until the end, an error, or so many bytes.
pub(super) async fn drain(socket: &TcpStream, mut most: usize) -> io::Result<()> {
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
