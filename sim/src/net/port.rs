//! A host as the world sees it: a machine that does nothing but hold what its sockets have written and have not read.

use crate::world::{Command, Machine, StreamId};
use holdline_proto::{ConnectFailure, Instant};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::task::{Context, Poll, Waker};

/// Bytes that a socket takes before the world has taken them.
const UNSENT_MAX: usize = 16 * 1024;

/// The machine of a host.
#[derive(Debug, Default)]
pub struct Port {
    sockets: BTreeMap<StreamId, Ends>,
    /// The number of the listener, if there is one.
    listener: Option<u32>,
    /// How many there have been.
    listeners: u32,
    unaccepted: VecDeque<StreamId>,
    accepting: Option<Waker>,
    /// Who waits for a stream to open.
    opening: Vec<Waker>,
    dirty: VecDeque<StreamId>,
    commands: VecDeque<Command>,
    heard: Instant,
}

/// What waits on its way from and to one socket.
#[derive(Debug, Default)]
struct Ends {
    unread: VecDeque<u8>,
    unsent: VecDeque<u8>,
    /// Bytes that the world has, and has no room for yet.
    taken: usize,
    has_ended: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Ends {
    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

impl Port {
    /// Begins to listen, and says what the listener is called; another one that there was gets nothing more.
    pub(super) fn listen(&mut self) -> u32 {
        self.listeners += 1;
        self.listener = Some(self.listeners);
        self.listeners
    }

    /// Stops to listen, if this is the listener still; returns the connections that nobody accepted.
    pub(super) fn stop_listening(&mut self, listener: u32) -> VecDeque<StreamId> {
        if self.listener != Some(listener) {
            return VecDeque::new();
        }
        self.listener = None;
        let unaccepted = std::mem::take(&mut self.unaccepted);
        self.sockets.retain(|stream, _| !unaccepted.contains(stream));
        unaccepted
    }

    pub(super) fn accept(&mut self, cx: &Context<'_>, listener: u32) -> Option<StreamId> {
        let accepted = self.unaccepted.pop_front().filter(|_| self.listener == Some(listener));
        if accepted.is_none() {
            self.accepting = Some(cx.waker().clone());
        }
        accepted
    }

    /// Whether a stream is open, or was.
    pub(super) fn is_open(&self, stream: StreamId) -> bool {
        self.sockets.contains_key(&stream)
    }

    pub(super) fn wait_open(&mut self, cx: &Context<'_>) {
        if !self.opening.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.opening.push(cx.waker().clone());
        }
    }

    pub(super) fn heard(&self) -> Instant {
        self.heard
    }

    /// Forgets every socket and the listener; who uses a socket notices.
    pub(super) fn lose_everything(&mut self) {
        for ends in self.sockets.values_mut() {
            ends.wake();
        }
        self.wake_opening();
        *self = self.anew();
    }

    /// What the host is when it starts again.
    pub(super) fn anew(&self) -> Self {
        Self { heard: self.heard, listeners: self.listeners, ..Self::default() }
    }

    /// Forgets a socket; returns what it has written and the world has not taken.
    pub(super) fn forget(&mut self, stream: StreamId) -> Vec<u8> {
        self.sockets.remove(&stream).map(|ends| ends.unsent.into()).unwrap_or_default()
    }

    fn wake_opening(&mut self) {
        for waker in self.opening.drain(..) {
            waker.wake();
        }
    }

    /// Reads what has arrived; an empty slice is the end.
    pub(super) fn read(&mut self, cx: &Context<'_>, stream: StreamId, room: usize) -> Poll<io::Result<Vec<u8>>> {
        let Some(ends) = self.sockets.get_mut(&stream) else { return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())) };
        if ends.unread.is_empty() && !ends.has_ended {
            ends.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(ends.unread.drain(..room.min(ends.unread.len())).collect()))
    }

    /// Takes as many bytes as there is room for.
    pub(super) fn write(&mut self, cx: &Context<'_>, stream: StreamId, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Some(ends) = self.sockets.get_mut(&stream).filter(|ends| !ends.has_ended) else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let room = UNSENT_MAX.saturating_sub(ends.unsent.len() + ends.taken).min(bytes.len());
        if room == 0 && !bytes.is_empty() {
            ends.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        ends.unsent.extend(&bytes[..room]);
        self.dirty.push_back(stream);
        Poll::Ready(Ok(room))
    }
}

impl Machine for Port {
    fn handle_opened(&mut self, now: Instant, stream: StreamId, incoming: bool, _random: u64) {
        self.heard = now;
        if incoming && self.listener.is_none() {
            self.commands.push_back(Command::Close(stream));
            return;
        }
        self.sockets.insert(stream, Ends::default());
        if incoming {
            self.unaccepted.push_back(stream);
            if let Some(waker) = self.accepting.take() {
                waker.wake();
            }
        } else {
            self.wake_opening();
        }
    }

    fn handle_connect_failed(&mut self, _now: Instant, _failure: ConnectFailure) {
        self.wake_opening();
    }

    fn handle_input(&mut self, now: Instant, stream: StreamId, bytes: &[u8]) -> usize {
        self.heard = now;
        if let Some(ends) = self.sockets.get_mut(&stream) {
            ends.unread.extend(bytes);
            if let Some(waker) = ends.reader.take() {
                waker.wake();
            }
        }
        bytes.len()
    }

    fn handle_transmitted(&mut self, _now: Instant, stream: StreamId, bytes: usize) {
        if let Some(ends) = self.sockets.get_mut(&stream) {
            ends.taken -= bytes.min(ends.taken);
            if let Some(waker) = ends.writer.take() {
                waker.wake();
            }
        }
    }

    fn handle_closed(&mut self, _now: Instant, stream: StreamId) {
        if let Some(ends) = self.sockets.get_mut(&stream) {
            ends.has_ended = true;
            ends.wake();
        }
    }

    fn handle_timeout(&mut self, _now: Instant, _stream: Option<StreamId>) {}

    fn poll_transmit(&mut self, stream: StreamId, buffer: &mut [u8]) -> usize {
        let Some(ends) = self.sockets.get_mut(&stream) else { return 0 };
        let count = buffer.len().min(ends.unsent.len());
        for (to, from) in buffer.iter_mut().zip(ends.unsent.drain(..count)) {
            *to = from;
        }
        ends.taken += count;
        count
    }

    fn poll_timeout(&self, _stream: Option<StreamId>) -> Option<Instant> {
        None
    }

    fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    fn poll_dirty(&mut self) -> Option<StreamId> {
        self.dirty.pop_front()
    }
}
