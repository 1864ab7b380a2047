//! Both ends are killed again and again, and the link between them misbehaves. Nothing is kept on disk, so what a killed end
//! had not handed over is lost; everything else is held to what SPEC.md promises of ends without memory. `HOLDLINE_SEED` chooses who is
//! killed when, and what the link does.

use crate::process::{Running, Signal, runs, serve, start, texts_of};
use holdline_sim::live;
use holdline_sim::outage::{End, Outage, Remembers, Stop, Then, Way};
use holdline_sim::proxy::{self, Act, Proxies, ProxySpec};
use holdline_sim::rng::SplitMix64;
use std::time::Duration;

const DEVICE: &str = "door-1";
/// Messages that may be unacknowledged when an end is killed: no more come again.
const WINDOW: u64 = 16;
const ROUNDS: u64 = 12;
/// How long a connection stays half open at the server that an outage has left so.
const FORGOTTEN: Duration = Duration::from_millis(600);
/// What an end says of the other that came back without memory.
const FORGOTTEN_BY_IT: &str = "has forgotten the session";
/// What each last life is sent.
const LAST: u64 = 300;

/// The numbers of each run that one life of an end received, in the order of arrival.
type Received = Vec<(String, Vec<u64>)>;

/// What one life of an end left behind.
struct Life {
    received: Received,
    said: Vec<String>,
    /// How often the other end was killed, and started again, while this one lived.
    peers_deaths: usize,
}

struct Bed {
    runtime: tokio::runtime::Runtime,
    proxies: Proxies,
    listen: String,
    chance: SplitMix64,
    server: Running,
    device: Running,
    /// Lines typed at this life of the server.
    typed: u64,
    /// How often the device was killed since the server was started, and the other way round.
    deaths: [usize; 2],
    servers: Vec<Life>,
    devices: Vec<Life>,
}

fn connect(listen: &str, count: u64) -> Running {
    let count = count.to_string();
    start(&["connect", "--id", DEVICE, "--server", listen, "--timeout", "500ms", "--count", &count, "--rate", "200", "--stay"])
}

