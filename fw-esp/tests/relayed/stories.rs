//! Random stories in which everything happens, each its seed's own: `HOLDLINE_SEEDS=0..5000` plays these, `HOLDLINE_SEEDS=46` that one.

use crate::cable::{Lane, seeded};
use crate::chip::Doing;
use crate::stage::{CONFIG, SETTINGS, Scene};
use crate::world::{Pace, Tasks};
use holdline_esp::{Buffers, Channel, ConnectFailure, HostLink, Settings};
use holdline_proto::crc32;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::task::{Poll, Waker};

/// The stories that are played unless others are asked for.
const SEEDS: Range<u64> = 0..300;
/// Messages of each life of the host, and of the server.
const UP: u32 = 30;
const DOWN: u32 = 60;
/// How long it may take, in milliseconds, until all has arrived once nothing happens any more: the longest pauses of a client, one for
/// the network and one for the server, and what is on its way in them.
const PEACE_MS: u64 = 180_000;

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Incident {
    RelayRestarts,
    RelayDies,
    RelayHangs,
    RelayMute,
    RelayBootsSlowly,
    WifiLost,
    TcpFails,
    TcpEnds,
    TcpCut,
    BlackHole,
    HostReset,
    HostPauses,
    Reboot,
    CableCut,
    Noise,
    Garbage,
    ForgedLines,
    ReceiverFails,
}

const INCIDENTS: [Incident; 18] = {
    use Incident::*;
    [
        RelayRestarts,
        RelayDies,
        RelayHangs,
        RelayMute,
        RelayBootsSlowly,
        WifiLost,
        TcpFails,
        TcpEnds,
        TcpCut,
        BlackHole,
        HostReset,
        HostPauses,
        Reboot,
        CableCut,
        Noise,
        Garbage,
        ForgedLines,
        ReceiverFails,
    ]
};

/// After which a relay that is well may look as if it were not, or is reset on purpose.
const MAY_COST_A_PULSE: [Incident; 5] =
    [Incident::Reboot, Incident::CableCut, Incident::Noise, Incident::Garbage, Incident::ForgedLines];

/// What happens to the host.
#[derive(Clone, Copy)]
enum Stroke {
    Reset,
    Pause(u64),
    Reboot,
}

/// What a story is about, and what came of it.
#[derive(Default)]
struct Story {
    stroke: Cell<Option<Stroke>>,
    waker: RefCell<Option<Waker>>,
    /// Texts that the server's application got.
    read: RefCell<Vec<(u32, u32)>>,
    life: Cell<u32>,
    told: RefCell<Vec<(u64, Incident)>>,
    tellers: Cell<u32>,
}

