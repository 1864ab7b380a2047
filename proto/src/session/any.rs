//! A session of whatever profile its peer speaks.

use super::classic::Flavour;
use super::{Client, Input, Receipt, Role, Server, classic, native};
use crate::config::ValidConfig;
use crate::event::{ByeCode, Event, RefusalCode, SendError};
use crate::hello::Greeting;
use crate::outbox::Outbox;
use crate::time::{Deadline, Instant};
use core::borrow::BorrowMut;

/// A session of any profile, for adapters that serve them all.
///
/// Every method means what it means in [`native::Session`] and [`classic::Session`].
///
/// A classic session is half as large again as a native one. Who has very many, most of them native, says with `C` where the
/// classic ones are held: in a box, say.
#[allow(
    clippy::large_enum_variant,
    reason = "`C` is how a caller chooses the size; without an allocator there is no box to choose"
)]
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Session<R, O, C = classic::Session<R, O>> {
    /// The native profile.
    Native(native::Session<R, O>),
    /// One of the classic profiles.
    Classic(C),
}

/// Reads a session of either profile.
macro_rules! forward {
    ($session:expr, $inner:ident => $do:expr) => {
        match $session {
            Session::Native($inner) => $do,
            Session::Classic($inner) => {
                let $inner: &classic::Session<R, O> = $inner.borrow();
                $do
            }
        }
    };
}

/// Does the same to a session of either profile.
macro_rules! forward_mut {
    ($session:expr, $inner:ident => $do:expr) => {
        match $session {
            Session::Native($inner) => $do,
            Session::Classic($inner) => {
                let $inner: &mut classic::Session<R, O> = $inner.borrow_mut();
                $do
            }
        }
    };
}

impl<O: Outbox, C: BorrowMut<classic::Session<Client, O>>> Session<Client, O, C> {
    /// Tells that a stream to the server is open; `fresh` is a random number drawn for this link, which only the native profile uses.
    pub fn handle_connected(&mut self, now: Instant, fresh: u64) {
        match self {
            Self::Native(session) => session.handle_connected(now, fresh),
            Self::Classic(session) => session.borrow_mut().handle_connected(now),
        }
    }
}

impl<O: Outbox, C: From<classic::Session<Client, O>>> Session<Client, O, C> {
    /// Goes over to a classic profile with the messages that wait, for good; between two links. `empty` is dropped with what was the
    /// native session. A classic session stays as it is.
    pub fn fall_back(&mut self, flavour: Flavour, empty: O) {
        // HL-0015
        if let Self::Native(session) = self {
            let (role, config, outbox) = session.hand_over(empty);
            *self = Self::Classic(classic::Session::new(role, flavour, config, outbox).into());
        }
    }
}

impl<O: Outbox, C: BorrowMut<classic::Session<Server, O>>> Session<Server, O, C> {
    /// Takes up a link that began with this greeting; `fresh` is a random number drawn for this link, which only the native profile
    /// uses.
    ///
    /// # Errors
    /// [`RefusalCode::Profile`] if the greeting is not of this session's profile; nothing has changed then.
    pub fn handle_greeting(&mut self, now: Instant, fresh: u64, greeting: &Greeting<'_>) -> Result<(), RefusalCode> {
        match (self, greeting) {
            (Self::Native(session), Greeting::Native(hello)) => session.handle_hello(now, fresh, hello),
            (Self::Classic(session), Greeting::Classic(_)) => session.borrow_mut().handle_id(now),
            (Self::Native(_), Greeting::Classic(_)) | (Self::Classic(_), Greeting::Native(_)) => {
                return Err(RefusalCode::Profile);
            }
        }
        Ok(())
    }
}

impl<R: Role, O: Outbox, C: BorrowMut<classic::Session<R, O>>> Session<R, O, C> {
    /// Whether messages flow now.
    pub fn is_up(&self) -> bool {
        forward!(self, session => session.is_up())
    }

    /// Whether a link is open, be it up or still greeting.
    pub fn has_link(&self) -> bool {
        forward!(self, session => session.has_link())
    }

