//! Every timer of both classic flavours and both roles at its bound (SPEC.md, 3.3, 4.3, 4.4 and 9).
mod replay;

use holdline_proto::classic::Flavour::{self, V2019, V2020};
use holdline_proto::{Client, DownReason, Event, PeerFault, Server, Timer};
use replay::Plays;
use replay::lone::Lone;
use std::collections::BTreeMap;

/// Lets time pass up to the last millisecond, in which nothing may be said or told; then that too.
fn to_the_millisecond<R: Plays>(lone: &mut Lone<R>, ms: u64) {
    lone.waits(ms - 1);
    assert_eq!((lone.says().as_str(), lone.events.as_slice()), ("", &[][..]), "one millisecond early");
    lone.waits(1);
}

/// What is said within `ms`, and how long after the beginning each time. The peer lives.
fn rhythm<R: Plays>(lone: &mut Lone<R>, ms: u64) -> Vec<(u64, String)> {
    let begin = lone.now;
    let mut heard = Vec::new();
    for step in 0..ms {
        if step % 100 == 0 {
            lone.hears("\n");
        }
        lone.waits(1);
        let said = lone.says();
        if !said.is_empty() {
            heard.push((lone.now - begin, said));
        }
    }
    heard
}

// HL-0026, HL-0056
#[test]
fn a_2019_client_keeps_the_link_alive_every_two_thirds_and_first_after_one_third() {
    let mut lone = Lone::<Client>::new(V2019, |c| c);
    lone.connects();
    assert_eq!(lone.says(), "a\n");
    lone.sends("early");
    let blank = |at: u64| (at, "\n".to_owned());
    assert_eq!(rhythm(&mut lone, 2_600), [(500, "\n00early\n".to_owned()), blank(1_500), blank(2_500)]);
    lone.sends("late");
    assert_eq!(rhythm(&mut lone, 1_000), [(1, "01late\n".to_owned()), blank(900)], "always, whatever else is sent");
}

// HL-0141: whether the fault comes in the first segment or in a later one.
#[test]
fn a_link_goes_up_before_it_goes_down_when_its_first_line_is_a_fault() {
    for (flavour, pieces) in [(V2019, &["HTTP/1.1 400\n"][..]), (V2020, &["HTTP/1.1 400\n"]), (V2020, &["H", "TTP/1.1 400\n"])] {
        let mut lone = Lone::<Client>::new(flavour, |c| c);
        lone.connects();
        pieces.iter().for_each(|piece| lone.hears(piece));
        let fault = DownReason::Fault(PeerFault::Frame);
        assert_eq!(lone.events, [Event::Up { resumed: false }, Event::Down(fault)], "{pieces:?}");
    }
}

// HL-0057
#[test]
fn a_2019_server_is_silent_for_200_ms_and_keeps_the_link_alive_every_half() {
    let mut lone = Lone::<Server>::new(V2019, |c| c);
    lone.sends("early");
    lone.connects();
    let blank = |at: u64| (at, "\n".to_owned());
    assert_eq!(rhythm(&mut lone, 1_000), [(200, "\n00early\n".to_owned()), blank(950)]);
    lone.waits_while_the_peer_lives(800);
    lone.says();
    lone.sends("late");
    assert_eq!(rhythm(&mut lone, 1_400), [(1, "01late\n".to_owned()), blank(650), blank(1_400)], "always, whatever else is sent");
}

// HL-0026, HL-0048, HL-0050
#[test]
fn a_2020_client_keeps_the_link_alive_a_quarter_after_its_last_line() {
    let mut lone = Lone::<Client>::new(V2020, |c| c);
    lone.sends("early");
    lone.connects();
    assert_eq!(lone.says(), "a\n");
    to_the_millisecond(&mut lone, 500);
    assert_eq!(lone.says(), "\n");
    lone.waits(100);
    assert_eq!(lone.says(), "", "no message before a byte of the server");
    lone.hears("\n");
    assert_eq!(lone.says(), "00early\n");
    assert_eq!(std::mem::take(&mut lone.events), [Event::Up { resumed: false }]);
    to_the_millisecond(&mut lone, 500);
    assert_eq!(lone.says(), "\n", "after the last line, whatever it was");
    lone.waits(300);
    lone.hears("00\n");
    lone.events.clear();
    lone.sends("late");
    assert_eq!(lone.says(), "01late\n");
    to_the_millisecond(&mut lone, 500);
    assert_eq!(lone.says(), "\n");
}

