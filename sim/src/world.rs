//! The engine: machines, byte streams between them, and one heap of events in virtual time.
//!
//! Nothing here knows Holdline. A [`Machine`] is any state machine that is told what happened and asked what it wants; the world
//! carries its bytes, with the delays and breaks that the test asks for, and jumps from event to event. The same machines, the
//! same calls and the same seed give the same run, on any computer: [`World::trace_hash`] says so in one number.

use crate::rng::SplitMix64;
use crate::stream::{Direction, Fate, Pipe, Stream, StreamState};
use crate::trace::{Remark, Trace, Traced, Written};
use holdline_proto::{ConnectFailure, Instant};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// One of the machines of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

/// One stream of a world; an id is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u32);

/// What a machine asks of its world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Open a stream to a node; the outcome comes as `handle_opened` or `handle_connect_failed`.
    Connect {
        /// Whom to connect to.
        to: NodeId,
        /// Give up after this time, in milliseconds.
        timeout_ms: u32,
    },
    /// Close a stream: what was written before still arrives, then the other side sees the end.
    Close(StreamId),
}

/// A state machine that lives in a world.
///
/// Inputs are told the time; outputs are asked until they have no more. The world calls `poll_…` after every input, for the stream
/// that the input was about and for those that the machine names in `poll_dirty`.
pub trait Machine {
    /// A stream is open: one that was asked for, or one from another node. `random` is a number for this stream alone.
    fn handle_opened(&mut self, now: Instant, stream: StreamId, incoming: bool, random: u64);

    /// A stream that was asked for could not be opened.
    fn handle_connect_failed(&mut self, now: Instant, failure: ConnectFailure);

    /// Bytes have arrived; returns how many are done with. The rest is presented again, in front of what arrives next.
    fn handle_input(&mut self, now: Instant, stream: StreamId, bytes: &[u8]) -> usize;

    /// The transport took the next `bytes` of what `poll_transmit` gave.
    fn handle_transmitted(&mut self, now: Instant, stream: StreamId, bytes: usize);

    /// The other side has closed the stream, or it broke.
    fn handle_closed(&mut self, now: Instant, stream: StreamId);

    /// A deadline has come: of a stream, or of the machine itself.
    fn handle_timeout(&mut self, now: Instant, stream: Option<StreamId>);

    /// Writes bytes for a stream; 0 when there is nothing more.
    fn poll_transmit(&mut self, stream: StreamId, buffer: &mut [u8]) -> usize;

    /// When `handle_timeout` is wanted: for a stream, or for the machine itself.
    fn poll_timeout(&self, stream: Option<StreamId>) -> Option<Instant>;

    /// The next thing to do in the world.
    fn poll_command(&mut self) -> Option<Command>;

    /// A stream that has something to say although no input was about it.
    fn poll_dirty(&mut self) -> Option<StreamId> {
        None
    }

    /// What it has to say of itself, for those who look at the run.
    fn poll_remark(&mut self) -> Option<Remark> {
        None
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// A machine's own deadline, or that of one of its streams.
    Timer { node: NodeId, stream: Option<StreamId> },
    /// A connection attempt is decided.
    Opening(StreamId),
    /// The head of a pipe has arrived, or may be written to again.
    Arrival { stream: StreamId, direction: Direction },
}

#[derive(Debug)]
struct Node<M> {
    machine: M,
    random: SplitMix64,
    timer: Option<Instant>,
    /// Counts out; deliveries and timers of a node without power do nothing.
    powered: bool,
    /// A suspended node keeps its power and does nothing; what arrives waits.
    suspended: bool,
    /// How far its clock has jumped ahead, in milliseconds.
    ahead_ms: u32,
    /// How its network treats it.
    access: Access,
    streams: Vec<StreamId>,
}

/// How the network of one node behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// One-way delay, in milliseconds.
    pub latency_ms: u32,
    /// Up to this much more, drawn for each segment.
    pub jitter_ms: u32,
    /// Bytes from this node go nowhere while set; they wait, as TCP has them wait.
    pub out_blocked: bool,
    /// Bytes to this node go nowhere while set.
    pub in_blocked: bool,
    /// What happens to a connection attempt from or to this node.
    pub connecting: Connecting,
    /// Bytes that one direction of a stream can hold before its writer has to wait.
    pub buffer: usize,
    /// Bytes that can wait for this node to read them before their writer has to wait.
    pub window: usize,
    /// The largest segment, in bytes.
    pub segment: usize,
    /// Bytes for each millisecond; 0: no limit.
    pub rate: u32,
    /// A stream that carried nothing for so long is forgotten on the way, and nobody is told; 0: never.
    pub nat_idle_ms: u32,
}

