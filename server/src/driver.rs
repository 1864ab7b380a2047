//! The only loop that touches a stream: read, deadline, command → session → write. The same for server and client.
//!
//! It is a future written by hand, because what it keeps while idle is what a hundred thousand connections pay for: the
//! stream, one timer, and two buffers that own memory only while a line is incomplete or the transport is slow.

use crate::channel::{Channel, DATAGRAMS_MAX};
use crate::clock::Clock;
use crate::report::Reporter;
use crate::sync::Arc;
use holdline_proto::{ByeCode, Instant, Role, Session, write_bye};
use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// How much is read at a time.
const READ: usize = 16 * 1024;
/// How many turns a driver takes before it lets others have theirs.
const TURNS: usize = 32;
/// How long the last line of a link may take to leave.
const FAREWELL: Duration = Duration::from_secs(1);

thread_local! {
    static INPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static OUTPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Carries a session over one stream until the link ends.
///
/// Dropping it closes the stream; the session stays as it is, and the next link goes on from there.
pub(crate) struct Driver<R: Role, S> {
    channel: Arc<Channel<R>>,
    reporter: Reporter,
    clock: Clock,
    stream: S,
    /// The number of the link; when the channel has a later one, this one has been taken over.
    link: u32,
    /// Received bytes of a line that is not complete.
    tail: Vec<u8>,
    /// Output that the transport has not taken.
    unsent: Vec<u8>,
    /// The timer, and the deadline it was last set to.
    sleep: Pin<Box<Sleep>>,
    /// Whether `tail` holds whole lines, for which the application has no room.
    backlogged: bool,
    /// How a goodbye is written on this link, if the profile has one.
    bye: Option<Check>,
    /// Whether the stream can carry no further link.
    ended: bool,
}

/// Whether lines carry a checksum.
type Check = bool;

/// What is left of a link that has ended.
pub(crate) struct Remains<S> {
    pub(crate) stream: S,
    /// Received and not consumed: on a checked stream the hello of the next link.
    pub(crate) tail: Vec<u8>,
    /// Whether the stream has ended as well.
    pub(crate) ended: bool,
}

enum Read {
    /// This many bytes, the tail included.
    Bytes(usize),
    Nothing,
    /// What was read before has to wait.
    Backlog,
    End,
}

/// What a turn under the lock decides.
struct Turn {
    over: bool,
    taken_over: bool,
    written: usize,
    deadline: Option<Instant>,
}

impl<R: Role, S: AsyncRead + AsyncWrite + Unpin> Driver<R, S> {
    /// A driver for a link that has begun; `tail` was read behind the greeting.
    pub(crate) fn new(channel: Arc<Channel<R>>, reporter: Reporter, clock: Clock, stream: S, link: u32, tail: Vec<u8>) -> Self {
        let bye = match &channel.lock().get().session {
            Session::Native(session) => Some(session.config().get().check),
            Session::Classic(_) => None,
        };
        let sleep = Box::pin(tokio::time::sleep_until(clock.at(clock.now())));
        Self { channel, reporter, clock, stream, link, tail, unsent: Vec::new(), sleep, backlogged: false, bye, ended: false }
    }

    /// Reads behind the tail into `input`, which then begins with the tail.
    fn poll_read(&mut self, cx: &mut Context<'_>, input: &mut Vec<u8>) -> Read {
        let tail = self.tail.len();
        if input.len() < tail + READ {
            input.resize(tail + READ, 0);
        }
        input[..tail].copy_from_slice(&self.tail);
        let mut buffer = ReadBuf::new(&mut input[tail..]);
        match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => Read::End,
            Poll::Ready(Ok(())) => Read::Bytes(tail + buffer.filled().len()),
            Poll::Ready(Err(_)) => Read::End,
            Poll::Pending => Read::Nothing,
        }
    }

    /// Everything of one turn that needs the session, in one critical section.
    fn turn(&mut self, cx: &Context<'_>, read: &Read, input: &[u8], transmitted: usize, output: &mut Vec<u8>) -> Turn {
        let now = self.clock.now();
        let mut reports = Vec::new();
        let channel = Arc::clone(&self.channel);
        let mut locked = channel.lock();
        if locked.get().link != self.link {
            return Turn { over: true, taken_over: true, written: 0, deadline: None };
        }
        locked.get().session.handle_transmitted(now, transmitted);
        match *read {
            Read::Bytes(end) => {
                let bytes = input.get(..end).unwrap_or_default();
                let consumed = locked.feed(now, bytes, &mut reports);
                self.keep_tail(bytes.get(consumed..).unwrap_or_default());
            }
            Read::Nothing => {}
            Read::Backlog if locked.get().backlogged() => locked.get().session.handle_backlog(now),
            Read::Backlog => {
                let bytes = std::mem::take(&mut self.tail);
                let consumed = locked.feed(now, &bytes, &mut reports);
                self.keep_tail(bytes.get(consumed..).unwrap_or_default());
            }
            Read::End => {
                self.ended = true;
                locked.get().session.handle_disconnected(now);
            }
        }
        // HL-0105: silence is judged here, after reading. A peer that never pauses does not keep other timers from their turn.
        locked.get().session.handle_timeout(now);
        self.backlogged = locked.get().backlogged();
        let room = DATAGRAMS_MAX.max(locked.get().longest_line());
        if output.len() < room {
            output.resize(room, 0);
        }
        let written = if self.unsent.is_empty() { locked.fill(output) } else { 0 };
        locked.collect(now, &mut reports);
        let over = !locked.get().session.has_link();
        let deadline = locked.get().session.poll_timeout().map(|deadline| deadline.at);
        locked.park_driver(cx);
        drop(locked);
        for what in reports {
            self.reporter.tell(&self.channel.id, what);
        }
        Turn { over, taken_over: false, written, deadline }
    }

    /// Keeps what was received and not consumed; an empty tail owns no memory.
    fn keep_tail(&mut self, rest: &[u8]) {
        self.tail = rest.to_vec();
    }

    /// Writes; what the transport does not take is kept. Returns how much it took.
    fn write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<usize> {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            match Pin::new(&mut self.stream).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(taken)) => at += taken,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        self.unsent.extend_from_slice(bytes.get(at..).unwrap_or_default());
        Ok(at)
    }

    fn write_unsent(&mut self, cx: &mut Context<'_>) -> io::Result<usize> {
        let unsent = std::mem::take(&mut self.unsent);
        self.write(cx, &unsent)
    }

    /// One turn after the other until there is nothing to do.
    fn poll_turns(&mut self, cx: &mut Context<'_>, input: &mut Vec<u8>, output: &mut Vec<u8>) -> Poll<()> {
        let mut transmitted = 0;
        for _ in 0..TURNS {
            let mut broken = false;
            if !self.unsent.is_empty() {
                match self.write_unsent(cx) {
                    Ok(taken) => transmitted += taken,
                    Err(_) => broken = true,
                }
            }
            let read = match () {
                () if broken => Read::End,
                () if self.backlogged => Read::Backlog,
                () => self.poll_read(cx, input),
            };
            let turn = self.turn(cx, &read, input, std::mem::take(&mut transmitted), output);
            if turn.taken_over {
                self.yield_to_newer(cx, output);
                return Poll::Ready(());
            }
            match self.write(cx, output.get(..turn.written).unwrap_or_default()) {
                Ok(taken) => transmitted = taken,
                // Reading finds the end of the stream in the next turn.
                Err(_) => self.unsent = Vec::new(),
            }
            if turn.over {
                return Poll::Ready(());
            }
            if let Some(deadline) = turn.deadline.map(|deadline| self.clock.at(deadline)) {
                // A timer that is due too early costs one idle turn, which is cheaper than to move it with every line.
                if deadline < self.sleep.deadline() || self.sleep.is_elapsed() {
                    self.sleep.as_mut().reset(deadline);
                }
            }
            let idle = matches!(read, Read::Nothing | Read::Backlog) && turn.written == 0;
            if idle && self.sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Says goodbye on a link whose session a newer one has taken, as far as the transport takes it at once.
    fn yield_to_newer(&mut self, cx: &mut Context<'_>, output: &mut Vec<u8>) {
        // HL-0121, HL-0122
        (self.tail, self.ended) = (Vec::new(), true);
        if let Some(check) = self.bye {
            output.resize(output.len().max(DATAGRAMS_MAX), 0);
            let length = write_bye(ByeCode::Takeover, 0, check, output);
            let _ = self.write(cx, output.get(..length).unwrap_or_default());
        }
        self.unsent = Vec::new();
    }

    /// Drives the link to its end, says the last line, and gives the stream back.
    pub(crate) async fn run(mut self) -> Remains<S> {
        std::future::poll_fn(|cx| {
            INPUT.with_borrow_mut(|input| OUTPUT.with_borrow_mut(|output| self.poll_turns(cx, input, output)))
        })
        .await;
        let farewell = std::future::poll_fn(|cx| {
            // Kept output waits for the transport: `write` has left a waker there.
            if self.write_unsent(cx).is_ok() && !self.unsent.is_empty() {
                return Poll::Pending;
            }
            Pin::new(&mut self.stream).poll_flush(cx)
        });
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
        Remains { stream: self.stream, tail: self.tail, ended: self.ended }
    }
}
