//! Each outage does what it says, by the trace of a run.

use holdline_proto::ConnectFailure;
use holdline_sim::actor::Profile;
use holdline_sim::fleet::Fleet;
use holdline_sim::outage::{ConnectFails, End, Outage, Remembers, Shape, Stop, Target, Then, Way};
use holdline_sim::scenario::{Entry, FleetTable, Scenario};
use holdline_sim::{Direction, Happened, NodeId, StreamId, Traced};

/// The outage begins here, while one link has been up for long.
const BEGIN: u64 = 10_000;
const SERVER: NodeId = NodeId(0);
const DEVICE: NodeId = NodeId(1);
const FIRST: StreamId = StreamId(0);
const UP: Direction = Direction(0);
const DOWN: Direction = Direction(1);

struct Played {
    fleet: Fleet,
    end: u64,
}

fn play(outage: Outage, for_ms: u32) -> Played {
    play_with(FleetTable { message_every_ms: 300, jitter_ms: 0, ..FleetTable::default() }, outage, for_ms)
}

/// A minute in which this one thing goes wrong for the first device.
fn play_with(fleet: FleetTable, outage: Outage, for_ms: u32) -> Played {
    let entry = Entry { at_ms: BEGIN as u32, when: None, for_ms, device: (!outage.is_servers()).then_some(0), outage };
    let story = Scenario {
        name: "test".into(),
        about: String::new(),
        for_ms: (BEGIN as u32 + for_ms).max(60_000),
        fleet,
        outages: vec![entry],
        ..Scenario::default()
    };
    let mut fleet = story.fleet(Profile::Native, 3);
    fleet.world.record();
    story.play(&mut fleet);
    let outcome = fleet.outcome(true);
    assert!(outcome.violations.is_empty(), "{:?}", outcome.violations);
    Played { fleet, end: BEGIN + u64::from(for_ms) }
}

impl Played {
    fn trace(&self) -> impl Iterator<Item = &Traced> {
        self.fleet.world.recorded().iter()
    }

    /// What happened while the outage lasted, its first and last instant left out.
    fn during(&self) -> impl Iterator<Item = &Happened> {
        let end = self.end;
        self.trace().filter(move |traced| traced.at.as_millis() > BEGIN && traced.at.as_millis() < end).map(|traced| &traced.what)
    }

    fn arrivals_during(&self, way: Direction) -> usize {
        self.during().filter(|what| matches!(what, Happened::Arrived { direction, .. } if *direction == way)).count()
    }

    fn writes_during(&self, way: Direction) -> usize {
        self.during().filter(|what| matches!(what, Happened::Written { direction, .. } if *direction == way)).count()
    }

    /// When a node saw the first stream end.
    fn closed(&self, by: NodeId) -> Option<u64> {
        self.trace()
            .find(|traced| matches!(traced.what, Happened::Closed { stream: FIRST, node, .. } if node == by))
            .map(|traced| traced.at.as_millis())
    }

    fn opened(&self) -> Vec<u64> {
        let opened = self.trace().filter(|traced| matches!(traced.what, Happened::Opened { .. }));
        opened.map(|traced| traced.at.as_millis()).collect()
    }

    fn failures(&self) -> Vec<(u64, ConnectFailure)> {
        self.trace()
            .filter_map(|traced| match traced.what {
                Happened::Failed { failure, .. } => Some((traced.at.as_millis(), failure)),
                _ => None,
            })
            .collect()
    }

    /// The first line of each stream, up and down.
    fn greetings(&self, way: Direction) -> Vec<String> {
        let mut seen = Vec::new();
        let mut lines = Vec::new();
        for traced in self.trace() {
            if let Happened::Written { stream, direction, bytes } = &traced.what
                && *direction == way
                && !seen.contains(stream)
            {
                seen.push(*stream);
                lines.push(String::from_utf8_lossy(bytes).lines().next().unwrap_or_default().to_owned());
            }
        }
        lines
    }

    /// For each thing written on the first stream after `from`: when, and how long its last byte took to arrive.
    fn delays(&self, way: Direction) -> Vec<(u64, u64)> {
        let (mut written, mut arrived) = (Vec::new(), Vec::new());
        let (mut out, mut into) = (0, 0);
        for traced in self.trace() {
            match &traced.what {
                Happened::Written { stream: FIRST, direction, bytes } if *direction == way => {
                    out += bytes.len();
                    written.push((out, traced.at.as_millis()));
                }
                Happened::Arrived { stream: FIRST, direction, bytes } if *direction == way => {
                    into += bytes.len();
                    arrived.push((into, traced.at.as_millis()));
                }
                _ => {}
            }
        }
        let arrival = |end: usize| arrived.iter().find(|&&(total, _)| total >= end).map(|&(_, at)| at);
        written.into_iter().filter_map(|(end, at)| Some((at, arrival(end)? - at))).collect()
    }
}

