//! Hellos and their limits: what strangers can cost, on real sockets where sockets matter (SPEC.md, 10.1).
mod support;

use holdline_server::proto::{Config, ConfigError, HELLO_MAX, PeerFault, classic::Flavour};
use holdline_server::{InvalidConfig, Limits, Profile, Server, ServerConfig, What};
use std::collections::BTreeSet;
use std::time::Duration;
use support::{device, field, greet, hello, listening, report, server, sleep, soon, tcp, wire};

fn limited(limits: Limits) -> ServerConfig {
    ServerConfig { limits, ..ServerConfig::default() }
}

/// What a server answers to a first line before it closes.
async fn answer(server: &Server, first: &str) -> Vec<String> {
    let mut stranger = wire(server);
    stranger.writes(first).await;
    soon(stranger.hears_all()).await
}

// HL-0110, HL-0119
#[tokio::test]
async fn silent_strangers_delay_nobody() {
    let server = listening(ServerConfig::default()).await;
    let mut strangers = Vec::new();
    for first in ["", "H", "HOLD/1 client=", "sensor"].into_iter().cycle().take(200) {
        let mut stranger = tcp(&server).await;
        stranger.writes(first).await;
        strangers.push(stranger);
    }
    for n in 0..20 {
        let mut device = tcp(&server).await;
        greet(&mut device, &hello(&format!("dev-{n}"), "")).await;
        device.says("M1 x").await;
        let line = soon(server.client(&format!("dev-{n}"))).await.expect("the server lives");
        assert_eq!(soon(line.readline()).await.as_deref(), Ok("x"));
    }
    assert_eq!(server.connections().len(), 20, "no stranger has a session");
}

// HL-0113
#[tokio::test]
async fn beyond_the_cap_a_connection_is_closed_at_once_and_without_a_word() {
    let server = listening(limited(Limits { half_open: 3, ..Limits::default() })).await;
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(tcp(&server).await);
    }
    for _ in 0..5 {
        assert_eq!(soon(tcp(&server).await.hears_any()).await, None);
    }
    assert_eq!(server.turned_away(), 5);
    // Who says hello makes room.
    greet(&mut silent[0], &hello("a", "")).await;
    greet(&mut tcp(&server).await, &hello("b", "")).await;
    // As does who goes away.
    drop(silent.pop());
    soon(async {
        while server.turned_away() < 6 {
            tokio::task::yield_now().await
        }
    })
    .await;
    greet(&mut tcp(&server).await, &hello("c", "")).await;
}

// HL-0141
#[tokio::test]
async fn who_asks_before_it_listens_is_told_everything() {
    let server = server(ServerConfig::default());
    let mut reports = server.reports();
    assert_eq!(server.local_addr(), None);
    let first = server.listen("127.0.0.1:0").await.expect("a free port");
    let second = server.listen("127.0.0.1:0").await.expect("another free port");
    assert_eq!(server.local_addr(), Some(first));
    let mut devices = Vec::new();
    for (address, id) in [(first, "one"), (second, "other")] {
        let mut device = support::Hand::new(tokio::net::TcpStream::connect(address).await.expect("it listens"));
        greet(&mut device, &hello(id, "")).await;
        devices.push(device);
        let told = soon(reports.next()).await.expect("the server lives");
        assert_eq!((&*told.client, told.what), (id, What::Connected));
    }
}

// HL-0114
#[tokio::test]
async fn one_address_has_a_cap_of_its_own() {
    let server = listening(limited(Limits { half_open: 10, half_open_per_address: 2, ..Limits::default() })).await;
    let _silent = (tcp(&server).await, tcp(&server).await);
    assert_eq!(soon(tcp(&server).await.hears_any()).await, None);
}

// HL-0112
#[tokio::test(start_paused = true)]
async fn a_first_line_has_512_bytes_and_no_more() {
    let server = server(ServerConfig::default());
    let longest = hello("dev", &format!("x={}", "y".repeat(HELLO_MAX - hello("dev", "x=").len())));
    assert_eq!(longest.len(), HELLO_MAX);
    greet(&mut wire(&server), &longest).await;
    assert_eq!(answer(&server, &format!("{longest}y\n")).await, ["HOLD/1 no code=malformed"]);
    assert_eq!(answer(&server, &format!("{longest}y")).await, ["HOLD/1 no code=malformed"], "nobody waits for the LF");
    assert_eq!(answer(&server, &"x".repeat(HELLO_MAX + 1)).await, [""; 0]);
    assert_eq!(answer(&server, &"x".repeat(60_000)).await, [""; 0]);
}

