//! The client's end of a channel: it joins, connects, drives, waits, and begins again.

use crate::channel::State;
use crate::hooks::Hooks;
use crate::link::{Link, tell};
use crate::transport::{Clock, Connector, JoinFailed, Network, Stream};
use core::cell::RefCell;
use core::future::{Future, pending, poll_fn};
use core::pin::{Pin, pin};
use core::task::Poll;
use holdline_proto::{Action, ConnectFailure, FirstFailure, Instant, Supervisor, SupervisorConfig};

/// How long joining the network may take, in milliseconds.
const JOIN_MS: u32 = 60_000;
/// How long closing a stream in order may take, in milliseconds.
pub(crate) const CLOSE_MS: u32 = 1_000;

/// What the client runs on.
#[derive(Debug)]
pub struct Board<N, C, T, R, H> {
    /// The network to join: [`AlwaysUp`](crate::AlwaysUp) if there is nothing to join.
    pub network: N,
    /// Opens connections to the server.
    pub connector: C,
    /// The time.
    pub clock: T,
    /// Gives 64 random bits a call.
    pub random: R,
    /// The light, the watchdog, the callbacks; `()` for none.
    pub hooks: H,
}

/// Why [`Client::run`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Ended {
    /// The application closed the channel.
    Closed,
    /// The network could not be joined at first, and [`Hooks::bad_wifi`] gave up.
    BadWifi,
    /// The server could not be reached at first, and [`Hooks::bad_server`] gave up.
    BadServer,
}

/// Keeps a channel up.
#[derive(Debug)]
pub struct Client<'c, 'b> {
    state: &'c RefCell<State<'b>>,
}

impl<'c, 'b> Client<'c, 'b> {
    pub(crate) fn new(state: &'c RefCell<State<'b>>) -> Self {
        Self { state }
    }

    #[cfg(feature = "relay")]
    pub(crate) fn state(&self) -> &'c RefCell<State<'b>> {
        self.state
    }

    /// Joins the network, connects, carries the session, and begins again whenever the link is lost; until the application closes the
    /// channel, or a hook gives up.
    ///
    /// Cancel safe: dropping it ends the link as an outage would. The session goes on when it is called again.
    pub async fn run<N, C, T, R, H>(&mut self, board: &mut Board<N, C, T, R, H>) -> Ended
    where
        N: Network,
        C: Connector,
        T: Clock,
        R: FnMut() -> u64,
        H: Hooks,
    {
        let state = self.state;
        let mut supervisor = Supervisor::new(supervision(state, N::IS_MANAGED), (board.random)());
        // HL-0130: one thing after the other.
        while !state.borrow().closed {
            match supervisor.poll_action() {
                Some(Action::JoinNetwork { leave_first }) => {
                    let mut joined = Err(JoinFailed);
                    let join = async {
                        if leave_first {
                            board.network.leave().await;
                        }
                        joined = board.network.join().await;
                    };
                    let until = board.clock.now().plus(JOIN_MS);
                    within(state, &board.clock, until, &mut board.hooks, true, pin!(join)).await;
                    match joined {
                        Ok(()) => supervisor.handle_network(board.clock.now(), true),
                        Err(JoinFailed) => supervisor.handle_join_failed(board.clock.now()),
                    }
                }
                // HL-0138
                Some(Action::Connect { .. }) if !board.network.is_up() => supervisor.handle_network(board.clock.now(), false),
                Some(Action::Connect { timeout_ms }) => {
                    let mut stream = Err(ConnectFailure::TimedOut);
                    let connect = async { stream = board.connector.connect().await };
                    // HL-0135
                    let until = board.clock.now().plus(timeout_ms);
                    within(state, &board.clock, until, &mut board.hooks, true, pin!(connect)).await;
                    match &mut stream {
                        Ok(stream) => {
                            supervisor.handle_connected();
                            Link::begin(state, board.clock.now(), (board.random)())
                                .drive(stream, &board.clock, &mut board.hooks)
                                .await;
                            let until = board.clock.now().plus(CLOSE_MS);
                            within(state, &board.clock, until, &mut board.hooks, false, pin!(stream.close())).await;
                            report(state, &mut supervisor);
                        }
                        Err(failure) => supervisor.handle_connect_failed(board.clock.now(), *failure),
                    }
                }
                None => {
                    // Without an action the supervisor waits.
                    let until = supervisor.poll_timeout().unwrap_or_default();
                    within(state, &board.clock, until, &mut board.hooks, true, pin!(pending())).await;
                    supervisor.handle_timeout(board.clock.now());
                }
            }
            // HL-0140
            match supervisor.poll_first_failure() {
                Some(FirstFailure::BadWifi) if board.hooks.bad_wifi().is_break() => return Ended::BadWifi,
                Some(FirstFailure::BadServer) if board.hooks.bad_server().is_break() => return Ended::BadServer,
                _ => {}
            }
        }
        Ended::Closed
    }
}

