//! Holdline in the world: a device with its supervisor, the server, and the applications on both ends.

use crate::ledger::Ledger;
use crate::trace::Remark;
use crate::world::{Command, Machine, NodeId, StreamId};
use holdline_proto::{
    Action, ByeCode, Client, ClientId, ConnectFailure, Event, Greeting, Incarnation, Instant, Outbox, Role, Server, Session,
    Supervisor, SupervisorConfig, ValidConfig, VecOutbox, classic, native,
};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

/// Which wire a world speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Profile {
    /// Holdline's own.
    Native,
    /// micropython-iot since late January 2019.
    Classic2020,
    /// micropython-iot of January 2019.
    Classic2019,
}

impl Profile {
    /// All of them, the best first.
    pub const ALL: [Self; 3] = [Self::Native, Self::Classic2020, Self::Classic2019];

    /// The name used in SPEC.md.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Classic2020 => "classic-2020",
            Self::Classic2019 => "classic-2019",
        }
    }

    fn flavour(self) -> Option<classic::Flavour> {
        match self {
            Self::Native => None,
            Self::Classic2020 => Some(classic::Flavour::V2020),
            Self::Classic2019 => Some(classic::Flavour::V2019),
        }
    }
}

/// What a device's storage does when its power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// It keeps everything: each change is committed before it takes effect.
    Durable,
    /// It keeps nothing.
    Volatile,
}

/// The two accounts of one device: what it sends, and what it is sent.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    /// Device → server.
    pub up: Ledger,
    /// Server → device.
    pub down: Ledger,
    /// Links that came up.
    pub links: u32,
    /// When the session went down, while it is.
    pub down_since: Option<Instant>,
    /// Every pause between two links, in milliseconds.
    pub pauses: Vec<u64>,
    /// What broke a promise that is not about messages.
    pub violations: Vec<String>,
    /// When the device tried to connect, in the last minute.
    attempts: VecDeque<Instant>,
    /// Whether the device's session was up when it was last heard of.
    is_up: bool,
    /// What the actors do wrong on purpose.
    pub(crate) defect: Option<Defect>,
}

/// Something that the actors do wrong, to see that an oracle notices.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// A session's timers are never served at the device.
    TimersIgnored,
    /// Every tenth message is accepted on receipt, and lost before the application has it.
    AcceptedOnReceipt,
    /// What is read back after a loss of power is an older commit.
    CursorNotCommitted,
    /// A device without memory draws the same epoch again.
    EpochReused,
    /// A failed connection is tried again at once.
    NoBackoff,
    /// Every tenth message is given to the application twice.
    GivenTwice,
    /// The end of a link is not told.
    DownUntold,
}

/// A device that keeps to its backoff does not connect more often than this in any minute.
const ATTEMPTS_A_MINUTE: usize = 60;
/// Messages that an outbox holds.
const OUTBOX: u32 = 256;

impl Accounts {
    fn violation(&mut self, what: impl FnOnce() -> String) {
        if self.violations.len() < 16 {
            self.violations.push(what());
        }
    }

    fn tried(&mut self, now: Instant) {
        self.attempts.push_back(now);
        while self.attempts.front().is_some_and(|&first| now.since(first) > 60_000) {
            self.attempts.pop_front();
        }
        if self.attempts.len() > ATTEMPTS_A_MINUTE {
            self.attempts.clear();
            self.violation(|| {
                format!("more than {ATTEMPTS_A_MINUTE} attempts to connect in the minute before {} ms", now.as_millis())
            });
        }
    }

    fn came_up(&mut self) {
        if std::mem::replace(&mut self.is_up, true) {
            self.violation(|| "the session came up twice and never went down".into());
        }
    }

    pub(crate) fn went_down(&mut self) {
        self.is_up = false;
    }
}

/// Shared by the device and the server that talk to each other.
pub type Shared = Rc<RefCell<Accounts>>;

/// How often an application sends, and how fast it accepts.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    /// A message each so many milliseconds; 0: none.
    pub every_ms: u32,
    /// The length of each text, in bytes, at least 24.
    pub length: usize,
    /// No message after this instant.
    pub until: Instant,
}

/// One Holdline endpoint.
#[derive(Debug)]
pub enum Actor {
    /// A device.
    Device(Box<Device>),
    /// The server.
    Server(Box<Hub>),
}

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

