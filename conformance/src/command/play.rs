//! The commands that play cases.

use super::{Failure, Which};
use clap::Args;
use holdline_conformance::report::{Citations, Coverage, Tally, json, junit, page, story, tap};
use holdline_conformance::run::{Choices, Claims, Done, Expectations, Known, Standing, Target, introduce, run};
use holdline_conformance::{Case, Specification, Verdict, case_exemptions};
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::io::{IsTerminal, Write};
use std::net::{TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Args, Debug)]
pub(super) struct Options {
    #[command(flatten)]
    which: Which,
    /// What the implementation claims, in a small file; see docs/conformance.md
    #[arg(long, value_name = "FILE")]
    claims: Option<PathBuf>,
    /// Cases that are known to fail, `id: reason` a line
    #[arg(long, value_name = "FILE", help_heading = "Expectations")]
    known_failing: Option<PathBuf>,
    /// Cases that are known to fail at times
    #[arg(long, value_name = "FILE", help_heading = "Expectations")]
    known_flaky: Option<PathBuf>,
    /// Also fail on a SHOULD or a MAY that is not met
    #[arg(long, help_heading = "Expectations")]
    strict: bool,
    /// T, in milliseconds [default: 2000 in the classic profiles of a bare server, 1000 elsewhere]
    #[arg(long, value_name = "MS", help_heading = "Time")]
    timeout: Option<u64>,
    /// T of classic links, in milliseconds, where the suite cannot choose it [default: as --timeout]
    #[arg(long, value_name = "MS", help_heading = "Time")]
    classic_timeout: Option<u64>,
    /// How much earlier or later than it is written something may come, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 150, help_heading = "Time")]
    tolerance: u64,
    /// Makes T and the tolerance so many times as long: for a slow machine, or one that is busy
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, help_heading = "Time")]
    time_scale: f64,
    /// How many cases are played at once
    #[arg(long, short, value_name = "COUNT", default_value_t = 8)]
    jobs: usize,
    /// Draws the order of the cases by this seed
    #[arg(long, value_name = "SEED")]
    shuffle: Option<u64>,
    /// Writes JUnit XML
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    junit: Option<PathBuf>,
    /// Writes TAP
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    tap: Option<PathBuf>,
    /// Writes JSON
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    json: Option<PathBuf>,
    /// Writes one page with every requirement, its cases, and the transcript of each failure
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    html: Option<PathBuf>,
    /// Names each case, also those that pass
    #[arg(long, short)]
    verbose: bool,
}

/// T where nothing else is said.
const TIMEOUT_MS: u64 = 1_000;
/// T of a classic-2020 device and server, where the suite cannot choose.
const CLASSIC_TIMEOUT_MS: u64 = 2_000;

impl Options {
    pub(super) fn against_server(self, address: &str, specification: &Specification, cases: &[Case]) -> Result<u8, Failure> {
        let address = address
            .to_socket_addrs()
            .map_err(|error| Failure::Usage(format!("{address}: {error}")))?
            .next()
            .ok_or_else(|| Failure::Usage(format!("{address} has no address")))?;
        if let Err(error) = std::net::TcpStream::connect_timeout(&address, Duration::from_secs(5)) {
            return Err(Failure::CouldNotRun(format!("no server at {address}: {error}")));
        }
        let mut claims = self.claims()?;
        claims.fresh = true;
        if claims.roles.is_none() {
            claims.roles = Some(vec!["server".to_owned()]);
        }
        if claims.profiles.is_none() {
            // The wire does not tell which classic profile a server has.
            claims.profiles = Some(vec!["native".to_owned(), "classic-2020".to_owned()]);
        }
        self.play(&Target::Server(address), &claims, specification, cases, Some(CLASSIC_TIMEOUT_MS))
    }

    pub(super) fn against_client(self, listen: &str, specification: &Specification, cases: &[Case]) -> Result<u8, Failure> {
        let listener = TcpListener::bind(listen)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .map_err(|error| Failure::CouldNotRun(format!("{listen}: {error}")))?;
        if let Ok(address) = listener.local_addr() {
            eprintln!("waiting for a client on {address}");
        }
        let mut claims = self.claims()?;
        if claims.roles.is_none() {
            claims.roles = Some(vec!["client".to_owned()]);
        }
        if claims.profiles.is_none() {
            claims.profiles = Some(vec!["native".to_owned()]);
        }
        self.play(&Target::Client(listener), &claims, specification, cases, Some(CLASSIC_TIMEOUT_MS))
    }

    pub(super) fn against_shim(self, command: Vec<String>, specification: &Specification, cases: &[Case]) -> Result<u8, Failure> {
        let shim = introduce(&command, &self.choices(None)?).map_err(Failure::CouldNotRun)?;
        let claims = shim.narrowed_by(self.claims()?);
        self.play(&Target::Shim(command), &claims, specification, cases, None)
    }

    pub(super) fn against_reference(self, specification: &Specification, cases: &[Case]) -> Result<u8, Failure> {
        let claims = Claims::everything().narrowed_by(self.claims()?);
        self.play(&Target::InProcess, &claims, specification, cases, None)
    }

    fn claims(&self) -> Result<Claims, Failure> {
        match &self.claims {
            None => Ok(Claims::default()),
            Some(file) => Claims::read(&read(file)?).map_err(|why| Failure::Usage(format!("{}: {why}", file.display()))),
        }
    }