#[test]
fn a_black_hole_delivers_nothing_and_the_same_stream_goes_on() {
    let played = play(Outage::BlackHole { way: Way::Both, then: Then::Resume }, 1_200);
    assert_eq!((played.arrivals_during(UP), played.arrivals_during(DOWN)), (0, 0));
    assert!(played.writes_during(UP) > 0 && played.writes_during(DOWN) > 0);
    assert_eq!((played.closed(SERVER), played.closed(DEVICE)), (None, None));
    assert_eq!(played.opened().len(), 1, "no stream but the first");
}

#[test]
fn a_one_way_black_hole_is_one_way() {
    let up = play(Outage::BlackHole { way: Way::Up, then: Then::Resume }, 1_200);
    assert!(up.arrivals_during(UP) == 0 && up.arrivals_during(DOWN) > 0);
    let down = play(Outage::BlackHole { way: Way::Down, then: Then::Resume }, 1_200);
    assert!(down.arrivals_during(UP) > 0 && down.arrivals_during(DOWN) == 0);
}

#[test]
fn streams_end_after_a_black_hole_as_told() {
    let rst = play(Outage::BlackHole { way: Way::Both, then: Then::Rst }, 1_200);
    assert_eq!((rst.closed(SERVER), rst.closed(DEVICE)), (Some(rst.end), Some(rst.end)));
    let fin = play(Outage::BlackHole { way: Way::Both, then: Then::Fin }, 1_200);
    for node in [SERVER, DEVICE] {
        assert!(fin.closed(node).is_some_and(|at| at >= fin.end && at < fin.end + 50), "{:?}", fin.closed(node));
    }
    let never = play(Outage::BlackHole { way: Way::Both, then: Then::Never }, 1_200);
    assert_eq!((never.closed(SERVER), never.closed(DEVICE)), (None, None));
    let later = |traced: &&Traced| traced.at.as_millis() > BEGIN;
    assert!(!never.trace().filter(later).any(|traced| matches!(traced.what, Happened::Arrived { stream: FIRST, .. })));
    assert_eq!(never.opened().len(), 2);
}

#[test]
fn a_cut_ends_both_sides_at_once() {
    let rst = play(Outage::Cut { with: End::Rst }, 0);
    assert_eq!((rst.closed(SERVER), rst.closed(DEVICE)), (Some(BEGIN), Some(BEGIN)));
    let fin = play(Outage::Cut { with: End::Fin }, 0);
    assert!(fin.closed(SERVER).is_some_and(|at| (BEGIN..BEGIN + 50).contains(&at)));
    assert!(fin.closed(DEVICE).is_some_and(|at| (BEGIN..BEGIN + 50).contains(&at)));
}

#[test]
fn an_access_point_takes_every_way_and_tells_nobody_at_the_server() {
    for outage in [Outage::ApReboot { dhcp_ms: 0 }, Outage::Roam] {
        let played = play(outage, 5_000);
        assert_eq!((played.arrivals_during(UP), played.arrivals_during(DOWN)), (0, 0));
        assert_eq!((played.closed(SERVER), played.closed(DEVICE)), (None, None));
        assert!(played.opened()[1] >= played.end);
    }
}

#[test]
fn roaming_concerns_one_device_alone() {
    let played = play_with(FleetTable { devices: 2, message_every_ms: 300, ..FleetTable::default() }, Outage::Roam, 3_000);
    let of_other = |traced: &Traced| match traced.what {
        Happened::Opened { stream, from: NodeId(2), .. } => Some(stream),
        _ => None,
    };
    let other = played.trace().find_map(of_other).expect("it connects");
    let arrived = |what: &&Happened| matches!(what, Happened::Arrived { .. });
    let by_other = |what: &&Happened| matches!(what, Happened::Arrived { stream, .. } if *stream == other);
    assert!(played.during().filter(by_other).count() > 10);
    assert_eq!(played.during().filter(arrived).count(), played.during().filter(by_other).count());
    assert_eq!(played.opened().len(), 3);
}

