//! What is broken on purpose, to see that an oracle notices.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Interval};

/// When a transport begins to make things up.
const LATER: Duration = Duration::from_secs(15);

/// Something that goes wrong outside of what is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defect {
    /// The transport swallows a digit now and then.
    SwallowedDigits,
    /// The transport makes up signs of life.
    MadeUpKeepalives,
    /// The application loses every tenth message after it was accepted.
    LostByTheApplication,
    /// What opens connections tries again at once, whatever the client's supervisor says.
    ImpatientConnector,
    /// A device that lost its memory draws the same numbers again.
    SameNumbersAgain,
}

/// A device's transport, with its defect.
pub(crate) struct Transport<S> {
    stream: S,
    defect: Option<Defect>,
    carried: usize,
    opened: Instant,
    /// When a sign of life is made up next.
    tick: Interval,
}

impl<S> Transport<S> {
    pub(crate) fn new(stream: S, defect: Option<Defect>) -> Self {
        let tick = tokio::time::interval(Duration::from_millis(500));
        Self { stream, defect, carried: 0, opened: Instant::now(), tick }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Transport<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if self.defect == Some(Defect::MadeUpKeepalives) && self.opened.elapsed() > LATER && !matches!(read, Poll::Ready(Err(_)))
        {
            ready!(self.tick.poll_tick(cx));
            buffer.set_filled(before);
            buffer.put_slice(b"\n");
            return Poll::Ready(Ok(()));
        }
        ready!(read)?;
        let new = buffer.filled()[before..].to_vec();
        self.carried += new.len();
        if self.defect == Some(Defect::SwallowedDigits) && self.carried > 1_000 {
            // A message's line begins with its seq and a space; its text begins with a number.
            if let Some(at) = new.windows(3).position(|three| three == b" ..").and_then(|space| space.checked_sub(1)) {
                self.carried = 0;
                buffer.set_filled(before);
                buffer.put_slice(&new[..at]);
                buffer.put_slice(&new[at + 1..]);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Transport<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
