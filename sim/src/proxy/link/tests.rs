//! What each toxic does, in virtual time and without a socket.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::outage::{ConnectFails, Shape};
use crate::proxy::{
    Bandwidth, BlackHole, BurstLoss, CloneId, Cut, Kind, Latency, LimitData, NatIdle, NoConnect, Noise, Place, Portal, ResetPeer,
    Slicer, SlowClose, Stall, Timeout, Toxic, Trigger,
};

const CAPACITY: usize = 4096;

/// A link and what has come out of it.
struct Bed {
    link: Link,
    start: Instant,
    now: Instant,
    orders: Orders,
    toxics_ever: u64,
    out: [Vec<u8>; 2],
    writes: Vec<usize>,
    finished: [bool; 2],
    over: Option<Close>,
    clones: Vec<Bytes>,
}

impl Bed {
    fn new() -> Self {
        Self::of_connection(0)
    }

    fn of_connection(number: u64) -> Self {
        let now = Instant::now();
        let orders = Orders::default();
        let link = Link::new(number, Chance::from_seed(1).numbered(number), CAPACITY, Arc::new(orders.clone()), now);
        let (out, writes) = ([Vec::new(), Vec::new()], Vec::new());
        Self { link, start: now, now, orders, toxics_ever: 0, out, writes, finished: [false; 2], over: None, clones: Vec::new() }
    }

    fn with(mut self, stream: Stream, kind: impl Into<Kind>) -> Self {
        self.add(Toxic::new(stream, kind.into()).unwrap());
        self
    }

    fn add(&mut self, toxic: Toxic) {
        self.toxics_ever += 1;
        self.orders.toxics.push(Arc::new(Listed { id: self.toxics_ever, since: 1, toxic }));
        self.reorder();
    }

    fn change(&mut self, name: &str, body: &str) {
        for listed in self.orders.toxics.iter_mut().filter(|listed| listed.toxic.name() == name) {
            let toxic = listed.toxic.changed(body.as_bytes()).unwrap();
            *listed = Arc::new(Listed { toxic, ..Listed::clone(listed) });
        }
        self.reorder();
    }

    fn remove(&mut self, name: &str) {
        self.orders.toxics.retain(|listed| listed.toxic.name() != name);
        self.reorder();
    }

    fn reorder(&mut self) {
        self.link.order(Arc::new(self.orders.clone()), self.now);
        self.drive();
    }

    /// Sends as much as there is room for.
    fn send(&mut self, stream: Stream, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.link.room(stream));
        if count > 0 {
            self.link.received(stream, Bytes::copy_from_slice(&bytes[..count]));
        }
        self.drive();
        count
    }

    fn finish(&mut self, stream: Stream) {
        self.link.finished(stream);
        self.drive();
    }

    /// Jumps from deadline to deadline, as a relay does.
    fn pass(&mut self, milliseconds: u64) {
        let until = self.now + Duration::from_millis(milliseconds);
        while let Some(due) = self.link.deadline(self.now).filter(|&due| due <= until) {
            assert!(due > self.now, "a deadline lies in the future");
            self.now = due;
            self.drive();
        }
        self.now = until;
        self.drive();
    }

    fn drive(&mut self) {
        let mut settled = None;
        while settled != Some(self.link.settled()) {
            settled = Some(self.link.settled());
            Stream::BOTH.into_iter().for_each(|stream| self.drive_one(stream));
        }
    }

    fn drive_one(&mut self, stream: Stream) {
        while self.over.is_none() {
            match self.link.next(stream, self.now) {
                Step::Wait | Step::HalfOpen(_) => break,
                Step::Write(bytes) => {
                    self.out[stream as usize].extend_from_slice(&bytes);
                    self.writes.push(bytes.len());
                    self.link.sent(stream, bytes.len());
                }
                Step::Finish => self.finished[stream as usize] = true,
                Step::Close(how) => self.over = Some(how),
                Step::Clone(_, hello) => self.clones.push(hello),
            }
        }
    }

    fn up(&self) -> &str {
        std::str::from_utf8(&self.out[Stream::Upstream as usize]).unwrap()
    }

    fn down(&self) -> &str {
        std::str::from_utf8(&self.out[Stream::Downstream as usize]).unwrap()
    }

    fn elapsed(&self) -> u128 {
        (self.now - self.start).as_millis()
    }
}

