//! The only loop that touches a stream: read, deadline, command → session → write. The same for server and client.
//!
//! It is polled by hand, because what it keeps while idle is what a hundred thousand connections pay for: the stream, one timer
//! beside it, and two buffers that own memory only while a line is incomplete or the transport is slow.

use crate::channel::{Channel, Locked, Session};
use crate::clock::Clock;
use crate::report::{Reporter, What};
use holdline_proto::{ByeCode, Instant, Role, write_bye};
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// How much is read at a time.
const READ: usize = 16 * 1024;
/// How many turns a driver takes before it lets others have theirs.
const TURNS: usize = 32;
/// Room for a goodbye.
const GOODBYE: usize = 128;
/// How long the last line of a link may take to leave.
const FAREWELL: Duration = Duration::from_secs(1);

thread_local! {
    static INPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static OUTPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Carries a session over one stream until the link ends.
///
/// Dropping it closes the stream and ends the link; the next link goes on from there.
pub(crate) struct Driver<R: Role, S> {
    claim: Claim<R>,
    stream: S,
    /// Received bytes of a line that is not complete.
    tail: Vec<u8>,
    /// Output that the transport has not taken.
    unsent: Vec<u8>,
    /// Whether `tail` holds whole lines: they go before anything that is read.
    backlogged: bool,
    /// How a goodbye is written on this link, if the profile has one.
    bye: Option<Check>,
    /// Whether the transport took output that it was not told to flush.
    unflushed: bool,
    /// Whether the transport takes no more output, for ever.
    broken: bool,
    /// Whether the link has ended, and only its last line has to leave.
    is_over: bool,
    /// Whether the stream can carry no further link.
    ended: bool,
}

/// Whether lines carry a checksum.
type Check = bool;

/// A link's claim to its session. However the driver ends, be it dropped: a session without a driver knows that it has no link.
pub(crate) struct Claim<R: Role> {
    pub(crate) channel: Arc<Channel<R>>,
    pub(crate) reporter: Reporter,
    pub(crate) clock: Clock,
    /// The number of the link; when the channel has a later one, this one has been taken over.
    pub(crate) link: u32,
}

impl<R: Role> Drop for Claim<R> {
    fn drop(&mut self) {
        let mut reports = Vec::new();
        self.channel.lock().lose_link(self.link, self.clock.now(), &mut reports);
        self.reporter.tell_all(&self.channel.id, reports);
    }
}

/// What is left of a link that has ended.
pub(crate) struct Remains<S> {
    pub(crate) stream: S,
    /// Received and not consumed: on a checked stream the hello of the next link.
    pub(crate) tail: Vec<u8>,
    /// Whether the stream has ended as well.
    pub(crate) ended: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Read {
    /// This many bytes; `drained` says that the transport holds no more.
    Bytes {
        count: usize,
        drained: bool,
    },
    Nothing,
    /// What was read before goes first.
    Backlog,
    End,
}

/// What a turn under the lock decides.
enum Turn {
    GoOn {
        written: usize,
        deadline: Option<Instant>,
    },
    /// The link is over, and this much is left to say on it.
    Over {
        written: usize,
    },
    TakenOver,
}

/// How a link has ended.
enum End {
    /// Its last line is in `unsent`, as far as the transport has not taken it.
    Said,
    /// There is nobody to say anything to.
    Silent,
}

impl<R: Role, S: AsyncRead + AsyncWrite + Unpin> Driver<R, S> {
    /// A driver for a link that has begun on a stream with or without checks; `tail` was read behind the greeting.
    pub(crate) fn new(claim: Claim<R>, stream: S, check: Check, tail: Vec<u8>) -> Self {
        let is_native = matches!(claim.channel.lock().get().session, Session::Native(_));
        Self {
            claim,
            stream,
            unsent: Vec::new(),
            // HL-0027
            backlogged: !tail.is_empty(),
            tail,
            bye: is_native.then_some(check),
            unflushed: false,
            broken: false,
            is_over: false,
            ended: false,
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, input: &mut Vec<u8>) -> Read {
        input.resize(READ, 0);
        let mut buffer = ReadBuf::new(input);
        match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => Read::End,
            Poll::Ready(Ok(())) => Read::Bytes { count: buffer.filled().len(), drained: buffer.remaining() > 0 },
            Poll::Ready(Err(_)) => Read::End,
            // What the peer had said before it went away has been read by now.
            Poll::Pending if self.broken => Read::End,
            Poll::Pending => Read::Nothing,
        }
    }

    /// Everything of one turn that needs the session, in one critical section.
    fn turn(
        &mut self,
        cx: &Context<'_>,
        (read, input): (Read, &[u8]),
        transmitted: usize,
        is_last: bool,
        output: &mut Vec<u8>,
    ) -> Turn {
        let now = self.claim.clock.now();
        let mut reports = Vec::new();
        let channel = Arc::clone(&self.claim.channel);
        let mut locked = channel.lock();
        if locked.get().link != self.claim.link {
            return Turn::TakenOver;
        }
        locked.get().session.handle_transmitted(now, transmitted);
        match read {
            Read::Bytes { count, .. } => {
                let bytes = input.get(..count).unwrap_or_default();
                if self.tail.is_empty() {
                    let consumed = locked.feed(now, bytes, &mut reports);
                    self.tail = bytes.get(consumed..).unwrap_or_default().to_vec();
                } else {
                    self.tail.extend_from_slice(bytes);
                    self.feed_tail(&mut locked, now, &mut reports);
                }
            }
            Read::Nothing => {}
            Read::Backlog if locked.get().backlogged() => locked.get().session.handle_backlog(now),
            Read::Backlog => self.feed_tail(&mut locked, now, &mut reports),
            Read::End => {
                self.ended = true;
                locked.get().session.handle_disconnected(now);
            }
        }
        self.backlogged = locked.get().backlogged();
        // HL-0105: what the transport holds may be the sign of life, or the answer, that a timer waits for. But a peer that never pauses
        // does not keep the timers from their turn.
        if is_last || !matches!(read, Read::Bytes { drained: false, .. }) {
            locked.get().session.handle_timeout(now);
            if input.get(..1) == Some(b"\n") && matches!(read, Read::Bytes { count: 1, .. }) {
                locked.get().answer_keepalive(now);
            }
        }
        let is_over = !locked.get().session.has_link();
        let room = locked.get().room();
        if output.len() < room {
            output.resize(room, 0);
        }
        let written = if self.unsent.is_empty() || is_over { locked.fill(output) } else { 0 };
        locked.collect(now, &mut reports);
        let deadline = locked.get().session.poll_timeout().map(|deadline| deadline.at);
        locked.park_driver(cx);
        drop(locked);
        self.claim.reporter.tell_all(&channel.id, reports);
        if is_over { Turn::Over { written } } else { Turn::GoOn { written, deadline } }
    }

    /// An empty tail owns no memory.
    fn feed_tail(&mut self, locked: &mut Locked<'_, R>, now: Instant, reports: &mut Vec<What>) {
        let bytes = std::mem::take(&mut self.tail);
        self.tail = match locked.feed(now, &bytes, reports) {
            0 => bytes,
            consumed => bytes.get(consumed..).unwrap_or_default().to_vec(),
        };
    }

    /// Writes, behind what the transport has not taken yet; what it does not take now is kept. Returns how much it took.
    fn write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> usize {
        let mut kept = std::mem::take(&mut self.unsent);
        let mut taken = self.offer(cx, &kept);
        if taken < kept.len() {
            kept.drain(..taken);
            kept.extend_from_slice(bytes);
            self.unsent = kept;
        } else {
            let of_new = self.offer(cx, bytes);
            taken += of_new;
            self.unsent.extend_from_slice(bytes.get(of_new..).unwrap_or_default());
        }
        taken
    }

    /// Lets the transport take what it takes at once.
    fn offer(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty() && !self.broken) {
            match Pin::new(&mut self.stream).poll_write(cx, rest) {
                Poll::Ready(Ok(taken @ 1..)) => at += taken,
                Poll::Ready(Ok(0) | Err(_)) => self.broken = true,
                Poll::Pending => break,
            }
        }
        self.unflushed |= at > 0;
        at
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.unflushed && !self.broken {
            match Pin::new(&mut self.stream).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(_)) => self.broken = true,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }

    /// One turn after the other until there is nothing to do.
    fn poll_turns(
        &mut self,
        mut sleep: Pin<&mut Sleep>,
        cx: &mut Context<'_>,
        input: &mut Vec<u8>,
        output: &mut Vec<u8>,
    ) -> Poll<End> {
        let mut transmitted = self.write(cx, &[]);
        for turn in 1..=TURNS {
            let read = if self.backlogged { Read::Backlog } else { self.poll_read(cx, input) };
            let (written, deadline) = match self.turn(cx, (read, input), transmitted, turn == TURNS, output) {
                Turn::GoOn { written, deadline } => (written, deadline),
                Turn::Over { written: 0 } => return Poll::Ready(End::Silent),
                Turn::Over { written } => {
                    self.write(cx, output.get(..written).unwrap_or_default());
                    return Poll::Ready(End::Said);
                }
                Turn::TakenOver => {
                    self.yield_to_newer(cx, output);
                    return Poll::Ready(End::Silent);
                }
            };
            transmitted = self.write(cx, output.get(..written).unwrap_or_default());
            let has_read_all = match read {
                Read::Nothing => true,
                Read::Backlog => self.backlogged,
                Read::Bytes { .. } | Read::End => false,
            };
            if has_read_all && written == 0 && transmitted == 0 {
                let was_broken = self.broken;
                let _ = self.flush(cx);
                // Not after each turn: while output is on its way the deadline is another one. Later is no more to tokio than a number
                // in the timer; only earlier has it look for another place, under a lock that all links share.
                if let Some(deadline) = deadline.map(|deadline| self.claim.clock.at(deadline))
                    && deadline != sleep.deadline()
                {
                    sleep.as_mut().reset(deadline);
                }
                if self.broken == was_broken && sleep.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
        }
        // The next turn may be long in coming, and the session would take what it does not know to be sent for a stalled transport.
        let mut locked = self.claim.channel.lock();
        if locked.get().link == self.claim.link {
            locked.get().session.handle_transmitted(self.claim.clock.now(), transmitted);
        }
        drop(locked);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Says goodbye on a link whose session a newer one has taken, as far as the transport takes it at once.
    fn yield_to_newer(&mut self, cx: &mut Context<'_>, output: &mut Vec<u8>) {
        // HL-0121, HL-0122
        (self.tail, self.ended) = (Vec::new(), true);
        if let Some(check) = self.bye {
            output.resize(output.len().max(GOODBYE), 0);
            let length = write_bye(ByeCode::Takeover, 0, check, output);
            self.write(cx, output.get(..length).unwrap_or_default());
            let _ = self.flush(cx);
        }
    }

    /// Drives the link to its end, and until its last line has left. `sleep` is the driver's timer.
    pub(crate) fn poll(&mut self, mut sleep: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_over {
            let (mut input, mut output) = (INPUT.take(), OUTPUT.take());
            let end = self.poll_turns(sleep.as_mut(), cx, &mut input, &mut output);
            INPUT.set(input);
            OUTPUT.set(output);
            if matches!(ready!(end), End::Silent) {
                return Poll::Ready(());
            }
            self.is_over = true;
            sleep.as_mut().reset(tokio::time::Instant::now() + FAREWELL);
        }
        // HL-0126, HL-0129, HL-0142
        self.write(cx, &[]);
        if (self.unsent.is_empty() || self.broken) && self.flush(cx).is_ready() {
            return Poll::Ready(());
        }
        let mut locked = self.claim.channel.lock();
        // Nobody waits for the last line of a link whose session a newer one has.
        if locked.get().is_cut() || locked.get().link != self.claim.link {
            return Poll::Ready(());
        }
        locked.park_driver(cx);
        drop(locked);
        sleep.poll(cx)
    }

    /// What a driver that is done leaves.
    pub(crate) fn into_remains(self) -> Remains<S> {
        Remains { stream: self.stream, tail: self.tail, ended: self.ended || self.broken }
    }
}
