//! The interpreter: plays a case on a bench.

mod app;
mod greeting;
mod link;
mod outcome;
mod wire;

pub use outcome::{Entry, Failure, Outcome, Transcript, Verdict};

use crate::bench::{Bench, Incident, LinkId, Stop};
use crate::case::{Case, Mode, Profile, Role, Scalar, Step, Verb};
use crate::expression::{Names, Value, evaluate, holds, span};
use link::Link;
use serde_json::Value as Json;

/// Choices of a run that every case feels.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// T, in milliseconds.
    pub timeout_ms: u64,
    /// A number that no other run of this suite against this subject has: client ids are made of it.
    pub run: u64,
}

/// What a subject may send in one case.
const BYTES_MAX: usize = 4 << 20;
/// How long a case may take, in its own time, beyond what any case needs.
const CASE_MAX_MS: u64 = 30 * 60 * 1000;

/// Plays a case.
pub fn play(case: &Case, terms: Terms, bench: &mut dyn Bench) -> Outcome {
    let began = bench.now();
    let mut player = Player::new(case, terms, bench);
    let verdict = match player.run() {
        Ok(()) => Verdict::Pass,
        Err(Broken::Failed(failure)) => Verdict::Fail(failure),
        Err(Broken::Stopped(stop)) => Verdict::from(stop),
    };
    let transcript = std::mem::take(&mut player.transcript);
    Outcome { verdict, transcript, took_ms: bench.now().saturating_sub(began) }
}

/// Why a step did not go through.
enum Broken {
    Failed(Failure),
    Stopped(Stop),
}

impl From<Stop> for Broken {
    fn from(stop: Stop) -> Self {
        Self::Stopped(stop)
    }
}

/// What is wrong with what the subject did, in one sentence.
impl From<String> for Broken {
    fn from(what: String) -> Self {
        Self::Failed(Failure { step: 0, what, line: None })
    }
}

struct Player<'p> {
    case: &'p Case,
    bench: &'p mut dyn Bench,
    names: Names,
    links: Vec<Link>,
    /// The time from which a step's windows count: when the one before it was done.
    mark: u64,
    began: u64,
    bytes: usize,
    started: bool,
    /// Events that no step has asked for yet.
    events: Vec<Json>,
    /// The client ids that the suite has used on a server; the first is the case's own.
    ids: Vec<String>,
    /// Whose application the present step concerns.
    whose: Option<String>,
    transcript: Transcript,
}

impl<'p> Player<'p> {
    fn new(case: &'p Case, terms: Terms, bench: &'p mut dyn Bench) -> Self {
        let id = format!("hlc-{:x}-{:08x}", terms.run, crate::crc::crc32(case.id.as_bytes()));
        let mut names = case.names.clone();
        let timeout = case.start.get("timeout_ms").map_or(Value::Number(terms.timeout_ms.into()), Scalar::value);
        names.extend([
            ("T".to_owned(), timeout),
            ("id".to_owned(), Value::text(&id)),
            ("our_boot".to_owned(), Value::Number(7_001)),
            ("our_epoch".to_owned(), Value::Number(90_001)),
        ]);
        let now = bench.now();
        Self {
            case,
            bench,
            names,
            links: Vec::new(),
            mark: now,
            began: now,
            bytes: 0,
            started: false,
            events: Vec::new(),
            ids: vec![id],
            whose: None,
            transcript: Transcript::default(),
        }
    }

    fn run(&mut self) -> Result<(), Broken> {
        // What the suite allows itself when it says `prompt`: a round of the network and of the application, and no timer of T/4.
        self.names.insert("prompt".to_owned(), Value::Number(i128::from(self.timeout() / 8)));
        let case = self.case;
        for (index, step) in case.steps.iter().enumerate() {
            self.transcript.step(index);
            self.repeat(step).map_err(|broken| match broken {
                Broken::Failed(failure) => {
                    let line = failure.line.or_else(|| self.transcript.last());
                    Broken::Failed(Failure { step: index + 1, line, ..failure })
                }
                stopped @ Broken::Stopped(_) => stopped,
            })?;
        }
        Ok(())
    }