impl Story {
    fn strike(&self, stroke: Stroke) {
        self.stroke.set(Some(stroke));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// One life of the host, from its power to its reset.
    async fn live(&self, scene: &Scene, mut draw: impl FnMut() -> u64) {
        let life = self.life.get();
        let mut buffers = Buffers::<1024, 256, 400, 4>::new();
        let mut channel = Channel::new("pump-1", CONFIG, &mut buffers, scene.random()).expect("valid");
        let (mut client, line) = channel.split();
        let host = HostLink::new(Settings { report_s: (draw() % 4) as u16, ..SETTINGS }).expect("they can be told");
        let mut wiring = scene.wiring();
        let mut reading = pin!(async {
            let mut buffer = [0; 512];
            while let Ok(text) = line.readline(&mut buffer).await {
                self.read.borrow_mut().push((life, text.parse().expect("a number")));
                scene.time.sleep(draw() % 50).await;
            }
        });
        let mut draw = seeded(u64::from(life) ^ scene.seed);
        let mut writing = pin!(async {
            for number in 0..UP {
                line.send(&format!("{life}:{number}")).await.expect("it can be sent");
                scene.time.sleep(draw() % 400).await;
            }
        });
        let mut is_written = false;
        loop {
            let mut running = Box::pin(host.run(&mut client, &mut wiring));
            let stroke = poll_fn(|cx| {
                *self.waker.borrow_mut() = Some(cx.waker().clone());
                assert!(reading.as_mut().poll(cx).is_pending(), "the channel is not closed");
                is_written = is_written || writing.as_mut().poll(cx).is_ready();
                match self.stroke.take() {
                    Some(Stroke::Reboot) => host.reboot(),
                    Some(stroke) => return Poll::Ready(stroke),
                    None => {}
                }
                if let Poll::Ready(ended) = running.as_mut().poll(cx) {
                    panic!("the host has ended: {ended:?}");
                }
                Poll::Pending
            })
            .await;
            drop(running);
            assert!(!scene.chip.is_held(), "the pin is let go");
            match stroke {
                Stroke::Pause(ms) => scene.time.sleep(ms).await,
                _ => break,
            }
        }
        self.life.set(life + 1);
    }

    /// Lets things happen, and makes good what would last.
    async fn tell(&self, scene: &Scene, incidents: &[Incident], mut draw: impl FnMut() -> u64) {
        for _ in 0..2 + draw() % 6 {
            scene.time.sleep(draw() % [100, 3_000, 12_000][(draw() % 3) as usize]).await;
            let incident = incidents[(draw() % incidents.len() as u64) as usize];
            self.told.borrow_mut().push((scene.time.ms(), incident));
            self.happen(scene, incident, &mut draw).await;
        }
        self.tellers.set(self.tellers.get() - 1);
    }

    async fn happen(&self, scene: &Scene, incident: Incident, draw: &mut impl FnMut() -> u64) {
        let (air, chip, time) = (&scene.radio.0, &scene.chip, &scene.time);
        let lane = if draw().is_multiple_of(2) { &scene.cable.to_host } else { &scene.cable.to_relay };
        match incident {
            Incident::RelayRestarts => chip.crash(Some(chip.boot_ms.get() + draw() % (2_900 - chip.boot_ms.get().min(2_800)))),
            Incident::RelayDies => chip.crash(None),
            Incident::RelayHangs => chip.hang(),
            Incident::RelayMute => chip.fall_silent(),
            Incident::RelayBootsSlowly => chip.boot_ms.set(draw() % 7_900),
            Incident::WifiLost => {
                air.network.set(false);
                time.sleep(draw() % [300, 20_000][(draw() % 2) as usize]).await;
                air.network.set(true);
            }
            Incident::TcpFails => {
                let failures = [ConnectFailure::Refused, ConnectFailure::Unreachable, ConnectFailure::TimedOut];
                air.failures.borrow_mut().extend((0..draw() % 4).map(|_| failures[(draw() % 3) as usize]));
                scene.peer.borrow_mut().hang_up();
            }
            Incident::TcpEnds => scene.peer.borrow_mut().hang_up(),
            Incident::TcpCut => air.cut_after.set(Some(draw() % 400)),
            Incident::BlackHole => {
                air.black_hole.set(true);
                time.sleep(draw() % 8_000).await;
                air.black_hole.set(false);
            }
            Incident::HostReset => self.strike(Stroke::Reset),
            Incident::HostPauses => self.strike(Stroke::Pause(draw() % [5, 12_000][(draw() % 2) as usize])),
            Incident::Reboot => self.strike(Stroke::Reboot),
            Incident::CableCut => lane.cut_at.set(Some((0, draw() % 9_000, draw().is_multiple_of(2)))),
            Incident::Noise => {
                let one_in = [20, 200, 2_000][(draw() % 3) as usize];
                let noisy = |one_in: u32| scene.cable.each(|lane| (lane.flips.set(one_in), lane.drops.set(one_in)));
                noisy(one_in);
                time.sleep(draw() % 5_000).await;
                noisy(0);
            }
            Incident::Garbage => {
                let garbage: Vec<u8> =
                    (0..draw() % 600).map(|_| [draw() as u8, 0xfe, b'\n'][(draw() % 40 / 38) as usize]).collect();
                lane.noise(&garbage);
            }
            Incident::ForgedLines => forge(scene, draw),
            Incident::ReceiverFails => lane.errors.set((draw() % 5) as u32),
        }
    }
}

/// Control lines that nobody has said, with a good check.
fn forge(scene: &Scene, draw: &mut impl FnMut() -> u64) {
    let mut pick = |of: &[&'static str]| of[(draw() % of.len() as u64) as usize];
    let number = ["0", "1", "4294967295", "77"];
    let wifi = pick(&["off", "joining", "up", "failed", "asleep"]);
    let tcp = pick(&["none", "opening", "open", "refused", "timeout", "unreachable", "closed"]);
    let (boot, config) = (pick(&["b0070001", "b0070002", "1"]), pick(&["none", "0", "12345678"]));
    let (join, link) = (pick(&number), pick(&number));
    let say = |lane: &Lane, text: &str| {
        let line = [b"\xfe", text.as_bytes()].concat();
        lane.noise(&[&line[..], format!("*{:08x}\n", crc32(0, &line)).as_bytes()].concat());
    };
    match pick(&["relay", "want", "report", "nothing"]) {
        "relay" => say(
            &scene.cable.to_host,
            &format!("relay\tboot={boot}\tconfig={config}\tjoin={join}\twifi={wifi}\tlink={link}\ttcp={tcp}"),
        ),
        "want" => say(&scene.cable.to_relay, &format!("want\tjoin={join}\tlink={link}")),
        "report" => say(&scene.cable.to_host, "report\tconnects=1\tuptime=2\tdamaged=3\tdropped=4"),
        _ => scene.cable.each(|lane| say(lane, "config\tserver=\tport=0\tssid=\tpassword=\treport=")),
    }
}

fn play(seed: u64) {
    let scene = Scene::seeded(seed);
    let story = Story::default();
    let mut draw = seeded(seed);
    // Each story is about some of it.
    let incidents: Vec<Incident> = INCIDENTS.into_iter().filter(|_| draw().is_multiple_of(3)).collect();
    let pace = if draw().is_multiple_of(4) { Pace::Bytes } else { Pace::Whole };
    let rate = [0, 1, 11, 90][(draw() % 4) as usize];
    scene.radio.0.pace.set(pace);
    scene.cable.each(|lane| (lane.pace.set(pace), lane.rate.set(rate)));
    scene.chip.boot_ms.set(draw() % 2_500);
    let mut tasks: Tasks<'_> = scene.tasks();
    tasks.spawn(async {
        loop {
            Box::pin(story.live(&scene, seeded(seed ^ 0xff))).await;
        }
    });
    tasks.spawn(async {
        let mut draw = seeded(seed ^ 0xff00);
        for number in 0..DOWN {
            scene.send(&[number.to_string()]);
            scene.time.sleep(draw() % 500).await;
        }
    });
    // Two things may happen at once.
    for teller in 1..3 {
        if !incidents.is_empty() {
            story.tellers.set(story.tellers.get() + 1);
            tasks.spawn(story.tell(&scene, &incidents, seeded(seed ^ teller << 32)));
        }
    }
    tasks.run(&scene.peer, 1_000_000, |_| story.tellers.get() == 0);
    scene.radio.0.failures.borrow_mut().clear();
    let last = || format!("{}:{}", story.life.get(), UP - 1);
    tasks.run(&scene.peer, PEACE_MS, |peer| {
        peer.received.last() == Some(&last()) && story.read.borrow().last().is_some_and(|last| last.1 == DOWN - 1)
    });
    check(&scene, &story, &incidents);
}

/// Nothing is lost, repeated or out of order, but what a host that is reset takes with it: of what it had sent the end, and that it had
/// read what the server does not know of yet.
fn check(scene: &Scene, story: &Story, incidents: &[Incident]) {
    let (mut life, mut next) = (0, 0);
    for text in &scene.peer.borrow().received {
        let (of, number) = text.split_once(':').expect("two numbers");
        let of: u32 = of.parse().expect("a number");
        if of > life {
            (life, next) = (of, 0);
        }
        assert_eq!((of, number.parse()), (life, Ok(next)), "the server got {text}");
        next += 1;
    }
    let (mut life, mut next) = (0, 0);
    for &(of, number) in story.read.borrow().iter() {
        if of > life {
            assert!((next.max(8) - 8..=next).contains(&number), "after {next} a new host got {number}");
            (life, next) = (of, number);
        }
        assert_eq!((of, number), (life, next), "the host got it");
        next += 1;
    }
    let pulses = scene.chip.pulses.borrow();
    if !incidents.iter().any(|incident| MAY_COST_A_PULSE.contains(incident)) {
        assert!(pulses.iter().all(|pulse| pulse.was != Doing::Well), "{pulses:?}");
    }
}

#[test]
fn random_stories_end_well() {
    for seed in seeds() {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| play(seed))) {
            eprintln!("that was the story of HOLDLINE_SEEDS={seed}");
            resume_unwind(panic);
        }
    }
}

fn seeds() -> Range<u64> {
    let Ok(chosen) = std::env::var("HOLDLINE_SEEDS") else { return SEEDS };
    let number = |text: &str| text.parse::<u64>().expect("HOLDLINE_SEEDS is a number, or two with `..` between them");
    match chosen.split_once("..") {
        Some((from, to)) => number(from)..number(to),
        None => number(&chosen)..number(&chosen) + 1,
    }
}
