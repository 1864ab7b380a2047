//! What a restart costs, by what each side keeps, and what happens when a storage comes back from a backup (SPEC.md, 6 and 12).
mod support;

use holdline_proto::{DownReason, Event, Keeps, OnForgotten, ValidConfig, native::Snapshot};
use support::{Lone, Outbox, Pair, config, field, outbox, texts};

const ALL: [Keeps; 4] = [Keeps::None, Keeps::Sent, Keeps::Seen, Keeps::Both];

fn keeping(keeps: Keeps) -> ValidConfig {
    config(|c| c.keeps(keeps))
}

fn durable() -> Pair {
    Pair::with(keeping(Keeps::Both), keeping(Keeps::Both))
}

/// What a program that keeps only this finds when it starts again; a stream without memory gets this epoch.
fn kept(keeps: Keeps, (all, waiting): (Snapshot, Outbox), epoch: u64) -> (Snapshot, Outbox) {
    let mut found = Snapshot { epoch, ..Snapshot::default() };
    if keeps.sent() {
        let Snapshot { epoch, acked, acked_sum, contacted, peer_boot, .. } = all;
        found = Snapshot { epoch, acked, acked_sum, contacted, peer_boot, ..found };
    }
    if keeps.seen() {
        let Snapshot { peer_epoch, accepted, accepted_sum, .. } = all;
        found = Snapshot { peer_epoch, accepted, accepted_sum, ..found };
    }
    (found, if keeps.sent() { waiting } else { outbox() })
}

/// Each side has sent `one`, which is acked, `two`, which was accepted and whose ack was lost, and `three`, which did not arrive.
fn three_messages_each_way(client: Keeps, server: Keeps) -> Pair {
    let mut pair = Pair::with(keeping(client), keeping(server));
    pair.connect();
    for text in ["one", "two", "three"] {
        pair.client.send(pair.now, text).expect("room");
        pair.server.send(pair.now, text).expect("room");
        match text {
            "one" => pair.drive(),
            "two" => {
                pair.client_sends();
                pair.server_sends();
                pair.server_reads();
                pair.client_reads();
            }
            _ => {}
        }
    }
    assert_eq!((pair.client.acked(), pair.server.acked()), (1, 1));
    assert_eq!((pair.client_app.got.len(), pair.server_app.got.len()), (2, 2));
    pair.cut();
    for app in [&mut pair.client_app, &mut pair.server_app] {
        app.got.clear();
        app.news();
    }
    pair
}

fn besides_links(app: &mut support::App) -> Vec<Event> {
    app.news().into_iter().filter(|event| !matches!(event, Event::Up { .. } | Event::Down(_) | Event::Acked(_))).collect()
}

// HL-0019, HL-0020
#[test]
fn a_restarted_server_loses_and_repeats_by_what_it_keeps() {
    for (client, server) in ALL.into_iter().flat_map(|client| ALL.map(|server| (client, server))) {
        let mut pair = three_messages_each_way(client, server);
        pair.restart_server(kept(server, pair.server_store(), 909));
        pair.connect();
        let case = format!("client {client:?}, server {server:?}");
        restarted(&pair.server_app.got, &pair.client_app.got, server, &case);
        told(&besides_links(&mut pair.server_app), &besides_links(&mut pair.client_app), server, &case);
    }
}

// HL-0019, HL-0020
#[test]
fn a_restarted_client_loses_and_repeats_by_what_it_keeps() {
    for (client, server) in ALL.into_iter().flat_map(|client| ALL.map(|server| (client, server))) {
        let mut pair = three_messages_each_way(client, server);
        pair.restart_client(kept(client, pair.client_store(), 909));
        pair.connect();
        let case = format!("client {client:?}, server {server:?}");
        restarted(&pair.client_app.got, &pair.server_app.got, client, &case);
        told(&besides_links(&mut pair.client_app), &besides_links(&mut pair.server_app), client, &case);
    }
}

/// What the restarted side and its peer got after the restart.
fn restarted(restarted: &[String], peer: &[String], keeps: Keeps, case: &str) {
    let again: &[&str] = if keeps.seen() { &["three"] } else { &["two", "three"] };
    assert_eq!(restarted, again, "{case}: only what was not acked comes again");
    let sent: &[&str] = if keeps.sent() { &["three"] } else { &[] };
    assert_eq!(peer, sent, "{case}: only what was not acked is lost");
}

