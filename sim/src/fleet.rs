//! A server and its devices in one world, and what can be done to them.

use crate::actor::{Accounts, Actor, Defect, Device, DeviceSetup, Flash, Hub, HubMemory, Profile, Shared, Traffic};
use crate::ledger::Account;
use crate::outage::{Remembers, Site, Stop, Target};
use crate::rng::SplitMix64;
use crate::stream::Fate;
use crate::world::{Access, NodeId, World};
use holdline_proto::{ClientId, Instant, ValidConfig};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// What a fleet is made of.
#[derive(Clone, Copy, Debug)]
pub struct FleetSetup {
    /// How many devices.
    pub devices: usize,
    /// The wire.
    pub profile: Profile,
    /// Parameters of the devices.
    pub device: ValidConfig,
    /// Parameters of the server.
    pub server: ValidConfig,
    /// What the applications of both sides do.
    pub traffic: Traffic,
    /// How the network is when nothing is wrong.
    pub usual: Access,
}

/// A server and its devices in one world.
#[derive(Debug)]
pub struct Fleet {
    /// The world, to run it.
    pub world: World<Actor>,
    setup: FleetSetup,
    server: NodeId,
    server_copy: Option<HubMemory>,
    server_at_stop: Option<HubMemory>,
    devices: Vec<Slot>,
    chance: SplitMix64,
    /// Stalls of burst loss that are still to come: when, whom, on or off.
    stalls: Vec<(Instant, Target, bool)>,
}

#[derive(Debug)]
struct Slot {
    node: NodeId,
    setup: DeviceSetup,
    /// What the flash held when the power went, and the numbers in that outbox.
    flash: Option<(Flash, VecDeque<u64>)>,
    /// An older copy of it.
    copy: Option<(Flash, VecDeque<u64>)>,
    on: bool,
    clone: Option<NodeId>,
    /// Every clone that there ever was.
    clones: Vec<NodeId>,
}

/// What became of a run, or of many.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Both directions together.
    pub account: Account,
    /// Links that came up.
    pub links: u64,
    /// The longest pause between two links of one device, in milliseconds.
    pub longest_pause_ms: u64,
    /// Every pause, in milliseconds.
    pub pauses_ms: Vec<u64>,
    /// Bytes that were written by both sides.
    pub bytes: u64,
    /// What broke the guarantee.
    pub violations: Vec<String>,
    /// One number for the whole run.
    pub hash: u64,
}

impl Fleet {
    /// A fleet that starts now, with everything random in it from `seed`.
    pub fn new(setup: FleetSetup, seed: u64) -> Self {
        let mut chance = SplitMix64::from_seed(seed);
        let mut world = World::new(chance.next_u64());
        let named: Vec<(ClientId, Shared)> =
            (0..setup.devices).filter_map(|index| Some((name(index)?, Shared::default()))).collect();
        let hub = Hub::new(setup.profile, setup.server, &named, setup.traffic, world.now(), chance.next_u64());
        let server = world.add(Actor::Server(Box::new(hub)), Access { latency_ms: 0, ..Access::default() });
        let mut devices = Vec::new();
        for (id, accounts) in named {
            let setup =
                DeviceSetup { id, profile: setup.profile, config: setup.device, server, traffic: setup.traffic, accounts };
            devices.push(Slot { node: NodeId(0), setup, flash: None, copy: None, on: true, clone: None, clones: Vec::new() });
        }
        for slot in &mut devices {
            let device = Device::new(&slot.setup, world.now(), chance.next_u64());
            slot.node = world.add(Actor::Device(Box::new(device)), setup.usual);
        }
        Self { world, setup, server, server_copy: None, server_at_stop: None, devices, chance, stalls: Vec::new() }
    }

    /// The node of a device.
    pub fn node(&self, target: Target) -> NodeId {
        self.devices[target.0].node
    }

    /// The node of the server.
    pub fn server(&self) -> NodeId {
        self.server
    }

    /// The nodes that are or were there, with a name for each: the server, then each device, followed by its clones.
    pub fn named(&self) -> Vec<(NodeId, String)> {
        let mut named = vec![(self.server, "server".to_owned())];
        for slot in &self.devices {
            named.push((slot.node, slot.setup.id.to_string()));
            named.extend(slot.clones.iter().map(|&clone| (clone, format!("{} (clone)", slot.setup.id))));
        }
        named
    }

