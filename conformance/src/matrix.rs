//! Requirements against what cites them.

use crate::requirement::{Requirement, cited};
use crate::specification::{Level, Specification};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Where a requirement is cited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// In code that meets it.
    Code,
    /// In a test that checks it.
    Test,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Code => "code",
            Self::Test => "test",
        })
    }
}

/// A MUST that one side cannot cite, and why.
#[derive(Debug)]
pub struct Exemption {
    /// The requirement.
    pub id: Requirement,
    /// The side that does not cite it.
    pub side: Side,
    /// Why that cannot be otherwise.
    pub reason: String,
}

impl Exemption {
    /// Reads lines of the form `HL-0042 test: the reason`. Blank lines and those that begin with `#` are passed over.
    ///
    /// # Errors
    /// The first line that is of another form.
    pub fn read_all(text: &str) -> Result<Vec<Self>, String> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(|line| Self::read(line).ok_or_else(|| format!("no exemption: {line}"))).collect()
    }

    fn read(line: &str) -> Option<Self> {
        let (head, reason) = line.split_once(": ")?;
        let (id, side) = head.split_once(' ')?;
        let side = match side {
            "code" => Side::Code,
            "test" => Side::Test,
            _ => return None,
        };
        Some(Self { id: cited(id).next()?, side, reason: reason.to_owned() })
    }
}

/// What code and tests cite, by requirement.
#[derive(Debug, Default)]
pub struct Matrix {
    citations: BTreeMap<Requirement, BTreeSet<(Side, String)>>,
}

impl Matrix {
    /// Adds the comments of one Rust file. What follows its `#[cfg(test)]` is a test, whatever `side` the file is on.
    pub fn add_rust(&mut self, side: Side, name: &str, text: &str) {
        let mut side = side;
        for line in text.lines() {
            if line.trim_start().starts_with("#[cfg(test)]") {
                side = Side::Test;
            }
            let comment = line.find("//").map_or("", |at| &line[at..]);
            for id in cited(comment) {
                self.citations.entry(id).or_default().insert((side, name.to_owned()));
            }
        }
    }

    /// The files of one side that cite a requirement.
    pub fn files(&self, id: Requirement, side: Side) -> impl Iterator<Item = &str> {
        let all = self.citations.get(&id).into_iter().flatten();
        all.filter(move |(of, _)| *of == side).map(|(_, name)| name.as_str())
    }

    /// What is wrong, one sentence each: a citation that names no requirement, a MUST that a side does not cite and is not
    /// exempt from citing, an exemption that is not needed. Nothing wrong is an empty list.
    pub fn defects(&self, spec: &Specification, exemptions: &[Exemption]) -> Vec<String> {
        let mut defects = Vec::new();
        for (id, places) in self.citations.iter().filter(|(id, _)| !spec.contains(**id)) {
            defects.extend(places.iter().map(|(_, name)| format!("{id} is no requirement; {name} cites it")));
        }
        let exempt = |id, side| exemptions.iter().any(|exemption| exemption.id == id && exemption.side == side);
        for (id, _, what) in spec.requirements().filter(|(_, level, _)| *level == Level::Must) {
            for side in [Side::Code, Side::Test] {
                if self.files(id, side).next().is_none() && !exempt(id, side) {
                    defects.push(format!("{id} is cited by no {side}: {what}"));
                }
            }
        }
        for Exemption { id, side, .. } in exemptions {
            let must = spec.requirements().any(|(of, level, _)| of == *id && level == Level::Must);
            if !must {
                defects.push(format!("{id} is exempt and no MUST"));
            } else if let Some(name) = self.files(*id, *side).next() {
                defects.push(format!("{id} is exempt and {name} cites it: no need to"));
            }
        }
        defects
    }
}

#[cfg(test)]
mod tests {
    use super::{Exemption, Matrix, Side};
    use crate::specification::Specification;

    fn specification() -> Specification {
        let text = "**[HL-0001]** MUST\n**[HL-0002]** MAY\n| HL-0001 | MUST | lines end |\n| HL-0002 | MAY | blank lines |\n";
        Specification::read(text).expect("it has no defect")
    }

    #[test]
    fn a_must_is_cited_by_code_and_by_a_test() {
        let mut matrix = Matrix::default();
        let defects = |matrix: &Matrix| matrix.defects(&specification(), &[]);
        assert_eq!(defects(&matrix), ["HL-0001 is cited by no code: lines end", "HL-0001 is cited by no test: lines end"]);
        matrix.add_rust(Side::Code, "a.rs", "    split(); // HL-0001: at LF");
        assert_eq!(defects(&matrix), ["HL-0001 is cited by no test: lines end"]);
        matrix.add_rust(Side::Code, "a.rs", "#[cfg(test)]\nmod tests {\n    // HL-0001\n}");
        assert!(defects(&matrix).is_empty());
    }

    #[test]
    fn a_citation_in_a_string_is_none() {
        let mut matrix = Matrix::default();
        matrix.add_rust(Side::Code, "a.rs", "let id = \"HL-0001\";");
        assert_eq!(matrix.defects(&specification(), &[]).len(), 2);
    }

    #[test]
    fn a_citation_of_nothing_is_a_defect() {
        let mut matrix = Matrix::default();
        for side in [Side::Code, Side::Test] {
            matrix.add_rust(side, "a.rs", "// HL-0001");
        }
        matrix.add_rust(Side::Code, "b.rs", "/// As HL-0003 says.");
        assert_eq!(matrix.defects(&specification(), &[]), ["HL-0003 is no requirement; b.rs cites it"]);
    }

    #[test]
    fn an_exemption_has_a_reason_and_a_need() {
        let exemptions =
            Exemption::read_all("# why\n\nHL-0001 test: it cannot be seen from outside\n").expect("they are of the form");
        let mut matrix = Matrix::default();
        matrix.add_rust(Side::Code, "a.rs", "// HL-0001");
        assert!(matrix.defects(&specification(), &exemptions).is_empty());
        matrix.add_rust(Side::Test, "b.rs", "// HL-0001");
        assert_eq!(matrix.defects(&specification(), &exemptions), ["HL-0001 is exempt and b.rs cites it: no need to"]);
        assert!(Exemption::read_all("HL-0001 test:").is_err());
        assert!(Exemption::read_all("HL-0001: because").is_err());
    }
}