    /// The timeout of the present link, in milliseconds; 0 without one.
    pub fn timeout_ms(&self) -> u32 {
        forward!(self, session => session.timeout_ms())
    }

    /// Every message up to this number is acknowledged.
    pub fn acked(&self) -> u64 {
        forward!(self, session => session.acked())
    }

    /// The number that the next message will get.
    pub fn next_seq(&self) -> u64 {
        forward!(self, session => session.next_seq())
    }

    /// The messages that are not acknowledged.
    pub fn outbox(&self) -> &O {
        forward!(self, session => session.outbox())
    }

    /// The configuration that was given.
    pub fn config(&self) -> &ValidConfig {
        forward!(self, session => session.config())
    }

    /// The longest text that can be sent now, in bytes.
    pub fn max_text(&self) -> u32 {
        forward!(self, session => session.max_text())
    }

    /// Queues a reliable message; returns its number.
    ///
    /// # Errors
    /// Nothing is queued on [`SendError`]; `Full` passes with the next acknowledgement.
    pub fn send(&mut self, now: Instant, text: &str) -> Result<u64, SendError> {
        forward_mut!(self, session => session.send(now, text))
    }

    /// Queues a reliable message that replaces one of the same slot, if that one has never been on a wire.
    ///
    /// # Errors
    /// As [`Session::send`].
    pub fn send_latest(&mut self, now: Instant, slot: u8, text: &str) -> Result<u64, SendError> {
        forward_mut!(self, session => session.send_latest(now, slot, text))
    }

    /// Writes a best-effort message into the caller's transmit buffer and returns the length of its line.
    ///
    /// # Errors
    /// [`SendError::Down`] while the link is not up, [`SendError::Full`] if there is no room for it; the message is dropped.
    pub fn send_best_effort(&mut self, text: &str, buffer: &mut [u8]) -> Result<usize, SendError> {
        forward_mut!(self, session => session.send_best_effort(text, buffer))
    }

    /// Tells that the application has taken a message; `false` if that changes nothing.
    pub fn accept(&mut self, receipt: Receipt) -> bool {
        forward_mut!(self, session => session.accept(receipt))
    }

    /// Ends the link in order; only a native peer can be told why, and how long to stay away.
    pub fn close(&mut self, code: ByeCode, retry_ms: u32) {
        match self {
            Self::Native(session) => session.close(code, retry_ms),
            Self::Classic(session) => session.borrow_mut().close(),
        }
    }

    /// Takes received bytes: whole lines up to the first that yields a message or an event.
    pub fn handle_input<'i>(&mut self, now: Instant, input: &'i [u8]) -> Input<'i> {
        forward_mut!(self, session => session.handle_input(now, input))
    }

    /// Tells that received bytes wait because the application is slow to take them.
    pub fn handle_backlog(&mut self, now: Instant) {
        forward_mut!(self, session => session.handle_backlog(now));
    }

    /// Tells that the transport took the next `bytes` of what [`Session::poll_transmit`] wrote.
    pub fn handle_transmitted(&mut self, now: Instant, bytes: usize) {
        forward_mut!(self, session => session.handle_transmitted(now, bytes));
    }

    /// Tells that the stream ended or broke.
    pub fn handle_disconnected(&mut self, now: Instant) {
        forward_mut!(self, session => session.handle_disconnected(now));
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        forward_mut!(self, session => session.handle_timeout(now));
    }

    /// When [`Session::handle_timeout`] is wanted next; `None` without a link.
    pub fn poll_timeout(&self) -> Option<Deadline> {
        forward!(self, session => session.poll_timeout())
    }

    /// The next event; read them all after every input.
    pub fn poll_event(&mut self) -> Option<Event> {
        forward_mut!(self, session => session.poll_event())
    }

    /// Writes as many whole lines as are due and fit into `buffer`, and returns their length.
    pub fn poll_transmit(&mut self, buffer: &mut [u8]) -> usize {
        forward_mut!(self, session => session.poll_transmit(buffer))
    }
}
