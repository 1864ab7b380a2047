//! The server: a session for each client id, and an application that talks to all of them.

use super::accounts::Shared;
use super::application::{OUTBOX, Traffic, feed, send, tell_drops};
use super::flash::{Flash, flash};
use super::profile::Profile;
use crate::world::{Command, Machine, StreamId};
use holdline_proto::{
    ByeCode, ClientId, ConnectFailure, Event, Greeting, Incarnation, Instant, Outbox, Server, Session, ValidConfig, VecOutbox,
    classic, native,
};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

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
