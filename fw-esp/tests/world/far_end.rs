//! The other end of the wire: a server that is a session of the protocol crate, and takes each message at once.

use super::wire::{Air, Connection, Radio};
use holdline_esp::Instant;
use holdline_proto::classic::{self, Flavour};
use holdline_proto::{DownReason, Event, Greeting, Incarnation, Server, ValidConfig, VecOutbox, native};
use std::rc::Rc;

/// Anything at the other end of the wire.
pub trait FarEnd {
    /// Does what is to be done now; whether that was anything.
    fn step(&mut self, now: Instant) -> bool;
    /// When there is something to do for the sake of time.
    fn deadline(&self) -> Option<u64>;
}

/// A server of the native wire.
pub struct Peer {
    pub session: native::Session<Server, VecOutbox>,
    port: Port,
    pub received: Vec<String>,
    pub events: Vec<Event>,
    /// Blank lines that it put on the wire.
    pub keepalives: usize,
    random: u64,
}

impl Peer {
    pub fn new(radio: &Radio, config: ValidConfig) -> Self {
        Self {
            session: native::Session::new(Server, config, Incarnation { boot: 7, epoch: 8 }, outbox()),
            port: Port::new(radio),
            received: Vec::new(),
            events: Vec::new(),
            keepalives: 0,
            random: 0x5eed,
        }
    }

    /// Forgets all, as a server without a store does when it is started again.
    pub fn restart(&mut self, config: ValidConfig) {
        self.hang_up();
        self.port.link = None;
        self.random += 1;
        let incarnation = Incarnation { boot: self.random, epoch: self.random };
        self.session = native::Session::new(Server, config, incarnation, outbox());
    }

    /// Ends the link without a word.
    pub fn hang_up(&mut self) {
        self.port.hang_up();
    }

    /// Why the last link ended.
    pub fn reason(&self) -> Option<DownReason> {
        self.events.iter().rev().find_map(|event| match event {
            Event::Down(reason) => Some(*reason),
            _ => None,
        })
    }

    fn is_checked(&self) -> bool {
        self.session.config().get().check
    }

    fn greet(&mut self, now: Instant) {
        if self.port.greeted {
            return;
        }
        let (check, tail) = (self.is_checked(), &self.port.tail);
        let line = |end: usize| end + 1;
        let taken = match Greeting::read(tail, check) {
            Ok(Some((Greeting::Native(hello), taken))) => {
                self.random += 1;
                self.session.handle_hello(now, self.random, &hello);
                self.port.greeted = true;
                taken
            }
            // What is left of an earlier link: whole lines, or one too long to be a greeting.
            Ok(_) if check => tail.iter().rposition(|&byte| byte == b'\n').map_or(0, line),
            Err(_) if check => tail.iter().position(|&byte| byte == b'\n').map_or(tail.len(), line),
            _ => 0,
        };
        self.port.tail.drain(..taken);
    }

    fn feed(&mut self, now: Instant) {
        let bytes = std::mem::take(&mut self.port.tail);
        let mut at = 0;
        while at < bytes.len() {
            let input = self.session.handle_input(now, &bytes[at..]);
            let (consumed, receipt) = (input.consumed, input.message.and_then(|message| message.receipt));
            if let Some(message) = input.message {
                self.received.push(message.text.into());
            }
            if let Some(receipt) = receipt {
                self.session.accept(receipt);
            }
            self.collect();
            at += consumed;
            if consumed == 0 {
                break;
            }
        }
        self.port.tail = bytes[at..].to_vec();
    }

    fn collect(&mut self) {
        while let Some(event) = self.session.poll_event() {
            self.events.push(event);
        }
    }
}

impl FarEnd for Peer {
    fn step(&mut self, now: Instant) -> bool {
        let mut moved = self.port.accept();
        if self.port.link.is_none() {
            return moved;
        }
        let mut buffer = [0; 2048];
        if self.port.air.black_hole.get() {
            moved |= self.deadline().is_some_and(|at| at <= now.as_millis());
            self.session.handle_timeout(now);
            self.collect();
            self.session.poll_transmit(&mut buffer);
            return moved;
        }
        moved |= self.port.read();
        self.greet(now);
        if self.port.greeted {
            self.feed(now);
            if self.port.has_ended() {
                self.session.handle_disconnected(now);
            }
            self.session.handle_timeout(now);
            self.collect();
            let written = self.session.poll_transmit(&mut buffer);
            self.session.handle_transmitted(now, written);
            self.port.write(&buffer[..written]);
            self.keepalives += buffer[..written].split_inclusive(|&byte| byte == b'\n').filter(|line| line.len() == 1).count();
            self.collect();
            moved |= written > 0;
        } else {
            // The link of before may be open still, for all that the session knows.
            self.session.handle_timeout(now);
            self.collect();
        }
        let is_over = self.port.greeted && !self.session.has_link();
        if is_over && self.is_checked() && !self.port.has_ended() {
            // As over a wire, the next hello may come here.
            (self.port.greeted, moved) = (false, true);
        } else if is_over || self.port.has_ended() {
            self.session.handle_disconnected(now);
            self.collect();
            self.hang_up();
            self.port.link = None;
        }
        moved
    }

