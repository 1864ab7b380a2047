//! Hello, welcome and refusal (SPEC.md, 4 and 6.1).
mod support;

use holdline_proto::{
    CLASSIC_ID_MAX, Client, ClientId, DownReason, Event, Greeting, HELLO_MAX, Incarnation, Instant, Keeps, OnForgotten,
    RefusalCode, Server, Terms, native, refuse,
};
use support::{HELLO, Lone, Pair, WELCOME, changed, config, defaults, drain, field, id, outbox, terms};

fn read(line: &str) -> Result<Terms, RefusalCode> {
    match Greeting::read(format!("{line}\n").as_bytes(), false)? {
        Some((Greeting::Native(hello), taken)) => {
            assert_eq!((hello.client, taken), ("dev", line.len() + 1), "{line}");
            Ok(hello.terms)
        }
        other => panic!("{line}: {other:?}"),
    }
}

// HL-0016, HL-0020
#[test]
fn a_client_says_hello_in_the_order_of_the_grammar() {
    let mut client = Lone::<Client>::new(config(|c| c.window(4).max_line(512).timeout_ms(1_500).keeps(Keeps::Sent)));
    client.connect();
    let hello = "HOLD/1 client=dev boot=11 epoch=101 base=0 peer=0 seen=0 keeps=sent timeout=1500 window=4 max=512 bsum=0\n";
    assert_eq!(client.greeting, hello);
    client.cut();
    client.connect();
    assert_eq!(client.greeting, hello, "nothing has happened in between");
}

// HL-0016, HL-0023
#[test]
fn a_server_answers_in_the_order_of_the_grammar() {
    let mut server = Lone::<Server>::new(config(|c| c.window(4).max_line(512).timeout_range_ms(3_000, 9_000)));
    server.greet("");
    let welcome = "HOLD/1 ok boot=11 epoch=101 base=0 peer=0 seen=0 keeps=none timeout=3000 window=4 max=512\n";
    assert_eq!(server.greeting, welcome);
}

// HL-0016
#[test]
fn the_longest_greetings_fit_their_limit() {
    let name = "n".repeat(64);
    let role = Client { id: ClientId::new(&name).expect("64 characters are allowed") };
    let most = u64::MAX / 2;
    let snapshot = native::Snapshot {
        epoch: u64::MAX,
        acked: most,
        acked_sum: Some(u32::MAX),
        contacted: true,
        peer_boot: 1,
        peer_epoch: u64::MAX,
        accepted: most,
        accepted_sum: Some(u32::MAX),
    };
    let config = config(|c| c.timeout_ms(3_600_000).window(u16::MAX).max_line(1_048_576).keeps(Keeps::Both));
    let mut client = native::Session::restore(role, config, u64::MAX, snapshot, outbox());
    client.handle_connected(Instant::from_millis(0), 1);
    let mut said = Vec::new();
    drain(&mut client, Instant::from_millis(0), &mut said);
    assert!(said.len() - 1 <= HELLO_MAX, "{} bytes", said.len() - 1);
    let Ok(Some((Greeting::Native(hello), _))) = Greeting::read(&said, false) else { panic!("it is a hello") };
    assert_eq!((hello.client, hello.terms.epoch, hello.terms.base), (name.as_str(), u64::MAX, most));
}

// HL-0023
#[test]
fn a_proposed_timeout_is_clamped_to_the_range_of_the_server() {
    for (proposed, settled) in [(200, 1_000), (999, 1_000), (1_000, 1_000), (5_000, 5_000), (8_000, 8_000), (3_600_000, 8_000)] {
        let mut pair = Pair::with(config(|c| c.timeout_ms(proposed)), config(|c| c.timeout_range_ms(1_000, 8_000)));
        pair.connect();
        assert_eq!((pair.client.timeout_ms(), pair.server.timeout_ms()), (settled, settled), "proposed {proposed}");
    }
}

// HL-0024
#[test]
fn a_client_says_nothing_before_the_welcome() {
    let mut client = Lone::<Client>::new(defaults());
    client.connect();
    client.sends("queued");
    client.waits(4_999);
    assert_eq!(client.says(), "");
    let mut buffer = [0; 64];
    assert!(client.session.send_best_effort("now", &mut buffer).is_err());
    assert!(!client.session.is_up());
}