/// What the restarted side and its peer were told.
fn told(restarted: &[Event], peer: &[Event], keeps: Keeps, case: &str) {
    assert_eq!(restarted, [], "{case}: a restart is no news to the side that restarted");
    let forgot = (!keeps.seen()).then_some(Event::PeerForgot { from: 2, to: 3, dropped: false });
    let reset = (!keeps.sent()).then_some(Event::PeerReset);
    let mut expected: Vec<Event> = forgot.into_iter().chain(reset).collect();
    let mut told = peer.to_vec();
    expected.sort_by_key(|event| format!("{event:?}"));
    told.sort_by_key(|event| format!("{event:?}"));
    assert_eq!(told, expected, "{case}");
}

// HL-0078, HL-0079
#[test]
fn restarts_of_both_sides_at_once_cost_nothing_where_both_keep_everything() {
    let mut pair = three_messages_each_way(Keeps::Both, Keeps::Both);
    pair.restart_client(pair.client_store());
    pair.restart_server(pair.server_store());
    pair.connect();
    assert_eq!((pair.client_app.got.as_slice(), pair.server_app.got.as_slice()), (&["three".into()][..], &["three".into()][..]));
    assert_eq!((besides_links(&mut pair.client_app), besides_links(&mut pair.server_app)), (vec![], vec![]));
}

// HL-0019
fn a_snapshot_restores_what_it_was_taken_of<R: support::Greets>() {
    let mut lone = Lone::<R>::new(keeping(Keeps::Both));
    lone.meet("epoch=5 base=2 bsum=77");
    lone.sends("one");
    lone.sends("two");
    lone.says();
    lone.hears("A1\nM3 three\n");
    let snapshot = lone.session.snapshot();
    let waiting = texts(lone.session.outbox());
    let waiting: Vec<&str> = waiting.iter().map(String::as_str).collect();
    let mut again = Lone::<R>::restored(keeping(Keeps::Both), snapshot, &waiting);
    assert_eq!(again.session.snapshot(), snapshot);
    again.meet("peer=101 seen=1 base=3 bsum=78");
    lone.cut();
    lone.meet("peer=101 seen=1 base=3 bsum=78");
    assert_eq!(again.greeting, lone.greeting);
    assert_eq!(again.says().trim_start(), "M2 two\n");
}
on_both_sides!(a_snapshot_restores_what_it_was_taken_of);

// HL-0063, HL-0069
#[test]
fn a_client_from_a_backup_begins_anew_and_loses_no_new_message() {
    let mut pair = durable();
    pair.connect();
    pair.client.send(pair.now, "before").expect("room");
    pair.drive();
    let backup = pair.client_store();
    for text in ["lost to the backup", "this too"] {
        pair.client.send(pair.now, text).expect("room");
    }
    pair.drive();
    pair.restart_client(backup);
    pair.client.send(pair.now, "after").expect("room");
    pair.connect();
    assert_eq!(pair.client_app.downs(), [DownReason::Reset]);
    pair.connect();
    assert_eq!(besides_links(&mut pair.client_app), [Event::OwnReset { dropped: 0 }]);
    assert_eq!(pair.server_app.got, ["before", "lost to the backup", "this too", "after"]);
    assert!(pair.server_app.events.contains(&Event::PeerReset));
}

// HL-0064: by its numbers alone the outbox looks as if it had been accepted.
#[test]
fn an_outbox_from_a_backup_that_has_grown_again_is_found_out_by_its_sum() {
    let mut pair = durable();
    pair.connect();
    let backup = pair.client_store();
    for text in ["a", "b", "c"] {
        pair.client.send(pair.now, text).expect("room");
    }
    pair.drive();
    pair.restart_client(backup);
    for text in ["x", "y", "z", "and one more"] {
        pair.client.send(pair.now, text).expect("room");
    }
    pair.connect();
    assert_eq!(pair.client_app.downs(), [DownReason::Reset]);
    pair.connect();
    assert_eq!(pair.server_app.got, ["a", "b", "c", "x", "y", "z", "and one more"]);
}

