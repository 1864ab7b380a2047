//! Cases that are known to fail, each with the reason.

use crate::case::Case;

/// What is known of cases.
#[derive(Clone, Debug, Default)]
pub struct Expectations {
    entries: Vec<(Known, String, String)>,
}

/// How a case is known to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It fails.
    Failing,
    /// It fails at times.
    Flaky,
}

impl Expectations {
    /// Adds a file: an id and a reason a line, `frames-007-name: why`. An id may be a family's, or end in `*`. Blank lines and
    /// those that begin with `#` are passed over.
    ///
    /// # Errors
    /// The first line that is of another form.
    pub fn add(&mut self, known: Known, text: &str) -> Result<(), String> {
        for (index, line) in text.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match line.split_once(": ") {
                Some((id, why)) if !why.trim().is_empty() => {
                    self.entries.push((known, id.trim().to_owned(), why.trim().to_owned()));
                }
                _ => return Err(format!("line {}: `{line}` is not of the form `id: reason`", index + 1)),
            }
        }
        Ok(())
    }

    /// What is known of a case.
    pub fn known(&self, case: &Case) -> Option<Known> {
        self.entries.iter().find(|(_, id, _)| case.is_meant_by(id)).map(|(known, ..)| *known)
    }

    /// Why it is known to fail.
    pub fn reason(&self, case: &Case) -> Option<&str> {
        self.entries.iter().find(|(_, id, _)| case.is_meant_by(id)).map(|(_, _, why)| why.as_str())
    }

    /// Entries that mean no case at all.
    pub fn orphans<'e>(&'e self, cases: &'e [Case]) -> impl Iterator<Item = &'e str> {
        let means_one = |id: &str| cases.iter().any(|case| case.is_meant_by(id));
        self.entries.iter().map(|(_, id, _)| id.as_str()).filter(move |id| !means_one(id))
    }
}

#[cfg(test)]
mod tests {
    use super::{Expectations, Known};

    #[test]
    fn an_entry_has_a_reason() {
        let mut expectations = Expectations::default();
        assert_eq!(expectations.add(Known::Failing, "# why\n\ntime-001*: its clock is coarse\n"), Ok(()));
        assert!(expectations.add(Known::Flaky, "time-001").is_err());
        assert!(expectations.add(Known::Flaky, "time-001:  ").is_err());
        assert_eq!(expectations.orphans(&[]).collect::<Vec<_>>(), ["time-001*"]);
    }
}
