//! The command, as a person uses it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn holdline_sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_holdline-sim")).args(arguments).output().expect("it starts")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A directory of this test's own, empty.
fn directory(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&directory);
    directory
}

/// What is listed under "The guarantee was broken".
fn violations(said: &str) -> Vec<&str> {
    let after = said.split("The guarantee was broken:\n").nth(1).unwrap_or_default();
    after.lines().take_while(|line| line.starts_with("  ")).collect()
}

#[test]
fn a_failure_is_saved_small_and_the_printed_command_plays_it_again() {
    let saved = directory("saved");
    let swarm = holdline_sim(&["swarm", "--seeds", "2", "--defect", "given-twice", "--save", &saved.display().to_string()]);
    let said_first = said(&swarm);
    assert_eq!(swarm.status.code(), Some(1), "{said_first}");
    let command = said_first.lines().find_map(|line| line.strip_prefix("To play it again:  holdline-sim ")).expect("a command");
    let again = holdline_sim(&command.split(' ').collect::<Vec<_>>());
    assert_eq!(again.status.code(), Some(1), "{}", said(&again));
    let broken = violations(&said_first);
    assert!(broken.iter().any(|what| what.contains("delivered twice")), "{said_first}");
    assert_eq!(violations(&said(&again)), broken);

    let look = said_first.lines().find_map(|line| line.strip_prefix("To look at it:     holdline-sim ")).expect("a command");
    holdline_sim(&look.split(' ').collect::<Vec<_>>());
    let page = look.rsplit(' ').next().expect("a file");
    assert!(
        std::fs::read_to_string(page)
            .is_ok_and(|page| page.starts_with("<!doctype html>") || page.starts_with("<!DOCTYPE html>"))
    );

    let file = std::fs::read_dir(&saved).expect("a directory").filter_map(Result::ok).map(|entry| entry.path());
    let file = file.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect::<Vec<_>>();
    let story = holdline_sim::library::load(&file[0].display().to_string()).expect("a story");
    assert!(story.outages.is_empty() && story.fleet.devices == 1, "nothing of it matters for this defect:\n{}", story.to_toml());
}

#[test]
fn a_random_story_is_run_by_its_name_with_its_own_seed() {
    let named = said(&holdline_sim(&["run", "seed-12"]));
    assert!(named.contains("\nseed 12, trace "), "{named}");
    assert_eq!(said(&holdline_sim(&["run", "seed-12", "--seed", "12"])), named);
    assert_ne!(said(&holdline_sim(&["run", "seed-12", "--seed", "13"])), named);
}

#[test]
fn the_same_seeds_give_the_same_sum_in_another_process() {
    let once = said(&holdline_sim(&["swarm", "--seeds", "20", "--profile", "all"]));
    assert!(once.contains("link outages in 60 runs") && once.contains("trace "), "{once}");
    assert_eq!(said(&holdline_sim(&["swarm", "--seeds", "20", "--profile", "all"])), once);
    assert_ne!(said(&holdline_sim(&["swarm", "--seeds", "20", "--from", "1", "--profile", "all"])), once);
}

#[test]
fn a_budget_that_is_spent_is_a_failure_and_says_how_far_it_came() {
    let late = holdline_sim(&["swarm", "--outages", "100000000", "--budget", "0s"]);
    assert_eq!(late.status.code(), Some(1));
    assert!(said(&late).contains("The time was up after "), "{}", said(&late));
}

#[test]
fn what_is_called_wrongly_is_told_without_a_run() {
    let unknown = holdline_sim(&["run", "no-such-story"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("`no-such-story` is no story of `holdline-sim list`"));
    assert_eq!(holdline_sim(&["swarm", "--budget", "8"]).status.code(), Some(2));
    assert_eq!(holdline_sim(&["swarm", "--seeds", "5", "--from", "18446744073709551615"]).status.code(), Some(2));
}
