//! Toxics that decide whether anything passes at all: they stand where a [`Pipe`](super::pipe::Pipe) comes out.

use std::time::Duration;

use tokio::time::Instant;

use super::chance::Chance;
use super::kind::{Close, HalfOpen, Kind, millis};
use super::listed::Listed;
use super::stalls::Stalls;

/// One toxic in one direction of one connection.
#[derive(Debug)]
pub(super) struct Gate {
    id: u64,
    kind: Kind,
    active: bool,
    /// When it began to act, and how many bytes had been passed on by then.
    since: Instant,
    base: u64,
    /// When it first saw what it waits for.
    seen: Option<Instant>,
    /// What it draws.
    chance: Chance,
    stalls: Option<Stalls>,
}

/// What is next to come out, as far as a gate cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Front {
    Nothing,
    Data,
    Mark,
    End,
}

/// What may become of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It passes, and of bytes so many at most.
    Pass(u64),
    /// Bytes are thrown away.
    Lose,
    /// It waits.
    Hold,
    Close(Close),
    /// It waits, and whatever else would be done waits too.
    BlackHole,
    HalfOpen(HalfOpen),
}

impl Gate {
    /// The gate of a toxic, if it is one; it does not act yet.
    pub(super) fn new(toxic: &Listed, chance: Chance, now: Instant) -> Option<Self> {
        let kind = toxic.toxic.kind();
        let is_gate = match kind {
            Kind::SlowClose(_) | Kind::Timeout(_) | Kind::ResetPeer(_) | Kind::LimitData(_) | Kind::BlackHole(_) => true,
            Kind::Stall(_) | Kind::Cut(_) | Kind::HalfOpen(_) | Kind::BurstLoss(_) | Kind::NatIdle(_) => true,
            Kind::NoConnect(_) | Kind::Portal(_) | Kind::CloneId(_) => true,
            Kind::Noop(_) | Kind::Latency(_) | Kind::Bandwidth(_) | Kind::Slicer(_) | Kind::Trigger(_) | Kind::Noise(_) => false,
        };
        let gate =
            || Self { id: toxic.id, kind: kind.clone(), active: false, since: now, base: 0, seen: None, chance, stalls: None };
        is_gate.then(gate)
    }

    pub(super) const fn id(&self) -> u64 {
        self.id
    }

    /// The toxic as it is from now on.
    pub(super) fn set(&mut self, toxic: &Listed, active: bool, sent: u64, now: Instant) {
        if active && !self.active {
            (self.since, self.base, self.seen, self.stalls) = (now, sent, None, None);
        }
        self.active = active;
        if self.kind != *toxic.toxic.kind() {
            self.kind = toxic.toxic.kind().clone();
        }
        if let (Kind::BurstLoss(loss), true) = (&self.kind, active) {
            self.stalls.get_or_insert_with(|| Stalls::new(loss, self.chance, now)).set(loss);
        }
    }

    /// What a connection that has not got to the server yet is told instead.
    pub(super) fn turns_away(&self) -> Option<&Kind> {
        (self.active && matches!(self.kind, Kind::NoConnect(_) | Kind::Portal(_))).then_some(&self.kind)
    }

    /// How long a connection may carry nothing.
    pub(super) fn idle(&self) -> Option<Duration> {
        match &self.kind {
            Kind::NatIdle(nat) if self.active => Some(millis(nat.idle.into())),
            _ => None,
        }
    }

    /// When a second device comes, if the client's first line was passed on at `hello` and it has not come yet.
    pub(super) fn clones_at(&self, hello: Instant) -> Option<Instant> {
        match &self.kind {
            Kind::CloneId(clone) if self.active && self.seen.is_none() => Some(self.since.max(hello) + millis(clone.delay)),
            _ => None,
        }
    }

    /// It has come.
    pub(super) const fn has_cloned(&mut self, now: Instant) {
        self.seen = Some(now);
    }

    /// Whether bytes are missing from the stream, so that it cannot go on without this gate.
    pub(super) const fn has_lost_bytes(&self) -> bool {
        self.active && matches!(self.kind, Kind::Timeout(_))
    }

    /// How many bytes may still be read, after `received` of them.
    pub(super) fn admits(&self, received: u64) -> u64 {
        match &self.kind {
            Kind::Stall(stall) if self.active => stall.after.saturating_sub(received),
            _ => u64::MAX,
        }
    }

    pub(super) fn judge(&mut self, front: Front, sent: u64, now: Instant) -> Verdict {
        if !self.active {
            return Verdict::Pass(u64::MAX);
        }
        let awaited = match self.kind {
            Kind::ResetPeer(_) => matches!(front, Front::Data | Front::End),
            Kind::SlowClose(_) => front == Front::End,
            _ => false,
        };
        if awaited {
            self.seen.get_or_insert(now);
        }
        if let Some(stalls) = &mut self.stalls {
            return if stalls.is_stalled(now) { Verdict::BlackHole } else { Verdict::Pass(u64::MAX) };
        }
        let is_due = self.due().is_some_and(|due| due <= now);
        match &self.kind {
            Kind::HalfOpen(half_open) => Verdict::HalfOpen(half_open.clone()),
            Kind::BlackHole(_) => Verdict::BlackHole,
            Kind::Timeout(_) if is_due => Verdict::Close(Close::Fin),
            Kind::Timeout(_) => Verdict::Lose,
            Kind::ResetPeer(_) if is_due => Verdict::Close(Close::Rst),
            Kind::ResetPeer(_) if self.seen.is_some() => Verdict::Hold,
            Kind::SlowClose(_) if self.seen.is_some() && !is_due => Verdict::Hold,
            Kind::LimitData(limit) => match limit.bytes.saturating_sub(sent - self.base) {
                0 if limit.bytes > 0 || front == Front::Data => Verdict::Close(Close::Fin),
                left => Verdict::Pass(left),
            },
            Kind::Cut(cut) => match cut.bytes.saturating_sub(sent) {
                0 => Verdict::Close(cut.close),
                left => Verdict::Pass(left),
            },
            _ => Verdict::Pass(u64::MAX),
        }
    }

    /// When its verdict changes by itself.
    pub(super) fn due(&self) -> Option<Instant> {
        if !self.active {
            return None;
        }
        match &self.kind {
            Kind::Timeout(timeout) => (timeout.timeout > 0).then(|| self.since + millis(timeout.timeout)),
            Kind::ResetPeer(reset) => self.seen.map(|seen| seen + millis(reset.timeout)),
            Kind::SlowClose(slow) => self.seen.map(|seen| seen + millis(slow.delay)),
            Kind::BurstLoss(_) => self.stalls.as_ref().and_then(Stalls::ends),
            _ => None,
        }
    }
}

/// What all gates together decide: the strongest verdict, and the fewest bytes.
pub(super) fn judge(gates: &mut [Gate], front: Front, sent: u64, now: Instant) -> Verdict {
    let rank = |verdict: &Verdict| match verdict {
        Verdict::Pass(_) => 0,
        Verdict::Lose => 1,
        Verdict::Hold => 2,
        Verdict::Close(_) => 3,
        Verdict::BlackHole => 4,
        Verdict::HalfOpen(_) => 5,
    };
    let verdicts = gates.iter_mut().map(|gate| gate.judge(front, sent, now));
    verdicts.fold(Verdict::Pass(u64::MAX), |strongest, verdict| match (strongest, verdict) {
        (Verdict::Pass(one), Verdict::Pass(other)) => Verdict::Pass(one.min(other)),
        (strongest, verdict) if rank(&verdict) > rank(&strongest) => verdict,
        (strongest, _) => strongest,
    })
}