#[test]
fn a_device_without_power_is_silent_and_half_open_or_reset() {
    for reset in [false, true] {
        let played = play(Outage::PowerCycle { memory: Remembers::Nothing, reset }, 3_000);
        assert_eq!((played.writes_during(UP), played.arrivals_during(DOWN)), (0, 0));
        assert_eq!(played.closed(SERVER), reset.then_some(BEGIN));
    }
}

#[test]
fn a_device_remembers_what_the_outage_lets_it() {
    let run = |memory| play(Outage::PowerCycle { memory, reset: true }, 1_000);
    let field = |line: &str, name: &str| {
        let found = line.split(' ').find_map(|word| word.strip_prefix(name).map(str::to_owned));
        found.unwrap_or_else(|| panic!("no {name} in {line:?}"))
    };
    let (nothing, everything, old) = (run(Remembers::Nothing), run(Remembers::Everything), run(Remembers::OldCopy));
    let epochs = |played: &Played| played.greetings(UP).iter().map(|line| field(line, "epoch=")).collect::<Vec<_>>();
    assert_ne!(epochs(&nothing)[0], epochs(&nothing)[1]);
    assert_eq!(epochs(&everything)[0], epochs(&everything)[1]);
    let seen = |played: &Played| field(&played.greetings(UP)[1], "seen=");
    assert_ne!(seen(&everything), seen(&old), "an older copy has accepted less");
}

#[test]
fn a_server_stops_in_three_ways() {
    let run = |how| play(Outage::ServerStop { how, memory: Remembers::Everything }, 1_500);
    let goodbyes = |played: &Played| {
        let byes = played.trace().filter(|traced| match &traced.what {
            Happened::Written { direction, bytes, .. } => {
                *direction == DOWN && String::from_utf8_lossy(bytes).contains("closing")
            }
            _ => false,
        });
        byes.filter(|traced| traced.at.as_millis() == BEGIN).count()
    };
    let (graceful, killed, lost) = (run(Stop::Graceful), run(Stop::Killed), run(Stop::HostLost));
    assert_eq!((goodbyes(&graceful), goodbyes(&killed), goodbyes(&lost)), (1, 0, 0));
    assert_eq!(killed.closed(DEVICE), Some(BEGIN));
    assert_eq!(lost.closed(DEVICE), None);
    for played in [&killed, &lost] {
        assert_eq!(played.writes_during(DOWN), 0);
    }
}

#[test]
fn a_server_remembers_what_the_outage_lets_it() {
    let run = |memory| play(Outage::ServerStop { how: Stop::Killed, memory }, 500).greetings(DOWN);
    let epoch = |line: &String| line.split(' ').find(|word| word.starts_with("epoch=")).map(str::to_owned);
    let (nothing, everything) = (run(Remembers::Nothing), run(Remembers::Everything));
    assert!(epoch(&nothing[0]).is_some());
    assert_ne!(epoch(&nothing[0]), epoch(&nothing[1]));
    assert_eq!(epoch(&everything[0]), epoch(&everything[1]));
    assert_ne!(run(Remembers::OldCopy)[1], everything[1]);
}

#[test]
fn a_nat_forgets_idle_streams_only() {
    let idle = FleetTable { timeout_ms: 120_000, message_every_ms: 0, jitter_ms: 0, ..FleetTable::default() };
    let forgotten = play_with(idle, Outage::NatIdle { idle_ms: 5_000 }, 600_000);
    assert!(forgotten.opened().len() > 1, "the stream was dead");
    assert_eq!((forgotten.closed(SERVER), forgotten.closed(DEVICE)), (None, None), "and nobody was told");
    let busy = play_with(FleetTable { message_every_ms: 1_000, ..idle }, Outage::NatIdle { idle_ms: 5_000 }, 45_000);
    assert_eq!(busy.opened().len(), 1);
}

#[test]
fn bufferbloat_makes_everything_late_and_loses_nothing() {
    let played = play(Outage::Bufferbloat { latency_ms: 400, jitter_ms: 0 }, 10_000);
    for way in [UP, DOWN] {
        for (at, delay) in played.delays(way) {
            if at > BEGIN && at + 400 < played.end {
                assert!(delay >= 400, "{delay} ms at {at}");
            } else if at + 10 < BEGIN {
                assert!(delay <= 15, "{delay} ms at {at}");
            }
        }
    }
}

