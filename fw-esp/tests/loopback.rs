//! The board's client against the real server, over TCP on this machine.

use embedded_io_async::{ErrorKind, ErrorType, Read, Write};
use holdline_esp::{AlwaysUp, Board, Buffers, Channel, Clock, Config, ConnectFailure, Connector, Instant, Stream};
use holdline_server::{Server, ServerConfig};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

struct HostClock(tokio::time::Instant);

impl Clock for HostClock {
    fn now(&self) -> Instant {
        Instant::from_millis((tokio::time::Instant::now() - self.0).as_millis() as u64)
    }

    async fn wait_until(&self, at: Instant) {
        tokio::time::sleep_until(self.0 + Duration::from_millis(at.as_millis())).await;
    }
}

struct Host(SocketAddr);
struct Tcp(TcpStream);
struct Reader<'h>(ReadHalf<'h>);
struct Writer<'h>(WriteHalf<'h>);

impl Connector for Host {
    type Stream<'s> = Tcp;

    async fn connect(&mut self) -> Result<Tcp, ConnectFailure> {
        TcpStream::connect(self.0).await.map(Tcp).map_err(|_| ConnectFailure::Refused)
    }
}

impl Stream for Tcp {
    type Reader<'h> = Reader<'h>;
    type Writer<'h> = Writer<'h>;

    fn split(&mut self) -> (Reader<'_>, Writer<'_>) {
        let (reader, writer) = self.0.split();
        (Reader(reader), Writer(writer))
    }

    async fn close(&mut self) {
        let _ = self.0.shutdown().await;
    }
}

impl ErrorType for Reader<'_> {
    type Error = ErrorKind;
}

impl ErrorType for Writer<'_> {
    type Error = ErrorKind;
}

impl Read for Reader<'_> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ErrorKind> {
        self.0.read(buffer).await.map_err(|_| ErrorKind::ConnectionReset)
    }
}

impl Write for Writer<'_> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        self.0.write(bytes).await.map_err(|_| ErrorKind::ConnectionReset)
    }

    async fn flush(&mut self) -> Result<(), ErrorKind> {
        self.0.flush().await.map_err(|_| ErrorKind::ConnectionReset)
    }
}

#[tokio::test]
async fn a_board_and_the_server_exchange_messages_over_links_that_end() {
    let server = Server::bind("127.0.0.1:0", ServerConfig::default()).await.expect("a free port");
    let address = server.local_addr().expect("it listens");
    let mut buffers = Buffers::<1024, 512, 400, 4>::new();
    let config = Config::new().window(8).max_line(512);
    let mut seed = 1_u64;
    let mut draw = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        seed
    };
    let mut channel = Channel::new("door-1", config, &mut buffers, &mut draw).expect("valid");
    let (mut client, line) = channel.split();
    let mut board = Board {
        network: AlwaysUp,
        connector: Host(address),
        clock: HostClock(tokio::time::Instant::now()),
        random: draw,
        hooks: (),
    };

    let device = async {
        let mut buffer = [0; 512];
        for number in 0..500 {
            line.send(&format!("up {number}")).await.expect("it can be sent");
            assert_eq!(line.readline(&mut buffer).await, Ok(format!("down {number}").as_str()));
        }
        line.write("end").await.expect("it can be sent");
        line.close();
    };
    let application = async {
        let door = server.client("door-1").await.expect("it comes");
        for number in 0..500 {
            if number % 200 == 199 {
                door.drop_link();
            }
            door.send(&format!("down {number}")).await.expect("it can be sent");
            assert_eq!(door.readline().await.expect("open"), format!("up {number}"));
        }
        assert_eq!(door.readline().await.expect("open"), "end");
    };
    tokio::time::timeout(Duration::from_secs(120), async { tokio::join!(client.run(&mut board), device, application) })
        .await
        .expect("within two minutes");
    assert_eq!((line.connects(), line.status().unacked), (3, 0));
}
