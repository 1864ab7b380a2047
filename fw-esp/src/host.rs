//! The client on a microcontroller without a network, behind a relay at the other end of a serial wire.

mod board;
mod end;

use crate::client::{Board, CLOSE_MS, Client, Ended};
use crate::control::{InvalidSettings, Report, Settings, Tcp, Wifi};
use crate::hooks::Hooks;
use crate::transport::Clock;
use crate::wire::{WAIT_MAX_MS, Wire, WireEnded, keep_time, listen, speak};
use board::{RelayConnector, RelayNetwork, Shared};
use core::cell::RefCell;
use core::convert::Infallible;
use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;
use embedded_hal::digital::{ErrorType, OutputPin};
use embedded_io_async::{Read, Write};
use end::{HostEnd, Timing};

/// Bytes of the session that may wait for the client; more than a control line, of which one is read at a time.
const IN: usize = 512;
/// Bytes of the session that may wait for the wire.
const OUT: usize = 256;
/// The shortest silence that says something, in milliseconds: a relay speaks every second.
const SILENCE_MIN_MS: u32 = 2_000;

/// What a relay tells, besides what every client's hooks are told.
pub trait Notices: Hooks {
    /// The relay reports, as often as [`Settings::report_s`] says.
    fn report(&mut self, report: &Report) {
        let _ = report;
    }

    /// The relay has a connection to the server (`true`), or has it no more. Whether the channel is up over it, is told by
    /// [`Hooks::connection`].
    fn server_ok(&mut self, up: bool) {
        let _ = up;
    }
}

impl Notices for () {}

/// What a host runs on: a serial wire, the relay's reset pin, time.
#[derive(Debug)]
pub struct Wiring<R, W, P, T, G, N> {
    /// Bytes from the relay: the receiving half of a UART. An error of it counts as noise, unless its kind says that nothing more can
    /// come.
    pub reader: R,
    /// Bytes to the relay: the sending half.
    pub writer: W,
    /// Holds the relay in reset while it is low; [`NoResetPin`] where there is none.
    pub reset: P,
    /// The time.
    pub clock: T,
    /// Gives 64 random bits a call.
    pub random: G,
    /// The light, the watchdog, the callbacks; `()` for none.
    pub notices: N,
}

/// A relay whose reset pin is not connected: one that hangs is waited for.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoResetPin;

impl ErrorType for NoResetPin {
    type Error = Infallible;
}

impl OutputPin for NoResetPin {
    fn set_low(&mut self) -> Result<(), Infallible> {
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Why a host cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum HostError {
    /// The channel has no checks, and a serial wire flips and loses bytes: make it native, with `Config::check(true)`.
    Unchecked,
    /// The wire has ended.
    WireEnded,
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchecked => {
                f.write_str("a serial wire flips and loses bytes, and the channel has no checks: set Config::check")
            }
            Self::WireEnded => WireEnded.fmt(f),
        }
    }
}

impl core::error::Error for HostError {}

/// How a relay is doing, as its host sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RelayStatus {
    /// Whether it speaks.
    pub alive: bool,
    /// How many starts of it were seen, the first included.
    pub boots: u32,
    /// How often it was reset by its pin.
    pub pulses: u32,
    /// Control lines that arrived here damaged. Those that arrived there so are in its [`Report`].
    pub damaged: u32,
    /// Bytes of the session that found no room here, and were asked for again.
    pub dropped: u32,
    /// Whether it is in its network; [`Wifi::Off`] while it is silent.
    pub wifi: Wifi,
    /// How its connection to the server is doing; [`Tcp::None`] while it is silent.
    pub tcp: Tcp,
}

