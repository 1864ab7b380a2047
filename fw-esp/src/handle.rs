//! The application's end of a channel.

use crate::channel::{Attempt, State};
use crate::error::{Closed, ReadError, WriteError};
use core::cell::RefCell;
use core::future::poll_fn;
use core::task::Poll;
use holdline_proto::{DownReason, Keeps, Outbox, Receipt, SendError};

/// What the application reads from and writes to; every task may have a copy.
///
/// Every call waits through outages: an error means that the text cannot be sent or that the channel was closed for good.
///
/// # Cancel safety
/// Dropping any of the futures loses nothing: a message that was received stays for the next call; a message that was given is
/// either not queued yet, or queued and on its way. Each method says which.
#[derive(Clone, Copy, Debug)]
pub struct Handle<'c, 'b> {
    state: &'c RefCell<State<'b>>,
}

/// A message of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received<'m> {
    /// Its text.
    pub text: &'m str,
    /// What to hand to [`Handle::accept`]; `None` for best effort.
    pub receipt: Option<Receipt>,
}

/// How a channel is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Status {
    /// Whether a link is up now.
    pub up: bool,
    /// How many links have been up, the present one included.
    pub connects: u32,
    /// Messages that wait for their acknowledgement.
    pub unacked: u16,
    /// Messages that wait for this application.
    pub unread: u16,
    /// Why the last link ended; [`DownReason::Closed`] before the first.
    pub last_down: DownReason,
    /// What survives the server's loss of power, as it says; an original server keeps nothing.
    pub peer_keeps: Keeps,
    /// Lines of the server whose check was missing or wrong; 0 without [`Config::check`](crate::Config::check). They were asked for again.
    pub garbled: u32,
}

impl<'c, 'b> Handle<'c, 'b> {
    pub(crate) fn new(state: &'c RefCell<State<'b>>) -> Self {
        Self { state }
    }

