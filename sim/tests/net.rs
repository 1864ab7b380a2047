//! Sockets of a simulated net, under a paused clock.

use holdline_sim::net::{Host, Net, Socket};
use holdline_sim::{Access, Connecting, Fate};
use std::io::ErrorKind;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

/// 10 ms from host to host.
fn two_hosts(seed: u64) -> (Net, Host, Host) {
    let net = Net::new(seed);
    let (server, device) = (net.host(Access::default()), net.host(Access::default()));
    (net, server, device)
}

async fn connected(server: &Host, device: &Host) -> (Socket, Socket) {
    let mut listener = server.listen();
    let near = device.connect(server.id()).await.expect("it listens");
    (near, listener.accept().await)
}

async fn hears(socket: &mut Socket, expected: &str) {
    let mut heard = vec![0; expected.len()];
    socket.read_exact(&mut heard).await.expect("as much was sent");
    assert_eq!(heard, expected.as_bytes());
}

/// Reads until the end, which is an error or in order.
async fn hears_the_end(socket: &mut Socket) -> Result<Vec<u8>, ErrorKind> {
    let mut heard = Vec::new();
    socket.read_to_end(&mut heard).await.map(|_| heard).map_err(|error| error.kind())
}

#[tokio::test(start_paused = true)]
async fn bytes_take_the_time_of_the_way_and_nothing_else() {
    let (_net, server, device) = two_hosts(1);
    let begun = Instant::now();
    let (mut near, mut far) = connected(&server, &device).await;
    assert_eq!(begun.elapsed().as_millis(), 20, "a round trip");
    near.write_all(b"there").await.expect("there is room");
    hears(&mut far, "there").await;
    far.write_all(b"and back").await.expect("there is room");
    hears(&mut near, "and back").await;
    assert_eq!(begun.elapsed().as_millis(), 40);
}

#[tokio::test(start_paused = true)]
async fn a_connection_fails_as_its_network_says() {
    let (net, server, device) = two_hosts(1);
    let _listener = server.listen();
    for (connecting, error, ms) in [
        (Connecting::Refused, ErrorKind::ConnectionRefused, 20),
        (Connecting::Unreachable, ErrorKind::HostUnreachable, 20),
        (Connecting::Silent, ErrorKind::TimedOut, 127_000),
    ] {
        let access = Access { connecting, ..Access::default() };
        net.world().set_access(device.id(), access);
        let begun = Instant::now();
        assert_eq!(device.connect(server.id()).await.expect_err("it cannot").kind(), error);
        assert_eq!(begun.elapsed().as_millis(), ms, "{connecting:?}");
    }
    net.world().set_access(device.id(), Access::default());
    server.power_off(Fate::Silent);
    assert_eq!(device.connect(server.id()).await.expect_err("no power").kind(), ErrorKind::ConnectionRefused);
    device.power_off(Fate::Silent);
    assert_eq!(device.connect(server.id()).await.expect_err("no power").kind(), ErrorKind::NetworkDown);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_given_up_leaves_nothing_behind() {
    let (net, server, device) = two_hosts(1);
    let mut listener = server.listen();
    net.world().set_access(device.id(), Access { connecting: Connecting::Silent, ..Access::default() });
    assert!(timeout(Duration::from_secs(2), device.connect(server.id())).await.is_err());
    net.world().set_access(device.id(), Access::default());
    assert!(timeout(Duration::from_secs(300), listener.accept()).await.is_err(), "nobody calls any more");
}

#[tokio::test(start_paused = true)]
async fn a_black_hole_holds_bytes_back_and_a_writer_who_has_filled_the_way() {
    let (net, server, device) = two_hosts(1);
    let (mut near, mut far) = connected(&server, &device).await;
    let usual = Access::default();
    net.world().set_access(device.id(), Access { out_blocked: true, ..usual });
    let text = vec![b'x'; 1 << 20];
    let mut writing = tokio::spawn(async move {
        near.write_all(&text).await.expect("the way opens again");
        near
    });
    assert!(timeout(Duration::from_secs(60), &mut writing).await.is_err(), "it waits");
    net.world().set_access(device.id(), usual);
    let reading = tokio::spawn(async move { hears_the_end(&mut far).await });
    writing.await.expect("no panic").shutdown().await.expect("it is open");
    assert_eq!(reading.await.expect("no panic").map(|heard| heard.len()), Ok(1 << 20));
}

#[tokio::test(start_paused = true)]
async fn who_loses_power_is_reset_ends_or_is_never_heard_of_again() {
    for fate in [Fate::Rst, Fate::Fin, Fate::Silent] {
        let (_net, server, device) = two_hosts(1);
        let (mut near, mut far) = connected(&server, &device).await;
        near.write_all(b"before").await.expect("there is room");
        hears(&mut far, "before").await;
        device.power_off(fate);
        let heard = timeout(Duration::from_secs(3_600), hears_the_end(&mut far)).await;
        match fate {
            Fate::Rst => assert_eq!(heard, Ok(Err(ErrorKind::ConnectionReset))),
            Fate::Fin => assert_eq!(heard, Ok(Ok(Vec::new()))),
            Fate::Silent => assert!(heard.is_err(), "{heard:?}"),
        }
        assert_eq!(near.read_u8().await.expect_err("it is dead").kind(), ErrorKind::ConnectionReset);
        assert_eq!(near.write_u8(0).await.expect_err("it is dead").kind(), ErrorKind::BrokenPipe);
        device.power_on();
        let (mut near, mut far) = connected(&server, &device).await;
        near.write_all(b"again").await.expect("there is room");
        hears(&mut far, "again").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_starts_anew_is_not_stopped_by_the_end_of_its_predecessor() {
    let (_net, server, device) = two_hosts(1);
    let old = server.listen();
    server.power_off(Fate::Rst);
    server.power_on();
    let mut new = server.listen();
    drop(old);
    let mut near = device.connect(server.id()).await.expect("it listens");
    near.write_all(b"hello").await.expect("there is room");
    hears(&mut new.accept().await, "hello").await;
    drop(new);
    let mut unheard = device.connect(server.id()).await.expect("the system accepts");
    assert_eq!(hears_the_end(&mut unheard).await, Ok(Vec::new()), "and nobody is there");
}

#[tokio::test(start_paused = true)]
async fn what_was_written_before_the_end_arrives_before_it() {
    let (_net, server, device) = two_hosts(1);
    let (mut near, mut far) = connected(&server, &device).await;
    near.write_all(b"goodbye").await.expect("there is room");
    drop(near);
    assert_eq!(hears_the_end(&mut far).await, Ok(b"goodbye".to_vec()));
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a thread").block_on(async {
            let (net, server, device) = two_hosts(seed);
            net.world().set_access(device.id(), Access { jitter_ms: 50, segment: 7, ..Access::default() });
            let (mut near, mut far) = connected(&server, &device).await;
            for round in 0..20 {
                near.write_all(format!("round {round}: some words for the way").as_bytes()).await.expect("it is open");
                far.read_u8().await.expect("something comes");
                if round == 10 {
                    net.world().break_streams(device.id(), Fate::Rst);
                    (near, far) = connected(&server, &device).await;
                }
            }
            net.world().trace_hash()
        })
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}
