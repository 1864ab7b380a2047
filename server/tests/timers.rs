//! Every timer of a native link at its bound, over streams in memory and in paused time (SPEC.md, 3.3 and 9).
mod support;

use holdline_server::proto::{Config, DownReason, PeerFault};
use holdline_server::{Limits, ServerConfig, What};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::{
    Endless, Lines, PIPE, builder, calling, changed, greet, hello, now, report, server, since, sleep, wire, wire_through,
};
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

on_both_sides!(
    a_keepalive_is_said_after_each_quarter_of_the_timeout,
    a_keepalive_is_answered_when_half_of_the_quarter_has_passed,
    silence_for_the_whole_timeout_ends_the_link,
    each_byte_postpones_the_outage,
    what_is_said_postpones_nothing,
    a_peer_that_takes_no_output_is_given_up_after_the_timeout,
    a_peer_that_takes_some_output_is_not,
    a_message_without_an_ack_is_probed_for_and_a_mute_peer_given_up,
    an_answered_probe_keeps_the_link,
    a_line_may_take_four_timeouts,
    a_gap_is_asked_for_again_each_quarter,
    the_timeout_agreed_on_is_the_one_that_counts,
    an_end_that_was_suspended_reads_before_it_judges,
    an_end_that_was_suspended_and_has_nothing_to_read_is_down_at_once,
);

const T: Config = Config::new();

fn lines(heard: &[(u64, String)]) -> Vec<(u64, &str)> {
    heard.iter().map(|(at, line)| (*at, line.as_str())).collect()
}

// HL-0103
async fn a_keepalive_is_said_after_each_quarter_of_the_timeout<R: Lines>() {
    let mut up = R::up(T, PIPE).await;
    let heard = up.hand.listens_alive(1_600).await;
    assert_eq!(lines(&heard), [(500, ""), (1_000, ""), (1_500, "")]);
    up.line.send("x").await.expect("there is room");
    let heard = up.hand.listens_alive(600).await;
    assert_eq!(lines(&heard), [(0, "M1 x"), (500, "")], "what is said postpones it");
}

// HL-0103
async fn a_keepalive_is_answered_when_half_of_the_quarter_has_passed<R: Lines>() {
    let mut up = R::up(T, PIPE).await;
    sleep(249).await;
    up.hand.writes("\n").await;
    assert_eq!(lines(&up.hand.listens(1).await), []);
    up.hand.writes("\n").await;
    assert_eq!(lines(&up.hand.listens(600).await), [(0, ""), (500, "")], "it counts as the keepalive");
}

// HL-0104
async fn silence_for_the_whole_timeout_ends_the_link<R: Lines>() {
    let mut up = R::up(T, PIPE).await;
    let heard = up.hand.listens(2_500).await;
    assert_eq!(lines(&heard), [(500, ""), (1_000, ""), (1_500, ""), (2_000, "(end)")]);
    let outage = report(&mut up.reports, |what| matches!(what, What::Outage(_))).await;
    assert_eq!(outage.what, What::Outage(DownReason::Outage));
    assert!(!up.line.status().up);
}

// HL-0104
async fn each_byte_postpones_the_outage<R: Lines>() {
    let mut up = R::up(T, PIPE).await;
    for byte in ["M", "1", " "] {
        sleep(1_999).await;
        up.hand.writes(byte).await;
    }
    let heard = up.hand.listens(2_500).await;
    assert_eq!(heard.last(), Some(&(2_000, "(end)".into())));
}

// HL-0104
async fn what_is_said_postpones_nothing<R: Lines>() {
    let mut up = R::up(T, PIPE).await;
    let start = Instant::now();
    let line = up.line.clone();
    let talk = async {
        while since(start) < 5_000 {
            sleep(100).await;
            let _ = line.send_best_effort("still here");
        }
    };
    let (heard, ()) = tokio::join!(up.hand.listens(5_000), talk);
    assert_eq!(heard.last(), Some(&(2_000, "(end)".into())));
}

// HL-0106
async fn a_peer_that_takes_no_output_is_given_up_after_the_timeout<R: Lines>() {
    let mut up = R::up(T, 256).await;
    let start = Instant::now();
    up.line.send(&"x".repeat(1_000)).await.expect("there is room");
    // It lives, and does not read.
    while up.line.status().up {
        let _ = up.hand.stream.write_all(b"\n").await;
        sleep(1).await;
    }
    assert!((2_000..=2_001).contains(&since(start)), "{} ms", since(start));
    let outage = report(&mut up.reports, |what| matches!(what, What::Outage(_))).await;
    assert_eq!(outage.what, What::Outage(DownReason::Stall));
}

