//! The log: what happened to whom, in a sentence for people or in fields for programs.

use super::quantity::Readable;
use holdline_server::proto::{ByeCode, DownReason, Event};
use holdline_server::{Profile, Report, What};
use std::fmt;
use std::io::IsTerminal;
use std::time::Duration;
use tracing_subscriber::EnvFilter;

/// Writes log events to standard error from now on; `RUST_LOG` says which, `info` by default.
pub(super) fn start(json: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    if json {
        log.json().flatten_event(true).init();
    } else {
        log.with_ansi(colours).init();
    }
}

/// What a peer sent, with everything escaped that could do more to a terminal than be read.
// HL-0158
pub(super) struct Shown<'t>(pub(super) &'t str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.chars() {
            match char {
                '\'' | '"' => fmt::Write::write_char(f, char)?,
                _ => char.escape_debug().fmt(f)?,
            }
        }
        Ok(())
    }
}

/// What is worth telling about a report.
#[derive(Debug, Default)]
struct Entry {
    event: &'static str,
    sentence: String,
    /// Whether somebody should look.
    warn: bool,
    reason: Option<String>,
    after: Option<Duration>,
    /// Numbers of messages.
    range: Option<(u64, u64)>,
}

impl Entry {
    fn new(event: &'static str, sentence: impl Into<String>) -> Self {
        Self { event, sentence: sentence.into(), ..Self::default() }
    }

    fn warn(event: &'static str, sentence: impl Into<String>) -> Self {
        Self { warn: true, ..Self::new(event, sentence) }
    }

    fn reason(self, reason: impl fmt::Display) -> Self {
        Self { reason: Some(reason.to_string()), ..self }
    }
}

/// Logs a report of a server.
pub(super) fn report(report: &Report, profile: Option<Profile>, json: bool) {
    let Some(entry) = entry(&report.what, profile) else { return };
    let Entry { event, sentence, warn, reason, after, range } = entry;
    if !json {
        let client = Shown(&report.client);
        if warn {
            tracing::warn!("{client}: {sentence}")
        } else {
            tracing::info!("{client}: {sentence}")
        }
        return;
    }
    let (client, profile) = (&*report.client, profile.map(|profile| profile.to_string()));
    let after_ms = after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
    let (from, to) = range.unzip();
    // A macro for each level: it is part of the call site.
    if warn {
        tracing::warn!(client, event, profile, reason, after_ms, from, to, "{sentence}");
    } else {
        tracing::info!(client, event, profile, reason, after_ms, from, to, "{sentence}");
    }
}

fn entry(what: &What, profile: Option<Profile>) -> Option<Entry> {
    let profile = profile.map_or_else(String::new, |profile| format!(" ({profile})"));
    Some(match what {
        What::Connected => Entry::new("connected", format!("connected for the first time{profile}")),
        What::Resumed { after } => {
            Entry { after: Some(*after), ..Entry::new("resumed", format!("resumed after {}{profile}", Readable(*after))) }
        }
        // Told before, by the report that says more.
        What::Outage(DownReason::Takeover | DownReason::Fault(_)) => return None,
        What::Outage(reason @ (DownReason::Closed | DownReason::Bye { code: ByeCode::Done | ByeCode::Reset, .. })) => {
            Entry::new("left", format!("left: {reason}")).reason(reason)
        }
        What::Outage(reason) => Entry::warn("outage", format!("outage: {reason}")).reason(reason),
        What::Takeover => Entry::new("takeover", "a newer connection of it takes over; the old one had not ended"),
        What::Duplicate => Entry::warn("duplicate", "turned away: two devices use this name in turns"),
        What::Unknown { refused: true } => Entry::warn("unknown", "turned away: it is not expected here"),
        What::Unknown { refused: false } => Entry::warn("unknown", "it is not expected here, and served all the same"),
        What::WrongCheck { checked: true } => Entry::warn(
            "wrong-check",
            "not answered: its lines carry no checks, and it came to the address of --listen-checked; it belongs to that of --listen",
        )
        .reason("unchecked"),
        What::WrongCheck { checked: false } => Entry::warn(
            "wrong-check",
            "turned away: its lines carry checks, and it came to the address of --listen; it belongs to that of --listen-checked",
        )
        .reason("checked"),
        What::Fault(fault) => Entry::warn("fault", format!("outage: it broke the protocol: {fault}")).reason(fault.code()),
        What::Session(event) => return session_entry(event),
        _ => return None,
    })
}

/// What an event of a session means, said of the peer as "it".
pub(super) fn sentence(event: &Event) -> Option<String> {
    session_entry(event).map(|entry| entry.sentence)
}

fn session_entry(event: &Event) -> Option<Entry> {
    let ranged = |from, to, entry: Entry| Some(Entry { range: Some((from, to)), ..entry });
    match *event {
        Event::PeerReset => Some(Entry::new("peer-reset", "it has restarted without memory of what it sent before")),
        Event::LostIncoming { from, to } => ranged(
            from,
            to,
            Entry::warn(
                "lost",
                format!("its messages {from} to {to} are gone: it has dropped them, or they are older than our memory"),
            ),
        ),
        Event::LostOutgoing { from, to } => ranged(
            from,
            to,
            Entry::warn("lost", format!("it has lost the memory of our messages {from} to {to}, which it had accepted")),
        ),
        Event::PeerForgot { from, to, dropped } => {
            let then = if dropped { "dropped, as the policy says" } else { "they are sent again, and some may arrive twice" };
            // An empty range: there was nothing to lose.
            let warn = from <= to;
            let sentence = match warn {
                true => format!("it has forgotten the session; messages {from} to {to} were not acknowledged: {then}"),
                false => "it has forgotten the session; nothing was unacknowledged".into(),
            };
            ranged(from, to, Entry { warn, ..Entry::new("peer-forgot", sentence) })
        }
        Event::OwnReset { dropped } => Some(Entry::warn(
            "own-reset",
            format!(
                "it remembers more than this side: messages are numbered anew, some may arrive twice, {dropped} were dropped"
            ),
        )),
        Event::Blocked { seq, len, max } => ranged(
            seq,
            seq,
            Entry::warn(
                "blocked",
                format!("message {seq} of {len} bytes is longer than the {max} it takes: it and all behind it wait"),
            ),
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_sent_cannot_steer_a_terminal() {
        // HL-0158
        let shown = |text: &str| Shown(text).to_string();
        assert_eq!(shown("door 1 \"süd\""), "door 1 \"süd\"");
        assert_eq!(shown("a\x1b[2Jb\r\n\u{202e}c\\"), "a\\u{1b}[2Jb\\r\\n\\u{202e}c\\\\");
    }
}
