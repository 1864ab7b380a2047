//! A story for the live proxy: the outages of a scenario as what a proxy between two real programs can do.

use crate::outage::{ConnectFails, End, Outage, Then, Way};
use crate::proxy::{Act, Bandwidth, BlackHole, Close, HalfOpen, Kind, Latency, Slicer, Stall, Stream, Toxic};
use crate::proxy::{Error, Outage as Live};
use crate::scenario::{Scenario, ScenarioError};
use std::time::Duration;

/// What the proxy has to do, and when.
///
/// # Errors
/// An outage that waits for a count, that happens inside a device or a server, or that a proxy for one connection has no means for.
pub fn plan(scenario: &Scenario) -> Result<Vec<Live>, ScenarioError> {
    let mut plan = Vec::new();
    for (index, entry) in scenario.outages.iter().enumerate() {
        let at = Duration::from_millis(entry.at_ms.into());
        if entry.when.is_some() {
            let what = "waits for a count, which a proxy between real programs does not keep; give it an `at_ms` alone";
            return Err(scenario.wrong(&format!("outage {} {what}", index + 1)));
        }
        let lasts = Duration::from_millis(entry.for_ms.into());
        let outages =
            outages(&entry.outage, at, lasts).map_err(|error| scenario.wrong(&format!("outage {}: {error}", index + 1)))?;
        let Some(outages) = outages else {
            let name = entry.outage.name();
            return Err(
                scenario.wrong(&format!("outage {} (`{name}`) does not happen on the way, so a proxy cannot do it", index + 1))
            );
        };
        plan.extend(outages);
    }
    Ok(plan)
}

/// What the proxy has to do for one outage, to every line; `None` if it has no means for it.
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
    let both = |kind: Kind| Ok::<_, Error>(vec![toxic(Stream::Upstream, kind.clone())?, toxic(Stream::Downstream, kind)?]);
    let half_open = || toxic(Stream::Downstream, HalfOpen { stays: crate::proxy::End::Server, close: Close::Rst }.into());
    let hole = |one_way| Kind::from(BlackHole { one_way });
    Ok(Some(match *outage {
        Outage::BlackHole { way, then } => {
            let during = match way {
                Way::Both => toxic(Stream::Upstream, hole(false))?,
                Way::Up => toxic(Stream::Upstream, hole(true))?,
                Way::Down => toxic(Stream::Downstream, hole(true))?,
            };
            let after = match then {
                Then::Resume => vec![],
                Then::Fin => vec![Act::Disconnect(Close::Fin)],
                Then::Rst => vec![Act::Disconnect(Close::Rst)],
                Then::Never => vec![half_open()?],
            };
            (vec![during], after)
        }
        Outage::Cut { with: End::Rst } => (vec![Act::Disconnect(Close::Rst)], vec![]),
        Outage::Cut { with: End::Fin } => (vec![Act::Disconnect(Close::Fin)], vec![]),
        Outage::ApReboot { .. } | Outage::Roam => (vec![toxic(Stream::Upstream, hole(false))?], vec![half_open()?]),
        Outage::ServerStop { .. } | Outage::NoConnect { how: ConnectFails::Refused } => (vec![Act::Down], vec![]),
        Outage::Bufferbloat { latency_ms, jitter_ms } => {
            (both(Latency { latency: latency_ms.into(), jitter: jitter_ms.into() }.into())?, vec![])
        }
        Outage::ZeroWindow { buffer } => (vec![toxic(Stream::Downstream, Stall { after: buffer.into() }.into())?], vec![]),
        Outage::Segments { size } => (both(Slicer { average_size: size.into(), size_variation: 0, delay: 0 }.into())?, vec![]),
        Outage::Slow { rate } => (both(Bandwidth { rate: rate.into() }.into())?, vec![]),
        _ => return Ok(None),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn what_happens_inside_a_device_is_refused_by_name() {
        let refused = plan(&story("do = 'power-cycle'")).expect_err("a proxy has no power switch");
        assert!(refused.to_string().contains("`power-cycle`"), "{refused}");
    }
}
