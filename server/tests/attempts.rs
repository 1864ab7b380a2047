//! When a client connects and how long it waits, in paused time (SPEC.md, 11).
mod support;

use holdline_server::proto::{Config, DownReason, RefusalCode, classic::Flavour};
use holdline_server::{Client, ClientBuilder, Closed, Profile, Report, What};
use std::future::pending;
use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{Calls, Hand, WELCOME, builder, calling, changed, since, sleep, soon};
use tokio::io::DuplexStream;
use tokio::time::Instant;

/// Answers the hello of a client.
async fn welcomes(hand: &mut Hand) {
    assert!(hand.hears().await.is_some_and(|line| line.starts_with("HOLD/1 client=")));
    hand.says(WELCOME).await;
}

/// The next attempt, and how long it took the client to make it.
async fn next(calls: &mut Calls) -> (u64, Hand) {
    let start = Instant::now();
    let hand = calls.next().await;
    (since(start), hand)
}

/// A client whose attempts fail in this way, and when it made them.
fn failing(builder: ClientBuilder, kind: io::ErrorKind) -> (Client, Arc<Mutex<Vec<u64>>>) {
    let (start, times) = (Instant::now(), Arc::new(Mutex::new(Vec::new())));
    let noted = Arc::clone(&times);
    let client = builder.start_with(move || {
        noted.lock().expect("no panic").push(since(start));
        async move { Err::<DuplexStream, _>(io::Error::from(kind)) }
    });
    (client.expect("a valid client"), times)
}

// HL-0132
#[tokio::test(start_paused = true)]
async fn attempts_that_fail_are_further_and_further_apart() {
    let (_client, times) = failing(builder("dev"), io::ErrorKind::ConnectionRefused);
    sleep(600_000).await;
    let times = times.lock().expect("no panic").clone();
    assert_eq!(times[0], 0);
    for (k, pair) in times.windows(2).enumerate() {
        let bound = (500 << k.min(10)).min(30_000);
        assert!(pair[1] - pair[0] <= bound, "{} ms after failure {k}", pair[1] - pair[0]);
    }
    // Ten minutes hold twenty full waits of 30 s, and some forty on the average.
    assert!((20..120).contains(&times.len()), "{} attempts", times.len());
}

// HL-0131, HL-0133
#[tokio::test(start_paused = true)]
async fn a_link_that_was_up_for_three_timeouts_is_replaced_within_a_quarter() {
    let (client, mut calls) = calling(builder("dev"));
    for _ in 0..20 {
        let mut hand = calls.next().await;
        welcomes(&mut hand).await;
        client.wait_up().await.expect("the client lives");
        hand.listens_alive(6_000).await;
        drop(hand);
        let start = Instant::now();
        while !calls.has_next() {
            sleep(1).await;
        }
        assert!(since(start) <= 501, "{} ms", since(start));
    }
}

// HL-0133
#[tokio::test(start_paused = true)]
async fn a_link_that_was_lost_sooner_counts_as_a_failed_attempt() {
    let (_client, mut calls) = calling(builder("dev"));
    let mut longest = 0;
    for _ in 0..30 {
        let (waited, mut hand) = next(&mut calls).await;
        longest = longest.max(waited);
        welcomes(&mut hand).await;
        hand.hears_any().await;
    }
    assert!((5_000..=30_000).contains(&longest), "{longest} ms");
}

// HL-0134
#[tokio::test(start_paused = true)]
async fn retry_is_waited_for_whoever_asks() {
    let (_client, mut calls) = calling(builder("dev"));
    let mut hand = calls.next().await;
    hand.says("HOLD/1 no code=busy retry=7000").await;
    hand.hears_all().await;
    let (waited, mut hand) = next(&mut calls).await;
    assert!((7_000..=7_500).contains(&waited), "{waited} ms");
    welcomes(&mut hand).await;
    hand.says("Bclosing retry=9000").await;
    hand.hears_all().await;
    let (waited, _) = next(&mut calls).await;
    assert!((9_000..=9_500).contains(&waited), "{waited} ms");
}

// HL-0134
#[tokio::test(start_paused = true)]
async fn no_retry_is_longer_than_an_hour() {
    let (_client, mut calls) = calling(builder("dev"));
    let mut hand = calls.next().await;
    hand.says("HOLD/1 no code=closing retry=999999999999").await;
    drop(hand);
    let start = Instant::now();
    while !calls.has_next() {
        sleep(100).await;
    }
    assert!((3_600_000..=3_600_600).contains(&since(start)), "{} ms", since(start));
}

