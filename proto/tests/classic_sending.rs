//! What a classic sender puts on the wire: ids, order, what is in flight, repeats on a new link (SPEC.md, 4.2 to 4.4).
mod replay;

use holdline_proto::classic::Flavour::{self, V2019, V2020};
use holdline_proto::classic::{Session, Snapshot};
use holdline_proto::{Client, DownReason, Event, Outbox as _, PeerFault, SendError, Server, SliceOutbox};
use replay::lone::Lone;

/// A session, not in order, whose message 0 is done with; its number is 1.
fn past_message_0(flavour: Flavour) -> Lone<Server> {
    let mut lone = Lone::<Server>::up(flavour, |c| c.in_order(false));
    lone.sends("first");
    lone.says();
    lone.hears("00\n");
    lone.events.clear();
    lone
}

// HL-0028
#[test]
fn ids_are_0_once_and_then_1_to_255_for_ever() {
    let mut lone = Lone::<Client>::up(V2020, |c| c);
    for place in 0..1_000_u32 {
        let id = if place == 0 { 0 } else { (place - 1) % 255 + 1 };
        lone.sends("x");
        assert_eq!(lone.tells(), [format!("{id:02x}x")]);
        lone.hears(&format!("{id:02x}\n"));
    }
    assert_eq!(lone.session.acked(), 1_000);
}

// HL-0038
#[test]
fn in_order_the_next_message_waits_for_the_ack_of_the_one_before() {
    let mut lone = Lone::<Client>::up(V2020, |c| c);
    for text in ["a", "b", "c"] {
        lone.sends(text);
    }
    assert_eq!(lone.tells(), ["00a"]);
    lone.hears("01\n\n02\nff\n");
    assert_eq!((lone.tells(), lone.events.as_slice()), (vec![], &[][..]));
    lone.hears("00\n");
    assert_eq!(lone.tells(), ["01b"]);
    lone.hears("01\n");
    assert_eq!(lone.tells(), ["02c"]);
    lone.hears("02\n");
    assert_eq!(lone.events, [Event::Acked(1), Event::Acked(2), Event::Acked(3)]);
    assert!(lone.session.outbox().is_empty());
}

// HL-0037, HL-0039
#[test]
fn not_in_order_at_most_100_ids_are_in_flight() {
    let mut lone = past_message_0(V2020);
    for index in 0..150 {
        lone.sends(&format!("m{index}"));
    }
    assert_eq!(lone.tells().len(), 100);
    for id in 2..=100 {
        lone.hears(&format!("{id:02x}\n"));
    }
    assert_eq!((lone.tells().len(), lone.session.acked()), (0, 1), "the oldest holds the others back");
    lone.hears("01\n");
    assert_eq!((lone.tells().len(), lone.session.acked()), (50, 101));
}

// HL-0039: across links its repeat is a power cycle for the peer, which forgets all ids that came before it.
#[test]
fn nothing_is_in_flight_beside_message_0() {
    let mut lone = Lone::<Server>::up(V2020, |c| c.in_order(false));
    for text in ["a", "b", "c"] {
        lone.sends(text);
    }
    assert_eq!(lone.tells(), ["00a"]);
    lone.hears("00\n");
    assert_eq!(lone.tells(), ["01b", "02c"]);
}

#[test]
fn acks_out_of_order_are_told_as_far_as_there_is_no_gap() {
    let mut lone = past_message_0(V2020);
    for text in ["a", "b", "c", "d"] {
        lone.sends(text);
    }
    lone.says();
    lone.hears("03\n04\n");
    assert_eq!(lone.events, []);
    lone.hears("01\n");
    assert_eq!(lone.events, [Event::Acked(2)]);
    lone.hears("02\n");
    assert_eq!(lone.events, [Event::Acked(2), Event::Acked(5)]);
}

// HL-0040
#[test]
fn what_is_unacked_comes_first_on_a_new_link_in_order_and_with_its_ids() {
    let mut lone = past_message_0(V2020);
    for text in ["a", "b", "c", "d"] {
        lone.sends(text);
    }
    lone.says();
    lone.hears("02\n");
    lone.session.handle_disconnected(lone.instant());
    lone.listens();
    lone.sends("e");
    lone.waits(20_000);
    assert_eq!(lone.tells(), [""; 0]);
    lone.connects();
    lone.hears("\n");
    lone.waits(200);
    assert_eq!(lone.tells(), ["01a", "03c", "04d", "05e"]);
}

