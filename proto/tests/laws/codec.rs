//! What one side writes the other reads back: greetings, every frame, every number.

use crate::cases;
use crate::support::{Greets, Lone, checked, config, field, outbox_of};
use holdline_proto::{Client, ClientId, Config, Greeting, Hello, Instant, Keeps, Outbox as _, Server, Terms, native};
use proptest::prelude::*;

const MOST: u64 = u64::MAX >> 1;

/// Numbers of every length.
fn any_number(max: u64) -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..64_u32).prop_map(move |(number, shift)| (number >> shift).min(max))
}

fn terms() -> impl Strategy<Value = Terms> {
    let keeps = prop_oneof![Just(Keeps::None), Just(Keeps::Sent), Just(Keeps::Seen), Just(Keeps::Both)];
    let streams = (any_number(u64::MAX), any_number(MOST), any_number(u64::MAX), any_number(MOST), any_number(u64::MAX));
    let limits = (200..=3_600_000_u32, 1..=u16::MAX, 128..=1_048_576_u32);
    (streams, limits, keeps, any::<u32>(), any::<Option<u32>>()).prop_map(|(streams, limits, keeps, base_sum, seen_sum)| {
        let (epoch, base, peer, seen, boot) = streams;
        let (timeout_ms, window, max_line) = limits;
        let epoch = epoch.max(1);
        // What is said of the own stream follows from what is kept, and of the other from whether it is known.
        let base_sum = keeps.sent().then_some(base_sum);
        Terms { boot, epoch, base, base_sum, peer, seen, held: 0, seen_sum, keeps, timeout_ms, window, max_line, link: 0 }
    })
}

fn config_of(terms: &Terms, check: bool) -> holdline_proto::ValidConfig {
    let config = Config::new().timeout_ms(terms.timeout_ms).window(terms.window).max_line(terms.max_line).keeps(terms.keeps);
    config.check(check).validate().expect("in range")
}

fn snapshot_of(terms: &Terms) -> native::Snapshot {
    native::Snapshot {
        epoch: terms.epoch,
        acked: terms.base,
        acked_sum: terms.base_sum,
        peer_epoch: terms.peer,
        accepted: terms.seen,
        accepted_sum: terms.seen_sum,
        ..native::Snapshot::default()
    }
}

fn said<R: holdline_proto::Role>(session: &mut native::Session<R, crate::support::Outbox>) -> Vec<u8> {
    let mut bytes = Vec::new();
    crate::support::drain(session, Instant::from_millis(0), &mut bytes);
    bytes
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[^\n\0]{0,60}", "[A-Z0-9 *]{0,12}", Just(String::new())]
}

/// A sender and a receiver that are `base` messages into their stream.
fn sides<S: Greets, R: Greets>(base: u64, check: bool) -> (Lone<S>, Lone<R>) {
    let config = config(|c| c.check(check));
    let sends = native::Snapshot { epoch: 101, acked: base, peer_epoch: 5, ..native::Snapshot::default() };
    let mut sender = Lone::<S>::restored(config, sends, &[]);
    sender.meet(&format!("peer=101 seen={base}"));
    sender.says();
    let receives = native::Snapshot { epoch: 101, peer_epoch: 5, accepted: base, ..native::Snapshot::default() };
    let mut receiver = Lone::<R>::restored(config, receives, &[]);
    receiver.meet(&format!("base={base}"));
    receiver.says();
    (sender, receiver)
}