/// What happens to a connection attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connecting {
    /// It succeeds after a round trip.
    Works,
    /// Somebody answers that nobody listens.
    Refused,
    /// Nobody answers.
    Silent,
    /// There is no way there.
    Unreachable,
    /// It succeeds, and is closed at once.
    AcceptedThenClosed,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            latency_ms: 5,
            jitter_ms: 0,
            out_blocked: false,
            in_blocked: false,
            connecting: Connecting::Works,
            buffer: 64 * 1024,
            window: usize::MAX,
            segment: 1_460,
            rate: 0,
            nat_idle_ms: 0,
        }
    }
}

/// Machines and streams in virtual time.
#[derive(Debug)]
pub struct World<M> {
    now: Instant,
    heap: BinaryHeap<Reverse<(Instant, u64, Due)>>,
    /// Orders events of one instant by when they were scheduled.
    scheduled: u64,
    nodes: Vec<Node<M>>,
    streams: Vec<Stream>,
    random: SplitMix64,
    trace: Trace,
    buffer: Vec<u8>,
    /// Streams that carry so many bytes each way and no more.
    cuts: BTreeMap<StreamId, [usize; 2]>,
}

impl<M: Machine> World<M> {
    /// An empty world; everything random in it follows from `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            now: Instant::from_millis(0),
            heap: BinaryHeap::new(),
            scheduled: 0,
            nodes: Vec::new(),
            streams: Vec::new(),
            random: SplitMix64::from_seed(seed),
            trace: Trace::default(),
            buffer: vec![0; 64 * 1024],
            cuts: BTreeMap::new(),
        }
    }

    /// Puts a machine into the world and lets it begin.
    pub fn add(&mut self, machine: M, access: Access) -> NodeId {
        let id = NodeId(self.nodes.len() as u32);
        let random = self.random.split();
        self.nodes.push(Node {
            machine,
            random,
            timer: None,
            powered: true,
            suspended: false,
            ahead_ms: 0,
            access,
            streams: Vec::new(),
        });
        self.pump(id, None);
        id
    }

    /// The time of the last event.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// One number for everything that happened so far.
    pub fn trace_hash(&self) -> u64 {
        self.trace.hash()
    }

    /// Keeps what happens from now on, for pictures; costs memory.
    pub fn record(&mut self) {
        self.trace.record();
    }

    /// What was kept.
    pub fn recorded(&self) -> &[Traced] {
        self.trace.kept()
    }

    /// Notes something in the trace that the world does not see by itself.
    pub fn note(&mut self, node: NodeId, text: &str) {
        self.trace.note(self.now, node, text);
    }

    /// Notes that an outage, the `number`th of its story, begins or ends for a node.
    pub(crate) fn note_outage(&mut self, number: u32, node: NodeId, begins: bool) {
        self.trace.outage(self.now, number, node, begins);
    }

    /// A machine, to look at or to hand something to; follow with [`World::wake`] if it may want something now.
    pub fn machine(&mut self, node: NodeId) -> &mut M {
        &mut self.nodes[node.0 as usize].machine
    }

    /// How a node's network behaves.
    pub fn access(&self, node: NodeId) -> Access {
        self.nodes[node.0 as usize].access
    }

    /// Whether a node has power.
    pub fn is_powered(&self, node: NodeId) -> bool {
        self.nodes[node.0 as usize].powered
    }

    /// Whether a node has power and is not suspended.
    pub fn is_running(&self, node: NodeId) -> bool {
        let node = &self.nodes[node.0 as usize];
        node.powered && !node.suspended
    }

    /// Bytes that all machines have written.
    pub fn bytes_written(&self) -> u64 {
        self.trace.bytes_written()
    }

    /// Counts what is written from now on, each way, for each node that opens streams.
    pub(crate) fn count(&mut self) {
        self.trace.count();
    }

    /// What was written since on the streams that a node opened, by it, `up`, or to it.
    pub(crate) fn counted(&self, opener: NodeId, up: bool) -> Written {
        self.trace.counted(opener, up)
    }

    /// Asks a machine what it wants, after something was done to it from outside.
    pub fn wake(&mut self, node: NodeId) {
        self.pump(node, None);
    }

    /// Changes how a node's network behaves, from now on. Bytes that waited for a direction to open go on.
    pub fn set_access(&mut self, node: NodeId, access: Access) {
        self.nodes[node.0 as usize].access = access;
        for stream in self.nodes[node.0 as usize].streams.clone() {
            self.unblock(stream);
        }
    }

    /// Stops a node where it is, or lets it go on: what arrives meanwhile waits, and timers that came due fire after it was read.
    pub fn suspend(&mut self, node: NodeId, suspended: bool) {
        self.nodes[node.0 as usize].suspended = suspended;
        if suspended {
            return;
        }
        let streams = self.nodes[node.0 as usize].streams.clone();
        for &id in &streams {
            let stream = &mut self.streams[id.0 as usize];
            let side = stream.side(node);
            let unread = std::mem::take(&mut stream.unread[side]);
            if !unread.is_empty() && !stream.closed[side] {
                self.deliver(id, Direction(1 - side as u8), &unread);
            }
        }
        for stream in streams {
            self.unblock(stream);
            self.arm(node, stream);
        }
        self.pump(node, None);
    }

    /// Lets a node's clock jump ahead.
    pub fn jump_clock(&mut self, node: NodeId, ms: u32) {
        self.nodes[node.0 as usize].ahead_ms += ms;
        for stream in self.nodes[node.0 as usize].streams.clone() {
            self.arm(node, stream);
        }
        self.pump(node, None);
    }

    /// The time on a node's clock.
    pub fn local(&self, node: NodeId) -> Instant {
        self.now.plus(self.nodes[node.0 as usize].ahead_ms)
    }

    /// When a node's clock will show `deadline`, not before now.
    fn world_time(&self, node: NodeId, deadline: Instant) -> Instant {
        let ahead = u64::from(self.nodes[node.0 as usize].ahead_ms);
        Instant::from_millis(deadline.as_millis().saturating_sub(ahead)).max(self.now)
    }

    /// Breaks every stream of a node, as told by `fate`; what was on its way is lost from a random byte on.
    pub fn break_streams(&mut self, node: NodeId, fate: Fate) {
        for stream in self.nodes[node.0 as usize].streams.clone() {
            self.break_stream(stream, fate, Some(node));
        }
    }

    /// Gives up every stream that a node has asked for and that is not open yet: its socket is closed.
    pub(crate) fn abandon(&mut self, node: NodeId) {
        for id in self.nodes[node.0 as usize].streams.clone() {
            let stream = &mut self.streams[id.0 as usize];
            if stream.state == StreamState::Opening && stream.ends[0] == node {
                stream.state = StreamState::Closed;
                self.detach(id);
            }
        }
    }

    /// Lets a stream that is opened later carry these many bytes each way, from its opener and to it, and then nothing more; nobody
    /// is told. For sweeps over every place where a session can be cut.
    pub fn cut_at(&mut self, stream: StreamId, up: usize, down: usize) {
        self.cuts.insert(stream, [up, down]);
    }

    /// Takes a machine's power: it sees nothing more. Its streams stay open at their other ends, or break there as told.
    pub fn power_off(&mut self, node: NodeId, fate: Fate) {
        self.trace.power(self.now, node, false);
        let slot = &mut self.nodes[node.0 as usize];
        slot.powered = false;
        slot.suspended = false;
        slot.timer = None;
        for stream in std::mem::take(&mut self.nodes[node.0 as usize].streams) {
            self.break_stream(stream, fate, Some(node));
        }
    }

    /// Gives a node power again, with this machine in it.
    pub fn power_on(&mut self, node: NodeId, machine: M) {
        self.trace.power(self.now, node, true);
        let slot = &mut self.nodes[node.0 as usize];
        slot.machine = machine;
        slot.powered = true;
        self.pump(node, None);
    }

    /// When something will happen by itself, if anything will.
    pub fn next_event(&self) -> Option<Instant> {
        self.heap.peek().map(|&Reverse((at, _, _))| at)
    }

    /// Runs until nothing is due before or at `end`.
    pub fn run_until(&mut self, end: Instant) {
        while let Some(&Reverse((at, _, due))) = self.heap.peek() {
            if at > end {
                break;
            }
            self.heap.pop();
            self.now = self.now.max(at);
            self.handle(at, due);
        }
        self.now = self.now.max(end);
    }

    fn schedule(&mut self, at: Instant, due: Due) {
        self.scheduled += 1;
        self.heap.push(Reverse((at, self.scheduled, due)));
    }

    fn handle(&mut self, at: Instant, due: Due) {
        match due {
            Due::Timer { node, stream } => self.fire(at, node, stream),
            Due::Opening(stream) => self.decide(stream),
            Due::Arrival { stream, direction } => self.arrive(stream, direction),
        }
    }

    fn fire(&mut self, at: Instant, node: NodeId, stream: Option<StreamId>) {
        let slot = &mut self.nodes[node.0 as usize];
        let armed = match stream {
            None => &mut slot.timer,
            Some(stream) => {
                let stream = &mut self.streams[stream.0 as usize];
                let side = stream.side(node);
                &mut stream.timers[side]
            }
        };
        // A later deadline has taken the place of this one, or an earlier one has been served.
        if *armed != Some(at) || !slot.powered {
            return;
        }
        *armed = None;
        if slot.suspended {
            return;
        }
        let local = self.local(node);
        let slot = &mut self.nodes[node.0 as usize];
        if slot.machine.poll_timeout(stream).is_some_and(|deadline| deadline <= local) {
            slot.machine.handle_timeout(local, stream);
            self.trace.timer(self.now, node, stream);
        }
        self.pump(node, stream);
    }

    fn decide(&mut self, id: StreamId) {
        let stream = &self.streams[id.0 as usize];
        let (from, to) = (stream.ends[0], stream.ends[1]);
        if stream.state != StreamState::Opening || !self.nodes[from.0 as usize].powered {
            return;
        }
        let blocked = |access: Access| access.out_blocked || access.in_blocked;
        let (near, far) = (self.nodes[from.0 as usize].access, self.nodes[to.0 as usize].access);
        let outcome = match (near.connecting, far.connecting) {
            (Connecting::Works, far) => far,
            (near, _) => near,
        };
        let silent = blocked(near) || blocked(far) || outcome == Connecting::Silent;
        let failure = match outcome {
            Connecting::Unreachable => Some(ConnectFailure::Unreachable),
            _ if silent => Some(ConnectFailure::TimedOut),
            Connecting::Refused => Some(ConnectFailure::Refused),
            _ if !self.nodes[to.0 as usize].powered => Some(ConnectFailure::Refused),
            _ => None,
        };
        if let Some(failure) = failure {
            if failure == ConnectFailure::TimedOut && self.now < self.streams[id.0 as usize].give_up {
                // Nobody answers until the caller has lost patience.
                let give_up = self.streams[id.0 as usize].give_up;
                self.schedule(give_up, Due::Opening(id));
                return;
            }
            self.streams[id.0 as usize].state = StreamState::Closed;
            self.streams[id.0 as usize].failure = Some(failure);
            self.detach(id);
            self.trace.failed(self.now, id, from, failure);
            let local = self.local(from);
            self.nodes[from.0 as usize].machine.handle_connect_failed(local, failure);
            self.pump(from, None);
            return;
        }
        self.streams[id.0 as usize].state = StreamState::Open;
        self.streams[id.0 as usize].used = self.now;
        self.trace.opened(self.now, id, from, to);
        self.nodes[to.0 as usize].streams.push(id);
        for (node, incoming) in [(to, true), (from, false)] {
            let local = self.local(node);
            let slot = &mut self.nodes[node.0 as usize];
            let random = slot.random.next_u64();
            slot.machine.handle_opened(local, id, incoming, random);
            self.pump(node, Some(id));
        }
        if outcome == Connecting::AcceptedThenClosed {
            self.break_stream(id, Fate::Fin, None);
        }
    }

    /// Asks a machine for everything it wants, beginning with one stream.
    fn pump(&mut self, node: NodeId, stream: Option<StreamId>) {
        if self.nodes[node.0 as usize].suspended || !self.nodes[node.0 as usize].powered {
            return;
        }
        if let Some(stream) = stream {
            self.transmit(node, stream);
        }
        loop {
            let machine = &mut self.nodes[node.0 as usize].machine;
            if let Some(dirty) = machine.poll_dirty() {
                self.transmit(node, dirty);
            } else if let Some(command) = machine.poll_command() {
                self.command(node, command);
            } else {
                break;
            }
        }
        while let Some(remark) = self.nodes[node.0 as usize].machine.poll_remark() {
            self.trace.remark(self.now, node, remark);
        }
        if let Some(deadline) = self.nodes[node.0 as usize].machine.poll_timeout(None) {
            let at = self.world_time(node, deadline);
            let timer = &mut self.nodes[node.0 as usize].timer;
            if timer.is_none_or(|armed| at < armed) {
                *timer = Some(at);
                self.schedule(at, Due::Timer { node, stream: None });
            }
        }
    }

    fn command(&mut self, node: NodeId, command: Command) {
        match command {
            Command::Connect { to, timeout_ms } => drop(self.connect(node, to, timeout_ms)),
            Command::Close(id) => self.close(node, id, &[]),
        }
    }

    /// Begins to open a stream.
    pub(crate) fn connect(&mut self, node: NodeId, to: NodeId, timeout_ms: u32) -> StreamId {
        let id = StreamId(self.streams.len() as u32);
        let mut stream = Stream::new([node, to]);
        stream.give_up = self.now.plus(timeout_ms);
        stream.allowance = self.cuts.get(&id).copied().unwrap_or([usize::MAX; 2]);
        self.trace.asked(self.now, id, node, to);
        self.streams.push(stream);
        self.nodes[node.0 as usize].streams.push(id);
        let round_trip = 2 * (self.nodes[node.0 as usize].access.latency_ms + self.nodes[to.0 as usize].access.latency_ms);
        self.schedule(self.now.plus(round_trip), Due::Opening(id));
        id
    }

    /// Closes an end of a stream: what was written goes on its way, with `last` and the end behind it.
    pub(crate) fn close(&mut self, node: NodeId, id: StreamId, last: &[u8]) {
        let stream = &mut self.streams[id.0 as usize];
        if stream.state == StreamState::Open {
            let side = stream.side(node);
            let direction = Direction(side as u8);
            let was_closed = std::mem::replace(&mut stream.closed[side], true);
            let mut waiting = std::mem::take(&mut stream.waiting[side]);
            if !stream.cut && !was_closed {
                waiting.extend_from_slice(last);
                stream.pipes[side].write(&waiting);
                if !last.is_empty() {
                    self.trace.written(self.now, id, direction, last);
                }
            }
            let stream = &mut self.streams[id.0 as usize];
            stream.pipes[side].end(Fate::Fin);
            self.push_out(id, direction);
        } else {
            stream.state = StreamState::Closed;
        }
        self.nodes[node.0 as usize].streams.retain(|&other| other != id);
    }

    /// Why a stream could not be opened; `None` while that is not decided, and if it could.
    pub(crate) fn failure(&self, id: StreamId) -> Option<ConnectFailure> {
        let stream = &self.streams[id.0 as usize];
        stream.failure.or((stream.state == StreamState::Closed).then_some(ConnectFailure::Unreachable))
    }

    /// Whether a stream has ended with an error.
    pub(crate) fn was_reset(&self, id: StreamId) -> bool {
        self.streams[id.0 as usize].reset
    }

    /// Takes what a machine has for a stream, as far as there is room, and arms the stream's timer.
    fn transmit(&mut self, node: NodeId, id: StreamId) {
        let Some(stream) = self.streams.get(id.0 as usize) else { return };
        let side = stream.side(node);
        if stream.state != StreamState::Open || stream.closed[side] {
            return;
        }
        let direction = Direction(side as u8);
        let peer = stream.ends[1 - side];
        let capacity = self.nodes[node.0 as usize].access.buffer.min(self.nodes[peer.0 as usize].access.window);
        loop {
            // What was written and does not fit waits in front of everything that follows.
            let stream = &mut self.streams[id.0 as usize];
            if stream.waiting[side].is_empty() {
                let written = self.nodes[node.0 as usize].machine.poll_transmit(id, &mut self.buffer);
                if written == 0 {
                    break;
                }
                self.trace.written(self.now, id, direction, &self.buffer[..written]);
                let stream = &mut self.streams[id.0 as usize];
                stream.waiting[side].extend_from_slice(&self.buffer[..written]);
            }
            let stream = &mut self.streams[id.0 as usize];
            let room = capacity.saturating_sub(stream.pipes[side].len());
            let taken = room.min(stream.waiting[side].len());
            if taken == 0 {
                break;
            }
            let bytes: Vec<u8> = stream.waiting[side].drain(..taken).collect();
            // Behind a cut nothing follows: the writer's system takes it, and it goes nowhere.
            if !stream.cut {
                stream.pipes[side].write(&bytes);
            }
            let local = self.local(node);
            self.nodes[node.0 as usize].machine.handle_transmitted(local, id, taken);
        }
        self.push_out(id, direction);
        self.arm(node, id);
    }

    fn arm(&mut self, node: NodeId, id: StreamId) {
        let Some(deadline) = self.nodes[node.0 as usize].machine.poll_timeout(Some(id)) else { return };
        let at = self.world_time(node, deadline);
        let stream = &mut self.streams[id.0 as usize];
        let side = stream.side(node);
        if stream.timers[side].is_none_or(|armed| at < armed) {
            stream.timers[side] = Some(at);
            self.schedule(at, Due::Timer { node, stream: Some(id) });
        }
    }

    /// Sends the next segment of a pipe on its way, if none is.
    fn push_out(&mut self, id: StreamId, direction: Direction) {
        let stream = &self.streams[id.0 as usize];
        let side = usize::from(direction.0);
        let (from, to) = (stream.ends[side], stream.ends[1 - side]);
        let pipe: &Pipe = &stream.pipes[side];
        if pipe.travelling || pipe.is_drained() || stream.state != StreamState::Open {
            return;
        }
        let (near, far) = (self.nodes[from.0 as usize].access, self.nodes[to.0 as usize].access);
        let idle = self.now.since(stream.used);
        let forgotten = |access: Access| access.nat_idle_ms > 0 && idle > access.nat_idle_ms.into();
        let stream = &mut self.streams[id.0 as usize];
        stream.dead |= forgotten(near) || forgotten(far);
        stream.used = self.now;
        if near.out_blocked || far.in_blocked || stream.dead {
            return;
        }
        let mut segment = stream.pipes[side].len().min(near.segment.min(far.segment).max(1));
        if stream.allowance[side] != usize::MAX {
            segment = segment.min(stream.allowance[side]);
            if segment == 0 {
                return;
            }
            stream.allowance[side] -= segment;
        }
        let jitter = near.jitter_ms + far.jitter_ms;
        let jitter = if jitter == 0 { 0 } else { (self.nodes[from.0 as usize].random.next_u64() % u64::from(jitter + 1)) as u32 };
        let slow = match near.rate.max(1).min(if far.rate == 0 { u32::MAX } else { far.rate }) {
            _ if near.rate == 0 && far.rate == 0 => 0,
            rate => (segment as u32).div_ceil(rate),
        };
        let stream = &mut self.streams[id.0 as usize];
        stream.pipes[side].travelling = true;
        stream.pipes[side].segment = segment;
        let at = self.now.plus(near.latency_ms + far.latency_ms + jitter + slow);
        self.schedule(at, Due::Arrival { stream: id, direction });
    }

    fn arrive(&mut self, id: StreamId, direction: Direction) {
        let side = usize::from(direction.0);
        let stream = &mut self.streams[id.0 as usize];
        if stream.state != StreamState::Open || !stream.pipes[side].travelling {
            return;
        }
        let (from, to) = (stream.ends[side], stream.ends[1 - side]);
        stream.pipes[side].travelling = false;
        let (near, far) = (self.nodes[from.0 as usize].access, self.nodes[to.0 as usize].access);
        let stream = &mut self.streams[id.0 as usize];
        if near.out_blocked || far.in_blocked || stream.dead {
            // It was on its way when the way was closed: it is sent again when it opens.
            return;
        }
        if self.nodes[to.0 as usize].suspended {
            // Its system takes it; the program reads it when it goes on. An end stays behind what it has not read.
            let bytes = stream.pipes[side].take_segment();
            stream.unread[1 - side].extend_from_slice(&bytes);
            if !bytes.is_empty() {
                self.push_out(id, direction);
            }
            return;
        }
        let was_full = stream.pipes[side].len() >= near.buffer.min(far.window) || !stream.waiting[side].is_empty();
        let bytes = stream.pipes[side].take_segment();
        let ended = stream.pipes[side].take_end();
        let receiver_gone = stream.closed[1 - side] || !self.nodes[to.0 as usize].powered;
        if !bytes.is_empty() && !receiver_gone {
            self.deliver(id, direction, &bytes);
        }
        if ended.is_some() {
            self.close_end(id, 1 - side);
        } else if !bytes.is_empty() && receiver_gone && self.nodes[to.0 as usize].powered {
            // The kernel of a node that has closed answers with a reset.
            self.streams[id.0 as usize].reset = true;
            self.close_end(id, side);
        }
        if was_full && self.streams[id.0 as usize].state == StreamState::Open {
            self.pump(from, Some(id));
        }
        self.push_out(id, direction);
    }

    /// Gives bytes to the machine at the other end, behind what it has not consumed.
    fn deliver(&mut self, id: StreamId, direction: Direction, bytes: &[u8]) {
        let side = usize::from(direction.0);
        self.trace.arrived(self.now, id, direction, bytes);
        let stream = &mut self.streams[id.0 as usize];
        let to = stream.ends[1 - side];
        stream.received[1 - side].extend_from_slice(bytes);
        let presented = std::mem::take(&mut stream.received[1 - side]);
        let local = self.local(to);
        let consumed = self.nodes[to.0 as usize].machine.handle_input(local, id, &presented);
        let stream = &mut self.streams[id.0 as usize];
        stream.received[1 - side] = presented[consumed.min(presented.len())..].to_vec();
        self.pump(to, Some(id));
    }

    /// Tells one end of a stream that it has ended.
    fn close_end(&mut self, id: StreamId, side: usize) {
        let stream = &mut self.streams[id.0 as usize];
        let node = stream.ends[side];
        if !std::mem::replace(&mut stream.closed[side], true) && self.nodes[node.0 as usize].powered {
            self.trace.closed(self.now, id, node);
            let local = self.local(node);
            self.nodes[node.0 as usize].machine.handle_closed(local, id);
            self.nodes[node.0 as usize].streams.retain(|&other| other != id);
            self.pump(node, None);
        }
        let stream = &mut self.streams[id.0 as usize];
        if stream.closed == [true; 2] {
            stream.state = StreamState::Closed;
            self.detach(id);
        }
    }

    fn detach(&mut self, id: StreamId) {
        for end in self.streams[id.0 as usize].ends {
            self.nodes[end.0 as usize].streams.retain(|&other| other != id);
        }
        // What it held is not needed any more; its id stays.
        self.streams[id.0 as usize].release();
    }

    fn unblock(&mut self, id: StreamId) {
        for direction in [Direction(0), Direction(1)] {
            self.push_out(id, direction);
        }
    }

    fn break_stream(&mut self, id: StreamId, fate: Fate, by: Option<NodeId>) {
        let stream = &mut self.streams[id.0 as usize];
        if stream.state == StreamState::Opening && by.is_some_and(|by| !self.nodes[by.0 as usize].powered && stream.ends[0] == by)
        {
            // Who asked for it is not there any more.
            stream.state = StreamState::Closed;
        }
        if stream.state != StreamState::Open {
            // An attempt is decided when its time comes, by how the network is then.
            return;
        }
        // Each direction on its own has got an arbitrary prefix through.
        stream.cut = true;
        for side in 0..2 {
            let from = self.streams[id.0 as usize].ends[side];
            let length = self.streams[id.0 as usize].pipes[side].len() as u64;
            let keep = self.nodes[from.0 as usize].random.next_u64() % (length + 1);
            let stream = &mut self.streams[id.0 as usize];
            stream.pipes[side].cut(keep as usize);
            stream.waiting[side].clear();
        }
        match fate {
            Fate::Silent => self.streams[id.0 as usize].dead = true,
            Fate::Fin | Fate::Rst => {
                self.streams[id.0 as usize].reset = fate == Fate::Rst;
                for side in 0..2 {
                    let stream = &mut self.streams[id.0 as usize];
                    stream.pipes[side].end(fate);
                    if fate == Fate::Rst {
                        self.close_end(id, 1 - side);
                    } else {
                        self.push_out(id, Direction(side as u8));
                    }
                }
            }
        }
    }
}
