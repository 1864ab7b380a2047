//! Streams that lose and damage lines: a wire that stays while links come and go on it (SPEC.md, 8.2).
mod support;

use holdline_server::proto::Config;
use holdline_server::{Server, ServerConfig};
use support::check::{checked_wire, greets, hears, says, with_check};
use support::{Hand, WELCOME, builder, calling, changed, field, hello, since, sleep, soon};
use tokio::time::Instant;

const CHECKED: Config = Config::new().check(true);

fn server() -> Server {
    support::server(ServerConfig::default())
}

// HL-0097
#[tokio::test(start_paused = true)]
async fn every_line_but_the_blank_one_carries_its_check() {
    let server = server();
    let mut wire = checked_wire(&server);
    greets(&mut wire, &hello("uart", "")).await;
    let line = soon(server.client("uart")).await.expect("the server lives");
    says(&mut wire, "M1 up").await;
    assert_eq!(soon(line.readline()).await.as_deref(), Ok("up"));
    assert_eq!(hears(&mut wire).await.as_deref(), Some("A1"));
    line.send("down").await.expect("there is room");
    assert_eq!(hears(&mut wire).await.as_deref(), Some("M1 down"));
    line.send_best_effort("now").expect("the link is up");
    assert_eq!(hears(&mut wire).await.as_deref(), Some("D now"));
    line.drop_link();
    assert_eq!(hears(&mut wire).await.as_deref(), Some("Bdone"));
}

// HL-0098, HL-0093
#[tokio::test(start_paused = true)]
async fn damaged_lines_are_dropped_and_lost_ones_asked_for() {
    let server = server();
    let mut wire = checked_wire(&server);
    greets(&mut wire, &hello("uart", "")).await;
    let line = soon(server.client("uart")).await.expect("the server lives");
    for damaged in ["M1 one", "M1 one*00000000", "M1 One*dc29f52a", "\u{1}\u{2}*", "zz"] {
        wire.says(damaged).await;
    }
    says(&mut wire, "M2 two").await;
    assert_eq!(hears(&mut wire).await.as_deref(), Some("R1"));
    says(&mut wire, "M1 one").await;
    says(&mut wire, "M2 two").await;
    assert_eq!(support::read(&line, 2).await, ["one", "two"]);
    assert_eq!(line.connects(), 1);
}

// HL-0099, HL-0102
#[tokio::test(start_paused = true)]
async fn what_is_no_hello_is_ignored_for_as_long_as_it_takes() {
    let server = server();
    let mut wire = checked_wire(&server);
    let unchecked = hello("uart", "");
    let long = "x".repeat(2_000);
    for garbage in ["", "boot: ESP-IDF v5", &unchecked, "M7 of the link before*00000000", &long, &with_check("M7 x")] {
        wire.says(garbage).await;
        sleep(4_000).await;
    }
    // A line whose LF is lost, in many pieces; and nothing of it is answered.
    for _ in 0..1_000 {
        wire.writes("noise ").await;
        sleep(10).await;
    }
    assert_eq!(wire.hears_now().await, None);
    wire.says("").await;
    greets(&mut wire, &hello("uart", "")).await;
    assert!(soon(server.client("uart")).await.is_ok());
}

// HL-0099
#[tokio::test(start_paused = true)]
async fn a_hello_that_is_refused_may_be_followed_by_a_better_one_on_the_same_wire() {
    let server = server();
    let mut wire = checked_wire(&server);
    // Both in one piece.
    let both = format!("{}\n{}", with_check("HOLD/1 client=uart"), with_check(&hello("uart", "")));
    wire.says(&both).await;
    assert_eq!(hears(&mut wire).await.as_deref(), Some("HOLD/1 no code=malformed"));
    assert!(hears(&mut wire).await.is_some_and(|line| line.starts_with("HOLD/1 ok ")));
    wire.says("").await;
    soon(server.client("uart")).await.expect("it lives").wait_up().await.expect("it lives");
}