// HL-0130, HL-0135
#[tokio::test(start_paused = true)]
async fn an_attempt_that_hangs_is_given_up_and_never_accompanied() {
    for (timeout_ms, patience) in [(2_000, 5_000), (7_000, 7_000)] {
        let (open, start) = (Arc::new(AtomicUsize::new(0)), Instant::now());
        let (counted, times) = (Arc::clone(&open), Arc::new(Mutex::new(Vec::new())));
        let noted = Arc::clone(&times);
        let client = builder("dev").session(Config::new().timeout_ms(timeout_ms)).start_with(move || {
            assert_eq!(counted.fetch_add(1, Ordering::Relaxed), 0, "one attempt at a time");
            noted.lock().expect("no panic").push(since(start));
            let attempt = Attempt(Arc::clone(&counted));
            async move {
                let _attempt = attempt;
                pending::<io::Result<DuplexStream>>().await
            }
        });
        sleep(100_000).await;
        drop(client);
        let times = times.lock().expect("no panic").clone();
        assert!(times.len() > 3, "{times:?}");
        for pair in times.windows(2) {
            assert!((patience..=patience + 30_000).contains(&(pair[1] - pair[0])), "{times:?}");
        }
        assert!(times[1] - times[0] <= patience + 500, "{times:?}");
    }
}

struct Attempt(Arc<AtomicUsize>);

impl Drop for Attempt {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

// HL-0069
#[tokio::test(start_paused = true)]
async fn a_client_that_has_to_greet_again_does_so_at_once() {
    let (client, mut calls) = calling(builder("dev"));
    let mut hand = calls.next().await;
    let hello = hand.hears().await.expect("a hello");
    let epoch = support::field(&hello, "epoch");
    // The server knows more of this stream than the client has ever sent.
    hand.says(&changed(WELCOME, &format!("peer={epoch} seen=5"))).await;
    assert_eq!(hand.hears_all().await, ["Breset"]);
    let (waited, mut hand) = next(&mut calls).await;
    assert_eq!(waited, 0);
    let hello = hand.hears().await.expect("a hello");
    assert_ne!(support::field(&hello, "epoch"), epoch);
    assert_eq!(client.connects(), 0);
}

// HL-0140
#[tokio::test(start_paused = true)]
async fn bad_server_is_asked_after_each_failure_before_the_first_link_and_can_give_up() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&asked);
    let hook = move |why: &str| {
        let mut asked = told.lock().expect("no panic");
        asked.push(why.to_owned());
        if asked.len() == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let (client, times) = failing(builder("dev").bad_server(hook), io::ErrorKind::ConnectionRefused);
    assert_eq!(soon(client.readline()).await, Err(Closed), "it has given up");
    assert_eq!(times.lock().expect("no panic").len(), 3);
    assert_eq!(*asked.lock().expect("no panic"), ["connection refused"; 3]);
}

// HL-0140
#[tokio::test(start_paused = true)]
async fn bad_server_is_not_asked_once_a_link_was_up() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let (client, mut calls) = calling(builder("dev").bad_server(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        ControlFlow::Break(())
    }));
    let mut hand = calls.next().await;
    welcomes(&mut hand).await;
    soon(client.wait_up()).await.expect("the client lives");
    drop(hand);
    for _ in 0..5 {
        drop(calls.next().await);
    }
    assert_eq!(asked.load(Ordering::Relaxed), 0);
}

// HL-0014, HL-0015
#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_speak_holdline_is_reported_and_tried_again() {
    let (client, mut calls) = calling(builder("dev"));
    let mut reports = client.reports();
    for answer in ["", "HTTP/1.1 400 Bad Request", "HOLD/2 ok"] {
        let mut hand = calls.next().await;
        assert!(hand.hears().await.is_some_and(|line| line.starts_with("HOLD/1 ")), "there is no fallback");
        hand.says(answer).await;
        assert_eq!(hand.hears_all().await, [""; 0]);
        support::report(&mut reports, |what| *what == What::NotHoldline).await;
    }
}

// HL-0013, HL-0015
#[tokio::test(start_paused = true)]
async fn with_a_fallback_it_goes_over_to_the_classic_profile_for_ever_and_takes_its_messages_along() {
    let (client, mut calls) = calling(builder("dev").fallback(Flavour::V2020));
    client.send("one").await.expect("there is room");
    for disturbance in ["HOLD/1 no code=busy", ""] {
        let mut hand = calls.next().await;
        assert!(hand.hears().await.is_some_and(|line| line.starts_with("HOLD/1 client=dev ")), "after {disturbance:?}");
        hand.says(disturbance).await;
        hand.hears_all().await;
    }
    for _ in 0..2 {
        let mut hand = calls.next().await;
        assert_eq!(hand.hears_any().await.as_deref(), Some("dev"));
        hand.says("").await;
        assert_eq!(hand.hears().await.as_deref(), Some("00one"));
    }
    assert_eq!(client.status().profile, Profile::Classic(Flavour::V2020));
}

