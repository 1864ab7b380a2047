//! What a peer can do wrong, by name, and how a link ends (SPEC.md, 13).
mod support;

use holdline_proto::{ByeCode, Client, DownReason, Event, Keeps, PeerFault, Server, ValidConfig};
use support::{Greets, HELLO, Lone, Pair, WELCOME, changed, config, defaults};

on_both_sides!(
    a_line_that_is_no_frame_is_named_so,
    a_number_has_one_spelling,
    a_line_longer_than_announced_is_named_as_soon_as_it_is,
    a_text_that_is_not_utf8_is_named_so,
    a_text_with_a_nul_is_named_so,
    more_messages_than_the_window_are_named_so,
    an_ack_of_nothing_is_named_so,
    a_rewind_out_of_range_is_named_so,
    a_greeting_in_mid_link_is_named_so,
    faults_are_looked_for_in_one_order,
    what_stands_before_a_fault_counts_and_what_stands_behind_it_does_not,
    a_goodbye_of_the_peer_ends_the_link_without_an_answer,
    a_goodbye_of_this_side_is_the_last_line,
    acks_are_said_before_the_goodbye,
    ending_what_has_ended_says_nothing,
);

/// A session with messages behind it in both directions and one on its way in each.
fn busy<R: Greets>(config: ValidConfig) -> Lone<R> {
    let mut lone = Lone::up_with(config, "");
    lone.sends("one");
    lone.says();
    lone.hears("M1 eins\nA1\n");
    lone.sends("two");
    lone.says();
    lone.app.news();
    lone
}

/// The peer says these bytes, and the link ends with this fault and nothing else.
fn ends_with<R: Greets>(fault: PeerFault, bytes: &[u8]) {
    let mut lone = busy::<R>(defaults());
    ends(&mut lone, fault, bytes);
}

// HL-0142, HL-0143
fn ends<R: Greets>(lone: &mut Lone<R>, fault: PeerFault, bytes: &[u8]) {
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
    let before = (lone.session.snapshot(), lone.app.got.len());
    lone.hears(bytes);
    assert_eq!(lone.app.news(), [Event::Down(DownReason::Fault(fault))], "{shown:?}");
    assert_eq!(lone.says(), format!("B{}\n", fault.code()), "{shown:?}");
    assert_eq!((lone.session.snapshot(), lone.app.got.len()), before, "{shown:?} changed something");
    // The session goes on, on another link.
    let (epoch, acked, accepted) = (before.0.epoch, before.0.acked, before.0.accepted);
    lone.meet(&format!("base={accepted} peer={epoch} seen={acked}"));
    assert!(lone.session.is_up(), "{shown:?}");
    lone.app.news();
    lone.says();
    lone.hears(format!("M{} goes on\nA{acked}\n", accepted + 1));
    assert_eq!(lone.app.got.last().map(String::as_str), Some("goes on"), "{shown:?}");
    assert_eq!(lone.app.news(), [], "{shown:?}");
}

// HL-0148
fn a_line_that_is_no_frame_is_named_so<R: Greets>() {
    for line in ["Xwhat", "m1 on", " M1 on", "D", "Dnow", "Hello", "HOLD", "\r", "1", "*00000000"] {
        ends_with::<R>(PeerFault::Frame, format!("{line}\n").as_bytes());
    }
}

// HL-0149
fn a_number_has_one_spelling<R: Greets>() {
    let messages = ["M", "M ", "M2", "M2on", "M02 on", "M+2 on", "M-2 on", "M 2 on", "M0x2 on"];
    let large =
        ["M9223372036854775808 on", "M18446744073709551615 on", "M18446744073709551617 on", "M99999999999999999999999 on"];
    let others = [
        "A",
        "A1 ",
        "A01",
        "A-1",
        "Aone",
        "A9223372036854775808",
        "R",
        "R2 on",
        "R02",
        "P",
        "P 1",
        "P1.",
        "P18446744073709551616",
    ];
    for line in messages.iter().chain(&large).chain(&others) {
        ends_with::<R>(PeerFault::Number, format!("{line}\n").as_bytes());
    }
}

// HL-0145, HL-0006
fn a_line_longer_than_announced_is_named_as_soon_as_it_is<R: Greets>() {
    let short = config(|c| c.max_line(128));
    let mut lone = busy::<R>(short);
    lone.hears("D ".to_owned() + &"x".repeat(126));
    assert_eq!(lone.app.news(), [], "128 bytes are allowed");
    lone.hears("\n");
    assert_eq!(lone.app.best_effort, ["x".repeat(126)]);
    ends(&mut lone, PeerFault::Long, &[b'x'; 129]);
    ends(&mut busy::<R>(short), PeerFault::Long, &[&[b'x'; 129][..], b"\n"].concat());
}

// HL-0146
fn a_text_that_is_not_utf8_is_named_so<R: Greets>() {
    for line in [&b"M2 \xff\n"[..], b"D caf\xc3\n", b"M2 \xed\xa0\x80\n", b"D \xf4\x90\x80\x80\n", b"M2 \xc0\xaf\n"] {
        ends_with::<R>(PeerFault::Utf8, line);
    }
}

