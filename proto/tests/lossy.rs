//! Streams that can lose a line: gaps, rewinds, probes, checks (SPEC.md, 8).
mod support;

use holdline_proto::{Client, DownReason, Event, Greeting, RefusalCode, Server, ValidConfig};
use support::{Greets, HELLO, Lone, Pair, WELCOME, changed, checked, config, field};

on_both_sides!(
    a_gap_is_asked_for_once_and_what_does_not_fit_is_dropped,
    a_rewind_is_obeyed_in_order_and_acks_nothing,
    a_probe_is_answered_at_once,
    a_probe_names_the_last_message_sent,
    every_line_but_the_blank_one_is_checked,
    a_line_with_a_wrong_check_is_dropped_and_counted,
    the_check_counts_against_the_longest_line,
    a_rewind_is_said_before_the_ack,
);

fn with_check() -> ValidConfig {
    config(|c| c.check(true))
}

// HL-0087, HL-0097
#[test]
fn a_link_of_a_server_is_of_the_kind_of_its_hello() {
    let mut lone = Lone::<Server>::new(config(|c| c));
    for (check, max) in [(false, 106), (true, 97), (true, 97), (false, 106)] {
        let line = changed(HELLO, "max=128 link=7");
        let bytes = if check { checked(&line) } else { format!("{line}\n") };
        let read = Greeting::read(bytes.as_bytes(), check);
        let Ok(Some((Greeting::Native(hello), _))) = read else { panic!("{read:?}") };
        lone.session.handle_hello(lone.now, 1, &hello);
        assert_eq!(lone.session.max_text(), max);
        let welcome = lone.says();
        let (body, _) = welcome.rsplit_once('*').unwrap_or((welcome.trim_end(), ""));
        assert_eq!(welcome, if check { checked(body) } else { format!("{body}\n") });
        assert_eq!(field(body, "link"), check.then_some("7"));
    }
}

// HL-0093
fn a_gap_is_asked_for_once_and_what_does_not_fit_is_dropped<R: Greets>() {
    let mut lone = Lone::<R>::up();
    lone.hears("M1 one\nM3 three\nM4 four\n");
    assert_eq!(lone.says(), "R2\nA1\n");
    lone.hears("M5 five\n");
    assert_eq!(lone.says(), "");
    lone.hears("M2 two\nM3 three\nM4 four\nM5 five\n");
    assert_eq!(lone.app.got, ["one", "two", "three", "four", "five"]);
    assert_eq!(lone.says(), "A5\n");
    lone.hears("M7 seven\n");
    assert_eq!(lone.says(), "R6\n", "another gap is asked for by itself");
}

// HL-0094
fn a_rewind_is_obeyed_in_order_and_acks_nothing<R: Greets>() {
    let mut lone = Lone::<R>::up();
    for text in ["one", "two", "three"] {
        lone.sends(text);
    }
    lone.says();
    lone.hears("R2\n");
    assert_eq!(lone.says(), "M2 two\nM3 three\n");
    lone.hears("R4\n");
    assert_eq!(lone.says(), "", "four is not there yet");
    assert_eq!(lone.session.acked(), 0);
    lone.sends("four");
    assert_eq!(lone.says(), "M4 four\n");
    lone.hears("R1\nR3\n");
    assert_eq!(lone.says(), "M1 one\nM2 two\nM3 three\nM4 four\n");
}

// HL-0096
fn a_probe_is_answered_at_once<R: Greets>() {
    let mut lone = Lone::<R>::up();
    lone.app.holds = true;
    lone.hears("M1 one\nM2 two\n");
    for (probe, answer) in [("P0\n", "A0\n"), ("P2\n", "A0\n"), ("P3\n", "R3\n"), ("P1\n", "A0\n")] {
        lone.hears(probe);
        assert_eq!(lone.says(), answer, "{probe}");
    }
}

// HL-0095
fn a_probe_names_the_last_message_sent<R: Greets>() {
    let mut lone = Lone::<R>::up_with(support::defaults(), "window=2");
    for text in ["one", "two", "three"] {
        lone.sends(text);
    }
    lone.waits(1_000);
    assert!(lone.says().ends_with("P2\n"));
    lone.hears("R2\n");
    assert_eq!(lone.says(), "M2 two\n");
}

fn a_rewind_is_said_before_the_ack<R: Greets>() {
    let mut lone = Lone::<R>::up();
    lone.app.holds = true;
    lone.hears("M1 one\nM3 three\n");
    lone.accepts();
    assert_eq!(lone.says(), "R2\nA1\n", "an R after the A could name what that A has acked");
}

