//! Each oracle catches the defect that it is there for, and is silent without it.

use holdline_proto::Instant;
use holdline_sim::Access;
use holdline_sim::actor::Profile;
use holdline_sim::defect::Defect;
use holdline_sim::fleet::Fleet;
use holdline_sim::library;
use holdline_sim::outage::{Site, Target};
use holdline_sim::scenario::Scenario;

fn story(outages: &str, fleet: &str) -> Scenario {
    let text = format!("name = \"test\"\nabout = \"\"\nfor_ms = 60000\n[fleet]\n{fleet}\n{outages}");
    Scenario::parse(&text).unwrap_or_else(|error| panic!("{error}"))
}

fn violations(story: &Scenario, defect: Option<Defect>) -> Vec<String> {
    let mut fleet = Fleet::with_defect(story.setup(Profile::Native), 5, defect);
    story.play(&mut fleet);
    fleet.outcome(true).violations
}

#[track_caller]
fn is_caught_in(story: &Scenario, defect: Defect, says: &str) {
    assert_eq!(violations(story, None), [""; 0], "without the defect");
    let found = violations(story, Some(defect));
    assert!(found.iter().any(|what| what.contains(says)), "{defect:?} shows as {found:#?}");
}

#[track_caller]
fn is_caught(defect: Defect, outages: &str, says: &str) {
    is_caught_in(&story(outages, "message_every_ms = 300"), defect, says);
}

const BLACK_HOLE: &str = "[[outage]]\nat_ms = 10000\nfor_ms = 20000\ndo = \"black-hole\"\nthen = \"never\"";
const LONG_BLACK_HOLE: &str = "[[outage]]\nat_ms = 2000\nfor_ms = 55000\ndo = \"black-hole\"\nthen = \"never\"";
const BROWNOUT: &str = "[[outage]]\nat_ms = 10000\nfor_ms = 1000\ndo = \"power-cycle\"\nmemory = \"everything\"\n\
    [[outage]]\nat_ms = 30000\nfor_ms = 1000\ndo = \"power-cycle\"\nmemory = \"everything\"";
const AMNESIA: &str = "[[outage]]\nat_ms = 10000\nfor_ms = 1000\ndo = \"power-cycle\"\nmemory = \"nothing\"\n\
    [[outage]]\nat_ms = 30000\nfor_ms = 1000\ndo = \"power-cycle\"\nmemory = \"nothing\"";
const REFUSED: &str = "[[outage]]\nat_ms = 10000\nfor_ms = 20000\ndo = \"no-connect\"\nhow = \"refused\"\n\
    [[outage]]\nat_ms = 10001\ndo = \"cut\"";
const RESTORED: &str = "[[outage]]\nat_ms = 20000\nfor_ms = 1000\ndo = \"power-cycle\"\nmemory = \"old-copy\"";
const TORN: &str = "[[outage]]\nat_ms = 9000\nfor_ms = 3000\ndo = \"black-hole\"\n\
    [[outage]]\nat_ms = 11000\nfor_ms = 1000\ndo = \"power-cycle\"\nmemory = \"torn\"";

#[test]
fn a_device_that_ignores_its_timers_is_up_and_dead() {
    is_caught(Defect::TimersIgnored, BLACK_HOLE, "the device is up and dead");
}

#[test]
fn a_server_that_ignores_its_timers_is_up_and_dead() {
    is_caught(Defect::ServerTimersIgnored, BLACK_HOLE, "the server is up and dead");
}

#[test]
fn what_is_accepted_before_the_application_has_it_is_seen() {
    is_caught(Defect::AcceptedOnReceipt, "", "acknowledged and never accepted");
}

#[test]
fn what_leaves_the_outbox_before_the_peer_has_accepted_it_is_seen() {
    let story = story(BLACK_HOLE, "window = 4");
    is_caught_in(&story, Defect::PrunedEarly, "acknowledged and never accepted");
}

#[test]
fn a_message_given_twice_is_seen() {
    is_caught(Defect::GivenTwice, "", "delivered twice");
}

#[test]
fn a_message_given_after_its_successor_is_seen() {
    is_caught(Defect::GivenLate, "", "delivered after a later one");
}

#[test]
fn a_value_that_does_not_arrive_although_it_is_the_last_is_seen() {
    is_caught(Defect::LatestForgotten, BLACK_HOLE, "value ");
}

#[test]
fn best_effort_that_comes_twice_is_seen() {
    is_caught(Defect::BestEffortTwice, "", "datagram 1 was delivered twice");
}

#[test]
fn best_effort_that_is_lost_although_the_link_is_up_is_seen() {
    is_caught(Defect::BestEffortForgotten, "", "datagram 10 was lost");
}

