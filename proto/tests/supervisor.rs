//! When a client joins its network, connects and waits (SPEC.md, 5.4 and 11), in virtual time.

use holdline_proto::{
    Action, ByeCode, ConnectFailure, DownReason, FirstFailure, Instant, PeerFault, RefusalCode, Supervisor, SupervisorConfig,
};

const CONNECT: Option<Action> = Some(Action::Connect { timeout_ms: 5_000 });
const JOIN: Option<Action> = Some(Action::JoinNetwork { leave_first: false });
const REJOIN: Option<Action> = Some(Action::JoinNetwork { leave_first: true });

/// A supervisor and the time that has passed for it.
struct Story {
    supervisor: Supervisor,
    now: Instant,
}

impl Story {
    fn new(seed: u64, timeout_ms: u32, has_network: bool, classic: bool) -> Self {
        let config = SupervisorConfig { timeout_ms, has_network, classic };
        Self { supervisor: Supervisor::new(config, seed), now: Instant::from_millis(1_000) }
    }

    /// A desktop's: T of 2 s, a network that is always there.
    fn desktop(seed: u64) -> Self {
        Self::new(seed, 2_000, false, false)
    }

    /// A device's, whose network was joined.
    fn device(seed: u64) -> Self {
        let mut story = Self::new(seed, 2_000, true, false);
        assert_eq!(story.supervisor.poll_action(), JOIN);
        story.supervisor.handle_network(story.now, true);
        story
    }

    fn passes(&mut self, ms: u32) {
        self.now = self.now.plus(ms);
    }

    /// Lets it wait for as long as it wants to, and returns how long that was, in milliseconds.
    fn waits(&mut self) -> u64 {
        let Some(until) = self.supervisor.poll_timeout() else { return 0 };
        assert_eq!(self.supervisor.poll_action(), None, "nothing is done while it waits");
        let waited = until.since(self.now);
        if waited > 0 {
            self.supervisor.handle_timeout(Instant::from_millis(until.as_millis() - 1));
            assert_eq!(self.supervisor.poll_action(), None, "not a millisecond sooner");
        }
        self.now = self.now.max(until);
        self.supervisor.handle_timeout(self.now);
        waited
    }

    /// Waits, and has the connection made.
    fn connects(&mut self) -> u64 {
        let waited = self.waits();
        assert_eq!(self.supervisor.poll_action(), CONNECT);
        self.supervisor.handle_connected();
        waited
    }

    /// Waits, and has the attempt fail.
    fn fails(&mut self, failure: ConnectFailure) -> u64 {
        let waited = self.waits();
        assert_eq!(self.supervisor.poll_action(), CONNECT);
        self.supervisor.handle_connect_failed(self.now, failure);
        waited
    }

    /// Waits, and has a link that is up for so long.
    fn is_up_for(&mut self, ms: u32, reason: DownReason) -> u64 {
        let waited = self.connects();
        self.supervisor.handle_up(self.now);
        self.passes(ms);
        self.supervisor.handle_down(self.now, reason);
        waited
    }
}

/// The waits of many supervisors at the same point of their stories.
fn many(story: impl Fn(u64) -> u64) -> Vec<u64> {
    (0..500_u64).map(|seed| story(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) + 1)).collect()
}

/// The least and the most that many supervisors wait.
fn range(story: impl Fn(u64) -> u64) -> (u64, u64) {
    let waits = many(story);
    (waits.iter().min().copied().unwrap_or(0), waits.iter().max().copied().unwrap_or(0))
}

/// The same, of waits that are drawn uniformly.
fn spread(story: impl Fn(u64) -> u64) -> (u64, u64) {
    let (waits, (least, most)) = (many(&story), range(&story));
    let middle = least + (most - least) / 2;
    let lower = waits.iter().filter(|&&wait| wait <= middle).count();
    assert!((175..=325).contains(&lower), "{lower} of 500 are in the lower half of {least}..={most}");
    (least, most)
}

// HL-0130
#[test]
fn it_asks_for_one_thing_at_a_time() {
    let mut story = Story::desktop(1);
    assert_eq!(story.supervisor.poll_action(), CONNECT);
    assert_eq!(story.supervisor.poll_action(), None);
    assert_eq!(story.supervisor.poll_timeout(), None, "the attempt is the adapter's to end");
    story.supervisor.handle_connected();
    assert_eq!(story.supervisor.poll_action(), None);
    story.supervisor.handle_up(story.now);
    assert_eq!((story.supervisor.poll_action(), story.supervisor.poll_timeout()), (None, None));
}

// HL-0131
#[test]
fn a_stable_link_is_replaced_after_a_random_wait_of_at_most_a_quarter() {
    let (least, most) = spread(|seed| {
        let mut story = Story::desktop(seed);
        story.is_up_for(6_000, DownReason::Outage);
        story.waits()
    });
    assert!(least <= 10 && (490..=500).contains(&most), "{least}..={most}");
}

