//! Requirements against what speaks of them: cases, tests, code.

use crate::case::Case;
use crate::matrix::{Matrix, Side};
use crate::requirement::Requirement;
use crate::specification::{Level, Specification};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What a tree of sources cites.
#[derive(Debug, Default)]
pub struct Citations {
    matrix: Matrix,
    /// Whether there was a tree.
    pub is_known: bool,
}

/// What speaks of one requirement.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its id.
    pub id: Requirement,
    /// How binding it is.
    pub level: Level,
    /// The line of the appendix.
    pub what: String,
    /// The section it stands in.
    pub section: String,
    /// Its sentence, as Markdown.
    pub text: String,
    /// The families of the cases that check it, and how many cases these are.
    pub cases: BTreeMap<String, usize>,
    /// The files that meet it.
    pub code: BTreeSet<String>,
    /// The files that test it.
    pub tests: BTreeSet<String>,
    /// Why no case checks it.
    pub exempt: Option<String>,
}

/// Every requirement.
#[derive(Clone, Debug)]
pub struct Coverage {
    /// In the order of their ids.
    pub rows: Vec<Row>,
}

impl Citations {
    /// Reads the crates under a root. This one speaks of ids that mean nothing, and is left out.
    ///
    /// # Errors
    /// A file or a folder that is there and cannot be read.
    pub fn read(root: &Path) -> io::Result<Self> {
        let mut citations = Self::default();
        for krate in ["proto", "server", "fw-esp", "sim"] {
            for (folder, side) in [("src", Side::Code), ("tests", Side::Test)] {
                for file in rust_files(&root.join(krate).join(folder))? {
                    let name = file.strip_prefix(root).unwrap_or(&file).display().to_string();
                    citations.matrix.add_rust(side, &name, &read(&file)?);
                    citations.is_known = true;
                }
            }
        }
        Ok(citations)
    }

    /// The matrix.
    pub fn matrix(&self) -> &Matrix {
        &self.matrix
    }
}

fn read(file: &Path) -> io::Result<String> {
    fs::read_to_string(file).map_err(|error| named(file, &error))
}

fn rust_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| named(folder, &error))? {
        let path = entry.map_err(|error| named(folder, &error))?.path();
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

impl Coverage {
    /// Joins them. `exemptions`: a line for each requirement that no case can check, `HL-0042: why`.
    pub fn of(
        specification: &Specification,
        cases: &[Case],
        citations: &Citations,
        exemptions: &BTreeMap<Requirement, String>,
    ) -> Self {
        let row = |(id, level, what): (Requirement, Level, &str)| {
            let passage = specification.passage(id).cloned();
            let mut families: BTreeMap<String, usize> = BTreeMap::new();
            for case in cases.iter().filter(|case| case.requirements.contains(&id)) {
                *families.entry(case.family.clone()).or_default() += 1;
            }
            let files = |side| citations.matrix.files(id, side).map(str::to_owned).collect();
            Row {
                id,
                level,
                what: what.to_owned(),
                section: passage.as_ref().map(|passage| passage.section.clone()).unwrap_or_default(),
                text: passage.map(|passage| passage.text).unwrap_or_default(),
                cases: families,
                code: files(Side::Code),
                tests: files(Side::Test),
                exempt: exemptions.get(&id).cloned(),
            }
        };
        Self { rows: specification.requirements().map(row).collect() }
    }

    /// What is wrong: a requirement without a case and without a reason, a reason that is not needed.
    pub fn gaps(&self) -> Vec<String> {
        let gap = |row: &Row| match (row.cases.is_empty(), &row.exempt) {
            (true, None) => Some(format!("{} has no case, and no reason for it: {}", row.id, row.what)),
            (false, Some(_)) => Some(format!("{} is exempt and has a case: no need to", row.id)),
            _ => None,
        };
        self.rows.iter().filter_map(gap).collect()
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for row in &self.rows {
            let cases: usize = row.cases.values().sum();
            let how = match (&row.exempt, cases) {
                (Some(why), 0) => format!("no case: {why}"),
                (_, 0) => "NO CASE".to_owned(),
                (_, n) => format!("{n} cases: {}", row.cases.keys().cloned().collect::<Vec<_>>().join(" ")),
            };
            text.push_str(&format!("{} {:<6} {}\n              {how}\n", row.id, row.level.to_string(), row.what));
        }
        text
    }

    /// For programs.
    pub fn json(&self) -> Json {
        let rows: Vec<Json> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "id": row.id.to_string(),
                    "level": row.level.to_string(),
                    "what": row.what,
                    "section": row.section,
                    "cases": row.cases,
                    "code": row.code,
                    "tests": row.tests,
                    "exempt": row.exempt,
                })
            })
            .collect();
        json!({"format": 1, "requirements": rows})
    }
}

/// Reads lines of the form `HL-0042: why`.
///
/// # Errors
/// The first line that is of another form.
pub(crate) fn read_exemptions(text: &str) -> Result<BTreeMap<Requirement, String>, String> {
    let mut exemptions = BTreeMap::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let parts = line.split_once(": ").and_then(|(id, why)| Some((crate::cited(id).next()?, why)));
        let Some((id, why)) = parts else { return Err(format!("no exemption: {line}")) };
        exemptions.insert(id, why.to_owned());
    }
    Ok(exemptions)
}
