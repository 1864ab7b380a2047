//! A host whose relay is another program, and the real server: what holds when the relay is killed, started again, and stuck.
#![cfg(feature = "relay")]

use embedded_hal::digital::{self, OutputPin};
use embedded_io_async::{ErrorKind, ErrorType, Read, Write};
use holdline_esp::{Buffers, Channel, Clock, Config, Handle, HostLink, Instant, NoResetPin, Settings, Wiring};
use holdline_server::{Server, ServerConfig};
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::net::TcpListener;

/// How many messages go each way.
const MESSAGES: u32 = 120;
/// How long a test may take. Nothing is expected of the machine's speed; this is for a line that is stuck.
const LIMIT: Duration = Duration::from_secs(300);

const CONFIG: Config = Config::new().max_line(512).window(8).check(true);

#[tokio::test]
async fn a_relay_that_is_killed_again_and_again_loses_and_repeats_nothing() {
    let scene = Scene::new().await;
    let relay = Program::new(scene.wire_address, &[]);
    relay.start();
    let link = HostLink::new(scene.settings()).expect("they can be told");
    let killed = Cell::new(0);
    scene
        .play(&link, NoResetPin, |number| {
            // More follow than can be on their way: each is needed.
            if [20, 50, 80].contains(&number) {
                relay.kill();
                relay.start();
                killed.set(killed.get() + 1);
            }
        })
        .await;
    assert_eq!((killed.get(), link.relay().boots), (3, 4));
}

#[tokio::test]
async fn a_relay_that_dies_or_is_stuck_is_started_again_by_its_reset_pin() {
    let scene = Scene::new().await;
    let relay = Rc::new(Program::new(scene.wire_address, &["--mute"]));
    relay.start();
    relay.options.replace(vec!["--ssid".into(), "attic".into(), "--password".into(), "secret".into()]);
    let link = HostLink::new(scene.settings()).expect("they can be told").silence_ms(2_000).boot_ms(3_000);
    scene
        .play(&link, ResetPin { relay: Rc::clone(&relay), is_low: false }, |number| {
            if number == 60 {
                relay.kill();
            }
        })
        .await;
    let status = link.relay();
    assert!(status.pulses >= 2 && status.boots >= 2, "one reset for each time it was silent: {status:?}");
}

/// The real server, and a wire to plug a relay into.
struct Scene {
    server: Server,
    server_address: SocketAddr,
    wire: RefCell<Option<DuplexStream>>,
    wire_address: SocketAddr,
}

impl Scene {
    async fn new() -> Self {
        let server = Server::bind("127.0.0.1:0", ServerConfig::default()).await.expect("a free port");
        let server_address = server.listen_checked("127.0.0.1:0").await.expect("a free port");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let wire_address = listener.local_addr().expect("it listens");
        let (host, relay) = tokio::io::duplex(256);
        tokio::spawn(wire(listener, relay));
        Self { server, server_address, wire: RefCell::new(Some(host)), wire_address }
    }

    fn settings(&self) -> Settings<'static> {
        Settings { server: "127.0.0.1", port: self.server_address.port(), ssid: "attic", password: "secret", report_s: 1 }
    }

    /// Messages both ways through the link; `at` is called with the number of each that the server has received.
    async fn play(&self, link: &HostLink<'_>, reset: impl OutputPin, at: impl Fn(u32)) {
        let mut buffers = Buffers::<1024, 1024, 544, 4>::new();
        let mut seed = 1_u64;
        let mut random = move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            seed
        };
        let mut channel = Channel::new("pump-1", CONFIG, &mut buffers, &mut random).expect("valid");
        let (mut client, line) = channel.split();
        let (reader, writer) = tokio::io::split(self.wire.take().expect("one host"));
        let clock = ProgramClock(tokio::time::Instant::now());
        let mut wiring = Wiring { reader: UartRx(reader), writer: UartTx(writer), reset, clock, random, notices: () };
        let traffic = async {
            tokio::join!(send(line), receive(line), self.application(at));
            line.close();
        };
        let all = Box::pin(async { tokio::join!(link.run(&mut client, &mut wiring), traffic) });
        let (ended, ()) = tokio::time::timeout(LIMIT, all).await.expect("the line goes on");
        ended.expect("the wire does not end");
    }

    /// The server's application: it sends as many as it receives, each in order.
    async fn application(&self, at: impl Fn(u32)) {
        let pump = self.server.client("pump-1").await.expect("the server lives");
        let sending = async {
            for number in 0..MESSAGES {
                pump.send(&format!("down {number}")).await.expect("it can be sent");
            }
        };
        let receiving = async {
            for number in 0..MESSAGES {
                assert_eq!(pump.readline().await.expect("open"), format!("up {number}"));
                at(number);
            }
        };
        tokio::join!(sending, receiving);
    }
}

async fn send(line: Handle<'_, '_>) {
    for number in 0..MESSAGES {
        line.send(&format!("up {number}")).await.expect("it can be sent");
    }
}

