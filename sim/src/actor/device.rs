//! A device: one session, its supervisor, its application.

use super::accounts::{Defect, Shared};
use super::application::{OUTBOX, Traffic, feed, send, tell_drops};
use super::flash::{Flash, flash};
use super::profile::Profile;
use crate::trace::Remark;
use crate::world::{Command, Machine, NodeId, StreamId};
use holdline_proto::{
    Action, Client, ClientId, ConnectFailure, Event, Incarnation, Instant, Outbox, Session, Supervisor, SupervisorConfig,
    ValidConfig, VecOutbox, classic, native,
};
use std::collections::VecDeque;
use std::rc::Rc;

/// A device: one session, its supervisor, its application.
#[derive(Debug)]
pub struct Device {
    session: Session<Client, VecOutbox>,
    supervisor: Supervisor,
    accounts: Shared,
    server: NodeId,
    traffic: Traffic,
    next_send: Instant,
    /// Whether there is a network to join.
    has_network: bool,
    native: bool,
    stream: Option<StreamId>,
    /// When bytes last arrived on the present link, or it was opened.
    heard: Instant,
    /// The stream of the link that has just ended: its last line is still to be written.
    ending: Option<StreamId>,
    commands: VecDeque<Command>,
    dirty: Option<StreamId>,
    remarks: VecDeque<Remark>,
    text: String,
}

/// What a device needs to begin.
#[derive(Clone, Debug)]
pub struct DeviceSetup {
    /// Its client id.
    pub id: ClientId,
    /// The wire.
    pub profile: Profile,
    /// Its parameters.
    pub config: ValidConfig,
    /// Its server.
    pub server: NodeId,
    /// What its application does.
    pub traffic: Traffic,
    /// Where it is accounted.
    pub accounts: Shared,
}

impl Device {
    /// A device that starts at `now` without memory.
    pub fn new(setup: &DeviceSetup, now: Instant, random: u64) -> Self {
        let outbox = VecOutbox::new(OUTBOX, 1 << 16);
        let role = Client { id: setup.id };
        let session = match setup.profile.flavour() {
            None => Session::Native(native::Session::new(role, setup.config, incarnation(random), outbox)),
            Some(flavour) => Session::Classic(classic::Session::new(role, flavour, setup.config, outbox)),
        };
        Self::with(setup, session, now, random)
    }

    /// A device that starts with what its flash holds; the classic profiles keep nothing there.
    pub fn restore(setup: &DeviceSetup, flash: &Flash, now: Instant, random: u64) -> Self {
        let (snapshot, outbox) = flash.open();
        let role = Client { id: setup.id };
        let session = native::Session::restore(role, setup.config, incarnation(random).boot, snapshot, outbox);
        Self::with(setup, Session::Native(session), now, random)
    }

    fn with(setup: &DeviceSetup, session: Session<Client, VecOutbox>, now: Instant, random: u64) -> Self {
        let supervisor = SupervisorConfig {
            timeout_ms: setup.config.get().timeout_ms,
            has_network: true,
            classic: setup.profile != Profile::Native,
        };
        let mut device = Self {
            session,
            supervisor: Supervisor::new(supervisor, random),
            accounts: Rc::clone(&setup.accounts),
            server: setup.server,
            traffic: setup.traffic,
            next_send: now.plus(setup.traffic.every_ms),
            has_network: true,
            native: setup.profile == Profile::Native,
            stream: None,
            heard: now,
            ending: None,
            commands: VecDeque::new(),
            dirty: None,
            remarks: VecDeque::new(),
            text: String::new(),
        };
        // Its supervisor wants to connect at once.
        device.after_input(now);
        device
    }

    /// What a durable device would find after a loss of power now; `None` in the classic profiles.
    pub fn flash(&self) -> Option<Flash> {
        flash(&self.session)
    }

    /// The network has gone, and with it the stream; or it is there again.
    pub(crate) fn set_network(&mut self, now: Instant, up: bool) {
        self.has_network = up;
        if !up {
            self.session.handle_disconnected(now);
            self.after_input(now);
        }
        self.supervisor.handle_network(now, up);
        self.after_input(now);
    }

    fn after_input(&mut self, now: Instant) {
        while let Some(event) = self.session.poll_event() {
            let mut accounts = self.accounts.borrow_mut();
            match event {
                Event::Up { .. } => {
                    self.supervisor.handle_up(now);
                    self.remarks.push_back(Remark::Up);
                    accounts.links += 1;
                    accounts.came_up();
                    if let Some(since) = accounts.down_since.take() {
                        accounts.pauses.push(now.since(since));
                    }
                }
                Event::Down(reason) => {
                    self.supervisor.handle_down(now, reason);
                    self.remarks.push_back(Remark::Down(reason.to_string()));
                    accounts.down_since.get_or_insert(now);
                    if accounts.defect != Some(Defect::DownUntold) {
                        accounts.went_down();
                    }
                    if let Some(stream) = self.stream.take() {
                        self.ending = Some(stream);
                        self.commands.push_back(Command::Close(stream));
                    }
                }
                _ => tell_drops(&mut accounts.up, event),
            }
        }
        self.check(now);
        while let Some(action) = self.supervisor.poll_action() {
            match action {
                Action::Connect { timeout_ms } => self.connect(now, timeout_ms),
                // It is joined as soon as there is one.
                Action::JoinNetwork { .. } if self.has_network => self.supervisor.handle_network(now, true),
                Action::JoinNetwork { .. } => {}
            }
        }
    }

