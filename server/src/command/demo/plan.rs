//! Which disturbance comes when: drawn from a seed, so that it can be played again.

use std::time::Duration;

/// What a bad link does to connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Both ends are closed.
    Cut,
    /// Both ends get a reset.
    Reset,
    /// The device's end is closed; the server's stays open and silent.
    HalfOpen,
    /// Connections stay open, and nothing passes on them ever again; new ones get through when it is over.
    BlackHole,
    /// Everything is held back, and delivered late.
    Stall,
    /// What the device sends is held back.
    BlackHoleUp,
    /// What the server sends is held back.
    BlackHoleDown,
}

impl Kind {
    const ALL: [Self; 7] =
        [Self::Cut, Self::Reset, Self::HalfOpen, Self::BlackHole, Self::Stall, Self::BlackHoleUp, Self::BlackHoleDown];

    /// What people call it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::Reset => "reset",
            Self::HalfOpen => "half open",
            Self::BlackHole => "black hole, sockets open",
            Self::Stall => "stall",
            Self::BlackHoleUp => "black hole towards the server",
            Self::BlackHoleDown => "black hole towards the device",
        }
    }

    /// The shortest and the longest it lasts, in milliseconds.
    const fn lasts(self) -> (u64, u64) {
        match self {
            Self::Cut | Self::Reset | Self::HalfOpen => (0, 0),
            Self::BlackHole | Self::Stall => (300, 2_500),
            Self::BlackHoleUp | Self::BlackHoleDown => (800, 2_500),
        }
    }
}

/// One disturbance of one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Disturbance {
    pub(super) at: Duration,
    pub(super) kind: Kind,
    /// Zero: it is done at once.
    pub(super) lasts: Duration,
}

/// Draws disturbances that are over at `end`. Every kind comes before one comes again.
pub(super) fn draw(seed: u64, end: Duration, classic: bool) -> Vec<Disturbance> {
    let mut chance = Chance(seed);
    // A classic client keeps quiet for two timeouts after each outage.
    let calm = if classic { (1_500, 3_500) } else { (500, 3_000) };
    let mut plan = Vec::new();
    let mut deck: Vec<Kind> = Vec::new();
    let mut at = Duration::from_millis(chance.within(100, 900));
    loop {
        if deck.is_empty() {
            deck = Kind::ALL.to_vec();
        }
        let kind = deck.swap_remove(chance.below(deck.len()));
        let (shortest, longest) = kind.lasts();
        let lasts = Duration::from_millis(chance.within(shortest, longest));
        if at + lasts > end {
            return plan;
        }
        plan.push(Disturbance { at, kind, lasts });
        at += lasts + Duration::from_millis(chance.within(calm.0, calm.1));
    }
}

/// Repeatable random numbers: SplitMix64.
struct Chance(u64);

impl Chance {
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn within(&mut self, from: u64, to: u64) -> u64 {
        from + self.draw() % (to - from + 1)
    }

    fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.within(0, count as u64 - 1)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_names_a_plan() {
        let end = Duration::from_secs(60);
        assert_eq!(draw(7, end, false), draw(7, end, false));
        assert_ne!(draw(7, end, false), draw(8, end, false));
    }

    #[test]
    fn every_kind_comes_once_before_it_comes_again_and_all_is_calm_at_the_end() {
        for seed in 0..50 {
            let end = Duration::from_secs(60);
            let plan = draw(seed, end, false);
            let first: Vec<Kind> = plan.iter().take(Kind::ALL.len()).map(|disturbance| disturbance.kind).collect();
            assert!(Kind::ALL.iter().all(|kind| first.contains(kind)), "{first:?}");
            assert!(plan.windows(2).all(|pair| pair[0].at + pair[0].lasts < pair[1].at));
            assert!(plan.last().is_some_and(|last| last.at + last.lasts <= end));
        }
    }
}
