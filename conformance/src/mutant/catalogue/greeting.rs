//! Defects of hello and welcome, and of what they say about the two streams.

use super::super::defect::{Deed, Defect, Kind};
use super::super::scene::{Scene, field, is_greeting, with, without};
use super::{BOTH, CLIENT, NATIVE, SERVER};
use serde_json::json;

/// A greeting changed as it goes out; any other line as it is.
fn said(line: &[u8], change: impl FnOnce(&[u8]) -> Vec<u8>) -> Vec<Deed> {
    vec![Deed::Say(if is_greeting(line) { change(line) } else { line.to_vec() })]
}

/// A greeting changed as it comes in.
fn heard(line: &[u8], change: impl FnOnce(&[u8]) -> Vec<u8>) -> Vec<Deed> {
    vec![Deed::Hear(if is_greeting(line) { change(line) } else { line.to_vec() })]
}

fn number(line: &[u8], key: &str) -> u64 {
    field(line, key).and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// A greeting with a field more, if it does not have it.
fn add(line: &[u8], key: &str, value: u64) -> Vec<u8> {
    if field(line, key).is_some() { line.to_vec() } else { [line, format!(" {key}={value}").as_bytes()].concat() }
}

/// An epoch that is said in place of the real one, which is put back where the peer names it.
fn another_epoch(scene: &mut Scene<'_>, line: &[u8], epoch: u64) -> Vec<u8> {
    scene.link.partial.clear();
    scene.past.count = number(line, "epoch");
    with(line, "epoch", epoch)
}

fn real_epoch(scene: &Scene<'_>, line: &[u8], epoch: u64) -> Vec<u8> {
    let real = scene.past.count;
    if number(line, "peer") == epoch && real != 0 { with(line, "peer", real) } else { line.to_vec() }
}

pub(super) static DEFECTS: &[Defect] = &[
    Defect {
        name: "boot-for-each-link",
        what: "It says another boot on each link.",
        breaks: "HL-0020",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Said(|scene, line| said(line, |line| with(line, "boot", scene.past.links + 7)))],
    },
    Defect {
        name: "same-boot-after-restart",
        what: "It says the same boot after a restart.",
        breaks: "HL-0020",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Said(|_, line| said(line, |line| with(line, "boot", 7)))],
    },
    Defect {
        name: "same-epoch-without-memory",
        what: "It begins with the same epoch after its memory was lost.",
        breaks: "HL-0019",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[
            Kind::Said(|scene, line| said(line, |line| another_epoch(scene, line, 7))),
            Kind::Heard(|scene, line| heard(line, |line| real_epoch(scene, line, 7))),
        ],
    },
    Defect {
        name: "epoch-for-each-link",
        what: "It says a new epoch on each link.",
        breaks: "HL-0019",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Said(|scene, line| said(line, |line| with(line, "epoch", scene.past.links + 100)))],
    },
    Defect {
        name: "says-it-keeps",
        what: "It says that it keeps everything, and keeps nothing.",
        breaks: "HL-0021",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Said(|_, line| said(line, |line| with(line, "keeps", "both"))), Kind::Load(|record| *record = json!({}))],
    },
    Defect {
        name: "ignores-peer-and-seen",
        what: "It sends everything again that it holds, whatever the peer says that it has.",
        breaks: "HL-0062",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|_, line| {
            heard(line, |line| without(&without(&with(&with(line, "peer", 0), "seen", 0), "sum"), "held"))
        })],
    },
    Defect {
        name: "ignores-held",
        what: "It does not look at how many messages the peer holds above what it has accepted.",
        breaks: "HL-0063 HL-0064",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|_, line| heard(line, |line| without(line, "held")))],
    },
    Defect {
        name: "ignores-sum",
        what: "It does not compare the sum of what the peer received.",
        breaks: "HL-0064",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|_, line| heard(line, |line| without(line, "sum")))],
    },
    Defect {
        name: "wrong-sum",
        what: "It says a wrong sum.",
        breaks: "HL-0076",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Said(|_, line| said(line, |line| with(line, "sum", number(line, "sum") ^ 1)))],
    },
    Defect {
        name: "says-no-sum",
        what: "It does not say the sum that it has.",
        breaks: "HL-0076",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Said(|_, line| said(line, |line| without(line, "sum")))],
    },
    Defect {
        name: "says-no-bsum",
        what: "It keeps its outbox, and says no bsum.",
        breaks: "HL-0075",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Said(|_, line| said(line, |line| without(line, "bsum")))],
    },
    Defect {
        name: "shuffles-fields",
        what: "It writes the fields of its greeting in another order.",
        breaks: "HL-0016",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Said(|_, line| {
            said(line, |line| {
                let line = String::from_utf8_lossy(line);
                let mut fields: Vec<&str> = line.split(' ').collect();
                let last = fields.len() - 1;
                fields.swap(3, last);
                fields.join(" ").into_bytes()
            })
        })],
    },
    Defect {
        name: "fields-only-in-order",
        what: "It takes fields only in the order of the grammar.",
        breaks: "HL-0017",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|_, line| {
            heard(line, |line| {
                let text = String::from_utf8_lossy(line);
                let place = |key: &str| text.find(&format!(" {key}=")).unwrap_or(0);
                let keys = ["boot", "epoch", "base", "peer", "seen", "keeps", "timeout", "window", "max"];
                let is_in_order = keys.windows(2).all(|pair| place(pair[0]) < place(pair[1]));
                if is_in_order { line.to_vec() } else { b"HOLD/1 order".to_vec() }
            })
        })],
    },
    Defect {
        name: "rejects-unknown-keys",
        what: "It takes a key that it does not know for a mistake.",
        breaks: "HL-0017",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|_, line| {
            heard(line, |line| {
                let known = "ok client boot epoch base peer seen keeps timeout window max bsum sum held link";
                let text = String::from_utf8_lossy(line);
                let is_known = |field: &str| known.split(' ').any(|key| field.split('=').next() == Some(key));
                if text.split(' ').skip(1).all(is_known) { line.to_vec() } else { b"HOLD/1 key".to_vec() }
            })
        })],
    },
    Defect {
        name: "mends-greetings",
        what: "It reads over double blanks and repeated keys, and fills in what is missing.",
        breaks: "HL-0018 HL-0153",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|scene, line| {
            if scene.link.is_greeted || !line.starts_with(b"HOLD/1 ") || line.starts_with(b"HOLD/1 no") {
                return vec![Deed::Hear(line.to_vec())];
            }
            let text = String::from_utf8_lossy(line);
            let mut fields: Vec<String> = Vec::new();
            for field in text.split(' ').filter(|field| !field.is_empty()) {
                let key = field.split('=').next().unwrap_or_default();
                if !fields.iter().any(|known| known.split('=').next() == Some(key)) {
                    fields.push(field.to_owned());
                }
            }
            let defaults = "boot=1 epoch=1 base=0 peer=0 seen=0 keeps=none timeout=2000 window=16 max=4096";
            for default in defaults.split(' ') {
                let key = default.split('=').next().unwrap_or_default();
                if !fields.iter().any(|known| known.split('=').next() == Some(key)) {
                    fields.push(default.to_owned());
                }
            }
            vec![Deed::Hear(fields.join(" ").into_bytes())]
        })],
    },
    Defect {
        name: "takes-any-timeout",
        what: "It takes the timeout that a client proposes, whatever its own range.",
        breaks: "HL-0023",
        roles: SERVER,
        profiles: NATIVE,
        kinds: &[Kind::Start(|settings| {
            if let Some(settings) = settings.as_object_mut() {
                settings.remove("timeout_min_ms");
                settings.remove("timeout_max_ms");
            }
        })],
    },
    Defect {
        name: "keeps-its-own-timeout",
        what: "It goes on with the T that it proposed, whatever the welcome says.",
        breaks: "HL-0023",
        roles: CLIENT,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|scene, line| heard(line, |line| with(line, "timeout", scene.setup.timeout_ms)))],
    },
    Defect {
        name: "speaks-before-the-welcome",
        what: "It sends a keepalive before the welcome has come.",
        breaks: "HL-0024",
        roles: CLIENT,
        profiles: NATIVE,
        kinds: &[Kind::Said(|_, line| {
            let mut deeds = vec![Deed::Say(line.to_vec())];
            if line.starts_with(b"HOLD/") {
                deeds.push(Deed::Say(Vec::new()));
            }
            deeds
        })],
    },
    Defect {
        name: "takes-any-version",
        what: "It takes the hello of another version as one of its own.",
        breaks: "HL-0010",
        roles: SERVER,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|scene, line| match line.strip_prefix(b"HOLD/") {
            Some(rest) if !scene.link.is_greeted => {
                let blank = rest.iter().position(|&byte| byte == b' ').unwrap_or(rest.len());
                vec![Deed::Hear([b"HOLD/1", &rest[blank..]].concat())]
            }
            _ => vec![Deed::Hear(line.to_vec())],
        })],
    },
    Defect {
        name: "takes-seal-for-an-id",
        what: "It takes a first line that begins SEAL/ as a classic id.",
        breaks: "HL-0011",
        roles: SERVER,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|scene, line| match line.strip_prefix(b"SEAL/") {
            Some(rest) if !scene.link.is_greeted => vec![Deed::Hear([b"seal/", rest].concat())],
            _ => vec![Deed::Hear(line.to_vec())],
        })],
    },
    Defect {
        name: "welcomes-with-what-it-will-know",
        what: "It says in the welcome what it will know of the client's stream when the hello has taken effect.",
        breaks: "HL-0058",
        roles: SERVER,
        profiles: NATIVE,
        kinds: &[Kind::Said(|scene, line| {
            let hello = scene.link.current.clone();
            said(line, |line| match field(&hello, "epoch") {
                Some(epoch) if epoch != field(line, "peer").unwrap_or_default() => {
                    with(&with(line, "peer", epoch), "seen", number(&hello, "base"))
                }
                _ => line.to_vec(),
            })
        })],
    },
    Defect {
        name: "adopts-at-the-hello",
        what: "It takes up the client's stream when the hello comes, and does not wait for the line that confirms it.",
        breaks: "HL-0059",
        roles: SERVER,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|_, line| {
            let mut deeds = vec![Deed::Hear(line.to_vec())];
            if line.starts_with(b"HOLD/1 ") {
                deeds.push(Deed::Hear(Vec::new()));
            }
            deeds
        })],
    },
    Defect {
        name: "does-not-confirm",
        what: "It sends no blank line after the welcome.",
        breaks: "HL-0060",
        roles: CLIENT,
        profiles: NATIVE,
        kinds: &[Kind::Said(|scene, line| match line.is_empty() && scene.link.said == 1 {
            true => Vec::new(),
            false => vec![Deed::Say(line.to_vec())],
        })],
    },
    Defect {
        name: "says-no-reset",
        what: "It does not say why it closes a link on which its epoch or base has moved.",
        breaks: "HL-0069",
        roles: CLIENT,
        profiles: NATIVE,
        kinds: &[Kind::Said(|_, line| if line == b"Breset" { Vec::new() } else { vec![Deed::Say(line.to_vec())] })],
    },
    Defect {
        name: "ignores-base",
        what: "It does not look at how far the peer says that its stream is done with.",
        breaks: "HL-0071 HL-0072 HL-0073 HL-0159",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|_, line| heard(line, |line| with(line, "base", 0)))],
    },
    Defect {
        name: "swaps-the-policy",
        what: "It does the opposite of the policy that it was given for a peer that forgot.",
        breaks: "HL-0066 HL-0067",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Start(|settings| {
            let skips = settings.get("on_forgotten").is_some_and(|policy| policy == "skip");
            settings["on_forgotten"] = json!(if skips { "redeliver" } else { "skip" });
        })],
    },
    Defect {
        name: "forgets-on-any-silence-about-it",
        what: "It takes any `peer=0` for lost memory, also of a peer that never got as far as taking its stream up.",
        breaks: "HL-0068",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|scene, line| {
            heard(line, |line| with(line, "boot", number(line, "boot").wrapping_add(scene.past.links)))
        })],
    },
    Defect {
        name: "forgets-at-any-lower-seen",
        what: "It takes a peer that says less than it has acked as one that lost its memory, also when it has not restarted.",
        breaks: "HL-0065",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|scene, line| {
            heard(line, |line| with(line, "boot", number(line, "boot").wrapping_add(scene.past.links)))
        })],
    },
    Defect {
        name: "says-bsum-without-an-outbox",
        what: "It says a bsum, whether it keeps its outbox or not.",
        breaks: "HL-0075",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Said(|_, line| said(line, |line| add(line, "bsum", 1)))],
    },
    Defect {
        name: "says-sum-without-a-bsum",
        what: "It says a sum of a stream whose sender said no bsum.",
        breaks: "HL-0076",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Said(|_, line| said(line, |line| add(line, "sum", 1)))],
    },
    Defect {
        name: "confirms-by-a-blank-line-alone",
        what: "It takes a client's first line that is not blank for nothing.",
        breaks: "HL-0059",
        roles: SERVER,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|scene, line| match scene.link.heard == 1 && !line.is_empty() {
            true => Vec::new(),
            false => vec![Deed::Hear(line.to_vec())],
        })],
    },
    Defect {
        name: "loses-what-comes-with-the-welcome",
        what: "It drops what comes in the same segment as the welcome.",
        breaks: "HL-0061",
        roles: CLIENT,
        profiles: NATIVE,
        kinds: &[Kind::Bytes(|scene, bytes| match scene.link.is_greeted {
            true => bytes.to_vec(),
            false => bytes[..bytes.iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |at| at + 1)].to_vec(),
        })],
    },
];
