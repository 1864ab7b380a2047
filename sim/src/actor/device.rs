//! A device: one session, its supervisor, its application.

use super::accounts::Shared;
use super::aftermath::End;
use super::application::{Application, Traffic, write_text};
use super::flash::{Flash, flash};
use super::listening::{Listening, Port};
use super::profile::Profile;
use super::store::{OUTBOX, Store};
use crate::defect::{Defect, Seeded};
use crate::ledger::{Delivery, Placed};
use crate::trace::Remark;
use crate::world::{Command, Machine, NodeId, StreamId};
use holdline_proto::{
    Action, Client, ClientId, ConnectFailure, DownReason, Event, Incarnation, Instant, Outbox, Session, Supervisor,
    SupervisorConfig, ValidConfig, classic, native,
};
use std::collections::VecDeque;
use std::rc::Rc;

/// A device: one session, its supervisor, its application.
#[derive(Debug)]
pub struct Device {
    session: Session<Client, Store>,
    supervisor: Supervisor,
    accounts: Shared,
    server: NodeId,
    traffic: Traffic,
    next_send: Instant,
    /// Whether there is a network to join.
    has_network: bool,
    profile: Profile,
    application: Application,
    port: Port,
    stream: Option<StreamId>,
    listening: Listening,
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

impl DeviceSetup {
    fn seeded(&self) -> Seeded {
        self.accounts.borrow().seeded
    }
}

impl Device {
    /// A device that starts at `now` without memory.
    pub fn new(setup: &DeviceSetup, now: Instant, random: u64) -> Self {
        let outbox = Store::new(setup.seeded());
        let role = Client { id: setup.id };
        let session = match setup.profile.flavour() {
            None => Session::Native(native::Session::new(role, setup.config, incarnation(random), outbox)),
            Some(flavour) => Session::Classic(classic::Session::new(role, flavour, setup.config, outbox)),
        };
        Self::with(setup, session, now, random)
    }

    /// A device that starts with what its flash holds; the classic profiles keep nothing there.
    pub fn restore(setup: &DeviceSetup, flash: &Flash, now: Instant, random: u64) -> Self {
        let (snapshot, outbox) = flash.open(setup.seeded());
        let role = Client { id: setup.id };
        let session = native::Session::restore(role, setup.config, incarnation(random).boot, snapshot, outbox);
        Self::with(setup, Session::Native(session), now, random)
    }

    fn with(setup: &DeviceSetup, session: Session<Client, Store>, now: Instant, random: u64) -> Self {
        let supervisor = SupervisorConfig {
            timeout_ms: setup.config.get().timeout_ms,
            has_network: true,
            classic: setup.profile != Profile::Native,
        };
        let seeded = setup.seeded();
        setup.accounts.borrow_mut().backoff.started();
        let mut device = Self {
            session,
            supervisor: Supervisor::new(supervisor, if seeded.is(Defect::InStep) { 1 } else { random }),
            accounts: Rc::clone(&setup.accounts),
            server: setup.server,
            traffic: setup.traffic,
            next_send: now.plus(setup.traffic.every_ms),
            has_network: true,
            profile: setup.profile,
            application: Application::new(seeded, &setup.traffic),
            port: Port::new(seeded, now),
            stream: None,
            listening: Listening::new(now),
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

    /// What it would find if the power went while it committed one more message: at a random byte of the record. `slots`: how many
    /// records its flash has room for. `None`: the record is torn, and there is no other.
    pub(crate) fn torn_flash(&mut self, slots: usize, random: u64) -> Option<Flash> {
        let before = self.flash()?;
        let mut accounts = self.accounts.borrow_mut();
        write_text(&mut self.text, Delivery::Reliable, accounts.up.next_number(Delivery::Reliable), self.traffic.length);
        let (_, now) = self.port.now();
        let is_committing = self.traffic.every_ms > 0 && self.session.send(now, &self.text).is_ok();
        let found = flash(&self.session)?.torn(before, slots, random, accounts.seeded);
        if is_committing && found.as_ref().is_some_and(|found| found.is_new) {
            accounts.up.sent(Delivery::Reliable, Placed::Queued, now);
        }
        found.map(|found| found.flash)
    }

    /// The network has gone, and with it the stream; or it is there again.
    pub(crate) fn set_network(&mut self, now: Instant, up: bool) {
        let now = self.port.read(now);
        self.has_network = up;
        if !up {
            self.session.handle_disconnected(now);
            self.after_input(now);
        }
        self.join(now, up);
        self.after_input(now);
    }

    fn join(&mut self, now: Instant, joined: bool) {
        self.supervisor.handle_network(now, joined);
        if joined {
            self.accounts.borrow_mut().backoff.rested(now);
        }
    }

    fn after_input(&mut self, now: Instant) {
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Up { .. } => {
                    self.supervisor.handle_up(now);
                    self.remarks.push_back(Remark::Up);
                    let mut accounts = self.accounts.borrow_mut();
                    accounts.came_up(End::Device, now);
                    accounts.backoff.came_up(now);
                }
                Event::Down(reason) => self.went_down(now, reason),
                _ => {}
            }
            self.application.hear(event, End::Device, &mut self.accounts.borrow_mut());
        }
        self.look(now);
        while let Some(action) = self.supervisor.poll_action() {
            match action {
                Action::Connect { timeout_ms } => self.connect(now, timeout_ms),
                // It is joined as soon as there is one.
                Action::JoinNetwork { .. } if self.has_network => self.join(now, true),
                Action::JoinNetwork { .. } => {}
            }
        }
    }

