//! Each oracle catches the defect that it is there for, and is silent without it.

use holdline_proto::Instant;
use holdline_sim::Access;
use holdline_sim::actor::{Defect, Profile};
use holdline_sim::outage::{Site, Target};
use holdline_sim::scenario::Scenario;

fn violations(story: &str, defect: Option<Defect>) -> Vec<String> {
    let text = format!("name = \"test\"\nabout = \"\"\nfor_ms = 60000\nfleet.message_every_ms = 300\n{story}");
    let story = Scenario::parse(&text).unwrap_or_else(|error| panic!("{error}"));
    let mut fleet = story.fleet(Profile::Native, 5);
    if let Some(defect) = defect {
        fleet.seed_defect(defect);
    }
    story.play(&mut fleet);
    fleet.outcome(true).violations
}

#[track_caller]
fn is_caught(defect: Defect, story: &str, says: &str) {
    assert_eq!(violations(story, None), [""; 0], "without the defect");
    let found = violations(story, Some(defect));
    assert!(found.iter().any(|what| what.contains(says)), "{defect:?} shows as {found:#?}");
}

const BLACK_HOLE: &str = "[[outage]]\nat_ms = 10000\nfor_ms = 20000\ndo = \"black-hole\"\nthen = \"never\"";
const BROWNOUT: &str = "[[outage]]\nat_ms = 10000\nfor_ms = 1000\ndo = \"power-cycle\"\nmemory = \"everything\"\n\
    [[outage]]\nat_ms = 30000\nfor_ms = 1000\ndo = \"power-cycle\"\nmemory = \"everything\"";
const AMNESIA: &str = "[[outage]]\nat_ms = 10000\nfor_ms = 1000\ndo = \"power-cycle\"\nmemory = \"nothing\"\n\
    [[outage]]\nat_ms = 30000\nfor_ms = 1000\ndo = \"power-cycle\"\nmemory = \"nothing\"";
const REFUSED: &str = "[[outage]]\nat_ms = 10000\nfor_ms = 20000\ndo = \"no-connect\"\nhow = \"refused\"\n\
    [[outage]]\nat_ms = 10001\ndo = \"cut\"";

#[test]
fn a_session_that_ignores_its_timers_is_up_and_dead() {
    is_caught(Defect::TimersIgnored, BLACK_HOLE, "up and dead");
}

#[test]
fn what_is_accepted_before_the_application_has_it_is_seen() {
    is_caught(Defect::AcceptedOnReceipt, "", "acknowledged and never accepted");
}

#[test]
fn a_message_given_twice_is_seen() {
    is_caught(Defect::GivenTwice, "", "delivered twice");
}

#[test]
fn an_epoch_that_is_drawn_again_is_noticed_by_the_session_itself() {
    // Native hears in the welcome that the server knows more of this epoch than the device does, and numbers anew: nothing is caught,
    // because nothing goes wrong.
    assert_eq!(violations(AMNESIA, Some(Defect::EpochReused)), [""; 0]);
}

#[test]
fn a_device_without_backoff_is_a_storm() {
    is_caught(Defect::NoBackoff, REFUSED, "attempts to connect");
}

#[test]
fn an_end_that_is_not_told_is_seen_at_the_next_beginning() {
    is_caught(Defect::DownUntold, BLACK_HOLE, "came up twice");
}

#[test]
fn a_commit_that_did_not_happen_shows_after_the_power_has_gone() {
    let run = |defect: Option<Defect>| {
        let text = format!("name = \"test\"\nabout = \"\"\nfor_ms = 60000\nfleet.message_every_ms = 300\n{BROWNOUT}");
        let story = Scenario::parse(&text).unwrap_or_else(|error| panic!("{error}"));
        let mut fleet = story.fleet(Profile::Native, 5);
        // The older copy is made while messages wait in the outbox.
        let node = fleet.node(Target(0));
        let usual = fleet.world.access(node);
        fleet.run_until(Instant::from_millis(4_000));
        fleet.world.set_access(node, Access { out_blocked: true, in_blocked: true, ..usual });
        fleet.run_until(Instant::from_millis(5_500));
        fleet.back_up();
        fleet.world.set_access(node, usual);
        if let Some(defect) = defect {
            fleet.seed_defect(defect);
        }
        story.play(&mut fleet);
        fleet.outcome(true).violations
    };
    assert_eq!(run(None), [""; 0]);
    assert!(!run(Some(Defect::CursorNotCommitted)).is_empty());
}
