//! Defects of timers.

use super::super::defect::{Deed, Defect, Kind};
use super::super::scene::{Link, Setup, message};
use super::{ALL, BOTH, CLIENT, NATIVE, SERVER};
use serde_json::json;

/// A moment before the silence of a link is an outage.
fn before_outage(_: &Setup, link: &Link) -> Option<u64> {
    (link.is_greeted && link.last_in >= link.begun).then_some(link.last_in + link.timeout_ms - 2)
}

pub(super) static DEFECTS: &[Defect] = &[
    Defect {
        name: "sends-no-keepalives",
        what: "It sends no keepalives.",
        breaks: "HL-0103 HL-0050 HL-0051 HL-0056 HL-0057",
        roles: BOTH,
        profiles: ALL,
        kinds: &[Kind::Said(|scene, line| match line.is_empty() && scene.link.said > 1 {
            true => Vec::new(),
            false => vec![Deed::Say(line.to_vec())],
        })],
    },
    Defect {
        name: "keepalives-too-rare",
        what: "It sends a keepalive every T where it should every T/4 (and as much too rarely in the classic profiles).",
        breaks: "HL-0103 HL-0050 HL-0051 HL-0056 HL-0057",
        roles: BOTH,
        profiles: ALL,
        kinds: &[Kind::Said(|scene, line| {
            let is_keepalive = line.is_empty() && scene.link.said > 1;
            scene.past.count += u64::from(is_keepalive);
            match is_keepalive && !scene.past.count.is_multiple_of(4) {
                true => Vec::new(),
                false => vec![Deed::Say(line.to_vec())],
            }
        })],
    },
    Defect {
        name: "bears-2t-of-silence",
        what: "It takes a link as dead after 2T.",
        breaks: "HL-0104",
        roles: BOTH,
        profiles: ALL,
        kinds: &[Kind::Alarm(
            |setup, link| before_outage(setup, link).filter(|_| !link.is_zombie && link.partial.is_empty()),
            |scene, _| {
                scene.link.last_in = scene.now + scene.link.timeout_ms * 1_000;
                vec![Deed::Hear(Vec::new())]
            },
        )],
    },
    Defect {
        name: "keeps-dead-links",
        what: "It never takes a silent link as dead.",
        breaks: "HL-0104",
        roles: BOTH,
        profiles: ALL,
        kinds: &[Kind::Alarm(before_outage, |scene, _| {
            scene.link.last_in = scene.now;
            vec![Deed::Hear(Vec::new())]
        })],
    },
    Defect {
        name: "infers-life-from-writing",
        what: "It takes a link as alive when it could write to it.",
        breaks: "HL-0104 HL-0054",
        roles: BOTH,
        profiles: ALL,
        kinds: &[Kind::Said(|scene, line| {
            let mut deeds = vec![Deed::Say(line.to_vec())];
            if scene.link.is_greeted && !line.starts_with(b"HOLD/") && !line.starts_with(b"B") && scene.link.said > 1 {
                deeds.push(Deed::Hear(Vec::new()));
            }
            deeds
        })],
    },
    Defect {
        name: "counts-only-whole-lines-as-life",
        what: "It takes a link as dead on which a long line is under way.",
        breaks: "HL-0104",
        roles: BOTH,
        profiles: ALL,
        kinds: &[Kind::WholeLines],
    },
    Defect {
        name: "bears-a-trickle",
        what: "It waits for ever for the end of a line, as long as bytes come (as the original client).",
        breaks: "HL-0154",
        roles: BOTH,
        profiles: ALL,
        kinds: &[
            Kind::WholeLines,
            Kind::Alarm(
                |setup, link| before_outage(setup, link).filter(|_| !link.partial.is_empty()),
                |scene, _| {
                    scene.link.last_in = scene.now;
                    vec![Deed::Hear(Vec::new())]
                },
            ),
        ],
    },
    Defect {
        name: "slow-clock",
        what: "Its clock runs at half the speed.",
        breaks: "HL-0103 HL-0104 HL-0095 HL-0050 HL-0051 HL-0056 HL-0057 HL-0045",
        roles: BOTH,
        profiles: ALL,
        kinds: &[Kind::SlowClock],
    },
    Defect {
        name: "no-hello-timeout",
        what: "It waits a minute for a first line.",
        breaks: "HL-0111",
        roles: SERVER,
        profiles: ALL,
        kinds: &[Kind::Start(|settings| settings["hello_timeout_ms"] = json!(60_000))],
    },
    Defect {
        name: "waits-for-a-welcome-for-ever",
        what: "It waits for ever for a welcome.",
        breaks: "HL-0107",
        roles: CLIENT,
        profiles: NATIVE,
        kinds: &[Kind::SlowClock],
    },
    Defect {
        name: "never-stalls",
        what: "It takes what it has written as sent, and does not notice that the transport takes nothing.",
        breaks: "HL-0106",
        roles: BOTH,
        profiles: ALL,
        kinds: &[Kind::NoStalls],
    },
    Defect {
        name: "inherits-the-probe-timer",
        what: "It counts the time to its first probe on a link from the last probe on the one before.",
        breaks: "HL-0108",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Said(|scene, line| {
            let mut deeds = vec![Deed::Say(line.to_vec())];
            if line.starts_with(b"P") {
                scene.past.count = scene.now;
            } else if let Some((n, _)) = message(line)
                && scene.past.count > 0
                && scene.past.count < scene.link.begun
                && !scene.setup.check
            {
                let due = scene.past.count + scene.link.timeout_ms / 2;
                scene.past.count = 0;
                deeds.push(Deed::SayLater(due.saturating_sub(scene.now), format!("P{n}\n").into_bytes()));
            }
            deeds
        })],
    },
    Defect {
        name: "probes-when-idle",
        what: "It sends a probe in place of a keepalive, also with nothing to probe for.",
        breaks: "HL-0095",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Said(|scene, line| match line.is_empty() && scene.link.said > 1 {
            true => vec![Deed::Say(format!("P{}", scene.past.sent).into_bytes())],
            false => vec![Deed::Say(line.to_vec())],
        })],
    },
    Defect {
        name: "keepalives-too-often",
        what: "It sends a keepalive every T/16.",
        breaks: "HL-0103",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Alarm(
            |_, link| link.is_greeted.then_some(link.last_out + link.timeout_ms / 16),
            |scene, _| {
                scene.link.last_out = scene.now;
                vec![Deed::Say(Vec::new())]
            },
        )],
    },
];
