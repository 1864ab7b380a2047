//! From what is written to what is played: each row, role and profile makes a case of its own.

use super::{Chapter, Mode, Profile, Role, Rows, Scalar, Step, Written};
use crate::expression::{Names, Value};
use crate::requirement::{Requirement, cited};
use crate::specification::{Level, Specification};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A case to be played.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its id with the rows it was made of: `frames-007[split=12]`; stable, and never given to another case.
    pub id: String,
    /// The id as it was written: `frames-007`.
    pub family: String,
    /// What it shows, in one sentence.
    pub title: String,
    /// The file it stands in.
    pub chapter: String,
    /// The requirements it checks.
    pub requirements: Vec<Requirement>,
    /// How binding they are.
    pub level: Level,
    /// Which end is under test.
    pub role: Role,
    /// Which wire is spoken.
    pub profile: Profile,
    /// What has to be in the suite's hands.
    pub mode: Mode,
    /// What the subject must have beyond the role and the profile.
    pub needs: Vec<String>,
    /// The settings that differ from the defaults.
    pub start: BTreeMap<String, Scalar>,
    /// Values by name: of the rows, and given.
    pub names: Names,
    /// More about it.
    pub note: String,
    /// What happens.
    pub steps: Arc<[Step]>,
}

/// A case that is none, and where.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {id}: {why}")]
pub struct CaseError {
    file: String,
    id: String,
    why: String,
}

impl Case {
    /// Reads a file of cases.
    ///
    /// # Errors
    /// The first thing in it that is wrong.
    pub fn read_all(file: &str, text: &str, specification: &Specification) -> Result<Vec<Self>, CaseError> {
        let error = |id: &str, why: String| CaseError { file: file.to_owned(), id: id.to_owned(), why };
        let chapter: Chapter = toml::from_str(text).map_err(|why| error("the file", why.to_string()))?;
        let mut cases = Vec::new();
        for written in chapter.cases {
            let id = written.id.clone();
            cases.extend(written.expand(&chapter.title, specification).map_err(|why| error(&id, why))?);
        }
        Ok(cases)
    }

    /// Whether an id on a command line or in a file means this case: its own, its family's, or one that ends in `*`.
    pub fn is_meant_by(&self, id: &str) -> bool {
        match id.strip_suffix('*') {
            Some(beginning) => self.id.starts_with(beginning),
            None => self.id == id || self.family == id,
        }
    }
}

impl Written {
    fn expand(self, chapter: &str, specification: &Specification) -> Result<Vec<Case>, String> {
        let requirements = self.requirements(specification)?;
        let steps: Result<Vec<Step>, String> = self
            .steps
            .iter()
            .enumerate()
            .map(|(index, step)| step.clone().read().map_err(|why| format!("step {}: {why}", index + 1)))
            .collect();
        let steps: Arc<[Step]> = steps?.into();
        let level = match self.level {
            Some(level) => level.into(),
            None => strongest(&requirements, specification),
        };
        let mut cases = Vec::new();
        for (suffix, names) in self.rows()? {
            for role in self.role.all() {
                for profile in self.profile.all() {
                    let mut marks = suffix.clone();
                    if !self.profile.is_one() {
                        marks.push(format!("profile={profile}"));
                    }
                    if !self.role.is_one() {
                        marks.push(format!("role={role}"));
                    }
                    let id = if marks.is_empty() { self.id.clone() } else { format!("{}[{}]", self.id, marks.join(",")) };
                    cases.push(Case {
                        id,
                        family: self.id.clone(),
                        title: self.title.clone(),
                        chapter: chapter.to_owned(),
                        requirements: requirements.clone(),
                        level,
                        role,
                        profile,
                        mode: self.mode,
                        needs: self.needs.clone(),
                        start: self.start.clone(),
                        names: names.clone(),
                        note: self.note.clone(),
                        steps: Arc::clone(&steps),
                    });
                }
            }
        }
        Ok(cases)
    }

    fn requirements(&self, specification: &Specification) -> Result<Vec<Requirement>, String> {
        let mut requirements = Vec::new();
        for id in &self.req {
            match cited(id).next().filter(|requirement| requirement.to_string() == *id) {
                Some(requirement) if specification.contains(requirement) => requirements.push(requirement),
                _ => return Err(format!("`{id}` is no requirement of SPEC.md")),
            }
        }
        if requirements.is_empty() { Err("it checks no requirement".to_owned()) } else { Ok(requirements) }
    }

    /// Every combination of rows: what the id says of it, and the names it gives.
    fn rows(&self) -> Result<Vec<(Vec<String>, Names)>, String> {
        let given: Names = self.given.iter().map(|(name, scalar)| (name.clone(), scalar.value())).collect();
        let mut rows = vec![(Vec::new(), given)];
        for (name, written) in &self.for_each {
            let mut longer = Vec::new();
            for (suffix, names) in &rows {
                for (mark, more) in written.each(name)? {
                    let mut suffix: Vec<String> = suffix.clone();
                    suffix.push(format!("{name}={mark}"));
                    longer.push((suffix, names.clone().into_iter().chain(more).collect()));
                }
            }
            rows = longer;
        }
        Ok(rows)
    }
}

/// The strongest level among requirements: a case that checks a MUST is one that must pass.
fn strongest(requirements: &[Requirement], specification: &Specification) -> Level {
    let levels: Vec<Level> =
        specification.requirements().filter(|(id, ..)| requirements.contains(id)).map(|(_, level, _)| level).collect();
    [Level::Must, Level::Should].into_iter().find(|level| levels.contains(level)).unwrap_or(Level::May)
}

/// More rows than this are a mistake in a file.
const ROWS_MAX: i64 = 10_000;

impl Rows {
    fn each(&self, name: &str) -> Result<Vec<(String, Names)>, String> {
        let one = |mark: String, value: Value| (mark, Names::from([(name.to_owned(), value)]));
        match self {
            Self::Numbers(numbers) => Ok(numbers.iter().map(|&n| one(n.to_string(), Value::Number(n.into()))).collect()),
            Self::Texts(texts) => Ok(texts.iter().map(|text| one(text.clone(), Value::text(text))).collect()),
            Self::Range(range) => {
                let bounds = range.split_once("..=").and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
                let Some((from, to)) = bounds.filter(|(from, to): &(i64, i64)| from <= to && to - from < ROWS_MAX) else {
                    return Err(format!("`{range}` is no range of at most {ROWS_MAX}: FROM..=TO"));
                };
                Ok((from..=to).map(|n| one(n.to_string(), Value::Number(n.into()))).collect())
            }
            Self::Tables(tables) => tables
                .iter()
                .map(|table| match table.get("row") {
                    Some(Scalar::Text(mark)) => {
                        Ok((mark.clone(), table.iter().map(|(key, scalar)| (key.clone(), scalar.value())).collect()))
                    }
                    _ => Err(format!("a table of `for_each.{name}` has no `row`, which names it")),
                })
                .collect(),
        }
    }
}

impl Scalar {
    /// Itself as a value; a text is taken as it is.
    pub fn value(&self) -> Value {
        match self {
            Self::Flag(flag) => Value::text(flag.to_string()),
            Self::Number(number) => Value::Number((*number).into()),
            Self::Text(text) => Value::text(text),
            Self::List(texts) => Value::text(texts.join(" ")),
        }
    }
}
