//! Every timer at its bound: nothing one millisecond before, and what is due at it (SPEC.md, 3.3 and 9).
mod support;

use holdline_proto::{Client, DownReason, Event, PeerFault, Server, Timer};
use support::{Greets, Lone, Pair, config};

on_both_sides!(
    a_keepalive_is_due_a_quarter_of_the_timeout_after_the_last_line,
    a_keepalive_can_be_hastened_and_is_due_a_quarter_after_that,
    nothing_but_the_keepalive_is_hastened,
    what_is_said_postpones_the_keepalive,
    silence_for_the_whole_timeout_is_an_outage,
    any_byte_postpones_the_outage_and_nothing_that_is_said_does,
    output_that_the_transport_does_not_take_is_a_stall,
    a_transport_that_takes_some_of_it_is_no_stall,
    a_probe_is_due_half_a_timeout_after_the_last_progress,
    progress_postpones_the_probe,
    nothing_unacked_asks_for_no_probe,
    a_probe_without_an_answer_ends_the_link,
    an_answer_that_acks_nothing_stops_the_answer_timer,
    a_gap_is_asked_for_again_each_quarter,
    a_line_may_take_four_timeouts,
    a_suspended_device_reads_first_and_lives_on,
    a_suspended_device_that_has_nothing_to_read_is_down_at_once,
    a_new_link_starts_every_timer_afresh,
    without_a_link_nothing_is_due,
    calling_too_early_or_too_often_does_no_harm,
    the_timeout_agreed_on_is_the_one_that_counts,
);

/// Lets `ms` pass but for the last millisecond, in which nothing happens; then that too.
fn waits_to_the_millisecond<R: Greets>(lone: &mut Lone<R>, ms: u32) {
    lone.waits(ms - 1);
    assert_eq!(lone.app.news(), [], "one millisecond early");
    lone.waits(1);
}

/// A peer that does nothing but live: it says a blank line each quarter of the default timeout.
fn waits_while_the_peer_lives<R: Greets>(lone: &mut Lone<R>, ms: u32) {
    let mut left = ms;
    while left > 0 {
        let step = left.min(500);
        lone.waits(step);
        lone.hears("\n");
        left -= step;
    }
}

fn timer<R: Greets>(lone: &Lone<R>) -> Option<Timer> {
    lone.session.poll_timeout().map(|deadline| deadline.timer)
}

// HL-0103
fn a_keepalive_is_due_a_quarter_of_the_timeout_after_the_last_line<R: Greets>() {
    let mut lone = Lone::<R>::up();
    for _ in 0..3 {
        assert_eq!(timer(&lone), Some(Timer::Keepalive));
        lone.waits(499);
        assert_eq!(lone.says(), "");
        lone.waits(1);
        assert_eq!(lone.says(), "\n");
    }
}

fn a_keepalive_can_be_hastened_and_is_due_a_quarter_after_that<R: Greets>() {
    let mut lone = Lone::<R>::up();
    lone.waits(299);
    lone.session.hasten_keepalive(lone.now, 200);
    assert_eq!(lone.says(), "", "201 ms are left");
    lone.waits(1);
    lone.session.hasten_keepalive(lone.now, 200);
    assert_eq!(lone.says(), "\n");
    lone.waits(499);
    assert_eq!(lone.says(), "");
    lone.waits(1);
    assert_eq!(lone.says(), "\n");
}

fn nothing_but_the_keepalive_is_hastened<R: Greets>() {
    let mut lone = Lone::<R>::up();
    lone.sends("on");
    assert_eq!(lone.says(), "M1 on\n");
    lone.waits(500);
    lone.says();
    lone.waits(499);
    // The probe and the keepalive are due in a millisecond.
    lone.session.hasten_keepalive(lone.now, 499);
    assert!(!lone.says().contains('P'));
    lone.waits(1);
    assert!(lone.says().contains("P1"));
}

// HL-0103
fn what_is_said_postpones_the_keepalive<R: Greets>() {
    let mut lone = Lone::<R>::up();
    lone.waits(400);
    lone.sends("on");
    assert_eq!(lone.says(), "M1 on\n");
    lone.waits(499);
    assert_eq!(lone.says(), "");
    lone.waits(1);
    assert_eq!(lone.says(), "\n");
}

