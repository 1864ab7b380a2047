//! Holdline under faults that can be repeated.
//!
//! A [`World`] carries bytes between state machines in virtual time: it jumps from event to event, and everything random in it
//! follows from one seed, so a run is told whole by its seed ([`World::trace_hash`]). It knows nothing of Holdline; any
//! [`Machine`] can live in it.
//!
//! [`fleet::Fleet`] puts a Holdline server and its devices into a world, each with an application that numbers its messages and a
//! [`ledger::Ledger`] that knows, without trusting the sessions, what was lost, repeated or reordered, and what the protocol
//! allows. [`outage::Outage`] names what can go wrong; a [`scenario::Scenario`] is a story of outages, written in a file or drawn from a
//! seed. Every story ends healed: what was promised has to have arrived then.
//!
//! ```
//! use holdline_sim::{actor::Profile, scenario::Scenario};
//!
//! let story = Scenario::random(7);
//! let outcome = story.run(Profile::Native, 7);
//! assert!(outcome.violations.is_empty(), "{:?} in\n{}", outcome.violations, story.to_toml());
//! assert_eq!(outcome.hash, story.run(Profile::Native, 7).hash);
//! ```

pub mod actor;
mod clock;
#[cfg(not(feature = "defects"))]
mod defect;
#[cfg(feature = "defects")]
#[doc(hidden)]
pub mod defect;
pub mod fleet;
pub mod guarantees;
pub mod ledger;
pub mod library;
pub mod live;
pub mod net;
pub mod outage;
pub mod picture;
#[cfg_attr(not(feature = "api"), expect(dead_code, reason = "what only the HTTP API asks for"))]
pub mod proxy;
pub mod rng;
pub mod scenario;
pub mod shrink;
mod stream;
pub mod swarm;
mod trace;
mod world;

pub use holdline_proto::{ConnectFailure, Instant};
pub use stream::{Direction, Fate};
pub use trace::{Happened, Remark, Traced};
pub use world::{Access, Command, Connecting, Damage, Machine, NodeId, StreamId, World};