    fn connect(&mut self, now: Instant, timeout_ms: u32) {
        self.accounts.borrow_mut().tried(now);
        self.commands.push_back(Command::Connect { to: self.server, timeout_ms });
    }

    /// The oracles that need to look into the device.
    fn check(&mut self, now: Instant) {
        let mut accounts = self.accounts.borrow_mut();
        let held = self.session.outbox().len();
        accounts.up.acknowledged_to(held);
        if held > OUTBOX as usize {
            accounts.violation(|| format!("{held} messages in an outbox of {OUTBOX}"));
        }
        // An outage is noticed within T of the last byte received. The classic devices look every 100 ms.
        let bound = u64::from(self.session.timeout_ms()) + 200;
        let silent = now.since(self.heard);
        if self.native && self.session.is_up() && silent > bound {
            self.heard = now;
            accounts.violation(|| format!("up and dead: silent for {silent} ms at {} ms", now.as_millis()));
        }
    }

    fn send_what_is_due(&mut self, now: Instant) {
        while self.traffic.every_ms > 0 && self.next_send <= now && now <= self.traffic.until {
            self.next_send = self.next_send.plus(self.traffic.every_ms);
            send(&mut self.session, &mut self.accounts.borrow_mut().up, &mut self.text, now, self.traffic.length);
            self.dirty = self.stream;
        }
        // A clock that has jumped over the end sends nothing more, and wants nothing more.
        if now > self.traffic.until {
            self.next_send = now.plus(1);
        }
    }
}

impl Machine for Device {
    fn handle_opened(&mut self, now: Instant, stream: StreamId, _incoming: bool, random: u64) {
        (self.stream, self.ending) = (Some(stream), None);
        self.heard = now;
        self.supervisor.handle_connected();
        self.session.handle_connected(now, random);
        self.after_input(now);
    }

    fn handle_connect_failed(&mut self, now: Instant, failure: ConnectFailure) {
        if self.accounts.borrow().defect == Some(Defect::NoBackoff) {
            self.connect(now, 5_000);
            return;
        }
        self.supervisor.handle_connect_failed(now, failure);
        self.after_input(now);
    }

    fn handle_input(&mut self, now: Instant, stream: StreamId, bytes: &[u8]) -> usize {
        if self.stream != Some(stream) {
            return bytes.len();
        }
        self.heard = now;
        let mut at = 0;
        loop {
            let mut accounts = self.accounts.borrow_mut();
            let defect = accounts.defect;
            let consumed = feed(&mut self.session, &mut accounts.down, defect, now, &bytes[at..]);
            drop(accounts);
            at += consumed;
            self.after_input(now);
            if consumed == 0 || at == bytes.len() || self.stream.is_none() {
                return at;
            }
        }
    }

    fn handle_transmitted(&mut self, now: Instant, stream: StreamId, bytes: usize) {
        if self.stream == Some(stream) {
            self.session.handle_transmitted(now, bytes);
        }
    }

    fn handle_closed(&mut self, now: Instant, stream: StreamId) {
        if self.stream == Some(stream) {
            self.session.handle_disconnected(now);
            self.after_input(now);
        }
    }

    fn handle_timeout(&mut self, now: Instant, stream: Option<StreamId>) {
        if stream.is_some() && self.accounts.borrow().defect == Some(Defect::TimersIgnored) {
            return;
        }
        if stream.is_some() && stream == self.stream {
            self.session.handle_timeout(now);
        } else if stream.is_none() {
            self.supervisor.handle_timeout(now);
            self.send_what_is_due(now);
        }
        self.after_input(now);
    }

    fn poll_transmit(&mut self, stream: StreamId, buffer: &mut [u8]) -> usize {
        if self.stream.or(self.ending) == Some(stream) { self.session.poll_transmit(buffer) } else { 0 }
    }

    fn poll_timeout(&self, stream: Option<StreamId>) -> Option<Instant> {
        if stream.is_some() && self.accounts.borrow().defect == Some(Defect::TimersIgnored) {
            return None;
        }
        if let Some(stream) = stream {
            return self.session.poll_timeout().filter(|_| self.stream == Some(stream)).map(|deadline| deadline.at);
        }
        let send = (self.traffic.every_ms > 0 && self.next_send <= self.traffic.until).then_some(self.next_send);
        self.supervisor.poll_timeout().into_iter().chain(send).min()
    }

    fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    fn poll_dirty(&mut self) -> Option<StreamId> {
        self.dirty.take()
    }

    fn poll_remark(&mut self) -> Option<Remark> {
        self.remarks.pop_front()
    }
}

fn incarnation(random: u64) -> Incarnation {
    let mut chance = crate::rng::SplitMix64::from_seed(random);
    Incarnation { boot: chance.next_u64(), epoch: chance.next_u64() }
}
