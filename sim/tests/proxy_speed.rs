//! How much the live proxy carries. Not a test of the machine it runs on: it prints, and is run by hand.
//!
//! ```text
//! cargo test --release -p holdline-sim --test proxy_speed -- --ignored --nocapture
//! ```

#![expect(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

use std::time::Duration;

use holdline_sim::proxy::{
    Bandwidth, BlackHole, Cut, Kind, Latency, Noop, Options, ProxySpec, Running, Slicer, Stream::Downstream, Toxic, start,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

const RUN: Duration = Duration::from_secs(3);

async fn proxy(to: &TcpListener, toxics: Vec<Toxic>) -> (Running, String) {
    let spec = ProxySpec::new("line", "127.0.0.1:0", to.local_addr().unwrap().to_string());
    let running = start(Options { api: None, proxies: vec![spec], ..Options::default() }).await.unwrap();
    for toxic in toxics {
        running.proxies().add_toxic("line", toxic).await.unwrap();
    }
    let listen = running.proxies().get("line").await.unwrap().listen;
    (running, listen)
}

/// Megabytes a second that arrive, with a writer and a reader in this process.
async fn rate(from: TcpStream, to: TcpStream) -> f64 {
    let (mut from, mut to) = (from, to);
    let writing = tokio::spawn(async move {
        let chunk = vec![b'x'; 64 << 10];
        while from.write_all(&chunk).await.is_ok() {}
    });
    let (began, mut buffer, mut total) = (Instant::now(), vec![0; 256 << 10], 0_u32);
    while began.elapsed() < RUN {
        total += u32::try_from(to.read(&mut buffer).await.unwrap() >> 10).unwrap();
    }
    writing.abort();
    f64::from(total) * 1024.0 / 1e6 / began.elapsed().as_secs_f64()
}

fn toxic(kind: impl Into<Kind>, share: f64) -> Toxic {
    Toxic::new(Downstream, kind.into()).unwrap().on_share(share)
}

/// One of each kind that acts on no connection.
fn idle_chain() -> Vec<Toxic> {
    vec![
        toxic(Noop::default(), 1.0),
        toxic(Latency { latency: 100, jitter: 10 }, 0.0),
        toxic(Bandwidth { rate: 1 }, 0.0),
        toxic(Slicer { average_size: 10, size_variation: 5, delay: 10 }, 0.0),
        toxic(BlackHole::default(), 0.0),
        toxic(Cut { bytes: u64::MAX, ..Cut::default() }, 1.0),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it measures for seconds, and says something in a release build on an idle machine"]
async fn throughput() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for (what, toxics) in [
        ("without a proxy", None),
        ("without toxics", Some(vec![])),
        ("six idle toxics", Some(idle_chain())),
        ("latency 0", Some(vec![toxic(Latency::default(), 1.0)])),
        ("slices of 1460", Some(vec![toxic(Slicer { average_size: 1460, ..Slicer::default() }, 1.0)])),
        ("bandwidth 50 MB/s", Some(vec![toxic(Bandwidth { rate: 50_000 }, 1.0)])),
    ] {
        let (_running, listen) = match toxics {
            None => (None, server.local_addr().unwrap().to_string()),
            Some(toxics) => {
                let (running, listen) = proxy(&server, toxics).await;
                (Some(running), listen)
            }
        };
        let client = TcpStream::connect(listen).await.unwrap();
        let served = server.accept().await.unwrap().0;
        println!("{what:>20}: {:7.0} MB/s", rate(served, client).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it measures for seconds, and says something in a release build on an idle machine"]
async fn a_thousand_connections() {
    const CONNECTIONS: u32 = 1_000;
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let before = resident();
    let (_running, listen) = proxy(&server, idle_chain()).await;
    let mut ends = Vec::new();
    for _ in 0..CONNECTIONS {
        let client = TcpStream::connect(&listen).await.unwrap();
        ends.push((client, server.accept().await.unwrap().0));
    }
    let idle = resident();
    let began = Instant::now();
    let tasks: Vec<_> = ends
        .into_iter()
        .map(|(mut client, mut served)| {
            tokio::spawn(async move {
                let (mut trips, mut line) = (0_u32, [b'x'; 64]);
                while began.elapsed() < RUN {
                    client.write_all(&line).await.unwrap();
                    served.read_exact(&mut line).await.unwrap();
                    served.write_all(&line).await.unwrap();
                    client.read_exact(&mut line).await.unwrap();
                    trips += 1;
                }
                trips
            })
        })
        .collect();
    let mut trips = 0;
    for task in tasks {
        trips += task.await.unwrap();
    }
    let each = |kilobytes: u32| kilobytes.saturating_sub(before) / CONNECTIONS;
    println!(
        "{CONNECTIONS} connections: {:.0} round trips of 64 bytes a second",
        f64::from(trips) / began.elapsed().as_secs_f64()
    );
    println!("resident memory a connection, with both programs' ends: {} KB idle, {} KB busy", each(idle), each(resident()));
}

/// Kilobytes, where the system tells.
fn resident() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}
