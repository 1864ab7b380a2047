//! Two ends, the bytes between them, and everything that can happen next.

use super::end::{Acting, End, Place, Restart, Seen};
use super::family::{Class, Defect, Family};
use super::flow::{Broken, Flow};
use super::rebased::Rebased;
use holdline_proto::{Client, Instant, Outbox, Server};
use stateright::{Model, Property};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The application sends its next message.
    Send(Side),
    /// The next line arrives.
    Read(Side),
    /// The application takes the next message.
    Accept(Side),
    Flush(Side),
    /// A store with the seeded defect commits its cursor.
    CommitCursor(Side),
    Connect,
    /// The server has read all that a client wrote before it closed.
    Eof,
    /// The link breaks; the server may notice only when the client is back.
    Cut {
        noticed: bool,
    },
    BackUp(Side),
    Crash {
        side: Side,
        restart: Restart,
        noticed: bool,
    },
    /// A line on its way to this side is lost.
    Lose(Side, usize),
    /// Time passes until the next deadline of either end.
    Wait,
}

#[derive(Clone, Debug, PartialEq)]
pub struct World {
    pub client: End<Client>,
    pub server: End<Server>,
    pub to_server: Flow,
    pub to_client: Flow,
    /// Bytes on their way, by direction.
    pub up: Vec<u8>,
    pub down: Vec<u8>,
    /// Whether the server can still read what the client wrote.
    pub open: bool,
    /// Whether the server has read the hello of the present link.
    pub greeted: bool,
    pub breaks: u8,
    pub losses: u8,
    pub late: u8,
    pub now: Instant,
    pub broken: Option<Broken>,
}

impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut state = Rebased::new(state, self.now);
        self.client.hash(&mut state);
        self.server.hash(&mut state);
        (&self.to_server, &self.to_client, &self.up, &self.down).hash(&mut state);
        (self.open, self.greeted, self.breaks, self.losses, self.late, self.broken).hash(&mut state);
    }
}

/// Where the model's time begins: no other number of a state is as large, which is how an instant is told from them.
pub const DAWN: u64 = 1 << 40;

impl World {
    pub fn new(family: &Family) -> Self {
        Self {
            client: End::new(family),
            server: End::new(family),
            to_server: Flow::default(),
            to_client: Flow::default(),
            up: Vec::new(),
            down: Vec::new(),
            open: family.serial,
            greeted: false,
            breaks: family.breaks,
            losses: family.losses,
            late: family.late,
            now: Instant::from_millis(DAWN),
            broken: None,
        }
    }

    /// Everything has arrived and is acknowledged, and nothing is left to do.
    pub fn complete(&self, family: &Family) -> bool {
        self.to_server.sent == family.client.sends
            && self.to_client.sent == family.server.sends
            && self.client.session.is_up()
            && self.server.session.is_up()
            && self.client.session.outbox().is_empty()
            && self.server.session.outbox().is_empty()
            && self.to_server.complete()
            && self.to_client.complete()
    }

    fn break_link(&mut self) {
        self.up.clear();
        self.down.clear();
        self.open = false;
        self.greeted = false;
    }
}

/// The model: one family, explored from its single first state.
#[derive(Clone, Debug)]
pub struct Line {
    pub family: Family,
    pub seen: Arc<Seen>,
}

impl Line {
    fn client<'w>(&'w self, world: &'w mut World) -> Acting<'w, Client> {
        Acting {
            peer: world.server.past(),
            end: &mut world.client,
            outgoing: &mut world.to_server,
            incoming: &mut world.to_client,
            family: &self.family,
            seen: &self.seen,
            now: world.now,
            broken: &mut world.broken,
        }
    }

    fn server<'w>(&'w self, world: &'w mut World) -> Acting<'w, Server> {
        Acting {
            peer: world.client.past(),
            end: &mut world.server,
            outgoing: &mut world.to_client,
            incoming: &mut world.to_server,
            family: &self.family,
            seen: &self.seen,
            now: world.now,
            broken: &mut world.broken,
        }
    }

    /// Writes what is due at one side; a client that closed the link itself then hangs up.
    fn flush(&self, world: &mut World, side: Side) {
        let (mut up, mut down) = (std::mem::take(&mut world.up), std::mem::take(&mut world.down));
        match side {
            Side::Client => self.client(world).flush(&mut up),
            Side::Server if world.greeted => self.server(world).flush(&mut down),
            Side::Server => {}
        }
        if !self.family.serial && !world.client.session.has_link() {
            down.clear();
        }
        (world.up, world.down) = (up, down);
    }

