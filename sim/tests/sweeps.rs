//! Every place where a short session can be cut or damaged, and every moment at which an end can lose its power.
//!
//! The full sweep takes minutes, so it is asked for:
//!
//! ```console
//! $ cargo test --release -p holdline-sim --test sweeps -- --include-ignored --nocapture
//! ```

use holdline_proto::Instant;
use holdline_sim::actor::Profile;
use holdline_sim::fleet::Outcome;
use holdline_sim::outage::{Outage, Remembers, Stop};
use holdline_sim::scenario::{Entry, FleetTable, Scenario};
use holdline_sim::{Damage, Direction, Happened, StreamId, swarm};
use std::ops::ControlFlow;

/// The sample cuts after every so many bytes up, and after every so many down from a place that moves.
const STRIDE: usize = 7;

fn session(outages: Vec<Entry>) -> Scenario {
    let fleet = FleetTable { message_every_ms: 300, message_length: 24, jitter_ms: 0, ..FleetTable::default() };
    Scenario { name: "sweep".into(), for_ms: 700, fleet, outages, ..Scenario::default() }
}

/// Bytes of the first stream each way, a moment after the applications have fallen silent.
fn lengths(story: &Scenario) -> [usize; 2] {
    let mut fleet = story.fleet(Profile::Native, 1);
    fleet.world.record();
    fleet.run_until(Instant::from_millis(800));
    let mut lengths = [0; 2];
    for traced in fleet.world.recorded() {
        if let Happened::Written { stream: StreamId(0), direction: Direction(side), bytes } = &traced.what {
            lengths[usize::from(*side)] += bytes.len();
        }
    }
    lengths
}

/// A session whose first stream carries so many bytes each way and no more.
fn cut(story: &Scenario, ups: usize, downs: usize) -> Outcome {
    let mut fleet = story.fleet(Profile::Native, 1);
    fleet.world.cut_at(StreamId(0), ups, downs);
    fleet.run_until(Instant::from_millis(20_000));
    fleet.outcome(true)
}

/// The same session on a serial line, with checks.
fn checked() -> Scenario {
    let mut story = session(Vec::new());
    story.fleet.check = true;
    story
}

const UP: Direction = Direction(0);
const DOWN: Direction = Direction(1);

/// A checked session some bytes of whose first stream arrive damaged.
fn damaged(story: &Scenario, damages: &[(Direction, u64, Damage)]) -> Outcome {
    let mut fleet = story.fleet(Profile::Native, 1);
    for &(way, place, damage) in damages {
        fleet.world.damage_at(StreamId(0), way, place, damage);
    }
    fleet.run_until(Instant::from_millis(30_000));
    let mut outcome = fleet.outcome(true);
    // Nobody sends a datagram again: one may be in the line that is hit, and one in the line that it runs into.
    let before = outcome.violations.len();
    let is_datagram = |what: &String| what.contains(": datagram ") && what.ends_with(" was lost");
    outcome.violations.retain(|what| !is_datagram(what));
    outcome.holes.retain(|what| !is_datagram(what));
    assert!(before - outcome.violations.len() <= 2 * damages.len(), "{before} violations");
    outcome
}

fn holds(outcome: &Outcome, what: &str) {
    assert!(outcome.violations.is_empty() && outcome.holes.is_empty(), "{what}: {:#?}", outcome.violations);
    assert_eq!((outcome.account.lost, outcome.account.repeated), (0, 0), "{what}");
}

#[test]
fn a_session_survives_a_cut_at_many_bytes_of_both_directions() {
    let story = session(Vec::new());
    let [up, down] = lengths(&story);
    assert!(up > 200 && down > 200, "{up} and {down} bytes are no session");
    for ups in (0..=up).step_by(STRIDE) {
        for downs in (ups % STRIDE..=down).step_by(STRIDE) {
            holds(&cut(&story, ups, downs), &format!("cut after {ups} bytes up and {downs} down"));
        }
    }
}