// HL-0104
fn silence_for_the_whole_timeout_is_an_outage<R: Greets>() {
    let mut lone = Lone::<R>::up();
    waits_to_the_millisecond(&mut lone, 2_000);
    assert_eq!(lone.app.news(), [Event::Down(DownReason::Outage)]);
    assert!(!lone.session.has_link());
}

// HL-0104
fn any_byte_postpones_the_outage_and_nothing_that_is_said_does<R: Greets>() {
    let mut lone = Lone::<R>::up();
    lone.waits(1_999);
    lone.hears("D half a li");
    for _ in 0..3 {
        lone.waits(499);
        lone.sends("on");
    }
    waits_to_the_millisecond(&mut lone, 2_000 - 3 * 499);
    assert_eq!(lone.app.news(), [Event::Down(DownReason::Outage)]);
}

// HL-0106
fn output_that_the_transport_does_not_take_is_a_stall<R: Greets>() {
    let mut lone = Lone::<R>::up();
    lone.sends("on");
    let mut buffer = [0; 64];
    assert_eq!(lone.session.poll_transmit(&mut buffer), 6);
    for _ in 0..3 {
        lone.sleeps(500);
        lone.session.handle_timeout(lone.now);
        lone.session.handle_backlog(lone.now);
    }
    lone.sleeps(499);
    lone.session.handle_backlog(lone.now);
    lone.session.handle_timeout(lone.now);
    assert!(lone.session.has_link(), "one millisecond early");
    lone.sleeps(1);
    lone.session.handle_timeout(lone.now);
    assert_eq!(lone.session.poll_event(), Some(Event::Down(DownReason::Stall)));
}

// HL-0106
fn a_transport_that_takes_some_of_it_is_no_stall<R: Greets>() {
    let mut lone = Lone::<R>::up();
    lone.sends("on");
    let mut buffer = [0; 64];
    assert_eq!(lone.session.poll_transmit(&mut buffer), 6);
    lone.sleeps(1_999);
    lone.session.handle_transmitted(lone.now, 1);
    lone.session.handle_backlog(lone.now);
    lone.sleeps(1_999);
    lone.session.handle_backlog(lone.now);
    lone.session.handle_timeout(lone.now);
    assert!(lone.session.has_link());
    lone.sleeps(1);
    lone.session.handle_timeout(lone.now);
    assert_eq!(lone.session.poll_event(), Some(Event::Down(DownReason::Stall)));
}

// HL-0095
fn a_probe_is_due_half_a_timeout_after_the_last_progress<R: Greets>() {
    let mut lone = Lone::<R>::up();
    lone.sends("one");
    lone.sends("two");
    lone.says();
    lone.waits(999);
    assert_eq!(lone.says(), "\n");
    lone.waits(1);
    assert_eq!(lone.says(), "P2\n");
    lone.waits(999);
    assert_eq!(lone.says(), "\n");
    lone.hears("\n");
    lone.waits(1);
    assert!(lone.says().starts_with("P2\n"));
}

// HL-0095
fn progress_postpones_the_probe<R: Greets>() {
    for (heard, due) in [("A1\n", 1_900), ("R1\n", 1_900), ("\n", 1_000)] {
        let mut lone = Lone::<R>::up();
        lone.sends("one");
        lone.sends("two");
        lone.waits(900);
        lone.hears(heard);
        lone.says();
        lone.waits(due - 901);
        assert!(!lone.says().contains('P'), "after {heard:?}");
        lone.waits(1);
        assert!(lone.says().contains("P2\n"), "after {heard:?}");
    }
}

// HL-0095
fn nothing_unacked_asks_for_no_probe<R: Greets>() {
    let mut lone = Lone::<R>::up();
    lone.sends("one");
    lone.says();
    lone.hears("A1\n");
    waits_while_the_peer_lives(&mut lone, 10_000);
    assert_eq!(lone.says().trim_matches('\n'), "");
}

