//! What happened in a run: one hash of everything, and the events themselves where somebody wants to look.

use crate::stream::Direction;
use crate::world::{NodeId, StreamId};
use holdline_proto::{ConnectFailure, Instant};
use std::collections::BTreeMap;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traced {
    /// When.
    pub at: Instant,
    /// What.
    pub what: Happened,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    /// A node began to open a stream.
    Asked {
        /// The stream.
        stream: StreamId,
        /// Who opens it.
        from: NodeId,
        /// To whom.
        to: NodeId,
    },
    /// A stream was opened.
    Opened {
        /// The stream.
        stream: StreamId,
        /// Who opened it.
        from: NodeId,
        /// To whom.
        to: NodeId,
    },
    /// A connection attempt failed.
    Failed {
        /// The stream that was asked for.
        stream: StreamId,
        /// Whose.
        node: NodeId,
        /// How.
        failure: ConnectFailure,
    },
    /// A machine wrote bytes.
    Written {
        /// On which stream.
        stream: StreamId,
        /// Which way.
        direction: Direction,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Bytes arrived.
    Arrived {
        /// On which stream.
        stream: StreamId,
        /// Which way they came.
        direction: Direction,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Noise damaged bytes that arrived in this moment, or would have; the bytes that do arrive follow.
    Noise {
        /// On which stream.
        stream: StreamId,
        /// Which way they came.
        direction: Direction,
        /// Which bytes had bits flipped, by their place among all that were written this way, counted from 0.
        flipped: Vec<u64>,
        /// Which bytes did not arrive.
        dropped: Vec<u64>,
    },
    /// A node saw its stream end.
    Closed {
        /// The stream.
        stream: StreamId,
        /// Who saw it.
        node: NodeId,
    },
    /// A node lost its power, or got it again.
    Power {
        /// Whose.
        node: NodeId,
        /// Whether it has power now.
        on: bool,
    },
    /// What a machine says of itself.
    Remark {
        /// Whose.
        node: NodeId,
        /// What it says.
        remark: Remark,
    },
    /// An outage began or ended for a node.
    Outage {
        /// Which of the story's outages, counted from 0.
        number: u32,
        /// Whom it concerns.
        node: NodeId,
        /// Whether it begins now.
        begins: bool,
    },
    /// Something the world does not see by itself.
    Note {
        /// Where.
        node: NodeId,
        /// In words.
        text: String,
    },
}

/// What a machine says of itself, for those who look at the run; it changes nothing in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remark {
    /// Its session is up.
    Up,
    /// Its session is down, for this reason.
    Down(String),
}

#[derive(Debug, Default)]
pub(crate) struct Trace {
    hash: u64,
    bytes_written: u64,
    kept: Option<Vec<Traced>>,
    counts: Option<Counts>,
}

/// What was written on all streams of the nodes that opened them.
#[derive(Debug, Default)]
struct Counts {
    openers: BTreeMap<StreamId, NodeId>,
    /// By the node that opened the stream, and whether it was the writer.
    written: BTreeMap<(NodeId, bool), Written>,
}

/// How much was written one way.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Written {
    pub(crate) bytes: u64,
    pub(crate) lines: u64,
}

impl Trace {
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn bytes_written(&self) -> u64 {
        self.bytes_written
    }

    pub(crate) fn record(&mut self) {
        self.kept.get_or_insert_default();
    }

    pub(crate) fn kept(&self) -> &[Traced] {
        self.kept.as_deref().unwrap_or_default()
    }

    pub(crate) fn count(&mut self) {
        self.counts.get_or_insert_default();
    }

    pub(crate) fn counted(&self, opener: NodeId, up: bool) -> Written {
        self.counts.as_ref().and_then(|counts| counts.written.get(&(opener, up))).copied().unwrap_or_default()
    }

    pub(crate) fn timer(&mut self, at: Instant, node: NodeId, stream: Option<StreamId>) {
        self.mix(1, at, u64::from(node.0) << 32 | stream.map_or(u64::from(u32::MAX), |stream| stream.0.into()));
    }

