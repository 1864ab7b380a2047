//! What is told of a run: to a person at a terminal, to a build server, to a browser.

mod coverage;
mod html;
mod machine;
mod mutants;
mod story;

pub(crate) use coverage::read_exemptions;
pub use coverage::{Citations, Coverage, Row};
pub use html::page;
pub use machine::{json, junit, tap};
pub use mutants::Mutants;
pub use story::story;

use crate::run::{Done, Standing};
use std::collections::BTreeMap;

/// A run in numbers.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// How many cases there were.
    pub cases: usize,
    /// How many of each verdict.
    pub verdicts: BTreeMap<&'static str, usize>,
    /// Failures that were not expected.
    pub bad: usize,
    /// Failures that were.
    pub known: usize,
    /// Failures of a SHOULD or MAY.
    pub deviates: usize,
    /// Passes that were not expected.
    pub stale: usize,
    /// Cases that the suite itself could not play.
    pub unable: usize,
}

impl Tally {
    /// Counts.
    pub fn of(done: &[Done]) -> Self {
        let mut tally = Self { cases: done.len(), ..Self::default() };
        for one in done {
            *tally.verdicts.entry(one.outcome.verdict.word()).or_default() += 1;
            match one.standing {
                Standing::Good => {}
                Standing::Known | Standing::Flaky => tally.known += 1,
                Standing::Deviates => tally.deviates += 1,
                Standing::Bad => tally.bad += 1,
                Standing::Stale => tally.stale += 1,
            }
            tally.unable += usize::from(one.outcome.verdict.word() == "unable");
        }
        tally
    }

    /// The exit code: 0 as expected, 1 not, 3 could not run, 4 stale expectations.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self { unable, cases, .. } if *unable > 0 && unable == cases => 3,
            Self { bad: 1.., .. } => 1,
            Self { stale: 1.., .. } => 4,
            _ => 0,
        }
    }

    /// In a few words: `412 cases: 398 pass, 2 fail, 12 skipped`.
    pub fn words(&self) -> String {
        let order = ["pass", "fail", "crashed", "hung", "flooded", "garbage", "unable", "unimplemented", "skipped"];
        let counts: Vec<String> =
            order.iter().filter_map(|word| self.verdicts.get(word).map(|count| format!("{count} {word}"))).collect();
        format!("{} cases: {}", self.cases, counts.join(", "))
    }
}
