//! Whether devices wait as the protocol has them wait before they connect: each alone, and all together.
//!
//! SPEC.md draws every wait uniformly from 0 to a bound (HL-0131, HL-0132, HL-0138), so no number of attempts in a minute is
//! impossible; but each wait, divided by its bound, is a half on average with a variance of 1/12. The oracle keeps the bounds by its
//! own count of what happened, adds up how much was missing to a half, and objects at eight standard deviations: by chance that is
//! less likely than 1 in 10^13. Devices that wait too little are a storm after about 22 attempts.
//!
//! Devices that draw the same waits are as bad together as they are good alone. So the fleet also counts attempts in 10 ms: with
//! waits drawn independently from a quarter of the timeout at least, the number is that of independent chances.

use holdline_proto::Instant;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// HL-0132.
const FIRST_BOUND_MS: u64 = 500;
/// HL-0132.
const LAST_BOUND_MS: u64 = 30_000;
/// Standard deviations that are no chance.
const DEVIATIONS: f64 = 8.0;
/// Attempts so close together count as one moment, in milliseconds.
const MOMENT_MS: u64 = 10;

/// How much waiting is missing, in halves of what was to be expected.
#[derive(Clone, Copy, Debug, Default)]
struct Waits {
    count: f64,
    missing: f64,
}

impl Waits {
    /// Adds a wait, as a share of its bound; whether all of them together are too short for chance.
    fn add(&mut self, share: f64) -> bool {
        self.count += 1.0;
        self.missing += 0.5 - share;
        self.missing > DEVIATIONS * (self.count / 12.0).sqrt()
    }
}

/// What is known of the waits of all devices together.
#[derive(Clone, Debug)]
pub(crate) struct Herd {
    devices: usize,
    waits: Waits,
    /// Attempts of the last moment, in order.
    lately: VecDeque<Instant>,
    /// More attempts in one moment than this are no chance.
    crowd: usize,
    complained: bool,
}

impl Herd {
    pub(crate) fn new(devices: usize, timeout_ms: u32) -> Self {
        let expected = devices as f64 * MOMENT_MS as f64 / (f64::from(timeout_ms) / 4.0).max(1.0);
        // Far below one expected attempt the distribution is not normal: the constant covers it.
        let crowd = (expected + DEVIATIONS * expected.sqrt() + DEVIATIONS).ceil() as usize;
        Self { devices, waits: Waits::default(), lately: VecDeque::new(), crowd, complained: false }
    }

    fn add(&mut self, now: Instant, share: f64) -> Option<String> {
        let storm = self.waits.add(share);
        while self.lately.front().is_some_and(|&first| now.since(first) >= MOMENT_MS || first > now) {
            self.lately.pop_front();
        }
        self.lately.push_back(now);
        let crowd = self.lately.len() > self.crowd;
        if !(storm || crowd) || std::mem::replace(&mut self.complained, true) {
            return None;
        }
        let (devices, at) = (self.devices, now.as_millis());
        Some(if storm {
            format!("the fleet waits less than its backoff: {} attempts by {at} ms", self.waits.count)
        } else {
            format!("the fleet is in step: {} attempts of {devices} devices within {MOMENT_MS} ms at {at} ms", self.lately.len())
        })
    }
}

/// What is known of the waits of one device.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    timeout_ms: u64,
    /// Failed attempts in a row, by the oracle's own count.
    failed: u32,
    up_since: Option<Instant>,
    /// When the present wait began, and the bound it is drawn from.
    waiting: Option<(Instant, u64)>,
    waits: Waits,
    complained: bool,
    herd: Arc<Mutex<Herd>>,
}

impl Backoff {
    pub(super) fn new(timeout_ms: u32, herd: Arc<Mutex<Herd>>) -> Self {
        let timeout_ms = timeout_ms.into();
        Self { timeout_ms, failed: 0, up_since: None, waiting: None, waits: Waits::default(), complained: false, herd }
    }

    /// An attempt came to nothing.
    pub(super) fn failed(&mut self, now: Instant) {
        let bound = (FIRST_BOUND_MS << self.failed.min(16)).min(LAST_BOUND_MS);
        self.waiting = Some((now, bound));
        self.failed += 1;
    }

    pub(super) fn came_up(&mut self, now: Instant) {
        self.up_since = Some(now);
    }

    /// A link has ended, or a connection that never became one. `again`: the session itself asked for another at once (HL-0069).
    pub(super) fn went_down(&mut self, now: Instant, again: bool) {
        match self.up_since.take() {
            _ if again => self.waiting = None,
            // HL-0133
            Some(since) if now.since(since) >= 3 * self.timeout_ms => self.rested(now),
            _ => self.failed(now),
        }
    }

    /// The network was joined.
    pub(super) fn rested(&mut self, now: Instant) {
        self.failed = 0;
        self.waiting = Some((now, self.timeout_ms / 4));
    }

    /// The device begins anew: it connects at once.
    pub(super) fn started(&mut self) {
        (self.failed, self.up_since, self.waiting) = (0, None, None);
    }

    /// The device connects; what there is to say against that.
    pub(super) fn tried(&mut self, now: Instant, has_quiet_time: bool) -> Vec<String> {
        let Some((from, bound)) = self.waiting.take() else { return Vec::new() };
        let share = (now.since(from) as f64 / bound.max(1) as f64).min(1.0);
        let mut found = Vec::new();
        if self.waits.add(share) && !std::mem::replace(&mut self.complained, true) {
            let (count, at) = (self.waits.count, now.as_millis());
            found.push(format!("waits less than its backoff: {count} attempts by {at} ms"));
        }
        // HL-0139 lets devices that heard of an outage at one moment end their quiet time at one moment.
        if !has_quiet_time && let Ok(mut herd) = self.herd.lock() {
            found.extend(herd.add(now, share));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(herd: &Arc<Mutex<Herd>>) -> Backoff {
        Backoff::new(2_000, Arc::clone(herd))
    }

    #[test]
    fn half_the_bound_is_right_and_nothing_is_a_storm() {
        let herd = Arc::new(Mutex::new(Herd::new(1, 2_000)));
        let (mut good, mut bad) = (device(&herd), device(&Arc::new(Mutex::new(Herd::new(1, 2_000)))));
        let (mut now, mut complaints) = (Instant::from_millis(0), 0);
        for attempt in 0..100 {
            for device in [&mut good, &mut bad] {
                device.failed(now);
            }
            complaints += bad.tried(now, false).len();
            now = now.plus(if attempt < 6 { 250 << attempt } else { 15_000 });
            assert_eq!(good.tried(now, false), [""; 0]);
        }
        assert_eq!(complaints, 2, "alone, and as a fleet of one");
    }

    #[test]
    fn devices_that_return_in_one_moment_are_a_crowd() {
        let herd = Arc::new(Mutex::new(Herd::new(100, 2_000)));
        let now = Instant::from_millis(1_000);
        let complaints = |spread: u32| {
            let mut found = Vec::new();
            for index in 0..100_u32 {
                let mut device = device(&herd);
                device.rested(now);
                found.extend(device.tried(now.plus(250 + index * spread), false));
            }
            found
        };
        assert_eq!(complaints(1), [""; 0]);
        assert!(complaints(0)[0].contains("in step"));
    }
}