// HL-0049, HL-0051
#[test]
fn a_2020_server_keeps_the_link_alive_every_quarter_and_at_once() {
    let mut lone = Lone::<Server>::new(V2020, |c| c);
    lone.sends("early");
    lone.connects();
    assert_eq!(lone.says(), "\n", "at once");
    to_the_millisecond_after_up(&mut lone, 500);
    assert_eq!(lone.says(), "\n");
    lone.waits(100);
    lone.hears("\n");
    to_the_millisecond(&mut lone, 200);
    assert_eq!(lone.says(), "00early\n", "200 ms after the first byte that follows the id line");
    to_the_millisecond(&mut lone, 200);
    assert_eq!(lone.says(), "\n", "always, whatever else is sent");
}

fn to_the_millisecond_after_up<R: Plays>(lone: &mut Lone<R>, ms: u64) {
    assert_eq!(std::mem::take(&mut lone.events), [Event::Up { resumed: false }]);
    to_the_millisecond(lone, ms);
}

// HL-0049
#[test]
fn a_message_that_comes_with_the_id_line_starts_the_pause_and_is_acknowledged_at_once() {
    let mut lone = Lone::<Server>::new(V2020, |c| c);
    lone.sends("late");
    lone.connects();
    lone.hears("00early\n");
    assert_eq!(lone.got, ["early"]);
    assert_eq!(lone.says(), "00\n\n");
    lone.waits(199);
    assert_eq!(lone.says(), "");
    lone.waits(1);
    assert_eq!(lone.says(), "00late\n");
}

// HL-0104, HL-0108
#[test]
fn silence_for_the_whole_timeout_is_an_outage() {
    fn ends_after<R: Plays>(flavour: Flavour) {
        let mut lone = Lone::<R>::up(flavour, |c| c);
        let timeout = u64::from(flavour.default_timeout_ms());
        for _ in 0..2 {
            lone.waits(timeout - 1);
            lone.sends("saying something postpones nothing");
            assert_eq!(lone.events, []);
            lone.waits(1);
            assert_eq!(lone.events, [Event::Down(DownReason::Outage)]);
            assert_eq!(lone.session.poll_timeout(), None, "without a link nothing is due");
            lone.waits(10_000);
            lone.connects();
            lone.settles();
        }
    }
    ends_after::<Client>(V2019);
    ends_after::<Server>(V2019);
    ends_after::<Client>(V2020);
    ends_after::<Server>(V2020);
}

// HL-0104
#[test]
fn any_byte_postpones_the_outage() {
    for flavour in [V2019, V2020] {
        let mut lone = Lone::<Server>::up(flavour, |c| c);
        let timeout = u64::from(flavour.default_timeout_ms());
        for byte in ["0", "0", "x", "y"] {
            lone.waits(timeout * 9 / 10);
            lone.hears(byte);
        }
        assert_eq!(lone.downs(), []);
        lone.waits(timeout);
        assert_eq!(lone.downs(), [DownReason::Outage]);
    }
}

// HL-0052
#[test]
fn a_2020_client_waits_twice_the_timeout_for_the_first_line() {
    for (flavour, patience) in [(V2020, 4_000), (V2019, 1_500)] {
        let mut lone = Lone::<Client>::new(flavour, |c| c);
        lone.connects();
        lone.waits(patience - 1);
        assert_eq!(lone.events, []);
        lone.waits(1);
        assert_eq!(lone.events, [Event::Down(DownReason::Outage)]);
    }
    let mut lone = Lone::<Client>::new(V2020, |c| c);
    lone.connects();
    lone.waits(3_000);
    lone.hears("0");
    lone.waits(3_999);
    assert_eq!(lone.downs(), [], "a byte is no line");
    lone.hears("0x\n");
    lone.waits(2_000);
    assert_eq!(lone.downs(), [DownReason::Outage]);
}

