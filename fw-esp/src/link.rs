//! One link: reading, writing and time, side by side on one stream until it ends.

use crate::channel::State;
use crate::hooks::Hooks;
use crate::transport::{Clock, Stream};
use core::cell::RefCell;
use core::future::{Future, pending, poll_fn};
use core::pin::pin;
use core::task::Poll;
use embedded_io_async::{Read, Write};

/// How much is read at a time, in bytes.
const CHUNK: usize = 32;
/// How often a client reads before it lets others have their turn.
const TURNS: u8 = 64;

/// Carries the session over one stream until the link has ended and its last line has left, or has had its time.
///
/// Dropping it ends the link; the next one goes on from there.
pub(crate) async fn drive<T: Clock>(
    state: &RefCell<State<'_>>,
    stream: &mut impl Stream,
    clock: &T,
    hooks: &mut impl Hooks,
    fresh: u64,
) {
    state.borrow_mut().begin_link(clock.now(), fresh);
    let _claim = Claim(state);
    let (mut reader, mut writer) = stream.split();
    let mut receiving = pin!(receive(state, &mut reader, clock));
    let mut sending = pin!(transmit(state, &mut writer, clock));
    let mut timing = pin!(keep_time(state, clock, feed_ms(hooks)));
    poll_fn(|cx| {
        {
            let mut state = state.borrow_mut();
            state.park_driver(cx.waker());
            state.resume(clock.now());
        }
        // HL-0105: time has its turn when all is read that the transport holds.
        let _ = receiving.as_mut().poll(cx);
        let is_over = sending.as_mut().poll(cx).is_ready() || timing.as_mut().poll(cx).is_ready();
        tell(state, hooks);
        if is_over { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// However a link ends, be it dropped: the session knows that it has none.
struct Claim<'c, 'b>(&'c RefCell<State<'b>>);

impl Drop for Claim<'_, '_> {
    fn drop(&mut self) {
        let mut state = self.0.borrow_mut();
        let now = state.now;
        state.lose_link(now);
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

pub(crate) fn feed_ms<H: Hooks>(_: &H) -> u32 {
    H::FEED_MS
}

/// Reads for as long as the link lasts; never ready.
async fn receive(state: &RefCell<State<'_>>, reader: &mut impl Read, clock: &impl Clock) {
    let mut chunk = [0; CHUNK];
    let mut turns = TURNS;
    loop {
        let count = match reader.read(&mut chunk).await {
            Ok(count @ 1..) => count,
            _ => break,
        };
        let mut rest = chunk.get(..count).unwrap_or_default();
        while !rest.is_empty() {
            let taken = poll_fn(|_| state.borrow_mut().take_input(clock.now(), rest)).await;
            rest = rest.get(taken..).unwrap_or_default();
        }
        turns -= 1;
        if turns == 0 {
            turns = TURNS;
            yield_now().await;
        }
    }
    state.borrow_mut().lose_link(clock.now());
    pending().await
}

pub(crate) async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if core::mem::replace(&mut yielded, true) {
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
    buffer: Option<&'b mut [u8]>,
    len: usize,
}

impl Drop for Output<'_, '_> {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            self.state.borrow_mut().return_output(buffer);
        }
    }
}

/// Writes what is due, until there is nothing more on this link.
async fn transmit(state: &RefCell<State<'_>>, writer: &mut impl Write, clock: &impl Clock) {
    loop {
        let output = poll_fn(|_| {
            let (buffer, len) = core::task::ready!(state.borrow_mut().take_output(clock.now()));
            Poll::Ready(Output { state, buffer: Some(buffer), len })
        })
        .await;
        let mut rest = output.buffer.as_deref().and_then(|buffer| buffer.get(..output.len)).unwrap_or_default();
        if rest.is_empty() {
            return;
        }
        while !rest.is_empty() {
            match writer.write(rest).await {
                Ok(taken @ 1..) => {
                    state.borrow_mut().transmitted(clock.now(), taken);
                    rest = rest.get(taken..).unwrap_or_default();
                }
                // HL-0142: what the peer had said before it went away is read, to the end of the stream or of the timeout.
                _ => return end_of_link(state).await,
            }
        }
        if writer.flush().await.is_err() {
            return end_of_link(state).await;
        }
    }
}

/// What ends the link also polls this.
async fn end_of_link(state: &RefCell<State<'_>>) {
    poll_fn(|_| if state.borrow().session.has_link() { Poll::Pending } else { Poll::Ready(()) }).await;
}

/// Does what time brings, until the link is over and its last line has had its time.
async fn keep_time(state: &RefCell<State<'_>>, clock: &impl Clock, feed_ms: u32) {
    loop {
        let at = state.borrow().deadline().min(clock.now().plus(feed_ms));
        {
            let mut wait = pin!(clock.wait_until(at));
            // What happens may bring an earlier deadline, never without this being polled; a later one costs a look at the clock.
            poll_fn(|cx| if state.borrow().deadline() < at { Poll::Ready(()) } else { wait.as_mut().poll(cx) }).await;
        }
        let now = clock.now();
        if now >= state.borrow().deadline() && !state.borrow_mut().tick(now) {
            return;
        }
    }
}
