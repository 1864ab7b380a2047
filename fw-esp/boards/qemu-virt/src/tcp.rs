//! TCP by `embassy-net`: what every board with that stack implements, whatever its chip.

use embassy_net::tcp::{ConnectError, Error, TcpReader, TcpSocket, TcpWriter};
use embassy_net::{IpEndpoint, Stack};
use embedded_io_async::{ErrorType, Write};
use holdline_esp::{ConnectFailure, Connector, JoinFailed, Network, Stream};

/// Connects to one address.
pub struct Tcp {
    stack: Stack<'static>,
    /// Where it connects to.
    pub server: IpEndpoint,
    receive: [u8; 1536],
    transmit: [u8; 1536],
}

impl Tcp {
    /// Connects to this address.
    pub fn new(stack: Stack<'static>, server: impl Into<IpEndpoint>) -> Self {
        Self { stack, server: server.into(), receive: [0; 1536], transmit: [0; 1536] }
    }
}

impl Connector for Tcp {
    type Stream<'s> = Connection<'s>;

    async fn connect(&mut self) -> Result<Connection<'_>, ConnectFailure> {
        let mut socket = TcpSocket::new(self.stack, &mut self.receive, &mut self.transmit);
        // A line waits for nobody's acknowledgement of the line before.
        socket.set_nagle_enabled(false);
        match socket.connect(self.server).await {
            Ok(()) => Ok(Connection(socket)),
            Err(ConnectError::ConnectionReset) => Err(ConnectFailure::Refused),
            Err(ConnectError::TimedOut) => Err(ConnectFailure::TimedOut),
            Err(ConnectError::InvalidState | ConnectError::NoRoute) => Err(ConnectFailure::Unreachable),
        }
    }
}

/// A connection.
pub struct Connection<'s>(TcpSocket<'s>);

impl Stream for Connection<'_> {
    type Reader<'h>
        = TcpReader<'h>
    where
        Self: 'h;
    type Writer<'h>
        = Writer<'h>
    where
        Self: 'h;

    fn split(&mut self) -> (TcpReader<'_>, Writer<'_>) {
        let (reader, writer) = self.0.split();
        (reader, Writer(writer))
    }

    async fn close(&mut self) {
        self.0.close();
        let _ = self.0.flush().await;
    }
}

/// The sending half.
pub struct Writer<'h>(TcpWriter<'h>);

impl ErrorType for Writer<'_> {
    type Error = Error;
}

impl Write for Writer<'_> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        self.0.write(bytes).await
    }

    /// The stack sends what was written. Its own `flush` waits until that has arrived, which is what acknowledgements are for.
    async fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

/// The network is up when it has an address.
pub struct Dhcp(pub Stack<'static>);

impl Network for Dhcp {
    async fn join(&mut self) -> Result<(), JoinFailed> {
        self.0.wait_config_up().await;
        Ok(())
    }

    async fn leave(&mut self) {}

    fn is_up(&mut self) -> bool {
        self.0.is_config_up()
    }
}
