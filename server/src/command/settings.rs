//! The choices of `serve`: options, a file, and what the library gets of both.

use super::failure::Failure;
use super::quantity::{Span, SpanRange};
use clap::{Args, ValueEnum};
use holdline_server::proto::{Config, OnForgotten, classic::Flavour};
use holdline_server::{Chance, Limits, ServerConfig};
use serde::Deserialize;
use std::path::Path;
use std::time::Duration;

/// Where a server listens if nothing else is said: every address, as the classic servers did.
// HL-0157: asked for by name is anything narrower, and the first message tells how.
const LISTEN: &str = "0.0.0.0:8123";
/// How long a shutdown waits for messages on their way.
const DRAIN: Duration = Duration::from_secs(5);
/// When clients are asked to come back after a shutdown.
const RETRY: Duration = Duration::from_secs(2);

/// The options of `serve` that can also stand in a file, under the same names; an option wins over the file.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Settings {
    /// Where to listen; port 0 takes a free one [default: 0.0.0.0:8123]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// A further address, for devices whose every line carries a check: behind a serial-to-TCP relay or a cellular modem, wherever the
    /// bytes are not carried by TCP all the way [default: none]
    #[arg(long, value_name = "HOST:PORT")]
    listen_checked: Option<String>,
    /// Which devices to serve [default: all]
    #[arg(long, value_name = "WHICH")]
    profile: Option<Served>,
    /// The timeouts that native devices may choose: an outage is noticed within the timeout [default: 200ms..1h]
    #[arg(long, value_name = "MIN..MAX", help_heading = "Lines")]
    timeout: Option<SpanRange>,
    /// Messages that a native device may send ahead of the application [default: 16]
    #[arg(long, value_name = "MESSAGES", help_heading = "Lines")]
    window: Option<u16>,
    /// The longest line from a device, in bytes; a message is 22 bytes shorter, with checks 31 [default: 4096]
    #[arg(long, value_name = "BYTES", help_heading = "Lines")]
    max_line: Option<u32>,
    /// Unacknowledged messages for a device that has forgotten the session: redeliver (may repeat) or skip (may lose)
    /// [default: redeliver]
    #[arg(long, value_name = "POLICY", help_heading = "Lines")]
    on_forgotten: Option<Forgotten>,
    /// What classic devices speak [default: classic-2020]
    #[arg(long, value_name = "FLAVOUR", help_heading = "Classic devices")]
    classic_flavour: Option<ClassicFlavour>,
    /// Their timeout, which must be the one in their own configuration [default: 2s; classic-2019: 1.5s]
    #[arg(long, value_name = "TIME", help_heading = "Classic devices")]
    classic_timeout: Option<Span>,
    /// A device that speaks classic-2019, whatever the others do; can be repeated
    #[arg(long = "classic-2019", value_name = "ID", help_heading = "Classic devices")]
    classic_2019: Vec<String>,
    /// A device that speaks classic-2020, whatever the others do; can be repeated
    #[arg(long = "classic-2020", value_name = "ID", help_heading = "Classic devices")]
    classic_2020: Vec<String>,
    /// A device that is expected; can be repeated. Others are served as well, and reported
    #[arg(long, value_name = "ID", help_heading = "Who may come")]
    expect: Vec<String>,
    /// Turn away devices that are not expected
    #[arg(long, help_heading = "Who may come")]
    only_expected: bool,
    /// How long a connection may take to say who it is, 1s to 60s [default: 5s]
    #[arg(long, value_name = "TIME", help_heading = "Limits")]
    hello_timeout: Option<Span>,
    /// Sessions, connected or not [default: 100000]
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    max_sessions: Option<usize>,
    /// Connections that have not said who they are [default: 4096]
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    max_half_open: Option<usize>,
    /// The same for one address [default: 1024]
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    max_half_open_per_address: Option<usize>,
    /// Messages that may wait for one device [default: 1024]
    #[arg(long, value_name = "MESSAGES", help_heading = "Limits")]
    outbox_messages: Option<u32>,
    /// The bytes of these messages [default: 1048576]
    #[arg(long, value_name = "BYTES", help_heading = "Limits")]
    outbox_bytes: Option<u32>,
    /// Messages of one device that may wait for the application, besides the window [default: 256]
    #[arg(long, value_name = "MESSAGES", help_heading = "Limits")]
    inbox: Option<usize>,
    /// How long a shutdown may take, up to 60s [default: 5s]
    #[arg(long, value_name = "TIME", help_heading = "Limits")]
    drain: Option<Span>,
    /// How long clients are asked to stay away after a shutdown, or while the server is full [default: 2s; full: 10s]
    #[arg(long, value_name = "TIME", help_heading = "Limits")]
    retry: Option<Span>,
}

/// Which profiles are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Served {
    Native,
    Classic,
    All,
}

