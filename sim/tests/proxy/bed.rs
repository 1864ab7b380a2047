//! A server that the test speaks for, a client, and a proxy between them.

use std::time::Duration;

use holdline_sim::proxy::{Kind, Options, Proxies, ProxySpec, Running, Stream, Toxic, start};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Long enough for anything that happens at all.
const PATIENCE: Duration = Duration::from_secs(20);
/// Long enough for what would happen at once to have happened.
const MOMENT: Duration = Duration::from_millis(150);

pub(crate) struct Bed {
    pub(crate) running: Running,
    pub(crate) server: TcpListener,
    pub(crate) listen: String,
}

impl Bed {
    pub(crate) async fn new() -> Self {
        Self::with(Options::default()).await
    }

    pub(crate) async fn with(options: Options) -> Self {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = ProxySpec::new("line", "127.0.0.1:0", server.local_addr().unwrap().to_string());
        let api = Some("127.0.0.1:0".to_owned());
        let running = start(Options { api, proxies: vec![proxy], ..options }).await.unwrap();
        let listen = running.proxies().get("line").await.unwrap().listen;
        Self { running, server, listen }
    }

    pub(crate) fn proxies(&self) -> &Proxies {
        self.running.proxies()
    }

    /// A client and its connection at the server.
    pub(crate) async fn connect(&self) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(&self.listen).await.unwrap();
        (client, self.accept().await)
    }

    pub(crate) async fn accept(&self) -> TcpStream {
        timeout(PATIENCE, self.server.accept()).await.expect("the server hears of it").unwrap().0
    }

    pub(crate) async fn add(&self, stream: Stream, kind: impl Into<Kind>) -> String {
        let toxic = Toxic::new(stream, kind.into()).unwrap();
        self.proxies().add_toxic("line", toxic).await.unwrap().name().to_owned()
    }

    pub(crate) async fn remove(&self, toxic: &str) {
        self.proxies().remove_toxic("line", toxic).await.unwrap();
    }
}

/// Writes at one end and reads the same at the other.
pub(crate) async fn passes(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) {
    from.write_all(bytes).await.unwrap();
    arrives(to, bytes).await;
}

pub(crate) async fn arrives(to: &mut TcpStream, bytes: &[u8]) {
    let mut read = vec![0; bytes.len()];
    timeout(PATIENCE, to.read_exact(&mut read)).await.expect("it arrives").unwrap();
    assert_eq!(String::from_utf8_lossy(&read), String::from_utf8_lossy(bytes));
}

/// Nothing comes, and the connection does not end either.
pub(crate) async fn silent(socket: &mut TcpStream) {
    let mut byte = [0];
    assert!(timeout(MOMENT, socket.read(&mut byte)).await.is_err(), "nothing comes");
}

/// The rest of the stream, and whether a reset ended it.
pub(crate) async fn rest(socket: &mut TcpStream) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    let ended = timeout(PATIENCE, socket.read_to_end(&mut bytes)).await.expect("it ends");
    let reset = ended.is_err_and(|error| {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        true
    });
    (bytes, reset)
}
