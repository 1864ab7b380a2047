//! The server: a listener in front of the sessions.

use crate::config::{InvalidConfig, ServerConfig};
use crate::connection::Connection;
use crate::doors::Doors;
use crate::error::Closed;
use crate::listener::{self, Kind, Serve};
use crate::registry::Registry;
use crate::report::Reports;
use holdline_proto::{ByeCode, Outbox};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::ToSocketAddrs;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A Holdline server: sessions by client id, and listeners that bring them their links.
///
/// Clones share everything. When the last one is dropped the listeners stop and every link is closed; use
/// [`Server::shutdown`] to end in good order.
///
/// ```
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use holdline_server::{Server, ServerConfig};
/// let server = Server::bind("127.0.0.1:8123", ServerConfig::default()).await?;
/// let door = server.client("door-1").await?; // waits for its first contact
/// door.write("open").await?; // returns when the door has accepted it, through any outage
/// println!("{}", door.readline().await?);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Server {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    registry: Arc<Registry>,
    doors: Arc<Doors>,
    tasks: TaskTracker,
    /// Ends the listeners.
    stop: CancellationToken,
    /// Where it listened first.
    local: OnceLock<SocketAddr>,
}

/// A server could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The configuration is out of range.
    #[error(transparent)]
    Config(#[from] InvalidConfig),
    /// The address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] io::Error),
}

impl Server {
    /// Listens on an address for clients of every profile.
    ///
    /// # Errors
    /// The configuration is out of range, or the address cannot be listened on (in use, not allowed, not of this machine).
    pub async fn bind(address: impl ToSocketAddrs, config: ServerConfig) -> Result<Self, BindError> {
        let server = Self::new(config)?;
        server.listen(address).await?;
        Ok(server)
    }

    /// A server without a listener: it can [listen](Server::listen) later, and serve streams that the caller brings
    /// ([`Server::serve`]). There may be any number of listeners and streams, of both kinds, in front of the same sessions.
    ///
    /// # Errors
    /// The configuration is out of range.
    pub fn new(config: ServerConfig) -> Result<Self, InvalidConfig> {
        let config = config.checked()?;
        let doors = Arc::new(Doors::new(&config.given.limits));
        let inner = Inner {
            registry: Arc::new(Registry::new(config)),
            doors,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            local: OnceLock::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Listens on an address, or a further one; returns the address, whose port is the one the system chose if 0 was asked for. After
    /// [`Server::shutdown`] nobody is accepted.
    ///
    /// # Errors
    /// The address cannot be listened on (in use, not allowed, not of this machine).
    pub async fn listen(&self, address: impl ToSocketAddrs) -> io::Result<SocketAddr> {
        self.listen_to(address, Kind::Unchecked).await
    }

    /// The same for clients whose every line carries a check (SPEC.md 8.2): those whose bytes come part of the way over something
    /// that can lose or change them, such as the serial line of a relay. Only native clients can have checks, and they have to be told;
    /// one of the wrong kind is not served, and [reported](crate::What::WrongCheck).
    ///
    /// The sessions are the same ones: a client keeps its own when it comes over the other kind of listener next time. There a text
    /// may be 9 bytes longer.
    ///
    /// ```
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use holdline_server::{Server, ServerConfig};
    /// let server = Server::bind("0.0.0.0:8123", ServerConfig::default()).await?;
    /// server.listen_checked("0.0.0.0:8124").await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Server::listen`].
    pub async fn listen_checked(&self, address: impl ToSocketAddrs) -> io::Result<SocketAddr> {
        self.listen_to(address, Kind::Checked).await
    }

    async fn listen_to(&self, address: impl ToSocketAddrs, kind: Kind) -> io::Result<SocketAddr> {
        let Inner { registry, doors, tasks, stop, local } = &*self.inner;
        let listener = listener::listen(address, &registry.config.given.limits).await?;
        let address = listener.local_addr()?;
        local.get_or_init(|| address);
        tasks.spawn(listener::accept(listener, kind, Arc::clone(registry), Arc::clone(doors), tasks.clone(), stop.clone()));
        Ok(address)
    }

    /// The first address that it listens on; its port is the one the system chose if 0 was asked for.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.inner.local.get().copied()
    }

    /// Serves one stream that the caller has opened (a TLS connection, one end of a pipe) until its link ends.
    ///
    /// Dropping the future closes the stream; the session stays.
    pub async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send>(&self, stream: S) {
        self.serve_as(stream, Kind::Unchecked).await;
    }

    /// Serves one stream whose every line carries a check (SPEC.md 8.2), such as a serial line: link after link, however long it is
    /// silent between them, until it ends or the server has shut down.
    ///
    /// Dropping the future closes the stream; the session stays.
    pub async fn serve_checked<S: AsyncRead + AsyncWrite + Unpin + Send>(&self, stream: S) {
        self.serve_as(stream, Kind::CheckedWire).await;
    }

    async fn serve_as<S: AsyncRead + AsyncWrite + Unpin + Send>(&self, stream: S, kind: Kind) {
        let _tracked = self.inner.tasks.token();
        Serve::new(stream, kind, Arc::clone(&self.inner.registry), Arc::clone(&self.inner.doors), None).await;
    }

    /// The line to a client, as soon as it has made contact for the first time; at once if it has.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// [`Closed`] if the server shuts down first.
    pub async fn client(&self, id: &str) -> Result<Connection, Closed> {
        let channel = self.inner.registry.wait(id).await.ok_or(Closed)?;
        Ok(Connection::new(channel, self.inner.registry.clock))
    }

    /// Waits until each of `peers` is up; none named: each client that the configuration expects. `id`, if given, is left out: it is
    /// the caller's own.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// [`Closed`] if the server shuts down first.
    pub async fn wait_all(&self, id: Option<&str>, peers: &[&str]) -> Result<Vec<Connection>, Closed> {
        let expected = &self.inner.registry.config.given.expected;
        let named: Vec<&str> = if peers.is_empty() { expected.iter().map(String::as_str).collect() } else { peers.to_vec() };
        let mut connections = Vec::new();
        for peer in named.into_iter().filter(|peer| Some(*peer) != id) {
            let connection = self.client(peer).await?;
            connection.wait_up().await?;
            connections.push(connection);
        }
        Ok(connections)
    }

    /// The line to a client that has made contact before.
    pub fn get(&self, id: &str) -> Option<Connection> {
        self.inner.registry.get(id).map(|channel| Connection::new(channel, self.inner.registry.clock))
    }

    /// Lets a client come back whose line was [closed](Connection::close): its next hello begins a new session, as after a restart of
    /// the server. `false` if there is no such line, or it is open. Handles on the old line stay closed;
    /// [`Server::client`] waits for the new one.
    pub fn readmit(&self, id: &str) -> bool {
        self.inner.registry.forget_closed(id)
    }

    /// The lines to all clients that have made contact, in the order of their ids.
    pub fn connections(&self) -> Vec<Connection> {
        let registry = &self.inner.registry;
        registry.all().into_iter().map(|channel| Connection::new(channel, registry.clock)).collect()
    }

    /// What happens from now on: connected, outage, resumed, and all that an operator wants to know. Asked for before it
    /// [listens](Server::listen), it misses nothing:
    ///
    /// ```
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use holdline_server::{Server, ServerConfig};
    /// let server = Server::new(ServerConfig::default())?;
    /// let mut reports = server.reports();
    /// server.listen("127.0.0.1:8123").await?;
    /// while let Some(report) = reports.next().await {
    ///     println!("{}: {:?}", report.client, report.what);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn reports(&self) -> Reports {
        self.inner.registry.reporter.subscribe()
    }

