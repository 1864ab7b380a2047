//! Both directions of a connection with everything that is done to them, and no socket.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use super::chance::Chance;
use super::gate::{Front, Gate, Verdict, judge};
use super::hello::Hello;
use super::kind::{Action, Close, HalfOpen, Kind};
use super::listed::{Listed, Orders};
use super::pipe::Pipe;
use super::stage::{Item, Mark, Stage};
use super::toxic::Stream;

/// What is done to one connection.
///
/// A value, as the protocol's session is one: bytes and time go in, and [`next`](Self::next) says what to do with a socket.
///
/// ```text
///  received ─► stages: latency, bandwidth, slicer, trigger ─► gates: all others ─► next
/// ```
#[derive(Debug)]
pub(super) struct Link {
    connection: u64,
    chance: Chance,
    orders: Arc<Orders>,
    /// What lines have said about toxics, by name.
    overrules: BTreeMap<String, Overrule>,
    upstream: Half,
    downstream: Half,
    closing: Option<Close>,
    settled: u64,
    hello: Hello,
    /// Bytes that came, both ways, since it was last looked at.
    carried: u64,
    /// When the last ones before them came.
    used: Instant,
}

#[derive(Debug)]
struct Half {
    pipe: Pipe,
    gates: Vec<Gate>,
    /// The receiver is gone.
    deaf: bool,
}

#[derive(Debug, Clone, Copy)]
struct Overrule {
    active: bool,
    until: Option<Instant>,
}

/// What is done to a connection apart from its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    Open,
    /// Nothing gets to the server, so that a new connection does not either.
    Unreachable,
    HalfOpen(HalfOpen),
    /// A new connection gets this far and no further.
    TurnedAway(Kind),
    /// It is over.
    Closing(Close),
}

/// What is to be done with the socket that a direction leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Write these, and say how many [were sent](Link::sent).
    Write(Bytes),
    /// Close the sending side.
    Finish,
    /// Close both sockets; the connection is over.
    Close(Close),
    /// Close one socket and leave the other.
    HalfOpen(HalfOpen),
    /// Let a second device come that says this, because of the toxic with this number.
    Clone(u64, Bytes),
    /// Nothing before more is received, orders change, or the [deadline](Link::deadline) has come.
    Wait,
}

impl Link {
    /// The link of the connection with this number; it holds `capacity` bytes a direction at most.
    pub(super) fn new(connection: u64, chance: Chance, capacity: usize, orders: Arc<Orders>, now: Instant) -> Self {
        let half = || Half { pipe: Pipe::new(capacity), gates: Vec::new(), deaf: false };
        let (upstream, downstream) = (half(), half());
        let mut link = Self {
            connection,
            chance,
            orders,
            overrules: BTreeMap::new(),
            upstream,
            downstream,
            closing: None,
            settled: 0,
            hello: Hello::default(),
            carried: 0,
            used: now,
        };
        link.settle(now);
        link
    }

    /// How many bytes it takes in a direction; none if the sender is not to be read from.
    pub(super) fn room(&self, stream: Stream) -> usize {
        let half = self.half(stream);
        let admitted = half.gates.iter().map(|gate| gate.admits(half.pipe.received())).min().unwrap_or(u64::MAX);
        half.pipe.room().min(usize::try_from(admitted).unwrap_or(usize::MAX))
    }

    /// Whether it holds no byte of a direction.
    pub(super) fn is_empty(&self, stream: Stream) -> bool {
        self.half(stream).pipe.is_empty()
    }

    /// Bytes came, as many as there was [room](Self::room) for or less.
    pub(super) fn received(&mut self, stream: Stream, bytes: Bytes) {
        self.carried += bytes.len() as u64;
        if stream == Stream::Upstream {
            self.hello.read(&bytes);
        }
        self.half_mut(stream).pipe.push(bytes);
    }

    /// The sender of a direction has closed.
    pub(super) fn finished(&mut self, stream: Stream) {
        self.half_mut(stream).pipe.end(Item::Eof);
    }

    /// The sender of a direction is gone.
    pub(super) fn broken(&mut self, stream: Stream) {
        self.half_mut(stream).pipe.end(Item::Reset);
    }

    /// So many of the bytes of the last [`Step::Write`] were written.
    pub(super) fn sent(&mut self, stream: Stream, count: usize) {
        self.half_mut(stream).pipe.sent_bytes(count);
    }

    /// Things are different from now on.
    pub(super) fn order(&mut self, orders: Arc<Orders>, now: Instant) {
        self.orders = orders;
        self.settle(now);
    }

