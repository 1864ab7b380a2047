//! A server and its devices in one world, and what can be done to them.

use crate::actor::{Accounts, Actor, Device, DeviceSetup, End, Flash, Herd, Hub, HubKept, HubMemory, Profile, Shared, Traffic};
use crate::defect::{Defect, Seeded};
use crate::ledger::{Account, Delivery, Mark};
use crate::outage::{Remembers, Site, Stop, Target, reopen};
use crate::rng::SplitMix64;
use crate::stream::Fate;
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

/// What became of a run, or of many.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Reliable messages, both directions together.
    pub account: Account,
    /// Values of which only the latest matters, both directions together.
    pub latest: Account,
    /// Best effort, both directions together; lost are also those that were given while the link was down.
    pub best_effort: Account,
    /// Links that came up.
    pub links: u64,
    /// The longest pause between two links of one device, in milliseconds.
    pub longest_pause_ms: u64,
    /// Every pause, in milliseconds.
    pub pauses_ms: Vec<u64>,
    /// Bytes that were written by both sides.
    pub bytes: u64,
    /// For each outage that took a device's link: how long until the device noticed, in milliseconds.
    pub device_noticed_ms: Vec<u64>,
    /// For each outage that took a device's link: how long until the server noticed, in milliseconds.
    pub server_noticed_ms: Vec<u64>,
    /// For each outage that took a device's link: how long after its end the device was up again, in milliseconds; 0 when that was
    /// sooner.
    pub recovered_ms: Vec<u64>,
    /// What broke a promise of the profile (SPEC.md, section 12).
    pub violations: Vec<String>,
    /// Everything that was lost, repeated or reordered although nobody forgot anything, whatever the profile promises: none in native.
    pub holes: Vec<String>,
    /// One number for the whole run.
    pub hash: u64,
}

impl Outcome {
    /// Bytes on the wire for each message of any delivery that was sent.
    pub fn bytes_per_message(&self) -> f64 {
        let sent = self.account.sent + self.latest.sent + self.best_effort.sent;
        self.bytes as f64 / sent.max(1) as f64
    }
}

impl Fleet {
    /// A fleet that starts now, with everything random in it from `seed`.
    pub fn new(setup: FleetSetup, seed: u64) -> Self {
        Self::begin(setup, seed, Seeded::default())
    }

