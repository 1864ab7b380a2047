//! A line ⇄ bytes: finding the LF, numbers, the checksum, and a writer that never writes half a line.

use crate::digits;
use crate::event::{PeerFault, SendError};

/// LF, the byte that ends a line.
pub(crate) const LF: u8 = b'\n';
/// The bytes that `*` and eight hex digits take.
pub(crate) const CHECK_LEN: usize = 9;
/// Sequence numbers stay below this, so that arithmetic on them cannot overflow.
pub(crate) const SEQ_LIMIT: u64 = 1 << 63;

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

/// A number that is the whole of `bytes`.
pub(crate) fn number(bytes: &[u8]) -> Option<u64> {
    digits::take(bytes).and_then(|(value, rest)| rest.is_empty().then_some(value))
}

/// Bytes as text; whether there is a NUL is told by [`Line`].
#[cfg(not(target_pointer_width = "32"))]
pub(crate) fn utf8(bytes: &[u8]) -> Result<&str, PeerFault> {
    core::str::from_utf8(bytes).map_err(|_| PeerFault::Utf8)
}

/// The text of a line from `at` on. The line as a whole is checked, since it is aligned more often than its text is.
#[cfg(not(target_pointer_width = "32"))]
pub(crate) fn text(line: &[u8], at: usize) -> Result<&str, PeerFault> {
    Ok(utf8(line)?.get(at..).unwrap_or_default())
}

#[cfg(target_pointer_width = "32")]
pub(crate) fn text(line: &[u8], at: usize) -> Result<&str, PeerFault> {
    utf8(line.get(at..).unwrap_or_default())
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

/// Takes the check off a line without its LF, as on a stream with `check=crc32` (HL-0097); `None` if there is none or it is wrong.
pub fn unchecked(line: &[u8]) -> Option<&[u8]> {
    let (body, check) = line.split_at_checked(line.len().checked_sub(CHECK_LEN)?)?;
    (check == check_of(body)).then_some(body)
}

/// What a checked line ends in.
fn check_of(body: &[u8]) -> [u8; CHECK_LEN] {
    let mut check = [b'*'; CHECK_LEN];
    let mut sum = crc32(0, body);
    for digit in check.iter_mut().skip(1) {
        sum = sum.rotate_left(4);
        let nibble = (sum & 15) as u8;
        *digit = nibble + if nibble < 10 { b'0' } else { b'a' - 10 };
    }
    check
}

/// CRC-32 (IEEE 802.3) of `bytes`, going on from the checksum of what came before (0 at the beginning).
///
/// ```
/// assert_eq!(holdline_proto::crc32(0, b"123456789"), 0xcbf4_3926);
/// ```
pub fn crc32(before: u32, bytes: &[u8]) -> u32 {
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
        if let Some(target) = self.buffer.get_mut(self.at..).and_then(|rest| rest.get_mut(..bytes.len())) {
            target.copy_from_slice(bytes);
        }
        self.at += bytes.len();
        self
    }

    /// Appends a decimal number.
    #[inline(never)]
    pub(crate) fn number(&mut self, value: u64) -> &mut Self {
        self.put(digits::spell(value, &mut [0; digits::MAX]))
    }

    /// Writes the line of a frame that has a number, and perhaps a text; `false` as for [`Writer::end`].
    pub(crate) fn frame(&mut self, letter: u8, number: u64, text: Option<&[u8]>) -> bool {
        #[cfg(target_pointer_width = "64")]
        if !self.check && self.frame_at_once(letter, number, text).is_some() {
            return true;
        }
        self.frame_piece_by_piece(letter, number, text)
    }

    #[cfg_attr(target_pointer_width = "64", cold)]
    fn frame_piece_by_piece(&mut self, letter: u8, number: u64, text: Option<&[u8]>) -> bool {
        self.put(&[letter]).number(number);
        if let Some(text) = text {
            self.put(b" ").put(text);
        }
        self.end()
    }

    /// The usual frame: a short number, no check, and room for it.
    #[cfg(target_pointer_width = "64")]
    fn frame_at_once(&mut self, letter: u8, number: u64, text: Option<&[u8]>) -> Option<()> {
        let number = digits::word::spell(number)?;
        let mut place = self.buffer.get_mut(self.at..)?;
        let room = place.len();
        let [first, digits @ ..] = place.first_chunk_mut::<9>()?;
        *first = letter;
        *digits = number.digits;
        place = place.get_mut(1 + number.length..)?;
        if let Some(text) = text {
            let (blank, after) = place.split_first_mut()?;
            *blank = b' ';
            let (target, after) = after.split_at_mut_checked(text.len())?;
            target.copy_from_slice(text);
            place = after;
        }
        let (last, after) = place.split_first_mut()?;
        *last = LF;
        self.at += room - after.len();
        self.start = self.at;
        Some(())
    }

    #[cold]
    fn put_check(&mut self) {
        let check = check_of(self.buffer.get(self.start..self.at).unwrap_or_default());
        self.put(&check);
    }

    /// Ends a line with its checksum, if the stream has one, and LF. `false`, and no trace of it, if it did not fit.
    // HL-0004, HL-0097
    #[must_use]
    pub(crate) fn end(&mut self) -> bool {
        if self.check && self.at > self.start {
            self.put_check();
        }
        match self.buffer.get_mut(self.at) {
            Some(place) => {
                *place = LF;
                self.at += 1;
                self.start = self.at;
                true
            }
            None => {
                self.at = self.start;
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
