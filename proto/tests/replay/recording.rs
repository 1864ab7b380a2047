//! The recordings as rows: what `tests/recordings/README.md` describes.

use holdline_proto::classic::Flavour;
use std::path::Path;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}

impl Side {
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// What became of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Passed,
    /// They went into a black hole.
    Swallowed,
    /// The proxy dropped this one line.
    Lost,
    /// The proxy wrote this one line twice.
    Doubled,
}

#[derive(Clone, Debug)]
pub enum Row {
    Open {
        link: u32,
    },
    Bytes {
        fate: Fate,
        from: Side,
        link: u32,
        bytes: Vec<u8>,
    },
    Close {
        link: u32,
        by: Side,
    },
    /// Nothing gets through from now on. `delays`: bytes are kept until the hole heals; else they are gone.
    Hole {
        delays: bool,
    },
    Heal,
    /// A program starts again, without memory.
    Starts(Side),
    Sends {
        side: Side,
        text: String,
    },
    Got {
        side: Side,
        text: String,
    },
    /// The original told its application that the link is up, or down.
    Told {
        side: Side,
        up: bool,
    },
}

#[derive(Clone, Debug)]
pub struct Recording {
    pub flavour: Flavour,
    pub timeout_ms: u32,
    pub rows: Vec<(u64, Row)>,
}

impl Recording {
    /// Reads `tests/recordings/<name>.txt`.
    pub fn load(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings").join(format!("{name}.txt"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let flavour = if name.contains("2019_") { Flavour::V2019 } else { Flavour::V2020 };
        let (first, rows) = text.split_once('\n').expect("a recording has rows");
        let timeout_ms = first.strip_prefix("0 timeout ").and_then(|ms| ms.parse().ok()).expect("the first row is the timeout");
        Self { flavour, timeout_ms, rows: rows.lines().map(row).collect() }
    }

    /// The texts that the application of `side` sent, in order.
    pub fn sent_by(&self, side: Side) -> Vec<String> {
        let texts = self.rows.iter().filter_map(|(_, row)| match row {
            Row::Sends { side: sender, text } if *sender == side => Some(text.clone()),
            _ => None,
        });
        texts.collect()
    }

    /// The texts that the application of `side` was given by the original, in order.
    pub fn got_by(&self, side: Side) -> Vec<String> {
        let texts = self.rows.iter().filter_map(|(_, row)| match row {
            Row::Got { side: receiver, text } if *receiver == side => Some(text.clone()),
            _ => None,
        });
        texts.collect()
    }

    /// The texts of `from`, in the order in which they first came through.
    pub fn order_on_the_wire(&self, from: Side) -> Vec<String> {
        let mut texts: Vec<String> = Vec::new();
        for (_, row) in &self.rows {
            let Row::Bytes { fate: Fate::Passed, from: sender, bytes, .. } = row else { continue };
            if *sender != from {
                continue;
            }
            for line in bytes.split(|&byte| byte == b'\n') {
                let text = line.get(2..).filter(|text| !text.is_empty()).map(String::from_utf8_lossy);
                if let Some(text) = text.filter(|text| !texts.iter().any(|other| other == text)) {
                    texts.push(text.into_owned());
                }
            }
        }
        texts
    }

    /// When the original told the application of `side` that the link is down.
    pub fn downs_of(&self, side: Side) -> Vec<u64> {
        let downs = self.rows.iter().filter_map(|(at, row)| match row {
            Row::Told { side: told, up: false } if *told == side => Some(*at),
            _ => None,
        });
        downs.collect()
    }

    /// The lines of `from` that the proxy lost or doubled, in order.
    pub fn lines_with_fate(&self, from: Side, wanted: Fate) -> Vec<Vec<u8>> {
        let lines = self.rows.iter().filter_map(|(_, row)| match row {
            Row::Bytes { fate, from: sender, bytes, .. } if *fate == wanted && *sender == from => Some(bytes.clone()),
            _ => None,
        });
        lines.collect()
    }
}

fn row(line: &str) -> (u64, Row) {
    let mut words = line.splitn(3, ' ');
    let mut word = || words.next().unwrap_or_default();
    let at = word().parse().expect("a row begins with its time");
    let (verb, rest) = (word(), word());
    let side = |name: &str| if name == "client" { Side::Client } else { Side::Server };
    let link = |digits: &str| digits.parse().expect("a link is a number");
    let bytes = |fate| {
        let mut words = rest.splitn(3, ' ');
        let from = if words.next() == Some("c2s") { Side::Client } else { Side::Server };
        let link = link(words.next().unwrap_or_default());
        Row::Bytes { fate, from, link, bytes: unescape(words.next().unwrap_or_default()) }
    };
    let row = match verb {
        "open" => Row::Open { link: link(rest) },
        "pass" => bytes(Fate::Passed),
        "hole" if rest.starts_with("c2s") || rest.starts_with("s2c") => bytes(Fate::Swallowed),
        "lost" => bytes(Fate::Lost),
        "twice" => bytes(Fate::Doubled),
        "close" => {
            let (link_digits, by) = rest.split_once(' ').expect("a link is closed by somebody");
            Row::Close { link: link(link_digits), by: side(by) }
        }
        "hole" => Row::Hole { delays: rest.starts_with("stall") },
        "heal" => Row::Heal,
        "client" | "server" => {
            let (what, text) = rest.split_once(' ').unwrap_or((rest, ""));
            let text = || String::from_utf8(unescape(text)).expect("an application's texts are UTF-8");
            match what {
                "starts" => Row::Starts(side(verb)),
                "sends" => Row::Sends { side: side(verb), text: text() },
                "got" => Row::Got { side: side(verb), text: text() },
                _ => Row::Told { side: side(verb), up: what == "up" },
            }
        }
        _ => panic!("an unknown row: {line}"),
    };
    (at, row)
}

/// `\n`, `\r`, `\\`, `\xNN`, and `\{x*20}` for twenty times x.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((plain, escape)) = rest.split_once('\\') {
        bytes.extend_from_slice(plain.as_bytes());
        let (kind, after) = escape.split_at(1);
        rest = after;
        match kind {
            "n" => bytes.push(b'\n'),
            "r" => bytes.push(b'\r'),
            "\\" => bytes.push(b'\\'),
            "x" => {
                let (digits, after) = after.split_at(2);
                bytes.push(u8::from_str_radix(digits, 16).expect("two hex digits"));
                rest = after;
            }
            _ => {
                let (run, after) = after.split_once('}').expect("a run ends");
                let (what, times) = run.split_once('*').expect("a run has a count");
                bytes.extend(what.repeat(times.parse().expect("a count is a number")).into_bytes());
                rest = after;
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}
