//! Allocations of one exchange: an allocator counts them.
#![allow(unsafe_code, reason = "nothing else can count allocations, and this ships nowhere")]

use holdline_bench::{Floor, Holdline, MqttProtocolCore, Pair, Rumqttc, TEXT, warmed_up};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the promises of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the promises of `dealloc`.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the promises of `realloc`.
        unsafe { System.realloc(block, layout, size) }
    }
}

fn main() {
    print::<Holdline>("holdline");
    print::<Floor>("floor");
    print::<Rumqttc>("rumqttc");
    print::<MqttProtocolCore>("mqtt_protocol_core");
}

fn print<P: Pair>(name: &str) {
    const EXCHANGES: u64 = 1_000;
    let mut pair = warmed_up::<P>();
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for _ in 0..EXCHANGES {
        assert_eq!(pair.exchange(TEXT), TEXT.len());
    }
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    println!("{name:24} {:12.1}", allocations as f64 / EXCHANGES as f64);
}
