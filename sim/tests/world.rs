//! The engine and Holdline in it.

use holdline_proto::{ClientId, Config, Instant};
use holdline_sim::actor::{Accounts, Actor, Device, DeviceSetup, Hub, Profile, Shared, Traffic};
use holdline_sim::ledger::{Deliveries, Delivery};
use holdline_sim::{Access, Fate, NodeId, World};
use std::cell::RefCell;
use std::rc::Rc;

fn traffic() -> Traffic {
    let until = Instant::from_millis(3_600_000);
    Traffic { every_ms: 1_000, length: 64, deliveries: Deliveries::default(), until }
}

fn world(profile: Profile, seed: u64) -> (World<Actor>, NodeId, NodeId, Shared) {
    world_with(Config::new(), profile, seed)
}

fn world_with(config: Config, profile: Profile, seed: u64) -> (World<Actor>, NodeId, NodeId, Shared) {
    let config = config.validate().expect("in range");
    let id = ClientId::new("device").expect("valid");
    let accounts: Shared = Rc::new(RefCell::new(Accounts::alone(profile, config.get().timeout_ms)));
    let mut world = World::new(seed);
    let hub = Hub::new(profile, config, &[(id, Rc::clone(&accounts))], traffic(), world.now(), seed);
    let server = world.add(Actor::Server(Box::new(hub)), Access::default());
    let setup = DeviceSetup { id, profile, config, server, traffic: traffic(), accounts: Rc::clone(&accounts) };
    let device = Device::new(&setup, world.now(), seed ^ 1);
    let device = world.add(Actor::Device(Box::new(device)), Access::default());
    (world, server, device, accounts)
}

#[test]
fn a_quiet_hour_delivers_everything_in_every_profile() {
    for profile in Profile::ALL {
        let (mut world, _, _, accounts) = world(profile, 7);
        world.run_until(Instant::from_millis(3_610_000));
        let accounts = accounts.borrow();
        for ledger in [&accounts.up, &accounts.down] {
            for delivery in Delivery::ALL {
                let account = ledger.account(delivery);
                // The wire of 2019 carries one held message in each timeout.
                assert!(account.delivered + account.replaced > 800, "{profile:?} {account:?}");
            }
            assert!(ledger.violations(false).is_empty(), "{profile:?}: {:?}", ledger.violations(false));
        }
        assert_eq!(accounts.links, 1, "{profile:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let (mut world, _, device, _) = world(Profile::Native, seed);
        for round in 1..50 {
            world.run_until(Instant::from_millis(round * 7_000));
            world.break_streams(device, [Fate::Rst, Fate::Fin, Fate::Silent][round as usize % 3]);
        }
        world.trace_hash()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn native_loses_nothing_over_a_thousand_breaks() {
    for seed in 0..20 {
        let (mut world, _, device, accounts) = world(Profile::Native, seed);
        for round in 1..50 {
            world.run_until(Instant::from_millis(round * 6_500 + seed * 13));
            world.break_streams(device, [Fate::Rst, Fate::Fin, Fate::Silent][(round + seed) as usize % 3]);
        }
        world.run_until(Instant::from_millis(3_700_000));
        let accounts = accounts.borrow();
        assert!(accounts.links >= 40, "{} links", accounts.links);
        for ledger in [&accounts.up, &accounts.down] {
            assert!(ledger.violations(true).is_empty(), "seed {seed}: {:?}", ledger.violations(true));
        }
    }
}

#[test]
fn native_with_checks_survives_a_serial_line_that_loses_and_flips_bytes() {
    // One byte in a thousand is wrong or missing: about every tenth line.
    let noise = Access { flip_per_million: 500, drop_per_million: 500, ..Access::default() };
    let play = |config, access, seed| {
        let (mut world, _, device, accounts) = world_with(config, Profile::Native, seed);
        world.set_access(device, access);
        world.run_until(Instant::from_millis(3_600_000));
        world.set_access(device, Access::default());
        world.run_until(Instant::from_millis(3_900_000));
        let accounts = accounts.borrow();
        assert!(accounts.up.account(Delivery::Reliable).sent > 1_000 && accounts.down.account(Delivery::Reliable).sent > 1_000);
        let mut violations = [accounts.up.violations(true), accounts.down.violations(true), accounts.violations.clone()].concat();
        // Nobody sends a datagram again.
        violations.retain(|what| !(what.starts_with("datagram") && what.ends_with("was lost")));
        (world.bytes_written(), violations)
    };
    let (quiet, _) = play(Config::new().check(true), Access::default(), 0);
    for seed in 0..4 {
        let (bytes, violations) = play(Config::new().check(true), noise, seed);
        assert!(violations.is_empty(), "seed {seed}: {violations:?}");
        assert!(bytes > quiet + quiet / 20, "what was lost is sent again: {bytes} bytes, {quiet} without noise");
    }
    let unchecked = (0..4).filter(|&seed| !play(Config::new(), noise, seed).1.is_empty()).count();
    assert!(unchecked > 0, "the same noise is harmless without checks");
}