// HL-0106
async fn a_peer_that_takes_some_output_is_not<R: Lines>() {
    use tokio::io::AsyncReadExt;
    let mut up = R::up(T, 16).await;
    let line = up.line.clone();
    line.send_best_effort(&"x".repeat(100)).expect("the link is up");
    for _ in 0..6 {
        for _ in 0..19 {
            sleep(100).await;
            up.hand.writes("\n").await;
        }
        let mut some = [0; 16];
        up.hand.stream.read_exact(&mut some).await.expect("it is still up");
    }
    assert!(line.status().up);
}

// HL-0095, HL-0155
async fn a_message_without_an_ack_is_probed_for_and_a_mute_peer_given_up<R: Lines>() {
    let mut up = R::up(T, PIPE).await;
    up.line.send("x").await.expect("there is room");
    let heard = up.hand.listens_alive(4_000).await;
    let heard: Vec<_> = lines(&heard).into_iter().filter(|(_, line)| !line.is_empty()).collect();
    assert_eq!(heard, [(0, "M1 x"), (1_000, "P1"), (2_000, "P1"), (3_000, "Bmute"), (3_000, "(end)")]);
    let fault = report(&mut up.reports, |what| matches!(what, What::Fault(_))).await;
    assert_eq!(fault.what, What::Fault(PeerFault::Mute));
}

// HL-0095
async fn an_answered_probe_keeps_the_link<R: Lines>() {
    let mut up = R::up(T, PIPE).await;
    up.line.send("x").await.expect("there is room");
    for _ in 0..5 {
        let heard = up.hand.listens_alive(1_001).await;
        assert!(heard.iter().any(|(_, line)| line == "P1"), "{heard:?}");
        up.hand.says("A0").await;
    }
    up.hand.says("A1").await;
    up.line.flush().await.expect("the line is open");
    assert!(up.line.status().up);
}

// HL-0154
async fn a_line_may_take_four_timeouts<R: Lines>() {
    let mut up = R::up(T, PIPE).await;
    let start = Instant::now();
    up.hand.writes("D ").await;
    while up.line.status().up {
        let _ = up.hand.stream.write_all(b"x").await;
        sleep(10).await;
    }
    assert!((8_000..=8_010).contains(&since(start)), "{} ms", since(start));
    assert_eq!(up.hand.hears_all().await, ["Bslow"]);
    let fault = report(&mut up.reports, |what| matches!(what, What::Fault(_))).await;
    assert_eq!(fault.what, What::Fault(PeerFault::Slow));
}

// HL-0093
async fn a_gap_is_asked_for_again_each_quarter<R: Lines>() {
    let mut up = R::up(T, PIPE).await;
    up.hand.says("M2 two").await;
    let heard = up.hand.listens_alive(1_400).await;
    let asked: Vec<_> = lines(&heard).into_iter().filter(|(_, line)| !line.is_empty()).collect();
    assert_eq!(asked, [(0, "R1"), (500, "R1"), (1_000, "R1")]);
    up.hand.says("M1 one\nM2 two").await;
    assert_eq!(up.line.readline().await.as_deref(), Ok("one"));
    assert_eq!(up.line.readline().await.as_deref(), Ok("two"));
}

// HL-0023
async fn the_timeout_agreed_on_is_the_one_that_counts<R: Lines>() {
    let mut up = R::up(T.timeout_ms(400), PIPE).await;
    let heard = up.hand.listens(1_000).await;
    assert_eq!(lines(&heard), [(100, ""), (200, ""), (300, ""), (400, "(end)")]);
}

// HL-0105
async fn an_end_that_was_suspended_reads_before_it_judges<R: Lines>() {
    let mut up = R::up(T, PIPE).await;
    up.line.send("x").await.expect("there is room");
    let heard = up.hand.listens_alive(1_500).await;
    assert!(heard.iter().any(|(_, line)| line == "P1"), "{heard:?}");
    // While it stands still the peer says much, and at the end of it what the probe asked for.
    let waiting = format!("D {}\n", "x".repeat(4_000)).repeat(12) + "A1\n";
    up.hand.writes(&waiting).await;
    tokio::time::advance(Duration::from_secs(60)).await;
    up.line.flush().await.expect("the line is open");
    assert!(up.line.status().up);
}

