//! A run as lines of JSON.

use super::Recording;
use crate::stream::Direction;
use crate::trace::{Happened, Remark, Traced};
use serde_json::{Value, json};
use std::fmt::Write;

pub(super) fn lines(run: &Recording) -> String {
    let mut text = head(run).to_string();
    text.push('\n');
    for event in &run.events {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", line(event));
    }
    text
}

fn head(run: &Recording) -> Value {
    let account = run.outcome.account;
    json!({
        "story": run.story.name,
        "about": run.story.about.trim(),
        "profile": run.profile.name(),
        "seed": run.seed,
        "hash": format!("{:016x}", run.outcome.hash),
        "end_ms": run.end_ms,
        "nodes": run.names.iter().map(|(node, name)| json!({"node": node.0, "name": name})).collect::<Vec<_>>(),
        "outages": run.story.outages.iter().enumerate().map(|(number, entry)| {
            let mut outage = json!(entry);
            outage["number"] = number.into();
            outage
        }).collect::<Vec<_>>(),
        "account": {
            "sent": account.sent, "delivered": account.delivered, "lost": account.lost,
            "repeated": account.repeated, "reordered": account.reordered, "damaged": account.damaged,
        },
        "violations": run.outcome.violations,
    })
}

fn line(event: &Traced) -> Value {
    let mut line = match &event.what {
        Happened::Asked { stream, from, to } => json!({"what": "asked", "stream": stream.0, "from": from.0, "to": to.0}),
        Happened::Opened { stream, from, to } => json!({"what": "opened", "stream": stream.0, "from": from.0, "to": to.0}),
        Happened::Failed { stream, node, failure } => {
            json!({"what": "failed", "stream": stream.0, "node": node.0, "why": format!("{failure:?}")})
        }
        Happened::Written { stream, direction, bytes } => carried("written", stream.0, *direction, bytes),
        Happened::Arrived { stream, direction, bytes } => carried("arrived", stream.0, *direction, bytes),
        Happened::Noise { stream, direction, flipped, dropped } => {
            json!({"what": "noise", "stream": stream.0, "way": way(*direction), "flipped": flipped, "dropped": dropped})
        }
        Happened::Closed { stream, node } => json!({"what": "closed", "stream": stream.0, "node": node.0}),
        Happened::Power { node, on } => json!({"what": "power", "node": node.0, "on": on}),
        Happened::Remark { node, remark: Remark::Up } => json!({"what": "up", "node": node.0}),
        Happened::Remark { node, remark: Remark::Down(why) } => json!({"what": "down", "node": node.0, "why": why}),
        Happened::Outage { number, node, begins } => {
            json!({"what": "outage", "number": number, "node": node.0, "begins": begins})
        }
        Happened::Note { node, text } => json!({"what": "note", "node": node.0, "text": text}),
    };
    line["at_ms"] = event.at.as_millis().into();
    line
}

fn way(direction: Direction) -> &'static str {
    if direction.0 == 0 { "out" } else { "back" }
}

fn carried(what: &str, stream: u32, direction: Direction, bytes: &[u8]) -> Value {
    let mut line = json!({"what": what, "stream": stream, "way": way(direction), "length": bytes.len()});
    match std::str::from_utf8(bytes) {
        Ok(text) => line["text"] = text.into(),
        Err(_) => line["hex"] = bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}")).into(),
    }
    line
}
