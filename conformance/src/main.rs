//! `holdline-conformance`: holds an implementation of Holdline against its specification.

mod command;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    command::Command::parse().run()
}
