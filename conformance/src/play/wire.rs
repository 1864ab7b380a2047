//! Steps on a link: what the suite says, and what it expects to hear.

use super::link::Link;
use super::{Broken, Failure, Player};
use crate::bench::LinkId;
use crate::case::{Profile, Step};
use crate::crc::crc32;
use crate::expression::{Value, span};
use crate::template::Template;

impl Player<'_> {
    /// What the suite waits for a link of a client's own making: longer than any backoff within three attempts.
    const CONNECT: &'static str = "max(5T, 10s)";

    pub(super) fn connect(&mut self, name: &str, step: &Step) -> Result<(), Broken> {
        let (until, earliest) = self.window(step, Self::CONNECT)?;
        let Some(id) = self.bench.open(until)? else {
            let what = if self.is_server() { "the server takes no connection" } else { "the client does not connect in time" };
            return Err(what.to_owned().into());
        };
        let now = self.bench.now();
        self.transcript.add(now, '-', name, b"the link is open");
        self.links.push(Link::new(id, name, self.keepalive_ms(), now));
        self.mark = now;
        if now < earliest { Err("the client connects too early".to_owned().into()) } else { Ok(()) }
    }

    pub(super) fn unconnected(&mut self, written: &str) -> Result<(), Broken> {
        let end = self.mark + span(written, &self.names)?;
        let until = end.saturating_sub(self.bench.tolerance());
        if self.bench.open(until)?.is_some() {
            let now = self.bench.now();
            self.transcript.add(now, '-', "", b"the client connects");
            return Err("the client connected, and was not to yet".to_owned().into());
        }
        self.mark = end;
        Ok(())
    }

    /// How often the suite says something: often enough for every profile's silence limit.
    pub(super) fn keepalive_ms(&self) -> u64 {
        self.timeout() / 4
    }

    pub(super) fn is_checked(&self) -> bool {
        self.case.profile == Profile::Native
            && self.case.start.get("check").is_some_and(|check| check.value() == Value::text("crc32"))
    }

    pub(super) fn find(&mut self, id: LinkId) -> Option<&mut Link> {
        self.links.iter_mut().find(|link| link.id == id)
    }

    /// Writes bytes, in as many segments as the step says.
    pub(super) fn say(&mut self, link: LinkId, bytes: &[u8], split: Option<&str>, bytewise: bool) -> Result<(), Broken> {
        let now = self.bench.now();
        let name = self.find(link).map(|link| {
            link.last_sent = now;
            link.name.clone()
        });
        let name = name.unwrap_or_default();
        let shown = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        self.transcript.add(now, '>', &name, if bytes.ends_with(b"\n") { shown } else { bytes });
        let at = match split {
            Some(split) => usize::try_from(span(split, &self.names)?).unwrap_or(usize::MAX).min(bytes.len()),
            None => bytes.len(),
        };
        let segments: Vec<&[u8]> = if bytewise { bytes.chunks(1).collect() } else { vec![&bytes[..at], &bytes[at..]] };
        for segment in segments.into_iter().filter(|segment| !segment.is_empty()) {
            self.bench.links().write(link, segment)?;
            self.bench.links().separate();
        }
        Ok(())
    }

    /// Sorts bytes that came into lines.
    pub(super) fn hear(&mut self, id: LinkId, at: u64, bytes: &[u8]) {
        let Some(index) = self.links.iter().position(|link| link.id == id && !link.is_over) else { return };
        let name = self.links[index].name.clone();
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.links[index].partial.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                let mut line = std::mem::take(&mut self.links[index].partial);
                line.pop();
                let place = self.transcript.add(at, '<', &name, &line);
                self.links[index].lines.push_back((at, line, place));
            }
        }
    }

    pub(super) fn hear_end(&mut self, id: LinkId, at: u64) {
        let Some(link) = self.find(id).filter(|link| !link.is_over) else { return };
        link.ended = Some(at);
        let (name, partial) = (link.name.clone(), std::mem::take(&mut link.partial));
        if !partial.is_empty() {
            self.transcript.add(at, '<', &name, &[b"(no LF) ", &partial[..]].concat());
        }
        self.transcript.add(at, '-', &name, b"the subject has closed the link");
    }

    pub(super) fn forget(&mut self, id: LinkId, what: &str) {
        let now = self.bench.now();
        if let Some(link) = self.find(id) {
            link.is_over = true;
            link.lines.clear();
            let name = link.name.clone();
            self.transcript.add(now, '-', &name, what.as_bytes());
        }
        self.mark = now;
    }

    /// The next line that means something, up to a time; `None` if there is none by then or the link is over.
    pub(super) fn line(&mut self, id: LinkId, until: u64, skipping: &[Template], blank: bool) -> Result<Option<Heard>, Broken> {
        loop {
            let names = self.names.clone();
            while let Some((at, line, place)) = self.find(id).and_then(|link| link.lines.pop_front()) {
                let heard = self.checked(Heard { at, line, place })?;
                let greeted = self.find(id).is_some_and(|link| link.is_greeted);
                if heard.line.is_empty() && greeted && !blank {
                    continue;
                }
                let mut skips = false;
                for pattern in skipping {
                    skips |= pattern.matches(&heard.line, &names)?.is_some();
                }
                if skips {
                    continue;
                }
                if heard.at > until {
                    self.find(id).into_iter().for_each(|link| link.lines.push_front((heard.at, heard.line.clone(), heard.place)));
                    return Ok(None);
                }
                return Ok(Some(heard));
            }
            if self.find(id).is_none_or(|link| link.ended.is_some() || link.is_over) || self.bench.now() >= until {
                return Ok(None);
            }
            self.pump(until)?;
        }
    }

    /// Takes the check off a line of a checked stream.
    fn checked(&self, heard: Heard) -> Result<Heard, Broken> {
        if !self.is_checked() || heard.line.is_empty() {
            return Ok(heard);
        }
        let split = heard.line.len().checked_sub(9).map(|at| heard.line.split_at(at));
        match split {
            Some((body, check)) if check == format!("*{:08x}", crc32(body)).as_bytes() => {
                Ok(Heard { line: body.to_vec(), ..heard })
            }
            _ => Err(heard.wrong("a line of a checked stream has no check, or a wrong one")),
        }
    }

    pub(super) fn expect(&mut self, id: LinkId, pattern: &Template, step: &Step) -> Result<(), Broken> {
        self.expect_any(id, std::slice::from_ref(pattern), step)
    }

    pub(super) fn expect_any(&mut self, id: LinkId, patterns: &[Template], step: &Step) -> Result<(), Broken> {
        let (until, earliest) = self.window(step, "prompt")?;
        let blank = patterns.iter().any(|pattern| matches!(pattern.matches(b"", &self.names), Ok(Some(_))));
        let Some(heard) = self.line(id, until, &step.skipping, blank)? else {
            return Err(self.nothing_came(id, patterns));
        };
        for pattern in patterns {
            if let Some(taken) = pattern.matches(&heard.line, &self.names)? {
                self.names.extend(taken);
                self.mark = self.mark.max(heard.at);
                return if heard.at < earliest { Err(heard.wrong("it comes too early")) } else { Ok(()) };
            }
        }
        Err(heard.wrong(&format!("{} was expected", self.shown(patterns))))
    }

    pub(super) fn expect_all(&mut self, id: LinkId, patterns: &[Template], step: &Step) -> Result<(), Broken> {
        let (until, earliest) = self.window(step, "prompt")?;
        let mut left = patterns.to_vec();
        while !left.is_empty() {
            let Some(heard) = self.line(id, until, &step.skipping, false)? else {
                return Err(self.nothing_came(id, &left));
            };
            let mut found = None;
            for (index, pattern) in left.iter().enumerate() {
                if found.is_none() {
                    found = pattern.matches(&heard.line, &self.names)?.map(|taken| (index, taken));
                }
            }
            let Some((index, taken)) = found else {
                return Err(heard.wrong(&format!("{} was expected", self.shown(&left))));
            };
            if heard.at < earliest {
                return Err(heard.wrong("it comes too early"));
            }
            left.remove(index);
            self.names.extend(taken);
            self.mark = self.mark.max(heard.at);
        }
        Ok(())
    }

    fn nothing_came(&mut self, id: LinkId, patterns: &[Template]) -> Broken {
        let shown = self.shown(patterns);
        let ended = self.find(id).is_some_and(|link| link.ended.is_some());
        let what = if ended { "the subject closed the link" } else { "nothing came in time" };
        let now = self.bench.now();
        let line = self.transcript.add(now, '-', "", format!("{shown} was expected").as_bytes());
        Broken::Failed(Failure { step: 0, what: format!("{shown} was expected, and {what}"), line: Some(line) })
    }

    fn shown(&self, patterns: &[Template]) -> String {
        let shown: Vec<String> = patterns.iter().map(|pattern| format!("`{}`", pattern.shown(&self.names))).collect();
        shown.join(" or ")
    }

    pub(super) fn silence(&mut self, id: LinkId, written: &str, strict: bool, step: &Step) -> Result<(), Broken> {
        let end = self.mark + span(written, &self.names)?;
        let until = end.saturating_sub(self.bench.tolerance());
        if let Some(heard) = self.line(id, until, &step.skipping, strict)? {
            return Err(heard.wrong("nothing was to come yet"));
        }
        if self.find(id).and_then(|link| link.ended).is_some_and(|at| at <= until) {
            return Err("the subject closed the link, and had no reason to yet".to_owned().into());
        }
        // What comes a little early is the next step's affair.
        while self.bench.now() < end {
            self.pump(end)?;
        }
        self.mark = end;
        Ok(())
    }

    pub(super) fn closed(&mut self, id: LinkId, step: &Step) -> Result<(), Broken> {
        let (until, earliest) = self.window(step, "prompt")?;
        if let Some(heard) = self.line(id, until, &step.skipping, false)? {
            return Err(heard.wrong("the link was to be closed, and nothing more to be said"));
        }
        match self.find(id).and_then(|link| link.ended) {
            Some(at) if at < earliest => Err("the link was closed too early".to_owned().into()),
            Some(at) if at <= until => {
                self.mark = at;
                Ok(())
            }
            _ => Err("the subject did not close the link in time".to_owned().into()),
        }
    }
}

/// A line that came.
pub(super) struct Heard {
    pub(super) at: u64,
    pub(super) line: Vec<u8>,
    pub(super) place: usize,
}

impl Heard {
    pub(super) fn wrong(&self, why: &str) -> Broken {
        let shown = self.line.get(..200).unwrap_or(&self.line).escape_ascii();
        Broken::Failed(Failure { step: 0, what: format!("`{shown}` came: {why}"), line: Some(self.place) })
    }
}
