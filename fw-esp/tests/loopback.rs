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

/// So many messages each way over links of which the server ends some; how many links that took.
async fn exchange(server: &Server, connector: impl Connector, count: u32) -> u32 {
    let mut buffers = Buffers::<1024, 512, 400, 4>::new();
    let config = Config::new().window(8).max_line(512);
    let mut seed = 1_u64;
    let mut draw = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        seed
    };
    let mut channel = Channel::new("door-1", config, &mut buffers, &mut draw).expect("valid");
    let (mut client, line) = channel.split();
    let mut board =
        Board { network: AlwaysUp, connector, clock: HostClock(tokio::time::Instant::now()), random: draw, hooks: () };

    let device = async {
        let mut buffer = [0; 512];
        for number in 0..count {
            line.send(&format!("up {number}")).await.expect("it can be sent");
            assert_eq!(line.readline(&mut buffer).await, Ok(format!("down {number}").as_str()));
        }
        line.write("end").await.expect("it can be sent");
        line.close();
    };
    let application = async {
        let door = server.client("door-1").await.expect("it comes");
        for number in 0..count {
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
    assert_eq!(line.status().unacked, 0);
    line.connects()
}

#[tokio::test]
async fn a_board_and_the_server_exchange_messages_over_links_that_end() {
    let server = Server::bind("127.0.0.1:0", ServerConfig::default()).await.expect("a free port");
    let address = server.local_addr().expect("it listens");
    assert_eq!(Box::pin(exchange(&server, Host(address), 500)).await, 3);
}

/// A stack whose connections cannot be split, as `embedded-nal-async` has them.
#[cfg(feature = "nal")]
mod nal {
    use super::*;
    use embedded_nal_async::TcpConnect;
    use holdline_esp::NalConnector;
    use std::cell::Cell;
    use std::future::{Future, poll_fn};
    use std::pin::Pin;
    use std::task::{Context, Poll, ready};
    use tokio::io::AsyncWrite;
    use tokio::time::Sleep;

    /// How much the stack holds that it has not sent, in bytes.
    const HELD: usize = 24;
    /// How much of a link is written before its connection is reset, in bytes.
    const LIFE: usize = 1_500;

    /// What happened on it: calls that were dropped before they were ready, and links that were reset.
    #[derive(Debug, Default)]
    struct Stack {
        reads_dropped: Cell<u32>,
        writes_dropped: Cell<u32>,
        resets: Cell<u32>,
    }

    struct Connection<'s> {
        stream: TcpStream,
        stack: &'s Stack,
        /// Room for so many bytes, until the stack has sent what it holds.
        room: usize,
        sending: Pin<Box<Sleep>>,
        life: usize,
    }

    impl TcpConnect for &Stack {
        type Error = ErrorKind;
        type Connection<'a>
            = Connection<'a>
        where
            Self: 'a;

        async fn connect<'a>(&'a self, remote: SocketAddr) -> Result<Connection<'a>, ErrorKind> {
            let stream = TcpStream::connect(remote).await.map_err(|_| ErrorKind::ConnectionRefused)?;
            stream.set_nodelay(true).expect("it is TCP");
            let sending = Box::pin(tokio::time::sleep(Duration::ZERO));
            Ok(Connection { stream, stack: self, room: HELD, sending, life: LIFE })
        }
    }

    impl Connection<'_> {
        fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, ErrorKind>> {
            if self.life == 0 {
                return Poll::Ready(Err(ErrorKind::ConnectionReset));
            }
            if self.room == 0 {
                ready!(self.sending.as_mut().poll(cx));
                self.room = HELD;
            }
            let most = bytes.len().min(self.room).min(self.life);
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &bytes[..most]));
            let written = written.map_err(|_| ErrorKind::ConnectionReset)?;
            self.room -= written;
            self.life -= written;
            if self.life == 0 {
                self.stack.resets.set(self.stack.resets.get() + 1);
            }
            self.sending.as_mut().reset(tokio::time::Instant::now() + Duration::from_millis(1));
            Poll::Ready(Ok(written))
        }
    }

    /// Counts a call that is dropped while it is pending.
    struct Watch<'s>(&'s Cell<u32>, bool);

    impl Drop for Watch<'_> {
        fn drop(&mut self) {
            self.0.set(self.0.get() + u32::from(self.1));
        }
    }

    impl ErrorType for Connection<'_> {
        type Error = ErrorKind;
    }

    impl Read for Connection<'_> {
        async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ErrorKind> {
            let mut watch = Watch(&self.stack.reads_dropped, true);
            let count = self.stream.read(buffer).await.map_err(|_| ErrorKind::ConnectionReset);
            watch.1 = false;
            count
        }
    }

    impl Write for Connection<'_> {
        async fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
            let mut watch = Watch(&self.stack.writes_dropped, true);
            let count = poll_fn(|cx| self.poll_write(cx, bytes)).await;
            watch.1 = false;
            count
        }

        async fn flush(&mut self) -> Result<(), ErrorKind> {
            Ok(())
        }
    }

    /// Fails in one way only.
    struct Broken(ErrorKind);

    impl TcpConnect for Broken {
        type Error = ErrorKind;
        type Connection<'a> = Connection<'a>;

        async fn connect<'a>(&'a self, _: SocketAddr) -> Result<Connection<'a>, ErrorKind> {
            Err(self.0)
        }
    }

    #[tokio::test]
    async fn who_is_to_blame_for_a_connection_that_does_not_come_about_is_told() {
        let cases = [
            (ErrorKind::ConnectionRefused, ConnectFailure::Refused),
            (ErrorKind::ConnectionReset, ConnectFailure::Refused),
            (ErrorKind::TimedOut, ConnectFailure::TimedOut),
            (ErrorKind::NotConnected, ConnectFailure::Unreachable),
            (ErrorKind::Other, ConnectFailure::Unreachable),
        ];
        for (kind, failure) in cases {
            let mut connector = NalConnector::new(Broken(kind), ([127, 0, 0, 1], 1).into());
            assert_eq!(connector.connect().await.err(), Some(failure), "{kind:?}");
        }
    }

    #[tokio::test]
    async fn a_stack_whose_connections_cannot_be_split_carries_the_same() {
        let server = Server::bind("127.0.0.1:0", ServerConfig::default()).await.expect("a free port");
        let address = server.local_addr().expect("it listens");
        let stack = Stack::default();
        let links = Box::pin(exchange(&server, NalConnector::new(&stack, address), 300)).await;
        let (reads, writes, resets) = (stack.reads_dropped.get(), stack.writes_dropped.get(), stack.resets.get());
        assert!(resets >= 2 && links > resets, "{resets} of {links} links were reset in the middle of a line");
        assert!(reads > links && writes > links, "{reads} reads and {writes} writes of {links} links were begun anew");
    }
}
