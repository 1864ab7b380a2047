//! Defects of what passes from one link to the next.

use super::super::defect::{Deed, Defect, Kind};
use super::super::scene::{message, number};
use super::{BOTH, NATIVE};

fn hear(line: &[u8]) -> Vec<Deed> {
    vec![Deed::Hear(line.to_vec())]
}

pub(super) static DEFECTS: &[Defect] = &[
    Defect {
        name: "drops-what-came-offline",
        what: "It does not send on a new link what it was given while there was none.",
        breaks: "HL-0062 HL-0084",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Said(|scene, line| match message(line) {
            Some((n, _)) if scene.past.links > 1 && n > scene.past.sent_before && scene.now == scene.link.begun => Vec::new(),
            _ => vec![Deed::Say(line.to_vec())],
        })],
    },
    Defect {
        name: "takes-acks-of-earlier-links-for-false",
        what: "It takes an ack of what only an earlier link carried for one of what it never sent.",
        breaks: "HL-0151",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[
            Kind::Said(|scene, line| {
                if let Some((n, _)) = message(line) {
                    scene.link.ids_out.insert(n as u8);
                }
                vec![Deed::Say(line.to_vec())]
            }),
            Kind::Heard(|scene, line| match number(line, b'A').zip(scene.link.ids_out.last()) {
                Some((n, &last)) if n > u64::from(last) => hear(format!("A{}", u64::MAX).as_bytes()),
                _ => hear(line),
            }),
        ],
    },
    Defect {
        name: "only-a-new-ack-is-an-answer",
        what: "It waits on for an answer when an ack says nothing new, or a rewind comes.",
        breaks: "HL-0155",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|scene, line| {
            let acked = number(line, b'A').filter(|_| scene.link.is_greeted);
            let is_old = acked.is_some_and(|n| n <= scene.past.count) || (scene.link.is_greeted && number(line, b'R').is_some());
            scene.past.count = scene.past.count.max(acked.unwrap_or(0));
            if is_old { Vec::new() } else { hear(line) }
        })],
    },
];
