//! A story for the live proxy: the outages of a scenario as what a proxy between two real programs can do.

use crate::outage::{ConnectFails, End, Outage, Stop, Then, Way};
use crate::proxy::{
    Act, Bandwidth, BlackHole, BurstLoss, CloneId, Close, HalfOpen, Kind, Latency, NatIdle, NoConnect, Noise, Slicer, Stall,
    Stream, Toxic,
};
use crate::proxy::{Error, Outage as Live};
use crate::scenario::{Scenario, ScenarioError};
use std::time::Duration;

/// What the proxy has to do, and when.
///
/// What a story draws has to be [drawn](Scenario::drawn) before.
///
/// # Errors
/// An outage that waits for a count, or that happens [elsewhere] than on the way: the message says which and why.
pub fn plan(scenario: &Scenario) -> Result<Vec<Live>, ScenarioError> {
    let mut plan = Vec::new();
    for (index, entry) in scenario.outages.iter().enumerate() {
        let number = index + 1;
        let at = Duration::from_millis(entry.at_ms.into());
        if entry.when.is_some() {
            let what = "waits for a count, which a proxy between real programs does not keep; give it an `at_ms` alone";
            return Err(scenario.wrong(&format!("outage {number} {what}")));
        }
        if let Some(reason) = elsewhere(&entry.outage) {
            let name = entry.outage.name();
            return Err(scenario.wrong(&format!("outage {number} (`{name}`) cannot be played by a proxy: {reason}")));
        }
        let lasts = Duration::from_millis(entry.for_ms.into());
        let outages = outages(&entry.outage, at, lasts).map_err(|error| scenario.wrong(&format!("outage {number}: {error}")))?;
        plan.extend(outages.unwrap_or_default());
    }
    Ok(plan)
}

/// Why a proxy cannot play an outage: it does not happen on the way. `None` if it can.
pub const fn elsewhere(outage: &Outage) -> Option<&'static str> {
    match outage {
        Outage::PowerCycle { .. } => Some("it happens inside the device; kill the device's program and start it again"),
        Outage::Suspend => Some("it happens inside the device; stop the device's program (SIGSTOP) and let it go on (SIGCONT)"),
        Outage::ClockJump | Outage::ClockDrift { .. } | Outage::ClockWrap => {
            Some("it happens to the device's clock, which is not on the way; give the device's program another clock")
        }
        _ => None,
    }
}

/// What the proxy has to do for one outage, to every line; `None` if it happens [elsewhere].
///
/// Where connections are to be dead afterwards, the last of it lasts to the end.
///
/// # Errors
/// The outage's parameters are none for a proxy.
pub fn outages(outage: &Outage, at: Duration, lasts: Duration) -> Result<Option<Vec<Live>>, Error> {
    let Some((during, after)) = acts(outage)? else { return Ok(None) };
    let during = during.into_iter().map(|act| Live { at, act, lasts: Some(lasts), proxy: None });
    let after = after.into_iter().map(|act| Live { at: at + lasts, act, lasts: None, proxy: None });
    Ok(Some(during.chain(after).collect()))
}

/// What is done while it lasts, and what is done at its end.
type Acts = (Vec<Act>, Vec<Act>);

