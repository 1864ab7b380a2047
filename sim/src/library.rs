//! The stories that come with the simulator.

use crate::scenario::{Scenario, ScenarioError};

macro_rules! stories {
    ($($name:literal),* $(,)?) => {
        /// Name and text of every story, in alphabetical order.
        const STORIES: &[(&str, &str)] = &[$(($name, include_str!(concat!("../scenarios/", $name, ".toml")))),*];
    };
}

stories![
    "ap-reboot-fleet",
    "backup-restored-device",
    "backup-restored-server",
    "bufferbloat",
    "burst-loss",
    "captive-portal",
    "clock-jump",
    "cloned-id",
    "connect-refused",
    "device-brownout",
    "duplicate-after-power-cut",
    "firewall-drops",
    "flapping-wifi",
    "half-open-server",
    "intermittent-wifi",
    "laptop-lid",
    "nat-idle",
    "one-way-black-hole",
    "power-cut-site",
    "roaming",
    "rolling-upgrade",
    "serial-noise",
    "serial-noise-restart",
    "server-host-lost",
    "server-restart",
    "slow-line",
    "tiny-segments",
    "wifi-drops-under-load",
    "zero-window",
];

/// The names of all stories.
pub fn names() -> impl Iterator<Item = &'static str> {
    STORIES.iter().map(|&(name, _)| name)
}

/// The text of a story.
pub fn text(name: &str) -> Option<&'static str> {
    STORIES.iter().find(|&&(other, _)| other == name).map(|&(_, text)| text)
}

/// A story by its name, a random one by its seed, `seed-1234`, or from a file by its path.
///
/// # Errors
/// There is no such story or file, or it cannot be read; says what there is instead.
pub fn load(name: &str) -> Result<Scenario, ScenarioError> {
    if let Some(text) = text(name) {
        return Scenario::parse(text);
    }
    if let Some(seed) = name.strip_prefix("seed-").and_then(|seed| seed.parse().ok()) {
        return Ok(Scenario::random(seed));
    }
    match std::fs::read_to_string(name) {
        Ok(text) => Scenario::parse(&text).map_err(|error| error.in_file(name)),
        Err(error) => Err(ScenarioError::unknown(name, &error)),
    }
}