#[test]
fn burst_loss_stalls_and_keeps_the_stream() {
    let played = play(Outage::BurstLoss { longest_ms: 1_000, every_ms: 500, shape: Shape::HeavyTailed }, 30_000);
    let slowest = played.delays(UP).into_iter().map(|(_, delay)| delay).max();
    assert!(slowest.is_some_and(|slowest| (200..=3_000).contains(&slowest)), "{slowest:?}");
    assert_eq!((played.closed(SERVER), played.closed(DEVICE)), (None, None));
}

#[test]
fn a_zero_window_holds_the_server_up_and_not_the_device() {
    let played = play(Outage::ZeroWindow { buffer: 64 }, 12_000);
    assert_eq!(played.arrivals_during(DOWN), 0);
    assert!(played.arrivals_during(UP) > 0);
    let written: usize = played
        .during()
        .filter_map(|what| match what {
            Happened::Written { stream: FIRST, direction: DOWN, bytes } => Some(bytes.len()),
            _ => None,
        })
        .sum();
    assert!((64..=64 + 1_024).contains(&written), "the window and what is in hand, not {written} bytes");
}

#[test]
fn segments_are_no_larger_than_told() {
    let played = play(Outage::Segments { size: 7 }, 10_000);
    let sizes: Vec<_> = played
        .during()
        .filter_map(|what| match what {
            Happened::Arrived { bytes, .. } => Some(bytes.len()),
            _ => None,
        })
        .collect();
    assert!(sizes.len() > 100);
    assert!(sizes.iter().skip(2).all(|&size| size <= 7), "{sizes:?}");
}

#[test]
fn a_slow_line_is_as_slow_one_way_as_the_other() {
    let played = play_with(FleetTable { message_every_ms: 1_000, ..FleetTable::default() }, Outage::Slow { rate: 10 }, 10_000);
    let slowest = |way| {
        let during = played.delays(way).into_iter().filter(|&(at, _)| at > BEGIN && at < played.end);
        during.map(|(_, delay)| delay).max().expect("something was written")
    };
    let (up, down) = (slowest(UP), slowest(DOWN));
    // Three messages of 64 bytes wait for each other.
    assert!((15..60).contains(&up) && up.abs_diff(down) < 20, "{up} ms up, {down} ms down");
}

#[test]
fn a_slow_line_carries_no_more_than_its_rate() {
    let played = play_with(FleetTable { message_every_ms: 50, ..FleetTable::default() }, Outage::Slow { rate: 1 }, 10_000);
    let bytes: usize = played
        .during()
        .filter_map(|what| match what {
            Happened::Arrived { direction: UP, bytes, .. } => Some(bytes.len()),
            _ => None,
        })
        .sum();
    assert!((1_000..=10_000 + 1_460).contains(&bytes), "{bytes} bytes in 10,000 ms");
}

#[test]
fn noise_damages_as_many_bytes_as_it_says_while_it_lasts_and_no_link_ends() {
    let fleet = FleetTable { message_every_ms: 100, check: true, ..FleetTable::default() };
    let played = play_with(fleet, Outage::Noise { flip_per_million: 2_000, drop_per_million: 500 }, 40_000);
    let (mut flips, mut drops) = (0, 0);
    for traced in played.trace() {
        if let Happened::Noise { flipped, dropped, .. } = &traced.what {
            assert!((BEGIN..=played.end).contains(&traced.at.as_millis()), "{traced:?}");
            (flips, drops) = (flips + flipped.len(), drops + dropped.len());
        }
    }
    let written: usize = played
        .during()
        .map(|what| match what {
            Happened::Written { bytes, .. } => bytes.len(),
            _ => 0,
        })
        .sum();
    assert!((flips * 1_000_000 / written).abs_diff(2_000) < 400, "{flips} of {written} bytes");
    assert!((drops * 1_000_000 / written).abs_diff(500) < 200, "{drops} of {written} bytes");
    assert_eq!(played.opened().len(), 1);
    let account = played.fleet.outcome(true).account;
    assert_eq!((account.delivered, account.repeated, account.damaged), (account.sent, 0, 0));
}

#[test]
fn noise_on_lines_without_checks_is_delivered_and_nothing_is_promised() {
    let text = "for_ms = 30000\nfleet.message_every_ms = 200\n[[outage]]\nat_ms = 5000\nfor_ms = 20000\ndo = 'noise'\nflip_per_million = 2000";
    let story = Scenario::parse(text).expect("a story");
    for profile in Profile::ALL {
        let mut damaged = 0;
        for seed in 0..4 {
            let outcome = story.run(profile, seed);
            assert_eq!(outcome.violations, [""; 0], "{profile:?} with seed {seed}");
            assert!(!outcome.holes.is_empty(), "{profile:?} with seed {seed}");
            damaged += outcome.account.damaged;
        }
        assert!(damaged > 0, "{profile:?}");
    }
}

