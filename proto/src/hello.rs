//! The first line of a link in each direction: hello, welcome, refusal, and the classic id line.

use crate::config::{Keeps, LINE_MAX, LINE_MIN, TIMEOUT_MAX_MS, TIMEOUT_MIN_MS};
use crate::event::{PeerFault, RefusalCode};
use crate::frame::{self, Line, SEQ_LIMIT, Writer};
use crate::words::{self, after};
use core::fmt;

/// The longest hello, welcome or refusal, in bytes without its LF: what a server reads of a stranger.
pub const HELLO_MAX: usize = 512;
/// The longest classic id line, in bytes without its LF.
pub const CLASSIC_ID_MAX: usize = 128;
/// The longest native client id, in bytes.
pub const CLIENT_ID_MAX: usize = 64;

/// The name of a client, and so of its session: 1 to 64 bytes of printable ASCII without space and `=`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId {
    bytes: [u8; CLIENT_ID_MAX],
    len: u8,
}

impl ClientId {
    /// Checks a name.
    ///
    /// # Errors
    /// [`InvalidClientId`] if it is empty, too long, or has a byte that is not allowed.
    pub const fn new(name: &str) -> Result<Self, InvalidClientId> {
        let name = name.as_bytes();
        if name.is_empty() || name.len() > CLIENT_ID_MAX {
            return Err(InvalidClientId);
        }
        let mut bytes = [0; CLIENT_ID_MAX];
        let mut index = 0;
        while index < name.len() {
            // HL-0018
            if !(name[index].is_ascii_graphic() && name[index] != b'=') {
                return Err(InvalidClientId);
            }
            bytes[index] = name[index];
            index += 1;
        }
        Ok(Self { bytes, len: name.len() as u8 })
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        frame::utf8(self.as_bytes()).unwrap_or_default()
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is no client id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct InvalidClientId;

impl fmt::Display for InvalidClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a client id is 1 to 64 characters of printable ASCII without space and '='")
    }
}

impl core::error::Error for InvalidClientId {}

/// What both hello and welcome say of their speaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Terms {
    /// Drawn at every start of the speaker's program.
    pub boot: u64,
    /// The incarnation of the speaker's sending stream; never 0.
    pub epoch: u64,
    /// Every message of that stream up to this number has been acknowledged to the speaker.
    pub base: u64,
    /// The checksum of that stream up to `base`, from a speaker that keeps its outbox.
    pub base_sum: Option<u32>,
    /// The incarnation of the other side's stream that the speaker remembers; 0 for none.
    pub peer: u64,
    /// The last number of that stream that the speaker's application has accepted.
    pub seen: u64,
    /// How many messages after `seen` the speaker has received that its application has not accepted.
    pub held: u16,
    /// The checksum of that stream up to `seen + held`, where its sender keeps its outbox.
    pub seen_sum: Option<u32>,
    /// What survives a loss of power at the speaker.
    pub keeps: Keeps,
    /// The timeout in milliseconds: proposed in a hello, settled in a welcome.
    pub timeout_ms: u32,
    /// How many unaccepted messages the speaker is ready to hold.
    pub window: u16,
    /// The longest line that the speaker can receive, in bytes without LF.
    pub max_line: u32,
    /// On a stream with checks the client's random number for this link, which the welcome repeats; else 0.
    pub link: u64,
}

/// A native client's first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello<'l> {
    /// The name of the client.
    pub client: &'l str,
    /// Everything else.
    pub terms: Terms,
    /// Whether it was read from a stream whose lines carry checks: those of its link do.
    pub check: bool,
}

