//! What happens to live connections without anybody being told: stalls, forgotten connections, noise.

use std::time::Duration;

use holdline_sim::outage::Shape;
use holdline_sim::proxy::{
    BlackHole, BurstLoss, Close, Cut, NatIdle, Noise, Options,
    Stream::{Downstream, Upstream},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::bed::{Bed, arrives, passes, rest, silent};

/// Nothing passes either way, no end of stream either, and each socket is open until its own end closes it.
async fn is_dead(mut client: TcpStream, mut server: TcpStream) {
    client.write_all(b"are you there?\n").await.unwrap();
    server.write_all(b"and you?\n").await.unwrap();
    silent(&mut server).await;
    silent(&mut client).await;
    drop(client);
    silent(&mut server).await;
    server.write_all(b"to nobody\n").await.unwrap();
    silent(&mut server).await;
}

#[tokio::test]
async fn an_idle_connection_is_forgotten_for_good_and_a_new_one_works() {
    let bed = Bed::new().await;
    let (mut client, mut server) = bed.connect().await;
    passes(&mut client, &mut server, b"hello\n").await;
    let name = bed.add(Downstream, NatIdle { idle: 300 }).await;
    silent(&mut client).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    bed.remove(&name).await;
    is_dead(client, server).await;
    let (mut client, mut server) = bed.connect().await;
    passes(&mut client, &mut server, b"hello again\n").await;
}

#[tokio::test]
async fn a_connection_that_is_used_is_not_forgotten() {
    let bed = Bed::new().await;
    bed.add(Upstream, NatIdle { idle: 20_000 }).await;
    let (mut client, mut server) = bed.connect().await;
    for _ in 0..3 {
        silent(&mut client).await;
        passes(&mut client, &mut server, b"keepalive\n").await;
        passes(&mut server, &mut client, b"\n").await;
    }
}

#[tokio::test]
async fn forgotten_connections_close_when_all_are_closed() {
    let bed = Bed::new().await;
    let (mut client, mut server) = bed.connect().await;
    passes(&mut client, &mut server, b"hello\n").await;
    bed.proxies().disconnect("line", Close::Silent).await.unwrap();
    silent(&mut client).await;
    bed.proxies().disconnect("line", Close::Rst).await.unwrap();
    assert_eq!(rest(&mut client).await, (vec![], true));
    assert_eq!(rest(&mut server).await, (vec![], true));
}

#[tokio::test]
async fn a_silent_cut_passes_its_bytes_and_then_nothing_without_a_word() {
    let bed = Bed::new().await;
    bed.add(Upstream, Cut { bytes: 7, close: Close::Silent }).await;
    let (mut client, mut server) = bed.connect().await;
    client.write_all(b"hello, world").await.unwrap();
    arrives(&mut server, b"hello, ").await;
    is_dead(client, server).await;
}

#[tokio::test]
async fn a_connection_forgotten_before_it_got_to_the_server_is_dead_for_its_client() {
    let bed = Bed::new().await;
    let hole = bed.add(Upstream, BlackHole::default()).await;
    let mut client = TcpStream::connect(&bed.listen).await.unwrap();
    silent(&mut client).await;
    bed.proxies().disconnect("line", Close::Silent).await.unwrap();
    bed.remove(&hole).await;
    client.write_all(b"are you there?\n").await.unwrap();
    silent(&mut client).await;
    assert!(timeout(Duration::from_millis(150), bed.server.accept()).await.is_err(), "the server hears of nobody");
}

#[tokio::test]
async fn burst_loss_stalls_and_loses_nothing() {
    let bed = Bed::new().await;
    let (mut client, mut server) = bed.connect().await;
    passes(&mut client, &mut server, b"hello\n").await;
    // Every stall of this channel lasts 200 ms at least.
    let name = bed.add(Upstream, BurstLoss { longest: 400, every: 10, shape: Shape::GilbertElliott, one_way: false }).await;
    let mut late = 0;
    for round in 0..1_000_u32 {
        let sent = Instant::now();
        passes(&mut client, &mut server, format!("ping {round}\n").as_bytes()).await;
        passes(&mut server, &mut client, format!("pong {round}\n").as_bytes()).await;
        late += u32::from(sent.elapsed() >= Duration::from_millis(100));
        tokio::time::sleep(Duration::from_millis(2)).await;
        if late == 3 {
            break;
        }
    }
    assert_eq!(late, 3, "three pings wait for a stall to end");
    bed.remove(&name).await;
    passes(&mut client, &mut server, b"bye\n").await;
}

/// What arrives of a long stream of zeros.
async fn noisy(seed: u64) -> Vec<u8> {
    let bed = Bed::with(Options { seed, ..Options::default() }).await;
    bed.add(Upstream, Noise { flip_per_million: 20_000, drop_per_million: 10_000 }).await;
    let (mut client, mut server) = bed.connect().await;
    let writing = tokio::spawn(async move {
        // However they are written.
        for piece in [0; 100_000].chunks(seed as usize * 777) {
            client.write_all(piece).await.unwrap();
        }
    });
    let mut got = Vec::new();
    timeout(Duration::from_secs(20), server.read_to_end(&mut got)).await.expect("it ends").unwrap();
    writing.await.unwrap();
    got
}

#[tokio::test]
async fn noise_flips_and_drops_as_many_bytes_as_it_says_and_the_same_ones_for_the_same_seed() {
    let got = noisy(1).await;
    assert!((98_900..=99_100).contains(&got.len()), "{} bytes arrive", got.len());
    let flipped = got.iter().filter(|byte| byte.count_ones() == 1).count();
    assert!((1_800..2_200).contains(&flipped), "{flipped} bytes have a bit flipped");
    assert_eq!(got.iter().filter(|byte| byte.count_ones() > 1).count(), 0);
    assert!(noisy(1).await == got && noisy(2).await != got);
}
