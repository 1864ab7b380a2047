//! Every case, against the reference subject over `holdline-proto`, under virtual time.

use holdline_conformance::bench::in_process::InProcess;
use holdline_conformance::{Case, Outcome, Terms, Verdict, all_cases, play, specification};

#[test]
fn the_reference_subject_passes_every_case() {
    let only = std::env::var("CASE").unwrap_or_else(|_| "*".to_owned());
    let cases: Vec<Case> = cases().into_iter().filter(|case| case.is_meant_by(&only)).collect();
    let mut failures = Vec::new();
    for case in &cases {
        let outcome = run(case);
        if outcome.verdict != Verdict::Pass {
            failures.push(story(case, &outcome));
        }
    }
    assert!(!cases.is_empty(), "there is no case");
    assert!(failures.is_empty(), "{} of {} cases:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

#[test]
fn a_case_is_repeated_to_the_letter() {
    for case in cases().iter().filter(|case| case.mode == holdline_conformance::Mode::Shim).take(10) {
        let [first, second] = [run(case), run(case)].map(|outcome| outcome.transcript.entries);
        assert_eq!(first, second, "{}", case.id);
    }
}

fn cases() -> Vec<Case> {
    let specification = specification().expect("SPEC.md has no defect");
    match all_cases(&specification) {
        Ok(cases) => cases,
        Err(error) => panic!("{error}"),
    }
}

fn run(case: &Case) -> Outcome {
    let terms = Terms { timeout_ms: 2_000, run: 1 };
    play(case, terms, &mut InProcess::new(0x5eed))
}

fn story(case: &Case, outcome: &Outcome) -> String {
    let (step, line) = match &outcome.verdict {
        Verdict::Fail(failure) => (failure.step, failure.line),
        _ => (0, None),
    };
    let entries: Vec<String> = outcome
        .transcript
        .entries
        .iter()
        .enumerate()
        .map(|(index, entry)| format!("{} {:>2} {}", if Some(index) == line { "=>" } else { "  " }, entry.step, entry.shown()))
        .collect();
    let verdict = &outcome.verdict;
    format!("--- {}: {}: {}, step {step}: {}\n{}", case.id, case.title, verdict.word(), verdict.reason(), entries.join("\n"))
}
