//! How a case went.

use crate::bench::Stop;

/// What came of a case.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The verdict.
    pub verdict: Verdict,
    /// What was said.
    pub transcript: Transcript,
    /// How long it took, in the bench's own time.
    pub took_ms: u64,
}

/// The verdict on a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it must be.
    Pass,
    /// Otherwise.
    Fail(Failure),
    /// The subject says that it has no such thing.
    Unimplemented(String),
    /// What the case needs is not there.
    Skipped(String),
    /// The subject's process ended.
    Crashed(String),
    /// The subject does not answer any more.
    Hung(String),
    /// The subject sends without end.
    Flooded(String),
    /// The subject's shim answers what is no answer.
    Garbage(String),
    /// The suite could not play it.
    Unable(String),
}

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The step, counted from 1.
    pub step: usize,
    /// One sentence.
    pub what: String,
    /// The offending line of the transcript.
    pub line: Option<usize>,
}

/// What was said on the links and asked of the shim, in order.
#[derive(Clone, Debug, Default)]
pub struct Transcript {
    /// The lines.
    pub entries: Vec<Entry>,
    step: usize,
}

/// A line of a transcript.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When, in milliseconds.
    pub at: u64,
    /// The step that was under way, counted from 1.
    pub step: usize,
    /// `>` from the suite, `<` from the subject, `-` what happened, `?` asked of the shim, `!` its answer, `#` its log.
    pub mark: char,
    /// The link's name; empty where none is concerned.
    pub link: String,
    /// What was said.
    pub text: Vec<u8>,
}

/// A transcript longer than this is cut in the middle of the case, not of the report.
const ENTRIES_MAX: usize = 5_000;
/// A line longer than this is cut.
const TEXT_MAX: usize = 600;

impl Transcript {
    pub(super) fn step(&mut self, index: usize) {
        self.step = index + 1;
    }

    /// Adds a line; its place.
    pub(super) fn add(&mut self, at: u64, mark: char, link: &str, text: &[u8]) -> usize {
        if self.entries.len() < ENTRIES_MAX {
            let text = text.get(..TEXT_MAX).unwrap_or(text).to_vec();
            self.entries.push(Entry { at, step: self.step, mark, link: link.to_owned(), text });
        }
        self.entries.len() - 1
    }

    /// Adds what the subject's process said on standard error.
    pub(crate) fn add_log(&mut self, log: &str) {
        let at = self.entries.last().map_or(0, |entry| entry.at);
        for line in log.lines() {
            self.add(at, '#', "", line.as_bytes());
        }
    }

    pub(super) fn last(&self) -> Option<usize> {
        self.entries.len().checked_sub(1)
    }
}

impl Verdict {
    /// The word for it.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail(_) => "fail",
            Self::Unimplemented(_) => "unimplemented",
            Self::Skipped(_) => "skipped",
            Self::Crashed(_) => "crashed",
            Self::Hung(_) => "hung",
            Self::Flooded(_) => "flooded",
            Self::Garbage(_) => "garbage",
            Self::Unable(_) => "unable",
        }
    }

    /// What there is to say about it.
    pub fn reason(&self) -> &str {
        match self {
            Self::Pass => "",
            Self::Fail(failure) => &failure.what,
            Self::Unimplemented(why)
            | Self::Skipped(why)
            | Self::Crashed(why)
            | Self::Hung(why)
            | Self::Flooded(why)
            | Self::Garbage(why)
            | Self::Unable(why) => why,
        }
    }
}

impl From<Stop> for Verdict {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Unimplemented(why) => Self::Unimplemented(why),
            Stop::Skipped(why) => Self::Skipped(why),
            Stop::Crashed(why) => Self::Crashed(why),
            Stop::Hung(why) => Self::Hung(why),
            Stop::Flooded(why) => Self::Flooded(why),
            Stop::Garbage(why) => Self::Garbage(why),
            Stop::Unable(why) => Self::Unable(why),
        }
    }
}
