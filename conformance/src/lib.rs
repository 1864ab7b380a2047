//! What an implementation of Holdline must do.
//!
//! This crate is to hold the conformance cases as data, and the runner that plays them against any implementation.
//!
//! Today it knows the requirements: [`Specification`] reads them out of `SPEC.md`, and [`Matrix`] holds against them what code and
//! tests cite. The test `requirements` does that for this repository.

mod matrix;
mod requirement;
mod specification;

pub use matrix::{Exemption, Matrix, Side};
pub use requirement::{Requirement, cited};
pub use specification::{Level, Specification};
