//! A line ⇄ bytes: finding the LF, numbers, the checksum, and a writer that never writes half a line.

use crate::event::{PeerFault, SendError};

/// LF, the byte that ends a line.
pub(crate) const LF: u8 = b'\n';
/// The bytes that `*` and eight hex digits take.
pub(crate) const CHECK_LEN: usize = 9;
/// Sequence numbers stay below this, so that arithmetic on them cannot overflow.
pub(crate) const SEQ_LIMIT: u64 = 1 << 63;
/// The most digits a 64-bit number has.
const DIGITS_MAX: usize = 20;

/// A received line without its LF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line<'i> {
    pub(crate) bytes: &'i [u8],
    /// Whether a NUL is among them: the search for the LF meets it anyway.
    pub(crate) nul: bool,
}

/// Splits the first whole line off `input`. `Ok(None)`: none is complete.
///
/// # Errors
/// [`PeerFault::Long`] if the line, complete or not, is longer than `max`.
pub(crate) fn split(input: &[u8], max: usize) -> Result<Option<Line<'_>>, PeerFault> {
    let mut end = find_stop(input);
    let nul = end.is_some_and(|at| input.get(at) == Some(&0));
    if nul {
        end = find_lf(input);
    }
    // HL-0001, HL-0002, HL-0006, HL-0145
    match end {
        Some(end) if end <= max => Ok(input.get(..end).map(|bytes| Line { bytes, nul })),
        None if input.len() <= max => Ok(None),
        _ => Err(PeerFault::Long),
    }
}

/// The first LF or NUL, the two bytes that a text cannot hold.
#[cfg(not(target_pointer_width = "32"))]
fn find_stop(bytes: &[u8]) -> Option<usize> {
    memchr::memchr2(LF, 0, bytes)
}

#[cfg(not(target_pointer_width = "32"))]
pub(crate) fn find_lf(bytes: &[u8]) -> Option<usize> {
    memchr::memchr(LF, bytes)
}

/// On a small machine lines are short and flash is what is scarce.
#[cfg(target_pointer_width = "32")]
fn find_stop(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|&byte| byte == LF || byte == 0)
}

#[cfg(target_pointer_width = "32")]
pub(crate) fn find_lf(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|&byte| byte == LF)
}

/// Splits a decimal number off the front of `bytes`: no sign, no leading zero, at most 64 bits.
pub(crate) fn take_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value: u64 = 0;
    let mut length = 0;
    for digit in bytes.iter().map(|byte| byte.wrapping_sub(b'0')).take_while(|&digit| digit <= 9) {
        value = value.wrapping_mul(10).wrapping_add(digit.into());
        length += 1;
    }
    let fits = match (bytes.first()?, length) {
        (_, 0) => false,
        (b'0', _) => length == 1,
        (_, ..DIGITS_MAX) => true,
        // Twenty digits from 10^19 on have the top bit set; what is too large for 64 bits has wrapped round to less.
        (b'1', DIGITS_MAX) => value >= SEQ_LIMIT,
        _ => false,
    };
    if fits { Some((value, bytes.get(length..)?)) } else { None }
}

/// A number that is the whole of `bytes`.
pub(crate) fn number(bytes: &[u8]) -> Option<u64> {
    take_number(bytes).and_then(|(value, rest)| rest.is_empty().then_some(value))
}

/// Bytes as text; whether there is a NUL is told by [`Line`].
#[cfg(not(target_pointer_width = "32"))]
pub(crate) fn utf8(bytes: &[u8]) -> Result<&str, PeerFault> {
    core::str::from_utf8(bytes).map_err(|_| PeerFault::Utf8)
}

/// Half the code of `from_utf8`, which is made for long texts.
#[cfg(target_pointer_width = "32")]
pub(crate) fn utf8(bytes: &[u8]) -> Result<&str, PeerFault> {
    match bytes.utf8_chunks().next() {
        None => Ok(""),
        Some(whole) if whole.invalid().is_empty() => Ok(whole.valid()),
        Some(_) => Err(PeerFault::Utf8),
    }
}

/// Whether an application's text can stand in a line.
pub(crate) fn sendable(text: &str) -> Result<(), SendError> {
    // HL-0007
    match find_stop(text.as_bytes()) {
        None => Ok(()),
        Some(at) if text.as_bytes().get(at) == Some(&LF) => Err(SendError::LineFeed),
        Some(_) => Err(SendError::Nul),
    }
}

/// Takes the checksum off a line; `None` if there is none or it is wrong.
pub(crate) fn unchecked(line: &[u8]) -> Option<&[u8]> {
    let (body, suffix) = line.split_at_checked(line.len().checked_sub(CHECK_LEN)?)?;
    let mut sum: u32 = 0;
    let (star, digits) = suffix.split_first()?;
    for &digit in digits {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        sum = sum << 4 | u32::from(value);
    }
    (*star == b'*' && sum == crc32(0, body)).then_some(body)
}

/// CRC-32 (IEEE 802.3) of `bytes`, going on from the checksum of what came before (0 at the beginning).
pub(crate) fn crc32(before: u32, bytes: &[u8]) -> u32 {
    let mut crc = !before;
    for &byte in bytes {
        crc ^= u32::from(byte);
        crc = crc >> 4 ^ NIBBLES[(crc & 15) as usize];
        crc = crc >> 4 ^ NIBBLES[(crc & 15) as usize];
    }
    !crc
}

/// The checksum of a stream, one message further: its text and one LF.
pub(crate) fn stream_sum(before: u32, text: &[u8]) -> u32 {
    crc32(crc32(before, text), &[LF])
}

