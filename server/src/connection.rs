//! The application's handle on a line.

use crate::channel::{Attempt, Channel, Received, Seat, Session};
use crate::clock::Clock;
use crate::error::{Closed, WriteError};
use futures_core::Stream;
use futures_sink::Sink;
use holdline_proto::{ByeCode, Keeps, Outbox, Receipt, Role, SendError, Server, classic::Flavour};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Which wire a session speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    /// The native profile.
    Native,
    /// A classic profile.
    Classic(Flavour),
}

impl std::fmt::Display for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Classic(Flavour::V2019) => "classic-2019",
            Self::Classic(Flavour::V2020) => "classic-2020",
        })
    }
}

/// How a line is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Whether a link is up now.
    pub up: bool,
    /// The wire it speaks.
    pub profile: Profile,
    /// How many links have been up, the present one included.
    pub connects: u32,
    /// Messages that wait for their acknowledgement.
    pub unacked: usize,
    /// Messages that wait for this application.
    pub unread: usize,
    /// What survives the peer's loss of power, as it says; classic peers keep nothing.
    pub peer_keeps: Keeps,
}

/// One line to one peer, for ever: it outlives every connection that carries it.
///
/// A handle is cheap to clone; all clones share the line. Every call waits through outages: an error means that the text
/// cannot be sent or that the line was closed for good.
///
/// # Cancel safety
/// Dropping any of the futures loses nothing: a message that was received stays for the next call; a message that was given is
/// either not queued yet, or queued and on its way. Each method says which.
pub struct Connection<R: Role = Server> {
    channel: Arc<Channel<R>>,
    clock: Clock,
    /// For `Stream`.
    reading: Seat,
    /// For `Sink`.
    writing: Seat,
    /// For `Sink`: a message whose place in the outbox is awaited.
    pending: Option<String>,
    /// For `Sink`: the ticket of the last message queued.
    last: u64,
}

impl<R: Role> Clone for Connection<R> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.channel), self.clock)
    }
}

impl<R: Role> Drop for Connection<R> {
    fn drop(&mut self) {
        self.channel.leave(&mut self.reading);
        self.channel.leave(&mut self.writing);
    }
}

impl<R: Role> std::fmt::Debug for Connection<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("id", &self.id()).finish_non_exhaustive()
    }
}

impl<R: Role> Connection<R> {
    pub(crate) fn new(channel: Arc<Channel<R>>, clock: Clock) -> Self {
        Self { channel, clock, reading: Seat::default(), writing: Seat::default(), pending: None, last: 0 }
    }

    /// The client id of the session.
    pub fn id(&self) -> &str {
        &self.channel.id
    }

    /// The next message of the peer; it is accepted, and will be acknowledged, as this returns.
    ///
    /// Cancel safe: a dropped call takes no message.
    ///
    /// # Errors
    /// [`Closed`] once the line is closed and all that was received has been read.
    pub async fn readline(&self) -> Result<String, Closed> {
        self.channel.call(|locked| locked.receive(true)).await.map(|received| received.text)
    }

    /// The next message of the peer, for an application that commits it before it [accepts](Connection::accept) it. Messages that
    /// are not accepted are not acknowledged, and the peer stops sending when its window of them is full.
    ///
    /// Cancel safe: a dropped call takes no message.
    ///
    /// # Errors
    /// [`Closed`] once the line is closed and all that was received has been read.
    pub async fn recv(&self) -> Result<Received, Closed> {
        self.channel.call(|locked| locked.receive(false)).await
    }

    /// Says that the application has taken a message, and all before it.
    ///
    /// `false` if that changes nothing: accepted before, or the peer has begun a new session since.
    pub fn accept(&self, receipt: Receipt) -> bool {
        self.channel.lock().accept(receipt)
    }

    /// Sends a message and returns when the peer's application has accepted it; pauses through outages.
    ///
    /// Cancel safe: dropped before the message is queued it has no effect, dropped later the message is delivered all the same.
    ///
    /// # Errors
    /// The text cannot be sent, was dropped by policy, or the line was closed.
    pub async fn write(&self, text: &str) -> Result<(), WriteError> {
        let mut ticket = None;
        let write = self.channel.call(|locked| {
            if ticket.is_none() {
                match locked.queue(self.clock.now(), None, text) {
                    Attempt::Wait(need) => return Attempt::Wait(need),
                    Attempt::Done(Err(error)) => return Attempt::Done(Err(error)),
                    Attempt::Done(Ok(queued)) => ticket = Some(queued),
                }
            }
            locked.get().delivered(ticket.unwrap_or_default())
        });
        write.await
    }

