//! A toxic: what is done, to which share of the connections, in which direction, under which name.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Error;
use super::kind::Kind;

/// The direction of the bytes a toxic acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// From the client to the server.
    Upstream,
    /// From the server to the client.
    Downstream,
}

impl Stream {
    pub(super) const BOTH: [Self; 2] = [Self::Upstream, Self::Downstream];

    pub(super) const fn other(self) -> Self {
        match self {
            Self::Upstream => Self::Downstream,
            Self::Downstream => Self::Upstream,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::Downstream => "downstream",
        }
    }

    fn parse(name: &str) -> Result<Self, Error> {
        Self::BOTH.into_iter().find(|stream| stream.name().eq_ignore_ascii_case(name)).ok_or(Error::InvalidStream)
    }
}

/// One thing done to the connections of a proxy, with the name it is changed and removed by.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Toxic {
    attributes: Kind,
    name: String,
    #[serde(rename = "type")]
    type_name: &'static str,
    stream: Stream,
    toxicity: f64,
}

impl Toxic {
    /// A toxic named `<type>_<stream>` that acts on every connection.
    ///
    /// # Errors
    ///
    /// [`Error::BadRequestBody`] if the attributes contradict each other: see [`Kind`].
    pub fn new(stream: Stream, kind: Kind) -> Result<Self, Error> {
        kind.check()?;
        let type_name = kind.type_name();
        Ok(Self { name: format!("{type_name}_{}", stream.name()), type_name, stream, toxicity: 1.0, attributes: kind })
    }

    /// The same under another name.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The same on a share of the connections, 0 to 1; what is outside counts as the nearer of the two.
    ///
    /// Which ones follows from the seed, the proxy's name, the number of the connection and the toxic's name. A larger share
    /// holds the connections of a smaller one.
    #[must_use]
    pub fn on_share(mut self, toxicity: f64) -> Self {
        self.toxicity = if toxicity.is_nan() { 0.0 } else { toxicity.clamp(0.0, 1.0) };
        self
    }

    /// The name it is changed and removed by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The direction it acts on.
    pub const fn stream(&self) -> Stream {
        self.stream
    }

    /// The share of the connections it acts on.
    pub const fn toxicity(&self) -> f64 {
        self.toxicity
    }

    /// What it does.
    pub const fn kind(&self) -> &Kind {
        &self.attributes
    }

    /// The toxic that a request for a new one describes.
    pub(super) fn parse(body: &[u8]) -> Result<Self, Error> {
        let request: Request = parse_body(body)?;
        let stream = Stream::parse(request.stream.as_deref().unwrap_or("downstream"))?;
        let type_name = request.type_name.unwrap_or_default();
        let kind = Kind::parse(&type_name, request.attributes.unwrap_or_default())?;
        let mut toxic = Self::new(stream, kind)?;
        if let Some(name) = request.name.filter(|name| !name.is_empty()) {
            toxic.name = name;
        }
        if let Some(toxicity) = request.toxicity {
            toxic.toxicity = share(toxicity)?;
        }
        Ok(toxic)
    }

    /// The toxic after a request to change it, which names only what becomes different.
    pub(super) fn changed(&self, body: &[u8]) -> Result<Self, Error> {
        let request: Request = parse_body(body)?;
        let mut toxic = self.clone();
        if let Some(toxicity) = request.toxicity {
            toxic.toxicity = share(toxicity)?;
        }
        if let Some(Value::Object(changes)) = request.attributes {
            let mut attributes = serde_json::to_value(&self.attributes).unwrap_or_default();
            if let Value::Object(attributes) = &mut attributes {
                attributes.extend(changes.into_iter().filter(|(_, value)| !value.is_null()));
            }
            toxic.attributes = Kind::parse(self.type_name, attributes)?;
            toxic.attributes.check()?;
        }
        Ok(toxic)
    }
}

#[derive(Deserialize)]
struct Request {
    name: Option<String>,
    #[serde(rename = "type")]
    type_name: Option<String>,
    stream: Option<String>,
    toxicity: Option<f64>,
    attributes: Option<Value>,
}

/// What a request's body says; an error says where it stops being that.
pub(super) fn parse_body<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| Error::BadRequestBody(error.to_string()))
}

