//! What became of written lines at their reader, byte by byte.

use super::{Damaged, Frame, Kind};
use std::collections::BTreeSet;

/// One direction of a stream at its reader.
#[derive(Debug, Default)]
pub(super) struct Arriving {
    /// How many frames have passed, and how many bytes of the next one.
    passed: (usize, usize),
    /// How many bytes have.
    place: u64,
    /// What noise has done to bytes that have not passed yet, by their places.
    flipped: BTreeSet<u64>,
    dropped: BTreeSet<u64>,
    /// The line that is being read, and the frames that its bytes are from.
    line: Vec<u8>,
    parts: Vec<usize>,
}

impl Arriving {
    /// Noise damages bytes at these places.
    pub(super) fn disturb(&mut self, flipped: &[u64], dropped: &[u64], at: u64, written: &[usize], frames: &mut [Frame]) {
        self.flipped.extend(flipped);
        self.dropped.extend(dropped);
        self.pass_dropped(at, written, frames);
    }

    /// Bytes arrive; `written` are the frames of this direction.
    pub(super) fn arrive(&mut self, bytes: &[u8], at: u64, written: &[usize], frames: &mut [Frame]) {
        for &byte in bytes {
            let Some(&index) = written.get(self.passed.0) else { return };
            if self.flipped.remove(&self.place) {
                damage(&mut frames[index]).flipped += 1;
            }
            self.take_part(index);
            self.pass(at, index, frames);
            if byte == b'\n' {
                self.end_line(frames);
            } else {
                self.line.push(byte);
            }
            self.pass_dropped(at, written, frames);
        }
    }

    /// Nothing arrives any more: what was not ended was no line.
    pub(super) fn end(mut self, frames: &mut [Frame]) {
        for index in std::mem::take(&mut self.parts) {
            if frames[index].arrived_ms.is_some() || frames[index].damage.is_some() {
                damage(&mut frames[index]).add(&self.line);
            }
        }
    }

    fn take_part(&mut self, index: usize) {
        if self.parts.last() != Some(&index) {
            self.parts.push(index);
        }
    }

    /// One byte of a frame has passed, or is lost.
    fn pass(&mut self, at: u64, index: usize, frames: &mut [Frame]) {
        let frame = &mut frames[index];
        frame.got += 1;
        self.place += 1;
        self.passed.1 += 1;
        if self.passed.1 == frame.bytes.len() + usize::from(frame.kind != Kind::Torn) {
            frame.arrived_ms = (frame.kind != Kind::Torn).then_some(at);
            self.passed = (self.passed.0 + 1, 0);
        }
    }

    fn pass_dropped(&mut self, at: u64, written: &[usize], frames: &mut [Frame]) {
        while self.dropped.remove(&self.place) {
            let Some(&index) = written.get(self.passed.0) else { return };
            damage(&mut frames[index]).dropped += 1;
            self.take_part(index);
            self.pass(at, index, frames);
        }
    }

    /// Of the frames whose bytes are in a line one at most was read as it was written.
    fn end_line(&mut self, frames: &mut [Frame]) {
        let line = std::mem::take(&mut self.line);
        let is_as_written = |&index: &usize| frames[index].arrived_ms.is_some() && frames[index].bytes == line;
        let read = self.parts.iter().copied().find(is_as_written);
        // A frame that a flipped bit has cut in two goes on in the next line.
        let rest = self.parts.last().copied().filter(|&index| frames[index].arrived_ms.is_none());
        for index in std::mem::take(&mut self.parts) {
            if Some(index) == read {
                frames[index].damage = None;
            } else {
                damage(&mut frames[index]).add(&line);
            }
        }
        self.parts.extend(rest);
    }
}

impl Damaged {
    fn add(&mut self, line: &[u8]) {
        if !self.read.is_empty() {
            self.read.push(b'\n');
        }
        self.read.extend_from_slice(line);
    }
}

fn damage(frame: &mut Frame) -> &mut Damaged {
    frame.damage.get_or_insert_default()
}
