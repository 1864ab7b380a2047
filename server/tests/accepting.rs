//! What the application's calls promise: accepting, windows, back-pressure, deliveries (SPEC.md, 7).
mod support;

use futures_core::Stream;
use futures_sink::Sink;
use holdline_server::proto::{Config, OnForgotten, SendError, classic::Flavour};
use holdline_server::{Closed, Connection, Limits, ServerConfig, WriteError};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{
    Lines, PIPE, WELCOME, builder, calling, changed, client_of, device, field, greet, hello, read, server, sleep, soon, wire,
};
use tokio::io::duplex;

on_both_sides!(
    a_write_returns_when_the_peers_application_has_accepted_it,
    what_is_read_by_readline_is_acked_and_what_is_received_is_not,
    best_effort_needs_a_link_and_is_not_kept,
    a_text_that_cannot_be_sent_is_refused,
    an_application_that_accepts_nothing_keeps_its_link,
);

const T: Config = Config::new();

// HL-0085
async fn a_write_returns_when_the_peers_application_has_accepted_it<R: Lines>() {
    let mut up = R::up(T, PIPE).await;
    let line = up.line.clone();
    let mut write = tokio::spawn(async move { line.write("x").await });
    assert_eq!(up.hand.hears().await.as_deref(), Some("M1 x"));
    up.hand.says("A0").await;
    assert!(tokio::time::timeout(Duration::from_millis(900), &mut write).await.is_err());
    up.hand.says("A1").await;
    assert_eq!(soon(write).await.expect("no panic"), Ok(()));
}

// HL-0077, HL-0082
async fn what_is_read_by_readline_is_acked_and_what_is_received_is_not<R: Lines>() {
    let mut up = R::up(T, PIPE).await;
    up.hand.says("M1 one\nM2 two\nM3 three").await;
    assert_eq!(up.line.readline().await.as_deref(), Ok("one"));
    assert_eq!(up.hand.hears().await.as_deref(), Some("A1"));
    let two = up.line.recv().await.expect("the line is open");
    let three = up.line.recv().await.expect("the line is open");
    assert_eq!((&*two.text, &*three.text), ("two", "three"));
    assert_eq!(up.hand.hears_now().await, None);
    up.hand.says("P3").await;
    assert_eq!(up.hand.hears().await.as_deref(), Some("A1"));
    let last = three.receipt.expect("it is reliable");
    assert!(up.line.accept(last), "and with it the one before");
    assert_eq!(up.hand.hears().await.as_deref(), Some("A3"));
    assert!(!up.line.accept(two.receipt.expect("it is reliable")));
    assert!(!up.line.accept(last));
}

// HL-0091
async fn best_effort_needs_a_link_and_is_not_kept<R: Lines>() {
    let mut up = R::up(T, PIPE).await;
    up.line.send_best_effort("now").expect("the link is up");
    assert_eq!(up.hand.hears().await.as_deref(), Some("D now"));
    up.hand.says("D then").await;
    let received = up.line.recv().await.expect("the line is open");
    assert_eq!((&*received.text, received.receipt), ("then", None));
    up.line.drop_link();
    assert_eq!(up.line.send_best_effort("lost"), Err(SendError::Down));
    assert_eq!(up.hand.hears_all().await, ["Bdone"]);
}

// HL-0007
async fn a_text_that_cannot_be_sent_is_refused<R: Lines>() {
    let up = R::up(T, PIPE).await;
    for (text, error) in
        [("two\nlines", SendError::LineFeed), ("a\0b", SendError::Nul), (&*"x".repeat(4_075), SendError::TooLong { max: 4_074 })]
    {
        assert_eq!(up.line.send(text).await, Err(WriteError::Text(error)));
        assert_eq!(up.line.write(text).await, Err(WriteError::Text(error)));
        assert_eq!(up.line.send_latest(1, text).await, Err(WriteError::Text(error)));
        assert_eq!(up.line.send_best_effort(text), Err(error));
    }
    assert_eq!(up.line.status().unacked, 0);
}

// HL-0089
async fn an_application_that_accepts_nothing_keeps_its_link<R: Lines>() {
    let mut up = R::up(T, PIPE).await;
    let messages: Vec<String> = (1..=16).map(|n| format!("M{n} {n}")).collect();
    up.hand.says(&messages.join("\n")).await;
    let heard = up.hand.listens_alive(20_100).await;
    assert!(heard.iter().all(|(_, line)| line.is_empty()), "{heard:?}");
    assert_eq!(heard.len(), 40, "keepalives");
    up.hand.says("P16").await;
    assert_eq!(up.hand.hears().await.as_deref(), Some("A0"));
    assert_eq!(up.line.status().unread, 16);
}

