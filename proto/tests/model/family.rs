//! What is explored: families of runs, each with its own ends and its own budget of mishaps.

use holdline_proto::OnForgotten;
use std::fmt;

/// What an end's memory does in a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Nothing survives.
    Volatile,
    /// Outbox and cursor survive.
    Durable,
    /// They survive, but as they were in a backup that was made at any time before.
    RolledBack,
}

impl Class {
    pub const ALL: [Self; 3] = [Self::Volatile, Self::Durable, Self::RolledBack];
}

/// A mistake outside of the sessions, which the check has to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// A message is accepted when it is received, not when the application has taken it.
    AckOnReceipt,
    /// A restart without memory uses the epoch it used before.
    ReusedEpoch,
    /// The message is committed first, the cursor later.
    CursorApart,
    /// A restart with memory draws a new epoch.
    NeedlessEpoch,
    /// What was left unread of a link is read as the beginning of the next.
    UnreadKept,
    /// The application takes the newest message first.
    NewestFirst,
    /// The server never reads.
    DeafServer,
}

#[derive(Clone, Copy, Debug)]
pub struct Endpoint {
    pub class: Class,
    pub sends: u8,
    pub crashes: u8,
}

#[derive(Clone, Copy, Debug)]
pub struct Family {
    pub client: Endpoint,
    pub server: Endpoint,
    /// How often the link breaks.
    pub breaks: u8,
    /// Output waits in the session until it is flushed; otherwise it is on the wire at once.
    pub lazy: bool,
    /// One stream for ever, with checksums and timers, instead of links that break.
    pub serial: bool,
    /// How many lines are lost.
    pub losses: u8,
    /// How often time passes while lines are on their way.
    pub late: u8,
    pub on_forgotten: OnForgotten,
    pub defect: Option<Defect>,
}

impl Family {
    /// Links that break; each end crashes once.
    pub fn links(client: Class, server: Class, sends: (u8, u8), breaks: u8) -> Self {
        Self {
            client: Endpoint { class: client, sends: sends.0, crashes: 1 },
            server: Endpoint { class: server, sends: sends.1, crashes: 1 },
            breaks,
            lazy: false,
            serial: false,
            losses: 0,
            late: 0,
            on_forgotten: OnForgotten::Redeliver,
            defect: None,
        }
    }

    /// A stream that loses lines; nobody crashes.
    pub fn serial(client: Class, server: Class, sends: (u8, u8), losses: u8) -> Self {
        Self { serial: true, losses, ..Self::links(client, server, sends, 0).without_crashes() }
    }

    pub fn without_crashes(mut self) -> Self {
        (self.client.crashes, self.server.crashes) = (0, 0);
        self
    }

    pub fn with_crashes(mut self) -> Self {
        (self.client.crashes, self.server.crashes) = (1, 1);
        self
    }

    pub fn lazy(self) -> Self {
        Self { lazy: true, ..self }
    }

    pub fn late(self) -> Self {
        Self { late: 1, ..self }
    }

    pub fn skipping(self) -> Self {
        Self { on_forgotten: OnForgotten::Skip, ..self }
    }

    pub fn with_defect(self, defect: Defect) -> Self {
        Self { defect: Some(defect), ..self }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, server, .. } = self;
        write!(f, "{:?} client, {:?} server, {}+{} messages, ", client.class, server.class, client.sends, server.sends)?;
        if self.serial {
            write!(f, "{} lines lost, {} late, ", self.losses, self.late)?;
        } else {
            write!(f, "{} breaks, {} lines lost, ", self.breaks, self.losses)?;
        }
        write!(f, "{}+{} crashes", client.crashes, server.crashes)?;
        let notes = [(self.lazy, "output waits"), (self.on_forgotten == OnForgotten::Skip, "policy skip")];
        for (_, note) in notes.iter().filter(|(noted, _)| *noted) {
            write!(f, ", {note}")?;
        }
        self.defect.map_or(Ok(()), |defect| write!(f, ", defect {defect:?}"))
    }
}

/// Every pair of classes.
fn pairs() -> impl Iterator<Item = (Class, Class)> {
    Class::ALL.into_iter().flat_map(|client| Class::ALL.into_iter().map(move |server| (client, server)))
}

/// The bounds of a build with optimisation.
pub fn full() -> Vec<Family> {
    use Class::{Durable, RolledBack, Volatile};
    let mut families = Vec::new();
    for (client, server) in pairs() {
        for sends in [(3, 0), (0, 3)] {
            families.push(Family::links(client, server, sends, 2).lazy());
            families.push(Family::links(client, server, sends, 2).skipping());
        }
        let rolled_back = client == RolledBack || server == RolledBack;
        families.push(Family::links(client, server, if rolled_back { (2, 2) } else { (3, 3) }, 2));
    }
    for sends in [(3, 0), (0, 3), (2, 2)] {
        let family = Family::serial(Volatile, Volatile, sends, 2);
        families.push(if sends == (2, 2) { family } else { family.late() });
    }
    for class in [Volatile, Durable, RolledBack] {
        for sends in [(2, 0), (0, 2)] {
            families.push(Family::serial(class, class, sends, 1).with_crashes());
        }
    }
    families
}

/// What takes minutes for a family, and gigabytes.
pub fn deep() -> Vec<Family> {
    use Class::{Durable, RolledBack};
    [(Durable, RolledBack), (RolledBack, Durable)].map(|(client, server)| Family::links(client, server, (3, 3), 2)).into()
}

/// Bounds for a build without optimisation, which is some twenty times slower.
pub fn small() -> Vec<Family> {
    let mut families = Vec::new();
    for (client, server) in pairs() {
        let rolled_back = [client, server].contains(&Class::RolledBack);
        for sends in [(2, 0), (0, 2)] {
            families.push(Family::links(client, server, sends, if rolled_back { 0 } else { 1 }));
        }
    }
    for sends in [(1, 0), (0, 1)] {
        families.push(Family::serial(Class::Volatile, Class::Volatile, sends, 1));
    }
    families
}