// HL-0132
#[test]
fn the_wait_after_each_failure_is_drawn_from_a_range_that_doubles_up_to_30_s() {
    for (k, bound) in [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000].into_iter().enumerate() {
        let (least, most) = spread(|seed| {
            let mut story = Story::desktop(seed);
            for _ in 0..=k {
                story.fails(ConnectFailure::Refused);
            }
            story.waits()
        });
        assert!(least <= bound / 50 && most <= bound && most >= bound - bound / 50, "after {k}: {least}..={most} of {bound}");
    }
}

// HL-0132
#[test]
fn the_backoff_stays_at_its_cap_for_ever() {
    let mut story = Story::desktop(7);
    for _ in 0..1_000 {
        assert!(story.fails(ConnectFailure::TimedOut) <= 30_000);
    }
}

// HL-0133
#[test]
fn only_three_timeouts_of_a_link_reset_the_backoff() {
    for (up_ms, resets) in [(5_999, false), (6_000, true)] {
        let (_, most) = range(|seed| {
            let mut story = Story::desktop(seed);
            for _ in 0..6 {
                story.fails(ConnectFailure::Refused);
            }
            story.is_up_for(up_ms, DownReason::Disconnected);
            if resets {
                story.waits();
                story.fails(ConnectFailure::Refused);
            }
            story.waits()
        });
        // The seventh failure in a row, or the first.
        assert!(if resets { most <= 500 } else { most > 29_000 }, "{most} ms after {up_ms} ms");
    }
}

// HL-0133
#[test]
fn a_server_that_accepts_and_crashes_is_not_hammered() {
    let mut story = Story::desktop(3);
    let longest = (0..20).map(|_| story.is_up_for(100, DownReason::Disconnected)).max();
    assert!(longest > Some(10_000), "{longest:?}");
}

// HL-0134
#[test]
fn retry_is_the_least_wait_after_a_refusal_and_a_bye() {
    for retry_ms in [1, 20_000, 3_600_000] {
        for up_ms in [None, Some(100), Some(6_000)] {
            let (least, most) = range(|seed| {
                let mut story = Story::desktop(seed);
                match up_ms {
                    Some(ms) => {
                        story.is_up_for(ms, DownReason::Bye { code: ByeCode::Closing, retry_ms });
                    }
                    None => {
                        story.connects();
                        let refusal = DownReason::Refused { code: RefusalCode::Busy, retry_ms };
                        story.supervisor.handle_down(story.now, refusal);
                    }
                }
                story.waits()
            });
            assert!(least >= u64::from(retry_ms) && most <= u64::from(retry_ms) + 500, "{retry_ms}: {least}..={most}");
        }
    }
}

// HL-0134, HL-0138
#[test]
fn a_network_that_comes_and_goes_does_not_shorten_it() {
    let mut story = Story::device(5);
    story.connects();
    story.supervisor.handle_down(story.now, DownReason::Refused { code: RefusalCode::Busy, retry_ms: 60_000 });
    story.passes(1_000);
    story.supervisor.handle_network(story.now, false);
    assert_eq!(story.supervisor.poll_action(), JOIN);
    story.supervisor.handle_network(story.now, true);
    assert!(story.waits() >= 59_000);
    assert_eq!(story.supervisor.poll_action(), CONNECT);
}

// HL-0135
#[test]
fn an_attempt_has_five_seconds_or_the_longer_timeout() {
    for (timeout_ms, patience) in [(200, 5_000), (5_000, 5_000), (5_001, 5_001), (60_000, 60_000)] {
        let mut story = Story::new(1, timeout_ms, false, false);
        assert_eq!(story.supervisor.poll_action(), Some(Action::Connect { timeout_ms: patience }));
    }
}

// HL-0136, HL-0137
#[test]
fn three_network_failures_in_a_row_reset_the_network_and_the_count() {
    for failure in [ConnectFailure::TimedOut, ConnectFailure::Unreachable] {
        let mut story = Story::device(9);
        for _ in 0..2 {
            for _ in 0..3 {
                story.fails(failure);
            }
            assert_eq!(story.supervisor.poll_action(), REJOIN);
            story.supervisor.handle_network(story.now, true);
        }
    }
}

// HL-0136
#[test]
fn a_server_failure_leaves_the_network_alone_and_begins_the_count_anew() {
    let mut story = Story::device(11);
    for _ in 0..20 {
        story.fails(ConnectFailure::TimedOut);
        story.fails(ConnectFailure::TimedOut);
        story.fails(ConnectFailure::Refused);
    }
    for reason in [
        DownReason::NotHoldline,
        DownReason::HelloTimeout,
        DownReason::Disconnected,
        DownReason::Fault(PeerFault::Hello),
        DownReason::Refused { code: RefusalCode::Unknown, retry_ms: 0 },
    ] {
        story.fails(ConnectFailure::TimedOut);
        story.fails(ConnectFailure::Unreachable);
        story.connects();
        story.supervisor.handle_down(story.now, reason);
    }
    assert!(story.waits() <= 30_000);
    assert_eq!(story.supervisor.poll_action(), CONNECT);
}

