//! Defects of when a classic endpoint writes, and of how much.

use super::super::defect::{Deed, Defect, Kind};
use super::{BOTH, CLASSIC, CLIENT, V2019, V2020};
use serde_json::{Value as Json, json};

pub(super) static DEFECTS: &[Defect] = &[
    Defect {
        name: "writes-lines-of-any-length",
        what: "It sends a line that is longer than the original server reads at once.",
        breaks: "HL-0032",
        roles: CLIENT,
        profiles: CLASSIC,
        kinds: &[Kind::Answer(|request, answer| {
            let text = request.get("text").and_then(Json::as_str).unwrap_or_default();
            if answer.get("error").is_none_or(|error| error != "too-long") {
                return Vec::new();
            }
            *answer = json!({"ok": true});
            vec![Deed::SayBytes(format!("00{text}\n").into_bytes())]
        })],
    },
    Defect {
        name: "waits-for-a-whole-line",
        what: "It does not speak before it has received a whole line.",
        breaks: "HL-0048",
        roles: CLIENT,
        profiles: V2020,
        kinds: &[Kind::WholeLines],
    },
    Defect {
        name: "waits-2t-for-delivery",
        what: "It counts a message as delivered after 2T.",
        breaks: "HL-0054",
        roles: BOTH,
        profiles: V2019,
        kinds: &[Kind::SlowClock],
    },
];
