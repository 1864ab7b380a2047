//! What outlives a loss of power.

use super::store::Store;
use crate::defect::{Defect, Seeded};
use holdline_proto::{Outbox, Role, Session, native};

/// What a durable endpoint has in its flash: the last commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flash {
    snapshot: native::Snapshot,
    texts: Vec<String>,
}

/// What is read back after a torn write.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) flash: Flash,
    /// Whether the last write counts; else the one before it does.
    pub(super) is_new: bool,
}

impl Flash {
    pub(super) fn open(&self, seeded: Seeded) -> (native::Snapshot, Store) {
        let mut outbox = Store::new(seeded);
        for text in &self.texts {
            // It was in an outbox of the same size.
            let _ = outbox.push(None, text);
        }
        (self.snapshot, outbox)
    }

    /// What is found when the power went while this was written, at a byte drawn from `random`: over the last record (one slot), or over
    /// the one before that (two). A record counts when its checksum is right.
    pub(super) fn torn(self, before: Self, slots: usize, random: u64, seeded: Seeded) -> Option<Found> {
        let (new, old) = (self.record(), before.record());
        // An end is as likely as all places before it: with thousands of bytes it would hardly ever be drawn.
        let written = if random.is_multiple_of(4) { new.len() } else { (random >> 2) as usize % new.len() };
        let mut area = old;
        area.resize(area.len().max(written), 0xff);
        area[..written].copy_from_slice(&new[..written]);
        if let Some(flash) = Self::read(&area, seeded.is(Defect::TornRead)) {
            return Some(Found { is_new: flash == self, flash });
        }
        (slots > 1).then_some(Found { flash: before, is_new: false })
    }

    /// As it is written: the length of what follows, a checksum of it, the cursors, the texts.
    fn record(&self) -> Vec<u8> {
        let snapshot = self.snapshot;
        let mut body = Vec::new();
        for number in [snapshot.epoch, snapshot.acked, snapshot.peer_boot, snapshot.peer_epoch, snapshot.accepted] {
            body.extend(number.to_le_bytes());
        }
        for sum in [snapshot.acked_sum, snapshot.accepted_sum] {
            body.extend(sum.map_or(u64::MAX, u64::from).to_le_bytes());
        }
        body.push(snapshot.contacted.into());
        for text in &self.texts {
            body.extend(text.as_bytes());
            body.push(b'\n');
        }
        let mut record = (body.len() as u64).to_le_bytes().to_vec();
        record.extend(checksum(&body).to_le_bytes());
        record.extend(body);
        record
    }

    fn read(record: &[u8], whatever_it_says: bool) -> Option<Self> {
        let (length, rest) = number(record)?;
        let (sum, rest) = number(rest)?;
        let body = if whatever_it_says { rest } else { rest.get(..usize::try_from(length).ok()?)? };
        if checksum(body) != sum && !whatever_it_says {
            return None;
        }
        let mut numbers = [0; 7];
        let mut rest = body;
        for slot in &mut numbers {
            (*slot, rest) = number(rest)?;
        }
        let (&contacted, texts) = rest.split_first()?;
        let [epoch, acked, peer_boot, peer_epoch, accepted, acked_sum, accepted_sum] = numbers;
        let sum = |sum: u64| u32::try_from(sum).ok();
        let snapshot = native::Snapshot {
            epoch,
            acked,
            acked_sum: sum(acked_sum),
            contacted: contacted == 1,
            peer_boot,
            peer_epoch,
            accepted,
            accepted_sum: sum(accepted_sum),
        };
        let texts = String::from_utf8_lossy(texts).split_terminator('\n').map(str::to_owned).collect();
        Some(Self { snapshot, texts })
    }
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (first, rest) = bytes.split_first_chunk()?;
    Some((u64::from_le_bytes(*first), rest))
}

/// FNV-1a, 64 bits.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

pub(super) fn flash<R: Role>(session: &Session<R, Store>) -> Option<Flash> {
    let Session::Native(session) = session else { return None };
    let texts = (0..session.outbox().len()).filter_map(|index| session.outbox().get(index));
    let texts = texts.filter_map(|text| std::str::from_utf8(text).ok()).map(str::to_owned).collect();
    Some(Flash { snapshot: session.snapshot(), texts })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flash(texts: &[&str]) -> Flash {
        let snapshot =
            native::Snapshot { epoch: 7, acked: 3, acked_sum: Some(9), contacted: true, ..native::Snapshot::default() };
        Flash { snapshot, texts: texts.iter().map(|&text| text.to_owned()).collect() }
    }

    #[test]
    fn a_torn_record_is_whole_or_absent_with_two_slots_and_whole_or_nothing_with_one() {
        let (before, after) = (flash(&["one", "two"]), flash(&["one", "two", "three"]));
        for random in 0..400 {
            let two = after.clone().torn(before.clone(), 2, random, Seeded::default()).expect("one of the two counts");
            assert_eq!(two.flash, if two.is_new { after.clone() } else { before.clone() });
            assert_eq!(two.is_new, random % 4 == 0, "the whole record, and nothing less");
            let one = after.clone().torn(before.clone(), 1, random, Seeded::default());
            // Before its first byte the old record is still there.
            let untouched = random % 4 != 0 && ((random >> 2) as usize).is_multiple_of(after.record().len());
            assert_eq!(one.is_some(), two.is_new || untouched);
        }
    }
}
