//! The relay alone, in virtual time: every rule of docs/relay.md, arbitrary bytes, stalls of either side.
#![cfg(feature = "relay")]

mod stage;
#[path = "../world/mod.rs"]
mod world;

use holdline_esp::ConnectFailure;
use stage::{CONFIG, Heard, Stage};

fn line(text: &str) -> Heard {
    Heard::Line(text.into())
}

fn bytes(text: &str) -> Heard {
    Heard::Bytes(text.into())
}

#[test]
fn a_relay_says_at_once_who_it_is_and_again_every_second() {
    let stage = Stage::new();
    stage.pass(0);
    let who = line("relay\tboot=0000b007\tconfig=none\tjoin=0\twifi=off\tlink=0\ttcp=none");
    assert_eq!(stage.host.borrow_mut().news(), [who.clone()]);
    for _ in 0..10 {
        stage.pass(1_000);
        assert_eq!(stage.host.borrow_mut().news(), [who.clone()]);
    }
    assert_eq!(stage.lab.beats.get(), 11);
    assert_eq!(stage.lab.longest_hunger.get(), 100);
    assert!(stage.lab.news().is_empty(), "it does nothing that nobody asked for");
}

#[test]
fn a_session_passes_both_ways_over_a_connection_that_the_host_asked_for() {
    let stage = Stage::new();
    stage.says(CONFIG);
    stage.says("want\tjoin=1\tlink=0");
    stage.until(|host| host.last("wifi") == "up");
    assert_eq!(stage.lab.news(), ["network attic secret", "server 10.0.0.2:8124", "join"]);
    stage.says("want\tjoin=1\tlink=5");
    stage.until(|host| host.last("tcp") == "open");
    assert_eq!(stage.lab.news(), ["connect"]);
    let connection = stage.lab.connection();
    stage.host.borrow().to_relay.put(b"HOLD/1 client=door");
    connection.down.put(b"HOLD/1 ok");
    stage.pass(0);
    assert_eq!((connection.up.take(99), stage.host.borrow().bytes()), (b"HOLD/1 client=door".to_vec(), b"HOLD/1 ok".to_vec()));
}