    /// Does a step as often as it says, if it concerns this subject.
    fn repeat(&mut self, step: &Step) -> Result<(), Broken> {
        if !step.concerns(self.case.role, self.case.profile) {
            return Ok(());
        }
        let times = match &step.times {
            None => 1,
            Some(times) => span(times, &self.names)?,
        };
        for n in 1..=times {
            if step.times.is_some() {
                self.names.insert("n".to_owned(), Value::Number(n.into()));
            }
            self.step(step)?;
        }
        Ok(())
    }

    fn timeout(&self) -> u64 {
        span("1T", &self.names).unwrap_or(2_000)
    }

    fn is_native(&self) -> bool {
        self.case.profile == Profile::Native
    }

    fn is_server(&self) -> bool {
        self.case.role == Role::Server
    }

    fn step(&mut self, step: &Step) -> Result<(), Broken> {
        if !self.started && !matches!(step.verb, Verb::Start(..) | Verb::Let(_) | Verb::Steps(_)) {
            self.start(&self.case.start.clone(), None)?;
        }
        self.names.insert("now".to_owned(), Value::Number(self.bench.now().into()));
        self.whose = match &step.client {
            Some(client) => Some(String::from_utf8_lossy(&client.fill(&self.names)?).into_owned()),
            None => None,
        };
        match &step.verb {
            Verb::Connect(name) => self.connect(name, step),
            Verb::Greeting(changes) => {
                let link = self.link(step)?;
                self.greeting(link, changes)
            }
            Verb::ExpectGreeting(fields) => {
                let link = self.link(step)?;
                self.expect_greeting(link, fields, step)
            }
            Verb::Greet { changes, sees, confirm } => self.greet(changes, sees, *confirm, step),
            Verb::Send { line, split, bytewise, unchecked } => {
                let link = self.link(step)?;
                let mut bytes = line.fill(&self.names)?;
                if self.is_checked() && !bytes.is_empty() && !unchecked {
                    bytes.extend(format!("*{:08x}", crate::crc::crc32(&bytes)).into_bytes());
                }
                bytes.push(b'\n');
                self.say(link, &bytes, split.as_deref(), *bytewise)
            }
            Verb::Raw { bytes, split, bytewise } => {
                let link = self.link(step)?;
                let bytes = bytes.fill(&self.names)?;
                self.say(link, &bytes, split.as_deref(), *bytewise)
            }
            Verb::Expect(patterns) => {
                let link = self.link(step)?;
                patterns.iter().try_for_each(|pattern| self.expect(link, pattern, step))
            }
            Verb::ExpectAll(patterns) => {
                let link = self.link(step)?;
                self.expect_all(link, patterns, step)
            }
            Verb::ExpectAny(patterns) => {
                let link = self.link(step)?;
                self.expect_any(link, patterns, step)
            }
            Verb::Silence { span, strict } => {
                let link = self.link(step)?;
                self.silence(link, span, *strict, step)
            }
            Verb::HelloAgain(name) => self.hello_again(name, step),
            Verb::TurnedAway(code) => self.turned_away(code, step),
            Verb::Closed => {
                let link = self.link(step)?;
                self.closed(link, step)
            }
            Verb::Cut(name) => {
                let link = self.named(name)?;
                self.bench.links().cut(link);
                self.forget(link, "the suite breaks the link");
                Ok(())
            }
            Verb::Finish(name) => {
                let link = self.named(name)?;
                self.bench.links().finish(link);
                self.forget(link, "the suite ends the link");
                Ok(())
            }
            Verb::Hold(name) => self.change(name, |link| link.keeps_alive = false),
            Verb::Resume(name) => self.change(name, |link| link.keeps_alive = true),
            Verb::Deaf(name) => {
                let link = self.named(name)?;
                Ok(self.bench.links().deafen(link)?)
            }
            Verb::Start(settings, fails) => {
                let mut all = self.case.start.clone();
                all.extend(settings.clone());
                self.start(&all, fails.as_deref())
            }
            Verb::Let(names) => {
                for (name, expression) in names {
                    let value = evaluate(expression, &self.names)?;
                    self.names.insert(name.clone(), value);
                }
                Ok(())
            }
            Verb::Check(comparison) => {
                let why = step.why.as_deref().unwrap_or("it does not hold");
                if holds(comparison, &self.names)? { Ok(()) } else { Err(format!("{comparison}: {why}").into()) }
            }
            Verb::Steps(steps) => steps.iter().try_for_each(|step| self.repeat(step)),
            Verb::Unconnected(span) => self.unconnected(span),
            app => self.app_step(app, step),
        }
    }

