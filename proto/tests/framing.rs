//! Lines and texts (SPEC.md, 2).
mod support;

use holdline_proto::{Event, SendError};
use support::{Greets, Lone, Pair, config, defaults};

on_both_sides!(
    only_a_line_feed_ends_a_line,
    a_stream_may_come_byte_by_byte,
    what_was_not_consumed_is_presented_again,
    an_unfinished_line_dies_with_its_link,
    a_blank_line_proves_life_and_nothing_else,
    a_text_may_be_anything_that_a_line_can_carry,
    a_text_that_no_line_can_carry_is_refused,
    the_longest_text_follows_from_the_peers_limit,
    a_line_is_written_whole_or_not_at_all,
);

// HL-0001
fn only_a_line_feed_ends_a_line<R: Greets>() {
    let mut lone = Lone::<R>::up();
    lone.hears("D a\r\nD b\rc\nD d\u{2028}e\u{85}f\u{c}\n");
    assert_eq!(lone.app.best_effort, ["a\r", "b\rc", "d\u{2028}e\u{85}f\u{c}"]);
}

// HL-0002
fn a_stream_may_come_byte_by_byte<R: Greets>() {
    let stream = "M1 eins\n\nD ☃\nM2 zwei\nA1\n";
    let mut lone = Lone::<R>::up();
    lone.sends("one");
    for byte in stream.as_bytes() {
        lone.hears([*byte]);
    }
    assert_eq!(
        (lone.app.got.as_slice(), lone.app.best_effort.as_slice()),
        (&["eins".into(), "zwei".into()][..], &["☃".into()][..])
    );
    assert_eq!(lone.app.news(), [Event::Acked(1)]);
}

// HL-0002
fn what_was_not_consumed_is_presented_again<R: Greets>() {
    let mut lone = Lone::<R>::up();
    let stream = b"A0\nM1 eins\nM2 zwei\nM3";
    let first = lone.session.handle_input(lone.now, stream);
    assert_eq!((first.consumed, first.message.map(|message| message.text)), (11, Some("eins")));
    let second = lone.session.handle_input(lone.now, &stream[11..]);
    assert_eq!((second.consumed, second.message.map(|message| message.text)), (8, Some("zwei")));
    let third = lone.session.handle_input(lone.now, &stream[19..]);
    assert_eq!((third.consumed, third.message), (0, None));
}

// HL-0003
fn an_unfinished_line_dies_with_its_link<R: Greets>() {
    let mut lone = Lone::<R>::up();
    lone.hears("M1 half a li");
    lone.cut();
    lone.meet("");
    lone.hears("ne\n");
    assert_eq!(lone.app.got, [""; 0]);
    assert!(!lone.session.has_link(), "what is left of it would be no frame");
}

// HL-0005
fn a_blank_line_proves_life_and_nothing_else<R: Greets>() {
    let mut lone = Lone::<R>::up();
    let before = lone.session.snapshot();
    lone.hears("\n\n\n\n\n");
    assert_eq!(lone.session.snapshot(), before);
    assert_eq!(lone.says(), "");
    for _ in 0..10 {
        lone.waits(1_999);
        lone.hears("\n");
    }
    assert_eq!(lone.app.news(), []);
}

// HL-0007
fn a_text_may_be_anything_that_a_line_can_carry<R: Greets>() {
    let mut lone = Lone::<R>::up();
    for text in ["", " ", "M1 nested", "*00000000", "\r", "\u{1}\t\u{7f}", "Grüße ☃ 🦀", "HOLD/1 ok"] {
        let seq = lone.sends(text);
        assert_eq!(lone.says(), format!("M{seq} {text}\n"));
        lone.hears(format!("M{seq} {text}\n"));
        assert_eq!(lone.app.got.last().map(String::as_str), Some(text));
        lone.hears(format!("A{seq}\n"));
        lone.says();
    }
}