    fn deadline(&self) -> Option<u64> {
        self.session.poll_timeout().map(|deadline| deadline.at.as_millis())
    }
}

/// A server of a classic wire.
pub struct ClassicPeer {
    pub session: classic::Session<Server, VecOutbox>,
    port: Port,
    pub received: Vec<String>,
    /// Native hellos, to an original the ids of clients that it does not know.
    pub strangers: u32,
}

impl ClassicPeer {
    pub fn new(radio: &Radio, flavour: Flavour, config: ValidConfig) -> Self {
        let session = classic::Session::new(Server, flavour, config, outbox());
        Self { session, port: Port::new(radio), received: Vec::new(), strangers: 0 }
    }

    /// Ends the link without a word.
    pub fn hang_up(&mut self) {
        self.port.hang_up();
    }

    fn greet(&mut self, now: Instant) {
        match Greeting::read(&self.port.tail, false) {
            Ok(Some((Greeting::Classic(_), taken))) => {
                self.session.handle_id(now);
                self.port.tail.drain(..taken);
                self.port.greeted = true;
            }
            // Whoever it is, it gets keepalives.
            Ok(Some((Greeting::Native(_), taken))) => {
                self.strangers += 1;
                self.port.tail.drain(..taken);
                self.port.write(b"\n");
            }
            _ => {}
        }
    }

    fn feed(&mut self, now: Instant) {
        let mut at = 0;
        while at < self.port.tail.len() {
            let input = self.session.handle_input(now, &self.port.tail[at..]);
            at += input.consumed;
            if let Some(message) = input.message {
                self.received.push(message.text.into());
                if let Some(receipt) = message.receipt {
                    self.session.accept(receipt);
                }
            }
            while self.session.poll_event().is_some() {}
            if input.consumed == 0 {
                break;
            }
        }
        self.port.tail.drain(..at);
    }
}

impl FarEnd for ClassicPeer {
    fn step(&mut self, now: Instant) -> bool {
        let mut moved = self.port.accept() | self.port.read();
        if !self.port.greeted {
            self.greet(now);
        }
        if self.port.greeted && self.port.link.is_some() {
            self.feed(now);
            if self.port.has_ended() {
                self.session.handle_disconnected(now);
            }
            self.session.handle_timeout(now);
            let mut buffer = [0; 2048];
            let written = self.session.poll_transmit(&mut buffer);
            self.session.handle_transmitted(now, written);
            while self.session.poll_event().is_some() {}
            self.port.write(&buffer[..written]);
            moved |= written > 0;
            if !self.session.has_link() {
                self.hang_up();
            }
        }
        if self.port.has_ended() {
            self.port.link = None;
        }
        moved
    }

    fn deadline(&self) -> Option<u64> {
        self.session.poll_timeout().map(|deadline| deadline.at.as_millis())
    }
}

fn outbox() -> VecOutbox {
    VecOutbox::new(1_000, 1 << 20)
}

/// Where a server listens: the last who connected, and what of theirs it has not read.
struct Port {
    air: Rc<Air>,
    link: Option<Rc<Connection>>,
    tail: Vec<u8>,
    greeted: bool,
}

impl Port {
    fn new(radio: &Radio) -> Self {
        Self { air: Rc::clone(&radio.0), link: None, tail: Vec::new(), greeted: false }
    }

    /// Takes who connected, instead of who did before; whether anybody did.
    fn accept(&mut self) -> bool {
        let Some(link) = self.air.incoming.borrow_mut().pop_front() else { return false };
        self.hang_up();
        (self.link, self.tail, self.greeted) = (Some(link), Vec::new(), false);
        true
    }

    /// Takes what has come; whether that is anything.
    fn read(&mut self) -> bool {
        let before = self.tail.len();
        if let Some(link) = &self.link {
            self.tail.extend(link.up.borrow_mut().bytes.drain(..));
        }
        self.tail.len() > before
    }

    /// Puts on the wire what it takes.
    fn write(&self, bytes: &[u8]) {
        let Some(link) = &self.link else { return };
        for &byte in bytes {
            if link.down.borrow().ended {
                break;
            }
            if !self.air.pass() {
                link.end();
                break;
            }
            let mut pipe = link.down.borrow_mut();
            pipe.bytes.push_back(byte);
            if let Some(waker) = pipe.reader.take() {
                waker.wake();
            }
        }
    }

    fn has_ended(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.up.borrow().ended)
    }

    fn hang_up(&self) {
        if let Some(link) = &self.link {
            link.end();
        }
    }
}
