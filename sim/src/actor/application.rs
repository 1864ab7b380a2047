//! The applications on both ends: they number what they send, and accept at once what they get.

use super::accounts::Accounts;
use super::aftermath::End;
use super::store::Store;
use crate::defect::{Defect, Seeded, with_right_checks};
use crate::ledger::{Deliveries, Delivery, Ledger, Placed, Report};
use holdline_proto::{Event, Instant, Outbox, Role, Session, classic};
use std::fmt::Write;

/// Bytes of best effort that may wait for the transport; what does not fit is dropped.
const DATAGRAMS: usize = 16 * 1024;
/// A wire that carries one message in each timeout is not given more than this many to hold.
const SLOW_WIRE: usize = 32;
/// All values are of one kind.
const SLOT: u8 = 0;

/// How often an application sends, and what.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    /// A message of each delivery each so many milliseconds; 0: none.
    pub every_ms: u32,
    /// The length of each text, in bytes, at least 24.
    pub length: usize,
    /// In which deliveries.
    pub deliveries: Deliveries,
    /// No message after this instant.
    pub until: Instant,
}

/// What an application has under way on one session.
#[derive(Debug, Default)]
pub(super) struct Application {
    pub(super) seeded: Seeded,
    /// How long each text is, in bytes.
    length: usize,
    /// Best effort that is on its way to the transport.
    datagrams: Vec<u8>,
    /// A message that is given to the application too late.
    late: Option<(Delivery, u64)>,
}

impl Application {
    pub(super) fn new(seeded: Seeded, traffic: &Traffic) -> Self {
        Self { seeded, length: traffic.length, ..Self::default() }
    }

    /// Hands the next message of each delivery to a session; a full outbox holds the application up, and costs nothing.
    pub(super) fn send<R: Role>(
        &mut self,
        session: &mut Session<R, Store>,
        ledger: &mut Ledger,
        text: &mut String,
        now: Instant,
        traffic: &Traffic,
    ) {
        let is_slow = matches!(session, Session::Classic(session) if session.flavour() == classic::Flavour::V2019);
        if is_slow && session.outbox().len() >= SLOW_WIRE {
            return;
        }
        for delivery in Delivery::ALL.into_iter().filter(|&delivery| traffic.deliveries.has(delivery)) {
            write_text(text, delivery, ledger.next_number(delivery), traffic.length);
            let placed = match delivery {
                Delivery::Reliable => session.send(now, text).is_ok().then_some(Placed::Queued),
                Delivery::Latest => self.send_latest(session, now, text),
                Delivery::BestEffort => self.send_best_effort(session, ledger.next_number(delivery), text),
            };
            if let Some(placed) = placed {
                ledger.sent(delivery, placed, now);
            }
        }
    }

    fn send_latest<R: Role>(&self, session: &mut Session<R, Store>, now: Instant, text: &str) -> Option<Placed> {
        let held = session.outbox().len();
        if self.seeded.is(Defect::LatestForgotten) && (0..held).any(|index| session.outbox().slot(index).is_some()) {
            return Some(Placed::InPlace);
        }
        session.send_latest(now, SLOT, text).ok()?;
        Some(if session.outbox().len() == held { Placed::InPlace } else { Placed::Queued })
    }

    fn send_best_effort<R: Role>(&mut self, session: &mut Session<R, Store>, number: u64, text: &str) -> Option<Placed> {
        // A classic peer knows a restart by its first message: that must not be one that can be lost (SPEC.md, 12.3, hole 2).
        if matches!(session, Session::Classic(_)) && session.acked() == 0 {
            return None;
        }
        if self.seeded.is(Defect::BestEffortForgotten) && number.is_multiple_of(10) {
            return Some(Placed::OnTheWire);
        }
        let times = if self.seeded.is(Defect::BestEffortTwice) { 2 } else { 1 };
        let mut placed = Placed::Dropped;
        for _ in 0..times {
            let start = self.datagrams.len();
            self.datagrams.resize((start + text.len() + 64).min(DATAGRAMS), 0);
            let written = session.send_best_effort(text, &mut self.datagrams[start..]);
            self.datagrams.truncate(start + *written.as_ref().unwrap_or(&0));
            if written.is_ok() {
                placed = Placed::OnTheWire;
            }
        }
        Some(placed)
    }

    /// Writes best effort that is on its way, as far as there is room.
    pub(super) fn transmit(&mut self, buffer: &mut [u8]) -> usize {
        let length = self.datagrams.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.datagrams[..length]);
        self.datagrams.drain(..length);
        length
    }

    /// The link has ended.
    pub(super) fn drop_datagrams(&mut self) {
        self.datagrams.clear();
    }

    /// Feeds bytes to a session; its application accepts at once. Returns how many are done with.
    pub(super) fn feed<R: Role>(
        &mut self,
        session: &mut Session<R, Store>,
        ledger: &mut Ledger,
        now: Instant,
        bytes: &[u8],
    ) -> usize {
        let mended = self.seeded.is(Defect::ChecksIgnored).then(|| with_right_checks(bytes));
        let input = session.handle_input(now, mended.as_deref().unwrap_or(bytes));
        if let Some(message) = input.message {
            match Delivery::read(message.text, self.length) {
                Some((delivery, number)) => self.take(ledger, delivery, number),
                None if message.receipt.is_some() => ledger.damaged(Delivery::Reliable),
                None => ledger.damaged(Delivery::BestEffort),
            }
            if let Some(receipt) = message.receipt {
                session.accept(receipt);
            }
        }
        input.consumed
    }

    fn take(&mut self, ledger: &mut Ledger, delivery: Delivery, number: u64) {
        let tenth = number.is_multiple_of(10);
        if tenth && self.seeded.is(Defect::AcceptedOnReceipt) {
            return;
        }
        if tenth && self.seeded.is(Defect::GivenLate) && self.late.is_none() {
            self.late = Some((delivery, number));
            return;
        }
        ledger.received(delivery, number);
        if tenth && self.seeded.is(Defect::GivenTwice) {
            ledger.received(delivery, number);
        }
        if self.late.is_some_and(|(late, _)| late == delivery)
            && let Some((delivery, number)) = self.late.take()
        {
            ledger.received(delivery, number);
        }
    }

    /// Notes what the session of an end says.
    pub(super) fn hear(&self, event: Event, end: End, accounts: &mut Accounts) {
        let (out, into) = match end {
            End::Device => (&mut accounts.up, &mut accounts.down),
            End::Server => (&mut accounts.down, &mut accounts.up),
        };
        match event {
            Event::PeerForgot { from, to, dropped: true } => out.dropped(to + 1 - from),
            Event::OwnReset { dropped } => out.dropped(dropped),
            Event::Up { .. } if self.seeded.is(Defect::LossInventedAtSender) => out.reports.told(Report::LostOutgoing, 1),
            Event::Up { .. } if self.seeded.is(Defect::LossInventedAtReceiver) => into.reports.told(Report::LostIncoming, 1),
            _ => {}
        }
        if !self.seeded.is(Defect::ReportSwallowed) {
            accounts.told(end, &event);
        }
    }
}

/// Writes what an application sends: its delivery and number, and dots up to the length.
pub(super) fn write_text(text: &mut String, delivery: Delivery, number: u64, length: usize) {
    text.clear();
    // Writing to a string cannot fail.
    let _ = write!(text, "{}{number} ", delivery.mark());
    text.extend(std::iter::repeat_n('.', length.saturating_sub(text.len())));
}
