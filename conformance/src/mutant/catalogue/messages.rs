//! Defects of messages: numbers, acks, windows, gaps.

use super::super::defect::{Deed, Defect, Kind};
use super::super::scene::{field, is_greeting, message, number, with};
use super::{ALL, BOTH, NATIVE};
use serde_json::json;

fn as_it_is(line: &[u8]) -> Vec<Deed> {
    vec![Deed::Say(line.to_vec())]
}

fn text(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

pub(super) static DEFECTS: &[Defect] = &[
    Defect {
        name: "acks-on-receipt",
        what: "It acks what it has only read, before the application has accepted it (as the original).",
        breaks: "HL-0077 HL-0042",
        roles: BOTH,
        profiles: &[crate::case::Profile::Native, crate::case::Profile::Classic2020],
        kinds: &[Kind::Greedy(false)],
    },
    Defect {
        name: "drops-the-link-when-full",
        what: "It acks what it has read, and drops the link when its queue is full (as the original client).",
        breaks: "HL-0044 HL-0055 HL-0077 HL-0089",
        roles: BOTH,
        profiles: ALL,
        kinds: &[Kind::Greedy(true)],
    },
    Defect {
        name: "acks-beyond-received",
        what: "It acks one message more than it has.",
        breaks: "HL-0077 HL-0082",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Said(|_, line| match number(line, b'A') {
            Some(n) => vec![Deed::Say(format!("A{}", n + 1).into_bytes())],
            None => as_it_is(line),
        })],
    },
    Defect {
        name: "acks-with-a-delay",
        what: "It collects acks for T/4.",
        breaks: "HL-0082",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Said(|scene, line| match number(line, b'A') {
            Some(_) if !scene.setup.check => vec![Deed::SayLater(scene.link.timeout_ms / 4, [line, b"\n"].concat())],
            _ => as_it_is(line),
        })],
    },
    Defect {
        name: "does-not-ack-a-duplicate",
        what: "It drops a message that it has accepted before, and does not ack it again.",
        breaks: "HL-0081",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Said(|scene, line| {
            let is_of_duplicate = message(&scene.link.current).is_some_and(|(n, _)| scene.past.received >= n);
            if is_of_duplicate && number(line, b'A').is_some() { Vec::new() } else { as_it_is(line) }
        })],
    },
    Defect {
        name: "delivers-duplicates",
        what: "It delivers a message that it has received before.",
        breaks: "HL-0080",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|scene, line| {
            let mut deeds = vec![Deed::Hear(line.to_vec())];
            if let Some((n, body)) = message(line)
                && scene.link.is_greeted
                && n <= scene.past.received
            {
                deeds.push(Deed::Deliver(text(body)));
            }
            deeds
        })],
    },
    Defect {
        name: "delivers-duplicates-across-links",
        what: "It knows a duplicate only of the link on which it received the message.",
        breaks: "HL-0080",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|scene, line| {
            let mut deeds = vec![Deed::Hear(line.to_vec())];
            if let Some((n, body)) = message(line).filter(|_| scene.link.is_greeted) {
                let id = n as u8;
                if n <= scene.past.received && !scene.link.ids_out.contains(&id) {
                    deeds.push(Deed::Deliver(text(body)));
                }
                scene.link.ids_out.insert(id);
            }
            deeds
        })],
    },
    Defect {
        name: "delivers-out-of-order",
        what: "It delivers a message that comes after a gap.",
        breaks: "HL-0080 HL-0093",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|scene, line| {
            let mut deeds = vec![Deed::Hear(line.to_vec())];
            if let Some((n, body)) = message(line).filter(|_| scene.link.is_greeted)
                && n > scene.past.received + 1
                && n <= scene.past.received + scene.setup.window
            {
                deeds.push(Deed::Deliver(text(body)));
            }
            deeds
        })],
    },
    Defect {
        name: "drops-held-messages",
        what: "It does not send again on a new link what was lost with the old one.",
        breaks: "HL-0062 HL-0084",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Said(|scene, line| match message(line) {
            Some((n, _)) if n <= scene.past.sent_before => Vec::new(),
            _ => as_it_is(line),
        })],
    },
    Defect {
        name: "numbers-anew-on-each-link",
        what: "It numbers its messages from 1 again on each link.",
        breaks: "HL-0062",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Said(|scene, line| match message(line) {
            Some((_, text)) => {
                scene.link.begun += 1;
                let n = scene.link.ids_out.len() + 1;
                scene.link.ids_out.insert(n as u8);
                vec![Deed::Say([format!("M{n} ").as_bytes(), text].concat())]
            }
            None => as_it_is(line),
        })],
    },
    Defect {
        name: "ignores-window",
        what: "It sends more than the peer's window allows.",
        breaks: "HL-0086",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|_, line| {
            vec![Deed::Hear(if is_greeting(line) { with(line, "window", 65_535) } else { line.to_vec() })]
        })],
    },
    Defect {
        name: "ignores-max",
        what: "It sends lines that are longer than the peer can take.",
        breaks: "HL-0087",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|_, line| {
            vec![Deed::Hear(if is_greeting(line) { with(line, "max", 1_048_576) } else { line.to_vec() })]
        })],
    },
    Defect {
        name: "takes-more-than-its-window",
        what: "It takes messages above the window that it has said.",
        breaks: "HL-0150",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[
            Kind::Start(|settings| settings["window"] = json!(65_535)),
            Kind::Said(|scene, line| {
                vec![Deed::Say(if is_greeting(line) { with(line, "window", scene.setup.window) } else { line.to_vec() })]
            }),
        ],
    },
    Defect {
        name: "asks-for-no-rewind",
        what: "It drops what comes after a gap, and does not ask for what is missing.",
        breaks: "HL-0093",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Said(|_, line| if number(line, b'R').is_some() { Vec::new() } else { as_it_is(line) })],
    },
    Defect {
        name: "asks-for-a-rewind-once",
        what: "It asks for what is missing once, and not again.",
        breaks: "HL-0093",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Said(|scene, line| match number(line, b'R') {
            Some(_) if scene.link.current.is_empty() => Vec::new(),
            _ => as_it_is(line),
        })],
    },
    Defect {
        name: "asks-for-a-rewind-each-time",
        what: "It asks for what is missing at each message that comes after a gap.",
        breaks: "HL-0093",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|scene, line| {
            let mut deeds = vec![Deed::Hear(line.to_vec())];
            if let Some((n, _)) = message(line).filter(|_| scene.link.is_greeted)
                && n > scene.past.received + 1
                && n <= scene.past.received + scene.setup.window
            {
                if scene.link.ids_in.contains(&1) {
                    deeds.push(Deed::Say(format!("R{}", scene.past.received + 1).into_bytes()));
                }
                scene.link.ids_in.insert(1);
            }
            deeds
        })],
    },
    Defect {
        name: "ignores-rewinds",
        what: "It does not send again what the peer asks for.",
        breaks: "HL-0094",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|scene, line| match number(line, b'R') {
            Some(n) if scene.link.is_greeted && n > 0 && n <= scene.past.sent => Vec::new(),
            _ => vec![Deed::Hear(line.to_vec())],
        })],
    },
    Defect {
        name: "takes-a-rewind-for-an-ack",
        what: "It drops what comes before the message from which the peer wants to have it again.",
        breaks: "HL-0094",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|scene, line| match number(line, b'R') {
            Some(n) if scene.link.is_greeted && n > 1 && n <= scene.past.sent + 1 => {
                vec![Deed::Hear(format!("A{}", n - 1).into_bytes()), Deed::Hear(line.to_vec())]
            }
            _ => vec![Deed::Hear(line.to_vec())],
        })],
    },
    Defect {
        name: "does-not-probe",
        what: "It does not ask after a message that stays unacked.",
        breaks: "HL-0095",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Said(|_, line| if number(line, b'P').is_some() { Vec::new() } else { as_it_is(line) })],
    },
    Defect {
        name: "does-not-answer-probes",
        what: "It does not answer a probe.",
        breaks: "HL-0096",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|scene, line| match number(line, b'P') {
            Some(_) if scene.link.is_greeted => Vec::new(),
            _ => vec![Deed::Hear(line.to_vec())],
        })],
    },
    Defect {
        name: "answers-probes-with-received",
        what: "It answers a probe with what it has received, accepted or not.",
        breaks: "HL-0096 HL-0077",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Said(|scene, line| match (number(line, b'A'), number(&scene.link.current, b'P')) {
            (Some(_), Some(_)) => vec![Deed::Say(format!("A{}", scene.past.received).into_bytes())],
            _ => as_it_is(line),
        })],
    },
    Defect {
        name: "bears-a-mute-peer",
        what: "It bears a peer that never answers its probes.",
        breaks: "HL-0155",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Said(|_, line| {
            let mut deeds = as_it_is(line);
            if number(line, b'P').is_some() {
                deeds.push(Deed::Hear(b"A0".to_vec()));
            }
            deeds
        })],
    },
    Defect {
        name: "bears-false-acks",
        what: "It passes over an ack of what it never sent.",
        breaks: "HL-0151",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|scene, line| match number(line, b'A') {
            Some(n) if scene.link.is_greeted && n > scene.past.sent => Vec::new(),
            _ => vec![Deed::Hear(line.to_vec())],
        })],
    },
    Defect {
        name: "bears-false-rewinds",
        what: "It passes over a rewind to what it never sent, or holds no more.",
        breaks: "HL-0152",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|scene, line| match number(line, b'R') {
            Some(n) if scene.link.is_greeted && (n == 0 || n > scene.past.sent + 1) => Vec::new(),
            _ => vec![Deed::Hear(line.to_vec())],
        })],
    },
    Defect {
        name: "drops-messages-above-its-window",
        what: "It drops a message above its window, and goes on.",
        breaks: "HL-0150",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|scene, line| match message(line) {
            Some((n, _)) if scene.link.is_greeted && n > scene.past.received + scene.setup.window => Vec::new(),
            _ => vec![Deed::Hear(line.to_vec())],
        })],
    },
    Defect {
        name: "acks-what-an-earlier-stream-sent",
        what: "It acks a message that it received under an earlier epoch as one of the present.",
        breaks: "HL-0074",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[
            Kind::Heard(|scene, line| {
                if is_greeting(line)
                    && !scene.past.epoch_in.is_empty()
                    && field(line, "epoch").as_ref() != Some(&scene.past.epoch_in)
                {
                    // What the application has not taken yet.
                    scene.past.count = scene.past.received.saturating_sub(scene.past.last_ack.unwrap_or(0));
                    scene.past.last_ack = Some(0);
                }
                vec![Deed::Hear(line.to_vec())]
            }),
            Kind::Accepted(|scene| {
                if scene.past.count == 0 {
                    return Vec::new();
                }
                scene.past.count -= 1;
                let n = scene.past.last_ack.unwrap_or(0) + 1;
                scene.past.last_ack = Some(n);
                vec![Deed::Say(format!("A{n}").into_bytes())]
            }),
        ],
    },
    Defect {
        name: "an-ack-prunes-one",
        what: "It takes an ack as one of a single message, and not of all before it.",
        breaks: "HL-0083 HL-0084",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|scene, line| match number(line, b'A') {
            Some(n) if scene.link.is_greeted && n > scene.past.count + 1 && n <= scene.past.sent => {
                scene.past.count += 1;
                vec![Deed::Hear(format!("A{}", scene.past.count).into_bytes())]
            }
            Some(n) => {
                scene.past.count = scene.past.count.max(n);
                vec![Deed::Hear(line.to_vec())]
            }
            None => vec![Deed::Hear(line.to_vec())],
        })],
    },
];
