//! One proxy: its listener, its connections, its toxics.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Error;
use super::chance::Chance;
use super::connection::{Setup, carry};
use super::kind::Close;
use super::listed::{Listed, Orders};
use super::toxic::Toxic;

const MOST_TOXICS: usize = 64;
/// How long accepting waits when the machine has no descriptor left.
const RECOVER: Duration = Duration::from_millis(50);

/// A proxy as it is seen from outside, and as the HTTP API shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProxyView {
    /// What it is called.
    pub name: String,
    /// Where clients connect to; once it has listened, with the port that it was given.
    pub listen: String,
    /// Where it connects to.
    pub upstream: String,
    /// Whether it listens.
    pub enabled: bool,
    /// What is done to its connections, in the order in which bytes meet it.
    pub toxics: Vec<Toxic>,
}

/// What all proxies of a program share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) chance: Chance,
    pub(super) capacity: usize,
    /// A permit for each connection that may live.
    pub(super) slots: Arc<Semaphore>,
}

#[derive(Debug)]
pub(super) struct Proxy {
    shared: Arc<Shared>,
    name: String,
    listen: String,
    upstream: Arc<str>,
    orders: watch::Sender<Arc<Orders>>,
    connections: Arc<AtomicU64>,
    toxics_ever: u64,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    stop: CancellationToken,
    tasks: TaskTracker,
    /// `None` while nobody is to listen though the proxy is enabled.
    listening: Option<Listening>,
}

