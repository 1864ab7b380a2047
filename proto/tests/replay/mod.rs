//! A classic session in the place of one of two original programs, fed with what the other one said, in virtual time.
#![allow(dead_code, unreachable_pub, reason = "each test program uses its own part")]
#![allow(clippy::panic, reason = "a story that cannot go on ends its test")]

pub mod lone;
pub mod original;
pub mod recording;

use holdline_proto::classic::{Flavour, Session, Snapshot};
use holdline_proto::{
    Client, ClientId, Config, DownReason, Event, Greeting, Instant, Role, SendError, Server, SliceOutbox, ValidConfig,
};
use original::Original;
use recording::{Fate, Recording, Row, Side};

pub type Outbox = SliceOutbox<Vec<u8>>;

/// The part that a session plays.
pub trait Plays: Role + Sized {
    const SIDE: Side;
    fn role() -> Self;
    fn connected(session: &mut Session<Self, Outbox>, now: Instant);
}

impl Plays for Client {
    const SIDE: Side = Side::Client;
    fn role() -> Self {
        Self { id: ClientId::new("a").expect("a valid id") }
    }
    fn connected(session: &mut Session<Self, Outbox>, now: Instant) {
        session.handle_connected(now);
    }
}

impl Plays for Server {
    const SIDE: Side = Side::Server;
    fn role() -> Self {
        Self
    }
    fn connected(session: &mut Session<Self, Outbox>, now: Instant) {
        session.handle_id(now);
    }
}

/// What a replay came to.
#[derive(Debug, Default)]
pub struct Story {
    /// What our application was given.
    pub got: Vec<String>,
    /// What our application sent, and the session took.
    pub sent: Vec<String>,
    /// What our application sent, and the session refused.
    pub refused: Vec<(String, SendError)>,
    /// What the application of the original on the other side would have been given.
    pub delivered: Vec<String>,
    pub events: Vec<(u64, Event)>,
    /// How many of our messages are acknowledged.
    pub acked: u64,
    /// Every line that our side wrote, with its time, id lines and keepalives left out.
    pub said: Vec<(u64, String)>,
}

impl Story {
    pub fn downs(&self) -> Vec<(u64, DownReason)> {
        let downs = self.events.iter().filter_map(|(at, event)| match event {
            Event::Down(reason) => Some((*at, *reason)),
            _ => None,
        });
        downs.collect()
    }
}

struct Replay<R> {
    now: u64,
    session: Session<R, Outbox>,
    config: ValidConfig,
    flavour: Flavour,
    story: Story,
    peer: Original,
    /// The link that is open, and whether our side has taken it up.
    link: Option<(u32, bool)>,
    input: Vec<u8>,
    hole: Option<Hole>,
    /// Whether the link is half-open: the original has left it.
    is_dead: bool,
    to_lose: Vec<Vec<u8>>,
    to_double: Vec<Vec<u8>>,
    /// Ids of messages read and not yet seen acknowledged, 2020.
    owed: Vec<u8>,
}

/// A hole that is open, and what it keeps.
struct Hole {
    delays: bool,
    kept: Vec<(u8, String)>,
}

/// Plays `recording` with a session of ours in the place of `R`'s side.
pub fn replay<R: Plays>(recording: &Recording, build: impl Fn(Config) -> Config) -> Story {
    let flavour = recording.flavour;
    let base = Config::new().timeout_ms(recording.timeout_ms).max_line(32_768);
    let config = build(base).validate().expect("the test's configuration is in range");
    let mut replay = Replay::<R> {
        now: 0,
        session: session(flavour, config),
        config,
        flavour,
        story: Story::default(),
        peer: Original::new(flavour, R::SIDE, config.get().timeout_ms),
        link: None,
        input: Vec::new(),
        hole: None,
        is_dead: false,
        to_lose: recording.lines_with_fate(R::SIDE, Fate::Lost),
        to_double: recording.lines_with_fate(R::SIDE, Fate::Doubled),
        owed: Vec::new(),
    };
    for (at, row) in &recording.rows {
        replay.wait_until(*at);
        replay.apply(row);
        replay.speak();
    }
    replay.story.acked = replay.session.acked();
    replay.story.delivered = std::mem::take(&mut replay.peer.delivered);
    replay.story
}

fn session<R: Plays>(flavour: Flavour, config: ValidConfig) -> Session<R, Outbox> {
    Session::restore(R::role(), flavour, config, Snapshot::default(), SliceOutbox::new(vec![0; 262_144]))
}

impl<R: Plays> Replay<R> {
    fn instant(&self) -> Instant {
        Instant::from_millis(self.now)
    }

    fn wait_until(&mut self, at: u64) {
        while let Some(due) = self.session.poll_timeout().map(|deadline| deadline.at.as_millis()).filter(|&due| due < at) {
            self.now = due;
            self.session.handle_timeout(self.instant());
            let next = self.session.poll_timeout().map(|deadline| deadline.at);
            assert!(next.is_none_or(|next| next > self.instant()), "the next deadline is later than now");
            self.speak();
        }
        self.now = at;
    }