// HL-0060
#[test]
fn a_client_confirms_the_welcome_before_it_says_anything_else() {
    let mut client = Lone::<Client>::new(defaults());
    client.sends("queued");
    client.connect();
    let welcome = format!("{WELCOME}\n");
    assert_eq!(client.session.handle_input(client.now, welcome.as_bytes()).consumed, welcome.len());
    let mut buffer = [0; 64];
    assert!(client.session.send_best_effort("hasty", &mut buffer).is_err(), "the confirmation comes first");
    assert_eq!(client.says(), "\nM1 queued\n");
}

// HL-0061
#[test]
fn a_server_may_speak_right_after_its_welcome() {
    let mut client = Lone::<Client>::new(defaults());
    client.connect();
    client.hears(format!("{WELCOME}\nM1 at once\nD and this\nA0\n"));
    assert_eq!(
        (client.app.got.as_slice(), client.app.best_effort.as_slice()),
        (&["at once".into()][..], &["and this".into()][..])
    );
    assert_eq!(client.says(), "\nA1\n");
}

#[test]
fn both_sides_come_up_with_the_handshake_and_say_whether_it_is_the_first() {
    let mut pair = Pair::new();
    for resumed in [false, true, true] {
        pair.connect();
        assert_eq!(pair.client_app.news(), [Event::Up { resumed }]);
        assert_eq!(pair.server_app.news(), [Event::Up { resumed }]);
        assert!(pair.client.is_up() && pair.server.is_up());
        pair.cut();
        assert_eq!(pair.client_app.news(), [Event::Down(DownReason::Disconnected)]);
        assert_eq!(pair.server_app.news(), [Event::Down(DownReason::Disconnected)]);
    }
}

// HL-0141
#[test]
fn a_link_that_was_never_confirmed_was_never_up() {
    let mut server = Lone::<Server>::new(defaults());
    server.greet("");
    assert!(!server.session.is_up());
    assert_eq!(server.app.news(), []);
    server.hears("\n");
    assert!(server.session.is_up());
    assert_eq!(server.app.news(), [Event::Up { resumed: false }]);
}

// HL-0021, HL-0022
#[test]
fn each_side_learns_what_the_other_keeps() {
    let all = [Keeps::None, Keeps::Sent, Keeps::Seen, Keeps::Both];
    for (client, server) in all.into_iter().zip(all.into_iter().rev()) {
        let mut pair = Pair::with(config(|c| c.keeps(client)), config(|c| c.keeps(server)));
        pair.connect();
        assert_eq!((pair.client.peer_keeps(), pair.server.peer_keeps()), (server, client));
    }
}

// HL-0019
#[test]
fn an_epoch_is_kept_over_links_and_is_never_zero() {
    let mut zero = native::Session::new(id(), defaults(), Incarnation { boot: 0, epoch: 0 }, outbox());
    zero.handle_connected(Instant::from_millis(0), 0);
    let mut said = Vec::new();
    drain(&mut zero, Instant::from_millis(0), &mut said);
    let Ok(Some((Greeting::Native(hello), _))) = Greeting::read(&said, false) else { panic!("it is a hello") };
    assert_ne!(hello.terms.epoch, 0);
    let mut lone = Lone::<Server>::new(defaults());
    for _ in 0..3 {
        lone.meet("");
        assert_eq!((field(&lone.greeting, "epoch"), field(&lone.greeting, "boot")), (Some("101"), Some("11")));
        lone.cut();
    }
}

// What a server makes of a first line

// HL-0009, HL-0010, HL-0011, HL-0012
#[test]
fn the_first_line_tells_the_profile() {
    assert_eq!(read(HELLO), Ok(terms()));
    for line in ["HOLD/2 ok", "HOLD/1", "HOLD/", "HOLD/10 client=dev"] {
        assert_eq!(Greeting::read(format!("{line}\n").as_bytes(), false), Err(RefusalCode::Version), "{line}");
    }
    for line in ["SEAL/1 dev abc", "SEAL/"] {
        assert_eq!(Greeting::read(format!("{line}\n").as_bytes(), false), Err(RefusalCode::Sealed), "{line}");
    }
    for id in ["1", "HOLD", "hold/1 client=dev", "GET / HTTP/1.1\r", "Küche", &"i".repeat(CLASSIC_ID_MAX)] {
        assert_eq!(Greeting::read(format!("{id}\nM").as_bytes(), false), Ok(Some((Greeting::Classic(id), id.len() + 1))));
    }
    for line in [&b"\n"[..], b"\xff\n", &[&[b'i'; CLASSIC_ID_MAX + 1][..], b"\n"].concat()] {
        assert_eq!(Greeting::read(line, false), Err(RefusalCode::Malformed));
    }
}