/// The client of a microcontroller without a network: its wire to a relay, which has one.
///
/// The relay copies bytes between the wire and a connection to the server. The session is the host's, from end to end with the server,
/// with checks: neither the wire nor the relay is trusted with anything, and the relay may crash, hang and be reset at any time.
///
/// The wire is a UART, an I2C bus (`DdcMaster`), or anything that carries bytes. Set the server to listen with checks, the channel too
/// ([`Config::check`]), and connect the relay's reset to a pin of the host, so that it can be helped out of what it cannot get out of
/// itself:
///
/// - A relay that has been silent for [`silence_ms`](Self::silence_ms) has crashed. The link ends, and when the client wants
///   the network again, the relay is reset and given [`boot_ms`](Self::boot_ms) to start; then it is reset again and given twice as long. One that comes back
///   by itself before that is welcome. At the start of [`run`](Self::run) a silent relay is given that time too.
/// - One that restarts by itself is told its settings, joins, connects; the session goes on.
/// - One that speaks and does not listen is reset after ten seconds.
///
/// What the hooks are told is what they are told on any board. [`Hooks::bad_wifi`] is also called if no relay answers at first, for
/// a minute: [`HostLink::relay`] says which it is.
///
/// # Memory
///
/// On a 32-bit chip it takes 1296 bytes, of which 768 hold what waits in both directions, and [`run`](Self::run) 1340 with the client in
/// it, and what the UART's own futures take.
///
/// [`Config::check`]: crate::Config::check
///
/// # Example
///
/// A pump that obeys the server, on a microcontroller with a UART and a pin.
///
/// ```
/// use embassy_futures::join::join;
/// use embedded_hal::digital::OutputPin;
/// use embedded_io_async::{Read, Write};
/// use holdline_esp::{
///     Buffers, Channel, Clock, Config, Handle, Hooks, HostLink, Notices, ReadError, Report, Settings, Wiring,
/// };
///
/// // The relay joins this WiFi and connects to a server that listens with checks: `holdline-server serve --listen-checked`.
/// const SETTINGS: Settings<'_> = Settings { server: "10.0.0.2", port: 8124, ssid: "attic", password: "secret", report_s: 60 };
/// // A serial wire flips and loses bytes, so every line carries a check.
/// const CONFIG: Config = Config::new().max_line(512).window(8).check(true);
///
/// struct Lights<L>(L);
///
/// impl<L: OutputPin> Hooks for Lights<L> {
///     fn connection(&mut self, up: bool) {
///         let _ = self.0.set_state(up.into());
///     }
/// }
///
/// impl<L: OutputPin> Notices for Lights<L> {
///     fn report(&mut self, report: &Report) {
///         // To a log: report.uptime_s, report.connects, report.damaged …
///         # let _ = report;
///     }
/// }
///
/// async fn obey(line: Handle<'_, '_>, pump: &mut impl OutputPin) -> Result<(), ReadError> {
///     let mut buffer = [0; 512];
///     loop {
///         let _ = match line.readline(&mut buffer).await? {
///             "pump" => pump.set_high(),
///             _ => pump.set_low(),
///         };
///         let _ = line.write("done").await; // returns when the server's application has it
///     }
/// }
///
/// async fn run_pump(
///     (uart_rx, uart_tx): (impl Read, impl Write),
///     (relay_reset, light, mut pump): (impl OutputPin, impl OutputPin, impl OutputPin),
///     clock: impl Clock,
///     random: fn() -> u64,
/// ) {
///     let mut memory = Buffers::<1024, 1024, 544, 4>::new();
///     let mut channel = Channel::new("pump-1", CONFIG, &mut memory, random).expect("the constants above fit together");
///     let (mut client, line) = channel.split();
///     let host = HostLink::new(SETTINGS).expect("they can be told");
///     let notices = Lights(light);
///     let mut wiring = Wiring { reader: uart_rx, writer: uart_tx, reset: relay_reset, clock, random, notices };
///     let (ended, _) = join(host.run(&mut client, &mut wiring), obey(line, &mut pump)).await;
///     ended.expect("the channel has checks, and a UART does not end");
/// }
/// # // The crate of that name does it so that no future is polled again once it is ready.
/// # mod embassy_futures {
/// #     pub mod join {
/// #         pub async fn join<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
/// #             tokio::join!(a, b)
/// #         }
/// #     }
/// # }
/// # struct Silent;
/// # impl embedded_io_async::ErrorType for Silent {
/// #     type Error = embedded_io_async::ErrorKind;
/// # }
/// # impl Read for Silent {
/// #     async fn read(&mut self, _: &mut [u8]) -> Result<usize, Self::Error> {
/// #         std::future::pending().await
/// #     }
/// # }
/// # impl Write for Silent {
/// #     async fn write(&mut self, bytes: &[u8]) -> Result<usize, Self::Error> {
/// #         Ok(bytes.len())
/// #     }
/// #     async fn flush(&mut self) -> Result<(), Self::Error> {
/// #         Ok(())
/// #     }
/// # }
/// # struct Never;
/// # impl Clock for Never {
/// #     fn now(&self) -> holdline_esp::Instant {
/// #         holdline_esp::Instant::from_millis(0)
/// #     }
/// #     async fn wait_until(&self, _: holdline_esp::Instant) {
/// #         std::future::pending().await
/// #     }
/// # }
/// # use holdline_esp::NoResetPin;
/// # let run = std::pin::pin!(run_pump((Silent, Silent), (NoResetPin, NoResetPin, NoResetPin), Never, || 1));
/// # assert!(run.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_pending());
/// ```
#[derive(Debug)]
pub struct HostLink<'s> {
    wire: RefCell<Wire<HostEnd<'s>, IN, OUT>>,
}

