//! Lines and their fates, put together from what was written and what arrived.

use crate::stream::Direction;
use crate::trace::{Happened, Traced};
use crate::world::{NodeId, StreamId};
use std::collections::{BTreeMap, VecDeque};

/// What a line is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A blank line.
    Keepalive,
    /// An acknowledgement.
    Ack,
    /// A message or a datagram.
    Message,
    /// A probe or a rewind.
    Probe,
    /// A goodbye.
    Bye,
    /// Hello, welcome, refusal, or a classic id line.
    Hello,
    /// A line that was written in part.
    Torn,
}

/// A line that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// On which stream.
    pub stream: StreamId,
    /// The node that opened the stream.
    pub opener: NodeId,
    /// Which way.
    pub direction: Direction,
    /// When it was written, in milliseconds.
    pub written_ms: u64,
    /// When its last byte arrived, in milliseconds; `None`: never.
    pub arrived_ms: Option<u64>,
    /// How many of its bytes, the LF included, arrived.
    pub got: usize,
    /// It was on its way when the run ended.
    pub under_way: bool,
    /// What it is for.
    pub kind: Kind,
    /// Its bytes without LF.
    pub bytes: Vec<u8>,
    /// The frame before it that carried the same message, if any.
    pub repeats: Option<usize>,
    /// The frame after it that carries the same message, if any.
    pub repeated_by: Option<usize>,
}

/// One direction of a stream while it is read.
#[derive(Debug, Default)]
struct Reading {
    unfinished: Vec<u8>,
    since: u64,
    /// Frames of which bytes are still to arrive, and how many.
    awaited: VecDeque<(usize, usize)>,
    /// Bytes that arrived of the line that is not finished.
    early: usize,
    lines: usize,
}

#[derive(Debug)]
struct Wire {
    opener: NodeId,
    native: bool,
    closed: bool,
    ways: [Reading; 2],
}

/// A frame on its way for longer than this when the run ends is lost.
const UNDER_WAY_MS: u64 = 2_000;

pub(super) fn all(events: &[Traced], end_ms: u64) -> Vec<Frame> {
    let mut wires: BTreeMap<StreamId, Wire> = BTreeMap::new();
    let mut frames = Vec::new();
    for Traced { at, what } in events {
        match what {
            Happened::Opened { stream, from, .. } => {
                let wire = Wire { opener: *from, native: false, closed: false, ways: Default::default() };
                wires.insert(*stream, wire);
            }
            Happened::Written { stream, direction, bytes } => {
                if let Some(wire) = wires.get_mut(stream) {
                    wire.write(*stream, *direction, at.as_millis(), bytes, &mut frames);
                }
            }
            Happened::Arrived { stream, direction, bytes } => {
                if let Some(wire) = wires.get_mut(stream) {
                    wire.ways[usize::from(direction.0)].arrive(at.as_millis(), bytes.len(), &mut frames);
                }
            }
            Happened::Closed { stream, .. } => {
                if let Some(wire) = wires.get_mut(stream) {
                    wire.closed = true;
                }
            }
            _ => {}
        }
    }
    for (stream, wire) in wires {
        for (side, way) in wire.ways.into_iter().enumerate() {
            for (index, _) in way.awaited {
                let frame: &mut Frame = &mut frames[index];
                frame.under_way = !wire.closed && end_ms - frame.written_ms < UNDER_WAY_MS;
            }
            if !way.unfinished.is_empty() {
                let mut frame = Frame::new(stream, wire.opener, Direction(side as u8), way.since, Kind::Torn, way.unfinished);
                frame.got = way.early;
                frames.push(frame);
            }
        }
    }
    frames.sort_by_key(|frame| frame.written_ms);
    tie_repeats(&mut frames);
    frames
}

impl Frame {
    fn new(stream: StreamId, opener: NodeId, direction: Direction, written_ms: u64, kind: Kind, bytes: Vec<u8>) -> Self {
        let (arrived_ms, repeats, repeated_by) = (None, None, None);
        Self { stream, opener, direction, written_ms, arrived_ms, got: 0, under_way: false, kind, bytes, repeats, repeated_by }
    }

    /// The text of a message, without what the profile puts before it.
    fn text(&self) -> Option<&[u8]> {
        if self.kind != Kind::Message {
            return None;
        }
        match self.bytes.first() {
            Some(b'M') => self.bytes.iter().position(|&byte| byte == b' ').map(|space| &self.bytes[space + 1..]),
            Some(b'D') => None,
            _ => self.bytes.get(2..),
        }
    }
}

impl Wire {
    fn write(&mut self, stream: StreamId, direction: Direction, at: u64, bytes: &[u8], frames: &mut Vec<Frame>) {
        let side = usize::from(direction.0);
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            let way = &mut self.ways[side];
            if way.unfinished.is_empty() {
                way.since = at;
            }
            way.unfinished.extend_from_slice(piece);
            if !way.unfinished.ends_with(b"\n") {
                continue;
            }
            let mut line = std::mem::take(&mut way.unfinished);
            line.pop();
            let (since, first) = (way.since, side == 0 && way.lines == 0);
            way.lines += 1;
            let early = std::mem::take(&mut way.early);
            way.awaited.push_back((frames.len(), line.len() + 1 - early.min(line.len())));
            self.native |= first && line.starts_with(b"HOLD/");
            let kind = if first { Kind::Hello } else { self.kind(&line) };
            let mut frame = Frame::new(stream, self.opener, direction, since, kind, line);
            frame.got = early;
            frames.push(frame);
        }
    }

    fn kind(&self, line: &[u8]) -> Kind {
        match line {
            [] => Kind::Keepalive,
            [b'A', ..] if self.native => Kind::Ack,
            [b'P' | b'R', ..] if self.native => Kind::Probe,
            [b'B', ..] if self.native => Kind::Bye,
            [b'H', ..] if self.native => Kind::Hello,
            [high, low] if !self.native && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => Kind::Ack,
            _ => Kind::Message,
        }
    }
}

impl Reading {
    fn arrive(&mut self, at: u64, mut length: usize, frames: &mut [Frame]) {
        while length > 0 {
            let Some((index, missing)) = self.awaited.front_mut() else {
                self.early += length;
                return;
            };
            let taken = length.min(*missing);
            (length, *missing) = (length - taken, *missing - taken);
            frames[*index].got += taken;
            if *missing == 0 {
                frames[*index].arrived_ms = Some(at);
                self.awaited.pop_front();
            }
        }
    }
}

/// Ties each message to the copy of it before and after: the applications of a fleet number their texts, so a text is one message.
fn tie_repeats(frames: &mut [Frame]) {
    let mut last: BTreeMap<(NodeId, Direction, Vec<u8>), usize> = BTreeMap::new();
    for index in 0..frames.len() {
        let Some(text) = frames[index].text() else { continue };
        let key = (frames[index].opener, frames[index].direction, text.to_vec());
        if let Some(before) = last.insert(key, index) {
            frames[index].repeats = Some(before);
            frames[before].repeated_by = Some(index);
        }
    }
}
