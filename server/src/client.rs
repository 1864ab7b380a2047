//! The client: the same driver as the server's, calling out, and the supervisor that says when.

use crate::chance::Chance;
use crate::channel::{Channel, LastLink, Session, State};
use crate::clock::Clock;
use crate::connection::{Connection, Profile};
use crate::driver::{Claim, Driver};
use crate::report::{Reporter, Reports, What};
use holdline_proto::{
    Action, ByeCode, Client as ClientRole, ClientId, Config, ConfigError, ConnectFailure, DownReason, Incarnation,
    InvalidClientId, Supervisor, SupervisorConfig, ValidConfig, VecOutbox, classic, classic::Flavour, native,
};
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::ops::{ControlFlow, Deref};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Called with `true` when a link comes up and with `false` when it goes down.
type ConnectionCallback = Box<dyn FnMut(bool) + Send>;
/// Called when an attempt fails before any link was up; `Break` gives up.
type BadServer = Box<dyn FnMut(&str) -> ControlFlow<()> + Send>;

/// A client: one line to one server, kept up for as long as this value lives.
///
/// It derefs to its [`Connection`], whose calls pause through outages. Dropping it says goodbye and closes the line.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use holdline_server::Client;
/// let client = Client::builder("door-1", "192.168.1.10:8123").start()?;
/// client.write("opened").await?;
/// println!("{}", client.readline().await?);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Client {
    connection: Connection<ClientRole>,
    channel: Arc<Channel<ClientRole>>,
    reporter: Reporter,
}

/// A client could not be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidClient {
    /// The name is no client id.
    #[error(transparent)]
    Id(#[from] InvalidClientId),
    /// A parameter of the session is out of range.
    #[error(transparent)]
    Session(#[from] ConfigError),
}

/// Choices of a client; made with [`Client::builder`].
pub struct ClientBuilder {
    id: String,
    server: String,
    session: Config,
    profile: Profile,
    fallback: Option<Flavour>,
    outbox: VecOutbox,
    inbox: usize,
    chance: Chance,
    on_connection: Option<ConnectionCallback>,
    bad_server: Option<BadServer>,
    reporter: Reporter,
}

impl std::fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientBuilder").field("id", &self.id).field("server", &self.server).finish_non_exhaustive()
    }
}

impl Client {
    /// A client with the name `id` of the server at `server`, a host and a port, which is looked up for every attempt.
    pub fn builder(id: &str, server: &str) -> ClientBuilder {
        ClientBuilder {
            id: id.into(),
            server: server.into(),
            session: Config::new(),
            profile: Profile::Native,
            fallback: None,
            outbox: VecOutbox::new(1_024, 1 << 20),
            inbox: 256,
            chance: Chance::default(),
            on_connection: None,
            bad_server: None,
            reporter: Reporter::new(),
        }
    }

    /// What happens from now on; [`ClientBuilder::reports`] misses nothing.
    pub fn reports(&self) -> Reports {
        self.reporter.subscribe()
    }

    /// How often the server violated the protocol since the start, by the name of the fault.
    pub fn faults(&self) -> BTreeMap<&'static str, u64> {
        self.reporter.faults()
    }

    /// A further handle on the line; it does not keep the client alive.
    pub fn connection(&self) -> Connection<ClientRole> {
        self.connection.clone()
    }
}

impl Deref for Client {
    type Target = Connection<ClientRole>;

    fn deref(&self) -> &Self::Target {
        &self.connection
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // HL-0129
        self.channel.lock().close(ByeCode::Done, 0);
    }
}

impl ClientBuilder {
    /// The session's parameters. Default: [`Config::new`]; in a classic profile the timeout must be the server's own.
    #[must_use]
    pub fn session(mut self, session: Config) -> Self {
        self.session = session;
        self
    }

    /// The wire to speak. Default: native.
    #[must_use]
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// Goes over to a classic profile when what answers a native hello does not speak Holdline. Default: goes on trying.
    #[must_use]
    pub fn fallback(mut self, flavour: Flavour) -> Self {
        self.fallback = Some(flavour);
        self
    }

    /// How many unacknowledged messages, of how many bytes of text together, wait here. Default: 1,024 of 1 MiB.
    #[must_use]
    pub fn outbox(mut self, messages: u32, bytes: u32) -> Self {
        self.outbox = VecOutbox::new(messages, bytes);
        self
    }

    /// Where random numbers come from. Default: the system.
    #[must_use]
    pub fn chance(mut self, chance: Chance) -> Self {
        self.chance = chance;
        self
    }

