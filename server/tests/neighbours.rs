//! One misbehaving peer affects only itself; and many who come at one moment all come in (SPEC.md, HL-0119 and HL-0120).
mod support;

use holdline_server::proto::Client as ClientRole;
use holdline_server::{Client, Connection, Limits, Server, ServerConfig};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use support::{Hand, builder, client_of, greet, hello, listening, server, since, sleep, soon, tcp};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Writes the same again and again until told to stop, over a new connection when the old one is closed.
fn floods(server: &Server, first: String, flood: Vec<u8>, stop: &Arc<AtomicBool>) -> JoinHandle<u64> {
    let (server, stop) = (server.clone(), Arc::clone(stop));
    tokio::spawn(async move {
        let mut links = 0;
        while !stop.load(Ordering::Relaxed) {
            let mut peer = tcp(&server).await;
            links += 1;
            let _ = peer.stream.write_all(first.as_bytes()).await;
            if first.starts_with("HOLD/1 ") {
                peer.hears().await;
                let _ = peer.stream.write_all(b"\n").await;
            }
            while !stop.load(Ordering::Relaxed) && peer.stream.write_all(&flood).await.is_ok() {
                tokio::task::yield_now().await;
            }
        }
        links
    })
}

/// A device that behaves, and what its server's application says of it.
async fn good(server: &Server, id: &str) -> (Client, Connection) {
    let address = server.local_addr().expect("it listens").to_string();
    let client = Client::builder(id, &address).start().expect("a valid client");
    let line = soon(server.client(id)).await.expect("the server lives");
    soon(client.wait_up()).await.expect("the client lives");
    (client, line)
}

async fn exchanges(client: &Connection<ClientRole>, line: &Connection, count: usize) {
    for n in 0..count {
        let text = n.to_string();
        let (up, got) = soon(async { tokio::join!(client.write(&text), line.readline()) }).await;
        assert_eq!((up, got), (Ok(()), Ok(text.clone())));
        let (down, got) = soon(async { tokio::join!(line.write(&text), client.readline()) }).await;
        assert_eq!((down, got), (Ok(()), Ok(text)));
    }
}

// HL-0119, HL-0144
#[tokio::test]
async fn floods_and_garbage_end_the_link_that_they_come_on_and_no_other() {
    let server = listening(ServerConfig::default()).await;
    let (client, line) = good(&server, "good").await;
    let stop = Arc::new(AtomicBool::new(false));
    let native = |id: &str| hello(id, "") + "\n";
    let messages: String = (1..=17).map(|n| format!("M{n} {}\n", "x".repeat(100))).collect();
    let peers = [
        floods(&server, native("datagrams"), format!("D {}\n", "x".repeat(4_000)).repeat(16).into_bytes(), &stop),
        floods(&server, native("blanks"), vec![b'\n'; 16_384], &stop),
        floods(&server, native("window"), messages.into_bytes(), &stop),
        floods(&server, native("duplicates"), b"M1 x\n".repeat(1_000), &stop),
        floods(&server, native("probes"), b"P1\n".repeat(1_000), &stop),
        floods(&server, native("long"), vec![b'x'; 100_000], &stop),
        floods(&server, native("garbage"), (0..=255).rev().collect(), &stop),
        floods(&server, "GET / HTTP/1.1\r\n\r\n".into(), b"Host: x\r\n".repeat(100), &stop),
        floods(&server, "old\n".into(), b"01x\n02y\n".repeat(1_000), &stop),
        floods(&server, "old-too\n".into(), b"zz\n".to_vec(), &stop),
        floods(&server, String::new(), vec![b'x'; 1_000_000], &stop),
    ];
    exchanges(&client, &line, 50).await;
    stop.store(true, Ordering::Relaxed);
    for peer in peers {
        assert!(soon(peer).await.expect("no panic") > 0);
    }
    assert_eq!((line.connects(), client.connects()), (1, 1), "the good device has seen nothing of it");
    for line in server.connections() {
        let unread = line.status().unread;
        assert!(unread <= 256 + 16, "{unread} messages of {:?}", line.id());
    }
    assert!(server.faults().contains_key("window") && server.faults().contains_key("long"), "{:?}", server.faults());
}