#[cfg(feature = "durable")]
impl Client<'_, '_> {
    /// As [`Client::run`], for a channel made with [`Channel::durable`](crate::Channel::durable), whose store this is.
    ///
    /// Dropping it while it saves counts as a loss of power: the session goes on with what is in memory, or after a restart with what is in
    /// the store.
    pub async fn run_durable<N, C, T, R, H>(&mut self, board: &mut Board<N, C, T, R, H>, store: &mut impl crate::Store) -> Ended
    where
        N: Network,
        C: Connector,
        T: Clock + Clone,
        R: FnMut() -> u64,
        H: Hooks,
    {
        let clock = board.clock.clone();
        let mut saving = pin!(crate::store::keep(self.state, store, &clock));
        let mut running = pin!(self.run(board));
        poll_fn(|cx| {
            let _ = saving.as_mut().poll(cx);
            running.as_mut().poll(cx)
        })
        .await
    }
}

fn supervision(state: &RefCell<State<'_>>, has_network: bool) -> SupervisorConfig {
    let state = state.borrow();
    #[cfg(feature = "classic")]
    let classic = matches!(state.session, holdline_proto::Session::Classic(_));
    #[cfg(not(feature = "classic"))]
    let classic = false;
    SupervisorConfig { timeout_ms: state.session.config().get().timeout_ms, has_network, classic }
}

/// Waits for `what`, until the time is up or, if it `heeds_close`, the channel is closed; meanwhile the watchdog is fed.
///
/// One function for everything that is waited for between two links: each further one is code on the device.
async fn within<T: Clock, H: Hooks>(
    state: &RefCell<State<'_>>,
    clock: &T,
    until: Instant,
    hooks: &mut H,
    heeds_close: bool,
    mut what: Pin<&mut dyn Future<Output = ()>>,
) {
    loop {
        let mut pause = pin!(clock.wait_until(until.min(clock.now().plus(H::FEED_MS))));
        let is_over = poll_fn(|cx| {
            state.borrow_mut().park_driver(cx.waker());
            if what.as_mut().poll(cx).is_ready() || (heeds_close && state.borrow().closed) {
                return Poll::Ready(true);
            }
            pause.as_mut().poll(cx).map(|()| false)
        })
        .await;
        tell(state, hooks);
        if is_over || clock.now() >= until {
            return;
        }
    }
}

/// Tells the supervisor how the link went.
fn report(state: &RefCell<State<'_>>, supervisor: &mut Supervisor) {
    let known = state.borrow();
    if let Some(up_at) = known.up_at {
        supervisor.handle_up(up_at);
    }
    supervisor.handle_down(known.down.0, known.down.1);
    #[cfg(feature = "classic")]
    {
        drop(known);
        if state.borrow_mut().fall_back() {
            supervisor.set_classic();
        }
    }
}
