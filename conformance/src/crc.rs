//! The checksum of SPEC.md, sections 6.4 and 8.2.

/// CRC-32 of IEEE 802.3, bit by bit, so that the suite does not judge an implementation by that implementation's own code.
///
/// ```
/// use holdline_conformance::crc32;
/// assert_eq!(crc32(b"A17"), 0xf0f9_9c58);
/// ```
pub fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| step(crc)))
}

/// The checksum of a stream that carried these texts.
pub(crate) fn stream_sum<T: AsRef<[u8]>>(texts: &[T]) -> u32 {
    let bytes: Vec<u8> = texts.iter().flat_map(|text| [text.as_ref(), b"\n"]).flatten().copied().collect();
    if bytes.is_empty() { 0 } else { crc32(&bytes) }
}

#[cfg(test)]
mod tests {
    use super::stream_sum;

    #[test]
    fn the_sums_of_the_specification_come_out() {
        assert_eq!(stream_sum::<&str>(&[]), 0);
        assert_eq!(stream_sum(&["open"]), 3_821_539_809);
        assert_eq!(stream_sum(&["open", "close"]), 906_551_230);
        assert_eq!(stream_sum(&["open", "close", "open"]), 3_037_187_734);
    }
}
