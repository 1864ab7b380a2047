//! The rules of a relay: what its host's control lines make of it, and what it has to do next. No I/O.

use crate::control::{FromHost, Report, Settings, State, Tcp, Want, Wifi};
use crate::transport::ConnectFailure;
use crate::wire::{ControlLine, End, TEXT_MAX, check};
use holdline_proto::Instant;

/// How often the relay says that it lives, in milliseconds.
const KEEPALIVE_MS: u32 = 1_000;
/// How often it looks at the clock and at the network, in milliseconds. Its one timer: every other time is a number of these.
const TICK_MS: u32 = 100;

/// What a relay has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Leave the network, or what came of an attempt to join it.
    Leave,
    /// Tell the board the settings.
    Configure,
    /// Join the network: this is the attempt.
    Join(u32),
    /// Open this connection.
    Connect(u32),
    /// Nothing until something happens.
    Wait,
}

/// What a relay is, and what it owes.
#[derive(Debug)]
pub(super) struct Rules {
    /// What its host knows, or is about to be told.
    state: State,
    said: Option<State>,
    /// The text of the last `config`.
    settings: heapless::String<TEXT_MAX>,
    is_configured: bool,
    /// Whether the network may have something of ours to leave.
    has_joined: bool,
    must_leave: bool,
    /// Counts attempts to join, so that one that is under way knows that it is not wanted any more.
    attempt: u32,
    /// The connection that was tried last; no number is tried twice.
    tried: u32,
    /// Whether the connection takes no more bytes.
    is_deaf: bool,
    /// Whether what waits for the host is of a connection that it has given up.
    is_stale: bool,
    connects: u32,
    report: Option<Report>,
    started: Instant,
    tick_at: Instant,
    say_at: Instant,
    report_s: u16,
    report_at: Instant,
    is_look_due: bool,
    is_beat_due: bool,
}

impl Rules {
    pub(super) const fn new(boot: u32, now: Instant) -> Self {
        Self {
            state: State { boot, config: None, join: 0, wifi: Wifi::Off, link: 0, tcp: Tcp::None },
            said: None,
            settings: heapless::String::new(),
            is_configured: false,
            has_joined: false,
            must_leave: false,
            attempt: 0,
            tried: 0,
            is_deaf: false,
            is_stale: false,
            connects: 0,
            report: None,
            started: now,
            tick_at: now,
            say_at: now,
            report_s: 0,
            report_at: now,
            is_look_due: false,
            is_beat_due: false,
        }
    }

    /// What is to be done next.
    pub(super) fn step(&self) -> Step {
        match () {
            () if self.must_leave => Step::Leave,
            () if !self.is_configured && self.state.config.is_some() => Step::Configure,
            () if self.state.wifi == Wifi::Joining => Step::Join(self.attempt),
            () if self.state.tcp == Tcp::Opening => Step::Connect(self.state.link),
            () => Step::Wait,
        }
    }

    // ---- the host ----

    /// A `config` arrived: its text, and what is in it.
    fn configure(&mut self, text: &str, settings: &Settings<'_>, now: Instant) {
        let config = Some(check(text));
        if config == self.state.config {
            return;
        }
        self.state.config = config;
        self.settings.clear();
        // Never too long: a control line is not.
        let _ = self.settings.push_str(text);
        self.is_configured = false;
        self.report_s = settings.report_s;
        self.report_at = now.plus(u32::from(settings.report_s) * 1_000);
        self.disconnect();
        self.leave();
        self.join();
    }

    fn want(&mut self, want: Want) {
        if want.join != self.state.join {
            self.state.join = want.join;
            if want.join == 0 {
                self.disconnect();
                self.leave();
            } else if self.state.wifi != Wifi::Up {
                self.join();
            }
        }
        if want.link != self.state.link {
            self.state.link = want.link;
            self.is_stale = true;
            self.state.tcp = match want.link {
                0 => Tcp::None,
                link if link == self.tried => Tcp::Closed,
                _ if self.state.wifi == Wifi::Up => Tcp::Opening,
                _ => Tcp::Unreachable,
            };
            if want.link != 0 {
                self.tried = want.link;
            }
        }
    }

    /// Leaves the network, if there may be one to leave.
    fn leave(&mut self) {
        self.state.wifi = Wifi::Off;
        self.must_leave |= core::mem::take(&mut self.has_joined);
    }

    /// Begins an attempt to join, if the host wants one and has said what.
    fn join(&mut self) {
        self.attempt = self.attempt.wrapping_add(1);
        if self.state.join != 0 && self.state.config.is_some() {
            self.state.wifi = Wifi::Joining;
        }
    }

    /// Gives up the connection at once, and what of it has not been said.
    fn disconnect(&mut self) {
        self.is_stale |= self.state.tcp == Tcp::Open;
        self.end_connection();
    }

    fn end_connection(&mut self) {
        self.state.tcp = match self.state.tcp {
            Tcp::Opening => Tcp::Unreachable,
            Tcp::Open => Tcp::Closed,
            ended => ended,
        };
    }

