//! What a case is played on: a subject that can be reached, a clock, and perhaps a shim.

pub(crate) mod clock;
pub mod in_process;
mod net;
pub mod shim;
pub mod wire;

use serde_json::Value as Json;

/// One connection between the suite and the subject, by the order in which they were made.
pub type LinkId = usize;

/// Something that came from the subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incident {
    /// Bytes.
    Bytes {
        /// On this link.
        link: LinkId,
        /// At this time.
        at: u64,
        /// What came.
        bytes: Vec<u8>,
    },
    /// The subject has closed a link.
    End {
        /// This one.
        link: LinkId,
        /// At this time.
        at: u64,
    },
    /// Nothing, up to the time that was given.
    Nothing,
}

/// Why a case cannot go on, through no fault of what it expects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The subject has no such thing.
    Unimplemented(String),
    /// What the case needs is not there.
    Skipped(String),
    /// The subject's process ended.
    Crashed(String),
    /// The subject does not answer.
    Hung(String),
    /// The subject sends without end.
    Flooded(String),
    /// The subject's shim answers what is no answer.
    Garbage(String),
    /// The suite itself could not do what it had to.
    Unable(String),
}

/// The connections between the suite and the subject.
pub trait Links {
    /// Writes to a link. One that is closed by now takes nothing; that is no error.
    ///
    /// # Errors
    /// Why the case cannot go on.
    fn write(&mut self, link: LinkId, bytes: &[u8]) -> Result<(), Stop>;

    /// Gives the subject occasion to read what was written as a segment of its own.
    fn separate(&mut self);

    /// The next thing that comes, or [`Incident::Nothing`] once the time given is reached.
    ///
    /// # Errors
    /// Why the case cannot go on.
    fn next(&mut self, until: u64) -> Result<Incident, Stop>;

    /// Breaks a link: the subject sees a reset.
    fn cut(&mut self, link: LinkId);

    /// Ends a link: the subject sees its end.
    fn finish(&mut self, link: LinkId);

    /// Stops reading from a link.
    ///
    /// # Errors
    /// [`Stop::Skipped`] where the suite cannot make the subject feel that.
    fn deafen(&mut self, link: LinkId) -> Result<(), Stop>;
}

/// Where a case is played. Time is in milliseconds from an origin that does not matter; every call that waits says until when.
pub trait Bench {
    /// The time now.
    fn now(&self) -> u64;

    /// How much later or earlier than the specification says something may come, for the sake of scheduling.
    fn tolerance(&self) -> u64;

    /// Whether there is a shim.
    fn has_shim(&self) -> bool;

    /// Starts the subject with these settings (those of the shim's `start`, without addresses); its answer.
    ///
    /// # Errors
    /// Why the case cannot go on.
    fn start(&mut self, settings: Json) -> Result<Json, Stop>;

    /// Opens a connection to the subject, or waits for one of its own until the time given; `None` if there is none.
    ///
    /// # Errors
    /// Why the case cannot go on.
    fn open(&mut self, until: u64) -> Result<Option<LinkId>, Stop>;

    /// What is said on the connections that were opened.
    fn links(&mut self) -> &mut dyn Links;

    /// Asks the shim; the answer, whatever it is.
    ///
    /// # Errors
    /// Why the case cannot go on.
    fn ask(&mut self, request: Json) -> Result<Json, Stop>;

    /// Kills the subject.
    ///
    /// # Errors
    /// [`Stop::Skipped`] where the suite cannot.
    fn kill(&mut self) -> Result<(), Stop>;

    /// Copies the subject's store under a name.
    ///
    /// # Errors
    /// Why the case cannot go on.
    fn snapshot(&mut self, name: &str) -> Result<(), Stop>;

    /// Puts the subject's store back to what a snapshot has, or, without a name, empties it.
    ///
    /// # Errors
    /// Why the case cannot go on.
    fn restore(&mut self, name: Option<&str>) -> Result<(), Stop>;
}
