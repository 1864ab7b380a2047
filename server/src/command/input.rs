//! Lines that are typed or piped in.

use std::io::{self, BufRead};
use tokio::sync::mpsc;

/// One line of standard input, without its LF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Typed {
    Line(String),
    /// It was longer than asked for; this many bytes were passed over.
    TooLong(usize),
    NotUtf8,
}

/// Reads lines of at most `max` bytes from standard input until it ends.
///
/// A thread of its own does it, because a read from a terminal cannot be cancelled: the thread ends with the program.
pub(super) fn lines(max: usize) -> mpsc::Receiver<Typed> {
    let (lines, read) = mpsc::channel(64);
    std::thread::spawn(move || {
        let mut input = io::stdin().lock();
        while let Ok(Some(typed)) = read_line(&mut input, max) {
            if lines.blocking_send(typed).is_err() {
                return;
            }
        }
    });
    read
}

/// The next line; a last one without LF counts. Never holds more than `max` bytes and what the reader has buffered.
fn read_line(input: &mut impl BufRead, max: usize) -> io::Result<Option<Typed>> {
    let (mut line, mut length, mut begun) = (Vec::new(), 0, false);
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            break;
        }
        begun = true;
        let end = buffer.iter().position(|&byte| byte == b'\n');
        let part = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or_default();
        length += part.len();
        if length <= max {
            line.extend_from_slice(part);
        }
        let taken = part.len() + usize::from(end.is_some());
        input.consume(taken);
        if end.is_some() {
            break;
        }
    }
    Ok(begun.then(|| match String::from_utf8(line) {
        _ if length > max => Typed::TooLong(length),
        Ok(line) => Typed::Line(line),
        Err(_) => Typed::NotUtf8,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufReader, Cursor};

    #[test]
    fn lines_are_read_within_their_bound() {
        let mut input = BufReader::with_capacity(3, Cursor::new(&b"one\n\n12345678\n123456789\nno\xffn\nlast"[..]));
        let mut next = || read_line(&mut input, 8).expect("memory can be read");
        assert_eq!(next(), Some(Typed::Line("one".into())));
        assert_eq!(next(), Some(Typed::Line(String::new())));
        assert_eq!(next(), Some(Typed::Line("12345678".into())));
        assert_eq!(next(), Some(Typed::TooLong(9)));
        assert_eq!(next(), Some(Typed::NotUtf8));
        assert_eq!(next(), Some(Typed::Line("last".into())));
        assert_eq!(next(), None);
    }
}
