//! The guarantee: whatever breaks, in whatever order, nothing is lost and nothing comes twice but what the ledger forgives.

use crate::cases;
use crate::world::{Setting, Side, Step, World};
use holdline_proto::{Keeps, OnForgotten};
use proptest::prelude::*;

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Client), Just(Side::Server)]
}

fn setting(check: bool) -> impl Strategy<Value = Setting> {
    let keeps = || prop_oneof![Just(Keeps::None), Just(Keeps::Sent), Just(Keeps::Seen), Just(Keeps::Both)];
    let policy = || prop_oneof![3 => Just(OnForgotten::Redeliver), 1 => Just(OnForgotten::Skip)];
    ([keeps(), keeps()], [policy(), policy()], [1..4_u16, 1..4_u16]).prop_map(move |(keeps, policy, window)| Setting {
        keeps,
        policy,
        window,
        check,
    })
}

fn bytes() -> impl Strategy<Value = usize> {
    prop_oneof![3 => Just(usize::MAX), 2 => 0..40_usize, 1 => 80..160_usize]
}

/// Traffic and breaks, without any loss of memory.
fn ordinary() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => side().prop_map(Step::Send),
        5 => side().prop_map(Step::Speak),
        6 => (side(), bytes()).prop_map(|(side, bytes)| Step::Hear(side, bytes)),
        3 => (side(), 1..4_usize).prop_map(|(side, count)| Step::Accept(side, count)),
        3 => Just(Step::Connect),
        1 => side().prop_map(Step::Break),
        1 => prop_oneof![Just(1_u32), Just(500), Just(1_000), Just(2_000), Just(5_000)].prop_map(Step::Wait),
        1 => side().prop_map(Step::Lose),
        1 => Just(Step::GreetAgain),
        // Otherwise most links would never come up.
        2 => Just(Step::Talk),
    ]
}

fn restarting() -> impl Strategy<Value = Step> {
    prop_oneof![12 => ordinary(), 1 => side().prop_map(Step::Restart)]
}

fn rolling_back() -> impl Strategy<Value = Step> {
    prop_oneof![12 => ordinary(), 1 => side().prop_map(Step::Restart), 2 => side().prop_map(Step::Backup), 1 => side().prop_map(Step::RollBack)]
}

fn holds(setting: Setting, steps: Vec<Step>) {
    let mut world = World::new(setting);
    world.step(Step::Connect);
    for step in steps {
        world.step(step);
    }
    world.heals();
}

proptest! {
    #![proptest_config(cases(250))]

    #[test]
    fn breaks_lose_and_repeat_nothing(setting in setting(false), steps in prop::collection::vec(ordinary(), 0..60)) {
        holds(setting, steps);
    }

    #[test]
    fn restarts_cost_only_what_was_not_acked(setting in setting(false), steps in prop::collection::vec(restarting(), 0..80)) {
        holds(setting, steps);
    }

    #[test]
    fn rolled_back_memories_cost_only_what_they_forgot(setting in setting(false), steps in prop::collection::vec(rolling_back(), 0..80)) {
        holds(setting, steps);
    }

    #[test]
    fn lost_lines_on_a_checked_stream_cost_nothing(setting in setting(true), steps in prop::collection::vec(ordinary(), 0..60)) {
        holds(setting, steps);
    }

    #[test]
    fn lost_lines_and_restarts_cost_only_what_was_not_acked(setting in setting(true), steps in prop::collection::vec(rolling_back(), 0..80)) {
        holds(setting, steps);
    }
}
