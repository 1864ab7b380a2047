//! What the sessions of all profiles have in common: roles, input, messages, receipts.

pub(crate) mod link;
pub(crate) mod receiving;
pub(crate) mod sending;

pub(crate) mod any;
pub mod classic;
pub mod native;

use crate::hello::ClientId;

/// Which end of the session this is: [`Client`] or [`Server`].
pub trait Role: sealed::Role {}

/// The end that connects, named by its client id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Client {
    /// The name of the session.
    pub id: ClientId,
}

/// The end that is connected to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Server;

impl Role for Client {}
impl Role for Server {}

mod sealed {
    pub trait Role {
        const IS_CLIENT: bool;
        fn client_id(&self) -> Option<&[u8]>;
    }

    impl Role for super::Client {
        const IS_CLIENT: bool = true;
        fn client_id(&self) -> Option<&[u8]> {
            Some(self.id.as_bytes())
        }
    }

    impl Role for super::Server {
        const IS_CLIENT: bool = false;
        fn client_id(&self) -> Option<&[u8]> {
            None
        }
    }
}

/// What a session did with received bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the bytes beyond `consumed` have to be presented again"]
pub struct Input<'i> {
    /// How many bytes, always whole lines, the session is done with.
    pub consumed: usize,
    /// A message among them, lent from the input.
    pub message: Option<Message<'i>>,
}

/// A message of the peer, lent from the input buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'i> {
    /// Its text.
    pub text: &'i str,
    /// What to hand to `accept` once the application has taken the message; `None` for best effort, which nobody
    /// acknowledges.
    pub receipt: Option<Receipt>,
}

/// The proof that a message arrived, to be handed back when the application has accepted it.
///
/// A durable endpoint commits it in one transaction with the message, and restores its cursor from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Receipt {
    /// The incarnation of the peer's stream. Classic: which link it came on.
    pub epoch: u64,
    /// The message's number. Classic: its id.
    pub seq: u64,
    /// The checksum of that stream up to and with this message, where the peer keeps its outbox; else 0.
    pub sum: u32,
}

/// Two random numbers that an endpoint draws when its program starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Incarnation {
    /// Fresh at every start, durable or not: it tells a device that came back from a clone with the same id.
    pub boot: u64,
    /// Fresh at every start without memory of the session. A value that was used before silently loses messages, so draw all 64
    /// bits at random, or count boots in storage that cannot be rolled back. 0 is taken for 1.
    pub epoch: u64,
}
