//! Deadlines lie ahead, an early call does nothing, and no link outlives its silence.

use crate::cases;
use crate::support::{Greets, Lone, config};
use holdline_proto::{Client, Server};
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Act {
    Hear(&'static str),
    Send,
    /// The session speaks, and the transport takes so many bytes.
    Speak(usize),
    Wait(u32),
    Backlog,
    Greet,
    Cut,
}

fn act() -> impl Strategy<Value = Act> {
    let lines = vec![
        "\n", "M1 a\n", "M2 b\n", "M3 c\n", "D x\n", "A1\n", "A2\n", "R1\n", "R2\n", "P1\n", "P9\n", "M", "1 a\n", "Bdone\n",
    ];
    prop_oneof![
        4 => prop::sample::select(lines).prop_map(Act::Hear),
        2 => Just(Act::Send),
        3 => prop_oneof![Just(usize::MAX), 0..9_usize].prop_map(Act::Speak),
        4 => prop_oneof![0..300_u32, Just(500), Just(1_000), Just(2_000), 0..9_000_u32].prop_map(Act::Wait),
        1 => Just(Act::Backlog),
        1 => Just(Act::Greet),
        1 => Just(Act::Cut),
    ]
}

fn does<R: Greets>(lone: &mut Lone<R>, act: Act) {
    match act {
        Act::Hear(bytes) => {
            lone.unread.extend_from_slice(bytes.as_bytes());
            crate::support::feed(&mut lone.session, &mut lone.app, lone.now, &mut lone.unread);
        }
        Act::Send => {
            let _ = lone.session.send(lone.now, "on");
        }
        Act::Speak(taken) => {
            let mut buffer = [0; 600];
            let written = lone.session.poll_transmit(&mut buffer);
            lone.session.handle_transmitted(lone.now, taken.min(written));
        }
        Act::Wait(ms) => lone.sleeps(ms),
        Act::Backlog => lone.session.handle_backlog(lone.now),
        Act::Greet => lone.greet("timeout=1000"),
        Act::Cut => lone.cut(),
    }
}

fn deadlines_lie_ahead<R: Greets + Clone + PartialEq + std::fmt::Debug>(acts: &[Act]) {
    let mut lone = Lone::<R>::up_with(config(|c| c.timeout_ms(1_000)), "timeout=1000");
    for &act in acts {
        does(&mut lone, act);
        if let Some(deadline) = lone.session.poll_timeout()
            && let Some(early) = deadline.at.as_millis().checked_sub(1)
        {
            let before = lone.session.clone();
            lone.session.handle_timeout(holdline_proto::Instant::from_millis(early));
            assert_eq!(lone.session, before, "a call before the deadline did something");
        }
        lone.session.handle_timeout(lone.now);
        let next = lone.session.poll_timeout();
        assert!(next.is_none_or(|deadline| deadline.at > lone.now), "{next:?} is not later than {:?}", lone.now);
        let after = lone.session.clone();
        lone.session.handle_timeout(lone.now);
        assert_eq!(lone.session, after, "a second call did something");
        lone.app.listen(&mut lone.session);
    }
    // Nothing more is heard: within the longest timer of the link it is down, driven by its own deadlines alone.
    let end = lone.now.plus(if lone.session.is_up() { 1_000 } else { 5_000 });
    while let Some(deadline) = lone.session.poll_timeout() {
        assert!(deadline.at <= end, "a silent link lives until {deadline:?}");
        lone.now = deadline.at;
        lone.session.handle_timeout(lone.now);
        does(&mut lone, Act::Speak(usize::MAX));
    }
    assert!(!lone.session.has_link());
}

proptest! {
    #![proptest_config(cases(300))]

    // HL-0104
    #[test]
    fn at_a_client(acts in prop::collection::vec(act(), 0..60)) {
        deadlines_lie_ahead::<Client>(&acts);
    }

    // HL-0104
    #[test]
    fn at_a_server(acts in prop::collection::vec(act(), 0..60)) {
        deadlines_lie_ahead::<Server>(&acts);
    }
}
