//! What a client said first: the line that says who it is.

use bytes::Bytes;
use tokio::time::Instant;

/// The longest first line that is kept, in bytes.
const LONGEST: usize = 1024;

/// The first line of a connection, from the client to the server.
#[derive(Debug, Default)]
pub(super) struct Hello {
    line: Vec<u8>,
    /// Its newline came.
    whole: bool,
    too_long: bool,
    passed: Option<Instant>,
}

impl Hello {
    /// The client sent these.
    pub(super) fn read(&mut self, bytes: &[u8]) {
        if self.whole || self.too_long {
            return;
        }
        let newline = bytes.iter().position(|&byte| byte == b'\n');
        let more = &bytes[..newline.map_or(bytes.len(), |at| at + 1)];
        self.whole = newline.is_some();
        if self.line.len() + more.len() > LONGEST {
            (self.line, self.whole, self.too_long) = (Vec::new(), false, true);
        } else {
            self.line.extend_from_slice(more);
        }
    }

    /// So many bytes have been passed on by now.
    pub(super) fn sent(&mut self, bytes: u64, now: Instant) {
        if self.whole && self.passed.is_none() && bytes >= self.line.len() as u64 {
            self.passed = Some(now);
        }
    }

    /// When the server got it.
    pub(super) const fn passed(&self) -> Option<Instant> {
        self.passed
    }

    /// The line, with its newline.
    pub(super) fn line(&self) -> Bytes {
        Bytes::copy_from_slice(&self.line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_kept_however_it_came_and_known_once_it_was_passed_on() {
        let now = Instant::now();
        for chunk in 1..12 {
            let mut hello = Hello::default();
            b"HOLD/1\nD 1\n".chunks(chunk).for_each(|bytes| hello.read(bytes));
            hello.sent(6, now);
            assert_eq!(hello.passed(), None);
            hello.sent(7, now);
            assert_eq!((hello.passed(), &*hello.line()), (Some(now), &b"HOLD/1\n"[..]));
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_not_kept() {
        let mut hello = Hello::default();
        hello.read(&[b'x'; LONGEST]);
        hello.read(b"\nid\n");
        hello.sent(u64::MAX, Instant::now());
        assert_eq!((hello.passed(), hello.line.capacity()), (None, 0));
    }
}
