//! One end of a stream, for a Tokio program.

use super::Host;
use crate::world::StreamId;
use holdline_proto::ConnectFailure;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connected socket.
///
/// What has been written when it is dropped or shut down still arrives, with the end behind it. Bytes that nobody reads wait here
/// without a bound; what an outage holds back waits at the writer, who is made to wait in turn. A stream has no half-closed state: shutting down closes it both ways.
#[derive(Debug)]
pub struct Socket {
    host: Host,
    stream: StreamId,
    is_closed: bool,
}

impl Socket {
    pub(super) fn new(host: Host, stream: StreamId) -> Self {
        Self { host, stream, is_closed: false }
    }

    /// What the world calls its stream.
    pub fn stream(&self) -> StreamId {
        self.stream
    }

    pub(super) fn poll_open(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let mut world = self.host.net.world();
        if world.machine(self.host.node).is_open(self.stream) {
            return Poll::Ready(Ok(()));
        }
        let Some(failure) = world.failure(self.stream) else {
            world.machine(self.host.node).wait_open(cx);
            return Poll::Pending;
        };
        Poll::Ready(Err(match failure {
            ConnectFailure::Refused => io::ErrorKind::ConnectionRefused.into(),
            ConnectFailure::TimedOut => io::ErrorKind::TimedOut.into(),
            ConnectFailure::Unreachable => io::ErrorKind::HostUnreachable.into(),
        }))
    }

    fn close(&mut self) {
        if std::mem::replace(&mut self.is_closed, true) {
            return;
        }
        let mut world = self.host.net.world();
        let unsent = world.machine(self.host.node).forget(self.stream);
        world.close(self.host.node, self.stream, &unsent);
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut world = self.host.net.world();
        let read = ready!(world.machine(self.host.node).read(cx, self.stream, buffer.remaining()))?;
        if read.is_empty() && buffer.remaining() > 0 && world.was_reset(self.stream) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        buffer.put_slice(&read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut world = self.host.net.world();
        let taken = ready!(world.machine(self.host.node).write(cx, self.stream, bytes))?;
        world.wake(self.host.node);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.close();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.close();
    }
}
