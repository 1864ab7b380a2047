//! Steps through the shim: what the application does, is given and is told, and the life of the process.

use super::{Broken, Entry, Failure, Player};
use crate::bench::Stop;
use crate::case::{Case, Mode, Scalar, Step, Verb};
use crate::expression::{Value, span};
use crate::template::Template;
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;

/// How often the suite asks when it waits for something that only an answer tells.
const ASK_MS: u64 = 5;

impl Player<'_> {
    pub(super) fn app_step(&mut self, verb: &Verb, step: &Step) -> Result<(), Broken> {
        match verb {
            Verb::AppSend { text, delivery, slot, fails } => self.app_send(text, delivery, *slot, fails.as_deref()),
            Verb::Deliver { texts, delivery } => texts.iter().try_for_each(|text| self.deliver(text, delivery, step)),
            Verb::DeliverNothing(written) => self.deliver_nothing(written),
            Verb::Event(name, keys) => self.event(name, keys, step),
            Verb::NoEvent(names) => self.no_event(names),
            Verb::State(wanted) => self.state(wanted, step),
            Verb::AppClose => self.command(json!({"do": "close"})),
            Verb::Shutdown { retry, bound } => {
                let request =
                    json!({"do": "shutdown", "retry_ms": span(retry, &self.names)?, "bound_ms": span(bound, &self.names)?});
                self.command(request)
            }
            Verb::Kill => self.kill(),
            Verb::Snapshot(name) => Ok(self.bench.snapshot(name)?),
            Verb::Restart(memory) => {
                if self.started {
                    self.kill()?;
                }
                let memory = Template::read(memory)?.fill(&self.names)?;
                match &*String::from_utf8_lossy(&memory) {
                    "kept" => {}
                    "wiped" => self.bench.restore(None)?,
                    name => self.bench.restore(Some(name))?,
                }
                let settings = self.case.start.clone();
                self.start(&settings, None)
            }
            other => Err(format!("{other:?} is no step of the application").into()),
        }
    }

    /// Starts the subject with the case's settings.
    pub(super) fn start(&mut self, settings: &BTreeMap<String, Scalar>, fails: Option<&str>) -> Result<(), Broken> {
        let Case { role, profile, mode, .. } = self.case;
        let mut request = Map::new();
        request.insert("role".to_owned(), json!(role.word()));
        request.insert("profile".to_owned(), json!(profile.word()));
        request.insert("timeout_ms".to_owned(), json!(self.timeout()));
        if !self.is_server() {
            request.insert("client".to_owned(), json!(self.own_id()));
        }
        for (key, scalar) in settings {
            request.insert(key.clone(), self.json(scalar)?);
        }
        // A wire case may be played on a bare connection; everything else keeps its store in the suite's hands.
        if *mode == Mode::Power || settings.get("keeps").is_some_and(|keeps| keeps.value() != Value::text("none")) {
            request.insert("store".to_owned(), json!(true));
        }
        let answer = self.bench.start(Json::Object(request.clone()))?;
        self.note('?', &format!("start {}", Json::Object(request)));
        self.judge(&answer, fails, "start")?;
        self.started = true;
        self.mark = self.bench.now();
        Ok(())
    }

    fn own_id(&self) -> String {
        self.ids.first().cloned().unwrap_or_default()
    }

    fn json(&self, scalar: &Scalar) -> Result<Json, String> {
        Ok(match scalar {
            Scalar::Flag(flag) => json!(flag),
            Scalar::Number(number) => json!(number),
            Scalar::Text(text) => {
                let text = String::from_utf8_lossy(&Template::read(text)?.fill(&self.names)?).into_owned();
                text.parse::<i64>().map_or_else(|_| json!(text), |number| json!(number))
            }
            Scalar::List(texts) => {
                let texts: Result<Vec<Json>, String> = texts
                    .iter()
                    .map(|text| Ok(json!(String::from_utf8_lossy(&Template::read(text)?.fill(&self.names)?))))
                    .collect();
                Json::Array(texts?)
            }
        })
    }

    fn note(&mut self, mark: char, text: &str) -> usize {
        let now = self.bench.now();
        self.transcript.add(now, mark, "", text.as_bytes())
    }

    /// Asks the shim and tells the transcript.
    fn ask(&mut self, mut request: Json, quietly: bool) -> Result<Json, Broken> {
        if self.is_server()
            && let Some(request) = request.as_object_mut()
            && !request.contains_key("client")
            && request.get("do").is_none_or(|verb| verb != "shutdown")
        {
            let client = self.whose.clone().unwrap_or_else(|| self.own_id());
            request.insert("client".to_owned(), json!(client));
        }
        // Many questions take their time, and the subject must not find the suite silent meanwhile.
        self.keep_alive()?;
        if !quietly {
            self.note('?', &request.to_string());
        }
        let answer = self.bench.ask(request)?;
        if !quietly {
            self.note('!', &answer.to_string());
        }
        Ok(answer)
    }

    fn judge(&mut self, answer: &Json, fails: Option<&str>, verb: &str) -> Result<(), Broken> {
        let error = answer.get("error").and_then(Json::as_str).unwrap_or("failed");
        let ok = answer.get("ok").and_then(Json::as_bool).unwrap_or(false);
        let why = answer.get("why").and_then(Json::as_str).unwrap_or("it says no why");
        match fails {
            None if ok => Ok(()),
            Some(wanted) if !ok && error == wanted => Ok(()),
            _ if !ok && error == "unimplemented" => Err(Stop::Unimplemented(format!("{verb}: {why}")).into()),
            Some(wanted) if ok => Err(format!("{verb} was to fail with `{wanted}`, and was done").into()),
            Some(wanted) => Err(format!("{verb} was to fail with `{wanted}`, and failed with `{error}`: {why}").into()),
            None => Err(format!("{verb} failed with `{error}`: {why}").into()),
        }
    }

    fn command(&mut self, request: Json) -> Result<(), Broken> {
        let verb = request.get("do").and_then(Json::as_str).unwrap_or_default().to_owned();
        let answer = self.ask(request, false)?;
        self.mark = self.bench.now();
        self.judge(&answer, None, &verb)
    }

    fn app_send(&mut self, text: &Template, delivery: &str, slot: u8, fails: Option<&str>) -> Result<(), Broken> {
        let bytes = text.fill(&self.names)?;
        let Ok(text) = String::from_utf8(bytes) else { return Err("the case sends what is no text".to_owned().into()) };
        let mut request = json!({"do": "send", "text": text, "delivery": delivery});
        if delivery == "latest" {
            request["slot"] = json!(slot);
        }
        let answer = self.ask(request, false)?;
        self.mark = self.bench.now();
        self.judge(&answer, fails, "send")
    }

    /// What the application of this client gets next: a text, `null`, or nothing where there is no such client.
    pub(super) fn receive(&mut self, id: &str) -> Result<Option<Json>, Broken> {
        let answer = self.ask(json!({"do": "recv", "wait_ms": 0, "client": id}), true)?;
        let text = answer.get("text").cloned();
        if let Some(Json::String(text)) = &text {
            let delivery = answer.get("delivery").and_then(Json::as_str).unwrap_or("?");
            let shown = format!("recv: {text} ({delivery})");
            self.note('!', &shown);
        }
        Ok(text)
    }

    fn receive_own(&mut self) -> Result<Option<(String, String)>, Broken> {
        let answer = self.ask(json!({"do": "recv", "wait_ms": 0}), true)?;
        let Some(Json::String(text)) = answer.get("text") else {
            // A server that has not seen the client yet has nothing to give.
            return Ok(None);
        };
        let delivery = answer.get("delivery").and_then(Json::as_str).unwrap_or("exactly-once");
        let shown = format!("recv: {} ({delivery})", text.escape_debug());
        self.note('!', &shown);
        Ok(Some((text.clone(), delivery.to_owned())))
    }

    fn deliver(&mut self, text: &Template, delivery: &str, step: &Step) -> Result<(), Broken> {
        let (until, _) = self.window(step, "prompt")?;
        let wanted = String::from_utf8_lossy(&text.fill(&self.names)?).into_owned();
        loop {
            if let Some((text, how)) = self.receive_own()? {
                self.mark = self.bench.now();
                let expected = if self.is_native() { delivery } else { "exactly-once" };
                return match (text == wanted, how == expected) {
                    (true, true) => Ok(()),
                    (true, false) => Err(format!("the application was given `{text}` as {how}").into()),
                    (false, _) => {
                        let shown = (text.escape_debug().to_string(), wanted.escape_debug().to_string());
                        Err(format!("the application was given `{}` and not `{}`", shown.0, shown.1).into())
                    }
                };
            }
            if !self.passes(until)? {
                return Err(
                    format!("the application was to be given `{}`, and got nothing in time", wanted.escape_debug()).into()
                );
            }
        }
    }

    fn deliver_nothing(&mut self, written: &str) -> Result<(), Broken> {
        let until = self.mark + span(written, &self.names)?;
        loop {
            if let Some((text, _)) = self.receive_own()? {
                return Err(format!("the application was given `{}`, and nothing was to come", text.escape_debug()).into());
            }
            if !self.passes(until)? {
                self.mark = self.bench.now();
                return Ok(());
            }
        }
    }

    /// Lets a moment pass; `false` once the time given is reached.
    fn passes(&mut self, until: u64) -> Result<bool, Broken> {
        let now = self.bench.now();
        if now >= until {
            return Ok(false);
        }
        self.pump((now + ASK_MS).min(until))?;
        Ok(true)
    }

    fn look(&mut self) -> Result<Json, Broken> {
        let answer = self.ask(json!({"do": "state"}), true)?;
        if answer.get("ok") != Some(&Json::Bool(true)) {
            self.note('!', &answer.to_string());
            self.judge(&answer, None, "state")?;
        }
        if let Some(events) = answer.get("events").and_then(Json::as_array) {
            for event in events {
                self.note('!', &format!("event {event}"));
                self.events.push(event.clone());
            }
        }
        Ok(answer)
    }

    fn event(&mut self, name: &str, keys: &BTreeMap<String, Scalar>, step: &Step) -> Result<(), Broken> {
        let (until, _) = self.window(step, "prompt")?;
        loop {
            self.look()?;
            if let Some(index) = self.events.iter().position(|event| event.get("event").is_some_and(|word| word == name)) {
                let event = self.events.remove(index);
                self.mark = self.bench.now();
                return self.compare(&event, keys, &format!("event `{name}`"));
            }
            if !self.passes(until)? {
                let told: Vec<String> = self.events.iter().map(Json::to_string).collect();
                let told = if told.is_empty() { "nothing else".to_owned() } else { told.join(", ") };
                return Err(format!("the application was to be told `{name}`, and was told {told}").into());
            }
        }
    }

    fn no_event(&mut self, names: &[String]) -> Result<(), Broken> {
        self.look()?;
        let found = self.events.iter().find(|event| {
            names.iter().any(|name| event.get("event").and_then(Json::as_str).is_some_and(|word| name == word || name == "*"))
        });
        match found {
            Some(event) => Err(format!("the application was told {event}, and had no reason to be").into()),
            None => Ok(()),
        }
    }

    fn state(&mut self, wanted: &BTreeMap<String, Scalar>, step: &Step) -> Result<(), Broken> {
        let (until, _) = self.window(step, "prompt")?;
        loop {
            let answer = self.look()?;
            let compared = self.compare(&answer, wanted, "the state");
            if compared.is_ok() || !self.passes(until)? {
                self.mark = self.bench.now();
                return compared;
            }
        }
    }

    fn compare(&self, object: &Json, wanted: &BTreeMap<String, Scalar>, what: &str) -> Result<(), Broken> {
        for (key, scalar) in wanted {
            let wanted = self.json(scalar)?;
            let found = object.get(key).cloned().unwrap_or(Json::Null);
            if plain(&found) != plain(&wanted) {
                let what = format!("{what} was to have `{key}` {wanted}, and has {found}");
                return Err(Broken::Failed(Failure { step: 0, what, line: self.transcript.last() }));
            }
        }
        Ok(())
    }

    fn kill(&mut self) -> Result<(), Broken> {
        self.bench.kill()?;
        self.started = false;
        self.note('-', "the subject is killed");
        for link in &mut self.links {
            link.is_over = true;
        }
        self.events.clear();
        self.mark = self.bench.now();
        Ok(())
    }
}

/// A number and its digits in a text are the same.
fn plain(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

impl Entry {
    /// As it stands in a report: time, link, direction, text.
    pub fn shown(&self) -> String {
        self.shown_since(0)
    }

    /// The same, with the time since `origin`.
    pub fn shown_since(&self, origin: u64) -> String {
        let text = match std::str::from_utf8(&self.text) {
            Ok(text) => {
                text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
            }
            Err(_) => self.text.escape_ascii().to_string(),
        };
        let link = if self.link.is_empty() { String::new() } else { format!("{} ", self.link) };
        format!("{:>8} {link}{} {text}", self.at.saturating_sub(origin), self.mark)
    }
}
