//! What an implementation of Holdline must do.
//!
//! This crate is to hold the conformance cases as data, the runner that plays them against any implementation, and the
//! matrix of requirements against the cases and tests that check them.
//!
//! Today it reads citations: [`requirement::cited`] finds every requirement that a text names.

pub mod requirement;
