//! The firmware around the measured session: a clock, a wire and a place in static memory.
//!
//! Nothing here is meant to run. The programs are linked and measured; [`the_world`] keeps the compiler from knowing what any
//! input is, or that any output is not used.
#![no_std]

use core::cell::UnsafeCell;
use core::hint::black_box;
use core::mem::MaybeUninit;

/// Something the compiler cannot know.
pub fn the_world<T>(value: T) -> T {
    black_box(value)
}

/// Time, as a timer of the chip would tell it.
pub fn now_ms() -> u64 {
    black_box(0)
}

/// Receives into `buffer`, returns how many bytes.
pub fn receive(buffer: &mut [u8]) -> usize {
    black_box(buffer).len().min(black_box(0))
}

/// Transmits `bytes`, returns how many were taken.
pub fn transmit(bytes: &[u8]) -> usize {
    black_box(bytes).len()
}

/// A place in static memory that is filled once, by the one thread there is.
#[derive(Debug)]
pub struct Place<T>(UnsafeCell<MaybeUninit<T>>);

// SAFETY: the measured programs have one thread and no interrupts.
unsafe impl<T> Sync for Place<T> {}

impl<T> Place<T> {
    /// An empty place.
    pub const fn new() -> Self {
        Self(UnsafeCell::new(MaybeUninit::uninit()))
    }

    /// Fills the place.
    #[allow(clippy::mut_from_ref, reason = "it is called once a place")]
    pub fn fill(&'static self, value: T) -> &'static mut T {
        // SAFETY: there is one thread, and every place is filled once, before its loop.
        unsafe { (*self.0.get()).write(value) }
    }
}

impl<T> Default for Place<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(target_os = "none")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
