//! Every MUST of SPEC.md is met by code and checked by a test, and every citation names a requirement.

use holdline_conformance::{Exemption, Level, Matrix, Side, Specification};
use std::fs;
use std::path::{Path, PathBuf};

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
    let defects = matrix().defects(&spec, &exemptions);
    assert!(defects.is_empty(), "{} defects:\n{}", defects.len(), defects.join("\n"));
}

#[test]
fn text_and_appendix_of_the_specification_agree() {
    assert!(specification().requirements().count() > 100, "most of it was not read");
}

fn specification() -> Specification {
    Specification::read(&read(&root().join("SPEC.md"))).unwrap_or_else(|defects| panic!("SPEC.md:\n{}", defects.join("\n")))
}

/// What the crates cite. This crate speaks of ids that mean nothing, and is left out.
fn matrix() -> Matrix {
    let mut matrix = Matrix::default();
    for krate in ["proto", "server", "fw-esp", "sim"] {
        for (folder, side) in [("src", Side::Code), ("tests", Side::Test)] {
            for file in rust_files(&root().join(krate).join(folder)) {
                let name = file.strip_prefix(root()).expect("it was found there").display().to_string();
                matrix.add_rust(side, &name, &read(&file));
            }
        }
    }
    matrix
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