fn share(toxicity: f64) -> Result<f64, Error> {
    if (0.0..=1.0).contains(&toxicity) {
        Ok(toxicity)
    } else {
        Err(Error::BadRequestBody(format!("toxicity is the share of connections, from 0 to 1, not {toxicity}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::Latency;

    fn parse(body: &str) -> Result<Toxic, Error> {
        Toxic::parse(body.as_bytes())
    }

    #[test]
    fn what_a_request_leaves_out_has_toxiproxys_defaults() {
        let toxic = parse(r#"{"type": "latency", "attributes": {"latency": 5, "unknown": 1}}"#).unwrap();
        assert_eq!(
            serde_json::to_value(&toxic).unwrap(),
            serde_json::json!({
                "name": "latency_downstream", "type": "latency", "stream": "downstream", "toxicity": 1.0,
                "attributes": {"latency": 5, "jitter": 0},
            })
        );
        assert_eq!(parse(r#"{"type": "noop", "attributes": null}"#).unwrap().name(), "noop_downstream");
        assert_eq!(parse(r#"{"type": "noop", "stream": "UPSTREAM"}"#).unwrap().stream(), Stream::Upstream);
    }

    #[test]
    fn a_change_keeps_what_it_does_not_name() {
        let toxic = parse(r#"{"type": "latency", "attributes": {"latency": 5, "jitter": 2}, "toxicity": 0.5}"#).unwrap();
        let changed = toxic.changed(br#"{"attributes": {"latency": 9, "jitter": null}, "name": "other"}"#).unwrap();
        assert_eq!(changed.kind(), &Kind::from(Latency { latency: 9, jitter: 2 }));
        assert_eq!((changed.name(), changed.toxicity().to_bits()), ("latency_downstream", 0.5_f64.to_bits()));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_reason() {
        let refused = |body: &str| parse(body).unwrap_err().to_string();
        assert_eq!(refused(r#"{"type": "latency", "stream": "sideways"}"#), Error::InvalidStream.to_string());
        assert_eq!(refused(r#"{"type": "typhoon"}"#), "invalid toxic type");
        assert_eq!(refused("{}"), "invalid toxic type");
        for (body, reason) in [
            (r#"{"type": "latency", "attributes": {"latency": "long"}}"#, "attributes of latency: invalid type: string"),
            (r#"{"type": "latency", "attributes": {"latency": -1}}"#, "integer `-1`"),
            (r#"{"type": "latency", "attributes": [1]}"#, "attributes of latency"),
            (r#"{"type": "cut", "attributes": {"byte": 1}}"#, "unknown field `byte`"),
            (r#"{"type": "slicer"}"#, "average_size"),
            (r#"{"type": "trigger", "attributes": {"toxic": "x"}}"#, "a line of 1 to 1024"),
            (r#"{"type": "trigger", "attributes": {"toxic": "x", "line": "a\nb"}}"#, "no newline"),
            (r#"{"type": "trigger", "attributes": {"line": "a"}}"#, "name of the toxic"),
            (r#"{"type": "burst_loss", "attributes": {"every": 100}}"#, "missing field `longest`"),
            (r#"{"type": "burst_loss", "attributes": {"every": 9, "longest": 1}}"#, "10 to 600000 ms"),
            (r#"{"type": "burst_loss", "attributes": {"every": 10, "longest": 0}}"#, "1 to 600000 ms"),
            (r#"{"type": "burst_loss", "attributes": {"every": 10, "longest": 1, "shape": "flat"}}"#, "`heavy-tailed`"),
            (r#"{"type": "nat_idle"}"#, "missing field `idle`"),
            (r#"{"type": "nat_idle", "attributes": {"idle": 0}}"#, "1 to 86400000 ms"),
            (r#"{"type": "no_connect"}"#, "missing field `how`"),
            (r#"{"type": "no_connect", "attributes": {"how": "slowly"}}"#, "`accepted-then-closed`"),
            (r#"{"type": "portal", "attributes": {"location": "http://x/\r\nSet-Cookie: a"}}"#, "printable ASCII"),
            (r#"{"type": "portal", "attributes": {"location": ""}}"#, "1 to 1024"),
            (r#"{"type": "clone", "attributes": {"delay": -1}}"#, "integer `-1`"),
            (
                r#"{"type": "noise", "attributes": {"flip_per_million": 600000, "drop_per_million": 400001}}"#,
                "more than a million",
            ),
            (r#"{"type": "noop", "toxicity": 2}"#, "from 0 to 1"),
            ("[]", "bad request body"),
            ("", "EOF"),
        ] {
            assert!(refused(body).contains(reason), "{body}: {}", refused(body));
        }
    }
}
