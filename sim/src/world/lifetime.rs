//! How streams come and go: asked for, opened or refused, closed, broken.

use super::agenda::Due;
use super::{Access, Command, Connecting, Machine, NodeId, StreamId, World};
use crate::stream::{Direction, Fate, Stream, StreamState};
use holdline_proto::ConnectFailure;

impl<M: Machine> World<M> {
    pub(super) fn command(&mut self, node: NodeId, command: Command) {
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
        self.agenda.schedule(self.now.plus(round_trip), Due::Opening(id));
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

    pub(super) fn decide(&mut self, id: StreamId) {
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
                self.agenda.schedule(give_up, Due::Opening(id));
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

    /// Tells one end of a stream that it has ended.
    pub(super) fn close_end(&mut self, id: StreamId, side: usize) {
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

    pub(super) fn detach(&mut self, id: StreamId) {
        for end in self.streams[id.0 as usize].ends {
            self.nodes[end.0 as usize].streams.retain(|&other| other != id);
        }
        // What it held is not needed any more; its id stays.
        self.streams[id.0 as usize].release();
    }

    pub(super) fn break_stream(&mut self, id: StreamId, fate: Fate, by: Option<NodeId>) {
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
