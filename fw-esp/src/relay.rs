//! A relay: a chip with a network, which copies the bytes of a session between a serial wire and a connection to the server, as the
//! host at the other end of the wire says.

mod carry;
mod rules;

use crate::control::Settings;
use crate::transport::{AlwaysUp, Clock, ConnectFailure, Connector, Network};
use crate::wire::{Wire, WireEnded, keep_time, listen, speak};
use carry::carry;
use core::cell::RefCell;
use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::Poll;
use embedded_io_async::{Read, Write};
use holdline_proto::Instant;
use rules::{Rules, Step};

/// How long joining the network may take, in milliseconds.
const JOIN_MS: u32 = 60_000;
/// How long leaving it may take, in milliseconds.
const LEAVE_MS: u32 = 5_000;
/// How long opening a connection may take, in milliseconds. The host usually gives up sooner.
const CONNECT_MS: u32 = 30_000;

/// Takes what the host says about the network and the server.
pub trait Configure {
    /// Takes its part of the settings, for whatever is joined or opened from now on.
    ///
    /// Called before the first attempt, and whenever the host's settings have changed: nothing is joined or open then. What cannot be
    /// true of this board makes the next attempt fail.
    fn configure(&mut self, settings: &Settings<'_>);
}

/// Nothing to tell a network that is just there.
impl Configure for AlwaysUp {
    fn configure(&mut self, _: &Settings<'_>) {}
}

/// What a relay does besides relaying; `()` for nothing. Called while it holds nothing.
pub trait RelayHooks {
    /// The relay is alive: feed the watchdog. Called at least every 100 ms.
    fn feed(&mut self) {}

    /// A second has passed, and the relay says that it lives: let a light blink.
    fn keepalive(&mut self) {}

    /// Free memory in bytes, for the reports. Default: not known.
    fn free_memory(&mut self) -> Option<u32> {
        None
    }
}

impl RelayHooks for () {}

/// What a relay runs on.
#[derive(Debug)]
pub struct RelayBoard<R, W, N, C, T, H> {
    /// From the host. An error that is not the end of the wire is noise, and is left alone for 10 ms.
    pub reader: R,
    /// To the host.
    pub writer: W,
    /// The network to join: [`AlwaysUp`] if there is nothing to join.
    pub network: N,
    /// Opens connections to the server.
    pub connector: C,
    /// The time.
    pub clock: T,
    /// A number drawn at random at each start, by which the host knows that the relay has started again.
    pub boot: u32,
    /// The light, the watchdog, the memory; `()` for none.
    pub hooks: H,
}

/// A relay, with room for so many bytes on their way to the server (`UP`) and to the host (`DOWN`).
///
/// It keeps nothing: it can be stopped, reset or exchanged at any time, and the session goes on. What the host and the server do, or do
/// not do, never blocks it. Bytes from the host that find no room are dropped and asked for again by the session, so `UP` is what the
/// host sends while the network stalls: two of its longest lines at least. From the server nothing is taken that has no room.
///
/// ```
/// use embedded_io_async::{Read, Write};
/// use holdline_esp::{AlwaysUp, Clock, Configure, Connector, Relay, RelayBoard};
///
/// async fn relay(uart: (impl Read, impl Write), tcp: impl Connector + Configure, clock: impl Clock, random: u32) {
///     let mut board =
///         RelayBoard { reader: uart.0, writer: uart.1, network: AlwaysUp, connector: tcp, clock, boot: random, hooks: () };
///     let mut relay: Relay = Relay::new();
///     relay.run(&mut board).await; // for ever
/// }
/// ```
#[derive(Debug)]
pub struct Relay<const UP: usize = 2048, const DOWN: usize = 512> {
    wire: RefCell<Wire<Rules, UP, DOWN>>,
}

impl<const UP: usize, const DOWN: usize> Default for Relay<UP, DOWN> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const UP: usize, const DOWN: usize> Relay<UP, DOWN> {
    /// A relay that knows nothing yet; its host will tell.
    pub const fn new() -> Self {
        Self { wire: RefCell::new(Wire::new(Rules::new(0, Instant::from_millis(0)))) }
    }

