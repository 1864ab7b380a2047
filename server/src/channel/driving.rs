//! What a driver, and who begins and ends links, does with a channel.

use super::{Locked, Received, Session, State};
use crate::report::What;
use holdline_proto::classic::Flavour;
use holdline_proto::{ByeCode, DownReason, Event, Instant, Message, Receipt, Role, TakeoverGuard};
use std::task::Context;
use std::time::Duration;

impl<R: Role> Locked<'_, R> {
    /// Hands the session over to a new link, whose number is returned, unless the line is closed; `greet` tells the session about it.
    pub(crate) fn begin_link(
        &mut self,
        greet: impl FnOnce(&mut State<R>, &mut Vec<What>),
        now: Instant,
        reports: &mut Vec<What>,
    ) -> Option<u32> {
        let state = self.get();
        if state.closed {
            return None;
        }
        state.tell_last_link(|last| last.up_at = None);
        greet(state, reports);
        state.drop_datagrams();
        state.link = state.link.wrapping_add(1);
        state.backlogged = false;
        let link = state.link;
        self.collect(now, reports);
        self.wake_driver = true;
        Some(link)
    }

    /// Tells the session that the transport of this link is gone, unless a newer link has the session already.
    pub(crate) fn lose_link(&mut self, link: u32, now: Instant, reports: &mut Vec<What>) {
        if self.get().link == link {
            self.get().session.handle_disconnected(now);
            self.collect(now, reports);
        }
    }

    /// Feeds received bytes to the session and its messages to the inbox; returns how many bytes it is done with.
    pub(crate) fn feed(&mut self, now: Instant, bytes: &[u8], reports: &mut Vec<What>) -> usize {
        let mut at = 0;
        loop {
            let state = self.get();
            let inbox_max = state.inbox_max as usize;
            if state.must_backlog() && state.inbox.len() >= inbox_max && at < bytes.len() {
                return state.leave_unread(now, at);
            }
            let rest = bytes.get(at..).unwrap_or_default();
            let input = state.session.handle_input(now, rest);
            let consumed = input.consumed;
            at += consumed;
            if let Some(Message { text, receipt }) = input.message {
                if state.inbox.len() < inbox_max || state.is_windowed(receipt) {
                    state.inbox.push_back(Received { text: text.to_owned(), receipt });
                } else {
                    state.decline(receipt);
                }
            } else if consumed == 0 && state.must_backlog() && rest.contains(&b'\n') {
                return state.leave_unread(now, at);
            }
            self.collect(now, reports);
            if consumed == 0 || at == bytes.len() || !self.get().session.has_link() {
                return at;
            }
        }
    }

    /// Reads the session's events into reports.
    pub(crate) fn collect(&mut self, now: Instant, reports: &mut Vec<What>) {
        let state = self.get();
        while let Some(event) = state.session.poll_event() {
            match event {
                Event::Up { .. } => {
                    state.connects += 1;
                    state.tell_last_link(|last| last.up_at = Some(now));
                    state.drop_orphans();
                    // HL-0141
                    if !std::mem::replace(&mut state.reported_up, true) {
                        let after = Duration::from_millis(now.since(state.outage));
                        reports.push(if state.connects == 1 { What::Connected } else { What::Resumed { after } });
                    }
                }
                Event::Down(reason) => state.go_down(now, reason, reports),
                Event::Acked(_) => {}
                Event::PeerForgot { from, to, dropped } => {
                    if dropped {
                        state.drop_tickets(to + 1 - from);
                    }
                    reports.push(What::Session(event));
                }
                Event::OwnReset { dropped } => {
                    state.drop_tickets(dropped);
                    reports.push(What::Session(event));
                }
                _ => reports.push(What::Session(event)),
            }
        }
    }

    /// Moves everything that is due into `out`, as far as it fits; returns its length.
    ///
    /// Best effort goes first: a classic message of it got its id before those that the session writes now. `out` must have
    /// [`State::room`].
    pub(crate) fn fill(&mut self, out: &mut [u8]) -> usize {
        let state = self.get();
        // HL-0091
        if !state.session.has_link() {
            state.drop_datagrams();
        }
        let datagrams = state.rare.as_mut().map(|rare| std::mem::take(&mut rare.datagrams)).unwrap_or_default();
        // HL-0029
        match out.split_at_mut_checked(datagrams.len()) {
            Some((first, rest)) => {
                first.copy_from_slice(&datagrams);
                first.len() + state.session.poll_transmit(rest)
            }
            None => {
                debug_assert!(false, "the caller's buffer is too small");
                state.session.poll_transmit(out)
            }
        }
    }

    /// Leaves the driver's waker, for whoever has something to send.
    pub(crate) fn park_driver(&mut self, cx: &Context<'_>) {
        let state = self.get();
        match &mut state.driver {
            Some(waker) => waker.clone_from(cx.waker()),
            None => state.driver = Some(cx.waker().clone()),
        }
    }

    /// Ends the line for good: whoever waits is told, and the link is closed with `code`.
    pub(crate) fn close(&mut self, code: ByeCode, retry_ms: u32) {
        let state = self.get();
        state.closed = true;
        state.session.close(code, retry_ms);
        self.wake_driver = true;
    }

    /// Ends the line for good; its link says its last line only if the transport takes it at once.
    pub(crate) fn cut(&mut self) {
        self.close(ByeCode::Closing, 0);
        self.get().cut = true;
    }

    /// Ends the present link in order, and not the line.
    pub(crate) fn close_link(&mut self, code: ByeCode, retry_ms: u32) {
        self.get().session.close(code, retry_ms);
        self.wake_driver = true;
    }
}