    /// The receiver of a direction takes nothing more: what still comes is lost, and the sender is told as if it were the other
    /// direction that broke.
    pub(super) fn refused(&mut self, stream: Stream) {
        self.half_mut(stream).deaf = true;
        self.broken(stream.other());
    }

    /// What is done to the connection apart from its bytes.
    pub(super) fn standing(&mut self, now: Instant) -> Standing {
        self.expire(now);
        if let Some(close) = self.closing {
            return Standing::Closing(close);
        }
        let half = &mut self.upstream;
        match judge(&mut half.gates, Front::Nothing, half.pipe.sent(), now) {
            Verdict::HalfOpen(half_open) => Standing::HalfOpen(half_open),
            Verdict::BlackHole => Standing::Unreachable,
            _ => half.gates.iter().find_map(Gate::turns_away).cloned().map_or(Standing::Open, Standing::TurnedAway),
        }
    }

    /// A number that is another one as soon as something in one direction has changed what is done in the other.
    pub(super) const fn settled(&self) -> u64 {
        self.settled
    }

    /// What is to be done at `now` in a direction.
    pub(super) fn next(&mut self, stream: Stream, now: Instant) -> Step {
        self.expire(now);
        loop {
            if let Some(close) = self.closing {
                return Step::Close(close);
            }
            if let Some((toxic, hello)) = self.clone_due(stream, now) {
                return Step::Clone(toxic, hello);
            }
            let half = self.half_mut(stream);
            let front = match half.pipe.front(now) {
                None => Front::Nothing,
                Some(Item::Data(_)) => Front::Data,
                Some(Item::Mark(_)) => Front::Mark,
                Some(Item::Eof | Item::Reset) => Front::End,
            };
            match judge(&mut half.gates, front, half.pipe.sent(), now) {
                Verdict::HalfOpen(half_open) => return Step::HalfOpen(half_open),
                Verdict::Hold | Verdict::BlackHole => return Step::Wait,
                Verdict::Close(close) => self.closing = Some(close),
                Verdict::Lose if front == Front::Data => half.pipe.drop_front(),
                Verdict::Pass(_) if half.deaf && front == Front::Data => half.pipe.drop_front(),
                Verdict::Lose => {
                    if let Some(step) = self.pass(stream, u64::MAX, now) {
                        return step;
                    }
                }
                Verdict::Pass(most) => {
                    if let Some(step) = self.pass(stream, most, now) {
                        return step;
                    }
                }
            }
        }
    }

