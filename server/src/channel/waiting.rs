//! Who waits for what.

use std::task::{Context, Waker};

/// What a waiting call of the application needs before it can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// A message in the inbox.
    Message,
    /// The message with this ticket delivered.
    Delivered(u64),
    /// More messages out of the outbox than had left it at this count.
    Room(u64),
    /// The link up.
    Up,
    /// The line closed.
    Closed,
}

#[derive(Debug)]
struct Waiter {
    seat: u64,
    need: Need,
    /// Taken out to wake the call, which leaves it again if it has to go on waiting.
    waker: Option<Waker>,
}

/// A call's place among those who wait; 0 while it has none.
#[derive(Debug, Default)]
pub(crate) struct Seat(u64);

/// The calls that wait, those first that have waited longest.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    waiting: Vec<Waiter>,
    /// The last seat that was taken.
    last: u64,
}

impl Waiters {
    /// Takes the seat, or keeps it, for a call that needs this to go on.
    pub(crate) fn wait(&mut self, seat: &mut Seat, need: Need, cx: &Context<'_>) {
        if let Some(waiter) = self.waiting.iter_mut().find(|waiter| waiter.seat == seat.0) {
            waiter.need = need;
            match &mut waiter.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                None => waiter.waker = Some(cx.waker().clone()),
            }
            return;
        }
        self.last += 1;
        seat.0 = self.last;
        self.waiting.reserve_exact(1);
        self.waiting.push(Waiter { seat: seat.0, need, waker: Some(cx.waker().clone()) });
    }

    /// Gives the seat up, if there is one.
    pub(crate) fn leave(&mut self, seat: &mut Seat) {
        let left = std::mem::take(&mut seat.0);
        if left != 0 {
            self.waiting.retain(|waiter| waiter.seat != left);
        }
    }

    /// The oldest message whose delivery somebody waits for.
    pub(crate) fn oldest_ticket(&self) -> Option<u64> {
        let tickets = self.waiting.iter().filter_map(|waiter| match waiter.need {
            Need::Delivered(ticket) => Some(ticket),
            _ => None,
        });
        tickets.min()
    }

    /// The wakers of those whose need is met. They keep their seats until they have looked for themselves.
    pub(crate) fn ready(&mut self, is_met: impl Fn(Need) -> bool) -> Vec<Waker> {
        let ready = self.waiting.iter_mut().filter(|waiter| is_met(waiter.need));
        ready.filter_map(|waiter| waiter.waker.take()).collect()
    }

    #[cfg(all(test, not(holdline_loom)))]
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl Seat {
    pub(crate) fn is_taken(&self) -> bool {
        self.0 != 0
    }
}