    /// Relays, until the wire ends. A UART never does.
    ///
    /// Cancel safe: dropping it is a relay that loses its power. Called again it begins anew.
    pub async fn run<R, W, N, C, T, H>(&mut self, board: &mut RelayBoard<R, W, N, C, T, H>) -> WireEnded
    where
        R: Read,
        W: Write,
        N: Network + Configure,
        C: Connector + Configure,
        T: Clock,
        H: RelayHooks,
    {
        let RelayBoard { reader, writer, network, connector, clock, boot, hooks } = board;
        let clock: &T = clock;
        self.wire.get_mut().restart(Rules::new(*boot, clock.now()));
        let wire = &self.wire;
        let mut listening = pin!(listen(wire, reader, clock));
        let mut working = pin!(work(wire, network, connector, clock));
        let mut speaking = pin!(speak(wire, writer, clock));
        let mut timing = pin!(keep_time(wire, clock));
        poll_fn(|cx| {
            wire.borrow_mut().park(cx.waker());
            if let Poll::Ready(ended) = listening.as_mut().poll(cx) {
                return Poll::Ready(ended);
            }
            tidy(wire);
            let _ = timing.as_mut().poll(cx);
            let _ = working.as_mut().poll(cx);
            report(wire, hooks, clock.now());
            speaking.as_mut().poll(cx)
        })
        .await
    }
}

/// Before anything else is said, what waits of a connection that was given up goes.
fn tidy<const UP: usize, const DOWN: usize>(wire: &RefCell<Wire<Rules, UP, DOWN>>) {
    let mut wire = wire.borrow_mut();
    if wire.end.take_stale() {
        wire.clear_outgoing();
    }
}

fn report<const UP: usize, const DOWN: usize>(wire: &RefCell<Wire<Rules, UP, DOWN>>, hooks: &mut impl RelayHooks, now: Instant) {
    hooks.feed();
    let is_beat_due = wire.borrow_mut().end.take_beat();
    if is_beat_due {
        hooks.keepalive();
    }
    let is_report_due = wire.borrow().end.is_report_due(now);
    if is_report_due {
        let free = hooks.free_memory();
        let mut wire = wire.borrow_mut();
        let (damaged, dropped) = (wire.damaged(), wire.dropped);
        wire.end.report(now, free, damaged, dropped);
    }
}

/// Joins, connects, carries and leaves, as the host wants it; never ready.
async fn work<N, C, const UP: usize, const DOWN: usize>(
    wire: &RefCell<Wire<Rules, UP, DOWN>>,
    network: &mut N,
    connector: &mut C,
    clock: &impl Clock,
) where
    N: Network + Configure,
    C: Connector + Configure,
{
    loop {
        let step = poll_fn(|_| {
            if is_network_lost(wire, network) {
                wire.borrow_mut().end.lose_network();
            }
            match wire.borrow().end.step() {
                Step::Wait => Poll::Pending,
                step => Poll::Ready(step),
            }
        })
        .await;
        let turn = Turn { wire, clock };
        match step {
            Step::Leave => {
                wire.borrow_mut().end.leaving();
                turn.within(LEAVE_MS, |_| true, pin!(network.leave())).await;
            }
            Step::Configure => {
                if let Some(settings) = wire.borrow_mut().end.take_settings() {
                    network.configure(&settings);
                    connector.configure(&settings);
                }
            }
            Step::Join(attempt) => {
                wire.borrow_mut().end.joining();
                let mut outcome = None;
                let join = async { outcome = Some(network.join().await.is_ok()) };
                turn.within(JOIN_MS, |rules| rules.wants_to_join(attempt), pin!(join)).await;
                wire.borrow_mut().end.joined(attempt, outcome);
            }
            Step::Connect(link) => {
                let mut stream = Err(ConnectFailure::TimedOut);
                let connect = async { stream = connector.connect().await };
                turn.within(CONNECT_MS, |rules| rules.wants_to_connect(link), pin!(connect)).await;
                match stream {
                    Ok(mut stream) => carry(&turn, &mut stream, network, link).await,
                    Err(failure) => wire.borrow_mut().end.refuse(link, failure),
                }
            }
            Step::Wait => {}
        }
    }
}

/// Whether the network is gone that should be there; looks when it is time.
fn is_network_lost<const UP: usize, const DOWN: usize>(
    wire: &RefCell<Wire<Rules, UP, DOWN>>,
    network: &mut impl Network,
) -> bool {
    let is_due = {
        let mut wire = wire.borrow_mut();
        wire.end.take_look() && wire.end.is_up()
    };
    is_due && !network.is_up()
}

/// What every step needs.
struct Turn<'t, T, const UP: usize, const DOWN: usize> {
    wire: &'t RefCell<Wire<Rules, UP, DOWN>>,
    clock: &'t T,
}

impl<T: Clock, const UP: usize, const DOWN: usize> Turn<'_, T, UP, DOWN> {
    /// Waits for `what`, for as long as it is wanted and until the time is up. Whatever the clock brings wakes it.
    async fn within(&self, ms: u32, is_wanted: impl Fn(&Rules) -> bool, mut what: Pin<&mut dyn Future<Output = ()>>) {
        let until = self.clock.now().plus(ms);
        poll_fn(|cx| {
            if !is_wanted(&self.wire.borrow().end) || self.clock.now() >= until {
                return Poll::Ready(());
            }
            what.as_mut().poll(cx)
        })
        .await;
    }
}