    fn read(&self, world: &mut World, side: Side) {
        let stream = if side == Side::Client { &mut world.down } else { &mut world.up };
        let rest = stream.split_off(line_end(stream));
        let line = std::mem::replace(stream, rest);
        match side {
            Side::Client => {
                self.client(world).read(&line);
            }
            Side::Server => {
                let consumed = if world.greeted { self.server(world).read(&line) } else { 0 };
                if consumed == 0 {
                    world.greeted = self.server(world).greeted(&line);
                } else if !world.server.session.has_link() {
                    self.server_ended(world);
                }
            }
        }
    }

    fn server_ended(&self, world: &mut World) {
        if self.family.serial {
            world.greeted = false;
        } else {
            world.break_link();
            self.client(world).disconnected();
        }
    }

    fn crash(&self, world: &mut World, side: Side, restart: Restart, noticed: bool) {
        let (to_client, to_server) = (world.server.session.outbox().set(), world.client.session.outbox().set());
        if !self.family.serial {
            world.break_link();
        }
        match side {
            Side::Client => {
                self.client(world).crash(restart, to_client);
                if noticed && !self.family.serial {
                    self.server(world).disconnected();
                }
            }
            Side::Server => {
                self.server(world).crash(restart, to_server);
                world.greeted = false;
                if !self.family.serial {
                    self.client(world).disconnected();
                }
            }
        }
    }

    fn wait(&self, world: &mut World) {
        let deadlines = [world.client.session.poll_timeout(), world.server.session.poll_timeout()];
        if let Some(at) = deadlines.into_iter().flatten().map(|deadline| deadline.at).min() {
            world.now = world.now.max(at);
            self.client(world).timeout();
            self.server(world).timeout();
            world.greeted &= world.server.session.has_link();
        }
    }

    fn apply(&self, world: &mut World, action: Action) {
        let ends_link = matches!(action, Action::Cut { .. } | Action::Crash { .. } | Action::Connect);
        let unread = (self.family.defect == Some(Defect::UnreadKept) && ends_link).then(|| world.up.clone());
        match action {
            Action::Send(Side::Client) => self.client(world).send(),
            Action::Send(Side::Server) => self.server(world).send(),
            Action::Accept(Side::Client) => self.client(world).accept(),
            Action::Accept(Side::Server) => self.server(world).accept(),
            Action::Read(side) => self.read(world, side),
            Action::Flush(side) => self.flush(world, side),
            Action::CommitCursor(Side::Client) => world.client.late_cursor = None,
            Action::CommitCursor(Side::Server) => world.server.late_cursor = None,
            Action::Connect => {
                if !self.family.serial {
                    world.break_link();
                    world.open = true;
                }
                self.client(world).connect();
            }
            Action::Eof => {
                world.break_link();
                self.server(world).disconnected();
            }
            Action::Cut { noticed } => {
                world.breaks -= 1;
                world.break_link();
                self.client(world).disconnected();
                if noticed {
                    self.server(world).disconnected();
                }
            }
            Action::BackUp(Side::Client) => self.client(world).back_up(),
            Action::BackUp(Side::Server) => self.server(world).back_up(),
            Action::Crash { side, restart, noticed } => self.crash(world, side, restart, noticed),
            Action::Lose(side, index) => {
                world.losses -= 1;
                let stream = if side == Side::Client { &mut world.down } else { &mut world.up };
                let start = (0..index).fold(0, |at, _| at + line_end(&stream[at..]));
                let end = start + line_end(&stream[start..]);
                stream.drain(start..end);
            }
            Action::Wait => {
                world.late = world.late.saturating_sub(u8::from(!(world.up.is_empty() && world.down.is_empty())));
                self.wait(world);
            }
        }
        if let Some(unread) = unread {
            world.up = unread;
        }
        if !self.family.lazy {
            self.flush(world, Side::Client);
            self.flush(world, Side::Server);
        }
    }

