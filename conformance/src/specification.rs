//! The requirements of `SPEC.md`: sentences that begin with an id in bold, and the appendix that lists them.

use crate::requirement::{Requirement, cited};
use std::collections::BTreeMap;
use std::fmt;

/// How binding a requirement is (RFC 2119).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// MUST or MUST NOT.
    Must,
    /// SHOULD or SHOULD NOT.
    Should,
    /// MAY.
    May,
}

/// Every requirement of a specification with its level and what the appendix says of it.
#[derive(Debug)]
pub struct Specification {
    requirements: BTreeMap<Requirement, (Level, String)>,
    passages: BTreeMap<Requirement, Passage>,
}

/// The sentence of a requirement, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    /// The heading of its section: `7.1 Accepting and acking`.
    pub section: String,
    /// The sentence and what follows it there, as Markdown.
    pub text: String,
}

impl Specification {
    /// Reads the text of `SPEC.md`.
    ///
    /// # Errors
    /// One sentence for each requirement whose id is given twice, whose sentence has no key word, or on which text and
    /// appendix do not agree.
    pub fn read(text: &str) -> Result<Self, Vec<String>> {
        let mut defects = Vec::new();
        let mut sentences = BTreeMap::new();
        let mut requirements = BTreeMap::new();
        let mut passages = BTreeMap::new();
        let mut section = String::new();
        for line in text.lines() {
            if let Some(heading) = line.strip_prefix("##") {
                heading.trim_start_matches('#').trim().clone_into(&mut section);
            }
            for sentence in line.split("**[").skip(1) {
                let Some((id, rest)) = sentence.split_once("]**") else { continue };
                let (Some(id), level) = (cited(id).next(), Level::first_in(rest)) else { continue };
                let cell = if line.trim_start().starts_with('|') { rest.trim().trim_end_matches('|') } else { rest };
                passages.insert(id, Passage { section: section.clone(), text: cell.trim().to_owned() });
                match level {
                    None => defects.push(format!("{id} has no key word: MUST, SHOULD or MAY")),
                    Some(level) if sentences.insert(id, level).is_some() => {
                        defects.push(format!("{id} is given to two sentences"))
                    }
                    Some(_) => {}
                }
            }
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            if let ["", id, level, what, ""] = cells[..]
                && let (Some(id), Some(level)) = (cited(id).next(), Level::first_in(level))
                && requirements.insert(id, (level, what.to_owned())).is_some()
            {
                defects.push(format!("{id} is twice in the appendix"));
            }
        }
        for (id, level) in &sentences {
            match requirements.get(id) {
                None => defects.push(format!("{id} is not in the appendix")),
                Some((listed, _)) if listed != level => {
                    defects.push(format!("{id} is {level} in the text and {listed} in the appendix"))
                }
                Some(_) => {}
            }
        }
        defects.extend(
            requirements.keys().filter(|id| !sentences.contains_key(id)).map(|id| format!("{id} is in the appendix only")),
        );
        if sentences.is_empty() {
            defects.push("there is no requirement".to_owned());
        }
        if defects.is_empty() { Ok(Self { requirements, passages }) } else { Err(defects) }
    }

    /// All requirements in the order of their ids: id, level, and the appendix's line.
    pub fn requirements(&self) -> impl Iterator<Item = (Requirement, Level, &str)> {
        self.requirements.iter().map(|(&id, (level, what))| (id, *level, what.as_str()))
    }

    /// What a requirement says, and where.
    pub fn passage(&self, id: Requirement) -> Option<&Passage> {
        self.passages.get(&id)
    }

    /// Whether there is such a requirement.
    pub fn contains(&self, id: Requirement) -> bool {
        self.requirements.contains_key(&id)
    }
}

impl Level {
    fn first_in(text: &str) -> Option<Self> {
        text.split(|c: char| !c.is_ascii_alphabetic()).find_map(|word| match word {
            "MUST" => Some(Self::Must),
            "SHOULD" => Some(Self::Should),
            "MAY" => Some(Self::May),
            _ => None,
        })
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Must => "MUST",
            Self::Should => "SHOULD",
            Self::May => "MAY",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Specification, cited};

    const GOOD: &str = "## 1 Lines\n- **[HL-0001]** A line MUST end; see HL-0002.\n**[HL-0002]** It MAY be blank.\n\n\
                        | HL-0001 | MUST | lines end |\n| HL-0002 | MAY | blank lines |\n";

    #[test]
    fn sentences_and_appendix_that_agree_are_read() {
        let spec = Specification::read(GOOD).expect("it has no defect");
        let read: Vec<String> = spec.requirements().map(|(id, level, what)| format!("{id} {level} {what}")).collect();
        assert_eq!(read, ["HL-0001 MUST lines end", "HL-0002 MAY blank lines"]);
        let passage = |id: &str| cited(id).next().and_then(|id| spec.passage(id)).map(|found| (&*found.section, &*found.text));
        assert_eq!(passage("HL-0001"), Some(("1 Lines", "A line MUST end; see HL-0002.")));
    }

    #[test]
    fn each_defect_is_named() {
        let defects = |text: &str| Specification::read(text).expect_err("it has a defect");
        assert_eq!(defects(""), ["there is no requirement"]);
        assert_eq!(
            defects(&GOOD.replace("MAY be", "may be")),
            ["HL-0002 has no key word: MUST, SHOULD or MAY", "HL-0002 is in the appendix only"]
        );
        assert_eq!(defects(&GOOD.replace("| MUST |", "| SHOULD |")), ["HL-0001 is MUST in the text and SHOULD in the appendix"]);
        assert_eq!(defects(&GOOD.replace("| HL-0002 | MAY | blank lines |", "")), ["HL-0002 is not in the appendix"]);
        assert_eq!(defects(&format!("{GOOD}**[HL-0001]** It MUST.")), ["HL-0001 is given to two sentences"]);
        assert_eq!(defects(&format!("{GOOD}| HL-0001 | MUST | lines end |")), ["HL-0001 is twice in the appendix"]);
    }
}