// HL-0147
fn a_text_with_a_nul_is_named_so<R: Greets>() {
    for line in ["M2 o\0n\n", "D \0\n"] {
        ends_with::<R>(PeerFault::Nul, line.as_bytes());
    }
}

// HL-0150
fn more_messages_than_the_window_are_named_so<R: Greets>() {
    let narrow = config(|c| c.window(2));
    ends(&mut busy::<R>(narrow), PeerFault::Window, b"M4 beyond, with a gap\n");
    let mut lone = busy::<R>(narrow);
    lone.app.holds = true;
    lone.hears("M2 two\nM3 three\n");
    let before = lone.session.snapshot();
    lone.hears("M4 four\n");
    assert_eq!(lone.app.news(), [Event::Down(DownReason::Fault(PeerFault::Window))]);
    assert_eq!(lone.says(), "Bwindow\n");
    assert_eq!((lone.app.got.len(), lone.session.snapshot()), (3, before));
    lone.accepts();
    lone.meet("base=2 peer=101 seen=1");
    lone.hears("M4 four\n");
    assert_eq!(lone.app.got, ["eins", "two", "three", "four"], "there is room once the application accepts");
}

// HL-0151
fn an_ack_of_nothing_is_named_so<R: Greets>() {
    for line in ["A3\n", "A9223372036854775807\n"] {
        ends_with::<R>(PeerFault::Ack, line.as_bytes());
    }
    // Queued is not sent: 3 waits for the window, or for the next flush.
    let mut lone = busy::<R>(defaults());
    lone.sends("three");
    lone.hears("A3\n");
    assert_eq!(lone.app.news(), [Event::Down(DownReason::Fault(PeerFault::Ack))]);
}

// HL-0152: 1 is acked, 2 is on its way, 3 would be the next.
fn a_rewind_out_of_range_is_named_so<R: Greets>() {
    for line in ["R0\n", "R1\n", "R4\n", "R9223372036854775807\n"] {
        ends_with::<R>(PeerFault::Rewind, line.as_bytes());
    }
    let mut lone = busy::<R>(defaults());
    lone.hears("R2\nR3\n");
    assert_eq!(lone.app.news(), [], "one below next, and next itself, are in range");
}

// HL-0153
fn a_greeting_in_mid_link_is_named_so<R: Greets>() {
    for line in [HELLO, WELCOME, "HOLD/", "HOLD/2 whatever", "HOLD/1 no code=busy"] {
        ends_with::<R>(PeerFault::Hello, format!("{line}\n").as_bytes());
    }
}

fn faults_are_looked_for_in_one_order<R: Greets>() {
    ends_with::<R>(PeerFault::Long, &[b"X\xff\0", &[b'x'; 4_096][..]].concat());
    ends_with::<R>(PeerFault::Utf8, b"X\xff\0\n");
    ends_with::<R>(PeerFault::Utf8, b"M01 \xff\0\n");
    ends_with::<R>(PeerFault::Nul, b"X\0\n");
    ends_with::<R>(PeerFault::Nul, b"A1\0\n");
    ends_with::<R>(PeerFault::Nul, b"M99 \0\n");
    ends_with::<R>(PeerFault::Frame, b"X01\n");
    ends_with::<R>(PeerFault::Number, b"A99x\n");
}

// HL-0143
fn what_stands_before_a_fault_counts_and_what_stands_behind_it_does_not<R: Greets>() {
    let mut lone = busy::<R>(defaults());
    lone.hears("M2 before\nA2\nXwhat\nM3 behind\nD behind\n");
    assert_eq!(lone.app.got, ["eins", "before"]);
    assert_eq!(lone.app.best_effort, [""; 0]);
    assert_eq!(lone.session.acked(), 2);
    lone.hears("M3 still behind\n");
    assert_eq!(lone.app.got, ["eins", "before"], "a link that ended hears nothing");
}

// HL-0025
fn a_goodbye_of_the_peer_ends_the_link_without_an_answer<R: Greets>() {
    let cases = [
        ("Bdone", ByeCode::Done, 0),
        ("Bclosing retry=1500", ByeCode::Closing, 1_500),
        ("Bclosing retry=1500 back soon", ByeCode::Closing, 1_500),
        ("Bclosing retry=99999999999", ByeCode::Closing, 3_600_000),
        ("Bclosing retry=soon", ByeCode::Closing, 0),
        ("Breset", ByeCode::Reset, 0),
        ("Btakeover", ByeCode::Takeover, 0),
        ("Bnumber see line 3", ByeCode::Fault(PeerFault::Number), 0),
        ("Bmute", ByeCode::Fault(PeerFault::Mute), 0),
        ("Bfrom-the-future retry=7", ByeCode::Unknown, 7),
        ("B", ByeCode::Unknown, 0),
    ];
    for (line, code, retry_ms) in cases {
        let mut lone = busy::<R>(defaults());
        lone.sends("three");
        lone.session.handle_timeout(lone.now.plus(1_000));
        lone.hears(format!("{line}\nM2 behind\n"));
        assert_eq!(lone.app.news(), [Event::Down(DownReason::Bye { code, retry_ms })], "{line}");
        assert_eq!(lone.app.got, ["eins"], "{line}");
        lone.says();
        lone.sends("four");
        assert_eq!(lone.says(), "", "{line}");
    }
}

