//! Bytes on their way from one task to another of the same executor.

use super::NOTHING;
use core::cell::RefCell;
use core::task::{Context, Poll, Waker};
use heapless::Deque;

/// A ring of at most `N` bytes, one task that fills it and one that empties it.
#[derive(Debug)]
pub(super) struct Pipe<const N: usize>(RefCell<Ring<N>>);

#[derive(Debug)]
struct Ring<const N: usize> {
    bytes: Deque<u8, N>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl<const N: usize> Pipe<N> {
    pub(super) const fn new() -> Self {
        const { assert!(N > 0, "a pipe without room carries nothing") };
        Self(RefCell::new(Ring { bytes: Deque::new(), reader: None, writer: None }))
    }

    pub(super) fn len(&self) -> usize {
        self.0.borrow().bytes.len()
    }

    pub(super) fn room(&self) -> usize {
        N - self.len()
    }

    /// Takes what finds room, and returns how much of `bytes` that was: what is nothing takes none.
    pub(super) fn push(&self, bytes: &[u8]) -> usize {
        let ring = &mut *self.0.borrow_mut();
        let mut count = 0;
        for &byte in bytes {
            if byte != NOTHING && ring.bytes.push_back(byte).is_err() {
                break;
            }
            count += 1;
        }
        if !ring.bytes.is_empty()
            && let Some(reader) = ring.reader.take()
        {
            reader.wake();
        }
        count
    }

    /// Copies what comes next, and returns how much that was.
    pub(super) fn copy(&self, buffer: &mut [u8]) -> usize {
        let ring = self.0.borrow();
        buffer.iter_mut().zip(&ring.bytes).map(|(place, &byte)| *place = byte).count()
    }

    /// Gives up at most `count` bytes.
    pub(super) fn skip(&self, count: usize) {
        let ring = &mut *self.0.borrow_mut();
        let count = count.min(ring.bytes.len());
        for _ in 0..count {
            let _ = ring.bytes.pop_front();
        }
        if count > 0
            && let Some(writer) = ring.writer.take()
        {
            writer.wake();
        }
    }

    /// For the task that empties it: ready when there is something.
    pub(super) fn poll_some(&self, cx: &mut Context<'_>) -> Poll<()> {
        let ring = &mut *self.0.borrow_mut();
        park(&mut ring.reader, !ring.bytes.is_empty(), cx)
    }

    /// For the task that fills it: ready when there is room for so many bytes.
    pub(super) fn poll_room(&self, bytes: usize, cx: &mut Context<'_>) -> Poll<()> {
        let ring = &mut *self.0.borrow_mut();
        park(&mut ring.writer, N - ring.bytes.len() >= bytes, cx)
    }
}

fn park(place: &mut Option<Waker>, is_ready: bool, cx: &Context<'_>) -> Poll<()> {
    if is_ready {
        return Poll::Ready(());
    }
    match place {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *place = Some(cx.waker().clone()),
    }
    Poll::Pending
}