impl<'s> HostLink<'s> {
    /// A host whose relay gets these settings.
    ///
    /// # Errors
    /// The settings cannot be told: a control character in a name, no server, or more than a control line holds.
    pub fn new(settings: Settings<'s>) -> Result<Self, InvalidSettings> {
        settings.validate()?;
        let timing = Timing { silence_ms: 4_000, pulse_ms: 200, boot_ms: 8_000 };
        Ok(Self { wire: RefCell::new(Wire::new(HostEnd::new(settings, timing))) })
    }

    /// How long a relay is silent that has crashed, in milliseconds. Default 4000, at least 2000: it speaks every second. A second
    /// more at least than a relay takes to restart by itself, or it is reset while it does.
    #[must_use]
    pub fn silence_ms(mut self, ms: u32) -> Self {
        self.wire.get_mut().end.timing.silence_ms = ms.max(SILENCE_MIN_MS);
        self
    }

    /// How long the reset pin is held low, in milliseconds. Default 200.
    #[must_use]
    pub fn pulse_ms(mut self, ms: u32) -> Self {
        self.wire.get_mut().end.timing.pulse_ms = ms;
        self
    }

    /// How long a relay that was reset may take to say its first word, in milliseconds; then it is reset again. Default 8000.
    /// It is given twice as long after each reset that did not help, up to eight times as long.
    #[must_use]
    pub fn boot_ms(mut self, ms: u32) -> Self {
        self.wire.get_mut().end.timing.boot_ms = ms;
        self
    }

    /// Keeps the channel up over the relay, as [`Client::run`] does over a network of the board's own; and the relay alive. Returns when
    /// the application closes the channel, or a hook gives up.
    ///
    /// Cancel safe: dropping it ends the link as an outage would, and lets go of the reset pin. The session goes on when it is called
    /// again. It is called once at a time.
    ///
    /// # Errors
    /// The channel has no checks, as no classic one has, or the wire has ended, which that of a chip never does.
    pub async fn run<R, W, P, T, G, N>(
        &self,
        client: &mut Client<'_, '_>,
        wiring: &mut Wiring<R, W, P, T, G, N>,
    ) -> Result<Ended, HostError>
    where
        R: Read,
        W: Write,
        P: OutputPin,
        T: Clock,
        G: FnMut() -> u64,
        N: Notices,
    {
        if !client.state().borrow().is_checked() {
            return Err(HostError::Unchecked);
        }
        let Wiring { reader, writer, reset, clock, random, notices } = wiring;
        let clock = &*clock;
        self.change(|wire| {
            wire.clear();
            wire.end.begin(clock.now(), random());
        });
        let _ = reset.set_high();
        let notices = RefCell::new(notices);
        let (network, connector) = (RelayNetwork(self), RelayConnector(self));
        let mut board = Board { network, connector, clock, random, hooks: Shared(&notices) };

        let mut listening = pin!(listen(&self.wire, reader, clock));
        let mut timing = pin!(keep_time(&self.wire, clock));
        let mut guarding = pin!(self.keep_alive(reset, clock));
        let mut running = pin!(self.run_and_leave(client, &mut board));
        let mut speaking = pin!(speak(&self.wire, writer, clock));
        let mut told_up = false;
        poll_fn(|cx| {
            self.wire.borrow_mut().park(cx.waker());
            // What is heard is acted upon, and what comes of that is said, in one turn.
            let has_ended = listening.as_mut().poll(cx).is_ready();
            let _ = timing.as_mut().poll(cx);
            let _ = guarding.as_mut().poll(cx);
            let ended = running.as_mut().poll(cx).map(Ok);
            let has_ended = has_ended || speaking.as_mut().poll(cx).is_ready();
            self.tell(&mut **notices.borrow_mut(), &mut told_up);
            if has_ended && ended.is_pending() { Poll::Ready(Err(HostError::WireEnded)) } else { ended }
        })
        .await
    }

    /// As [`HostLink::run`], for a channel made with [`Channel::durable`](crate::Channel::durable), whose store this is; as
    /// `Client::run_durable`.
    ///
    /// # Errors
    /// As [`HostLink::run`].
    #[cfg(feature = "durable")]
    pub async fn run_durable<R, W, P, T, G, N>(
        &self,
        client: &mut Client<'_, '_>,
        wiring: &mut Wiring<R, W, P, T, G, N>,
        store: &mut impl crate::Store,
    ) -> Result<Ended, HostError>
    where
        R: Read,
        W: Write,
        P: OutputPin,
        T: Clock + Clone,
        G: FnMut() -> u64,
        N: Notices,
    {
        let clock = wiring.clock.clone();
        let mut saving = pin!(crate::store::keep(client.state(), store, &clock));
        let mut running = pin!(self.run(client, wiring));
        poll_fn(|cx| {
            let _ = saving.as_mut().poll(cx);
            running.as_mut().poll(cx)
        })
        .await
    }

