//! What can be done to a fleet.

use super::{Fleet, Kept, Later, Slot};
use crate::actor::{Accounts, Actor, Device, End, Hub, HubKept, Shared};
use crate::defect::Defect;
use crate::outage::{Remembers, Site, Stop, Target, reopen};
use crate::stream::Fate;
use crate::world::{Access, World};
use holdline_proto::ClientId;
use std::cell::RefCell;
use std::rc::Rc;

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
        let was_noisy = access.is_noisy();
        change(&mut access);
        self.world.set_access(node, access);
        if access.is_noisy() != was_noisy {
            self.disturb(target, access.is_noisy());
        }
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

impl Fleet {
    /// Noise begins on the line of a device, or ends.
    fn disturb(&self, target: Target, noisy: bool) {
        let mut accounts = self.devices[target.0].setup.accounts.borrow_mut();
        accounts.up.disturbed(noisy);
        accounts.down.disturbed(noisy);
        drop(accounts);
        if self.setup.server.get().check {
            return;
        }
        // A hello that is damaged may name another device.
        for slot in &self.devices {
            let mut accounts = slot.setup.accounts.borrow_mut();
            accounts.up.unguarded();
            accounts.down.unguarded();
        }
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
