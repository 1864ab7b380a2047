//! What a host and its relay say to each other in control lines.
//!
//! They are level-triggered: each says what it wants or is, again and again, so that a lost line costs a repetition. Words and keys
//! that are not known are ignored.

use crate::wire::{ControlLine, TEXT_MAX};
use core::fmt::{self, Write};

/// What a host tells its relay: where the server is, and how to join the WiFi.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Settings<'s> {
    /// The server's name or address.
    pub server: &'s str,
    /// The server's port, of a listener whose streams are checked. Not 0.
    pub port: u16,
    /// The name of the WiFi; empty where the relay needs none.
    pub ssid: &'s str,
    /// The password of the WiFi; empty if it has none.
    pub password: &'s str,
    /// How often the relay reports, in seconds; 0: never.
    pub report_s: u16,
}

/// Settings that cannot be told to a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum InvalidSettings {
    /// This one has a control character in it.
    ControlCharacter(&'static str),
    /// There is no server, or its port is 0.
    NoServer,
    /// Together they are so many bytes too long.
    TooLong(usize),
}

impl fmt::Display for InvalidSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ControlCharacter(which) => write!(f, "the {which} has a control character in it"),
            Self::NoServer => f.write_str("the server has no name or address, or its port is 0"),
            Self::TooLong(by) => write!(f, "server, network and password are together {by} bytes too long"),
        }
    }
}

impl core::error::Error for InvalidSettings {}

impl<'s> Settings<'s> {
    /// Checks that they can be told.
    ///
    /// # Errors
    /// The first that cannot.
    pub(crate) fn validate(&self) -> Result<(), InvalidSettings> {
        if self.server.is_empty() || self.port == 0 {
            return Err(InvalidSettings::NoServer);
        }
        for (which, text) in [("server's name", self.server), ("network's name", self.ssid), ("password", self.password)] {
            if text.chars().any(char::is_control) {
                return Err(InvalidSettings::ControlCharacter(which));
            }
        }
        let mut len = Length(0);
        let _ = self.write(&mut len);
        len.0.checked_sub(TEXT_MAX).filter(|&by| by > 0).map_or(Ok(()), |by| Err(InvalidSettings::TooLong(by)))
    }

    /// What the relay calls them: the check of the line that tells them. They have been validated.
    pub(crate) fn digest(&self) -> u32 {
        let mut buffer = [0; TEXT_MAX + 1];
        let mut line = ControlLine::new(&mut buffer);
        let _ = self.write(&mut line);
        line.check()
    }

    pub(crate) fn write(&self, line: &mut impl Write) -> fmt::Result {
        let Self { server, port, ssid, password, report_s } = self;
        write!(line, "config\tserver={server}\tport={port}\tssid={ssid}\tpassword={password}\treport={report_s}")
    }
}

/// Counts what would be written.
struct Length(usize);

impl Write for Length {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}

/// What a relay reports every few seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Report {
    /// Connections to the server since the relay started.
    pub connects: u32,
    /// Seconds since the relay started.
    pub uptime_s: u32,
    /// Free memory in bytes, where it is known.
    pub free: Option<u32>,
    /// Control lines of the host that arrived damaged.
    pub damaged: u32,
    /// Bytes of the session that found no room on their way to the server, and were asked for again.
    pub dropped: u32,
}

/// Whether a relay is in its network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Wifi {
    /// Nobody has asked for it.
    #[default]
    Off,
    /// It is joining.
    Joining,
    /// It has joined.
    Up,
    /// It could not join, or the network is lost.
    Failed,
}

/// How a relay's connection to the server is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Tcp {
    /// Nobody has asked for one.
    #[default]
    None,
    /// It is being opened.
    Opening,
    /// It is open.
    Open,
    /// The server refused it.
    Refused,
    /// The server did not answer.
    TimedOut,
    /// There is no way to the server.
    Unreachable,
    /// It was open, and has ended.
    Closed,
}

const WIFI: [(&str, Wifi); 4] = [("off", Wifi::Off), ("joining", Wifi::Joining), ("up", Wifi::Up), ("failed", Wifi::Failed)];
const TCP: [(&str, Tcp); 7] = [
    ("none", Tcp::None),
    ("opening", Tcp::Opening),
    ("open", Tcp::Open),
    ("refused", Tcp::Refused),
    ("timeout", Tcp::TimedOut),
    ("unreachable", Tcp::Unreachable),
    ("closed", Tcp::Closed),
];

