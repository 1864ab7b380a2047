//! The `holdline-server` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    eprintln!("holdline-server {}: it does not listen yet", env!("CARGO_PKG_VERSION"));
    ExitCode::FAILURE
}