// HL-0086, HL-0089
#[tokio::test(start_paused = true)]
async fn a_full_window_keeps_the_sender_back_and_nothing_is_lost() {
    let server = server(ServerConfig { session: Config::new().window(3), ..ServerConfig::default() });
    let client = client_of(&server, builder("dev"));
    for n in 0..20 {
        client.send(&n.to_string()).await.expect("there is room");
    }
    let line = soon(server.client("dev")).await.expect("the server lives");
    sleep(60_000).await;
    assert_eq!((line.status().unread, client.status().unacked), (3, 20));
    assert_eq!((line.connects(), client.connects()), (1, 1));
    let expected: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    assert_eq!(read(&line, 20).await, expected);
    soon(client.flush()).await.expect("the client lives");
}

// HL-0080
#[tokio::test(start_paused = true)]
async fn what_is_not_accepted_comes_again_after_a_restart_and_not_after_a_cut() {
    let present = Arc::new(Mutex::new(server(ServerConfig::default())));
    let serving = Arc::clone(&present);
    let client = builder("dev").start_with(move || {
        let (near, far) = duplex(PIPE);
        let server = serving.lock().expect("no panic").clone();
        tokio::spawn(async move { server.serve(far).await });
        async move { Ok(near) }
    });
    let client = client.expect("a valid client");
    for text in ["one", "two", "three"] {
        client.send(text).await.expect("there is room");
    }
    let first = present.lock().expect("no panic").clone();
    let line = soon(first.client("dev")).await.expect("the server lives");
    assert_eq!(soon(line.readline()).await.as_deref(), Ok("one"));
    let two = soon(line.recv()).await.expect("the server lives");
    line.drop_link();
    sleep(1).await;
    soon(line.wait_up()).await.expect("the server lives");
    let three = soon(line.recv()).await.expect("the server lives");
    assert_eq!((&*two.text, &*three.text), ("two", "three"));
    sleep(10_000).await;
    assert_eq!((line.status().unread, client.status().unacked), (0, 2));
    // The program starts again without memory.
    *present.lock().expect("no panic") = server(ServerConfig::default());
    assert_eq!(first.shutdown(Duration::ZERO, Duration::ZERO).await, 0);
    let second = present.lock().expect("no panic").clone();
    let line = soon(second.client("dev")).await.expect("the server lives");
    assert_eq!(read(&line, 2).await, ["two", "three"]);
    soon(client.flush()).await.expect("the client lives");
}

// HL-0088
#[tokio::test(start_paused = true)]
async fn a_full_outbox_delays_the_call_and_drops_nothing() {
    let (client, mut calls) = calling(builder("dev").outbox(2, 10));
    assert_eq!(client.try_send("1"), Ok(()));
    assert_eq!(client.try_send("2"), Ok(()));
    assert_eq!(client.try_send("3"), Err(WriteError::Text(SendError::Full)));
    let line = client.connection();
    let third = tokio::spawn(async move { line.send("3").await });
    let mut hand = calls.next().await;
    hand.hears().await;
    hand.says(WELCOME).await;
    assert_eq!(hand.hears().await.as_deref(), Some("M1 1"));
    assert_eq!(hand.hears().await.as_deref(), Some("M2 2"));
    sleep(100).await;
    assert!(!third.is_finished());
    hand.says("A1").await;
    assert_eq!(hand.hears().await.as_deref(), Some("M3 3"));
    assert_eq!(soon(third).await.expect("no panic"), Ok(()));
    // The bytes count too; and for what is larger than all of them nobody waits.
    hand.says("A3").await;
    soon(client.flush()).await.expect("the client lives");
    assert_eq!(client.try_send("12345678"), Ok(()));
    assert_eq!(client.try_send("123"), Err(WriteError::Text(SendError::Full)));
    assert_eq!(hand.hears().await.as_deref(), Some("M4 12345678"));
    hand.says("A4").await;
    soon(client.flush()).await.expect("the client lives");
    assert_eq!(soon(client.send("12345678901")).await, Err(WriteError::Text(SendError::TooLong { max: 10 })));
}

// HL-0090
#[tokio::test(start_paused = true)]
async fn after_an_outage_the_peer_gets_the_latest_of_each_slot_in_place() {
    let server = server(ServerConfig::default());
    drop(device(&server, "dev").await);
    let line = soon(server.client("dev")).await.expect("the server lives");
    sleep(1).await;
    for (slot, text) in [(Some(1), "a1"), (None, "m"), (Some(2), "b1"), (Some(1), "a2"), (Some(2), "b2"), (Some(1), "a3")] {
        match slot {
            Some(slot) => line.send_latest(slot, text).await.expect("there is room"),
            None => line.send(text).await.expect("there is room"),
        }
    }
    let mut back = wire(&server);
    greet(&mut back, &hello("dev", "boot=2")).await;
    for expected in ["M1 a3", "M2 m", "M3 b2"] {
        assert_eq!(back.hears().await.as_deref(), Some(expected));
    }
    // What was on a wire is not replaced.
    line.send_latest(1, "a4").await.expect("there is room");
    assert_eq!(back.hears().await.as_deref(), Some("M4 a4"));
    back.says("A4").await;
    soon(line.flush()).await.expect("the server lives");
}

