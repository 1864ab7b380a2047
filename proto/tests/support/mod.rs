//! Two sessions joined by a perfect or a hostile wire, in virtual time.
#![allow(dead_code, unreachable_pub, reason = "each test program uses its own part")]

use holdline_proto::{
    Client, ClientId, Config, DownReason, Event, Greeting, Incarnation, Instant, Receipt, Server, SliceOutbox, Terms,
    ValidConfig, native,
};

pub type Outbox = SliceOutbox<Vec<u8>>;
pub type ClientSession = native::Session<Client, Outbox>;
pub type ServerSession = native::Session<Server, Outbox>;

pub fn outbox() -> Outbox {
    SliceOutbox::new(vec![0; 4096])
}

pub fn config(build: impl Fn(Config) -> Config) -> ValidConfig {
    build(Config::new()).validate().expect("the test's configuration is in range")
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
}

/// A client and a server session, and the bytes on their way.
#[derive(Debug)]
pub struct Pair {
    pub now: Instant,
    pub client: ClientSession,
    pub server: ServerSession,
    pub client_app: App,
    pub server_app: App,
    pub up: Vec<u8>,
    pub down: Vec<u8>,
    /// Whether the server has read a hello on this link.
    pub greeted: bool,
    pub fresh: u64,
}

macro_rules! feed {
    ($session:expr, $app:expr, $now:expr, $bytes:expr) => {{
        let bytes: Vec<u8> = std::mem::take(&mut $bytes);
        let mut at = 0;
        loop {
            let input = $session.handle_input($now, &bytes[at..]);
            at += input.consumed;
            let consumed = input.consumed;
            if let Some(message) = input.message {
                match message.receipt {
                    None => $app.best_effort.push(message.text.into()),
                    Some(receipt) => {
                        $app.got.push(message.text.into());
                        if $app.holds {
                            $app.held.push(receipt);
                        } else {
                            $session.accept(receipt);
                        }
                    }
                }
            }
            while let Some(event) = $session.poll_event() {
                $app.events.push(event);
            }
            if consumed == 0 {
                break;
            }
        }
        $bytes = bytes[at..].to_vec();
    }};
}

pub fn drain<R: holdline_proto::Role>(session: &mut native::Session<R, Outbox>, now: Instant, wire: &mut Vec<u8>) {
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

impl Pair {
    pub fn new() -> Self {
        Self::with(config(|c| c), config(|c| c))
    }

    pub fn with(client: ValidConfig, server: ValidConfig) -> Self {
        Self {
            now: Instant::from_millis(1_000),
            client: native::Session::new(id(), client, Incarnation { boot: 11, epoch: 101 }, outbox()),
            server: native::Session::new(Server, server, Incarnation { boot: 22, epoch: 202 }, outbox()),
            client_app: App::default(),
            server_app: App::default(),
            up: Vec::new(),
            down: Vec::new(),
            greeted: false,
            fresh: 9_000,
        }
    }

    pub fn fresh(&mut self) -> u64 {
        self.fresh += 1;
        self.fresh
    }

    /// Opens a stream and lets both sides talk until neither has more to say.
    pub fn connect(&mut self) {
        self.open();
        self.drive();
    }

    /// Opens a stream; nothing has travelled yet.
    pub fn open(&mut self) {
        self.up.clear();
        self.down.clear();
        self.greeted = false;
        let fresh = self.fresh();
        self.client.handle_connected(self.now, fresh);
    }

    /// Cuts the stream: what was on its way is lost, both ends are told.
    pub fn cut(&mut self) {
        self.client.handle_disconnected(self.now);
        self.server.handle_disconnected(self.now);
        self.up.clear();
        self.down.clear();
        self.greeted = false;
        self.events();
    }

    pub fn events(&mut self) {
        while let Some(event) = self.client.poll_event() {
            self.client_app.events.push(event);
        }
        while let Some(event) = self.server.poll_event() {
            self.server_app.events.push(event);
        }
    }

    /// Client output goes onto the wire.
    pub fn client_sends(&mut self) {
        drain(&mut self.client, self.now, &mut self.up);
        self.events();
    }

    /// Server output goes onto the wire.
    pub fn server_sends(&mut self) {
        drain(&mut self.server, self.now, &mut self.down);
        self.events();
    }

    /// The server reads what has arrived.
    pub fn server_reads(&mut self) {
        if !self.greeted {
            let bytes = std::mem::take(&mut self.up);
            match Greeting::read(&bytes, self.server.config().get().check) {
                Ok(Some((Greeting::Native(hello), taken))) => {
                    let fresh = self.fresh();
                    self.server.handle_hello(self.now, fresh, &hello);
                    self.greeted = true;
                    self.up = bytes[taken..].to_vec();
                    self.server_sends();
                }
                Ok(None) => self.up = bytes,
                other => panic!("the server got {other:?} for a hello"),
            }
        }
        if self.greeted {
            feed!(self.server, self.server_app, self.now, self.up);
        }
        self.events();
    }

    /// The client reads what has arrived.
    pub fn client_reads(&mut self) {
        feed!(self.client, self.client_app, self.now, self.down);
        self.events();
    }

    /// Both sides talk until neither has more to say; no time passes.
    pub fn drive(&mut self) {
        loop {
            self.client_sends();
            self.server_sends();
            if self.up.is_empty() && self.down.is_empty() {
                break;
            }
            let before = (self.up.len(), self.down.len());
            self.server_reads();
            self.client_reads();
            self.client_sends();
            self.server_sends();
            if before == (self.up.len(), self.down.len()) {
                break;
            }
        }
    }

    /// Lets `ms` pass, from deadline to deadline, while both sides talk.
    pub fn run(&mut self, ms: u32) {
        let end = self.now.plus(ms);
        loop {
            self.drive();
            let next = [self.client.poll_timeout(), self.server.poll_timeout()];
            let Some(at) = next.into_iter().flatten().map(|deadline| deadline.at).filter(|&at| at <= end).min() else { break };
            self.now = self.now.max(at);
            self.client.handle_timeout(self.now);
            self.server.handle_timeout(self.now);
            self.events();
        }
        self.now = end;
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
        seen_sum: None,
        keeps: holdline_proto::Keeps::None,
        timeout_ms: 2_000,
        window: 16,
        max_line: 4_096,
    }
}
