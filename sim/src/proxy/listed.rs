//! The toxics of one proxy, as its connections see them.

use std::sync::Arc;

use super::chance::Chance;
use super::kind::{Close, Kind, NoConnect};
use super::toxic::{Stream, Toxic};
use crate::outage::ConnectFails;

/// A toxic with the number that tells it from a later one of the same name.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    pub(super) id: u64,
    /// How many connections there had been when it was added.
    pub(super) since: u64,
    pub(super) toxic: Toxic,
}

impl Listed {
    /// Whether it acts on a connection by itself, which a trigger may overrule.
    pub(super) fn takes(&self, connection: u64, chance: Chance) -> bool {
        let is_meant = match self.toxic.kind() {
            Kind::HalfOpen(_) => connection < self.since,
            Kind::NoConnect(_) | Kind::Portal(_) => connection >= self.since,
            _ => true,
        };
        is_meant && chance.named(self.toxic.name()).unit() < self.toxic.toxicity()
    }

    /// Whether nobody listens because of it.
    pub(super) fn refuses(&self) -> bool {
        let refuses = matches!(self.toxic.kind(), Kind::NoConnect(NoConnect { how: ConnectFails::Refused }));
        refuses && self.toxic.toxicity() > 0.0
    }

    /// Whether it acts in this direction.
    pub(super) fn is_in(&self, stream: Stream) -> bool {
        match self.toxic.kind() {
            Kind::HalfOpen(_) => true,
            Kind::BlackHole(hole) if !hole.one_way => true,
            Kind::BurstLoss(loss) if !loss.one_way => true,
            // They are about the connection, and have one place in it.
            Kind::NatIdle(_) | Kind::NoConnect(_) | Kind::Portal(_) | Kind::CloneId(_) => stream == Stream::Upstream,
            _ => self.toxic.stream() == stream,
        }
    }
}

/// What the connections of a proxy are to do, replaced whole at each change.
#[derive(Debug, Clone, Default)]
pub(super) struct Orders {
    pub(super) toxics: Vec<Arc<Listed>>,
    /// The connections before this one close, and how.
    pub(super) close_before: u64,
    pub(super) close: Close,
}
