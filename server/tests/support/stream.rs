//! A stream that takes and gives one byte at a time, and wants to be asked twice for each.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Splits and stalls at every byte, in both directions.
#[derive(Debug)]
pub struct Fussy<S> {
    stream: S,
    has_read: bool,
    has_written: bool,
}

impl<S> Fussy<S> {
    pub fn new(stream: S) -> Self {
        Self { stream, has_read: false, has_written: false }
    }
}

/// Ready every other time; not ready means: ask again at once.
fn every_other_time(flag: &mut bool, cx: &Context<'_>) -> Poll<()> {
    *flag = !*flag;
    if *flag {
        cx.waker().wake_by_ref();
        return Poll::Pending;
    }
    Poll::Ready(())
}

impl<S: AsyncRead + Unpin> AsyncRead for Fussy<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(every_other_time(&mut self.has_read, cx));
        let mut byte = [0; 1];
        let mut one = ReadBuf::new(&mut byte);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut one))?;
        buffer.put_slice(one.filled());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Fussy<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(every_other_time(&mut self.has_written, cx));
        Pin::new(&mut self.stream).poll_write(cx, bytes.get(..1).unwrap_or_default())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