    /// Connections that were refused, closed before their hello, or turned away, since the start.
    pub fn turned_away(&self) -> u64 {
        self.inner.doors.turned_away()
    }

    /// How often peers violated the protocol since the start, by the name of the fault.
    pub fn faults(&self) -> BTreeMap<&'static str, u64> {
        self.inner.registry.reporter.faults()
    }

    /// Ends every link in order. The sessions stay: clients come back after `retry`, spread over as long again.
    pub fn close_all(&self, retry: Duration) {
        for channel in self.inner.registry.all() {
            // HL-0128
            channel.lock().close_link(ByeCode::Closing, self.inner.registry.spread(milliseconds(retry)));
        }
    }

    /// Shuts down in good order, within `bound`: hellos are refused from now on, messages that were queued get until half of the
    /// bound to be delivered, then every client is told to come back after `retry` (spread over as long again) and every line is
    /// closed. Whatever a client does, this returns within the bound; returns how many messages were not delivered.
    ///
    /// Cancel safe in that dropping it leaves the server closed to newcomers; call it again to go on.
    pub async fn shutdown(&self, retry: Duration, bound: Duration) -> usize {
        let registry = &self.inner.registry;
        registry.close();
        self.inner.stop.cancel();
        let channels = registry.all();
        let undelivered = || channels.iter().map(|channel| channel.lock().get().session.outbox().len()).sum::<usize>();
        let drained = async {
            for channel in &channels {
                let connection = Connection::new(Arc::clone(channel), registry.clock);
                if connection.status().up {
                    // A line that is closed has nothing left to wait for.
                    let _ = connection.flush().await;
                }
            }
        };
        let _ = tokio::time::timeout(bound / 2, drained).await;
        let left = undelivered();
        for channel in &channels {
            // HL-0126, HL-0128
            channel.lock().close(ByeCode::Closing, registry.spread(milliseconds(retry)));
        }
        self.inner.tasks.close();
        // HL-0127
        let _ = tokio::time::timeout(bound * 2 / 5, self.inner.tasks.wait()).await;
        self.inner.doors.slam(registry);
        // From here on nothing waits for a peer; only a `serve` whose caller does not poll it stays.
        let _ = tokio::time::timeout(bound / 10, self.inner.tasks.wait()).await;
        left
    }
}

fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop.cancel();
        self.registry.close();
        // Whoever still waits on a handle is told.
        self.doors.slam(&self.registry);
    }
}
