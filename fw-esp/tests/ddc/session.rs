//! A host and its relay with the bus between them: the session goes on, whatever the bus does.

use crate::bus::{ADDRESS, Faults, Scene};
use crate::seeded;
use crate::world::{Peer, Radio, Tasks, numbered};
use holdline_esp::{
    Buffers, Channel, Config, Configure, DdcMaster, HostLink, Instant, NoResetPin, Relay, RelayBoard, Settings, Wiring,
};
use std::cell::RefCell;

const CONFIG: Config = Config::new().window(8).max_line(512).check(true);
const SETTINGS: Settings<'_> = Settings { server: "server", port: 8124, ssid: "attic", password: "secret", report_s: 0 };
/// Messages each way.
const COUNT: u32 = 60;

#[test]
fn a_bus_that_is_often_not_answered_costs_no_link() {
    for seed in 1..=10 {
        let links = exchange(Faults { seed, nacks: 300, breaks: 0 }, |_, _| {});
        assert_eq!(links, 1, "seed {seed}");
    }
}

#[test]
fn bytes_that_are_lost_when_a_transaction_breaks_off_are_asked_for_again() {
    let links: u32 = (1..=20).map(|seed| exchange(Faults { seed, nacks: 20, breaks: 20 }, |_, _| {})).sum();
    assert!(links > 20, "the bus was never in the way");
}

#[test]
fn a_relay_that_was_off_the_bus_for_a_while_is_found_again() {
    let links = exchange(Faults { seed: 1, nacks: 0, breaks: 0 }, |scene, tasks| {
        tasks.spawn(async {
            scene.time.sleep(200).await;
            scene.absent.set(true);
            scene.time.sleep(10_000).await;
            scene.absent.set(false);
        });
    });
    assert_eq!(links, 2);
}

/// Messages both ways, which arrive once and in order; how many connections it took.
fn exchange(faults: Faults, spawn: impl for<'t> FnOnce(&'t Scene, &mut Tasks<'t>)) -> u32 {
    let (scene, radio, read) = (Scene::new(faults), Radio::new(), RefCell::new(Vec::new()));
    let peer = RefCell::new(Peer::new(&radio, Config::new().window(8).check(true).validate().expect("in range")));
    let master: DdcMaster = DdcMaster::new(ADDRESS);
    let mut buffers = Buffers::<1024, 256, 400, 4>::new();
    let mut channel = Channel::new("pump-1", CONFIG, &mut buffers, seeded(faults.seed)).expect("valid");
    let (mut client, line) = channel.split();
    let host = HostLink::new(SETTINGS).expect("they can be told");
    let (reader, writer) = master.split();
    let (reset, clock) = (NoResetPin, scene.time.clone());
    let mut wiring = Wiring { reader, writer, reset, clock, random: seeded(!faults.seed), notices: () };
    let mut relay: Relay = Relay::new();
    let (reader, writer) = scene.target.split();
    let (network, connector, clock) = (radio.clone(), radio.clone(), scene.time.clone());
    let mut board = RelayBoard { reader, writer, network, connector, clock, boot: 1, hooks: () };

    let mut tasks = scene.tasks();
    tasks.spawn(scene.pump(&master));
    tasks.spawn(async { panic!("the host has ended: {:?}", host.run(&mut client, &mut wiring).await) });
    tasks.spawn(async { panic!("the relay has ended: {:?}", relay.run(&mut board).await) });
    tasks.spawn(async {
        for text in numbered(COUNT) {
            line.send(&text).await.expect("it can be sent");
        }
    });
    tasks.spawn(async {
        let mut buffer = [0; 512];
        while let Ok(text) = line.readline(&mut buffer).await {
            read.borrow_mut().push(text.to_string());
        }
    });
    spawn(&scene, &mut tasks);
    for text in numbered(COUNT) {
        peer.borrow_mut().session.send(Instant::from_millis(0), &text).expect("the outbox is large");
    }
    let all = COUNT as usize;
    tasks.run(&peer, 600_000, |peer| peer.received.len() >= all && read.borrow().len() >= all && line.status().unacked == 0);
    assert_eq!((&peer.borrow().received, &*read.borrow()), (&numbered(COUNT), &numbered(COUNT)));
    radio.0.attempts.get()
}

impl Configure for Radio {
    fn configure(&mut self, settings: &Settings<'_>) {
        assert_eq!(*settings, SETTINGS);
    }
}
