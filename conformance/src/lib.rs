//! What an implementation of Holdline must do.
//!
//! [`Specification`] reads the requirements out of `SPEC.md`, and [`Matrix`] holds against them what code and tests cite. [`Case`] is a
//! conformance case, read from the files in `cases/`; [`play`] plays one on a [`bench::Bench`]: against an implementation over TCP,
//! or against the reference [`subject`] in this process.

pub mod bench;
mod case;
mod crc;
mod expression;
mod library;
mod matrix;
pub mod mutant;
pub mod mutation;
mod play;
pub mod report;
mod requirement;
pub mod run;
mod specification;
pub mod subject;
mod template;

pub use case::{Case, CaseError, Field, Mode, Profile, Role, Scalar, Step, Verb};
pub use crc::crc32;
pub use expression::{Names, Value, evaluate, holds, span};
pub use library::{CASES, SPECIFICATION, all_cases, case_exemptions, one_row, specification};
pub use matrix::{Exemption, Matrix, Side};
pub use play::{Entry, Failure, Outcome, Terms, Transcript, Verdict, play};
pub use requirement::{Requirement, cited};
pub use specification::{Level, Passage, Specification};
pub use template::Template;