    /// Resets the relay now, whatever it does; the link ends, and comes back when the relay does. At the next call of
    /// [`run`](Self::run) if it is not running.
    pub fn reboot(&self) {
        self.change(|wire| wire.end.reboot());
    }

    /// How the relay is doing.
    pub fn relay(&self) -> RelayStatus {
        let wire = self.wire.borrow();
        let relay = wire.end.relay();
        let (wifi, tcp) = relay.map_or_else(Default::default, |relay| (relay.wifi, relay.tcp));
        RelayStatus {
            alive: relay.is_some(),
            boots: wire.end.boots,
            pulses: wire.end.pulses,
            damaged: wire.damaged(),
            dropped: wire.dropped,
            wifi,
            tcp,
        }
    }

    /// Changes something that another future of this host may wait for.
    fn change(&self, change: impl FnOnce(&mut Wire<HostEnd<'s>, IN, OUT>)) {
        let mut wire = self.wire.borrow_mut();
        change(&mut wire);
        wire.touch();
    }

    /// Waits until there is something.
    async fn until<O>(&self, mut find: impl FnMut(&Wire<HostEnd<'s>, IN, OUT>) -> Option<O>) -> O {
        poll_fn(|_| find(&self.wire.borrow()).map_or(Poll::Pending, Poll::Ready)).await
    }

    /// Resets the relay when it needs it; never ready.
    async fn keep_alive(&self, reset: &mut impl OutputPin, clock: &impl Clock) {
        loop {
            let at = self.wire.borrow().end.reset_at();
            {
                let mut wait = pin!(clock.wait_until(at.min(clock.now().plus(WAIT_MAX_MS))));
                poll_fn(|cx| if self.wire.borrow().end.reset_at() == at { wait.as_mut().poll(cx) } else { Poll::Ready(()) })
                    .await;
            }
            if clock.now() < self.wire.borrow().end.reset_at() {
                continue;
            }
            let pulse = Pulse::begin(self, reset);
            let pulse_ms = self.wire.borrow().end.timing.pulse_ms;
            clock.wait_until(clock.now().plus(pulse_ms)).await;
            drop(pulse);
            self.change(|wire| wire.end.has_been_reset(clock.now()));
        }
    }

    /// Runs the client; the relay is told to leave when that has ended.
    async fn run_and_leave<'n, T, G, N>(
        &self,
        client: &mut Client<'_, '_>,
        board: &mut Board<RelayNetwork<'_, 's>, RelayConnector<'_, 's>, &T, G, Shared<'n, N>>,
    ) -> Ended
    where
        T: Clock,
        G: FnMut() -> u64,
        N: Notices,
    {
        let ended = client.run(board).await;
        self.change(|wire| wire.end.leave());
        let mut said = pin!(self.until(|wire| (wire.end.has_said_farewell() && wire.is_flushed()).then_some(())));
        let mut pause = pin!(board.clock.wait_until(board.clock.now().plus(CLOSE_MS)));
        poll_fn(|cx| if said.as_mut().poll(cx).is_ready() { Poll::Ready(()) } else { pause.as_mut().poll(cx) }).await;
        ended
    }

    /// Tells what the relay has told.
    fn tell(&self, notices: &mut impl Notices, told_up: &mut bool) {
        let mut wire = self.wire.borrow_mut();
        let (up, report) = (wire.end.is_open(), wire.end.take_report());
        drop(wire);
        if up != core::mem::replace(told_up, up) {
            notices.server_ok(up);
        }
        if let Some(report) = report {
            notices.report(&report);
        }
    }
}

/// A pulse on the reset pin; however it ends, the pin is let go. A pin that fails resets nothing: its error is dropped.
struct Pulse<'h, 's, 'p, P: OutputPin>(&'h HostLink<'s>, &'p mut P);

impl<'h, 's, 'p, P: OutputPin> Pulse<'h, 's, 'p, P> {
    fn begin(link: &'h HostLink<'s>, pin: &'p mut P) -> Self {
        link.change(|wire| wire.end.hold_in_reset(true));
        let _ = pin.set_low();
        Self(link, pin)
    }
}

impl<P: OutputPin> Drop for Pulse<'_, '_, '_, P> {
    fn drop(&mut self) {
        let _ = self.1.set_high();
        self.0.change(|wire| wire.end.hold_in_reset(false));
    }
}