// HL-0040
#[test]
fn best_effort_does_not_overtake_what_is_to_be_sent_again() {
    let mut lone = Lone::<Client>::up(V2020, |c| c);
    lone.sends("a");
    lone.says();
    lone.session.handle_disconnected(lone.instant());
    lone.connects();
    lone.says();
    lone.hears("\n");
    let mut buffer = [0; 64];
    assert_eq!(lone.session.send_best_effort("now", &mut buffer), Err(SendError::Full));
    assert_eq!(lone.tells(), ["00a"]);
    assert!(lone.session.send_best_effort("now", &mut buffer).is_ok());
}

// HL-0047
#[test]
fn best_effort_takes_the_next_id_and_waits_for_nothing() {
    let mut lone = Lone::<Client>::up(V2020, |c| c);
    let mut buffer = [0; 64];
    let written = lone.session.send_best_effort("lost", &mut buffer).expect("the link is up");
    assert_eq!(&buffer[..written], b"00lost\n");
    lone.session.handle_transmitted(lone.instant(), written);
    lone.sends("a");
    assert_eq!(lone.tells(), ["01a"], "nothing waits for the ack of 00");
    let written = lone.session.send_best_effort("late", &mut buffer).expect("the link is up");
    assert_eq!(&buffer[..written], b"02late\n");
    lone.session.handle_transmitted(lone.instant(), written);
    lone.hears("02\n00\n");
    assert_eq!(lone.events, []);
    lone.waits_while_the_peer_lives(2_000);
    assert_eq!(lone.tells(), ["01a"], "only the reliable one comes again");
    lone.hears("01\n");
    lone.sends("b");
    assert_eq!(lone.tells(), ["03b"]);
}

// HL-0037: the peer's list would forget the oldest one.
#[test]
fn best_effort_stops_before_the_peer_forgets_an_unacked_id() {
    let mut lone = Lone::<Client>::up(V2020, |c| c);
    lone.sends("a");
    lone.says();
    let mut buffer = [0; 64];
    let taken = (0..200).filter(|_| lone.session.send_best_effort("x", &mut buffer).is_ok()).count();
    assert_eq!(taken, 99);
    assert_eq!(lone.session.send_best_effort("x", &mut buffer), Err(SendError::Full));
    lone.hears("00\n");
    assert!(lone.session.send_best_effort("x", &mut buffer).is_ok());
}

// HL-0047, HL-0048, HL-0049
#[test]
fn best_effort_is_refused_while_the_link_carries_no_messages() {
    let mut buffer = [0; 64];
    let mut server = Lone::<Server>::new(V2020, |c| c);
    assert_eq!(server.session.send_best_effort("x", &mut buffer), Err(SendError::Down));
    server.connects();
    server.hears("\n");
    assert_eq!(server.session.send_best_effort("x", &mut buffer), Err(SendError::Down));
    server.waits(200);
    assert_eq!(server.session.send_best_effort("x", &mut [0; 3]), Err(SendError::Full));
    assert!(server.session.send_best_effort("x", &mut buffer).is_ok());
    let mut client = Lone::<Client>::new(V2020, |c| c);
    client.connects();
    client.says();
    assert_eq!(client.session.send_best_effort("x", &mut buffer), Err(SendError::Down));
}

// HL-0046
#[test]
fn an_ack_of_nothing_that_is_outstanding_is_ignored() {
    let mut lone = Lone::<Client>::up(V2020, |c| c);
    lone.hears("00\n05\nff\n");
    lone.sends("a");
    lone.says();
    lone.hears("ff\n01\n");
    assert_eq!(lone.events, []);
    lone.hears("00\n00\n");
    assert_eq!(lone.events, [Event::Acked(1)]);
}

// HL-0090
#[test]
fn latest_replaces_what_no_wire_has_seen() {
    let mut lone = Lone::<Client>::up(V2020, |c| c);
    lone.sends("first");
    assert_eq!(lone.tells(), ["00first"]);
    let now = lone.instant();
    assert_eq!(lone.session.send_latest(now, 3, "20 degrees"), Ok(2));
    assert_eq!(lone.session.send_latest(now, 4, "50 %"), Ok(3));
    assert_eq!(lone.session.send_latest(now, 3, "21 degrees"), Ok(2));
    lone.hears("00\n");
    assert_eq!(lone.tells(), ["0121 degrees"]);
    assert_eq!(lone.session.send_latest(now, 3, "22 degrees"), Ok(4), "the other one is on its way");
}

