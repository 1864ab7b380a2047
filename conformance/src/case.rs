//! A conformance case as it stands in a file, and what it is when all its rows are written out.

mod expand;
mod step;

pub use expand::{Case, CaseError};
pub use step::{Field, Step, Verb};

use crate::specification::Level;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;

/// Which end of the session is the subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It connects.
    Client,
    /// It listens.
    Server,
}

/// Which wire is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Profile {
    /// `native`
    #[serde(rename = "native")]
    Native,
    /// `classic-2020`
    #[serde(rename = "classic-2020")]
    Classic2020,
    /// `classic-2019`
    #[serde(rename = "classic-2019")]
    Classic2019,
}

/// What has to be in the suite's hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The connection.
    Wire,
    /// The application as well.
    Shim,
    /// And its life and its memory.
    Power,
}

impl Role {
    /// The word in a file.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

impl Profile {
    /// The word in a file.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Classic2020 => "classic-2020",
            Self::Classic2019 => "classic-2019",
        }
    }
}

impl Mode {
    /// The word in a file.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Wire => "wire",
            Self::Shim => "shim",
            Self::Power => "power",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A file of cases, one for each chapter.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Chapter {
    /// What the chapter is about.
    title: String,
    #[serde(default, rename = "case")]
    cases: Vec<Written>,
}

/// A case as it was written: with rows that each make a case of their own.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    id: String,
    title: String,
    req: Vec<String>,
    #[serde(default)]
    level: Option<WrittenLevel>,
    role: OneOrMore<Role>,
    #[serde(default = "native")]
    profile: OneOrMore<Profile>,
    #[serde(default = "wire")]
    mode: Mode,
    #[serde(default)]
    needs: Vec<String>,
    #[serde(default)]
    start: BTreeMap<String, Scalar>,
    #[serde(default)]
    for_each: BTreeMap<String, Rows>,
    /// Values by name, that steps can use.
    #[serde(default)]
    given: BTreeMap<String, Scalar>,
    #[serde(default)]
    note: String,
    steps: Vec<step::Written>,
}

fn native() -> OneOrMore<Profile> {
    OneOrMore::One(Profile::Native)
}

fn wire() -> Mode {
    Mode::Wire
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WrittenLevel {
    Must,
    Should,
    May,
}

impl From<WrittenLevel> for Level {
    fn from(level: WrittenLevel) -> Self {
        match level {
            WrittenLevel::Must => Self::Must,
            WrittenLevel::Should => Self::Should,
            WrittenLevel::May => Self::May,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore<T> {
    One(T),
    More(Vec<T>),
}

impl<T: Clone> OneOrMore<T> {
    fn all(&self) -> Vec<T> {
        match self {
            Self::One(one) => vec![one.clone()],
            Self::More(more) => more.clone(),
        }
    }

    fn is_one(&self) -> bool {
        matches!(self, Self::One(_))
    }
}

/// A value of `start`, `given` or a row.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    /// `true`, `false`
    Flag(bool),
    /// A whole number.
    Number(i64),
    /// A text; where a value is wanted, an expression or a template.
    Text(String),
    /// A list of texts.
    List(Vec<String>),
}

/// Rows of a `for_each`: a range, or a list of values or of tables that begin with a `row`.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Rows {
    Range(String),
    Numbers(Vec<i64>),
    Texts(Vec<String>),
    Tables(Vec<BTreeMap<String, Scalar>>),
}
