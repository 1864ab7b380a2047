//! What a defect can look at.

use crate::case::Profile;
use crate::crc::crc32;
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How the subject was started.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) is_server: bool,
    pub(super) profile: Profile,
    pub(super) client: String,
    pub(super) timeout_ms: u64,
    pub(super) window: u64,
    pub(super) max: u64,
    pub(super) check: bool,
    pub(super) half_open: u64,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            is_server: false,
            profile: Profile::Native,
            client: String::new(),
            timeout_ms: 2_000,
            window: 16,
            max: 4_096,
            check: false,
            half_open: 1_024,
        }
    }
}

impl Setup {
    pub(super) fn read(start: &Json) -> Self {
        let text = |key: &str| start.get(key).and_then(Json::as_str).unwrap_or_default();
        let number = |key: &str, default| start.get(key).and_then(Json::as_u64).unwrap_or(default);
        Self {
            is_server: text("role") == "server",
            profile: match text("profile") {
                "classic-2019" => Profile::Classic2019,
                "classic-2020" => Profile::Classic2020,
                _ => Profile::Native,
            },
            client: text("client").to_owned(),
            timeout_ms: number("timeout_ms", 2_000),
            window: number("window", 16),
            max: number("max", 4_096),
            check: text("check") == "crc32",
            half_open: number("half_open", 1_024),
        }
    }

    /// Whose session a request is about.
    pub(super) fn client_of(&self, request: &Json) -> String {
        match self.is_server {
            true => request.get("client").and_then(Json::as_str).unwrap_or_default().to_owned(),
            false => self.client.clone(),
        }
    }
}

/// A link.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) stream: u64,
    pub(super) client: String,
    pub(super) is_native: bool,
    /// Native: the hello (server) or the welcome (client) was read. Classic: the id line was.
    pub(super) is_greeted: bool,
    pub(super) timeout_ms: u64,
    pub(super) begun: u64,
    pub(super) last_in: u64,
    pub(super) last_out: u64,
    pub(super) heard: u64,
    pub(super) said: u64,
    /// The line that is being handled.
    pub(super) current: Vec<u8>,
    /// What came of a line that is not complete.
    pub(super) partial: Vec<u8>,
    /// What came while others were served.
    pub(super) waiting: Vec<u8>,
    /// Another link of the same session.
    pub(super) rival: Option<u64>,
    pub(super) ids_in: BTreeSet<u8>,
    pub(super) ids_out: BTreeSet<u8>,
    /// Room for a defect's own count.
    pub(super) count: u64,
    /// Whether the subject reads no more.
    pub(super) is_zombie: bool,
    /// What was written, in pieces, and how much of each piece is the subject's own.
    ledger: VecDeque<(usize, usize)>,
}

impl Link {
    pub(super) fn new(stream: u64, now: u64, setup: &Setup) -> Self {
        Self {
            stream,
            client: String::new(),
            is_native: setup.profile == Profile::Native,
            is_greeted: !setup.is_server && setup.profile != Profile::Native,
            timeout_ms: setup.timeout_ms,
            begun: now,
            last_in: now,
            last_out: now,
            heard: 0,
            said: 0,
            current: Vec::new(),
            partial: Vec::new(),
            waiting: Vec::new(),
            rival: None,
            ids_in: BTreeSet::new(),
            ids_out: BTreeSet::new(),
            count: 0,
            is_zombie: false,
            ledger: VecDeque::new(),
        }
    }

    pub(super) fn wrote(&mut self, bytes: usize, own: usize) {
        self.ledger.push_back((bytes, own));
    }

    /// How many bytes of the subject's own the transport has taken, when it took so many.
    pub(super) fn transmitted(&mut self, mut bytes: usize) -> usize {
        let mut own = 0;
        while let Some((left, of_subject)) = self.ledger.front_mut() {
            if *left > bytes {
                *left -= bytes;
                break;
            }
            bytes -= *left;
            own += *of_subject;
            self.ledger.pop_front();
        }
        own
    }
}

/// What happened in a session, over its links.
#[derive(Clone, Debug, Default)]
pub(super) struct Past {
    pub(super) links: u64,
    /// The peer's stream, and the highest number in it that came in order.
    pub(super) epoch_in: String,
    pub(super) received: u64,
    /// The subject's own epoch as it said it last.
    pub(super) epoch_out: String,
    pub(super) sent: u64,
    pub(super) sent_before: u64,
    pub(super) last_ack: Option<u64>,
    pub(super) ids_in: BTreeSet<u8>,
    pub(super) ids_out: BTreeSet<u8>,
    pub(super) texts_out: BTreeMap<u8, Vec<u8>>,
    pub(super) last_id: Option<u8>,
    /// What came last of an old link, without its LF.
    pub(super) tail: Vec<u8>,
    pub(super) last_line: Vec<u8>,
    pub(super) last_link: String,
    pub(super) count: u64,
}

/// Where a line passes.
#[derive(Debug)]
pub(super) struct Scene<'s> {
    pub(super) now: u64,
    pub(super) setup: &'s Setup,
    pub(super) link: &'s mut Link,
    pub(super) past: &'s mut Past,
}

