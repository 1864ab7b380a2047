//! One server, and clients with and without checks at once (SPEC.md, 8.2).
mod support;

use holdline_server::proto::{
    Client as ClientRole, ClientId, Config, Event, Instant, Keeps, Outbox, RefusalCode, SendError, VecOutbox, native,
    native::Snapshot,
};
use holdline_server::{Client, ClientBuilder, Limits, Server, ServerConfig, What, WriteError};
use std::net::SocketAddr;
use std::time::Duration;
use support::check::{checked_wire, greets, hears, with_check};
use support::{Hand, builder, greet, hello, listening, read, report, server, sleep, soon, wire};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A timeout that no busy machine exceeds: these stories are about something else.
const PLAIN: Config = Config::new().timeout_ms(60_000);
const CHECKED: Config = PLAIN.check(true);

/// A server with a listener of each kind.
async fn mixed(config: ServerConfig) -> (Server, [SocketAddr; 2]) {
    let server = listening(config).await;
    let plain = server.local_addr().expect("it listens");
    let checked = server.listen_checked("127.0.0.1:0").await.expect("a free port");
    (server, [plain, checked])
}

fn calls(id: &str, address: SocketAddr) -> ClientBuilder {
    Client::builder(id, &address.to_string())
}

// HL-0097
#[tokio::test]
async fn clients_of_both_kinds_are_served_at_once() {
    let (server, [plain, checked]) = mixed(ServerConfig::default()).await;
    let clients = [calls("plain", plain).session(PLAIN), calls("uart", checked).session(CHECKED)]
        .map(|client| client.start().expect("valid"));
    for turn in 0..20 {
        for client in &clients {
            let line = soon(server.client(client.id())).await.expect("the server lives");
            client.send(&format!("up {turn}")).await.expect("there is room");
            line.send(&format!("down {turn}")).await.expect("there is room");
            assert_eq!(read(&line, 1).await, [format!("up {turn}")]);
            assert_eq!(read(client, 1).await, [format!("down {turn}")]);
        }
    }
    // What went over the two wires is what it should be.
    let mut by_hand = Hand::new(TcpStream::connect(checked).await.expect("it listens"));
    greets(&mut by_hand, &hello("by-hand", "")).await;
    let mut by_hand = Hand::new(TcpStream::connect(plain).await.expect("it listens"));
    greet(&mut by_hand, &hello("by-hand", "")).await;
    assert!(clients.iter().all(|client| client.connects() == 1 && client.faults().is_empty()));
}

/// How many messages go each way.
const MESSAGES: usize = 300;

/// A device that takes its session along from one kind of stream to the other.
struct Device {
    memory: Snapshot,
    outbox: VecOutbox,
    received: Vec<String>,
    began: tokio::time::Instant,
}

impl Device {
    /// One link to an address, which breaks when so many bytes have been received; never, where `None`, before all is done.
    async fn link(&mut self, address: SocketAddr, check: bool, fresh: u64, mut bytes: Option<usize>) {
        let id = ClientRole { id: ClientId::new("dev").expect("a valid id") };
        let config = PLAIN.keeps(Keeps::Both).window(5).check(check).validate().expect("in range");
        let began = self.began;
        let now = || Instant::from_millis(u64::try_from(began.elapsed().as_millis()).expect("a test is short"));
        let mut session = native::Session::restore(id, config, 1, self.memory, self.outbox.clone());
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        session.handle_connected(now(), fresh);
        let (mut input, mut output) = (Vec::new(), vec![0; 4_096]);
        while bytes != Some(0) && !(session.outbox().is_empty() && self.received.len() == MESSAGES) {
            loop {
                let written = session.poll_transmit(&mut output);
                // The other end may be gone, which is seen where it is read.
                let _ = stream.write_all(&output[..written]).await;
                session.handle_transmitted(now(), written);
                if written == 0 {
                    break;
                }
            }
            let mut buffer = vec![0; bytes.unwrap_or(4_096)];
            let read = soon(stream.read(&mut buffer)).await.unwrap_or(0);
            if read == 0 {
                break;
            }
            bytes = bytes.map(|left| left - read);
            input.extend_from_slice(&buffer[..read]);
            self.hears(&mut session, now(), &mut input);
        }
        // What is accepted by now is acknowledged on the next link only.
        (self.memory, self.outbox) = (session.snapshot(), session.outbox().clone());
    }

