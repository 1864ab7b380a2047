//! Defects on streams that can lose a line.

use super::super::defect::{Deed, Defect, Kind};
use super::super::scene::{field, is_greeting, with, without};
use super::{BOTH, CLIENT, NATIVE, SERVER};

pub(super) static DEFECTS: &[Defect] = &[
    Defect {
        name: "does-not-look-at-checks",
        what: "It takes a line whose check is wrong.",
        breaks: "HL-0098",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Unchecked],
    },
    Defect {
        name: "sends-no-checks",
        what: "It ends its lines in no check.",
        breaks: "HL-0097",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Said(|_, line| vec![Deed::SayBytes([line, b"\n"].concat())])],
    },
    Defect {
        name: "upper-case-checks",
        what: "It writes its checks in upper case.",
        breaks: "HL-0097",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Said(|scene, line| {
            let sealed = super::super::scene::seal(line, scene.setup.check);
            let split = line.len();
            vec![Deed::SayBytes([&sealed[..split], &sealed[split..].to_ascii_uppercase()].concat())]
        })],
    },
    Defect {
        name: "takes-any-welcome",
        what: "It takes the welcome of another link for its own.",
        breaks: "HL-0163",
        roles: CLIENT,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|scene, line| {
            if !scene.setup.check || !is_greeting(line) {
                return vec![Deed::Hear(line.to_vec())];
            }
            let line = if field(line, "link").is_none() { [line, b" link=1"].concat() } else { line.to_vec() };
            vec![Deed::Hear(with(&line, "link", &scene.past.last_link))]
        })],
    },
    Defect {
        name: "welcomes-no-link",
        what: "It does not say which link its welcome is for.",
        breaks: "HL-0162",
        roles: SERVER,
        profiles: NATIVE,
        kinds: &[Kind::Said(|_, line| vec![Deed::Say(without(line, "link"))])],
    },
    Defect {
        name: "names-no-link",
        what: "It does not name its link.",
        breaks: "HL-0161",
        roles: CLIENT,
        profiles: NATIVE,
        kinds: &[Kind::Said(|_, line| vec![Deed::Say(without(line, "link"))])],
    },
    Defect {
        name: "same-link-each-time",
        what: "It names each of its links alike.",
        breaks: "HL-0161",
        roles: CLIENT,
        profiles: NATIVE,
        kinds: &[
            Kind::Said(|_, line| vec![Deed::Say(with(line, "link", 4_242))]),
            Kind::Heard(|scene, line| {
                let is_it = field(line, "link").is_some_and(|link| link == "4242");
                vec![Deed::Hear(if is_it { with(line, "link", &scene.past.last_link) } else { line.to_vec() })]
            }),
        ],
    },
    Defect {
        name: "takes-no-hello-mid-link",
        what: "It passes over a hello in the middle of a checked link.",
        breaks: "HL-0100",
        roles: SERVER,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|scene, line| match scene.link.is_greeted && scene.setup.check && is_greeting(line) {
            true => Vec::new(),
            false => vec![Deed::Hear(line.to_vec())],
        })],
    },
    Defect {
        name: "takes-no-welcome-mid-link",
        what: "It passes over a welcome in the middle of a checked link.",
        breaks: "HL-0101",
        roles: CLIENT,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|scene, line| match scene.link.is_greeted && scene.setup.check && is_greeting(line) {
            true => Vec::new(),
            false => vec![Deed::Hear(line.to_vec())],
        })],
    },
    Defect {
        name: "takes-any-line-for-a-hello",
        what: "It takes any line on a checked stream for a classic id while it waits for a hello, and closes.",
        breaks: "HL-0099",
        roles: SERVER,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|scene, line| {
            let is_early = scene.setup.check && !scene.link.is_greeted;
            if is_early && !line.starts_with(b"HOLD/") { vec![Deed::Close] } else { vec![Deed::Hear(line.to_vec())] }
        })],
    },
    Defect {
        name: "names-links-everywhere",
        what: "It names its link on a stream without checks, too.",
        breaks: "HL-0161 HL-0162",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Said(|scene, line| match is_greeting(line) && !scene.setup.check {
            true => vec![Deed::Say([line, b" link=1"].concat())],
            false => vec![Deed::Say(line.to_vec())],
        })],
    },
    Defect {
        name: "acks-datagrams",
        what: "It acks a datagram.",
        breaks: "HL-0092",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|scene, line| {
            let mut deeds = vec![Deed::Hear(line.to_vec())];
            if scene.link.is_greeted && line.starts_with(b"D ") {
                deeds.push(Deed::Say(format!("A{}", scene.past.last_ack.unwrap_or(0)).into_bytes()));
            }
            deeds
        })],
    },
];
