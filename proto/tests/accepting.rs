//! Accepting, acking, windows and the three deliveries (SPEC.md, 7).
mod support;

use holdline_proto::{Event, Outbox as _, SendError, SliceOutbox, native};
use support::{Greets, Lone, Outbox, Pair, config, id, texts};

on_both_sides!(
    nothing_is_acked_before_it_is_accepted,
    one_flush_says_one_ack,
    accepting_a_message_accepts_those_before_it,
    a_receipt_is_good_once,
    a_duplicate_of_an_accepted_message_is_acked_again,
    a_duplicate_of_a_waiting_message_is_dropped_in_silence,
    a_message_that_waits_is_not_given_again_on_the_next_link,
    an_old_ack_is_ignored,
    an_ack_prunes_and_is_told_once_for_a_flush,
    a_sender_stays_within_the_peers_window,
    the_window_is_that_of_the_present_link,
    a_receiver_that_accepts_nothing_stays_a_good_peer,
    a_full_outbox_refuses_and_drops_nothing,
    a_message_too_long_for_this_peer_waits_for_another,
    latest_replaces_what_no_wire_has_seen,
    latest_leaves_alone_what_was_sent,
    latest_keeps_its_place_and_its_slot,
    best_effort_goes_at_once_or_never,
    best_effort_is_never_sent_again,
);

// HL-0077, HL-0082
fn nothing_is_acked_before_it_is_accepted<R: Greets>() {
    let mut lone = Lone::<R>::up();
    lone.app.holds = true;
    lone.hears("M1 one\nM2 two\n");
    assert_eq!((lone.app.got.len(), lone.says().as_str()), (2, ""));
    lone.hears("P2\n");
    assert_eq!(lone.says(), "A0\n");
    lone.accepts();
    assert_eq!(lone.says(), "A1\n");
    lone.accepts();
    assert_eq!(lone.says(), "A2\n");
}

// HL-0082
fn one_flush_says_one_ack<R: Greets>() {
    let mut lone = Lone::<R>::up();
    lone.hears("M1 one\nM2 two\nM3 three\nM3 three\nP3\n");
    assert_eq!(lone.says(), "A3\n");
    assert_eq!(lone.says(), "");
}

fn accepting_a_message_accepts_those_before_it<R: Greets>() {
    let mut lone = Lone::<R>::up();
    lone.app.holds = true;
    lone.hears("M1 one\nM2 two\nM3 three\n");
    let second = lone.app.held[1];
    assert!(lone.session.accept(second));
    assert_eq!(lone.says(), "A2\n");
    let first = lone.app.held[0];
    assert!(!lone.session.accept(first), "it was accepted with the second");
}

fn a_receipt_is_good_once<R: Greets>() {
    let mut lone = Lone::<R>::up();
    lone.app.holds = true;
    lone.hears("M1 one\n");
    let receipt = lone.app.held[0];
    assert!(lone.session.accept(receipt));
    lone.says();
    assert!(!lone.session.accept(receipt));
    assert_eq!(lone.says(), "");
    let forged = holdline_proto::Receipt { seq: 2, ..receipt };
    assert!(!lone.session.accept(forged), "nothing with that number was received");
}

// HL-0080, HL-0081
fn a_duplicate_of_an_accepted_message_is_acked_again<R: Greets>() {
    let mut lone = Lone::<R>::up();
    lone.hears("M1 one\n");
    lone.says();
    lone.hears("M1 one\nM0 zero\n");
    assert_eq!(lone.app.got, ["one"]);
    assert_eq!(lone.says(), "A1\n");
}

// HL-0080
fn a_duplicate_of_a_waiting_message_is_dropped_in_silence<R: Greets>() {
    let mut lone = Lone::<R>::up();
    lone.app.holds = true;
    lone.hears("M1 one\nM1 one\n");
    assert_eq!(lone.app.got, ["one"]);
    assert_eq!(lone.says(), "");
}

// HL-0080, HL-0077
fn a_message_that_waits_is_not_given_again_on_the_next_link<R: Greets>() {
    let mut lone = Lone::<R>::up();
    lone.app.holds = true;
    lone.hears("M1 one\nM2 two\n");
    lone.cut();
    lone.accepts();
    lone.meet("");
    assert_eq!(support::field(&lone.greeting, "seen"), Some("1"));
    lone.says();
    lone.hears("M1 one\nM2 two\nM3 three\n");
    assert_eq!(lone.app.got, ["one", "two", "three"]);
    assert_eq!(lone.says(), "A1\n");
}

