//! What the host says, and what the relay makes of it.

use crate::stage::{CONFIG, Heard, Stage, control};
use holdline_esp::ConnectFailure;

fn line(text: &str) -> Heard {
    Heard::Line(text.into())
}

/// The check digits of this config.
fn digits(config: &str) -> String {
    let line = String::from_utf8_lossy(&control(config)).into_owned();
    line.trim_end().rsplit_once('*').expect("it has a check").1.into()
}

// ---- who it is ----

#[test]
fn a_relay_says_at_once_who_it_is_and_again_every_second() {
    let stage = Stage::new();
    stage.pass(0);
    let who = line("relay\tboot=0000b007\tconfig=none\tjoin=0\twifi=off\tlink=0\ttcp=none");
    assert_eq!(stage.news(), std::slice::from_ref(&who));
    for _ in 0..10 {
        stage.pass(1_000);
        assert_eq!(stage.news(), std::slice::from_ref(&who));
    }
    assert_eq!(stage.lab.beats.get(), 11);
    assert_eq!(stage.lab.longest_hunger.get(), 100);
    assert!(stage.lab.news().is_empty(), "it does nothing that nobody asked for");
}

#[test]
fn every_change_is_said_at_once() {
    let stage = Stage::new();
    stage.pass(50);
    stage.news();
    stage.lab.joins.borrow_mut().push_back(None);
    stage.says(CONFIG);
    stage.says("want\tjoin=4294967295\tlink=0");
    stage.pass(0);
    let config = digits(CONFIG);
    assert_eq!(
        stage.news(),
        [line(&format!("relay\tboot=0000b007\tconfig={config}\tjoin=4294967295\twifi=joining\tlink=0\ttcp=none"))]
    );
    stage.says("want\tjoin=1\tlink=4294967295");
    stage.pass(0);
    assert_eq!(
        (stage.last("wifi"), stage.last("link"), stage.last("tcp")),
        ("up".into(), u32::MAX.to_string(), "unreachable".into())
    );
}

// ---- config ----

#[test]
fn settings_are_taken_once_however_often_they_are_said() {
    let stage = Stage::new();
    for _ in 0..3 {
        stage.says(CONFIG);
        stage.pass(200);
    }
    assert_eq!(stage.last("config"), digits(CONFIG));
    assert_eq!(stage.lab.news(), ["network attic secret", "server 10.0.0.2:8124"]);
    let stage = Stage::connected();
    stage.says(CONFIG);
    stage.pass(5_000);
    assert_eq!((stage.last("wifi"), stage.last("tcp")), ("up".into(), "open".into()));
    assert!(stage.lab.news().is_empty());
}

#[test]
fn other_settings_end_the_connection_and_the_network_before_they_are_taken() {
    let stage = Stage::connected();
    let other = CONFIG.replace("attic", "cellar");
    stage.says(&other);
    stage.until(|host| host.last("wifi") == "up");
    assert_eq!(stage.last("config"), digits(&other));
    // The attempt that the host still wants is made with what it says now.
    assert_eq!(stage.lab.news(), ["leave", "network cellar secret", "server 10.0.0.2:8124", "join"]);
    assert_eq!((stage.last("link"), stage.last("tcp")), ("5".into(), "closed".into()));
    assert!(stage.lab.connection().closed.get());
}

#[test]
fn settings_with_more_in_them_than_is_known_are_called_by_the_check_of_their_line() {
    let stage = Stage::new();
    let config = format!("{CONFIG}\tcountry=DE");
    stage.says(&config);
    stage.pass(0);
    assert_eq!(stage.last("config"), digits(&config));
    assert_eq!(stage.lab.news(), ["network attic secret", "server 10.0.0.2:8124"]);
}

#[test]
fn a_network_that_is_wanted_before_the_settings_are_there_is_joined_when_they_are() {
    let stage = Stage::new();
    stage.says("want\tjoin=1\tlink=0");
    stage.pass(1_000);
    assert_eq!((stage.last("join"), stage.last("wifi")), ("1".into(), "off".into()));
    stage.says(CONFIG);
    stage.pass(0);
    assert_eq!((stage.last("join"), stage.last("wifi")), ("1".into(), "up".into()));
}

// ---- join ----

#[test]
fn an_attempt_to_join_that_failed_stays_failed_and_the_next_number_is_the_next_attempt() {
    let stage = Stage::new();
    stage.lab.joins.borrow_mut().extend([Some(false), Some(false)]);
    stage.says(CONFIG);
    for (join, wifi) in [("1", "failed"), ("2", "failed"), ("3", "up")] {
        stage.lab.news();
        stage.says(&format!("want\tjoin={join}\tlink=0"));
        stage.pass(5_000);
        assert_eq!((stage.last("join"), stage.last("wifi")), (join.into(), wifi.into()));
        assert_eq!(stage.lab.news().iter().filter(|what| *what == "join").count(), 1);
    }
}

