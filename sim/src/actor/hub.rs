//! The server: a session for each client id, and an application that talks to all of them.

use super::accounts::Shared;
use super::aftermath::End;
use super::application::{Application, Traffic, write_text};
use super::flash::{Flash, flash};
use super::listening::Listening;
use super::profile::Profile;
use super::store::{OUTBOX, Store};
use crate::defect::{Defect, Seeded};
use crate::ledger::{Delivery, Mark, Placed};
use crate::world::{Command, Machine, StreamId};
use holdline_proto::{
    ByeCode, ClientId, ConnectFailure, DownReason, Event, Greeting, Incarnation, Instant, Outbox, Server, Session, ValidConfig,
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
    streams: Streams,
    traffic: Traffic,
    /// When it was last told the time.
    now: Instant,
    next_send: Instant,
    commands: VecDeque<Command>,
    dirty: Vec<StreamId>,
    text: String,
}

#[derive(Debug)]
struct Line {
    session: Session<Server, Store>,
    accounts: Shared,
    application: Application,
    stream: Option<StreamId>,
    listening: Listening,
}

#[derive(Clone, Copy, Debug)]
struct Owner {
    random: u64,
    /// The line whose hello came on this stream.
    line: Option<usize>,
}

/// The streams that are open, by their numbers: they are looked up several times for every segment.
#[derive(Debug, Default)]
struct Streams(Vec<Option<Owner>>);

impl Streams {
    fn get(&self, stream: StreamId) -> Option<Owner> {
        self.0.get(stream.0 as usize).copied().flatten()
    }

    fn insert(&mut self, stream: StreamId, owner: Owner) {
        let index = stream.0 as usize;
        if self.0.len() <= index {
            self.0.resize(index + 1, None);
        }
        self.0[index] = Some(owner);
    }

    fn remove(&mut self, stream: StreamId) {
        if let Some(owner) = self.0.get_mut(stream.0 as usize) {
            *owner = None;
        }
    }
}

/// What a durable server has in its store, device by device.
#[derive(Clone, Debug)]
pub struct HubMemory {
    pub(crate) lines: Vec<Kept>,
}

/// What it has of one device.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    /// `None`: the record cannot be read.
    pub(crate) flash: Option<Flash>,
    /// Where both ends were then, down and up.
    pub(crate) marks: [Mark; 2],
}

impl Hub {
    /// What a durable server would find after a stop now; `None` in the classic profiles.
    pub(crate) fn memory(&self) -> Option<HubMemory> {
        let lines = self.lines.iter().map(|line| {
            let accounts = line.accounts.borrow();
            Some(Kept { flash: Some(flash(&line.session)?), marks: [accounts.down.mark(), accounts.up.mark()] })
        });
        Some(HubMemory { lines: lines.collect::<Option<_>>()? })
    }

    /// What it would find if it stopped while it committed one more message for each device; see [`Flash::torn`].
    pub(crate) fn torn_memory(&mut self, slots: usize, mut random: impl FnMut() -> u64) -> Option<HubMemory> {
        let mut memory = self.memory()?;
        for (line, kept) in self.lines.iter_mut().zip(&mut memory.lines) {
            let mut accounts = line.accounts.borrow_mut();
            let number = accounts.down.next_number(Delivery::Reliable);
            write_text(&mut self.text, Delivery::Reliable, number, self.traffic.length);
            let is_committing = self.traffic.every_ms > 0 && line.session.send(self.now, &self.text).is_ok();
            let found = flash(&line.session)?.torn(kept.flash.take()?, slots, random(), accounts.seeded);
            if is_committing && found.as_ref().is_some_and(|found| found.is_new) {
                accounts.down.sent(Delivery::Reliable, Placed::Queued, self.now);
            }
            kept.flash = found.map(|found| found.flash);
        }
        Some(memory)
    }