    /// What goes on by itself, without anything going wrong.
    fn progress(&self, world: &World, actions: &mut Vec<Action>) {
        let serial = self.family.serial;
        let linked = world.client.session.has_link();
        let deaf = self.family.defect == Some(Defect::DeafServer);
        let candidates = [
            (!world.down.is_empty() && (linked || serial), Action::Read(Side::Client)),
            (!world.up.is_empty() && world.open && !deaf, Action::Read(Side::Server)),
            (!world.client.queue.is_empty(), Action::Accept(Side::Client)),
            (!world.server.queue.is_empty(), Action::Accept(Side::Server)),
            (world.to_server.sent < self.family.client.sends, Action::Send(Side::Client)),
            (world.to_client.sent < self.family.server.sends, Action::Send(Side::Server)),
            (self.family.lazy && world.client.has_output(), Action::Flush(Side::Client)),
            (self.family.lazy && world.greeted && linked && world.server.has_output(), Action::Flush(Side::Server)),
            (world.client.late_cursor.is_some(), Action::CommitCursor(Side::Client)),
            (world.server.late_cursor.is_some(), Action::CommitCursor(Side::Server)),
            (!linked, Action::Connect),
            (!linked && !serial && world.open && world.up.is_empty(), Action::Eof),
        ];
        actions.extend(candidates.into_iter().filter_map(|(enabled, action)| enabled.then_some(action)));
    }

    fn mishaps<R: Place>(&self, end: &End<R>, side: Side, peer_linked: bool, actions: &mut Vec<Action>) {
        if end.crashes == 0 {
            return;
        }
        let class = R::endpoint(&self.family).class;
        if class == Class::RolledBack && end.backup.is_none() {
            actions.push(Action::BackUp(side));
        }
        let restart = match class {
            Class::Volatile => Restart::Empty,
            Class::Durable => Restart::Durable,
            Class::RolledBack if end.backup.is_some() => Restart::RolledBack,
            Class::RolledBack => return,
        };
        actions.push(Action::Crash { side, restart, noticed: true });
        if side == Side::Client && peer_linked && !self.family.serial {
            actions.push(Action::Crash { side, restart, noticed: false });
        }
    }

    /// Whether everything arrives if nothing goes wrong any more, by one fair schedule.
    fn heals(&self, world: &World) -> bool {
        let mut world = world.clone();
        let mut actions = Vec::new();
        for _ in 0..HEALING_STEPS_MAX {
            if world.broken.is_some() {
                return true;
            }
            actions.clear();
            self.progress(&world, &mut actions);
            match actions.first() {
                Some(&action) => self.apply(&mut world, action),
                None if world.complete(&self.family) => return true,
                None if self.family.serial => self.apply(&mut world, Action::Wait),
                None => return false,
            }
        }
        false
    }
}

/// A schedule that has not healed by then never will: a link takes a few dozen steps, a timer one.
const HEALING_STEPS_MAX: usize = 500;

pub const NO_STANDSTILL: &str = "nothing stands still before everything has arrived";
pub const HEALS: &str = "once nothing goes wrong any more, everything arrives";

fn line_end(bytes: &[u8]) -> usize {
    bytes.iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |at| at + 1)
}

impl Model for Line {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(&self.family)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.broken.is_some() {
            return;
        }
        self.progress(world, actions);
        let client_linked = world.client.session.has_link();
        let server_linked = world.server.session.has_link();
        if world.breaks > 0 && world.open && client_linked {
            actions.push(Action::Cut { noticed: true });
            if server_linked {
                actions.push(Action::Cut { noticed: false });
            }
        }
        self.mishaps(&world.client, Side::Client, server_linked, actions);
        self.mishaps(&world.server, Side::Server, client_linked, actions);
        if world.losses > 0 {
            let lines = |stream: &[u8]| stream.iter().filter(|&&byte| byte == b'\n').count();
            actions.extend((0..lines(&world.down)).map(|index| Action::Lose(Side::Client, index)));
            actions.extend((0..lines(&world.up)).map(|index| Action::Lose(Side::Server, index)));
        }
        if self.family.serial && (world.late > 0 || (world.up.is_empty() && world.down.is_empty())) {
            actions.push(Action::Wait);
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        self.apply(&mut next, action);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        macro_rules! never {
            ($broken:ident) => {
                Property::always(Broken::$broken.name(), |_: &Line, world: &World| world.broken != Some(Broken::$broken))
            };
        }
        vec![
            never!(Twice),
            never!(Order),
            never!(Gap),
            never!(AckedUnaccepted),
            never!(FalseAlarm),
            never!(Fault),
            Property::always(NO_STANDSTILL, |line: &Line, world: &World| {
                let mut actions = Vec::new();
                line.progress(world, &mut actions);
                !actions.is_empty() || line.family.serial || world.complete(&line.family)
            }),
            Property::always(HEALS, |line: &Line, world: &World| {
                let spent = world.breaks + world.losses + world.late + world.client.crashes + world.server.crashes == 0;
                let settled = if line.family.serial { world.up.is_empty() && world.down.is_empty() } else { !world.open };
                !(spent && settled) || world.broken.is_some() || line.heals(world)
            }),
        ]
    }
}