use Stream::{Downstream, Upstream};

#[test]
fn without_toxics_bytes_and_ends_pass_each_way() {
    let mut bed = Bed::new();
    bed.send(Upstream, b"hello");
    bed.finish(Upstream);
    assert_eq!((bed.up(), bed.finished, bed.over), ("hello", [true, false], None));
    bed.send(Downstream, b"welcome");
    bed.finish(Downstream);
    assert_eq!((bed.down(), bed.finished, bed.over), ("welcome", [true, true], Some(Close::Fin)));
}

#[test]
fn a_reset_reaches_the_other_end_behind_the_bytes() {
    let mut bed = Bed::new().with(Upstream, Latency { latency: 100, jitter: 0 });
    bed.send(Upstream, b"last words");
    bed.link.broken(Upstream);
    bed.drive();
    bed.pass(99);
    assert_eq!((bed.up(), bed.over), ("", None));
    bed.pass(1);
    assert_eq!((bed.up(), bed.over), ("last words", Some(Close::Rst)));
}

#[test]
fn latency_delays_only_its_own_direction() {
    let mut bed = Bed::new().with(Downstream, Latency { latency: 50, jitter: 0 });
    bed.send(Upstream, b"ping");
    bed.send(Downstream, b"pong");
    assert_eq!((bed.up(), bed.down()), ("ping", ""));
    bed.pass(50);
    assert_eq!(bed.down(), "pong");
}