// HL-0105
async fn an_end_that_was_suspended_and_has_nothing_to_read_is_down_at_once<R: Lines>() {
    let mut up = R::up(T, PIPE).await;
    tokio::time::advance(Duration::from_secs(60)).await;
    tokio::task::yield_now().await;
    assert!(!up.line.status().up);
    assert_eq!(up.hand.hears().await, None);
}

// HL-0103, HL-0105, HL-0106
#[tokio::test(start_paused = true)]
async fn a_flood_that_never_pauses_does_not_keep_timers_from_their_turn() {
    let server = server(ServerConfig::default());
    let floods = Arc::new(AtomicBool::new(false));
    let mut dev = wire_through(&server, |stream| Endless::new(stream, &floods));
    greet(&mut dev, &hello("dev", "")).await;
    sleep(1).await;
    floods.store(true, Ordering::Relaxed);
    dev.says("").await;
    let mut keepalives = 0;
    for _ in 0..5 {
        tokio::time::advance(Duration::from_millis(500)).await;
        tokio::task::yield_now().await;
        while let Some(line) = now(dev.hears_any()).await {
            assert_eq!(line.as_deref(), Some(""), "it stays up");
            keepalives += 1;
        }
    }
    assert_eq!(keepalives, 5);
}

// HL-0111
#[tokio::test(start_paused = true)]
async fn a_server_gives_a_hello_five_seconds_however_many_bytes_come() {
    let server = server(ServerConfig::default());
    let start = Instant::now();
    let (mut silent, mut slow) = (wire(&server), wire(&server));
    let trickle = async {
        for byte in hello("slow", "").bytes() {
            if slow.stream.write_all(&[byte]).await.is_err() {
                break;
            }
            sleep(60).await;
        }
        since(start)
    };
    let (silent_for, slow_for) = tokio::join!(
        async {
            assert_eq!(silent.hears_any().await, None);
            since(start)
        },
        trickle
    );
    assert_eq!(silent_for, 5_000);
    assert!((5_000..5_060).contains(&slow_for), "{slow_for}");
    assert!(server.connections().is_empty());
}

// HL-0111
#[tokio::test(start_paused = true)]
async fn the_hello_timeout_is_the_configured_one() {
    for seconds in [1, 60] {
        let limits = Limits { hello_timeout: Duration::from_secs(seconds), ..Limits::default() };
        let server = server(ServerConfig { limits, ..ServerConfig::default() });
        let start = Instant::now();
        assert_eq!(wire(&server).hears_any().await, None);
        assert_eq!(since(start), seconds * 1_000);
    }
}

// HL-0107
#[tokio::test(start_paused = true)]
async fn a_client_waits_for_its_welcome_five_seconds_or_its_longer_timeout() {
    for (timeout_ms, patience) in [(2_000, 5_000), (8_000, 8_000)] {
        let (_client, mut calls) = calling(builder("dev").session(T.timeout_ms(timeout_ms)));
        let mut hand = calls.next().await;
        let start = Instant::now();
        assert!(hand.hears_any().await.is_some_and(|line| line.starts_with("HOLD/1 client=dev ")));
        hand.writes("HOLD/1 ok").await;
        assert_eq!(hand.hears_any().await, None, "nothing but the hello is said before the welcome");
        assert_eq!(since(start), patience);
    }
}

// HL-0108
#[tokio::test(start_paused = true)]
async fn a_new_link_inherits_no_timer_of_an_old_one() {
    let server = server(ServerConfig::default());
    let mut old = support::device(&server, "dev").await;
    old.writes("M1 never comple").await;
    server.get("dev").expect("it has made contact").send("x").await.expect("there is room");
    assert_eq!(old.hears().await.as_deref(), Some("M1 x"));
    sleep(1_900).await;
    let mut new = wire(&server);
    new.says(&changed(&hello("dev", ""), "")).await;
    assert!(new.hears().await.is_some_and(|line| line.starts_with("HOLD/1 ok ")));
    assert_eq!(new.hears_any().await.as_deref(), Some("M1 x"));
    let heard = new.listens(2_000).await;
    let expected = [(500, ""), (1_000, "P1"), (1_500, ""), (2_000, "P1"), (2_000, "(end)")];
    assert!(lines(&heard).iter().all(|line| expected.contains(line)), "{heard:?}");
    assert_eq!(old.hears_all().await.last().map(String::as_str), Some("Btakeover"));
}
