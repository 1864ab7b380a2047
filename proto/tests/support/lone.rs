//! One session and a peer whose every line is written by hand.

use super::{App, Outbox, config, drain, feed, id, outbox_of};
use holdline_proto::{Client, Greeting, Instant, Role, Server, ValidConfig, native};

/// A hello as a device says it that has no memory.
pub const HELLO: &str = "HOLD/1 client=dev boot=1 epoch=5 base=0 peer=0 seen=0 keeps=none timeout=2000 window=16 max=4096";
/// A welcome as a server says it that has no memory.
pub const WELCOME: &str = "HOLD/1 ok boot=1 epoch=5 base=0 peer=0 seen=0 keeps=none timeout=2000 window=16 max=4096";

/// `line` with some of its fields changed, and those that it has not appended.
pub fn changed(line: &str, changes: &str) -> String {
    let mut fields: Vec<String> = line.split(' ').map(str::to_owned).collect();
    for change in changes.split_whitespace() {
        let key = change.split_inclusive('=').next().unwrap_or_default();
        match fields.iter_mut().find(|field| field.starts_with(key)) {
            Some(field) => change.clone_into(field),
            None => fields.push(change.to_owned()),
        }
    }
    fields.join(" ")
}

/// The value of a field of a greeting.
pub fn field<'l>(line: &'l str, key: &str) -> Option<&'l str> {
    line.split_whitespace().find_map(|field| field.strip_prefix(key)?.strip_prefix('='))
}

/// `line` as it stands on a stream with `check=crc32`, LF included.
pub fn checked(line: &str) -> String {
    format!("{line}*{:08x}\n", super::crc32(line.as_bytes()))
}

/// A role that can be met by a hand-written greeting.
pub trait Greets: Role + Sized {
    fn role() -> Self;
    /// Greets over a new stream; the peer's greeting is [`HELLO`] or [`WELCOME`] with these changes.
    fn greet(lone: &mut Lone<Self>, changes: &str);
}

impl Greets for Client {
    fn role() -> Self {
        id()
    }

    fn greet(lone: &mut Lone<Self>, changes: &str) {
        lone.connect();
        lone.hears_line(&lone.welcome(changes));
    }
}

impl Greets for Server {
    fn role() -> Self {
        Self
    }

    fn greet(lone: &mut Lone<Self>, changes: &str) {
        lone.admit(&changed(HELLO, changes));
    }
}

#[derive(Debug)]
pub struct Lone<R> {
    pub now: Instant,
    pub session: native::Session<R, Outbox>,
    pub app: App,
    /// The hello or welcome that this side said last.
    pub greeting: String,
    /// Bytes that the session did not take.
    pub unread: Vec<u8>,
    said: Vec<u8>,
    fresh: u64,
}

impl<R: Greets> Lone<R> {
    /// A session without memory; its boot is 11 and its epoch 101.
    pub fn new(config: ValidConfig) -> Self {
        Self::restored(config, native::Snapshot { epoch: 101, ..native::Snapshot::default() }, &[])
    }

    /// A session that remembers `snapshot`, and holds `texts` unacknowledged.
    pub fn restored(config: ValidConfig, snapshot: native::Snapshot, texts: &[&str]) -> Self {
        Self {
            now: Instant::from_millis(1_000),
            session: native::Session::restore(R::role(), config, 11, snapshot, outbox_of(texts)),
            app: App::default(),
            greeting: String::new(),
            unread: Vec::new(),
            said: Vec::new(),
            fresh: 9_000,
        }
    }

    /// A session with the defaults whose link is up; what was said and told so far is forgotten.
    pub fn up() -> Self {
        Self::up_with(config(|c| c), "")
    }

    pub fn up_with(config: ValidConfig, changes: &str) -> Self {
        let mut lone = Self::new(config);
        lone.meet(changes);
        lone.app.news();
        lone.says();
        lone
    }

    /// Greets, and hears the line by which a client confirms.
    pub fn meet(&mut self, changes: &str) {
        R::greet(self, changes);
        if self.session.has_link() {
            self.hears("\n");
        }
    }

    pub fn greet(&mut self, changes: &str) {
        R::greet(self, changes);
    }