    /// The accounts of a device.
    pub fn accounts(&self, target: Target) -> std::cell::Ref<'_, Accounts> {
        self.devices[target.0].setup.accounts.borrow()
    }

    /// Lets every actor do something wrong from now on, to see that an oracle notices.
    #[doc(hidden)]
    pub fn seed_defect(&mut self, defect: Defect) {
        for slot in &self.devices {
            slot.setup.accounts.borrow_mut().defect = Some(defect);
        }
    }

    /// Runs to an instant, with the stalls on the way.
    pub fn run_until(&mut self, end: Instant) {
        while let Some(index) =
            (0..self.stalls.len()).min_by_key(|&index| self.stalls[index].0).filter(|&index| self.stalls[index].0 <= end)
        {
            let (at, target, blocked) = self.stalls.swap_remove(index);
            self.world.run_until(at);
            self.change(target, |access| (access.out_blocked, access.in_blocked) = (blocked, blocked));
        }
        self.world.run_until(end);
    }

    fn below(&mut self, bound: u32) -> u32 {
        (self.chance.next_u64() % u64::from(bound.max(1))) as u32
    }

    /// Undoes everything that is wrong, for the liveness phase.
    pub fn heal(&mut self) {
        self.stalls.clear();
        for index in 0..self.devices.len() {
            let target = Target(index);
            self.switch_clone(target, false);
            self.suspend(target, false);
            let usual = self.setup.usual;
            self.change(target, |access| *access = usual);
            self.set_network(target, true);
            self.power_on(target, Remembers::Everything);
        }
        if !self.world.is_powered(self.server) {
            self.start_server(Remembers::Everything);
        }
    }

    /// What became of the run. `settled`: it was healed and has had time to deliver everything.
    pub fn outcome(&self, settled: bool) -> Outcome {
        let mut outcome = Outcome { hash: self.world.trace_hash(), bytes: self.world.bytes_written(), ..Outcome::default() };
        for slot in &self.devices {
            let accounts = slot.setup.accounts.borrow();
            outcome.links += u64::from(accounts.links);
            outcome.pauses_ms.extend(&accounts.pauses);
            outcome.violations.extend(accounts.violations.iter().map(|what| format!("{}: {what}", slot.setup.id)));
            for (ledger, way) in [(&accounts.up, "up"), (&accounts.down, "down")] {
                outcome.account += ledger.account();
                let named = ledger.violations(settled).into_iter().map(|what| format!("{} {way}: {what}", slot.setup.id));
                outcome.violations.extend(named);
            }
            if settled && accounts.down_since.is_some() {
                outcome.violations.push(format!("{} did not come back", slot.setup.id));
            }
        }
        outcome.longest_pause_ms = outcome.pauses_ms.iter().copied().max().unwrap_or(0);
        outcome
    }
}

impl Site for Fleet {
    fn devices(&self) -> usize {
        self.devices.len()
    }

    fn note(&mut self, number: u32, target: Option<Target>, begins: bool) {
        let node = target.map_or(self.server, |target| self.devices[target.0].node);
        self.world.note_outage(number, node, begins);
    }

    fn usual(&self) -> Access {
        self.setup.usual
    }

    fn change(&mut self, target: Target, change: impl FnOnce(&mut Access)) {
        let node = self.devices[target.0].node;
        let mut access = self.world.access(node);
        change(&mut access);
        self.world.set_access(node, access);
    }

    fn break_streams(&mut self, target: Target, fate: Fate) {
        self.world.break_streams(self.devices[target.0].node, fate);
    }

    fn set_network(&mut self, target: Target, up: bool) {
        let node = self.devices[target.0].node;
        if !self.devices[target.0].on {
            return;
        }
        let now = self.world.local(node);
        if !up {
            self.world.abandon(node);
        }
        if let Actor::Device(device) = self.world.machine(node) {
            device.set_network(now, up);
        }
        self.world.wake(node);
    }

    fn suspend(&mut self, target: Target, suspended: bool) {
        if self.devices[target.0].on {
            self.world.suspend(self.devices[target.0].node, suspended);
        }
    }

    fn jump_clock(&mut self, target: Target, ms: u32) {
        self.world.jump_clock(self.devices[target.0].node, ms);
    }

    fn stall_at_random(&mut self, target: Target, for_ms: u32, longest_ms: u32, every_ms: u32) {
        let mut at = self.world.now();
        let end = at.plus(for_ms);
        loop {
            at = at.plus(1 + self.below(2 * every_ms));
            if at >= end {
                break;
            }
            self.stalls.push((at, target, true));
            // Heavy-tailed: most stalls are short, some are as long as it gets.
            let shrink = self.below(8);
            at = at.plus(1 + (longest_ms >> shrink));
            self.stalls.push((at.min(end), target, false));
        }
    }

    fn power_off(&mut self, target: Target, fate: Fate) {
        let slot = &mut self.devices[target.0];
        if !std::mem::replace(&mut slot.on, false) {
            return;
        }
        slot.flash = flash(&mut self.world, slot);
        let mut accounts = slot.setup.accounts.borrow_mut();
        accounts.went_down();
        if accounts.defect == Some(Defect::CursorNotCommitted) {
            slot.flash = slot.copy.clone().or(slot.flash.take());
        }
        accounts.down_since.get_or_insert(self.world.now());
        drop(accounts);
        self.world.power_off(slot.node, fate);
    }

