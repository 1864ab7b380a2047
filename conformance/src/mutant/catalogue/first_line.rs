//! Defects in how a server reads a first line.

use super::super::defect::{Deed, Defect, Kind};
use super::super::scene::{field, is_greeting};
use super::{CLASSIC, NATIVE, SERVER};

fn hear(line: &[u8]) -> Vec<Deed> {
    vec![Deed::Hear(line.to_vec())]
}

pub(super) static DEFECTS: &[Defect] = &[
    Defect {
        name: "takes-a-bad-hello-for-an-id",
        what: "It takes a first line that begins HOLD/1 and is no good hello as a classic id.",
        breaks: "HL-0009",
        roles: SERVER,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|scene, line| match line.strip_prefix(b"HOLD/1 ") {
            Some(rest) if !scene.link.is_greeted && !is_greeting(line) => hear(&[b"hold/1 ", rest].concat()),
            _ => hear(line),
        })],
    },
    Defect {
        name: "wants-ids-without-blanks",
        what: "It closes when a classic id has a blank, or is no ASCII.",
        breaks: "HL-0012",
        roles: SERVER,
        profiles: CLASSIC,
        kinds: &[Kind::Heard(|scene, line| match !scene.link.is_greeted && (line.contains(&b' ') || !line.is_ascii()) {
            true => vec![Deed::Close],
            false => hear(line),
        })],
    },
    Defect {
        name: "wants-short-ids",
        what: "It closes when a classic id has more than 64 bytes.",
        breaks: "HL-0031",
        roles: SERVER,
        profiles: CLASSIC,
        kinds: &[Kind::Heard(|scene, line| match !scene.link.is_greeted && line.len() > 64 {
            true => vec![Deed::Close],
            false => hear(line),
        })],
    },
    Defect {
        name: "wants-less-than-the-bounds",
        what: "It takes the largest values that a hello may have for malformed.",
        breaks: "HL-0018",
        roles: SERVER,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|_, line| {
            let largest = [("boot", u64::MAX), ("epoch", u64::MAX), ("window", 65_535), ("max", 1_048_576)];
            match largest.iter().any(|(key, value)| field(line, key).is_some_and(|said| said == value.to_string())) {
                true => hear(b"HOLD/1 bounds"),
                false => hear(line),
            }
        })],
    },
];
