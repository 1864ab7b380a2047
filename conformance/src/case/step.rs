//! One step of a case: what the suite does, or what it expects.

use super::{Profile, Role, Scalar};
use crate::template::Template;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A step, and what modifies it.
#[derive(Clone, Debug)]
pub struct Step {
    /// What is done or expected.
    pub verb: Verb,
    /// The link it concerns; none said: the one that was opened last.
    pub link: Option<String>,
    /// How long it may take at most: an expression.
    pub within: Option<String>,
    /// How long it must take at least: an expression.
    pub not_before: Option<String>,
    /// How often it is done, with `n` counting from 1: an expression.
    pub times: Option<String>,
    /// Done only for this role or profile under test.
    pub only: Option<String>,
    /// Lines that may come in between and mean nothing here.
    pub skipping: Vec<Template>,
    /// On a server: whose application it is; none said: that of the case's own client.
    pub client: Option<Template>,
    /// What it shows, for the report.
    pub why: Option<String>,
}

/// What is done or expected.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Verb {
    /// A link is opened under a name; with a client under test, waited for.
    Connect(String),
    /// The suite's hello (its welcome, with a client under test), with these fields changed.
    Greeting(Template),
    /// The subject's welcome (its hello), of which these fields are so.
    ExpectGreeting(Vec<Field>),
    /// Link, greetings and confirmation at once.
    Greet {
        /// As [`Verb::Greeting`].
        changes: Template,
        /// As [`Verb::ExpectGreeting`].
        sees: Vec<Field>,
        /// Whether the client's blank line follows.
        confirm: bool,
    },
    /// A line, in one piece or more.
    Send {
        /// What it says.
        line: Template,
        /// After how many bytes it is cut in two segments.
        split: Option<String>,
        /// Whether it goes byte by byte.
        bytewise: bool,
        /// On a checked stream: without the check.
        unchecked: bool,
    },
    /// Bytes as they are.
    Raw {
        /// The bytes.
        bytes: Template,
        /// After how many bytes they are cut in two segments.
        split: Option<String>,
        /// Whether they go byte by byte.
        bytewise: bool,
    },
    /// These lines come, one after the other.
    Expect(Vec<Template>),
    /// These lines come, in any order.
    ExpectAll(Vec<Template>),
    /// One of these lines comes.
    ExpectAny(Vec<Template>),
    /// Nothing comes for so long, and the link stays open.
    Silence {
        /// How long.
        span: String,
        /// Not even a keepalive.
        strict: bool,
    },
    /// A client says hello again: on the same stream, or on a new one behind the end of this. The link gets a new name.
    HelloAgain(String),
    /// A newcomer gets no link: no connection, its end, or a refusal with this code.
    TurnedAway(String),
    /// The subject closes the link.
    Closed,
    /// A client under test does not connect for so long.
    Unconnected(String),
    /// The link breaks; the subject sees a reset.
    Cut(String),
    /// The suite ends the link; the subject sees its end.
    Finish(String),
    /// The suite says nothing any more.
    Hold(String),
    /// And says keepalives again.
    Resume(String),
    /// The suite reads nothing any more.
    Deaf(String),
    /// The subject is started, with other settings than the case's.
    Start(BTreeMap<String, Scalar>, Option<String>),
    /// The application hands over a message.
    AppSend {
        /// The text.
        text: Template,
        /// `exactly-once`, `best-effort`, `latest`.
        delivery: String,
        /// For `latest`.
        slot: u8,
        /// The error that is expected.
        fails: Option<String>,
    },
    /// The application is given these messages.
    Deliver {
        /// The texts, in order.
        texts: Vec<Template>,
        /// How.
        delivery: String,
    },
    /// The application is given nothing for so long.
    DeliverNothing(String),
    /// The application is told this, with these keys.
    Event(String, BTreeMap<String, Scalar>),
    /// The application has been told none of these, in what no earlier step has asked for.
    NoEvent(Vec<String>),
    /// The state becomes this.
    State(BTreeMap<String, Scalar>),
    /// The application closes the link.
    AppClose,
    /// The server shuts down.
    Shutdown {
        /// When clients are to come back.
        retry: String,
        /// How long it may take.
        bound: String,
    },
    /// The process is killed.
    Kill,
    /// What it keeps is copied under a name.
    Snapshot(String),
    /// Killed, if it lives, and started again: `kept`, `wiped`, or with what a snapshot has.
    Restart(String),
    /// Values get names.
    Let(BTreeMap<String, String>),
    /// A comparison holds.
    Check(String),
    /// Several steps, one after the other.
    Steps(Vec<Step>),
}