#[test]
fn an_attempt_to_join_that_hangs_fails_after_a_minute_and_gives_way_to_the_next_at_once() {
    let stage = Stage::new();
    stage.lab.joins.borrow_mut().extend([None, None]);
    stage.says(CONFIG);
    stage.says("want\tjoin=1\tlink=0");
    stage.pass(59_900);
    assert_eq!(stage.last("wifi"), "joining");
    stage.pass(200);
    assert_eq!(stage.last("wifi"), "failed");
    assert_eq!(stage.lab.news()[2..], ["join", "leave"]);
    stage.says("want\tjoin=0\tlink=0");
    stage.pass(500);
    assert!(stage.lab.news().is_empty(), "it has left");

    stage.says("want\tjoin=2\tlink=0");
    stage.pass(500);
    assert_eq!(stage.last("wifi"), "joining");
    stage.says("want\tjoin=3\tlink=0");
    stage.pass(0);
    assert_eq!((stage.last("join"), stage.last("wifi")), ("3".into(), "up".into()));
    // What hung in the driver is cleared away before the next attempt.
    assert_eq!(stage.lab.news(), ["join", "leave", "join"]);
}

#[test]
fn another_attempt_to_join_a_network_that_is_up_changes_nothing_but_the_number() {
    let stage = Stage::connected();
    stage.says("want\tjoin=9\tlink=5");
    stage.pass(3_000);
    assert_eq!((stage.last("join"), stage.last("wifi"), stage.last("tcp")), ("9".into(), "up".into(), "open".into()));
    assert!(stage.lab.news().is_empty());
}

#[test]
fn a_host_that_wants_no_network_gets_none() {
    let stage = Stage::connected();
    stage.says("want\tjoin=0\tlink=5");
    stage.pass(0);
    assert_eq!((stage.last("wifi"), stage.last("tcp")), ("off".into(), "closed".into()));
    assert!(stage.lab.connection().closed.get());
    assert_eq!(stage.lab.news(), ["leave"]);
    // It leaves once.
    stage.says("want\tjoin=0\tlink=0");
    stage.pass(3_000);
    stage.says(&CONFIG.replace("attic", "cellar"));
    stage.pass(3_000);
    assert_eq!(stage.lab.news(), ["network cellar secret", "server 10.0.0.2:8124"]);

    let stage = Stage::new();
    stage.lab.joins.borrow_mut().push_back(None);
    stage.says(CONFIG);
    stage.says("want\tjoin=1\tlink=0");
    stage.pass(500);
    stage.lab.news();
    stage.says("want\tjoin=0\tlink=0");
    stage.pass(0);
    assert_eq!((stage.last("wifi"), stage.lab.news()), ("off".into(), vec!["leave".into()]));
}

#[test]
fn a_network_that_cannot_be_left_is_joined_again_all_the_same() {
    let stage = Stage::connected();
    stage.lab.leave_hangs.set(true);
    stage.says("want\tjoin=0\tlink=0");
    stage.pass(1_000);
    stage.says("want\tjoin=2\tlink=0");
    stage.pass(3_000);
    assert_eq!((stage.last("join"), stage.last("wifi")), ("2".into(), "joining".into()));
    stage.pass(2_000);
    assert_eq!((stage.last("join"), stage.last("wifi")), ("2".into(), "up".into()));
}

#[test]
fn a_network_that_is_lost_ends_the_connection_and_stays_lost_until_the_next_attempt() {
    let stage = Stage::connected();
    stage.lab.is_up.set(false);
    stage.pass(100);
    assert_eq!((stage.last("wifi"), stage.last("tcp")), ("failed".into(), "closed".into()));
    stage.lab.is_up.set(true);
    stage.pass(10_000);
    assert_eq!(stage.last("wifi"), "failed");
    stage.says("want\tjoin=1\tlink=6");
    stage.pass(0);
    assert_eq!((stage.last("link"), stage.last("tcp")), ("6".into(), "unreachable".into()));
    assert!(stage.lab.news().is_empty());
    stage.says("want\tjoin=2\tlink=7");
    stage.pass(0);
    assert_eq!((stage.last("wifi"), stage.last("tcp")), ("up".into(), "unreachable".into()));

    // Without a connection it is noticed as well.
    let stage = Stage::joined();
    stage.lab.is_up.set(false);
    stage.pass(100);
    assert_eq!((stage.last("wifi"), stage.last("tcp")), ("failed".into(), "none".into()));
}

// ---- link ----

#[test]
fn why_there_is_no_connection_is_said() {
    let reasons = [
        (ConnectFailure::Refused, "refused"),
        (ConnectFailure::TimedOut, "timeout"),
        (ConnectFailure::Unreachable, "unreachable"),
    ];
    let stage = Stage::joined();
    for (link, (failure, tcp)) in (5..).zip(reasons) {
        stage.lab.connects.borrow_mut().push_back(Some(failure));
        stage.says(&format!("want\tjoin=1\tlink={link}"));
        stage.pass(3_000);
        assert_eq!((stage.last("link"), stage.last("tcp")), (link.to_string(), tcp.into()));
        assert_eq!(stage.lab.news(), ["connect"], "one attempt");
    }
}