/// What a classic device speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
enum ClassicFlavour {
    #[value(name = "classic-2019")]
    #[serde(rename = "classic-2019")]
    V2019,
    #[value(name = "classic-2020")]
    #[serde(rename = "classic-2020")]
    V2020,
}

/// What becomes of unacknowledged messages when the peer has forgotten the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Forgotten {
    Redeliver,
    Skip,
}

impl Settings {
    /// Takes from a file what was not said as an option.
    pub(super) fn with_file(self, path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path else { return Ok(self) };
        let text =
            std::fs::read_to_string(path).map_err(|error| Failure::ConfigUnreadable { path: path.to_path_buf(), error })?;
        let file: Self = toml::from_str(&text).map_err(|error| {
            let (line, column) = place(&text, error.span().map_or(0, |span| span.start));
            let message = error.message().lines().collect::<Vec<_>>().join("; ");
            Failure::ConfigWrong { path: path.to_path_buf(), line, column, message }
        })?;
        Ok(self.over(file))
    }

    fn over(self, file: Self) -> Self {
        let all = |option: Vec<String>, file| if option.is_empty() { file } else { option };
        Self {
            listen: self.listen.or(file.listen),
            listen_checked: self.listen_checked.or(file.listen_checked),
            profile: self.profile.or(file.profile),
            timeout: self.timeout.or(file.timeout),
            window: self.window.or(file.window),
            max_line: self.max_line.or(file.max_line),
            on_forgotten: self.on_forgotten.or(file.on_forgotten),
            classic_flavour: self.classic_flavour.or(file.classic_flavour),
            classic_timeout: self.classic_timeout.or(file.classic_timeout),
            classic_2019: all(self.classic_2019, file.classic_2019),
            classic_2020: all(self.classic_2020, file.classic_2020),
            expect: all(self.expect, file.expect),
            only_expected: self.only_expected || file.only_expected,
            hello_timeout: self.hello_timeout.or(file.hello_timeout),
            max_sessions: self.max_sessions.or(file.max_sessions),
            max_half_open: self.max_half_open.or(file.max_half_open),
            max_half_open_per_address: self.max_half_open_per_address.or(file.max_half_open_per_address),
            outbox_messages: self.outbox_messages.or(file.outbox_messages),
            outbox_bytes: self.outbox_bytes.or(file.outbox_bytes),
            inbox: self.inbox.or(file.inbox),
            drain: self.drain.or(file.drain),
            retry: self.retry.or(file.retry),
        }
    }

    /// Where to listen.
    pub(super) fn listen(&self) -> &str {
        self.listen.as_deref().unwrap_or(LISTEN)
    }

    /// Where to listen for devices whose lines carry checks, if anywhere.
    pub(super) fn listen_checked(&self) -> Option<&str> {
        self.listen_checked.as_deref()
    }

    /// How long a shutdown may take.
    pub(super) fn drain(&self) -> Duration {
        self.drain.map_or(DRAIN, Span::duration)
    }

    /// When clients are asked to come back after a shutdown.
    pub(super) fn retry(&self) -> Duration {
        self.retry.map_or(RETRY, Span::duration)
    }

    /// What the library is to be told.
    ///
    /// # Errors
    /// A value is out of its range, or two contradict each other.
    pub(super) fn config(&self) -> Result<ServerConfig, Failure> {
        if self.only_expected && self.expect.is_empty() {
            return Err(Failure::Usage(
                "--only-expected without --expect would turn everybody away: name who is expected".into(),
            ));
        }
        if self.listen_checked.is_some() && self.profile == Some(Served::Classic) {
            return Err(Failure::Usage(
                "a listener with checks serves native devices only: leave out --listen-checked, or --profile classic".into(),
            ));
        }
        if self.drain() > Duration::from_secs(60) {
            return Err(Failure::Usage("the time for a shutdown must be at most 60 s (see --drain)".into()));
        }
        let mut flavours = std::collections::BTreeMap::new();
        flavours.extend(self.classic_2019.iter().map(|id| (id.clone(), Flavour::V2019)));
        for id in &self.classic_2020 {
            if flavours.insert(id.clone(), Flavour::V2020).is_some() {
                return Err(Failure::Usage(format!("{id:?} cannot speak both classic-2019 and classic-2020: name it once")));
            }
        }
        let served = self.profile.unwrap_or(Served::All);
        let config = ServerConfig {
            session: self.session(),
            native: served != Served::Classic,
            classic: served != Served::Native,
            flavour: match self.classic_flavour {
                Some(ClassicFlavour::V2019) => Flavour::V2019,
                Some(ClassicFlavour::V2020) | None => Flavour::V2020,
            },
            flavours,
            classic_timeout_ms: self.classic_timeout.map(Span::ms),
            expected: self.expect.iter().cloned().collect(),
            only_expected: self.only_expected,
            limits: self.limits(),
            chance: Chance::default(),
        };
        config.check()?;
        Ok(config)
    }