/// A field that a greeting must have so.
#[derive(Clone, Debug)]
pub enum Field {
    /// `key=pattern`
    Is(String, Template),
    /// `!key`
    Absent(String),
}

/// A verb that says one thing: a name, or a time.
type OfName = fn(String) -> Verb;

/// A step as it was written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Written {
    connect: Option<String>,
    greeting: Option<String>,
    expect_greeting: Option<String>,
    greet: Option<String>,
    send: Option<String>,
    raw: Option<String>,
    expect: Option<OneOrMore>,
    expect_all: Option<Vec<String>>,
    expect_any: Option<Vec<String>>,
    silence: Option<String>,
    closed: Option<String>,
    unconnected: Option<String>,
    turned_away: Option<String>,
    hello_again: Option<String>,
    cut: Option<String>,
    finish: Option<String>,
    hold: Option<String>,
    resume: Option<String>,
    deaf: Option<String>,
    start: Option<BTreeMap<String, Scalar>>,
    app_send: Option<String>,
    deliver: Option<OneOrMore>,
    deliver_nothing: Option<String>,
    event: Option<String>,
    no_event: Option<OneOrMore>,
    state: Option<BTreeMap<String, Scalar>>,
    app_close: Option<bool>,
    shutdown: Option<ShutdownTable>,
    kill: Option<bool>,
    snapshot: Option<String>,
    restart: Option<String>,
    #[serde(rename = "let")]
    naming: Option<BTreeMap<String, String>>,
    check: Option<String>,
    steps: Option<Vec<Self>>,

    link: Option<String>,
    within: Option<String>,
    not_before: Option<String>,
    times: Option<String>,
    only: Option<String>,
    skipping: Vec<String>,
    client: Option<String>,
    why: Option<String>,
    sees: Option<String>,
    confirm: Option<bool>,
    split: Option<String>,
    bytewise: Option<bool>,
    unchecked: Option<bool>,
    strict: Option<bool>,
    delivery: Option<String>,
    slot: Option<u8>,
    fails: Option<String>,
    keys: Option<BTreeMap<String, Scalar>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ShutdownTable {
    retry: String,
    bound: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    fn all(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one],
            Self::More(more) => more,
        }
    }
}

