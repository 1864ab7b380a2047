//! The firmware around the measured client: a clock, a network stack, an executor and places in static memory.
//!
//! Nothing here is meant to run. The programs are linked and measured; [`the_world`] keeps the compiler from knowing what any
//! input is, or that any output is not used.
#![no_std]

use core::cell::UnsafeCell;
use core::future::{Future, poll_fn};
use core::hint::black_box;
use core::mem::MaybeUninit;
use core::pin::Pin;
use core::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};
use embedded_io_async::{ErrorKind, ErrorType, Read, Write};
pub use holdline_size::{Place, the_world};

/// Ready when the world says so.
#[inline(never)]
fn poll_the_world(cx: &mut Context<'_>) -> Poll<usize> {
    black_box(cx.waker());
    if black_box(false) { Poll::Ready(black_box(0)) } else { Poll::Pending }
}

/// Milliseconds, as a timer of the chip would tell them.
#[inline(never)]
pub fn now_ms() -> u64 {
    black_box(0)
}

/// Waits as an alarm of the chip would.
pub async fn alarm(at_ms: u64) {
    black_box(at_ms);
    poll_fn(poll_the_world).await;
}

/// A connection of the network stack.
#[derive(Debug)]
pub struct Socket(());

impl Socket {
    /// A connection, if there is one to be had.
    ///
    /// # Errors
    /// The world says so.
    pub async fn connect() -> Result<Self, ()> {
        if poll_fn(poll_the_world).await == 0 { Ok(Self(())) } else { Err(()) }
    }
}

/// Half of a connection.
#[derive(Debug)]
pub struct Half(());

impl Socket {
    /// Both halves.
    pub fn halves(&mut self) -> (Half, Half) {
        (Half(()), Half(()))
    }
}

impl ErrorType for Half {
    type Error = ErrorKind;
}

impl Read for Half {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ErrorKind> {
        black_box(&mut *buffer);
        let count = poll_fn(poll_the_world).await;
        if count > buffer.len() { Err(ErrorKind::Other) } else { Ok(count) }
    }
}

impl Write for Half {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        black_box(bytes);
        let count = poll_fn(poll_the_world).await;
        if count > bytes.len() { Err(ErrorKind::Other) } else { Ok(count) }
    }

    async fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

const WAKER: RawWakerVTable = RawWakerVTable::new(|data| RawWaker::new(black_box(data), &WAKER), wake, wake, wake);

#[inline(never)]
fn wake(data: *const ()) {
    black_box(data);
}

/// An executor of two tasks.
pub fn run(mut first: Pin<&mut dyn Future<Output = ()>>, mut second: Pin<&mut dyn Future<Output = ()>>) -> ! {
    // SAFETY: the functions ignore their data.
    let waker = unsafe { Waker::from_raw(RawWaker::new(core::ptr::null(), &WAKER)) };
    let mut cx = Context::from_waker(&waker);
    loop {
        let _ = first.as_mut().poll(&mut cx);
        let _ = second.as_mut().poll(&mut cx);
    }
}

/// The size of the future that a function returns.
pub const fn size_of_future<A, F: Future>(_: &fn(A) -> F) -> usize {
    size_of::<F>()
}

/// A place for a future, of which only the size has a name.
#[derive(Debug)]
#[repr(C, align(8))]
pub struct Task<const N: usize>(UnsafeCell<MaybeUninit<[u8; N]>>);

// SAFETY: the measured programs have one thread and no interrupts.
unsafe impl<const N: usize> Sync for Task<N> {}

impl<const N: usize> Task<N> {
    /// An empty place.
    pub const fn new() -> Self {
        Self(UnsafeCell::new(MaybeUninit::uninit()))
    }

    /// Fills the place.
    #[allow(clippy::mut_from_ref, reason = "it is called once a place")]
    pub fn fill<F: Future>(&'static self, future: F) -> Pin<&'static mut F> {
        const { assert!(size_of::<F>() <= N && align_of::<F>() <= 8) };
        let place = self.0.get().cast::<F>();
        // SAFETY: it is large enough and aligned, filled once, and never moved.
        unsafe {
            place.write(future);
            Pin::new_unchecked(&mut *place)
        }
    }
}

impl<const N: usize> Default for Task<N> {
    fn default() -> Self {
        Self::new()
    }
}
