//! Two sessions, their applications and their storage, in a world where anything breaks at any moment; and beside them the ledger of
//! what may be lost and what may come twice because of it.

use crate::support::{Outbox, drain, id, outbox_of, texts};
use holdline_proto::{
    Config, DownReason, Event, Greeting, Instant, Keeps, OnForgotten, PeerFault, Receipt, Role, Server, ValidConfig,
    native::{Session, Snapshot},
};
use std::collections::{BTreeSet, VecDeque};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

impl Side {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// The application sends a message.
    Send(Side),
    /// The session's output goes onto the wire.
    Speak(Side),
    /// So many bytes arrive.
    Hear(Side, usize),
    /// The application accepts so many of the messages that it holds.
    Accept(Side, usize),
    /// The client opens a new stream, if it has none; the server may not have noticed that the old one is gone.
    Connect,
    /// With checks, the client may begin anew on the stream that it has.
    GreetAgain,
    /// The stream breaks; one side is told.
    Break(Side),
    /// With checks, the stream loses the next line.
    Lose(Side),
    /// The program starts again with what its storage has.
    Restart(Side),
    /// Somebody copies the storage.
    Backup(Side),
    /// The program starts again with the copy.
    RollBack(Side),
    Wait(u32),
    /// Both sides are connected for a while, and accept what comes.
    Talk,
}

/// What both sides are like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) keeps: [Keeps; 2],
    pub(crate) policy: [OnForgotten; 2],
    pub(crate) window: [u16; 2],
    pub(crate) check: bool,
}

impl Setting {
    fn config(&self, side: Side) -> ValidConfig {
        let at = side as usize;
        let config = Config::new().keeps(self.keeps[at]).on_forgotten(self.policy[at]).window(self.window[at]).check(self.check);
        config.validate().expect("the setting is in range")
    }
}

/// What a storage holds: the session's cursors, its outbox, and what the application took in.
#[derive(Clone, Debug)]
struct Image {
    snapshot: Snapshot,
    outbox: Vec<String>,
    taken: Vec<u32>,
    sent: u32,
}

/// What is known of one side's sending stream by looking at both ends.
#[derive(Debug, Default)]
struct Ledger {
    /// Messages are numbered from 1 in the order in which the application sent them.
    sent: u32,
    accepted: BTreeSet<u32>,
    may_be_lost: BTreeSet<u32>,
    may_be_repeated: BTreeSet<u32>,
}

#[derive(Debug)]
struct End<R: Role> {
    session: Session<R, Outbox>,
    keeps: Keeps,
    inbox: Vec<u8>,
    wire: Vec<u8>,
    held: VecDeque<(Receipt, u32)>,
    taken: Vec<u32>,
    copy: Option<Image>,
    events: Vec<Event>,
    /// The epoch and number that was delivered last, where the next has to follow.
    cursor: Option<(u64, u64)>,
}

impl<R: Role> End<R> {
    fn new(role: R, config: ValidConfig, boot: u64) -> Self {
        let snapshot = Snapshot { epoch: boot + 50_000, ..Snapshot::default() };
        Self {
            session: Session::restore(role, config, boot, snapshot, outbox_of::<&str>(&[])),
            keeps: config.get().keeps,
            inbox: Vec::new(),
            wire: Vec::new(),
            held: VecDeque::new(),
            taken: Vec::new(),
            copy: None,
            events: Vec::new(),
            cursor: None,
        }
    }

    fn holds(&self) -> Vec<u32> {
        texts(self.session.outbox()).iter().map(|text| number(text)).collect()
    }

    fn image(&self, sent: u32) -> Image {
        let outbox = texts(self.session.outbox());
        Image { snapshot: self.session.snapshot(), outbox, taken: self.taken.clone(), sent }
    }

