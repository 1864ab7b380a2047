//! What the server does with messages, how it logs, and the demonstration.

use crate::device::{ClassicDevice, Wire};
use crate::process::{Signal, runs, serve, start, texts_of};
use serde_json::Value;

#[test]
fn echo_sends_everything_back() {
    let (server, address) = serve(&["--app", "echo"]);
    let mut device = start(&["connect", "--id", "door-1", "--server", &address, "--stay"]);
    device.type_line("one");
    device.type_line("two, with \"quotes\" and ü");
    device.out.wait(|lines| (lines == ["one", "two, with \"quotes\" and ü"]).then_some(()));
    server.out.wait(|lines| (texts_of("door-1", lines) == ["one", "two, with \"quotes\" and ü"]).then_some(()));
}

#[test]
fn a_relay_carries_messages_from_one_client_to_another_that_may_come_later() {
    let (_server, address) = serve(&["--app", "relay:switch:lamp"]);
    let mut switch = start(&["connect", "--id", "switch", "--server", &address]);
    switch.type_line("on");
    switch.err.wait_line("connected");
    let lamp = start(&["connect", "--id", "lamp", "--server", &address, "--stay"]);
    lamp.out.wait_line("on");
    switch.type_line("off");
    assert_eq!(switch.finished().code, Some(0));
    lamp.out.wait(|lines| (lines == ["on", "off"]).then_some(()));
}

#[test]
fn the_counter_checks_what_it_gets_and_the_device_checks_what_the_counter_sends() {
    let (server, address) = serve(&["--app", "counter:50"]);
    let device = start(&["connect", "--id", "1", "--server", &address, "--count", "100", "--rate", "100"]).ended();
    assert_eq!(device.code, Some(0), "{device:#?}");
    assert!(device.err.iter().any(|line| line == "sent 100 numbered messages; all were delivered"), "{device:#?}");
    assert!(device.err.last().is_some_and(|line| line.ends_with("0 lost, 0 repeated, 0 reordered")), "{device:#?}");
    let received = &runs(&device.out)[0].1;
    assert_eq!(*received, (1..=received.len() as u64).collect::<Vec<_>>());
    server.signal(Signal::TERM);
    let server = server.ended();
    let summary: Value = serde_json::from_str(server.out.last().expect("a summary")).expect("JSON");
    assert_eq!(summary["client"], "1", "{server:#?}");
    for (key, expected) in [("from", 1), ("to", 100), ("received", 100), ("lost", 0), ("repeated", 0), ("reordered", 0)] {
        assert_eq!(summary[key], expected, "{summary}");
    }
}

#[test]
fn the_counter_sees_what_goes_wrong() {
    let (server, address) = serve(&["--app", "counter"]);
    let mut device = ClassicDevice::connect(&address, "1");
    for number in [1, 2, 2, 5, 4] {
        device.write(&format!("count={number} run=a"));
    }
    server.signal(Signal::TERM);
    let server = server.ended();
    let summary: Value = serde_json::from_str(server.out.last().expect("a summary")).expect("JSON");
    for (key, expected) in [("to", 5), ("received", 4), ("lost", 1), ("repeated", 1), ("reordered", 1)] {
        assert_eq!(summary[key], expected, "{server:#?}");
    }
}

#[test]
fn a_client_can_be_addressed_in_json_whatever_its_name() {
    let (mut server, address) = serve(&[]);
    let mut device = ClassicDevice::connect(&address, "a name with blanks");
    device.write("hello");
    server.type_line(r#"{"client":"a name with blanks","text":"hello yourself"}"#);
    assert_eq!(device.read(), "hello yourself");
}

#[test]
fn the_log_in_json_can_be_read_by_a_program() {
    let server = start(&["serve", "--listen", "127.0.0.1:0", "--json", "--expect", "door-2"]);
    let json = |line: &String| serde_json::from_str::<Value>(line).expect("each line is JSON");
    let event = |name: &str| server.err.wait(|lines| lines.iter().map(json).find(|entry| entry["event"] == name));
    let address = event("listening")["address"].as_str().expect("where it listens").to_owned();
    let device = start(&["connect", "--id", "door-1", "--server", &address]);
    assert_eq!((&event("unknown")["client"], &event("unknown")["level"]), (&"door-1".into(), &"WARN".into()));
    assert_eq!(event("connected")["profile"], "native");
    device.signal(Signal::KILL);
    assert_eq!(event("outage")["reason"], "the stream ended");
    let _device = start(&["connect", "--id", "door-1", "--server", &address]);
    assert!(event("resumed")["after_ms"].is_u64());
}

#[test]
fn a_name_cannot_steer_the_terminal_that_shows_the_log() {
    // HL-0158
    let (server, address) = serve(&[]);
    let mut wire = Wire::connect(&address);
    wire.send("\u{1b}[2Jevil\u{202e}\n\n");
    let line = server.err.wait_line("evil");
    assert!(line.contains(r"\u{1b}[2Jevil\u{202e}: connected"), "{line:?}");
    assert!(!line.contains(['\u{1b}', '\u{202e}']), "{line:?}");
}

#[test]
fn two_devices_of_one_name_are_reported() {
    // HL-0123
    let (server, address) = serve(&[]);
    let _devices: Vec<Wire> = (1..=5)
        .map(|boot| {
            let mut wire = Wire::connect(&address);
            wire.send(format!(
                "HOLD/1 client=door-1 boot={boot} epoch=7 base=0 peer=0 seen=0 keeps=none timeout=60000 window=4 max=512\n"
            ));
            wire.line();
            wire
        })
        .collect();
    server.err.wait_nth("door-1: a newer connection of it takes over", 3);
    server.err.wait_line("door-1: turned away: two devices use this name in turns");
}

#[test]
fn the_demonstration_passes() {
    let demo = start(&["demo", "--seconds", "6", "--seed", "3"]).ended();
    assert_eq!(demo.code, Some(0), "{demo:#?}");
    let verdict = demo.out.last().expect("a verdict");
    assert!(verdict.starts_with("PASS: 0 lost, 0 repeated, 0 reordered, of "), "{verdict}");
    assert!(!verdict.contains(" over 0 outages"), "{verdict}");
}
