//! The applications on both ends: they number what they send, and accept at once what they get.

use super::accounts::Defect;
use crate::ledger::Ledger;
use holdline_proto::{Event, Instant, Role, Session, VecOutbox};

/// Messages that an outbox holds.
pub(super) const OUTBOX: u32 = 256;

/// How often an application sends, and how fast it accepts.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    /// A message each so many milliseconds; 0: none.
    pub every_ms: u32,
    /// The length of each text, in bytes, at least 24.
    pub length: usize,
    /// No message after this instant.
    pub until: Instant,
}

/// Hands the next numbered message to a session; a full outbox holds the application up, and costs nothing.
pub(super) fn send<R: Role>(
    session: &mut Session<R, VecOutbox>,
    ledger: &mut Ledger,
    text: &mut String,
    now: Instant,
    length: usize,
) {
    use std::fmt::Write;
    text.clear();
    let number = ledger.next_number();
    // Writing to a string cannot fail.
    let _ = write!(text, "{number} ");
    text.extend(std::iter::repeat_n('.', length.saturating_sub(text.len())));
    if session.send(now, text).is_ok() {
        ledger.sent();
    }
}

pub(super) fn tell_drops(ledger: &mut Ledger, event: Event) {
    match event {
        Event::PeerForgot { from, to, dropped: true } => ledger.dropped(to + 1 - from),
        Event::OwnReset { dropped } => ledger.dropped(dropped),
        _ => {}
    }
}

/// Feeds bytes to a session; its application accepts at once.
pub(super) fn feed<R: Role>(
    session: &mut Session<R, VecOutbox>,
    ledger: &mut Ledger,
    defect: Option<Defect>,
    now: Instant,
    bytes: &[u8],
) -> usize {
    let input = session.handle_input(now, bytes);
    if let Some(message) = input.message {
        if let Some(number) = message.text.split(' ').next().and_then(|number| number.parse().ok()) {
            let tenth = number % 10 == 0;
            if !(tenth && defect == Some(Defect::AcceptedOnReceipt)) {
                ledger.received(number);
            }
            if tenth && defect == Some(Defect::GivenTwice) {
                ledger.received(number);
            }
        }
        if let Some(receipt) = message.receipt {
            session.accept(receipt);
        }
    }
    input.consumed
}
