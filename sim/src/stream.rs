//! A byte stream between two nodes, as TCP gives it: it stalls, it ends, and it never loses a byte in the middle.

use crate::world::NodeId;
use holdline_proto::{ConnectFailure, Instant};

/// Which way bytes go: 0 from the end that opened the stream, 1 towards it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Direction(pub u8);

/// How a stream that breaks looks to its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Both ends see it close in order, after what was still on its way.
    Fin,
    /// Both ends see an error at once.
    Rst,
    /// Neither end sees anything: half-open until somebody notices.
    Silent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamState {
    Opening,
    Open,
    Closed,
}

#[derive(Debug)]
pub(crate) struct Stream {
    /// The node that opened it, and the other.
    pub(crate) ends: [NodeId; 2],
    pub(crate) state: StreamState,
    /// When the opener loses patience.
    pub(crate) give_up: Instant,
    /// By side of the writer.
    pub(crate) pipes: [Pipe; 2],
    /// What a writer gave and its pipe has no room for, by side of the writer.
    pub(crate) waiting: [Vec<u8>; 2],
    /// Arrived and not consumed, by side of the reader.
    pub(crate) received: [Vec<u8>; 2],
    /// Bytes that may still pass, by side of the writer.
    pub(crate) allowance: [usize; 2],
    /// Arrived while the reader was suspended, by side of the reader.
    pub(crate) unread: [Vec<u8>; 2],
    pub(crate) timers: [Option<Instant>; 2],
    /// Which ends have closed it or seen it end.
    pub(crate) closed: [bool; 2],
    /// When it last carried something.
    pub(crate) used: Instant,
    /// Why it could not be opened, if it could not.
    pub(crate) failure: Option<ConnectFailure>,
    /// It ended with an error, and not in order.
    pub(crate) reset: bool,
    /// It has been broken: what is written from now on is lost.
    pub(crate) cut: bool,
    /// Nothing will ever arrive again, and nobody is told.
    pub(crate) dead: bool,
}

impl Stream {
    pub(crate) fn new(ends: [NodeId; 2]) -> Self {
        Self {
            ends,
            state: StreamState::Opening,
            give_up: Instant::default(),
            pipes: [Pipe::default(), Pipe::default()],
            waiting: [Vec::new(), Vec::new()],
            received: [Vec::new(), Vec::new()],
            allowance: [usize::MAX; 2],
            unread: [Vec::new(), Vec::new()],
            timers: [None; 2],
            closed: [false; 2],
            used: Instant::default(),
            failure: None,
            reset: false,
            cut: false,
            dead: false,
        }
    }

    /// The side of a node: 0 if it opened the stream.
    pub(crate) fn side(&self, node: NodeId) -> usize {
        usize::from(self.ends[0] != node)
    }

    /// Puts as many bytes into a writer's pipe as there is room for in its `capacity`, and returns how many.
    pub(crate) fn write(&mut self, side: usize, capacity: usize, bytes: &[u8]) -> usize {
        let taken = capacity.saturating_sub(self.pipes[side].len()).min(bytes.len());
        // Behind a cut nothing follows: the writer's system takes it, and it goes nowhere.
        if !self.cut {
            self.pipes[side].write(&bytes[..taken]);
        }
        taken
    }

    /// Gives back all memory.
    pub(crate) fn release(&mut self) {
        self.pipes = [Pipe::default(), Pipe::default()];
        self.waiting = [Vec::new(), Vec::new()];
        self.received = [Vec::new(), Vec::new()];
        self.unread = [Vec::new(), Vec::new()];
    }
}

/// One direction of a stream: bytes in order, and perhaps an end behind them.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    bytes: Vec<u8>,
    /// How many of them have arrived.
    gone: usize,
    /// How many have arrived since it was opened.
    passed: u64,
    end: Option<Fate>,
    /// Whether the head is on its way.
    pub(crate) travelling: bool,
    /// How many bytes of it.
    pub(crate) segment: usize,
}

impl Pipe {
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.gone
    }

    /// How many bytes have arrived, or were to: the place of the next one.
    pub(crate) fn passed(&self) -> u64 {
        self.passed
    }

    /// Whether nothing is left to arrive.
    pub(crate) fn is_drained(&self) -> bool {
        self.len() == 0 && self.end.is_none()
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        if self.gone > 0 && self.bytes.len() + bytes.len() > self.bytes.capacity() {
            self.bytes.drain(..self.gone);
            self.gone = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes what has arrived behind what is in `into`.
    pub(crate) fn take_segment(&mut self, into: &mut Vec<u8>) {
        let end = self.gone + self.segment.min(self.len());
        into.extend_from_slice(&self.bytes[self.gone..end]);
        self.passed += (end - self.gone) as u64;
        self.gone = end;
        if end == self.bytes.len() {
            self.bytes.clear();
            self.gone = 0;
        }
    }

    /// Loses everything but the first `keep` bytes.
    pub(crate) fn cut(&mut self, keep: usize) {
        self.bytes.truncate(self.gone + keep);
    }

    pub(crate) fn end(&mut self, fate: Fate) {
        self.end = Some(fate);
    }

    /// Takes the end, if it is what comes next.
    pub(crate) fn take_end(&mut self) -> Option<Fate> {
        if self.len() == 0 { self.end.take() } else { None }
    }
}