    /// Does something to the session; what the outbox loses by it must have been accepted, or dropped with an event.
    fn call<T>(&mut self, ledger: &mut Ledger, action: impl FnOnce(&mut Session<R, Outbox>) -> T) -> T {
        let before = self.holds();
        let result = action(&mut self.session);
        let held: BTreeSet<u32> = self.holds().into_iter().collect();
        let mut dropped = false;
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::PeerForgot { dropped: true, .. } => dropped = true,
                Event::OwnReset { dropped: count } => dropped |= count > 0,
                Event::PeerReset => self.cursor = None,
                Event::LostIncoming { to, .. } => self.cursor = self.cursor.map(|(epoch, seq)| (epoch, seq.max(to))),
                Event::Down(DownReason::Fault(fault)) => {
                    assert!(matches!(fault, PeerFault::Mute | PeerFault::Slow), "an honest peer was accused of {fault:?}");
                }
                _ => {}
            }
            self.events.push(event);
        }
        for gone in before.into_iter().filter(|number| !held.contains(number)) {
            if dropped {
                ledger.may_be_lost.insert(gone);
            } else {
                // What was dropped before comes back with an old copy, and is dropped again.
                let known = ledger.accepted.contains(&gone) || ledger.may_be_lost.contains(&gone);
                assert!(known, "message {gone} was acked before it was accepted");
            }
        }
        result
    }

    fn hear(&mut self, now: Instant, ledger: &mut Ledger) {
        let presented = std::mem::take(&mut self.inbox);
        let mut at = 0;
        loop {
            let told = self.events.len();
            let input = self.call(ledger, |session| session.handle_input(now, &presented[at..]));
            at += input.consumed;
            if let Some((receipt, text)) = input.message.and_then(|message| Some((message.receipt?, message.text))) {
                if let Some((epoch, seq)) = self.cursor {
                    assert_eq!((receipt.epoch, receipt.seq), (epoch, seq + 1), "out of order");
                }
                self.cursor = Some((receipt.epoch, receipt.seq));
                self.held.push_back((receipt, number(text)));
            }
            if input.consumed == 0 || self.events[told..].contains(&Event::Down(DownReason::NewHello)) {
                break;
            }
        }
        self.inbox = presented[at..].to_vec();
    }

    /// The application takes what it has held longest, each message committed together with the cursor.
    fn accept(&mut self, count: usize, incoming: &mut Ledger) {
        for (receipt, number) in self.held.drain(..count.min(self.held.len())) {
            self.session.accept(receipt);
            let repeated = incoming.may_be_repeated.contains(&number);
            assert!(repeated || !self.taken.contains(&number), "message {number} came twice: {:?}", self.taken);
            let in_order = self.taken.last().is_none_or(|&last| number > last);
            assert!(repeated || in_order, "message {number} came late: {:?}", self.taken);
            self.taken.push(number);
            incoming.accepted.insert(number);
        }
    }

    /// The program starts again; only what is kept is found in the image.
    fn restart(&mut self, role: R, fresh: u64, image: &Image) {
        let Image { snapshot, outbox, .. } = image;
        let mut found = Snapshot { epoch: fresh + 50_000, ..Snapshot::default() };
        if self.keeps.sent() {
            let Snapshot { epoch, acked, acked_sum, contacted, peer_boot, .. } = *snapshot;
            found = Snapshot { epoch, acked, acked_sum, contacted, peer_boot, ..found };
        }
        if self.keeps.seen() {
            let Snapshot { peer_epoch, accepted, accepted_sum, .. } = *snapshot;
            found = Snapshot { peer_epoch, accepted, accepted_sum, ..found };
            self.taken.clone_from(&image.taken);
        }
        let outbox = if self.keeps.sent() { outbox_of(outbox) } else { outbox_of::<&str>(&[]) };
        self.cursor = (found.peer_epoch != 0).then_some((found.peer_epoch, found.accepted));
        self.session = Session::restore(role, *self.session.config(), fresh, found, outbox);
        self.inbox.clear();
        self.held.clear();
    }

    fn speak(&mut self, now: Instant, ledger: &mut Ledger) {
        let Self { session, wire, .. } = self;
        drain(session, now, wire);
        self.call(ledger, |_| ());
    }
}

fn number(text: &str) -> u32 {
    text.parse().expect("a message is its number")
}

#[derive(Debug)]
pub(crate) struct World {
    setting: Setting,
    now: Instant,
    client: End<holdline_proto::Client>,
    server: End<Server>,
    /// Messages of the client, and of the server.
    ledgers: [Ledger; 2],
    greeted: bool,
    /// One of the programs is gone, and the stream with it.
    gone: bool,
    fresh: u64,
    restarted: bool,
    rolled_back: bool,
}

/// Calls a method of the end on this side with the ledger of what it sends.
macro_rules! at {
    ($world:expr, $side:expr, |$end:ident, $ledger:ident, $now:ident| $body:expr) => {{
        let [ups, downs] = &mut $world.ledgers;
        let $now = $world.now;
        match $side {
            Side::Client => {
                let ($end, $ledger) = (&mut $world.client, ups);
                $body
            }
            Side::Server => {
                let ($end, $ledger) = (&mut $world.server, downs);
                $body
            }
        }
    }};
}

