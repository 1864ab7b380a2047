//! The link that misbehaves: a TCP proxy that does to connections what radio does.

use super::plan::Kind;
use bytes::BytesMut;
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// A proxy for one device.
#[derive(Debug)]
pub(super) struct Proxy {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    task: JoinHandle<()>,
}

/// What the link does now.
#[derive(Clone, Copy, Debug, Default)]
struct Weather {
    /// Bytes towards the server are held back.
    hold_up: bool,
    /// Bytes towards the device are held back.
    hold_down: bool,
    /// How many times the connections that were open have been struck.
    strikes: u32,
    /// What happened to them the last time.
    last: Strike,
}

/// What happens to a connection at once and for ever.
#[derive(Clone, Copy, Debug, Default)]
enum Strike {
    #[default]
    Cut,
    Reset,
    HalfOpen,
    /// It stays open at both ends, and carries nothing more.
    Freeze,
}

impl Proxy {
    /// Listens on a free port of this machine and carries what comes to `server`.
    pub(super) async fn start(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (weather, seen) = watch::channel(Weather::default());
        Ok(Self { address, weather, task: tokio::spawn(accept(listener, server, seen)) })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins a disturbance.
    pub(super) fn apply(&self, kind: Kind) {
        self.weather.send_modify(|weather| {
            let strike = match kind {
                Kind::Cut => Some(Strike::Cut),
                Kind::Reset => Some(Strike::Reset),
                Kind::HalfOpen => Some(Strike::HalfOpen),
                Kind::BlackHole => Some(Strike::Freeze),
                Kind::Stall | Kind::BlackHoleUp | Kind::BlackHoleDown => None,
            };
            if let Some(strike) = strike {
                weather.strikes += 1;
                weather.last = strike;
            }
            weather.hold_up = matches!(kind, Kind::BlackHole | Kind::Stall | Kind::BlackHoleUp);
            weather.hold_down = matches!(kind, Kind::BlackHole | Kind::Stall | Kind::BlackHoleDown);
        });
    }

    /// Ends it.
    pub(super) fn calm(&self) {
        self.weather.send_modify(|weather| (weather.hold_up, weather.hold_down) = (false, false));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, weather: watch::Receiver<Weather>) {
    let mut carried = JoinSet::new();
    loop {
        let Ok((device, _)) = listener.accept().await else { continue };
        let Ok(server) = TcpStream::connect(server).await else { continue };
        // Late bytes are the proxy's business, not Nagle's.
        let _ = (device.set_nodelay(true), server.set_nodelay(true));
        carried.spawn(carry(device, server, weather.clone()));
        while carried.try_join_next().is_some() {}
    }
}

/// Carries one connection until it ends, or is struck.
async fn carry(mut device: TcpStream, mut server: TcpStream, mut weather: watch::Receiver<Weather>) {
    let strikes = weather.borrow_and_update().strikes;
    match pump(&mut device, &mut server, &mut weather, strikes).await {
        None | Some(Strike::Cut) => {}
        Some(Strike::Reset) => {
            // Closing is then a reset; where that cannot be had, it is a cut.
            let _ = (device.set_zero_linger(), server.set_zero_linger());
        }
        Some(Strike::HalfOpen) => {
            drop(device);
            forever(server).await;
        }
        Some(Strike::Freeze) => forever((device, server)).await,
    }
}

/// Keeps sockets open without touching them.
async fn forever<T>(_kept: T) {
    std::future::pending().await
}

/// Moves bytes until an end closes (`None`) or the connection is struck.
async fn pump(
    device: &mut TcpStream,
    server: &mut TcpStream,
    weather: &mut watch::Receiver<Weather>,
    strikes: u32,
) -> Option<Strike> {
    let (from_device, to_device) = device.split();
    let (from_server, to_server) = server.split();
    let mut up = Direction { from: from_device, to: to_server, held: BytesMut::new() };
    let mut down = Direction { from: from_server, to: to_device, held: BytesMut::new() };
    loop {
        let now = *weather.borrow_and_update();
        if now.strikes != strikes {
            return Some(now.last);
        }
        let moved = tokio::select! {
            changed = weather.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return None,
            },
            moved = up.step(), if !now.hold_up => moved,
            moved = down.step(), if !now.hold_down => moved,
        };
        if moved.unwrap_or(0) == 0 {
            return None;
        }
    }
}

struct Direction<'s> {
    from: ReadHalf<'s>,
    to: WriteHalf<'s>,
    /// Read and not written.
    held: BytesMut,
}

impl Direction<'_> {
    /// Reads, or writes what was read; 0 when the stream has ended. Dropping it moves no byte.
    async fn step(&mut self) -> io::Result<usize> {
        if self.held.is_empty() { self.from.read_buf(&mut self.held).await } else { self.to.write_buf(&mut self.held).await }
    }
}