fn acts(outage: &Outage) -> Result<Option<Acts>, Error> {
    let toxic = |stream, kind: Kind| Toxic::new(stream, kind).map(Act::Toxic);
    let line = |kind: Kind| toxic(Stream::Upstream, kind);
    let both = |kind: Kind| Ok::<_, Error>(vec![line(kind.clone())?, toxic(Stream::Downstream, kind)?]);
    let no_connect = |how| line(NoConnect { how }.into());
    let hole = |one_way| Kind::from(BlackHole { one_way });
    Ok(Some(match *outage {
        Outage::BlackHole { way, then } => {
            let during = match way {
                Way::Both => line(hole(false))?,
                Way::Up => line(hole(true))?,
                Way::Down => toxic(Stream::Downstream, hole(true))?,
            };
            let after = match then {
                Then::Resume => vec![],
                Then::Fin => vec![Act::Disconnect(Close::Fin)],
                Then::Rst => vec![Act::Disconnect(Close::Rst)],
                Then::Never => vec![Act::Disconnect(Close::Silent)],
            };
            (vec![during], after)
        }
        Outage::Cut { with: End::Rst } => (vec![Act::Disconnect(Close::Rst)], vec![]),
        Outage::Cut { with: End::Fin } => (vec![Act::Disconnect(Close::Fin)], vec![]),
        Outage::ApReboot { .. } | Outage::Roam => {
            let half_open = HalfOpen { stays: crate::proxy::End::Server, close: Close::Rst };
            (vec![line(hole(false))?], vec![toxic(Stream::Downstream, half_open.into())?])
        }
        Outage::ServerStop { how, .. } => {
            let close = match how {
                Stop::Graceful => Close::Fin,
                Stop::Killed => Close::Rst,
                Stop::HostLost => Close::Silent,
            };
            // In this order, so that nobody returns in between.
            (vec![no_connect(ConnectFails::Refused)?, Act::Disconnect(close)], vec![])
        }
        Outage::NatIdle { idle_ms } => (vec![line(NatIdle { idle: idle_ms }.into())?], vec![]),
        Outage::Bufferbloat { latency_ms, jitter_ms } => {
            (both(Latency { latency: latency_ms.into(), jitter: jitter_ms.into() }.into())?, vec![])
        }
        Outage::BurstLoss { longest_ms, every_ms, shape } => {
            let loss = BurstLoss { longest: longest_ms, every: every_ms, shape, one_way: false };
            (vec![line(loss.into())?], vec![])
        }
        Outage::ZeroWindow { buffer } => (vec![toxic(Stream::Downstream, Stall { after: buffer.into() }.into())?], vec![]),
        Outage::Segments { size } => (both(Slicer { average_size: size.into(), size_variation: 0, delay: 0 }.into())?, vec![]),
        Outage::Slow { rate } => (both(Bandwidth { rate: rate.into() }.into())?, vec![]),
        Outage::Noise { flip_per_million, drop_per_million } => {
            (both(Noise { flip_per_million, drop_per_million }.into())?, vec![])
        }
        Outage::Clone => (vec![line(CloneId::default().into())?], vec![]),
        Outage::NoConnect { how } => (vec![no_connect(how)?], vec![]),
        Outage::PowerCycle { .. } | Outage::Suspend => return Ok(None),
        Outage::ClockJump | Outage::ClockDrift { .. } | Outage::ClockWrap => return Ok(None),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outage::{Remembers, Shape};

    fn story(outage: &str) -> Scenario {
        let text = format!("name = 'x'\nabout = ''\nfor_ms = 9000\n[[outage]]\nat_ms = 1000\nfor_ms = 2000\n{outage}");
        Scenario::parse(&text).expect("a valid story")
    }

    #[test]
    fn a_black_hole_lasts_and_then_the_connections_close() {
        let plan = plan(&story("do = 'black-hole'\nthen = 'rst'")).expect("a proxy can do this");
        let times: Vec<_> = plan.iter().map(|live| (live.at.as_millis(), live.lasts.map(|lasts| lasts.as_millis()))).collect();
        assert_eq!(times, [(1_000, Some(2_000)), (3_000, None)]);
        assert_eq!(plan[1].act, Act::Disconnect(Close::Rst));
    }

    #[test]
    fn what_happens_inside_a_device_is_refused_by_name_and_with_the_reason() {
        let refused = plan(&story("do = 'power-cycle'")).expect_err("a proxy has no power switch").to_string();
        assert!(refused.contains("outage 1 (`power-cycle`)") && refused.contains("inside the device"), "{refused}");
    }

    /// The outage behind this one. The compiler sees to it that none is left out.
    fn next(outage: &Outage) -> Option<Outage> {
        Some(match outage {
            Outage::BlackHole { .. } => Outage::Cut { with: End::Rst },
            Outage::Cut { .. } => Outage::ApReboot { dhcp_ms: 0 },
            Outage::ApReboot { .. } => Outage::Roam,
            Outage::Roam => Outage::PowerCycle { memory: Remembers::Nothing, reset: false },
            Outage::PowerCycle { .. } => Outage::ServerStop { how: Stop::Killed, memory: Remembers::Nothing },
            Outage::ServerStop { .. } => Outage::NatIdle { idle_ms: 1 },
            Outage::NatIdle { .. } => Outage::Bufferbloat { latency_ms: 1, jitter_ms: 0 },
            Outage::Bufferbloat { .. } => Outage::BurstLoss { longest_ms: 1, every_ms: 10, shape: Shape::HeavyTailed },
            Outage::BurstLoss { .. } => Outage::ZeroWindow { buffer: 0 },
            Outage::ZeroWindow { .. } => Outage::Segments { size: 1 },
            Outage::Segments { .. } => Outage::Slow { rate: 1 },
            Outage::Slow { .. } => Outage::Noise { flip_per_million: 1, drop_per_million: 1 },
            Outage::Noise { .. } => Outage::Suspend,
            Outage::Suspend => Outage::ClockJump,
            Outage::ClockJump => Outage::ClockDrift { ppm: 1, slow: false },
            Outage::ClockDrift { .. } => Outage::ClockWrap,
            Outage::ClockWrap => Outage::Clone,
            Outage::Clone => Outage::NoConnect { how: ConnectFails::Silent },
            Outage::NoConnect { .. } => return None,
        })
    }

    #[test]
    fn every_outage_is_played_or_has_a_reason_why_not_and_a_row_in_the_manual() {
        let manual = include_str!("../../docs/proxy.md");
        let (_, table) = manual.split_once("| outage | what the proxy does |").expect("the manual has the table");
        let (mut played, mut refused) = (0, 0);
        let first = Outage::BlackHole { way: Way::Both, then: Then::Resume };
        for outage in std::iter::successors(Some(first), next) {
            let name = outage.name();
            let plan = outages(&outage, Duration::ZERO, Duration::from_secs(1)).expect("its parameters are in range");
            let rows: Vec<&str> = table.lines().filter(|line| line.starts_with(&format!("| `{name}`"))).collect();
            assert_eq!(rows.len(), 1, "rows of `{name}` in docs/proxy.md");
            match (plan, elsewhere(&outage)) {
                (Some(plan), None) => {
                    assert!(!plan.is_empty() && !rows[0].contains("cannot"), "`{name}`: {plan:?}");
                    played += 1;
                }
                (None, Some(reason)) => {
                    assert!(reason.len() > 20 && rows[0].contains("cannot"), "`{name}`: {reason}");
                    refused += 1;
                }
                (plan, reason) => panic!("`{name}`: {plan:?}, and a reason why not: {reason:?}"),
            }
        }
        assert_eq!((played, refused), (14, 5));
    }
}
