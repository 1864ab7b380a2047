//! One line under judgement: the device's program, the server's handle on it, and the accounts of both directions.

use crate::defect::Defect;
use holdline_server::proto::{Event, Instant, Role};
use holdline_server::{Client, Connection, Report, Reports, What};
use holdline_sim::actor::{Accounts, End as Side, Profile};
use holdline_sim::ledger::{Delivery, Ledger, Placed};
use holdline_sim::net::{Host, Net};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

/// Messages that an outbox holds.
pub(crate) const OUTBOX: u32 = 256;
/// A device that keeps to its backoff does not connect more often than this in any minute.
const ATTEMPTS_A_MINUTE: usize = 60;

/// A line, shared by the applications of its two ends and by the judge.
#[derive(Clone)]
pub(crate) struct Line(Arc<Mutex<State>>);

pub(crate) struct State {
    pub(crate) id: String,
    pub(crate) accounts: Accounts,
    pub(crate) host: Host,
    net: Net,
    timeout_ms: u32,
    length: usize,
    device: Option<End<Client>>,
    server: Option<End<Connection>>,
    defect: Option<Defect>,
    /// When the device tried to connect, in the last minute.
    attempts: VecDeque<Instant>,
}

/// What the judge sees of one end.
struct End<H> {
    handle: H,
    reports: Reports,
    is_up: bool,
}

/// Which way a message goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Up,
    Down,
}

impl Line {
    pub(crate) fn new(id: String, host: Host, net: Net, timeout_ms: u32, length: usize, defect: Option<Defect>) -> Self {
        let accounts = Accounts::alone(Profile::Native, timeout_ms);
        let (device, server, attempts) = (None, None, VecDeque::new());
        let state = State { id, accounts, host, net, timeout_ms, length, device, server, defect, attempts };
        Self(Arc::new(Mutex::new(state)))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test goes on after a panic")
    }

    /// Sends the next numbered message, if there is room for it.
    pub(crate) fn send<R: Role>(&self, way: Way, from: &Connection<R>) {
        let mut state = self.lock();
        if !state.has_power(way == Way::Up) {
            return;
        }
        let length = state.length;
        let now = state.net.now();
        let ledger = state.ledger(way);
        let text = text(ledger.next_number(Delivery::Reliable), length);
        if from.try_send(&text).is_ok() {
            ledger.sent(Delivery::Reliable, Placed::Queued, now);
        }
        state.judge();
    }

    /// Takes a message that an application was given.
    pub(crate) fn receive(&self, way: Way, received: &str) {
        let mut state = self.lock();
        if !state.has_power(way == Way::Down) {
            return;
        }
        state.judge();
        let number = received.split(' ').next().and_then(|number| number.parse().ok());
        match number.filter(|&number| text(number, state.length) == received) {
            Some(number) if number % 10 == 0 && state.defect == Some(Defect::LostByTheApplication) => {}
            Some(number) => state.ledger(way).received(Delivery::Reliable, number),
            None => state.violation(format!("a message arrived that nobody sent: {received:?}")),
        }
    }
}

fn text(number: u64, length: usize) -> String {
    let mut text = String::new();
    write!(text, "{number} ").expect("a string takes everything");
    text.extend(std::iter::repeat_n('.', length.saturating_sub(text.len())));
    text
}

impl State {
    fn ledger(&mut self, way: Way) -> &mut Ledger {
        match way {
            Way::Up => &mut self.accounts.up,
            Way::Down => &mut self.accounts.down,
        }
    }

    pub(crate) fn violation(&mut self, what: String) {
        self.accounts.violation(|| what);
    }

    /// The device tries to connect.
    pub(crate) fn tried(&mut self) {
        let now = self.net.now();
        self.attempts.push_back(now);
        while self.attempts.front().is_some_and(|&first| now.since(first) > 60_000) {
            self.attempts.pop_front();
        }
        if self.attempts.len() > ATTEMPTS_A_MINUTE {
            self.attempts.clear();
            let at = now.as_millis();
            self.violation(format!("more than {ATTEMPTS_A_MINUTE} attempts to connect in the minute before {at} ms"));
        }
    }

    /// A client has been started on the device.
    pub(crate) fn device_starts(&mut self, client: Client) {
        let reports = client.reports();
        self.device = Some(End { handle: client, reports, is_up: false });
    }