    fn session(&self) -> Config {
        let mut session = Config::new();
        if let Some(SpanRange { from, to }) = self.timeout {
            session = session.timeout_range_ms(from.ms(), to.ms());
        }
        session.window = self.window.unwrap_or(session.window);
        session.max_line = self.max_line.unwrap_or(session.max_line);
        session.on_forgotten = match self.on_forgotten {
            Some(Forgotten::Skip) => OnForgotten::Skip,
            Some(Forgotten::Redeliver) | None => OnForgotten::Redeliver,
        };
        session
    }

    fn limits(&self) -> Limits {
        let default = Limits::default();
        Limits {
            sessions: self.max_sessions.unwrap_or(default.sessions),
            half_open: self.max_half_open.unwrap_or(default.half_open),
            half_open_per_address: self.max_half_open_per_address.unwrap_or(default.half_open_per_address),
            hello_timeout: self.hello_timeout.map_or(default.hello_timeout, Span::duration),
            busy_retry_ms: self.retry.map_or(default.busy_retry_ms, Span::ms),
            outbox_messages: self.outbox_messages.unwrap_or(default.outbox_messages),
            outbox_bytes: self.outbox_bytes.unwrap_or(default.outbox_bytes),
            inbox: self.inbox.unwrap_or(default.inbox),
        }
    }
}

/// The line and column, from 1, of a place in a text.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_can_stand_in_a_file() {
        let settings: Settings = toml::from_str(
            r#"
            listen = "127.0.0.1:0"
            listen-checked = "127.0.0.1:1"
            profile = "all"
            timeout = "500ms..1min"
            window = 4
            max-line = 1024
            on-forgotten = "skip"
            classic-flavour = "classic-2019"
            classic-timeout = "3s"
            classic-2019 = ["meter-1"]
            classic-2020 = ["meter-2"]
            expect = ["door-1", "meter-1"]
            only-expected = true
            hello-timeout = "2s"
            max-sessions = 10
            max-half-open = 11
            max-half-open-per-address = 12
            outbox-messages = 13
            outbox-bytes = 14
            inbox = 15
            drain = "1s"
            retry = "4s"
            "#,
        )
        .expect("every key is known");
        assert_eq!((settings.listen(), settings.listen_checked()), ("127.0.0.1:0", Some("127.0.0.1:1")));
        let config = settings.config().expect("every value is in range");
        let session = config.session;
        assert_eq!((session.timeout_min_ms, session.timeout_max_ms, session.window, session.max_line), (500, 60_000, 4, 1024));
        assert_eq!(session.on_forgotten, OnForgotten::Skip);
        assert_eq!((config.flavour, config.classic_timeout_ms), (Flavour::V2019, Some(3_000)));
        assert_eq!(config.flavours.len(), 2);
        assert!(config.only_expected && config.expected.contains("door-1"));
        let limits = config.limits;
        assert_eq!((limits.sessions, limits.half_open, limits.half_open_per_address), (10, 11, 12));
        assert_eq!((limits.outbox_messages, limits.outbox_bytes, limits.inbox), (13, 14, 15));
        assert_eq!((limits.hello_timeout, limits.busy_retry_ms), (Duration::from_secs(2), 4_000));
    }

    #[test]
    fn the_example_of_the_manual_is_valid() {
        let manual = include_str!("../../../docs/operating.md");
        let (_, example) = manual.split_once("```toml\n").expect("the manual has an example");
        let example = example.split("```").next().expect("it ends");
        let settings: Settings = toml::from_str(example).expect("every key is known");
        assert!(settings.config().is_ok_and(|config| config.only_expected && config.expected.len() == 3));
    }

    #[test]
    fn an_option_wins_over_the_file() {
        let option = Settings { window: Some(2), ..Settings::default() };
        let file = Settings { window: Some(3), inbox: Some(4), ..Settings::default() };
        let both = option.over(file);
        assert_eq!((both.window, both.inbox), (Some(2), Some(4)));
    }

    #[test]
    fn what_is_out_of_range_is_refused() {
        // HL-0008
        for wrong in [
            "window = 0",
            "max-line = 100",
            "timeout = \"2s..1s\"",
            "timeout = \"1ms..1s\"",
            "classic-timeout = \"2h\"",
            "hello-timeout = \"61s\"",
            "drain = \"61s\"",
            "only-expected = true",
            "profile = \"classic\"\nlisten-checked = \"127.0.0.1:0\"",
            "max-sessions = 0",
            "classic-2019 = [\"a\"]\nclassic-2020 = [\"a\"]",
        ] {
            let settings: Settings = toml::from_str(wrong).expect("it can be read");
            assert!(settings.config().is_err(), "{wrong}");
        }
    }
}
