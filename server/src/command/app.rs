//! What the server does with messages: small applications, for a start and for demonstrations.

use std::str::FromStr;

/// What is done with a message of a device, besides printing it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum App {
    /// Nothing: messages go to standard output.
    Log,
    /// It is sent back.
    Echo,
    /// One text is answered with another.
    Answer { question: String, answer: String },
    /// Messages of one device go to another.
    Relay { from: String, to: String },
    /// Numbered messages are checked and not printed; with a rate, each device is sent numbered messages too.
    Counter { rate: Option<f64> },
}

/// Not an application.
#[derive(Debug, thiserror::Error)]
#[error("it must be log, echo, answer:TEXT=TEXT, relay:FROM:TO, counter or counter:RATE (messages a second)")]
pub(super) struct NoApp;

impl FromStr for App {
    type Err = NoApp;

    fn from_str(text: &str) -> Result<Self, NoApp> {
        let (name, rest) = text.split_once(':').map_or((text, None), |(name, rest)| (name, Some(rest)));
        match (name, rest) {
            ("log", None) => Ok(Self::Log),
            ("echo", None) => Ok(Self::Echo),
            ("answer", Some(rest)) => {
                let (question, answer) = rest.split_once('=').ok_or(NoApp)?;
                Ok(Self::Answer { question: question.into(), answer: answer.into() })
            }
            ("relay", Some(rest)) => match rest.split_once(':') {
                Some((from, to)) if !from.is_empty() && !to.is_empty() => Ok(Self::Relay { from: from.into(), to: to.into() }),
                _ => Err(NoApp),
            },
            ("counter", None) => Ok(Self::Counter { rate: None }),
            ("counter", Some(rate)) => match rate.parse() {
                Ok(rate) if (0.001..=10_000.0).contains(&rate) => Ok(Self::Counter { rate: Some(rate) }),
                _ => Err(NoApp),
            },
            _ => Err(NoApp),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn applications_are_named_with_their_choices() {
        let app = |text: &str| text.parse::<App>().ok();
        assert_eq!(app("echo"), Some(App::Echo));
        assert_eq!(app("answer:open=light on"), Some(App::Answer { question: "open".into(), answer: "light on".into() }));
        assert_eq!(app("relay:switch:lamp"), Some(App::Relay { from: "switch".into(), to: "lamp".into() }));
        assert_eq!(app("counter:2.5"), Some(App::Counter { rate: Some(2.5) }));
        for wrong in ["", "ech", "echo:", "relay:a", "relay::b", "answer:open", "counter:0", "counter:NaN"] {
            assert_eq!(app(wrong), None, "{wrong}");
        }
    }
}