// HL-0067, HL-0069
#[tokio::test(start_paused = true)]
async fn a_write_that_is_dropped_by_policy_says_so() {
    let (client, mut calls) = calling(builder("dev").session(T.on_forgotten(OnForgotten::Skip)));
    let line = client.connection();
    let first = tokio::spawn(async move { line.write("on the wire").await });
    let mut hand = calls.next().await;
    hand.hears().await;
    hand.says(WELCOME).await;
    assert_eq!(hand.hears().await.as_deref(), Some("M1 on the wire"));
    drop(hand);
    let mut hand = calls.next().await;
    let line = client.connection();
    let second = tokio::spawn(async move { line.write("never sent").await });
    hand.hears().await;
    hand.says(&changed(WELCOME, "boot=2 epoch=6")).await;
    assert_eq!(hand.hears_all().await, ["Breset"]);
    assert_eq!(soon(first).await.expect("no panic"), Err(WriteError::Dropped));
    let mut hand = calls.next().await;
    let hello = hand.hears().await.expect("a hello");
    assert_eq!(field(&hello, "base"), 1);
    hand.says(&changed(WELCOME, &format!("boot=2 epoch=6 peer={} seen=1", field(&hello, "epoch")))).await;
    assert_eq!(hand.hears().await.as_deref(), Some("M2 never sent"));
    hand.says("A2").await;
    assert_eq!(soon(second).await.expect("no panic"), Ok(()));
}

// HL-0144
#[tokio::test(start_paused = true)]
async fn an_application_that_does_not_read_costs_a_bounded_inbox() {
    let limits = Limits { inbox: 10, ..Limits::default() };
    let server = server(ServerConfig { limits, session: T.window(4), ..ServerConfig::default() });
    let mut dev = device(&server, "dev").await;
    let line = soon(server.client("dev")).await.expect("the server lives");
    dev.says(&"D best effort\n".repeat(100)).await;
    sleep(1).await;
    assert_eq!(line.status().unread, 10);
    // A peer that begins anew, or gives messages up, again and again.
    for life in 0..50 {
        let mut dev = wire(&server);
        let (epoch, base) = (7 + life / 2, 4 * (life % 2));
        greet(&mut dev, &hello("dev", &format!("epoch={epoch} base={base}"))).await;
        for n in 1..=4 {
            dev.says(&format!("M{} {life}", base + n)).await;
        }
        sleep(1).await;
        assert!(line.status().unread <= 14, "{} after {life} lives", line.status().unread);
    }
    // Those of the present life are there.
    let texts = read(&line, line.status().unread).await;
    assert_eq!(texts.iter().filter(|text| *text == "49").count(), 4, "{texts:?}");
}

// HL-0055
#[tokio::test(start_paused = true)]
async fn a_full_inbox_stops_the_reading_from_a_2019_peer_and_its_link_lives_on() {
    let limits = Limits { inbox: 3, ..Limits::default() };
    let server = server(ServerConfig { limits, flavour: Flavour::V2019, ..ServerConfig::default() });
    let mut old = wire(&server);
    old.says("old").await;
    let line = soon(server.client("old")).await.expect("the server lives");
    let lines: Vec<String> = (0..12).map(|n| format!("{n:02x}message {n}")).collect();
    old.says(&lines.join("\n")).await;
    sleep(20_000).await;
    assert_eq!((line.status().unread, line.status().up), (3, true));
    let expected: Vec<String> = (0..12).map(|n| format!("message {n}")).collect();
    let start = tokio::time::Instant::now();
    let mut texts = Vec::new();
    for _ in 0..12 {
        texts.push(soon(line.recv()).await.expect("the server lives").text);
    }
    assert_eq!(texts, expected);
    old.says("0cafter").await;
    assert_eq!(soon(line.readline()).await.as_deref(), Ok("after"));
    assert_eq!((support::since(start), line.connects()), (0, 1), "reading goes on at once");
}