#[derive(Debug)]
struct Listening {
    stop: CancellationToken,
    accepting: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Proxy {
    /// A proxy that does not listen yet.
    pub(super) fn new(shared: &Arc<Shared>, name: &str, listen: &str, upstream: &str) -> Self {
        Self {
            shared: Arc::clone(shared),
            name: name.to_owned(),
            listen: listen.to_owned(),
            upstream: upstream.into(),
            orders: watch::Sender::default(),
            connections: Arc::default(),
            toxics_ever: 0,
            running: None,
        }
    }

    pub(super) fn view(&self) -> ProxyView {
        ProxyView {
            name: self.name.clone(),
            listen: self.listen.clone(),
            upstream: self.upstream.to_string(),
            enabled: self.is_enabled(),
            toxics: self.toxics(),
        }
    }

    pub(super) const fn is_enabled(&self) -> bool {
        self.running.is_some()
    }

    /// Whether it would have to start anew to be at these addresses.
    pub(super) async fn differs(&self, listen: &str, upstream: &str) -> Result<bool, Error> {
        if *self.upstream != *upstream {
            return Ok(true);
        }
        if listen == self.listen {
            return Ok(false);
        }
        Ok(resolve(listen).await?.iter().all(|address| address.to_string() != self.listen))
    }

    /// Takes other addresses; it must not be running.
    pub(super) fn readdress(&mut self, listen: &str, upstream: &str) {
        listen.clone_into(&mut self.listen);
        self.upstream = upstream.into();
    }

    /// Listens, unless a toxic refuses everybody. Dropping the future leaves it as it was.
    pub(super) async fn start(&mut self) -> Result<(), Error> {
        if self.is_enabled() {
            return Ok(());
        }
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let listening = if self.refuses() { None } else { Some(self.listen(&stop, &tasks).await?) };
        self.running = Some(Running { stop, tasks, listening });
        Ok(())
    }

    /// Listens or does not, as its toxics say; a disabled one does not. Dropping the future may leave it not listening.
    pub(super) async fn heed(&mut self) -> Result<(), Error> {
        let refuses = self.refuses();
        let Some(running) = &mut self.running else { return Ok(()) };
        if !refuses && running.listening.is_none() {
            let (stop, tasks) = (running.stop.clone(), running.tasks.clone());
            let listening = self.listen(&stop, &tasks).await?;
            if let Some(running) = &mut self.running {
                running.listening = Some(listening);
            }
        } else if refuses && let Some(listening) = running.listening.take() {
            listening.stop.cancel();
            // It is over, however it ended.
            let _ = listening.accepting.await;
            tracing::info!(proxy = self.name, "nobody listens");
        }
        Ok(())
    }

    fn refuses(&self) -> bool {
        self.orders.borrow().toxics.iter().any(|listed| listed.refuses())
    }

    async fn listen(&mut self, stop: &CancellationToken, tasks: &TaskTracker) -> Result<Listening, Error> {
        let fail = |source| Error::Listen { address: self.listen.clone(), source };
        let addresses = resolve(&self.listen).await?;
        let listener = TcpListener::bind(&*addresses).await.map_err(fail)?;
        self.listen = listener.local_addr().map_err(fail)?.to_string();
        let listening = stop.child_token();
        let accepting = tasks.spawn(self.accept(listener, listening.clone(), stop, tasks));
        tracing::info!(proxy = self.name, listen = self.listen, upstream = &*self.upstream, "listening");
        Ok(Listening { stop: listening, accepting })
    }

    /// Stops listening and closes all connections. Dropping the future leaves them closing.
    pub(super) async fn stop(&mut self) {
        let Some(running) = self.running.take() else { return };
        running.stop.cancel();
        running.tasks.close();
        running.tasks.wait().await;
        tracing::info!(proxy = self.name, "stopped");
    }

    /// Closes the connections that there are now.
    pub(super) fn disconnect(&self, close: Close) {
        let close_before = self.connections.load(Ordering::Relaxed);
        self.order(|orders| (orders.close_before, orders.close) = (close_before, close));
    }

    pub(super) fn toxics(&self) -> Vec<Toxic> {
        let orders = self.orders.borrow();
        let mut toxics: Vec<Toxic> = orders.toxics.iter().map(|listed| listed.toxic.clone()).collect();
        toxics.sort_by_key(Toxic::stream);
        toxics
    }

    pub(super) fn toxic(&self, name: &str) -> Result<Toxic, Error> {
        self.find(name).map(|listed| listed.toxic.clone())
    }

    pub(super) fn add_toxic(&mut self, toxic: Toxic) -> Result<Toxic, Error> {
        if self.find(toxic.name()).is_ok() {
            return Err(Error::ToxicAlreadyExists);
        }
        if self.orders.borrow().toxics.len() >= MOST_TOXICS {
            return Err(Error::TooMany { what: "toxics on a proxy", limit: MOST_TOXICS });
        }
        self.toxics_ever += 1;
        let since = self.connections.load(Ordering::Relaxed);
        let listed = Listed { id: self.toxics_ever, since, toxic: toxic.clone() };
        self.order(|orders| orders.toxics.push(Arc::new(listed)));
        Ok(toxic)
    }

    pub(super) fn change_toxic(&self, name: &str, change: impl FnOnce(&Toxic) -> Result<Toxic, Error>) -> Result<Toxic, Error> {
        let found = self.find(name)?;
        let toxic = change(&found.toxic)?;
        let listed = Arc::new(Listed { toxic: toxic.clone(), ..Listed::clone(&found) });
        self.order(|orders| {
            for place in orders.toxics.iter_mut().filter(|place| place.id == listed.id) {
                *place = Arc::clone(&listed);
            }
        });
        Ok(toxic)
    }

    pub(super) fn remove_toxic(&self, name: &str) -> Result<(), Error> {
        let found = self.find(name)?;
        self.order(|orders| orders.toxics.retain(|listed| listed.id != found.id));
        Ok(())
    }

    pub(super) fn remove_all_toxics(&self) {
        self.order(|orders| orders.toxics.clear());
    }

    fn find(&self, name: &str) -> Result<Arc<Listed>, Error> {
        self.orders.borrow().toxics.iter().find(|listed| listed.toxic.name() == name).cloned().ok_or(Error::ToxicNotFound)
    }

    fn order(&self, change: impl FnOnce(&mut Orders)) {
        self.orders.send_modify(|orders| change(Arc::make_mut(orders)));
    }

    /// The task that accepts, which makes one for each connection: as many as there are slots, and the rest waits in the kernel.
    fn accept(
        &self,
        listener: TcpListener,
        listening: CancellationToken,
        stop: &CancellationToken,
        tasks: &TaskTracker,
    ) -> impl Future<Output = ()> + Send + 'static {
        let shared = Arc::clone(&self.shared);
        let (stop, tasks) = (stop.clone(), tasks.clone());
        let (name, upstream) = (self.name.clone(), Arc::clone(&self.upstream));
        let (orders, connections) = (self.orders.subscribe(), Arc::clone(&self.connections));
        let chance = shared.chance.named(&name);
        async move {
            while let Some(accepted) = listening.run_until_cancelled(next(&listener, &shared.slots)).await {
                let (client, slot) = match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        tracing::warn!(proxy = name, %error, "cannot accept");
                        tokio::time::sleep(RECOVER).await;
                        continue;
                    }
                };
                let number = connections.fetch_add(1, Ordering::Relaxed);
                let setup = Setup {
                    number,
                    chance: chance.numbered(number),
                    capacity: shared.capacity,
                    upstream: Arc::clone(&upstream),
                    orders: orders.clone(),
                    tasks: tasks.clone(),
                };
                let (name, stop) = (name.clone(), stop.clone());
                tasks.spawn(async move {
                    tracing::debug!(proxy = name, connection = number, "opened");
                    match stop.run_until_cancelled(carry(client, setup)).await {
                        Some(Ok(())) | None => tracing::debug!(proxy = name, connection = number, "closed"),
                        Some(Err(error)) => tracing::warn!(proxy = name, connection = number, %error, "cannot reach the server"),
                    }
                    drop(slot);
                });
            }
        }
    }
}

async fn next(listener: &TcpListener, slots: &Arc<Semaphore>) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let (client, _) = listener.accept().await?;
    Ok((client, Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?))
}

/// The addresses that are meant, as Go reads them: no host is any, and of a name's addresses IPv4 comes first.
pub(super) async fn resolve(listen: &str) -> Result<Vec<SocketAddr>, Error> {
    let port = match listen {
        "" => Some(":0"),
        _ => listen.strip_prefix(':').map(|_| listen),
    };
    let fail = |source| Error::Listen { address: listen.to_owned(), source };
    let mut addresses = Vec::new();
    match port {
        Some(port) => {
            for host in ["[::]", "0.0.0.0"] {
                addresses.extend(lookup_host(format!("{host}{port}")).await.map_err(fail)?);
            }
        }
        None => {
            addresses.extend(lookup_host(listen).await.map_err(fail)?);
            addresses.sort_by_key(SocketAddr::is_ipv6);
        }
    }
    Ok(addresses)
}
