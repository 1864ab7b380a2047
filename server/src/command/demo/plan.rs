//! Which disturbance comes when: drawn from a seed, so that it can be played again.

use holdline_sim::live;
use holdline_sim::outage::{End, Outage, Remembers, Stop, Then, Way};
use holdline_sim::proxy::{self, Act, Close, HalfOpen, Stream, Toxic};
use holdline_sim::rng::SplitMix64;
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
    /// Nothing passes, and then the same connections go on.
    BlackHole,
    /// The same, for what the device sends.
    BlackHoleUp,
    /// The same, for what the server sends.
    BlackHoleDown,
    /// Nothing passes, and then the old connections are dead without a word, for the device has another address.
    Roam,
    /// The same for every device at once.
    ApReboot,
    /// Nobody listens any more.
    ServerGone,
    /// Everything arrives late.
    Bufferbloat,
    /// Everything arrives in pieces of a few bytes.
    Segments,
}

/// How long a connection that roaming left half open at the server stays so: the server does not need longer to notice.
const FORGOTTEN: Duration = Duration::from_millis(600);

impl Kind {
    /// What happens to single devices.
    const ALONE: [Self; 10] = [
        Self::Cut,
        Self::Reset,
        Self::HalfOpen,
        Self::BlackHole,
        Self::BlackHoleUp,
        Self::BlackHoleDown,
        Self::Roam,
        Self::ServerGone,
        Self::Bufferbloat,
        Self::Segments,
    ];

