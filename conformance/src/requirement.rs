//! The id of a requirement, and where a text names one.

use std::fmt;

/// The id of one normative sentence of the specification, `HL-0001` to `HL-9999`; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirement(u16);

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HL-{:04}", self.0)
    }
}

/// Every requirement that `text` names, in the order of the text, each as often as it is named.
///
/// ```
/// use holdline_conformance::cited;
///
/// let source = "// HL-0042: the cursor moves with the message, HL-0043.";
/// let ids: Vec<String> = cited(source).map(|id| id.to_string()).collect();
/// assert_eq!(ids, ["HL-0042", "HL-0043"]);
/// ```
pub fn cited(text: &str) -> impl Iterator<Item = Requirement> + '_ {
    text.match_indices("HL-").filter_map(|(at, prefix)| {
        let before = text[..at].chars().next_back();
        if before.is_some_and(char::is_alphanumeric) {
            return None;
        }
        let rest = &text[at + prefix.len()..];
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        match (digits, rest[..digits].parse()) {
            (4, Ok(number @ 1..)) => Some(Requirement(number)),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::cited;

    fn ids(text: &str) -> Vec<String> {
        cited(text).map(|id| id.to_string()).collect()
    }

    #[test]
    fn an_id_is_four_digits_that_stand_alone() {
        assert_eq!(ids("HL-0007,HL-9999"), ["HL-0007", "HL-9999"]);
        assert_eq!(ids("(HL-0007) `HL-0007`"), ["HL-0007", "HL-0007"]);
    }

    #[test]
    fn what_only_looks_like_an_id_is_none() {
        for text in ["HL-007", "HL-00070", "HL-0000", "XHL-0007", "HL 0007", "HL-", "éHL-0007"] {
            assert!(ids(text).is_empty(), "{text}");
        }
    }
}
