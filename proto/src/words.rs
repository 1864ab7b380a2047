//! The words of the wire, in lists: a code is its place in one.

/// The place of `word` in a list whose words stand one space apart.
pub(crate) fn find(list: &[u8], word: &[u8]) -> Option<usize> {
    let mut rest = list;
    let mut place = 0;
    while !rest.is_empty() {
        let known;
        (known, rest) = split(rest);
        if known == word {
            return Some(place);
        }
        place += 1;
    }
    None
}

/// The word at a place of such a list; the empty one past its end.
pub(crate) const fn nth(list: &[u8], mut place: usize) -> &[u8] {
    let (mut word, mut rest) = split(list);
    while place > 0 {
        (word, rest) = split(rest);
        place -= 1;
    }
    word
}

/// The same as text.
pub(crate) const fn text(list: &'static [u8], place: usize) -> &'static str {
    match core::str::from_utf8(nth(list, place)) {
        Ok(word) => word,
        Err(_) => "",
    }
}

/// The bytes before the first space, and those behind it.
pub(crate) const fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    let mut rest = bytes;
    let mut length = 0;
    while let [first, after @ ..] = rest {
        rest = after;
        if *first == b' ' {
            break;
        }
        length += 1;
    }
    match bytes.split_at_checked(length) {
        Some((word, _)) => (word, rest),
        None => (bytes, rest),
    }
}

/// What follows a prefix.
pub(crate) fn after<'b>(prefix: &[u8], bytes: &'b [u8]) -> Option<&'b [u8]> {
    bytes.strip_prefix(prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_found_where_it_stands() {
        const LIST: &[u8] = b"one two three";
        for (place, word) in ["one", "two", "three"].into_iter().enumerate() {
            assert_eq!((find(LIST, word.as_bytes()), nth(LIST, place)), (Some(place), word.as_bytes()));
            assert_eq!(text(LIST, place), word);
        }
        for word in ["", "on", "onee", "four", "two three", " "] {
            assert_eq!(find(LIST, word.as_bytes()), None, "{word:?}");
        }
        assert_eq!((nth(LIST, 3), nth(b"", 0)), (&b""[..], &b""[..]));
        assert_eq!(split(b"one  two"), (&b"one"[..], &b" two"[..]));
    }
}