    /// What people call it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::Reset => "reset",
            Self::HalfOpen => "half open at the server",
            Self::BlackHole => "black hole, sockets open",
            Self::BlackHoleUp => "black hole towards the server",
            Self::BlackHoleDown => "black hole towards the device",
            Self::Roam => "roams to another access point",
            Self::ApReboot => "access point reboots",
            Self::ServerGone => "connections refused",
            Self::Bufferbloat => "latency 100 ms ± 50 ms",
            Self::Segments => "three bytes at a time",
        }
    }

    /// The shortest and the longest it lasts, in milliseconds.
    const fn lasts(self) -> (u64, u64) {
        match self {
            Self::Cut | Self::Reset => (0, 0),
            Self::BlackHole => (300, 2_500),
            Self::BlackHoleUp | Self::BlackHoleDown | Self::HalfOpen => (800, 2_500),
            Self::Roam | Self::ServerGone => (300, 1_500),
            Self::ApReboot => (1_200, 1_200),
            Self::Bufferbloat | Self::Segments => (1_000, 2_500),
        }
    }

    fn outage(self) -> Option<Outage> {
        let hole = |way| Outage::BlackHole { way, then: Then::Resume };
        Some(match self {
            Self::Cut => Outage::Cut { with: End::Fin },
            Self::Reset => Outage::Cut { with: End::Rst },
            Self::BlackHole => hole(Way::Both),
            Self::BlackHoleUp => hole(Way::Up),
            Self::BlackHoleDown => hole(Way::Down),
            Self::Roam => Outage::Roam,
            Self::ApReboot => Outage::ApReboot { dhcp_ms: 0 },
            Self::ServerGone => Outage::ServerStop { how: Stop::Killed, memory: Remembers::Everything },
            Self::Bufferbloat => Outage::Bufferbloat { latency_ms: 100, jitter_ms: 50 },
            Self::Segments => Outage::Segments { size: 3 },
            // The simulator knows it as what other outages leave behind.
            Self::HalfOpen => return None,
        })
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

impl Disturbance {
    /// What the proxy of a device has to do for it, from now on.
    ///
    /// # Errors
    /// The proxy has no means for it.
    pub(super) fn outages(&self, device: &str) -> Result<Vec<proxy::Outage>, proxy::Error> {
        let mut outages = match self.kind.outage() {
            Some(outage) => live::outages(&outage, Duration::ZERO, self.lasts)?.unwrap_or_default(),
            None => {
                let half_open = Toxic::new(Stream::Downstream, HalfOpen { close: Close::Rst, ..HalfOpen::default() }.into())?;
                let lasts = Some(self.lasts);
                vec![proxy::Outage { at: Duration::ZERO, act: Act::Toxic(half_open), lasts, proxy: None }]
            }
        };
        for outage in &mut outages {
            outage.proxy = Some(device.to_owned());
            if matches!(outage.act, Act::Toxic(_)) {
                outage.lasts.get_or_insert(FORGOTTEN);
            }
        }
        Ok(outages)
    }
}

/// Draws disturbances that are over at `end`. Every kind comes before one comes again; halfway the access point of all devices
/// reboots, whatever the seed.
pub(super) fn draw(seed: u64, end: Duration, classic: bool) -> Vec<Disturbance> {
    let mut chance = SplitMix64::from_seed(seed);
    let mut within = |(from, to): (u64, u64)| from + chance.next_u64() % (to - from + 1);
    let mut reboot = Some(reboot(end)).filter(|reboot| over(reboot) <= end);
    // A classic client keeps quiet for two timeouts after each outage.
    let calm = if classic { (1_500, 3_500) } else { (500, 3_000) };
    let mut plan = Vec::new();
    let mut deck: Vec<Kind> = Vec::new();
    let mut at = Duration::from_millis(within((100, 900)));
    loop {
        if deck.is_empty() {
            deck = Kind::ALONE.to_vec();
        }
        let place = usize::try_from(within((0, deck.len() as u64 - 1))).unwrap_or(0);
        let Some(&kind) = deck.get(place) else { return plan };
        let next = Disturbance { at, kind, lasts: Duration::from_millis(within(kind.lasts())) };
        let next = match reboot.take_if(|reboot| over(&next) >= reboot.at) {
            Some(reboot) => reboot,
            None => {
                deck.swap_remove(place);
                next
            }
        };
        if over(&next) > end {
            return plan;
        }
        plan.push(next);
        at = over(&next) + Duration::from_millis(within(calm));
    }
}

fn reboot(end: Duration) -> Disturbance {
    let kind = Kind::ApReboot;
    Disturbance { at: end.mul_f64(0.45), kind, lasts: Duration::from_millis(kind.lasts().0) }
}

/// When the link is as it was.
fn over(disturbance: &Disturbance) -> Duration {
    let afterwards = if matches!(disturbance.kind, Kind::Roam | Kind::ApReboot) { FORGOTTEN } else { Duration::ZERO };
    disturbance.at + disturbance.lasts + afterwards
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
            let end = Duration::from_secs(90);
            let plan = draw(seed, end, false);
            let alone = plan.iter().filter(|disturbance| disturbance.kind != Kind::ApReboot);
            let first: Vec<Kind> = alone.take(Kind::ALONE.len()).map(|disturbance| disturbance.kind).collect();
            assert!(Kind::ALONE.iter().all(|kind| first.contains(kind)), "{first:?}");
            assert!(plan.windows(2).all(|pair| over(&pair[0]) < pair[1].at));
            assert!(plan.last().is_some_and(|last| over(last) <= end));
        }
    }

    #[test]
    fn the_access_point_reboots_for_every_device_at_one_moment() {
        for end in [2_250, 15_000, 60_000].map(Duration::from_millis) {
            for seed in 0..50 {
                let plan = draw(seed, end, seed % 2 == 0);
                let reboots: Vec<_> = plan.iter().filter(|disturbance| disturbance.kind == Kind::ApReboot).collect();
                assert_eq!(
                    reboots,
                    if over(&reboot(end)) <= end { vec![reboot(end)] } else { vec![] }.iter().collect::<Vec<_>>()
                );
            }
        }
    }

    #[test]
    fn the_proxy_can_do_all_of_it_and_undoes_it() {
        for kind in Kind::ALONE.into_iter().chain([Kind::ApReboot]) {
            let disturbance = Disturbance { at: Duration::ZERO, kind, lasts: Duration::from_millis(kind.lasts().1) };
            let outages = disturbance.outages("door-1").expect("it has means for it");
            assert!(!outages.is_empty(), "{kind:?}");
            for outage in outages {
                assert_eq!(outage.proxy.as_deref(), Some("door-1"));
                assert!(outage.lasts.is_some() || matches!(outage.act, Act::Disconnect(_)), "{kind:?}");
                assert!(outage.at + outage.lasts.unwrap_or_default() <= over(&disturbance), "{kind:?}");
            }
        }
    }
}