// HL-0097
fn every_line_but_the_blank_one_is_checked<R: Greets>() {
    let mut lone = Lone::<R>::new(with_check());
    lone.greet("");
    let line = lone.greeting.trim_end().to_owned();
    let body = &line[..line.len() - 9];
    assert_eq!(checked(body), format!("{line}\n"));
    lone.hears("\n");
    lone.says();
    lone.sends("temp=21.5");
    assert_eq!(lone.says(), "M1 temp=21.5*dc29f52a\n");
    lone.hears_line("M2 gap");
    assert_eq!(lone.says(), checked("R1"));
    lone.waits(500);
    assert_eq!(lone.says(), checked("R1"));
    lone.hears_line("M1 here");
    assert_eq!(lone.says(), checked("A1"));
    lone.waits(500);
    assert_eq!(lone.says(), checked("P1"));
    let mut buffer = [0; 64];
    let written = lone.session.send_best_effort("now", &mut buffer).expect("up");
    assert_eq!(&buffer[..written], checked("D now").as_bytes());
    lone.session.handle_transmitted(lone.now, written);
    lone.waits(500);
    assert_eq!(lone.says(), "\n");
    lone.session.close(holdline_proto::ByeCode::Done, 0);
    assert_eq!(lone.says(), checked("Bdone"));
}

// HL-0098
fn a_line_with_a_wrong_check_is_dropped_and_counted<R: Greets>() {
    let mut lone = Lone::<R>::up_with(with_check(), "");
    let good = checked("M1 one");
    let upper = good.to_uppercase();
    let flipped = good.replacen("one", "onf", 1);
    let lines = ["M1 one\n", &upper, &flipped, "M1 one*\n", "Xwhat\n", "*\n", "\u{1}\n", "B*00000000\n", "HOLD/1 ok\n"];
    for (count, line) in (1..).zip(lines) {
        lone.hears(line);
        assert_eq!(lone.session.garbled(), count, "{line}");
    }
    lone.hears(b"\xff\xff\xff\n");
    assert_eq!(lone.session.garbled(), 10);
    assert_eq!((lone.app.got.len(), lone.app.news(), lone.says()), (0, vec![], String::new()));
    lone.hears(good);
    lone.hears("\n");
    assert_eq!((lone.app.got.len(), lone.session.garbled()), (1, 10), "a blank line needs no check");
}

// HL-0145
fn the_check_counts_against_the_longest_line<R: Greets>() {
    let mut lone = Lone::<R>::up_with(config(|c| c.check(true).max_line(128)), "");
    lone.hears_line(&format!("D {}", "x".repeat(128 - 9 - 2)));
    assert_eq!(lone.app.best_effort.len(), 1);
    lone.hears_line(&format!("D {}", "x".repeat(128 - 9 - 1)));
    assert_eq!((lone.app.best_effort.len(), lone.session.has_link()), (1, false));
}

// HL-0099
#[test]
fn a_server_that_waits_for_a_hello_ignores_what_is_none() {
    let mut stream = Vec::new();
    for line in ["\n", "M7 left over*00000000\n", &checked("M7 left over"), "garbage\n", &checked("1"), HELLO, "\n"] {
        stream.extend_from_slice(line.as_bytes());
    }
    stream.extend_from_slice(&[b'x'; 700]);
    stream.extend_from_slice(b"two lines became one\n");
    let rest = stream.len();
    stream.extend_from_slice(checked(HELLO).as_bytes());
    let whole = stream.len();
    stream.extend_from_slice(checked("M1 first").as_bytes());
    match Greeting::read(&stream, true) {
        Ok(Some((Greeting::Native(hello), taken))) => assert_eq!((hello.client, taken), ("dev", whole)),
        other => panic!("{other:?}"),
    }
    assert_eq!(Greeting::read(&stream[..rest], true), Ok(None));
    assert_eq!(Greeting::read(checked("HOLD/9 what").as_bytes(), true), Err(RefusalCode::Version));
    assert_eq!(Greeting::read(checked(&format!("{HELLO} max=1")).as_bytes(), true), Err(RefusalCode::Malformed));
}

// HL-0100
#[test]
fn a_hello_in_mid_link_begins_a_new_link_on_the_same_stream() {
    let mut server = Lone::<Server>::up_with(with_check(), "");
    server.hears_line("M1 one");
    server.says();
    let hello = checked(&changed(HELLO, "boot=2 peer=101 seen=0"));
    server.hears(format!("{}{hello}\n{}", checked("M2 two"), checked("M3 three")));
    assert_eq!(server.app.news(), [Event::Down(DownReason::NewHello)]);
    assert!(server.unread.starts_with(hello.as_bytes()), "the hello is still there to be read");
    assert_eq!(server.says(), "", "there is no goodbye, and the welcome will say what was accepted");
    server.admit_unread();
    assert_eq!(support::field(&server.greeting, "seen"), Some("2"));
    server.hears("");
    assert_eq!(server.app.news(), [Event::Up { resumed: true }]);
    assert_eq!(server.app.got, ["one", "two", "three"]);
}

// HL-0100: a client that gave up on its first hello says another; a server that was held up reads both.
#[test]
fn two_hellos_in_a_row_are_two_links() {
    let mut server = Lone::<Server>::new(with_check());
    let (first, second) = (checked(HELLO), checked(&changed(HELLO, "boot=2")));
    let Ok(Some((Greeting::Native(hello), taken))) = Greeting::read(first.as_bytes(), true) else { panic!("a good hello") };
    assert_eq!(taken, first.len());
    server.session.handle_hello(server.now, 1, &hello);
    let input = server.session.handle_input(server.now, second.as_bytes());
    assert_eq!((input.consumed, server.session.poll_event()), (0, Some(Event::Down(DownReason::NewHello))));
}