#[test]
fn a_connection_is_attempted_only_in_a_network() {
    let stage = Stage::new();
    stage.lab.joins.borrow_mut().push_back(None);
    stage.says(CONFIG);
    stage.says("want\tjoin=1\tlink=5");
    stage.pass(1_000);
    assert_eq!((stage.last("wifi"), stage.last("tcp")), ("joining".into(), "unreachable".into()));
    stage.says("want\tjoin=2\tlink=5");
    stage.pass(1_000);
    assert_eq!((stage.last("wifi"), stage.last("tcp")), ("up".into(), "unreachable".into()), "no number is tried twice");
}

#[test]
fn a_connection_that_hangs_gives_way_to_the_next_and_ends_by_itself_in_the_end() {
    let stage = Stage::joined();
    stage.lab.connects.borrow_mut().extend([None, None]);
    stage.says("want\tjoin=1\tlink=5");
    stage.pass(2_000);
    assert_eq!(stage.last("tcp"), "opening");
    stage.says("want\tjoin=1\tlink=6");
    stage.pass(29_900);
    assert_eq!((stage.last("link"), stage.last("tcp")), ("6".into(), "opening".into()));
    stage.pass(200);
    assert_eq!((stage.last("link"), stage.last("tcp")), ("6".into(), "timeout".into()));
    stage.says("want\tjoin=1\tlink=7");
    stage.pass(0);
    assert_eq!((stage.last("link"), stage.last("tcp")), ("7".into(), "open".into()));
    assert_eq!(stage.lab.news(), ["connect", "connect", "connect"]);
}

#[test]
fn a_connection_that_is_being_opened_is_given_up_with_its_network() {
    let stage = Stage::joined();
    stage.lab.connects.borrow_mut().push_back(None);
    stage.says("want\tjoin=1\tlink=5");
    stage.pass(50);
    stage.says("want\tjoin=0\tlink=5");
    stage.pass(0);
    assert_eq!((stage.last("wifi"), stage.last("tcp")), ("off".into(), "unreachable".into()));
    assert_eq!(stage.lab.news(), ["connect", "leave"]);
}

#[test]
fn no_number_of_a_connection_is_opened_twice() {
    let stage = Stage::connected();
    stage.says("want\tjoin=1\tlink=0");
    stage.pass(0);
    assert_eq!((stage.last("link"), stage.last("tcp")), ("0".into(), "none".into()));
    stage.says("want\tjoin=1\tlink=5");
    stage.pass(5_000);
    assert_eq!((stage.last("link"), stage.last("tcp")), ("5".into(), "closed".into()));
    stage.lab.connection().down.end();
    stage.says("want\tjoin=1\tlink=6");
    stage.pass(5_000);
    assert_eq!(stage.last("tcp"), "open");
    stage.lab.connection().down.end();
    stage.pass(5_000);
    assert_eq!((stage.last("link"), stage.last("tcp")), ("6".into(), "closed".into()));
    assert_eq!(stage.lab.news(), ["connect"]);
}

#[test]
fn a_host_that_was_started_again_gets_a_new_connection_in_the_network_that_is_there() {
    let stage = Stage::connected();
    let old = stage.lab.connection();
    stage.says(CONFIG);
    stage.says("want\tjoin=77\tlink=0");
    stage.says("want\tjoin=77\tlink=900");
    stage.until(|host| host.last("link") == "900" && host.last("tcp") == "open");
    assert_eq!((stage.last("join"), stage.last("wifi")), ("77".into(), "up".into()));
    assert_eq!(stage.lab.news(), ["connect"]);
    assert!(old.gone.get());
}

// ---- report ----

#[test]
fn reports_come_as_often_as_they_were_asked_for() {
    let stage = Stage::joined();
    stage.pass(100_000);
    assert!(!stage.news().iter().any(|heard| matches!(heard, Heard::Line(line) if line.starts_with("report"))), "0 is never");
    stage.says(&CONFIG.replace("report=0", "report=7"));
    stage.host.borrow().to_relay.put(b"\xfewant\tjoin=1\tlink=9*00000000\n");
    stage.says("want\tjoin=1\tlink=5");
    stage.pass(20_000);
    let reports: Vec<Heard> =
        stage.news().into_iter().filter(|heard| matches!(heard, Heard::Line(line) if line.starts_with("report"))).collect();
    let report = |uptime| line(&format!("report\tconnects=0\tuptime={uptime}\tfree=61440\tdamaged=1\tdropped=0"));
    assert_eq!(reports, [report(107), report(114)]);
}