    fn change(&mut self, name: &str, change: impl FnOnce(&mut Link)) -> Result<(), Broken> {
        let id = self.named(name)?;
        if let Some(link) = self.links.iter_mut().find(|link| link.id == id) {
            change(link);
        }
        Ok(())
    }

    /// Lets time pass until something came, or until the time given; the suite's own keepalives go out meanwhile.
    fn pump(&mut self, until: u64) -> Result<Incident, Broken> {
        loop {
            self.accept_all()?;
            let now = self.bench.now();
            if now.saturating_sub(self.began) > CASE_MAX_MS {
                return Err(Stop::Hung("the case does not come to an end".to_owned()).into());
            }
            let due = self.links.iter().filter_map(Link::keepalive_at).min();
            let wake = due.map_or(until, |due| due.min(until));
            let incident = self.bench.links().next(wake)?;
            match &incident {
                Incident::Bytes { link, at, bytes } => {
                    self.bytes += bytes.len();
                    if self.bytes > BYTES_MAX {
                        return Err(Stop::Flooded(format!("more than {BYTES_MAX} bytes came")).into());
                    }
                    self.hear(*link, *at, bytes);
                    return Ok(incident);
                }
                Incident::End { link, at } => {
                    self.hear_end(*link, *at);
                    return Ok(incident);
                }
                Incident::Nothing if self.bench.now() >= until => return Ok(incident),
                Incident::Nothing => self.keep_alive()?,
            }
        }
    }

    fn keep_alive(&mut self) -> Result<(), Broken> {
        let now = self.bench.now();
        for link in self.links.iter_mut().filter(|link| link.keepalive_at().is_some_and(|at| at <= now)) {
            link.last_sent = now;
            self.bench.links().write(link.id, b"\n")?;
        }
        Ok(())
    }

    /// With a bare connection the application accepts what it is given; a shim has to be told.
    fn accept_all(&mut self) -> Result<(), Broken> {
        if self.case.mode == Mode::Wire && self.started && self.bench.has_shim() {
            for id in self.ids.clone() {
                while let Some(Json::String(_)) = self.receive(&id)? {}
            }
        }
        Ok(())
    }

    fn named(&self, name: &str) -> Result<LinkId, String> {
        let link = self.links.iter().rev().find(|link| link.name == name);
        link.map(|link| link.id).ok_or_else(|| format!("there is no link `{name}`"))
    }

    /// The link that a step concerns.
    fn link(&self, step: &Step) -> Result<LinkId, String> {
        match &step.link {
            Some(name) => self.named(name),
            None => self.links.last().map(|link| link.id).ok_or_else(|| "there is no link yet".to_owned()),
        }
    }

    /// The end of a step's window, and the time before which nothing may come.
    fn window(&self, step: &Step, or: &str) -> Result<(u64, u64), Broken> {
        let within = span(step.within.as_deref().unwrap_or(or), &self.names)?;
        let tolerance = self.bench.tolerance();
        let earliest = match &step.not_before {
            Some(not_before) => (self.mark + span(not_before, &self.names)?).saturating_sub(tolerance),
            None => 0,
        };
        Ok((self.mark + within + tolerance, earliest))
    }
}