// HL-0055, HL-0144
#[tokio::test(start_paused = true)]
async fn a_2019_message_whose_id_is_still_held_waits_and_so_does_what_follows() {
    let server = server(ServerConfig { flavour: Flavour::V2019, ..ServerConfig::default() });
    let mut old = wire(&server);
    old.says("old\n01held").await;
    let line = soon(server.client("old")).await.expect("the server lives");
    let held = soon(line.recv()).await.expect("the server lives");
    for id in 2..=255 {
        old.says(&format!("{id:02x}x")).await;
        soon(line.readline()).await.expect("the server lives");
    }
    old.says("01again\n02after").await;
    sleep(5_000).await;
    assert_eq!((line.status().unread, line.status().up), (0, true));
    assert!(line.accept(held.receipt.expect("it is reliable")));
    assert_eq!(read(&line, 2).await, ["again", "after"]);
}

// HL-0042, HL-0043, HL-0044
#[tokio::test(start_paused = true)]
async fn a_full_inbox_leaves_a_2020_message_to_be_repeated() {
    let limits = Limits { inbox: 1, ..Limits::default() };
    let server = server(ServerConfig { limits, ..ServerConfig::default() });
    let mut old = wire(&server);
    old.says("old\n00one\n01two").await;
    let line = soon(server.client("old")).await.expect("the server lives");
    assert_eq!(old.hears_now().await, None);
    assert_eq!(soon(line.readline()).await.as_deref(), Ok("one"));
    assert_eq!(old.hears().await.as_deref(), Some("00"));
    old.says("01two").await;
    sleep(1).await;
    old.says("01two").await;
    assert_eq!(old.hears_now().await, None, "a duplicate of what is not accepted");
    assert_eq!(soon(line.readline()).await.as_deref(), Ok("two"));
    assert_eq!(old.hears().await.as_deref(), Some("01"));
    old.says("01two").await;
    assert_eq!(old.hears().await.as_deref(), Some("01"), "a duplicate of what is");
    assert_eq!(line.status().unread, 0);
}

// HL-0029, HL-0047
#[tokio::test(start_paused = true)]
async fn classic_ids_appear_on_the_wire_in_order() {
    let server = server(ServerConfig { session: T.in_order(false), ..ServerConfig::default() });
    let mut old = wire(&server);
    old.says("old\n").await;
    let line = soon(server.client("old")).await.expect("the server lives");
    sleep(250).await;
    line.send("zero").await.expect("there is room");
    assert_eq!(old.hears().await.as_deref(), Some("00zero"));
    old.says("00").await;
    sleep(1).await;
    // All in one turn of the driver.
    line.send_best_effort("one").expect("the link is up");
    line.send("two").await.expect("there is room");
    line.send_best_effort("three").map_or_else(|error| assert_eq!(error, SendError::Full), drop);
    let mut ids = Vec::new();
    while let Some(said) = old.hears_now().await {
        ids.push(said);
    }
    assert!(ids.is_sorted(), "{ids:?}");
    assert!(ids.contains(&"01one".into()), "{ids:?}");
}

#[tokio::test(start_paused = true)]
async fn a_line_is_a_stream_and_a_sink() {
    let server = server(ServerConfig::default());
    let client = client_of(&server, builder("dev"));
    let line = soon(server.client("dev")).await.expect("the server lives");
    let mut sink = client.connection();
    for n in 0..5 {
        poll_fn(|cx| Pin::new(&mut sink).poll_ready(cx)).await.expect("there is room");
        Pin::new(&mut sink).start_send(n.to_string()).expect("it was ready");
    }
    let mut stream = line.clone();
    let flush = poll_fn(|cx| Pin::new(&mut sink).poll_flush(cx));
    let take = async {
        let mut texts = Vec::new();
        while texts.len() < 5 {
            texts.push(poll_fn(|cx| Pin::new(&mut stream).poll_next(cx)).await.expect("the line is open"));
        }
        texts
    };
    let (flushed, texts) = soon(async { tokio::join!(flush, take) }).await;
    assert_eq!((flushed, texts), (Ok(()), ["0", "1", "2", "3", "4"].map(str::to_owned).into()));
    line.close();
    assert_eq!(poll_fn(|cx| Pin::new(&mut stream).poll_next(cx)).await, None);
    client.close();
    Pin::new(&mut sink).start_send("late".into()).expect("it takes one");
    assert_eq!(poll_fn(|cx| Pin::new(&mut sink).poll_close(cx)).await, Err(WriteError::Closed(Closed)));
}

// HL-0022
#[tokio::test(start_paused = true)]
async fn the_status_tells_how_the_line_is_doing() {
    let server = server(ServerConfig::default());
    let mut dev = wire(&server);
    greet(&mut dev, &hello("dev", "keeps=both bsum=0")).await;
    let line: Connection = soon(server.client("dev")).await.expect("the server lives");
    dev.says("M1 x").await;
    line.send("y").await.expect("there is room");
    sleep(1).await;
    let status = line.status();
    assert_eq!((status.up, status.connects, status.unread, status.unacked), (true, 1, 1, 1));
    assert!(status.peer_keeps.sent() && status.peer_keeps.seen());
}
