//! What was sent and what arrived, counted by the applications at both ends.

use super::plan::Disturbance;
use crate::command::count::{Count, Numbered, new_run};
use holdline_server::proto::Client as ClientRole;
use holdline_server::{Connection, Profile};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// One device and the two directions of its line.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) id: &'static str,
    pub(super) profile: Profile,
    /// Towards the server.
    pub(super) up: Way,
    /// Towards the device.
    pub(super) down: Way,
    client: Connection<ClientRole>,
    outages: AtomicU32,
    disturbed: Mutex<Option<Disturbance>>,
    /// How long the last outage was, until it is told.
    back: Mutex<Option<Duration>>,
}

/// One direction of a line.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) name: &'static str,
    pub(super) tally: Arc<Tally>,
}

/// The messages of one direction. The sender numbers them, the receiver checks the numbers.
#[derive(Debug)]
pub(super) struct Tally {
    run: String,
    inner: Mutex<Inner>,
    received: Notify,
}

#[derive(Debug)]
struct Inner {
    sent: u64,
    count: Count,
    /// Messages that are not as any was sent.
    wrong: u64,
    last: Option<Instant>,
    longest_pause: Duration,
}

/// A tally at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figures {
    pub(super) sent: u64,
    /// Different messages that have arrived.
    pub(super) delivered: u64,
    /// Messages that were passed over.
    pub(super) lost: u64,
    pub(super) repeated: u64,
    pub(super) reordered: u64,
    pub(super) wrong: u64,
    /// The longest time between two messages.
    pub(super) longest_pause: Duration,
}

impl Device {
    pub(super) fn new(id: &'static str, profile: Profile, client: Connection<ClientRole>) -> Self {
        let way = |name| Way { name, tally: Arc::new(Tally::new()) };
        Self {
            id,
            profile,
            up: way("to the server"),
            down: way("to the device"),
            client,
            outages: AtomicU32::new(0),
            disturbed: Mutex::new(None),
            back: Mutex::new(None),
        }
    }

    pub(super) fn count_outage(&self) {
        self.outages.fetch_add(1, Ordering::Relaxed);
    }

    /// How many times the device has lost its connection.
    pub(super) fn outages(&self) -> u32 {
        self.outages.load(Ordering::Relaxed)
    }

    /// It has a link again.
    pub(super) fn is_back(&self, after: Duration) {
        *lock(&self.back) = Some(after);
    }

    /// How long the outage was after which it has a link again; told once.
    pub(super) fn take_back(&self) -> Option<Duration> {
        lock(&self.back).take()
    }

    /// Tells what disturbs the line from now on.
    pub(super) fn disturbed(&self, disturbance: Option<Disturbance>) {
        *lock(&self.disturbed) = disturbance;
    }

    pub(super) fn disturbance(&self) -> Option<Disturbance> {
        *lock(&self.disturbed)
    }

    pub(super) fn is_up(&self) -> bool {
        self.client.status().up
    }

    /// Returns when each application has counted everything that the other one has sent.
    pub(super) async fn drained(&self) {
        for way in [&self.up, &self.down] {
            way.tally.has_received(way.tally.figures().sent).await;
        }
    }
}

impl Tally {
    fn new() -> Self {
        let run = new_run();
        let inner = Inner { sent: 0, count: Count::from_one(&run), wrong: 0, last: None, longest_pause: Duration::ZERO };
        Self { run, inner: Mutex::new(inner), received: Notify::new() }
    }

    /// The text of the next message; it counts as sent.
    pub(super) fn next(&self) -> String {
        let mut inner = lock(&self.inner);
        inner.sent += 1;
        Numbered { number: inner.sent, run: &self.run }.to_string()
    }

    /// Checks a message that has arrived.
    pub(super) fn take(&self, text: &str) {
        let mut inner = lock(&self.inner);
        match Numbered::read(text) {
            Some(Numbered { number, run }) if run == self.run && number <= inner.sent => inner.count.take(number),
            _ => inner.wrong += 1,
        }
        let now = Instant::now();
        if let Some(last) = inner.last.replace(now) {
            inner.longest_pause = inner.longest_pause.max(now - last);
        }
        drop(inner);
        self.received.notify_waiters();
    }

    /// Returns when this many messages have arrived.
    pub(super) async fn has_received(&self, messages: u64) {
        loop {
            let mut received = std::pin::pin!(self.received.notified());
            received.as_mut().enable();
            if self.figures().delivered >= messages {
                return;
            }
            received.await;
        }
    }

    pub(super) fn figures(&self) -> Figures {
        let inner = lock(&self.inner);
        Figures {
            sent: inner.sent,
            delivered: inner.count.received(),
            lost: inner.count.lost(),
            repeated: inner.count.repeated(),
            reordered: inner.count.reordered(),
            wrong: inner.wrong,
            longest_pause: inner.longest_pause,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Counters are true whatever their holder was doing.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