#[test]
fn an_outbox_without_a_bound_is_seen() {
    let story = story(LONG_BLACK_HOLE, "message_every_ms = 100");
    is_caught_in(&story, Defect::OutboxUnbounded, "in an outbox of 256");
}

#[test]
fn a_device_that_draws_its_boot_again_hides_that_it_forgot() {
    is_caught(Defect::BootReused, AMNESIA, "a loss was not reported: PeerForgot");
}

#[test]
fn a_loss_that_is_not_reported_is_seen_at_either_end() {
    is_caught(Defect::ReportSwallowed, AMNESIA, "device-0 up: a loss was not reported: PeerReset");
    is_caught(Defect::ReportSwallowed, AMNESIA, "device-0 down: a loss was not reported: PeerForgot");
    is_caught(Defect::ReportSwallowed, RESTORED, "device-0 down: a loss was not reported: LostIncoming");
    is_caught(Defect::ReportSwallowed, RESTORED, "device-0 down: a loss was not reported: LostOutgoing");
    is_caught(Defect::ReportSwallowed, RESTORED, "device-0 up: a loss was not reported: OwnReset");
}

#[test]
fn a_report_of_a_loss_that_did_not_happen_is_seen_at_either_end() {
    is_caught(Defect::LossInventedAtSender, "", "a loss was reported that did not happen: LostOutgoing");
    is_caught(Defect::LossInventedAtReceiver, "", "a loss was reported that did not happen: LostIncoming");
}

#[test]
fn a_device_without_backoff_is_a_storm() {
    is_caught(Defect::NoBackoff, REFUSED, "device-0: waits less than its backoff");
    is_caught(Defect::NoBackoff, REFUSED, "the fleet waits less than its backoff");
}

#[test]
fn devices_that_draw_the_same_waits_are_a_herd() {
    let story = story("[[outage]]\nat_ms = 10000\nfor_ms = 5000\ndo = \"ap-reboot\"", "devices = 50\nmessage_every_ms = 1000");
    is_caught_in(&story, Defect::InStep, "the fleet is in step");
}

#[test]
fn a_device_that_gives_up_does_not_come_back() {
    is_caught(Defect::GivesUp, REFUSED, "device-0 did not come back");
}

#[test]
fn an_end_that_is_not_told_is_seen_at_the_next_beginning() {
    is_caught(Defect::DownUntold, BLACK_HOLE, "came up twice");
}

#[test]
fn a_torn_record_that_is_read_all_the_same_is_seen() {
    is_caught(Defect::TornRead, TORN, "arrived with another text than was sent");
}

#[test]
fn a_line_that_is_taken_although_its_check_is_wrong_is_seen() {
    for name in ["serial-noise", "serial-noise-restart"] {
        let story = library::load(name).expect("it comes with the simulator");
        is_caught_in(&story, Defect::ChecksIgnored, "arrived with another text than was sent");
    }
}

#[test]
fn a_clock_that_is_not_widened_is_seen() {
    // What is due after the clock has begun again is due in 49 days: nobody notices that the way back is gone.
    let wrap = "[[outage]]\nat_ms = 20000\ndo = \"clock-wrap\"\n\
        [[outage]]\nat_ms = 19990\nfor_ms = 40000\ndo = \"black-hole\"\nway = \"down\"\nthen = \"never\"";
    is_caught(Defect::ClockNotWidened, wrap, "the device is up and dead");
}

#[test]
fn a_commit_that_did_not_happen_shows_after_the_power_has_gone() {
    let story = story(BROWNOUT, "message_every_ms = 300");
    let run = |defect: Option<Defect>| {
        let mut fleet = Fleet::with_defect(story.setup(Profile::Native), 5, defect);
        // The older copy is made while messages wait in the outbox.
        let node = fleet.node(Target(0));
        let usual = fleet.world.access(node);
        fleet.run_until(Instant::from_millis(4_000));
        fleet.world.set_access(node, Access { out_blocked: true, in_blocked: true, ..usual });
        fleet.run_until(Instant::from_millis(5_500));
        fleet.back_up();
        fleet.world.set_access(node, usual);
        story.play(&mut fleet);
        fleet.outcome(true).violations
    };
    assert_eq!(run(None), [""; 0]);
    let found = run(Some(Defect::CursorNotCommitted));
    // The store says that what was committed is there, so nothing excuses what is older.
    for says in ["delivered twice", "a loss was reported that did not happen: OwnReset"] {
        assert!(found.iter().any(|what| what.contains(says)), "{found:#?}");
    }
}
