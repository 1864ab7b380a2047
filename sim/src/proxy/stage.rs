//! Toxics that change when bytes pass, and in which pieces: the stages of a [`Pipe`](super::pipe::Pipe).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::chance::Chance;
use super::kind::{Action, Kind};
use super::lines::Watch;
use super::listed::Listed;
use super::noise::Disturb;
use super::shaping::{Delay, Pace, Slice};

/// What passes a pipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    Data(Bytes),
    /// A line asks for this, now that it has been passed on whole.
    Mark(Arc<Mark>),
    /// The sender closed.
    Eof,
    /// The sender is gone.
    Reset,
}

/// What a line has set off.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) toxic: String,
    pub(super) action: Action,
    pub(super) lasts: Option<Duration>,
}

/// When the next item of a stage may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ready {
    /// There is none, or nothing that time could do would let it pass.
    Never,
    Now,
    At(Instant),
}

/// One toxic in one direction of one connection.
///
/// `push` is called only while it [`wants`](Self::wants) more. A stage that does not act passes everything on.
#[derive(Debug)]
pub(super) struct Stage {
    id: u64,
    active: bool,
    retired: bool,
    work: Work,
}

#[derive(Debug)]
enum Work {
    Delay(Delay),
    Pace(Pace),
    Slice(Slice),
    Watch(Watch),
    Disturb(Disturb),
}

impl Stage {
    /// The stage of a toxic, if it is one.
    pub(super) fn new(toxic: &Listed, active: bool, chance: Chance) -> Option<Self> {
        let work = match toxic.toxic.kind() {
            Kind::Latency(latency) => Work::Delay(Delay::new(latency, chance)),
            Kind::Bandwidth(bandwidth) => Work::Pace(Pace::new(bandwidth)),
            Kind::Slicer(slicer) => Work::Slice(Slice::new(slicer, chance)),
            Kind::Trigger(trigger) => Work::Watch(Watch::new(trigger)),
            Kind::Noise(noise) => Work::Disturb(Disturb::new(noise, chance)),
            _ => return None,
        };
        Some(Self { id: toxic.id, active, retired: false, work })
    }

    pub(super) const fn id(&self) -> u64 {
        self.id
    }

    /// The toxic as it is from now on; what waits here is judged anew.
    pub(super) fn set(&mut self, toxic: &Listed, active: bool) {
        self.active = active;
        match (&mut self.work, toxic.toxic.kind()) {
            (Work::Delay(delay), Kind::Latency(latency)) => delay.set(latency),
            (Work::Pace(pace), Kind::Bandwidth(bandwidth)) => pace.set(bandwidth),
            (Work::Slice(slice), Kind::Slicer(slicer)) => slice.set(slicer),
            (Work::Watch(watch), Kind::Trigger(trigger)) => watch.set(trigger),
            (Work::Disturb(disturb), Kind::Noise(noise)) => disturb.set(noise),
            // A toxic keeps its type for life.
            _ => {}
        }
    }

    /// The toxic was removed: what waits here passes, and then the stage [is spent](Self::is_spent).
    pub(super) const fn retire(&mut self) {
        self.active = false;
        self.retired = true;
    }

    pub(super) fn is_spent(&self) -> bool {
        self.retired && self.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        match &self.work {
            Work::Delay(delay) => delay.is_empty(),
            Work::Pace(pace) => pace.is_empty(),
            Work::Slice(slice) => slice.is_empty(),
            Work::Watch(watch) => watch.is_empty(),
            Work::Disturb(disturb) => disturb.is_empty(),
        }
    }

    pub(super) fn wants(&self) -> bool {
        match &self.work {
            Work::Delay(delay) => delay.wants(),
            _ => self.is_empty(),
        }
    }

    /// Says how many of its bytes are lost here.
    pub(super) fn push(&mut self, item: Item, now: Instant) -> usize {
        match &mut self.work {
            Work::Delay(delay) => delay.push(item, now),
            Work::Pace(pace) => pace.push(item, now),
            Work::Slice(slice) => slice.push(item),
            Work::Watch(watch) => watch.push(item, self.active),
            Work::Disturb(disturb) => return disturb.push(item, self.active),
        }
        0
    }

    /// What may pass at `now`, a piece at a time.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Item> {
        match self.ready() {
            Ready::Never => return None,
            Ready::At(ready) if ready > now => return None,
            Ready::At(_) | Ready::Now => {}
        }
        match &mut self.work {
            Work::Delay(delay) => delay.pop(),
            Work::Pace(pace) if self.active => pace.pop(now),
            Work::Pace(pace) => pace.release(),
            Work::Slice(slice) if self.active => slice.pop(now),
            Work::Slice(slice) => slice.release(),
            Work::Watch(watch) => watch.pop(),
            Work::Disturb(disturb) => disturb.pop(),
        }
    }

    pub(super) fn ready(&self) -> Ready {
        if self.is_empty() {
            return Ready::Never;
        }
        match &self.work {
            Work::Delay(delay) if self.active => delay.ready(),
            Work::Pace(pace) if self.active => pace.ready(),
            Work::Slice(slice) if self.active => slice.ready(),
            _ => Ready::Now,
        }
    }
}