// HL-0083
fn an_old_ack_is_ignored<R: Greets>() {
    let mut lone = Lone::<R>::up();
    lone.sends("one");
    lone.sends("two");
    lone.says();
    lone.hears("A1\n");
    lone.app.news();
    lone.hears("A0\nA1\n");
    assert_eq!((lone.app.news(), lone.session.acked()), (vec![], 1));
}

// HL-0084
fn an_ack_prunes_and_is_told_once_for_a_flush<R: Greets>() {
    let mut lone = Lone::<R>::up();
    for text in ["one", "two", "three"] {
        lone.sends(text);
    }
    lone.says();
    assert_eq!(lone.session.outbox().len(), 3);
    lone.hears("A1\nA2\n");
    assert_eq!(lone.app.news(), [Event::Acked(2)]);
    assert_eq!(texts(lone.session.outbox()), ["three"]);
}

// HL-0086
fn a_sender_stays_within_the_peers_window<R: Greets>() {
    let mut lone = Lone::<R>::up_with(support::defaults(), "window=2");
    for text in ["one", "two", "three", "four", "five"] {
        lone.sends(text);
    }
    assert_eq!(lone.says(), "M1 one\nM2 two\n");
    lone.hears("A1\n");
    assert_eq!(lone.says(), "M3 three\n");
    lone.hears("A3\n");
    assert_eq!(lone.says(), "M4 four\nM5 five\n");
}

// HL-0086
fn the_window_is_that_of_the_present_link<R: Greets>() {
    let mut lone = Lone::<R>::up_with(support::defaults(), "window=3");
    for text in ["one", "two", "three", "four"] {
        lone.sends(text);
    }
    assert_eq!(lone.says().lines().count(), 3);
    lone.cut();
    lone.meet("window=1 peer=101 seen=1");
    assert_eq!(lone.says().trim_start(), "M2 two\n");
}

// HL-0089
fn a_receiver_that_accepts_nothing_stays_a_good_peer<R: Greets>() {
    let mut lone = Lone::<R>::up_with(config(|c| c.window(2)), "");
    lone.app.holds = true;
    lone.hears("M1 one\nM2 two\n");
    lone.sends("mine");
    assert_eq!(lone.says(), "M1 mine\n");
    for _ in 0..100 {
        lone.waits(499);
        assert_eq!(lone.says(), "");
        lone.waits(1);
        assert!(matches!(lone.says().as_str(), "\n" | "P1\n"));
        lone.hears("D and on\nP2\nA0\n");
        assert_eq!(lone.says(), "A0\n");
    }
    assert_eq!((lone.app.best_effort.len(), lone.app.news()), (100, vec![]));
}

// HL-0088
fn a_full_outbox_refuses_and_drops_nothing<R: Greets>() {
    let mut session = native::Session::new(R::role(), support::defaults(), holdline_proto::Incarnation { boot: 1, epoch: 1 }, {
        SliceOutbox::new(vec![0; 32])
    });
    let now = holdline_proto::Instant::from_millis(0);
    let taken = (0..100).take_while(|_| session.send(now, "twelve bytes").is_ok()).count();
    assert_eq!(taken, 2);
    assert_eq!(session.send(now, "twelve bytes"), Err(SendError::Full));
    assert_eq!((session.next_seq(), texts(session.outbox())), (3, vec!["twelve bytes".into(); 2]));
}

// HL-0087
fn a_message_too_long_for_this_peer_waits_for_another<R: Greets>() {
    let mut lone = Lone::<R>::new(support::defaults());
    let long = "x".repeat(200);
    lone.sends("short");
    lone.sends(&long);
    lone.sends("behind");
    lone.meet("max=200");
    assert_eq!(lone.says().trim_start(), "M1 short\n");
    let blocked = Event::Blocked { seq: 2, len: 200, max: 178 };
    assert_eq!(lone.app.news().iter().filter(|&&event| event == blocked).count(), 1);
    lone.hears("A1\n");
    lone.waits(1_900);
    assert_eq!(lone.app.news(), [Event::Acked(1)], "it is told once a link");
    let mut buffer = [0; 64];
    assert!(lone.session.send_best_effort("the rest goes on", &mut buffer).is_ok());
    lone.cut();
    lone.says();
    lone.meet("max=222 peer=101 seen=1");
    assert_eq!(lone.says().trim_start(), format!("M2 {long}\nM3 behind\n"));
}

