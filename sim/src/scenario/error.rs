//! What is wrong with a scenario file, and where.

use std::fmt;
use std::ops::Range;

/// A scenario that cannot be run: what is wrong, and the line and column where it says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioError {
    file: Option<String>,
    place: Option<(usize, usize)>,
    what: String,
}

impl ScenarioError {
    /// An error about the scenario as a whole.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { file: None, place: None, what: what.into() }
    }

    /// An error at bytes of a text.
    pub(super) fn at(text: &str, bytes: &Range<usize>, what: impl Into<String>) -> Self {
        Self { place: Some(place(text, bytes.start)), ..Self::new(what) }
    }

    pub(crate) fn in_file(self, file: &str) -> Self {
        Self { file: Some(file.to_owned()), ..self }
    }

    pub(crate) fn unknown(name: &str, error: &std::io::Error) -> Self {
        Self::new(format!("`{name}` is no story of `holdline-sim list`, and as a file it cannot be read: {error}"))
    }
}

/// Line and column, in characters, both counted from 1.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.as_bytes().get(..at).unwrap_or(text.as_bytes());
    let line = before.iter().filter(|&&byte| byte == b'\n').count();
    let start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
    // A byte that goes on with a character begins none.
    let column = before[start..].iter().filter(|&&byte| byte & 0xc0 != 0x80).count();
    (line + 1, column + 1)
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}:")?;
        }
        if let Some((line, column)) = self.place {
            write!(f, "{line}:{column}:")?;
        }
        if self.file.is_some() || self.place.is_some() {
            f.write_str(" ")?;
        }
        f.write_str(&self.what)
    }
}

impl std::error::Error for ScenarioError {}
