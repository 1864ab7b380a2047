//! Every place where a short session can be cut, and every moment at which an end can lose its power.

use holdline_proto::Instant;
use holdline_sim::actor::Profile;
use holdline_sim::fleet::Fleet;
use holdline_sim::outage::{Outage, Remembers, Stop};
use holdline_sim::scenario::{Entry, FleetTable, Scenario};
use holdline_sim::{Direction, Happened, StreamId};

/// Debug builds are slow: they cut after every fourth byte up, and after every seventh down, from a place that moves.
const STRIDE: usize = if cfg!(debug_assertions) { 7 } else { 1 };

fn session(outages: Vec<Entry>) -> Scenario {
    let fleet = FleetTable { message_every_ms: 300, message_length: 24, jitter_ms: 0, ..FleetTable::default() };
    Scenario { name: "sweep".into(), about: String::new(), for_ms: 1_000, fleet, outages, ..Scenario::default() }
}

/// Bytes of the first stream each way, before the applications fall silent.
fn lengths(story: &Scenario) -> [usize; 2] {
    let mut fleet = story.fleet(Profile::Native, 1);
    fleet.world.record();
    fleet.run_until(Instant::from_millis(1_100));
    let mut lengths = [0; 2];
    for traced in fleet.world.recorded() {
        if let Happened::Written { stream: StreamId(0), direction: Direction(side), bytes } = &traced.what {
            lengths[usize::from(*side)] += bytes.len();
        }
    }
    lengths
}

fn holds(fleet: &Fleet, what: impl Fn() -> String) {
    let outcome = fleet.outcome(true);
    assert!(outcome.violations.is_empty(), "{}: {:#?}", what(), outcome.violations);
    assert_eq!(outcome.account.lost, 0, "{}", what());
}

#[test]
fn a_session_survives_a_cut_at_every_byte_of_both_directions() {
    let story = session(Vec::new());
    let [up, down] = lengths(&story);
    assert!(up > 200 && down > 200, "{up} and {down} bytes are no session");
    let mut runs = 0;
    for ups in 0..=up {
        for downs in (ups % STRIDE..=down).step_by(STRIDE) {
            if ups % STRIDE.div_ceil(2) != 0 {
                continue;
            }
            let mut fleet = story.fleet(Profile::Native, 1);
            fleet.world.cut_at(StreamId(0), ups, downs);
            fleet.run_until(Instant::from_millis(20_000));
            holds(&fleet, || format!("cut after {ups} bytes up and {downs} down"));
            runs += 1;
        }
    }
    assert!(runs > 1_000, "{runs} runs are no sweep");
}

#[test]
fn a_session_survives_a_loss_of_power_before_and_after_every_step() {
    let mut fleet = session(Vec::new()).fleet(Profile::Native, 1);
    fleet.world.record();
    fleet.run_until(Instant::from_millis(1_100));
    let mut moments: Vec<u32> = fleet
        .world
        .recorded()
        .iter()
        .flat_map(|traced| [traced.at.as_millis().saturating_sub(1), traced.at.as_millis()])
        .map(|at| at as u32)
        .filter(|&at| at < 1_000)
        .collect();
    moments.dedup();
    moments.sort_unstable();
    moments.dedup();
    assert!(moments.len() > 20, "{} moments", moments.len());
    for &at_ms in &moments {
        for memory in [Remembers::Nothing, Remembers::Everything, Remembers::OldCopy] {
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
            }
        }
    }
}
