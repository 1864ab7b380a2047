//! When a client joins its network, connects, and waits (SPEC.md, 11).

use holdline_proto::{
    Action, ByeCode, ConnectFailure, DownReason, FirstFailure, Instant, RefusalCode, Supervisor, SupervisorConfig,
};

const T: u32 = 2_000;
const DESKTOP: SupervisorConfig = SupervisorConfig { timeout_ms: T, has_network: false, classic: false };
const DEVICE: SupervisorConfig = SupervisorConfig { has_network: true, ..DESKTOP };
const CONNECT: Option<Action> = Some(Action::Connect { timeout_ms: 5_000 });

fn at(ms: u64) -> Instant {
    Instant::from_millis(ms)
}

/// Lets the wait end, checks that nothing is wanted before, and returns how long it was and what is wanted then.
fn wait(supervisor: &mut Supervisor, now: Instant) -> (u64, Option<Action>) {
    let until = supervisor.poll_timeout().expect("it waits");
    supervisor.handle_timeout(now);
    if until > now {
        assert_eq!(supervisor.poll_action(), None, "it is too early");
    }
    supervisor.handle_timeout(until);
    (until.since(now), supervisor.poll_action())
}

/// A supervisor whose link is up since `now`.
fn up(config: SupervisorConfig, seed: u64, now: Instant) -> Supervisor {
    let mut supervisor = Supervisor::new(config, seed);
    if config.has_network {
        assert_eq!(supervisor.poll_action(), Some(Action::JoinNetwork { leave_first: false }));
        supervisor.handle_network(now, true);
        assert_eq!(wait(&mut supervisor, now).1, CONNECT);
    } else {
        assert_eq!(supervisor.poll_action(), CONNECT);
    }
    supervisor.handle_connected();
    supervisor.handle_up(now);
    supervisor
}

/// The longest of the waits that `wait` gives for many seeds, and the shortest.
fn spread(waits: impl Fn(u64) -> u64) -> (u64, u64) {
    let waits: Vec<u64> = (0..500).map(|seed| waits(u64::wrapping_mul(seed, 0x9e37_79b9_7f4a_7c15))).collect();
    (waits.iter().copied().min().expect("some"), waits.iter().copied().max().expect("some"))
}

// HL-0130: while an attempt, a link or a wait is under way nothing more is wanted.
#[test]
fn one_attempt_at_a_time() {
    let mut supervisor = Supervisor::new(DESKTOP, 1);
    assert_eq!(supervisor.poll_action(), CONNECT);
    assert_eq!((supervisor.poll_action(), supervisor.poll_timeout()), (None, None));
    supervisor.handle_connected();
    assert_eq!((supervisor.poll_action(), supervisor.poll_timeout()), (None, None));
    supervisor.handle_up(at(10));
    assert_eq!((supervisor.poll_action(), supervisor.poll_timeout()), (None, None));
}

// HL-0131
#[test]
fn a_link_that_lasted_is_followed_by_an_attempt_within_a_quarter_of_t() {
    let (least, most) = spread(|seed| {
        let mut supervisor = up(DESKTOP, seed, at(0));
        supervisor.handle_down(at(6_000), DownReason::Outage);
        wait(&mut supervisor, at(6_000)).0
    });
    assert!(least < 25 && (475..=500).contains(&most), "{least} to {most} ms");
}

// HL-0132
#[test]
fn failed_attempts_back_off_with_full_jitter_up_to_half_a_minute() {
    for k in 0..10 {
        let bound = 30_000.min(500 << k);
        let (least, most) = spread(|seed| {
            let mut supervisor = Supervisor::new(DESKTOP, seed);
            let mut now = at(0);
            for _ in 0..k {
                let _ = supervisor.poll_action();
                supervisor.handle_connect_failed(now, ConnectFailure::Refused);
                now = supervisor.poll_timeout().expect("it waits");
                supervisor.handle_timeout(now);
            }
            let _ = supervisor.poll_action();
            supervisor.handle_connect_failed(now, ConnectFailure::Refused);
            wait(&mut supervisor, now).0
        });
        assert!(least < bound / 20 && most > bound * 19 / 20 && most <= bound, "k = {k}: {least} to {most} of {bound} ms");
    }
}

