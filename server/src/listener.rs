//! From an accepted connection to a link: the hello and its limits. Every connection waits for itself alone.

use crate::config::Limits;
use crate::doors::{Doors, Place};
use crate::driver::{Claim, Driver, Remains};
use crate::mismatch::misled;
use crate::registry::{Admitted, Arrival, Refusal, Registry, TurnedAway};
use holdline_proto::{Greeting, HELLO_MAX, Server as ServerRole, refuse};
use pin_project_lite::pin_project;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
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

/// What a stream is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One link, whose lines carry no checks.
    Unchecked,
    /// With checks, over a connection that was accepted: link after link as long as each hello comes in the middle of the link before.
    /// Otherwise who is at its other end connects again.
    Checked,
    /// Link after link, with checks, over a wire, which waits for its device for ever.
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
                    // HL-0113: who was accepted gave up its place on the threshold, and does not come back to it. It can connect again.
                    let goes_on = match this.kind {
                        Kind::Unchecked => false,
                        Kind::Checked => holds_greeting(&tail, true),
                        Kind::CheckedWire => true,
                    };
                    if ended || !goes_on {
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
            place.turn_away();
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
        if holds_greeting(first, check) {
            return Ok(());
        }
        first.reserve(HELLO_MAX + 1);
        if stream.read_buf(first).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Whether there is a greeting, or something that is none.
fn holds_greeting(first: &[u8], check: bool) -> bool {
    // HL-0112
    if check {
        return !matches!(Greeting::read(first, check), Ok(None));
    }
    // Without checks the first line is it, whatever it says. To find its end is much less than to parse it twice.
    first.contains(&b'\n') || first.len() > HELLO_MAX
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

#[cfg(all(test, not(holdline_loom)))]
mod tests {
    use super::*;
    use crate::channel::Channel;
    use crate::config::ServerConfig;
    use holdline_proto::{ByeCode, Client, ClientId, Config, Incarnation, Instant, VecOutbox, native};
    use tokio::io::{AsyncBufReadExt, BufReader, DuplexStream, duplex};
    use tokio::net::TcpStream;
    use tokio::time::timeout;

    /// What a device with checks says on a link of nothing but a hello and a goodbye; the server's welcome is waited for between them.
    async fn come_and_go(stream: &mut BufReader<DuplexStream>) {
        let role = Client { id: ClientId::new("uart").expect("a valid id") };
        let config = Config::new().check(true).validate().expect("in range");
        let (incarnation, outbox) = (Incarnation { boot: 1, epoch: 1 }, VecOutbox::new(1, 1));
        let mut session = native::Session::new(role, config, incarnation, outbox);
        let (mut output, mut welcome) = ([0; 512], Vec::new());
        session.handle_connected(Instant::default(), 7);
        let length = session.poll_transmit(&mut output);
        stream.write_all(&output[..length]).await.expect("the server reads");
        stream.read_until(b'\n', &mut welcome).await.expect("the server answers");
        assert_eq!(session.handle_input(Instant::default(), &welcome).consumed, welcome.len());
        assert!(session.is_up());
        session.close(ByeCode::Done, 0);
        let length = session.poll_transmit(&mut output);
        stream.write_all(&output[..length]).await.expect("the server reads");
    }

    // HL-0111, HL-0113, HL-0116
    #[tokio::test(start_paused = true)]
    async fn a_connection_with_checks_lasts_as_long_as_its_link_and_a_wire_for_ever() {
        let config = ServerConfig::default().checked().expect("in range");
        let patience = config.given.limits.hello_timeout;
        let doors = Arc::new(Doors::new(&config.given.limits));
        let registry = Arc::new(Registry::new(config));
        let serve = |kind| {
            let (near, far) = duplex(1_024);
            tokio::spawn(Serve::new(far, kind, Arc::clone(&registry), Arc::clone(&doors), None));
            BufReader::new(near)
        };
        let long = Duration::from_secs(3_600);
        let mut rest = Vec::new();
        let mut relay = serve(Kind::Checked);
        tokio::time::sleep(patience * 9 / 10).await;
        come_and_go(&mut relay).await;
        assert_eq!(timeout(patience / 2, relay.read_to_end(&mut rest)).await.expect("it is closed").ok(), Some(0));
        let start = tokio::time::Instant::now();
        let mut silent = serve(Kind::Checked);
        assert_eq!(timeout(long, silent.read_to_end(&mut rest)).await.expect("it is closed").ok(), Some(0));
        assert_eq!(start.elapsed().as_secs(), patience.as_secs());
        // Nor does one that was refused hold on to it.
        let mut refused = serve(Kind::Checked);
        refused.write_all(b"HOLD/1 client=uart*e6ce8907\n").await.expect("the server reads");
        assert!(timeout(patience / 2, refused.read_to_end(&mut rest)).await.is_ok_and(|read| read.is_ok()));
        assert!(rest.starts_with(b"HOLD/1 no code=malformed*"), "{rest:?}");
        let mut wire = serve(Kind::CheckedWire);
        for _ in 0..3 {
            assert!(timeout(long, wire.read_u8()).await.is_err());
            come_and_go(&mut wire).await;
        }
    }

    /// What a link costs while nothing happens, besides what Tokio keeps for a task and a socket. Whoever makes one of these larger
    /// pays for it a hundred thousand times.
    #[test]
    fn an_idle_link_is_small() {
        let task = size_of::<Serve<'static, TcpStream>>();
        let line = size_of::<Channel<ServerRole>>();
        // Tokio rounds a task up to the next 128 bytes; there are 280 for its future in 384.
        assert!(task <= 272, "{task}");
        assert!(line <= 536, "{line}");
    }
}