    fn next_fresh(&mut self) -> u64 {
        self.fresh += 1;
        self.fresh
    }

    fn check(&self) -> bool {
        self.session.config().get().check
    }

    /// Hears a line, with its checksum where the stream has one.
    pub fn hears_line(&mut self, line: &str) {
        let line = if self.check() { checked(line) } else { format!("{line}\n") };
        self.hears(line);
    }

    /// Hears these bytes after those it did not take, and answers.
    pub fn hears(&mut self, bytes: impl AsRef<[u8]>) {
        self.unread.extend_from_slice(bytes.as_ref());
        feed(&mut self.session, &mut self.app, self.now, &mut self.unread);
        self.speaks();
    }

    fn speaks(&mut self) {
        drain(&mut self.session, self.now, &mut self.said);
        self.app.listen(&mut self.session);
    }

    /// Everything said since this was last asked.
    pub fn says(&mut self) -> String {
        self.speaks();
        String::from_utf8(std::mem::take(&mut self.said)).expect("a session writes UTF-8")
    }

    pub fn sends(&mut self, text: &str) -> u64 {
        self.session.send(self.now, text).expect("the message is taken")
    }

    /// The application accepts what it has held longest.
    pub fn accepts(&mut self) {
        let receipt = self.app.held.remove(0);
        assert!(self.session.accept(receipt), "{receipt:?} was good for nothing");
    }

    /// Lets `ms` pass, from deadline to deadline; the transport takes what is said.
    pub fn waits(&mut self, ms: u32) {
        let end = self.now.plus(ms);
        self.speaks();
        while let Some(deadline) = self.session.poll_timeout().filter(|deadline| deadline.at <= end) {
            self.now = self.now.max(deadline.at);
            self.session.handle_timeout(self.now);
            self.speaks();
        }
        self.now = end;
    }

    /// Waits as long without a call in between: the program was stopped.
    pub fn sleeps(&mut self, ms: u32) {
        self.now = self.now.plus(ms);
    }

    /// The stream breaks.
    pub fn cut(&mut self) {
        self.session.handle_disconnected(self.now);
        self.unread.clear();
        self.app.listen(&mut self.session);
    }
}

impl Lone<Client> {
    /// Opens a stream and says hello.
    pub fn connect(&mut self) {
        let fresh = self.next_fresh();
        self.unread.clear();
        self.session.handle_connected(self.now, fresh);
        self.said.clear();
        self.greeting = self.says();
    }

    /// [`WELCOME`] with these changes, as the answer to the hello said last.
    pub fn welcome(&self, changes: &str) -> String {
        let hello = self.greeting.split('*').next().unwrap_or_default();
        let link = field(hello, "link").map(|link| format!(" link={link}")).unwrap_or_default();
        changed(WELCOME, &format!("{changes}{link}"))
    }
}

impl Lone<Server> {
    /// Takes a hello that came on a new stream, and says the welcome.
    pub fn admit(&mut self, hello: &str) {
        let line = if self.check() { checked(hello) } else { format!("{hello}\n") };
        self.unread = line.into_bytes();
        self.admit_unread();
    }

    /// Takes a hello, and gets no chance to answer.
    pub fn hears_of_hello(&mut self, changes: &str) {
        let line = format!("{}\n", changed(HELLO, changes));
        let Ok(Some((Greeting::Native(hello), _))) = Greeting::read(line.as_bytes(), false) else {
            panic!("no hello: {line}");
        };
        let fresh = self.next_fresh();
        self.session.handle_hello(self.now, fresh, &hello);
    }

    /// Reads the hello from what was not taken.
    pub fn admit_unread(&mut self) {
        let bytes = std::mem::take(&mut self.unread);
        let Ok(Some((Greeting::Native(hello), taken))) = Greeting::read(&bytes, self.check()) else {
            panic!("no hello: {}", String::from_utf8_lossy(&bytes));
        };
        let fresh = self.next_fresh();
        self.session.handle_hello(self.now, fresh, &hello);
        self.unread = bytes[taken..].to_vec();
        self.said.clear();
        self.speaks();
        let length = self.said.iter().position(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        self.greeting = String::from_utf8(self.said.drain(..length).collect()).expect("a session writes UTF-8");
    }
}
