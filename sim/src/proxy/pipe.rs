//! One direction of a connection: bytes in, stages, bytes out.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};
use tokio::time::Instant;

use super::stage::{Item, Ready, Stage};

/// Pieces that wait before the first stage at most.
const MOST_WAITING: usize = 64;

/// A queue with [`Stage`]s, which never holds more than its capacity.
///
/// It is a value: it is told the time and moves nothing by itself.
#[derive(Debug)]
pub(super) struct Pipe {
    capacity: usize,
    held: usize,
    received: u64,
    sent: u64,
    /// An [`Item::Eof`] or [`Item::Reset`] went in.
    ended: bool,
    /// It came out.
    done: bool,
    input: VecDeque<Item>,
    stages: Vec<Stage>,
    front: Option<Item>,
}

impl Pipe {
    pub(super) const fn new(capacity: usize) -> Self {
        Self {
            capacity,
            held: 0,
            received: 0,
            sent: 0,
            ended: false,
            done: false,
            input: VecDeque::new(),
            stages: Vec::new(),
            front: None,
        }
    }

    /// How many bytes it takes now.
    pub(super) fn room(&self) -> usize {
        if self.ended || self.input.len() >= MOST_WAITING { 0 } else { self.capacity - self.held }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Bytes taken since the connection opened.
    pub(super) const fn received(&self) -> u64 {
        self.received
    }

    /// Bytes passed on since the connection opened.
    pub(super) const fn sent(&self) -> u64 {
        self.sent
    }

    /// Whether the end of the stream has come out.
    pub(super) const fn is_done(&self) -> bool {
        self.done
    }

    /// Takes bytes, [`room`](Self::room) of them at most.
    pub(super) fn push(&mut self, bytes: Bytes) {
        debug_assert!(bytes.len() <= self.capacity - self.held, "no more than there is room for");
        self.held += bytes.len();
        self.received += bytes.len() as u64;
        self.input.push_back(Item::Data(bytes));
    }

    /// Takes the end of the stream: [`Item::Eof`] or [`Item::Reset`].
    pub(super) fn end(&mut self, end: Item) {
        self.ended = true;
        self.input.push_back(end);
    }

    /// Its stages, in order.
    pub(super) const fn stages(&mut self) -> &mut Vec<Stage> {
        &mut self.stages
    }

    /// What is next to come out at `now`.
    pub(super) fn front(&mut self, now: Instant) -> Option<&Item> {
        while self.advance(now) {}
        self.front.as_ref()
    }

    /// The front's first bytes were passed on.
    pub(super) fn sent_bytes(&mut self, count: usize) {
        self.sent += count as u64;
        self.drop_bytes(count);
    }

    /// The front is done with: a mark, an end, or bytes to be lost.
    pub(super) fn drop_front(&mut self) {
        match &self.front {
            Some(Item::Data(bytes)) => self.drop_bytes(bytes.len()),
            Some(Item::Eof | Item::Reset) => {
                self.done = true;
                self.front = None;
            }
            _ => self.front = None,
        }
    }

    /// When something may come out that may not yet.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let due = |stage: &Stage| match stage.ready() {
            Ready::At(ready) if ready > now => Some(ready),
            _ => None,
        };
        self.stages.iter().filter_map(due).min()
    }

    /// Lets everything move that may; says whether something did.
    fn advance(&mut self, now: Instant) -> bool {
        self.stages.retain(|stage| !stage.is_spent());
        let mut moved = false;
        for at in 0..self.stages.len() {
            while self.stages[at].wants() {
                let next = if at == 0 { self.input.pop_front() } else { self.stages[at - 1].pop(now) };
                let Some(item) = next else { break };
                self.held -= self.stages[at].push(item, now);
                moved = true;
            }
        }
        if self.front.is_none() {
            self.front = self.stages.last_mut().map_or_else(|| self.input.pop_front(), |last| last.pop(now));
            moved |= self.front.is_some();
        }
        moved
    }

    fn drop_bytes(&mut self, count: usize) {
        self.held -= count;
        if let Some(Item::Data(bytes)) = &mut self.front {
            bytes.advance(count);
            if bytes.is_empty() {
                self.front = None;
            }
        }
    }
}