fn word<T: PartialEq>(of: &[(&'static str, T)], value: &T) -> &'static str {
    of.iter().find(|(_, known)| known == value).map_or("", |&(word, _)| word)
}

fn meaning<T: Copy>(of: &[(&str, T)], word: &str) -> Option<T> {
    of.iter().find(|&&(known, _)| known == word).map(|&(_, value)| value)
}

/// What a host wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Want {
    /// Which attempt to join the network; 0: to leave it.
    pub(crate) join: u32,
    /// Which connection to the server; 0: none.
    pub(crate) link: u32,
}

impl Want {
    pub(crate) fn write(&self, line: &mut impl Write) -> fmt::Result {
        write!(line, "want\tjoin={}\tlink={}", self.join, self.link)
    }
}

/// What a relay is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// Tells one start of the relay from another.
    pub(crate) boot: u32,
    /// Which settings it has.
    pub(crate) config: Option<u32>,
    /// Which of the host's attempts to join `wifi` is about.
    pub(crate) join: u32,
    pub(crate) wifi: Wifi,
    /// Which of the host's connections `tcp` is about.
    pub(crate) link: u32,
    pub(crate) tcp: Tcp,
}

impl State {
    pub(crate) fn write(&self, line: &mut impl Write) -> fmt::Result {
        write!(line, "relay\tboot={:08x}\tconfig=", self.boot)?;
        match self.config {
            Some(config) => write!(line, "{config:08x}")?,
            None => line.write_str("none")?,
        }
        let (wifi, tcp) = (word(&WIFI, &self.wifi), word(&TCP, &self.tcp));
        write!(line, "\tjoin={}\twifi={wifi}\tlink={}\ttcp={tcp}", self.join, self.link)
    }
}

impl Report {
    pub(crate) fn write(&self, line: &mut impl Write) -> fmt::Result {
        write!(line, "report\tconnects={}\tuptime={}", self.connects, self.uptime_s)?;
        if let Some(free) = self.free {
            write!(line, "\tfree={free}")?;
        }
        write!(line, "\tdamaged={}\tdropped={}", self.damaged, self.dropped)
    }
}

/// A control line of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FromHost<'l> {
    Config(Settings<'l>),
    Want(Want),
}

/// A control line of a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FromRelay {
    State(State),
    Report(Report),
}

impl<'l> FromHost<'l> {
    /// Understands a control line; `None` if it says nothing that is known here.
    pub(crate) fn parse(text: &'l str) -> Option<Self> {
        let fields = Fields::of(text);
        Some(match fields.word {
            "config" => {
                let settings = Settings {
                    server: fields.get("server")?,
                    port: fields.number("port")?,
                    ssid: fields.get("ssid")?,
                    password: fields.get("password")?,
                    report_s: fields.number("report")?,
                };
                settings.validate().ok()?;
                Self::Config(settings)
            }
            "want" => Self::Want(Want { join: fields.number("join")?, link: fields.number("link")? }),
            _ => return None,
        })
    }
}

impl FromRelay {
    /// Understands a control line; `None` if it says nothing that is known here.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let fields = Fields::of(text);
        Some(match fields.word {
            "relay" => Self::State(State {
                boot: hex(fields.get("boot")?)?,
                config: match fields.get("config")? {
                    "none" => None,
                    config => Some(hex(config)?),
                },
                join: fields.number("join")?,
                wifi: meaning(&WIFI, fields.get("wifi")?)?,
                link: fields.number("link")?,
                tcp: meaning(&TCP, fields.get("tcp")?)?,
            }),
            "report" => Self::Report(Report {
                connects: fields.number("connects")?,
                uptime_s: fields.number("uptime")?,
                free: fields.number("free"),
                damaged: fields.number("damaged")?,
                dropped: fields.number("dropped")?,
            }),
            _ => return None,
        })
    }
}

/// A control line's word and fields.
#[derive(Clone, Copy)]
struct Fields<'l> {
    word: &'l str,
    rest: &'l str,
}

impl<'l> Fields<'l> {
    fn of(text: &'l str) -> Self {
        let (word, rest) = text.split_once('\t').unwrap_or((text, ""));
        Self { word, rest }
    }

    fn get(&self, key: &str) -> Option<&'l str> {
        self.rest.split('\t').filter_map(|field| field.split_once('=')).find(|&(known, _)| known == key).map(|(_, value)| value)
    }

    fn number<T: core::str::FromStr>(&self, key: &str) -> Option<T> {
        self.get(key)?.parse().ok()
    }
}

