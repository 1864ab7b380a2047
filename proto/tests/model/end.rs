//! One end: a real session, the adapter and application around it, and its store.

use super::family::{Class, Defect, Endpoint, Family};
use super::flow::{Broken, Flow};
use super::texts::{MESSAGES, Set, Texts, letter, message};
use holdline_proto::{
    ByeCode, Client, ClientId, Config, DownReason, Event, Greeting, Incarnation, Instant, Keeps, OnForgotten, PeerFault, Receipt,
    Role, Server, ValidConfig, native::Session, native::Snapshot,
};
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Clone, Debug, PartialEq)]
pub struct End<R> {
    pub session: Session<R, Texts>,
    /// Messages that were received and not yet taken.
    pub queue: Vec<(usize, Receipt)>,
    pub backup: Option<Backup>,
    pub crashes: u8,
    /// How many random numbers were used, so that none is used twice.
    drawn: u8,
    past: Past,
    /// The cursor that a store still has, where it is committed later than the message (a seeded defect).
    pub late_cursor: Option<Snapshot>,
}

/// What happened to an end's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Past {
    restarted: bool,
    /// A restart lost everything.
    forgot: bool,
    /// A restart brought back an older store.
    rolled_back: bool,
}

impl Past {
    fn impaired(self) -> bool {
        self.forgot || self.rolled_back
    }
}

/// A durable store: what a session needs to go on, and what the application keeps beside it.
#[derive(Clone, Debug, PartialEq)]
pub struct Backup {
    snapshot: Snapshot,
    outbox: Texts,
    taken: [u8; MESSAGES],
    sent: u8,
    numbers: [(u8, u8); MESSAGES],
}

/// How the two ends differ in the model.
pub trait Place: Role + Clone {
    fn new() -> Self;
    fn endpoint(family: &Family) -> &Endpoint;
    const FIRST_EPOCH: u64;
}

impl Place for Client {
    fn new() -> Self {
        Self { id: ClientId::new("d").expect("one letter is a client id") }
    }
    fn endpoint(family: &Family) -> &Endpoint {
        &family.client
    }
    const FIRST_EPOCH: u64 = 10;
}

impl Place for Server {
    fn new() -> Self {
        Self
    }
    fn endpoint(family: &Family) -> &Endpoint {
        &family.server
    }
    const FIRST_EPOCH: u64 = 20;
}

/// What happened at least once, so that no property holds only because nothing ever happens.
#[derive(Debug, Default)]
pub struct Seen {
    pub repeated: AtomicU64,
    pub lost: AtomicU64,
    pub peer_reset: AtomicU64,
    pub own_reset: AtomicU64,
    pub peer_forgot: AtomicU64,
    pub takeover: AtomicU64,
    pub outage: AtomicU64,
    pub mute: AtomicU64,
    pub new_hello: AtomicU64,
}

impl Seen {
    /// What never happened.
    pub fn never(&self) -> Vec<&'static str> {
        let all = [
            (&self.repeated, "repeated"),
            (&self.lost, "lost"),
            (&self.peer_reset, "peer reset"),
            (&self.own_reset, "own reset"),
            (&self.peer_forgot, "peer forgot"),
            (&self.takeover, "takeover"),
            (&self.outage, "outage"),
            (&self.mute, "mute"),
            (&self.new_hello, "new hello"),
        ];
        all.into_iter().filter(|(seen, _)| seen.load(Ordering::Relaxed) == 0).map(|(_, name)| name).collect()
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl<R: Place> End<R> {
    pub fn new(family: &Family) -> Self {
        Self {
            session: Session::new(
                R::new(),
                config::<R>(family),
                Incarnation { boot: 1, epoch: R::FIRST_EPOCH },
                Texts::default(),
            ),
            queue: Vec::new(),
            backup: None,
            crashes: R::endpoint(family).crashes,
            drawn: 1,
            past: Past::default(),
            late_cursor: None,
        }
    }

    /// A number never drawn before by this end. It stays on offer until the session makes it an epoch, or says it to name a link: a
    /// drawn number that is not used leaves no trace.
    pub fn fresh(&self) -> u64 {
        R::FIRST_EPOCH + u64::from(self.drawn)
    }

    pub fn past(&self) -> Past {
        self.past
    }
}

impl<R: Hash> Hash for End<R> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.session.hash(state);
        self.queue.hash(state);
        self.backup
            .as_ref()
            .map(|backup| (fields(&backup.snapshot), backup.outbox, backup.taken, backup.sent, backup.numbers))
            .hash(state);
        (self.crashes, self.drawn, self.past).hash(state);
        self.late_cursor.as_ref().map(fields).hash(state);
    }
}

