//! What each fuzz target does with its input: ordinary functions, so that stable tests can run them too.
//!
//! The first two bytes of an input choose how it is presented; the rest is what a peer sends. A body panics when the code under
//! test breaks one of its promises.

use holdline_proto::{
    Client, ClientId, Config, DownReason, Event, Greeting, Hello, Instant, Keeps, Receipt, Role, Server, SliceOutbox, Terms,
    ValidConfig, native::Session,
};
use std::collections::VecDeque;

/// The longest line that the sessions under test take.
const MAX_LINE: u32 = 256;
const WINDOW: u16 = 4;
const WELCOME: &[u8] = b"HOLD/1 ok boot=9 epoch=7 base=0 peer=0 seen=0 keeps=both timeout=600 window=3 max=200 bsum=0";

/// A server whose client is up says `data[2..]`.
pub(crate) fn server_input(data: &[u8]) {
    let Some((how, bytes)) = How::read(data) else { return };
    let mut run = Run::new(Server, how);
    let hello = Hello { client: "dev", terms: peer(), check: how.check };
    run.session.handle_hello(run.now, 77, &hello);
    run.speaks();
    run.hears(&how.sealed(bytes));
}

/// A client that has said hello, or is up already, hears `data[2..]`.
pub(crate) fn client_input(data: &[u8]) {
    let Some((how, bytes)) = How::read(data) else { return };
    let mut run = Run::new(Client { id: ClientId::new("dev").expect("a valid id") }, how);
    run.session.handle_connected(run.now, 77);
    run.speaks();
    let named: &[u8] = if how.check { b" link=77\n" } else { b"\n" };
    let welcome = if how.greeted { [WELCOME, named].concat() } else { Vec::new() };
    run.hears(&how.sealed(&[&welcome[..], bytes].concat()));
}

/// A stranger's first bytes; what is a hello gets a welcome that a client understands.
pub(crate) fn greeting(data: &[u8]) {
    let Some((how, bytes)) = How::read(data) else { return };
    let bytes = &how.sealed(bytes)[..];
    let whole = Greeting::read(bytes, how.check);
    let Ok(Some((greeting, taken))) = whole else {
        if whole == Ok(None) {
            let unfinished = bytes.rsplit(|&byte| byte == b'\n').next().unwrap_or_default();
            assert!(unfinished.len() <= holdline_proto::HELLO_MAX, "more is held than a greeting may be long");
            assert!(how.check || !bytes.contains(&b'\n'), "a whole line is neither taken nor refused");
        }
        return;
    };
    assert_eq!(bytes.get(taken - 1), Some(&b'\n'));
    assert_eq!(Greeting::read(&bytes[..taken], how.check), whole, "what follows the line changes it");
    assert_eq!(Greeting::read(&bytes[..taken - 1], how.check), Ok(None), "a line is taken before it is whole");
    match greeting {
        Greeting::Classic(id) => assert!(!how.check && !id.is_empty() && id.len() <= holdline_proto::CLASSIC_ID_MAX),
        Greeting::Native(hello) => {
            ClientId::new(hello.client).expect("only a valid client id comes out of a hello");
            let mut server = Run::new(Server, how);
            server.session.handle_hello(server.now, 77, &hello);
            let welcome = server.speaks();
            let mut client = Run::new(Client { id: ClientId::new(hello.client).expect("checked") }, how);
            client.session.handle_connected(client.now, hello.terms.link);
            client.speaks();
            client.hears(&welcome);
            assert!(
                client.downs.iter().all(|reason| *reason == DownReason::Reset),
                "a client did not understand our welcome: {:?}",
                client.downs
            );
        }
    }
}

/// How an input is presented.
#[derive(Clone, Copy)]
struct How {
    check: bool,
    /// With `check`: lines get their checksum here, which no fuzzer would find.
    seals: bool,
    /// A client's input follows a good welcome.
    greeted: bool,
    /// The application holds messages for a while.
    holds: bool,
    chance: u64,
}

impl How {
    fn read(data: &[u8]) -> Option<(Self, &[u8])> {
        let (&[flags, chance], bytes) = data.split_first_chunk()?;
        let bit = |bit: u8| flags >> bit & 1 == 1;
        Some((Self { check: bit(0), seals: bit(1), greeted: bit(2), holds: bit(3), chance: chance.into() }, bytes))
    }

    fn sealed(self, bytes: &[u8]) -> Vec<u8> {
        if !self.check || !self.seals {
            return bytes.to_vec();
        }
        let mut sealed = Vec::new();
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            match line.strip_suffix(b"\n") {
                Some(body) if !body.is_empty() => {
                    sealed.extend_from_slice(body);
                    sealed.extend_from_slice(format!("*{:08x}\n", crc32(body)).as_bytes());
                }
                _ => sealed.extend_from_slice(line),
            }
        }
        sealed
    }
}

/// A session, its adapter and its application.
struct Run<R> {
    session: Session<R, SliceOutbox<[u8; 512]>>,
    now: Instant,
    how: How,
    held: VecDeque<Receipt>,
    downs: Vec<DownReason>,
    /// The epoch and number of the message delivered last.
    last: Option<(u64, u64)>,
    chance: u64,
}

