//! JUnit XML, TAP and JSON.

use super::Tally;
use crate::play::Verdict;
use crate::run::{Claims, Done, Standing};
use crate::specification::Specification;
use serde_json::{Value as Json, json as object};
use std::fmt::Write as _;

/// JUnit XML: one suite for each chapter.
pub fn junit(done: &[Done], specification: &Specification) -> String {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"holdline-conformance\">\n");
    let mut chapters: Vec<&str> = done.iter().map(|one| one.case.chapter.as_str()).collect();
    chapters.dedup();
    for chapter in chapters {
        let of: Vec<&Done> = done.iter().filter(|one| one.case.chapter == chapter).collect();
        let failures = of.iter().filter(|one| one.standing == Standing::Bad).count();
        let skipped = of.iter().filter(|one| is_skipped(one)).count();
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" skipped=\"{skipped}\">",
            escape(chapter),
            of.len()
        );
        for one in of {
            let seconds = one.outcome.took_ms as f64 / 1000.0;
            let (class, id) = (format!("{}.{}", one.case.profile, one.case.role), escape(&one.case.id));
            let _ = write!(text, "    <testcase classname=\"{class}\" name=\"{id}\" time=\"{seconds:.3}\"");
            let reason = escape(one.outcome.verdict.reason());
            if one.standing == Standing::Bad {
                let kind = one.outcome.verdict.word();
                let story = escape(&super::story(one, specification));
                let _ = writeln!(text, "><failure type=\"{kind}\" message=\"{reason}\">{story}</failure></testcase>");
            } else if is_skipped(one) {
                let _ = writeln!(text, "><skipped message=\"{reason}\"/></testcase>");
            } else {
                text.push_str("/>\n");
            }
        }
        text.push_str("  </testsuite>\n");
    }
    text.push_str("</testsuites>\n");
    text
}

/// What counts as skipped where there are but three verdicts: what did not apply, and what is known to fail.
fn is_skipped(done: &Done) -> bool {
    let is_good = matches!(done.standing, Standing::Good | Standing::Stale);
    matches!(done.outcome.verdict, Verdict::Skipped(_) | Verdict::Unimplemented(_))
        || !(is_good || done.standing == Standing::Bad)
}

/// Text in XML: what XML cannot hold becomes a question mark.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(c),
            c if c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}') => escaped.push('?'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// TAP, version 13.
pub fn tap(done: &[Done]) -> String {
    let mut text = format!("TAP version 13\n1..{}\n", done.len());
    for (index, one) in done.iter().enumerate() {
        let verdict = &one.outcome.verdict;
        let ok = if matches!(verdict, Verdict::Pass | Verdict::Skipped(_) | Verdict::Unimplemented(_)) { "ok" } else { "not ok" };
        let reason = verdict.reason().replace(['\n', '#'], " ");
        let directive = match (verdict, one.standing) {
            (Verdict::Skipped(_) | Verdict::Unimplemented(_), _) => format!(" # SKIP {reason}"),
            (_, Standing::Known | Standing::Flaky | Standing::Deviates) => format!(" # TODO {}: {reason}", one.standing.word()),
            _ => String::new(),
        };
        // Writing to a string does not fail.
        let _ = writeln!(text, "{ok} {} - {}{directive}", index + 1, one.case.id);
        if ok != "ok" {
            let _ = writeln!(text, "  ---\n  verdict: {}\n  reason: {}\n  ...", verdict.word(), Json::String(reason));
        }
    }
    text
}

/// Everything, for programs.
pub fn json(done: &[Done], claims: &Claims) -> Json {
    let cases: Vec<Json> = done.iter().map(one).collect();
    let tally = Tally::of(done);
    object!({
        "format": 1,
        "subject": {"name": claims.name, "version": claims.version},
        "tally": tally.verdicts,
        "exit": tally.exit_code(),
        "cases": cases,
    })
}

fn one(done: &Done) -> Json {
    let verdict = &done.outcome.verdict;
    let requirements: Vec<String> = done.case.requirements.iter().map(ToString::to_string).collect();
    let mut one = object!({
        "id": done.case.id,
        "title": done.case.title,
        "chapter": done.case.chapter,
        "requirements": requirements,
        "level": done.case.level.to_string(),
        "role": done.case.role.word(),
        "profile": done.case.profile.word(),
        "mode": done.case.mode.word(),
        "verdict": verdict.word(),
        "standing": done.standing.word(),
        "reason": verdict.reason(),
        "took_ms": done.outcome.took_ms,
    });
    if !matches!(verdict, Verdict::Pass | Verdict::Skipped(_) | Verdict::Unimplemented(_)) {
        let entries = &done.outcome.transcript.entries;
        let origin = entries.first().map_or(0, |entry| entry.at);
        let lines: Vec<String> = entries.iter().map(|entry| entry.shown_since(origin)).collect();
        one["transcript"] = object!(lines);
        if let Verdict::Fail(failure) = verdict {
            one["step"] = object!(failure.step);
            one["offending"] = object!(failure.line);
        }
    }
    one
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn nothing_that_a_peer_said_breaks_the_xml() {
        assert_eq!(escape("<a b=\"c\">&\u{0}\u{1b}[0m\n"), "&lt;a b=&quot;c&quot;&gt;&amp;??[0m\n");
    }
}