    /// Gives a server that has just started what its store holds.
    pub(crate) fn restore(&mut self, memory: HubMemory) {
        for (line, kept) in self.lines.iter_mut().zip(memory.lines) {
            if let Some(flash) = kept.flash {
                let (snapshot, outbox) = flash.open(line.application.seeded);
                line.session = Session::Native(native::Session::restore(Server, self.config, self.boot, snapshot, outbox));
            }
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
            streams: Streams::default(),
            traffic,
            now,
            next_send: now.plus(traffic.every_ms),
            commands: VecDeque::new(),
            dirty: Vec::new(),
            text: String::new(),
        };
        for (id, accounts) in devices {
            let seeded = accounts.borrow().seeded;
            let session = hub.session(seeded);
            hub.by_id.insert(id.as_str().to_owned(), hub.lines.len());
            let (application, listening) = (Application::new(seeded, &traffic), Listening::new(now));
            hub.lines.push(Line { session, accounts: Rc::clone(accounts), application, stream: None, listening });
        }
        hub
    }

    fn session(&mut self, seeded: Seeded) -> Session<Server, Store> {
        let outbox = Store::new(seeded);
        match self.profile.flavour() {
            None => {
                let incarnation = Incarnation { boot: self.boot, epoch: self.random.next_u64() };
                Session::Native(native::Session::new(Server, self.config, incarnation, outbox))
            }
            Some(flavour) => Session::Classic(classic::Session::new(Server, flavour, self.config, outbox)),
        }
    }

    /// Says goodbye to everybody, as a server that stops in order, and asks each to stay away for about `retry_ms`.
    pub fn close_all(&mut self, retry_ms: u32) {
        for index in 0..self.lines.len() {
            // HL-0128
            let retry_ms = retry_ms / 2 + (self.random.next_u64() % u64::from(retry_ms.max(1))) as u32;
            let line = &mut self.lines[index];
            line.session.close(ByeCode::Closing, retry_ms);
            self.dirty.extend(line.stream);
            self.after_input(index);
        }
    }

    fn greet(&mut self, now: Instant, stream: StreamId, bytes: &[u8]) -> usize {
        let Some(owner) = self.streams.get(stream) else { return bytes.len() };
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
            self.streams.remove(old);
            self.close(old);
        }
        self.streams.insert(stream, Owner { line: Some(index), ..owner });
        self.lines[index].listening = Listening::new(now);
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
        let now = self.now;
        let line = &mut self.lines[index];
        let mut ended = None;
        let shared = Rc::clone(&line.accounts);
        let accounts = &mut *shared.borrow_mut();
        while let Some(event) = line.session.poll_event() {
            match event {
                Event::Up { .. } => accounts.came_up(End::Server, now),
                Event::Down(reason) => {
                    line.application.drop_datagrams();
                    accounts.went_down(End::Server, now, true);
                    if reason != DownReason::Takeover {
                        ended = line.stream.take();
                    }
                }
                _ => {}
            }
            line.application.hear(event, End::Server, accounts);
        }
        let (listening, timeout_ms) = (line.listening, line.session.timeout_ms());
        let held = line.session.outbox().len();
        accounts.down.acknowledged_to(held, |since| listening.proves(since, timeout_ms, now));
        if held > OUTBOX as usize {
            accounts.violation(|| format!("the server has {held} messages in an outbox of {OUTBOX}"));
        }
        if let Some(stream) = ended {
            self.close(stream);
        }
    }

    /// The oracles that need to look at the time although nothing happens.
    pub(crate) fn look_at_links(&mut self, now: Instant) {
        for line in &mut self.lines {
            if line.session.is_up()
                && let Some(silent) = line.listening.too_silent(self.profile, false, line.session.timeout_ms(), now)
            {
                line.listening.hear(now, b"");
                line.accounts.borrow_mut().up_and_dead(End::Server, silent, now);
            }
        }
    }

    /// The line whose present link this stream carries.
    fn line(&self, stream: StreamId) -> Option<usize> {
        self.streams.get(stream)?.line.filter(|&index| self.lines[index].stream == Some(stream))
    }
}

