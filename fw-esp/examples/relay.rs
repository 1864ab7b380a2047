//! A relay as a program: its wire is a stream to the host, its WiFi is pretended, its connections to the server are real.
//!
//! It is for trying a host without a chip, and for tests: it can be killed, stopped and started again like one. `docs/relay.md` tells
//! what a relay does.

use clap::Parser;
use embedded_io_async::{ErrorKind, ErrorType, Read, Write};
use holdline_esp::{
    Clock, Configure, ConnectFailure, Connector, Instant, JoinFailed, Network, Relay, RelayBoard, Settings, Stream,
};
use std::collections::hash_map::RandomState;
use std::future::pending;
use std::hash::BuildHasher;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

/// A Holdline relay whose wire is a stream: carries the session of a host that has no network to its server.
///
/// It connects to the host, joins a WiFi that is pretended, opens the TCP connections that the host asks for, says on standard error
/// what happens, and ends when the wire does.
#[derive(Parser)]
#[command(name = "relay")]
struct Options {
    /// Where the host listens: HOST:PORT, or unix:PATH
    #[arg(long, value_name = "ADDR")]
    wire: String,
    /// The only WiFi that there is; with another name the host's attempts to join fail. Default: any
    #[arg(long, value_name = "NAME")]
    ssid: Option<String>,
    /// Its password. Default: any
    #[arg(long, value_name = "TEXT")]
    password: Option<String>,
    /// While this file exists the WiFi is down
    #[arg(long, value_name = "FILE")]
    no_wifi_file: Option<PathBuf>,
    /// Live, listen, and say nothing: a relay that is stuck
    #[arg(long)]
    mute: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("the system gives a timer and a poller");
    match runtime.block_on(relay(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("relay: no wire at {}: {error}", options.wire);
            eprintln!("relay: start the host first, and give --wire the address where it listens: HOST:PORT, or unix:PATH");
            ExitCode::FAILURE
        }
    }
}

async fn relay(options: &Options) -> io::Result<()> {
    let (reader, writer) = connect(&options.wire).await?;
    let boot = RandomState::new().hash_one(std::process::id()) as u32;
    eprintln!("relay: started as {boot:08x}, wire to {}{}", options.wire, if options.mute { ", mute" } else { "" });
    let mut board = RelayBoard {
        reader: WireReader(reader),
        writer: WireWriter { writer, mute: options.mute },
        network: Air::new(options),
        connector: Internet { server: String::new(), port: 0 },
        clock: ProgramClock(tokio::time::Instant::now()),
        boot,
        hooks: (),
    };
    let mut relay: Relay = Relay::new();
    let ended = relay.run(&mut board).await;
    eprintln!("relay: {ended}");
    Ok(())
}

// ---- the wire ----

type Source = Box<dyn AsyncRead + Unpin>;
type Sink = Box<dyn AsyncWrite + Unpin>;

async fn connect(wire: &str) -> io::Result<(Source, Sink)> {
    if let Some(path) = wire.strip_prefix("unix:") {
        let (reader, writer) = tokio::net::UnixStream::connect(path).await?.into_split();
        return Ok((Box::new(reader), Box::new(writer)));
    }
    let stream = TcpStream::connect(wire).await?;
    stream.set_nodelay(true)?;
    let (reader, writer) = stream.into_split();
    Ok((Box::new(reader), Box::new(writer)))
}

struct WireReader(Source);
struct WireWriter {
    writer: Sink,
    mute: bool,
}

impl ErrorType for WireReader {
    type Error = ErrorKind;
}

impl Read for WireReader {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ErrorKind> {
        self.0.read(buffer).await.map_err(ended)
    }
}

impl ErrorType for WireWriter {
    type Error = ErrorKind;
}

impl Write for WireWriter {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        if self.mute { Ok(bytes.len()) } else { self.writer.write(bytes).await.map_err(ended) }
    }

    async fn flush(&mut self) -> Result<(), ErrorKind> {
        self.writer.flush().await.map_err(ended)
    }
}

/// A socket that fails once is at its end, unlike a UART.
fn ended(_: io::Error) -> ErrorKind {
    ErrorKind::ConnectionReset
}

// ---- the network ----

/// A WiFi that is there, or is not.
struct Air {
    there: (Option<String>, Option<String>),
    no_wifi_file: Option<PathBuf>,
    wanted: (String, String),
    joined: bool,
}

