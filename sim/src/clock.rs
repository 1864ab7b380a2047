//! The clock of a node: it may be ahead, and it may run fast or slow.

use holdline_proto::Instant;

const MILLION: u128 = 1_000_000;
/// The rate of a clock that is right.
const RIGHT: u32 = 1_000_000;

/// How a node's clock follows the time of the world.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// When it was set, in the time of the world.
    set: Instant,
    /// What it showed then.
    shown: Instant,
    /// Milliseconds that it counts while the world counts a million; at least 1.
    rate: u32,
}

impl Clock {
    pub(crate) fn new(now: Instant, shown: Instant) -> Self {
        Self { set: now, shown, rate: RIGHT }
    }

    /// What it shows at `now`.
    pub(crate) fn shows(&self, now: Instant) -> Instant {
        let passed = now.since(self.set);
        if self.rate == RIGHT {
            return Instant::from_millis(self.shown.as_millis() + passed);
        }
        let counted = u128::from(passed) * u128::from(self.rate) / MILLION;
        Instant::from_millis(self.shown.as_millis() + counted as u64)
    }

    /// When it shows `deadline` or more for the first time; not before it was set.
    pub(crate) fn reaches(&self, deadline: Instant) -> Instant {
        let counted = deadline.since(self.shown);
        if self.rate == RIGHT {
            return Instant::from_millis(self.set.as_millis() + counted);
        }
        let needed = (u128::from(counted) * MILLION).div_ceil(self.rate.into());
        Instant::from_millis(self.set.as_millis() + needed as u64)
    }

    /// Lets it jump ahead.
    pub(crate) fn jump(&mut self, now: Instant, ms: u32) {
        (self.shown, self.set) = (self.shows(now).plus(ms), now);
    }

    /// Lets it run fast or slow from now on, by so many parts in a million.
    pub(crate) fn drift(&mut self, now: Instant, ppm: i32) {
        (self.shown, self.set) = (self.shows(now), now);
        self.rate = RIGHT.saturating_add_signed(ppm).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    #[test]
    fn a_deadline_is_reached_in_the_first_millisecond_that_shows_it() {
        for ppm in [-50_000, -333, 0, 17, 99_999] {
            let mut clock = Clock::new(at(100), at((1 << 32) - 300));
            clock.drift(at(150), ppm);
            clock.jump(at(200), 1_000);
            for wait in 0..3_000 {
                let deadline = clock.shows(at(200)).plus(wait);
                let reached = clock.reaches(deadline);
                assert!(clock.shows(reached) >= deadline, "{ppm} {wait}");
                let before = at(reached.as_millis() - 1);
                assert!(reached == at(200) || clock.shows(before) < deadline, "{ppm} {wait}");
            }
        }
    }

    #[test]
    fn a_clock_that_is_fast_by_one_percent_gains_ten_milliseconds_a_second() {
        let mut clock = Clock::new(at(0), at(0));
        clock.drift(at(1_000), 10_000);
        assert_eq!(clock.shows(at(2_000)), at(2_010));
    }
}