/// What a durable device has in its flash.
#[derive(Clone, Debug)]
pub struct Flash {
    snapshot: native::Snapshot,
    texts: Vec<String>,
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

impl Flash {
    fn open(&self) -> (native::Snapshot, VecOutbox) {
        let mut outbox = VecOutbox::new(OUTBOX, 1 << 16);
        for text in &self.texts {
            // It was in an outbox of the same size.
            let _ = outbox.push(None, text);
        }
        (self.snapshot, outbox)
    }
}

fn flash<R: Role>(session: &Session<R, VecOutbox>) -> Option<Flash> {
    let Session::Native(session) = session else { return None };
    let texts = (0..session.outbox().len()).filter_map(|index| session.outbox().get(index));
    let texts = texts.filter_map(|text| std::str::from_utf8(text).ok()).map(str::to_owned).collect();
    Some(Flash { snapshot: session.snapshot(), texts })
}

fn incarnation(random: u64) -> Incarnation {
    let mut chance = crate::rng::SplitMix64::from_seed(random);
    Incarnation { boot: chance.next_u64(), epoch: chance.next_u64() }
}

/// Hands the next numbered message to a session; a full outbox holds the application up, and costs nothing.
fn send<R: Role>(session: &mut Session<R, VecOutbox>, ledger: &mut Ledger, text: &mut String, now: Instant, length: usize) {
    use std::fmt::Write;
    text.clear();
    let number = ledger.next_number();
    // Writing to a string cannot fail.
    let _ = write!(text, "{number} ");
    text.extend(std::iter::repeat_n('.', length.saturating_sub(text.len())));
    if session.send(now, text).is_ok() {
        ledger.sent();
    }
}

fn tell_drops(ledger: &mut Ledger, event: Event) {
    match event {
        Event::PeerForgot { from, to, dropped: true } => ledger.dropped(to + 1 - from),
        Event::OwnReset { dropped } => ledger.dropped(dropped),
        _ => {}
    }
}

/// Feeds bytes to a session; its application accepts at once.
fn feed<R: Role>(
    session: &mut Session<R, VecOutbox>,
    ledger: &mut Ledger,
    defect: Option<Defect>,
    now: Instant,
    bytes: &[u8],
) -> usize {
    let input = session.handle_input(now, bytes);
    if let Some(message) = input.message {
        if let Some(number) = message.text.split(' ').next().and_then(|number| number.parse().ok()) {
            let tenth = number % 10 == 0;
            if !(tenth && defect == Some(Defect::AcceptedOnReceipt)) {
                ledger.received(number);
            }
            if tenth && defect == Some(Defect::GivenTwice) {
                ledger.received(number);
            }
        }
        if let Some(receipt) = message.receipt {
            session.accept(receipt);
        }
    }
    input.consumed
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

/// The server: a session for each client id, and an application that talks to all of them.
#[derive(Debug)]
pub struct Hub {
    profile: Profile,
    config: ValidConfig,
    boot: u64,
    random: crate::rng::SplitMix64,
    lines: Vec<Line>,
    by_id: BTreeMap<String, usize>,
    by_stream: BTreeMap<StreamId, Owner>,
    traffic: Traffic,
    next_send: Instant,
    commands: VecDeque<Command>,
    dirty: Vec<StreamId>,
    text: String,
}

#[derive(Debug)]
struct Line {
    session: Session<Server, VecOutbox>,
    accounts: Shared,
    stream: Option<StreamId>,
}

#[derive(Clone, Copy, Debug)]
struct Owner {
    random: u64,
    /// The line whose hello came on this stream.
    line: Option<usize>,
}

/// What a durable server has in its store, device by device.
#[derive(Clone, Debug)]
pub struct HubMemory {
    lines: Vec<(Flash, VecDeque<u64>)>,
}

impl HubMemory {
    /// The numbers in the outbox for a device.
    pub(crate) fn numbers(&self, device: usize) -> &VecDeque<u64> {
        &self.lines[device].1
    }
}

impl Hub {
    /// What a durable server would find after a stop now; `None` in the classic profiles.
    pub(crate) fn memory(&self) -> Option<HubMemory> {
        let lines = self.lines.iter().map(|line| Some((flash(&line.session)?, line.accounts.borrow().down.held().clone())));
        Some(HubMemory { lines: lines.collect::<Option<_>>()? })
    }

    /// Gives a server that has just started what its store holds.
    pub(crate) fn restore(&mut self, memory: HubMemory) {
        for (line, (flash, _)) in self.lines.iter_mut().zip(memory.lines) {
            let (snapshot, outbox) = flash.open();
            line.session = Session::Native(native::Session::restore(Server, self.config, self.boot, snapshot, outbox));
        }
    }

    /// A server that starts at `now` without memory, for devices with these accounts.
    pub fn new(
        profile: Profile,
        config: ValidConfig,
        devices: &[(ClientId, Shared)],
        traffic: Traffic,
        now: Instant,
        random: u64,
    ) -> Self {
        let mut hub = Self {
            profile,
            config,
            boot: random,
            random: crate::rng::SplitMix64::from_seed(random),
            lines: Vec::new(),
            by_id: BTreeMap::new(),
            by_stream: BTreeMap::new(),
            traffic,
            next_send: now.plus(traffic.every_ms),
            commands: VecDeque::new(),
            dirty: Vec::new(),
            text: String::new(),
        };
        for (id, accounts) in devices {
            let session = hub.session();
            hub.by_id.insert(id.as_str().to_owned(), hub.lines.len());
            hub.lines.push(Line { session, accounts: Rc::clone(accounts), stream: None });
        }
        hub
    }

    fn session(&mut self) -> Session<Server, VecOutbox> {
        let outbox = VecOutbox::new(OUTBOX, 1 << 16);
        match self.profile.flavour() {
            None => {
                let incarnation = Incarnation { boot: self.boot, epoch: self.random.next_u64() };
                Session::Native(native::Session::new(Server, self.config, incarnation, outbox))
            }
            Some(flavour) => Session::Classic(classic::Session::new(Server, flavour, self.config, outbox)),
        }
    }

    /// Says goodbye to everybody, as a server that stops in order.
    pub fn close_all(&mut self, retry_ms: u32) {
        for index in 0..self.lines.len() {
            let line = &mut self.lines[index];
            line.session.close(ByeCode::Closing, retry_ms);
            self.dirty.extend(line.stream);
            self.after_input(index);
        }
    }

    fn greet(&mut self, now: Instant, stream: StreamId, bytes: &[u8]) -> usize {
        let Some(owner) = self.by_stream.get(&stream).copied() else { return bytes.len() };
        let (greeting, taken) = match Greeting::read(bytes, self.config.get().check) {
            Ok(Some(greeting)) => greeting,
            Ok(None) => return 0,
            Err(_) => {
                self.close(stream);
                return bytes.len();
            }
        };
        let id = match greeting {
            Greeting::Native(hello) => hello.client,
            Greeting::Classic(id) => id,
        };
        let Some(&index) = self.by_id.get(id) else {
            self.close(stream);
            return bytes.len();
        };
        if let Some(old) = self.lines[index].stream.replace(stream) {
            self.by_stream.remove(&old);
            self.close(old);
        }
        self.by_stream.insert(stream, Owner { line: Some(index), ..owner });
        if self.lines[index].session.handle_greeting(now, owner.random, &greeting).is_err() {
            self.close(stream);
            return bytes.len();
        }
        self.after_input(index);
        // What is said first is the welcome: the stream is pumped before more of it is read.
        taken
    }

    fn close(&mut self, stream: StreamId) {
        self.commands.push_back(Command::Close(stream));
    }

    fn after_input(&mut self, index: usize) {
        let line = &mut self.lines[index];
        let mut ended = None;
        while let Some(event) = line.session.poll_event() {
            match event {
                Event::Down(holdline_proto::DownReason::Takeover) => {}
                Event::Down(_) => ended = line.stream.take(),
                _ => tell_drops(&mut line.accounts.borrow_mut().down, event),
            }
        }
        line.accounts.borrow_mut().down.acknowledged_to(line.session.outbox().len());
        if let Some(stream) = ended {
            self.close(stream);
        }
    }

    /// The line whose present link this stream carries.
    fn line(&self, stream: StreamId) -> Option<usize> {
        self.by_stream.get(&stream)?.line.filter(|&index| self.lines[index].stream == Some(stream))
    }
}

impl Machine for Hub {
    fn handle_opened(&mut self, _now: Instant, stream: StreamId, _incoming: bool, random: u64) {
        self.by_stream.insert(stream, Owner { random, line: None });
    }

    fn handle_connect_failed(&mut self, _now: Instant, _failure: ConnectFailure) {}

    fn handle_input(&mut self, now: Instant, stream: StreamId, bytes: &[u8]) -> usize {
        let index = match self.by_stream.get(&stream) {
            Some(Owner { line: None, .. }) => return self.greet(now, stream, bytes),
            Some(Owner { line: Some(index), .. }) if self.lines[*index].stream == Some(stream) => *index,
            _ => return bytes.len(),
        };
        let mut at = 0;
        loop {
            let line = &mut self.lines[index];
            let mut accounts = line.accounts.borrow_mut();
            let defect = accounts.defect;
            let consumed = feed(&mut line.session, &mut accounts.up, defect, now, &bytes[at..]);
            drop(accounts);
            at += consumed;
            self.after_input(index);
            if consumed == 0 || at == bytes.len() || self.line(stream).is_none() {
                return at;
            }
        }
    }

    fn handle_transmitted(&mut self, now: Instant, stream: StreamId, bytes: usize) {
        if let Some(index) = self.line(stream) {
            self.lines[index].session.handle_transmitted(now, bytes);
        }
    }

    fn handle_closed(&mut self, now: Instant, stream: StreamId) {
        if let Some(index) = self.line(stream) {
            self.lines[index].session.handle_disconnected(now);
            self.after_input(index);
        }
        self.by_stream.remove(&stream);
    }

    fn handle_timeout(&mut self, now: Instant, stream: Option<StreamId>) {
        if let Some(stream) = stream {
            if let Some(index) = self.line(stream) {
                self.lines[index].session.handle_timeout(now);
                self.after_input(index);
            }
            return;
        }
        while self.traffic.every_ms > 0 && self.next_send <= now && now <= self.traffic.until {
            self.next_send = self.next_send.plus(self.traffic.every_ms);
            for line in &mut self.lines {
                send(&mut line.session, &mut line.accounts.borrow_mut().down, &mut self.text, now, self.traffic.length);
                self.dirty.extend(line.stream);
            }
        }
        if now > self.traffic.until {
            self.next_send = now.plus(1);
        }
    }

    fn poll_transmit(&mut self, stream: StreamId, buffer: &mut [u8]) -> usize {
        // Also for a link that has just ended: its last line is still to be written.
        match self.by_stream.get(&stream).and_then(|owner| owner.line) {
            Some(index) if self.lines[index].stream.is_none_or(|current| current == stream) => {
                self.lines[index].session.poll_transmit(buffer)
            }
            _ => 0,
        }
    }

    fn poll_timeout(&self, stream: Option<StreamId>) -> Option<Instant> {
        match stream {
            Some(stream) => self.lines[self.line(stream)?].session.poll_timeout().map(|deadline| deadline.at),
            None => (self.traffic.every_ms > 0 && self.next_send <= self.traffic.until).then_some(self.next_send),
        }
    }

    fn poll_command(&mut self) -> Option<Command> {
        let command = self.commands.pop_front();
        if let Some(Command::Close(stream)) = command {
            self.by_stream.remove(&stream);
        }
        command
    }

    fn poll_dirty(&mut self) -> Option<StreamId> {
        self.dirty.pop()
    }
}

macro_rules! both {
    ($actor:expr, $inner:ident => $do:expr) => {
        match $actor {
            Actor::Device($inner) => $do,
            Actor::Server($inner) => $do,
        }
    };
}

impl Machine for Actor {
    fn handle_opened(&mut self, now: Instant, stream: StreamId, incoming: bool, random: u64) {
        both!(self, inner => inner.handle_opened(now, stream, incoming, random));
    }
    fn handle_connect_failed(&mut self, now: Instant, failure: ConnectFailure) {
        both!(self, inner => inner.handle_connect_failed(now, failure));
    }
    fn handle_input(&mut self, now: Instant, stream: StreamId, bytes: &[u8]) -> usize {
        both!(self, inner => inner.handle_input(now, stream, bytes))
    }
    fn handle_transmitted(&mut self, now: Instant, stream: StreamId, bytes: usize) {
        both!(self, inner => inner.handle_transmitted(now, stream, bytes));
    }
    fn handle_closed(&mut self, now: Instant, stream: StreamId) {
        both!(self, inner => inner.handle_closed(now, stream));
    }
    fn handle_timeout(&mut self, now: Instant, stream: Option<StreamId>) {
        both!(self, inner => inner.handle_timeout(now, stream));
    }
    fn poll_transmit(&mut self, stream: StreamId, buffer: &mut [u8]) -> usize {
        both!(self, inner => inner.poll_transmit(stream, buffer))
    }
    fn poll_timeout(&self, stream: Option<StreamId>) -> Option<Instant> {
        both!(self, inner => inner.poll_timeout(stream))
    }
    fn poll_command(&mut self) -> Option<Command> {
        both!(self, inner => inner.poll_command())
    }
    fn poll_dirty(&mut self) -> Option<StreamId> {
        both!(self, inner => inner.poll_dirty())
    }
    fn poll_remark(&mut self) -> Option<Remark> {
        both!(self, inner => inner.poll_remark())
    }
}