    // ---- the network ----

    /// Gives what the board is to be configured with.
    pub(super) fn take_settings(&mut self) -> Option<Settings<'_>> {
        self.is_configured = true;
        match FromHost::parse(&self.settings) {
            Some(FromHost::Config(settings)) => Some(settings),
            _ => None,
        }
    }

    /// Begins to leave the network.
    pub(super) fn leaving(&mut self) {
        (self.must_leave, self.has_joined) = (false, false);
    }

    /// Begins to join it.
    pub(super) fn joining(&mut self) {
        self.has_joined = true;
    }

    /// Whether this attempt to join is wanted still.
    pub(super) fn wants_to_join(&self, attempt: u32) -> bool {
        self.step() == Step::Join(attempt)
    }

    /// An attempt to join came to an end: whether it succeeded; `None` if it was given up.
    pub(super) fn joined(&mut self, attempt: u32, outcome: Option<bool>) {
        if self.wants_to_join(attempt) {
            self.state.wifi = if outcome == Some(true) { Wifi::Up } else { Wifi::Failed };
        }
        // Half an attempt may be under way in the driver still.
        self.must_leave |= outcome.is_none();
    }

    /// The network is gone.
    pub(super) fn lose_network(&mut self) {
        self.state.wifi = Wifi::Failed;
        self.end_connection();
    }

    pub(super) fn is_up(&self) -> bool {
        self.state.wifi == Wifi::Up
    }

    // ---- the connection ----

    /// Whether this connection is wanted still.
    pub(super) fn wants_to_connect(&self, link: u32) -> bool {
        self.step() == Step::Connect(link)
    }

    /// An attempt to connect failed.
    pub(super) fn refuse(&mut self, link: u32, failure: ConnectFailure) {
        if self.wants_to_connect(link) {
            self.state.tcp = match failure {
                ConnectFailure::Refused => Tcp::Refused,
                ConnectFailure::TimedOut => Tcp::TimedOut,
                ConnectFailure::Unreachable => Tcp::Unreachable,
            };
        }
    }

    /// The connection is open; `false` if it is not wanted any more.
    pub(super) fn open(&mut self, link: u32) -> bool {
        let is_wanted = self.wants_to_connect(link);
        if is_wanted {
            self.state.tcp = Tcp::Open;
            self.is_deaf = false;
            self.connects = self.connects.saturating_add(1);
        }
        is_wanted
    }

    /// Whether this connection is open.
    pub(super) fn is_open(&self, link: u32) -> bool {
        self.state.link == link && self.state.tcp == Tcp::Open
    }

    /// The connection takes no more bytes: it has ended, or does at one side.
    pub(super) fn stop_listening(&mut self) {
        self.is_deaf = true;
    }

    /// The connection has ended, and all that came from it has been said.
    pub(super) fn close(&mut self) {
        self.end_connection();
    }

    /// Whether what waits for the host is to be thrown away; asked once.
    pub(super) fn take_stale(&mut self) -> bool {
        core::mem::take(&mut self.is_stale)
    }

    // ---- time ----

    /// Whether it is time to look at the network; asked once.
    pub(super) fn take_look(&mut self) -> bool {
        core::mem::take(&mut self.is_look_due)
    }

    /// Whether a keepalive has become due; asked once.
    pub(super) fn take_beat(&mut self) -> bool {
        core::mem::take(&mut self.is_beat_due)
    }

    pub(super) fn is_report_due(&self, now: Instant) -> bool {
        self.report_s != 0 && now >= self.report_at
    }

    /// Reports, of which the rest is known here.
    pub(super) fn report(&mut self, now: Instant, free: Option<u32>, damaged: u32, dropped: u32) {
        let uptime_s = (now.since(self.started) / 1_000).try_into().unwrap_or(u32::MAX);
        self.report = Some(Report { connects: self.connects, uptime_s, free, damaged, dropped });
        self.report_at = now.plus(u32::from(self.report_s) * 1_000);
    }
}

impl End for Rules {
    fn hear(&mut self, text: &str, now: Instant) {
        match FromHost::parse(text) {
            Some(FromHost::Config(settings)) => self.configure(text, &settings, now),
            Some(FromHost::Want(want)) => self.want(want),
            None => {}
        }
    }

    fn say(&mut self, _: Instant, line: &mut ControlLine<'_>) -> bool {
        if self.said != Some(self.state) {
            self.said = Some(self.state);
            return self.state.write(line).is_ok();
        }
        self.report.take().is_some_and(|report| report.write(line).is_ok())
    }

    fn deadline(&self) -> Instant {
        self.tick_at
    }

    fn tick(&mut self, now: Instant) {
        self.tick_at = now.plus(TICK_MS);
        self.is_look_due = true;
        if now >= self.say_at {
            self.say_at = now.plus(KEEPALIVE_MS);
            self.said = None;
            self.is_beat_due = true;
        }
    }

    fn is_listening(&self) -> bool {
        self.state.tcp == Tcp::Open && !self.is_deaf
    }
}
