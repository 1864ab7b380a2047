//! Hello and welcome, from both ends.

use super::{Broken, Player};
use crate::bench::LinkId;
use crate::case::{Field, Step};
use crate::expression::Value;
use crate::play::link::Link;
use crate::play::wire::Heard;
use crate::template::Template;

const HELLO: &str =
    "HOLD/1 client={id} boot={our_boot} epoch={our_epoch} base=0 peer=0 seen=0 keeps=none timeout={T} window=16 max=4096";
const WELCOME: &str =
    "HOLD/1 ok boot={our_boot} epoch={our_epoch} base=0 peer=0 seen=0 keeps=none timeout={their_timeout} window=16 max=4096";

/// The keys of a greeting in the order of the grammar.
const ORDER: [&str; 14] =
    ["client", "boot", "epoch", "base", "peer", "seen", "keeps", "timeout", "window", "max", "bsum", "sum", "held", "link"];
/// All up to `max`.
const REQUIRED: usize = 10;

impl Player<'_> {
    /// The suite's own greeting: a hello to a server, a welcome to a client, an id line in a classic profile.
    pub(super) fn greeting(&mut self, link: LinkId, changes: &Template) -> Result<(), Broken> {
        let changes = String::from_utf8_lossy(&changes.fill(&self.names)?).into_owned();
        if !self.is_native() {
            let bytes = if !self.is_server() {
                b"\n".to_vec()
            } else if changes.is_empty() {
                Template::read("{id}\n")?.fill(&self.names)?
            } else {
                self.ids.push(changes.clone());
                format!("{changes}\n").into_bytes()
            };
            self.say(link, &bytes, None, false)?;
            self.find(link).into_iter().for_each(|link| link.is_greeted = true);
            return Ok(());
        }
        let line = Template::read(if self.is_server() { HELLO } else { WELCOME })?.fill(&self.names)?;
        let mut line = changed(&String::from_utf8_lossy(&line), &changes);
        if self.is_checked() && !line.contains(" link=") {
            let link = if self.is_server() { Some("4242".to_owned()) } else { self.their("link") };
            line.push_str(&link.map(|link| format!(" link={link}")).unwrap_or_default());
        }
        if let Some(id) = line.split(' ').find_map(|field| field.strip_prefix("client="))
            && !self.ids.iter().any(|known| known == id)
        {
            self.ids.push(id.to_owned());
        }
        if self.is_checked() {
            line = format!("{line}*{:08x}", crate::crc::crc32(line.as_bytes()));
        }
        self.say(link, format!("{line}\n").as_bytes(), None, false)?;
        if !self.is_server() {
            self.begin(link);
        }
        Ok(())
    }

    fn their(&self, key: &str) -> Option<String> {
        self.names.get(&format!("their_{key}")).map(|value| String::from_utf8_lossy(&value.bytes()).into_owned())
    }

    /// From here on the link is up: keepalives come and go.
    fn begin(&mut self, id: LinkId) {
        let timeout = self.names.get("T_link").map(Value::bytes).and_then(|ms| String::from_utf8(ms).ok()?.parse::<u64>().ok());
        let keepalive = timeout.unwrap_or(self.timeout()) / 4;
        self.find(id).into_iter().for_each(|link| {
            link.is_greeted = true;
            link.keepalive_ms = keepalive;
        });
    }

    /// The subject's greeting, which is held against the grammar, and whose fields get names: `their_epoch` and so on.
    pub(super) fn expect_greeting(&mut self, link: LinkId, fields: &[Field], step: &Step) -> Result<(), Broken> {
        let (until, _) = self.window(step, "prompt")?;
        if !self.is_native() {
            return self.expect_classic_greeting(link, until, step);
        }
        let Some(heard) = self.line(link, until, &step.skipping, true)? else {
            let ended = self.find(link).is_some_and(|link| link.ended.is_some());
            let what = if ended { "the subject closed the link" } else { "nothing came in time" };
            let greeting = if self.is_server() { "a welcome" } else { "a hello" };
            return Err(format!("{greeting} was expected, and {what}").into());
        };
        self.mark = self.mark.max(heard.at);
        self.read_greeting(&heard)?;
        for field in fields {
            match field {
                Field::Absent(key) if self.their(key).is_some() => {
                    return Err(heard.wrong(&format!("it was to be without `{key}`")));
                }
                Field::Absent(_) => {}
                Field::Is(key, pattern) => {
                    let value = self.their(key).ok_or_else(|| heard.wrong(&format!("it has no `{key}`")))?;
                    match pattern.matches(value.as_bytes(), &self.names)? {
                        Some(taken) => self.names.extend(taken),
                        None => {
                            let wanted = pattern.shown(&self.names);
                            return Err(heard.wrong(&format!("`{key}` is {value} and was to be {wanted}")));
                        }
                    }
                }
            }
        }
        if self.is_server() {
            self.begin(link);
        }
        Ok(())
    }

    fn read_greeting(&mut self, heard: &Heard) -> Result<(), Broken> {
        let is_server = self.is_server();
        let line = String::from_utf8(heard.line.clone()).map_err(|_| heard.wrong("it is no UTF-8"))?;
        let head = if is_server { "HOLD/1 ok " } else { "HOLD/1 " };
        let Some(rest) = line.strip_prefix(head) else {
            return Err(heard.wrong(&format!("a line that begins `{head}` was expected")));
        };
        if line.len() > 512 {
            return Err(heard.wrong("it is longer than 512 bytes"));
        }
        self.names.retain(|name, _| !name.starts_with("their_"));
        let mut places = Vec::new();
        for field in rest.split(' ') {
            let Some((key, value)) = field.split_once('=').filter(|(key, _)| !key.is_empty()) else {
                return Err(heard.wrong(&format!("`{field}` is no field")));
            };
            let place = ORDER.iter().position(|known| *known == key);
            if place.is_some_and(|place| places.last().is_some_and(|&last| last >= place)) {
                return Err(heard.wrong(&format!("`{key}` is not where the grammar has it")));
            }
            places.extend(place);
            self.names.insert(format!("their_{key}"), Value::text(value));
        }
        let first = usize::from(is_server);
        if let Some(missing) = ORDER[first..REQUIRED].iter().find(|key| self.their(key).is_none()) {
            return Err(heard.wrong(&format!("`{missing}` is missing")));
        }
        if let Some(timeout) = self.names.get("their_timeout").cloned() {
            self.names.insert("T_link".to_owned(), timeout);
        }
        Ok(())
    }

    /// A classic client's first line is its id; a classic server has none.
    fn expect_classic_greeting(&mut self, link: LinkId, until: u64, step: &Step) -> Result<(), Broken> {
        if self.is_server() {
            return Ok(());
        }
        let pattern = Template::read("{id}")?;
        let Some(heard) = self.line(link, until, &step.skipping, true)? else {
            return Err("the client's id line was expected, and nothing came in time".to_owned().into());
        };
        self.mark = self.mark.max(heard.at);
        match pattern.matches(&heard.line, &self.names)? {
            Some(_) => Ok(()),
            None => Err(heard.wrong("the client's id line was expected")),
        }
    }

    /// A whole handshake.
    pub(super) fn greet(&mut self, changes: &Template, sees: &[Field], confirm: bool, step: &Step) -> Result<(), Broken> {
        let name = step.link.clone().unwrap_or_else(|| "a".to_owned());
        let open = self.links.iter().any(|link| link.name == name && !link.is_over && link.ended.is_none());
        if !open || self.links.iter().any(|link| link.name == name && link.is_greeted) {
            self.connect(&name, step)?;
        }
        let link = self.named(&name)?;
        let plain = Step { within: None, not_before: None, ..step.clone() };
        if self.is_server() {
            self.greeting(link, changes)?;
            self.expect_greeting(link, sees, &plain)?;
            if confirm && self.is_native() {
                self.say(link, b"\n", None, false)?;
            }
        } else {
            self.expect_greeting(link, sees, &plain)?;
            self.greeting(link, changes)?;
            if confirm && self.is_native() {
                self.expect(link, &Template::read("")?, &plain)?;
            }
        }
        Ok(())
    }
}

