//! What there is: cases, one case, the coverage.

use super::Failure;
use holdline_conformance::report::{Citations, Coverage, page};
use holdline_conformance::{CASES, Case, Specification, case_exemptions};
use serde_json::json;
use std::fs;
use std::path::Path;

pub(super) fn list(cases: &[Case], as_json: bool) {
    for case in cases {
        let requirements: Vec<String> = case.requirements.iter().map(ToString::to_string).collect();
        if as_json {
            let line = json!({
                "id": case.id,
                "title": case.title,
                "chapter": case.chapter,
                "requirements": requirements,
                "level": case.level.to_string(),
                "role": case.role.word(),
                "profile": case.profile.word(),
                "mode": case.mode.word(),
            });
            println!("{line}");
        } else {
            println!("{:<6} {:<6} {:<12} {}", case.mode.word(), case.role.word(), case.profile.word(), case.id);
            println!("       {} ({})", case.title, requirements.join(", "));
        }
    }
    if !as_json {
        println!("{} cases", cases.len());
    }
}

/// The case as it was written, and what SPEC.md says of it.
pub(super) fn show(id: &str, specification: &Specification, cases: &[Case]) -> Result<(), String> {
    let Some(case) = cases.iter().find(|case| case.is_meant_by(id)) else {
        return Err(format!("`{id}` is no case; `holdline-conformance list` shows all"));
    };
    let rows = cases.iter().filter(|other| other.family == case.family).count();
    println!("{}", case.title);
    if rows > 1 {
        println!("It makes {rows} cases.");
    }
    for &id in &case.requirements {
        if let Some(passage) = specification.passage(id) {
            println!("{id} (section {}): {}", passage.section, passage.text);
        }
    }
    for (file, text) in CASES {
        let written = text.split("[[case]]\n").find(|part| part.contains(&format!("id = \"{}\"", case.family)));
        if let Some(written) = written {
            println!("\n# conformance/cases/{file}\n[[case]]\n{}", written.trim_end());
        }
    }
    Ok(())
}

pub(super) fn coverage(
    specification: &Specification,
    cases: &[Case],
    citations: &Citations,
    as_json: bool,
    html: Option<&Path>,
) -> Result<u8, Failure> {
    let exemptions = case_exemptions().map_err(Failure::CouldNotRun)?;
    let coverage = Coverage::of(specification, cases, citations, &exemptions);
    if let Some(file) = html {
        let page = page("Holdline: requirements and what checks them", &coverage, None);
        fs::write(file, page).map_err(|error| Failure::CouldNotRun(format!("{}: {error}", file.display())))?;
    }
    if as_json {
        println!("{}", coverage.json());
    } else if html.is_none() {
        print!("{}", coverage.text());
    }
    let mut gaps = coverage.gaps();
    if citations.is_known {
        gaps.extend(citations.matrix().defects(specification, &[]));
    }
    for gap in &gaps {
        eprintln!("{gap}");
    }
    let covered = coverage.rows.iter().filter(|row| !row.cases.is_empty()).count();
    eprintln!("{} requirements, {covered} of them with cases; {} cases", coverage.rows.len(), cases.len());
    Ok(u8::from(!gaps.is_empty()))
}
