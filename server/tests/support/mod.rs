//! Peers whose every line is said by hand, and streams that behave as a test wants.
#![allow(dead_code, unused_imports, unreachable_pub, reason = "each test program uses its own part")]

pub mod check;
mod stream;

use holdline_server::proto::{Client as ClientRole, Config, Role, Server as ServerRole};
use holdline_server::{Client, ClientBuilder, Connection, Profile, Report, Reports, Server, ServerConfig, What};
use std::any::Any;
use std::io;
use std::task::Poll;
use std::time::Duration;
pub use stream::{Endless, Fussy};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// What a wire between two ends in memory holds in each direction.
pub const PIPE: usize = 64 * 1024;
/// A welcome as a server says it that has no memory.
pub const WELCOME: &str = "HOLD/1 ok boot=1 epoch=5 base=0 peer=0 seen=0 keeps=none timeout=2000 window=16 max=4096";

/// The hello of a device that has no memory; `changes` replaces fields, or appends them.
pub fn hello(client: &str, changes: &str) -> String {
    let hello = format!("HOLD/1 client={client} boot=1 epoch=7 base=0 peer=0 seen=0 keeps=none timeout=2000 window=16 max=4096");
    changed(&hello, changes)
}

/// `line` with some of its fields changed, and those that it has not appended.
pub fn changed(line: &str, changes: &str) -> String {
    let mut fields: Vec<String> = line.split(' ').map(str::to_owned).collect();
    for change in changes.split_whitespace() {
        let key = change.split_inclusive('=').next().unwrap_or_default();
        match fields.iter_mut().find(|field| field.starts_with(key)) {
            Some(field) => change.clone_into(field),
            None => fields.push(change.to_owned()),
        }
    }
    fields.join(" ")
}

/// The value of a field of a greeting.
pub fn field(line: &str, key: &str) -> u64 {
    let value = line.split(' ').find_map(|field| field.strip_prefix(key)?.strip_prefix('='));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no number {key} in {line:?}"))
}

/// Lets a future take at most a minute: of the machine's time, or of the paused clock's.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("it does not take a minute")
}

/// What a future has now, if it does not have to wait.
pub async fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

pub async fn sleep(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

/// Milliseconds since an instant.
pub fn since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).expect("tests are short")
}

