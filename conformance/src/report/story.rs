//! One case for a person: what was wrong, what was said, which requirement stands against it.

use crate::play::Verdict;
use crate::run::Done;
use crate::specification::Specification;
use std::fmt::Write as _;

/// How many lines of a transcript stand before the offending one, at most.
const BEFORE: usize = 40;
/// And after it.
const AFTER: usize = 6;

/// A case that did not pass, as text.
pub fn story(done: &Done, specification: &Specification) -> String {
    let mut text = String::new();
    let verdict = &done.outcome.verdict;
    // Writing to a string does not fail.
    let _ = writeln!(text, "{} {}", verdict.word().to_uppercase(), done.case.id);
    let _ = writeln!(text, "  {}", done.case.title);
    let (step, offending) = match verdict {
        Verdict::Fail(failure) => (Some(failure.step), failure.line),
        _ => (None, None),
    };
    let at = step.map(|step| format!("step {step}: ")).unwrap_or_default();
    let _ = writeln!(text, "  {at}{}", verdict.reason());
    if let Some(why) = step.and_then(|step| done.case.steps.get(step - 1)).and_then(|step| step.why.as_deref()) {
        let _ = writeln!(text, "  ({why})");
    }
    for &id in &done.case.requirements {
        if let Some(passage) = specification.passage(id) {
            let _ = writeln!(text, "  {id} (section {}): {}", passage.section, passage.text);
        }
    }
    if let Verdict::Pass | Verdict::Skipped(_) | Verdict::Unimplemented(_) = verdict {
        return text;
    }
    let entries = &done.outcome.transcript.entries;
    let origin = entries.first().map_or(0, |entry| entry.at);
    let middle = offending.unwrap_or(entries.len().saturating_sub(1));
    let from = middle.saturating_sub(BEFORE);
    if from > 0 {
        let _ = writeln!(text, "       … {from} lines before");
    }
    for (index, entry) in entries.iter().enumerate().skip(from).take(BEFORE + AFTER + 1) {
        let mark = if offending == Some(index) { "=>" } else { "  " };
        let _ = writeln!(text, "  {mark} {}", entry.shown_since(origin));
    }
    text
}
