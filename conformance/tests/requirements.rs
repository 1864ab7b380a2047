//! Every MUST of SPEC.md is met by code and checked by a test, and every citation names a requirement.

use holdline_conformance::report::Citations;
use holdline_conformance::{Exemption, Level, Specification};
use std::fs;
use std::path::Path;

#[test]
fn every_must_is_cited_by_code_and_by_a_test() {
    let spec = specification();
    let exemptions =
        Exemption::read_all(&read(&root().join("conformance/exemptions.txt"))).expect("the exemptions are of the form");
    for exemption in &exemptions {
        println!("{} is exempt from citation by {}: {}", exemption.id, exemption.side, exemption.reason);
    }
    let musts = spec.requirements().filter(|(_, level, _)| *level == Level::Must).count();
    println!("{} requirements, {musts} of them MUST; {} exemptions", spec.requirements().count(), exemptions.len());
    let citations = Citations::read(root()).unwrap_or_else(|error| panic!("{error}"));
    assert!(citations.is_known, "no crate was found");
    let defects = citations.matrix().defects(&spec, &exemptions);
    assert!(defects.is_empty(), "{} defects:\n{}", defects.len(), defects.join("\n"));
}

#[test]
fn text_and_appendix_of_the_specification_agree() {
    assert!(specification().requirements().count() > 100, "most of it was not read");
}

fn specification() -> Specification {
    Specification::read(&read(&root().join("SPEC.md"))).unwrap_or_else(|defects| panic!("SPEC.md:\n{}", defects.join("\n")))
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