// HL-0017
#[test]
fn fields_come_in_any_order_and_unknown_ones_are_ignored() {
    let mut fields: Vec<&str> = HELLO.strip_prefix("HOLD/1 ").expect("it begins so").split(' ').collect();
    for _ in 0..fields.len() {
        fields.rotate_left(1);
        assert_eq!(read(&format!("HOLD/1 {}", fields.join(" "))), Ok(terms()));
    }
    for unknown in ["colour=blue", "colour=", "colour=a=b", "colour=1 colour=2", "Boot=7"] {
        assert_eq!(read(&format!("{HELLO} {unknown}")), Ok(terms()), "{unknown}");
        assert_eq!(read(&format!("HOLD/1 {unknown} {}", fields.join(" "))), Ok(terms()), "{unknown}");
    }
    let sums = Terms { base_sum: Some(0), seen_sum: Some(4_294_967_295), ..terms() };
    assert_eq!(read(&format!("{HELLO} sum=4294967295 bsum=0")), Ok(sums));
}

// HL-0018
#[test]
fn a_hello_that_is_not_in_the_grammar_is_malformed() {
    let mut lines = Vec::new();
    for key in ["client=", "boot=", "epoch=", "base=", "peer=", "seen=", "keeps=", "timeout=", "window=", "max="] {
        let one = HELLO.split(' ').find(|field| field.starts_with(key)).expect("a hello has them all");
        lines.push(HELLO.split(' ').filter(|field| !field.starts_with(key)).collect::<Vec<_>>().join(" "));
        lines.push(format!("{HELLO} {one}"));
        lines.push(changed(HELLO, key));
    }
    let wrong = "epoch=0 base=9223372036854775808 seen=9223372036854775808 boot=18446744073709551616 boot=01 boot=+1 boot=1. \
        boot=0x1 keeps=all keeps=None timeout=199 timeout=3600001 window=0 window=65536 max=127 max=1048577 bsum=4294967296 \
        sum=4294967296 sum=x client=a=b client=Küche";
    lines.extend(wrong.split_whitespace().map(|field| changed(HELLO, field)));
    lines.push(changed(HELLO, &format!("client={}", "n".repeat(65))));
    lines.extend([format!("{HELLO} "), HELLO.replacen(" boot", "  boot", 1), format!("{HELLO} blue"), format!("{HELLO} =blue")]);
    lines.extend([format!("{HELLO}\r"), format!("{HELLO} bsum=1 bsum=1"), "HOLD/1 ".into(), "HOLD/1 hello".into()]);
    for line in lines {
        assert_eq!(read(&line), Err(RefusalCode::Malformed), "{line}");
    }
}

// HL-0018
#[test]
fn the_limits_of_a_hello_are_inclusive() {
    for field in [
        "boot=0",
        "boot=18446744073709551615",
        "epoch=18446744073709551615",
        "base=9223372036854775807",
        "timeout=200",
        "timeout=3600000",
        "window=1",
        "window=65535",
        "max=128",
        "max=1048576",
    ] {
        assert!(read(&changed(HELLO, field)).is_ok(), "{field}");
    }
}

// HL-0018, HL-0112
#[test]
fn a_greeting_is_awaited_up_to_its_limit_and_not_beyond() {
    let filler = |length: usize| format!("{HELLO} x={}", "y".repeat(length - HELLO.len() - 3));
    assert_eq!(read(&filler(HELLO_MAX)), Ok(terms()));
    assert_eq!(Greeting::read(format!("{}\n", filler(HELLO_MAX + 1)).as_bytes(), false), Err(RefusalCode::Malformed));
    let stranger = vec![b'x'; HELLO_MAX + 1];
    for length in 0..=HELLO_MAX {
        assert_eq!(Greeting::read(&stranger[..length], false), Ok(None));
    }
    assert_eq!(Greeting::read(&stranger, false), Err(RefusalCode::Malformed));
}

