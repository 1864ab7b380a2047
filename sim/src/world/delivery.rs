//! How bytes travel: from a machine into its pipe, over the way, to the machine at the other end.

use super::agenda::Due;
use super::noise::{Noise, disturb};
use super::{Access, Machine, NodeId, StreamId, World};
use crate::stream::{Direction, StreamState};

impl<M: Machine> World<M> {
    /// Asks a machine for everything it wants, beginning with one stream.
    pub(super) fn pump(&mut self, node: NodeId, stream: Option<StreamId>) {
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
        self.arm(node, None);
    }

    /// Takes what a machine has for a stream, as far as there is room, and arms the stream's timer.
    fn transmit(&mut self, node: NodeId, id: StreamId) {
        let Some(stream) = self.streams.get_mut(id.0 as usize) else { return };
        let side = stream.side(node);
        if stream.state != StreamState::Open || stream.closed[side] {
            return;
        }
        let direction = Direction(side as u8);
        let local = self.local(node);
        let stream = &mut self.streams[id.0 as usize];
        let window = self.nodes[stream.ends[1 - side].0 as usize].access.window;
        let near = &mut self.nodes[node.0 as usize];
        let capacity = near.access.buffer.min(window);
        loop {
            // What was written and does not fit waits in front of everything that follows.
            if stream.waiting[side].is_empty() {
                let written = near.machine.poll_transmit(id, &mut self.buffer);
                if written == 0 {
                    break;
                }
                self.trace.written(self.now, id, direction, &self.buffer[..written]);
                let taken = stream.write(side, capacity, &self.buffer[..written]);
                stream.waiting[side].extend_from_slice(&self.buffer[taken..written]);
                if taken == 0 {
                    break;
                }
                near.machine.handle_transmitted(local, id, taken);
            } else {
                let waiting = std::mem::take(&mut stream.waiting[side]);
                let taken = stream.write(side, capacity, &waiting);
                stream.waiting[side] = waiting;
                if taken == 0 {
                    break;
                }
                stream.waiting[side].drain(..taken);
                near.machine.handle_transmitted(local, id, taken);
            }
        }
        self.push_out(id, direction);
        self.arm(node, Some(id));
    }

    /// Sees to it that a machine is told when its next deadline comes, or that of one of its streams.
    pub(super) fn arm(&mut self, node: NodeId, stream: Option<StreamId>) {
        let Some(deadline) = self.nodes[node.0 as usize].machine.poll_timeout(stream) else { return };
        let at = self.world_time(node, deadline);
        let timer = match stream {
            None => &mut self.nodes[node.0 as usize].timer,
            Some(stream) => {
                let stream = &mut self.streams[stream.0 as usize];
                let side = stream.side(node);
                &mut stream.timers[side]
            }
        };
        // One that is armed for an earlier instant looks again then.
        if timer.is_none_or(|armed| at < armed) {
            *timer = Some(at);
            self.agenda.schedule(at, Due::Timer { node, stream });
        }
    }

    /// Sends the next segment of a pipe on its way, if none is.
    pub(super) fn push_out(&mut self, id: StreamId, direction: Direction) {
        let stream = &mut self.streams[id.0 as usize];
        let side = usize::from(direction.0);
        let pipe = &stream.pipes[side];
        if pipe.travelling || pipe.is_drained() || stream.state != StreamState::Open {
            return;
        }
        let (from, to) = (stream.ends[side], stream.ends[1 - side]);
        let (near, far) = (&self.nodes[from.0 as usize].access, &self.nodes[to.0 as usize].access);
        let idle = self.now.since(stream.used);
        let forgotten = |access: &Access| access.nat_idle_ms > 0 && idle > access.nat_idle_ms.into();
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
        let rates = [near.rate, far.rate].into_iter().filter(|&rate| rate > 0);
        let slow = rates.min().map_or(0, |rate| (segment as u32).div_ceil(rate));
        let latency = near.latency_ms + far.latency_ms;
        let jitter = near.jitter_ms + far.jitter_ms;
        let jitter = if jitter == 0 { 0 } else { (self.nodes[from.0 as usize].random.next_u64() % u64::from(jitter + 1)) as u32 };
        stream.pipes[side].travelling = true;
        stream.pipes[side].segment = segment;
        self.agenda.schedule(self.now.plus(latency + jitter + slow), Due::Arrival { stream: id, direction });
    }

    pub(super) fn unblock(&mut self, id: StreamId) {
        for direction in [Direction(0), Direction(1)] {
            self.push_out(id, direction);
        }
    }

    pub(super) fn arrive(&mut self, id: StreamId, direction: Direction) {
        let side = usize::from(direction.0);
        let stream = &mut self.streams[id.0 as usize];
        if stream.state != StreamState::Open || !stream.pipes[side].travelling {
            return;
        }
        stream.pipes[side].travelling = false;
        let (from, to) = (stream.ends[side], stream.ends[1 - side]);
        let (near, far) = (&self.nodes[from.0 as usize], &self.nodes[to.0 as usize]);
        if near.access.out_blocked || far.access.in_blocked || stream.dead {
            // It was on its way when the way was closed: it is sent again when it opens.
            return;
        }
        let (suspended, powered) = (far.suspended, far.powered);
        let was_full = stream.pipes[side].len() >= near.access.buffer.min(far.access.window) || !stream.waiting[side].is_empty();
        let noise = Noise::between(&near.access, &far.access);
        let mut segment = std::mem::take(&mut self.segment);
        segment.clear();
        let first = stream.pipes[side].passed();
        stream.pipes[side].take_segment(&mut segment);
        let moved = !segment.is_empty();
        if noise.is_some() || !self.damages.is_empty() {
            let (damages, random) = (&self.damages, &mut self.nodes[from.0 as usize].random);
            let chosen = |place| damages.get(&(id, direction, place)).copied();
            let drawn = |random: &mut _| noise.is_some().then(|| noise.damage(random)).flatten();
            let (flipped, dropped) = disturb(&mut segment, first, |place| chosen(place).or_else(|| drawn(random)));
            self.trace.noise(self.now, id, direction, flipped, dropped);
        }
        if suspended {
            // Its system takes it; the program reads it when it goes on. An end stays behind what it has not read.
            stream.unread[1 - side].extend_from_slice(&segment);
            self.segment = segment;
            if moved {
                self.push_out(id, direction);
            }
            return;
        }
        let ended = stream.pipes[side].take_end().is_some();
        let receiver_gone = stream.closed[1 - side] || !powered;
        if !segment.is_empty() && !receiver_gone {
            self.deliver(id, direction, &segment);
        }
        self.segment = segment;
        if ended {
            self.close_end(id, 1 - side);
        } else if moved && receiver_gone && self.nodes[to.0 as usize].powered {
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
    pub(super) fn deliver(&mut self, id: StreamId, direction: Direction, bytes: &[u8]) {
        let side = usize::from(direction.0);
        self.trace.arrived(self.now, id, direction, bytes);
        let to = self.streams[id.0 as usize].ends[1 - side];
        let local = self.local(to);
        let machine = &mut self.nodes[to.0 as usize].machine;
        let received = &mut self.streams[id.0 as usize].received[1 - side];
        if received.is_empty() {
            let consumed = machine.handle_input(local, id, bytes).min(bytes.len());
            received.extend_from_slice(&bytes[consumed..]);
        } else {
            received.extend_from_slice(bytes);
            let consumed = machine.handle_input(local, id, received).min(received.len());
            received.drain(..consumed);
        }
        self.pump(to, Some(id));
    }
}
