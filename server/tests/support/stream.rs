//! A stream that takes and gives one byte at a time, and wants to be asked twice for each; and one that never ends.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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

/// From when it is told to, there is always more to read: best-effort messages, as many as are asked for.
#[derive(Debug)]
pub struct Endless<S> {
    stream: S,
    floods: Arc<AtomicBool>,
    /// What is left of the line that was begun.
    rest: Vec<u8>,
}

impl<S> Endless<S> {
    pub fn new(stream: S, floods: &Arc<AtomicBool>) -> Self {
        Self { stream, floods: Arc::clone(floods), rest: Vec::new() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Endless<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.floods.load(Ordering::Relaxed) {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        while buffer.remaining() > 0 {
            if self.rest.is_empty() {
                self.rest = format!("D {}\n", "x".repeat(4_000)).into();
            }
            let length = self.rest.len().min(buffer.remaining());
            buffer.put_slice(&self.rest[..length]);
            self.rest.drain(..length);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Endless<S> {
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
