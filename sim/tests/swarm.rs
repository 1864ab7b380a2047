//! Random stories, each healed at the end: native keeps its promise in all of them.

use holdline_sim::actor::Profile;
use holdline_sim::outage::Outage;
use holdline_sim::scenario::Scenario;
use holdline_sim::swarm;
use std::ops::ControlFlow;

/// Debug builds are slow; `holdline-sim swarm` plays as many as one likes.
const STORIES: u64 = if cfg!(debug_assertions) { 100 } else { 1_000 };

#[test]
fn native_keeps_its_promise_in_random_stories() {
    let mut serial = 0;
    for seed in 0..STORIES {
        let scenario = Scenario::random(seed);
        let outcome = scenario.run(Profile::Native, seed);
        assert!(outcome.violations.is_empty(), "seed {seed}: {:#?}\n{}", outcome.violations, scenario.to_toml());
        serial += u64::from(scenario.fleet.check);
        assert_eq!(scenario.outages.iter().any(|entry| matches!(entry.outage, Outage::Noise { .. })), scenario.fleet.check);
    }
    assert!((STORIES / 24..STORIES / 6).contains(&serial), "{serial} of {STORIES} on a serial line");
}

#[test]
fn a_random_story_survives_being_written_and_read() {
    for seed in 0..200 {
        let scenario = Scenario::random(seed);
        assert_eq!(Scenario::parse(&scenario.to_toml()), Ok(scenario));
    }
}

#[test]
fn a_swarm_played_again_is_the_same_swarm() {
    let hash = |seeds| {
        let run = |seed| Scenario::random(seed).run(Profile::Native, seed);
        swarm::play(seeds, run, |_, _| ControlFlow::Continue(())).outcome.hash
    };
    assert_eq!(hash(0..40), hash(0..40));
    assert_ne!(hash(0..40), hash(1..41));
}