// HL-0010, HL-0011, HL-0018
#[tokio::test(start_paused = true)]
async fn a_hello_that_is_none_is_told_so() {
    let server = server(ServerConfig::default());
    assert_eq!(answer(&server, "HOLD/2 client=dev\n").await, ["HOLD/1 no code=version"]);
    assert_eq!(answer(&server, "SEAL/1 dev AAAA\n").await, ["HOLD/1 no code=sealed"]);
    assert_eq!(answer(&server, "HOLD/1 client=dev boot=1\n").await, ["HOLD/1 no code=malformed"]);
    assert!(server.connections().is_empty());
}

// HL-0012, HL-0031
#[tokio::test(start_paused = true)]
async fn a_bad_id_line_is_closed_without_a_word() {
    let server = server(ServerConfig::default());
    for first in ["\n".to_owned(), "x".repeat(129) + "\n", "a\0b\n".to_owned()] {
        assert_eq!(answer(&server, &first).await, [""; 0], "{first:?}");
    }
    let mut latin = wire(&server);
    tokio::io::AsyncWriteExt::write_all(&mut latin.stream, b"caf\xe9\n").await.expect("it reads");
    assert_eq!(soon(latin.hears_all()).await, [""; 0]);
    assert!(server.connections().is_empty());
    let mut longest = wire(&server);
    longest.says(&"x".repeat(128)).await;
    assert!(soon(server.client(&"x".repeat(128))).await.is_ok());
}

// HL-0115, HL-0128
#[tokio::test(start_paused = true)]
async fn one_session_too_many_is_refused_and_known_ones_always_come_back() {
    let server = server(limited(Limits { sessions: 2, busy_retry_ms: 1_000, ..Limits::default() }));
    drop((device(&server, "a").await, device(&server, "b").await));
    let mut retries = BTreeSet::new();
    for n in 0..20 {
        let answer = answer(&server, &(hello(&format!("c-{n}"), "") + "\n")).await;
        assert!(answer[0].starts_with("HOLD/1 no code=busy retry="), "{answer:?}");
        retries.insert(field(&answer[0], "retry"));
    }
    assert!(retries.iter().all(|ms| (1_000..=2_000).contains(ms)), "{retries:?}");
    assert!(retries.len() > 10, "they would all return at one moment: {retries:?}");
    assert_eq!(answer(&server, "classic\n").await, [""; 0]);
    drop((device(&server, "a").await, device(&server, "b").await));
    assert_eq!(server.connections().len(), 2);
}

// HL-0117
#[tokio::test(start_paused = true)]
async fn only_expected_clients_are_served_where_that_is_asked_for() {
    let expected = BTreeSet::from(["a".to_owned(), "old".to_owned()]);
    let strict = server(ServerConfig { expected: expected.clone(), only_expected: true, ..ServerConfig::default() });
    let mut reports = strict.reports();
    assert_eq!(answer(&strict, &(hello("b", "") + "\n")).await, ["HOLD/1 no code=unknown-client"]);
    let told = report(&mut reports, |_| true).await;
    assert_eq!((&*told.client, told.what), ("b", What::Unknown { refused: true }));
    assert_eq!(answer(&strict, "older\n").await, [""; 0]);
    device(&strict, "a").await;
    wire(&strict).says("old").await;
    soon(strict.client("old")).await.expect("it is expected");
    // Otherwise they are served, and reported.
    let lenient = server(ServerConfig { expected, ..ServerConfig::default() });
    let mut reports = lenient.reports();
    device(&lenient, "b").await;
    assert_eq!(report(&mut reports, |_| true).await.what, What::Unknown { refused: false });
}

// HL-0118
#[tokio::test(start_paused = true)]
async fn a_profile_that_is_not_served_is_refused() {
    let native = server(ServerConfig { classic: false, ..ServerConfig::default() });
    assert_eq!(answer(&native, "sensor-7\n").await, [""; 0]);
    device(&native, "a").await;
    let classic = server(ServerConfig { native: false, ..ServerConfig::default() });
    assert_eq!(answer(&classic, &(hello("a", "") + "\n")).await, ["HOLD/1 no code=profile"]);
    wire(&classic).says("sensor-7").await;
    soon(classic.client("sensor-7")).await.expect("it is served");
}