    /// Is told each time a link comes up or goes down.
    #[must_use]
    pub fn on_connection(mut self, callback: impl FnMut(bool) + Send + 'static) -> Self {
        self.on_connection = Some(Box::new(callback));
        self
    }

    /// Is asked, while no link has ever been up, whether to go on after an attempt that failed for the reason given. Default: go on.
    #[must_use]
    pub fn bad_server(mut self, hook: impl FnMut(&str) -> ControlFlow<()> + Send + 'static) -> Self {
        self.bad_server = Some(Box::new(hook));
        self
    }

    /// All that will happen, from the first attempt on.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use holdline_server::{Client, What};
    /// let builder = Client::builder("door-1", "192.168.1.10:8123");
    /// let mut reports = builder.reports();
    /// let client = builder.start()?;
    /// while let Some(report) = reports.next().await {
    ///     match report.what {
    ///         What::NotReached { reason, .. } => println!("not yet: {reason}"),
    ///         what => println!("{what:?}"),
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    pub fn reports(&self) -> Reports {
        self.reporter.subscribe()
    }

    /// Starts the client on the current Tokio runtime.
    ///
    /// # Errors
    /// The name is no client id, or a parameter is out of range.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn start(self) -> Result<Client, InvalidClient> {
        let server = self.server.clone();
        self.start_with(move || {
            let server = server.clone();
            async move {
                let stream = TcpStream::connect(server).await?;
                stream.set_nodelay(true)?;
                Ok(stream)
            }
        })
    }

    /// Starts the client over streams that `connect` opens: a serial port, a TLS connection, one end of a pipe.
    ///
    /// # Errors
    /// The name is no client id, or a parameter is out of range.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn start_with<S, F, C>(self, connect: C) -> Result<Client, InvalidClient>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        F: Future<Output = io::Result<S>> + Send + 'static,
        C: FnMut() -> F + Send + 'static,
    {
        let role = ClientRole { id: ClientId::new(&self.id)? };
        let config = self.session.validate()?;
        let session = session(role, config, self.profile, self.outbox.clone(), &self.chance);
        let channel = Arc::new(Channel::new(Arc::from(&*self.id), session, self.inbox));
        let (reporter, clock) = (self.reporter, Clock::new());
        if let Some(mut callback) = self.on_connection {
            let mut reports = reporter.subscribe();
            tokio::spawn(async move {
                while let Some(report) = reports.next().await {
                    match report.what {
                        What::Connected | What::Resumed { .. } => callback(true),
                        What::Outage(_) => callback(false),
                        _ => {}
                    }
                }
            });
        }
        let supervisor = SupervisorConfig {
            timeout_ms: config.get().timeout_ms,
            has_network: false,
            classic: matches!(self.profile, Profile::Classic(_)),
        };
        let caller = Caller {
            channel: Arc::clone(&channel),
            reporter: reporter.clone(),
            clock,
            supervisor: Supervisor::new(supervisor, self.chance.draw()),
            role,
            config,
            fallback: self.fallback.filter(|_| self.profile == Profile::Native),
            outbox: self.outbox,
            chance: self.chance,
            bad_server: self.bad_server,
        };
        tokio::spawn(caller.run(connect));
        let connection = Connection::new(Arc::clone(&channel), clock);
        Ok(Client { connection, channel, reporter })
    }
}

fn session(role: ClientRole, config: ValidConfig, profile: Profile, outbox: VecOutbox, chance: &Chance) -> Session<ClientRole> {
    match profile {
        Profile::Native => {
            let incarnation = Incarnation { boot: chance.draw(), epoch: chance.draw() };
            Session::Native(native::Session::new(role, config, incarnation, outbox))
        }
        Profile::Classic(flavour) => Session::Classic(Box::new(classic::Session::new(role, flavour, config, outbox))),
    }
}

/// How an attempt to connect, or the link that it led to, has ended.
struct Failed {
    /// For people.
    why: String,
    /// Whether somebody took the connection and did not answer, or hung up.
    unanswered: bool,
}

/// The task behind a client.
struct Caller {
    channel: Arc<Channel<ClientRole>>,
    reporter: Reporter,
    clock: Clock,
    supervisor: Supervisor,
    role: ClientRole,
    config: ValidConfig,
    fallback: Option<Flavour>,
    /// An empty outbox with the bounds that were asked for.
    outbox: VecOutbox,
    chance: Chance,
    bad_server: Option<BadServer>,
}