/// One end of a wire, in the hand of the test.
#[derive(Debug)]
pub struct Hand<S = DuplexStream> {
    pub stream: S,
    heard: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Hand<S> {
    pub fn new(stream: S) -> Self {
        Self { stream, heard: Vec::new() }
    }

    /// Says lines, each ended by an LF.
    pub async fn says(&mut self, lines: &str) {
        self.writes(&format!("{lines}\n")).await;
    }

    /// Writes bytes as they are.
    pub async fn writes(&mut self, bytes: &str) {
        self.stream.write_all(bytes.as_bytes()).await.expect("the other end is there");
    }

    /// The next line; `None` at the end of the stream.
    pub async fn hears_any(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.heard.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.heard.drain(..=end).take(end).collect();
                return Some(String::from_utf8(line).expect("lines are text"));
            }
            match self.stream.read_buf(&mut self.heard).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The next line that is not blank; `None` at the end of the stream.
    pub async fn hears(&mut self) -> Option<String> {
        loop {
            let line = self.hears_any().await;
            if line.as_deref() != Some("") {
                return line;
            }
        }
    }

    /// The lines that come until the stream ends, but for blank ones.
    pub async fn hears_all(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(line) = self.hears().await {
            lines.push(line);
        }
        lines
    }

    /// The next line that is not blank, said by the other end without letting time pass.
    pub async fn hears_now(&mut self) -> Option<String> {
        tokio::time::timeout(Duration::from_micros(1), self.hears()).await.unwrap_or(None)
    }

    /// Listens for `ms`: the lines that came, blank ones too, with the time of each; the end of the stream is `"(end)"`.
    pub async fn listens(&mut self, ms: u64) -> Vec<(u64, String)> {
        let start = Instant::now();
        let mut lines = Vec::new();
        let until = start + Duration::from_millis(ms);
        while let Ok(line) = tokio::time::timeout_at(until, self.hears_any()).await {
            let at = since(start);
            match line {
                Some(line) => lines.push((at, line)),
                None => {
                    lines.push((at, "(end)".into()));
                    break;
                }
            }
        }
        tokio::time::sleep_until(until).await;
        lines
    }

    /// Listens, and says a blank line within 100 ms of what it hears: one that came later would be answered, and change what is heard.
    pub async fn listens_alive(&mut self, ms: u64) -> Vec<(u64, String)> {
        let start = Instant::now();
        let mut lines = Vec::new();
        let mut answered = 0;
        while since(start) < ms {
            let already = since(start);
            let heard = self.listens(100.min(ms - already)).await;
            lines.extend(heard.into_iter().map(|(at, line)| (already + at, line)));
            if lines.last().is_some_and(|(_, line)| line == "(end)") {
                break;
            }
            if lines.len() > answered {
                answered = lines.len();
                // What is said to a stream that has just ended is lost.
                let _ = self.stream.write_all(b"\n").await;
            }
        }
        lines
    }
}

/// A device on a real socket.
pub async fn tcp(server: &Server) -> Hand<TcpStream> {
    let address = server.local_addr().expect("it listens");
    Hand::new(TcpStream::connect(address).await.expect("it listens"))
}

/// A server without a listener.
pub fn server(config: ServerConfig) -> Server {
    Server::new(config).expect("the test's configuration is in range")
}

/// A server on a free port of this machine.
pub async fn listening(config: ServerConfig) -> Server {
    Server::bind("127.0.0.1:0", config).await.expect("a free port")
}

/// A wire to the server.
pub fn wire(server: &Server) -> Hand {
    wire_of(server, PIPE)
}

/// A wire to the server that holds so many bytes in each direction.
pub fn wire_of(server: &Server, bytes: usize) -> Hand {
    let (near, far) = duplex(bytes);
    let server = server.clone();
    tokio::spawn(async move { server.serve(far).await });
    Hand::new(near)
}

/// A wire to the server, whose end of it is this stream.
pub fn wire_through<S>(server: &Server, through: impl FnOnce(DuplexStream) -> S) -> Hand
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (near, far) = duplex(PIPE);
    let (server, far) = (server.clone(), through(far));
    tokio::spawn(async move { server.serve(far).await });
    Hand::new(near)
}

/// Says hello over a wire, hears the welcome and confirms it.
pub async fn greet<S: AsyncRead + AsyncWrite + Unpin>(hand: &mut Hand<S>, hello: &str) -> String {
    hand.says(hello).await;
    let welcome = soon(hand.hears()).await.expect("an answer");
    assert!(welcome.starts_with("HOLD/1 ok "), "{welcome}");
    hand.says("").await;
    welcome
}

/// A device that is up; its welcome has been heard and confirmed.
pub async fn device(server: &Server, id: &str) -> Hand {
    let mut hand = wire(server);
    greet(&mut hand, &hello(id, "")).await;
    hand
}

/// The far ends of the wires that a client opens, one for each attempt that it makes.
#[derive(Debug)]
pub struct Calls(mpsc::UnboundedReceiver<DuplexStream>);

impl Calls {
    /// The next attempt of the client.
    pub async fn next(&mut self) -> Hand {
        Hand::new(soon(self.0.recv()).await.expect("the client lives"))
    }

    /// Whether another attempt has been made.
    pub fn has_next(&mut self) -> bool {
        !self.0.is_empty()
    }
}

/// Starts a client that calls the test.
pub fn calling(builder: ClientBuilder) -> (Client, Calls) {
    calling_over(builder, PIPE)
}

/// Starts a client that calls the test over wires that hold so many bytes.
pub fn calling_over(builder: ClientBuilder, bytes: usize) -> (Client, Calls) {
    #[expect(clippy::disallowed_methods, reason = "a client has one attempt under way")]
    let (tell, calls) = mpsc::unbounded_channel();
    let client = builder.start_with(move || {
        let (near, far) = duplex(bytes);
        let told = tell.send(far);
        async move { told.map(|()| near).map_err(|_| io::ErrorKind::ConnectionRefused.into()) }
    });
    (client.expect("a valid client"), Calls(calls))
}

/// A client that calls this server in memory.
pub fn client_of(server: &Server, builder: ClientBuilder) -> Client {
    let server = server.clone();
    let client = builder.start_with(move || {
        let (near, far) = duplex(PIPE);
        let server = server.clone();
        tokio::spawn(async move { server.serve(far).await });
        async move { Ok(near) }
    });
    client.expect("a valid client")
}

