//! How lines pass a mutant's boundary.

use super::Mutant;
use super::defect::{Deed, Kind, OnLine};
use super::scene::{Past, Scene, field, open, seal};
use crate::bench::Stop;
use crate::case::Profile;
use crate::subject::Io;
use holdline_proto::Instant;
use serde_json::{Value as Json, json};

impl Mutant {
    fn inner_now(&self) -> Instant {
        Instant::from_millis(self.clock.inner(self.clock.now))
    }

    /// Takes bytes in.
    pub(super) fn hear(&mut self, stream: u64, bytes: &[u8]) {
        let mut bytes = bytes.to_vec();
        for kind in self.defect.map(|defect| defect.kinds).unwrap_or_default() {
            if let Kind::Bytes(tamper) = kind {
                bytes = self.with_scene(stream, |scene| tamper(scene, &bytes)).unwrap_or_default();
            }
        }
        let (stream, bytes) = self.succeeded(stream, bytes);
        let holds_back = self.has(|kind| matches!(kind, Kind::WholeLines));
        let has_hook = self.has(|kind| matches!(kind, Kind::Heard(_) | Kind::Unchecked | Kind::WholeLines));
        let is_late = self.has(|kind| matches!(kind, Kind::OneHello));
        let earlier = self.links.values().any(|link| !link.is_greeted && link.stream < stream);
        let Some(link) = self.links.get_mut(&stream) else { return };
        if link.is_zombie {
            return;
        }
        if is_late && !link.is_greeted && earlier {
            link.waiting.extend_from_slice(&bytes);
            return;
        }
        (link.last_in, link.count) = (self.clock.now, link.count + bytes.len() as u64);
        let mut rest = &bytes[..];
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            let Some(link) = self.links.get_mut(&stream) else { return };
            let mut line = std::mem::take(&mut link.partial);
            let is_under_way = !line.is_empty() && !holds_back;
            line.extend_from_slice(&rest[..end]);
            let raw = &rest[..=end];
            rest = &rest[end + 1..];
            // The subject has the beginning of a line that comes in pieces, and gets the rest of it.
            self.hear_line(stream, &line, if has_hook && !is_under_way { None } else { Some(raw) });
        }
        if let Some(link) = self.links.get_mut(&stream) {
            link.partial.extend_from_slice(rest);
            if !holds_back && !rest.is_empty() {
                let now = self.inner_now();
                self.subject.handle_input(now, stream, rest);
                self.drain();
            }
        }
        self.take_greedily(stream);
        self.rest_no_more(stream);
    }

    /// Takes a line in: the subject is given `raw`, or, without it, what the defect makes of the line.
    fn hear_line(&mut self, stream: u64, line: &[u8], raw: Option<&[u8]>) {
        let check = self.setup.check;
        let body = match open(line, check) {
            Some(body) => body.to_vec(),
            None if self.has(|kind| matches!(kind, Kind::Unchecked)) => {
                line.iter().rposition(|&byte| byte == b'*').map_or(line, |at| &line[..at]).to_vec()
            }
            None => {
                let bytes = raw.map_or_else(|| [line, b"\n"].concat(), <[u8]>::to_vec);
                self.perform(stream, vec![Deed::HearBytes(bytes)]);
                return;
            }
        };
        self.meet(stream, &body);
        if let Some(link) = self.links.get_mut(&stream) {
            link.current = body.clone();
        }
        let deeds = match raw {
            Some(raw) => vec![Deed::HearBytes(raw.to_vec())],
            None => {
                self.tampered(stream, &body, |kind| if let Kind::Heard(hook) = kind { Some(*hook) } else { None }, Deed::Hear)
            }
        };
        self.with_scene(stream, |scene| scene.note_heard(&body));
        self.perform(stream, deeds);
        if let Some(link) = self.links.get_mut(&stream) {
            link.current.clear();
        }
    }

    /// Learns whose link this is from a server's first line.
    fn meet(&mut self, stream: u64, line: &[u8]) {
        if !self.setup.is_server || self.links.get(&stream).is_none_or(|link| link.is_greeted) {
            return;
        }
        let client = match line.starts_with(b"HOLD/") {
            true => field(line, "client").unwrap_or_default(),
            false => String::from_utf8_lossy(line).into_owned(),
        };
        let rival = self.stream_of(&client).filter(|_| !client.is_empty());
        if let Some(link) = self.links.get_mut(&stream) {
            link.rival = rival;
            link.client.clone_from(&client);
        }
        self.pasts.entry(client).or_default().links += 1;
    }

    /// What the defect makes of a line; without a hook for it, `plain`.
    fn tampered(&mut self, stream: u64, line: &[u8], hook: fn(&Kind) -> Option<OnLine>, plain: fn(Vec<u8>) -> Deed) -> Vec<Deed> {
        let kinds = self.defect.map(|defect| defect.kinds).unwrap_or_default();
        match kinds.iter().find_map(hook) {
            Some(hook) => self.with_scene(stream, |scene| hook(scene, line)).unwrap_or_default(),
            None => vec![plain(line.to_vec())],
        }
    }

    fn with_scene<T>(&mut self, stream: u64, look: impl FnOnce(&mut Scene<'_>) -> T) -> Option<T> {
        let link = self.links.get_mut(&stream)?;
        let mut past = self.pasts.remove(&link.client).unwrap_or_default();
        let seen = look(&mut Scene { now: self.clock.now, setup: &self.setup, link, past: &mut past });
        self.pasts.insert(link.client.clone(), past);
        Some(seen)
    }

    pub(super) fn perform(&mut self, stream: u64, deeds: Vec<Deed>) {
        let check = self.setup.check;
        for deed in deeds {
            let now = self.inner_now();
            match deed {
                Deed::Hear(line) => self.subject.handle_input(now, stream, &seal(&line, check)),
                Deed::HearBytes(bytes) => self.subject.handle_input(now, stream, &bytes),
                Deed::Say(line) => self.say(stream, seal(&line, check)),
                Deed::SayBytes(bytes) => self.say(stream, bytes),
                Deed::SayLater(ms, bytes) => self.later.push((self.clock.now + ms, stream, bytes)),
                Deed::Deliver(text) => self.deliver(stream, text),
                Deed::Close => self.close(stream),
                Deed::CloseOther(other) => self.close(other),
                Deed::CloseAll => {
                    for other in self.links.keys().copied().collect::<Vec<_>>() {
                        self.close(other);
                    }
                }
                Deed::Connect => self.output.push_back(Io::Connect { timeout_ms: 10_000 }),
                Deed::Crash => self.ended = Some(Stop::Crashed("the subject's process ended: index out of bounds".to_owned())),
            }
            self.drain();
        }
    }

    fn say(&mut self, stream: u64, bytes: Vec<u8>) {
        if let Some(link) = self.links.get_mut(&stream) {
            link.wrote(bytes.len(), 0);
            self.output.push_back(Io::Write { stream, bytes });
        }
    }

    fn deliver(&mut self, stream: u64, text: String) {
        if let Some(link) = self.links.get(&stream) {
            let given = json!({"ok": true, "text": text, "delivery": "exactly-once"});
            self.inbox.entry(link.client.clone()).or_default().push_back(given);
        }
    }

    fn close(&mut self, stream: u64) {
        let now = self.inner_now();
        if self.links.contains_key(&stream) {
            self.forget(stream);
            self.output.push_back(Io::Close { stream });
            self.subject.handle_disconnected(now, stream);
        }
    }

    /// Ends what is known of a link.
    pub(super) fn forget(&mut self, stream: u64) {
        if let Some(link) = self.links.remove(&stream) {
            let past: &mut Past = self.pasts.entry(link.client).or_default();
            past.tail = link.partial;
        }
    }

    /// Takes what the subject wants done, and does what the defect makes of it.
    pub(super) fn drain(&mut self) {
        if self.defect.is_none() {
            return;
        }
        while let Some(io) = self.subject.poll_io() {
            match io {
                Io::Write { stream, bytes } => self.write(stream, &bytes),
                Io::Close { stream }
                    if self.has(|kind| matches!(kind, Kind::ReadsOldLink)) && self.successor(stream).is_some() => {}
                Io::Connect { timeout_ms } => self.connect(timeout_ms),
                Io::Close { stream } => {
                    let is_known = self.links.contains_key(&stream);
                    self.forget(stream);
                    if is_known {
                        self.output.push_back(Io::Close { stream });
                    }
                }
                other => self.output.push_back(other),
            }
        }
    }

    fn write(&mut self, stream: u64, bytes: &[u8]) {
        let check = self.setup.check;
        let mut said = Vec::new();
        let mut others = Vec::new();
        for line in bytes.strip_suffix(b"\n").unwrap_or(bytes).split(|&byte| byte == b'\n') {
            let Some(body) = open(line, check).map(<[u8]>::to_vec) else { continue };
            let hook: fn(&Kind) -> Option<OnLine> = |kind| if let Kind::Said(hook) = kind { Some(*hook) } else { None };
            let deeds = self.tampered(stream, &body, hook, Deed::Say);
            for deed in deeds {
                match deed {
                    Deed::Say(line) => said.extend(seal(&line, check)),
                    Deed::SayBytes(bytes) => said.extend(bytes),
                    other => others.push(other),
                }
            }
            self.with_scene(stream, |scene| scene.note_said(&body));
        }
        let now = self.inner_now();
        if self.has(|kind| matches!(kind, Kind::NoStalls)) {
            self.subject.handle_transmitted(now, stream, bytes.len());
            self.say(stream, said);
        } else if said.is_empty() {
            self.subject.handle_transmitted(now, stream, bytes.len());
        } else if let Some(link) = self.links.get_mut(&stream) {
            link.wrote(said.len(), bytes.len());
            self.output.push_back(Io::Write { stream, bytes: said });
        }
        self.perform(stream, others);
    }

    /// Puts the subject's clock ahead by the rest that a classic server takes before its first message.
    fn rest_no_more(&mut self, stream: u64) {
        let is_2019 = self.setup.profile == Profile::Classic2019;
        if self.has(|kind| matches!(kind, Kind::NoRest))
            && let Some(link) = self.links.get_mut(&stream)
            && link.is_greeted
            && link.heard == if is_2019 { 1 } else { 2 }
        {
            self.clock.ahead += 200;
        }
    }

    /// Lets a client connect, or has it wait.
    fn connect(&mut self, timeout_ms: u32) {
        self.attempts += 1;
        let kinds = self.defect.map(|defect| defect.kinds).unwrap_or_default();
        let longer =
            kinds.iter().find_map(|kind| if let Kind::Waits(longer) = kind { Some(longer(self.attempts)) } else { None });
        match longer.unwrap_or(0) {
            0 => self.output.push_back(Io::Connect { timeout_ms }),
            longer => self.attempt = Some((self.clock.now + longer, timeout_ms)),
        }
    }

    /// What the defect does when the application has taken a message.
    pub(super) fn accepted(&mut self, stream: u64) -> Vec<Deed> {
        let kinds = self.defect.map(|defect| defect.kinds).unwrap_or_default();
        let hook = kinds.iter().find_map(|kind| if let Kind::Accepted(hook) = kind { Some(*hook) } else { None });
        hook.and_then(|hook| self.with_scene(stream, hook)).unwrap_or_default()
    }

    /// What it does when the peer ends a link.
    pub(super) fn end(&mut self, stream: u64) {
        let kinds = self.defect.map(|defect| defect.kinds).unwrap_or_default();
        let hook = kinds.iter().find_map(|kind| if let Kind::Ended(hook) = kind { Some(*hook) } else { None });
        if let Some(deeds) = hook.and_then(|hook| self.with_scene(stream, |scene| hook(scene, &[]))) {
            self.perform(stream, deeds);
        }
    }

    /// The link that has taken over from this one.
    fn successor(&self, stream: u64) -> Option<u64> {
        self.links.values().find(|link| link.rival == Some(stream)).map(|link| link.stream)
    }

    /// Where bytes of a link are read, and with what of its own before them.
    fn succeeded(&mut self, stream: u64, bytes: Vec<u8>) -> (u64, Vec<u8>) {
        match self.successor(stream).filter(|_| self.has(|kind| matches!(kind, Kind::ReadsOldLink))) {
            Some(new) => {
                let begun = self.links.get_mut(&stream).map(|link| std::mem::take(&mut link.partial));
                (new, [begun.unwrap_or_default(), bytes].concat())
            }
            None => (stream, bytes),
        }
    }

    fn take_greedily(&mut self, stream: u64) {
        let kinds = self.defect.map(|defect| defect.kinds).unwrap_or_default();
        let Some(drops) = kinds.iter().find_map(|kind| if let Kind::Greedy(drops) = kind { Some(*drops) } else { None }) else {
            return;
        };
        let Some(client) = self.links.get(&stream).map(|link| link.client.clone()) else { return };
        loop {
            let now = self.inner_now();
            let given = self.subject.ask(now, &json!({"do": "recv", "wait_ms": 0, "client": client}));
            self.drain();
            if !given.get("text").is_some_and(Json::is_string) {
                return;
            }
            let inbox = self.inbox.entry(client.clone()).or_default();
            if drops && inbox.len() as u64 >= self.setup.window {
                self.close(stream);
                self.drain();
                return;
            }
            inbox.push_back(given);
        }
    }

    /// Serves connections that had to wait until others had said hello.
    pub(super) fn hear_waiting(&mut self) {
        if !self.has(|kind| matches!(kind, Kind::OneHello)) {
            return;
        }
        while let Some(link) = self.links.values_mut().find(|link| !link.is_greeted)
            && !link.waiting.is_empty()
        {
            let (stream, bytes) = (link.stream, std::mem::take(&mut link.waiting));
            self.hear(stream, &bytes);
        }
    }

    /// When the defect wants to be woken.
    pub(super) fn alarms(&self) -> impl Iterator<Item = u64> {
        let kinds = self.defect.map(|defect| defect.kinds).unwrap_or_default();
        kinds.iter().flat_map(move |kind| {
            let due = if let Kind::Alarm(due, _) = kind { Some(*due) } else { None };
            self.links.values().filter_map(move |link| due?(&self.setup, link))
        })
    }

    /// Does what the defect does at a time.
    pub(super) fn ring(&mut self) {
        let now = self.clock.now;
        let (due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.later).into_iter().partition(|(at, _, _)| *at <= now);
        self.later = later;
        for (_, stream, bytes) in due {
            self.say(stream, bytes);
        }
        if let Some((_, timeout_ms)) = self.attempt.take_if(|(at, _)| *at <= now) {
            self.output.push_back(Io::Connect { timeout_ms });
        }
        for kind in self.defect.map(|defect| defect.kinds).unwrap_or_default() {
            let Kind::Alarm(due, hook) = kind else { continue };
            let links = self.links.values().filter(|link| due(&self.setup, link).is_some_and(|at| at <= now));
            for stream in links.map(|link| link.stream).collect::<Vec<_>>() {
                let deeds = self.with_scene(stream, |scene| hook(scene, &[])).unwrap_or_default();
                self.perform(stream, deeds);
            }
        }
    }

    /// Lets a client that waits believe that the time has come.
    pub(super) fn hurry(&mut self) {
        if !self.has(|kind| matches!(kind, Kind::NoWaits)) || !self.links.is_empty() || self.setup.is_server {
            return;
        }
        let is_connecting = self.output.iter().any(|io| matches!(io, Io::Connect { .. }));
        if let Some(due) = self.subject.poll_timeout().filter(|_| !is_connecting) {
            let ahead = due.as_millis().saturating_sub(self.clock.inner(self.clock.now));
            self.clock.ahead += ahead;
            let now = self.inner_now();
            self.subject.handle_timeout(now);
            self.drain();
        }
    }
}