fn fields(snapshot: &Snapshot) -> impl Hash + use<> {
    let Snapshot { epoch, acked, acked_sum, contacted, peer_epoch, accepted, accepted_sum, peer_boot } = *snapshot;
    (epoch, acked, acked_sum, contacted, peer_epoch, accepted, accepted_sum, peer_boot)
}

fn config<R: Place>(family: &Family) -> ValidConfig {
    let keeps = if R::endpoint(family).class == Class::Volatile { Keeps::None } else { Keeps::Both };
    let config = Config::new().window(2).max_line(512).keeps(keeps).check(family.serial).on_forgotten(family.on_forgotten);
    config.validate().expect("the model's configuration is in range")
}

/// How an end comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// It remembers nothing.
    Empty,
    /// Its store is as it was.
    Durable,
    /// Its store is the backup.
    RolledBack,
}

/// An end with what it touches while it acts.
pub struct Acting<'w, R> {
    pub end: &'w mut End<R>,
    pub outgoing: &'w mut Flow,
    pub incoming: &'w mut Flow,
    pub peer: Past,
    pub family: &'w Family,
    pub seen: &'w Seen,
    pub now: Instant,
    pub broken: &'w mut Option<Broken>,
}

impl<R: Place> Acting<'_, R> {
    fn expect(&mut self, result: Result<(), Broken>) {
        if let Err(broken) = result {
            self.broken.get_or_insert(broken);
        }
    }

    fn must(&mut self, holds: bool, or: Broken) {
        self.expect(if holds { Ok(()) } else { Err(or) });
    }

    /// Lets the session do something, then reads its events and compares its outbox with what it was.
    fn observe<T>(&mut self, act: impl FnOnce(&mut Session<R, Texts>) -> T) -> T {
        let held = *self.end.session.outbox();
        let epoch = self.end.session.snapshot().epoch;
        let result = act(&mut self.end.session);
        let mut dropped_and_told = false;
        while let Some(event) = self.end.session.poll_event() {
            dropped_and_told |= self.told(event, epoch);
        }
        let snapshot = self.end.session.snapshot();
        self.end.drawn += u8::from(snapshot.epoch != epoch);
        let gone = held.set().without(self.end.session.outbox().set());
        let pruned = self.outgoing.pruned(gone, dropped_and_told);
        self.expect(pruned);
        self.outgoing.numbered(snapshot.epoch, snapshot.acked, self.end.session.outbox());
        result
    }

    /// Judges an event; whether it says that messages of the outbox were dropped.
    fn told(&mut self, event: Event, epoch: u64) -> bool {
        match event {
            Event::PeerReset => {
                count(&self.seen.peer_reset);
                self.must(self.peer.impaired(), Broken::FalseAlarm);
            }
            Event::OwnReset { dropped } => {
                count(&self.seen.own_reset);
                self.must(self.end.past.rolled_back, Broken::FalseAlarm);
                self.outgoing.sender_renumbered(self.end.session.outbox().set());
                return dropped > 0;
            }
            Event::PeerForgot { dropped, .. } => {
                count(&self.seen.peer_forgot);
                // A durable peer that restarts before it took the stream up cannot be told from one that forgot it.
                self.must(self.peer.restarted, Broken::FalseAlarm);
                self.outgoing.told_forgotten(epoch, self.end.session.acked());
                return dropped;
            }
            Event::LostOutgoing { from, to } => {
                let told = self.outgoing.told_sender(epoch, from, to);
                self.expect(told);
                self.must(self.peer.impaired(), Broken::FalseAlarm);
            }
            Event::LostIncoming { from, to } => {
                count(&self.seen.lost);
                let told = self.incoming.told_receiver(self.end.session.snapshot().peer_epoch, from, to);
                self.expect(told);
                // What a sender drops by policy is told as lost too.
                let skips = self.family.on_forgotten == OnForgotten::Skip;
                self.must(self.end.past.impaired() || skips, Broken::FalseAlarm);
            }
            Event::Down(reason) => self.went_down(reason),
            _ => {}
        }
        false
    }

    fn went_down(&mut self, reason: DownReason) {
        let counter = match reason {
            DownReason::Takeover => &self.seen.takeover,
            DownReason::Outage | DownReason::HelloTimeout => &self.seen.outage,
            DownReason::NewHello => &self.seen.new_hello,
            DownReason::Fault(PeerFault::Mute) => &self.seen.mute,
            DownReason::Disconnected | DownReason::Reset | DownReason::Bye { code: ByeCode::Reset, .. } => return,
            DownReason::Bye { code: ByeCode::Fault(PeerFault::Mute), .. } if self.family.serial => return,
            _ => return self.must(false, Broken::Fault),
        };
        count(counter);
        let on_time = matches!(reason, DownReason::Takeover);
        self.must(on_time || self.family.serial, Broken::Fault);
    }

    pub fn send(&mut self) {
        let text = letter(usize::from(self.outgoing.sent));
        let now = self.now;
        self.outgoing.sent += 1;
        self.observe(|session| session.send(now, text)).expect("the outbox has room for every message");
    }

    /// One line arrives. Returns how much of it was consumed.
    pub fn read(&mut self, line: &[u8]) -> usize {
        let now = self.now;
        let input = self.observe(|session| session.handle_input(now, line));
        if let Some((text, receipt)) = input.message.and_then(|message| Some((message.text, message.receipt?))) {
            self.end.queue.push((message(text), receipt));
            if self.family.defect == Some(Defect::AckOnReceipt) {
                self.observe(|session| session.accept(receipt));
            }
        }
        input.consumed
    }

    /// The application takes the oldest message that waits. A durable one commits it together with the cursor.
    pub fn accept(&mut self) {
        let newest_first = self.family.defect == Some(Defect::NewestFirst);
        let (message, receipt) = self.end.queue.remove(if newest_first { self.end.queue.len() - 1 } else { 0 });
        if self.family.defect == Some(Defect::CursorApart) {
            self.end.late_cursor = Some(self.end.session.snapshot());
        }
        self.observe(|session| session.accept(receipt));
        if self.incoming.taken[message] > 0 {
            count(&self.seen.repeated);
        }
        let taken = self.incoming.take(message, receipt.epoch);
        self.expect(taken);
    }

    pub fn disconnected(&mut self) {
        let now = self.now;
        self.observe(|session| session.handle_disconnected(now));
    }

    pub fn timeout(&mut self) {
        let now = self.now;
        self.observe(|session| session.handle_timeout(now));
    }

    /// Writes what is due.
    pub fn flush(&mut self, wire: &mut Vec<u8>) {
        let now = self.now;
        let mut buffer = [0; 1024];
        loop {
            let written = self.observe(|session| {
                let written = session.poll_transmit(&mut buffer);
                session.handle_transmitted(now, written);
                written
            });
            if written == 0 {
                return;
            }
            wire.extend_from_slice(&buffer[..written]);
        }
    }

    /// What the store holds now: everything is committed as it happens, before the next byte leaves.
    fn store(&self) -> Backup {
        Backup {
            snapshot: self.end.session.snapshot(),
            outbox: *self.end.session.outbox(),
            taken: self.incoming.taken,
            sent: self.outgoing.sent,
            numbers: self.outgoing.numbers,
        }
    }

    pub fn back_up(&mut self) {
        self.end.backup = Some(self.store());
    }

    /// The program ends and starts again. `unacked`: what the peer's outbox holds.
    pub fn crash(&mut self, restart: Restart, unacked: Set) {
        self.end.crashes -= 1;
        self.end.past.restarted = true;
        self.end.queue.clear();
        let store = self.store();
        let backup = self.end.backup.take();
        let config = config::<R>(self.family);
        let boot = u64::from(1 + R::endpoint(self.family).crashes - self.end.crashes);
        // A sender that skips does not repeat, unless its memory was lost as well as the receiver's.
        let redelivers = self.family.on_forgotten == OnForgotten::Redeliver;
        let (held_repeat, unacked_repeat) = (redelivers || self.peer.forgot, redelivers || self.peer.rolled_back);
        let mut restored = match restart {
            Restart::Empty => {
                let reused = self.family.defect == Some(Defect::ReusedEpoch);
                let epoch = if reused { R::FIRST_EPOCH } else { self.end.fresh() };
                self.end.drawn += u8::from(!reused);
                self.end.past.forgot = true;
                self.end.session = Session::new(R::new(), config, Incarnation { boot, epoch }, Texts::default());
                self.outgoing.sender_forgot(0, [(0, 0); MESSAGES], Set::default(), held_repeat);
                self.incoming.receiver_crashed(None, unacked, unacked_repeat, self.family.serial);
                return;
            }
            Restart::Durable => store.clone(),
            Restart::RolledBack => backup.expect("a backup was taken"),
        };
        if let Some(late) = self.end.late_cursor.take() {
            let Snapshot { peer_epoch, accepted, accepted_sum, .. } = late;
            restored.snapshot = Snapshot { peer_epoch, accepted, accepted_sum, ..restored.snapshot };
        }
        if self.family.defect == Some(Defect::NeedlessEpoch) {
            restored.snapshot.epoch = self.end.fresh();
        }
        self.end.past.rolled_back |= restart == Restart::RolledBack && restored != store;
        // That a link was ever up matters to a sender that skips.
        let sending = |store: &Backup| {
            let Snapshot { epoch, acked, contacted, .. } = store.snapshot;
            (epoch, acked, store.outbox, store.sent, redelivers || contacted)
        };
        if sending(&restored) != sending(&store) {
            self.outgoing.sender_forgot(restored.sent, restored.numbers, restored.outbox.set(), held_repeat);
        }
        self.incoming.receiver_crashed(Some(restored.taken), unacked, unacked_repeat, self.family.serial);
        self.end.session = Session::restore(R::new(), config, boot, restored.snapshot, restored.outbox);
    }
}

impl Acting<'_, Client> {
    pub fn connect(&mut self) {
        let (now, fresh) = (self.now, self.end.fresh());
        self.observe(|session| session.handle_connected(now, fresh));
        self.end.drawn += u8::from(self.family.serial);
    }
}

impl Acting<'_, Server> {
    /// The first line of a link arrives. Whether it was a hello.
    pub fn greeted(&mut self, line: &[u8]) -> bool {
        let (now, fresh) = (self.now, self.end.fresh());
        match Greeting::read(line, self.family.serial) {
            Ok(Some((Greeting::Native(hello), _))) => {
                self.observe(|session| session.handle_hello(now, fresh, &hello));
                true
            }
            Ok(None) => false,
            _ => {
                self.must(false, Broken::Fault);
                false
            }
        }
    }
}

impl<R: Place> End<R> {
    /// Whether something is due to be written.
    pub fn has_output(&self) -> bool {
        self.session.clone().poll_transmit(&mut [0; 1024]) > 0
    }
}
