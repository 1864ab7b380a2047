//! The light and the watchdog of a board, in virtual time.

mod world;

use embedded_hal::digital::{Error, ErrorKind, ErrorType, OutputPin};
use holdline_esp::{AlwaysUp, Board, Buffers, Channel, Clock, Config, ConnectFailure, Heartbeat, Hooks, SoftwareWatchdog};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use world::{Peer, Radio, Tasks, Time, random};

const CONFIG: Config = Config::new().max_line(512).window(8);

/// A pin that remembers its levels, or one that is stuck.
#[derive(Clone, Default)]
struct Pin {
    levels: Rc<RefCell<Vec<bool>>>,
    is_stuck: bool,
}

#[derive(Debug)]
struct Stuck;

impl Error for Stuck {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}

impl ErrorType for Pin {
    type Error = Stuck;
}

impl OutputPin for Pin {
    fn set_low(&mut self) -> Result<(), Stuck> {
        self.levels.borrow_mut().push(false);
        if self.is_stuck { Err(Stuck) } else { Ok(()) }
    }

    fn set_high(&mut self) -> Result<(), Stuck> {
        self.levels.borrow_mut().push(true);
        if self.is_stuck { Err(Stuck) } else { Ok(()) }
    }
}

#[test]
fn the_light_changes_with_every_keepalive_of_the_server_and_rests_in_an_outage() {
    for is_stuck in [false, true] {
        let (time, radio, pin) = (Time::default(), Radio::new(), Pin { is_stuck, ..Pin::default() });
        let peer = RefCell::new(Peer::new(&radio, CONFIG.validate().expect("in range")));
        let mut buffers = Buffers::<600, 64, 300, 2>::new();
        let mut channel = Channel::new("door-1", CONFIG, &mut buffers, random()).expect("valid");
        let (mut client, line) = channel.split();
        let hooks = Heartbeat::new(pin.clone());
        let mut board = Board { network: AlwaysUp, connector: radio.clone(), clock: time.clone(), random: random(), hooks };
        let mut tasks = Tasks::new(&time);
        tasks.spawn(async {
            client.run(&mut board).await;
        });
        // Time stops in between too, when what was sent has arrived.
        tasks.spawn(async {
            loop {
                time.sleep(30).await;
            }
        });
        tasks.run(&peer, 61_000, |_| time.ms() >= 60_100);
        assert_eq!(pin.levels.borrow().len(), peer.borrow().keepalives);
        assert!(peer.borrow().keepalives > 100, "one in 500 ms");
        assert!(pin.levels.borrow().chunks(2).all(|levels| levels[0] && levels.get(1) != Some(&true)), "it changes each time");

        radio.0.black_hole.set(true);
        tasks.run(&peer, 10_000, |_| !line.status().up);
        let resting = pin.levels.borrow().len();
        tasks.run(&peer, 60_000, |_| time.ms() >= 120_000);
        assert_eq!(pin.levels.borrow().len(), resting);

        radio.0.black_hole.set(false);
        tasks.run(&peer, 60_000, |_| pin.levels.borrow().len() >= resting + 10);
        let settled = time.ms() + 100;
        tasks.run(&peer, 500, |_| time.ms() >= settled);
        assert_eq!((line.connects(), pin.levels.borrow().len()), (2, peer.borrow().keepalives));
    }
}

/// The time and the watchdog that is fed.
#[derive(Clone)]
struct Dog(Time, Rc<SoftwareWatchdog>);

impl Hooks for Dog {
    const FEED_MS: u32 = 700;

    fn feed(&mut self) {
        self.1.feed(self.0.now());
    }
}

#[test]
fn the_watchdog_is_fed_in_time_whatever_the_client_waits_for() {
    let (time, radio) = (Time::default(), Radio::new());
    let config = CONFIG.timeout_ms(60_000);
    let peer = RefCell::new(Peer::new(&radio, config.validate().expect("in range")));
    let mut buffers = Buffers::<600, 64, 300, 2>::new();
    let mut channel = Channel::new("door-1", config, &mut buffers, random()).expect("valid");
    let (mut client, line) = channel.split();
    let watchdog = Rc::new(SoftwareWatchdog::new(Dog::FEED_MS + 1));
    let hooks = Dog(time.clone(), Rc::clone(&watchdog));
    let mut board = Board { network: radio.clone(), connector: radio.clone(), clock: time.clone(), random: random(), hooks };
    let phase = Cell::new("");
    let mut tasks = Tasks::new(&time);
    tasks.spawn(async {
        client.run(&mut board).await;
    });
    tasks.spawn(async {
        loop {
            assert!(!watchdog.is_starved(time.now()), "it starves at {} ms: {}", time.ms(), phase.get());
            time.sleep(1).await;
        }
    });
    let mut spend = |name, is_over: &dyn Fn(&Peer) -> bool| {
        phase.set(name);
        let since = time.ms();
        tasks.run(&peer, 400_000, |peer| is_over(peer));
        assert!(time.ms() - since > 900, "{name} takes too short to tell anything: {} ms", time.ms() - since);
    };

    radio.0.black_hole.set(true);
    spend("joining hangs", &|_| radio.0.joins.get() == 2);
    radio.0.black_hole.set(false);
    radio.0.failures.borrow_mut().push_back(ConnectFailure::TimedOut);
    spend("waiting to join again", &|_| radio.0.attempts.get() == 1);
    radio.0.failures.borrow_mut().extend([ConnectFailure::Refused; 8]);
    spend("connecting hangs", &|_| radio.0.failures.borrow().len() == 7);
    spend("waiting in backoff", &|_| line.status().up);
    let since = time.ms();
    spend("the link is up and idle", &|_| time.ms() >= since + 300_000);
    radio.0.black_hole.set(true);
    spend("nothing passes", &|_| !line.status().up);
    spend("closing hangs", &|_| radio.0.attempts.get() == 11);
}