impl<R: Role> Run<R> {
    fn new(role: R, how: How) -> Self {
        let config = Config::new().timeout_ms(600).window(WINDOW).max_line(MAX_LINE).keeps(Keeps::Both).check(how.check);
        let config: ValidConfig = config.validate().expect("in range");
        let mut session =
            Session::new(role, config, holdline_proto::Incarnation { boot: 3, epoch: 5 }, SliceOutbox::new([0; 512]));
        let now = Instant::from_millis(1_000);
        for text in ["one", "two", "three"] {
            session.send(now, text).expect("there is room");
        }
        Self { session, now, how, held: VecDeque::new(), downs: Vec::new(), last: None, chance: how.chance }
    }

    /// A number below `bound` that follows from the input.
    fn draw(&mut self, bound: u64) -> u64 {
        self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.chance >> 33) % bound
    }

    /// Presents `bytes` in pieces, with time, answers and calls of the application in between.
    fn hears(&mut self, bytes: &[u8]) {
        let mut unread = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let most = if self.how.chance == 0 { rest.len() as u64 } else { 40 };
            let length = (self.draw(most) as usize + 1).min(rest.len());
            let (piece, behind) = rest.split_at(length);
            rest = behind;
            unread.extend_from_slice(piece);
            self.reads(&mut unread);
            if self.draw(4) == 0 {
                self.now = self.now.plus(self.draw(160) as u32);
                self.session.handle_timeout(self.now);
                let next = self.session.poll_timeout();
                assert!(next.is_none_or(|deadline| deadline.at > self.now), "{next:?} is not later than {:?}", self.now);
                self.told(false);
            }
            if self.draw(3) == 0 {
                self.speaks();
            }
            if self.draw(6) == 0 {
                self.held.drain(..).for_each(|receipt| {
                    self.session.accept(receipt);
                });
                let _ = self.session.send(self.now, "more");
            }
        }
        self.speaks();
    }

    fn reads(&mut self, unread: &mut Vec<u8>) {
        let mut at = 0;
        loop {
            let presented = &unread[at..];
            let input = self.session.handle_input(self.now, presented);
            assert!(input.consumed <= presented.len());
            at += input.consumed;
            if let Some(message) = input.message {
                assert!(message.text.len() <= MAX_LINE as usize && !message.text.contains(['\n', '\0']), "{:?}", message.text);
                if let Some(receipt) = message.receipt {
                    if let Some((epoch, seq)) = self.last {
                        assert_eq!((receipt.epoch, receipt.seq), (epoch, seq + 1), "out of order");
                    }
                    self.last = Some((receipt.epoch, receipt.seq));
                    self.held.push_back(receipt);
                    assert!(self.held.len() <= usize::from(WINDOW), "more than the window waits");
                    if !self.how.holds {
                        let accepted = self.held.pop_front().is_some_and(|receipt| self.session.accept(receipt));
                        assert!(accepted, "what was just delivered cannot be accepted");
                    }
                }
            }
            let new_hello = self.told(true);
            if input.consumed == 0 || new_hello {
                break;
            }
        }
        unread.drain(..at);
        if self.session.has_link() {
            let longest = if self.session.is_up() { MAX_LINE as usize } else { holdline_proto::HELLO_MAX };
            assert!(!unread.contains(&b'\n') && unread.len() <= longest, "{} bytes are left over", unread.len());
        } else {
            unread.clear();
        }
    }

    /// Reads the events; whether the peer greeted again.
    fn told(&mut self, by_input: bool) -> bool {
        let mut new_hello = false;
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Down(reason) => {
                    assert!(!self.session.has_link() && self.session.poll_timeout().is_none());
                    assert!(by_input || !matches!(reason, DownReason::Bye { .. } | DownReason::Refused { .. }));
                    self.downs.push(reason);
                    new_hello = reason == DownReason::NewHello;
                }
                Event::PeerReset => self.last = None,
                Event::Acked(seq) => assert!(seq < self.session.next_seq()),
                _ => {}
            }
        }
        assert!(self.downs.len() <= 1, "one link went down twice: {:?}", self.downs);
        new_hello
    }

    fn speaks(&mut self) -> Vec<u8> {
        let mut said = Vec::new();
        let mut buffer = [0; 1024];
        loop {
            let room = if said.is_empty() { 600 } else { 32 + self.draw(600) as usize };
            let written = self.session.poll_transmit(&mut buffer[..room]);
            if written == 0 {
                break;
            }
            assert_eq!(buffer[written - 1], b'\n', "half a line was written");
            said.extend_from_slice(&buffer[..written]);
            self.session.handle_transmitted(self.now, written);
        }
        self.told(false);
        for line in said.split(|&byte| byte == b'\n').filter(|line| self.how.check && !line.is_empty()) {
            let (body, check) = line.split_at(line.len() - 9);
            assert_eq!(check, format!("*{:08x}", crc32(body)).as_bytes());
        }
        said
    }
}

fn peer() -> Terms {
    Terms {
        boot: 9,
        epoch: 7,
        base: 0,
        base_sum: Some(0),
        peer: 0,
        seen: 0,
        held: 0,
        seen_sum: None,
        keeps: Keeps::Both,
        timeout_ms: 600,
        window: 3,
        max_line: 200,
        link: 0,
    }
}

/// CRC-32 (IEEE), bit by bit: not the code under test.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| step(crc)))
}