// HL-0119
#[tokio::test]
async fn a_peer_that_never_reads_fills_its_own_outbox() {
    let server = listening(ServerConfig::default()).await;
    let (client, line) = good(&server, "good").await;
    let mut deaf = tcp(&server).await;
    greet(&mut deaf, &hello("deaf", "timeout=3600000 window=65535 max=1048576")).await;
    let to_deaf = soon(server.client("deaf")).await.expect("the server lives");
    soon(to_deaf.wait_up()).await.expect("the server lives");
    while to_deaf.try_send(&"x".repeat(50_000)).is_ok() {}
    while to_deaf.send_best_effort(&"x".repeat(4_000)).is_ok() {
        tokio::task::yield_now().await;
    }
    exchanges(&client, &line, 50).await;
    assert_eq!((line.connects(), client.connects()), (1, 1));
}

// HL-0113, HL-0119
#[tokio::test]
async fn two_hundred_connections_of_one_stranger_keep_no_device_out() {
    let limits = Limits { half_open_per_address: 200, ..Limits::default() };
    let server = listening(ServerConfig { limits, ..ServerConfig::default() }).await;
    let (client, line) = good(&server, "good").await;
    let mut connections = Vec::new();
    for _ in 0..190 {
        connections.push(tcp(&server).await);
    }
    exchanges(&client, &line, 10).await;
    line.drop_link();
    exchanges(&client, &line, 10).await;
    assert_eq!(line.connects(), 2);
}

// HL-0110, HL-0131
#[tokio::test(start_paused = true)]
async fn two_hundred_devices_that_return_at_one_moment_are_all_up_within_two_seconds() {
    let server = server(ServerConfig::default());
    let clients: Vec<Client> = (0..200).map(|n| client_of(&server, builder(&format!("dev-{n}")))).collect();
    let all_up = || async {
        for client in &clients {
            soon(client.wait_up()).await.expect("the client lives");
        }
    };
    all_up().await;
    sleep(10_000).await;
    // The access point reboots.
    for line in server.connections() {
        line.drop_link();
    }
    sleep(1).await;
    let start = Instant::now();
    all_up().await;
    assert!(since(start) <= 2_000, "{} ms", since(start));
    assert!(clients.iter().all(|client| client.connects() == 2));
}

// HL-0110
#[tokio::test]
async fn two_hundred_devices_come_in_at_once_over_real_sockets() {
    let server = listening(ServerConfig::default()).await;
    let address = server.local_addr().expect("it listens").to_string();
    let clients: Vec<Client> =
        (0..200).map(|n| Client::builder(&format!("dev-{n}"), &address).start().expect("a valid client")).collect();
    for client in &clients {
        soon(client.wait_up()).await.expect("the client lives");
    }
    for line in server.connections() {
        line.drop_link();
    }
    for client in &clients {
        let line = soon(server.client(client.id())).await.expect("the server lives");
        let (written, read) = soon(async { tokio::join!(client.write("back"), line.readline()) }).await;
        assert_eq!((written, read.as_deref()), (Ok(()), Ok("back")));
    }
}

// HL-0120
#[tokio::test]
async fn a_server_out_of_file_descriptors_goes_on_when_there_are_some_again() {
    let program = std::env::current_exe().expect("this program has a file");
    let mut child = Command::new(program)
        .args(["--ignored", "--exact", "--nocapture", "a_server_with_few_file_descriptors"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let output = child.stdout.take().expect("it is piped");
    let address = tokio::task::spawn_blocking(move || {
        use std::io::BufRead;
        let mut lines = std::io::BufReader::new(output).lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.split_once("listens on ").map(|(_, address)| address.to_owned()));
        // The rest is kept: the program must be able to go on writing.
        (address, lines)
    });
    let (address, _lines) = soon(address).await.expect("no panic");
    let address = address.expect("it says where it listens");
    let mut strangers = Vec::new();
    for _ in 0..100 {
        strangers.push(TcpStream::connect(&address).await.expect("the backlog takes it"));
    }
    // In a moment it has accepted what it can, and failed.
    sleep(200).await;
    drop(strangers);
    let mut device = Hand::new(TcpStream::connect(&address).await.expect("the backlog takes it"));
    greet(&mut device, &hello("dev", "")).await;
    drop(child.stdin.take());
    let status = tokio::task::spawn_blocking(move || child.wait());
    assert!(soon(status).await.expect("no panic").expect("it ends").success());
}

/// The server of the test above, in a program of its own; it ends with its standard input.
#[tokio::test]
#[ignore = "it is run by `a_server_out_of_file_descriptors_goes_on_when_there_are_some_again`"]
async fn a_server_with_few_file_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let server = listening(ServerConfig::default()).await;
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(30), maximum }).expect("less is always allowed");
    println!("it listens on {}", server.local_addr().expect("it listens"));
    let end = tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    end.await.expect("no panic").expect("it can be read");
    assert!(server.get("dev").is_some());
}
