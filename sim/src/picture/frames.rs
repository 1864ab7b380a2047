//! Lines and their fates, put together from what was written and what arrived.

mod arriving;

use crate::stream::Direction;
use crate::trace::{Happened, Traced};
use crate::world::{NodeId, StreamId};
use arriving::Arriving;
use holdline_proto::unchecked;
use std::collections::BTreeMap;

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

/// What noise made of a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Damaged {
    /// So many of its bytes had a bit flipped.
    pub flipped: usize,
    /// So many never arrived.
    pub dropped: usize,
    /// What its reader found: a line without LF, several with LF between them, or what has not been ended yet. A line whose LF was damaged
    /// goes on in the next one.
    pub read: Vec<u8>,
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
    /// When its last byte arrived, or noise took it, in milliseconds; `None`: never.
    pub arrived_ms: Option<u64>,
    /// How many of its bytes, the LF included, arrived or were damaged.
    pub got: usize,
    /// What noise made of it, if its reader found something else in its place.
    pub damage: Option<Damaged>,
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
struct Way {
    unfinished: Vec<u8>,
    since: u64,
    /// Its frames, in the order in which they were written.
    frames: Vec<usize>,
    arriving: Arriving,
}

#[derive(Debug)]
struct Wire {
    opener: NodeId,
    native: bool,
    closed: bool,
    ways: [Way; 2],
}

/// A frame on its way for longer than this when the run ends is lost.
const UNDER_WAY_MS: u64 = 2_000;

pub(super) fn all(events: &[Traced], end_ms: u64) -> Vec<Frame> {
    let mut wires: BTreeMap<StreamId, Wire> = BTreeMap::new();
    let mut frames = Vec::new();
    // What was written first: a line may arrive in part before its end is written.
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
            Happened::Closed { stream, .. } => {
                if let Some(wire) = wires.get_mut(stream) {
                    wire.closed = true;
                }
            }
            _ => {}
        }
    }
    for (stream, wire) in &mut wires {
        wire.end(*stream, &mut frames);
    }
    for Traced { at, what } in events {
        let (Happened::Arrived { stream, direction, .. } | Happened::Noise { stream, direction, .. }) = what else { continue };
        let Some(wire) = wires.get_mut(stream) else { continue };
        let Way { frames: written, arriving, .. } = &mut wire.ways[usize::from(direction.0)];
        match what {
            Happened::Noise { flipped, dropped, .. } => {
                arriving.disturb(flipped, dropped, at.as_millis(), written, &mut frames);
            }
            Happened::Arrived { bytes, .. } => arriving.arrive(bytes, at.as_millis(), written, &mut frames),
            _ => {}
        }
    }
    for wire in wires.into_values() {
        for way in wire.ways {
            way.arriving.end(&mut frames);
            for index in way.frames {
                let frame: &mut Frame = &mut frames[index];
                let is_late = frame.arrived_ms.is_none() && frame.kind != Kind::Torn;
                frame.under_way = is_late && !wire.closed && end_ms - frame.written_ms < UNDER_WAY_MS;
            }
        }
    }
    frames.sort_by_key(|frame| frame.written_ms);
    tie_repeats(&mut frames);
    frames
}

impl Frame {
    fn new(stream: StreamId, opener: NodeId, direction: Direction, written_ms: u64, kind: Kind, bytes: Vec<u8>) -> Self {
        let (arrived_ms, damage, repeats, repeated_by) = (None, None, None, None);
        let (got, under_way) = (0, false);
        Self { stream, opener, direction, written_ms, arrived_ms, got, damage, under_way, kind, bytes, repeats, repeated_by }
    }

    /// The text of a message, without what the profile puts before it.
    fn text(&self) -> Option<&[u8]> {
        if self.kind != Kind::Message {
            return None;
        }
        let bytes = unchecked(&self.bytes).unwrap_or(&self.bytes);
        match bytes.first() {
            Some(b'M') => bytes.iter().position(|&byte| byte == b' ').map(|space| &bytes[space + 1..]),
            Some(b'D') => None,
            _ => bytes.get(2..),
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
            let (since, first) = (way.since, side == 0 && way.frames.is_empty());
            way.frames.push(frames.len());
            self.native |= first && line.starts_with(b"HOLD/");
            let kind = if first { Kind::Hello } else { self.kind(&line) };
            frames.push(Frame::new(stream, self.opener, direction, since, kind, line));
        }
    }

    /// What was written in part goes on no more.
    fn end(&mut self, stream: StreamId, frames: &mut Vec<Frame>) {
        for (side, way) in self.ways.iter_mut().enumerate().filter(|(_, way)| !way.unfinished.is_empty()) {
            way.frames.push(frames.len());
            let unfinished = std::mem::take(&mut way.unfinished);
            frames.push(Frame::new(stream, self.opener, Direction(side as u8), way.since, Kind::Torn, unfinished));
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