#[test]
fn a_suspended_node_does_nothing_and_then_reads_before_its_timers() {
    let played = play(Outage::Suspend, 1_950);
    assert_eq!((played.writes_during(UP), played.arrivals_during(DOWN)), (0, 0));
    // Longer than its timeout: the server has given up by then, and the device hears of that before it looks at its clock.
    let long = play(Outage::Suspend, 5_000);
    let after = |traced: &&Traced| traced.at.as_millis() >= long.end;
    let first = long.trace().filter(after).find(|traced| match traced.what {
        Happened::Arrived { direction, .. } => direction == DOWN,
        Happened::Written { direction, .. } => direction == UP,
        _ => false,
    });
    assert!(first.is_some_and(|traced| matches!(traced.what, Happened::Arrived { stream: FIRST, .. })), "{first:?}");
    assert!(first.is_some_and(|traced| traced.at.as_millis() == long.end), "without another way through the network");
}

#[test]
fn a_clock_jumps_and_stays_ahead() {
    let played = play(Outage::ClockJump, 7_000);
    let ahead = played.fleet.world.local(DEVICE).since(played.fleet.world.now());
    assert_eq!(ahead, 7_000);
    assert_eq!(played.fleet.world.local(SERVER), played.fleet.world.now());
}

#[test]
fn a_clone_connects_under_the_same_id() {
    let played = play(Outage::Clone, 10_000);
    let clone = NodeId(2);
    assert!(played.trace().any(|traced| matches!(traced.what, Happened::Opened { from, .. } if from == clone)));
    let ids = |line: &String| line.contains("device-0");
    assert!(played.greetings(UP).iter().all(ids), "{:?}", played.greetings(UP));
    assert!(played.closed(DEVICE).is_some(), "the clone took the link over");
    assert!(played.fleet.accounts(Target(0)).links > 1, "and the device came back");
}

#[test]
fn connections_fail_as_told_while_open_streams_stay() {
    let open = play(Outage::NoConnect { how: ConnectFails::Refused }, 10_000);
    assert_eq!(open.opened().len(), 1);
    let run = |how| {
        let entry = |at_ms, for_ms, outage| Entry { at_ms, when: None, for_ms, device: None, outage };
        let outages = vec![entry(9_999, 20_000, Outage::NoConnect { how }), entry(10_000, 0, Outage::Cut { with: End::Rst })];
        let fleet = FleetTable { jitter_ms: 0, ..FleetTable::default() };
        let story = Scenario { name: "test".into(), about: String::new(), for_ms: 60_000, fleet, outages, ..Scenario::default() };
        let mut fleet = story.fleet(Profile::Native, 3);
        fleet.world.record();
        story.play(&mut fleet);
        Played { fleet, end: 29_999 }
    };
    let refused = run(ConnectFails::Refused);
    assert!(refused.failures().len() > 2);
    assert!(refused.failures().iter().all(|&(_, how)| how == ConnectFailure::Refused));
    let silent = run(ConnectFails::Silent);
    assert!(silent.failures().iter().all(|&(at, how)| how == ConnectFailure::TimedOut && at >= BEGIN + 5_000));
    assert!(!silent.failures().is_empty());
    let portal = run(ConnectFails::AcceptedThenClosed);
    assert!(portal.failures().is_empty());
    let soon = |at: u64| {
        portal.trace().any(|traced| {
            matches!(traced.what, Happened::Closed { node: DEVICE, .. })
                && traced.at.as_millis() - at.min(traced.at.as_millis()) < 30
        })
    };
    let tries: Vec<_> = portal.opened().into_iter().filter(|at| (BEGIN..29_999).contains(at)).collect();
    assert!(tries.len() > 1 && tries.into_iter().all(soon));
}

#[test]
fn a_two_state_channel_stalls_until_something_is_sent_again() {
    let played = play(Outage::BurstLoss { longest_ms: 4_000, every_ms: 3_000, shape: Shape::GilbertElliott }, 40_000);
    let delays = played.delays(UP);
    let late = delays.iter().filter(|&&(at, delay)| at > BEGIN && at < played.end && delay > 100).count();
    assert!(late > 3 && late < delays.len() / 2, "{late} of {}", delays.len());
}