#[test]
fn a_client_id_is_one_to_64_printable_characters() {
    for good in ["1", "porch-lamp", "!~<>", &"n".repeat(64)] {
        assert_eq!(ClientId::new(good).expect(good).as_str(), good);
    }
    for bad in ["", "a b", "a=b", "a\n", "\u{7f}", "é", &"n".repeat(65)] {
        assert!(ClientId::new(bad).is_err(), "{bad:?}");
    }
}

// What a client makes of the answer

// HL-0014
#[test]
fn any_other_answer_is_not_holdline() {
    for line in ["", "00", "00hello", "HTTP/1.1 400 Bad Request\r", "HOLD/2 ok", "HOLD/1", "hold/1 ok", " HOLD/1 ok", "Bdone"] {
        let mut client = Lone::<Client>::new(defaults());
        client.connect();
        client.hears(format!("{line}\nmore of it\n"));
        assert_eq!(client.app.news(), [Event::Down(DownReason::NotHoldline)], "{line:?}");
        assert_eq!(client.says(), "", "{line:?}");
    }
}

// HL-0017
#[test]
fn a_welcome_may_carry_fields_that_come_later_in_history() {
    let mut client = Lone::<Client>::new(defaults());
    client.greet("colour=blue");
    assert!(client.session.is_up());
}

// HL-0156
#[test]
fn a_refusal_is_reported_as_it_came() {
    let known = [
        RefusalCode::Malformed,
        RefusalCode::Version,
        RefusalCode::Sealed,
        RefusalCode::Profile,
        RefusalCode::DuplicateClient,
        RefusalCode::UnknownClient,
        RefusalCode::Busy,
        RefusalCode::Closing,
    ];
    for code in known {
        for retry_ms in [0, 20_000] {
            let mut buffer = [0; 64];
            let length = refuse(code, retry_ms, false, &mut buffer);
            refused(&buffer[..length], code, retry_ms);
        }
    }
    refused(b"HOLD/1 no code=too-hot retry=5 since=noon\n", RefusalCode::Unknown, 5);
    refused(b"HOLD/1 no since=noon retry=5 code=busy\n", RefusalCode::Busy, 5);
    // At most an hour is honoured.
    refused(b"HOLD/1 no code=busy retry=3600001\n", RefusalCode::Busy, 3_600_000);
}

fn refused(line: &[u8], code: RefusalCode, retry_ms: u32) {
    let mut client = Lone::<Client>::new(defaults());
    client.sends("kept");
    client.connect();
    client.hears(line);
    assert_eq!(client.app.news(), [Event::Down(DownReason::Refused { code, retry_ms })], "{}", String::from_utf8_lossy(line));
    assert_eq!(client.says(), "");
    client.meet("");
    assert_eq!(client.says(), "\nM1 kept\n");
}

#[test]
fn a_refusal_is_written_whole_or_not_at_all() {
    let mut buffer = [0; 64];
    let length = refuse(RefusalCode::DuplicateClient, 20_000, false, &mut buffer);
    assert_eq!(&buffer[..length], b"HOLD/1 no code=duplicate-client retry=20000\n");
    assert_eq!(refuse(RefusalCode::DuplicateClient, 20_000, false, &mut buffer[..length - 1]), 0);
}

// HL-0069
#[test]
fn a_client_greets_again_only_once_after_a_skip() {
    let skips = config(|c| c.on_forgotten(OnForgotten::Skip));
    let mut pair = Pair::with(skips, config(|c| c));
    pair.connect();
    pair.client.send(pair.now, "one").expect("room");
    pair.client_sends();
    pair.restart_server((native::Snapshot { epoch: 303, ..native::Snapshot::default() }, outbox()));
    pair.client.send(pair.now, "two").expect("room");
    pair.connect();
    assert_eq!(pair.client_app.downs(), [DownReason::Disconnected, DownReason::Reset]);
    pair.cut();
    pair.connect();
    assert!(pair.client.is_up());
    assert_eq!(pair.server_app.got, ["two"]);
}
