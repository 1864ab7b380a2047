//! What an outage did to the link of a device: when each end noticed, and when it was over.

use holdline_proto::Instant;

/// One end of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The one that connects.
    Device,
    /// The one that is connected to.
    Server,
}

/// The outages of one device that may still take its link, or have taken it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Aftermath {
    /// A link that goes down later than this after an outage went down by itself, in milliseconds.
    grace_ms: u64,
    open: Vec<Watched>,
    /// By end: from the beginning of an outage until this end saw its link go down, in milliseconds.
    pub(crate) noticed_ms: [Vec<u64>; 2],
    /// From the end of an outage until the device was up again, in milliseconds; 0 when that was sooner.
    pub(crate) recovered_ms: Vec<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Watched {
    number: u32,
    began: Instant,
    ended: Option<Instant>,
    /// Which ends had a link when it began, and have it still.
    up: [bool; 2],
    /// The device has no link, because of this.
    taken: bool,
    /// The device is up again.
    back: bool,
}

impl Aftermath {
    pub(crate) fn new(timeout_ms: u32) -> Self {
        Self { grace_ms: 3 * u64::from(timeout_ms) + 1_000, ..Self::default() }
    }

    /// The `number`th outage of a story begins; these ends are up.
    pub(crate) fn begins(&mut self, number: u32, now: Instant, up: [bool; 2]) {
        let grace_ms = self.grace_ms;
        self.open.retain(|watched| {
            let is_past = watched.ended.is_some_and(|ended| now.since(ended) > grace_ms);
            !is_past || (watched.taken && !watched.back)
        });
        self.open.push(Watched { number, began: now, ended: None, up, taken: false, back: false });
    }

    pub(crate) fn ends(&mut self, number: u32, now: Instant) {
        for watched in self.open.iter_mut().filter(|watched| watched.number == number && watched.ended.is_none()) {
            watched.ended = Some(now);
            if watched.taken && watched.back {
                self.recovered_ms.push(0);
            }
        }
    }

    /// The link of an end has gone; `noticed`, unless the end itself is gone with it.
    pub(crate) fn went_down(&mut self, end: End, now: Instant, noticed: bool) {
        let grace_ms = self.grace_ms;
        let by =
            |watched: &&mut Watched| watched.up[end as usize] && watched.ended.is_none_or(|ended| now.since(ended) <= grace_ms);
        // The youngest of several is the reason.
        let Some(watched) = self.open.iter_mut().rev().find(by) else { return };
        watched.taken |= end == End::Device;
        if noticed {
            self.noticed_ms[end as usize].push(now.since(watched.began));
        }
        for watched in &mut self.open {
            watched.up[end as usize] = false;
        }
    }

    /// The device is up.
    pub(crate) fn came_up(&mut self, now: Instant) {
        for watched in self.open.iter_mut().filter(|watched| watched.taken && !watched.back) {
            watched.back = true;
            if let Some(ended) = watched.ended {
                self.recovered_ms.push(now.since(ended));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    #[test]
    fn an_outage_that_takes_the_link_is_timed_and_one_that_does_not_is_none() {
        let mut aftermath = Aftermath::new(2_000);
        aftermath.begins(0, at(1_000), [true, true]);
        aftermath.ends(0, at(1_500));
        aftermath.begins(1, at(20_000), [true, true]);
        aftermath.went_down(End::Server, at(21_900), true);
        aftermath.went_down(End::Device, at(22_000), true);
        aftermath.ends(1, at(25_000));
        aftermath.came_up(at(25_600));
        assert_eq!((aftermath.noticed_ms, aftermath.recovered_ms), ([vec![2_000], vec![1_900]], vec![600]));
    }

    #[test]
    fn a_link_that_is_back_before_the_end_of_the_outage_has_recovered_at_once() {
        let mut aftermath = Aftermath::new(2_000);
        aftermath.begins(0, at(1_000), [true, true]);
        aftermath.went_down(End::Device, at(3_000), true);
        aftermath.came_up(at(3_500));
        aftermath.ends(0, at(9_000));
        assert_eq!(aftermath.recovered_ms, [0]);
    }
}
