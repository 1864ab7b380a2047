//! Networks for Tokio programs: the streams of a [`World`], as sockets, in the time of the runtime.
//!
//! A test starts the real program, or its library, on [`Host`]s of a [`Net`] instead of sockets of the system. The world carries
//! the bytes, with every delay and break that it can do. Under a paused clock on a current-thread runtime a run takes no time and is
//! the same each time, provided the program draws its random numbers from a seed and waits for nothing but streams and timers.
//!
//! ```
//! use holdline_sim::{Access, Fate, net::Net};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> std::io::Result<()> {
//! let net = Net::new(7);
//! let (server, device) = (net.host(Access::default()), net.host(Access::default()));
//! let mut listener = server.listen();
//! let mut near = device.connect(server.id()).await?;
//! let mut far = listener.accept().await;
//! near.write_all(b"hello").await?;
//! let mut heard = [0; 5];
//! far.read_exact(&mut heard).await?;
//!
//! net.world().break_streams(device.id(), Fate::Rst);
//! assert_eq!(far.read(&mut heard).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
//! # Ok(())
//! # }
//! ```

mod port;
mod socket;

use crate::world::{Access, NodeId, World};
use holdline_proto::Instant;
pub use port::Port;
pub use socket::Socket;
use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// How long a connection attempt goes on while nobody answers, in milliseconds, as Linux does.
const PATIENCE_MS: u32 = 127_000;

/// A world whose machines are the hosts of Tokio programs. A handle to be cloned; the world ends with the last handle, host or socket.
#[derive(Clone, Debug)]
pub struct Net(Arc<Carried>);

#[derive(Debug)]
struct Carried {
    world: Mutex<World<Port>>,
    /// The runtime's clock at the world's beginning.
    begun: tokio::time::Instant,
    /// Tells the carrier that something is due earlier than it knows.
    earlier: Arc<Notify>,
    carrier: Mutex<Option<AbortHandle>>,
}

/// A machine of the net: connects and listens.
#[derive(Clone, Debug)]
pub struct Host {
    net: Net,
    node: NodeId,
}

/// Where a host is connected to; when it is dropped, connections are closed as soon as they are open.
#[derive(Debug)]
pub struct Listener {
    host: Host,
    number: u32,
}

/// The world, at the present moment, in the hand of the test. Not to be held across an await.
#[derive(Debug)]
pub struct Hand<'n> {
    world: MutexGuard<'n, World<Port>>,
    net: &'n Carried,
    next: Option<Instant>,
}

impl Net {
    /// A net without hosts; everything random in it follows from `seed`.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn new(seed: u64) -> Self {
        let net = Arc::new(Carried {
            world: Mutex::new(World::new(seed)),
            begun: tokio::time::Instant::now(),
            earlier: Arc::default(),
            carrier: Mutex::default(),
        });
        let carrier = tokio::spawn(carry(Arc::downgrade(&net), Arc::clone(&net.earlier))).abort_handle();
        *net.carrier.lock().unwrap_or_else(PoisonError::into_inner) = Some(carrier);
        Self(net)
    }

    /// A new host, and how its network behaves.
    pub fn host(&self, access: Access) -> Host {
        Host { net: self.clone(), node: self.world().add(Port::default(), access) }
    }

    /// The world, to do something to: [`World::set_access`], [`World::break_streams`], [`World::trace_hash`] and so on.
    pub fn world(&self) -> Hand<'_> {
        let mut world = self.0.world.lock().unwrap_or_else(PoisonError::into_inner);
        let next = world.next_event();
        world.run_until(self.now());
        Hand { world, net: &self.0, next }
    }

    /// The world's time.
    pub fn now(&self) -> Instant {
        let since = tokio::time::Instant::now().saturating_duration_since(self.0.begun);
        Instant::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

/// Lets happen what is due, until the net is gone.
async fn carry(net: Weak<Carried>, earlier: Arc<Notify>) {
    loop {
        let Some(carried) = net.upgrade() else { return };
        let next = Net(Arc::clone(&carried)).world().next_event();
        let at = next.and_then(|at| carried.begun.checked_add(Duration::from_millis(at.as_millis())));
        drop(carried);
        tokio::select! {
            biased;
            () = earlier.notified() => {}
            () = tokio::time::sleep_until(at.unwrap_or_else(tokio::time::Instant::now)), if at.is_some() => {}
        }
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        if let Some(carrier) = self.carrier.get_mut().unwrap_or_else(PoisonError::into_inner) {
            carrier.abort();
        }
    }
}

impl Deref for Hand<'_> {
    type Target = World<Port>;

    fn deref(&self) -> &World<Port> {
        &self.world
    }
}

impl DerefMut for Hand<'_> {
    fn deref_mut(&mut self) -> &mut World<Port> {
        &mut self.world
    }
}

impl Drop for Hand<'_> {
    fn drop(&mut self) {
        // The carrier sleeps until `next`, or has been told of something earlier already.
        if self.world.next_event().is_some_and(|at| self.next.is_none_or(|next| at < next)) {
            self.net.earlier.notify_one();
        }
    }
}

impl Host {
    /// What the world calls it.
    pub fn id(&self) -> NodeId {
        self.node
    }

    /// Opens a stream to another host.
    ///
    /// Dropping the future gives up.
    ///
    /// # Errors
    /// `ConnectionRefused`, `HostUnreachable`, or `TimedOut` after 127 s without an answer; `NetworkDown` while this host has no power.
    pub async fn connect(&self, to: NodeId) -> io::Result<Socket> {
        let mut attempt = {
            let mut world = self.net.world();
            if !world.is_powered(self.node) {
                return Err(io::ErrorKind::NetworkDown.into());
            }
            let stream = world.connect(self.node, to, PATIENCE_MS);
            Socket::new(self.clone(), stream)
        };
        std::future::poll_fn(|cx| attempt.poll_open(cx)).await?;
        Ok(attempt)
    }

    /// Listens from now on. A host has one listener at a time, the latest, and none after it lost its power.
    pub fn listen(&self) -> Listener {
        let number = self.net.world().machine(self.node).listen();
        Listener { host: self.clone(), number }
    }

    /// Takes the host's power: its sockets are dead at once, and `fate` is what their other ends see. What runs on it is for the
    /// test to stop.
    pub fn power_off(&self, fate: crate::Fate) {
        let mut world = self.net.world();
        world.power_off(self.node, fate);
        world.machine(self.node).lose_everything();
    }

    /// Gives it power again.
    pub fn power_on(&self) {
        let mut world = self.net.world();
        let port = world.machine(self.node).anew();
        world.power_on(self.node, port);
    }

    /// When bytes last arrived at this host, on any stream.
    pub fn heard(&self) -> Instant {
        self.net.world().machine(self.node).heard()
    }
}

impl Listener {
    /// The next connection.
    ///
    /// Cancel safe.
    pub async fn accept(&mut self) -> Socket {
        let Self { host, number } = self;
        let stream = std::future::poll_fn(|cx| match host.net.world().machine(host.node).accept(cx, *number) {
            Some(stream) => Poll::Ready(stream),
            None => Poll::Pending,
        });
        Socket::new(host.clone(), stream.await)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let Self { host, number } = self;
        let mut world = host.net.world();
        for stream in world.machine(host.node).stop_listening(*number) {
            world.close(host.node, stream, &[]);
        }
    }
}
