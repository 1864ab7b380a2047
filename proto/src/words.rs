//! The words of the wire, in lists: a code is its place in one.

/// The place of `word` in a list whose words stand one space apart.
pub(crate) fn find(list: &str, word: &[u8]) -> Option<usize> {
    list.as_bytes().split(|&byte| byte == b' ').position(|known| known == word)
}

/// The word at a place of such a list; the empty one past its end.
pub(crate) const fn nth(mut list: &str, mut place: usize) -> &str {
    loop {
        let (word, rest) = split(list);
        if place == 0 {
            return word;
        }
        place -= 1;
        list = rest;
    }
}

/// The first word, and what follows the space behind it.
const fn split(list: &str) -> (&str, &str) {
    let mut end = 0;
    while end < list.len() && list.as_bytes()[end] != b' ' {
        end += 1;
    }
    match list.split_at_checked(end) {
        Some((word, rest)) => match rest.split_at_checked(1) {
            Some((_, rest)) => (word, rest),
            None => (word, ""),
        },
        None => ("", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_found_where_it_stands() {
        const LIST: &str = "one two three";
        for (place, word) in ["one", "two", "three"].into_iter().enumerate() {
            assert_eq!((find(LIST, word.as_bytes()), nth(LIST, place)), (Some(place), word));
        }
        for word in ["", "on", "onee", "four", "two three", " "] {
            assert_eq!(find(LIST, word.as_bytes()), None, "{word:?}");
        }
        assert_eq!(nth(LIST, 3), "");
    }
}