// HL-0116
#[tokio::test(start_paused = true)]
async fn who_was_refused_leaves_nothing_but_a_count() {
    let server = server(limited(Limits { sessions: 1, ..Limits::default() }));
    device(&server, "a").await;
    for n in 0..100 {
        answer(&server, &(hello(&format!("b-{n}"), "") + "\n")).await;
    }
    assert_eq!(server.connections().len(), 1);
    assert!(server.get("b-0").is_none());
}

// HL-0023
#[tokio::test(start_paused = true)]
async fn the_timeout_is_clamped_to_the_servers_range() {
    let session = Config::new().timeout_range_ms(1_000, 4_000);
    let server = server(ServerConfig { session, ..ServerConfig::default() });
    for (proposed, settled) in [(200, 1_000), (3_000, 3_000), (60_000, 4_000)] {
        let mut device = wire(&server);
        let welcome = greet(&mut device, &hello("dev", &format!("timeout={proposed}"))).await;
        assert_eq!(field(&welcome, "timeout"), settled);
    }
}

// HL-0027
#[tokio::test(start_paused = true)]
async fn what_follows_the_id_line_in_its_segment_is_read_at_once() {
    let server = server(ServerConfig::default());
    let mut old = wire(&server);
    old.writes("old\n00first\n01sec").await;
    let line = soon(server.client("old")).await.expect("the server lives");
    let first = tokio::time::timeout(Duration::from_millis(1), line.readline()).await;
    assert_eq!(first.expect("it is there already").as_deref(), Ok("first"));
    old.writes("ond\n").await;
    assert_eq!(soon(line.readline()).await.as_deref(), Ok("second"));
    assert_eq!(line.status().profile, Profile::Classic(Flavour::V2020));
}

// HL-0008
#[test]
fn a_configuration_out_of_range_is_refused() {
    let fails = |limits: Limits| limited(limits).check().expect_err("it is out of range");
    for timeout in [Duration::from_millis(999), Duration::from_millis(60_001)] {
        assert_eq!(fails(Limits { hello_timeout: timeout, ..Limits::default() }), InvalidConfig::HelloTimeout);
    }
    assert_eq!(fails(Limits { sessions: 0, ..Limits::default() }), InvalidConfig::Zero("sessions"));
    assert_eq!(fails(Limits { half_open: 0, ..Limits::default() }), InvalidConfig::Zero("half_open"));
    let neither = ServerConfig { native: false, classic: false, ..ServerConfig::default() };
    assert_eq!(neither.check(), Err(InvalidConfig::NoProfile));
    for (session, error) in [
        (Config::new().timeout_ms(199), ConfigError::Timeout),
        (Config::new().timeout_ms(3_600_001), ConfigError::Timeout),
        (Config::new().timeout_range_ms(500, 400), ConfigError::TimeoutRange),
        (Config::new().window(0), ConfigError::Window),
        (Config::new().max_line(127), ConfigError::MaxLine),
        (Config::new().max_line(1_048_577), ConfigError::MaxLine),
    ] {
        assert_eq!(ServerConfig { session, ..ServerConfig::default() }.check(), Err(InvalidConfig::Session(error)));
    }
    let checked = ServerConfig { session: Config::new().check(true), ..ServerConfig::default() };
    assert_eq!(checked.check(), Err(InvalidConfig::Check));
    let classic = ServerConfig { classic_timeout_ms: Some(100), ..ServerConfig::default() };
    assert_eq!(classic.check(), Err(InvalidConfig::Session(ConfigError::Timeout)));
}

// HL-0142, HL-0143
#[tokio::test(start_paused = true)]
async fn a_fault_is_counted_reported_and_told_and_the_session_stays() {
    let server = server(ServerConfig::default());
    let mut reports = server.reports();
    let mut dev = device(&server, "dev").await;
    dev.says("M1 good\nM2\u{0} bad").await;
    assert_eq!(soon(dev.hears_all()).await.last().map(String::as_str), Some("Bnul"));
    let told = report(&mut reports, |what| matches!(what, What::Fault(_))).await;
    assert_eq!(told.what, What::Fault(PeerFault::Nul));
    assert_eq!(server.faults(), [("nul", 1)].into());
    let line = server.get("dev").expect("the session stays");
    assert_eq!((line.status().up, line.status().unread), (false, 1));
    let welcome = greet(&mut wire(&server), &hello("dev", "")).await;
    assert_eq!((field(&welcome, "peer"), field(&welcome, "seen")), (7, 0));
    sleep(1).await;
    assert_eq!(line.connects(), 2);
}
