//! TCP by `embedded-nal-async`.

use crate::transport::{ConnectFailure, Connector, Stream};
use core::cell::RefCell;
use core::future::{Future, poll_fn};
use core::net::SocketAddr;
use core::pin::pin;
use core::task::Poll;
use embedded_io_async::{Error, ErrorKind, ErrorType, Read, Write};
use embedded_nal_async::TcpConnect;

/// Connects to one address over any [`TcpConnect`].
///
/// Such a connection cannot be split, while a client reads and writes at the same time. So a read or write that is pending is dropped and
/// begun anew whenever the client is polled: the stack's must have no effect until they are ready, and be ready at their first poll
/// once they can be, as those of `embassy-net` are. For a stack that cannot promise it, implement [`Connector`] over what it has for
/// two halves.
///
/// The kind of the stack's error tells who is to blame: `ConnectionRefused` and `ConnectionReset` are [`ConnectFailure::Refused`], and
/// leave the network alone. The `TcpClient` of `embassy-net` says `ConnectionReset` of whatever failed; a server that does not answer at
/// all is told from that all the same, by the client's own time-out.
#[derive(Clone, Copy, Debug)]
pub struct NalConnector<T> {
    stack: T,
    server: SocketAddr,
}

impl<T: TcpConnect> NalConnector<T> {
    /// Connects to this address with this stack.
    pub const fn new(stack: T, server: SocketAddr) -> Self {
        Self { stack, server }
    }
}

impl<T: TcpConnect> Connector for NalConnector<T> {
    type Stream<'s>
        = NalStream<T::Connection<'s>>
    where
        Self: 's;

    async fn connect(&mut self) -> Result<NalStream<T::Connection<'_>>, ConnectFailure> {
        match self.stack.connect(self.server).await {
            Ok(connection) => Ok(NalStream(RefCell::new(connection))),
            Err(error) => Err(match error.kind() {
                ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => ConnectFailure::Refused,
                ErrorKind::TimedOut => ConnectFailure::TimedOut,
                _ => ConnectFailure::Unreachable,
            }),
        }
    }
}

/// A connection of which both halves are the whole, polled in turn.
#[derive(Debug)]
pub struct NalStream<S>(RefCell<S>);

/// One half of a [`NalStream`].
#[derive(Debug)]
pub struct NalHalf<'s, S>(&'s RefCell<S>);

impl<S: Read + Write> Stream for NalStream<S> {
    type Reader<'h>
        = NalHalf<'h, S>
    where
        Self: 'h;
    type Writer<'h>
        = NalHalf<'h, S>
    where
        Self: 'h;

    fn split(&mut self) -> (NalHalf<'_, S>, NalHalf<'_, S>) {
        (NalHalf(&self.0), NalHalf(&self.0))
    }

    async fn close(&mut self) {
        let _ = self.0.get_mut().flush().await;
    }
}

impl<S: ErrorType> ErrorType for NalHalf<'_, S> {
    type Error = S::Error;
}

impl<S: Read> Read for NalHalf<'_, S> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, S::Error> {
        poll_fn(|cx| pin!(self.0.borrow_mut().read(buffer)).poll(cx)).await
    }
}

impl<S: Write> Write for NalHalf<'_, S> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, S::Error> {
        poll_fn(|cx| pin!(self.0.borrow_mut().write(bytes)).poll(cx)).await
    }

    /// TCP sends what was written; to wait until it has arrived is what acknowledgements are for.
    async fn flush(&mut self) -> Result<(), S::Error> {
        poll_fn(|_| Poll::Ready(Ok(()))).await
    }
}