    /// The device's program is no more. To be called when nothing that it says can arrive any more.
    pub(crate) fn device_stops(&mut self) {
        self.judge();
        if self.device.take().is_some() {
            self.accounts.went_down(Side::Device, self.net.now(), false);
        }
    }

    /// The server's application has got hold of the line.
    pub(crate) fn server_starts(&mut self, handle: Connection, reports: Reports) {
        self.server = Some(End { handle, reports, is_up: false });
    }

    pub(crate) fn server_stops(&mut self) {
        self.judge();
        self.server = None;
    }

    /// The device starts again, without memory.
    pub(crate) fn device_forgot(&mut self) {
        self.accounts.up.sender_forgot();
        self.accounts.down.receiver_forgot();
    }

    /// The server starts again, without memory.
    pub(crate) fn server_forgot(&mut self) {
        self.accounts.down.sender_forgot();
        self.accounts.up.receiver_forgot();
    }

    /// A second device uses the same id from now on, or no more.
    pub(crate) fn contest(&mut self, contested: bool) {
        self.accounts.up.contest(contested);
        self.accounts.down.contest(contested);
    }

    /// Whether an end, the device's or the server's, is there. A task of one that has just been stopped may have been woken before.
    fn has_power(&self, of_device: bool) -> bool {
        if of_device { self.device.is_some() } else { self.server.is_some() }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.device.as_ref().is_some_and(|end| end.handle.status().up)
    }

    pub(crate) fn is_at_rest(&self) -> bool {
        let done = |ledger: &Ledger| ledger.is_at_rest() && ledger.violations(true).is_empty();
        self.is_up() && done(&self.accounts.up) && done(&self.accounts.down)
    }

    /// Everything that can be seen of this line at this moment.
    pub(crate) fn judge(&mut self) {
        let now = self.net.now();
        let Self { accounts, device, server, id, .. } = self;
        if let Some(end) = device {
            let mut dropped = 0;
            for report in drain(&mut end.reports) {
                dropped += count_dropped(&report.what);
                match report.what {
                    What::Connected | What::Resumed { .. } => accounts.came_up(Side::Device, now),
                    What::Outage(_) => accounts.went_down(Side::Device, now, true),
                    What::Session(ref event) => accounts.told(Side::Device, event),
                    _ => {}
                }
                alternate(accounts, &mut end.is_up, &report.what, "device");
            }
            settle(&mut accounts.up, end.handle.status().unacked, dropped);
        }
        if let Some(end) = server {
            let mut dropped = 0;
            for report in drain(&mut end.reports).into_iter().filter(|report| *report.client == **id) {
                dropped += count_dropped(&report.what);
                if let What::Session(event) = &report.what {
                    accounts.told(Side::Server, event);
                }
                alternate(accounts, &mut end.is_up, &report.what, "server");
            }
            settle(&mut accounts.down, end.handle.status().unacked, dropped);
        }
        // An outage is noticed within T of the last byte received.
        let silent = now.since(self.host.heard());
        if self.is_up() && silent > u64::from(self.timeout_ms) + 200 {
            self.violation(format!("up and dead: silent for {silent} ms at {} ms", now.as_millis()));
        }
    }
}

/// Up and down alternate.
fn alternate(accounts: &mut Accounts, is_up: &mut bool, what: &What, whose: &str) {
    let next = match what {
        What::Connected | What::Resumed { .. } => true,
        What::Outage(_) => false,
        _ => return,
    };
    if std::mem::replace(is_up, next) == next {
        accounts
            .violation(|| format!("the {whose} was told twice in a row that the line is {}", if next { "up" } else { "down" }));
    }
}

fn count_dropped(what: &What) -> u64 {
    match *what {
        What::Session(Event::PeerForgot { from, to, dropped: true }) => to + 1 - from,
        What::Session(Event::OwnReset { dropped }) => dropped,
        _ => 0,
    }
}

/// What has left the outbox since was acknowledged, but for what was dropped behind it.
fn settle(ledger: &mut Ledger, unacked: usize, dropped: u64) {
    ledger.acknowledged_to(unacked + usize::try_from(dropped).expect("an outbox is small"), |_| false);
    ledger.dropped(dropped);
}

/// The reports that are there.
fn drain(reports: &mut Reports) -> Vec<Report> {
    let mut drained = Vec::new();
    let mut cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(Some(report)) = pin!(reports.next()).poll(&mut cx) {
        drained.push(report);
    }
    drained
}
