//! The command line.

mod mutants;
mod play;
mod show;

use clap::{Args, Parser, Subcommand};
use holdline_conformance::report::Citations;
use holdline_conformance::{Case, Level, Mode, Profile, Role, Specification, all_cases, one_row, specification};
use std::path::PathBuf;
use std::process::ExitCode;

/// Holds an implementation of Holdline, in any language, against SPEC.md
///
/// Exit codes: 0 as expected; 1 not; 2 usage; 3 the suite could not run; 4 an expectation is stale (a case is listed as failing, and passes)
#[derive(Debug, Parser)]
#[command(name = "holdline-conformance", version, max_term_width = 100)]
pub(crate) struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Plays the cases against a server that listens at an address
    Server {
        /// Where it listens
        #[arg(value_name = "HOST:PORT")]
        address: String,
        #[command(flatten)]
        run: play::Options,
    },
    /// Plays the cases against a client that connects to this address, and connects again after each
    Client {
        /// Where to wait for it
        #[arg(long, value_name = "HOST:PORT")]
        listen: String,
        #[command(flatten)]
        run: play::Options,
    },
    /// Plays the cases against what a command starts, which speaks the shim protocol on its standard input and output
    Shim {
        #[command(flatten)]
        run: play::Options,
        /// The command and its arguments
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// Plays the cases against the reference subject in this process, under virtual time
    Reference {
        #[command(flatten)]
        run: play::Options,
    },
    /// Lists the cases
    List {
        #[command(flatten)]
        which: Which,
        /// One line of JSON for each
        #[arg(long)]
        json: bool,
    },
    /// Shows a case: its steps, and the requirements that it checks
    Show {
        /// Its id, or its family's
        case: String,
    },
    /// Plays the cases against subjects that each have one defect, and fails when one is not found by a case that checks what it breaks
    Mutants {
        #[command(flatten)]
        options: mutants::Options,
    },
    /// Shows which case, test and code each requirement has; fails on a requirement that has no case and no reason for it
    Coverage {
        /// The sources whose citations are counted
        #[arg(long, value_name = "DIR")]
        root: Option<PathBuf>,
        /// As JSON
        #[arg(long)]
        json: bool,
        /// As a page, into this file
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
    },
}

/// Which cases.
#[derive(Args, Debug, Default)]
pub(crate) struct Which {
    /// Only these cases: an id, a family, or a beginning and *; can be repeated
    #[arg(long = "case", value_name = "ID", help_heading = "Which cases")]
    cases: Vec<String>,
    /// Only those that check this requirement; can be repeated
    #[arg(long = "req", value_name = "HL-nnnn", help_heading = "Which cases")]
    requirements: Vec<String>,
    /// Only those of this level: must, should, may; can be repeated
    #[arg(long = "level", value_name = "LEVEL", value_parser = ["must", "should", "may"], help_heading = "Which cases")]
    levels: Vec<String>,
    /// Only those of this profile; can be repeated
    #[arg(
        long = "profile",
        value_name = "PROFILE",
        value_parser = ["native", "classic-2020", "classic-2019"],
        help_heading = "Which cases"
    )]
    profiles: Vec<String>,
    /// Only those for this role: client, server
    #[arg(long = "role", value_name = "ROLE", value_parser = ["client", "server"], help_heading = "Which cases")]
    roles: Vec<String>,
    /// Only those of this mode: wire, shim, power; can be repeated
    #[arg(long = "mode", value_name = "MODE", value_parser = ["wire", "shim", "power"], help_heading = "Which cases")]
    modes: Vec<String>,
    /// One row of each family, for each role and profile: a third of the time
    #[arg(long, help_heading = "Which cases")]
    one_row: bool,
}

impl Which {
    /// The cases that are meant.
    ///
    /// # Errors
    /// An id that means no case, a requirement that does not exist.
    fn pick(&self, cases: &[Case]) -> Result<Vec<Case>, String> {
        if let Some(id) = self.cases.iter().find(|id| !cases.iter().any(|case| case.is_meant_by(id))) {
            return Err(format!("`{id}` is no case; `holdline-conformance list` shows all"));
        }
        if let Some(id) = self.requirements.iter().find(|id| !cases.iter().any(|case| checks(case, id))) {
            return Err(format!("no case checks `{id}`; `holdline-conformance coverage` shows why"));
        }
        let any = |all: &[String], fits: &dyn Fn(&str) -> bool| all.is_empty() || all.iter().any(|one| fits(one));
        let meant = |case: &&Case| {
            any(&self.cases, &|id| case.is_meant_by(id))
                && any(&self.requirements, &|id| checks(case, id))
                && any(&self.levels, &|word| level(case.level) == word)
                && any(&self.profiles, &|word| Profile::word(case.profile) == word)
                && any(&self.roles, &|word| Role::word(case.role) == word)
                && any(&self.modes, &|word| Mode::word(case.mode) == word)
        };
        let meant: Vec<Case> = cases.iter().filter(meant).cloned().collect();
        Ok(if self.one_row { one_row(meant) } else { meant })
    }
}

fn checks(case: &Case, id: &str) -> bool {
    case.requirements.iter().any(|requirement| requirement.to_string().eq_ignore_ascii_case(id))
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Must => "must",
        Level::Should => "should",
        Level::May => "may",
    }
}

/// The suite ends without a run.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was asked for makes no sense.
    Usage(String),
    /// It could not be done.
    CouldNotRun(String),
}

impl Command {
    pub(crate) fn run(self) -> ExitCode {
        let ended = library().and_then(|(specification, cases)| self.what.run(&specification, &cases));
        match ended {
            Ok(code) => ExitCode::from(code),
            Err(Failure::Usage(why)) => {
                eprintln!("error: {why}");
                ExitCode::from(2)
            }
            Err(Failure::CouldNotRun(why)) => {
                eprintln!("error: {why}");
                ExitCode::from(3)
            }
        }
    }
}

fn library() -> Result<(Specification, Vec<Case>), Failure> {
    let specification = specification().map_err(|defects| Failure::CouldNotRun(defects.join("\n")))?;
    let cases = all_cases(&specification).map_err(|error| Failure::CouldNotRun(error.to_string()))?;
    Ok((specification, cases))
}

impl What {
    fn run(self, specification: &Specification, cases: &[Case]) -> Result<u8, Failure> {
        match self {
            Self::Server { address, run } => run.against_server(&address, specification, cases),
            Self::Client { listen, run } => run.against_client(&listen, specification, cases),
            Self::Shim { run, command } => run.against_shim(command, specification, cases),
            Self::Reference { run } => run.against_reference(specification, cases),
            Self::List { which, json } => {
                let picked = which.pick(cases).map_err(Failure::Usage)?;
                show::list(&picked, json);
                Ok(0)
            }
            Self::Show { case } => show::show(&case, specification, cases).map(|()| 0).map_err(Failure::Usage),
            Self::Mutants { options } => options.run(specification, cases),
            Self::Coverage { root, json, html } => {
                let citations = match root {
                    Some(root) => Citations::read(&root).map_err(|error| Failure::CouldNotRun(error.to_string()))?,
                    None => Citations::default(),
                };
                show::coverage(specification, cases, &citations, json, html.as_deref())
            }
        }
    }
}
