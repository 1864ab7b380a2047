//! Ends in good order (SPEC.md, 10.3).
mod support;

use holdline_server::{Closed, Limits, ServerConfig, WriteError};
use std::collections::BTreeSet;
use std::time::Duration;
use support::{device, field, greet, hello, listening, server, since, sleep, soon, tcp, wire};
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

/// The `retry` of the last line that a device heard.
fn retry(last: Option<&String>) -> u64 {
    let last = last.expect("a last line");
    assert!(last.starts_with("Bclosing retry="), "{last}");
    field(last, "retry")
}

// HL-0126, HL-0128
#[tokio::test(start_paused = true)]
async fn every_client_is_told_to_come_back_at_a_time_of_its_own() {
    let server = server(ServerConfig::default());
    let mut devices = Vec::new();
    for n in 0..50 {
        devices.push(device(&server, &format!("dev-{n}")).await);
    }
    assert_eq!(soon(server.shutdown(10 * SECOND, SECOND)).await, 0);
    let mut retries = BTreeSet::new();
    for mut device in devices {
        retries.insert(retry(device.hears_all().await.last()));
    }
    assert!(retries.iter().all(|ms| (10_000..=20_000).contains(ms)), "{retries:?}");
    assert!(retries.len() > 40, "{retries:?}");
}

// HL-0126
#[tokio::test(start_paused = true)]
async fn what_was_accepted_is_acked_before_the_goodbye() {
    let server = server(ServerConfig::default());
    let mut dev = device(&server, "dev").await;
    let line = soon(server.client("dev")).await.expect("the server lives");
    dev.says("M1 one\nM2 two\nM3 three").await;
    let received = [line.recv().await, line.recv().await].map(|received| received.expect("the server lives"));
    let shutdown = tokio::spawn({
        let server = server.clone();
        async move { server.shutdown(SECOND, SECOND).await }
    });
    line.accept(received[1].receipt.expect("it is reliable"));
    soon(shutdown).await.expect("no panic");
    let said = dev.hears_all().await;
    assert_eq!(said.len(), 2, "{said:?}");
    assert_eq!(said[0], "A2");
    retry(said.last());
    // What was received can still be read; the client sends it again to the next server.
    assert_eq!(line.readline().await.as_deref(), Ok("three"));
    assert_eq!(line.readline().await, Err(Closed));
}

// HL-0125
#[tokio::test(start_paused = true)]
async fn hellos_are_refused_while_messages_drain() {
    let server = server(ServerConfig::default());
    let mut dev = device(&server, "dev").await;
    let line = soon(server.client("dev")).await.expect("the server lives");
    line.send("wait for me").await.expect("there is room");
    let start = Instant::now();
    let shutdown = tokio::spawn({
        let server = server.clone();
        async move { server.shutdown(SECOND, 4 * SECOND).await }
    });
    sleep(500).await;
    let mut late = wire(&server);
    late.says(&hello("late", "")).await;
    assert!(late.hears().await.is_some_and(|line| line.starts_with("HOLD/1 no code=closing retry=")));
    let mut classic = wire(&server);
    classic.says("classic").await;
    assert_eq!(classic.hears_any().await, None);
    dev.says("A1").await;
    assert_eq!(soon(shutdown).await.expect("no panic"), 0, "it was delivered");
    assert!(since(start) < 1_000, "nobody waits when all is delivered: {} ms", since(start));
    assert_eq!(soon(server.client("other")).await.err(), Some(Closed));
    assert_eq!(line.write("late").await, Err(WriteError::Closed(Closed)));
}

// HL-0127
#[tokio::test]
async fn peers_that_read_nothing_do_not_hold_it_up() {
    let limits = Limits { outbox_bytes: 64 << 20, outbox_messages: 1_000, ..Limits::default() };
    let server = listening(ServerConfig { limits, ..ServerConfig::default() }).await;
    let mut deaf = tcp(&server).await;
    greet(&mut deaf, &hello("deaf", "window=65535 timeout=3600000 max=1048576")).await;
    let line = soon(server.client("deaf")).await.expect("the server lives");
    for _ in 0..40 {
        line.send(&"x".repeat(500_000)).await.expect("there is room");
    }
    let mut silent = tcp(&server).await;
    silent.writes("HOLD/1").await;
    sleep(50).await;
    let start = Instant::now();
    assert_eq!(soon(server.shutdown(SECOND, SECOND)).await, 40);
    assert!(since(start) < 5_000, "{} ms", since(start));
    assert_eq!(soon(silent.hears_any()).await, None);
    // Its socket is closed as well: what was on the way comes, and then the end.
    while soon(deaf.hears_any()).await.is_some() {}
    assert!(tokio::net::TcpStream::connect(server.local_addr().expect("it had one")).await.is_err());
}

