//! What can be typed: `serve`, `connect`, `demo`.

mod app;
mod connect;
mod count;
mod demo;
mod failure;
mod host;
mod input;
mod log;
mod output;
mod quantity;
mod serve;
mod settings;
mod signals;

use clap::{CommandFactory, Parser, Subcommand};
use failure::Failure;
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

/// The program's name in messages.
const NAME: &str = "holdline-server";

/// Keeps a line of text messages to devices whole, through outages.
///
/// Messages arrive once and in order, over any number of lost connections, in both directions.
#[derive(Debug, Parser)]
#[command(name = NAME, bin_name = NAME, version, max_term_width = 110, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Without a command it is `serve`, and takes the options of it.

Examples:
  holdline-server                              serve on port 8123 of every address
  holdline-server --listen 127.0.0.1:8123      serve this machine only
  holdline-server connect --id door-1          a device on your desk
  holdline-server demo                         what it is for, in 20 seconds

`holdline-server <command> --help` tells the options of a command.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve devices: what they send goes to standard output, lines from standard input go to them.
    Serve(Box<serve::Options>),
    /// Be a device: lines from standard input are sent, what is received is printed.
    Connect(connect::Options),
    /// Show what it is for: four devices, a link that misbehaves, and a table of what got through.
    Demo(demo::Options),
}

/// Reads the command line and does what it says.
pub(crate) fn run() -> ExitCode {
    let arguments = with_command(std::env::args_os().collect());
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => return fail(&Failure::Usage(one_line(&error, &arguments))),
        Err(help) => {
            // Whoever closed standard output does not want the help any more.
            let _ = help.print();
            return ExitCode::SUCCESS;
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&Failure::Runtime(error)),
    };
    let result = runtime.block_on(async {
        match cli.command {
            Command::Serve(options) => Box::pin(serve::run(*options)).await,
            Command::Connect(options) => Box::pin(connect::run(options)).await,
            Command::Demo(options) => Box::pin(demo::run(options)).await,
        }
    });
    // Nothing is waited for that still runs: all that matters was drained by the command.
    runtime.shutdown_background();
    result.unwrap_or_else(|failure| fail(&failure))
}

/// `serve` where no command was named.
fn with_command(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let first = arguments.get(1).map(|argument| argument.to_string_lossy().into_owned());
    let names_none = first.is_none_or(|first| first.starts_with('-') && !["-h", "--help", "-V", "--version"].contains(&&*first));
    if names_none {
        arguments.insert(arguments.len().min(1), "serve".into());
    }
    arguments
}

/// What clap says about a usage error, its advice included, on one line.
fn one_line(error: &clap::Error, arguments: &[OsString]) -> String {
    let rendered = error.render().to_string();
    let said = rendered.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let said: Vec<&str> = said.filter(|line| !line.is_empty()).map(|line| line.strip_prefix("error: ").unwrap_or(line)).collect();
    let command =
        arguments.get(1).and_then(|command| command.to_str()).filter(|command| Cli::command().find_subcommand(command).is_some());
    let help = command.map_or_else(|| format!("{NAME} --help"), |command| format!("{NAME} {command} --help"));
    format!("{} (see `{help}`)", said.join("; ").replace(":; ", ": ").replace("; [", " ["))
}

fn fail(failure: &Failure) -> ExitCode {
    tell(format_args!("{NAME}: {failure}"));
    failure.status()
}

/// A line for the person who typed the command, on standard error; nobody there is no reason to stop.
fn tell(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_fit_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_a_command_it_is_serve() {
        let given = |words: &[&str]| with_command(words.iter().map(Into::into).collect());
        assert_eq!(given(&["holdline-server"]), ["holdline-server", "serve"]);
        assert_eq!(given(&["holdline-server", "--json"]), ["holdline-server", "serve", "--json"]);
        assert_eq!(given(&["holdline-server", "demo"]), ["holdline-server", "demo"]);
        assert_eq!(given(&["holdline-server", "--help"]), ["holdline-server", "--help"]);
    }

    #[test]
    fn a_usage_error_fits_on_a_line_and_says_where_to_look() {
        let said = |words: &[&str]| {
            let words: Vec<OsString> = words.iter().map(Into::into).collect();
            one_line(&Cli::try_parse_from(&words).expect_err("a wrong command line"), &words)
        };
        assert_eq!(
            said(&["holdline-server", "connect"]),
            "the following required arguments were not provided: --id <NAME> (see `holdline-server connect --help`)"
        );
        assert_eq!(
            said(&["holdline-server", "serve", "--windw", "3"]),
            "unexpected argument '--windw' found; tip: a similar argument exists: '--window' (see `holdline-server serve --help`)"
        );
        assert!(said(&["holdline-server", "serve", "--window", "x"]).ends_with("(see `holdline-server serve --help`)"));
        assert!(said(&["holdline-server", "serv"]).ends_with("(see `holdline-server --help`)"));
    }
}
