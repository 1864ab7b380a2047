//! Requirement by mutant by case: what shows that the suite sees what it is to see.

use super::machine::escape;
use crate::case::{Case, Profile, Role};
use crate::mutation::{Fate, Trial, unproven};
use crate::requirement::Requirement;
use crate::specification::Specification;
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

const STYLE: &str = include_str!("page.css");

/// What mutants have shown.
#[derive(Clone, Copy, Debug)]
pub struct Mutants<'r> {
    /// The requirements.
    pub specification: &'r Specification,
    /// The cases that were played.
    pub cases: &'r [Case],
    /// What became of each mutant.
    pub trials: &'r [Trial],
    /// Whether every case was played, so that one that found nothing is unproven.
    pub is_whole: bool,
}

impl Mutants<'_> {
    /// How many mutants have shown this.
    pub fn count(&self, fate: Fate) -> usize {
        self.trials.iter().filter(|trial| trial.fate() == fate).count()
    }

    /// In a few words.
    pub fn words(&self) -> String {
        let (all, killed) = (self.trials.len(), self.count(Fate::Killed));
        let (accident, alive) = (self.count(Fate::KilledByAccident), self.count(Fate::Alive));
        format!("{all} mutants: {killed} killed by a case that checks what they break, {accident} only by others, {alive} alive")
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (id, what, trials) in self.by_requirement() {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{id} {what}");
            for trial in trials {
                let families = families(self.cases, trial, Some(id));
                let by = if families.is_empty() { "-".to_owned() } else { shortened(&families) };
                let _ = writeln!(text, "    {:<18} {:<34} {by}", trial.fate().word(), trial.defect.name);
            }
        }
        for trial in self.trials.iter().filter(|trial| trial.fate() != Fate::Killed) {
            let _ = writeln!(text, "{}: {}: {}", trial.fate().word().to_uppercase(), trial.defect.name, trial.defect.what);
        }
        for case in self.unproven() {
            let _ = writeln!(text, "unproven: {}: {}", case.family, case.title);
        }
        text
    }

    /// For a program.
    pub fn json(&self) -> Json {
        let mutants: Vec<Json> = self.trials.iter().map(|trial| self.trial(trial)).collect();
        let requirements: BTreeMap<String, Json> = self
            .by_requirement()
            .map(|(id, _, trials)| {
                let cases = |trial: &&Trial| (trial.defect.name.to_owned(), json!(families(self.cases, trial, Some(id))));
                (id.to_string(), Json::Object(trials.iter().map(cases).collect()))
            })
            .collect();
        let unproven: Vec<&str> = self.unproven().iter().map(|case| case.family.as_str()).collect();
        json!({"mutants": mutants, "requirements": requirements, "unproven": unproven})
    }

    fn trial(&self, trial: &Trial) -> Json {
        let defect = trial.defect;
        let kills: Vec<Json> =
            trial.kills.iter().map(|kill| json!({"case": kill.case, "right": kill.is_by_right, "why": kill.why})).collect();
        json!({
            "name": defect.name,
            "what": defect.what,
            "breaks": defect.requirements().map(|id| id.to_string()).collect::<Vec<_>>(),
            "roles": defect.roles.iter().map(|role| Role::word(*role)).collect::<Vec<_>>(),
            "profiles": defect.profiles.iter().map(|profile| Profile::word(*profile)).collect::<Vec<_>>(),
            "fate": trial.fate().word(),
            "played": trial.played,
            "kills": kills,
        })
    }

    /// One self-contained page.
    pub fn html(&self) -> String {
        let mut body = format!("<h1>Holdline: mutants</h1><p class=sum>{}</p>", escape(&self.words()));
        body.push_str(
            "<p>Each mutant is the reference subject with one defect. It has to be found by a case that checks a requirement \
             which the defect breaks.</p><table><thead><tr><th>requirement<th>mutant<th>found by</tr></thead><tbody>",
        );
        for (id, what, trials) in self.by_requirement() {
            for (place, trial) in trials.iter().enumerate() {
                body.push_str("<tr>");
                if place == 0 {
                    let _ = write!(body, "<th rowspan={} id={id}>{id}<br><small>{}</small></th>", trials.len(), escape(what));
                }
                let families = families(self.cases, trial, Some(id));
                let mark = if families.is_empty() { "none" } else { "good" };
                let names: Vec<String> = families.iter().map(|family| format!("<code>{}</code>", escape(family))).collect();
                let found =
                    if names.is_empty() { "<i>by a case of another requirement of its</i>".to_owned() } else { names.join(" ") };
                let _ = write!(
                    body,
                    "<td class={mark}><a href=\"#m-{name}\">{name}</a></td><td>{found}</td></tr>",
                    name = escape(trial.defect.name)
                );
            }
        }
        body.push_str("</tbody></table><h2>The mutants</h2>");
        for trial in self.trials {
            self.write_trial(&mut body, trial);
        }
        let unproven = self.unproven();
        if !unproven.is_empty() {
            let _ = write!(body, "<h2>Cases that no mutant has proven</h2><p>{} families of cases.</p><ul>", unproven.len());
            for case in unproven {
                let _ = write!(body, "<li><code>{}</code> {}</li>", escape(&case.family), escape(&case.title));
            }
            body.push_str("</ul>");
        }
        format!(
            "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
             <title>Holdline: mutants</title><style>{STYLE}{TABLE}</style><body>{body}"
        )
    }

    fn write_trial(&self, body: &mut String, trial: &Trial) {
        let state = if trial.fate() == Fate::Killed { "good" } else { "bad" };
        let broken: Vec<String> = trial.defect.requirements().map(|id| format!("<a href=\"#{id}\">{id}</a>")).collect();
        let right = trial.kills.iter().filter(|kill| kill.is_by_right).count();
        let _ = write!(
            body,
            "<details class=\"req {state}\" id=\"m-{name}\"><summary class=mutant><b>{name}</b> <span>{what}</span> \
             <em>{fate}</em></summary><p class=at>breaks {broken}; {right} of {all} failures check that; {played} cases played</p><ul \
             class=cases>",
            name = escape(trial.defect.name),
            what = escape(trial.defect.what),
            fate = trial.fate().word(),
            broken = broken.join(" "),
            all = trial.kills.len(),
            played = trial.played,
        );
        for kill in trial.kills.iter().filter(|kill| kill.is_by_right).take(KILLS_SHOWN) {
            let _ = write!(body, "<li><code>{}</code><br><span class=why>{}</span></li>", escape(&kill.case), escape(&kill.why));
        }
        if right > KILLS_SHOWN {
            let _ = write!(body, "<li>and {} more</li>", right - KILLS_SHOWN);
        }
        body.push_str("</ul></details>");
    }

    fn unproven(&self) -> Vec<&Case> {
        if self.is_whole { unproven(self.cases, self.trials) } else { Vec::new() }
    }

    /// The requirements that a mutant breaks, with those mutants.
    fn by_requirement(&self) -> impl Iterator<Item = (Requirement, &str, Vec<&Trial>)> {
        self.specification.requirements().filter_map(|(id, _, what)| {
            let breaking = |trial: &&Trial| trial.defect.requirements().any(|broken| broken == id);
            let trials: Vec<&Trial> = self.trials.iter().filter(breaking).collect();
            (!trials.is_empty()).then_some((id, what, trials))
        })
    }
}

/// Of each mutant so many failures are shown.
const KILLS_SHOWN: usize = 12;

const TABLE: &str = "table{border-collapse:collapse;width:100%}td,th{border:1px solid var(--line);padding:.3rem .5rem;text-align:left;\
vertical-align:top}td.good{border-left:4px solid var(--good)}td.none{border-left:4px solid var(--none)}th small{font-weight:400}\
summary.mutant{grid-template-columns:18rem 1fr auto}";

/// The families of the cases that found a mutant and, with `id`, check that requirement.
fn families(cases: &[Case], trial: &Trial, id: Option<Requirement>) -> BTreeSet<String> {
    let killers: BTreeSet<&str> = trial.kills.iter().map(|kill| kill.case.as_str()).collect();
    let checks = |case: &&Case| id.is_none_or(|id| case.requirements.contains(&id));
    cases.iter().filter(|case| killers.contains(case.id.as_str())).filter(checks).map(|case| case.family.clone()).collect()
}

fn shortened(families: &BTreeSet<String>) -> String {
    let shown: Vec<&str> = families.iter().take(2).map(String::as_str).collect();
    let more = families.len() - shown.len();
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}
