//! Defects of what the application is told, and of what is kept.

use super::super::defect::{Deed, Defect, Kind};
use super::super::scene::is_greeting;
use super::{ALL, BOTH, CLIENT, NATIVE, SERVER};
use serde_json::{Value as Json, json};

fn is(event: &Json, name: &str) -> bool {
    event.get("event").is_some_and(|known| known == name)
}

fn unless(event: Json, name: &str) -> Vec<Json> {
    if is(&event, name) { Vec::new() } else { vec![event] }
}

fn asks_for(request: &Json, delivery: &str) -> bool {
    request.get("delivery").is_some_and(|known| known == delivery)
}

pub(super) static DEFECTS: &[Defect] = &[
    Defect {
        name: "reports-no-loss",
        what: "It does not tell the application that messages were lost.",
        breaks: "HL-0065 HL-0071 HL-0159",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Event(|event| unless(event, "lost"))],
    },
    Defect {
        name: "reports-false-loss",
        what: "It reports a loss whenever a link is up.",
        breaks: "HL-0068 HL-0070 HL-0072 HL-0062",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Event(|event| match is(&event, "up") {
            true => vec![event, json!({"event": "lost", "from": 1, "to": 1, "direction": "in"})],
            false => vec![event],
        })],
    },
    Defect {
        name: "reports-no-peer-reset",
        what: "It does not tell that the peer has begun a new epoch.",
        breaks: "HL-0073",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Event(|event| unless(event, "peer-reset"))],
    },
    Defect {
        name: "reports-a-first-epoch-as-reset",
        what: "It reports a reset whenever a link is up.",
        breaks: "HL-0072 HL-0070",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Event(|event| match is(&event, "up") {
            true => vec![event, json!({"event": "peer-reset"})],
            false => vec![event],
        })],
    },
    Defect {
        name: "reports-no-peer-forgot",
        what: "It does not tell that the peer has forgotten its stream.",
        breaks: "HL-0066 HL-0067",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Event(|event| unless(event, "peer-forgot"))],
    },
    Defect {
        name: "reports-no-own-reset",
        what: "It does not tell that its own memory is old.",
        breaks: "HL-0063 HL-0064",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Event(|event| unless(event, "own-reset"))],
    },
    Defect {
        name: "reports-no-fault",
        what: "It closes the link of a peer that broke a rule, and does not tell which.",
        breaks: "HL-0142 HL-0031",
        roles: BOTH,
        profiles: ALL,
        kinds: &[Kind::Event(|event| unless(event, "fault"))],
    },
    Defect {
        name: "reports-no-refusal",
        what: "It does not tell that it was refused.",
        breaks: "HL-0156",
        roles: CLIENT,
        profiles: NATIVE,
        kinds: &[Kind::Event(|event| unless(event, "refused"))],
    },
    Defect {
        name: "takes-any-answer",
        what: "It does not tell that a peer is no Holdline.",
        breaks: "HL-0014",
        roles: CLIENT,
        profiles: NATIVE,
        kinds: &[Kind::Event(|event| unless(event, "not-holdline"))],
    },
    Defect {
        name: "reports-not-that-it-is-blocked",
        what: "It does not tell that a message is too long for the peer.",
        breaks: "HL-0087",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Event(|event| unless(event, "blocked"))],
    },
    Defect {
        name: "reports-no-end",
        what: "It does not tell that a link has ended.",
        breaks: "HL-0141 HL-0025",
        roles: BOTH,
        profiles: ALL,
        kinds: &[Kind::Event(|event| unless(event, "down"))],
    },
    Defect {
        name: "reports-no-impostor",
        what: "It refuses a second device of a name, and does not tell.",
        breaks: "HL-0123 HL-0124",
        roles: SERVER,
        profiles: ALL,
        kinds: &[Kind::Event(|event| unless(event, "duplicate-client"))],
    },
    Defect {
        name: "drops-when-full",
        what: "It says that it has taken a message for which its outbox has no room.",
        breaks: "HL-0088",
        roles: BOTH,
        profiles: ALL,
        kinds: &[Kind::Answer(|_, answer| {
            if answer.get("error").is_some_and(|error| error == "full") {
                *answer = json!({"ok": true});
            }
            Vec::new()
        })],
    },
    Defect {
        name: "appends-the-latest",
        what: "It appends the latest value of a slot, and replaces nothing.",
        breaks: "HL-0090",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Ask(|request| {
            if asks_for(request, "latest") {
                request["delivery"] = json!("exactly-once");
            }
        })],
    },
    Defect {
        name: "holds-datagrams",
        what: "It holds a best-effort text as it does a message.",
        breaks: "HL-0091 HL-0047",
        roles: BOTH,
        profiles: ALL,
        kinds: &[Kind::Ask(|request| {
            if asks_for(request, "best-effort") {
                request["delivery"] = json!("exactly-once");
            }
        })],
    },
    Defect {
        name: "loses-its-outbox",
        what: "It says that it keeps its outbox, and has lost it after a restart.",
        breaks: "HL-0021 HL-0079 HL-0019",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Load(|record| record["sent"] = Json::Null)],
    },
    Defect {
        name: "loses-its-cursor",
        what: "It says that it keeps its cursor, and has lost it after a restart.",
        breaks: "HL-0021 HL-0078",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Load(|record| record["seen"] = Json::Null)],
    },
    Defect {
        name: "rolls-back-its-cursor",
        what: "Its cursor is one message behind after a restart.",
        breaks: "HL-0078 HL-0021",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Load(|record| {
            if let Some(accepted) = record["seen"]["accepted"].as_u64() {
                record["seen"]["accepted"] = json!(accepted.saturating_sub(1));
            }
        })],
    },
    Defect {
        name: "commits-late",
        what: "It keeps a change only when the next one comes, and has said so to the peer by then.",
        breaks: "HL-0078 HL-0079",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::StaleStore],
    },
    Defect {
        name: "forgets-that-there-was-contact",
        what: "It does not know after a restart that the peer had taken up its stream.",
        breaks: "HL-0019 HL-0066 HL-0067",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Load(|record| {
            if record["sent"].is_object() {
                record["sent"]["contacted"] = json!(false);
            }
        })],
    },
    Defect {
        name: "does-not-fall-back",
        what: "It does not go over to the classic profile that it was told to fall back to.",
        breaks: "HL-0015",
        roles: CLIENT,
        profiles: NATIVE,
        kinds: &[Kind::Start(|settings| {
            if let Some(settings) = settings.as_object_mut() {
                settings.remove("fallback");
            }
        })],
    },
    Defect {
        name: "falls-back-unasked",
        what: "It goes over to a classic profile that nobody named.",
        breaks: "HL-0015 HL-0014",
        roles: CLIENT,
        profiles: NATIVE,
        kinds: &[Kind::Start(|settings| {
            if settings.get("fallback").is_none() {
                settings["fallback"] = json!("classic-2020");
            }
        })],
    },
    Defect {
        name: "closes-without-goodbye",
        what: "It says no bye.",
        breaks: "HL-0142 HL-0129 HL-0121 HL-0126",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Said(|_, line| if line.starts_with(b"B") { Vec::new() } else { vec![Deed::Say(line.to_vec())] })],
    },
    Defect {
        name: "ignores-goodbyes",
        what: "It passes over a bye.",
        breaks: "HL-0025",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|scene, line| match scene.link.is_greeted && line.starts_with(b"B") {
            true => Vec::new(),
            false => vec![Deed::Hear(line.to_vec())],
        })],
    },
    Defect {
        name: "falls-back-after-a-refusal",
        what: "It goes over to its fallback when it was refused, or answered by a broken greeting.",
        breaks: "HL-0015",
        roles: CLIENT,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|scene, line| match !scene.link.is_greeted && line.starts_with(b"HOLD/") && !is_greeting(line) {
            true => vec![Deed::Hear(b"hello".to_vec())],
            false => vec![Deed::Hear(line.to_vec())],
        })],
    },
    Defect {
        name: "falls-back-after-an-end",
        what: "It goes over to its fallback when its connection ended before it was answered.",
        breaks: "HL-0015",
        roles: CLIENT,
        profiles: NATIVE,
        kinds: &[Kind::Ended(|scene, _| match scene.link.is_greeted {
            true => Vec::new(),
            false => vec![Deed::Hear(b"hello".to_vec())],
        })],
    },
];
