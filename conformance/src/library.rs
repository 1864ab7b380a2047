//! The cases and the specification that are built in.

use crate::case::{Case, CaseError};
use crate::report::read_exemptions;
use crate::requirement::Requirement;
use crate::specification::Specification;
use std::collections::{BTreeMap, BTreeSet};

/// The text of SPEC.md.
pub const SPECIFICATION: &str = include_str!("../../SPEC.md");

/// The files of cases, by name.
pub const CASES: &[(&str, &str)] = &[
    ("02-framing.toml", include_str!("../cases/02-framing.toml")),
    ("03-parameters.toml", include_str!("../cases/03-parameters.toml")),
    ("04-profiles.toml", include_str!("../cases/04-profiles.toml")),
    ("05-states.toml", include_str!("../cases/05-states.toml")),
    ("06-handshake.toml", include_str!("../cases/06-handshake.toml")),
    ("07-messages.toml", include_str!("../cases/07-messages.toml")),
    ("07-power.toml", include_str!("../cases/07-power.toml")),
    ("08-lossy.toml", include_str!("../cases/08-lossy.toml")),
    ("09-time.toml", include_str!("../cases/09-time.toml")),
    ("10-listener.toml", include_str!("../cases/10-listener.toml")),
    ("11-supervisor.toml", include_str!("../cases/11-supervisor.toml")),
    ("12-guarantees.toml", include_str!("../cases/12-guarantees.toml")),
    ("13-faults.toml", include_str!("../cases/13-faults.toml")),
];

/// The requirements of [`SPECIFICATION`].
///
/// # Errors
/// What is wrong with it, one sentence each.
pub fn specification() -> Result<Specification, Vec<String>> {
    Specification::read(SPECIFICATION)
}

/// Every case of [`CASES`], in the order of the files.
///
/// # Errors
/// The first case that is none.
pub fn all_cases(specification: &Specification) -> Result<Vec<Case>, CaseError> {
    let mut cases = Vec::new();
    for (file, text) in CASES {
        cases.extend(Case::read_all(file, text, specification)?);
    }
    Ok(cases)
}

/// One case of each family, role and profile: the first row of those that have rows.
pub fn one_row(cases: Vec<Case>) -> Vec<Case> {
    let mut seen = BTreeSet::new();
    cases.into_iter().filter(|case| seen.insert((case.family.clone(), case.role, case.profile))).collect()
}

/// Why some requirements have no case.
///
/// # Errors
/// What is wrong with the list.
pub fn case_exemptions() -> Result<BTreeMap<Requirement, String>, String> {
    read_exemptions(include_str!("../case-exemptions.txt"))
}
