//! A new link of a client whose old one is still open (SPEC.md, 10.2).
mod support;

use holdline_server::proto::{Config, DownReason, classic::Flavour};
use holdline_server::{Limits, Profile, ServerConfig, What};
use support::{Fussy, changed, device, field, greet, hello, listening, report, server, sleep, soon, tcp, wire, wire_through};
use tokio::io::AsyncReadExt;

// HL-0121
#[tokio::test(start_paused = true)]
async fn the_new_link_goes_on_at_once_and_the_old_one_is_told() {
    let server = server(ServerConfig::default());
    let mut reports = server.reports();
    let mut old = device(&server, "dev").await;
    let line = soon(server.client("dev")).await.expect("the server lives");
    let start = tokio::time::Instant::now();
    let mut new = device(&server, "dev").await;
    new.says("M1 x").await;
    assert_eq!(line.readline().await.as_deref(), Ok("x"));
    assert_eq!(support::since(start), 0);
    assert_eq!(old.hears_all().await, ["Btakeover"]);
    let mut told = Vec::new();
    for _ in 0..4 {
        told.push(report(&mut reports, |_| true).await.what);
    }
    let outage = What::Outage(DownReason::Takeover);
    assert!(matches!(&told[..], [What::Connected, What::Takeover, down, What::Resumed { .. }] if *down == outage), "{told:?}");
}

/// The old device still reads. What it reads must be whole lines of what was said, and no line that is made of two.
// HL-0004, HL-0121
#[tokio::test(start_paused = true)]
async fn the_goodbye_is_not_glued_to_half_a_line() {
    for polls in (0..700).step_by(7) {
        let server = server(ServerConfig::default());
        let mut old = wire_through(&server, Fussy::new);
        greet(&mut old, &hello("dev", "")).await;
        let line = soon(server.client("dev")).await.expect("the server lives");
        soon(line.wait_up()).await.expect("the server lives");
        let text = "x".repeat(300);
        line.send(&text).await.expect("there is room");
        for _ in 0..polls {
            tokio::task::yield_now().await;
        }
        device(&server, "dev").await;
        let mut heard = String::new();
        soon(old.stream.read_to_string(&mut heard)).await.expect("it is text");
        let said = format!("M1 {text}\nBtakeover\n");
        assert!(said.starts_with(&heard), "{heard:?}");
    }
}

// HL-0119, HL-0121
#[tokio::test]
async fn an_old_socket_that_is_open_and_full_holds_up_nothing() {
    let limits = Limits { outbox_bytes: 64 << 20, outbox_messages: 100_000, ..Limits::default() };
    let server = listening(ServerConfig { limits, ..ServerConfig::default() }).await;
    let mut old = tcp(&server).await;
    greet(&mut old, &hello("dev", "window=65535 timeout=3600000 max=1048576")).await;
    let line = soon(server.client("dev")).await.expect("the server lives");
    // More than the system buffers, and nobody reads it.
    let text = "x".repeat(500_000);
    for _ in 0..40 {
        line.send(&text).await.expect("there is room");
    }
    sleep(50).await;
    let mut new = tcp(&server).await;
    greet(&mut new, &hello("dev", "window=65535 max=1048576")).await;
    for n in 1..=40 {
        assert_eq!(soon(new.hears()).await.map(|line| line.len()), Some(text.len() + format!("M{n} ").len()));
        new.says(&format!("A{n}")).await;
    }
    soon(line.flush()).await.expect("the server lives");
}

// HL-0122
#[tokio::test(start_paused = true)]
async fn what_the_old_link_still_brings_is_discarded() {
    let server = server(ServerConfig::default());
    let mut old = device(&server, "dev").await;
    let line = soon(server.client("dev")).await.expect("the server lives");
    old.writes("M1 not fini").await;
    sleep(1).await;
    let mut new = wire(&server);
    new.says(&hello("dev", "")).await;
    // The server finds both at the same moment, the hello first.
    old.writes("shed\nM1 old\n").await;
    assert!(new.hears().await.is_some_and(|line| line.starts_with("HOLD/1 ok ")));
    new.says("M1 new").await;
    assert_eq!(soon(line.readline()).await.as_deref(), Ok("new"));
    sleep(1).await;
    assert_eq!(line.status().unread, 0);
}

/// A client has one connection at a time: the one that was accepted last. What it said on an older one may be read later, because
/// it waited in the network, or because the runtime comes to that connection's task later.
// HL-0164
#[tokio::test(start_paused = true)]
async fn a_hello_that_is_read_late_takes_nothing_from_a_newer_connection() {
    let server = server(ServerConfig { flavour: Flavour::V2019, ..ServerConfig::default() });
    for (id, old_hello, new_hello, message) in [
        ("classic", "classic\n\n00par".to_owned(), "classic\n".to_owned(), "01whole"),
        ("same-boot", hello("same-boot", "") + "\n", hello("same-boot", "") + "\n", "\nM1 whole"),
        ("restarted", hello("restarted", "boot=1") + "\n", hello("restarted", "boot=2 epoch=8") + "\n", "\nM1 whole"),
    ] {
        let mut old = wire(&server);
        tokio::task::yield_now().await;
        let mut new = wire(&server);
        tokio::task::yield_now().await;
        // The server finds both hellos at the same moment, the new one first.
        new.writes(&new_hello).await;
        old.writes(&old_hello).await;
        assert_eq!(soon(old.hears_all()).await, [""; 0], "there is nobody to be answered: {id}");
        new.says(message).await;
        let line = soon(server.client(id)).await.expect("the server lives");
        assert_eq!(soon(line.readline()).await.as_deref(), Ok("whole"));
        assert_eq!(line.connects(), 1);
    }
}

