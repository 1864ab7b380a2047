//! From an accepted connection to a link: the hello and its limits. Every connection waits for itself alone.

use crate::config::Limits;
use crate::driver::{Claim, Driver, Remains};
use crate::mismatch::misled;
use crate::registry::{Admitted, Arrival, Refusal, Registry, TurnedAway};
use crate::sync::{Mutex, lock};
use holdline_proto::{Greeting, HELLO_MAX, Server as ServerRole, refuse};
use pin_project_lite::pin_project;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, ToSocketAddrs};
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long the listener rests after an accept that failed, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The longest queue that is asked for; systems make it shorter as they like.
const BACKLOG_MAX: u32 = 65_535;
/// How long a refusal may take to leave.
const REFUSAL: Duration = Duration::from_millis(500);

/// Counts who is on the threshold, and has the key to put everybody out.
#[derive(Debug)]
pub(crate) struct Doors {
    half_open: AtomicUsize,
    half_open_max: usize,
    per_address: Mutex<HashMap<IpAddr, usize>>,
    per_address_max: usize,
    turned_away: AtomicU64,
    out: CancellationToken,
}

/// A place among the half-open connections; given back when dropped.
pub(crate) struct Place {
    doors: Arc<Doors>,
    address: IpAddr,
}

/// What a stream is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One link, whose lines carry no checks.
    Unchecked,
    /// Link after link, with checks, over a connection that was accepted: who is at its other end can connect again.
    Checked,
    /// The same over a wire, which waits for its device for ever.
    CheckedWire,
}

impl Kind {
    fn is_checked(self) -> bool {
        self != Self::Unchecked
    }
}

/// What is known of a connection before its hello.
#[derive(Default)]
struct Newcomer {
    /// When it was accepted; `None` for a checked stream, where every hello is news.
    arrival: Option<Arrival>,
    place: Option<Place>,
}

impl Doors {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            half_open: AtomicUsize::new(0),
            half_open_max: limits.half_open,
            per_address: Mutex::default(),
            per_address_max: limits.half_open_per_address,
            turned_away: AtomicU64::new(0),
            out: CancellationToken::new(),
        }
    }

    pub(crate) fn turned_away(&self) -> u64 {
        self.turned_away.load(Ordering::Relaxed)
    }

    /// Closes every connection where it stands, those that greet and those of the registry, which must let nobody in any more.
    pub(crate) fn slam(&self, registry: &Registry) {
        self.out.cancel();
        for channel in registry.all() {
            channel.lock().cut();
        }
    }

    /// Waits until everybody is put out.
    async fn slammed(&self) {
        self.out.cancelled().await;
    }

    fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        // HL-0113
        if self.half_open.fetch_add(1, Ordering::Relaxed) >= self.half_open_max {
            self.half_open.fetch_sub(1, Ordering::Relaxed);
            self.turn_away();
            return None;
        }
        let mut addresses = lock(&self.per_address);
        let count = addresses.entry(address).or_default();
        // HL-0114
        if *count >= self.per_address_max {
            self.half_open.fetch_sub(1, Ordering::Relaxed);
            self.turn_away();
            return None;
        }
        *count += 1;
        Some(Place { doors: Arc::clone(self), address })
    }

    fn turn_away(&self) {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.doors.half_open.fetch_sub(1, Ordering::Relaxed);
        let mut addresses = lock(&self.doors.per_address);
        if let Some(count) = addresses.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&self.address);
            }
        }
    }
}