#[test]
fn addresses_come_one_by_one_after_an_access_point_is_back() {
    let fleet = FleetTable { devices: 20, message_every_ms: 3_000, jitter_ms: 0, ..FleetTable::default() };
    let returns = |dhcp_ms| {
        let entry = Entry { at_ms: BEGIN as u32, when: None, for_ms: 5_000, device: None, outage: Outage::ApReboot { dhcp_ms } };
        let story = Scenario { for_ms: 60_000, fleet, outages: vec![entry], ..Scenario::default() };
        let mut fleet = story.fleet(Profile::Native, 3);
        fleet.world.record();
        story.play(&mut fleet);
        assert_eq!(fleet.outcome(true).violations, [""; 0]);
        let played = Played { fleet, end: BEGIN + 5_000 };
        let opened = played.opened();
        (opened[20] - played.end, opened[39] - played.end)
    };
    let (first, last) = returns(0);
    assert!(last - first < 600, "within a quarter of the timeout: {first} to {last}");
    let (first, last) = returns(20_000);
    assert!(first < 5_000 && last > 15_000, "over twenty seconds: {first} to {last}");
}

#[test]
fn a_clock_that_runs_fast_or_slow_moves_keepalives_and_nothing_else() {
    let quiet = FleetTable { message_every_ms: 0, jitter_ms: 0, ..FleetTable::default() };
    let keepalives = |outage| {
        let played = play_with(quiet, outage, 40_000);
        assert_eq!(played.opened().len(), 1, "the link stays");
        played.writes_during(UP)
    };
    let right = keepalives(Outage::ClockDrift { ppm: 0, slow: false });
    // Every 500 ms: 80 in 40 s, five percent more or less.
    assert!((79..=80).contains(&right), "{right}");
    assert_eq!(keepalives(Outage::ClockDrift { ppm: 50_000, slow: false }), right + 4);
    assert_eq!(keepalives(Outage::ClockDrift { ppm: 50_000, slow: true }), right - 4);
}

#[test]
fn a_clock_of_32_bits_begins_again_and_nobody_notices() {
    let played = play(Outage::ClockWrap, 0);
    let around = |ms: u64| played.fleet.world.local(DEVICE).as_millis() - played.fleet.world.now().as_millis() + ms;
    assert_eq!((around(BEGIN - 1), around(BEGIN)), ((1 << 32) - 1, 1 << 32));
    assert_eq!(played.opened().len(), 1, "the link stays");
    assert!(played.delays(UP).iter().any(|&(at, _)| at > BEGIN + 5_000), "and carries messages");
}

#[test]
fn a_torn_commit_is_there_or_not_and_with_one_record_everything_can_be_gone() {
    let field = |line: &str, name: &str| line.split(' ').find_map(|word| word.strip_prefix(name).map(str::to_owned));
    let kept = |memory, at_ms| {
        let outage = Outage::PowerCycle { memory, reset: true };
        let entry = Entry { at_ms, when: None, for_ms: 1_000, device: Some(0), outage };
        let fleet = FleetTable { message_every_ms: 300, jitter_ms: 0, ..FleetTable::default() };
        let story = Scenario { for_ms: 30_000, fleet, outages: vec![entry], ..Scenario::default() };
        let mut fleet = story.fleet(Profile::Native, u64::from(at_ms));
        fleet.world.record();
        story.play(&mut fleet);
        assert_eq!(fleet.outcome(true).violations, [""; 0]);
        let played = Played { fleet, end: 0 };
        let greetings = played.greetings(UP);
        field(&greetings[0], "epoch=") == field(&greetings[1], "epoch=")
    };
    let times = 10_000..10_040;
    assert_eq!(times.clone().filter(|&at| kept(Remembers::Torn, at)).count(), 40, "the record before is still there");
    let lucky = times.filter(|&at| kept(Remembers::TornInPlace, at)).count();
    assert!((3..20).contains(&lucky), "{lucky} of 40 were written whole");
}

#[test]
fn a_device_that_sleeps_until_everything_heals_notices_before_it_is_judged() {
    let entry = Entry { at_ms: 16_000, when: None, for_ms: 60_000, device: Some(0), outage: Outage::Suspend };
    let fleet = FleetTable { message_every_ms: 10_000, jitter_ms: 0, ..FleetTable::default() };
    let story = Scenario { for_ms: 21_000, fleet, outages: vec![entry], ..Scenario::default() };
    for profile in Profile::ALL {
        assert_eq!(story.run(profile, 4_146).violations, [""; 0], "{}", profile.name());
    }
}
