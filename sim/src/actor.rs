//! Holdline in the world: a device with its supervisor, the server, and the applications on both ends.

mod accounts;
mod aftermath;
mod application;
mod backoff;
mod device;
mod flash;
mod hub;
mod listening;
mod profile;
mod store;

pub use accounts::{Accounts, Shared};
pub use aftermath::End;
pub use application::Traffic;
pub use device::{Device, DeviceSetup};
pub use flash::Flash;
pub use hub::{Hub, HubMemory};
pub use profile::Profile;

pub(crate) use backoff::Herd;
pub(crate) use hub::Kept as HubKept;

use crate::trace::Remark;
use crate::world::{Command, Machine, StreamId};
use holdline_proto::{ConnectFailure, Instant};

/// One Holdline endpoint.
#[derive(Debug)]
pub enum Actor {
    /// A device.
    Device(Box<Device>),
    /// The server.
    Server(Box<Hub>),
}

macro_rules! both {
    ($actor:expr, $inner:ident => $do:expr) => {
        match $actor {
            Actor::Device($inner) => $do,
            Actor::Server($inner) => $do,
        }
    };
}

impl Machine for Actor {
    fn handle_opened(&mut self, now: Instant, stream: StreamId, incoming: bool, random: u64) {
        both!(self, inner => inner.handle_opened(now, stream, incoming, random));
    }
    fn handle_connect_failed(&mut self, now: Instant, failure: ConnectFailure) {
        both!(self, inner => inner.handle_connect_failed(now, failure));
    }
    fn handle_input(&mut self, now: Instant, stream: StreamId, bytes: &[u8]) -> usize {
        both!(self, inner => inner.handle_input(now, stream, bytes))
    }
    fn handle_transmitted(&mut self, now: Instant, stream: StreamId, bytes: usize) {
        both!(self, inner => inner.handle_transmitted(now, stream, bytes));
    }
    fn handle_closed(&mut self, now: Instant, stream: StreamId) {
        both!(self, inner => inner.handle_closed(now, stream));
    }
    fn handle_timeout(&mut self, now: Instant, stream: Option<StreamId>) {
        both!(self, inner => inner.handle_timeout(now, stream));
    }
    fn poll_transmit(&mut self, stream: StreamId, buffer: &mut [u8]) -> usize {
        both!(self, inner => inner.poll_transmit(stream, buffer))
    }
    fn poll_timeout(&self, stream: Option<StreamId>) -> Option<Instant> {
        both!(self, inner => inner.poll_timeout(stream))
    }
    fn poll_command(&mut self) -> Option<Command> {
        both!(self, inner => inner.poll_command())
    }
    fn poll_dirty(&mut self) -> Option<StreamId> {
        both!(self, inner => inner.poll_dirty())
    }
    fn poll_remark(&mut self) -> Option<Remark> {
        both!(self, inner => inner.poll_remark())
    }
}
