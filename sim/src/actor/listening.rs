//! What an end of a link has heard, and whether it should have noticed by now that it hears nothing.

use super::profile::Profile;
use crate::defect::{Defect, Seeded};
use holdline_proto::Instant;

/// How late an endpoint of the simulator may serve a timer, in milliseconds.
const TOLERANCE_MS: u64 = 200;

/// One end of a link.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listening {
    /// When the link was opened.
    opened: Instant,
    /// When bytes last arrived on it.
    heard: Instant,
    /// Whether a whole line has come.
    line: bool,
}

impl Listening {
    pub(super) fn new(now: Instant) -> Self {
        Self { opened: now, heard: now, line: false }
    }

    pub(super) fn hear(&mut self, now: Instant, bytes: &[u8]) {
        self.heard = now;
        self.line |= bytes.contains(&b'\n');
    }

    /// How long it has been silent, if that is longer than an end that is up lets happen (HL-0104, HL-0052).
    pub(super) fn too_silent(&self, profile: Profile, is_client: bool, timeout_ms: u32, now: Instant) -> Option<u64> {
        let patience = if profile == Profile::Classic2020 && is_client && !self.line { 2 } else { 1 };
        let silent = now.since(self.heard);
        (silent > patience * u64::from(timeout_ms) + TOLERANCE_MS).then_some(silent)
    }

    /// Whether a message given at `since` may count as delivered where nothing is acknowledged (HL-0054).
    pub(super) fn proves(&self, since: Instant, timeout_ms: u32, now: Instant) -> bool {
        let written = since.max(self.opened);
        now.since(written) >= timeout_ms.into() && self.heard.since(written) >= u64::from(timeout_ms / 2)
    }
}

/// How a port reads the clock of its device: a counter of 32 bits, widened by counting how often it begins again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Port {
    seeded: Seeded,
    /// What the world's clock said when it was last read, and what the port made of it.
    read: (Instant, Instant),
}

impl Port {
    pub(super) fn new(seeded: Seeded, now: Instant) -> Self {
        Self { seeded, read: (now, now) }
    }

    /// The time, from the counter as the world shows it now.
    pub(super) fn read(&mut self, now: Instant) -> Instant {
        let counter = now.as_millis() & u64::from(u32::MAX);
        let (_, last) = self.read;
        let widened = if self.seeded.is(Defect::ClockNotWidened) {
            counter
        } else {
            // It is read more often than it wraps.
            let wraps = last.as_millis() >> 32;
            let same = (wraps << 32) + counter;
            if same < last.as_millis() { same + (1 << 32) } else { same }
        };
        self.read = (now, Instant::from_millis(widened));
        self.read.1
    }

    /// When it was last read, by the world's clock and by the port's.
    pub(super) fn now(&self) -> (Instant, Instant) {
        self.read
    }

    /// When the world's clock will show a deadline of the port's: it sleeps for the difference.
    pub(super) fn deadline(&self, deadline: Instant) -> Instant {
        let (shown, read) = self.read;
        Instant::from_millis(shown.as_millis() + deadline.since(read))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_begins_again_is_widened() {
        let mut port = Port::new(Seeded::default(), Instant::from_millis((1 << 32) - 5));
        for ms in [(1 << 32) - 1, 1 << 32, (1 << 32) + 5, (2 << 32) + 3] {
            assert_eq!(port.read(Instant::from_millis(ms)).as_millis(), ms);
            assert_eq!(port.deadline(Instant::from_millis(ms + 7)).as_millis(), ms + 7);
        }
    }
}