/// What a server makes of the first line of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Greeting<'l> {
    /// A native hello.
    Native(Hello<'l>),
    /// A classic id line.
    Classic(&'l str),
}

impl<'l> Greeting<'l> {
    /// Reads the first line of a connection: `Ok(None)` while it is incomplete, else the greeting and how many bytes it
    /// took, the LF included. What follows belongs to the session.
    ///
    /// `check` says that lines of this stream carry a checksum: then a line that is no greeting is what is left of an
    /// earlier link, and is skipped.
    ///
    /// # Errors
    /// The refusal to write ([`refuse`]) before closing. A classic peer does not understand it, and is closed all the same.
    pub fn read(input: &'l [u8], check: bool) -> Result<Option<(Self, usize)>, RefusalCode> {
        let mut taken = 0;
        loop {
            let rest = input.get(taken..).unwrap_or_default();
            let line = match frame::split(rest, HELLO_MAX) {
                Ok(Some(line)) => line,
                Ok(None) => return Ok(None),
                // On a stream that loses bytes two lines may have become one.
                Err(_) if check => match frame::find_lf(rest) {
                    Some(end) => {
                        taken += end + 1;
                        continue;
                    }
                    None => return Err(RefusalCode::Malformed),
                },
                Err(_) => return Err(RefusalCode::Malformed),
            };
            taken += line.bytes.len() + 1;
            if !check {
                return Self::parse(line, check).map(|greeting| Some((greeting, taken)));
            }
            // HL-0099
            if let Some(body) = frame::unchecked(line.bytes).filter(|body| is_greeting(body)) {
                return Self::parse(Line { bytes: body, ..line }, check).map(|greeting| Some((greeting, taken)));
            }
        }
    }

    fn parse(Line { bytes: line, nul }: Line<'l>, check: bool) -> Result<Self, RefusalCode> {
        // HL-0009, HL-0010, HL-0011, HL-0012
        if let Some(fields) = line.strip_prefix(NATIVE) {
            return parse_terms(fields, true)
                .and_then(|(client, terms)| Some(Self::Native(Hello { client: client?, terms, check })))
                .ok_or(RefusalCode::Malformed);
        }
        if line.starts_with(b"HOLD/") {
            return Err(RefusalCode::Version);
        }
        if line.starts_with(b"SEAL/") {
            return Err(RefusalCode::Sealed);
        }
        match frame::utf8(line) {
            Ok(id) if !nul && !id.is_empty() && id.len() <= CLASSIC_ID_MAX => Ok(Self::Classic(id)),
            _ => Err(RefusalCode::Malformed),
        }
    }
}

/// Whether a line that passed its check begins a link.
pub(crate) fn is_greeting(line: &[u8]) -> bool {
    line.starts_with(b"HOLD/")
}

/// Writes the refusal of a hello; returns its length, or 0 if `buffer` is too small for it (64 bytes suffice).
pub fn refuse(code: RefusalCode, retry_ms: u32, check: bool, buffer: &mut [u8]) -> usize {
    let mut writer = Writer::new(buffer, check);
    writer.put(NATIVE).put(b"no code=").put(code.token().as_bytes());
    if retry_ms > 0 {
        writer.put(b" retry=").number(retry_ms.into());
    }
    let _ = writer.end();
    writer.written()
}

/// What a client makes of the line that answers its hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer<'l> {
    /// Its fields, for [`parse_welcome`].
    Welcome(&'l [u8]),
    Refusal {
        code: RefusalCode,
        retry_ms: u32,
    },
    NotHoldline,
}

impl<'l> Answer<'l> {
    pub(crate) fn parse(line: &'l [u8]) -> Result<Self, PeerFault> {
        let Some(rest) = after(NATIVE, line) else {
            return Ok(Self::NotHoldline);
        };
        if line.len() > HELLO_MAX {
            return Err(PeerFault::Hello);
        }
        if let Some(fields) = after(b"ok ", rest) {
            return Ok(Self::Welcome(fields));
        }
        let fields = after(b"no ", rest).ok_or(PeerFault::Hello)?;
        let mut code = None;
        let mut retry_ms = 0;
        for field in fields.split(|&byte| byte == b' ') {
            if let Some(token) = after(b"code=", field) {
                code = code.or(Some(RefusalCode::from_token(token)));
            } else if let Some(value) = after(b"retry=", field) {
                retry_ms = retry(value);
            }
        }
        Ok(Self::Refusal { code: code.ok_or(PeerFault::Hello)?, retry_ms })
    }
}

/// The value of a `retry=`: at most an hour is honoured, nonsense not at all.
pub(crate) fn retry(value: &[u8]) -> u32 {
    frame::number(value).map_or(0, |ms| ms.min(TIMEOUT_MAX_MS.into()) as u32)
}

const NATIVE: &[u8] = b"HOLD/1 ";

// HL-0016
/// The keys of a hello or welcome in the order of the grammar, and `client`, which only a hello has.
const KEYS: &[u8] = b"boot epoch base peer seen keeps timeout window max bsum sum held link client";
const KEEPS: usize = 5;
const CLIENT: usize = 13;
/// All up to `max`.
const REQUIRED: u16 = 0b1_1111_1111;
/// The range of each value; `keeps` counts as its place among the words.
const LEAST: [u8; CLIENT] = [0, 1, 0, 0, 0, 0, TIMEOUT_MIN_MS as u8, 1, LINE_MIN as u8, 0, 0, 0, 1];
const GREATEST: [u64; CLIENT] = [
    u64::MAX,
    u64::MAX,
    SEQ_LIMIT - 1,
    u64::MAX,
    SEQ_LIMIT - 1,
    u64::MAX,
    TIMEOUT_MAX_MS as u64,
    u16::MAX as u64,
    LINE_MAX as u64,
    u32::MAX as u64,
    u32::MAX as u64,
    u16::MAX as u64,
    u64::MAX,
];

/// Writes a hello (with a client id) or a welcome (without).
pub(crate) fn write_terms(writer: &mut Writer<'_>, client: Option<&[u8]>, terms: &Terms) -> bool {
    match client {
        Some(client) => writer.put(NATIVE).put(b"client=").put(client),
        None => writer.put(NATIVE).put(b"ok"),
    };
    let field = |writer: &mut Writer<'_>, place, value| {
        writer.put(b" ").put(words::nth(KEYS, place)).put(b"=").number(value);
    };
    field(writer, 0, terms.boot);
    field(writer, 1, terms.epoch);
    field(writer, 2, terms.base);
    field(writer, 3, terms.peer);
    field(writer, 4, terms.seen);
    writer.put(b" keeps=").put(words::nth(Keeps::WORDS, terms.keeps as usize));
    field(writer, 6, terms.timeout_ms.into());
    field(writer, 7, terms.window.into());
    field(writer, 8, terms.max_line.into());
    if let Some(sum) = terms.base_sum {
        field(writer, 9, sum.into());
    }
    if let Some(sum) = terms.seen_sum {
        field(writer, 10, sum.into());
    }
    if terms.held > 0 {
        field(writer, 11, terms.held.into());
    }
    if terms.link > 0 {
        field(writer, 12, terms.link);
    }
    writer.end()
}

