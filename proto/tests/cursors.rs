//! The cursor table: what each side does with its streams on the other's greeting (SPEC.md, 6).
mod support;

use holdline_proto::{Client, DownReason, Event, Keeps, OnForgotten, Server, ValidConfig, native::Snapshot};
use support::{Greets, Lone, Pair, config, defaults, field, stream_sum, texts};

on_both_sides!(
    a_receiver_that_remembers_the_stream_keeps_its_cursor,
    a_receiver_older_than_the_base_reports_the_loss_and_goes_on_there,
    a_base_that_moved_over_messages_that_wait_here_loses_none,
    a_receiver_without_memory_takes_the_stream_up_where_it_is,
    a_receiver_that_knew_another_epoch_reports_the_reset,
    a_store_that_knows_nothing_of_a_stream_misses_what_is_behind_its_base,
    a_message_of_an_earlier_epoch_cannot_move_the_cursor,
    a_sender_prunes_what_was_seen_and_sends_the_rest,
    a_sender_told_of_messages_that_it_forgot_begins_a_new_epoch,
    a_sender_told_of_all_numbers_up_to_next_begins_a_new_epoch,
    a_sender_told_of_other_texts_begins_a_new_epoch,
    a_matching_sum_prunes,
    an_absent_sum_is_not_verified,
    a_sum_of_messages_before_the_base_is_not_verified,
    a_sender_whose_peer_lost_acked_messages_reports_them,
    a_greeting_that_comes_late_is_no_loss,
    a_forgotten_sender_sends_again_by_default,
    a_forgotten_sender_of_another_epoch_sends_again_as_well,
    a_forgotten_sender_that_skips_drops_what_was_on_a_wire,
    a_first_contact_is_no_loss,
    the_same_boot_has_forgotten_nothing,
    bsum_and_sum_are_said_by_those_who_have_them,
);

const T: fn() -> ValidConfig = defaults;

fn durable() -> ValidConfig {
    config(|c| c.keeps(Keeps::Both))
}

fn skipping() -> ValidConfig {
    config(|c| c.on_forgotten(OnForgotten::Skip))
}

/// A receiver that accepted messages 1 … 3 of the peer's epoch 5.
fn knows_three() -> Snapshot {
    Snapshot { epoch: 101, peer_epoch: 5, accepted: 3, ..Snapshot::default() }
}

/// A sender whose peer, boot 1, acked 1 … 2 of its epoch 101.
fn two_acked() -> Snapshot {
    Snapshot { epoch: 101, acked: 2, contacted: true, peer_boot: 1, ..Snapshot::default() }
}

fn reports<R: Greets>(lone: &mut Lone<R>) -> Vec<Event> {
    lone.app.news().into_iter().filter(|event| !matches!(event, Event::Up { .. })).collect()
}