// HL-0101
#[test]
fn a_client_that_waits_for_the_welcome_ignores_what_is_none() {
    let mut client = Lone::<Client>::new(with_check());
    client.connect();
    for line in ["M3 left over", "A9", "Bdone", "what", "D x"] {
        client.hears_line(line);
    }
    client.hears("\nno check at all\n");
    assert_eq!(client.app.news(), []);
    client.hears_line(&client.welcome(""));
    assert_eq!(client.app.news(), [Event::Up { resumed: false }]);
}

// HL-0161, HL-0162
#[test]
fn a_hello_names_its_link_and_the_welcome_repeats_it() {
    let mut client = Lone::<Client>::new(with_check());
    let link = |line: &str| field(line.split('*').next().unwrap_or_default(), "link").map(str::to_owned);
    let links = [(); 2].map(|()| {
        client.connect();
        link(&client.greeting).expect("the link has a name")
    });
    assert_ne!(links[0], links[1]);
    for link_of_hello in ["7", "18446744073709551615"] {
        let mut server = Lone::<Server>::new(with_check());
        server.admit(&changed(HELLO, &format!("link={link_of_hello}")));
        assert_eq!(link(&server.greeting).as_deref(), Some(link_of_hello));
        let mut server = Lone::<Server>::new(config(|c| c));
        server.admit(&changed(HELLO, &format!("link={link_of_hello}")));
        assert_eq!(link(&server.greeting), None);
    }
}

// HL-0163
#[test]
fn a_welcome_for_another_link_is_not_taken() {
    let mut client = Lone::<Client>::new(with_check());
    client.connect();
    let of_the_link_before = client.welcome("");
    client.connect();
    for stale in [of_the_link_before.as_str(), WELCOME] {
        client.hears_line(stale);
        assert_eq!((client.app.news().as_slice(), client.says().as_str()), (&[][..], ""));
    }
    client.hears_line(&client.welcome(""));
    assert!(client.session.is_up());
}

// HL-0101
#[test]
fn a_welcome_in_mid_link_ends_the_link_and_asks_for_another() {
    let mut client = Lone::<Client>::up_with(with_check(), "");
    client.hears_line(&changed(WELCOME, "boot=2"));
    assert_eq!(client.app.news(), [Event::Down(DownReason::Reset)]);
    assert_eq!(client.says(), "");
    client.meet("boot=2");
    assert!(client.session.is_up());
}

// HL-0093, HL-0094, HL-0095: whichever lines get lost, once each, in each direction.
#[test]
fn any_two_lost_lines_are_made_good() {
    for first in 0..8 {
        for second in first..8 {
            let mut pair = Pair::with(with_check(), with_check());
            pair.connect();
            let mut spoken = 0;
            for number in 0..4 {
                pair.client.send(pair.now, &format!("up {number}")).expect("room");
                pair.server.send(pair.now, &format!("down {number}")).expect("room");
            }
            for _ in 0..40 {
                pair.client_sends();
                pair.server_sends();
                for wire in [&mut pair.up, &mut pair.down] {
                    let mut kept = Vec::new();
                    for line in wire.split_inclusive(|&byte| byte == b'\n').filter(|line| line.len() > 1) {
                        if spoken != first && spoken != second {
                            kept.extend_from_slice(line);
                        }
                        spoken += 1;
                    }
                    kept.extend_from_slice(b"\n");
                    *wire = kept;
                }
                pair.server_reads();
                pair.client_reads();
                pair.now = pair.now.plus(250);
                pair.client.handle_timeout(pair.now);
                pair.server.handle_timeout(pair.now);
            }
            let lost = format!("lines {first} and {second} lost");
            assert_eq!(pair.server_app.got, ["up 0", "up 1", "up 2", "up 3"], "{lost}");
            assert_eq!(pair.client_app.got, ["down 0", "down 1", "down 2", "down 3"], "{lost}");
            assert_eq!((pair.client.acked(), pair.server.acked()), (4, 4), "{lost}");
            assert_eq!((pair.client_app.downs(), pair.server_app.downs()), (vec![], vec![]), "{lost}");
        }
    }
}

// HL-0101: a welcome that got lost is asked for again.
#[test]
fn a_lost_greeting_costs_a_hello_timeout() {
    for lost in ["hello", "welcome"] {
        let mut pair = Pair::with(with_check(), with_check());
        pair.open();
        pair.client_sends();
        if lost == "hello" {
            pair.up.clear();
        }
        pair.server_reads();
        pair.down.clear();
        pair.run(5_000);
        assert_eq!(pair.client_app.downs(), [DownReason::HelloTimeout], "{lost}");
        let fresh = pair.fresh();
        pair.client.handle_connected(pair.now, fresh);
        pair.drive();
        assert!(pair.client.is_up() && pair.server.is_up(), "{lost}");
    }
}