// HL-0155
fn a_probe_without_an_answer_ends_the_link<R: Greets>() {
    let mut lone = Lone::<R>::up();
    lone.sends("one");
    waits_while_the_peer_lives(&mut lone, 2_500);
    lone.says();
    waits_to_the_millisecond(&mut lone, 500);
    assert_eq!(lone.app.news(), [Event::Down(DownReason::Fault(PeerFault::Mute))]);
    assert!(lone.says().ends_with("Bmute\n"));
}

// HL-0155: a peer whose application takes its time is not mute.
fn an_answer_that_acks_nothing_stops_the_answer_timer<R: Greets>() {
    let mut lone = Lone::<R>::up();
    lone.sends("one");
    for _ in 0..20 {
        lone.waits(1_000);
        assert!(lone.says().contains("P1\n"));
        lone.hears("A0\n");
    }
    assert_eq!(lone.app.news(), []);
}

// HL-0093
fn a_gap_is_asked_for_again_each_quarter<R: Greets>() {
    let mut lone = Lone::<R>::up();
    lone.hears("M3 three\nM4 four\n");
    assert_eq!(lone.says(), "R1\n");
    for _ in 0..3 {
        lone.waits(499);
        assert_eq!(lone.says(), "");
        lone.hears("M5 five\n");
        lone.waits(1);
        assert_eq!(lone.says(), "R1\n");
    }
    lone.hears("M1 one\n");
    assert_eq!(lone.says(), "A1\n");
    lone.waits(500);
    assert_eq!(lone.says(), "\n", "the first of the gap has come");
}

// HL-0154
fn a_line_may_take_four_timeouts<R: Greets>() {
    let mut lone = Lone::<R>::up();
    lone.hears("D");
    for _ in 0..15 {
        lone.waits(500);
        lone.hears("x");
    }
    lone.says();
    waits_to_the_millisecond(&mut lone, 500);
    assert_eq!(lone.app.news(), [Event::Down(DownReason::Fault(PeerFault::Slow))]);
    assert!(lone.says().ends_with("Bslow\n"));

    let mut lone = Lone::<R>::up();
    for _ in 0..100 {
        lone.hears("D on ");
        lone.waits(500);
        lone.hears("time\n");
    }
    assert_eq!(lone.app.news(), [], "the timer belongs to one line");
}

// HL-0105
fn a_suspended_device_reads_first_and_lives_on<R: Greets>() {
    let mut lone = Lone::<R>::up();
    lone.sleeps(3_600_000);
    lone.hears("\n\n\n");
    lone.waits(0);
    assert_eq!(lone.app.news(), []);
    assert_eq!(lone.says(), "\n", "the keepalive that the sleep held up");
    lone.waits(500);
    assert_eq!(lone.says(), "\n");
}

// HL-0104
fn a_suspended_device_that_has_nothing_to_read_is_down_at_once<R: Greets>() {
    let mut lone = Lone::<R>::up();
    lone.sends("one");
    lone.says();
    lone.sleeps(3_600_000);
    lone.session.handle_timeout(lone.now);
    assert_eq!(lone.session.poll_event(), Some(Event::Down(DownReason::Outage)));
}

// HL-0108
fn a_new_link_starts_every_timer_afresh<R: Greets>() {
    let mut lone = Lone::<R>::up();
    lone.sends("one");
    waits_while_the_peer_lives(&mut lone, 2_500);
    lone.hears("M9 nine\n");
    lone.hears("M1");
    lone.cut();
    lone.says();
    lone.meet("");
    lone.app.news();
    lone.says();
    // The answer timer of the old link would have expired, its gap been asked for, and its line come to an end.
    waits_to_the_millisecond(&mut lone, 999);
    assert_eq!(lone.says(), "\n");
    lone.waits(1);
    assert_eq!(lone.says(), "P1\n");
    lone.hears("\n");
    waits_while_the_peer_lives(&mut lone, 1_500);
    assert!(lone.session.has_link());
}

fn without_a_link_nothing_is_due<R: Greets>() {
    let mut lone = Lone::<R>::new(support::defaults());
    assert_eq!(lone.session.poll_timeout(), None);
    lone.meet("");
    lone.cut();
    lone.app.news();
    assert_eq!(lone.session.poll_timeout(), None);
    lone.waits(3_600_000);
    assert_eq!(lone.app.news(), []);
}