fn hex(digits: &str) -> Option<u32> {
    u32::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::string::String;

    const SETTINGS: Settings<'_> =
        Settings { server: "10.0.0.2", port: 8124, ssid: "attic, ü", password: "a=b c", report_s: 60 };

    fn said(write: impl FnOnce(&mut String) -> fmt::Result) -> String {
        let mut text = String::new();
        write(&mut text).expect("there is room");
        text
    }

    #[test]
    fn what_is_said_is_understood() {
        let text = said(|text| SETTINGS.write(text));
        assert_eq!(text, "config\tserver=10.0.0.2\tport=8124\tssid=attic, ü\tpassword=a=b c\treport=60");
        assert_eq!(FromHost::parse(&text), Some(FromHost::Config(SETTINGS)));

        let want = Want { join: 7, link: u32::MAX };
        let text = said(|text| want.write(text));
        assert_eq!(text, "want\tjoin=7\tlink=4294967295");
        assert_eq!(FromHost::parse(&text), Some(FromHost::Want(want)));

        let state = State { boot: 0xbeef, config: None, join: 7, wifi: Wifi::Joining, link: 0, tcp: Tcp::None };
        let text = said(|text| state.write(text));
        assert_eq!(text, "relay\tboot=0000beef\tconfig=none\tjoin=7\twifi=joining\tlink=0\ttcp=none");
        assert_eq!(FromRelay::parse(&text), Some(FromRelay::State(state)));
        for (_, wifi) in WIFI {
            for (_, tcp) in TCP {
                let state = State { config: Some(SETTINGS.digest()), wifi, tcp, ..state };
                assert_eq!(FromRelay::parse(&said(|text| state.write(text))), Some(FromRelay::State(state)));
            }
        }

        for free in [None, Some(61_440)] {
            let report = Report { connects: 3, uptime_s: 600, free, damaged: 1, dropped: 2 };
            assert_eq!(FromRelay::parse(&said(|text| report.write(text))), Some(FromRelay::Report(report)));
        }
    }

    #[test]
    fn the_lines_of_the_page_are_said_so() {
        let page = include_str!("../../docs/relay.md");
        let (mut of_host, mut of_relay) = (0, 0);
        for line in page.lines() {
            let Some((who, text)) = line.split_once("\\xfe") else { continue };
            let Some((text, _)) = text.rsplit_once('*') else { continue };
            let text = text.replace("\\t", "\t");
            let again = match who.trim() {
                "host" => {
                    of_host += 1;
                    match FromHost::parse(&text).expect("it is understood") {
                        FromHost::Config(settings) => said(|text| settings.write(text)),
                        FromHost::Want(want) => said(|text| want.write(text)),
                    }
                }
                "relay" => {
                    of_relay += 1;
                    match FromRelay::parse(&text).expect("it is understood") {
                        FromRelay::State(state) => said(|text| state.write(text)),
                        FromRelay::Report(report) => said(|text| report.write(text)),
                    }
                }
                _ => continue,
            };
            assert_eq!(again, text);
        }
        assert_eq!((of_host, of_relay), (4, 8));
    }

    #[test]
    fn what_a_later_version_may_say_is_ignored() {
        assert_eq!(FromHost::parse("want\tcolour=red\tjoin=1\tlink=2\tmore"), Some(FromHost::Want(Want { join: 1, link: 2 })));
        for unknown in
            ["", "\t", "wants\tjoin=1\tlink=2", "want\tjoin=1", "want\tjoin=-1\tlink=2", "want\tjoin=4294967296\tlink=2"]
        {
            assert_eq!(FromHost::parse(unknown), None, "{unknown:?}");
        }
        assert_eq!(FromRelay::parse("relay\tboot=1\tconfig=2\tjoin=3\twifi=sleeping\tlink=4\ttcp=open"), None);
    }

    #[test]
    fn settings_that_cannot_be_told_are_refused() {
        let tab = Settings { ssid: "a\tb", ..SETTINGS };
        assert_eq!(tab.validate(), Err(InvalidSettings::ControlCharacter("network's name")));
        assert_eq!(Settings { password: "a\n", ..SETTINGS }.validate(), Err(InvalidSettings::ControlCharacter("password")));
        assert_eq!(Settings { server: "", ..SETTINGS }.validate(), Err(InvalidSettings::NoServer));
        assert_eq!(Settings { port: 0, ..SETTINGS }.validate(), Err(InvalidSettings::NoServer));
        // The longest name and password of a WiFi leave room for a server's name of 105 bytes.
        let (ssid, password, server) = ("s".repeat(32), "p".repeat(64), "n".repeat(106));
        let longest = Settings { server: &server[..105], port: 65_535, ssid: &ssid, password: &password, report_s: 65_535 };
        assert_eq!(longest.validate(), Ok(()));
        assert_eq!(Settings { server: &server, ..longest }.validate(), Err(InvalidSettings::TooLong(1)));
    }
}
