//! The defects, by what they concern.

mod application;
mod classic;
mod classic_pace;
mod first_line;
mod framing;
mod greeting;
mod links;
mod listener;
mod lossy;
mod messages;
mod supervisor;
mod time;

use super::defect::Defect;
use crate::case::{Profile, Role};

/// Every defect.
pub fn defects() -> impl Iterator<Item = &'static Defect> {
    let parts = [
        framing::DEFECTS,
        first_line::DEFECTS,
        greeting::DEFECTS,
        messages::DEFECTS,
        links::DEFECTS,
        application::DEFECTS,
        time::DEFECTS,
        supervisor::DEFECTS,
        listener::DEFECTS,
        lossy::DEFECTS,
        classic::DEFECTS,
        classic_pace::DEFECTS,
    ];
    parts.into_iter().flatten()
}

/// The defect of that name.
pub fn find(name: &str) -> Option<&'static Defect> {
    defects().find(|defect| defect.name == name)
}

const BOTH: &[Role] = &[Role::Client, Role::Server];
const CLIENT: &[Role] = &[Role::Client];
const SERVER: &[Role] = &[Role::Server];
const ALL: &[Profile] = &[Profile::Native, Profile::Classic2020, Profile::Classic2019];
const NATIVE: &[Profile] = &[Profile::Native];
const CLASSIC: &[Profile] = &[Profile::Classic2020, Profile::Classic2019];
const V2020: &[Profile] = &[Profile::Classic2020];
const V2019: &[Profile] = &[Profile::Classic2019];

/// A subject with nothing wrong, whose lines pass all the same hooks.
#[cfg(test)]
pub(crate) static SOUND: Defect = Defect {
    name: "none",
    what: "Nothing.",
    breaks: "",
    roles: BOTH,
    profiles: ALL,
    kinds: &[
        super::defect::Kind::Start(|_| {}),
        super::defect::Kind::Ask(|_| {}),
        super::defect::Kind::Answer(|_, _| Vec::new()),
        super::defect::Kind::Event(|event| vec![event]),
        super::defect::Kind::Said(|_, line| vec![super::defect::Deed::Say(line.to_vec())]),
        super::defect::Kind::Bytes(|_, bytes| bytes.to_vec()),
        super::defect::Kind::Load(|_| {}),
    ],
};

#[cfg(test)]
mod tests {
    use super::defects;
    use crate::library::specification;
    use std::collections::BTreeSet;

    #[test]
    fn each_has_a_name_of_its_own_and_breaks_what_exists() {
        let specification = specification().expect("SPEC.md has no defect");
        let mut names = BTreeSet::new();
        for defect in defects() {
            assert!(names.insert(defect.name), "{} is there twice", defect.name);
            assert!(defect.requirements().count() > 0, "{} breaks nothing", defect.name);
            for id in defect.requirements() {
                assert!(specification.contains(id), "{}: {id} is no requirement", defect.name);
            }
        }
        assert!(names.len() >= 30);
    }
}