// HL-0133: a link that was lost sooner than 3T is a failed attempt, and does not start the backoff over.
#[test]
fn only_a_link_that_lasts_starts_the_backoff_over() {
    let after = |lasted: u64| {
        spread(move |seed| {
            let mut supervisor = Supervisor::new(DESKTOP, seed);
            let mut now = at(0);
            for _ in 0..5 {
                let _ = supervisor.poll_action();
                supervisor.handle_connect_failed(now, ConnectFailure::Refused);
                now = supervisor.poll_timeout().expect("it waits");
                supervisor.handle_timeout(now);
            }
            let _ = supervisor.poll_action();
            supervisor.handle_connected();
            supervisor.handle_up(now);
            let lost = at(now.as_millis() + lasted);
            supervisor.handle_down(lost, DownReason::Disconnected);
            wait(&mut supervisor, lost).0
        })
        .1
    };
    assert!(after(5_999) > 10_000, "the sixth failure");
    assert!(after(6_000) <= 500, "the link had lasted");
}

// HL-0134
#[test]
fn what_the_server_asks_for_is_kept_to() {
    for reason in [
        DownReason::Bye { code: ByeCode::Closing, retry_ms: 7_000 },
        DownReason::Refused { code: RefusalCode::Busy, retry_ms: 7_000 },
    ] {
        let (least, most) = spread(|seed| {
            let mut supervisor = up(DEVICE, seed, at(0));
            supervisor.handle_down(at(9_000), reason);
            // Not even a network that comes back shortens it.
            supervisor.handle_network(at(9_100), false);
            assert_eq!(supervisor.poll_action(), Some(Action::JoinNetwork { leave_first: false }));
            supervisor.handle_network(at(9_200), true);
            wait(&mut supervisor, at(9_200)).0 + 200
        });
        assert!(least >= 7_000 && most <= 7_500, "{reason:?}: {least} to {most} ms");
    }
}

// HL-0135
#[test]
fn an_attempt_has_as_long_as_the_timeout_and_five_seconds_at_least() {
    for (timeout_ms, expected) in [(200, 5_000), (5_000, 5_000), (60_000, 60_000)] {
        let mut supervisor = Supervisor::new(SupervisorConfig { timeout_ms, ..DESKTOP }, 1);
        assert_eq!(supervisor.poll_action(), Some(Action::Connect { timeout_ms: expected }));
    }
}

/// Fails attempts one after the other; returns after which of them the network is left.
fn left_after(failures: &[Option<ConnectFailure>]) -> Option<usize> {
    let mut supervisor = up(DEVICE, 3, at(0));
    let mut now = at(10_000);
    supervisor.handle_down(now, DownReason::Outage);
    for (index, failure) in failures.iter().enumerate() {
        let (waited, action) = wait(&mut supervisor, now);
        assert_eq!(action, CONNECT);
        now = now.plus(waited as u32);
        match failure {
            Some(failure) => supervisor.handle_connect_failed(now, *failure),
            None => {
                // The connection is made, and nothing answers: the network works, the server does not.
                supervisor.handle_connected();
                supervisor.handle_down(now, DownReason::HelloTimeout);
            }
        }
        if supervisor.poll_timeout().is_none() {
            assert_eq!(supervisor.poll_action(), Some(Action::JoinNetwork { leave_first: true }));
            return Some(index + 1);
        }
    }
    None
}

// HL-0136, HL-0137
#[test]
fn three_network_failures_in_a_row_reset_the_network_and_server_failures_do_not() {
    use ConnectFailure::{Refused, TimedOut, Unreachable};
    assert_eq!(left_after(&[Some(TimedOut), Some(Unreachable), Some(TimedOut)]), Some(3));
    assert_eq!(left_after(&[Some(Refused); 20]), None);
    assert_eq!(left_after(&[None; 20]), None);
    assert_eq!(left_after(&[Some(TimedOut), Some(TimedOut), Some(Refused), Some(TimedOut), Some(TimedOut)]), None);
    assert_eq!(left_after(&[Some(TimedOut), Some(TimedOut), None, Some(TimedOut), Some(TimedOut), Some(TimedOut)]), Some(6));
}

