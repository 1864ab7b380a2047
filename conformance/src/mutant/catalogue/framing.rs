//! Defects of framing and of what is configured.

use super::super::defect::{Deed, Defect, Kind};
use super::super::scene::{message, seal};
use super::{ALL, BOTH, NATIVE};
use serde_json::{Value as Json, json};

pub(super) static DEFECTS: &[Defect] = &[
    Defect {
        name: "cr-ends-a-line",
        what: "It takes a CR for the end of a line, too.",
        breaks: "HL-0001",
        roles: BOTH,
        profiles: ALL,
        kinds: &[Kind::Bytes(|_, bytes| bytes.iter().map(|&byte| if byte == b'\r' { b'\n' } else { byte }).collect())],
    },
    Defect {
        name: "segment-ends-a-line",
        what: "It takes the end of a segment for the end of a line.",
        breaks: "HL-0002",
        roles: BOTH,
        profiles: ALL,
        kinds: &[Kind::Bytes(|_, bytes| if bytes.ends_with(b"\n") { bytes.to_vec() } else { [bytes, b"\n"].concat() })],
    },
    Defect {
        name: "one-line-a-segment",
        what: "It reads the first line of a segment, and drops the others.",
        breaks: "HL-0002",
        roles: BOTH,
        profiles: ALL,
        kinds: &[Kind::Bytes(|_, bytes| {
            let end = bytes.iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |at| at + 1);
            bytes[..end].to_vec()
        })],
    },
    Defect {
        name: "strips-leading-lf",
        what: "It strips LFs from the beginning of a segment, so that two lines can become one (as the original server).",
        breaks: "HL-0002 HL-0001",
        roles: BOTH,
        profiles: ALL,
        kinds: &[Kind::Bytes(|scene, bytes| {
            let first = bytes.iter().position(|&byte| byte != b'\n').unwrap_or(bytes.len());
            bytes[if scene.link.partial.is_empty() { 0 } else { first }..].to_vec()
        })],
    },
    Defect {
        name: "glues-tails",
        what: "It joins the unfinished line of an old link to the first line of the next one (as the original).",
        breaks: "HL-0003",
        roles: BOTH,
        profiles: ALL,
        kinds: &[Kind::Heard(|scene, line| {
            let is_first = scene.link.is_greeted && !line.is_empty() && !line.starts_with(b"HOLD/");
            let tail = if is_first { std::mem::take(&mut scene.past.tail) } else { Vec::new() };
            vec![Deed::Hear([&tail[..], line].concat())]
        })],
    },
    Defect {
        name: "sends-old-tails",
        what: "It begins a new link with the rest of what it was writing on the old one (as the original).",
        breaks: "HL-0004",
        roles: BOTH,
        profiles: ALL,
        kinds: &[Kind::Said(|scene, line| {
            let rest = scene.past.last_line.get(scene.past.last_line.len() / 2..).unwrap_or_default().to_vec();
            match scene.link.said == 0 && scene.past.links > 1 && !rest.is_empty() {
                true => vec![Deed::SayBytes(seal(&rest, false)), Deed::Say(line.to_vec())],
                false => vec![Deed::Say(line.to_vec())],
            }
        })],
    },
    Defect {
        name: "writes-crlf",
        what: "It ends its lines in CR LF.",
        breaks: "HL-0004",
        roles: BOTH,
        profiles: ALL,
        kinds: &[Kind::Said(|_, line| vec![Deed::SayBytes([line, b"\r\n"].concat())])],
    },
    Defect {
        name: "delivers-keepalives",
        what: "It gives a blank line to the application as a text.",
        breaks: "HL-0005",
        roles: BOTH,
        profiles: ALL,
        kinds: &[Kind::Heard(|scene, line| {
            let mut deeds = vec![Deed::Hear(line.to_vec())];
            if line.is_empty() && scene.link.is_greeted && scene.link.heard > 1 {
                deeds.push(Deed::Deliver(String::new()));
            }
            deeds
        })],
    },
    Defect {
        name: "crashes-on-a-long-line",
        what: "Its program ends when a line is longer than it can take.",
        breaks: "HL-0144 HL-0145 HL-0112 HL-0031",
        roles: BOTH,
        profiles: ALL,
        kinds: &[Kind::Alarm(
            |setup, link| (link.partial.len() as u64 > setup.max.min(512)).then_some(0),
            |_, _| vec![Deed::Crash],
        )],
    },
    Defect {
        name: "mends-texts",
        what: "It sends a text that can be no line with its LFs and NULs made blanks, and says that all is well.",
        breaks: "HL-0007",
        roles: BOTH,
        profiles: ALL,
        kinds: &[Kind::Ask(|request| {
            if let Some(text) = request.get("text").and_then(Json::as_str) {
                request["text"] = json!(text.replace(['\n', '\0'], " "));
            }
        })],
    },
    Defect {
        name: "cuts-texts",
        what: "It cuts a text that is too long to the length that it can send, and says that all is well.",
        breaks: "HL-0007",
        roles: BOTH,
        profiles: ALL,
        kinds: &[Kind::Answer(|_, answer| {
            if answer.get("error").is_some_and(|error| error == "too-long") {
                *answer = json!({"ok": true});
            }
            Vec::new()
        })],
    },
    Defect {
        name: "takes-any-settings",
        what: "It starts with settings that are out of range.",
        breaks: "HL-0008",
        roles: BOTH,
        profiles: ALL,
        kinds: &[Kind::Answer(|request, answer| {
            if request.get("do").is_some_and(|verb| verb == "start") {
                *answer = json!({"ok": true});
            }
            Vec::new()
        })],
    },
    Defect {
        name: "reads-mended-lines",
        what: "It reads NULs and bytes that are not UTF-8 as question marks.",
        breaks: "HL-0146 HL-0147 HL-0031",
        roles: BOTH,
        profiles: ALL,
        kinds: &[Kind::Heard(|_, line| {
            vec![Deed::Hear(String::from_utf8_lossy(line).replace(['\0', '\u{fffd}'], "?").into_bytes())]
        })],
    },
    Defect {
        name: "takes-longer-lines",
        what: "It takes lines that are longer than the max that it has said.",
        breaks: "HL-0145 HL-0031 HL-0006",
        roles: BOTH,
        profiles: ALL,
        kinds: &[
            Kind::Start(|settings| settings["max"] = json!(1_048_576)),
            Kind::Said(|scene, line| vec![Deed::Say(super::super::scene::with(line, "max", scene.setup.max))]),
        ],
    },
    Defect {
        name: "ignores-unknown-frames",
        what: "It passes over a line that begins with no letter that it knows.",
        breaks: "HL-0148",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|scene, line| match line.first() {
            Some(first) if scene.link.is_greeted && !b"MDARPBH".contains(first) => Vec::new(),
            _ => vec![Deed::Hear(line.to_vec())],
        })],
    },
    Defect {
        name: "reads-numbers-leniently",
        what: "It reads a number with a sign or leading zeros.",
        breaks: "HL-0149",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|scene, line| match line.split_first() {
            Some((letter, rest)) if scene.link.is_greeted && b"MARP".contains(letter) => {
                let zeros = rest.iter().position(|byte| !b"+0".contains(byte)).unwrap_or(rest.len());
                let zeros = if rest.get(zeros).is_some_and(u8::is_ascii_digit) { zeros } else { zeros.saturating_sub(1) };
                vec![Deed::Hear([&[*letter], &rest[zeros..]].concat())]
            }
            _ => vec![Deed::Hear(line.to_vec())],
        })],
    },
    Defect {
        name: "delivers-what-is-a-fault",
        what: "It takes a faulty line for a fault, and delivers its text all the same.",
        breaks: "HL-0143",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|scene, line| {
            let broken = line.contains(&0) || std::str::from_utf8(line).is_err();
            let mut deeds = vec![Deed::Hear(line.to_vec())];
            if let Some((_, text)) = message(line).filter(|_| scene.link.is_greeted && broken) {
                deeds.insert(0, Deed::Deliver(String::from_utf8_lossy(text).into_owned()));
            }
            deeds
        })],
    },
    Defect {
        name: "crashes-on-a-huge-number",
        what: "Its program ends when a number has more digits than it can hold.",
        breaks: "HL-0144",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|scene, line| {
            let digits = line.iter().skip(1).take_while(|byte| byte.is_ascii_digit()).count();
            match scene.link.is_greeted && b"MARP".contains(line.first().unwrap_or(&0)) && digits > 20 {
                true => vec![Deed::Crash],
                false => vec![Deed::Hear(line.to_vec())],
            }
        })],
    },
    Defect {
        name: "one-bad-first-line-ends-all",
        what: "Its program ends when a first line is no text.",
        breaks: "HL-0144 HL-0119",
        roles: super::SERVER,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|scene, line| {
            let is_text = std::str::from_utf8(line).is_ok_and(|line| !line.contains('\0'));
            if scene.link.is_greeted || is_text { vec![Deed::Hear(line.to_vec())] } else { vec![Deed::Crash] }
        })],
    },
    Defect {
        name: "trims-lines",
        what: "It takes blanks and tabs off the end of a line.",
        breaks: "HL-0001",
        roles: BOTH,
        profiles: ALL,
        kinds: &[Kind::Heard(|scene, line| match scene.link.is_greeted && !line.starts_with(b"HOLD/") {
            true => vec![Deed::Hear(line.trim_ascii_end().to_vec())],
            false => vec![Deed::Hear(line.to_vec())],
        })],
    },
    Defect {
        name: "takes-no-settings-at-the-ends",
        what: "It takes the smallest and the largest values of its settings as out of range.",
        breaks: "HL-0008",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Answer(|request, answer| {
            let is_end = [("timeout_ms", [200, 3_600_000]), ("window", [1, 65_535]), ("max", [128, 1_048_576])]
                .iter()
                .any(|(key, ends)| request.get(key).and_then(Json::as_u64).is_some_and(|value| ends.contains(&value)));
            if is_end && request.get("do").is_some_and(|verb| verb == "start") {
                *answer = json!({"ok": false, "error": "failed", "why": "a setting is out of range"});
            }
            Vec::new()
        })],
    },
    Defect {
        name: "ignores-greetings-mid-link",
        what: "It passes over a line that begins HOLD/ in the middle of a link.",
        breaks: "HL-0153",
        roles: BOTH,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|scene, line| match scene.link.is_greeted && !scene.setup.check && line.starts_with(b"HOLD/") {
            true => Vec::new(),
            false => vec![Deed::Hear(line.to_vec())],
        })],
    },
];