pub fn builder(id: &str) -> ClientBuilder {
    Client::builder(id, "nowhere")
}

/// One end of ours that is up, and the other end in the hand of the test.
pub struct Up<R: Role> {
    pub hand: Hand,
    pub line: Connection<R>,
    pub reports: Reports,
    _keep: Box<dyn Any>,
}

/// A role whose link a test can bring up by hand.
pub trait Lines: Role + Send + Sync + Sized + 'static {
    /// A native link that has just come up, over wires that hold so many bytes.
    fn up(config: Config, bytes: usize) -> impl Future<Output = Up<Self>>;
    /// A classic link whose id line has just been said.
    fn classic(profile: Profile, config: Config) -> impl Future<Output = Up<Self>>;
}

impl Lines for ServerRole {
    async fn up(config: Config, bytes: usize) -> Up<Self> {
        let server = server(ServerConfig { session: config, ..ServerConfig::default() });
        let reports = server.reports();
        let mut hand = wire_of(&server, bytes);
        hand.says(&hello("dev", &format!("timeout={}", config.timeout_ms))).await;
        let welcome = hand.hears().await.expect("an answer");
        assert!(welcome.starts_with("HOLD/1 ok "), "{welcome}");
        hand.says("").await;
        let line = server.client("dev").await.expect("the server lives");
        line.wait_up().await.expect("the server lives");
        Up { hand, line, reports, _keep: Box::new(server) }
    }

    async fn classic(profile: Profile, config: Config) -> Up<Self> {
        let Profile::Classic(flavour) = profile else { panic!("{profile} is not classic") };
        let classic_timeout_ms = Some(config.timeout_ms);
        let server = server(ServerConfig { session: config, flavour, classic_timeout_ms, ..ServerConfig::default() });
        let reports = server.reports();
        let mut hand = wire(&server);
        hand.says("dev").await;
        let line = server.client("dev").await.expect("the server lives");
        Up { hand, line, reports, _keep: Box::new(server) }
    }
}

impl Lines for ClientRole {
    async fn up(config: Config, bytes: usize) -> Up<Self> {
        let (client, mut calls) = calling_over(builder("dev").session(config), bytes);
        let reports = client.reports();
        let mut hand = calls.next().await;
        let hello = hand.hears().await.expect("a hello");
        assert!(hello.starts_with("HOLD/1 client=dev "), "{hello}");
        hand.says(&changed(WELCOME, &format!("timeout={}", config.timeout_ms))).await;
        client.wait_up().await.expect("the client lives");
        // HL-0060
        assert_eq!(hand.hears_any().await.as_deref(), Some(""));
        Up { hand, line: client.connection(), reports, _keep: Box::new((client, calls)) }
    }

    async fn classic(profile: Profile, config: Config) -> Up<Self> {
        let (client, mut calls) = calling(builder("dev").session(config).profile(profile));
        let reports = client.reports();
        let mut hand = calls.next().await;
        assert_eq!(hand.hears_any().await.as_deref(), Some("dev"));
        Up { hand, line: client.connection(), reports, _keep: Box::new((client, calls)) }
    }
}

/// Runs each generic story at both ends, in paused time.
#[macro_export]
macro_rules! on_both_sides {
    ($($story:ident),* $(,)?) => {
        mod of_a_server {
            $(#[tokio::test(start_paused = true)]
            async fn $story() { super::$story::<holdline_server::proto::Server>().await; })*
        }
        mod of_a_client {
            $(#[tokio::test(start_paused = true)]
            async fn $story() { super::$story::<holdline_server::proto::Client>().await; })*
        }
    };
}

/// The next report that is of interest.
pub async fn report(reports: &mut Reports, is_it: impl Fn(&What) -> bool) -> Report {
    soon(async {
        loop {
            let report = reports.next().await.expect("somebody reports");
            if is_it(&report.what) {
                return report;
            }
        }
    })
    .await
}

/// Reads lines until `count` have come.
pub async fn read<R: Role>(line: &Connection<R>, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    while texts.len() < count {
        texts.push(soon(line.readline()).await.expect("the line is open"));
    }
    texts
}
