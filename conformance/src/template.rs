//! Lines of a case: bytes to send with values filled in, patterns to hold against what came.

use crate::expression::{Names, Value, evaluate};

/// A line with parts in braces. `{seen+1}` is a value, `{e:number}` takes what stands there and names it, `{:number}` takes it
/// without a name; `{{` and `}}` are braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Bytes(Vec<u8>),
    Value(String),
    Capture { name: String, kind: Kind },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// 1 to 20 digits without a leading zero.
    Number,
    /// Exactly two hex digits of lower case.
    Id,
    /// One or more bytes that are no blank.
    Word,
    /// Whatever is there, up to what follows in the pattern.
    Text,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// A brace that is not closed, or a kind that does not exist.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut bytes = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, after) = rest.split_at(at);
            bytes.extend_from_slice(before.as_bytes());
            let brace = &after[..1];
            rest = &after[1..];
            if let Some(doubled) = rest.strip_prefix(brace) {
                bytes.extend_from_slice(brace.as_bytes());
                rest = doubled;
                continue;
            }
            let Some((inside, after)) = rest.split_once('}').filter(|_| brace == "{") else {
                return Err(format!("`{text}` has a brace without its other half"));
            };
            parts.push(Part::Bytes(std::mem::take(&mut bytes)));
            parts.push(Part::read(inside)?);
            rest = after;
        }
        bytes.extend_from_slice(rest.as_bytes());
        parts.push(Part::Bytes(bytes));
        parts.retain(|part| *part != Part::Bytes(Vec::new()));
        Ok(Self(parts))
    }

    /// The bytes with every value filled in.
    ///
    /// # Errors
    /// A value that does not come out, or a part that takes something: there is nothing to take it from.
    pub fn fill(&self, names: &Names) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        for part in &self.0 {
            match part {
                Part::Bytes(fixed) => bytes.extend_from_slice(fixed),
                Part::Value(expression) => bytes.extend(evaluate(expression, names)?.bytes()),
                Part::Capture { name, .. } => return Err(format!("`{{{name}:…}}` stands where nothing comes in")),
            }
        }
        Ok(bytes)
    }

    /// As a person reads it: values filled in where they come out.
    pub fn shown(&self, names: &Names) -> String {
        let part = |part: &Part| match part {
            Part::Bytes(bytes) => bytes.escape_ascii().to_string(),
            Part::Value(expression) => match evaluate(expression, names) {
                Ok(value) => value.bytes().escape_ascii().to_string(),
                Err(_) => format!("{{{expression}}}"),
            },
            Part::Capture { kind, .. } => format!("<{}>", kind.word()),
        };
        self.0.iter().map(part).collect()
    }

    /// Holds a line against the pattern: the names that it takes, or `None` if it does not match.
    ///
    /// # Errors
    /// A value that does not come out.
    pub fn matches(&self, line: &[u8], names: &Names) -> Result<Option<Names>, String> {
        let mut fixed = Vec::new();
        for part in &self.0 {
            fixed.push(match part {
                Part::Bytes(bytes) => Some(bytes.clone()),
                Part::Value(expression) => Some(evaluate(expression, names)?.bytes()),
                Part::Capture { .. } => None,
            });
        }
        let mut taken = Names::new();
        let mut rest = line;
        for (index, part) in self.0.iter().enumerate() {
            if let Some(bytes) = &fixed[index] {
                match rest.strip_prefix(&bytes[..]) {
                    Some(after) => rest = after,
                    None => return Ok(None),
                }
            } else if let Part::Capture { name, kind } = part {
                let next = fixed.get(index + 1).and_then(Option::as_ref);
                let Some(length) = kind.length(rest, next) else { return Ok(None) };
                let (value, after) = rest.split_at(length);
                if !name.is_empty() {
                    taken.insert(name.clone(), Value::Bytes(value.to_vec()));
                }
                rest = after;
            }
        }
        Ok(rest.is_empty().then_some(taken))
    }
}

impl Part {
    fn read(inside: &str) -> Result<Self, String> {
        let Some((name, kind)) = inside.split_once(':') else { return Ok(Self::Value(inside.to_owned())) };
        let kind = match kind.trim() {
            "number" => Kind::Number,
            "id" => Kind::Id,
            "word" => Kind::Word,
            "text" => Kind::Text,
            other => return Err(format!("`{{{inside}}}`: there is no kind `{other}`; there are number, id, word, text")),
        };
        Ok(Self::Capture { name: name.trim().to_owned(), kind })
    }
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Id => "id",
            Self::Word => "word",
            Self::Text => "text",
        }
    }

    /// How much of `rest` is of this kind, when `next` is what has to follow.
    fn length(self, rest: &[u8], next: Option<&Vec<u8>>) -> Option<usize> {
        match self {
            Self::Number => {
                let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
                let leading_zero = digits > 1 && rest[0] == b'0';
                ((1..=20).contains(&digits) && !leading_zero).then_some(digits)
            }
            Self::Id => {
                let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
                rest.get(..2).filter(|id| id.iter().all(is_hex)).map(|_| 2)
            }
            Self::Word => {
                let length = rest.iter().take_while(|&&byte| byte != b' ').count();
                (length > 0).then_some(length)
            }
            Self::Text => match next.filter(|next| !next.is_empty()) {
                Some(next) => rest.windows(next.len()).position(|window| window == &next[..]),
                None => Some(rest.len()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Names, Template, Value};

    fn template(text: &str) -> Template {
        Template::read(text).expect("the test's template is good")
    }

    fn names() -> Names {
        Names::from([("seen".to_owned(), Value::Number(4))])
    }

    fn matches(pattern: &str, line: &str) -> Option<String> {
        let taken = template(pattern).matches(line.as_bytes(), &names()).expect("values come out")?;
        Some(taken.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn values_are_filled_in() {
        assert_eq!(template("M{seen+1} {{x}}").fill(&names()), Ok(b"M5 {x}".to_vec()));
        assert!(template("M{n:number}").fill(&names()).is_err());
        assert!(template("{nothing}").fill(&names()).is_err());
    }

    #[test]
    fn a_line_matches_as_a_whole() {
        assert_eq!(matches("A{seen}", "A4").as_deref(), Some(""));
        assert_eq!(matches("A{seen}", "A44"), None);
        assert_eq!(matches("A{seen}", "A"), None);
        assert_eq!(matches("", ""), Some(String::new()));
        assert_eq!(matches("", "A"), None);
    }

    #[test]
    fn what_stands_there_is_taken_and_named() {
        assert_eq!(matches("M{n:number} {text:text}", "M17 a b").as_deref(), Some("n=\"17\" text=\"a b\""));
        assert_eq!(matches("M{n:number} x", "M017 x"), None, "a leading zero");
        assert_eq!(matches("{i:id}x", "0ax").as_deref(), Some("i=\"0a\""));
        assert_eq!(matches("{i:id}x", "0Ax"), None, "upper case");
        assert_eq!(matches("{:word} b", "a b").as_deref(), Some(""));
        assert_eq!(matches("{a:text} x", "y z x").as_deref(), Some("a=\"y z\""));
    }

    #[test]
    fn a_template_that_is_none_is_refused() {
        for wrong in ["{", "}", "a{b", "{a:frob}"] {
            assert!(Template::read(wrong).is_err(), "{wrong}");
        }
    }
}