    fn went_down(&mut self, now: Instant, reason: DownReason) {
        self.supervisor.handle_down(now, reason);
        self.remarks.push_back(Remark::Down(reason.to_string()));
        self.application.drop_datagrams();
        let mut accounts = self.accounts.borrow_mut();
        accounts.backoff.went_down(now, reason == DownReason::Reset);
        if !self.application.seeded.is(Defect::DownUntold) {
            accounts.went_down(End::Device, now, true);
        }
        if let Some(stream) = self.stream.take() {
            self.ending = Some(stream);
            self.commands.push_back(Command::Close(stream));
        }
    }

    fn connect(&mut self, now: Instant, timeout_ms: u32) {
        let mut accounts = self.accounts.borrow_mut();
        for what in accounts.backoff.tried(now, self.profile != Profile::Native) {
            accounts.violation(|| what);
        }
        self.commands.push_back(Command::Connect { to: self.server, timeout_ms });
    }

    /// The oracles that need to look into the device.
    fn look(&mut self, now: Instant) {
        let mut accounts = self.accounts.borrow_mut();
        let outbox = self.session.outbox();
        let (listening, timeout_ms) = (self.listening, self.session.timeout_ms());
        accounts.up.acknowledged_to(outbox.len(), |since| listening.proves(since, timeout_ms, now));
        if outbox.len() > OUTBOX as usize {
            accounts.violation(|| format!("the device has {} messages in an outbox of {OUTBOX}", outbox.len()));
        }
        drop(accounts);
        self.look_at_link(now);
    }

    /// The oracles that need to look at the time although nothing happens.
    pub(crate) fn look_at_link(&mut self, now: Instant) {
        if self.session.is_up()
            && let Some(silent) = self.listening.too_silent(self.profile, true, self.session.timeout_ms(), now)
        {
            self.listening.hear(now, b"");
            self.accounts.borrow_mut().up_and_dead(End::Device, silent, now);
        }
    }

    fn send_what_is_due(&mut self, now: Instant) {
        while self.traffic.every_ms > 0 && self.next_send <= now && now <= self.traffic.until {
            self.next_send = self.next_send.plus(self.traffic.every_ms);
            let ledger = &mut self.accounts.borrow_mut().up;
            self.application.send(&mut self.session, ledger, &mut self.text, now, &self.traffic);
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
        let now = self.port.read(now);
        (self.stream, self.ending) = (Some(stream), None);
        self.listening = Listening::new(now);
        self.supervisor.handle_connected();
        self.session.handle_connected(now, random);
        self.after_input(now);
    }

    fn handle_connect_failed(&mut self, now: Instant, failure: ConnectFailure) {
        let now = self.port.read(now);
        self.accounts.borrow_mut().backoff.failed(now);
        if self.application.seeded.is(Defect::NoBackoff) {
            self.connect(now, 5_000);
        } else if !self.application.seeded.is(Defect::GivesUp) {
            self.supervisor.handle_connect_failed(now, failure);
        }
        self.after_input(now);
    }

    fn handle_input(&mut self, now: Instant, stream: StreamId, bytes: &[u8]) -> usize {
        if self.stream != Some(stream) {
            return bytes.len();
        }
        let now = self.port.read(now);
        self.listening.hear(now, bytes);
        let mut at = 0;
        loop {
            let mut accounts = self.accounts.borrow_mut();
            let consumed = self.application.feed(&mut self.session, &mut accounts.down, now, &bytes[at..]);
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
            let now = self.port.read(now);
            self.session.handle_transmitted(now, bytes);
        }
    }

    fn handle_closed(&mut self, now: Instant, stream: StreamId) {
        if self.stream == Some(stream) {
            let now = self.port.read(now);
            self.session.handle_disconnected(now);
            self.after_input(now);
        }
    }

    fn handle_timeout(&mut self, now: Instant, stream: Option<StreamId>) {
        if stream.is_some() && self.application.seeded.is(Defect::TimersIgnored) {
            return;
        }
        let now = self.port.read(now);
        if stream.is_some() && stream == self.stream {
            self.session.handle_timeout(now);
        } else if stream.is_none() {
            self.supervisor.handle_timeout(now);
            self.send_what_is_due(now);
        }
        self.after_input(now);
    }

    fn poll_transmit(&mut self, stream: StreamId, buffer: &mut [u8]) -> usize {
        if self.stream.or(self.ending) != Some(stream) {
            return 0;
        }
        match self.application.transmit(buffer) {
            0 => self.session.poll_transmit(buffer),
            written => written,
        }
    }

    fn poll_timeout(&self, stream: Option<StreamId>) -> Option<Instant> {
        if stream.is_some() && self.application.seeded.is(Defect::TimersIgnored) {
            return None;
        }
        let deadline = if let Some(stream) = stream {
            self.session.poll_timeout().filter(|_| self.stream == Some(stream)).map(|deadline| deadline.at)
        } else {
            let send = (self.traffic.every_ms > 0 && self.next_send <= self.traffic.until).then_some(self.next_send);
            self.supervisor.poll_timeout().into_iter().chain(send).min()
        };
        deadline.map(|deadline| self.port.deadline(deadline))
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