// HL-0100
#[tokio::test(start_paused = true)]
async fn a_hello_in_the_middle_of_a_link_begins_a_new_one_on_the_same_wire() {
    let server = server();
    let mut wire = checked_wire(&server);
    greets(&mut wire, &hello("uart", "")).await;
    let line = soon(server.client("uart")).await.expect("the server lives");
    line.send("x").await.expect("there is room");
    assert_eq!(hears(&mut wire).await.as_deref(), Some("M1 x"));
    for link in 2..10 {
        // The device was reset, in the middle of a line.
        wire.writes("M1 hal").await;
        says(&mut wire, "f").await;
        says(&mut wire, &hello("uart", &format!("boot={link}"))).await;
        // No Btakeover: there is nobody to hear it.
        assert!(hears(&mut wire).await.is_some_and(|line| line.starts_with("HOLD/1 ok ")));
        wire.says("").await;
        assert_eq!(hears(&mut wire).await.as_deref(), Some("M1 x"));
        // Ten timeouts, so that the guard sees no two devices in it.
        for _ in 0..10 {
            sleep(1_900).await;
            says(&mut wire, "A0").await;
        }
        while hears(&mut wire).await.is_some_and(|line| line != "P1") {}
        wire.listens_alive(1_000).await;
        assert_eq!(line.connects(), link);
    }
}

// HL-0104
#[tokio::test(start_paused = true)]
async fn a_wire_that_was_silent_carries_the_next_link() {
    let server = server();
    let mut wire = checked_wire(&server);
    greets(&mut wire, &hello("uart", "")).await;
    let line = soon(server.client("uart")).await.expect("the server lives");
    sleep(60_000).await;
    assert!(!line.status().up);
    while wire.hears_now().await.is_some() {}
    greets(&mut wire, &hello("uart", "")).await;
    soon(line.wait_up()).await.expect("the server lives");
}

// HL-0101, HL-0161, HL-0163
#[tokio::test(start_paused = true)]
async fn a_client_ignores_garbage_before_the_welcome_and_repeats_its_hello() {
    let (client, mut calls) = calling(builder("uart").session(CHECKED));
    let mut hand = calls.next().await;
    let start = Instant::now();
    let first = hears(&mut hand).await.expect("a hello");
    for garbage in ["", "noise", WELCOME, &with_check("M1 old")] {
        hand.says(garbage).await;
    }
    // The answer to a hello that was said before.
    says(&mut hand, &changed(WELCOME, "link=1")).await;
    assert_eq!(soon(hand.hears_all()).await, [""; 0]);
    assert_eq!(since(start), 5_000);
    let mut hand = calls.next().await;
    let again = hears(&mut hand).await.expect("a hello");
    let link = format!("link={}", field(&again, "link"));
    assert_eq!(again, changed(&first, &link), "the link has a name of its own");
    says(&mut hand, &changed(WELCOME, &link)).await;
    soon(client.wait_up()).await.expect("the client lives");
    // The server was reset and took that hello for a new one.
    says(&mut hand, &changed(WELCOME, &format!("{link} boot=2"))).await;
    assert_eq!(soon(hand.hears_all()).await, [""; 0]);
    let mut hand = calls.next().await;
    assert!(hears(&mut hand).await.is_some_and(|line| line.starts_with("HOLD/1 client=uart ")));
}

// HL-0125
#[tokio::test(start_paused = true)]
async fn serving_a_wire_ends_when_the_server_has_shut_down() {
    let server = server();
    let (near, far) = tokio::io::duplex(support::PIPE);
    let serving = {
        let server = server.clone();
        tokio::spawn(async move { server.serve_checked(far).await })
    };
    let mut wire = Hand::new(near);
    greets(&mut wire, &hello("uart", "")).await;
    let second = std::time::Duration::from_secs(1);
    soon(server.shutdown(second, second)).await;
    assert!(hears(&mut wire).await.is_some_and(|line| line.starts_with("Bclosing retry=")));
    soon(serving).await.expect("no panic");
}
