//! Defects of when a client connects.

use super::super::defect::{Deed, Defect, Kind};
use super::super::scene::without;
use super::{ALL, CLIENT, NATIVE};

pub(super) static DEFECTS: &[Defect] = &[
    Defect {
        name: "comes-back-at-once",
        what: "It connects again at once, whatever happened.",
        breaks: "HL-0132 HL-0133 HL-0134 HL-0139",
        roles: CLIENT,
        profiles: ALL,
        kinds: &[Kind::NoWaits],
    },
    Defect {
        name: "ignores-retry",
        what: "It does not wait as long as the peer asked it to.",
        breaks: "HL-0134",
        roles: CLIENT,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|_, line| match line.starts_with(b"B") || line.starts_with(b"HOLD/1 no") {
            true => vec![Deed::Hear(without(line, "retry"))],
            false => vec![Deed::Hear(line.to_vec())],
        })],
    },
    Defect {
        name: "connects-twice",
        what: "It opens a second connection while it has one.",
        breaks: "HL-0130",
        roles: CLIENT,
        profiles: ALL,
        kinds: &[Kind::Alarm(
            |setup, link| link.rival.is_none().then_some(link.begun + setup.timeout_ms / 2),
            |scene, _| {
                scene.link.rival = Some(scene.link.stream);
                vec![Deed::Connect]
            },
        )],
    },
    Defect {
        name: "waits-ten-seconds",
        what: "It waits for ten seconds more than it should before it connects again.",
        breaks: "HL-0131 HL-0132",
        roles: CLIENT,
        profiles: ALL,
        kinds: &[Kind::Waits(|attempt| if attempt > 1 { 10_000 } else { 0 })],
    },
    Defect {
        name: "backs-off-for-ever",
        what: "It waits for long after a few failed attempts, also when a link has lasted in between.",
        breaks: "HL-0133",
        roles: CLIENT,
        profiles: ALL,
        kinds: &[Kind::Waits(|attempt| if attempt > 4 { 10_000 } else { 0 })],
    },
    Defect {
        name: "finds-a-retry-anywhere",
        what: "It stays away when a bye has the word retry anywhere.",
        breaks: "HL-0134",
        roles: CLIENT,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|scene, line| match scene.link.is_greeted && line.starts_with(b"Bclosing later retry=") {
            true => vec![Deed::Hear(b"Bclosing retry=3000".to_vec())],
            false => vec![Deed::Hear(line.to_vec())],
        })],
    },
];