impl World {
    pub(crate) fn new(setting: Setting) -> Self {
        Self {
            setting,
            now: Instant::from_millis(1_000),
            client: End::new(id(), setting.config(Side::Client), 1),
            server: End::new(Server, setting.config(Side::Server), 2),
            ledgers: Default::default(),
            greeted: false,
            gone: false,
            fresh: 100,
            restarted: false,
            rolled_back: false,
        }
    }

    fn fresh(&mut self) -> u64 {
        self.fresh += 1;
        self.fresh
    }

    pub(crate) fn step(&mut self, step: Step) {
        match step {
            Step::Send(side) => at!(self, side, |end, ledger, now| {
                if end.session.send(now, &(ledger.sent + 1).to_string()).is_ok() {
                    ledger.sent += 1;
                }
            }),
            Step::Speak(side) => {
                at!(self, side, |end, ledger, now| end.speak(now, ledger));
                if self.gone {
                    self.client.wire.clear();
                    self.server.wire.clear();
                }
            }
            Step::Hear(Side::Client, bytes) => {
                move_front(&mut self.server.wire, &mut self.client.inbox, bytes);
                self.client.hear(self.now, &mut self.ledgers[0]);
            }
            Step::Hear(Side::Server, bytes) => {
                move_front(&mut self.client.wire, &mut self.server.inbox, bytes);
                self.server_hears();
            }
            Step::Accept(Side::Client, count) => self.client.accept(count, &mut self.ledgers[1]),
            Step::Accept(Side::Server, count) => self.server.accept(count, &mut self.ledgers[0]),
            Step::Connect if !self.client.session.has_link() => self.connect(true),
            Step::GreetAgain if self.setting.check && !self.gone => self.connect(false),
            Step::Connect | Step::GreetAgain => {}
            Step::Break(side) => at!(self, side, |end, ledger, now| {
                end.call(ledger, |session| session.handle_disconnected(now));
            }),
            Step::Lose(side) if self.setting.check => at!(self, side, |end, _ledger, _now| lose_line(&mut end.wire)),
            Step::Lose(_) => {}
            Step::Restart(side) => {
                let image = at!(self, side, |end, ledger, _now| end.image(ledger.sent));
                self.restart(side, &image);
            }
            Step::Backup(side) => {
                at!(self, side, |end, ledger, _now| end.copy = Some(end.image(ledger.sent)));
            }
            Step::RollBack(side) => {
                if let Some(image) = at!(self, side, |end, _ledger, _now| end.copy.clone()) {
                    self.rolled_back = true;
                    self.restart(side, &image);
                }
            }
            Step::Wait(ms) => {
                self.now = self.now.plus(ms);
                for side in [Side::Client, Side::Server] {
                    at!(self, side, |end, ledger, now| end.call(ledger, |session| session.handle_timeout(now)));
                }
            }
            Step::Talk => self.talk(4),
        }
    }

    fn talk(&mut self, rounds: usize) {
        self.step(Step::Connect);
        for _ in 0..rounds {
            for side in [Side::Client, Side::Server] {
                self.step(Step::Speak(side));
                self.step(Step::Hear(side.other(), usize::MAX));
                self.step(Step::Accept(side.other(), usize::MAX));
            }
        }
    }

    fn connect(&mut self, new_stream: bool) {
        if new_stream {
            for bytes in [&mut self.client.wire, &mut self.server.wire, &mut self.client.inbox, &mut self.server.inbox] {
                bytes.clear();
            }
            self.greeted = false;
            self.gone = false;
        }
        let (now, fresh) = (self.now, self.fresh());
        self.client.call(&mut self.ledgers[0], |session| session.handle_connected(now, fresh));
    }

    fn server_hears(&mut self) {
        loop {
            self.greeted &= self.server.session.has_link() || !self.setting.check;
            if !self.greeted {
                let bytes = std::mem::take(&mut self.server.inbox);
                match Greeting::read(&bytes, self.setting.check) {
                    Ok(Some((Greeting::Native(hello), taken))) => {
                        let (now, fresh) = (self.now, self.fresh());
                        self.server.call(&mut self.ledgers[1], |session| session.handle_hello(now, fresh, &hello));
                        self.server.inbox = bytes[taken..].to_vec();
                        self.server.speak(now, &mut self.ledgers[1]);
                        self.greeted = true;
                    }
                    Ok(None) => {
                        self.server.inbox = bytes;
                        return;
                    }
                    other => panic!("an honest client said {other:?}"),
                }
            }
            self.server.hear(self.now, &mut self.ledgers[1]);
            if self.server.session.has_link() || !self.setting.check {
                return;
            }
        }
    }

