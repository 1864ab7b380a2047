//! The three wires, by name.

use holdline_proto::classic;

/// Which wire a world speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Profile {
    /// Holdline's own.
    Native,
    /// micropython-iot since late January 2019.
    Classic2020,
    /// micropython-iot of January 2019.
    Classic2019,
}

impl Profile {
    /// All of them, the best first.
    pub const ALL: [Self; 3] = [Self::Native, Self::Classic2020, Self::Classic2019];

    /// The name used in SPEC.md.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Classic2020 => "classic-2020",
            Self::Classic2019 => "classic-2019",
        }
    }

    pub(super) fn flavour(self) -> Option<classic::Flavour> {
        match self {
            Self::Native => None,
            Self::Classic2020 => Some(classic::Flavour::V2020),
            Self::Classic2019 => Some(classic::Flavour::V2019),
        }
    }
}
