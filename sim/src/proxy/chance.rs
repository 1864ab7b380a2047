//! Every random decision, from one seed.

use crate::rng::SplitMix64;

/// A place in the tree of decisions: the seed at the root, then the proxy, the connection, the toxic, the direction.
///
/// What one place draws moves no other, so that a connection more or a toxic more leaves the rest of a run as it was.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) const fn from_seed(seed: u64) -> Self {
        Self(seed)
    }

    /// The place below this one that has a name.
    pub(super) fn named(self, name: &str) -> Self {
        // FNV-1a, 64 bits: the same on every machine, which std's hashers do not promise.
        let hash =
            name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        self.numbered(hash)
    }

    /// The place below this one that has a number.
    pub(super) const fn numbered(self, number: u64) -> Self {
        let at = SplitMix64::from_seed(self.0).next_u64();
        Self(SplitMix64::from_seed(at ^ number).next_u64())
    }

    /// This place's number in `[0, 1)`, the same whenever it is asked for.
    pub(super) fn unit(self) -> f64 {
        unit(self.generator().next_u64())
    }

    /// Numbers one after the other.
    pub(super) const fn generator(self) -> SplitMix64 {
        SplitMix64::from_seed(self.0)
    }
}

/// A number of 64 bits as one in `[0, 1)`.
#[expect(clippy::cast_precision_loss, reason = "53 bits are what an f64 holds exactly")]
fn unit(drawn: u64) -> f64 {
    (drawn >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::Chance;

    #[test]
    fn a_place_draws_the_same_again_and_not_what_its_neighbour_draws() {
        let proxy = Chance::from_seed(7).named("device");
        assert_eq!(proxy.numbered(3).unit().to_bits(), proxy.numbered(3).unit().to_bits());
        assert_ne!(proxy.numbered(3).unit().to_bits(), proxy.numbered(4).unit().to_bits());
        assert_ne!(proxy.numbered(3).unit().to_bits(), Chance::from_seed(8).named("device").numbered(3).unit().to_bits());
    }

    #[test]
    fn connections_draw_evenly() {
        let proxy = Chance::from_seed(1).named("device");
        let below = (0..10_000).filter(|&connection| proxy.numbered(connection).named("latency_downstream").unit() < 0.3).count();
        assert!((2_850..3_150).contains(&below), "{below} of 10000 connections drew less than 0.3");
    }
}