impl Scene<'_> {
    /// Notes a line that came in, after its effect was decided on.
    pub(super) fn note_heard(&mut self, line: &[u8]) {
        self.link.heard += 1;
        if line.starts_with(b"HOLD/1 ") {
            if let Some(epoch) = field(line, "epoch") {
                let base = field(line, "base").and_then(|base| base.parse().ok()).unwrap_or(0);
                if self.past.epoch_in != epoch {
                    self.past.epoch_in = epoch;
                    self.past.received = base;
                }
                self.past.received = self.past.received.max(base);
                self.link.is_greeted = true;
            }
            self.learn_timeout(line);
        } else if self.setup.is_server && !self.link.is_greeted {
            self.link.is_native = false;
            self.link.is_greeted = true;
        } else if let Some((n, _)) = message(line).filter(|_| self.link.is_native) {
            if n == self.past.received + 1 {
                self.past.received = n;
            }
        } else if let Some((id, text)) = classic(line).filter(|_| !self.link.is_native)
            && !text.is_empty()
        {
            self.link.ids_in.insert(id);
            self.past.ids_in.insert(id);
        }
    }

    /// Notes a line that goes out.
    pub(super) fn note_said(&mut self, line: &[u8]) {
        self.link.said += 1;
        self.link.last_out = self.now;
        if line.starts_with(b"HOLD/1 ") {
            if let Some(epoch) = field(line, "epoch") {
                if self.past.epoch_out != epoch {
                    (self.past.epoch_out, self.past.sent) = (epoch, 0);
                }
                self.past.sent_before = self.past.sent;
                if let Some(link) = field(line, "link") {
                    self.past.last_link = link;
                }
            }
            self.learn_timeout(line);
        } else if let Some((n, _)) = message(line).filter(|_| self.link.is_native) {
            self.past.sent = self.past.sent.max(n);
        } else if let Some(n) = number(line, b'A').filter(|_| self.link.is_native) {
            self.past.last_ack = Some(n);
        } else if let Some((id, text)) = classic(line).filter(|_| !self.link.is_native && self.link.is_greeted)
            && !text.is_empty()
        {
            self.link.ids_out.insert(id);
            self.past.ids_out.insert(id);
            self.past.texts_out.insert(id, text.to_vec());
            self.past.last_id = Some(id);
        }
        if !line.is_empty() {
            self.past.last_line = line.to_vec();
        }
    }

    fn learn_timeout(&mut self, line: &[u8]) {
        if let Some(timeout) = field(line, "timeout").and_then(|timeout| timeout.parse().ok()) {
            self.link.timeout_ms = timeout;
        }
    }
}

/// The value of a field of a greeting.
pub(super) fn field(line: &[u8], key: &str) -> Option<String> {
    let line = std::str::from_utf8(line).ok()?;
    line.split(' ').find_map(|field| field.strip_prefix(key)?.strip_prefix('=')).map(str::to_owned)
}

/// A greeting with another value in a field that it has.
pub(super) fn with(line: &[u8], key: &str, value: impl std::fmt::Display) -> Vec<u8> {
    edit(line, key, Some(format!("{key}={value}")))
}

/// A greeting without a field.
pub(super) fn without(line: &[u8], key: &str) -> Vec<u8> {
    edit(line, key, None)
}

fn edit(line: &[u8], key: &str, replacement: Option<String>) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(line) else { return line.to_vec() };
    let is_it = |field: &str| field.strip_prefix(key).is_some_and(|rest| rest.starts_with('='));
    let fields = text.split(' ').filter_map(|field| match is_it(field) {
        true => replacement.clone(),
        false => Some(field.to_owned()),
    });
    fields.collect::<Vec<_>>().join(" ").into_bytes()
}

/// Whether a line is a hello or a welcome.
pub(super) fn is_greeting(line: &[u8]) -> bool {
    line.starts_with(b"HOLD/1 ") && field(line, "epoch").is_some()
}

/// The number after a letter.
pub(super) fn number(line: &[u8], letter: u8) -> Option<u64> {
    let (first, rest) = line.split_first()?;
    std::str::from_utf8(rest).ok()?.parse().ok().filter(|_| *first == letter)
}

/// The number and the text of a message.
pub(super) fn message(line: &[u8]) -> Option<(u64, &[u8])> {
    let blank = line.iter().position(|&byte| byte == b' ')?;
    Some((number(&line[..blank], b'M')?, &line[blank + 1..]))
}

/// The id and the text of a classic line.
pub(super) fn classic(line: &[u8]) -> Option<(u8, &[u8])> {
    let digits = line.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
    let id = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    Some((id, &line[2..]))
}

/// A classic line.
pub(super) fn classic_line(id: u8, text: &[u8]) -> Vec<u8> {
    [format!("{id:02x}").as_bytes(), text].concat()
}

/// A line with its check and its LF.
pub(super) fn seal(line: &[u8], check: bool) -> Vec<u8> {
    let mut sealed = line.to_vec();
    if check && !line.is_empty() {
        sealed.extend_from_slice(format!("*{:08x}", crc32(line)).as_bytes());
    }
    sealed.push(b'\n');
    sealed
}

/// A line without its check; `None` if that is missing or wrong.
pub(super) fn open(line: &[u8], check: bool) -> Option<&[u8]> {
    if !check || line.is_empty() {
        return Some(line);
    }
    let body = line.get(..line.len().checked_sub(9)?)?;
    (line[body.len()..] == *format!("*{:08x}", crc32(body)).as_bytes()).then_some(body)
}