    /// A fleet in which every endpoint does something wrong, to see that an oracle notices.
    #[cfg(feature = "defects")]
    #[doc(hidden)]
    pub fn with_defect(setup: FleetSetup, seed: u64, defect: Option<Defect>) -> Self {
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

impl Outcome {
    fn add_device(&mut self, id: &str, accounts: &Accounts, settled: bool) {
        self.links += u64::from(accounts.links);
        self.pauses_ms.extend(&accounts.pauses);
        let [device, server] = &accounts.aftermath.noticed_ms;
        self.device_noticed_ms.extend(device);
        self.server_noticed_ms.extend(server);
        self.recovered_ms.extend(&accounts.aftermath.recovered_ms);
        self.violations.extend(accounts.violations.iter().map(|what| format!("{id}: {what}")));
        for (ledger, way) in [(&accounts.up, "up"), (&accounts.down, "down")] {
            self.account += ledger.account(Delivery::Reliable);
            self.latest += ledger.account(Delivery::Latest);
            self.best_effort += ledger.account(Delivery::BestEffort);
            let named = |found: Vec<String>| found.into_iter().map(move |what| format!("{id} {way}: {what}"));
            self.violations.extend(named(ledger.violations(settled)));
            self.holes.extend(named(ledger.holes(settled)));
        }
        let [device, server] = accounts.is_up();
        if settled && !device {
            self.violations.push(format!("{id} did not come back"));
        } else if settled && !server {
            self.violations.push(format!("{id} is back, and the server does not know"));
        }
    }
}

impl Site for Fleet {
    fn devices(&self) -> usize {
        self.devices.len()
    }

    fn note(&mut self, number: u32, target: Option<Target>, begins: bool) {
        let node = target.map_or(self.server, |target| self.devices[target.0].node);
        self.world.note_outage(number, node, begins);
        let now = self.world.now();
        let concerned = target.map_or(0..self.devices.len(), |target| target.0..target.0 + 1);
        for slot in &self.devices[concerned] {
            let mut accounts = slot.setup.accounts.borrow_mut();
            let up = accounts.is_up();
            if begins {
                accounts.aftermath.begins(number, now, up);
            } else {
                accounts.aftermath.ends(number, now);
            }
        }
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
        if !self.world.is_running(node) {
            // It hears of it when it goes on.
            self.devices[target.0].network = Some(up);
            return;
        }
        if !up {
            self.world.abandon(node);
        }
        let now = self.world.local(node);
        if let Actor::Device(device) = self.world.machine(node) {
            device.set_network(now, up);
        }
        self.world.wake(node);
    }

    fn suspend(&mut self, target: Target, suspended: bool) {
        if self.devices[target.0].on {
            self.world.suspend(self.devices[target.0].node, suspended);
        }
        if suspended {
            return;
        }
        // What came due meanwhile is served before anything else is done to it.
        let now = self.world.now();
        self.world.run_until(now);
        if let Some(up) = self.devices[target.0].network.take() {
            self.set_network(target, up);
        }
    }

    fn jump_clock(&mut self, target: Target, ms: u32) {
        let slot = &self.devices[target.0];
        slot.setup.accounts.borrow_mut().ahead_ms += u64::from(ms);
        self.world.jump_clock(slot.node, ms);
    }

    fn drift_clock(&mut self, target: Target, ppm: i32) {
        let node = self.devices[target.0].node;
        self.world.drift_clock(node, ppm);
        let ahead = self.world.local(node).since(self.world.now());
        self.devices[target.0].setup.accounts.borrow_mut().ahead_ms = ahead;
    }

    fn draw(&mut self) -> u64 {
        self.chance.next_u64()
    }

    fn stall(&mut self, target: Target, stalls: Vec<(u32, u32)>) {
        let now = self.world.now();
        for (from, to) in stalls {
            self.later.push((now.plus(from), target, Later::Stalls(true)));
            self.later.push((now.plus(to), target, Later::Stalls(false)));
        }
    }

    fn give_network_back(&mut self, target: Target, after_ms: u32) {
        if after_ms > 0 {
            self.later.push((self.world.now().plus(after_ms), target, Later::Returns));
            return;
        }
        let usual = self.setup.usual;
        self.change(target, |access| reopen(access, usual));
        self.set_network(target, true);
    }

    fn power_off(&mut self, target: Target, fate: Fate) {
        let slot = &mut self.devices[target.0];
        if !std::mem::replace(&mut slot.on, false) {
            return;
        }
        slot.flash = flash(&mut self.world, slot);
        let mut accounts = slot.setup.accounts.borrow_mut();
        accounts.went_down(End::Device, self.world.now(), false);
        if accounts.seeded.is(Defect::CursorNotCommitted) {
            slot.flash = slot.copy.clone().or(slot.flash.take());
        }
        drop(accounts);
        self.world.power_off(slot.node, fate);
    }

    fn power_on(&mut self, target: Target, memory: Remembers) {
        let mut random = self.chance.next_u64();
        let slot = &mut self.devices[target.0];
        let now = self.world.local(slot.node);
        if std::mem::replace(&mut slot.on, true) {
            return;
        }
        if let Some(slots) = memory.torn_slots()
            && let Actor::Device(device) = self.world.machine(slot.node)
            && let Some(mut kept) = slot.flash.take()
        {
            slot.flash = device.torn_flash(slots, self.chance.next_u64()).map(|flash| {
                kept.flash = flash;
                kept
            });
        }
        let mut accounts = slot.setup.accounts.borrow_mut();
        if accounts.seeded.is(Defect::BootReused) {
            random = 1;
        }
        let kept = match memory {
            Remembers::Nothing => None,
            Remembers::Everything | Remembers::Torn | Remembers::TornInPlace => slot.flash.clone(),
            Remembers::OldCopy => slot.copy.clone().or(slot.flash.clone()),
        };
        match &kept {
            None => {
                accounts.up.sender_forgot();
                accounts.down.receiver_forgot();
            }
            Some(Kept { marks: [up, down], .. }) if memory == Remembers::OldCopy => {
                accounts.up.sender_rolled_back(up);
                accounts.down.receiver_rolled_back(down);
            }
            Some(_) => {}
        }
        drop(accounts);
        let device = match kept {
            Some(kept) => Device::restore(&slot.setup, &kept.flash, now, random),
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
        for slot in &self.devices {
            slot.setup.accounts.borrow_mut().went_down(End::Server, self.world.now(), false);
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
        if let Some(slots) = memory.torn_slots()
            && let Actor::Server(hub) = self.world.machine(self.server)
        {
            self.server_at_stop = hub.torn_memory(slots, || self.chance.next_u64());
        }
        let kept = match memory {
            Remembers::Nothing => None,
            Remembers::Everything | Remembers::Torn | Remembers::TornInPlace => self.server_at_stop.take(),
            Remembers::OldCopy => self.server_copy.clone().or(self.server_at_stop.take()),
        };
        for (index, slot) in self.devices.iter().enumerate() {
            let mut accounts = slot.setup.accounts.borrow_mut();
            match kept.as_ref().and_then(|kept| kept.lines.get(index)) {
                None | Some(HubKept { flash: None, .. }) => {
                    accounts.down.sender_forgot();
                    accounts.up.receiver_forgot();
                }
                Some(HubKept { marks: [down, up], .. }) if memory == Remembers::OldCopy => {
                    accounts.down.sender_rolled_back(down);
                    accounts.up.receiver_rolled_back(up);
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
        setup.accounts = Rc::new(RefCell::new(Accounts::alone(setup.profile, setup.config.get().timeout_ms)));
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

fn flash(world: &mut World<Actor>, slot: &Slot) -> Option<Kept> {
    let Actor::Device(device) = world.machine(slot.node) else { return None };
    let accounts = slot.setup.accounts.borrow();
    Some(Kept { flash: device.flash()?, marks: [accounts.up.mark(), accounts.down.mark()] })
}

fn name(index: usize) -> Option<ClientId> {
    ClientId::new(&format!("device-{index}")).ok()
}