/// Listens on the first address that can be listened on.
///
/// The system's queue of connections that wait to be accepted is as long as the number that may be half open: one that does not
/// find room there tries again after a second, and then after two, while the default is a queue of 128.
pub(crate) async fn listen(address: impl ToSocketAddrs, limits: &Limits) -> io::Result<TcpListener> {
    let mut last = None;
    for address in tokio::net::lookup_host(address).await? {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // A server that is started again finds its port, though links of before are still being forgotten.
        #[cfg(not(windows))]
        socket.set_reuseaddr(true)?;
        let backlog = u32::try_from(limits.half_open).unwrap_or(u32::MAX);
        match socket.bind(address).and_then(|()| socket.listen(backlog.min(BACKLOG_MAX))) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the name has no address")))
}

/// Accepts connections until told to stop; each gets a task of its own.
pub(crate) async fn accept(
    listener: TcpListener,
    kind: Kind,
    registry: Arc<Registry>,
    doors: Arc<Doors>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                // HL-0110, HL-0119
                let Some(place) = doors.enter(address.ip()) else { continue };
                // A line is worth sending at once; a failure only costs latency.
                let _ = stream.set_nodelay(true);
                tasks.spawn(Serve::new(stream, kind, Arc::clone(&registry), Arc::clone(&doors), Some(place)));
            }
            // One connection went wrong before it was accepted; the next one is not its fault.
            Err(error) if concerns_one_connection(&error) => {}
            Err(error) => {
                // HL-0120
                tracing::warn!(%error, "no connection can be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | HostUnreachable | NetworkUnreachable)
}

pin_project! {
    /// Serves a stream from its hello to its end; on a checked stream, from hello to hello. Ends when the doors are slammed.
    ///
    /// A future written by hand: it is all that the task of an idle link holds, and a compiler that has to store what moves from one
    /// await to the next would store it twice.
    pub(crate) struct Serve<'s, S> {
        registry: Arc<Registry>,
        doors: Arc<Doors>,
        kind: Kind,
        #[pin]
        stage: Stage<'s, S>,
    }
}

pin_project! {
    #[project = StageProjected]
    #[project_replace = StageReplaced]
    enum Stage<'s, S> {
        /// The greeting's own future is large and short-lived: it lives on the heap.
        Greeting { greeting: Pin<Box<dyn Future<Output = Greeted<S>> + Send + 's>> },
        Driving {
            driver: Driver<ServerRole, S>,
            #[pin]
            sleep: Sleep,
        },
        Done,
    }
}

impl<'s, S: AsyncRead + AsyncWrite + Unpin + Send + 's> Serve<'s, S> {
    pub(crate) fn new(stream: S, kind: Kind, registry: Arc<Registry>, doors: Arc<Doors>, place: Option<Place>) -> Self {
        let arrival = (!kind.is_checked()).then(|| registry.arrive());
        let stage = Stage::greeting(stream, kind, &registry, &doors, Newcomer { arrival, place }, Vec::new());
        Self { registry, doors, kind, stage }
    }
}

impl<'s, S: AsyncRead + AsyncWrite + Unpin + Send + 's> Stage<'s, S> {
    fn greeting(stream: S, kind: Kind, registry: &Arc<Registry>, doors: &Arc<Doors>, newcomer: Newcomer, tail: Vec<u8>) -> Self {
        let (registry, doors) = (Arc::clone(registry), Arc::clone(doors));
        let greeting = async move {
            tokio::select! {
                biased;
                () = doors.slammed() => Greeted::Gone,
                greeted = greet(stream, kind, &registry, tail, newcomer) => greeted,
            }
        };
        Self::Greeting { greeting: Box::pin(greeting) }
    }
}

impl<'s, S: AsyncRead + AsyncWrite + Unpin + Send + 's> Future for Serve<'s, S> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        loop {
            match this.stage.as_mut().project() {
                StageProjected::Greeting { greeting } => match ready!(greeting.as_mut().poll(cx)) {
                    Greeted::Admitted { stream, admitted: Admitted { channel, link }, rest } => {
                        let clock = this.registry.clock;
                        let claim = Claim { channel, reporter: this.registry.reporter.clone(), clock, link };
                        let driver = Driver::new(claim, stream, this.kind.is_checked(), rest);
                        this.stage.set(Stage::Driving { driver, sleep: tokio::time::sleep_until(clock.at(clock.now())) });
                    }
                    Greeted::Again { stream, tail } => {
                        this.stage.set(Stage::greeting(stream, *this.kind, this.registry, this.doors, Newcomer::default(), tail));
                    }
                    Greeted::Gone => return Poll::Ready(()),
                },
                StageProjected::Driving { driver, sleep } => {
                    ready!(driver.poll(sleep, cx));
                    let StageReplaced::Driving { driver, .. } = this.stage.as_mut().project_replace(Stage::Done) else {
                        continue;
                    };
                    let Remains { stream, tail, ended } = driver.into_remains();
                    if ended || !this.kind.is_checked() {
                        return Poll::Ready(());
                    }
                    this.stage.set(Stage::greeting(stream, *this.kind, this.registry, this.doors, Newcomer::default(), tail));
                }
                StageProjected::Done => return Poll::Ready(()),
            }
        }
    }
}

/// What came of a greeting.
enum Greeted<S> {
    Admitted {
        stream: S,
        admitted: Admitted,
        /// What was read behind the greeting.
        rest: Vec<u8>,
    },
    /// It was refused, but a wire stays where it is and may carry a better one.
    Again { stream: S, tail: Vec<u8> },
    /// Nothing more comes of this stream.
    Gone,
}