#[test]
#[ignore = "minutes: every cut there is, on all cores"]
fn a_session_survives_a_cut_at_every_byte_of_both_directions() {
    let story = session(Vec::new());
    let [up, down] = lengths(&story);
    let places = (up as u64 + 1) * (down as u64 + 1);
    let total = swarm::play(
        0..places,
        |place| {
            let (ups, downs) = (place as usize / (down + 1), place as usize % (down + 1));
            let outcome = cut(&story, ups, downs);
            holds(&outcome, &format!("cut after {ups} bytes up and {downs} down"));
            outcome
        },
        |_, _| ControlFlow::Continue(()),
    );
    assert_eq!(total.broken, [0; 0]);
    println!("{places} sessions of {up} bytes up and {down} down, each cut at another place");
}

#[test]
fn a_checked_session_survives_damage_to_every_byte_of_both_directions() {
    let story = checked();
    let [up, down] = lengths(&story);
    assert!(up > 200 && down > 200, "{up} and {down} bytes are no session");
    let quiet = damaged(&story, &[]).hash;
    for (way, length) in [(UP, up), (DOWN, down)] {
        for place in 0..length as u64 {
            // Debug builds are slow: they flip one bit of each byte.
            let bits = if cfg!(debug_assertions) { place % 8..place % 8 + 1 } else { 0..8 };
            for damage in bits.map(|bit| Damage::Flip(1 << bit)).chain([Damage::Drop]) {
                let outcome = damaged(&story, &[(way, place, damage)]);
                let what = format!("{damage:?} of byte {place}, {way:?}");
                holds(&outcome, &what);
                assert_ne!(outcome.hash, quiet, "{what} did not happen");
            }
        }
    }
}

#[test]
#[ignore = "minutes: every pair of a byte up and a byte down, on all cores"]
fn a_checked_session_survives_damage_to_every_pair_of_bytes() {
    let story = checked();
    let [up, down] = lengths(&story);
    let pairs = (up * down) as u64;
    let total = swarm::play(
        0..pairs,
        |pair| {
            let (ups, downs) = (pair / down as u64, pair % down as u64);
            let one = |place: u64| if place.is_multiple_of(9) { Damage::Drop } else { Damage::Flip(1 << (place % 8)) };
            let outcome = damaged(&story, &[(UP, ups, one(pair)), (DOWN, downs, one(pair / 9))]);
            holds(&outcome, &format!("bytes {ups} up and {downs} down of pair {pair}"));
            outcome
        },
        |_, _| ControlFlow::Continue(()),
    );
    assert_eq!(total.broken, [0; 0]);
    println!("{pairs} sessions of {up} bytes up and {down} down, each with another two bytes damaged");
}

/// Every moment at which something happened in the session, and the one before it: each durable write is between two of them.
fn moments() -> Vec<u32> {
    let mut fleet = session(Vec::new()).fleet(Profile::Native, 1);
    fleet.world.record();
    fleet.run_until(Instant::from_millis(800));
    let traced = fleet.world.recorded().iter().map(|traced| traced.at.as_millis() as u32);
    let mut moments: Vec<u32> = traced.flat_map(|at| [at.saturating_sub(1), at]).filter(|&at| at < 700).collect();
    moments.sort_unstable();
    moments.dedup();
    moments
}

#[test]
fn a_session_survives_a_loss_of_power_before_and_after_every_step() {
    let moments = moments();
    assert!(moments.len() > 20, "{} moments", moments.len());
    use Remembers::{Everything, Nothing, OldCopy, Torn, TornInPlace};
    for &at_ms in &moments {
        for memory in [Nothing, Everything, OldCopy, Torn, TornInPlace] {
            for outage in [
                Outage::PowerCycle { memory, reset: false },
                Outage::PowerCycle { memory, reset: true },
                Outage::ServerStop { how: Stop::Killed, memory },
                Outage::ServerStop { how: Stop::HostLost, memory },
                Outage::ServerStop { how: Stop::Graceful, memory },
            ] {
                let story = session(vec![Entry { at_ms, when: None, for_ms: 100, device: None, outage }]);
                let outcome = story.run(Profile::Native, 1);
                assert!(outcome.violations.is_empty(), "{:#?} in\n{}", outcome.violations, story.to_toml());
                let kept = matches!(memory, Everything | Torn);
                assert!(!kept || outcome.account.lost == 0, "{:#?} in\n{}", outcome.account, story.to_toml());
            }
        }
    }
}