#[test]
fn changing_latency_changes_what_is_under_way_and_removing_it_lets_it_pass() {
    let mut bed = Bed::new().with(Upstream, Latency { latency: 60_000, jitter: 0 });
    bed.send(Upstream, b"a");
    bed.pass(100);
    bed.change("latency_upstream", r#"{"attributes": {"latency": 200}}"#);
    bed.pass(99);
    assert_eq!(bed.up(), "");
    bed.pass(1);
    assert_eq!(bed.up(), "a");
    bed.send(Upstream, b"b");
    bed.remove("latency_upstream");
    bed.send(Upstream, b"c");
    assert_eq!(bed.up(), "abc");
}

#[test]
fn bandwidth_limits_the_rate_and_at_zero_nothing_passes() {
    let mut bed = Bed::new().with(Upstream, Bandwidth { rate: 1 });
    bed.send(Upstream, &[b'x'; 1_000]);
    bed.pass(500);
    assert_eq!(bed.up().len(), 500);
    bed.change("bandwidth_upstream", r#"{"attributes": {"rate": 0}}"#);
    bed.pass(60_000);
    assert_eq!(bed.up().len(), 500);
    bed.remove("bandwidth_upstream");
    assert_eq!(bed.up().len(), 1_000);
}

#[test]
fn slicer_writes_small_pieces() {
    let mut bed = Bed::new().with(Downstream, Slicer { average_size: 10, size_variation: 3, delay: 1_000 });
    bed.send(Downstream, &[b'x'; 200]);
    assert_eq!(bed.writes.len(), 1);
    bed.pass(1_000);
    assert!((15..30).contains(&bed.writes.len()) && bed.writes.iter().all(|&length| length <= 13), "{:?}", bed.writes);
    assert_eq!(bed.down().len(), 200);
}

#[test]
fn slow_close_holds_the_end_and_not_the_bytes() {
    let mut bed = Bed::new().with(Downstream, SlowClose { delay: 300 });
    bed.send(Downstream, b"bye");
    bed.finish(Downstream);
    bed.pass(299);
    assert_eq!((bed.down(), bed.finished), ("bye", [false, false]));
    bed.pass(1);
    assert_eq!(bed.finished, [false, true]);
}

#[test]
fn timeout_loses_bytes_and_closes_in_time_however_busy_the_connection_is() {
    let mut bed = Bed::new().with(Upstream, Timeout { timeout: 1_000 });
    for _ in 0..9 {
        bed.send(Upstream, b"keepalive\n");
        bed.pass(100);
    }
    assert_eq!((bed.up(), bed.over), ("", None));
    bed.pass(100);
    assert_eq!((bed.over, bed.elapsed()), (Some(Close::Fin), 1_000));
}

#[test]
fn timeout_without_a_time_closes_when_it_is_removed() {
    let mut bed = Bed::new().with(Upstream, Timeout { timeout: 0 });
    bed.send(Upstream, b"lost");
    bed.pass(3_600_000);
    assert_eq!(bed.over, None);
    bed.remove("timeout_upstream");
    assert_eq!((bed.up(), bed.over), ("", Some(Close::Fin)));
}

#[test]
fn reset_peer_waits_for_the_first_byte_and_then_for_its_time() {
    let mut bed = Bed::new().with(Upstream, ResetPeer { timeout: 200 });
    bed.pass(10_000);
    assert_eq!(bed.over, None);
    bed.send(Upstream, b"x");
    bed.pass(199);
    assert_eq!(bed.over, None);
    bed.pass(1);
    assert_eq!((bed.up(), bed.over), ("", Some(Close::Rst)));
}

#[test]
fn limit_data_counts_from_when_it_was_added() {
    let mut bed = Bed::new();
    bed.send(Upstream, b"before ");
    bed.add(Toxic::new(Upstream, LimitData { bytes: 4 }.into()).unwrap());
    bed.send(Upstream, b"two");
    assert_eq!(bed.over, None);
    bed.send(Upstream, b"three");
    assert_eq!((bed.up(), bed.over), ("before twot", Some(Close::Fin)));
}

#[test]
fn cut_passes_exactly_its_bytes_wherever_that_is_and_however_they_came() {
    let session = b"HOLD/1 hello\nD 1 first\nD 2 second\n";
    for at in 0..=session.len() {
        for chunk in [1, 7, session.len()] {
            let mut bed = Bed::new().with(Upstream, Cut { bytes: at as u64, close: Close::Rst });
            for chunk in session.chunks(chunk) {
                bed.send(Upstream, chunk);
            }
            assert_eq!(bed.up().as_bytes(), &session[..at]);
            assert_eq!(bed.over, Some(Close::Rst));
        }
    }
}

#[test]
fn a_black_hole_delivers_nothing_tells_nobody_and_gives_everything_back() {
    let mut bed = Bed::new().with(Upstream, BlackHole::default());
    bed.send(Upstream, b"up");
    bed.send(Downstream, b"down");
    bed.finish(Upstream);
    bed.pass(3_600_000);
    assert_eq!((bed.up(), bed.down(), bed.finished, bed.over), ("", "", [false; 2], None));
    assert_eq!(bed.link.standing(bed.now), Standing::Unreachable);
    bed.remove("black_hole_upstream");
    assert_eq!((bed.up(), bed.down(), bed.finished, bed.over), ("up", "down", [true, false], None));
}

#[test]
fn a_black_hole_hides_a_cut_that_falls_due() {
    let mut bed = Bed::new().with(Upstream, BlackHole::default()).with(Upstream, Timeout { timeout: 100 });
    bed.pass(1_000);
    assert_eq!(bed.over, None);
    bed.remove("black_hole_upstream");
    assert_eq!(bed.over, Some(Close::Fin));
}

#[test]
fn a_one_way_black_hole_leaves_the_other_way() {
    let mut bed = Bed::new().with(Downstream, BlackHole { one_way: true });
    bed.send(Upstream, b"up");
    bed.send(Downstream, b"down");
    assert_eq!((bed.up(), bed.down()), ("up", ""));
}

#[test]
fn stall_reads_exactly_so_many_bytes() {
    let mut bed = Bed::new().with(Upstream, Stall { after: 3 });
    assert_eq!(bed.send(Upstream, b"abcdef"), 3);
    assert_eq!((bed.up(), bed.link.room(Upstream), bed.link.room(Downstream)), ("abc", 0, CAPACITY));
    bed.remove("stall_upstream");
    bed.send(Upstream, b"def");
    assert_eq!(bed.up(), "abcdef");
}

#[test]
fn a_receiver_that_takes_nothing_fills_the_link_and_no_more() {
    let mut bed = Bed::new().with(Upstream, BlackHole::default());
    let taken: usize = (0..10_000).map(|_| bed.send(Upstream, &[b'x'; 100])).sum();
    assert!(taken <= CAPACITY, "{taken}");
    assert_eq!(bed.link.room(Upstream), 0);
}

fn hole_after(line: &str) -> Trigger {
    Trigger { line: line.into(), toxic: "hole".into(), ..Trigger::default() }
}

fn waiting_hole() -> Toxic {
    Toxic::new(Upstream, BlackHole::default().into()).unwrap().named("hole").on_share(0.0)
}

#[test]
fn a_line_starts_a_toxic_and_nothing_behind_the_line_passes() {
    let mut bed = Bed::new().with(Upstream, hole_after("D 2"));
    bed.add(waiting_hole());
    bed.send(Upstream, b"D 1 first\nD 2 second\nD 3 third\n");
    bed.send(Downstream, b"A 2\n");
    assert_eq!((bed.up(), bed.down()), ("D 1 first\nD 2 second\n", ""));
    bed.remove("hole");
    assert_eq!((bed.up(), bed.down()), ("D 1 first\nD 2 second\nD 3 third\n", "A 2\n"));
}

#[test]
fn a_lines_effect_ends_by_itself_and_happens_once() {
    let mut bed = Bed::new().with(Upstream, Trigger { lasts: 500, place: Place::StartsWith, ..hole_after("D 2") });
    bed.add(waiting_hole());
    bed.send(Upstream, b"x D 2\nD 2\nD 3\n");
    bed.pass(499);
    assert_eq!(bed.up(), "x D 2\nD 2\n");
    bed.pass(1);
    bed.send(Upstream, b"D 2\nD 4\n");
    assert_eq!(bed.up(), "x D 2\nD 2\nD 3\nD 2\nD 4\n");
}

#[test]
fn a_line_stops_a_toxic_and_one_downstream_can_cut_upstream() {
    let mut bed = Bed::new().with(Upstream, Latency { latency: 1_000, jitter: 0 });
    let stop = Trigger { line: "fast".into(), toxic: "latency_upstream".into(), action: Action::Stop, ..Trigger::default() };
    bed.add(Toxic::new(Downstream, stop.into()).unwrap());
    bed.send(Upstream, b"waits");
    bed.send(Downstream, b"go fast now\n");
    assert_eq!(bed.up(), "waits");

    let mut bed = Bed::new().with(Downstream, Trigger { toxic: "cut_upstream".into(), ..hole_after("W ") });
    bed.add(Toxic::new(Upstream, Cut::default().into()).unwrap().on_share(0.0));
    bed.send(Upstream, b"hello\n");
    bed.send(Downstream, b"W 1\nD 1\n");
    assert_eq!((bed.up(), bed.down(), bed.over), ("hello\n", "W 1\n", Some(Close::Fin)));
}

#[test]
fn half_open_takes_the_connections_there_are_and_leaves_those_that_come() {
    let half_open = || HalfOpen { stays: crate::proxy::End::Server, close: Close::Fin };
    let mut old = Bed::of_connection(0).with(Upstream, half_open());
    assert_eq!(old.link.standing(old.now), Standing::HalfOpen(half_open()));
    assert_eq!(old.link.next(Upstream, old.now), Step::HalfOpen(half_open()));
    let mut new = Bed::of_connection(1).with(Upstream, half_open());
    assert_eq!(new.link.standing(new.now), Standing::Open);
    new.send(Upstream, b"again");
    assert_eq!(new.up(), "again");
}

#[test]
fn a_connection_is_forgotten_when_neither_way_carried_anything_for_as_long_as_it_says() {
    let mut bed = Bed::new().with(Downstream, NatIdle { idle: 500 });
    for _ in 0..5 {
        bed.pass(499);
        bed.send(Upstream, b"ping\n");
        bed.pass(499);
        bed.send(Downstream, b"pong\n");
    }
    assert_eq!((bed.up().len(), bed.down().len()), (25, 25));
    bed.pass(499);
    assert_eq!(bed.over, None);
    bed.pass(1);
    assert_eq!(bed.over, Some(Close::Silent));
    bed.remove("nat_idle_downstream");
    assert_eq!(bed.link.standing(bed.now), Standing::Closing(Close::Silent));
}

#[test]
fn a_forgotten_connection_is_not_told_when_another_toxic_would_have_closed_it() {
    let mut bed = Bed::new().with(Upstream, Timeout { timeout: 0 }).with(Upstream, NatIdle { idle: 500 });
    bed.pass(500);
    bed.remove("timeout_upstream");
    assert_eq!(bed.link.standing(bed.now), Standing::Closing(Close::Silent));
}

/// In which milliseconds something passed, with a byte sent each way in each for which there was room.
fn passing(one_way: bool) -> [Vec<u128>; 2] {
    let loss = BurstLoss { longest: 200, every: 100, shape: Shape::HeavyTailed, one_way };
    let mut bed = Bed::new().with(Upstream, loss);
    let (mut sent, mut times) = ([0, 0], [Vec::new(), Vec::new()]);
    for _ in 0..3_000 {
        bed.pass(1);
        for stream in Stream::BOTH {
            let at = stream as usize;
            let before = bed.out[at].len();
            sent[at] += bed.send(stream, b"x");
            if bed.out[at].len() > before {
                times[at].push(bed.elapsed());
            }
        }
    }
    bed.remove("burst_loss_upstream");
    assert_eq!([bed.up().len(), bed.down().len()], sent);
    times
}

#[test]
fn burst_loss_stalls_both_ways_at_once_and_loses_nothing() {
    let [up, down] = passing(false);
    assert_eq!(up, down);
    assert!((1_000..2_900).contains(&up.len()), "{}", up.len());
    assert_eq!(passing(false)[0], up, "the same seed stalls at the same times");
    let [one, other] = passing(true);
    assert_eq!((one, other.len()), (up, 3_000));
}

#[test]
fn what_waits_in_a_stall_passes_when_it_ends() {
    let mut bed =
        Bed::new().with(Upstream, BurstLoss { longest: 4_000, every: 10, shape: Shape::GilbertElliott, one_way: false });
    let mut waited = 0;
    while waited == 0 {
        bed.pass(1);
        bed.send(Upstream, b"x");
        let sent = bed.up().len();
        while bed.up().len() == sent && !bed.link.is_empty(Upstream) {
            bed.pass(1);
            waited += 1;
        }
    }
    assert!([200, 600, 1_400, 3_000, 4_000].iter().any(|stall| (stall - 1..=*stall).contains(&waited)), "{waited}");
}

#[test]
fn noise_leaves_room_for_what_it_lost_and_ends_what_it_was() {
    let mut bed = Bed::new().with(Upstream, Noise { drop_per_million: 1_000_000, ..Noise::default() });
    for _ in 0..10 {
        assert_eq!(bed.send(Upstream, &[b'x'; CAPACITY]), CAPACITY);
    }
    assert_eq!(bed.up(), "");
    bed.change("noise_upstream", r#"{"attributes": {"drop_per_million": 0, "flip_per_million": 1000000}}"#);
    bed.send(Upstream, b"hello");
    let differing: Vec<u32> = bed.out[0].iter().zip(b"hello").map(|(came, sent)| (came ^ sent).count_ones()).collect();
    assert_eq!(differing, [1; 5]);
    bed.remove("noise_upstream");
    bed.out[0].clear();
    bed.send(Upstream, b"hello");
    bed.finish(Upstream);
    assert_eq!((bed.up(), bed.finished[0]), ("hello", true));
}

#[test]
fn a_clone_says_the_first_line_once_and_after_its_delay() {
    let mut bed = Bed::new();
    bed.send(Upstream, b"HOLD/1 cli");
    bed.add(Toxic::new(Upstream, CloneId { delay: 300 }.into()).unwrap());
    bed.pass(1_000);
    bed.send(Upstream, b"ent=a\nD 1 one\n");
    bed.pass(299);
    assert!(bed.clones.is_empty(), "its time has not come");
    bed.pass(1);
    assert_eq!(bed.clones, ["HOLD/1 client=a\n"]);
    bed.pass(10_000);
    assert_eq!(bed.clones.len(), 1);
    bed.remove("clone_upstream");
    bed.add(Toxic::new(Upstream, CloneId { delay: 300 }.into()).unwrap());
    bed.pass(299);
    assert_eq!(bed.clones.len(), 1, "the delay counts from when the toxic came");
    bed.pass(1);
    assert_eq!(bed.clones.len(), 2);
}

#[test]
fn only_connections_that_come_are_turned_away() {
    for kind in [NoConnect { how: ConnectFails::Silent }.into(), Kind::from(Portal::default())] {
        let mut old = Bed::of_connection(0).with(Upstream, kind.clone());
        assert_eq!(old.link.standing(old.now), Standing::Open);
        let mut new = Bed::of_connection(1).with(Upstream, kind.clone());
        assert_eq!(new.link.standing(new.now), Standing::TurnedAway(kind));
    }
}

#[test]
fn a_receiver_that_is_gone_is_the_senders_reset() {
    let mut bed = Bed::new().with(Downstream, Latency { latency: 10, jitter: 0 });
    bed.link.refused(Upstream);
    bed.drive();
    bed.send(Upstream, b"to nobody");
    assert_eq!((bed.up(), bed.over), ("", None));
    bed.pass(10);
    assert_eq!(bed.over, Some(Close::Rst));
}

#[test]
fn toxicity_takes_its_share_of_the_connections_and_more_of_it_keeps_them() {
    let taken = |toxicity: f64| -> Vec<u64> {
        let toxic = Toxic::new(Upstream, Stall::default().into()).unwrap().on_share(toxicity);
        let is_taken = |&number: &u64| {
            let mut bed = Bed::of_connection(number);
            bed.add(toxic.clone());
            bed.link.room(Upstream) == 0
        };
        (0..1_000).filter(is_taken).collect()
    };
    let (fewer, more) = (taken(0.2), taken(0.5));
    assert!((150..250).contains(&fewer.len()) && (450..550).contains(&more.len()), "{} {}", fewer.len(), more.len());
    assert!(fewer.iter().all(|number| more.contains(number)));
    assert_eq!((taken(0.0).len(), taken(1.0).len()), (0, 1_000));
}

#[derive(Debug, Clone)]
enum Act {
    Send(Vec<u8>),
    Pass(u64),
    Add(Kind),
    Remove(&'static str),
}

fn acts() -> impl Strategy<Value = Act> {
    let kind = prop_oneof![
        (0..50_u64, 0..60_u64).prop_map(|(latency, jitter)| Kind::from(Latency { latency, jitter })),
        (0..20_u64).prop_map(|rate| Kind::from(Bandwidth { rate })),
        (1..20_u64, 0..30_u64, 0..3_000_u64).prop_map(|(average_size, size_variation, delay)| Kind::from(Slicer {
            average_size,
            size_variation,
            delay
        })),
        Just(Kind::from(BlackHole::default())),
        (0..2_000_u64).prop_map(|after| Kind::from(Stall { after })),
        Just(Kind::from(hole_after("a"))),
        (1..300_u32, 10..200_u32).prop_map(|(longest, every)| Kind::from(BurstLoss {
            longest,
            every,
            shape: Shape::HeavyTailed,
            one_way: false
        })),
        Just(Kind::from(CloneId { delay: 20 })),
    ];
    prop_oneof![
        4 => prop::collection::vec(prop::sample::select(b"ab\n".as_slice()), 0..300).prop_map(Act::Send),
        4 => (0..100_u64).prop_map(Act::Pass),
        2 => kind.prop_map(Act::Add),
        2 => prop::sample::select(["latency_upstream", "bandwidth_upstream", "slicer_upstream", "black_hole_upstream",
            "stall_upstream", "trigger_upstream", "burst_loss_upstream", "clone_upstream"].as_slice()).prop_map(Act::Remove),
    ]
}

proptest! {
    #[test]
    fn whatever_is_added_and_removed_no_byte_is_lost_repeated_or_overtaken(acts in prop::collection::vec(acts(), 1..60)) {
        let mut bed = Bed::new();
        let mut sent = Vec::new();
        for act in acts {
            match act {
                Act::Send(bytes) => {
                    let taken = bed.send(Upstream, &bytes);
                    sent.extend_from_slice(&bytes[..taken]);
                }
                Act::Pass(milliseconds) => bed.pass(milliseconds),
                Act::Add(kind) => {
                    let toxic = Toxic::new(Upstream, kind).unwrap();
                    if bed.orders.toxics.iter().all(|listed| listed.toxic.name() != toxic.name()) {
                        bed.add(toxic);
                    }
                }
                Act::Remove(name) => bed.remove(name),
            }
            prop_assert!(sent.starts_with(&bed.out[0]));
        }
        bed.orders.toxics.clear();
        bed.reorder();
        bed.finish(Upstream);
        prop_assert_eq!(&bed.out[0], &sent);
        prop_assert!(bed.finished[0] && bed.link.is_empty(Upstream));
    }
    #[test]
    fn whatever_a_request_says_it_is_refused_or_done(
        type_name in prop::sample::select(["latency", "bandwidth", "slow_close", "timeout", "reset_peer", "slicer", "limit_data", "noop",
            "black_hole", "stall", "cut", "trigger", "half_open", "burst_loss", "nat_idle", "no_connect", "portal", "clone", "noise"].as_slice()),
        attributes in prop::collection::btree_map(
            prop::sample::select(["latency", "jitter", "rate", "delay", "timeout", "average_size", "size_variation", "bytes", "after",
                "one_way", "close", "line", "match", "toxic", "action", "for", "count", "repeat", "stays",
                "longest", "every", "shape", "idle", "how", "location", "flip_per_million", "drop_per_million"].as_slice()),
            prop::sample::select([r#"0"#, "1", "18446744073709551615", "-1", "1e300", "\"a\"", "\"rst\"", "\"silent\"", "100", "null", "true", "{}"].as_slice()),
            0..4),
    ) {
        let attributes: Vec<String> = attributes.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
        let body = format!("{{\"type\": \"{type_name}\", \"stream\": \"upstream\", \"attributes\": {{{}}}}}", attributes.join(", "));
        if let Ok(toxic) = Toxic::parse(body.as_bytes()) {
            let mut bed = Bed::new();
            bed.add(toxic);
            bed.send(Upstream, b"a line\nand another\n");
            bed.pass(1_000);
            bed.remove(&format!("{type_name}_upstream"));
            bed.pass(1_000);
        }
    }
}
