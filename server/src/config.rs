//! What a server may choose.

use crate::chance::Chance;
use crate::connection::Profile;
use holdline_proto::{Config, ConfigError, ValidConfig, VecOutbox, classic::Flavour};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Choices of a server. Every field has a default that suits a handful of devices on a trusted network.
///
/// ```
/// use holdline_server::ServerConfig;
/// let config = ServerConfig { expected: ["door-1".into(), "door-2".into()].into(), only_expected: true, ..Default::default() };
/// assert!(config.check().is_ok());
/// ```
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The sessions' parameters: timeout range, window, longest line. Default: [`Config::new`]. Whether lines carry checks is not
    /// among them: that is so on [some listeners](crate::Server::listen_checked) and not on others.
    pub session: Config,
    /// Serve the native profile. Default yes.
    pub native: bool,
    /// Serve the classic profiles. Default yes.
    pub classic: bool,
    /// The classic profile of clients that [`ServerConfig::flavours`] does not name. Default `classic-2020`.
    pub flavour: Flavour,
    /// The classic profile of single clients.
    pub flavours: BTreeMap<String, Flavour>,
    /// The timeout of classic links, in milliseconds, which must be the devices' own. Default: the profile's, 1500 or 2000.
    pub classic_timeout_ms: Option<u32>,
    /// The clients that this server expects; empty: anybody.
    pub expected: BTreeSet<String>,
    /// Turn away clients that are not expected, instead of serving them with a report. Default no, as the original. Has no effect
    /// while `expected` is empty.
    pub only_expected: bool,
    /// What strangers and slow applications can cost.
    pub limits: Limits,
    /// Where random numbers come from. Default: the system.
    pub chance: Chance,
}

/// Bounds of a server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Sessions, alive or waiting for their client. Default 10,000.
    pub sessions: usize,
    /// Connections that have not said hello yet. Default 1,024.
    pub half_open: usize,
    /// The same for one address, so that one stranger cannot take them all. Default 512.
    pub half_open_per_address: usize,
    /// How long a connection may take for its first line. Default 5 s, range 1 to 60 s.
    pub hello_timeout: Duration,
    /// How long a client is asked to stay away at least while the server is full or closing, in milliseconds; each is told a time
    /// between this and twice that. Default 10,000.
    pub busy_retry_ms: u32,
    /// Unacknowledged messages of one session. Default 1,024.
    pub outbox_messages: u32,
    /// The bytes of their texts. Default 1 MiB.
    pub outbox_bytes: u32,
    /// Messages that may wait for the application besides those of the native window. Default 256.
    pub inbox: usize,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            session: Config::new(),
            native: true,
            classic: true,
            flavour: Flavour::V2020,
            flavours: BTreeMap::new(),
            classic_timeout_ms: None,
            expected: BTreeSet::new(),
            only_expected: false,
            limits: Limits::default(),
            chance: Chance::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 10_000,
            half_open: 1_024,
            half_open_per_address: 512,
            hello_timeout: Duration::from_secs(5),
            busy_retry_ms: 10_000,
            outbox_messages: 1_024,
            outbox_bytes: 1 << 20,
            inbox: 256,
        }
    }
}

/// A choice that is out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidConfig {
    /// A parameter of the sessions.
    #[error(transparent)]
    Session(#[from] ConfigError),
    /// `session.check` is set, which is not for all streams of a server alike.
    #[error("lines carry checks on some streams of a server: leave `session.check` off, use `listen_checked` or `serve_checked`")]
    Check,
    /// The hello timeout is not within 1 to 60 s.
    #[error("the hello timeout must be 1 to 60 seconds")]
    HelloTimeout,
    /// A limit is zero.
    #[error("the limit `{0}` must be at least 1")]
    Zero(&'static str),
    /// Neither profile is served.
    #[error("at least one of the native and the classic profiles must be served")]
    NoProfile,
}

/// A configuration whose every field is in range.
#[derive(Clone, Debug)]
pub(crate) struct CheckedConfig {
    pub(crate) given: ServerConfig,
    pub(crate) native: ValidConfig,
}

impl ServerConfig {
    /// Checks every field against its range.
    ///
    /// # Errors
    /// The first field that is out of range.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        // HL-0008
        self.session.validate()?;
        if self.session.check {
            return Err(InvalidConfig::Check);
        }
        self.session.timeout_ms(self.classic_timeout_ms.unwrap_or(self.session.timeout_ms)).validate()?;
        let limits = &self.limits;
        if !(Duration::from_secs(1)..=Duration::from_secs(60)).contains(&limits.hello_timeout) {
            return Err(InvalidConfig::HelloTimeout);
        }
        let named = [
            ("sessions", limits.sessions),
            ("half_open", limits.half_open),
            ("half_open_per_address", limits.half_open_per_address),
            ("outbox_messages", limits.outbox_messages as usize),
            ("outbox_bytes", limits.outbox_bytes as usize),
            ("inbox", limits.inbox),
        ];
        if let Some((name, _)) = named.into_iter().find(|&(_, value)| value == 0) {
            return Err(InvalidConfig::Zero(name));
        }
        if !self.native && !self.classic {
            return Err(InvalidConfig::NoProfile);
        }
        Ok(())
    }

    pub(crate) fn checked(self) -> Result<CheckedConfig, InvalidConfig> {
        self.check()?;
        Ok(CheckedConfig { native: self.session.validate()?, given: self })
    }
}

impl CheckedConfig {
    pub(crate) fn flavour(&self, id: &str) -> Flavour {
        self.given.flavours.get(id).copied().unwrap_or(self.given.flavour)
    }

    /// The parameters of a session of this profile.
    pub(crate) fn session(&self, profile: Profile) -> ValidConfig {
        match profile {
            Profile::Native => self.native,
            Profile::Classic(flavour) => {
                let timeout_ms = self.given.classic_timeout_ms.unwrap_or(flavour.default_timeout_ms());
                // `check` has validated both.
                self.given.session.timeout_ms(timeout_ms).validate().unwrap_or(self.native)
            }
        }
    }

    pub(crate) fn outbox(&self) -> VecOutbox {
        VecOutbox::new(self.given.limits.outbox_messages, self.given.limits.outbox_bytes)
    }
}
