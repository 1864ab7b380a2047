//! The page: what the viewer draws, as one JSON value beside it.

use super::Recording;
use super::frames::{Frame, Kind};
use crate::trace::{Happened, Remark, Traced};
use crate::world::NodeId;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const PAGE: &str = include_str!("viewer.html");
const STYLE: &str = include_str!("viewer.css");
const SCRIPT: [&str; 2] = [include_str!("viewer.js"), include_str!("viewer_input.js")];

/// How much of the quiet end is shown behind the last thing worth seeing.
const TAIL_MS: u64 = 5_000;
/// The most characters of a line that are shown.
const TEXT_MAX: usize = 300;

pub(super) fn page(run: &Recording) -> String {
    let name = escaped(&run.story.name);
    // The data last: nothing in it is taken for a mark of the page.
    PAGE.replace("{{title}}", &name)
        .replace("{{style}}", STYLE)
        .replace("{{script}}", &SCRIPT.concat())
        .replace("{{data}}", &in_script(&data(run).to_string()))
}

/// Text between tags.
fn escaped(text: &str) -> String {
    // A brace would be taken for a mark of the page.
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('{', "&#123;")
}

/// JSON inside a script element: no `<` that could end it.
fn in_script(json: &str) -> String {
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

fn data(run: &Recording) -> Value {
    let frames = run.frames();
    let lanes: BTreeMap<NodeId, usize> = run.names.iter().enumerate().map(|(lane, (node, _))| (*node, lane)).collect();
    let bars = bars(run, &lanes);
    let shown = shown_ms(run, &frames);
    let frames: Vec<&Frame> = frames.iter().take_while(|frame| frame.written_ms <= shown).collect();
    let outcome = &run.outcome;
    let account = outcome.account;
    let is_checked = run.story.setup(run.profile).server.get().check;
    json!({
        "story": run.story.name, "about": run.story.about.trim(), "seed": run.seed, "profile": run.profile.name(),
        "command": run.command, "hash": format!("{:016x}", outcome.hash),
        "storyMs": run.story.for_ms, "shownMs": shown, "endMs": run.end_ms,
        "sent": account.sent, "delivered": account.delivered, "lost": account.lost, "repeated": account.repeated,
        "reordered": account.reordered, "damaged": account.damaged, "checked": is_checked, "links": outcome.links, "pauseMs": outcome.longest_pause_ms, "bytesPerMessage": outcome.bytes_per_message(),
        "violations": outcome.violations, "holes": outcome.holes,
        "lanes": run.names.iter().map(|(_, name)| name).collect::<Vec<_>>(),
        "bars": bars,
        "outages": outages(run, &lanes),
        "frames": columns(&frames, &lanes),
    })
}

/// Until when the page shows the run: nothing but keepalives follows.
fn shown_ms(run: &Recording, frames: &[Frame]) -> u64 {
    let frames =
        frames.iter().filter(|frame| frame.kind != Kind::Keepalive).map(|frame| frame.arrived_ms.unwrap_or(frame.written_ms));
    let events = run.events.iter().filter(|event| !matches!(event.what, Happened::Written { .. } | Happened::Arrived { .. }));
    let last = frames.chain(events.map(|event| event.at.as_millis())).max().unwrap_or(0);
    (last.max(run.story.for_ms.into()) + TAIL_MS).min(run.end_ms)
}

/// The frames in columns, which are short in a page and quick in the viewer.
fn columns(frames: &[&Frame], lanes: &BTreeMap<NodeId, usize>) -> Value {
    let mut texts: Vec<String> = Vec::new();
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    let mut text = Vec::new();
    for frame in frames {
        let shown = shown(&frame.bytes);
        text.push(*known.entry(shown).or_insert_with_key(|shown| {
            texts.push(shown.clone());
            texts.len() - 1
        }));
    }
    let mut before = 0;
    let at = frames.iter().map(|frame| frame.written_ms - std::mem::replace(&mut before, frame.written_ms));
    let after = |frame: &&Frame| match frame.arrived_ms {
        Some(arrived) => (arrived - frame.written_ms) as i64,
        None if frame.under_way => -2,
        None => -1,
    };
    let partly = frames.iter().enumerate().filter(|(_, frame)| frame.arrived_ms.is_none() && frame.got > 0);
    let damaged = frames.iter().enumerate().filter_map(|(index, frame)| Some((index, frame.damage.as_ref()?)));
    let copies = frames.iter().enumerate().filter_map(|(index, frame)| Some((index, frame.repeats?)));
    json!({
        "at": at.collect::<Vec<_>>(),
        "after": frames.iter().map(after).collect::<Vec<_>>(),
        "lane": frames.iter().map(|frame| lanes.get(&frame.opener).copied().unwrap_or(0)).collect::<Vec<_>>(),
        "way": frames.iter().map(|frame| frame.direction.0).collect::<Vec<_>>(),
        "kind": frames.iter().map(|frame| frame.kind as u8).collect::<Vec<_>>(),
        "stream": frames.iter().map(|frame| frame.stream.0).collect::<Vec<_>>(),
        "text": text,
        "texts": texts,
        "partly": partly.map(|(index, frame)| [index, frame.got, frame.bytes.len() + 1]).collect::<Vec<_>>(),
        "damaged": damaged.map(|(index, damage)| json!([index, damage.flipped, damage.dropped, shown(&damage.read)])).collect::<Vec<_>>(),
        "copies": copies.collect::<Vec<_>>(),
    })
}

/// Bytes as a person reads them: what is no text is spelled in hex.
fn shown(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            if letter.is_control() { text.extend(letter.escape_default()) } else { text.push(letter) }
        }
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    match text.char_indices().nth(TEXT_MAX) {
        Some((cut, _)) => format!("{}… ({} bytes)", &text[..cut], bytes.len()),
        None => text,
    }
}