impl Caller {
    /// Connects, drives, waits, until the line is closed.
    async fn run<S, F, C>(mut self, mut connect: C)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        F: Future<Output = io::Result<S>> + Send + 'static,
        C: FnMut() -> F + Send + 'static,
    {
        let channel = Arc::clone(&self.channel);
        // HL-0130: one thing after the other.
        loop {
            let closed = channel.call(|locked| locked.get().closed());
            if let Some(Action::Connect { timeout_ms }) = self.supervisor.poll_action() {
                // HL-0135
                let attempt = tokio::time::timeout(Duration::from_millis(timeout_ms.into()), connect());
                let attempt = tokio::select! {
                    biased;
                    () = closed => return,
                    attempt = attempt => attempt.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
                };
                let failed = match attempt {
                    Ok(stream) => self.drive(stream).await,
                    Err(error) => Some(self.note_failed(&error)),
                };
                if failed.is_none_or(|failed| self.gives_up(failed)) {
                    self.channel.lock().close(ByeCode::Done, 0);
                    return;
                }
            } else if let Some(deadline) = self.supervisor.poll_timeout() {
                tokio::select! {
                    biased;
                    () = closed => return,
                    () = tokio::time::sleep_until(self.clock.at(deadline)) => self.supervisor.handle_timeout(self.clock.now()),
                }
            } else {
                // Without a network to wait for, the supervisor always wants one or the other.
                return;
            }
        }
    }

    fn note_failed(&mut self, error: &io::Error) -> Failed {
        let failure = match error.kind() {
            io::ErrorKind::ConnectionRefused => ConnectFailure::Refused,
            io::ErrorKind::TimedOut => ConnectFailure::TimedOut,
            _ => ConnectFailure::Unreachable,
        };
        self.supervisor.handle_connect_failed(self.clock.now(), failure);
        Failed { why: error.to_string(), unanswered: false }
    }

    /// Drives a link over a stream that was opened, to its end; returns why it ended, or `None` if the line is closed.
    async fn drive<S: AsyncRead + AsyncWrite + Unpin>(&mut self, stream: S) -> Option<Failed> {
        self.supervisor.handle_connected();
        let now = self.clock.now();
        let mut reports = Vec::new();
        let random = self.chance.draw();
        let greet = |state: &mut State<ClientRole>, _: &mut Vec<What>| state.session.handle_connected(now, random);
        let link = self.channel.lock().begin_link(greet, now, &mut reports)?;
        self.reporter.tell_all(&self.channel.id, reports);
        {
            let claim = Claim { channel: Arc::clone(&self.channel), reporter: self.reporter.clone(), clock: self.clock, link };
            let mut driver = Driver::new(claim, stream, self.config.get().check, Vec::new());
            let mut sleep = std::pin::pin!(tokio::time::sleep_until(self.clock.at(now)));
            std::future::poll_fn(|cx| driver.poll(sleep.as_mut(), cx)).await;
        }
        let (is_closed, LastLink { up_at, down }) = {
            let mut locked = self.channel.lock();
            (locked.get().is_closed(), locked.get().last_link())
        };
        if is_closed {
            return None;
        }
        let (down_at, reason) = down.unwrap_or((now, DownReason::Closed));
        if let Some(up_at) = up_at {
            self.supervisor.handle_up(up_at);
        }
        self.supervisor.handle_down(down_at, reason);
        if reason == DownReason::NotHoldline
            && let Some(flavour) = self.fallback.take()
        {
            self.fall_back(flavour);
        }
        let unanswered =
            up_at.is_none() && matches!(reason, DownReason::HelloTimeout | DownReason::Outage | DownReason::Disconnected);
        Some(Failed { why: reason.to_string(), unanswered })
    }

    /// Goes over to a classic profile, with the messages that wait.
    fn fall_back(&mut self, flavour: Flavour) {
        // HL-0015
        let mut locked = self.channel.lock();
        let state = locked.get();
        let outbox = state.move_outbox(self.outbox.clone());
        state.session = session(self.role, self.config, Profile::Classic(flavour), outbox, &self.chance);
        self.supervisor.set_classic();
    }

    /// Tells about a failure before the first link; whether the application wants no further attempt.
    fn gives_up(&mut self, Failed { why, unanswered }: Failed) -> bool {
        // HL-0140
        if self.supervisor.poll_first_failure().is_none() {
            return false;
        }
        self.reporter.tell(&self.channel.id, What::NotReached { reason: why.clone(), unanswered });
        self.bad_server.as_mut().is_some_and(|hook| hook(&why).is_break())
    }
}
