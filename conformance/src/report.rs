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
use crate::specification::Level;
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
    /// Failures of a SHOULD, which do not count.
    pub should: usize,
    /// Failures of a MAY, which do not count either.
    pub may: usize,
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
                Standing::Deviates if one.case.level == Level::Should => tally.should += 1,
                Standing::Deviates => tally.may += 1,
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

    /// What passed although a SHOULD or a MAY was not met, if there is any: `2 SHOULD not met; --strict makes them count`.
    pub fn not_met(&self) -> Option<String> {
        let counts: Vec<String> = [(self.should, "SHOULD"), (self.may, "MAY")]
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, level)| format!("{count} {level}"))
            .collect();
        (!counts.is_empty()).then(|| format!("{} not met; --strict makes them count", counts.join(" and ")))
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;
    use crate::library::{all_cases, specification};
    use crate::play::{Failure, Outcome, Transcript, Verdict};
    use crate::run::{Done, Standing};
    use crate::specification::Level;

    #[test]
    fn what_is_not_met_is_told_though_it_does_not_count() {
        let cases = all_cases(&specification().expect("it has no defect")).expect("they are good");
        let one = |level, standing| {
            let case = cases.iter().find(|case| case.level == level).expect("there is such a case").clone();
            let verdict = Verdict::Fail(Failure { step: 1, what: "too long".to_owned(), line: None });
            Done { case, outcome: Outcome { verdict, transcript: Transcript::default(), took_ms: 0 }, standing }
        };
        let mut done = vec![one(Level::Should, Standing::Deviates), one(Level::Should, Standing::Deviates)];
        let told = |done: &[Done]| (Tally::of(done).exit_code(), Tally::of(done).not_met());
        assert_eq!(told(&done), (0, Some("2 SHOULD not met; --strict makes them count".to_owned())));
        done.push(one(Level::May, Standing::Deviates));
        assert_eq!(told(&done), (0, Some("2 SHOULD and 1 MAY not met; --strict makes them count".to_owned())));
        assert_eq!(told(&[one(Level::Should, Standing::Bad)]), (1, None), "with --strict it is a failure as any other");
        assert_eq!(told(&[]), (0, None));
    }
}
