//! What programs on either side of a toxic see.

use std::time::Duration;

use holdline_sim::proxy::{
    Bandwidth, BlackHole, Close, Cut, End, HalfOpen, Latency, LimitData, Options, ProxySpec, ResetPeer, Slicer, SlowClose, Stall,
    Stream::{Downstream, Upstream},
    Timeout, Toxic, Trigger,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::bed::{Bed, arrives, passes, rest, silent};

#[tokio::test]
async fn a_proxy_without_toxics_is_transparent_even_half_closed() {
    let bed = Bed::new().await;
    let (mut client, mut server) = bed.connect().await;
    passes(&mut client, &mut server, b"hello").await;
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut server).await, (vec![], false));
    passes(&mut server, &mut client, b"goodbye").await;
    drop(server);
    assert_eq!(rest(&mut client).await, (vec![], false));
}

#[tokio::test]
async fn a_reset_is_passed_on_as_a_reset() {
    let bed = Bed::new().await;
    let (mut client, mut server) = bed.connect().await;
    passes(&mut client, &mut server, b"hello").await;
    client.set_zero_linger().unwrap();
    drop(client);
    assert_eq!(rest(&mut server).await, (vec![], true));
}

#[tokio::test]
async fn much_passes_both_ways_at_once_and_unharmed() {
    let bed = Bed::new().await;
    bed.add(Upstream, Latency { latency: 3, jitter: 2 }).await;
    bed.add(Downstream, Slicer { average_size: 5_000, size_variation: 4_000, delay: 0 }).await;
    let (client, server) = bed.connect().await;
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|at| u8::try_from(at % 251).unwrap()).collect();
    let both = [client, server].map(|socket| {
        let bytes = bytes.clone();
        tokio::spawn(async move {
            let (mut read, mut write) = socket.into_split();
            let expected = bytes.clone();
            let writing = tokio::spawn(async move {
                write.write_all(&bytes).await.unwrap();
                write.shutdown().await.unwrap();
            });
            let mut got = Vec::new();
            read.read_to_end(&mut got).await.unwrap();
            writing.await.unwrap();
            assert!(got == expected);
        })
    });
    for end in both {
        timeout(Duration::from_secs(60), end).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn latency_and_bandwidth_take_their_time_on_a_live_connection() {
    let bed = Bed::new().await;
    let (mut client, mut server) = bed.connect().await;
    passes(&mut client, &mut server, b"hello").await;
    let name = bed.add(Downstream, Latency { latency: 200, jitter: 0 }).await;
    let began = Instant::now();
    passes(&mut server, &mut client, b"welcome").await;
    assert!(began.elapsed() >= Duration::from_millis(200));
    bed.remove(&name).await;
    bed.add(Downstream, Bandwidth { rate: 100 }).await;
    let began = Instant::now();
    passes(&mut server, &mut client, &[b'x'; 30_000]).await;
    assert!(began.elapsed() >= Duration::from_millis(290), "{:?}", began.elapsed());
}

#[tokio::test]
async fn slow_close_delays_the_end() {
    let bed = Bed::new().await;
    bed.add(Upstream, SlowClose { delay: 300 }).await;
    let (client, mut server) = bed.connect().await;
    let began = Instant::now();
    drop(client);
    assert_eq!(rest(&mut server).await, (vec![], false));
    assert!(began.elapsed() >= Duration::from_millis(290));
}

#[tokio::test]
async fn timeout_swallows_and_closes() {
    let bed = Bed::new().await;
    let (mut client, mut server) = bed.connect().await;
    bed.add(Upstream, Timeout { timeout: 200 }).await;
    client.write_all(b"lost").await.unwrap();
    assert_eq!(rest(&mut server).await, (vec![], false));
    assert_eq!(rest(&mut client).await, (vec![], false));
}

#[tokio::test]
async fn reset_peer_resets_both() {
    let bed = Bed::new().await;
    let (mut client, mut server) = bed.connect().await;
    bed.add(Upstream, ResetPeer { timeout: 0 }).await;
    silent(&mut client).await;
    client.write_all(b"x").await.unwrap();
    assert_eq!(rest(&mut client).await, (vec![], true));
    assert_eq!(rest(&mut server).await, (vec![], true));
}

#[tokio::test]
async fn slicer_splits_a_write_into_many() {
    let bed = Bed::new().await;
    bed.add(Upstream, Slicer { average_size: 10, size_variation: 0, delay: 2_000 }).await;
    let (mut client, mut server) = bed.connect().await;
    client.write_all(&[b'x'; 100]).await.unwrap();
    let (mut reads, mut total, mut buffer) = (0, 0, [0; 200]);
    while total < 100 {
        total += timeout(Duration::from_secs(20), server.read(&mut buffer)).await.unwrap().unwrap();
        reads += 1;
    }
    assert!(reads > 1, "{reads}");
}

#[tokio::test]
async fn limit_data_closes_after_its_bytes() {
    let bed = Bed::new().await;
    bed.add(Downstream, LimitData { bytes: 5 }).await;
    let (mut client, mut server) = bed.connect().await;
    server.write_all(b"0123456789").await.unwrap();
    assert_eq!(rest(&mut client).await, (b"01234".to_vec(), false));
    assert_eq!(rest(&mut server).await, (vec![], false));
}

#[tokio::test]
async fn cut_ends_after_exactly_its_bytes_with_a_fin_or_a_reset() {
    for (close, reset) in [(Close::Fin, false), (Close::Rst, true)] {
        for bytes in [0, 1, 7, 12] {
            let bed = Bed::new().await;
            bed.add(Upstream, Cut { bytes, close }).await;
            let (mut client, mut server) = bed.connect().await;
            // It may be over before this is written.
            let _ = client.write_all(b"hello, world").await;
            let expected = b"hello, world"[..usize::try_from(bytes).unwrap()].to_vec();
            assert_eq!(rest(&mut server).await, (expected, reset));
        }
    }
}

#[tokio::test]
async fn after_a_black_hole_the_same_connection_lives_on() {
    let bed = Bed::new().await;
    let (mut client, mut server) = bed.connect().await;
    passes(&mut client, &mut server, b"hello\n").await;
    let name = bed.add(Upstream, BlackHole::default()).await;
    client.write_all(b"are you there?\n").await.unwrap();
    server.write_all(b"and you?\n").await.unwrap();
    silent(&mut server).await;
    silent(&mut client).await;
    bed.remove(&name).await;
    arrives(&mut server, b"are you there?\n").await;
    arrives(&mut client, b"and you?\n").await;
    passes(&mut client, &mut server, b"again\n").await;
}

#[tokio::test]
async fn in_a_black_hole_nobody_learns_that_the_other_is_gone() {
    let bed = Bed::new().await;
    let (mut client, mut server) = bed.connect().await;
    passes(&mut client, &mut server, b"hello\n").await;
    let name = bed.add(Upstream, BlackHole::default()).await;
    drop(client);
    silent(&mut server).await;
    bed.remove(&name).await;
    assert_eq!(rest(&mut server).await, (vec![], false));
}

#[tokio::test]
async fn a_connection_made_in_a_black_hole_reaches_the_server_afterwards_unless_it_was_given_up() {
    let bed = Bed::new().await;
    let name = bed.add(Upstream, BlackHole::default()).await;
    let mut given_up = TcpStream::connect(&bed.listen).await.unwrap();
    given_up.write_all(b"given up").await.unwrap();
    drop(given_up);
    let mut patient = TcpStream::connect(&bed.listen).await.unwrap();
    patient.write_all(b"patient").await.unwrap();
    let accepted = timeout(Duration::from_millis(150), bed.server.accept()).await;
    assert!(accepted.is_err(), "nothing gets to the server");
    bed.remove(&name).await;
    let mut server = bed.accept().await;
    arrives(&mut server, b"patient").await;
    passes(&mut server, &mut patient, b"welcome").await;
}

#[tokio::test]
async fn a_stalled_direction_makes_the_sender_wait_and_the_proxy_holds_little() {
    const ALL: usize = 200 << 20;
    let bed = Bed::new().await;
    let (mut client, mut server) = bed.connect().await;
    passes(&mut client, &mut server, b"hello").await;
    // The client does not read.
    let mut taken = 0;
    let chunk = vec![b'x'; 1 << 20];
    while taken < ALL {
        match timeout(Duration::from_secs(1), server.write(&chunk)).await {
            Ok(written) => taken += written.unwrap(),
            Err(_) => break,
        }
    }
    assert!(taken < 64 << 20, "the sender could send {taken} bytes to nobody");
    let got = timeout(Duration::from_secs(60), async {
        let (mut got, mut buffer) = (0, vec![0; 1 << 20]);
        while got < taken {
            got += client.read(&mut buffer).await.unwrap();
        }
        got
    });
    assert_eq!(got.await.unwrap(), taken);

    let name = bed.add(Upstream, Stall::default()).await;
    client.write_all(b"waits").await.unwrap();
    silent(&mut server).await;
    bed.remove(&name).await;
    arrives(&mut server, b"waits").await;
}

#[tokio::test]
async fn a_line_opens_a_black_hole_on_its_own_connection_only() {
    let bed = Bed::new().await;
    let hole = Toxic::new(Upstream, BlackHole::default().into()).unwrap().named("hole").on_share(0.0);
    bed.proxies().add_toxic("line", hole).await.unwrap();
    bed.add(Upstream, Trigger { line: "D 2".into(), toxic: "hole".into(), lasts: 1_500, ..Trigger::default() }).await;
    let (mut client, mut server) = bed.connect().await;
    let (mut other, mut other_server) = bed.connect().await;
    let began = Instant::now();
    client.write_all(b"D 1 one\nD 2 two\nD 3 three\n").await.unwrap();
    arrives(&mut server, b"D 1 one\nD 2 two\n").await;
    silent(&mut server).await;
    passes(&mut other, &mut other_server, b"D 3 three\n").await;
    arrives(&mut server, b"D 3 three\n").await;
    assert!(began.elapsed() >= Duration::from_millis(1_490));
}

#[tokio::test]
async fn a_half_open_server_hears_nothing_until_the_reset_and_the_client_can_return() {
    let bed = Bed::new().await;
    let (mut client, mut stale) = bed.connect().await;
    passes(&mut client, &mut stale, b"hello\n").await;
    let name = bed.add(Upstream, HalfOpen { stays: End::Server, close: Close::Rst }).await;
    assert_eq!(rest(&mut client).await, (vec![], true));
    stale.write_all(b"to nobody\n").await.unwrap();
    silent(&mut stale).await;
    let (mut client, mut server) = bed.connect().await;
    passes(&mut client, &mut server, b"hello again\n").await;
    bed.remove(&name).await;
    assert_eq!(rest(&mut stale).await, (vec![], true));
    passes(&mut server, &mut client, b"welcome\n").await;
}

#[tokio::test]
async fn closing_a_proxy_closes_its_connections_and_frees_its_address() {
    let bed = Bed::new().await;
    bed.add(Upstream, BlackHole::default()).await;
    let mut waiting = TcpStream::connect(&bed.listen).await.unwrap();
    bed.remove("black_hole_upstream").await;
    let mut waiting_server = bed.accept().await;
    let (mut client, mut server) = bed.connect().await;
    passes(&mut client, &mut server, b"hello").await;
    bed.add(Upstream, BlackHole::default()).await;
    bed.proxies().delete("line").await.unwrap();
    for socket in [&mut waiting, &mut waiting_server, &mut client, &mut server] {
        assert_eq!(rest(socket).await, (vec![], false));
    }
    assert!(TcpStream::connect(&bed.listen).await.is_err(), "nobody listens");
    bed.proxies().create(&ProxySpec::new("next", &bed.listen, "127.0.0.1:9")).await.unwrap();
}

#[tokio::test]
async fn an_unreachable_server_closes_the_client() {
    let bed = Bed::new().await;
    bed.proxies().create(&ProxySpec::new("nowhere", "127.0.0.1:0", "127.0.0.1:1")).await.unwrap();
    let listen = bed.proxies().get("nowhere").await.unwrap().listen;
    let mut client = TcpStream::connect(listen).await.unwrap();
    assert_eq!(rest(&mut client).await, (vec![], false));
}

#[tokio::test]
async fn more_connections_than_allowed_wait_their_turn() {
    let bed = Bed::with(Options { connections: 1, ..Options::default() }).await;
    let (first, mut first_server) = bed.connect().await;
    let mut second = TcpStream::connect(&bed.listen).await.unwrap();
    second.write_all(b"second").await.unwrap();
    assert!(timeout(Duration::from_millis(150), bed.server.accept()).await.is_err());
    drop(first);
    assert_eq!(rest(&mut first_server).await, (vec![], false));
    drop(first_server);
    arrives(&mut bed.accept().await, b"second").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_connections_at_once() {
    // Four a connection: both programs' and the proxy's.
    if descriptors() < 4_200 {
        return println!("skipped: {} descriptors are too few (ulimit -n)", descriptors());
    }
    let bed = Bed::new().await;
    bed.add(Upstream, Latency { latency: 5, jitter: 5 }).await;
    let mut lines = Vec::new();
    for _ in 0..1_000 {
        lines.push(bed.connect().await);
    }
    let tasks: Vec<_> = lines
        .into_iter()
        .enumerate()
        .map(|(number, (mut client, mut server))| {
            tokio::spawn(async move {
                for round in 0..5 {
                    let message = format!("device {number} round {round}\n");
                    passes(&mut client, &mut server, message.as_bytes()).await;
                    passes(&mut server, &mut client, message.as_bytes()).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// How many files and sockets this process may have open, where the system tells.
fn descriptors() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|line| line.split_whitespace().next()).and_then(|soft| soft.parse().ok()).unwrap_or(256)
}