/// By outage: its words, and for whom it lasted from when to when.
fn outages(run: &Recording, lanes: &BTreeMap<NodeId, usize>) -> Vec<Value> {
    let mut spans: BTreeMap<u32, Vec<(usize, u64, Option<u64>)>> = BTreeMap::new();
    for Traced { at, what } in &run.events {
        let Happened::Outage { number, node, begins } = what else { continue };
        let (Some(&lane), spans) = (lanes.get(node), spans.entry(*number).or_default()) else { continue };
        if *begins {
            spans.push((lane, at.as_millis(), None));
        } else if let Some(span) = spans.iter_mut().find(|span| span.0 == lane && span.2.is_none()) {
            span.2 = Some(at.as_millis());
        }
    }
    let entries = run.story.outages.iter().enumerate();
    let of = |(number, entry): (usize, &crate::scenario::Entry)| {
        let spans = spans.remove(&(number as u32)).unwrap_or_default();
        // One that waits for a count begins when it is reached, or never.
        let from_ms = spans.iter().map(|span| span.1).min().or(entry.when.is_none().then(|| entry.at_ms.into()));
        let spans: Vec<_> = spans.into_iter().map(|(lane, from, to)| json!([lane, from, to.unwrap_or(run.end_ms)])).collect();
        let words = toml::to_string(&entry.outage).unwrap_or_default();
        let mut words: Vec<String> = words.lines().filter(|line| !line.starts_with("do = ")).map(str::to_owned).collect();
        words.extend(entry.when.map(|when| format!("when {when}")));
        json!({
            "name": entry.outage.name(), "words": words.join(", "), "spans": spans,
            "whom": match entry.device {
                _ if entry.outage.is_servers() => run.name(run.server).to_owned(),
                Some(device) => format!("device-{device}"),
                None => "every device".to_owned(),
            },
            "atMs": from_ms, "forMs": entry.for_ms,
        })
    };
    entries.map(of).collect()
}

/// What a device's bar shows, by its number in the viewer.
#[derive(Clone, Copy, Debug)]
enum State {
    Connecting,
    Greeting,
    Up,
    Off,
}

/// By lane: from when to when it was in which state, and how that ended.
fn bars(run: &Recording, lanes: &BTreeMap<NodeId, usize>) -> Vec<Vec<Value>> {
    let mut bars = vec![Vec::new(); run.names.len()];
    let mut now: Vec<Option<(u64, State)>> = vec![None; run.names.len()];
    let mut change = |at: u64, node: &NodeId, to: Option<State>, why: &str| {
        let Some(&lane) = lanes.get(node) else { return };
        if let Some((since, state)) = now[lane].take() {
            bars[lane].push(json!([since, at, state as u8, why]));
        }
        now[lane] = to.map(|state| (at, state));
    };
    for Traced { at, what } in &run.events {
        let at = at.as_millis();
        match what {
            Happened::Asked { from, .. } => change(at, from, Some(State::Connecting), ""),
            Happened::Failed { node, failure, .. } => change(at, node, None, &format!("{failure:?}")),
            Happened::Opened { from, .. } => change(at, from, Some(State::Greeting), ""),
            Happened::Remark { node, remark: Remark::Up } => change(at, node, Some(State::Up), ""),
            Happened::Remark { node, remark: Remark::Down(why) } => change(at, node, None, why),
            Happened::Power { node, on: false } => change(at, node, Some(State::Off), "power lost"),
            Happened::Power { node, on: true } => change(at, node, None, ""),
            _ => {}
        }
    }
    for (node, _) in &run.names {
        change(run.end_ms, node, None, "");
    }
    bars
}