impl Written {
    /// The step, if it has exactly one verb, and nothing that the verb does not know.
    pub(super) fn read(self) -> Result<Step, String> {
        let mut w = self;
        let mut verbs = Vec::new();
        let templates = |texts: Vec<String>| texts.iter().map(|text| Template::read(text)).collect::<Result<Vec<_>, _>>();
        if let Some(name) = w.connect.take() {
            verbs.push(Verb::Connect(name));
        }
        if let Some(changes) = w.greeting.take() {
            verbs.push(Verb::Greeting(Template::read(&changes)?));
        }
        if let Some(fields) = w.expect_greeting.take() {
            verbs.push(Verb::ExpectGreeting(Field::read_all(&fields)?));
        }
        if let Some(changes) = w.greet.take() {
            let sees = Field::read_all(&w.sees.take().unwrap_or_default())?;
            verbs.push(Verb::Greet { changes: Template::read(&changes)?, sees, confirm: w.confirm.take().unwrap_or(true) });
        }
        if let Some(line) = w.send.take() {
            verbs.push(Verb::Send {
                line: Template::read(&line)?,
                split: w.split.take(),
                bytewise: w.bytewise.take().unwrap_or(false),
                unchecked: w.unchecked.take().unwrap_or(false),
            });
        }
        if let Some(bytes) = w.raw.take() {
            verbs.push(Verb::Raw {
                bytes: Template::read(&bytes)?,
                split: w.split.take(),
                bytewise: w.bytewise.take().unwrap_or(false),
            });
        }
        if let Some(lines) = w.expect.take() {
            verbs.push(Verb::Expect(templates(lines.all())?));
        }
        if let Some(lines) = w.expect_all.take() {
            verbs.push(Verb::ExpectAll(templates(lines)?));
        }
        if let Some(lines) = w.expect_any.take() {
            verbs.push(Verb::ExpectAny(templates(lines)?));
        }
        if let Some(span) = w.silence.take() {
            verbs.push(Verb::Silence { span, strict: w.strict.take().unwrap_or(false) });
        }
        if let Some(within) = w.closed.take() {
            w.within = Some(within);
            verbs.push(Verb::Closed);
        }
        let named: [(Option<String>, OfName); 11] = [
            (w.hello_again.take(), Verb::HelloAgain),
            (w.turned_away.take(), Verb::TurnedAway),
            (w.unconnected.take(), Verb::Unconnected),
            (w.cut.take(), Verb::Cut),
            (w.finish.take(), Verb::Finish),
            (w.hold.take(), Verb::Hold),
            (w.resume.take(), Verb::Resume),
            (w.deaf.take(), Verb::Deaf),
            (w.deliver_nothing.take(), Verb::DeliverNothing),
            (w.snapshot.take(), Verb::Snapshot),
            (w.restart.take(), Verb::Restart),
        ];
        verbs.extend(named.into_iter().filter_map(|(name, verb)| name.map(verb)));
        if let Some(settings) = w.start.take() {
            verbs.push(Verb::Start(settings, w.fails.take()));
        }
        if let Some(text) = w.app_send.take() {
            verbs.push(Verb::AppSend {
                text: Template::read(&text)?,
                delivery: w.delivery.take().unwrap_or_else(|| "exactly-once".to_owned()),
                slot: w.slot.take().unwrap_or(0),
                fails: w.fails.take(),
            });
        }
        if let Some(texts) = w.deliver.take() {
            let delivery = w.delivery.take().unwrap_or_else(|| "exactly-once".to_owned());
            verbs.push(Verb::Deliver { texts: templates(texts.all())?, delivery });
        }
        if let Some(name) = w.event.take() {
            verbs.push(Verb::Event(name, w.keys.take().unwrap_or_default()));
        }
        if let Some(names) = w.no_event.take() {
            verbs.push(Verb::NoEvent(names.all()));
        }
        if let Some(state) = w.state.take() {
            verbs.push(Verb::State(state));
        }
        if w.app_close.take().is_some() {
            verbs.push(Verb::AppClose);
        }
        if let Some(ShutdownTable { retry, bound }) = w.shutdown.take() {
            verbs.push(Verb::Shutdown { retry, bound });
        }
        if w.kill.take().is_some() {
            verbs.push(Verb::Kill);
        }
        if let Some(names) = w.naming.take() {
            verbs.push(Verb::Let(names));
        }
        if let Some(comparison) = w.check.take() {
            verbs.push(Verb::Check(comparison));
        }
        if let Some(steps) = w.steps.take() {
            verbs.push(Verb::Steps(steps.into_iter().map(Self::read).collect::<Result<_, _>>()?));
        }
        if let Some(stray) = w.stray() {
            return Err(format!("`{stray}` means nothing in this step"));
        }
        if let Some(only) = &w.only
            && !ONLY.contains(&only.as_str())
        {
            return Err(format!("`only = \"{only}\"` is no role and no profile"));
        }
        let verb = match verbs.len() {
            1 => verbs.remove(0),
            0 => return Err("a step has no verb".to_owned()),
            _ => return Err(format!("a step has {} verbs: {verbs:?}", verbs.len())),
        };
        let client = w.client.as_deref().map(Template::read).transpose()?;
        let Self { link, within, not_before, times, only, why, .. } = w;
        Ok(Step { verb, link, within, not_before, times, only, skipping: templates(w.skipping)?, client, why })
    }

    /// A modifier that no verb has taken.
    fn stray(&self) -> Option<&'static str> {
        let left = [
            ("sees", self.sees.is_some()),
            ("confirm", self.confirm.is_some()),
            ("split", self.split.is_some()),
            ("bytewise", self.bytewise.is_some()),
            ("unchecked", self.unchecked.is_some()),
            ("strict", self.strict.is_some()),
            ("delivery", self.delivery.is_some()),
            ("slot", self.slot.is_some()),
            ("fails", self.fails.is_some()),
            ("keys", self.keys.is_some()),
        ];
        left.into_iter().find_map(|(name, is_left)| is_left.then_some(name))
    }
}

const ONLY: [&str; 6] = ["client", "server", "native", "classic-2020", "classic-2019", "classic"];

impl Step {
    /// Whether it is done for this subject.
    pub fn concerns(&self, role: Role, profile: Profile) -> bool {
        self.only
            .as_deref()
            .is_none_or(|only| only == role.word() || only == profile.word() || (only == "classic" && profile != Profile::Native))
    }
}

impl Field {
    fn read_all(text: &str) -> Result<Vec<Self>, String> {
        let mut depth = 0_u32;
        // A blank in braces is part of an expression.
        let is_between = |c: char| {
            depth = depth.saturating_add(u32::from(c == '{')).saturating_sub(u32::from(c == '}'));
            c == ' ' && depth == 0
        };
        text.split(is_between)
            .filter(|field| !field.is_empty())
            .map(|field| match (field.strip_prefix('!'), field.split_once('=')) {
                (Some(key), _) => Ok(Self::Absent(key.to_owned())),
                (None, Some((key, pattern))) => Ok(Self::Is(key.to_owned(), Template::read(pattern)?)),
                (None, None) => Err(format!("`{field}` is no field: key=pattern or !key")),
            })
            .collect()
    }
}
