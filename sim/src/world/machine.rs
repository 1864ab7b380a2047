//! What lives in a world: the trait that a state machine implements.

use crate::trace::Remark;
use holdline_proto::{ConnectFailure, Instant};

/// One of the machines of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

/// One stream of a world; an id is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u32);

/// What a machine asks of its world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Open a stream to a node; the outcome comes as `handle_opened` or `handle_connect_failed`.
    Connect {
        /// Whom to connect to.
        to: NodeId,
        /// Give up after this time, in milliseconds.
        timeout_ms: u32,
    },
    /// Close a stream: what was written before still arrives, then the other side sees the end.
    Close(StreamId),
}

/// A state machine that lives in a world.
///
/// It reads no clock and opens no socket. The world tells it what happened, with the time (`handle_…`), and then asks what it
/// wants (`poll_…`) until there is no more: bytes for the stream that the input was about, then `poll_dirty`, `poll_command`,
/// `poll_remark`, and when it wants to be woken. Five methods have to be written; the others stand for things that a machine may
/// do without.
///
/// ```
/// use holdline_sim::{Access, Command, Instant, Machine, StreamId, World};
///
/// /// Sends back what it gets.
/// #[derive(Default)]
/// struct Echo {
///     text: Vec<u8>,
/// }
///
/// impl Machine for Echo {
///     fn handle_opened(&mut self, _now: Instant, _stream: StreamId, _incoming: bool, _random: u64) {}
///
///     fn handle_input(&mut self, _now: Instant, _stream: StreamId, bytes: &[u8]) -> usize {
///         self.text.extend(bytes);
///         bytes.len()
///     }
///
///     fn poll_transmit(&mut self, _stream: StreamId, buffer: &mut [u8]) -> usize {
///         let length = self.text.len().min(buffer.len());
///         buffer[..length].copy_from_slice(&self.text[..length]);
///         self.text.drain(..length);
///         length
///     }
///
///     fn handle_timeout(&mut self, _now: Instant, _stream: Option<StreamId>) {}
///
///     fn poll_timeout(&self, _stream: Option<StreamId>) -> Option<Instant> {
///         None
///     }
/// }
///
/// let mut world = World::new(1);
/// world.add(Echo::default(), Access::default());
/// world.run_until(Instant::from_millis(1_000));
/// ```
pub trait Machine {
    /// A stream is open: one that was asked for, or one from another node. `random` is a number for this stream alone.
    fn handle_opened(&mut self, now: Instant, stream: StreamId, incoming: bool, random: u64);

    /// Bytes have arrived; returns how many are done with. The rest is presented again, in front of what arrives next.
    fn handle_input(&mut self, now: Instant, stream: StreamId, bytes: &[u8]) -> usize;

    /// Writes bytes for a stream, and returns how many; 0 when there is nothing more.
    fn poll_transmit(&mut self, stream: StreamId, buffer: &mut [u8]) -> usize;

    /// A deadline has come: of a stream, or of the machine itself.
    fn handle_timeout(&mut self, now: Instant, stream: Option<StreamId>);

    /// When `handle_timeout` is wanted: for a stream, or for the machine itself.
    fn poll_timeout(&self, stream: Option<StreamId>) -> Option<Instant>;

    /// A stream that was asked for could not be opened.
    fn handle_connect_failed(&mut self, _now: Instant, _failure: ConnectFailure) {}

    /// The transport took the next `bytes` of what `poll_transmit` gave.
    fn handle_transmitted(&mut self, _now: Instant, _stream: StreamId, _bytes: usize) {}

    /// The other side has closed the stream, or it broke.
    fn handle_closed(&mut self, _now: Instant, _stream: StreamId) {}

    /// The next thing to do in the world.
    fn poll_command(&mut self) -> Option<Command> {
        None
    }

    /// A stream that has something to say although no input was about it.
    fn poll_dirty(&mut self) -> Option<StreamId> {
        None
    }

    /// What it has to say of itself, for those who look at the run.
    fn poll_remark(&mut self) -> Option<Remark> {
        None
    }
}
