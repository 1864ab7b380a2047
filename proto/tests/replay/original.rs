//! A strict reader in the place of the original program: what it would have accepted, and what it would have made of it.

use super::recording::Side;
use holdline_proto::classic::Flavour;

/// Everything that one original program demands of the lines of the other, and its duplicate list.
#[derive(Debug)]
pub struct Original {
    flavour: Flavour,
    /// The side that speaks to it.
    speaker: Side,
    timeout_ms: u64,
    list: [bool; 256],
    fresh: bool,
    /// What its application was given.
    pub delivered: Vec<String>,
    /// The texts that our side has put on the wire, by the place of their id, since it started.
    texts: Vec<String>,
    link: Option<LinkSeen>,
}

#[derive(Debug)]
struct LinkSeen {
    /// When the link was opened (speaker is the client) or its id line was read (speaker is the server).
    opened: u64,
    first_byte_heard: Option<u64>,
    last_write: Option<u64>,
    writes: u32,
}

impl Original {
    pub fn new(flavour: Flavour, speaker: Side, timeout_ms: u32) -> Self {
        Self {
            flavour,
            speaker,
            timeout_ms: timeout_ms.into(),
            list: [false; 256],
            fresh: true,
            delivered: Vec::new(),
            texts: Vec::new(),
            link: None,
        }
    }

    /// The original program starts again and forgets its list.
    pub fn restarts(&mut self) {
        self.list = [false; 256];
        self.fresh = true;
    }

    /// Our program starts again: its ids begin anew.
    pub fn speaker_restarts(&mut self) {
        self.texts.clear();
    }

    pub fn link_opens(&mut self, at: u64) {
        self.link = Some(LinkSeen { opened: at, first_byte_heard: None, last_write: None, writes: 0 });
    }

    /// The link ends; until then our side must have kept it alive.
    pub fn link_ends(&mut self, at: u64) {
        if let Some(link) = self.link.take() {
            self.check_gap(&link, at);
        }
    }

    /// Our side has received a byte on this link.
    pub fn speaker_hears(&mut self, at: u64) {
        if let Some(link) = &mut self.link {
            link.first_byte_heard.get_or_insert(at);
        }
    }

    /// The longest time between two writes that the speaker's program allows itself.
    fn rhythm(&self) -> u64 {
        let t = self.timeout_ms;
        match (self.flavour, self.speaker) {
            (Flavour::V2019, Side::Client) => t * 2 / 3,
            (Flavour::V2019, Side::Server) => t / 2,
            (Flavour::V2020, _) => t / 4,
        }
    }

    // HL-0050, HL-0051, HL-0056, HL-0057
    fn check_gap(&self, link: &LinkSeen, at: u64) {
        let since = link.last_write.unwrap_or(link.opened);
        assert!(at - since <= self.rhythm(), "{at}: nothing was written since {since}");
    }

    /// Our side writes whole lines at once. Returns what of it are messages, each an id and a text.
    pub fn reads(&mut self, at: u64, write: &[u8]) -> Vec<(u8, String)> {
        let mut link = self.link.take().expect("nothing is written without a link");
        self.check_gap(&link, at);
        let lines = write.strip_suffix(b"\n").expect("a write is whole lines");
        let mut messages = Vec::new();
        if self.speaker == Side::Client && link.writes == 0 {
            assert_eq!(write, b"a\n", "the id line comes first, alone"); // HL-0026
        } else {
            for line in lines.split(|&byte| byte == b'\n') {
                let line = std::str::from_utf8(line).expect("lines are UTF-8");
                if let Some((id, text)) = self.check_line(line) {
                    self.check_message(at, &link, id, text);
                    messages.push((id, text.to_owned()));
                } else if self.speaker == Side::Server && self.flavour == Flavour::V2019 {
                    assert!(at >= link.opened + 200, "{at}: a 2019 server is silent at first"); // HL-0057
                }
            }
        }
        link.writes += 1;
        link.last_write = Some(at);
        self.link = Some(link);
        messages
    }

    /// A line as strict as the original writes it; the id and text of a message.
    fn check_line<'l>(&self, line: &'l str) -> Option<(u8, &'l str)> {
        if line.is_empty() {
            return None;
        }
        let (digits, text) = line.split_at_checked(2).expect("no line is shorter than an id");
        assert!(digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')), "a lower-case id: {line}"); // HL-0028
        if text.is_empty() {
            assert_eq!(self.flavour, Flavour::V2020, "2019 knows no acknowledgement"); // HL-0053
            return None;
        }
        assert!(self.speaker == Side::Server || line.len() <= 4_095, "what a client may write at once"); // HL-0032
        Some((u8::from_str_radix(digits, 16).expect("two hex digits"), text))
    }

    fn check_message(&mut self, at: u64, link: &LinkSeen, id: u8, text: &str) {
        let t = self.timeout_ms;
        match (self.flavour, self.speaker) {
            (Flavour::V2019, Side::Client) => assert!(at >= link.opened + t / 3, "{at}: no message before the first keepalive"),
            (Flavour::V2019, Side::Server) => assert!(at >= link.opened + 200, "{at}: a 2019 server is silent at first"),
            // HL-0048
            (Flavour::V2020, Side::Client) => {
                assert!(link.first_byte_heard.is_some_and(|heard| at >= heard), "{at}: no message before a byte of the server");
            }
            // HL-0049
            (Flavour::V2020, Side::Server) => {
                assert!(link.first_byte_heard.is_some_and(|heard| at >= heard + 200), "{at}: no message to a client so young");
            }
        }
        // HL-0028, HL-0029
        let place = self.texts.len();
        if id == id_at(place) {
            self.texts.push(text.to_owned());
            return;
        }
        let earlier = (place.saturating_sub(100)..place).find(|&earlier| id_at(earlier) == id);
        let earlier = earlier.unwrap_or_else(|| panic!("{at}: id {id:02x} comes after {place} others"));
        assert_eq!(self.texts[earlier], text, "a repeat is the same message");
    }

    /// What of our messages came through: the original's own duplicate list decides.
    pub fn receives(&mut self, id: u8, text: &str) {
        let index = usize::from(id);
        let is_new = if id == 0 {
            self.list = [false; 256];
            true
        } else {
            !self.list[index] || (self.flavour == Flavour::V2019 && self.fresh)
        };
        self.fresh = false;
        if is_new {
            self.list[index] = true;
            if id != 0 {
                let group = (index / 8 + 16) % 32 * 8;
                self.list[group..group + 8].fill(false);
            }
            self.delivered.push(text.to_owned());
        }
    }
}

/// 0, 1 … 255, 1 … 255 …
pub fn id_at(place: usize) -> u8 {
    if place == 0 { 0 } else { u8::try_from((place - 1) % 255 + 1).expect("at most 255") }
}
