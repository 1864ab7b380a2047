//! Decimal numbers ⇄ 64 bits.
//!
//! Every message and every acknowledgement has one. A register of 64 bits takes eight digits at once; smaller machines take one
//! after the other, which is less code.

/// The most digits a 64-bit number has.
pub(crate) const MAX: usize = 20;

/// Splits a number off the front of `bytes`: no sign, no leading zero, at most 64 bits.
pub(crate) fn take(bytes: &[u8]) -> Option<(u64, &[u8])> {
    #[cfg(target_pointer_width = "64")]
    if let Some(few) = word::take(bytes) {
        return Some((few.value, bytes.get(few.length..)?));
    }
    take_one_by_one(bytes)
}

#[cfg_attr(target_pointer_width = "64", cold)]
fn take_one_by_one(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value: u64 = 0;
    let mut rest = bytes;
    while let [digit @ b'0'..=b'9', after @ ..] = rest {
        value = value.wrapping_mul(10).wrapping_add((digit - b'0').into());
        rest = after;
    }
    let fits = match (bytes.first()?, bytes.len() - rest.len()) {
        (_, 0) => false,
        (b'0', length) => length == 1,
        (_, ..MAX) => true,
        // Twenty digits from 10^19 on have the top bit set; what is too large for 64 bits has wrapped round to less.
        (b'1', MAX) => value >> 63 == 1,
        _ => false,
    };
    fits.then_some((value, rest))
}

/// Spells a number in `place`.
pub(crate) fn spell(value: u64, place: &mut [u8; MAX]) -> &[u8] {
    #[cfg(target_pointer_width = "64")]
    if let Some(few) = word::spell(value) {
        let (front, _) = place.split_at_mut(few.digits.len());
        front.copy_from_slice(&few.digits);
        return front.get(..few.length).unwrap_or_default();
    }
    let mut first = MAX;
    let mut rest = value;
    for place in place.iter_mut().rev() {
        let digit;
        (rest, digit) = div_10(rest);
        *place = b'0' + digit;
        first -= 1;
        if rest == 0 {
            break;
        }
    }
    place.get(first..).unwrap_or_default()
}

#[cfg(target_pointer_width = "64")]
fn div_10(value: u64) -> (u64, u8) {
    (value / 10, (value % 10) as u8)
}

/// In three steps of 32 bits: the division of 64 bits takes a kilobyte.
#[cfg(not(target_pointer_width = "64"))]
fn div_10(value: u64) -> (u64, u8) {
    let (high, low) = ((value >> 32) as u32, value as u32);
    let middle = high % 10 << 16 | low >> 16;
    let rest = middle % 10 << 16 | low & 0xFFFF;
    (u64::from(high / 10) << 32 | u64::from(middle / 10) << 16 | u64::from(rest / 10), (rest % 10) as u8)
}

/// Up to eight digits in the bytes of a word, the first in the lowest.
#[cfg(target_pointer_width = "64")]
pub(crate) mod word {
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    const TOP_BITS: u64 = 0x8080_8080_8080_8080;

    pub(super) struct Taken {
        pub(super) value: u64,
        pub(super) length: usize,
    }

    /// The number at the front; `None` if it has eight digits or more, or is none.
    pub(super) fn take(bytes: &[u8]) -> Option<Taken> {
        let front = match (bytes.first_chunk(), bytes.first_chunk(), bytes.last_chunk()) {
            (Some(front), ..) => u64::from_le_bytes(*front),
            (None, Some(front), Some(back)) => {
                let (front, back) = (u32::from_le_bytes(*front), u32::from_le_bytes(*back));
                u64::from(front) | u64::from(back) << (8 * (bytes.len() - 4))
            }
            _ => return None,
        };
        let digits = front ^ ZEROS;
        // The lowest byte that is no digit has its top bit set; what the sum carries into the bytes above does not matter.
        let others = (digits.wrapping_add(0x7676_7676_7676_7676) | digits) & TOP_BITS;
        let bits = others.trailing_zeros() & !7;
        if bits == 0 || bits == 64 || (digits & 0xFF == 0 && bits > 8) {
            return None;
        }
        // Zeros before the first digit; then neighbours are joined to pairs, and pairs to the whole.
        let digits = digits << (64 - bits);
        let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
        const EVERY_OTHER: u64 = 0x0000_00FF_0000_00FF;
        let odd = (pairs & EVERY_OTHER).wrapping_mul(100 + (1_000_000 << 32));
        let even = (pairs >> 16 & EVERY_OTHER).wrapping_mul(1 + (10_000 << 32));
        Some(Taken { value: odd.wrapping_add(even) >> 32, length: bits as usize / 8 })
    }

    pub(crate) struct Spelled {
        /// What stands behind the last digit means nothing.
        pub(crate) digits: [u8; 8],
        pub(crate) length: usize,
    }

    /// The digits of a number that has eight at most.
    pub(crate) fn spell(value: u64) -> Option<Spelled> {
        if value >= 100_000_000 {
            return None;
        }
        // Halved to four digits each, then to two, then to one: division by multiplication in all of them at once.
        let fours = (value / 10_000) | (value % 10_000) << 32;
        let hundreds = (fours * 10_486) >> 20 & 0x0000_007F_0000_007F;
        let twos = hundreds | (fours - hundreds * 100) << 16;
        let tens = (twos * 103) >> 10 & 0x000F_000F_000F_000F;
        let ones = tens | (twos - tens * 10) << 8;
        let blank = (ones.trailing_zeros() & !7).min(56);
        Some(Spelled { digits: ((ones | ZEROS) >> blank).to_le_bytes(), length: 8 - blank as usize / 8 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn numbers_have_one_spelling() {
        for (spelling, value) in [("0", Some(0)), ("18446744073709551615", Some(u64::MAX)), ("18446744073709551616", None)] {
            assert_eq!(take(spelling.as_bytes()), value.map(|value| (value, &b""[..])), "{spelling}");
        }
        let wrong = ["", "00", "01", "+1", "-1", " 1", "00000000", "01234567", "99999999999999999999", "111111111111111111111"];
        for wrong in wrong {
            for after in ["", " ", " and something behind it"] {
                assert_eq!(take((wrong.to_string() + after).as_bytes()), None, "{wrong}{after}");
            }
        }
    }

    #[test]
    fn numbers_are_read_and_written_as_everybody_does() {
        let around_powers = (0..20).map(|power| 10_u64.pow(power)).flat_map(|power| [power - 1, power, power + 1, power / 4 * 7]);
        let around_words = (0..64).map(|bit| 1_u64 << bit).flat_map(|word| [word - 1, word]);
        for value in (0..1_234).chain(around_powers).chain(around_words).chain([u64::MAX]) {
            let spelling = value.to_string();
            assert_eq!(spell(value, &mut [0; MAX]), spelling.as_bytes());
            // Any byte may follow, and none.
            for after in (0..=255).filter(|byte: &u8| !byte.is_ascii_digit()) {
                let mut line = spelling.clone().into_bytes();
                line.extend([after; 9]);
                assert_eq!(take(&line), Some((value, &[after; 9][..])), "{line:?}");
            }
            assert_eq!(take(spelling.as_bytes()), Some((value, &b""[..])));
        }
    }
}