    fn restart(&mut self, side: Side, image: &Image) {
        self.restarted = true;
        let fresh = self.fresh();
        let now = self.now;
        let [ups, downs] = &mut self.ledgers;
        match side {
            Side::Client => {
                forgive(ups, downs, &self.client, &self.server, image);
                self.client.restart(id(), fresh, image);
                self.server.call(downs, |session| session.handle_disconnected(now));
            }
            Side::Server => {
                forgive(downs, ups, &self.server, &self.client, image);
                self.server.restart(Server, fresh, image);
                self.client.call(ups, |session| session.handle_disconnected(now));
            }
        }
        self.client.wire.clear();
        self.server.wire.clear();
        self.server.inbox.clear();
        self.greeted = false;
        self.gone = true;
    }

    /// Nothing breaks any more, and both applications accept: in the end everything is where it belongs.
    pub(crate) fn heals(&mut self) {
        for _ in 0..8 {
            self.step(Step::Break(Side::Client));
            self.step(Step::Break(Side::Server));
            self.talk(40);
            if self.client.session.is_up() && self.server.session.is_up() {
                break;
            }
        }
        assert!(self.client.session.is_up() && self.server.session.is_up(), "the sessions do not come together");
        assert_eq!((self.client.holds(), self.server.holds()), (vec![], vec![]), "something is never acked");
        let [ups, downs] = &self.ledgers;
        for (ledger, taken) in [(ups, &self.server.taken), (downs, &self.client.taken)] {
            for number in 1..=ledger.sent {
                let there = taken.contains(&number) || ledger.may_be_lost.contains(&number);
                assert!(there, "message {number} of {} is lost: {taken:?}", ledger.sent);
            }
        }
        self.events_have_causes();
    }

    fn events_have_causes(&self) {
        let skips = self.setting.policy.contains(&OnForgotten::Skip);
        for event in self.client.events.iter().chain(&self.server.events) {
            let caused = match event {
                Event::PeerReset | Event::PeerForgot { .. } => self.restarted,
                Event::OwnReset { .. } | Event::LostOutgoing { .. } => self.rolled_back,
                Event::LostIncoming { .. } => self.rolled_back || skips,
                _ => true,
            };
            assert!(caused, "{event:?} for no reason");
        }
    }
}

/// Writes into the ledgers what this restart may cost.
fn forgive<R: Role, P: Role>(outgoing: &mut Ledger, incoming: &mut Ledger, end: &End<R>, peer: &End<P>, image: &Image) {
    let held: BTreeSet<u32> = end.holds().into_iter().collect();
    if end.keeps.sent() {
        let found: BTreeSet<u32> = image.outbox.iter().map(|text| number(text)).collect();
        // Given to a sender after the copy was made.
        outgoing.may_be_lost.extend(held.difference(&found));
        outgoing.may_be_lost.extend(image.sent + 1..=outgoing.sent);
        // A sender whose memory is too old sends all that it holds again.
        if image.snapshot != end.session.snapshot() || image.sent != outgoing.sent || held != found {
            outgoing.may_be_repeated.extend(&found);
        }
    } else {
        outgoing.may_be_lost.extend(&held);
    }
    let unacked: BTreeSet<u32> = peer.holds().into_iter().collect();
    if end.keeps.seen() {
        // The application had accepted them, and its memory of it is gone.
        incoming.may_be_lost.extend(end.taken.iter().skip(image.taken.len()).filter(|number| !unacked.contains(number)));
    } else if peer.session.config().get().on_forgotten == OnForgotten::Redeliver {
        incoming.may_be_repeated.extend(end.taken.iter().filter(|number| unacked.contains(number)));
    }
}

fn move_front(from: &mut Vec<u8>, to: &mut Vec<u8>, count: usize) {
    let count = count.min(from.len());
    to.extend(from.drain(..count));
}

fn lose_line(wire: &mut Vec<u8>) {
    let length = wire.iter().position(|&byte| byte == b'\n').map_or(wire.len(), |end| end + 1);
    wire.drain(..length);
}
