//! What is known of one device, apart from what its session says.

use super::aftermath::{Aftermath, End};
use super::backoff::{Backoff, Herd};
use super::profile::Profile;
use crate::defect::Seeded;
use crate::ledger::{Ledger, Report};
use holdline_proto::{Event, Instant};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

/// The accounts of one device: what it sends, what it is sent, and how its links fare.
#[derive(Clone, Debug)]
pub struct Accounts {
    /// Device → server.
    pub up: Ledger,
    /// Server → device.
    pub down: Ledger,
    /// Links that came up.
    pub links: u32,
    /// Every pause between two links, in milliseconds.
    pub pauses: Vec<u64>,
    /// What broke a promise that is not about messages.
    pub violations: Vec<String>,
    pub(crate) aftermath: Aftermath,
    pub(super) backoff: Backoff,
    /// Which ends are up.
    is_up: [bool; 2],
    /// When the device's session went down, while it is.
    down_since: Option<Instant>,
    /// How far the device's clock is ahead of the world's, in milliseconds.
    pub(crate) ahead_ms: u64,
    pub(crate) seeded: Seeded,
}

impl Accounts {
    /// The accounts of a device that is no part of a fleet.
    pub fn alone(profile: Profile, timeout_ms: u32) -> Self {
        Self::new(profile, timeout_ms, Arc::new(Mutex::new(Herd::new(1, timeout_ms))))
    }

    pub(crate) fn new(profile: Profile, timeout_ms: u32, herd: Arc<Mutex<Herd>>) -> Self {
        Self {
            up: Ledger::new(profile),
            down: Ledger::new(profile),
            links: 0,
            pauses: Vec::new(),
            violations: Vec::new(),
            aftermath: Aftermath::new(timeout_ms),
            backoff: Backoff::new(timeout_ms, herd),
            is_up: [false; 2],
            down_since: None,
            ahead_ms: 0,
            seeded: Seeded::default(),
        }
    }

    /// Which ends are up: the device, and the server.
    pub fn is_up(&self) -> [bool; 2] {
        self.is_up
    }

    /// Whether both ends are up, and nothing waits to be acknowledged.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.is_up == [true; 2] && self.up.is_at_rest() && self.down.is_at_rest()
    }

    /// Notes that something broke a promise; the first 16 are kept.
    pub fn violation(&mut self, what: impl FnOnce() -> String) {
        if self.violations.len() < 16 {
            self.violations.push(what());
        }
    }

    /// The world's time, when it is `local` at the device.
    fn world(&self, local: Instant) -> Instant {
        Instant::from_millis(local.as_millis().saturating_sub(self.ahead_ms))
    }

    /// The session of an end says that it is up.
    pub fn came_up(&mut self, end: End, now: Instant) {
        // HL-0141
        if std::mem::replace(&mut self.is_up[end as usize], true) {
            self.violation(|| format!("the session of the {end} came up twice and never went down"));
        }
        if end == End::Device {
            let now = self.world(now);
            self.links += 1;
            self.pauses.extend(self.down_since.take().map(|since| now.since(since)));
            self.aftermath.came_up(now);
        }
    }

    /// An end has lost its link, or its attempt at one; `noticed`, unless it is gone itself.
    pub fn went_down(&mut self, end: End, now: Instant, noticed: bool) {
        let now = if end == End::Device && noticed { self.world(now) } else { now };
        self.is_up[end as usize] = false;
        self.aftermath.went_down(end, now, noticed);
        let ledger = match end {
            End::Device => &mut self.up,
            End::Server => &mut self.down,
        };
        ledger.link_ended();
        if end == End::Device {
            self.down_since.get_or_insert(now);
        }
    }

    /// The session of an end reports something: what it says of lost memory is compared with what was lost.
    pub fn told(&mut self, end: End, event: &Event) {
        let (out, into) = match end {
            End::Device => (&mut self.up.reports, &mut self.down.reports),
            End::Server => (&mut self.down.reports, &mut self.up.reports),
        };
        let count = |from: u64, to: u64| (to + 1).saturating_sub(from);
        match *event {
            Event::PeerForgot { from, to, .. } => out.told(Report::PeerForgot, count(from, to)),
            Event::OwnReset { .. } => out.told(Report::OwnReset, 0),
            Event::LostOutgoing { from, to } => out.told(Report::LostOutgoing, count(from, to)),
            Event::LostIncoming { from, to } => into.told(Report::LostIncoming, count(from, to)),
            Event::PeerReset => into.told(Report::PeerReset, 0),
            _ => {}
        }
    }

    /// An end that should be up has heard nothing for too long.
    pub(super) fn up_and_dead(&mut self, end: End, silent_ms: u64, now: Instant) {
        self.violation(|| format!("the {end} is up and dead: silent for {silent_ms} ms at {} ms", now.as_millis()));
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Device => "device",
            Self::Server => "server",
        })
    }
}

/// Shared by the device and the server that talk to each other.
pub type Shared = Rc<RefCell<Accounts>>;
