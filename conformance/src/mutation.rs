//! The suite held against subjects with a defect: each has to be found by a case that seeks what it breaks.

use crate::bench::in_process::InProcess;
use crate::case::Case;
use crate::mutant::Defect;
use crate::play::{Terms, Verdict, play};
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How much is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// For each defect, the cases that check a requirement that it breaks, up to the first that finds it.
    First,
    /// For each defect, every case of its roles and profiles.
    Matrix,
}

/// What became of a mutant.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The defect.
    pub defect: &'static Defect,
    /// How many cases were played against it.
    pub played: usize,
    /// The cases that found it, in the order of the library.
    pub kills: Vec<Kill>,
}

/// A case that found a defect.
#[derive(Clone, Debug)]
pub struct Kill {
    /// The case's id.
    pub case: String,
    /// Whether it checks a requirement that the defect breaks.
    pub is_by_right: bool,
    /// What it says.
    pub why: String,
}

/// What a mutant has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// A case that checks what it breaks has found it.
    Killed,
    /// Only cases have that check something else.
    KilledByAccident,
    /// No case has.
    Alive,
}

impl Trial {
    /// What it has shown.
    pub fn fate(&self) -> Fate {
        match (self.kills.is_empty(), self.kills.iter().any(|kill| kill.is_by_right)) {
            (true, _) => Fate::Alive,
            (false, true) => Fate::Killed,
            (false, false) => Fate::KilledByAccident,
        }
    }
}

impl Fate {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::KilledByAccident => "killed by accident",
            Self::Alive => "alive",
        }
    }
}

/// Plays cases against each of these defects, some at once, under virtual time.
pub fn try_defects(defects: &[&'static Defect], cases: &[Case], depth: Depth, jobs: usize) -> Vec<Trial> {
    let next = AtomicUsize::new(0);
    let trials = Mutex::new(Vec::with_capacity(defects.len()));
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, defects.len().max(1)) {
            scope.spawn(|| {
                while let Some(&defect) = defects.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let trial = try_one(defect, cases, depth);
                    trials.lock().unwrap_or_else(PoisonError::into_inner).push(trial);
                }
            });
        }
    });
    let mut trials = trials.into_inner().unwrap_or_else(PoisonError::into_inner);
    trials.sort_by_key(|trial| defects.iter().position(|defect| defect.name == trial.defect.name));
    trials
}

fn try_one(defect: &'static Defect, cases: &[Case], depth: Depth) -> Trial {
    let mut trial = Trial { defect, played: 0, kills: Vec::new() };
    for case in cases.iter().filter(|case| defect.concerns(case)) {
        let is_by_right = defect.is_sought_by(case);
        if depth == Depth::First && !is_by_right {
            continue;
        }
        trial.played += 1;
        if let Some(why) = found(defect, case) {
            trial.kills.push(Kill { case: case.id.clone(), is_by_right, why });
            if depth == Depth::First {
                break;
            }
        }
    }
    trial
}

/// What a case says against a subject with this defect; nothing if it passes.
fn found(defect: &'static Defect, case: &Case) -> Option<String> {
    let outcome = play(case, Terms { timeout_ms: 2_000, run: 1 }, &mut InProcess::with_defect(0x5eed, defect));
    match &outcome.verdict {
        Verdict::Pass | Verdict::Skipped(_) | Verdict::Unimplemented(_) => None,
        verdict => Some(format!("{}: {}", verdict.word(), verdict.reason())),
    }
}

/// The first case of each family that has found no mutant of what it checks: nothing shows that it can fail for the right reason.
pub fn unproven<'c>(cases: &'c [Case], trials: &[Trial]) -> Vec<&'c Case> {
    let killers: BTreeSet<&str> =
        trials.iter().flat_map(|trial| &trial.kills).filter(|kill| kill.is_by_right).map(|kill| kill.case.as_str()).collect();
    let proven: BTreeSet<&str> =
        cases.iter().filter(|case| killers.contains(case.id.as_str())).map(|case| case.family.as_str()).collect();
    let mut seen = BTreeSet::new();
    cases.iter().filter(|case| !proven.contains(case.family.as_str()) && seen.insert(case.family.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::{Depth, try_defects};
    use crate::library::{all_cases, specification};
    use crate::mutant::SOUND;

    #[test]
    fn tampering_that_changes_nothing_is_no_defect() {
        let cases = all_cases(&specification().expect("SPEC.md has no defect")).expect("the cases are cases");
        let trials = try_defects(&[&SOUND], &cases, Depth::Matrix, 1);
        assert!(trials[0].played == cases.len() && trials[0].kills.is_empty(), "{:#?}", trials[0].kills);
    }
}
