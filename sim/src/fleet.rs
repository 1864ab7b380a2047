//! A server and its devices in one world, and what can be done to them.

mod outcome;
mod site;

pub use outcome::Outcome;

use crate::actor::{Accounts, Actor, Device, DeviceSetup, Flash, Herd, Hub, HubMemory, Profile, Shared, Traffic};
use crate::defect::Seeded;
use crate::ledger::Mark;
use crate::outage::{Remembers, Site, Target};
use crate::rng::SplitMix64;
use crate::world::{Access, NodeId, World};
use holdline_proto::{ClientId, Instant, ValidConfig};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

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
    /// When the 32-bit clock of a device begins again, if one does.
    pub clock_wraps: Option<Wrap>,
}

/// A clock of 32 bits that begins again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrap {
    /// When, in milliseconds from the start.
    pub at_ms: u32,
    /// At which device; at all of them if it is not said.
    pub device: Option<u32>,
}

impl FleetSetup {
    /// What the clock of a device shows at the start, in milliseconds.
    fn clock_ms(&self, device: usize) -> u64 {
        let wraps = self.clock_wraps.filter(|wrap| wrap.device.is_none_or(|one| one as usize == device));
        wraps.map_or(0, |wrap| (1 << 32) - u64::from(wrap.at_ms))
    }
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
    /// What is still to come.
    later: Vec<(Instant, Target, Later)>,
}

#[derive(Debug)]
struct Slot {
    node: NodeId,
    setup: DeviceSetup,
    /// What the flash held when the power went.
    flash: Option<Kept>,
    /// An older copy of it.
    copy: Option<Kept>,
    on: bool,
    /// What became of its network while it was suspended.
    network: Option<bool>,
    clone: Option<NodeId>,
    /// Every clone that there ever was.
    clones: Vec<NodeId>,
}

/// What happens to the network of a device at some time.
#[derive(Clone, Copy, Debug)]
enum Later {
    /// It stalls, or goes on.
    Stalls(bool),
    /// It is there again.
    Returns,
}

/// What a device has in its flash, and where both ends were then, up and down.
#[derive(Clone, Debug)]
struct Kept {
    flash: Flash,
    marks: [Mark; 2],
}

impl Fleet {
    /// A fleet that starts now, with everything random in it from `seed`.
    pub fn new(setup: FleetSetup, seed: u64) -> Self {
        Self::begin(setup, seed, Seeded::default())
    }

    /// A fleet in which every endpoint does something wrong, to see that an oracle notices.
    #[cfg(feature = "defects")]
    #[doc(hidden)]
    pub fn with_defect(setup: FleetSetup, seed: u64, defect: Option<crate::defect::Defect>) -> Self {
        Self::begin(setup, seed, Seeded::new(defect))
    }

    fn begin(setup: FleetSetup, seed: u64, seeded: Seeded) -> Self {
        let mut chance = SplitMix64::from_seed(seed);
        let mut world = World::new(chance.next_u64());
        let timeout_ms = setup.device.get().timeout_ms;
        let herd = Arc::new(Mutex::new(Herd::new(setup.devices, timeout_ms)));
        let shared = || {
            let mut accounts = Accounts::new(setup.profile, timeout_ms, Arc::clone(&herd));
            accounts.seeded = seeded;
            Rc::new(RefCell::new(accounts))
        };
        let named: Vec<(ClientId, Shared)> = (0..setup.devices).filter_map(|index| Some((name(index)?, shared()))).collect();
        let hub = Hub::new(setup.profile, setup.server, &named, setup.traffic, world.now(), chance.next_u64());
        let server = world.add(Actor::Server(Box::new(hub)), Access { latency_ms: 0, ..Access::default() });
        let mut devices = Vec::new();
        for (id, accounts) in named {
            let setup =
                DeviceSetup { id, profile: setup.profile, config: setup.device, server, traffic: setup.traffic, accounts };
            devices.push(Slot {
                node: NodeId(0),
                setup,
                flash: None,
                copy: None,
                on: true,
                network: None,
                clone: None,
                clones: Vec::new(),
            });
        }
        for (index, slot) in devices.iter_mut().enumerate() {
            let ahead_ms = setup.clock_ms(index);
            slot.setup.accounts.borrow_mut().ahead_ms = ahead_ms;
            slot.setup.traffic.until = Instant::from_millis(setup.traffic.until.as_millis() + ahead_ms);
            let shown = Instant::from_millis(ahead_ms);
            let device = Device::new(&slot.setup, shown, chance.next_u64());
            slot.node = world.add_with_clock(Actor::Device(Box::new(device)), setup.usual, shown);
        }
        Self { world, setup, server, server_copy: None, server_at_stop: None, devices, chance, later: Vec::new() }
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

    /// Runs to an instant, with what happens on the way.
    pub fn run_until(&mut self, end: Instant) {
        while let Some(index) =
            (0..self.later.len()).min_by_key(|&index| self.later[index].0).filter(|&index| self.later[index].0 <= end)
        {
            let (at, target, what) = self.later.remove(index);
            self.world.run_until(at);
            match what {
                Later::Stalls(stalled) => {
                    self.change(target, |access| (access.out_blocked, access.in_blocked) = (stalled, stalled))
                }
                Later::Returns => self.give_network_back(target, 0),
            }
        }
        self.world.run_until(end);
    }

    /// Undoes everything that is wrong, for the liveness phase.
    pub fn heal(&mut self) {
        self.look();
        self.later.clear();
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

    /// Asks every endpoint that runs whether it is up and dead.
    fn look(&mut self) {
        for slot in &self.devices {
            let now = self.world.local(slot.node);
            if self.world.is_running(slot.node)
                && let Actor::Device(device) = self.world.machine(slot.node)
            {
                device.look_at_link(now);
            }
        }
        let now = self.world.now();
        if self.world.is_running(self.server)
            && let Actor::Server(hub) = self.world.machine(self.server)
        {
            hub.look_at_links(now);
        }
    }

    /// What became of the run. `settled`: it was healed and has had time to deliver everything.
    pub fn outcome(&self, settled: bool) -> Outcome {
        let mut outcome = Outcome { hash: self.world.trace_hash(), bytes: self.world.bytes_written(), ..Outcome::default() };
        for slot in &self.devices {
            outcome.add_device(&slot.setup.id.to_string(), &slot.setup.accounts.borrow(), settled);
        }
        outcome.longest_pause_ms = outcome.pauses_ms.iter().copied().max().unwrap_or(0);
        outcome
    }
}

fn name(index: usize) -> Option<ClientId> {
    ClientId::new(&format!("device-{index}")).ok()
}