// HL-0090
fn latest_replaces_what_no_wire_has_seen<R: Greets>() {
    let mut lone = Lone::<R>::new(support::defaults());
    for degrees in 1..=1_000 {
        assert_eq!(lone.session.send_latest(lone.now, 7, &format!("{degrees} degrees")), Ok(1));
    }
    lone.meet("");
    assert_eq!(lone.says().trim_start(), "M1 1000 degrees\n");
}

// HL-0090
fn latest_leaves_alone_what_was_sent<R: Greets>() {
    let mut lone = Lone::<R>::up();
    assert_eq!(lone.session.send_latest(lone.now, 7, "old"), Ok(1));
    assert_eq!(lone.says(), "M1 old\n");
    assert_eq!(lone.session.send_latest(lone.now, 7, "new"), Ok(2));
    lone.cut();
    assert_eq!(lone.session.send_latest(lone.now, 7, "newest"), Ok(2));
    lone.meet("peer=101 seen=0");
    assert_eq!(lone.says().trim_start(), "M1 old\nM2 newest\n");
}

// HL-0090
fn latest_keeps_its_place_and_its_slot<R: Greets>() {
    let mut lone = Lone::<R>::new(support::defaults());
    assert_eq!(lone.session.send_latest(lone.now, 1, "a"), Ok(1));
    assert_eq!(lone.sends("plain"), 2);
    assert_eq!(lone.session.send_latest(lone.now, 2, "b"), Ok(3));
    assert_eq!(lone.session.send_latest(lone.now, 1, "a, longer"), Ok(1));
    assert_eq!(lone.session.send_latest(lone.now, 2, ""), Ok(3));
    assert_eq!(lone.session.outbox().slot(0), Some(1));
    lone.meet("");
    assert_eq!(lone.says().trim_start(), "M1 a, longer\nM2 plain\nM3 \n");
}

// HL-0091
fn best_effort_goes_at_once_or_never<R: Greets>() {
    let mut lone = Lone::<R>::new(support::defaults());
    let mut buffer = [0; 64];
    assert_eq!(lone.session.send_best_effort("too early", &mut buffer), Err(SendError::Down));
    lone.meet("");
    lone.says();
    let written = lone.session.send_best_effort("now", &mut buffer).expect("the link is up");
    assert_eq!(&buffer[..written], b"D now\n");
    assert_eq!(lone.session.send_best_effort("now", &mut buffer[..5]), Err(SendError::Full));
    lone.cut();
    assert_eq!(lone.session.send_best_effort("too late", &mut buffer), Err(SendError::Down));
    lone.meet("");
    assert!(!lone.says().contains('D'));
}

// HL-0091
fn best_effort_is_never_sent_again<R: Greets>() {
    let mut lone = Lone::<R>::up();
    let mut buffer = [0; 64];
    lone.session.send_best_effort("once", &mut buffer).expect("the link is up");
    lone.sends("twice");
    lone.says();
    lone.hears("R1\n");
    assert_eq!(lone.says(), "M1 twice\n");
}

#[test]
fn messages_flow_both_ways_and_survive_a_cut() {
    let mut pair = Pair::new();
    pair.connect();
    pair.client.send(pair.now, "one").expect("room");
    pair.server.send(pair.now, "eins").expect("room");
    pair.drive();
    assert_eq!((pair.server_app.got.len(), pair.client_app.got.len()), (1, 1));
    assert_eq!((pair.client.acked(), pair.server.acked()), (1, 1));
    pair.client.send(pair.now, "two").expect("room");
    pair.client_sends();
    pair.server_reads();
    pair.cut();
    pair.client.send(pair.now, "three").expect("room");
    pair.connect();
    assert_eq!(pair.server_app.got, ["one", "two", "three"]);
    assert_eq!(pair.client.acked(), 3);
    pair.run(60_000);
    assert_eq!(pair.client_app.downs(), [holdline_proto::DownReason::Disconnected]);
}

// HL-0088: back-pressure, and in the end everything is there.
#[test]
fn a_thousand_messages_go_through_an_outbox_of_three() {
    let mut pair = Pair::with(config(|c| c), config(|c| c.window(2)));
    let small: Outbox = SliceOutbox::new(vec![0; 32]);
    pair.client = native::Session::new(id(), config(|c| c), holdline_proto::Incarnation { boot: 1, epoch: 1 }, small);
    pair.connect();
    for number in 0..1_000 {
        if pair.client.send(pair.now, &number.to_string()) == Err(SendError::Full) {
            pair.drive();
            pair.client.send(pair.now, &number.to_string()).expect("the acks made room");
        }
    }
    pair.drive();
    assert_eq!(pair.server_app.got, (0..1_000).map(|number| number.to_string()).collect::<Vec<_>>());
}
