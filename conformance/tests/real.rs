//! The cases against `holdline-server`'s server and client, over TCP; this program is their shim as well.

#[path = "../examples/tokio-shim/shim.rs"]
mod shim;

use holdline_conformance::report::{Tally, story};
use holdline_conformance::run::{Choices, Done, Expectations, Known, Standing, Target, introduce, run};
use holdline_conformance::{Case, Specification, Verdict, all_cases, one_row, specification};
use std::time::Duration;

/// Where the implementation does not do what SPEC.md says, each with what is missing.
const KNOWN: &str = include_str!("known-failing-tokio.txt");
/// Where it does not do so every time.
const FLAKY: &str = include_str!("known-flaky-tokio.txt");

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.iter().any(|argument| argument == "--shim") {
        if let Err(error) = shim::run() {
            eprintln!("{error}");
        }
        return;
    }
    // A test runner lists what there is, and asks for single tests by their names.
    let wanted: Vec<&String> = arguments.iter().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        println!("the_server_and_the_client_pass_over_tcp: test");
    } else if wanted.is_empty() || wanted.iter().any(|name| "the_server_and_the_client_pass_over_tcp".contains(name.as_str())) {
        the_server_and_the_client_pass_over_tcp(&arguments[0]);
    }
}

fn the_server_and_the_client_pass_over_tcp(program: &str) {
    let specification = specification().expect("SPEC.md has no defect");
    let cases = all_cases(&specification).unwrap_or_else(|error| panic!("{error}"));
    let mut expectations = Expectations::default();
    for (known, text) in [(Known::Failing, KNOWN), (Known::Flaky, FLAKY)] {
        expectations.add(known, text).unwrap_or_else(|why| panic!("{why}"));
    }
    let choices = Choices {
        timeout_ms: 400,
        classic_timeout_ms: None,
        // A busy machine makes every timer late; what is early is wrong all the same, and what is wrong comes at once.
        tolerance_ms: 2_000,
        jobs: 32,
        shuffle: None,
        patience: Duration::from_secs(60),
        run: u64::from(std::process::id()),
    };
    let command = vec![program.to_owned(), "--shim".to_owned()];
    let claims = introduce(&command, &choices).unwrap_or_else(|why| panic!("{why}"));
    let target = Target::Shim(command);
    // The rows differ in what the protocol crate alone decides, and it has them all.
    let done = run(one_row(cases), &target, &claims, &expectations, &choices, |_| {});
    println!("{}", Tally::of(&done).words());
    // A case must itself be on time. On a machine that was too busy for that it gets another hearing, with less beside it.
    let played =
        done.iter().filter(|one| !matches!(one.outcome.verdict, Verdict::Skipped(_) | Verdict::Unimplemented(_))).count();
    let late: Vec<Done> = done.into_iter().filter(is_wrong).collect();
    println!("{} of {played} cases get another hearing, with five times the timeout", late.len());
    // What so many have missed is not their time.
    assert!(late.len() * 10 <= played, "more than a tenth of the cases is wrong at first:\n{}", stories(&late, &specification));
    if late.is_empty() {
        return;
    }
    let late: Vec<Case> = late.into_iter().map(|one| one.case).collect();
    let choices = Choices { timeout_ms: 2_000, jobs: 4, run: choices.run + 1, ..choices };
    let done = run(late, &target, &claims, &expectations, &choices, |_| {});
    let wrong: Vec<Done> = done.into_iter().filter(is_wrong).collect();
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), stories(&wrong, &specification));
}

fn stories(done: &[Done], specification: &Specification) -> String {
    let told: Vec<String> = done.iter().map(|one| format!("{}: {}", one.standing.word(), story(one, specification))).collect();
    told.join("\n")
}

fn is_wrong(one: &Done) -> bool {
    matches!(one.standing, Standing::Bad | Standing::Stale)
}