// HL-0106
#[test]
fn output_that_the_transport_does_not_take_is_a_stall() {
    for flavour in [V2019, V2020] {
        let mut lone = Lone::<Server>::up(flavour, |c| c);
        let timeout = u64::from(flavour.default_timeout_ms());
        lone.sends("stuck");
        let mut buffer = [0; 64];
        let written = lone.session.poll_transmit(&mut buffer);
        let begin = lone.now;
        // Some progress, and then none. The peer lives all the while.
        lone.session.handle_transmitted(lone.instant(), written - 1);
        for at in (begin..begin + timeout).step_by(100) {
            lone.now = at;
            lone.hears("\n");
            lone.session.handle_timeout(lone.instant());
            lone.listens();
        }
        assert_eq!(lone.downs(), []);
        lone.now = begin + timeout;
        lone.session.handle_timeout(lone.instant());
        lone.listens();
        assert_eq!(lone.downs(), [DownReason::Stall]);
    }
}

// HL-0154
#[test]
fn a_line_may_take_four_timeouts() {
    for flavour in [V2019, V2020] {
        let mut lone = Lone::<Client>::up(flavour, |c| c);
        let timeout = u64::from(flavour.default_timeout_ms());
        lone.hears("00");
        for _ in 0..39 {
            lone.waits(timeout / 10);
            lone.hears("x");
        }
        lone.waits(timeout / 10 - 1);
        assert_eq!(lone.downs(), []);
        lone.waits(1);
        assert_eq!(lone.downs(), [DownReason::Fault(PeerFault::Slow)]);
    }
}

// HL-0045
#[test]
fn a_2020_message_is_repeated_after_each_timeout_without_its_ack() {
    let mut lone = Lone::<Client>::up(V2020, |c| c);
    lone.sends("again");
    assert_eq!(lone.tells(), ["00again"]);
    for _ in 0..5 {
        lone.waits_while_the_peer_lives(1_999);
        assert_eq!(lone.tells(), [""; 0]);
        lone.waits(1);
        assert_eq!(lone.tells(), ["00again"]);
    }
    lone.hears("00\n");
    assert_eq!(lone.events, [Event::Acked(1)]);
    lone.waits_while_the_peer_lives(10_000);
    assert_eq!(lone.tells(), [""; 0]);
}

// HL-0045: the quarter is the tolerance of several messages that share one timer.
#[test]
fn of_several_2020_messages_each_is_repeated_after_a_timeout_and_a_quarter_at_most() {
    let mut lone = Lone::<Server>::up(V2020, |c| c.in_order(false));
    lone.sends("m0");
    lone.says();
    lone.hears("00\n");
    let mut begun = BTreeMap::new();
    let mut repeated = 0;
    for step in 0..8_000 {
        if step % 130 == 0 && begun.len() < 20 {
            let line = format!("{:02x}m", begun.len() + 1);
            lone.sends(&line[2..]);
            begun.insert(line, 0);
        }
        if step % 400 == 0 {
            lone.hears("\n");
        }
        for line in lone.tells() {
            let last = begun.insert(line, step).expect("it was sent");
            if last > 0 {
                assert!((2_000..=2_500).contains(&(step - last)), "after {}", step - last);
                repeated += 1;
            }
        }
        lone.waits(1);
    }
    assert!(repeated >= 40);
}

// HL-0045: a place in flight is used again 128 messages later, and begins a time of its own.
#[test]
fn a_message_is_not_repeated_early_because_of_one_that_went_before() {
    let mut lone = Lone::<Server>::up(V2020, |c| c.in_order(false));
    lone.sends("m");
    lone.says();
    lone.hears("00\n");
    // One is always open, so that the timer never rests.
    let mut last = 0;
    for (upto, wait) in [(80, 1_200), (208, 1_999)] {
        for id in last + 1..=upto {
            lone.sends("m");
            assert_eq!(lone.tells(), [format!("{id:02x}m")]);
            if id > 1 {
                lone.hears(&format!("{:02x}\n", id - 1));
            }
        }
        last = upto;
        lone.waits_while_the_peer_lives(wait);
        assert_eq!(lone.tells(), [""; 0]);
    }
    lone.waits_while_the_peer_lives(501);
    assert_eq!(lone.tells(), ["d0m"]);
}

