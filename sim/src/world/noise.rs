//! What a serial line does to the bytes on it, and no TCP does: a bit is flipped, a byte never arrives.

use super::{Access, StreamId, World};
use crate::rng::SplitMix64;
use crate::stream::Direction;

/// What noise does to one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// These of its bits are flipped.
    Flip(u8),
    /// It never arrives.
    Drop,
}

/// The noise on a way, from what its two ends say of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Noise {
    flip_per_million: u64,
    drop_per_million: u64,
}

impl Noise {
    pub(super) fn between(near: &Access, far: &Access) -> Self {
        Self {
            flip_per_million: u64::from(near.flip_per_million) + u64::from(far.flip_per_million),
            drop_per_million: u64::from(near.drop_per_million) + u64::from(far.drop_per_million),
        }
    }

    pub(super) fn is_some(self) -> bool {
        self.flip_per_million + self.drop_per_million > 0
    }

    /// What becomes of the next byte; `None`: it arrives as it was written.
    pub(super) fn damage(self, random: &mut SplitMix64) -> Option<Damage> {
        let number = random.next_u64();
        let fate = (number >> 3) % 1_000_000;
        if fate < self.drop_per_million {
            return Some(Damage::Drop);
        }
        (fate - self.drop_per_million < self.flip_per_million).then_some(Damage::Flip(1 << (number & 7)))
    }
}

/// Does to the bytes of a segment what `damage` says of each place in it, and notes which: `(flipped, dropped)`.
pub(super) fn disturb(segment: &mut Vec<u8>, first: u64, mut damage: impl FnMut(u64) -> Option<Damage>) -> (Vec<u64>, Vec<u64>) {
    let (mut flipped, mut dropped) = (Vec::new(), Vec::new());
    let mut places = first..;
    segment.retain_mut(|byte| {
        let place = places.next().unwrap_or_default();
        match damage(place) {
            None => true,
            Some(Damage::Flip(bits)) => {
                *byte ^= bits;
                flipped.push(place);
                true
            }
            Some(Damage::Drop) => {
                dropped.push(place);
                false
            }
        }
    });
    (flipped, dropped)
}

impl<M> World<M> {
    /// Lets one byte of a stream that is opened later arrive damaged, or not at all: the `place`th that is written one way, counted from 0.
    /// For sweeps over every byte of a session.
    pub fn damage_at(&mut self, stream: StreamId, way: Direction, place: u64, damage: Damage) {
        self.damages.insert((stream, way, place), damage);
    }
}
