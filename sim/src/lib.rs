//! Holdline under faults that can be repeated.

pub mod actor;
pub mod ledger;
pub mod rng;
mod stream;
mod trace;
mod world;

pub use stream::{Direction, Fate};
pub use trace::{Happened, Traced};
pub use world::{Access, Command, Connecting, Machine, NodeId, StreamId, World};
