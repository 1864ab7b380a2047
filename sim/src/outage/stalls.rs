//! Losses in bursts, as TCP lets them be seen: when a network stalls, and for how long.

use serde::{Deserialize, Serialize};

/// How long the stalls of burst loss are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// Most are short, some are as long as it gets: each half of the scale below the longest is as likely as the others.
    #[default]
    HeavyTailed,
    /// The channel is good or bad, and changes with fixed chances (Gilbert and Elliott): bad for an eighth of the longest on average. What
    /// was lost is sent again after 200 ms, 400 ms, 800 ms …, so a stall lasts until the first of these that finds the channel good.
    GilbertElliott,
}

/// When the network of a device stalls within `for_ms`, from … to, in milliseconds.
pub(super) fn stalls(
    draw: &mut impl FnMut() -> u64,
    for_ms: u32,
    longest_ms: u32,
    every_ms: u32,
    shape: Shape,
) -> Vec<(u32, u32)> {
    let mut stalls = Vec::new();
    let mut at = 0_u32;
    loop {
        at = at.saturating_add(shape.pause_ms(draw, every_ms));
        if at >= for_ms {
            return stalls;
        }
        let end = at.saturating_add(shape.stall_ms(draw, longest_ms)).min(for_ms);
        stalls.push((at, end));
        at = end;
    }
}

impl Shape {
    /// How long the network works before the next stall, in milliseconds.
    pub(crate) fn pause_ms(self, draw: &mut impl FnMut() -> u64, every_ms: u32) -> u32 {
        1 + below(draw, every_ms.saturating_mul(2))
    }

    /// How long a stall is, in milliseconds.
    pub(crate) fn stall_ms(self, draw: &mut impl FnMut() -> u64, longest_ms: u32) -> u32 {
        match self {
            Self::HeavyTailed => 1 + (longest_ms >> below(draw, 8)),
            Self::GilbertElliott => {
                // In steps of 10 ms, each the last of the bad ones with the same chance.
                let mean = (longest_ms / 80).max(1);
                let mut bad = 10;
                while bad < longest_ms && below(draw, mean) > 0 {
                    bad += 10;
                }
                let mut repeated = 200;
                let mut pause = 200;
                while repeated < bad {
                    pause *= 2;
                    repeated += pause;
                }
                repeated.min(longest_ms)
            }
        }
    }
}

fn below(draw: &mut impl FnMut() -> u64, bound: u32) -> u32 {
    (draw() % u64::from(bound.max(1))) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SplitMix64;

    fn lengths(shape: Shape) -> Vec<u32> {
        let mut chance = SplitMix64::from_seed(1);
        let stalls = stalls(&mut || chance.next_u64(), 10_000_000, 4_000, 1_000, shape);
        assert!(stalls.is_sorted() && stalls.iter().all(|&(from, to)| from < to), "one after the other");
        // The last one may be cut short by the end of the outage.
        stalls.into_iter().filter(|&(_, to)| to < 10_000_000).map(|(from, to)| to - from).collect()
    }

    #[test]
    fn heavy_tailed_stalls_are_mostly_short_and_sometimes_as_long_as_it_gets() {
        let lengths = lengths(Shape::HeavyTailed);
        let share = |long: u32| lengths.iter().filter(|&&length| length > long).count() as f64 / lengths.len() as f64;
        assert!((0.08..0.17).contains(&share(2_001)), "{}", share(2_001));
        assert!((0.45..0.55).contains(&share(251)), "{}", share(251));
    }

    #[test]
    fn stalls_of_a_two_state_channel_end_when_something_is_sent_again() {
        let lengths = lengths(Shape::GilbertElliott);
        assert!(lengths.iter().all(|length| [200, 600, 1_400, 3_000, 4_000].contains(length)));
        // Bad for 500 ms on average: the chance to be bad after 200 ms is e^-0.4.
        let longer = lengths.iter().filter(|&&length| length > 200).count() as f64 / lengths.len() as f64;
        assert!((0.62..0.72).contains(&longer), "{longer}");
    }
}