    fn apply(&mut self, row: &Row) {
        match row {
            Row::Open { link } => {
                self.link = Some((*link, R::SIDE == Side::Client));
                self.input.clear();
                if R::SIDE == Side::Client {
                    self.disconnect();
                    self.take_up();
                }
            }
            Row::Bytes { fate: Fate::Passed, from, link, bytes } if *from != R::SIDE => {
                if self.link.is_some_and(|(open, _)| open == *link) {
                    self.hear(bytes);
                }
            }
            // What ends in a hole, the other side does not see.
            Row::Close { by, .. } if *by != R::SIDE && self.hole.as_ref().is_some_and(|hole| !hole.delays) => self.is_dead = true,
            Row::Close { link, .. } => {
                if self.link.is_some_and(|(open, _)| open == *link) {
                    self.disconnect();
                    self.link = None;
                }
            }
            Row::Hole { delays } => self.hole = Some(Hole { delays: *delays, kept: Vec::new() }),
            Row::Heal => {
                for (id, text) in self.hole.take().map_or(Vec::new(), |hole| hole.kept) {
                    self.peer.receives(id, &text);
                }
            }
            Row::Starts(side) if *side == R::SIDE => {
                self.session = session(self.flavour, self.config);
                self.peer.speaker_restarts();
            }
            Row::Starts(_) => self.peer.restarts(),
            Row::Sends { side, text } if *side == R::SIDE => match self.session.send(self.instant(), text) {
                Ok(_) => self.story.sent.push(text.clone()),
                Err(error) => self.story.refused.push((text.clone(), error)),
            },
            Row::Bytes { .. } | Row::Sends { .. } | Row::Got { .. } | Row::Told { .. } => {}
        }
    }

    fn take_up(&mut self) {
        let now = self.instant();
        R::connected(&mut self.session, now);
        // A takeover ends the old link.
        self.listen();
        self.is_dead = false;
        self.peer.link_opens(self.now);
    }

    fn disconnect(&mut self) {
        if self.session.has_link() {
            self.session.handle_disconnected(self.instant());
        }
        self.listen();
        self.input.clear();
        // What a hole kept for a link that is gone reaches nobody.
        if let Some(hole) = &mut self.hole {
            hole.kept.clear();
        }
    }

    /// Bytes of the original arrive, and an adapter hands them on.
    fn hear(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        if let Some((_, taken_up @ false)) = &mut self.link {
            let Ok(Some((Greeting::Classic(id), taken))) = Greeting::read(&self.input, false) else { return };
            assert_eq!(id, "a");
            *taken_up = true;
            self.input.drain(..taken);
            self.take_up();
            // The driver writes before it reads on.
            self.speak();
        }
        if self.session.has_link() && !self.input.is_empty() {
            self.peer.speaker_hears(self.now);
        }
        let now = self.instant();
        let input = std::mem::take(&mut self.input);
        let mut at = 0;
        loop {
            let step = self.session.handle_input(now, &input[at..]);
            let lines = &input[at..at + step.consumed];
            at += step.consumed;
            if let Some(message) = step.message {
                self.story.got.push(message.text.to_owned());
                assert!(self.session.accept(message.receipt.expect("every classic message has a receipt")));
            }
            self.listen();
            if step.consumed == 0 || !self.session.has_link() {
                break;
            }
            for line in lines.split(|&byte| byte == b'\n').filter(|line| line.len() > 2) {
                let digits = std::str::from_utf8(&line[..2]).expect("an original's id");
                self.owed.push(u8::from_str_radix(digits, 16).expect("an original's id"));
            }
        }
        self.input = input[at..].to_vec();
    }

    fn listen(&mut self) {
        while let Some(event) = self.session.poll_event() {
            self.story.events.push((self.now, event));
            if let Event::Down(_) = event {
                self.peer.link_ends(self.now);
                self.owed.clear();
            }
        }
    }

    /// Our output goes onto the wire, each poll a write of its own, and is judged there.
    fn speak(&mut self) {
        let mut buffer = vec![0; 65_536];
        loop {
            let written = self.session.poll_transmit(&mut buffer);
            self.listen();
            if written == 0 {
                break;
            }
            self.session.handle_transmitted(self.instant(), written);
            let messages = self.peer.reads(self.now, &buffer[..written]);
            self.check_acks(&buffer[..written]);
            for (id, text) in messages {
                self.carry(id, text);
            }
        }
        // HL-0042, HL-0043
        if self.flavour == Flavour::V2020 && self.session.has_link() {
            assert!(self.owed.is_empty(), "{}: not acknowledged: {:02x?}", self.now, self.owed);
        }
    }

    fn check_acks(&mut self, write: &[u8]) {
        for line in write.split(|&byte| byte == b'\n') {
            if !line.is_empty() && line != b"a" {
                self.story.said.push((self.now, String::from_utf8_lossy(line).into_owned()));
            }
            if let [_, _] = line {
                let id = u8::from_str_radix(&String::from_utf8_lossy(line), 16).expect("an ack is an id");
                assert!(self.owed.contains(&id), "{}: {id:02x} is acknowledged out of the blue", self.now);
                self.owed.retain(|&owed| owed != id);
            }
        }
    }

    /// The wire does to our messages what it did to the original's.
    fn carry(&mut self, id: u8, text: String) {
        let line = format!("{id:02x}{text}\n").into_bytes();
        let take =
            |lines: &mut Vec<Vec<u8>>| lines.iter().position(|other| *other == line).map(|index| lines.remove(index)).is_some();
        if take(&mut self.to_lose) || self.is_dead {
            return;
        }
        let times = if take(&mut self.to_double) { 2 } else { 1 };
        for _ in 0..times {
            match &mut self.hole {
                Some(hole) if hole.delays => hole.kept.push((id, text.clone())),
                Some(_) => {}
                None => self.peer.receives(id, &text),
            }
        }
    }
}
