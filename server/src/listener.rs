//! From an accepted connection to a link: the hello and its limits. Every connection waits for itself alone.

use crate::config::Limits;
use crate::driver::Driver;
use crate::registry::{Admitted, Refusal, Registry};
use crate::sync::lock;
use holdline_proto::{Greeting, HELLO_MAX, refuse};
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long the listener rests after an accept that failed, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
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

    /// Closes every connection where it stands.
    pub(crate) fn slam(&self) {
        self.out.cancel();
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

/// Accepts connections until told to stop; each gets a task of its own.
pub(crate) async fn accept(
    listener: TcpListener,
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
                let (registry, doors) = (Arc::clone(&registry), Arc::clone(&doors));
                tasks.spawn(async move { serve(stream, &registry, &doors, Some(place)).await });
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

/// Serves a stream from its hello to its end; on a checked stream, from hello to hello. Ends when the doors are slammed.
pub(crate) async fn serve<S>(stream: S, registry: &Arc<Registry>, doors: &Doors, place: Option<Place>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    tokio::select! {
        // In this order a link that was closed has said its last line, if the transport takes it.
        biased;
        () = serve_links(stream, registry, place) => {}
        () = doors.slammed() => {}
    }
}

async fn serve_links<S>(mut stream: S, registry: &Arc<Registry>, mut place: Option<Place>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let check = registry.config.given.session.check;
    let mut tail = Vec::new();
    loop {
        // The greeting's own future is large and short-lived: it lives on the heap, the driver in the task.
        let greeted = Box::pin(greet(&mut stream, registry, &mut tail, check, place.as_ref())).await;
        drop(place.take());
        let (Admitted { channel, link }, rest) = match greeted {
            Greeted::Admitted(admitted, rest) => (admitted, rest),
            // A wire stays where it is, and may carry a better hello.
            Greeted::Refused if check => continue,
            Greeted::Refused | Greeted::Gone => return,
        };
        let driver = Driver::new(channel, registry.reporter.clone(), registry.clock, stream, link, rest);
        let remains = driver.run().await;
        if !check || remains.ended {
            return;
        }
        (stream, tail) = (remains.stream, remains.tail);
    }
}

enum Greeted {
    /// With what was read behind the greeting.
    Admitted(Admitted, Vec<u8>),
    Refused,
    /// The stream ended, or said nothing for too long.
    Gone,
}

/// Reads the first line and admits it, or turns it away. `first` holds what was received already, and afterwards what was received
/// behind a line that was refused.
async fn greet<S>(stream: &mut S, registry: &Registry, first: &mut Vec<u8>, check: bool, place: Option<&Place>) -> Greeted
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let turn_away = || {
        if let Some(place) = place {
            place.doors.turn_away();
        }
    };
    let read = read_greeting(stream, first, check);
    // HL-0111. A checked stream is a wire, which waits for its device for ever.
    let read = if check { Ok(read.await) } else { tokio::time::timeout(registry.config.given.limits.hello_timeout, read).await };
    let Ok(Ok(())) = read else {
        turn_away();
        return Greeted::Gone;
    };
    let refusal = match Greeting::read(first, check) {
        Ok(Some((greeting, taken))) => match registry.admit(&greeting) {
            Ok(admitted) => return Greeted::Admitted(admitted, first.get(taken..).unwrap_or_default().to_vec()),
            // A classic peer would take an answer for a message.
            Err(refusal) => matches!(greeting, Greeting::Native(_)).then_some(refusal),
        },
        Ok(None) => None,
        // HL-0031: the same, where it is too long or no text.
        Err(code) => (check || [&b"HOLD/"[..], b"SEAL/"].iter().any(|&native| first.starts_with(native))).then(|| code.into()),
    };
    // HL-0116
    turn_away();
    let line = first.iter().position(|&byte| byte == b'\n').map_or(first.len(), |end| end + 1);
    first.drain(..line);
    if let Some(Refusal { code, retry_ms }) = refusal {
        let mut buffer = [0; 128];
        let length = refuse(code, retry_ms, check, &mut buffer);
        let farewell = async {
            stream.write_all(buffer.get(..length).unwrap_or_default()).await?;
            stream.flush().await
        };
        let _ = tokio::time::timeout(REFUSAL, farewell).await;
    }
    Greeted::Refused
}

/// Reads until `first` holds a greeting, or something that is none.
async fn read_greeting<S: AsyncRead + Unpin>(stream: &mut S, first: &mut Vec<u8>, check: bool) -> io::Result<()> {
    loop {
        if check {
            skip_what_is_no_greeting(first);
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
fn skip_what_is_no_greeting(first: &mut Vec<u8>) {
    // HL-0099, HL-0102
    let mut start = 0;
    while let Some(end) = first.iter().skip(start).position(|&byte| byte == b'\n').map(|length| start + length + 1) {
        if !matches!(Greeting::read(&first[start..end], true), Ok(None)) {
            break;
        }
        start = end;
    }
    first.drain(..start);
    if first.len() > HELLO_MAX && !first.contains(&b'\n') {
        first.clear();
    }
}
