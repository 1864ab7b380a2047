//! The real server and the real client at the ends of a serial line that flips and loses bytes (SPEC.md, 8.2).
mod support;

use holdline_server::proto::{Client as ClientRole, Config, Role};
use holdline_server::{Chance, Client, Connection, ServerConfig};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{PIPE, builder};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;

/// How many messages go each way.
const MESSAGES: usize = 400;
/// Of how many bytes one is flipped or lost.
const ONE_OF: u64 = 300;
/// What a run may take of the paused clock.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// A sequence of numbers from a seed, by splitmix64.
#[derive(Debug)]
struct Numbers(AtomicU64);

impl Numbers {
    fn next(&self) -> u64 {
        let state = self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed).wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    fn chance(seed: u64) -> Chance {
        let numbers = Self(AtomicU64::new(seed));
        Chance::new(move || numbers.next())
    }
}

/// What became of the bytes on the line.
#[derive(Debug, Default)]
struct Harm {
    flipped: u64,
    lost: u64,
}

/// Flips and loses bytes.
#[derive(Debug)]
struct Noise {
    numbers: Numbers,
    harm: Mutex<Harm>,
}

impl Noise {
    fn through(&self, bytes: &[u8]) -> Vec<u8> {
        let mut harm = self.harm.lock().expect("no panic");
        let mut out = Vec::new();
        for &byte in bytes {
            match self.numbers.next() % (2 * ONE_OF) {
                0 => {
                    harm.flipped += 1;
                    out.push(byte ^ 1 << (self.numbers.next() % 8));
                }
                1 => harm.lost += 1,
                _ => out.push(byte),
            }
        }
        out
    }
}

/// Copies bytes between one wire, which stays, and the last stream that the client has opened.
async fn relay(mut wire: DuplexStream, mut calls: mpsc::Receiver<DuplexStream>, noise: Arc<Noise>) {
    let (mut down, mut up) = (vec![0; 1_024], vec![0; 1_024]);
    let mut near: Option<DuplexStream> = None;
    loop {
        let from_client = async {
            match &mut near {
                Some(near) => near.read(&mut up).await.unwrap_or(0),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            call = calls.recv() => match call {
                Some(call) => near = Some(call),
                None => return,
            },
            read = from_client => match read {
                0 => near = None,
                read => wire.write_all(&noise.through(&up[..read])).await.expect("the server keeps the wire"),
            },
            read = wire.read(&mut down) => {
                let bytes = noise.through(&down[..read.expect("the server keeps the wire")]);
                // What comes for a stream that is closed is lost, as on any wire.
                if let Some(open) = &mut near && open.write_all(&bytes).await.is_err() {
                    near = None;
                }
            }
        }
    }
}

fn client(seed: u64, calls: mpsc::Sender<DuplexStream>) -> Client {
    let session = Config::new().check(true).window(8);
    let client = builder("uart").session(session).chance(Numbers::chance(seed ^ 1 << 32)).start_with(move || {
        let (near, far) = duplex(PIPE);
        let calls = calls.clone();
        async move { calls.send(far).await.map(|()| near).map_err(|_| io::ErrorKind::NotConnected.into()) }
    });
    client.expect("a valid client")
}

fn text(name: &str, number: usize) -> String {
    format!("{name} {number} {}", "*~ä".repeat(number % 9))
}

/// Sends all, and reads as many.
async fn converse<R: Role>(line: &Connection<R>, own: &str, others: &str) {
    let send = async {
        for number in 0..MESSAGES {
            line.send(&text(own, number)).await.expect("the line is open");
        }
        line.flush().await.expect("the line is open");
    };
    let read = async {
        for number in 0..MESSAGES {
            assert_eq!(line.readline().await.as_deref(), Ok(&*text(others, number)));
        }
    };
    tokio::join!(send, read);
}

async fn play(seed: u64) -> (Harm, u32) {
    let server = support::server(ServerConfig { chance: Numbers::chance(seed ^ 2 << 32), ..ServerConfig::default() });
    let noise = Arc::new(Noise { numbers: Numbers(AtomicU64::new(seed)), harm: Mutex::default() });
    let (wire, servers_end) = duplex(PIPE);
    let (calls, called) = mpsc::channel(1);
    tokio::spawn({
        let server = server.clone();
        async move { server.serve_checked(servers_end).await }
    });
    tokio::spawn(relay(wire, called, Arc::clone(&noise)));
    let client = client(seed, calls);
    let from_client = client.connection();
    let story = async {
        let from_server = server.client("uart").await.expect("the server lives");
        let ours = async { converse::<ClientRole>(&from_client, "up", "down").await };
        let breaks = async {
            loop {
                tokio::time::sleep(Duration::from_millis(1_700)).await;
                from_server.drop_link();
                tokio::time::sleep(Duration::from_millis(1_700)).await;
                from_client.drop_link();
            }
        };
        tokio::select! {
            biased;
            _ = async { tokio::join!(ours, converse(&from_server, "down", "up")) } => {}
            () = breaks => {}
        }
        // Nothing comes that came before.
        let after = Duration::from_secs(20);
        let rest = (tokio::time::timeout(after, from_server.recv()).await, tokio::time::timeout(after, from_client.recv()).await);
        assert!(rest.0.is_err() && rest.1.is_err(), "{rest:?}");
        from_server.connects()
    };
    let links = tokio::time::timeout(PATIENCE, story).await.expect("all arrives in the end");
    let harm = std::mem::take(&mut *noise.harm.lock().expect("no panic"));
    (harm, links)
}

// HL-0093, HL-0097, HL-0098, HL-0102
#[test]
fn over_a_noisy_wire_nothing_is_lost_repeated_or_reordered() {
    for seed in 0..32 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        let (harm, links) = runtime.block_on(play(seed));
        println!("seed {seed}: {harm:?}, {links} links");
        assert!(harm.flipped > 50 && harm.lost > 50 && links > 1, "seed {seed}: {harm:?}, {links} links");
    }
}