pub(crate) fn parse_welcome(fields: &[u8]) -> Result<Terms, PeerFault> {
    parse_terms(fields, false).map(|(_, terms)| terms).ok_or(PeerFault::Hello)
}

/// Fields in any order: unknown ones are ignored, known ones may stand once.
fn parse_terms(fields: &[u8], with_client: bool) -> Option<(Option<&str>, Terms)> {
    let mut values = [0; CLIENT];
    let mut client = None;
    let mut given: u16 = 0;
    // HL-0017, HL-0018
    for field in fields.split(|&byte| byte == b' ') {
        let equals = field.iter().position(|&byte| byte == b'=').filter(|&equals| equals > 0)?;
        let (key, value) = (field.get(..equals)?, field.get(equals + 1..)?);
        let Some(place) = words::find(KEYS, key).filter(|&place| with_client || place != CLIENT) else {
            continue;
        };
        if given & 1 << place != 0 {
            return None;
        }
        given |= 1 << place;
        if place == CLIENT {
            let name = frame::utf8(value).ok()?;
            ClientId::new(name).ok()?;
            client = Some(name);
            continue;
        }
        let value = match place {
            KEEPS => words::find(Keeps::WORDS, value)? as u64,
            _ => frame::number(value)?,
        };
        if value < u64::from(LEAST[place]) || value > GREATEST[place] {
            return None;
        }
        values[place] = value;
    }
    if given & REQUIRED != REQUIRED || (with_client && client.is_none()) {
        return None;
    }
    let [boot, epoch, base, peer, seen, keeps, timeout, window, max_line, base_sum, seen_sum, held, link] = values;
    let sum = |place: usize, sum: u64| (given & 1 << place != 0).then_some(sum as u32);
    let terms = Terms {
        boot,
        epoch,
        base,
        base_sum: sum(9, base_sum),
        peer,
        seen,
        held: held as u16,
        seen_sum: sum(10, seen_sum),
        keeps: *Keeps::ALL.get(keeps as usize)?,
        timeout_ms: timeout as u32,
        window: window as u16,
        max_line: max_line as u32,
        link,
    };
    Some((client, terms))
}
