//! Defects of a server's listener.

use super::super::defect::{Deed, Defect, Kind};
use super::super::scene::{Scene, field, with, without};
use super::{ALL, BOTH, CLASSIC, NATIVE, SERVER};
use serde_json::{Value as Json, json};

fn drop_setting(settings: &mut Json, key: &str) {
    if let Some(settings) = settings.as_object_mut() {
        settings.remove(key);
    }
}

/// Whether this is the first line of a link whose session has another one that is open.
fn returns(scene: &Scene<'_>) -> Option<u64> {
    scene.link.rival.filter(|_| !scene.link.is_greeted)
}

pub(super) static DEFECTS: &[Defect] = &[
    Defect {
        name: "serves-one-hello-at-a-time",
        what: "It reads the first line of one connection at a time (as the original): one that is silent delays all others.",
        breaks: "HL-0110",
        roles: SERVER,
        profiles: ALL,
        kinds: &[Kind::OneHello],
    },
    Defect {
        name: "turns-the-returning-away",
        what: "It closes the new link of a client whose old one it still believes in (as the original).",
        breaks: "HL-0121 HL-0124",
        roles: SERVER,
        profiles: ALL,
        kinds: &[Kind::Heard(|scene, line| match returns(scene) {
            Some(_) => vec![Deed::Close],
            None => vec![Deed::Hear(line.to_vec())],
        })],
    },
    Defect {
        name: "lets-impostors-take-over",
        what: "It lets two devices of one name take over from each other for ever.",
        breaks: "HL-0123 HL-0124",
        roles: SERVER,
        profiles: ALL,
        kinds: &[Kind::Heard(|scene, line| match returns(scene) {
            Some(old) => vec![Deed::CloseOther(old), Deed::Hear(line.to_vec())],
            None => vec![Deed::Hear(line.to_vec())],
        })],
    },
    Defect {
        name: "no-cap-on-half-open",
        what: "It takes any number of connections that have not said hello.",
        breaks: "HL-0113",
        roles: SERVER,
        profiles: ALL,
        kinds: &[Kind::Start(|settings| drop_setting(settings, "half_open"))],
    },
    Defect {
        name: "no-cap-on-sessions",
        what: "It takes any number of sessions.",
        breaks: "HL-0115",
        roles: SERVER,
        profiles: ALL,
        kinds: &[Kind::Start(|settings| drop_setting(settings, "sessions"))],
    },
    Defect {
        name: "serves-strangers",
        what: "It serves a client that is not on its list (as the original).",
        breaks: "HL-0117",
        roles: SERVER,
        profiles: ALL,
        kinds: &[Kind::Start(|settings| drop_setting(settings, "expected"))],
    },
    Defect {
        name: "serves-every-profile",
        what: "It serves a profile that it was told not to.",
        breaks: "HL-0118",
        roles: SERVER,
        profiles: ALL,
        kinds: &[Kind::Start(|settings| drop_setting(settings, "serves"))],
    },
    Defect {
        name: "reads-any-first-line",
        what: "It waits for the end of a first line, however long it is.",
        breaks: "HL-0112 HL-0018",
        roles: SERVER,
        profiles: ALL,
        kinds: &[Kind::WholeLines],
    },
    Defect {
        name: "one-fault-ends-all",
        what: "A fault of one peer ends the links of all.",
        breaks: "HL-0119",
        roles: SERVER,
        profiles: NATIVE,
        kinds: &[Kind::Said(|_, line| {
            let mut deeds = vec![Deed::Say(line.to_vec())];
            if line.starts_with(b"B") {
                deeds.push(Deed::CloseAll);
            }
            deeds
        })],
    },
    Defect {
        name: "shuts-down-without-retry",
        what: "It does not say when to come back.",
        breaks: "HL-0126 HL-0125 HL-0128",
        roles: SERVER,
        profiles: NATIVE,
        kinds: &[Kind::Said(|_, line| vec![Deed::Say(without(line, "retry"))])],
    },
    Defect {
        name: "refuses-with-another-code",
        what: "It refuses with a code that does not say why.",
        breaks: "HL-0010 HL-0011 HL-0018 HL-0115 HL-0117 HL-0118",
        roles: SERVER,
        profiles: NATIVE,
        kinds: &[Kind::Said(|_, line| {
            vec![Deed::Say(if line.starts_with(b"HOLD/1 no") { with(line, "code", "error") } else { line.to_vec() })]
        })],
    },
    Defect {
        name: "one-session-for-all",
        what: "It has one session for all its clients (as the original of 2019, with its duplicate list).",
        breaks: "HL-0013 HL-0119",
        roles: SERVER,
        profiles: ALL,
        kinds: &[Kind::Heard(|scene, line| match scene.link.is_greeted {
            true => vec![Deed::Hear(line.to_vec())],
            false if line.starts_with(b"HOLD/") => vec![Deed::Hear(with(line, "client", "everybody"))],
            false => vec![Deed::Hear(b"everybody".to_vec())],
        })],
    },
    Defect {
        name: "zombie-after-a-bad-line",
        what: "Its reader ends at a line that it cannot read, and its keepalives go on (as the original).",
        breaks: "HL-0031 HL-0142 HL-0146 HL-0148",
        roles: BOTH,
        profiles: ALL,
        kinds: &[
            Kind::Heard(|scene, line| {
                let is_bad = match scene.link.is_native {
                    true => line.first().is_some_and(|first| !b"MDARPBH".contains(first)),
                    false => !line.is_empty() && super::super::scene::classic(line).is_none(),
                };
                if scene.link.is_greeted && (is_bad || std::str::from_utf8(line).is_err()) {
                    scene.link.is_zombie = true;
                    return Vec::new();
                }
                vec![Deed::Hear(line.to_vec())]
            }),
            Kind::Alarm(
                |_, link| link.is_zombie.then_some(link.last_in + link.timeout_ms - 2),
                |scene, _| {
                    scene.link.last_in = scene.now;
                    vec![Deed::Hear(Vec::new())]
                },
            ),
        ],
    },
    Defect {
        name: "loses-what-comes-with-the-id",
        what: "It drops what comes in the same segment as the id line (as the original).",
        breaks: "HL-0027",
        roles: SERVER,
        profiles: CLASSIC,
        kinds: &[Kind::Bytes(|scene, bytes| match scene.link.is_greeted {
            true => bytes.to_vec(),
            false => bytes[..bytes.iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |at| at + 1)].to_vec(),
        })],
    },
    Defect {
        name: "reads-the-old-link",
        what: "It goes on reading a link that was taken over, and takes what comes on it as the new one's.",
        breaks: "HL-0122",
        roles: SERVER,
        profiles: ALL,
        kinds: &[Kind::ReadsOldLink],
    },
    Defect {
        name: "counts-each-return-as-a-takeover",
        what: "It takes a device that comes back for another one of its name.",
        breaks: "HL-0123",
        roles: SERVER,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|scene, line| match returns(scene) {
            Some(_) => vec![Deed::Hear(with(line, "boot", scene.past.links))],
            None => vec![Deed::Hear(line.to_vec())],
        })],
    },
    Defect {
        name: "counts-restarts",
        what: "It refuses a device that has restarted four times, also when its old link was gone each time.",
        breaks: "HL-0123",
        roles: SERVER,
        profiles: NATIVE,
        kinds: &[Kind::Heard(|scene, line| {
            let boot = field(line, "boot").and_then(|boot| boot.parse::<u64>().ok()).filter(|_| !scene.link.is_greeted);
            scene.past.ids_in.extend(boot.map(|boot| boot as u8));
            match scene.past.ids_in.len() > 4 && boot.is_some() {
                true => vec![Deed::Say(b"HOLD/1 no code=duplicate-client retry=1000".to_vec()), Deed::Close],
                false => vec![Deed::Hear(line.to_vec())],
            }
        })],
    },
    Defect {
        name: "counts-greeted-links-as-half-open",
        what: "It counts all its links against the cap of those without a hello.",
        breaks: "HL-0113",
        roles: SERVER,
        profiles: ALL,
        kinds: &[Kind::CapsAllLinks],
    },
    Defect {
        name: "never-shuts-down",
        what: "It says that it shuts down, and leaves its links open.",
        breaks: "HL-0127 HL-0125",
        roles: SERVER,
        profiles: ALL,
        kinds: &[Kind::Ask(|request| {
            if request.get("do").is_some_and(|verb| verb == "shutdown") {
                *request = json!({"do": "state"});
            }
        })],
    },
];