/// Reads the first line and admits it, or turns it away. `first` holds what was received already.
async fn greet<S>(mut stream: S, kind: Kind, registry: &Registry, mut first: Vec<u8>, newcomer: Newcomer) -> Greeted<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let check = kind.is_checked();
    let turn_away = || {
        if let Some(place) = &newcomer.place {
            place.doors.turn_away();
        }
    };
    let tell_misled = |line: &[u8]| {
        let client = misled(line, check);
        client.inspect(|client| registry.mismatches.tell(&registry.reporter, registry.clock.now(), client, check)).is_some()
    };
    let read = read_greeting(&mut stream, &mut first, check, &tell_misled);
    let read = match kind {
        Kind::CheckedWire => Ok(read.await),
        // HL-0111
        _ => tokio::time::timeout(registry.config.given.limits.hello_timeout, read).await,
    };
    let Ok(Ok(())) = read else {
        turn_away();
        return Greeted::Gone;
    };
    let refusal = match Greeting::read(&first, check) {
        Ok(Some((greeting, taken))) => match registry.admit(&greeting, newcomer.arrival.unwrap_or_else(|| registry.arrive())) {
            Ok(admitted) => return Greeted::Admitted { stream, admitted, rest: first.get(taken..).unwrap_or_default().to_vec() },
            // A classic peer would take an answer for a message.
            Err(TurnedAway::Refused(refusal)) => matches!(greeting, Greeting::Native(_)).then_some(refusal),
            Err(TurnedAway::Overtaken) => None,
        },
        Ok(None) => None,
        // HL-0031: the same, where it is too long or no text.
        Err(code) => (check || [&b"HOLD/"[..], b"SEAL/"].iter().any(|&native| first.starts_with(native))).then(|| code.into()),
    };
    // HL-0116
    turn_away();
    let line = first.iter().position(|&byte| byte == b'\n').map_or(first.len(), |end| end + 1);
    let is_misled = !check && tell_misled(first.get(..line).unwrap_or_default());
    first.drain(..line);
    if let Some(Refusal { code, retry_ms }) = refusal {
        let mut buffer = [0; 128];
        let mut length = refuse(code, retry_ms, check, &mut buffer);
        if is_misled {
            // To a client with checks the line above is noise; this one it can read.
            length += refuse(code, retry_ms, true, buffer.get_mut(length..).unwrap_or_default());
        }
        let farewell = async {
            stream.write_all(buffer.get(..length).unwrap_or_default()).await?;
            stream.flush().await
        };
        let _ = tokio::time::timeout(REFUSAL, farewell).await;
    }
    if kind == Kind::CheckedWire { Greeted::Again { stream, tail: first } } else { Greeted::Gone }
}

/// Reads until `first` holds a greeting, or something that is none.
async fn read_greeting<S: AsyncRead + Unpin>(
    stream: &mut S,
    first: &mut Vec<u8>,
    check: bool,
    tell_misled: &(impl Fn(&[u8]) -> bool + Sync),
) -> io::Result<()> {
    loop {
        if check {
            skip_what_is_no_greeting(first, tell_misled);
        }
        // HL-0112
        match Greeting::read(first, check) {
            Ok(None) => {}
            Ok(Some(_)) | Err(_) => return Ok(()),
        }
        first.reserve(HELLO_MAX + 1);
        if stream.read_buf(first).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Forgets, of what came over a checked stream, whole lines that are no greeting, and the beginning of a line too long to be one.
fn skip_what_is_no_greeting(first: &mut Vec<u8>, tell_misled: impl Fn(&[u8]) -> bool) {
    // HL-0099, HL-0102
    let mut start = 0;
    while let Some(end) = first.iter().skip(start).position(|&byte| byte == b'\n').map(|length| start + length + 1) {
        if !matches!(Greeting::read(&first[start..end], true), Ok(None)) {
            break;
        }
        tell_misled(&first[start..end]);
        start = end;
    }
    first.drain(..start);
    if first.len() > HELLO_MAX && !first.contains(&b'\n') {
        first.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Channel;
    use tokio::net::TcpStream;

    /// What a link costs while nothing happens, besides what Tokio keeps for a task and a socket. Whoever makes one of these larger
    /// pays for it a hundred thousand times.
    #[test]
    fn an_idle_link_is_small() {
        let task = size_of::<Serve<'static, TcpStream>>();
        let line = size_of::<Channel<ServerRole>>();
        // Tokio rounds a task up to the next 128 bytes; there are 280 for its future in 384.
        assert!(task <= 272, "{task}");
        assert!(line <= 616, "{line}");
    }
}