// HL-0164
#[tokio::test(start_paused = true)]
async fn an_older_connection_is_let_in_when_no_newer_one_is_open() {
    let server = server(ServerConfig::default());
    let mut old = wire(&server);
    tokio::task::yield_now().await;
    drop(device(&server, "dev").await);
    sleep(1).await;
    greet(&mut old, &hello("dev", "")).await;
}

// HL-0123
#[tokio::test(start_paused = true)]
async fn the_fourth_takeover_by_another_boot_within_ten_timeouts_is_refused_and_reported() {
    let server = server(ServerConfig::default());
    let mut reports = server.reports();
    let mut links = Vec::new();
    for boot in 1..=4 {
        let mut device = wire(&server);
        greet(&mut device, &hello("dev", &format!("boot={boot}"))).await;
        links.push(device);
        sleep(1).await;
    }
    let mut fifth = wire(&server);
    fifth.says(&hello("dev", "boot=5")).await;
    assert_eq!(soon(fifth.hears_all()).await, ["HOLD/1 no code=duplicate-client retry=4000"]);
    let told = report(&mut reports, |what| *what == What::Duplicate).await;
    assert_eq!(&*told.client, "dev");
    // The one that is there stays, and may come back as often as it likes.
    let mut fourth = links.pop().expect("there were four");
    fourth.says("M1 here").await;
    let line = server.get("dev").expect("it has made contact");
    assert_eq!(soon(line.readline()).await.as_deref(), Ok("here"));
    for _ in 0..10 {
        let mut again = wire(&server);
        greet(&mut again, &hello("dev", "boot=4")).await;
        sleep(1).await;
        links.push(again);
    }
    // Ten timeouts after the first takeover there is room for another.
    let mut alive = links.pop().expect("it is the last");
    alive.listens_alive(20_000).await;
    greet(&mut wire(&server), &hello("dev", "boot=6")).await;
}

// HL-0124
#[tokio::test(start_paused = true)]
async fn for_classic_clients_every_takeover_counts() {
    let server = server(ServerConfig::default());
    let mut reports = server.reports();
    let mut links = Vec::new();
    for _ in 0..4 {
        let mut device = wire(&server);
        device.says("old").await;
        device.hears_any().await;
        links.push(device);
    }
    let mut fifth = wire(&server);
    fifth.says("old").await;
    assert_eq!(soon(fifth.hears_any()).await, None);
    report(&mut reports, |what| *what == What::Duplicate).await;
    let mut ends = Vec::new();
    for link in &mut links[..3] {
        ends.push(link.hears_all().await);
    }
    assert_eq!(ends, [[""; 0]; 3], "nothing is said to a classic peer");
    links[3].says("00here").await;
    assert_eq!(soon(server.client("old")).await.expect("it lives").readline().await.as_deref(), Ok("here"));
}

// HL-0013
#[tokio::test(start_paused = true)]
async fn a_client_that_comes_back_in_another_profile_gets_what_waited_for_it() {
    let server = server(ServerConfig { flavour: Flavour::V2020, ..ServerConfig::default() });
    let mut reports = server.reports();
    let mut old = device(&server, "dev").await;
    let line = soon(server.client("dev")).await.expect("the server lives");
    line.wait_up().await.expect("the server lives");
    line.send("one").await.expect("there is room");
    line.send_latest(3, "two").await.expect("there is room");
    assert_eq!(old.hears().await.as_deref(), Some("M1 one"));
    let mut classic = wire(&server);
    classic.says("dev\n").await;
    assert_eq!(soon(classic.hears()).await.as_deref(), Some("00one"));
    assert_eq!(line.status().profile, Profile::Classic(Flavour::V2020));
    assert_eq!(old.hears_all().await.last().map(String::as_str), Some("Btakeover"));
    let outage = report(&mut reports, |what| matches!(what, What::Outage(_))).await;
    assert_eq!(outage.what, What::Outage(DownReason::Takeover));
    report(&mut reports, |what| matches!(what, What::Resumed { .. })).await;
    classic.says("00").await;
    assert_eq!(soon(classic.hears()).await.as_deref(), Some("01two"));
    // And back: a new session with new numbers, and what is not acked.
    let mut new = wire(&server);
    let welcome = greet(&mut new, &hello("dev", "boot=2")).await;
    assert_eq!((field(&welcome, "base"), field(&welcome, "peer")), (0, 0));
    assert_eq!(soon(new.hears()).await.as_deref(), Some("M1 two"));
    new.says("A1").await;
    soon(line.flush()).await.expect("the server lives");
}

// HL-0013
#[tokio::test(start_paused = true)]
async fn each_classic_client_has_a_list_of_its_own() {
    let server = server(ServerConfig { flavour: Flavour::V2019, ..ServerConfig::default() });
    let mut clients = [wire(&server), wire(&server)];
    for (n, client) in clients.iter_mut().enumerate() {
        client.writes(&format!("old-{n}\n00first of {n}\n01second of {n}\n")).await;
    }
    for n in 0..2 {
        let line = soon(server.client(&format!("old-{n}"))).await.expect("the server lives");
        assert_eq!(support::read(&line, 2).await, [format!("first of {n}"), format!("second of {n}")]);
    }
}

// HL-0153
#[tokio::test(start_paused = true)]
async fn a_hello_in_the_middle_of_a_link_is_a_fault_where_lines_have_no_check() {
    let server = server(ServerConfig { session: Config::new(), ..ServerConfig::default() });
    let mut dev = device(&server, "dev").await;
    dev.says(&changed(&hello("dev", ""), "boot=2")).await;
    assert_eq!(dev.hears_all().await, ["Bhello"]);
}
