//! Every mutant is found, by a case that checks a requirement that it breaks.

use holdline_conformance::mutant::{Defect, defects};
use holdline_conformance::mutation::{Depth, Fate, Trial, try_defects, unproven};
use holdline_conformance::{Case, all_cases, specification};

#[test]
fn every_mutant_is_killed_by_the_right_case() {
    let only = std::env::var("MUTANT").ok();
    let wanted: Vec<&'static Defect> = defects().filter(|defect| only.as_ref().is_none_or(|name| defect.name == name)).collect();
    assert!(!wanted.is_empty(), "there is no such mutant");
    let trials = try_defects(&wanted, &cases(), Depth::First, jobs());
    let survivors: Vec<String> = trials.iter().filter(|trial| trial.fate() != Fate::Killed).map(told).collect();
    assert!(survivors.is_empty(), "{} of {} mutants live:\n{}", survivors.len(), trials.len(), survivors.join("\n"));
}

#[test]
fn a_subject_without_defect_is_no_mutant() {
    // The hooks alone change nothing: a defect of the server leaves the cases of clients as they are.
    let cases: Vec<Case> = cases().into_iter().filter(|case| case.id.starts_with("framing-")).collect();
    let defect = holdline_conformance::mutant::find("no-cap-on-sessions").expect("there is such a mutant");
    let trials = try_defects(&[defect], &cases, Depth::Matrix, 1);
    assert!(trials.iter().all(|trial| trial.played > 0 && trial.kills.is_empty()), "{trials:?}");
}

/// Takes longer; it is run in the release pipeline, and shows which cases nothing has proven.
#[test]
#[ignore = "the whole matrix takes a minute in a debug build"]
fn the_whole_matrix() {
    let (cases, defects) = (cases(), defects().collect::<Vec<_>>());
    let trials = try_defects(&defects, &cases, Depth::Matrix, jobs());
    assert!(trials.iter().all(|trial| trial.fate() == Fate::Killed));
    let unproven: Vec<&str> = unproven(&cases, &trials).into_iter().map(|case| case.family.as_str()).collect();
    assert!(unproven.is_empty(), "no mutant shows that these can fail: {}", unproven.join(", "));
}

fn told(trial: &Trial) -> String {
    let Defect { name, what, .. } = trial.defect;
    let broken: Vec<String> = trial.defect.requirements().map(|id| id.to_string()).collect();
    format!("{name}: {what} No case of {} finds it ({} played)", broken.join(", "), trial.played)
}

fn jobs() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

fn cases() -> Vec<Case> {
    let specification = specification().expect("SPEC.md has no defect");
    match all_cases(&specification) {
        Ok(cases) => cases,
        Err(error) => panic!("{error}"),
    }
}
