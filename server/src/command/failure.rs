//! Why a command ends in failure: one line that says what was wrong and what to do.

use holdline_server::proto::{RefusalCode, SendError};
use holdline_server::{InvalidClient, InvalidConfig, WriteError};
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

/// Why a command could not do what it was told.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The command line; the text is whole.
    #[error("{0}")]
    Usage(String),
    #[error("cannot read {}: {error}; name a file with --config, or leave the option out", path.display())]
    ConfigUnreadable { path: PathBuf, error: io::Error },
    #[error("{}:{line}:{column}: {message}; correct it (every option of `holdline-server serve --help` can stand there)", path.display())]
    ConfigWrong { path: PathBuf, line: usize, column: usize, message: String },
    #[error("{0} (see `holdline-server serve --help`)")]
    Settings(#[from] InvalidConfig),
    #[error("cannot listen on {address}: {error}; {}", listen_advice(.error, option))]
    Listen { address: String, error: io::Error, option: &'static str },
    #[error("{0} (see `holdline-server connect --help`)")]
    Client(#[from] InvalidClient),
    #[error(
        "{server} answered, but it does not speak {profile}; check --server, or try another --profile (auto: native, else classic-2020)"
    )]
    NotHoldline { server: String, profile: &'static str },
    #[error("{server} refused this client: {}; {}", .code.token(), refusal_advice(*.code, *check))]
    Refused { server: String, code: RefusalCode, check: bool },
    #[error("nobody reads standard output any more ({0}): messages cannot be handed over, so none is accepted")]
    Output(io::Error),
    #[error("the runtime could not be started: {0}; the machine may be out of memory or threads")]
    Runtime(io::Error),
}

impl Failure {
    /// 2 for what was typed wrong or cannot be had as typed, 1 for what went wrong later.
    pub(super) fn status(&self) -> ExitCode {
        match self {
            Self::Usage(_)
            | Self::ConfigUnreadable { .. }
            | Self::ConfigWrong { .. }
            | Self::Settings(_)
            | Self::Listen { .. }
            | Self::Client(_) => ExitCode::from(2),
            Self::NotHoldline { .. } | Self::Refused { .. } | Self::Output(_) | Self::Runtime(_) => ExitCode::FAILURE,
        }
    }
}

fn listen_advice(error: &io::Error, option: &str) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("another program has this port, maybe another Holdline server: stop it, or choose a port with {option}")
        }
        io::ErrorKind::PermissionDenied => {
            format!("choose a port from 1024 on with {option}, or allow this program to take lower ones")
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("this machine has no such address: choose one of its own with {option}, or 0.0.0.0 for all")
        }
        _ => format!("an address is HOST:PORT, such as 127.0.0.1:8123: give one with {option}"),
    }
}

fn refusal_advice(code: RefusalCode, check: bool) -> &'static str {
    match code {
        RefusalCode::Malformed if check => {
            "this address takes no lines with checks: leave out --check, or use the one that it was given as --listen-checked"
        }
        RefusalCode::UnknownClient => {
            "it serves only the clients it expects: add this one there with --expect, or use another --id"
        }
        RefusalCode::Profile => "it does not serve this profile: try another --profile",
        RefusalCode::Version | RefusalCode::Malformed => "it speaks another version of the protocol: use programs of one release",
        RefusalCode::Sealed => "it does not take sealed lines",
        _ => "try again later",
    }
}

/// Why a message cannot be sent, and what to do about it.
pub(super) fn advice(error: WriteError) -> String {
    match error {
        WriteError::Text(SendError::TooLong { max }) => format!("it is longer than the {max} bytes of a message: split it"),
        error => error.to_string(),
    }
}