// HL-0127
#[tokio::test(start_paused = true)]
async fn it_ends_within_the_bound_in_virtual_time() {
    for bound in [0, 100, 1_000, 5_000] {
        let server = server(ServerConfig::default());
        let mut deaf = support::wire_of(&server, 200);
        greet(&mut deaf, &hello("deaf", "timeout=60000")).await;
        let line = soon(server.client("deaf")).await.expect("the server lives");
        line.send(&"x".repeat(2_000)).await.expect("there is room");
        sleep(1).await;
        let start = Instant::now();
        assert_eq!(server.shutdown(SECOND, Duration::from_millis(bound)).await, 1);
        assert!(since(start) <= bound + 1, "{} ms of {bound}", since(start));
        while deaf.hears_any().await.is_some() {}
        assert!(since(start) <= bound + 1, "its link was open for {} ms", since(start));
    }
}

// HL-0126
#[tokio::test(start_paused = true)]
async fn close_all_ends_links_and_no_session() {
    let server = server(ServerConfig::default());
    let mut dev = device(&server, "dev").await;
    let line = soon(server.client("dev")).await.expect("the server lives");
    server.close_all(SECOND);
    assert!((1_000..=2_000).contains(&retry(dev.hears_all().await.last())));
    line.send("for later").await.expect("the line is open");
    let mut dev = device(&server, "dev").await;
    assert_eq!(dev.hears().await.as_deref(), Some("M1 for later"));
}

// HL-0129
#[tokio::test(start_paused = true)]
async fn a_line_that_the_application_closes_says_done_and_its_client_is_refused() {
    let server = server(ServerConfig::default());
    let mut dev = device(&server, "dev").await;
    let line = soon(server.client("dev")).await.expect("the server lives");
    let reader = tokio::spawn({
        let line = line.clone();
        async move { line.readline().await }
    });
    sleep(1).await;
    line.close();
    assert_eq!(dev.hears_all().await, ["Bdone"]);
    assert_eq!(soon(reader).await.expect("no panic"), Err(Closed));
    let mut again = wire(&server);
    again.says(&hello("dev", "")).await;
    assert_eq!(again.hears_all().await, ["HOLD/1 no code=closing"]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_dropped_tells_who_waits() {
    let server = server(ServerConfig::default());
    let (near, far) = tokio::io::duplex(support::PIPE);
    drop(far);
    drop(near);
    let mut dev = wire(&server);
    greet(&mut dev, &hello("dev", "")).await;
    let line = soon(server.client("dev")).await.expect("the server lives");
    let mut reports = server.reports();
    drop(dev);
    sleep(1).await;
    drop(server);
    assert_eq!(soon(line.readline()).await, Err(Closed));
    soon(async { while reports.next().await.is_some() {} }).await;
}

// HL-0129
#[tokio::test(start_paused = true)]
async fn a_client_whose_line_was_closed_is_refused_until_it_is_let_in_again() {
    let server = server(ServerConfig::default());
    let mut dev = device(&server, "dev").await;
    let line = soon(server.client("dev")).await.expect("the server lives");
    assert!(!server.readmit("dev"), "it is in");
    assert!(!server.readmit("nobody"));
    line.close();
    assert_eq!(soon(dev.hears_all()).await, ["Bdone"]);
    for _ in 0..3 {
        let mut again = wire(&server);
        again.says(&hello("dev", "")).await;
        assert_eq!(soon(again.hears_all()).await, ["HOLD/1 no code=closing"]);
    }
    assert!(server.readmit("dev"));
    assert!(!server.readmit("dev"));
    let anew = server.client("dev");
    let mut dev = device(&server, "dev").await;
    let anew = soon(anew).await.expect("the server lives");
    dev.says("M1 hello again").await;
    assert_eq!(soon(anew.readline()).await.as_deref(), Ok("hello again"));
    assert!(line.send("x").await.is_err(), "the old line stays closed");
    assert_eq!(anew.connects(), 1);
}