/// The CRC of each half byte: 64 bytes of table are what a small device can spare.
const NIBBLES: [u32; 16] = {
    let mut table = [0; 16];
    let mut index = 0;
    while index < 16 {
        let mut crc = index as u32;
        let mut bit = 0;
        while bit < 4 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
};

/// Writes a number to the end of `digits`, and returns where it begins there.
fn spell(mut value: u64, digits: &mut [u8; DIGITS_MAX]) -> usize {
    let mut first = DIGITS_MAX;
    for place in digits.iter_mut().rev() {
        let digit;
        (value, digit) = div_10(value);
        *place = b'0' + digit;
        first -= 1;
        if value == 0 {
            break;
        }
    }
    first
}

#[cfg(not(target_pointer_width = "32"))]
fn div_10(value: u64) -> (u64, u8) {
    (value / 10, (value % 10) as u8)
}

/// In three steps of 32 bits: the division of 64 bits takes a kilobyte.
#[cfg(target_pointer_width = "32")]
fn div_10(value: u64) -> (u64, u8) {
    let (high, low) = ((value >> 32) as u32, value as u32);
    let middle = high % 10 << 16 | low >> 16;
    let rest = middle % 10 << 16 | low & 0xFFFF;
    (u64::from(high / 10) << 32 | u64::from(middle / 10) << 16 | u64::from(rest / 10), (rest % 10) as u8)
}

/// Writes whole lines into a buffer; a line that does not fit leaves no trace.
pub(crate) struct Writer<'b> {
    buffer: &'b mut [u8],
    /// Where the line that is being written began: everything before is whole lines.
    start: usize,
    at: usize,
    check: bool,
}

impl<'b> Writer<'b> {
    pub(crate) fn new(buffer: &'b mut [u8], check: bool) -> Self {
        Self { buffer, start: 0, at: 0, check }
    }

    /// Bytes of whole lines written.
    pub(crate) fn written(&self) -> usize {
        self.start
    }

    /// Appends to the line; past the end of the buffer it only counts, and the line will not be ended.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> &mut Self {
        if let Some(target) = self.at.checked_add(bytes.len()).and_then(|end| self.buffer.get_mut(self.at..end)) {
            target.copy_from_slice(bytes);
        }
        self.at = self.at.saturating_add(bytes.len());
        self
    }

    /// Appends a decimal number.
    pub(crate) fn number(&mut self, value: u64) -> &mut Self {
        let mut digits = [0; DIGITS_MAX];
        let first = spell(value, &mut digits);
        self.put(digits.get(first..).unwrap_or_default())
    }

    /// Writes the line of a frame that has a number, and perhaps a text; `false` as for [`Writer::end`].
    pub(crate) fn frame(&mut self, letter: u8, number: u64, text: Option<&[u8]>) -> bool {
        self.put(&[letter]).number(number);
        if let Some(text) = text {
            self.put(b" ").put(text);
        }
        self.end()
    }

    /// Ends a line with its checksum, if the stream has one, and LF. `false`, and no trace of it, if it did not fit.
    // HL-0004, HL-0097
    #[must_use]
    pub(crate) fn end(&mut self) -> bool {
        if self.check && self.at > self.start {
            let sum = self.buffer.get(self.start..self.at).map_or(0, |body| crc32(0, body));
            let mut suffix = *b"*00000000";
            for (index, digit) in suffix.iter_mut().skip(1).enumerate() {
                *digit = b"0123456789abcdef"[(sum >> (28 - 4 * index) & 15) as usize];
            }
            self.put(&suffix);
        }
        self.put(&[LF]);
        let fits = self.at <= self.buffer.len();
        if fits {
            self.start = self.at;
        } else {
            self.at = self.start;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_spelling() {
        for (spelling, value) in [("0", Some(0)), ("18446744073709551615", Some(u64::MAX)), ("18446744073709551616", None)] {
            assert_eq!(number(spelling.as_bytes()), value, "{spelling}");
        }
        for wrong in ["", "00", "01", "+1", "-1", " 1", "1 ", "1a", "99999999999999999999"] {
            assert_eq!(number(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn numbers_are_written_as_they_are_read() {
        for value in [0, 9, 10, 4_294_967_295, 4_294_967_296, 42_949_672_960, u64::MAX] {
            let mut buffer = [0; 32];
            let mut writer = Writer::new(&mut buffer, false);
            assert!(writer.number(value).end());
            let written = writer.written();
            assert_eq!(number(&buffer[..written - 1]), Some(value));
        }
    }

    #[test]
    fn the_checksum_is_the_one_everybody_means() {
        assert_eq!(crc32(0, b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(crc32(0, b"1234"), b"56789"), 0xCBF4_3926);
    }

    #[test]
    fn a_checked_line_survives_and_a_flipped_bit_does_not() {
        let mut buffer = [0; 32];
        let mut writer = Writer::new(&mut buffer, true);
        assert!(writer.put(b"M1 on").end());
        let length = writer.written() - 1;
        assert_eq!(unchecked(&buffer[..length]), Some(&b"M1 on"[..]));
        for bit in 0..length * 8 {
            let mut flipped = buffer;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unchecked(&flipped[..length]), None, "bit {bit}");
        }
    }

    #[test]
    fn half_a_line_is_never_written() {
        let mut buffer = [0; 8];
        let mut writer = Writer::new(&mut buffer, false);
        assert!(writer.put(b"A1").end());
        assert!(!writer.put(b"A234567").end());
        assert!(writer.put(b"A3").end());
        assert_eq!(writer.written(), 6);
        assert_eq!(&buffer[..6], b"A1\nA3\n");
    }
}
