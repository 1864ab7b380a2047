//! Why a proxy or a toxic was not made, found or changed.

use std::io;

/// Why an operation on proxies failed, in Toxiproxy's words where it has some.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request is not what the operation takes. Send another one.
    #[error("bad request body: {0}")]
    BadRequestBody(String),
    /// The request lacks something.
    #[error("missing required field: {0}")]
    MissingField(String),
    /// No proxy has this name.
    #[error("proxy not found")]
    ProxyNotFound,
    /// Another proxy has this name. Delete it first, or populate.
    #[error("proxy already exists")]
    ProxyAlreadyExists,
    /// A toxic's direction is something else.
    #[error("stream was invalid, can be either upstream or downstream")]
    InvalidStream,
    /// No toxic has this type.
    #[error("invalid toxic type")]
    InvalidToxicType,
    /// Another toxic of the proxy has this name. Remove it first, or change it.
    #[error("toxic already exists")]
    ToxicAlreadyExists,
    /// The proxy has no toxic of this name.
    #[error("toxic not found")]
    ToxicNotFound,
    /// The address is taken, not ours, or no address.
    #[error("listen tcp {address}: {source}")]
    Listen {
        /// What the proxy, or the HTTP API, was to listen on.
        address: String,
        /// Why it cannot.
        source: io::Error,
    },
    /// There are more than any test needs: more likely a loop that never deletes.
    #[error("no more than {limit} {what}")]
    TooMany {
        /// What of.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// The HTTP API does not have this.
    #[error("no such endpoint: {0}")]
    NoEndpoint(String),
    /// The HTTP API has this, for other methods.
    #[error("method not allowed: {0}")]
    WrongMethod(String),
    /// A browser asks, and a page it shows must not be able to.
    #[error("User agent not allowed")]
    Browser,
}

impl Error {
    /// The status of an HTTP response that says it.
    pub const fn status(&self) -> u16 {
        match self {
            Self::BadRequestBody(_) | Self::MissingField(_) | Self::InvalidStream | Self::InvalidToxicType => 400,
            Self::Browser => 403,
            Self::ProxyNotFound | Self::ToxicNotFound | Self::NoEndpoint(_) => 404,
            Self::WrongMethod(_) => 405,
            Self::ProxyAlreadyExists | Self::ToxicAlreadyExists | Self::TooMany { .. } => 409,
            Self::Listen { .. } => 500,
        }
    }
}
