//! The engine: machines, byte streams between them, and one agenda in virtual time.
//!
//! Nothing here knows Holdline. A [`Machine`] is any state machine that is told what happened and asked what it wants; the world
//! carries its bytes, with the delays and breaks that the test asks for, and jumps from event to event. The same machines, the
//! same calls and the same seed give the same run, on any computer: [`World::trace_hash`] says so in one number.

mod access;
mod agenda;
mod delivery;
mod lifetime;
mod machine;
mod noise;

pub use access::{Access, Connecting};
pub use machine::{Command, Machine, NodeId, StreamId};
pub use noise::Damage;

use crate::clock::Clock;
use crate::rng::SplitMix64;
use crate::stream::{Direction, Fate, Stream, StreamState};
use crate::trace::{Trace, Traced, Written};
use agenda::{Agenda, Due};
use holdline_proto::Instant;
use std::collections::BTreeMap;

#[derive(Debug)]
struct Node<M> {
    machine: M,
    random: SplitMix64,
    timer: Option<Instant>,
    /// Counts out; deliveries and timers of a node without power do nothing.
    powered: bool,
    /// A suspended node keeps its power and does nothing; what arrives waits.
    suspended: bool,
    clock: Clock,
    /// How its network treats it.
    access: Access,
    streams: Vec<StreamId>,
}

/// Machines and streams in virtual time.
#[derive(Debug)]
pub struct World<M> {
    now: Instant,
    agenda: Agenda,
    events: u64,
    nodes: Vec<Node<M>>,
    streams: Vec<Stream>,
    random: SplitMix64,
    trace: Trace,
    /// Where machines write.
    buffer: Vec<u8>,
    /// What has just arrived.
    segment: Vec<u8>,
    /// Streams that carry so many bytes each way and no more.
    cuts: BTreeMap<StreamId, [usize; 2]>,
    /// Single bytes that do not arrive as they were written, by their place in a stream.
    damages: BTreeMap<(StreamId, Direction, u64), Damage>,
}

impl<M: Machine> World<M> {
    /// An empty world; everything random in it follows from `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            now: Instant::from_millis(0),
            agenda: Agenda::default(),
            events: 0,
            nodes: Vec::new(),
            streams: Vec::new(),
            random: SplitMix64::from_seed(seed),
            trace: Trace::default(),
            buffer: vec![0; 64 * 1024],
            segment: Vec::new(),
            cuts: BTreeMap::new(),
            damages: BTreeMap::new(),
        }
    }

    /// Puts a machine into the world and lets it begin.
    pub fn add(&mut self, machine: M, access: Access) -> NodeId {
        self.add_with_clock(machine, access, self.now)
    }

    /// The same for a machine whose clock shows `shown` now.
    pub fn add_with_clock(&mut self, machine: M, access: Access, shown: Instant) -> NodeId {
        let id = NodeId(self.nodes.len() as u32);
        let random = self.random.split();
        self.nodes.push(Node {
            machine,
            random,
            timer: None,
            powered: true,
            suspended: false,
            clock: Clock::new(self.now, shown),
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

    /// What came due so far: arrivals, timers, decided connection attempts.
    pub fn events(&self) -> u64 {
        self.events
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

    /// Changes how a node's network behaves, from now on. Bytes that waited for a direction to open go on, and writers that
    /// waited for room write.
    pub fn set_access(&mut self, node: NodeId, access: Access) {
        self.nodes[node.0 as usize].access = access;
        for id in self.nodes[node.0 as usize].streams.clone() {
            self.unblock(id);
            let stream = &self.streams[id.0 as usize];
            let (ends, waits) = (stream.ends, [0, 1].map(|side: usize| !stream.waiting[side].is_empty()));
            for (end, _) in ends.into_iter().zip(waits).filter(|&(_, waits)| waits) {
                self.pump(end, Some(id));
            }
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
            // There may be room meanwhile for what it had to say.
            self.pump(node, Some(stream));
        }
        self.pump(node, None);
    }

    /// Lets a node's clock jump ahead.
    pub fn jump_clock(&mut self, node: NodeId, ms: u32) {
        self.nodes[node.0 as usize].clock.jump(self.now, ms);
        self.set_alarms(node);
    }

    /// Lets a node's clock run fast or slow from now on, by so many parts in a million, at most a tenth.
    pub fn drift_clock(&mut self, node: NodeId, ppm: i32) {
        self.nodes[node.0 as usize].clock.drift(self.now, ppm.clamp(-100_000, 100_000));
        self.set_alarms(node);
    }

    /// A clock was set: what was to happen later may be sooner now.
    fn set_alarms(&mut self, node: NodeId) {
        for stream in self.nodes[node.0 as usize].streams.clone() {
            self.arm(node, Some(stream));
        }
        self.pump(node, None);
    }

    /// The time on a node's clock.
    pub fn local(&self, node: NodeId) -> Instant {
        self.nodes[node.0 as usize].clock.shows(self.now)
    }

    /// When a node's clock will show `deadline`, not before now.
    fn world_time(&self, node: NodeId, deadline: Instant) -> Instant {
        self.nodes[node.0 as usize].clock.reaches(deadline).max(self.now)
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
        self.agenda.next()
    }

    /// Runs until nothing is due before or at `end`.
    pub fn run_until(&mut self, end: Instant) {
        while let Some((at, due)) = self.agenda.take(end) {
            self.now = self.now.max(at);
            self.events += 1;
            match due {
                Due::Timer { node, stream } => self.fire(at, node, stream),
                Due::Opening(stream) => self.decide(stream),
                Due::Arrival { stream, direction } => self.arrive(stream, direction),
            }
        }
        self.now = self.now.max(end);
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
        let machine = &mut self.nodes[node.0 as usize].machine;
        if machine.poll_timeout(stream).is_some_and(|deadline| deadline <= local) {
            machine.handle_timeout(local, stream);
            self.trace.timer(self.now, node, stream);
            self.pump(node, stream);
        } else {
            // It has moved since it was armed.
            self.arm(node, stream);
        }
    }
}
