//! `holdline-conformance mutants`: the suite against subjects with a defect.

use super::Failure;
use clap::Args;
use holdline_conformance::mutant::{Defect, defects, find};
use holdline_conformance::mutation::{Depth, Fate, try_defects, unproven};
use holdline_conformance::report::Mutants;
use holdline_conformance::{Case, Specification};
use std::fs;
use std::path::PathBuf;

/// Which mutants, and what is told of them.
#[derive(Args, Debug)]
pub(super) struct Options {
    /// Only these; without a name, all
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Lists them, and plays nothing
    #[arg(long)]
    list: bool,
    /// Goes on to the next mutant with the first case that finds one; what is unproven is not known then
    #[arg(long)]
    first: bool,
    /// How many are tried at once
    #[arg(long, default_value_t = 2, value_name = "N")]
    jobs: usize,
    /// As a page, into this file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// As JSON, into this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Options {
    pub(super) fn run(&self, specification: &Specification, cases: &[Case]) -> Result<u8, Failure> {
        let wanted = self.wanted()?;
        if self.list {
            for defect in wanted {
                let broken: Vec<String> = defect.requirements().map(|id| id.to_string()).collect();
                println!("{:<34} {} [{}]", defect.name, defect.what, broken.join(" "));
            }
            return Ok(0);
        }
        let depth = if self.first { Depth::First } else { Depth::Matrix };
        let trials = try_defects(&wanted, cases, depth, self.jobs);
        let is_whole = !self.first && self.names.is_empty();
        let report = Mutants { specification, cases, trials: &trials, is_whole };
        let texts = [
            (&self.html, self.html.as_ref().map(|_| report.html())),
            (&self.json, self.json.as_ref().map(|_| report.json().to_string())),
        ];
        for (file, text) in texts {
            if let (Some(file), Some(text)) = (file, text) {
                fs::write(file, text).map_err(|error| Failure::CouldNotRun(format!("{}: {error}", file.display())))?;
            }
        }
        print!("{}", report.text());
        println!("{}", report.words());
        let is_unproven = is_whole && !unproven(cases, &trials).is_empty();
        Ok(u8::from(is_unproven || report.count(Fate::Killed) != trials.len()))
    }

    fn wanted(&self) -> Result<Vec<&'static Defect>, Failure> {
        if self.names.is_empty() {
            return Ok(defects().collect());
        }
        let unknown =
            |name: &String| Failure::Usage(format!("`{name}` is no mutant; `holdline-conformance mutants --list` shows all"));
        self.names.iter().map(|name| find(name).ok_or_else(|| unknown(name))).collect()
    }
}