impl Player<'_> {
    /// On a checked stream a client may say hello again where it is, or connect anew (HL-0101).
    pub(super) fn hello_again(&mut self, name: &str, step: &Step) -> Result<(), Broken> {
        let link = self.link(step)?;
        let (until, earliest) = self.window(step, "prompt")?;
        let plain = Step { within: None, not_before: None, ..step.clone() };
        let at = match self.line(link, until, &step.skipping, false)? {
            Some(heard) => {
                self.read_greeting(&heard)?;
                self.find(link).into_iter().for_each(|link| {
                    link.is_greeted = false;
                    name.clone_into(&mut link.name);
                });
                heard.at
            }
            None => {
                let Some(at) = self.find(link).and_then(|link| link.ended) else {
                    return Err("the client was to say hello again, and did not in time".to_owned().into());
                };
                self.connect(name, &plain)?;
                let link = self.named(name)?;
                self.expect_greeting(link, &[], &plain)?;
                at
            }
        };
        self.mark = self.mark.max(at);
        if at < earliest { Err("the client says hello again too early".to_owned().into()) } else { Ok(()) }
    }

    /// A newcomer to a server that takes none: it gets no connection, or its end, or before that a refusal with this code.
    pub(super) fn turned_away(&mut self, code: &str, step: &Step) -> Result<(), Broken> {
        let (until, _) = self.window(step, "prompt")?;
        let Some(link) = self.bench.open(until)? else { return Ok(()) };
        self.links.push(Link::new(link, "newcomer", self.keepalive_ms(), self.bench.now()));
        self.greeting(link, &Template::read("")?)?;
        let refusal = Template::read(&format!("HOLD/1 no code={code}{{:text}}"))?;
        self.closed(link, &Step { skipping: vec![refusal], ..step.clone() })
    }
}

/// A greeting with some of its fields changed, those that it has not appended, and those marked `!key` left out.
fn changed(line: &str, changes: &str) -> String {
    let mut fields: Vec<String> = line.split(' ').map(str::to_owned).collect();
    for change in changes.split_whitespace() {
        if let Some(key) = change.strip_prefix('!') {
            fields.retain(|field| field.split_once('=').is_none_or(|(known, _)| known != key));
            continue;
        }
        let key = change.split_inclusive('=').next().unwrap_or_default();
        match fields.iter_mut().find(|field| field.starts_with(key)) {
            Some(field) => change.clone_into(field),
            None => fields.push(change.to_owned()),
        }
    }
    fields.join(" ")
}
