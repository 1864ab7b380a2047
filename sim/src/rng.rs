//! Chance that can be repeated.

/// The `SplitMix64` generator: 64 bits of state, the same numbers on every machine, for ever.
///
/// Steele, Lea and Flood, *Fast Splittable Pseudorandom Number Generators*, OOPSLA 2014. It is not for secrets.
///
/// ```
/// use holdline_sim::rng::SplitMix64;
///
/// let mut chance = SplitMix64::from_seed(42);
/// let mut same = SplitMix64::from_seed(42);
/// assert_eq!(chance.next_u64(), same.next_u64());
/// ```
#[derive(Debug, Clone)]
pub struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    /// A generator whose every number follows from `seed`; any seed is as good as another.
    pub const fn from_seed(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next number, each of the 2^64 equally likely.
    pub const fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A generator of its own for one part of the run, so that a part that draws more leaves the others as they were.
    pub const fn split(&mut self) -> Self {
        Self::from_seed(self.next_u64())
    }
}

#[cfg(test)]
mod tests {
    use super::SplitMix64;

    #[test]
    fn gives_the_published_numbers() {
        let mut chance = SplitMix64::from_seed(1_234_567);
        let drawn = [(); 5].map(|()| chance.next_u64());
        assert_eq!(
            drawn,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423,
                4_593_380_528_125_082_431,
                16_408_922_859_458_223_821,
            ]
        );
    }

    #[test]
    fn a_part_that_draws_more_leaves_the_rest_as_it_was() {
        let draw = |draws_of_the_part| {
            let mut whole = SplitMix64::from_seed(7);
            let mut part = whole.split();
            for _ in 0..draws_of_the_part {
                part.next_u64();
            }
            whole.next_u64()
        };
        assert_eq!(draw(0), draw(1000));
    }
}
