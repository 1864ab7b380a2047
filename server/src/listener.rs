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
                // HL-0110
                let Some(place) = doors.enter(address.ip()) else { continue };
                // A line is worth sending at once; a failure only costs latency.
                let _ = stream.set_nodelay(true);
                let (registry, out) = (Arc::clone(&registry), doors.out.clone());
                tasks.spawn(async move {
                    tokio::select! {
                        () = out.cancelled() => {}
                        () = serve(stream, &registry, Some(place)) => {}
                    }
                });
            }
            Err(error) => {
                // HL-0120
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves a stream from its hello to its end; on a checked stream, from hello to hello.
pub(crate) async fn serve<S>(mut stream: S, registry: &Arc<Registry>, place: Option<Place>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let check = registry.config.given.session.check;
    let mut tail = Vec::new();
    let mut place = place;
    loop {
        // The greeting's own future is large and short-lived: it lives on the heap, the driver in the task.
        let greeted = Box::pin(greet(&mut stream, registry, tail, check, place.as_ref())).await;
        drop(place.take());
        let (Admitted { channel, link }, rest) = match greeted {
            Greeted::Admitted(admitted, rest) => (admitted, rest),
            // A wire stays where it is, and may carry a better hello.
            Greeted::Refused if check => {
                tail = Vec::new();
                continue;
            }
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

/// Reads the first line and admits it, or turns it away.
async fn greet<S>(stream: &mut S, registry: &Registry, tail: Vec<u8>, check: bool, place: Option<&Place>) -> Greeted
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let turn_away = || {
        if let Some(place) = place {
            place.doors.turn_away();
        }
    };
    let mut first = tail;
    let read = read_greeting(stream, &mut first, check);
    // HL-0111. A checked stream is a wire, which waits for its device for ever.
    let read = if check { Ok(read.await) } else { tokio::time::timeout(registry.config.given.limits.hello_timeout, read).await };
    let Ok(Ok(())) = read else {
        turn_away();
        return Greeted::Gone;
    };
    let refusal = match Greeting::read(&first, check) {
        Ok(Some((greeting, taken))) => match registry.admit(&greeting) {
            Ok(admitted) => return Greeted::Admitted(admitted, first.get(taken..).unwrap_or_default().to_vec()),
            // A classic peer would take an answer for a message.
            Err(refusal) => matches!(greeting, Greeting::Native(_)).then_some(refusal),
        },
        Ok(None) => None,
        Err(code) => Some(Refusal::from(code)),
    };
    turn_away();
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
        // HL-0112
        match Greeting::read(first, check) {
            Ok(None) if check => {
                // What is left of an earlier link has been skipped.
                let skipped = first.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
                first.drain(..skipped);
            }
            Err(_) if check && !first.contains(&b'\n') => first.clear(),
            Ok(None) => {}
            Ok(Some(_)) | Err(_) => return Ok(()),
        }
        first.reserve(HELLO_MAX + 1);
        if stream.read_buf(first).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
