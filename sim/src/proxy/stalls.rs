//! Burst loss: when a connection stalls, and for how long.

use tokio::time::Instant;

use super::chance::Chance;
use super::kind::{BurstLoss, millis};
use crate::rng::SplitMix64;

/// The stalls of one connection, one after the other, drawn as the simulator draws them.
#[derive(Debug)]
pub(super) struct Stalls {
    attributes: BurstLoss,
    chance: SplitMix64,
    /// The stall that is, or the next.
    from: Instant,
    to: Instant,
    stalled: bool,
}

impl Stalls {
    /// Those from `since` on.
    pub(super) fn new(attributes: &BurstLoss, chance: Chance, since: Instant) -> Self {
        let mut stalls =
            Self { attributes: attributes.clone(), chance: chance.generator(), from: since, to: since, stalled: false };
        stalls.draw();
        stalls
    }

    /// The next ones are as this says.
    pub(super) fn set(&mut self, attributes: &BurstLoss) {
        if self.attributes != *attributes {
            self.attributes = attributes.clone();
        }
    }

    pub(super) fn is_stalled(&mut self, now: Instant) -> bool {
        while self.to <= now {
            self.draw();
        }
        self.stalled = self.from <= now;
        self.stalled
    }

    /// When the stall that is ends, if there was one at the last look.
    pub(super) fn ends(&self) -> Option<Instant> {
        self.stalled.then_some(self.to)
    }

    fn draw(&mut self) {
        let BurstLoss { longest, every, shape, .. } = self.attributes;
        let mut draw = || self.chance.next_u64();
        self.from = self.to + millis(shape.pause_ms(&mut draw, every).into());
        self.to = self.from + millis(shape.stall_ms(&mut draw, longest).into());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::outage::Shape;

    /// For each millisecond of a minute, whether it was in a stall, looked at every `step`.
    fn minute(seed: u64, shape: Shape, step: usize) -> Vec<(usize, bool)> {
        let attributes = BurstLoss { longest: 400, every: 500, shape, one_way: false };
        let start = Instant::now();
        let mut stalls = Stalls::new(&attributes, Chance::from_seed(seed), start);
        let look = |at: usize| (at, stalls.is_stalled(start + Duration::from_millis(at as u64)));
        (0..60_000).step_by(step).map(look).collect()
    }

    #[test]
    fn stalls_follow_from_the_seed_however_seldom_they_are_looked_at() {
        for shape in [Shape::HeavyTailed, Shape::GilbertElliott] {
            let all = minute(1, shape, 1);
            let seldom = minute(1, shape, 17);
            assert!(seldom.iter().all(|&(at, stalled)| all[at].1 == stalled));
            assert_ne!(all, minute(2, shape, 1));
        }
    }

    #[test]
    fn stalls_are_no_longer_and_no_rarer_than_it_says() {
        let all = minute(1, Shape::HeavyTailed, 1);
        let runs: Vec<usize> = all.chunk_by(|one, next| one.1 == next.1).filter(|run| run[0].1).map(<[_]>::len).collect();
        // About 600 ms from one to the next.
        assert!((70..140).contains(&runs.len()), "{}", runs.len());
        assert!(runs.iter().all(|&length| length <= 401) && runs.iter().any(|&length| length > 200), "{runs:?}");
    }
}