// HL-0156
#[tokio::test(start_paused = true)]
async fn a_refusal_is_reported_with_its_code_and_how_long_to_stay_away() {
    let (client, mut calls) = calling(builder("dev"));
    let mut reports = client.reports();
    for (answer, code, retry_ms) in [
        ("HOLD/1 no code=unknown-client", RefusalCode::UnknownClient, 0),
        ("HOLD/1 no code=busy retry=1500", RefusalCode::Busy, 1_500),
        ("HOLD/1 no code=of-tomorrow because=why", RefusalCode::Unknown, 0),
    ] {
        let mut hand = calls.next().await;
        hand.hears().await;
        hand.says(answer).await;
        let Report { what, .. } = support::report(&mut reports, |what| matches!(what, What::Refused { .. })).await;
        assert_eq!(what, What::Refused { code, retry: Duration::from_millis(retry_ms) });
    }
}

// HL-0140, HL-0141
#[tokio::test(start_paused = true)]
async fn who_asks_before_the_start_is_told_everything() {
    let builder = builder("dev");
    let mut reports = builder.reports();
    let mut answers = [None, Some("HOLD/1 no code=busy"), Some(WELCOME)].into_iter();
    let client = builder.start_with(move || {
        let answer = answers.next().flatten();
        async move {
            let Some(answer) = answer else { return Err(io::ErrorKind::ConnectionRefused.into()) };
            let (near, far) = tokio::io::duplex(support::PIPE);
            tokio::spawn(async move {
                let mut hand = Hand::new(far);
                hand.hears().await;
                hand.says(answer).await;
                hand.hears_all().await;
            });
            Ok(near)
        }
    });
    let client = client.expect("a valid client");
    soon(client.wait_up()).await.expect("the client lives");
    let mut told = Vec::new();
    for _ in 0..4 {
        told.push(soon(reports.next()).await.expect("the client lives").what);
    }
    let reason = |what: &What| match what {
        What::NotReached { reason, .. } => reason.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(reason(&told[0]), "connection refused");
    assert!(matches!(told[1], What::Refused { code: RefusalCode::Busy, .. }), "{told:?}");
    assert_eq!(reason(&told[2]), "the server refused: busy");
    assert_eq!(told[3], What::Connected);
}

// HL-0141
#[tokio::test(start_paused = true)]
async fn up_and_down_are_told_in_turn() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&told);
    let (client, mut calls) = calling(builder("dev").on_connection(move |up| noted.lock().expect("no panic").push(up)));
    let mut reports = client.reports();
    for answer in [WELCOME, "HOLD/1 no code=busy", WELCOME, "", WELCOME] {
        let mut hand = calls.next().await;
        hand.hears().await;
        hand.says(answer).await;
        sleep(1).await;
    }
    drop(client);
    let mut states = Vec::new();
    while let Some(Report { what, .. }) = soon(reports.next()).await {
        match what {
            What::Connected => states.push("first"),
            What::Resumed { .. } => states.push("up"),
            What::Outage(reason) => states.push(if reason == DownReason::Closed { "closed" } else { "down" }),
            _ => {}
        }
    }
    assert_eq!(states, ["first", "down", "up", "down", "up", "closed"]);
    assert_eq!(*told.lock().expect("no panic"), [true, false, true, false, true, false]);
}

// HL-0129
#[tokio::test(start_paused = true)]
async fn a_client_that_is_dropped_says_so_and_calls_no_more() {
    let (client, mut calls) = calling(builder("dev"));
    let line = client.connection();
    let mut hand = calls.next().await;
    welcomes(&mut hand).await;
    soon(client.wait_up()).await.expect("the client lives");
    drop(client);
    assert_eq!(hand.hears_all().await, ["Bdone"]);
    assert_eq!(line.readline().await, Err(Closed));
    assert_eq!(line.write("x").await, Err(Closed.into()));
    sleep(100_000).await;
    assert!(!calls.has_next());
}

// HL-0024, HL-0129
#[tokio::test(start_paused = true)]
async fn a_line_that_is_closed_while_it_connects_does_not_come_up() {
    let (client, mut calls) = calling(builder("dev"));
    let mut hand = calls.next().await;
    assert!(hand.hears().await.is_some());
    client.close();
    assert_eq!(hand.hears_all().await, [""; 0], "no other byte before the welcome");
    let start = Instant::now();
    let hung = builder("dev").start_with(pending::<io::Result<DuplexStream>>).expect("a valid client");
    let line = hung.connection();
    hung.close();
    assert_eq!(line.wait_up().await, Err(Closed));
    drop(client);
    sleep(100_000).await;
    assert!(!calls.has_next());
    assert!(since(start) >= 100_000);
}