    fn choices(&self, classic: Option<u64>) -> Result<Choices, Failure> {
        if !(0.05..=100.0).contains(&self.time_scale) {
            return Err(Failure::Usage("--time-scale must be 0.05 to 100".to_owned()));
        }
        let scaled = |ms: u64| (ms as f64 * self.time_scale) as u64;
        let timeout_ms = scaled(self.timeout.unwrap_or(TIMEOUT_MS));
        if !(200..=3_600_000).contains(&timeout_ms) {
            return Err(Failure::Usage(format!("T must be 200 to 3600000 ms, and comes out as {timeout_ms}")));
        }
        Ok(Choices {
            timeout_ms,
            classic_timeout_ms: self.classic_timeout.or(self.timeout).or(classic),
            tolerance_ms: scaled(self.tolerance),
            jobs: self.jobs,
            shuffle: self.shuffle,
            patience: Duration::from_secs(10).mul_f64(self.time_scale.max(1.0)),
            // Two runs against one server must not meet in a session.
            run: std::collections::hash_map::RandomState::new().build_hasher().finish() >> 24,
        })
    }

    fn expectations(&self, cases: &[Case]) -> Result<Expectations, Failure> {
        let mut expectations = Expectations::default();
        for (file, known) in [(&self.known_failing, Known::Failing), (&self.known_flaky, Known::Flaky)] {
            if let Some(file) = file {
                let added = expectations.add(known, &read(file)?);
                added.map_err(|why| Failure::Usage(format!("{}: {why}", file.display())))?;
            }
        }
        let orphans: Vec<&str> = expectations.orphans(cases).collect();
        if orphans.is_empty() {
            Ok(expectations)
        } else {
            Err(Failure::Usage(format!("no case is meant by: {}", orphans.join(", "))))
        }
    }

    fn play(
        &self,
        target: &Target,
        claims: &Claims,
        specification: &Specification,
        cases: &[Case],
        classic: Option<u64>,
    ) -> Result<u8, Failure> {
        let expectations = self.expectations(cases)?;
        let picked = self.which.pick(cases).map_err(Failure::Usage)?;
        let choices = self.choices(classic)?;
        let mut progress = Progress::new(picked.len(), self.verbose);
        let mut done = run(picked, target, claims, &expectations, &choices, |one| progress.tell(one, specification));
        progress.end();
        if self.strict {
            for one in done.iter_mut().filter(|one| one.standing == Standing::Deviates) {
                one.standing = Standing::Bad;
            }
        }
        self.report(&done, claims, specification, cases)?;
        for one in done.iter().filter(|one| one.standing == Standing::Stale) {
            println!(
                "STALE {}: it is listed as failing ({}), and passes",
                one.case.id,
                expectations.reason(&one.case).unwrap_or("")
            );
        }
        let tally = Tally::of(&done);
        println!("{}", tally.words());
        if tally.known > 0 {
            println!("{} failed as they are known to", tally.known);
        }
        if let Some(words) = tally.not_met() {
            println!("{words}");
        }
        Ok(tally.exit_code())
    }

    fn report(&self, done: &[Done], claims: &Claims, specification: &Specification, cases: &[Case]) -> Result<(), Failure> {
        let write = |file: &Option<PathBuf>, text: &dyn Fn() -> Result<String, Failure>| match file {
            None => Ok(()),
            Some(file) => fs::write(file, text()?).map_err(|error| Failure::CouldNotRun(format!("{}: {error}", file.display()))),
        };
        write(&self.junit, &|| Ok(junit(done, specification)))?;
        write(&self.tap, &|| Ok(tap(done)))?;
        write(&self.json, &|| Ok(json(done, claims).to_string()))?;
        write(&self.html, &|| {
            let exemptions = case_exemptions().map_err(Failure::CouldNotRun)?;
            let coverage = Coverage::of(specification, cases, &Citations::default(), &exemptions);
            Ok(page("Holdline conformance", &coverage, Some((done, claims))))
        })
    }
}

fn read(file: &Path) -> Result<String, Failure> {
    fs::read_to_string(file).map_err(|error| Failure::Usage(format!("{}: {error}", file.display())))
}

/// What is shown while cases are played: failures as they come, and on a terminal how far it is.
struct Progress {
    total: usize,
    done: usize,
    bad: usize,
    verbose: bool,
    is_terminal: bool,
}

impl Progress {
    fn new(total: usize, verbose: bool) -> Self {
        Self { total, done: 0, bad: 0, verbose, is_terminal: std::io::stderr().is_terminal() }
    }

    fn tell(&mut self, one: &Done, specification: &Specification) {
        self.done += 1;
        self.bad += usize::from(one.is_bad());
        let passed = matches!(one.outcome.verdict, Verdict::Pass | Verdict::Skipped(_) | Verdict::Unimplemented(_));
        if !passed {
            self.clear();
            println!("{}", story(one, specification));
        } else if self.verbose {
            self.clear();
            println!("{:<13} {} {}", one.outcome.verdict.word(), one.case.id, one.outcome.verdict.reason());
        }
        if self.is_terminal {
            eprint!("\r{} of {}, {} not as expected: {:.60}\x1b[K", self.done, self.total, self.bad, one.case.id);
            // A terminal that is gone shows nothing.
            let _ = std::io::stderr().flush();
        }
    }

    fn clear(&self) {
        if self.is_terminal {
            eprint!("\r\x1b[K");
        }
    }

    fn end(&self) {
        self.clear();
    }
}
