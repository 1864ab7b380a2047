//! Defects of the classic profiles.

use super::super::defect::{Deed, Defect, Kind};
use super::super::scene::{Scene, classic, classic_line};
use super::{BOTH, CLASSIC, CLIENT, SERVER, V2019, V2020};
use serde_json::json;

/// A message of the peer: its id and its text.
fn message<'l>(scene: &Scene<'_>, line: &'l [u8]) -> Option<(u8, &'l [u8])> {
    classic(line).filter(|(_, text)| scene.link.is_greeted && !scene.link.is_native && !text.is_empty())
}

fn ack(scene: &Scene<'_>, line: &[u8]) -> Option<u8> {
    classic(line).filter(|(_, text)| scene.link.is_greeted && !scene.link.is_native && text.is_empty()).map(|(id, _)| id)
}

fn hear(line: &[u8]) -> Vec<Deed> {
    vec![Deed::Hear(line.to_vec())]
}

fn say(line: &[u8]) -> Vec<Deed> {
    vec![Deed::Say(line.to_vec())]
}

fn text(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

pub(super) static DEFECTS: &[Defect] = &[
    Defect {
        name: "delivers-classic-duplicates",
        what: "It has no list of the ids that it has received.",
        breaks: "HL-0034 HL-0043 HL-0036",
        roles: BOTH,
        profiles: CLASSIC,
        kinds: &[Kind::Heard(|scene, line| {
            let mut deeds = hear(line);
            if let Some((id, body)) = message(scene, line).filter(|(id, _)| scene.link.ids_in.contains(id)) {
                let _ = id;
                deeds.push(Deed::Deliver(text(body)));
            }
            deeds
        })],
    },
    Defect {
        name: "id-0-always-resets",
        what: "It takes each message of id 0 as new, and forgets all other ids (as the original).",
        breaks: "HL-0036",
        roles: BOTH,
        profiles: CLASSIC,
        kinds: &[Kind::Heard(|scene, line| {
            let mut deeds = hear(line);
            if let Some((0, body)) = message(scene, line)
                && scene.link.ids_in.contains(&0)
            {
                deeds.push(Deed::Deliver(text(body)));
            }
            deeds
        })],
    },
    Defect {
        name: "id-0-never-resets",
        what: "It takes a message of id 0 on a new link for a duplicate.",
        breaks: "HL-0035",
        roles: BOTH,
        profiles: CLASSIC,
        kinds: &[Kind::Heard(|scene, line| match message(scene, line) {
            Some((0, _)) if scene.past.ids_in.contains(&0) => Vec::new(),
            _ => hear(line),
        })],
    },
    Defect {
        name: "first-id-must-be-0",
        what: "It drops a first message whose id is not 0.",
        breaks: "HL-0033",
        roles: BOTH,
        profiles: CLASSIC,
        kinds: &[Kind::Heard(|scene, line| match message(scene, line) {
            Some((1.., _)) if scene.past.ids_in.is_empty() => Vec::new(),
            _ => hear(line),
        })],
    },
    Defect {
        name: "takes-only-rising-ids",
        what: "It takes an id as a duplicate when it is lower than the last one, also after 255.",
        breaks: "HL-0034",
        roles: BOTH,
        profiles: CLASSIC,
        kinds: &[Kind::Heard(|scene, line| match message(scene, line) {
            Some((id @ 1.., _)) if scene.past.ids_in.iter().next_back().is_some_and(|&last| id <= last) => Vec::new(),
            _ => hear(line),
        })],
    },
    Defect {
        name: "does-not-ack-classic-duplicates",
        what: "It drops a message that it has accepted before, and does not ack it again.",
        breaks: "HL-0043",
        roles: BOTH,
        profiles: V2020,
        kinds: &[Kind::Said(|scene, line| {
            let current = scene.link.current.clone();
            let is_of_duplicate = message(scene, &current).is_some_and(|(id, _)| scene.link.ids_in.contains(&id));
            if is_of_duplicate && ack(scene, line).is_some() { Vec::new() } else { say(line) }
        })],
    },
    Defect {
        name: "acks-unaccepted-duplicates",
        what: "It acks a duplicate of a message that the application has not accepted.",
        breaks: "HL-0043",
        roles: BOTH,
        profiles: V2020,
        kinds: &[Kind::Heard(|scene, line| {
            let mut deeds = hear(line);
            if let Some((id, _)) = message(scene, line).filter(|(id, _)| scene.link.ids_in.contains(id)) {
                deeds.push(Deed::Say(classic_line(id, b"")));
            }
            deeds
        })],
    },
    Defect {
        name: "acks-another-id",
        what: "It acks the id before the one that was accepted.",
        breaks: "HL-0042",
        roles: BOTH,
        profiles: V2020,
        kinds: &[Kind::Said(|scene, line| match ack(scene, line) {
            Some(id) => vec![Deed::Say(classic_line(id.wrapping_sub(1), b""))],
            None => say(line),
        })],
    },
    Defect {
        name: "counts-ids-for-each-link",
        what: "It begins with id 0 on each link.",
        breaks: "HL-0028 HL-0040",
        roles: BOTH,
        profiles: CLASSIC,
        kinds: &[Kind::Said(|scene, line| match message(scene, line) {
            Some((_, text)) => vec![Deed::Say(classic_line(scene.link.ids_out.len() as u8, text))],
            None => say(line),
        })],
    },
    Defect {
        name: "wraps-to-0",
        what: "It uses id 0 again after 255.",
        breaks: "HL-0028",
        roles: BOTH,
        profiles: CLASSIC,
        kinds: &[
            Kind::Said(|scene, line| match message(scene, line) {
                Some((1, text)) if scene.past.ids_out.contains(&255) => vec![Deed::Say(classic_line(0, text))],
                _ => say(line),
            }),
            Kind::Heard(|scene, line| match ack(scene, line) {
                Some(0) if scene.past.ids_out.contains(&255) => hear(b"01"),
                _ => hear(line),
            }),
        ],
    },
    Defect {
        name: "upper-case-ids",
        what: "It writes its ids in upper case.",
        breaks: "HL-0028",
        roles: BOTH,
        profiles: CLASSIC,
        kinds: &[Kind::Said(|scene, line| match classic(line).filter(|_| scene.link.is_greeted) {
            Some((_, text)) if scene.link.said > 0 || scene.setup.is_server => {
                vec![Deed::Say([&line[..2].to_ascii_uppercase(), text].concat())]
            }
            _ => say(line),
        })],
    },
    Defect {
        name: "begins-with-id-1",
        what: "Its first message has id 1.",
        breaks: "HL-0028",
        roles: BOTH,
        profiles: CLASSIC,
        kinds: &[Kind::Said(|scene, line| match message(scene, line) {
            Some((id, text)) if id < 255 => vec![Deed::Say(classic_line(id + 1, text))],
            _ => say(line),
        })],
    },
    Defect {
        name: "reads-signs-as-digits",
        what: "It reads `+1` and ` 1` as an id (as the original).",
        breaks: "HL-0030 HL-0031",
        roles: BOTH,
        profiles: CLASSIC,
        kinds: &[Kind::Heard(|scene, line| match line {
            [b'+' | b' ', digit, rest @ ..] if scene.link.is_greeted && digit.is_ascii_hexdigit() => {
                hear(&[&[b'0', *digit], rest].concat())
            }
            _ => hear(line),
        })],
    },
    Defect {
        name: "reads-only-lower-case",
        what: "It drops a line whose id is in upper case.",
        breaks: "HL-0030",
        roles: BOTH,
        profiles: CLASSIC,
        kinds: &[Kind::Heard(|scene, line| match message(scene, line) {
            Some(_) if line[..2].iter().any(u8::is_ascii_uppercase) => Vec::new(),
            _ => hear(line),
        })],
    },
    Defect {
        name: "never-sends-again",
        what: "It sends a message once on a link, and waits for its ack for ever.",
        breaks: "HL-0045",
        roles: BOTH,
        profiles: V2020,
        kinds: &[Kind::Said(|scene, line| match message(scene, line) {
            Some((id, _)) if scene.link.ids_out.contains(&id) => Vec::new(),
            _ => say(line),
        })],
    },
    Defect {
        name: "sends-again-with-a-new-id",
        what: "It sends a message again under the next id.",
        breaks: "HL-0045 HL-0040",
        roles: BOTH,
        profiles: CLASSIC,
        kinds: &[Kind::Said(|scene, line| match message(scene, line) {
            Some((id, text)) if scene.past.ids_out.contains(&id) => vec![Deed::Say(classic_line(id.wrapping_add(1), text))],
            _ => say(line),
        })],
    },
    Defect {
        name: "does-not-send-again-on-a-new-link",
        what: "It does not send again on a new link what was lost with the old one.",
        breaks: "HL-0040",
        roles: BOTH,
        profiles: CLASSIC,
        kinds: &[Kind::Said(|scene, line| match message(scene, line) {
            Some((id, _)) if scene.past.ids_out.contains(&id) && !scene.link.ids_out.contains(&id) => Vec::new(),
            _ => say(line),
        })],
    },
    Defect {
        name: "sends-empty-texts",
        what: "It sends an empty text, which is an ack on the wire (as the original).",
        breaks: "HL-0007 HL-0053",
        roles: BOTH,
        profiles: CLASSIC,
        kinds: &[Kind::Answer(|request, answer| {
            if request.get("text").is_some_and(|text| text == "") && request.get("do").is_some_and(|verb| verb == "send") {
                *answer = json!({"ok": true});
                return vec![Deed::SayBytes(b"07\n".to_vec())];
            }
            Vec::new()
        })],
    },
    Defect {
        name: "delivers-acks",
        what: "It gives an ack to the application as a text.",
        breaks: "HL-0041",
        roles: BOTH,
        profiles: V2020,
        kinds: &[Kind::Heard(|scene, line| {
            let mut deeds = hear(line);
            if ack(scene, line).is_some() {
                deeds.push(Deed::Deliver(String::new()));
            }
            deeds
        })],
    },
    Defect {
        name: "closes-on-an-unknown-ack",
        what: "It closes the link on an ack of what is not outstanding.",
        breaks: "HL-0046",
        roles: BOTH,
        profiles: V2020,
        kinds: &[Kind::Heard(|scene, line| match ack(scene, line) {
            Some(id) if !scene.past.ids_out.contains(&id) => vec![Deed::Close],
            _ => hear(line),
        })],
    },
    Defect {
        name: "speaks-first",
        what: "It sends messages before it has received a byte.",
        breaks: "HL-0048",
        roles: CLIENT,
        profiles: V2020,
        kinds: &[Kind::Said(|scene, line| {
            let mut deeds = say(line);
            if scene.link.said == 0 {
                deeds.push(Deed::Hear(Vec::new()));
            }
            deeds
        })],
    },
    Defect {
        name: "does-not-rest",
        what: "It does not wait 200 ms before its first message.",
        breaks: "HL-0049 HL-0057",
        roles: SERVER,
        profiles: CLASSIC,
        kinds: &[Kind::NoRest],
    },
    Defect {
        name: "keepalives-only-when-idle",
        what: "It leaves out a keepalive when it has sent a line of late.",
        breaks: "HL-0051 HL-0056 HL-0057",
        roles: BOTH,
        profiles: CLASSIC,
        kinds: &[Kind::Said(|scene, line| {
            let is_idle = scene.now >= scene.link.last_out + scene.link.timeout_ms / 4;
            if line.is_empty() && scene.link.said > 1 && !is_idle { Vec::new() } else { say(line) }
        })],
    },
    Defect {
        name: "impatient-at-first",
        what: "It takes a link as dead after T without a first line.",
        breaks: "HL-0052",
        roles: CLIENT,
        profiles: V2020,
        kinds: &[Kind::Alarm(|_, link| (link.heard == 0).then_some(link.begun + link.timeout_ms), |_, _| vec![Deed::Close])],
    },
    Defect {
        name: "acks-in-2019",
        what: "It acks messages, which a peer of 2019 takes for messages of no text.",
        breaks: "HL-0053",
        roles: BOTH,
        profiles: V2019,
        kinds: &[Kind::Heard(|scene, line| {
            let mut deeds = hear(line);
            if let Some((id, _)) = message(scene, line) {
                deeds.push(Deed::Say(classic_line(id, b"")));
            }
            deeds
        })],
    },
    Defect {
        name: "drops-empty-messages",
        what: "It drops a line of exactly two hex digits.",
        breaks: "HL-0053",
        roles: BOTH,
        profiles: V2019,
        kinds: &[Kind::Heard(|scene, line| if ack(scene, line).is_some() { Vec::new() } else { hear(line) })],
    },
    Defect {
        name: "sends-several-at-once",
        what: "It does not wait for a message to be done with before it sends the next.",
        breaks: "HL-0038",
        roles: BOTH,
        profiles: CLASSIC,
        kinds: &[Kind::Start(|settings| settings["in_order"] = json!(false))],
    },
    Defect {
        name: "id-line-is-missing",
        what: "It sends no id line.",
        breaks: "HL-0026",
        roles: CLIENT,
        profiles: CLASSIC,
        kinds: &[Kind::Said(|scene, line| if scene.link.said == 0 { Vec::new() } else { say(line) })],
    },
    Defect {
        name: "sends-with-the-id-line",
        what: "It sends a keepalive together with its id line.",
        breaks: "HL-0026 HL-0056",
        roles: CLIENT,
        profiles: CLASSIC,
        kinds: &[Kind::Said(|scene, line| match scene.link.said {
            0 => vec![Deed::Say(line.to_vec()), Deed::Say(Vec::new())],
            _ => say(line),
        })],
    },
    Defect {
        name: "no-cap-on-outstanding",
        what: "It sends on when a hundred messages are outstanding.",
        breaks: "HL-0037",
        roles: BOTH,
        profiles: V2020,
        kinds: &[
            Kind::Said(|scene, line| {
                let mut deeds = say(line);
                let is_full = message(scene, line).is_some() && scene.link.ids_out.len() >= 99;
                // The session makes room for one more when it believes its oldest to be acked.
                let oldest = scene.link.ids_out.iter().nth(scene.past.count as usize).copied();
                if let Some(oldest) = oldest.filter(|_| is_full) {
                    scene.past.count += 1;
                    deeds.push(Deed::Hear(classic_line(oldest, b"")));
                }
                deeds
            }),
            Kind::Heard(|scene, line| {
                if let Some(id) = ack(scene, line) {
                    scene.link.ids_out.remove(&id);
                }
                hear(line)
            }),
        ],
    },
];
