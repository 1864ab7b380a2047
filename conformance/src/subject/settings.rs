//! The settings of a `start`.

use super::Refused;
use holdline_proto::{Config, Keeps, OnForgotten, ValidConfig, classic::Flavour};
use serde_json::Value as Json;

/// What a subject was started with.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(crate) is_server: bool,
    /// `None`: native.
    pub(crate) flavour: Option<Flavour>,
    pub(crate) client: String,
    pub(crate) config: ValidConfig,
    pub(crate) fallback: Option<Flavour>,
    pub(crate) outbox: u32,
    pub(crate) keeps_store: bool,
    pub(crate) hello_timeout_ms: u32,
    pub(crate) half_open: usize,
    pub(crate) sessions: usize,
    pub(crate) expected: Option<Vec<String>>,
    pub(crate) serves_native: bool,
    pub(crate) serves_classic: bool,
    /// Where to listen, or to connect to.
    pub address: String,
}

impl Settings {
    pub(crate) fn read(request: &Json) -> Result<Self, Refused> {
        let object = request.as_object().ok_or_else(|| failed("the request is no object"))?;
        if let Some(unknown) = object.keys().find(|key| !KNOWN.contains(&key.as_str())) {
            return Err(Refused("unimplemented", format!("no setting {unknown:?}")));
        }
        let text = |key: &str| object.get(key).and_then(Json::as_str);
        let is_server = match text("role") {
            Some("server") => true,
            Some("client") => false,
            other => return Err(Refused("unimplemented", format!("no role {other:?}"))),
        };
        let flavour = flavour(text("profile").unwrap_or("native"))?;
        let default_timeout = flavour.map_or(2_000, Flavour::default_timeout_ms);
        let mut config = Config::new()
            .timeout_ms(number(object, "timeout_ms", default_timeout)?)
            .timeout_range_ms(number(object, "timeout_min_ms", 200)?, number(object, "timeout_max_ms", 3_600_000)?)
            .window(number(object, "window", 16)?)
            .max_line(number(object, "max", 4_096)?);
        config.keeps = match text("keeps").unwrap_or("none") {
            "none" => Keeps::None,
            "sent" => Keeps::Sent,
            "seen" => Keeps::Seen,
            "both" => Keeps::Both,
            other => return Err(failed(&format!("keeps {other:?}"))),
        };
        config.check = match text("check").unwrap_or("none") {
            "none" => false,
            "crc32" => true,
            other => return Err(failed(&format!("check {other:?}"))),
        };
        config.on_forgotten = match text("on_forgotten").unwrap_or("redeliver") {
            "redeliver" => OnForgotten::Redeliver,
            "skip" => OnForgotten::Skip,
            other => return Err(failed(&format!("on_forgotten {other:?}"))),
        };
        config.in_order = object.get("in_order").and_then(Json::as_bool).unwrap_or(true);
        let list = |key: &str| -> Option<Vec<String>> {
            let list = object.get(key)?.as_array()?;
            Some(list.iter().filter_map(Json::as_str).map(str::to_owned).collect())
        };
        let serves = list("serves");
        let serves = |prefix: &str| serves.as_ref().is_none_or(|all| all.iter().any(|one| one.starts_with(prefix)));
        let hello_timeout_ms = number(object, "hello_timeout_ms", 5_000)?;
        if !(1_000..=60_000).contains(&hello_timeout_ms) {
            return Err(failed("the hello timeout must be 1000 to 60000 ms"));
        }
        let cap = |key: &str, default: usize| match number(object, key, default)? {
            0 => Err(failed(&format!("{key} must be at least 1"))),
            cap => Ok(cap),
        };
        Ok(Self {
            is_server,
            flavour,
            client: text("client").unwrap_or_default().to_owned(),
            config: config.validate().map_err(|error| failed(&error.to_string()))?,
            fallback: text("fallback").map(flavour_of).transpose()?,
            outbox: number(object, "outbox", 1_024)?,
            keeps_store: object.contains_key("store"),
            hello_timeout_ms,
            half_open: cap("half_open", 1_024)?,
            sessions: cap("sessions", 10_000)?,
            expected: list("expected"),
            serves_native: serves("native"),
            serves_classic: serves("classic"),
            address: text(if is_server { "listen" } else { "connect" }).unwrap_or_default().to_owned(),
        })
    }
}

const KNOWN: [&str; 25] = [
    "id",
    "do",
    "role",
    "profile",
    "connect",
    "client",
    "listen",
    "timeout_ms",
    "window",
    "max",
    "keeps",
    "check",
    "on_forgotten",
    "in_order",
    "fallback",
    "outbox",
    "store",
    "timeout_min_ms",
    "timeout_max_ms",
    "hello_timeout_ms",
    "half_open",
    "sessions",
    "expected",
    "serves",
    "address",
];

fn failed(why: &str) -> Refused {
    Refused("failed", why.to_owned())
}

fn number<N: TryFrom<i64>>(object: &serde_json::Map<String, Json>, key: &str, default: N) -> Result<N, Refused> {
    match object.get(key) {
        None => Ok(default),
        Some(value) => {
            let number = value.as_i64().and_then(|number| N::try_from(number).ok());
            number.ok_or_else(|| failed(&format!("{key} {value} is out of range")))
        }
    }
}

fn flavour(profile: &str) -> Result<Option<Flavour>, Refused> {
    if profile == "native" { Ok(None) } else { flavour_of(profile).map(Some) }
}

fn flavour_of(profile: &str) -> Result<Flavour, Refused> {
    match profile {
        "classic-2020" => Ok(Flavour::V2020),
        "classic-2019" => Ok(Flavour::V2019),
        other => Err(Refused("unimplemented", format!("no profile {other:?}"))),
    }
}