// HL-0063
#[test]
fn a_server_from_a_backup_begins_anew_without_a_second_hello() {
    let mut pair = durable();
    pair.connect();
    pair.server.send(pair.now, "before").expect("room");
    pair.drive();
    let backup = pair.server_store();
    pair.server.send(pair.now, "lost to the backup").expect("room");
    pair.drive();
    pair.restart_server(backup);
    pair.server.send(pair.now, "after").expect("room");
    pair.connect();
    assert_eq!(pair.client_app.got, ["before", "lost to the backup", "after"]);
    assert!(pair.server_app.events.contains(&Event::OwnReset { dropped: 0 }));
    assert_eq!(besides_links(&mut pair.client_app), [Event::PeerReset]);
}

// HL-0065, HL-0071
#[test]
fn a_receiver_from_a_backup_is_told_what_it_forgot_and_so_is_the_sender() {
    for at_server in [true, false] {
        let mut pair = durable();
        pair.connect();
        let send = |pair: &mut Pair, text: &str| {
            if at_server { pair.client.send(pair.now, text) } else { pair.server.send(pair.now, text) }.expect("room")
        };
        send(&mut pair, "one");
        pair.drive();
        let backup = if at_server { pair.server_store() } else { pair.client_store() };
        send(&mut pair, "two");
        send(&mut pair, "three");
        pair.drive();
        if at_server {
            pair.restart_server(backup)
        } else {
            pair.restart_client(backup)
        }
        send(&mut pair, "four");
        pair.connect();
        let (receiver, sender) =
            if at_server { (&mut pair.server_app, &mut pair.client_app) } else { (&mut pair.client_app, &mut pair.server_app) };
        assert_eq!(receiver.got, ["four"]);
        assert_eq!(besides_links(receiver), [Event::LostIncoming { from: 2, to: 3 }]);
        assert_eq!(besides_links(sender), [Event::LostOutgoing { from: 2, to: 3 }]);
    }
}

// HL-0070: what the receiver forgot is still in the sender's outbox.
#[test]
fn a_receiver_from_a_backup_gets_again_what_was_not_pruned() {
    let mut pair = durable();
    pair.connect();
    let backup = pair.server_store();
    pair.client.send(pair.now, "one").expect("room");
    pair.client_sends();
    pair.server_reads();
    assert_eq!(pair.server_app.got, ["one"]);
    pair.restart_server(backup);
    pair.connect();
    assert_eq!(pair.server_app.got, ["one"]);
    assert_eq!((besides_links(&mut pair.client_app), besides_links(&mut pair.server_app)), (vec![], vec![]));
}

// HL-0067
#[test]
fn a_restored_outbox_was_on_a_wire_for_all_that_skip_knows() {
    let mut pair = Pair::with(config(|c| c.keeps(Keeps::Both).on_forgotten(OnForgotten::Skip)), keeping(Keeps::None));
    pair.connect();
    pair.client.send(pair.now, "restored").expect("room");
    pair.restart_client(pair.client_store());
    pair.restart_server((Snapshot { epoch: 909, ..Snapshot::default() }, outbox()));
    pair.client.send(pair.now, "new").expect("room");
    pair.connect();
    pair.connect();
    assert_eq!(pair.server_app.got, ["new"]);
    let forgot = Event::PeerForgot { from: 1, to: 1, dropped: true };
    assert!(pair.client_app.events.contains(&forgot), "{:?}", pair.client_app.events);
}

// HL-0079: numbers of a volatile sender are never used for two texts, because its epoch is new.
#[test]
fn a_volatile_client_that_restarts_counts_from_one_in_another_epoch() {
    let mut pair = Pair::new();
    pair.connect();
    pair.client.send(pair.now, "old").expect("room");
    pair.drive();
    pair.restart_client((Snapshot { epoch: 909, ..Snapshot::default() }, outbox()));
    pair.client.send(pair.now, "new").expect("room");
    pair.open();
    pair.client_sends();
    let hello = String::from_utf8_lossy(&pair.up).into_owned();
    assert_eq!((field(&hello, "epoch"), field(&hello, "base"), field(&hello, "peer")), (Some("909"), Some("0"), Some("0")));
    pair.drive();
    assert_eq!(pair.server_app.got, ["old", "new"]);
}