// HL-0129
fn a_goodbye_of_this_side_is_the_last_line<R: Greets>() {
    for (code, retry_ms, line) in [(ByeCode::Done, 0, "Bdone\n"), (ByeCode::Closing, 1_500, "Bclosing retry=1500\n")] {
        let mut lone = busy::<R>(defaults());
        lone.session.close(code, retry_ms);
        lone.sends("three");
        assert_eq!(lone.says(), line);
        assert_eq!(lone.app.news(), [Event::Down(DownReason::Closed)]);
        lone.hears("M2 late\n");
        assert_eq!(lone.app.got, ["eins"]);
        lone.waits(60_000);
        assert_eq!(lone.says(), "");
    }
}

// HL-0126
fn acks_are_said_before_the_goodbye<R: Greets>() {
    let mut lone = busy::<R>(defaults());
    lone.app.holds = true;
    lone.hears("M2 zwei\n");
    lone.accepts();
    lone.session.close(ByeCode::Closing, 100);
    assert_eq!(lone.says(), "A2\nBclosing retry=100\n");
}

// HL-0141
fn ending_what_has_ended_says_nothing<R: Greets>() {
    let mut lone = busy::<R>(defaults());
    lone.cut();
    assert_eq!(lone.app.news(), [Event::Down(DownReason::Disconnected)]);
    lone.cut();
    lone.session.close(ByeCode::Done, 0);
    lone.waits(60_000);
    assert_eq!(lone.app.news(), []);
    assert_eq!(lone.says(), "");
}

// HL-0153
#[test]
fn a_malformed_welcome_is_a_fault() {
    let without = |key: &str| WELCOME.split(' ').filter(|field| !field.starts_with(key)).collect::<Vec<_>>().join(" ");
    let keys = ["boot=", "epoch=", "base=", "peer=", "seen=", "keeps=", "timeout=", "window=", "max="];
    let mut lines: Vec<String> = keys.map(without).to_vec();
    lines.extend(["epoch=0", "window=0", "timeout=199", "max=127", "keeps=some"].map(|wrong| changed(WELCOME, wrong)));
    lines.extend(["HOLD/1 ", "HOLD/1 ok", "HOLD/1 yes", "HOLD/1 no retry=3"].map(str::to_owned));
    lines.push(format!("{WELCOME} epoch=5"));
    lines.push(changed(WELCOME, &format!("note={}", "x".repeat(512))));
    for line in lines {
        let mut client = Lone::<Client>::new(defaults());
        client.connect();
        client.hears_line(&line);
        assert_eq!(client.app.news(), [Event::Down(DownReason::Fault(PeerFault::Hello))], "{line}");
        assert_eq!(client.says(), "Bhello\n", "{line}");
    }
}

// HL-0024
#[test]
fn a_client_that_does_not_wait_for_the_welcome_is_at_fault() {
    let mut server = Lone::<Server>::new(defaults());
    let line = format!("{HELLO}\n");
    let Ok(Some((holdline_proto::Greeting::Native(hello), _))) = holdline_proto::Greeting::read(line.as_bytes(), false) else {
        panic!("a good hello");
    };
    server.session.handle_hello(server.now, 1, &hello);
    server.hears("M1 too early\n");
    assert_eq!(server.app.news(), [Event::Down(DownReason::Fault(PeerFault::Hello))]);
    assert_eq!(server.says(), "Bhello\n");
    assert_eq!(server.app.got, [""; 0]);
}

// HL-0142: the peer is told, and both sessions go on.
#[test]
fn a_fault_in_the_middle_of_traffic_costs_a_link_and_no_message() {
    let durable = config(|c| c.keeps(Keeps::Both));
    let mut pair = Pair::with(durable, durable);
    pair.connect();
    for number in 0..10 {
        pair.client.send(pair.now, &format!("up {number}")).expect("room");
        pair.server.send(pair.now, &format!("down {number}")).expect("room");
        pair.client_sends();
        pair.server_sends();
        if number % 2 == 0 {
            let noise = b"?!\n";
            if number % 4 == 0 { pair.up.extend(noise) } else { pair.down.extend(noise) }
        }
        pair.drive();
        if !pair.client.has_link() || !pair.server.has_link() {
            pair.cut();
            pair.connect();
        }
    }
    assert_eq!(pair.server_app.got, (0..10).map(|number| format!("up {number}")).collect::<Vec<_>>());
    assert_eq!(pair.client_app.got, (0..10).map(|number| format!("down {number}")).collect::<Vec<_>>());
    let fault = PeerFault::Frame;
    let told = DownReason::Bye { code: ByeCode::Fault(fault), retry_ms: 0 };
    assert_eq!(
        pair.server_app.downs(),
        [DownReason::Fault(fault), told, DownReason::Fault(fault), told, DownReason::Fault(fault)]
    );
    assert_eq!(pair.client_app.downs(), [told, DownReason::Fault(fault), told, DownReason::Fault(fault), told]);
}