// HL-0007
fn a_text_that_no_line_can_carry_is_refused<R: Greets>() {
    let mut lone = Lone::<R>::up();
    let mut buffer = [0; 64];
    for (text, error) in [("a\nb", SendError::LineFeed), ("\n", SendError::LineFeed), ("a\0b", SendError::Nul)] {
        assert_eq!(lone.session.send(lone.now, text), Err(error));
        assert_eq!(lone.session.send_latest(lone.now, 1, text), Err(error));
        assert_eq!(lone.session.send_best_effort(text, &mut buffer), Err(error));
    }
    assert_eq!((lone.says().as_str(), lone.session.next_seq()), ("", 1));
}

// HL-0007, HL-0087
fn the_longest_text_follows_from_the_peers_limit<R: Greets>() {
    for (check, max) in [(false, 128 - 22), (true, 128 - 31)] {
        let mut lone = Lone::<R>::up_with(config(|c| c.check(check)), "max=128");
        assert_eq!(lone.session.max_text(), max);
        let longest = "x".repeat(max as usize);
        assert_eq!(lone.session.send(lone.now, &longest), Ok(1));
        assert_eq!(lone.session.send(lone.now, &(longest + "x")), Err(SendError::TooLong { max }));
        assert!(lone.says().lines().all(|line| line.len() <= 128));
    }
}

// HL-0004
fn a_line_is_written_whole_or_not_at_all<R: Greets>() {
    let mut lone = Lone::<R>::up();
    lone.sends("one");
    lone.sends("two");
    let mut buffer = [0; 64];
    assert_eq!(lone.session.poll_transmit(&mut buffer[..6]), 0);
    assert_eq!(lone.session.poll_transmit(&mut buffer[..13]), 7);
    assert_eq!(&buffer[..7], b"M1 one\n");
    assert_eq!(lone.session.poll_transmit(&mut buffer), 7);
    assert_eq!(&buffer[..7], b"M2 two\n");
}

// HL-0004: the rest of a line of the old link is never sent.
#[test]
fn a_new_link_begins_with_a_whole_line() {
    let mut pair = Pair::new();
    pair.connect();
    pair.client.send(pair.now, "cut in the middle").expect("room");
    pair.client_sends();
    pair.up.truncate(5);
    pair.server_reads();
    assert_eq!(pair.server_app.got, [""; 0]);
    pair.cut();
    pair.open();
    pair.client_sends();
    assert!(pair.up.starts_with(b"HOLD/1 client=dev "));
    pair.drive();
    assert_eq!(pair.server_app.got, ["cut in the middle"]);
}

// HL-0006
#[test]
fn what_a_session_leaves_unconsumed_is_bounded_by_its_limit() {
    let mut lone = Lone::<holdline_proto::Server>::new(config(|c| c.max_line(128)));
    lone.meet("");
    for _ in 0..128 {
        lone.hears("x");
        assert!(lone.session.has_link());
    }
    assert_eq!(lone.unread.len(), 128);
    lone.hears("x");
    assert!(!lone.session.has_link());
    assert_eq!(lone.unread.len(), 0);
}

// HL-0008
#[test]
fn a_configuration_out_of_range_never_becomes_a_session() {
    use holdline_proto::{Config, ConfigError};
    let wrong = |build: fn(Config) -> Config| build(Config::new()).validate().expect_err("it is out of range");
    assert_eq!(wrong(|c| c.timeout_ms(199)), ConfigError::Timeout);
    assert_eq!(wrong(|c| c.timeout_ms(3_600_001)), ConfigError::Timeout);
    assert_eq!(wrong(|c| c.timeout_range_ms(199, 5_000)), ConfigError::TimeoutRange);
    assert_eq!(wrong(|c| c.timeout_range_ms(5_000, 4_999)), ConfigError::TimeoutRange);
    assert_eq!(wrong(|c| c.timeout_range_ms(200, 3_600_001)), ConfigError::TimeoutRange);
    assert_eq!(wrong(|c| c.window(0)), ConfigError::Window);
    assert_eq!(wrong(|c| c.max_line(127)), ConfigError::MaxLine);
    assert_eq!(wrong(|c| c.max_line(1_048_577)), ConfigError::MaxLine);
    let limits = [config(|c| c.timeout_ms(200).max_line(128).window(1)), config(|c| c.timeout_ms(3_600_000).max_line(1_048_576))];
    assert_ne!(limits[0], defaults());
    assert_eq!(limits[1].get().max_line, 1_048_576);
}
