//! A new link takes the place of one that is still open (SPEC.md, 10.2).
mod support;

use holdline_proto::{ByeCode, DownReason, Event, Server, write_bye};
use support::{Lone, Pair, defaults, field};

// HL-0121
#[test]
fn a_returning_device_never_waits_for_the_server_to_notice() {
    let mut pair = Pair::new();
    pair.connect();
    pair.client.send(pair.now, "one").expect("room");
    pair.client_sends();
    pair.client.handle_disconnected(pair.now);
    pair.connect();
    assert_eq!(pair.server_app.events[1..], [Event::Down(DownReason::Takeover), Event::Up { resumed: true }]);
    assert_eq!(pair.server_app.got, ["one"]);
    assert_eq!(pair.client.acked(), 1);
}

// HL-0122
#[test]
fn what_was_not_read_from_the_old_link_is_not_read() {
    let mut pair = Pair::new();
    pair.connect();
    pair.client.send(pair.now, "one").expect("room");
    pair.client_sends();
    let unread = std::mem::take(&mut pair.up);
    pair.client.handle_disconnected(pair.now);
    pair.open();
    pair.client_sends();
    pair.server_reads();
    assert_eq!(pair.server_app.got, [""; 0]);
    assert_eq!(unread, b"M1 one\n");
    pair.drive();
    assert_eq!(pair.server_app.got, ["one"]);
}

// HL-0121, HL-0108
#[test]
fn the_new_link_starts_with_timers_of_its_own_and_nothing_unsent() {
    let mut server = Lone::<Server>::up();
    server.hears("M2 a gap\nD half a line");
    server.waits(1_999);
    server.says();
    server.admit(support::HELLO);
    assert_eq!(server.says(), "", "the gap belongs to the old link");
    server.hears("\n");
    server.waits(499);
    assert_eq!(server.says(), "");
    server.waits(1);
    assert_eq!(server.says(), "\n");
    server.waits(1_499);
    assert!(server.session.has_link());
    server.waits(1);
    assert!(!server.session.has_link());
}

// HL-0058: a takeover before the confirmation leaves the receiver as it was.
#[test]
fn a_takeover_of_an_unconfirmed_link_adopts_only_the_newest() {
    let mut server = Lone::<Server>::new(defaults());
    server.greet("epoch=6 boot=6");
    server.greet("epoch=7 boot=7 base=3");
    assert_eq!(field(&server.greeting, "peer"), Some("0"));
    server.hears("\n");
    assert_eq!((server.session.snapshot().peer_epoch, server.session.snapshot().accepted), (7, 3));
    assert!(!server.app.events.contains(&Event::PeerReset), "6 was never taken up");
}

// HL-0141
#[test]
fn a_link_that_was_never_up_goes_down_without_having_been_up() {
    let mut server = Lone::<Server>::new(defaults());
    for _ in 0..3 {
        server.greet("");
    }
    server.hears("\n");
    let ups = server.app.events.iter().filter(|event| matches!(event, Event::Up { .. })).count();
    assert_eq!(ups, 1);
}

// HL-0121
#[test]
fn the_old_link_is_told() {
    let mut buffer = [0; 64];
    let length = write_bye(ByeCode::Takeover, 0, false, &mut buffer);
    assert_eq!(&buffer[..length], b"Btakeover\n");
    let length = write_bye(ByeCode::Closing, 1_500, true, &mut buffer);
    assert_eq!(&buffer[..length], support::checked("Bclosing retry=1500").as_bytes());
    assert_eq!(write_bye(ByeCode::Takeover, 0, false, &mut buffer[..9]), 0);
    let mut client = Lone::<holdline_proto::Client>::up();
    client.hears("Btakeover\n");
    assert_eq!(client.app.news(), [Event::Down(DownReason::Bye { code: ByeCode::Takeover, retry_ms: 0 })]);
}

#[test]
fn a_hundred_takeovers_lose_and_repeat_nothing() {
    let mut pair = Pair::new();
    for number in 0..100 {
        pair.client.send(pair.now, &number.to_string()).expect("room");
        pair.server.send(pair.now, &number.to_string()).expect("room");
        pair.client.handle_disconnected(pair.now);
        pair.open();
        pair.client_sends();
        pair.server_reads();
        pair.client_reads();
        pair.client_sends();
        pair.up.truncate(pair.up.len() * (number % 4) / 3);
        pair.server_reads();
        if number % 5 == 0 {
            pair.drive();
        }
    }
    pair.client.handle_disconnected(pair.now);
    pair.connect();
    let all: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    assert_eq!(pair.server_app.got, all);
    assert_eq!(pair.client_app.got, all);
}
