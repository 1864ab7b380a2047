//! The lines of the classic profiles ⇄ what they mean.

use crate::event::PeerFault;
use crate::frame::Writer;

/// What a message line takes besides its text: two hex digits.
pub(crate) const OVERHEAD: u32 = 2;

/// The longest line that a client sends, in bytes without its LF: an original server reads 4096 bytes at a time and drops an LF
/// that comes first.
pub(crate) const CLIENT_LINE_MAX: u32 = 4_095;

/// A line of a classic peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line<'l> {
    Keepalive,
    /// Nothing but an id: an acknowledgement, or, in 2019, a message without text.
    Bare(u8),
    /// An id and what follows it, at least one byte.
    Message(u8, &'l [u8]),
}

impl<'l> Line<'l> {
    pub(crate) fn parse(line: &'l [u8]) -> Result<Self, PeerFault> {
        match line {
            // HL-0005
            [] => Ok(Self::Keepalive),
            &[high, low, ref text @ ..] => match (nibble(high), nibble(low)) {
                (Some(high), Some(low)) if text.is_empty() => Ok(Self::Bare(high << 4 | low)),
                (Some(high), Some(low)) => Ok(Self::Message(high << 4 | low, text)),
                // HL-0030, HL-0031
                _ => Err(PeerFault::Frame),
            },
            _ => Err(PeerFault::Frame),
        }
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

fn put_id<'w, 'b>(writer: &'w mut Writer<'b>, id: u8) -> &'w mut Writer<'b> {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    writer.put(&[DIGITS[usize::from(id >> 4)], DIGITS[usize::from(id & 15)]])
}

pub(crate) fn write_message(writer: &mut Writer<'_>, id: u8, text: &[u8]) -> bool {
    put_id(writer, id).put(text).end()
}

pub(crate) fn write_ack(writer: &mut Writer<'_>, id: u8) -> bool {
    put_id(writer, id).end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_its_first_two_bytes_say() {
        for (line, meaning) in [
            (&b""[..], Ok(Line::Keepalive)),
            (b"0f", Ok(Line::Bare(15))),
            (b"Ff", Ok(Line::Bare(255))),
            (b"a0 hi", Ok(Line::Message(160, b" hi"))),
            (b"1", Err(PeerFault::Frame)),
            (b"-1x", Err(PeerFault::Frame)),
            (b" 1x", Err(PeerFault::Frame)),
            (b"zz", Err(PeerFault::Frame)),
            (b"GET / HTTP/1.1", Err(PeerFault::Frame)),
            ("é".as_bytes(), Err(PeerFault::Frame)),
        ] {
            assert_eq!(Line::parse(line), meaning, "{}", std::string::String::from_utf8_lossy(line));
        }
    }
}