    /// Tries until it gets through.
    async fn call<T>(&self, mut attempt: impl FnMut(&mut State<'b>) -> Attempt<T>) -> T {
        poll_fn(|cx| {
            let mut state = self.state.borrow_mut();
            let outcome = attempt(&mut state);
            if outcome.is_pending() {
                state.wait(cx.waker());
            }
            outcome
        })
        .await
    }

    /// The next message of the server, copied into `buffer`; it is accepted, and will be acknowledged, as this returns.
    ///
    /// Cancel safe: a dropped call takes no message.
    ///
    /// # Errors
    /// [`ReadError::TooLong`] if `buffer` is too small for it: the message waits still. [`ReadError::Closed`] once the channel is
    /// closed and all that was received has been read.
    pub async fn readline<'m>(&self, buffer: &'m mut [u8]) -> Result<&'m str, ReadError> {
        let (len, _) = self.call(|state| state.receive(buffer, true)).await?;
        Ok(text(buffer, len))
    }

    /// The next message of the server, for an application that stores it before it [accepts](Handle::accept) it. Messages that are not
    /// accepted are not acknowledged, and the server stops sending when the window of them is full.
    ///
    /// Cancel safe: a dropped call takes no message.
    ///
    /// # Errors
    /// As [`Handle::readline`].
    pub async fn recv<'m>(&self, buffer: &'m mut [u8]) -> Result<Received<'m>, ReadError> {
        let (len, receipt) = self.call(|state| state.receive(buffer, false)).await?;
        Ok(Received { text: text(buffer, len), receipt })
    }

    /// Says that the application has taken a message, and all before it.
    ///
    /// `false` if that changes nothing: accepted before, or the server has begun a new session since.
    pub fn accept(&self, receipt: Receipt) -> bool {
        self.state.borrow_mut().accept(receipt)
    }

    /// Sends a message and returns when the server's application has accepted it; pauses through outages.
    ///
    /// Who writes with this alone is paced by the server, as with the original's `wait=True`: of each task one message is on its way,
    /// also in an outage that nobody has noticed yet. In the profile of 2019, which has no acknowledgements, one message goes out in a
    /// timeout, as with its `pause=True`.
    ///
    /// Cancel safe: dropped before the message is queued it has no effect, dropped later the message is delivered all the same.
    ///
    /// # Errors
    /// The text cannot be sent, was dropped by policy, or the channel was closed.
    pub async fn write(&self, text: &str) -> Result<(), WriteError> {
        let ticket = self.queue(None, text).await?;
        self.call(|state| state.delivered(ticket)).await
    }

    /// Queues a message and returns; waits only while the outbox is full, and on a durable channel until the message is safe.
    ///
    /// A burst overruns nothing, as the original's `wait=False` could: what waits is in the outbox, and of that no more is on its way
    /// than the server's window of messages, in a classic profile one unless [`Config::in_order`](crate::Config::in_order) is off. So
    /// the rate is the server's, and an application needs no limit of its own. Who wants one waits between two calls.
    ///
    /// Cancel safe: a dropped call has not queued the message. On a durable channel it may have, and the message is delivered once.
    ///
    /// # Errors
    /// The text cannot be sent, or the channel was closed.
    pub async fn send(&self, text: &str) -> Result<(), WriteError> {
        self.queue(None, text).await?;
        self.saved().await
    }

    /// Queues a message that takes the place of the last one of the same slot, if that one has never been sent: after a long
    /// outage the server gets one fresh reading and not a thousand stale ones, and a sensor that says more than the line can carry fills
    /// no outbox. While the line keeps up every reading is sent.
    ///
    /// Cancel safe: a dropped call has not queued the message.
    ///
    /// # Errors
    /// The text cannot be sent, or the channel was closed.
    pub async fn send_latest(&self, slot: u8, text: &str) -> Result<(), WriteError> {
        self.queue(Some(slot), text).await?;
        self.saved().await
    }

    /// Returns when what was queued is safe from a loss of power, where there is a store.
    #[cfg(feature = "durable")]
    async fn saved(&self) -> Result<(), WriteError> {
        self.call(|state| match (state.is_outbox_saved(), state.closed) {
            (true, _) => Poll::Ready(Ok(())),
            (false, true) => Poll::Ready(Err(WriteError::Closed)),
            _ => Poll::Pending,
        })
        .await
    }

    #[cfg(not(feature = "durable"))]
    async fn saved(&self) -> Result<(), WriteError> {
        Ok(())
    }

    /// Queues a message if there is room now.
    ///
    /// # Errors
    /// As [`Handle::send`], and [`SendError::Full`] if the outbox is full.
    pub fn try_send(&self, text: &str) -> Result<(), WriteError> {
        let mut state = self.state.borrow_mut();
        if state.closed {
            return Err(WriteError::Closed);
        }
        state.send(None, text).map(|_| ()).map_err(WriteError::Text)
    }

    /// Sends a message at most once, and not at all while the link is down.
    ///
    /// It is paced by nothing but the transmit buffer, as the original's `qos=False` by nothing at all: what the transport does not take
    /// is dropped, and how often it is worth being said is for the application to know.
    ///
    /// # Errors
    /// The message was dropped: the link is down, the transport is behind ([`SendError::Full`]), or the text cannot be sent.
    pub fn send_best_effort(&self, text: &str) -> Result<(), SendError> {
        self.state.borrow_mut().send_best_effort(text)
    }

    async fn queue(&self, slot: Option<u8>, text: &str) -> Result<u32, WriteError> {
        self.call(|state| {
            if state.closed {
                return Poll::Ready(Err(WriteError::Closed));
            }
            match state.send(slot, text) {
                // HL-0088
                Err(SendError::Full) => Poll::Pending,
                result => Poll::Ready(result.map_err(WriteError::Text)),
            }
        })
        .await
    }

    /// Returns as soon as a link is up; at once if one is.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// [`Closed`] if the channel was closed.
    pub async fn wait_up(&self) -> Result<(), Closed> {
        self.call(|state| match (state.closed, state.session.is_up()) {
            (true, _) => Poll::Ready(Err(Closed)),
            (_, true) => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        })
        .await
    }

    /// How the channel is doing now.
    pub fn status(&self) -> Status {
        let state = self.state.borrow();
        #[cfg(not(feature = "classic"))]
        let (peer_keeps, garbled) = (state.session.peer_keeps(), state.session.garbled());
        #[cfg(feature = "classic")]
        let (peer_keeps, garbled) = match &state.session {
            holdline_proto::Session::Native(session) => (session.peer_keeps(), session.garbled()),
            holdline_proto::Session::Classic(_) => (Keeps::None, 0),
        };
        Status {
            up: state.session.is_up(),
            connects: state.connects,
            unacked: state.session.outbox().len() as u16,
            unread: state.unread(),
            last_down: state.down.1,
            peer_keeps,
            garbled,
        }
    }

    /// How many links have been up, the present one included.
    pub fn connects(&self) -> u32 {
        self.state.borrow().connects
    }

    /// Closes the channel for good: the server is told, everybody who waits is, and [`Client::run`](crate::Client::run) returns. What
    /// was received can still be read.
    pub fn close(&self) {
        self.state.borrow_mut().close();
    }
}

fn text(buffer: &[u8], len: usize) -> &str {
    // The session has checked it.
    buffer.get(..len).and_then(|text| core::str::from_utf8(text).ok()).unwrap_or_default()
}