    // What follows from the rest is kept for those who look, and is no part of the hash.

    pub(crate) fn asked(&mut self, at: Instant, stream: StreamId, from: NodeId, to: NodeId) {
        self.keep(at, || Happened::Asked { stream, from, to });
    }

    pub(crate) fn power(&mut self, at: Instant, node: NodeId, on: bool) {
        self.keep(at, || Happened::Power { node, on });
    }

    pub(crate) fn remark(&mut self, at: Instant, node: NodeId, remark: Remark) {
        self.keep(at, || Happened::Remark { node, remark });
    }

    pub(crate) fn outage(&mut self, at: Instant, number: u32, node: NodeId, begins: bool) {
        self.keep(at, || Happened::Outage { number, node, begins });
    }

    pub(crate) fn noise(&mut self, at: Instant, stream: StreamId, direction: Direction, flipped: Vec<u64>, dropped: Vec<u64>) {
        if !flipped.is_empty() || !dropped.is_empty() {
            self.keep(at, || Happened::Noise { stream, direction, flipped, dropped });
        }
    }

    pub(crate) fn opened(&mut self, at: Instant, stream: StreamId, from: NodeId, to: NodeId) {
        self.mix(2, at, u64::from(from.0) << 32 | u64::from(to.0));
        if let Some(counts) = &mut self.counts {
            counts.openers.insert(stream, from);
        }
        self.keep(at, || Happened::Opened { stream, from, to });
    }

    pub(crate) fn failed(&mut self, at: Instant, stream: StreamId, node: NodeId, failure: ConnectFailure) {
        self.mix(3, at, u64::from(node.0) << 8 | failure as u64);
        self.keep(at, || Happened::Failed { stream, node, failure });
    }

    pub(crate) fn written(&mut self, at: Instant, stream: StreamId, direction: Direction, bytes: &[u8]) {
        self.bytes_written += bytes.len() as u64;
        if let Some(counts) = &mut self.counts
            && let Some(&opener) = counts.openers.get(&stream)
        {
            let written = counts.written.entry((opener, direction.0 == 0)).or_default();
            written.bytes += bytes.len() as u64;
            written.lines += bytes.iter().filter(|&&byte| byte == b'\n').count() as u64;
        }
        self.mix_bytes(4, at, stream, direction, bytes);
        self.keep(at, || Happened::Written { stream, direction, bytes: bytes.to_vec() });
    }

    pub(crate) fn arrived(&mut self, at: Instant, stream: StreamId, direction: Direction, bytes: &[u8]) {
        self.mix_bytes(5, at, stream, direction, bytes);
        self.keep(at, || Happened::Arrived { stream, direction, bytes: bytes.to_vec() });
    }

    pub(crate) fn closed(&mut self, at: Instant, stream: StreamId, node: NodeId) {
        self.mix(6, at, u64::from(stream.0) << 32 | u64::from(node.0));
        self.keep(at, || Happened::Closed { stream, node });
    }

    pub(crate) fn note(&mut self, at: Instant, node: NodeId, text: &str) {
        self.mix(7, at, u64::from(node.0));
        self.keep(at, || Happened::Note { node, text: text.to_owned() });
    }

    fn keep(&mut self, at: Instant, what: impl FnOnce() -> Happened) {
        if let Some(kept) = &mut self.kept {
            kept.push(Traced { at, what: what() });
        }
    }

    fn mix_bytes(&mut self, kind: u64, at: Instant, stream: StreamId, direction: Direction, bytes: &[u8]) {
        self.mix(kind, at, u64::from(stream.0) << 8 | u64::from(direction.0));
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix_word(u64::from_le_bytes(word));
        }
    }

    fn mix(&mut self, kind: u64, at: Instant, what: u64) {
        self.mix_word(kind << 56 ^ at.as_millis());
        self.mix_word(what);
    }

    /// One round of multiply and rotate: fast, the same everywhere, and good enough to tell two runs apart.
    fn mix_word(&mut self, word: u64) {
        self.hash = (self.hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}
