//! Time without a beginning: states that differ only by when they happen are one state.

use super::world::DAWN;
use holdline_proto::Instant;
use std::hash::Hasher;

/// A hasher that takes every instant for its age.
///
/// A session compares instants with each other and with `now`, and never else: two states in which all ages are equal behave
/// equally. Ages beyond the longest timer are equal too: whatever waits for them is overdue.
pub struct Rebased<'h, H> {
    inner: &'h mut H,
    now: u64,
}

/// Longer than every timer at the model's timeout of two seconds (a line: four timeouts).
const AGE_MAX: u64 = 10_000;
/// No exploration lives longer than this after its dawn.
const DUSK: u64 = DAWN + (1 << 40);

impl<'h, H: Hasher> Rebased<'h, H> {
    pub fn new(inner: &'h mut H, now: Instant) -> Self {
        Self { inner, now: now.as_millis() }
    }
}

impl<H: Hasher> Hasher for Rebased<'_, H> {
    fn finish(&self) -> u64 {
        self.inner.finish()
    }

    fn write(&mut self, bytes: &[u8]) {
        self.inner.write(bytes);
    }

    fn write_u8(&mut self, value: u8) {
        self.inner.write_u8(value);
    }

    fn write_u16(&mut self, value: u16) {
        self.inner.write_u16(value);
    }

    fn write_u32(&mut self, value: u32) {
        self.inner.write_u32(value);
    }

    fn write_u64(&mut self, value: u64) {
        if (DAWN..DUSK).contains(&value) {
            assert!(value <= self.now, "an instant lies in the future");
            self.inner.write_u64(DAWN + (self.now - value).min(AGE_MAX));
        } else {
            self.inner.write_u64(value);
        }
    }

    fn write_usize(&mut self, value: usize) {
        self.inner.write_usize(value);
    }
}
