//! A session from end to end.
mod support;
use holdline_proto::{DownReason, Event};
use support::Pair;

#[test]
fn messages_flow_both_ways_and_survive_a_cut() {
    let mut pair = Pair::new();
    pair.connect();
    assert_eq!(pair.client_app.events, [Event::Up { resumed: false }]);
    pair.client.send(pair.now, "one").expect("room");
    pair.server.send(pair.now, "eins").expect("room");
    pair.drive();
    assert_eq!(
        (pair.server_app.got.as_slice(), pair.client_app.got.as_slice()),
        (&["one".to_owned()][..], &["eins".to_owned()][..])
    );
    assert_eq!((pair.client.acked(), pair.server.acked()), (1, 1));
    pair.client.send(pair.now, "two").expect("room");
    pair.client_sends();
    pair.server_reads();
    pair.cut();
    pair.client.send(pair.now, "three").expect("room");
    pair.connect();
    assert_eq!(pair.server_app.got, ["one", "two", "three"]);
    assert_eq!(pair.client.acked(), 3);
    assert_eq!(pair.client_app.downs(), [DownReason::Disconnected]);
    pair.run(60_000);
    assert_eq!(pair.client_app.downs(), [DownReason::Disconnected]);
}
