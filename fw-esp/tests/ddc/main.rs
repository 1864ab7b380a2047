//! Streams over I2C: the register convention byte by byte, traffic over a bus that stalls, is not answered, and breaks off, and a session
//! over that.
#![cfg(feature = "i2c")]

mod bus;
mod registers;
#[cfg(feature = "relay")]
mod session;
mod traffic;
#[path = "../world/mod.rs"]
mod world;

use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Random numbers that are this seed's own.
fn seeded(seed: u64) -> impl FnMut() -> u64 {
    let mut random = world::random();
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    move || {
        state = (state ^ random()).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state >> 20
    }
}

/// Does what does not have to wait.
#[track_caller]
fn now<E: std::fmt::Debug>(future: impl Future<Output = Result<(), E>>) {
    let polled = pin!(future).poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready(Ok(()))), "it waits");
}