async fn receive(line: Handle<'_, '_>) {
    let mut buffer = [0; 512];
    for number in 0..MESSAGES {
        assert_eq!(line.readline(&mut buffer).await, Ok(format!("down {number}").as_str()));
    }
}

// ---- the relay ----

/// The example `relay`, started and killed at will.
struct Program {
    path: PathBuf,
    wire: SocketAddr,
    options: RefCell<Vec<String>>,
    child: RefCell<Option<Child>>,
}

impl Program {
    fn new(wire: SocketAddr, options: &[&str]) -> Self {
        let options = RefCell::new(options.iter().map(ToString::to_string).collect());
        Self { path: built(), wire, options, child: RefCell::default() }
    }

    fn start(&self) {
        let mut command = Command::new(&self.path);
        command.arg("--wire").arg(self.wire.to_string()).args(&*self.options.borrow()).stdin(Stdio::null());
        self.child.replace(Some(command.spawn().expect("it starts")));
    }

    /// As a loss of power: SIGKILL.
    fn kill(&self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it is ours");
            child.wait().expect("it ends");
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Builds the example with the features of this test, which `cargo test` has done already unless it was asked for one test alone.
fn built() -> PathBuf {
    let mut features = vec!["relay"];
    for (name, is_on) in [
        ("classic", cfg!(feature = "classic")),
        ("durable", cfg!(feature = "durable")),
        ("flash", cfg!(feature = "flash")),
        ("embassy-time", cfg!(feature = "embassy-time")),
        ("nal", cfg!(feature = "nal")),
        ("i2c", cfg!(feature = "i2c")),
        ("defmt", cfg!(feature = "defmt")),
    ] {
        features.extend(is_on.then_some(name));
    }
    let mut build = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    build.args(["build", "--quiet", "--package", "holdline-esp", "--example", "relay", "--message-format", "json"]);
    build.args(["--features", &features.join(",")]).current_dir(env!("CARGO_MANIFEST_DIR")).stderr(Stdio::inherit());
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    let output = build.output().expect("cargo runs");
    assert!(output.status.success(), "the example does not build");
    let messages = String::from_utf8_lossy(&output.stdout);
    let (_, path) = messages.rsplit_once("\"executable\":\"").expect("a program was built");
    path.split('"').next().unwrap_or_default().into()
}

/// Low kills the relay, high starts it.
struct ResetPin {
    relay: Rc<Program>,
    is_low: bool,
}

impl digital::ErrorType for ResetPin {
    type Error = Infallible;
}

impl OutputPin for ResetPin {
    fn set_low(&mut self) -> Result<(), Infallible> {
        self.relay.kill();
        self.is_low = true;
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        if std::mem::take(&mut self.is_low) {
            self.relay.start();
        }
        Ok(())
    }
}

// ---- the wire ----

/// A serial wire: with nobody at its other end, or nobody who reads, bytes are lost and nobody is told.
async fn wire(listener: TcpListener, host: DuplexStream) {
    let (mut from_host, mut to_host) = tokio::io::split(host);
    let (mut up, mut down) = ([0; 64], [0; 64]);
    loop {
        let relay = loop {
            tokio::select! {
                accepted = listener.accept() => break accepted.expect("it listens").0,
                lost = from_host.read(&mut up) => if !matches!(lost, Ok(1..)) { return },
            }
        };
        loop {
            tokio::select! {
                heard = relay.readable() => {
                    heard.expect("a socket");
                    match relay.try_read(&mut down) {
                        Ok(count @ 1..) => if to_host.write_all(&down[..count]).await.is_err() { return },
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                        _ => break,
                    }
                }
                said = from_host.read(&mut up) => match said {
                    Ok(count @ 1..) => { let _ = relay.try_write(&up[..count]); }
                    _ => return,
                },
            }
        }
    }
}

struct UartRx(ReadHalf<DuplexStream>);
struct UartTx(WriteHalf<DuplexStream>);

impl ErrorType for UartRx {
    type Error = ErrorKind;
}

impl Read for UartRx {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ErrorKind> {
        self.0.read(buffer).await.map_err(|_| ErrorKind::BrokenPipe)
    }
}

impl ErrorType for UartTx {
    type Error = ErrorKind;
}

impl Write for UartTx {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        self.0.write(bytes).await.map_err(|_| ErrorKind::BrokenPipe)
    }

    async fn flush(&mut self) -> Result<(), ErrorKind> {
        self.0.flush().await.map_err(|_| ErrorKind::BrokenPipe)
    }
}

struct ProgramClock(tokio::time::Instant);

impl Clock for ProgramClock {
    fn now(&self) -> Instant {
        Instant::from_millis(self.0.elapsed().as_millis() as u64)
    }

    async fn wait_until(&self, at: Instant) {
        match self.0.checked_add(Duration::from_millis(at.as_millis())) {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }
}