impl<R: Role> State<R> {
    /// Whether the sender has promised not to send more than this side can hold.
    fn is_windowed(&self, receipt: Option<Receipt>) -> bool {
        matches!(self.session, Session::Native(_)) && receipt.is_some()
    }

    /// Whether a full inbox has to stop the reading, because what is not taken would never come again.
    fn must_backlog(&self) -> bool {
        // HL-0055
        matches!(&self.session, Session::Classic(session) if session.flavour() == Flavour::V2019)
    }

    /// Has the driver keep what it received beyond `at` until the application has taken or accepted a message.
    fn leave_unread(&mut self, now: Instant, at: usize) -> usize {
        self.backlogged = true;
        self.session.handle_backlog(now);
        at
    }

    /// Judges a hello by its `boot`, as [`TakeoverGuard::admit`] does. Before the first takeover of a live link there is nothing to
    /// remember but the boot of the last hello, which the session knows.
    pub(crate) fn guard(&mut self, now: Instant, boot: Option<u64>) -> Result<(), u32> {
        let (live, timeout_ms) = (self.session.has_link(), self.session.timeout_ms());
        if live && self.guard.is_none() {
            let mut guard = Box::new(TakeoverGuard::new());
            if let Session::Native(session) = &self.session {
                guard.admit(now, Some(session.snapshot().peer_boot), false, timeout_ms)?;
            }
            self.guard = Some(guard);
        }
        match &mut self.guard {
            // HL-0123, HL-0124
            Some(guard) => guard.admit(now, boot, live, timeout_ms),
            None => Ok(()),
        }
    }

    /// Leaves a message for which there is no room: best effort is dropped, a classic sender repeats it.
    fn decline(&mut self, receipt: Option<Receipt>) {
        if let (Session::Classic(session), Some(receipt)) = (&mut self.session, receipt) {
            // HL-0044
            session.decline(receipt);
        }
    }

    /// Drops messages of streams that the peer has given up (another epoch, a later base), of which nobody keeps count any more, beyond
    /// what the inbox has room for. None of them was acknowledged.
    fn drop_orphans(&mut self) {
        let Session::Native(session) = &self.session else { return };
        let stream = session.snapshot();
        let counted = |receipt: Receipt| receipt.epoch == stream.peer_epoch && receipt.seq > stream.accepted;
        let mut orphans = 0;
        // HL-0144
        self.inbox.retain(|received| {
            received.receipt.is_some_and(counted) || {
                orphans += 1;
                orphans <= self.inbox_max
            }
        });
    }

    /// Best effort is for one link alone.
    fn drop_datagrams(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.datagrams = Vec::new();
        }
    }

    /// The session has lost its link.
    pub(crate) fn go_down(&mut self, now: Instant, reason: DownReason, reports: &mut Vec<What>) {
        self.tell_last_link(|last| last.down = Some((now, reason)));
        match reason {
            DownReason::Takeover => reports.push(What::Takeover),
            DownReason::Fault(fault) => reports.push(What::Fault(fault)),
            // HL-0156
            DownReason::Refused { code, retry_ms } => {
                reports.push(What::Refused { code, retry: Duration::from_millis(retry_ms.into()) });
            }
            DownReason::NotHoldline => reports.push(What::NotHoldline),
            _ => {}
        }
        // HL-0141
        if std::mem::replace(&mut self.reported_up, false) {
            self.outage = now;
            reports.push(What::Outage(reason));
        }
    }

    /// Remembers that the last `count` messages which left the outbox were dropped, for as long as a writer waits for one of them.
    pub(super) fn drop_tickets(&mut self, count: u64) {
        let to = self.resolved();
        let oldest = self.waiters.oldest_ticket().unwrap_or(u64::MAX);
        let dropped = &mut self.rare().dropped;
        dropped.push((to + 1 - count, to));
        dropped.retain(|&(from, to)| from <= to && to >= oldest);
    }
}