impl Air {
    fn new(options: &Options) -> Self {
        Self {
            there: (options.ssid.clone(), options.password.clone()),
            no_wifi_file: options.no_wifi_file.clone(),
            wanted: Default::default(),
            joined: false,
        }
    }

    fn is_there(&self) -> bool {
        !self.no_wifi_file.as_ref().is_some_and(|file| file.exists())
    }
}

impl Configure for Air {
    fn configure(&mut self, settings: &Settings<'_>) {
        self.wanted = (settings.ssid.into(), settings.password.into());
    }
}

impl Network for Air {
    async fn join(&mut self) -> Result<(), JoinFailed> {
        let (ssid, password) = &self.there;
        let name = &self.wanted.0;
        let why_not = if !self.is_there() {
            "it is down"
        } else if ssid.as_ref().is_some_and(|ssid| ssid != name) {
            "there is no such network"
        } else if password.as_ref().is_some_and(|password| *password != self.wanted.1) {
            "the password is wrong"
        } else {
            self.joined = true;
            eprintln!("relay: WiFi \"{name}\" joined");
            return Ok(());
        };
        eprintln!("relay: WiFi \"{name}\" not joined: {why_not}");
        Err(JoinFailed)
    }

    async fn leave(&mut self) {
        eprintln!("relay: WiFi left");
        self.joined = false;
    }

    fn is_up(&mut self) -> bool {
        if self.joined && !self.is_there() {
            eprintln!("relay: WiFi lost");
            self.joined = false;
        }
        self.joined
    }
}

// ---- the server ----

/// Real connections.
struct Internet {
    server: String,
    port: u16,
}

impl Configure for Internet {
    fn configure(&mut self, settings: &Settings<'_>) {
        eprintln!("relay: the host's server is {}:{}, its WiFi \"{}\"", settings.server, settings.port, settings.ssid);
        (self.server, self.port) = (settings.server.into(), settings.port);
    }
}

impl Connector for Internet {
    type Stream<'s> = Tcp;

    async fn connect(&mut self) -> Result<Tcp, ConnectFailure> {
        let connected = TcpStream::connect((self.server.as_str(), self.port)).await.and_then(|stream| {
            stream.set_nodelay(true)?;
            Ok(stream)
        });
        match connected {
            Ok(stream) => {
                eprintln!("relay: connected to {}:{}", self.server, self.port);
                Ok(Tcp(stream))
            }
            Err(error) => {
                eprintln!("relay: not connected to {}:{}: {error}", self.server, self.port);
                Err(match error.kind() {
                    io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => ConnectFailure::Refused,
                    io::ErrorKind::TimedOut => ConnectFailure::TimedOut,
                    _ => ConnectFailure::Unreachable,
                })
            }
        }
    }
}

struct Tcp(TcpStream);
struct TcpReader<'h>(ReadHalf<'h>);
struct TcpWriter<'h>(WriteHalf<'h>);

impl Drop for Tcp {
    fn drop(&mut self) {
        eprintln!("relay: connection closed");
    }
}

impl Stream for Tcp {
    type Reader<'h> = TcpReader<'h>;
    type Writer<'h> = TcpWriter<'h>;

    fn split(&mut self) -> (TcpReader<'_>, TcpWriter<'_>) {
        let (reader, writer) = self.0.split();
        (TcpReader(reader), TcpWriter(writer))
    }

    /// Says that nothing more comes, and waits until the server has heard it.
    async fn close(&mut self) {
        let mut rest = [0; 256];
        if self.0.shutdown().await.is_ok() {
            while let Ok(1..) = self.0.read(&mut rest).await {}
        }
    }
}

impl ErrorType for TcpReader<'_> {
    type Error = ErrorKind;
}

impl Read for TcpReader<'_> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ErrorKind> {
        self.0.read(buffer).await.map_err(ended)
    }
}

impl ErrorType for TcpWriter<'_> {
    type Error = ErrorKind;
}

impl Write for TcpWriter<'_> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        self.0.write(bytes).await.map_err(ended)
    }

    async fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

// ---- time ----

struct ProgramClock(tokio::time::Instant);

impl Clock for ProgramClock {
    fn now(&self) -> Instant {
        Instant::from_millis(self.0.elapsed().as_millis() as u64)
    }

    async fn wait_until(&self, at: Instant) {
        match self.0.checked_add(Duration::from_millis(at.as_millis())) {
            Some(at) => tokio::time::sleep_until(at).await,
            None => pending().await,
        }
    }
}
