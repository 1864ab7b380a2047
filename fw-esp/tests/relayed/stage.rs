//! The stage: a host, a cable, a relay, a network and a server, in virtual time.

use crate::cable::{Cable, Rx, Tx};
use crate::chip::{Chip, Doing, ResetPin};
use crate::world::{Diary, Peer, Radio, Tasks, Time, numbered, random};
use holdline_esp::{
    Buffers, Channel, Config, Ended, Handle, Hooks, HostError, HostLink, Instant, Notices, Report, Settings, Wiring,
};
use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::rc::Rc;

pub const CONFIG: Config = Config::new().window(8).max_line(512).check(true);
pub const SETTINGS: Settings<'_> = Settings { server: "server", port: 8124, ssid: "attic", password: "secret", report_s: 0 };
/// What `HostLink` says of itself.
pub const SILENCE_MS: u64 = 4_000;
pub const PULSE_MS: u64 = 200;
pub const BOOT_MS: u64 = 8_000;
/// How long a relay may speak and not listen.
pub const DEAF_MS: u64 = 10_000;
/// T, and how long at most a client waits after it has joined a network, or lost a link that had lasted.
pub const TIMEOUT_MS: u64 = 2_000;
pub const SPREAD_MS: u64 = TIMEOUT_MS / 4;

/// How long it may take, in milliseconds, from the first word of a relay for which the client waits, until the line is up: it is told
/// its settings and joins, which takes no time here; the client pauses, connects and greets.
pub const UP_MS: u64 = SPREAD_MS;
/// How long at most a client pauses after the first attempt that failed.
pub const BACKOFF_MS: u64 = 500;

/// What the host's notices are told.
#[derive(Clone, Default)]
pub struct Log {
    pub diary: Diary,
    pub reports: Rc<RefCell<Vec<Report>>>,
    pub server: Rc<RefCell<Vec<bool>>>,
}

impl Hooks for Log {
    const FEED_MS: u32 = Diary::FEED_MS;

    fn connection(&mut self, up: bool) {
        self.diary.connection(up);
    }

    fn heartbeat(&mut self) {
        self.diary.heartbeat();
    }

    fn feed(&mut self) {
        self.diary.feed();
    }

    fn bad_wifi(&mut self) -> ControlFlow<()> {
        self.diary.bad_wifi()
    }

    fn bad_server(&mut self) -> ControlFlow<()> {
        self.diary.bad_server()
    }
}

impl Notices for Log {
    fn report(&mut self, report: &Report) {
        self.reports.borrow_mut().push(*report);
    }

    fn server_ok(&mut self, up: bool) {
        self.server.borrow_mut().push(up);
    }
}

pub type Wires = Wiring<Rx, Tx, ResetPin, Time, Box<dyn FnMut() -> u64>, Log>;

pub struct Scene {
    pub time: Time,
    pub radio: Radio,
    pub cable: Cable,
    pub chip: Rc<Chip>,
    pub log: Log,
    pub peer: RefCell<Peer>,
    pub seed: u64,
}

impl Scene {
    pub fn new() -> Self {
        Self::seeded(1)
    }

    pub fn seeded(seed: u64) -> Self {
        let (time, radio, log) = (Time::default(), Radio::new(), Log::default());
        *log.diary.0.time.borrow_mut() = time.clone();
        let config = Config::new().window(8).check(true).validate().expect("in range");
        let peer = RefCell::new(Peer::new(&radio, config));
        let (cable, chip) = (Cable::new(&time, seed), Chip::new(&time));
        Self { time, radio, cable, chip, log, peer, seed }
    }

    pub fn random(&self) -> Box<dyn FnMut() -> u64> {
        let (mut draw, seed) = (random(), self.seed ^ self.time.ms());
        Box::new(move || draw() ^ seed)
    }

    pub fn wiring(&self) -> Wires {
        let (reader, writer) = self.cable.at_host();
        let (reset, clock) = (ResetPin(Rc::clone(&self.chip)), self.time.clone());
        Wiring { reader, writer, reset, clock, random: self.random(), notices: self.log.clone() }
    }