    fn hears(&mut self, session: &mut native::Session<ClientRole, VecOutbox>, now: Instant, input: &mut Vec<u8>) {
        loop {
            let heard = session.handle_input(now, input);
            let receipt = heard.message.and_then(|message| {
                self.received.push(message.text.to_owned());
                message.receipt
            });
            let consumed = heard.consumed;
            if let Some(receipt) = receipt {
                session.accept(receipt);
            }
            while let Some(event) = session.poll_event() {
                let allowed = matches!(event, Event::Up { .. } | Event::Acked(_));
                assert!(allowed, "{event:?}");
            }
            input.drain(..consumed);
            if consumed == 0 || input.is_empty() {
                return;
            }
        }
    }
}

// HL-0097, HL-0061
#[tokio::test]
async fn a_session_goes_on_over_a_stream_of_the_other_kind() {
    let (server, addresses) = mixed(ServerConfig::default()).await;
    let mut outbox = VecOutbox::new(1_024, 1 << 20);
    for number in 0..MESSAGES {
        outbox.push(None, &format!("up {number}")).expect("there is room");
    }
    let mut device = Device {
        memory: Snapshot { epoch: 7, ..Snapshot::default() },
        outbox,
        received: Vec::new(),
        began: tokio::time::Instant::now(),
    };
    let host = {
        let server = server.clone();
        tokio::spawn(async move {
            let line = server.client("dev").await.expect("the server lives");
            for number in 0..MESSAGES {
                line.send(&format!("down {number}")).await.expect("there is room");
            }
            read(&line, MESSAGES).await
        })
    };
    // Long enough for a welcome and some messages, and cut wherever it falls; the greeting of some links does not come through.
    for link in 0..30 {
        let check = link % 3 != 0;
        device
            .link(addresses[usize::from(check)], check, 1_000 + link, Some(60 + usize::try_from(link * 37 % 331).unwrap()))
            .await;
    }
    let early = device.received.len();
    assert!((1..MESSAGES).contains(&early) && !device.outbox.is_empty(), "messages wait on both sides: {early}");
    device.link(addresses[1], true, 2_000, None).await;
    device.link(addresses[0], false, 2_001, None).await;
    let numbered = |name: &str| (0..MESSAGES).map(|number| format!("{name} {number}")).collect::<Vec<_>>();
    assert_eq!(device.received, numbered("down"));
    assert_eq!(soon(host).await.expect("no panic"), numbered("up"));
    let line = server.get("dev").expect("it has been here");
    assert!(line.connects() > 5, "{}", line.connects());
}

// HL-0087
#[tokio::test(start_paused = true)]
async fn how_long_a_text_may_be_follows_the_link() {
    let server = server(ServerConfig::default());
    let mut reports = server.reports();
    let small = hello("dev", "max=128");
    let plain_max = "x".repeat(106);
    let too_long = |max| Err(WriteError::Text(SendError::TooLong { max }));
    let mut plain = wire(&server);
    greet(&mut plain, &small).await;
    let line = soon(server.client("dev")).await.expect("the server lives");
    assert_eq!(line.try_send(&"x".repeat(107)), too_long(106));
    // Still in the outbox when the client comes back over the other wire.
    assert_eq!(line.try_send(&plain_max), Ok(()));
    drop(plain);
    let mut checked = checked_wire(&server);
    greets(&mut checked, &small).await;
    assert_eq!(line.try_send(&"x".repeat(98)), too_long(97));
    assert_eq!(line.try_send(&"x".repeat(97)), Ok(()));
    let blocked = report(&mut reports, |what| matches!(what, What::Session(_))).await;
    assert_eq!(blocked.what, What::Session(Event::Blocked { seq: 1, len: 106, max: 97 }));
    assert_eq!(checked.hears_now().await, None, "nothing goes past the one that does not fit");
    drop(checked);
    let mut plain = wire(&server);
    greet(&mut plain, &small).await;
    assert_eq!(soon(plain.hears()).await, Some(format!("M1 {plain_max}")));
    assert_eq!(soon(plain.hears()).await, Some(format!("M2 {}", "x".repeat(97))));
    drop(plain);
    // And with its check the longest line is as long as the device said.
    let mut checked = checked_wire(&server);
    greets(&mut checked, &hello("dev", "max=128 peer=1 seen=0")).await;
    assert_eq!(line.try_send(&"x".repeat(98)), too_long(97));
}

// HL-0121
#[tokio::test(start_paused = true)]
async fn the_goodbye_to_a_link_that_is_taken_over_is_of_its_own_kind() {
    let server = server(ServerConfig::default());
    let mut plain = wire(&server);
    greet(&mut plain, &hello("dev", "")).await;
    let mut checked = checked_wire(&server);
    greets(&mut checked, &hello("dev", "")).await;
    assert_eq!(soon(plain.hears_all()).await, ["Btakeover"]);
    greet(&mut wire(&server), &hello("dev", "")).await;
    assert_eq!(hears(&mut checked).await.as_deref(), Some("Btakeover"));
}

