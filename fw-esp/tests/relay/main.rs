//! The relay alone, in virtual time: every rule of docs/relay.md, arbitrary bytes, stalls of either side.
#![cfg(feature = "relay")]

mod carrying;
mod chance;
mod page;
mod rules;
mod stage;
#[path = "../world/mod.rs"]
mod world;