// HL-0026
#[test]
fn the_id_line_is_a_write_of_its_own_even_if_it_is_late() {
    for flavour in [V2019, V2020] {
        let mut lone = Lone::<Client>::new(flavour, |c| c);
        lone.connects();
        lone.now += 600;
        lone.session.handle_timeout(lone.instant());
        let mut buffer = [0; 64];
        assert_eq!(lone.session.poll_transmit(&mut buffer), 2);
        assert_eq!(lone.session.poll_transmit(&mut buffer), 1);
        assert_eq!(&buffer[..1], b"\n");
    }
}

// HL-0050
#[test]
fn a_line_that_waits_for_the_transport_is_sign_of_life_enough() {
    let mut lone = Lone::<Client>::up(V2020, |c| c);
    lone.sends("stuck");
    let mut buffer = [0; 64];
    assert_eq!(lone.session.poll_transmit(&mut buffer), 8);
    lone.now += 600;
    lone.session.handle_timeout(lone.instant());
    assert_eq!(lone.session.poll_transmit(&mut buffer), 0);
    lone.session.handle_transmitted(lone.instant(), 8);
    to_the_millisecond(&mut lone, 500);
    assert_eq!(lone.says(), "\n");
}

// HL-0054
#[test]
fn a_2019_message_counts_as_delivered_after_a_timeout_with_a_sign_of_life_in_its_second_half() {
    let mut lone = Lone::<Client>::up(V2019, |c| c);
    lone.sends("on");
    assert_eq!(lone.tells(), ["00on"]);
    lone.waits(750);
    lone.hears("\n");
    lone.waits(749);
    assert_eq!(lone.events, []);
    lone.waits(1);
    assert_eq!(lone.events, [Event::Acked(1)]);
}

// HL-0054
#[test]
fn a_sign_of_life_in_the_first_half_is_not_enough_and_a_later_one_is() {
    let mut lone = Lone::<Client>::up(V2019, |c| c);
    lone.sends("on");
    lone.waits(749);
    lone.hears("\n");
    lone.waits(1_000);
    assert_eq!(lone.events, []);
    lone.hears("\n");
    assert_eq!(lone.events, [Event::Acked(1)]);
}

// HL-0040, HL-0054
#[test]
fn a_2019_message_whose_link_ends_first_is_sent_again_on_the_next_link_and_never_on_the_same() {
    let mut lone = Lone::<Client>::up(V2019, |c| c);
    lone.sends("on");
    assert_eq!(lone.tells(), ["00on"]);
    lone.waits(749);
    lone.hears("\n");
    lone.waits(1_500);
    assert_eq!(lone.events, [Event::Down(DownReason::Outage)]);
    assert_eq!(lone.tells(), [""; 0]);
    lone.connects();
    lone.waits(200);
    lone.hears("\n");
    lone.waits(299);
    assert_eq!(lone.says(), "a\n");
    lone.waits(1);
    assert_eq!(lone.says(), "\n00on\n");
    lone.waits_while_the_peer_lives(1_500);
    assert!(lone.events.contains(&Event::Acked(1)));
}

// HL-0105
#[test]
fn a_suspended_device_reads_first_and_lives_on() {
    let mut lone = Lone::<Client>::up(V2020, |c| c);
    lone.now += 60_000;
    lone.hears("\n\n\n");
    lone.session.handle_timeout(lone.instant());
    lone.listens();
    assert_eq!(lone.downs(), []);
}

// HL-0055
#[test]
fn time_in_which_a_full_application_does_not_read_is_no_silence() {
    let mut lone = Lone::<Server>::up(V2019, |c| c);
    for _ in 0..10 {
        lone.waits(1_400);
        lone.session.handle_backlog(lone.instant());
    }
    assert_eq!(lone.downs(), []);
}

#[test]
fn calling_too_early_or_too_often_does_no_harm() {
    let mut lone = Lone::<Client>::up(V2020, |c| c);
    for _ in 0..10 {
        lone.session.handle_timeout(lone.instant());
    }
    assert_eq!((lone.says().as_str(), lone.events.as_slice()), ("", &[][..]));
    assert_eq!(lone.timer(), Some(Timer::Keepalive));
}