// HL-0018
#[tokio::test]
async fn a_client_with_checks_is_told_where_none_are_taken_and_so_is_the_operator() {
    let (server, [plain, _]) = mixed(ServerConfig::default()).await;
    let mut reports = server.reports();
    let client = calls("uart", plain).session(CHECKED);
    let mut told = client.reports();
    let _client = client.start().expect("valid");
    let refused = report(&mut told, |what| matches!(what, What::Refused { .. })).await;
    assert!(matches!(refused.what, What::Refused { code: RefusalCode::Malformed, .. }), "{refused:?}");
    let wrong = report(&mut reports, |_| true).await;
    assert_eq!((&*wrong.client, wrong.what), ("uart", What::WrongCheck { checked: false }));
    assert!(server.connections().is_empty());
    // One that is malformed for another reason gets the one line that the specification has for it.
    let mut stranger = wire(&server);
    stranger.says("HOLD/1 client=dev").await;
    assert_eq!(soon(stranger.hears_all()).await, ["HOLD/1 no code=malformed"]);
    let mut uart = wire(&server);
    uart.says(&with_check(&hello("uart", "link=7"))).await;
    assert_eq!(soon(uart.hears()).await.as_deref(), Some("HOLD/1 no code=malformed"));
    assert_eq!(hears(&mut uart).await.as_deref(), Some("HOLD/1 no code=malformed"));
    assert_eq!(soon(uart.hears()).await, None);
}

// HL-0098, HL-0099
#[tokio::test(start_paused = true)]
async fn of_clients_without_checks_where_they_are_wanted_the_operator_hears_once_a_minute() {
    let server = server(ServerConfig::default());
    let mut reports = server.reports();
    let client = {
        let server = server.clone();
        builder("plain-0").start_with(move || {
            let (near, far) = tokio::io::duplex(support::PIPE);
            let server = server.clone();
            tokio::spawn(async move { server.serve_checked(far).await });
            async move { Ok(near) }
        })
    }
    .expect("a valid client");
    let mut told = client.reports();
    let wrong = report(&mut reports, |_| true).await;
    assert_eq!((&*wrong.client, wrong.what), ("plain-0", What::WrongCheck { checked: true }));
    let unanswered = report(&mut told, |_| true).await;
    assert!(matches!(unanswered.what, What::NotReached { unanswered: true, .. }), "{unanswered:?}");
    drop(client);
    let mut wires = Vec::new();
    for number in 1..50 {
        let mut wire = checked_wire(&server);
        wire.says(&hello(&format!("plain-{number}"), "")).await;
        // Nor is a line that was damaged on its way a client of the wrong kind.
        wire.says(&with_check(&hello("uart", "link=7")).replace("link=7", "link=8")).await;
        sleep(5_000).await;
        wires.push(wire);
    }
    let mut told = Vec::new();
    while let Ok(Some(report)) = tokio::time::timeout(Duration::from_millis(1), reports.next()).await {
        assert_eq!(report.what, What::WrongCheck { checked: true });
        told.push(report.client);
    }
    assert!((3..=5).contains(&told.len()), "49 of them in four minutes: {told:?}");
    for wire in &mut wires {
        assert_eq!(wire.hears_now().await, None);
    }
}

// HL-0111
#[tokio::test]
async fn a_connection_to_a_checked_listener_waits_for_its_hello_no_longer_than_any_other() {
    let limits = Limits { hello_timeout: Duration::from_secs(1), ..Limits::default() };
    let (server, [_, checked]) = mixed(ServerConfig { limits, ..ServerConfig::default() }).await;
    let mut wrong = Hand::new(TcpStream::connect(checked).await.expect("it listens"));
    wrong.says(&hello("plain", "")).await;
    assert_eq!(soon(wrong.hears_any()).await, None);
    assert_eq!(server.turned_away(), 1);
}

// HL-0113, HL-0100
#[tokio::test]
async fn a_connection_to_a_checked_listener_is_closed_with_its_last_link() {
    let limits = Limits { hello_timeout: Duration::from_secs(60), ..Limits::default() };
    let (_server, [_, checked]) = mixed(ServerConfig { limits, ..ServerConfig::default() }).await;
    let mut device = Hand::new(TcpStream::connect(checked).await.expect("it listens"));
    for link in [7, 8] {
        // The second one is said in the middle of the first one's link.
        greets(&mut device, &hello("dev", &format!("link={link}"))).await;
    }
    device.says(&with_check("Bclosing")).await;
    assert_eq!(soon(device.hears_any()).await, None);
}
