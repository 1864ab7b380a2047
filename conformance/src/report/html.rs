//! One self-contained page: requirements against cases, and the transcript of each failure.

use super::machine::escape;
use super::{Coverage, Tally};
use crate::play::Verdict;
use crate::run::{Claims, Done};
use std::collections::BTreeMap;
use std::fmt::Write as _;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// Where the text of a requirement can be read.
const SPEC: &str = "SPEC.md";

/// The page of a run; without a run, that of the coverage alone.
pub fn page(title: &str, coverage: &Coverage, run: Option<(&[Done], &Claims)>) -> String {
    let mut by_family: BTreeMap<&str, Vec<&Done>> = BTreeMap::new();
    for one in run.iter().flat_map(|(done, _)| done.iter()) {
        by_family.entry(&one.case.family).or_default().push(one);
    }
    let mut body = String::new();
    // Writing to a string does not fail.
    let _ = write!(body, "<h1>{}</h1>", escape(title));
    match run {
        Some((done, claims)) => {
            let tally = Tally::of(done);
            let subject = format!("{} {}", claims.name, claims.version);
            let _ = write!(body, "<p class=sum>{}{}</p>", subject_line(&subject), escape(&tally.words()));
        }
        None => {
            let cases: usize = coverage.rows.iter().filter(|row| !row.cases.is_empty()).count();
            let exempt = coverage.rows.iter().filter(|row| row.exempt.is_some()).count();
            let total = coverage.rows.len();
            let _ =
                write!(body, "<p class=sum>{total} requirements: {cases} have cases, {exempt} cannot have one and say why</p>");
        }
    }
    body.push_str(TOOLS);
    body.push_str("<main>");
    for row in &coverage.rows {
        let mut verdicts: Vec<&str> = Vec::new();
        for family in row.cases.keys() {
            verdicts.extend(by_family.get(family.as_str()).into_iter().flatten().map(|one| one.outcome.verdict.word()));
        }
        let state = state(&verdicts, run.is_some(), row.cases.is_empty(), row.exempt.is_some());
        let level = row.level.to_string();
        let _ = write!(
            body,
            "<details class=\"req {state}\" data-level=\"{level}\" data-state=\"{state}\" id=\"{id}\"><summary><b>{id}</b> \
             <i>{level}</i> <span>{what}</span> <em>{mark}</em></summary>",
            id = row.id,
            what = markdown(&row.what),
            mark = mark(&verdicts, row.cases.values().sum(), state),
        );
        let _ = write!(
            body,
            "<blockquote>{}</blockquote><p class=at>{} · section {}</p>",
            markdown(&row.text),
            format_args!("<a href=\"{SPEC}\">SPEC.md</a>"),
            escape(&row.section)
        );
        if let Some(why) = &row.exempt {
            let _ = write!(body, "<p>No case: {}</p>", escape(why));
        }
        list(&mut body, "code", row.code.iter());
        list(&mut body, "tests", row.tests.iter());
        body.push_str("<ul class=cases>");
        for (family, count) in &row.cases {
            match by_family.get(family.as_str()) {
                Some(all) => all.iter().for_each(|one| case(&mut body, one)),
                None => {
                    let of = if *count > 1 { format!(" <small>({count} cases)</small>") } else { String::new() };
                    let _ = write!(body, "<li>{}{of}</li>", escape(family));
                }
            }
        }
        body.push_str("</ul></details>");
    }
    body.push_str("</main>");
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>{}</title><style>{STYLE}</style><body>{body}<script>{SCRIPT}</script>",
        escape(title)
    )
}

/// As much of Markdown as the requirements use: code.
fn markdown(text: &str) -> String {
    let parts = text.split('`').enumerate();
    parts.map(|(index, part)| if index % 2 == 1 { format!("<code>{}</code>", escape(part)) } else { escape(part) }).collect()
}

const TOOLS: &str = "<form id=tools><input id=find type=search placeholder=\"search: HL-0042, ack, framing-003 …\" autofocus>\
<label><input type=checkbox name=level value=MUST checked>MUST</label>\
<label><input type=checkbox name=level value=SHOULD checked>SHOULD</label>\
<label><input type=checkbox name=level value=MAY checked>MAY</label>\
<select id=state><option value=\"\">all</option><option value=bad>failing</option><option value=good>passing</option>\
<option value=none>not checked</option><option value=exempt>cannot be checked</option></select><output id=shown></output></form>";

fn subject_line(subject: &str) -> String {
    if subject.trim().is_empty() { String::new() } else { format!("<b>{}</b>: ", escape(subject.trim())) }
}

fn state(verdicts: &[&str], has_run: bool, has_no_case: bool, is_exempt: bool) -> &'static str {
    let applied = |word: &&&str| !matches!(**word, "skipped" | "unimplemented");
    match () {
        () if is_exempt => "exempt",
        () if has_no_case => "none",
        () if !has_run => "good",
        () if verdicts.iter().filter(applied).count() == 0 => "none",
        () if verdicts.iter().filter(applied).all(|word| *word == "pass") => "good",
        () => "bad",
    }
}

fn mark(verdicts: &[&str], cases: usize, state: &str) -> String {
    if verdicts.is_empty() {
        return match state {
            "exempt" => "cannot be checked".to_owned(),
            _ if cases == 0 => "no case".to_owned(),
            _ => format!("{cases} cases"),
        };
    }
    let passed = verdicts.iter().filter(|word| **word == "pass").count();
    format!("{passed} of {} pass", verdicts.len())
}

fn list<'n>(body: &mut String, what: &str, names: impl Iterator<Item = &'n String>) {
    let names: Vec<String> = names.map(|name| format!("<code>{}</code>", escape(name))).collect();
    if !names.is_empty() {
        let _ = write!(body, "<p class=at>{what}: {}</p>", names.join(" "));
    }
}

fn case(body: &mut String, one: &Done) {
    let word = one.outcome.verdict.word();
    let (id, title, reason) = (escape(&one.case.id), escape(&one.case.title), escape(one.outcome.verdict.reason()));
    let _ = write!(body, "<li class={word}><code>{id}</code> <b>{word}</b> {title}");
    if !reason.is_empty() {
        let _ = write!(body, "<br><span class=why>{reason}</span>");
    }
    let entries = &one.outcome.transcript.entries;
    if !matches!(one.outcome.verdict, Verdict::Pass | Verdict::Skipped(_) | Verdict::Unimplemented(_)) && !entries.is_empty() {
        let offending = if let Verdict::Fail(failure) = &one.outcome.verdict { failure.line } else { None };
        let origin = entries.first().map_or(0, |entry| entry.at);
        body.push_str("<pre>");
        for (index, entry) in entries.iter().enumerate() {
            let line = escape(&entry.shown_since(origin));
            let _ = if offending == Some(index) { writeln!(body, "<mark>{line}</mark>") } else { writeln!(body, "{line}") };
        }
        body.push_str("</pre>");
    }
    body.push_str("</li>");
}
