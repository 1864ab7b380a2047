//! Serial noise: which bytes are flipped, and which never arrive.

use bytes::Bytes;

use super::chance::Chance;
use super::kind::Noise;
use super::stage::Item;

/// `noise`: passes everything at once, but for what the noise took.
#[derive(Debug)]
pub(super) struct Disturb {
    attributes: Noise,
    chance: Chance,
    /// Bytes so far.
    seen: u64,
    held: Option<Item>,
}

impl Disturb {
    pub(super) fn new(attributes: &Noise, chance: Chance) -> Self {
        Self { attributes: attributes.clone(), chance, seen: 0, held: None }
    }

    pub(super) fn set(&mut self, attributes: &Noise) {
        self.attributes = attributes.clone();
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.held.is_none()
    }

    pub(super) fn pop(&mut self) -> Option<Item> {
        self.held.take()
    }

    /// Says how many bytes are lost.
    pub(super) fn push(&mut self, item: Item, active: bool) -> usize {
        let Item::Data(bytes) = item else {
            self.held = Some(item);
            return 0;
        };
        let came = bytes.len();
        let left = if active && self.attributes != Noise::default() { self.disturbed(&bytes) } else { bytes };
        self.seen += came as u64;
        let lost = came - left.len();
        self.held = (!left.is_empty()).then_some(Item::Data(left));
        lost
    }

    fn disturbed(&self, bytes: &Bytes) -> Bytes {
        let drop = u64::from(self.attributes.drop_per_million);
        let disturbed = drop + u64::from(self.attributes.flip_per_million);
        let survivor = |(place, &byte): (u64, &u8)| {
            let number = self.chance.numbered(place).generator().next_u64();
            match (number >> 3) % 1_000_000 {
                fate if fate < drop => None,
                fate if fate < disturbed => Some(byte ^ (1 << (number & 7))),
                _ => Some(byte),
            }
        };
        (self.seen..).zip(bytes).filter_map(survivor).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: usize = 100_000;

    /// What is left of a long stream of zeros.
    fn left(seed: u64, attributes: &Noise, chunk: usize) -> Vec<u8> {
        let mut disturb = Disturb::new(attributes, Chance::from_seed(seed));
        let mut left = Vec::new();
        for piece in vec![0; LENGTH].chunks(chunk) {
            let lost = disturb.push(Item::Data(Bytes::copy_from_slice(piece)), true);
            let Some(Item::Data(bytes)) = disturb.pop() else {
                assert_eq!(lost, piece.len());
                continue;
            };
            assert_eq!(lost, piece.len() - bytes.len());
            left.extend_from_slice(&bytes);
        }
        left
    }

    #[test]
    fn what_is_flipped_and_lost_follows_from_the_seed_however_the_bytes_came() {
        let attributes = Noise { flip_per_million: 20_000, drop_per_million: 10_000 };
        let whole = left(1, &attributes, LENGTH);
        assert_eq!(left(1, &attributes, 7), whole);
        assert_ne!(left(2, &attributes, LENGTH), whole);
        assert!((900..1_100).contains(&(LENGTH - whole.len())), "{} lost", LENGTH - whole.len());
        let flipped: Vec<u32> = whole.iter().map(|byte| byte.count_ones()).filter(|&bits| bits > 0).collect();
        assert!((1_800..2_200).contains(&flipped.len()) && flipped.iter().all(|&bits| bits == 1), "{}", flipped.len());
    }

    #[test]
    fn without_a_rate_every_byte_passes_and_at_a_million_none() {
        assert_eq!(left(1, &Noise::default(), 999), vec![0; LENGTH]);
        assert_eq!(left(1, &Noise { drop_per_million: 1_000_000, ..Noise::default() }, 999), [0_u8; 0]);
    }
}