impl Machine for Hub {
    fn handle_opened(&mut self, now: Instant, stream: StreamId, _incoming: bool, random: u64) {
        self.now = now;
        self.streams.insert(stream, Owner { random, line: None });
    }

    fn handle_connect_failed(&mut self, _now: Instant, _failure: ConnectFailure) {}

    fn handle_input(&mut self, now: Instant, stream: StreamId, bytes: &[u8]) -> usize {
        self.now = now;
        let index = match self.streams.get(stream) {
            Some(Owner { line: None, .. }) => return self.greet(now, stream, bytes),
            Some(Owner { line: Some(index), .. }) if self.lines[index].stream == Some(stream) => index,
            _ => return bytes.len(),
        };
        self.lines[index].listening.hear(now, bytes);
        let mut at = 0;
        loop {
            let line = &mut self.lines[index];
            let mut accounts = line.accounts.borrow_mut();
            let consumed = line.application.feed(&mut line.session, &mut accounts.up, now, &bytes[at..]);
            drop(accounts);
            at += consumed;
            self.after_input(index);
            if consumed == 0 || at == bytes.len() || self.line(stream).is_none() {
                return at;
            }
        }
    }

    fn handle_transmitted(&mut self, now: Instant, stream: StreamId, bytes: usize) {
        self.now = now;
        if let Some(index) = self.line(stream) {
            self.lines[index].session.handle_transmitted(now, bytes);
        }
    }

    fn handle_closed(&mut self, now: Instant, stream: StreamId) {
        self.now = now;
        if let Some(index) = self.line(stream) {
            self.lines[index].session.handle_disconnected(now);
            self.after_input(index);
        }
        self.streams.remove(stream);
    }

    fn handle_timeout(&mut self, now: Instant, stream: Option<StreamId>) {
        self.now = now;
        if let Some(stream) = stream {
            if let Some(index) = self.line(stream) {
                if self.lines[index].application.seeded.is(Defect::ServerTimersIgnored) {
                    return;
                }
                self.lines[index].session.handle_timeout(now);
                self.after_input(index);
            }
            return;
        }
        while self.traffic.every_ms > 0 && self.next_send <= now && now <= self.traffic.until {
            self.next_send = self.next_send.plus(self.traffic.every_ms);
            for line in &mut self.lines {
                let ledger = &mut line.accounts.borrow_mut().down;
                line.application.send(&mut line.session, ledger, &mut self.text, now, &self.traffic);
                self.dirty.extend(line.stream);
            }
        }
        if now > self.traffic.until {
            self.next_send = now.plus(1);
        }
        self.look_at_links(now);
    }

    fn poll_transmit(&mut self, stream: StreamId, buffer: &mut [u8]) -> usize {
        // Also for a link that has just ended: its last line is still to be written.
        match self.streams.get(stream).and_then(|owner| owner.line) {
            Some(index) if self.lines[index].stream.is_none_or(|current| current == stream) => {
                let line = &mut self.lines[index];
                match line.application.transmit(buffer) {
                    0 => line.session.poll_transmit(buffer),
                    written => written,
                }
            }
            _ => 0,
        }
    }

    fn poll_timeout(&self, stream: Option<StreamId>) -> Option<Instant> {
        match stream {
            Some(stream) => {
                let line = &self.lines[self.line(stream)?];
                if line.application.seeded.is(Defect::ServerTimersIgnored) {
                    return None;
                }
                line.session.poll_timeout().map(|deadline| deadline.at)
            }
            None => (self.traffic.every_ms > 0 && self.next_send <= self.traffic.until).then_some(self.next_send),
        }
    }

    fn poll_command(&mut self) -> Option<Command> {
        let command = self.commands.pop_front();
        if let Some(Command::Close(stream)) = command {
            self.streams.remove(stream);
        }
        command
    }

    fn poll_dirty(&mut self) -> Option<StreamId> {
        self.dirty.pop()
    }
}