    /// The relay has its power.
    pub fn tasks(&self) -> Tasks<'_> {
        let mut tasks = Tasks::new(&self.time);
        tasks.spawn(Rc::clone(&self.chip).power(&self.cable, self.radio.clone()));
        tasks
    }

    pub fn send(&self, texts: &[String]) {
        let mut peer = self.peer.borrow_mut();
        for text in texts {
            peer.session.send(Instant::from_millis(self.time.ms()), text).expect("the outbox is large");
        }
    }
}

pub fn host() -> HostLink<'static> {
    HostLink::new(SETTINGS).expect("they can be told")
}

/// A host that runs, with an application that reads.
pub struct Play<'p, 'b> {
    pub scene: &'p Scene,
    pub host: &'p HostLink<'static>,
    pub line: Handle<'p, 'b>,
    pub read: &'p RefCell<Vec<String>>,
    pub ended: &'p Cell<Option<Result<Ended, HostError>>>,
    pub tasks: Tasks<'p>,
    /// Messages sent each way.
    pub sent: u32,
}

/// Plays a story from the moment when both chips get their power. Unless it is told that it may, the host does not end in it.
pub fn play(scene: &Scene, host: &HostLink<'static>, story: impl FnOnce(&mut Play<'_, '_>)) {
    let mut buffers = Buffers::<1024, 256, 400, 4>::new();
    let mut channel = Channel::new("pump-1", CONFIG, &mut buffers, scene.random()).expect("valid");
    let (mut client, line) = channel.split();
    let (read, ended) = (RefCell::new(Vec::new()), Cell::new(None));
    let mut wiring = scene.wiring();
    let mut tasks = scene.tasks();
    tasks.spawn(async { ended.set(Some(host.run(&mut client, &mut wiring).await)) });
    tasks.spawn(async {
        let mut buffer = [0; 512];
        while let Ok(text) = line.readline(&mut buffer).await {
            read.borrow_mut().push(text.into());
        }
    });
    story(&mut Play { scene, host, line, read: &read, ended: &ended, tasks, sent: 0 });
}

impl Play<'_, '_> {
    #[track_caller]
    pub fn until(&mut self, limit_ms: u64, mut done: impl FnMut(&mut Peer) -> bool) {
        let ended = self.ended;
        self.tasks.run(&self.scene.peer, limit_ms, |peer| {
            assert_eq!(ended.get(), None, "the host has ended");
            done(peer)
        });
    }

    #[track_caller]
    pub fn up(&mut self, limit_ms: u64) {
        let line = self.line;
        self.until(limit_ms, |_| line.status().up);
    }

    #[track_caller]
    pub fn down(&mut self, limit_ms: u64) {
        let line = self.line;
        self.until(limit_ms, |_| !line.status().up);
    }

    #[track_caller]
    pub fn wait(&mut self, ms: u64) {
        let (time, until) = (&self.scene.time, self.scene.time.ms() + ms);
        self.tasks.spawn(time.sleep(ms));
        self.until(ms, |_| time.ms() >= until);
    }

    /// Sends so many messages more each way.
    pub fn send(&mut self, count: u32) {
        let texts: Vec<String> = numbered(self.sent + count).split_off(self.sent as usize);
        self.sent += count;
        self.scene.send(&texts);
        let line = self.line;
        self.tasks.spawn(async move {
            for text in texts {
                line.send(&text).await.expect("it can be sent");
            }
        });
    }

    /// Waits for all that was sent; it arrives once and in order.
    #[track_caller]
    pub fn arrive(&mut self, limit_ms: u64) {
        let (read, line, count) = (self.read, self.line, self.sent as usize);
        self.until(limit_ms, |peer| peer.received.len() >= count && read.borrow().len() >= count && line.status().unacked == 0);
        assert_eq!((&self.scene.peer.borrow().received, &*self.read.borrow()), (&numbered(self.sent), &numbered(self.sent)));
    }

    pub fn pulses(&self) -> Vec<Doing> {
        let pulses = self.scene.chip.pulses.borrow();
        assert!(pulses.iter().all(|pulse| pulse.ms == PULSE_MS), "{pulses:?}");
        pulses.iter().map(|pulse| pulse.was).collect()
    }
}

/// So many messages each way, however the cable behaves, with a session that begins when both chips get their power.
pub fn exchange(scene: &Scene, count: u32, limit_ms: u64) {
    play(scene, &host(), |play| {
        play.send(count);
        play.arrive(limit_ms);
    });
}