    fn power_on(&mut self, target: Target, memory: Remembers) {
        let mut random = self.chance.next_u64();
        let now = self.world.now();
        let slot = &mut self.devices[target.0];
        if std::mem::replace(&mut slot.on, true) {
            return;
        }
        if slot.setup.accounts.borrow().defect == Some(Defect::EpochReused) {
            random = 1;
        }
        let kept = match memory {
            Remembers::Nothing => None,
            Remembers::Everything => slot.flash.clone(),
            Remembers::OldCopy => slot.copy.clone().or(slot.flash.clone()),
        };
        let mut accounts = slot.setup.accounts.borrow_mut();
        if kept.is_none() {
            accounts.up.sender_forgot();
            accounts.down.receiver_forgot();
        } else if let (Remembers::OldCopy, Some((_, numbers))) = (memory, &kept) {
            accounts.up.sender_rolled_back(numbers);
            accounts.down.receiver_forgot();
        }
        drop(accounts);
        let device = match kept {
            Some((flash, _)) => Device::restore(&slot.setup, &flash, now, random),
            None => Device::new(&slot.setup, now, random),
        };
        self.world.power_on(slot.node, Actor::Device(Box::new(device)));
    }

    fn back_up(&mut self) {
        for slot in &mut self.devices {
            if slot.on {
                slot.copy = flash(&mut self.world, slot);
            }
        }
        if let Actor::Server(hub) = self.world.machine(self.server) {
            self.server_copy = hub.memory();
        }
    }

    fn stop_server(&mut self, how: Stop) {
        // An outage that overlaps another finds it stopped.
        if !self.world.is_powered(self.server) {
            return;
        }
        if how == Stop::Graceful {
            if let Actor::Server(hub) = self.world.machine(self.server) {
                hub.close_all(1_000);
            }
            self.world.wake(self.server);
            // A moment for the goodbyes to leave.
            let soon = self.world.now().plus(50);
            self.run_until(soon);
        }
        if let Actor::Server(hub) = self.world.machine(self.server) {
            self.server_at_stop = hub.memory();
        }
        self.world.power_off(self.server, if how == Stop::HostLost { Fate::Silent } else { Fate::Rst });
    }

    fn start_server(&mut self, memory: Remembers) {
        if self.world.is_powered(self.server) {
            return;
        }
        let named: Vec<(ClientId, Shared)> =
            self.devices.iter().map(|slot| (slot.setup.id, Rc::clone(&slot.setup.accounts))).collect();
        let setup = self.setup;
        let mut hub = Hub::new(setup.profile, setup.server, &named, setup.traffic, self.world.now(), self.chance.next_u64());
        let kept = match memory {
            Remembers::Nothing => None,
            Remembers::Everything => self.server_at_stop.take(),
            Remembers::OldCopy => self.server_copy.clone().or(self.server_at_stop.take()),
        };
        for (index, slot) in self.devices.iter().enumerate() {
            let mut accounts = slot.setup.accounts.borrow_mut();
            match &kept {
                None => {
                    accounts.down.sender_forgot();
                    accounts.up.receiver_forgot();
                }
                Some(kept) if memory == Remembers::OldCopy => {
                    accounts.down.sender_rolled_back(kept.numbers(index));
                    accounts.up.receiver_forgot();
                }
                Some(_) => {}
            }
        }
        if let Some(kept) = kept {
            hub.restore(kept);
        }
        self.world.power_on(self.server, Actor::Server(Box::new(hub)));
    }

    fn switch_clone(&mut self, target: Target, on: bool) {
        let random = self.chance.next_u64();
        let slot = &mut self.devices[target.0];
        if !on {
            if let Some(node) = slot.clone.take() {
                self.world.power_off(node, Fate::Rst);
                contest(&slot.setup.accounts, false);
            }
            return;
        }
        contest(&slot.setup.accounts, true);
        let mut setup = slot.setup.clone();
        setup.accounts = Rc::new(RefCell::new(Accounts::default()));
        setup.traffic.every_ms = 0;
        let device = Device::new(&setup, self.world.now(), random);
        let node = self.world.add(Actor::Device(Box::new(device)), self.setup.usual);
        slot.clone = Some(node);
        slot.clones.push(node);
    }
}

fn contest(accounts: &Shared, contested: bool) {
    let mut accounts = accounts.borrow_mut();
    accounts.up.contest(contested);
    accounts.down.contest(contested);
}

fn flash(world: &mut World<Actor>, slot: &Slot) -> Option<(Flash, VecDeque<u64>)> {
    match world.machine(slot.node) {
        Actor::Device(device) => Some((device.flash()?, slot.setup.accounts.borrow().up.held().clone())),
        Actor::Server(_) => None,
    }
}

fn name(index: usize) -> Option<ClientId> {
    ClientId::new(&format!("device-{index}")).ok()
}