// HL-0038, HL-0054
#[test]
fn in_2019_the_next_message_waits_until_the_one_before_counts_as_delivered() {
    let mut lone = Lone::<Client>::up(V2019, |c| c);
    for text in ["a", "b"] {
        lone.sends(text);
    }
    assert_eq!(lone.tells(), ["00a"]);
    lone.waits_while_the_peer_lives(1_499);
    assert_eq!(lone.tells(), [""; 0]);
    lone.waits_while_the_peer_lives(1);
    assert_eq!(lone.tells(), ["01b"]);
}

// HL-0053
#[test]
fn in_2019_a_line_of_two_digits_is_a_message_of_no_text() {
    let mut lone = Lone::<Server>::up(V2019, |c| c);
    lone.sends("a");
    lone.says();
    lone.hears("00\n");
    assert_eq!((lone.got.as_slice(), lone.events.as_slice()), (&[String::new()][..], &[][..]));
    assert_eq!(lone.tells(), [""; 0], "and nothing is acknowledged");
}

// HL-0007
#[test]
fn texts_that_no_line_can_carry_are_refused() {
    let mut lone = Lone::<Client>::up(V2020, |c| c.max_line(128));
    let now = lone.instant();
    for (text, error) in [
        (String::new(), SendError::Empty),
        ("a\nb".to_owned(), SendError::LineFeed),
        ("x".repeat(127), SendError::TooLong { max: 126 }),
    ] {
        assert_eq!(lone.session.send(now, &text), Err(error));
        assert_eq!(lone.session.send_latest(now, 1, &text), Err(error));
        assert_eq!(lone.session.send_best_effort(&text, &mut [0; 256]), Err(error));
    }
    for text in ["a\0b", "a\rb", "x", "é"] {
        assert!(lone.session.send(now, text).is_ok(), "{text}");
    }
    assert!(lone.session.send(now, &"x".repeat(126)).is_ok());
}

// HL-0032
#[test]
fn a_client_writes_no_line_beyond_what_an_original_server_reads_at_once() {
    let client = Lone::<Client>::up(V2020, |c| c.max_line(100_000));
    let server = Lone::<Server>::up(V2020, |c| c.max_line(100_000));
    assert_eq!((client.session.max_text(), server.session.max_text()), (4_093, 99_998));
}

// HL-0088
#[test]
fn a_full_outbox_refuses_and_drops_nothing() {
    let mut lone = Lone::<Client>::restored(V2020, |c| c, Default::default(), SliceOutbox::new(vec![0; 12]));
    let now = lone.instant();
    assert_eq!(lone.session.send(now, "eight by"), Ok(1));
    assert_eq!(lone.session.send(now, "x"), Err(SendError::Full));
    assert_eq!(lone.session.outbox().get(0), Some(&b"eight by"[..]));
}

// HL-0030, HL-0031, HL-0143
#[test]
fn a_line_that_is_none_ends_the_link_with_its_name_and_changes_nothing() {
    for (line, fault) in [
        (&b"zz\n"[..], PeerFault::Frame),
        (b"1\n", PeerFault::Frame),
        (b"GET / HTTP/1.1\r\n", PeerFault::Frame),
        (b"+1x\n", PeerFault::Frame),
        (b" 1x\n", PeerFault::Frame),
        (b"HOLD/1 no code=busy\n", PeerFault::Frame),
        (b"00\xff\n", PeerFault::Utf8),
        (b"00caf\xc3\n", PeerFault::Utf8),
        (&[b'0'; 129], PeerFault::Long),
    ] {
        for flavour in [V2019, V2020] {
            let mut lone = Lone::<Server>::up(flavour, |c| c.max_line(128));
            let before = lone.session.snapshot();
            lone.hears_bytes(line);
            assert_eq!(lone.events, [Event::Down(DownReason::Fault(fault))], "{}", String::from_utf8_lossy(line));
            assert_eq!((lone.got.len(), lone.session.snapshot(), lone.says().as_str()), (0, before, ""));
            lone.connects();
            lone.settles();
            lone.hears("00on\n");
            assert_eq!(lone.got, ["on"], "and nothing else");
        }
    }
}