impl Bed {
    fn new(seed: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a thread");
        let (server, address) = serve(&[]);
        let proxies = Proxies::new(seed, 256 << 10, 256);
        let view = runtime.block_on(proxies.create(&ProxySpec::new(DEVICE, "127.0.0.1:0", address))).expect("a free port");
        let device = connect(&view.listen, 1_000_000);
        Self {
            runtime,
            proxies,
            listen: view.listen,
            chance: SplitMix64::from_seed(seed),
            server,
            device,
            typed: 0,
            deaths: [0; 2],
            servers: Vec::new(),
            devices: Vec::new(),
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.chance.next_u64() % bound
    }

    /// Types messages at the server, as soon as it knows the device.
    fn feed(&mut self, messages: u64) {
        self.server.err.wait_line(&format!("{DEVICE}: connected"));
        let run = self.servers.len();
        for _ in 0..messages {
            self.typed += 1;
            self.server.type_line(format!("{DEVICE} count={} run=server-{run}", self.typed));
        }
    }

    /// Waits until both have received more.
    fn see_progress(&mut self) {
        let more = 1 + self.below(40) as usize;
        let (up, down) = (self.server.out.all().len() + more, self.device.out.all().len() + more);
        self.feed(2 * more as u64);
        self.server.out.wait(|lines| (lines.len() >= up).then_some(()));
        self.device.out.wait(|lines| (lines.len() >= down).then_some(()));
        self.see_reports();
    }

    /// Waits until both have told of every new run; what is told and what is received comes by different ways.
    fn see_reports(&self) {
        let told = |end: &Running, runs: Received| {
            if let Some(told @ 1..) = runs.len().checked_sub(1) {
                end.err.wait_nth(FORGOTTEN_BY_IT, told);
            }
        };
        told(&self.server, runs(&texts_of(DEVICE, &self.server.out.all())));
        told(&self.device, runs(&self.device.out.all()));
    }

    /// What happens on the way in a round.
    fn outage(&mut self) -> Vec<proxy::Outage> {
        let lasts = Duration::from_millis(200 + self.below(1_000));
        let hole = |way, then| Outage::BlackHole { way, then };
        let outage = match self.below(10) {
            0 => Outage::Cut { with: End::Fin },
            1 => Outage::Cut { with: End::Rst },
            2 => hole(Way::Both, Then::Resume),
            3 => hole(Way::Up, Then::Resume),
            4 => hole(Way::Down, Then::Rst),
            5 => Outage::ApReboot { dhcp_ms: 0 },
            6 => Outage::ServerStop { how: Stop::Killed, memory: Remembers::Everything },
            7 => Outage::Segments { size: 1 + self.below(4) as u32 },
            8 => Outage::Bufferbloat { latency_ms: 50, jitter_ms: 40 },
            _ => return Vec::new(),
        };
        let mut outages = live::outages(&outage, Duration::ZERO, lasts).expect("it is valid").expect("a proxy can do it");
        for outage in outages.iter_mut().filter(|outage| matches!(outage.act, Act::Toxic(_))) {
            outage.lasts.get_or_insert(FORGOTTEN);
        }
        outages
    }

    fn kill_device(&mut self, count: u64) {
        self.device.signal(Signal::KILL);
        let killed = std::mem::replace(&mut self.device, connect(&self.listen, count)).ended();
        self.devices.push(Life {
            received: runs(&killed.out),
            said: killed.err,
            peers_deaths: std::mem::take(&mut self.deaths[1]),
        });
        self.deaths[0] += 1;
    }

    fn kill_server(&mut self) {
        self.server.signal(Signal::KILL);
        let (server, upstream) = serve(&[]);
        let killed = std::mem::replace(&mut self.server, server).ended();
        let received = runs(&texts_of(DEVICE, &killed.out));
        self.servers.push(Life { received, said: killed.err, peers_deaths: std::mem::take(&mut self.deaths[0]) });
        self.typed = 0;
        self.deaths[1] += 1;
        let elsewhere = ProxySpec { upstream: Some(upstream), ..ProxySpec::default() };
        self.runtime.block_on(self.proxies.update(DEVICE, &elsewhere)).expect("nobody took the port");
    }

    /// An outage, and in its midst somebody is killed.
    fn round(&mut self) {
        self.see_progress();
        let outages = self.outage();
        let proxies = self.proxies.clone();
        let playing = self.runtime.spawn(async move { proxy::play(&proxies, &outages).await });
        let midst = Duration::from_millis(self.below(400));
        self.runtime.block_on(async { tokio::time::sleep(midst).await });
        match self.below(6) {
            0 | 1 => self.kill_device(1_000_000),
            2 | 3 => self.kill_server(),
            4 => {
                self.kill_server();
                self.kill_device(1_000_000);
            }
            _ => {}
        }
        self.runtime.block_on(playing).expect("no panic").expect("the proxy can do all of it");
    }

    /// Both start anew, and nothing disturbs them; then both end in order.
    fn finish(mut self) -> (Vec<Life>, Vec<Life>) {
        self.kill_server();
        self.kill_device(LAST);
        self.feed(LAST);
        self.server.out.wait(|lines| lines.last()?.contains(&format!("count={LAST} ")).then_some(()));
        self.device.out.wait(|lines| lines.last()?.contains(&format!("count={LAST} ")).then_some(()));
        self.see_reports();
        self.device.signal(Signal::TERM);
        let device = self.device.ended();
        assert_eq!(device.code, Some(0), "{device:#?}");
        self.server.signal(Signal::TERM);
        let server = self.server.ended();
        assert_eq!(server.code, Some(0), "{server:#?}");
        let received = runs(&texts_of(DEVICE, &server.out));
        self.servers.push(Life { received, said: server.err, peers_deaths: self.deaths[0] });
        self.devices.push(Life { received: runs(&device.out), said: device.err, peers_deaths: self.deaths[1] });
        (self.servers, self.devices)
    }
}

/// Each life received of each run a stretch without a gap, in order and nothing twice. As long as the sender of a run lived nothing of
/// it was lost between two lives of its receiver, and what came again was not acknowledged before.
fn assert_promise(lives: &[Life]) {
    let mut ends: Vec<(&str, u64)> = Vec::new();
    for life in lives {
        for (run, numbers) in &life.received {
            let (first, last) = (numbers[0], numbers[numbers.len() - 1]);
            assert_eq!(
                *numbers,
                (first..=last).collect::<Vec<_>>(),
                "of run {run}: in order, none left out, none twice in one life"
            );
            let end = match ends.iter().position(|(known, _)| known == run) {
                Some(place) => {
                    assert_eq!(place, ends.len() - 1, "run {run} after a later one: {ends:?}");
                    &mut ends[place].1
                }
                None => {
                    ends.push((run, 0));
                    &mut ends.last_mut().expect("it was just pushed").1
                }
            };
            assert!(first <= *end + 1, "lost of run {run} while its sender lived: {end} to {first}");
            assert!(*end < first + WINDOW, "acknowledged of run {run} and sent again: {first} to {end}");
            *end = last;
        }
    }
}

/// Every end says that its peer came back without memory when it did, and does not when it did not.
fn assert_reports(lives: &[Life]) {
    for Life { received, said, peers_deaths } in lives {
        let told = said.iter().filter(|line| line.contains(FORGOTTEN_BY_IT)).count();
        assert!(told <= *peers_deaths, "{told} reports of {peers_deaths} restarts: {said:#?}");
        assert!(received.len() <= told + 1, "of {} runs only {told} were told to be new: {said:#?}", received.len());
        let lost = said.iter().filter(|line| line.contains("are gone")).count();
        assert!(lost == 0 || *peers_deaths > 0, "a loss is told where nobody lost anything: {said:#?}");
    }
}

#[test]
fn ends_that_are_killed_lose_and_repeat_no_more_than_what_they_held() {
    let seed = std::env::var("HOLDLINE_SEED").map_or(1, |seed| seed.parse().expect("HOLDLINE_SEED is a number"));
    let mut bed = Bed::new(seed);
    for _ in 0..ROUNDS {
        bed.round();
    }
    let (servers, devices) = bed.finish();
    assert!(servers.len() > 2 && devices.len() > 2, "the seed kills either a few times");
    for lives in [&servers, &devices] {
        assert_promise(lives);
        assert_reports(lives);
        let last = lives.last().expect("there is one");
        let (_, numbers) = last.received.last().expect("it was sent some");
        assert_eq!(*numbers, (1..=LAST).collect::<Vec<_>>(), "everything that was sent after both were back");
    }
}
