//! One link: reading, writing and time, side by side on one stream until it ends.
//!
//! Its futures are blocks and not async functions: those keep what they were called with twice, and a device has it in memory for as
//! long as it runs.
#![expect(clippy::manual_async_fn, reason = "an async function keeps its arguments twice")]

use crate::channel::State;
use crate::hooks::Hooks;
use crate::transport::{Clock, Stream};
use core::cell::RefCell;
use core::future::{Future, pending, poll_fn};
use core::mem;
use core::ops::Range;
use core::pin::pin;
use core::task::Poll;
use embedded_io_async::{Read, Write};
use holdline_proto::Instant;

/// How much is read at a time, in bytes.
const CHUNK: usize = 32;
/// How often a client reads before it lets others have their turn.
const TURNS: u8 = 64;

/// A link that was begun. However it ends, be it dropped, the session knows then that it has none.
pub(crate) struct Link<'c, 'b>(&'c RefCell<State<'b>>);

impl<'c, 'b> Link<'c, 'b> {
    /// Begins a link over a stream that was opened.
    pub(crate) fn begin(state: &'c RefCell<State<'b>>, now: Instant, fresh: u64) -> Self {
        state.borrow_mut().begin_link(now, fresh);
        Self(state)
    }

    /// Carries the session over one stream until the link has ended and its last line has left, or has had its time.
    ///
    /// Dropping it is as an outage: the next link goes on from there.
    pub(crate) fn drive<T: Clock, H: Hooks>(
        &self,
        stream: &mut impl Stream,
        clock: &T,
        hooks: &mut H,
    ) -> impl Future<Output = ()> {
        let Self(state) = *self;
        async move {
            let (reader, writer) = stream.split();
            let mut receiving = pin!(receive(state, reader));
            let mut sending = pin!(transmit(state, writer));
            loop {
                let at = state.borrow().deadline().min(clock.now().plus(H::FEED_MS));
                let mut wait = pin!(clock.wait_until(at));
                let is_over = poll_fn(|cx| {
                    state.borrow_mut().look(clock.now(), cx.waker());
                    // HL-0105: time has its turn when all is read that the transport holds.
                    let _ = receiving.as_mut().poll(cx);
                    let is_over = sending.as_mut().poll(cx).is_ready();
                    tell(state, hooks);
                    // What happens may bring an earlier deadline, never without this being polled; a later one costs a look
                    // at the clock.
                    if is_over || state.borrow().deadline() < at {
                        return Poll::Ready(is_over);
                    }
                    wait.as_mut().poll(cx).map(|()| false)
                })
                .await;
                let now = clock.now();
                if is_over || (now >= state.borrow().deadline() && !state.borrow_mut().tick(now)) {
                    return;
                }
            }
        }
    }
}

impl Drop for Link<'_, '_> {
    fn drop(&mut self) {
        self.0.borrow_mut().lose_link();
    }
}

/// Tells the hooks what has happened.
pub(crate) fn tell(state: &RefCell<State<'_>>, hooks: &mut impl Hooks) {
    let signals = state.borrow_mut().take_signals();
    if signals.up {
        hooks.connection(true);
    }
    if signals.beat {
        hooks.heartbeat();
    }
    if signals.down {
        hooks.connection(false);
    }
    hooks.feed();
}

/// Reads for as long as the link lasts; never ready.
fn receive(state: &RefCell<State<'_>>, mut reader: impl Read) -> impl Future<Output = ()> {
    async move {
        let mut chunk = [0; CHUNK];
        let mut turns = TURNS;
        loop {
            let count = match reader.read(&mut chunk).await {
                Ok(count @ 1..) => count,
                _ => break,
            };
            let mut rest = chunk.get(..count).unwrap_or_default();
            while !rest.is_empty() {
                let taken = poll_fn(|_| state.borrow_mut().take_input(rest)).await;
                rest = rest.get(taken..).unwrap_or_default();
            }
            turns -= 1;
            if turns == 0 {
                turns = TURNS;
                yield_now().await;
            }
        }
        state.borrow_mut().lose_link();
        pending().await
    }
}

pub(crate) async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The transmit buffer while it is written; it goes back however that ends.
struct Output<'c, 'b> {
    state: &'c RefCell<State<'b>>,
    buffer: &'b mut [u8],
    /// Bytes of it that are still to be written.
    rest: Range<usize>,
}

impl Drop for Output<'_, '_> {
    fn drop(&mut self) {
        self.state.borrow_mut().return_output(mem::take(&mut self.buffer));
    }
}

/// Writes what is due, until there is nothing more on this link.
fn transmit(state: &RefCell<State<'_>>, mut writer: impl Write) -> impl Future<Output = ()> {
    async move {
        'link: loop {
            let mut output = poll_fn(|_| {
                let (buffer, len) = core::task::ready!(state.borrow_mut().take_output());
                Poll::Ready(Output { state, buffer, rest: 0..len })
            })
            .await;
            if output.rest.is_empty() {
                return;
            }
            while let Some(rest @ [_, ..]) = output.buffer.get(output.rest.clone()) {
                let Ok(taken @ 1..) = writer.write(rest).await else { break 'link };
                state.borrow_mut().transmitted(taken);
                output.rest.start += taken;
            }
            if writer.flush().await.is_err() {
                break;
            }
        }
        // HL-0142: what the peer had said before it went away is read, to the end of the stream or of the timeout.
        poll_fn(|_| if state.borrow().session.has_link() { Poll::Pending } else { Poll::Ready(()) }).await;
    }
}