/// The sender's message, the receiver's answers, and what the sender makes of them; each line also by hand.
fn frames_come_back<S: Greets, R: Greets>(base: u64, check: bool, texts: &[String]) {
    let line = |line: String| if check { checked(&line) } else { line + "\n" };
    let (mut sender, mut receiver) = sides::<S, R>(base, check);
    let written: Vec<String> = texts.iter().zip(base + 1..).map(|(text, seq)| line(format!("M{seq} {text}"))).collect();
    texts.iter().for_each(|text| {
        sender.sends(text);
    });
    let said = sender.says();
    assert_eq!(said, written.concat());
    let count = texts.len() as u64;
    if count > 1 {
        receiver.hears(&written[1]);
        let rewind = receiver.says();
        assert_eq!(rewind, line(format!("R{}", base + 1)));
        sender.hears(rewind);
        assert_eq!(sender.says(), said, "everything again");
    }
    sender.sleeps(1_000);
    sender.session.handle_timeout(sender.now);
    let probe = line(format!("P{}", base + count));
    assert_eq!(sender.says(), probe);
    receiver.hears(&said);
    assert_eq!(receiver.app.got, texts);
    let ack = receiver.says();
    assert_eq!(ack, line(format!("A{}", base + count)));
    receiver.hears(probe);
    assert_eq!(receiver.says(), ack);
    sender.hears(ack);
    assert_eq!((sender.session.acked(), sender.session.outbox().len()), (base + count, 0));
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn a_hello_is_read_as_it_was_meant(terms in terms(), name in "[!-<>-~]{1,64}", check in any::<bool>()) {
        let role = Client { id: ClientId::new(&name).expect("the grammar of names") };
        let outbox = outbox_of::<&str>(&[]);
        let mut client = native::Session::restore(role, config_of(&terms, check), terms.boot, snapshot_of(&terms), outbox);
        client.handle_connected(Instant::from_millis(0), 1);
        let bytes = said(&mut client);
        let whole = (Greeting::Native(Hello { client: &name, terms: Terms { link: u64::from(check), ..terms }, check }), bytes.len());
        prop_assert_eq!(Greeting::read(&bytes, check), Ok(Some(whole)));
    }

    #[test]
    fn a_welcome_is_read_as_it_was_meant(terms in terms(), hello in terms()) {
        // A peer that knows another epoch moves nothing; 101 is the one of the client below.
        prop_assume!(terms.peer != 101);
        let hello = Terms { peer: if hello.peer == terms.epoch { 0 } else { hello.peer }, timeout_ms: terms.timeout_ms, ..hello };
        let outbox = outbox_of::<&str>(&[]);
        let mut server = native::Session::restore(Server, config_of(&terms, false), terms.boot, snapshot_of(&terms), outbox);
        server.handle_hello(Instant::from_millis(0), 1, &Hello { client: "dev", terms: hello, check: false });
        let line = String::from_utf8(said(&mut server)).expect("it is ASCII");
        // The same fields as a hello, read by the same rules.
        let as_hello = line.replacen("ok", "client=dev", 1);
        let whole = (Greeting::Native(Hello { client: "dev", terms, check: false }), as_hello.len());
        prop_assert_eq!(Greeting::read(as_hello.as_bytes(), false), Ok(Some(whole)));
        let mut client = Lone::<Client>::new(config(|c| c));
        client.connect();
        client.hears(&line);
        let learned = client.session.snapshot();
        prop_assert_eq!((learned.peer_epoch, learned.accepted, learned.accepted_sum), (terms.epoch, terms.base, terms.base_sum));
        prop_assert_eq!((client.session.timeout_ms(), client.session.peer_keeps()), (terms.timeout_ms, terms.keeps));
        prop_assert_eq!(client.session.max_text(), terms.max_line - 22);
        prop_assert_eq!(field(&line, "window").map(str::to_owned), Some(terms.window.to_string()));
    }

    #[test]
    fn frames_are_read_as_they_were_meant(
        base in any_number(MOST - 20),
        check in any::<bool>(),
        texts in prop::collection::vec(text(), 1..5),
    ) {
        frames_come_back::<Client, Server>(base, check, &texts);
        frames_come_back::<Server, Client>(base, check, &texts);
    }

    #[test]
    fn best_effort_is_read_as_it_was_meant(text in text(), check in any::<bool>()) {
        let (mut sender, mut receiver) = sides::<Client, Server>(0, check);
        let mut buffer = [0; 512];
        let written = sender.session.send_best_effort(&text, &mut buffer).expect("it fits");
        receiver.hears(&buffer[..written]);
        prop_assert_eq!(&receiver.app.best_effort, &[text]);
    }

    #[test]
    fn goodbyes_are_read_as_they_were_meant(retry_ms in 0..=3_600_000_u32, check in any::<bool>()) {
        let (mut sender, mut receiver) = sides::<Server, Client>(0, check);
        sender.session.close(holdline_proto::ByeCode::Closing, retry_ms);
        receiver.hears(sender.says());
        let code = holdline_proto::ByeCode::Closing;
        prop_assert_eq!(receiver.app.downs(), [holdline_proto::DownReason::Bye { code, retry_ms }]);
    }
}
