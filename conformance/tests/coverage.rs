//! Every requirement has a case, or a reason why it has none; every case has an id of its own.

use holdline_conformance::report::{Citations, Coverage};
use holdline_conformance::{Case, Specification, all_cases, case_exemptions, specification};
use std::collections::BTreeSet;

#[test]
fn every_requirement_has_a_case_or_a_reason() {
    let (specification, cases) = library();
    let exemptions = case_exemptions().expect("the list is of the form");
    let coverage = Coverage::of(&specification, &cases, &Citations::default(), &exemptions);
    let gaps = coverage.gaps();
    assert!(gaps.is_empty(), "{}", gaps.join("\n"));
}

#[test]
fn an_id_is_given_once() {
    let (_, cases) = library();
    let mut ids = BTreeSet::new();
    let twice: Vec<&str> = cases.iter().filter(|case| !ids.insert(&case.id)).map(|case| case.id.as_str()).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

#[test]
fn a_number_of_a_chapter_is_given_once() {
    let (_, cases) = library();
    let families: BTreeSet<&str> = cases.iter().map(|case| case.family.as_str()).collect();
    let mut numbers = BTreeSet::new();
    for family in families {
        let mut parts = family.splitn(3, '-');
        let (Some(chapter), Some(Ok(number)), Some(_)) = (parts.next(), parts.next().map(str::parse::<u16>), parts.next()) else {
            panic!("{family} is not of the form chapter-number-name");
        };
        assert!(numbers.insert((chapter, number)), "{chapter}-{number:03} is given twice");
    }
}

fn library() -> (Specification, Vec<Case>) {
    let specification = specification().expect("SPEC.md has no defect");
    match all_cases(&specification) {
        Ok(cases) => (specification, cases),
        Err(error) => panic!("{error}"),
    }
}