fn frames<R: Greets>(lone: &mut Lone<R>) -> Vec<String> {
    lone.says().lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

// Receiver rows

// HL-0070
fn a_receiver_that_remembers_the_stream_keeps_its_cursor<R: Greets>() {
    let mut lone = Lone::<R>::restored(T(), knows_three(), &[]);
    lone.meet("epoch=5 base=2");
    assert_eq!(reports(&mut lone), []);
    lone.hears("M3 again\nM4 next\n");
    assert_eq!(lone.app.got, ["next"]);
    assert_eq!(frames(&mut lone), ["A4"]);
}

// HL-0071
fn a_receiver_older_than_the_base_reports_the_loss_and_goes_on_there<R: Greets>() {
    let mut lone = Lone::<R>::restored(T(), knows_three(), &[]);
    lone.meet("epoch=5 base=7");
    assert_eq!(reports(&mut lone), [Event::LostIncoming { from: 4, to: 7 }]);
    assert_eq!(lone.session.snapshot().accepted, 7);
    lone.hears("M8 next\n");
    assert_eq!(lone.app.got, ["next"]);
}

// HL-0071: a sender that skips moves its base over what waits here.
fn a_base_that_moved_over_messages_that_wait_here_loses_none<R: Greets>() {
    let mut lone = Lone::<R>::restored(T(), knows_three(), &[]);
    lone.app.holds = true;
    lone.meet("epoch=5 base=3");
    lone.hears("M4 four\nM5 five\nM6 six\n");
    lone.cut();
    reports(&mut lone);
    lone.meet("epoch=5 base=5");
    assert_eq!(reports(&mut lone), []);
    assert_eq!(lone.session.snapshot().accepted, 5);
    lone.hears("M6 six\nM7 seven\n");
    assert_eq!(lone.app.got, ["four", "five", "six", "seven"]);
    let seven = lone.app.held[3];
    assert!(lone.session.accept(seven));
    assert_eq!(frames(&mut lone), ["A7"]);
}

// HL-0072
fn a_receiver_without_memory_takes_the_stream_up_where_it_is<R: Greets>() {
    let mut lone = Lone::<R>::new(T());
    lone.meet("epoch=5 base=40");
    assert_eq!(reports(&mut lone), []);
    let snapshot = lone.session.snapshot();
    assert_eq!((snapshot.peer_epoch, snapshot.accepted), (5, 40));
    lone.hears("M41 next\n");
    assert_eq!(lone.app.got, ["next"]);
}

// HL-0073
fn a_receiver_that_knew_another_epoch_reports_the_reset<R: Greets>() {
    let mut lone = Lone::<R>::restored(T(), knows_three(), &[]);
    lone.meet("epoch=6 base=0");
    assert_eq!(reports(&mut lone), [Event::PeerReset]);
    lone.hears("M1 first\n");
    assert_eq!(lone.app.got, ["first"]);
    assert_eq!(frames(&mut lone), ["A1"]);
}

// HL-0159
fn a_store_that_knows_nothing_of_a_stream_misses_what_is_behind_its_base<R: Greets>() {
    for memory in [Snapshot { epoch: 101, ..Snapshot::default() }, knows_three()] {
        for keeps in [Keeps::Seen, Keeps::Both] {
            let mut lone = Lone::<R>::restored(config(|c| c.keeps(keeps)), memory, &[]);
            lone.meet("epoch=6 base=2");
            assert_eq!(reports(&mut lone).last(), Some(&Event::LostIncoming { from: 1, to: 2 }));
            lone.hears("M3 next\n");
            assert_eq!(lone.app.got, ["next"]);
        }
        let mut lone = Lone::<R>::restored(config(|c| c.keeps(Keeps::Sent)), memory, &[]);
        lone.meet("epoch=6 base=2");
        assert!(!reports(&mut lone).iter().any(|event| matches!(event, Event::LostIncoming { .. })));
    }
    let mut lone = Lone::<R>::new(durable());
    lone.meet("epoch=6 base=0");
    assert_eq!(reports(&mut lone), []);
}

// HL-0074
fn a_message_of_an_earlier_epoch_cannot_move_the_cursor<R: Greets>() {
    let mut lone = Lone::<R>::new(T());
    lone.app.holds = true;
    lone.meet("epoch=5");
    lone.hears("M1 old\n");
    lone.meet("epoch=6 base=0");
    lone.hears("M1 new\n");
    let (old, new) = (lone.app.held[0], lone.app.held[1]);
    assert!(!lone.session.accept(old));
    assert_eq!(frames(&mut lone), [""; 0]);
    assert!(lone.session.accept(new));
    assert_eq!(frames(&mut lone), ["A1"]);
}

// Sender rows

// HL-0062
fn a_sender_prunes_what_was_seen_and_sends_the_rest<R: Greets>() {
    let mut lone = Lone::<R>::restored(T(), two_acked(), &["three", "four", "five"]);
    lone.meet("peer=101 seen=3");
    assert_eq!(reports(&mut lone), [Event::Acked(3)]);
    assert_eq!(frames(&mut lone), ["M4 four", "M5 five"]);
}

// HL-0063
fn a_sender_told_of_messages_that_it_forgot_begins_a_new_epoch<R: Greets>() {
    let mut lone = Lone::<R>::restored(T(), two_acked(), &["three"]);
    begins_a_new_epoch(&mut lone, "peer=101 seen=9", &["M1 three"]);
}

// HL-0063: 4 is the number that the next message would get, and somebody used it already.
fn a_sender_told_of_all_numbers_up_to_next_begins_a_new_epoch<R: Greets>() {
    let mut lone = Lone::<R>::restored(T(), two_acked(), &["three"]);
    begins_a_new_epoch(&mut lone, "peer=101 seen=4", &["M1 three"]);
}

// HL-0064
fn a_sender_told_of_other_texts_begins_a_new_epoch<R: Greets>() {
    let snapshot = Snapshot { acked_sum: Some(stream_sum(&["one", "two"])), ..two_acked() };
    let mut lone = Lone::<R>::restored(durable(), snapshot, &["three", "four"]);
    let other = stream_sum(&["one", "two", "three", "vier"]);
    begins_a_new_epoch(&mut lone, &format!("peer=101 seen=4 sum={other}"), &["M1 three", "M2 four"]);
    assert_eq!(lone.session.snapshot().acked_sum, Some(0));
}

/// On this greeting; the client by a second hello, because its first told of the old epoch.
fn begins_a_new_epoch<R: Greets>(lone: &mut Lone<R>, changes: &str, sent: &[&str]) {
    lone.meet(changes);
    let told = reports(lone);
    assert!(told.contains(&Event::OwnReset { dropped: 0 }), "{told:?}");
    let greets_again = !lone.session.has_link();
    if greets_again {
        // HL-0069
        assert_eq!(told, [Event::Down(DownReason::Reset), Event::OwnReset { dropped: 0 }]);
        assert_eq!(frames(lone), ["Breset"]);
        lone.meet(changes);
        assert_eq!(reports(lone), [], "nothing moves a second time");
    }
    assert_eq!(greets_again, lone.greeting.starts_with("HOLD/1 client="), "the client alone greets again");
    assert_eq!(frames(lone), sent);
    assert_ne!(field(&lone.greeting, "epoch"), Some("101"));
    assert_eq!(field(&lone.greeting, "base"), Some("0"));
}

// HL-0062, HL-0064
fn a_matching_sum_prunes<R: Greets>() {
    let snapshot = Snapshot { acked_sum: Some(stream_sum(&["one", "two"])), ..two_acked() };
    let mut lone = Lone::<R>::restored(durable(), snapshot, &["three", "four"]);
    let seen = stream_sum(&["one", "two", "three"]);
    lone.meet(&format!("peer=101 seen=3 sum={seen}"));
    assert_eq!(reports(&mut lone), [Event::Acked(3)]);
    assert_eq!(frames(&mut lone), ["M4 four"]);
    assert_eq!(lone.session.snapshot().acked_sum, Some(seen));
}

fn an_absent_sum_is_not_verified<R: Greets>() {
    let snapshot = Snapshot { acked_sum: Some(stream_sum(&["one", "two"])), ..two_acked() };
    let mut lone = Lone::<R>::restored(durable(), snapshot, &["three", "four"]);
    lone.meet("peer=101 seen=3");
    assert_eq!(reports(&mut lone), [Event::Acked(3)]);
}

fn a_sum_of_messages_before_the_base_is_not_verified<R: Greets>() {
    let snapshot = Snapshot { acked_sum: Some(stream_sum(&["one", "two"])), ..two_acked() };
    let mut lone = Lone::<R>::restored(durable(), snapshot, &["three"]);
    lone.meet("boot=2 peer=101 seen=1 sum=12345");
    assert_eq!(reports(&mut lone), [Event::LostOutgoing { from: 2, to: 2 }]);
}

// HL-0065
fn a_sender_whose_peer_lost_acked_messages_reports_them<R: Greets>() {
    let snapshot = Snapshot { acked: 6, ..two_acked() };
    let mut lone = Lone::<R>::restored(T(), snapshot, &["seven"]);
    lone.meet("boot=2 peer=101 seen=3");
    assert_eq!(reports(&mut lone), [Event::LostOutgoing { from: 4, to: 6 }]);
    assert_eq!(frames(&mut lone), ["M7 seven"]);
    assert_eq!(field(&lone.greeting, "base"), Some("6"));
}

// HL-0065: the same boot has forgotten nothing, so what it says less of was said before.
fn a_greeting_that_comes_late_is_no_loss<R: Greets>() {
    let snapshot = Snapshot { acked: 6, ..two_acked() };
    let mut lone = Lone::<R>::restored(T(), snapshot, &["seven"]);
    lone.meet("peer=101 seen=3");
    assert_eq!(reports(&mut lone), []);
    assert_eq!(frames(&mut lone), ["M7 seven"]);
}

// HL-0066
fn a_forgotten_sender_sends_again_by_default<R: Greets>() {
    let mut lone = Lone::<R>::restored(T(), two_acked(), &["three", "four"]);
    lone.meet("boot=2 peer=0 seen=0");
    assert_eq!(reports(&mut lone), [Event::PeerForgot { from: 3, to: 4, dropped: false }]);
    assert_eq!(frames(&mut lone), ["M3 three", "M4 four"]);
}

// HL-0066
fn a_forgotten_sender_of_another_epoch_sends_again_as_well<R: Greets>() {
    let mut lone = Lone::<R>::restored(T(), two_acked(), &["three"]);
    lone.meet("boot=2 peer=77 seen=9");
    assert_eq!(reports(&mut lone), [Event::PeerForgot { from: 3, to: 3, dropped: false }]);
    assert_eq!(frames(&mut lone), ["M3 three"]);
}

// HL-0067
fn a_forgotten_sender_that_skips_drops_what_was_on_a_wire<R: Greets>() {
    let mut lone = Lone::<R>::new(skipping());
    lone.meet("boot=1 window=2");
    reports(&mut lone);
    for text in ["one", "two", "three"] {
        lone.sends(text);
    }
    assert_eq!(frames(&mut lone), ["M1 one", "M2 two"], "the window holds the third back");
    lone.cut();
    reports(&mut lone);
    lone.meet("boot=2 peer=0 seen=0");
    let told = reports(&mut lone);
    assert!(told.contains(&Event::PeerForgot { from: 1, to: 2, dropped: true }), "{told:?}");
    if !lone.session.has_link() {
        // HL-0069
        assert_eq!(told[0], Event::Down(DownReason::Reset));
        assert_eq!(frames(&mut lone), ["Breset"]);
        lone.meet("boot=2 peer=0 seen=0");
        assert!(lone.session.is_up(), "nothing moves a second time");
    }
    assert_eq!(field(&lone.greeting, "base"), Some("2"));
    assert_eq!(frames(&mut lone), ["M3 three"]);
}

// HL-0068
fn a_first_contact_is_no_loss<R: Greets>() {
    let mut lone = Lone::<R>::new(skipping());
    lone.sends("queued before anybody came");
    lone.meet("peer=0 seen=0");
    assert_eq!(reports(&mut lone), []);
    assert_eq!(frames(&mut lone), ["M1 queued before anybody came"]);
}

// HL-0068
fn the_same_boot_has_forgotten_nothing<R: Greets>() {
    let mut lone = Lone::<R>::restored(skipping(), two_acked(), &["three"]);
    lone.meet("boot=1 peer=0 seen=0");
    assert_eq!(reports(&mut lone), []);
    assert_eq!(frames(&mut lone), ["M3 three"]);
}

// HL-0160: rows 5 and 6 need no welcome of this side where the peer has named the stream.
#[test]
fn a_server_whose_welcome_never_left_is_contacted_by_a_hello_that_names_its_stream() {
    let restored = Snapshot { epoch: 101, ..Snapshot::default() };
    let mut server = Lone::<Server>::restored(skipping(), restored, &["one", "two"]);
    server.hears_of_hello("peer=101 seen=1");
    server.cut();
    assert!(server.session.snapshot().contacted);
    server.meet("boot=2 peer=0 seen=0");
    assert_eq!(reports(&mut server).last(), Some(&Event::PeerForgot { from: 2, to: 2, dropped: true }));
}

// HL-0075, HL-0076
fn bsum_and_sum_are_said_by_those_who_have_them<R: Greets>() {
    let mut lone = Lone::<R>::new(T());
    lone.meet("epoch=5 base=0");
    lone.hears("M1 one\n");
    lone.cut();
    lone.greet("epoch=5 base=1");
    assert_eq!((field(&lone.greeting, "bsum"), field(&lone.greeting, "sum")), (None, None));

    let mut lone = Lone::<R>::restored(durable(), Snapshot { acked_sum: Some(77), ..two_acked() }, &[]);
    let base = stream_sum(&["one"]);
    lone.meet(&format!("epoch=5 base=1 bsum={base} peer=101 seen=2"));
    lone.hears("M2 two\nM3 three\n");
    lone.cut();
    lone.greet("epoch=5 base=3 peer=101 seen=2");
    let seen = stream_sum(&["one", "two", "three"]).to_string();
    assert_eq!((field(&lone.greeting, "bsum"), field(&lone.greeting, "sum")), (Some("77"), Some(seen.as_str())));
}

// The order of events

// HL-0058, HL-0059
#[test]
fn an_interrupted_handshake_leaves_the_receiver_as_it_was() {
    let mut server = Lone::<Server>::restored(T(), knows_three(), &[]);
    for _ in 0..3 {
        server.greet("epoch=6 base=4");
        assert_eq!((field(&server.greeting, "peer"), field(&server.greeting, "seen")), (Some("5"), Some("3")));
        assert_eq!(server.session.snapshot().peer_epoch, 5);
        assert!(!server.session.is_up());
        server.cut();
    }
    server.greet("epoch=6 base=4");
    server.hears("Bdone\n");
    assert_eq!(server.session.snapshot().peer_epoch, 5, "a goodbye confirms nothing");
    server.app.news();
    server.greet("epoch=6 base=4");
    server.hears("\n");
    assert_eq!(server.app.news(), [Event::PeerReset, Event::Up { resumed: false }]);
    assert_eq!((server.session.snapshot().peer_epoch, server.session.snapshot().accepted), (6, 4));
}

// HL-0059
#[test]
fn any_first_line_but_a_goodbye_adopts_before_it_does_anything_else() {
    for (line, fault) in [("M5 next", false), ("D now", false), ("P4", false), ("Xwhat", true)] {
        let mut server = Lone::<Server>::restored(T(), knows_three(), &[]);
        server.greet("epoch=6 base=4");
        server.hears_line(line);
        assert_eq!(server.session.snapshot().peer_epoch, 6, "{line}");
        assert_eq!(server.session.has_link(), !fault, "{line}");
        assert!(server.app.events.contains(&Event::PeerReset), "{line}");
    }
}

// HL-0059
#[test]
fn what_is_accepted_between_hello_and_confirmation_is_acked_if_the_stream_is_the_same() {
    for (epoch, acks) in [(5, "A1\n"), (6, "")] {
        let mut server = Lone::<Server>::new(T());
        server.app.holds = true;
        server.meet("epoch=5");
        server.hears("M1 one\n");
        server.greet(&format!("epoch={epoch} base=0"));
        server.accepts();
        assert_eq!(server.says(), acks, "epoch {epoch}");
    }
}

#[test]
fn a_client_always_learns_that_the_server_forgot() {
    let mut pair = Pair::new();
    pair.connect();
    pair.client.send(pair.now, "one").expect("room");
    pair.client_sends();
    pair.restart_server((Snapshot { epoch: 303, ..Snapshot::default() }, support::outbox()));
    for _ in 0..3 {
        pair.open();
        pair.client_sends();
        pair.server_reads();
        pair.cut();
    }
    pair.connect();
    let forgot = Event::PeerForgot { from: 1, to: 1, dropped: false };
    assert_eq!(pair.client_app.events.iter().filter(|&&event| event == forgot).count(), 1);
    assert_eq!(pair.server_app.got, ["one"]);
}

// HL-0067, HL-0068: a first link that breaks before the confirmation drops nothing, even under `skip`.
#[test]
fn an_interrupted_first_contact_drops_nothing() {
    let skips = config(|c| c.on_forgotten(OnForgotten::Skip));
    let mut pair = Pair::with(skips, skips);
    pair.client.send(pair.now, "up").expect("room");
    pair.server.send(pair.now, "down").expect("room");
    pair.open();
    pair.client_sends();
    pair.server_reads();
    pair.server_sends();
    pair.cut();
    pair.connect();
    assert_eq!((pair.server_app.got.as_slice(), pair.client_app.got.as_slice()), (&["up".into()][..], &["down".into()][..]));
}

#[test]
fn a_server_that_begins_anew_says_so_in_the_same_welcome() {
    let mut server = Lone::<Server>::restored(T(), two_acked(), &["three"]);
    server.greet("peer=101 seen=9");
    assert_eq!((field(&server.greeting, "epoch"), field(&server.greeting, "base")), (Some("9001"), Some("0")));
    assert_eq!(texts(server.session.outbox()), ["three"]);
}

#[test]
fn a_client_that_skips_after_its_own_reset_says_how_many_it_dropped() {
    let mut client = Lone::<Client>::restored(skipping(), two_acked(), &["three", "four"]);
    client.meet("peer=101 seen=9");
    assert_eq!(client.app.news(), [Event::Down(DownReason::Reset), Event::OwnReset { dropped: 2 }]);
    assert_eq!(texts(client.session.outbox()), [""; 0]);
}