    /// When there is something to do without anything having happened.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let gates = Stream::BOTH.into_iter().flat_map(|stream| &self.half(stream).gates).filter_map(Gate::due);
        let lines = self.overrules.values().filter_map(|overrule| overrule.until);
        let stages = Stream::BOTH.into_iter().filter_map(|stream| self.half(stream).pipe.deadline(now));
        let others = self.forgotten_at().into_iter().chain(self.clones_at());
        gates.chain(lines).chain(stages).chain(others).filter(|&due| due > now).min()
    }

    /// When it is forgotten if it carries nothing more.
    fn forgotten_at(&self) -> Option<Instant> {
        self.upstream.gates.iter().filter_map(Gate::idle).min().map(|idle| self.used + idle)
    }

    fn clones_at(&self) -> Option<Instant> {
        let hello = self.hello.passed()?;
        self.upstream.gates.iter().filter_map(|gate| gate.clones_at(hello)).min()
    }

    fn clone_due(&mut self, stream: Stream, now: Instant) -> Option<(u64, Bytes)> {
        let hello = self.hello.passed().filter(|_| stream == Stream::Upstream)?;
        let is_due = |gate: &&mut Gate| gate.clones_at(hello).is_some_and(|due| due <= now);
        let gate = self.upstream.gates.iter_mut().find(is_due)?;
        gate.has_cloned(now);
        Some((gate.id(), self.hello.line()))
    }

    /// Passes the front on; `None` if nothing is to be done for it.
    fn pass(&mut self, stream: Stream, most: u64, now: Instant) -> Option<Step> {
        let half = self.half_mut(stream);
        match half.pipe.front(now) {
            None => Some(Step::Wait),
            Some(Item::Data(bytes)) => {
                let count = bytes.len().min(usize::try_from(most).unwrap_or(usize::MAX));
                Some(Step::Write(bytes.slice(..count)))
            }
            Some(Item::Mark(mark)) => {
                let mark = Arc::clone(mark);
                half.pipe.drop_front();
                self.set_off(&mark, now);
                None
            }
            Some(Item::Reset) => Some(Step::Close(Close::Rst)),
            Some(Item::Eof) => {
                half.pipe.drop_front();
                if self.half(stream.other()).pipe.is_done() {
                    self.closing = Some(Close::Fin);
                }
                Some(Step::Finish)
            }
        }
    }

    fn set_off(&mut self, mark: &Mark, now: Instant) {
        tracing::info!(connection = self.connection, toxic = mark.toxic, action = ?mark.action, "a line has set off a toxic");
        let until = mark.lasts.map(|lasts| now + lasts);
        self.overrules.insert(mark.toxic.clone(), Overrule { active: mark.action == Action::Start, until });
        self.settle(now);
        // A cut in the other direction comes before the next byte of this one.
        for stream in Stream::BOTH {
            let half = self.half_mut(stream);
            if let Verdict::Close(close) = judge(&mut half.gates, Front::Nothing, half.pipe.sent(), now) {
                self.closing = Some(close);
            }
        }
    }

    fn expire(&mut self, now: Instant) {
        self.hello.sent(self.upstream.pipe.sent(), now);
        if std::mem::take(&mut self.carried) > 0 {
            self.used = now;
        } else if self.closing.is_none() && self.forgotten_at().is_some_and(|at| at <= now) {
            tracing::info!(connection = self.connection, "idle for too long, and forgotten");
            self.closing = Some(Close::Silent);
        }
        let before = self.overrules.len();
        self.overrules.retain(|_, overrule| overrule.until.is_none_or(|until| until > now));
        if self.overrules.len() != before {
            self.settle(now);
        }
    }

    /// Gives each toxic its place, and takes away the places of those that are no more.
    fn settle(&mut self, now: Instant) {
        self.settled += 1;
        if self.connection < self.orders.close_before {
            self.closing = Some(self.orders.close);
        }
        let orders = Arc::clone(&self.orders);
        for stream in Stream::BOTH {
            let listed: Vec<(&Listed, bool)> =
                orders.toxics.iter().filter(|toxic| toxic.is_in(stream)).map(|toxic| (&**toxic, self.is_active(toxic))).collect();
            // Gates in both directions draw the same, stages do not.
            let chance = self.chance;
            let half = self.half_mut(stream);
            half.settle_stages(&listed, chance.named(stream.name()));
            if half.settle_gates(&listed, chance, now) {
                self.closing.get_or_insert(Close::Fin);
            }
        }
    }

    fn is_active(&self, toxic: &Listed) -> bool {
        match self.overrules.get(toxic.toxic.name()) {
            Some(overrule) => overrule.active,
            None => toxic.takes(self.connection, self.chance),
        }
    }

    const fn half(&self, stream: Stream) -> &Half {
        match stream {
            Stream::Upstream => &self.upstream,
            Stream::Downstream => &self.downstream,
        }
    }

    const fn half_mut(&mut self, stream: Stream) -> &mut Half {
        match stream {
            Stream::Upstream => &mut self.upstream,
            Stream::Downstream => &mut self.downstream,
        }
    }
}

impl Half {
    fn settle_stages(&mut self, listed: &[(&Listed, bool)], chance: Chance) {
        let stages = self.pipe.stages();
        for stage in stages.iter_mut() {
            match listed.iter().find(|(toxic, _)| toxic.id == stage.id()) {
                Some((toxic, active)) => stage.set(toxic, *active),
                None => stage.retire(),
            }
        }
        for (toxic, active) in listed {
            if stages.iter().all(|stage| stage.id() != toxic.id) {
                stages.extend(Stage::new(toxic, *active, chance.named(toxic.toxic.name())));
            }
        }
    }

    /// Says whether the stream has lost bytes that a gate kept the receiver from missing.
    fn settle_gates(&mut self, listed: &[(&Listed, bool)], chance: Chance, now: Instant) -> bool {
        let mut torn = false;
        self.gates.retain(|gate| {
            let acts = listed.iter().any(|(toxic, active)| toxic.id == gate.id() && *active);
            torn |= gate.has_lost_bytes() && !acts;
            listed.iter().any(|(toxic, _)| toxic.id == gate.id())
        });
        for (toxic, active) in listed {
            if self.gates.iter().all(|gate| gate.id() != toxic.id) {
                self.gates.extend(Gate::new(toxic, chance.named(toxic.toxic.name()), now));
            }
            if let Some(gate) = self.gates.iter_mut().find(|gate| gate.id() == toxic.id) {
                gate.set(toxic, *active, self.pipe.sent(), now);
            }
        }
        torn
    }
}

#[cfg(test)]
mod tests;
