//! What can go wrong, and whose fault it is.

use holdline_proto::SendError;

/// The line is closed for good: by `close`, or because the server or client that held it has stopped.
///
/// It never means an outage; those are waited out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the line is closed: its server or client has stopped")]
pub struct Closed;

/// Why a message was not taken, or not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The text cannot be sent as it is; nothing was queued.
    #[error(transparent)]
    Text(SendError),
    /// The message was dropped: the peer has forgotten the session, and the policy is to skip what it may have acted on.
    #[error("the message was dropped: the peer has restarted without memory, and the policy is `skip`")]
    Dropped,
    /// The line is closed for good. A message that was queued may or may not have arrived.
    #[error(transparent)]
    Closed(#[from] Closed),
}

impl WriteError {
    /// Whether waiting for an acknowledgement makes room.
    pub(crate) const fn is_full(self) -> bool {
        matches!(self, Self::Text(SendError::Full))
    }
}

impl From<SendError> for WriteError {
    fn from(error: SendError) -> Self {
        Self::Text(error)
    }
}
