//! Two devices with one client id take the session from each other for ever; the guard notices.

use crate::time::Instant;

/// How many takeovers of a live link by another device are let through in ten timeouts.
const TAKEOVERS_MAX: usize = 3;

/// Decides for one client id whether a newcomer may take over a link that is still up.
///
/// One device that comes back before its old link was noticed dead is welcome, also again and again; two devices that share an
/// id come back in turns, each with a `boot` of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TakeoverGuard {
    boot: u64,
    recent: [Option<Instant>; TAKEOVERS_MAX],
}

impl TakeoverGuard {
    /// A guard that has seen nothing.
    pub const fn new() -> Self {
        Self { boot: 0, recent: [None; TAKEOVERS_MAX] }
    }

    /// Judges a hello by its `boot` (classic: `None`, there is none), given whether a link of this id is up and its timeout in
    /// milliseconds.
    ///
    /// # Errors
    /// How long the newcomer has to stay away, in milliseconds: it is refused with `duplicate-client`.
    pub fn admit(&mut self, now: Instant, boot: Option<u64>, live: bool, timeout_ms: u32) -> Result<(), u32> {
        if live && boot.is_none_or(|boot| boot != self.boot) {
            // HL-0123, HL-0124
            let [oldest, ..] = self.recent;
            if oldest.is_some_and(|oldest| now.since(oldest) < u64::from(timeout_ms) * 10) {
                // By then the link of a device that was reset has been found dead, and is nobody to take over from.
                return Err(timeout_ms.saturating_mul(2));
            }
            self.recent.rotate_left(1);
            self.recent[TAKEOVERS_MAX - 1] = Some(now);
        }
        self.boot = boot.unwrap_or(self.boot);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    #[test]
    fn the_fourth_takeover_by_another_device_within_ten_timeouts_is_refused() {
        let mut guard = TakeoverGuard::new();
        assert_eq!(guard.admit(at(0), Some(1), false, 2_000), Ok(()));
        for (turn, boot) in [2, 1, 2].into_iter().enumerate() {
            assert_eq!(guard.admit(at(turn as u64 * 5_000), Some(boot), true, 2_000), Ok(()));
        }
        assert_eq!(guard.admit(at(19_999), Some(1), true, 2_000), Err(4_000));
        assert_eq!(guard.admit(at(20_000), Some(1), true, 2_000), Ok(()));
    }

    #[test]
    fn one_device_may_come_back_as_often_as_it_likes() {
        let mut guard = TakeoverGuard::new();
        for turn in 0..100 {
            assert_eq!(guard.admit(at(turn), Some(7), true, 2_000), Ok(()));
        }
    }

    #[test]
    fn a_dead_link_is_nobody_to_take_over_from() {
        let mut guard = TakeoverGuard::new();
        for turn in 0..100 {
            assert_eq!(guard.admit(at(turn), Some(turn), false, 2_000), Ok(()));
        }
    }
}
