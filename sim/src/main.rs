//! The `holdline-sim` command.

mod command;

use clap::Parser;
use std::process::ExitCode;

/// Plays outages against Holdline in virtual time, from a seed, and says what was lost, repeated or reordered.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    after_help = "Try:  holdline-sim run ap-reboot-fleet\n      holdline-sim compare half-open-server --seeds 200\n      holdline-sim swarm --seeds 10000"
)]
struct Arguments {
    #[command(subcommand)]
    command: command::Command,
}

fn main() -> ExitCode {
    Arguments::parse().command.run().unwrap_or_else(|error| {
        eprintln!("holdline-sim: {error}");
        ExitCode::from(2)
    })
}
