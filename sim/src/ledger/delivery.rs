//! The three ways in which an application can have a message delivered.

use serde::{Deserialize, Serialize};

/// How a message is delivered (SPEC.md, section 7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// Exactly once, in order: held until it is acknowledged.
    Reliable,
    /// As reliable, but a newer value replaces one that no wire has seen.
    Latest,
    /// At most once: dropped while the link is down.
    BestEffort,
}

impl Delivery {
    /// All of them, the strongest first.
    pub const ALL: [Self; 3] = [Self::Reliable, Self::Latest, Self::BestEffort];

    /// What a text of this delivery begins with, before its number.
    pub(crate) const fn mark(self) -> &'static str {
        match self {
            Self::Reliable => "",
            Self::Latest => "latest-",
            Self::BestEffort => "best-",
        }
    }

    /// What a text says about itself: its delivery and number; `None` if no application wrote it, with texts of this length.
    pub(crate) fn read(text: &str, length: usize) -> Option<(Self, u64)> {
        let (first, dots) = text.split_once(' ')?;
        if text.len() != length.max(first.len() + 1) || dots.bytes().any(|byte| byte != b'.') {
            return None;
        }
        let (delivery, number) = match first.rsplit_once('-') {
            None => (Self::Reliable, first),
            Some(("latest", number)) => (Self::Latest, number),
            Some(("best", number)) => (Self::BestEffort, number),
            Some(_) => return None,
        };
        Some((delivery, number.parse().ok()?))
    }

    /// What one message of this delivery is called.
    pub(crate) const fn noun(self) -> &'static str {
        match self {
            Self::Reliable => "message",
            Self::Latest => "value",
            Self::BestEffort => "datagram",
        }
    }
}

/// Which deliveries an application uses; written as a list of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Delivery>", into = "Vec<Delivery>")]
pub struct Deliveries([bool; 3]);

impl Deliveries {
    /// Whether this delivery is one of them.
    pub const fn has(self, delivery: Delivery) -> bool {
        self.0[delivery as usize]
    }
}

impl Default for Deliveries {
    /// All three.
    fn default() -> Self {
        Self([true; 3])
    }
}

impl From<Vec<Delivery>> for Deliveries {
    fn from(list: Vec<Delivery>) -> Self {
        Self(Delivery::ALL.map(|delivery| list.contains(&delivery)))
    }
}

impl From<Deliveries> for Vec<Delivery> {
    fn from(deliveries: Deliveries) -> Self {
        Delivery::ALL.into_iter().filter(|&delivery| deliveries.has(delivery)).collect()
    }
}