fn calling_too_early_or_too_often_does_no_harm<R: Greets>() {
    let mut lone = Lone::<R>::up();
    lone.sends("one");
    lone.says();
    for _ in 0..499 {
        lone.sleeps(1);
        lone.session.handle_timeout(lone.now);
        lone.session.handle_timeout(lone.now);
        assert_eq!(lone.says(), "");
    }
    lone.sleeps(1);
    lone.session.handle_timeout(lone.now);
    lone.session.handle_timeout(lone.now);
    assert_eq!(lone.says(), "\n");
}

// HL-0023
fn the_timeout_agreed_on_is_the_one_that_counts<R: Greets>() {
    let mut lone = Lone::<R>::up_with(config(|c| c.timeout_ms(7_000)), "timeout=400");
    assert_eq!(lone.session.timeout_ms(), 400);
    lone.waits(99);
    assert_eq!(lone.says(), "");
    lone.waits(1);
    assert_eq!(lone.says(), "\n");
    waits_to_the_millisecond(&mut lone, 300);
    assert_eq!(lone.app.news(), [Event::Down(DownReason::Outage)]);
}

// HL-0107
#[test]
fn a_welcome_may_take_the_longer_of_the_timeout_and_five_seconds() {
    for (timeout_ms, bound) in [(200, 5_000), (5_000, 5_000), (9_000, 9_000)] {
        let mut client = Lone::<Client>::new(config(|c| c.timeout_ms(timeout_ms)));
        client.connect();
        client.hears("HOLD/1 o");
        assert_eq!(timer(&client), Some(Timer::Hello));
        waits_to_the_millisecond(&mut client, bound);
        assert_eq!(client.app.news(), [Event::Down(DownReason::HelloTimeout)], "T={timeout_ms}");
        assert_eq!(client.says(), "");
    }
}

// HL-0107: bytes that are no answer do not postpone it.
#[test]
fn trickling_bytes_are_no_welcome() {
    let mut client = Lone::<Client>::new(support::defaults());
    client.connect();
    for _ in 0..10 {
        client.hears("x");
        client.waits(499);
    }
    assert_eq!(client.app.news(), []);
    client.waits(10);
    assert_eq!(client.app.news(), [Event::Down(DownReason::HelloTimeout)]);
}

// HL-0104: silence is counted from the end of the handshake.
#[test]
fn a_slow_welcome_is_no_silence() {
    let mut client = Lone::<Client>::new(support::defaults());
    client.connect();
    client.waits(4_999);
    client.hears_line(support::WELCOME);
    client.app.news();
    waits_to_the_millisecond(&mut client, 2_000);
    assert_eq!(client.app.news(), [Event::Down(DownReason::Outage)]);
}

// HL-0103: from the welcome on, not from the confirmation.
#[test]
fn a_server_keeps_a_link_alive_that_is_not_confirmed() {
    let mut server = Lone::<Server>::new(support::defaults());
    server.greet("");
    server.waits(500);
    assert_eq!(server.says(), "\n");
    waits_to_the_millisecond(&mut server, 1_500);
    assert_eq!(server.app.news(), [Event::Down(DownReason::Outage)]);
}

#[test]
fn two_sessions_that_say_nothing_stay_up() {
    let mut pair = Pair::new();
    pair.connect();
    pair.run(3_600_000);
    assert_eq!(pair.client_app.downs(), []);
    assert_eq!(pair.server_app.downs(), []);
    assert!(pair.client.is_up() && pair.server.is_up());
}

// HL-0104: each side notices by itself, within the timeout of the last byte.
#[test]
fn a_half_open_link_is_noticed_by_both_sides() {
    let mut pair = Pair::new();
    pair.connect();
    pair.run(10_000);
    let end = pair.now.plus(2_000);
    while pair.now < end {
        pair.now = pair.now.plus(1);
        pair.client.handle_timeout(pair.now);
        pair.server.handle_timeout(pair.now);
        pair.client_sends();
        pair.server_sends();
        pair.up.clear();
        pair.down.clear();
    }
    assert_eq!(pair.client_app.downs(), [DownReason::Outage]);
    assert_eq!(pair.server_app.downs(), [DownReason::Outage]);
}