// HL-0138
#[test]
fn a_network_that_is_gone_is_joined_before_anything_else_and_backoff_does_not_outlive_it() {
    let mut supervisor = up(DEVICE, 5, at(0));
    let mut now = at(1_000);
    supervisor.handle_down(now, DownReason::Outage);
    for _ in 0..8 {
        now = supervisor.poll_timeout().expect("it waits");
        supervisor.handle_timeout(now);
        assert_eq!(supervisor.poll_action(), CONNECT);
        supervisor.handle_connect_failed(now, ConnectFailure::Refused);
    }
    supervisor.handle_network(now, false);
    assert_eq!(supervisor.poll_action(), Some(Action::JoinNetwork { leave_first: false }));
    assert_eq!((supervisor.poll_action(), supervisor.poll_timeout()), (None, None), "nothing is tried without a network");
    let back = now.plus(60_000);
    supervisor.handle_network(back, true);
    let (waited, action) = wait(&mut supervisor, back);
    assert!(waited <= 500, "{waited} ms");
    assert_eq!(action, CONNECT);
}

// HL-0139
#[test]
fn a_classic_client_keeps_quiet_for_two_timeouts_after_an_outage() {
    let (least, most) = spread(|seed| {
        let mut supervisor = up(SupervisorConfig { classic: true, ..DESKTOP }, seed, at(0));
        supervisor.handle_down(at(60_000), DownReason::Outage);
        wait(&mut supervisor, at(60_000)).0
    });
    assert_eq!((least, most), (4_000, 4_000));
}

// HL-0140
#[test]
fn the_first_failures_are_told_until_there_was_a_first_success() {
    let mut supervisor = Supervisor::new(DEVICE, 1);
    let _ = supervisor.poll_action();
    supervisor.handle_join_failed(at(0));
    assert_eq!(supervisor.poll_first_failure(), Some(FirstFailure::BadWifi));
    assert_eq!(supervisor.poll_first_failure(), None);
    let (_, action) = wait(&mut supervisor, at(0));
    assert_eq!(action, Some(Action::JoinNetwork { leave_first: true }));
    supervisor.handle_network(at(600), true);
    for failure in [ConnectFailure::Refused, ConnectFailure::TimedOut] {
        assert_eq!(wait(&mut supervisor, at(600)).1, CONNECT);
        supervisor.handle_connect_failed(at(600), failure);
        assert_eq!(supervisor.poll_first_failure(), Some(FirstFailure::BadServer), "{failure:?}");
    }
    let (_, action) = wait(&mut supervisor, at(600));
    assert_eq!(action, CONNECT);
    supervisor.handle_connected();
    supervisor.handle_up(at(5_000));
    supervisor.handle_down(at(9_000), DownReason::Outage);
    let _ = wait(&mut supervisor, at(9_000));
    supervisor.handle_connect_failed(at(20_000), ConnectFailure::Refused);
    assert_eq!(supervisor.poll_first_failure(), None, "it was up once");
    supervisor.handle_network(at(30_000), false);
    let _ = supervisor.poll_action();
    supervisor.handle_join_failed(at(30_000));
    assert_eq!(supervisor.poll_first_failure(), None, "it was joined once");
}

// HL-0069: greeting again is no failure, but a server that makes it a habit is not asked without a pause.
#[test]
fn a_session_that_greets_again_is_connected_at_once_and_not_for_ever() {
    let mut supervisor = up(DESKTOP, 1, at(0));
    supervisor.handle_down(at(100), DownReason::Reset);
    assert_eq!(wait(&mut supervisor, at(100)), (0, CONNECT));
    supervisor.handle_connected();
    let mut waits = 0;
    let mut now = at(100);
    for _ in 0..10 {
        supervisor.handle_down(now, DownReason::Reset);
        let (waited, action) = wait(&mut supervisor, now);
        assert_eq!(action, CONNECT);
        supervisor.handle_connected();
        now = now.plus(waited as u32);
        waits += waited;
    }
    assert!(waits > 5_000, "{waits} ms for ten more");
}