// HL-0030
#[test]
fn upper_case_ids_are_read_and_lower_case_ones_are_written() {
    let mut lone = Lone::<Client>::up(V2020, |c| c);
    lone.hears("ABtext\n");
    assert_eq!((lone.tells(), lone.got), (vec!["ab".to_owned()], vec!["text".to_owned()]));
}

// HL-0001, HL-0005
#[test]
fn only_lf_ends_a_line() {
    let mut lone = Lone::<Server>::up(V2020, |c| c);
    lone.hears("00a\rb\r\n\n01c\0d\n");
    assert_eq!(lone.got, ["a\rb\r", "c\0d"]);
}

#[test]
fn closing_says_the_acks_that_are_owed_and_nothing_else() {
    let mut lone = Lone::<Server>::up(V2020, |c| c);
    lone.hears("00on\n");
    lone.sends("late");
    lone.session.close();
    lone.listens();
    assert_eq!(lone.events, [Event::Down(DownReason::Closed)]);
    assert_eq!(lone.says(), "00\n");
    assert_eq!(lone.says(), "");
}

// HL-0004
#[test]
fn nothing_is_said_without_a_link_or_for_an_earlier_one() {
    let mut lone = Lone::<Server>::up(V2020, |c| c);
    lone.hears("00on\n");
    lone.session.handle_disconnected(lone.instant());
    assert_eq!(lone.says(), "", "the transport is gone");
    lone.connects();
    lone.says();
    lone.hears("01off\n");
    lone.session.close();
    lone.connects();
    assert_eq!(lone.says(), "\n", "nobody wrote the ack while there was time");
}

// HL-0046
#[test]
fn what_is_acked_before_it_is_written_again_is_not_written_again() {
    let mut lone = past_message_0(V2020);
    for text in ["a", "b", "c"] {
        lone.sends(text);
    }
    lone.says();
    lone.session.handle_disconnected(lone.instant());
    lone.connects();
    lone.hears("01\n03\n");
    lone.waits(200);
    assert_eq!(lone.tells(), ["02b"]);
}

// HL-0122
#[test]
fn a_new_link_takes_over() {
    let mut lone = Lone::<Server>::up(V2020, |c| c);
    lone.hears("00on\n");
    lone.connects();
    assert_eq!(lone.events, [Event::Down(DownReason::Takeover), Event::Up { resumed: true }]);
    assert_eq!(lone.says(), "\n", "the ack was owed on the old link");
}

#[test]
fn a_restored_sender_repeats_what_was_in_flight_with_its_ids() {
    let mut lone = past_message_0(V2020);
    for text in ["a", "b", "c"] {
        lone.sends(text);
    }
    lone.says();
    lone.hears("02\n01\n");
    lone.sends("d");
    assert_eq!(lone.tells(), ["04d"]);
    let (snapshot, outbox) = (lone.session.snapshot(), lone.session.outbox().clone());
    let mut lone = Lone::<Server>::restored(V2020, |c| c.in_order(false), snapshot, outbox);
    lone.sends("e");
    lone.connects();
    lone.hears("\n");
    lone.waits(200);
    assert_eq!(lone.tells(), ["03c", "04d", "05e"]);
    lone.hears("03\n04\n05\n");
    assert_eq!(lone.session.acked(), 6);
}

#[test]
fn any_snapshot_can_be_restored() {
    for place in [0, 3, 9, 1 << 63, u64::MAX] {
        let snapshot = Snapshot {
            acked: place,
            first: 9,
            next: place,
            messages: [u32::MAX; 4],
            open: [u32::MAX; 4],
            newest: Some(0),
            accepted: [u32::MAX; 8],
        };
        let mut lone = Lone::<Client>::restored(V2020, |c| c, snapshot, SliceOutbox::new(vec![0; 64]));
        lone.connects();
        lone.settles();
        lone.sends("on");
        lone.hears("03\n02\n00x\n");
        lone.waits_while_the_peer_lives(10_000);
    }
}

#[test]
fn a_session_fits_its_place() {
    let size = size_of::<Session<Server, ()>>();
    assert!(size <= 512, "{size} bytes");
}