// HL-0138
#[test]
fn without_its_network_it_does_nothing_but_join() {
    // In each state: waiting, connecting, greeting, up.
    for state in 0..4 {
        let mut story = Story::device(13);
        match state {
            0 => drop(story.fails(ConnectFailure::Refused)),
            1 => drop((story.waits(), story.supervisor.poll_action())),
            2 => drop(story.connects()),
            _ => {
                story.connects();
                story.supervisor.handle_up(story.now);
            }
        }
        story.supervisor.handle_network(story.now, false);
        // The adapter has closed what there was, and says so; before or after it was told to join.
        let tells = |story: &mut Story| match state {
            0 => {}
            1 => story.supervisor.handle_connect_failed(story.now, ConnectFailure::Unreachable),
            _ => story.supervisor.handle_down(story.now, DownReason::Disconnected),
        };
        if state % 2 == 0 {
            tells(&mut story);
            assert_eq!(story.supervisor.poll_action(), JOIN, "in state {state}");
        } else {
            assert_eq!(story.supervisor.poll_action(), JOIN, "in state {state}");
            tells(&mut story);
        }
        assert_eq!((story.supervisor.poll_action(), story.supervisor.poll_timeout()), (None, None), "in state {state}");
        story.supervisor.handle_network(story.now, true);
        story.connects();
    }
}

// HL-0132, HL-0140
#[test]
fn a_network_that_cannot_be_joined_is_tried_again_with_backoff() {
    let mut story = Story::new(17, 2_000, true, false);
    let mut longest = 0;
    for attempt in 0..20 {
        let join = if attempt == 0 { JOIN } else { REJOIN };
        assert_eq!(story.supervisor.poll_action(), join);
        story.supervisor.handle_join_failed(story.now);
        assert_eq!(story.supervisor.poll_first_failure(), Some(FirstFailure::BadWifi));
        longest = longest.max(story.waits());
    }
    assert!((10_000..=30_000).contains(&longest), "{longest}");
    assert_eq!(story.supervisor.poll_action(), REJOIN);
    story.supervisor.handle_network(story.now, true);
    story.waits();
    // From now on it has been joined.
    story.supervisor.handle_network(story.now, false);
    story.supervisor.poll_action();
    story.supervisor.handle_join_failed(story.now);
    assert_eq!(story.supervisor.poll_first_failure(), None);
}

// HL-0139
#[test]
fn a_classic_client_is_quiet_for_two_timeouts() {
    for timeout_ms in [1_500, 2_000] {
        let (least, most) = range(|seed| {
            let mut story = Story::new(seed, timeout_ms, false, true);
            for _ in 0..4 {
                story.fails(ConnectFailure::Refused);
            }
            story.is_up_for(timeout_ms, DownReason::Outage);
            story.waits()
        });
        assert!(least >= u64::from(timeout_ms) * 2 && most > 7_000, "{least}..={most}");
    }
    let mut story = Story::desktop(19);
    story.supervisor.set_classic();
    story.is_up_for(60_000, DownReason::Outage);
    assert_eq!(story.waits(), 4_000);
}

// HL-0140
#[test]
fn bad_server_is_told_until_the_first_link_is_up() {
    let mut story = Story::desktop(23);
    story.fails(ConnectFailure::TimedOut);
    assert_eq!(story.supervisor.poll_first_failure(), Some(FirstFailure::BadServer));
    assert_eq!(story.supervisor.poll_first_failure(), None, "once for each failure");
    story.connects();
    story.supervisor.handle_down(story.now, DownReason::NotHoldline);
    assert_eq!(story.supervisor.poll_first_failure(), Some(FirstFailure::BadServer));
    story.is_up_for(10, DownReason::Outage);
    story.fails(ConnectFailure::Refused);
    story.connects();
    story.supervisor.handle_down(story.now, DownReason::HelloTimeout);
    assert_eq!(story.supervisor.poll_first_failure(), None);
}

// HL-0069
#[test]
fn a_reset_is_followed_at_once_by_the_next_hello_but_not_for_ever() {
    let mut story = Story::desktop(29);
    for _ in 0..6 {
        story.fails(ConnectFailure::Refused);
    }
    story.connects();
    story.supervisor.handle_down(story.now, DownReason::Reset);
    assert_eq!(story.connects(), 0);
    // A server that never agrees is a server that fails.
    let mut longest = 0;
    for _ in 0..10 {
        story.supervisor.handle_down(story.now, DownReason::Reset);
        longest = longest.max(story.connects());
    }
    assert!(longest > 5_000, "{longest}");
}
