//! Every story of the library, in every profile.

use holdline_sim::actor::Profile;
use holdline_sim::library;
use holdline_sim::scenario::Scenario;

const SEEDS: u64 = if cfg!(debug_assertions) { 3 } else { 20 };

fn stories() -> impl Iterator<Item = Scenario> {
    library::names().map(|name| library::load(name).unwrap_or_else(|error| panic!("{name}: {error}")))
}

#[test]
fn there_are_twenty_stories_and_each_is_filed_under_its_name_and_says_why_it_matters() {
    assert!(library::names().count() >= 20);
    assert!(library::names().is_sorted());
    for (story, name) in stories().zip(library::names()) {
        assert_eq!(story.name, name);
        assert!(story.about.len() > 100, "{name} says little about itself");
        assert!(!story.outages.is_empty() || !story.random.is_empty(), "nothing happens in {name}");
    }
}

#[test]
fn native_keeps_its_promise_in_every_story() {
    for story in stories() {
        for seed in 0..SEEDS {
            let outcome = story.run(Profile::Native, seed);
            assert!(outcome.violations.is_empty(), "{} with seed {seed}: {:#?}", story.name, outcome.violations);
            assert!(outcome.account.delivered > 0, "{} with seed {seed} delivers nothing", story.name);
        }
    }
}

#[test]
fn the_classic_profiles_lose_and_repeat_where_their_defects_say_so() {
    let mut lost = 0;
    let mut repeated = 0;
    for story in stories() {
        for profile in [Profile::Classic2020, Profile::Classic2019] {
            let outcome = story.run(profile, 1);
            assert!(outcome.account.delivered > 0, "{} in {} delivers nothing", story.name, profile.name());
            lost += outcome.account.lost;
            repeated += outcome.account.repeated;
        }
    }
    assert!(lost > 0, "the originals lose messages in the first story they meet");
    assert!(repeated > 0, "message 0 comes twice");
}

#[test]
fn a_story_tells_the_same_again() {
    for story in stories() {
        assert_eq!(story.run(Profile::Native, 5).hash, story.run(Profile::Native, 5).hash, "{}", story.name);
    }
}
