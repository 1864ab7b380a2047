//! A host and its relay together, in virtual time: over a cable that flips, drops, splits and stalls, whatever becomes of the relay, the
//! network and the host, nothing is lost, repeated or out of order.
#![cfg(feature = "relay")]
#![allow(unreachable_pub, missing_debug_implementations, reason = "it is all for tests")]

mod cable;
mod chip;
mod dropping;
#[cfg(feature = "durable")]
mod durable;
mod outages;
mod passing;
mod speed;
mod stage;
mod stories;
mod telling;
#[path = "../world/mod.rs"]
mod world;