    /// Queues a message and returns; waits only while the outbox is full.
    ///
    /// Cancel safe: a dropped call has not queued the message.
    ///
    /// # Errors
    /// The text cannot be sent, or the line was closed.
    pub async fn send(&self, text: &str) -> Result<(), WriteError> {
        self.queue(None, text).await.map(|_| ())
    }

    /// Queues a message that takes the place of the last one of the same slot, if that one has never been sent: after a long
    /// outage the peer gets one fresh reading and not a thousand stale ones.
    ///
    /// Cancel safe: a dropped call has not queued the message.
    ///
    /// # Errors
    /// The text cannot be sent, or the line was closed.
    pub async fn send_latest(&self, slot: u8, text: &str) -> Result<(), WriteError> {
        self.queue(Some(slot), text).await.map(|_| ())
    }

    /// Queues a message if there is room now.
    ///
    /// # Errors
    /// As [`Connection::send`], and [`SendError::Full`] if the outbox is full.
    pub fn try_send(&self, text: &str) -> Result<(), WriteError> {
        self.channel.lock().send(self.clock.now(), None, text).map(|_| ())
    }

    /// Sends a message at most once, and not at all while the link is down.
    ///
    /// # Errors
    /// The message was dropped: the link is down, the transport is behind, or the text cannot be sent.
    pub fn send_best_effort(&self, text: &str) -> Result<(), SendError> {
        self.channel.lock().send_best_effort(text)
    }

    /// Returns when everything that was queued so far has been delivered, or dropped by policy.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// [`Closed`] if the line is closed before.
    pub async fn flush(&self) -> Result<(), Closed> {
        let ticket = self.channel.lock().get().last_ticket();
        match self.channel.call(|locked| locked.get().delivered(ticket)).await {
            Err(WriteError::Closed(closed)) => Err(closed),
            _ => Ok(()),
        }
    }

    async fn queue(&self, slot: Option<u8>, text: &str) -> Result<u64, WriteError> {
        self.channel.call(|locked| locked.queue(self.clock.now(), slot, text)).await
    }

    /// How the line is doing now.
    pub fn status(&self) -> Status {
        let mut locked = self.channel.lock();
        let state = locked.get();
        let (profile, peer_keeps) = match &state.session {
            Session::Native(session) => (Profile::Native, session.peer_keeps()),
            Session::Classic(session) => (Profile::Classic(session.flavour()), Keeps::None),
        };
        Status {
            up: state.session.is_up(),
            profile,
            connects: state.connects(),
            unacked: state.session.outbox().len(),
            unread: state.unread(),
            peer_keeps,
        }
    }

    /// Returns as soon as a link is up; at once if one is.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// [`Closed`] if the line was closed.
    pub async fn wait_up(&self) -> Result<(), Closed> {
        self.channel.call(|locked| locked.get().up()).await
    }

    /// How many links have been up, the present one included.
    pub fn connects(&self) -> u32 {
        self.channel.lock().get().connects()
    }

    /// Closes the line for good: the peer is told, and everybody who waits gets [`Closed`]. What was received can still be read.
    ///
    /// On a server it closes the session: the client's further hellos are refused with `closing` until
    /// [`Server::readmit`](crate::Server::readmit), or until the server is started again.
    pub fn close(&self) {
        // HL-0129
        self.channel.lock().close(ByeCode::Done, 0);
    }

    /// Ends the present link and not the session, as a short outage would; for tests and demonstrations.
    pub fn drop_link(&self) {
        self.channel.lock().close_link(ByeCode::Done, 0);
    }
}

/// The messages of the peer; each is accepted as it is yielded. The stream ends when the line is closed.
impl<R: Role> Stream for Connection<R> {
    type Item = String;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<String>> {
        let Self { channel, reading, .. } = &mut *self;
        let received = ready!(channel.poll(cx, reading, |locked| locked.receive(true)));
        Poll::Ready(received.ok().map(|received| received.text))
    }
}

/// Messages to the peer, queued as there is room; flushed means delivered. An error leaves the sink usable, unless the line was
/// closed.
impl<R: Role> Sink<String> for Connection<R> {
    type Error = WriteError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        let Self { channel, clock, writing, pending, last, .. } = &mut *self;
        let Some(text) = pending else { return Poll::Ready(Ok(())) };
        let queued = ready!(channel.poll(cx, writing, |locked| locked.queue(clock.now(), None, text)));
        *pending = None;
        *last = queued?;
        Poll::Ready(Ok(()))
    }

    fn start_send(mut self: Pin<&mut Self>, text: String) -> Result<(), WriteError> {
        self.pending = Some(text);
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        ready!(self.as_mut().poll_ready(cx))?;
        let Self { channel, writing, last, .. } = &mut *self;
        channel.poll(cx, writing, |locked| locked.get().delivered(*last))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        self.poll_flush(cx)
    }
}
