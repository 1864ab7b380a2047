//! Sessions in virtual time: two joined by a wire (`Pair`), or one that talks to hand-written lines (`Lone`).
#![allow(dead_code, unused_imports, unreachable_pub, reason = "each test program uses its own part")]
#![allow(clippy::panic, reason = "a story that cannot go on ends its test")]

mod lone;
mod pair;

use holdline_proto::{
    Client, ClientId, Config, DownReason, Event, Instant, Keeps, Outbox as _, Receipt, Role, SliceOutbox, Terms, ValidConfig,
    native,
};
pub use lone::{Greets, HELLO, Lone, WELCOME, changed, checked, field};
pub use pair::Pair;

pub type Outbox = SliceOutbox<Vec<u8>>;
pub type ClientSession = native::Session<Client, Outbox>;
pub type ServerSession = native::Session<holdline_proto::Server, Outbox>;

pub fn outbox() -> Outbox {
    SliceOutbox::new(vec![0; 4096])
}

/// An outbox as it was read back from storage.
pub fn outbox_of<T: AsRef<str>>(texts: &[T]) -> Outbox {
    let mut outbox = outbox();
    for text in texts {
        outbox.push(None, text.as_ref()).expect("the test's messages fit");
    }
    outbox
}

/// The texts that wait in an outbox.
pub fn texts(outbox: &Outbox) -> Vec<String> {
    (0..outbox.len()).filter_map(|index| outbox.get(index)).map(|text| String::from_utf8_lossy(text).into_owned()).collect()
}

pub fn config(build: impl Fn(Config) -> Config) -> ValidConfig {
    build(Config::new()).validate().expect("the test's configuration is in range")
}

pub fn defaults() -> ValidConfig {
    ValidConfig::default()
}

pub fn id() -> Client {
    Client { id: ClientId::new("dev").expect("a valid id") }
}

/// The application of one side: what it was given, what it holds without having accepted it, what it was told.
#[derive(Debug, Default)]
pub struct App {
    pub got: Vec<String>,
    pub best_effort: Vec<String>,
    pub held: Vec<Receipt>,
    pub events: Vec<Event>,
    /// Whether messages are held instead of accepted at once.
    pub holds: bool,
}

impl App {
    pub fn downs(&self) -> Vec<DownReason> {
        self.events.iter().filter_map(|event| if let Event::Down(reason) = event { Some(*reason) } else { None }).collect()
    }

    /// What was told since this was last asked.
    pub fn news(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    pub fn listen<R: Role>(&mut self, session: &mut native::Session<R, Outbox>) {
        while let Some(event) = session.poll_event() {
            self.events.push(event);
        }
    }
}

/// Presents `bytes` as an adapter does, until the session wants no more, and leaves what it did not take. A greeting on the same
/// stream is left for the next link.
pub fn feed<R: Role>(session: &mut native::Session<R, Outbox>, app: &mut App, now: Instant, bytes: &mut Vec<u8>) {
    let presented = std::mem::take(bytes);
    let mut at = 0;
    loop {
        let before = app.events.len();
        let input = session.handle_input(now, &presented[at..]);
        at += input.consumed;
        app.listen(session);
        if let Some(message) = input.message {
            match message.receipt {
                None => app.best_effort.push(message.text.into()),
                Some(receipt) => {
                    app.got.push(message.text.into());
                    if app.holds {
                        app.held.push(receipt);
                    } else {
                        session.accept(receipt);
                    }
                }
            }
        }
        if input.consumed == 0 || app.events[before..].contains(&Event::Down(DownReason::NewHello)) {
            break;
        }
    }
    *bytes = presented[at..].to_vec();
}

/// Output goes onto the wire, which takes everything at once.
pub fn drain<R: Role>(session: &mut native::Session<R, Outbox>, now: Instant, wire: &mut Vec<u8>) {
    let mut buffer = [0; 8192];
    loop {
        let written = session.poll_transmit(&mut buffer);
        if written == 0 {
            break;
        }
        wire.extend_from_slice(&buffer[..written]);
        session.handle_transmitted(now, written);
    }
}

/// Terms as a peer would say them, for hand-made greetings.
pub fn terms() -> Terms {
    Terms {
        boot: 1,
        epoch: 5,
        base: 0,
        base_sum: None,
        peer: 0,
        seen: 0,
        held: 0,
        seen_sum: None,
        keeps: Keeps::None,
        timeout_ms: 2_000,
        window: 16,
        max_line: 4_096,
        link: 0,
    }
}

/// CRC-32 (IEEE), bit by bit: not the code under test.
pub fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| step(crc)))
}

/// The checksum of a stream that carried these texts.
pub fn stream_sum(texts: &[&str]) -> u32 {
    crc32(texts.iter().flat_map(|text| [text.as_bytes(), b"\n"]).flatten().copied().collect::<Vec<_>>().as_slice())
}

/// Runs each story, written for any role, at a client and at a server.
#[macro_export]
macro_rules! on_both_sides {
    ($($story:ident),* $(,)?) => {
        mod client { $(#[test] fn $story() { super::$story::<holdline_proto::Client>(); })* }
        mod server { $(#[test] fn $story() { super::$story::<holdline_proto::Server>(); })* }
    };
}
