//! Holdline under faults that can be repeated.
//!
//! This crate is to hold a world in virtual time: sessions on both ends, streams that stall, break, lose and cut between
//! them, oracles that know what each application must have got, and scenarios that are replayed from a seed; and the
//! same faults as a proxy between real sockets.
//!
//! Today it has what all of that draws from: [`rng::SplitMix64`], the one source of chance in a run, so that a run is
//! told whole by its seed.

pub mod rng;
