//! Two sessions and the wire between them.

use super::{App, ClientSession, Outbox, ServerSession, config, drain, feed, id, outbox, outbox_of, texts};
use holdline_proto::{Greeting, Incarnation, Instant, Server, ValidConfig, native};

/// A client and a server session, and the bytes on their way.
#[derive(Debug)]
pub struct Pair {
    pub now: Instant,
    pub client: ClientSession,
    pub server: ServerSession,
    pub client_app: App,
    pub server_app: App,
    /// Bytes on their way to the server.
    pub up: Vec<u8>,
    /// Bytes on their way to the client.
    pub down: Vec<u8>,
    /// Whether the server has read a hello on this link.
    pub greeted: bool,
    pub fresh: u64,
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

    /// Opens a stream; nothing has travelled yet. The server may still hold the one before.
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

    /// The client's program starts again and finds this in its storage.
    pub fn restart_client(&mut self, (snapshot, outbox): (native::Snapshot, Outbox)) {
        self.cut();
        let config = *self.client.config();
        let boot = self.fresh();
        self.client = native::Session::restore(id(), config, boot, snapshot, outbox);
        self.client_app = App { holds: self.client_app.holds, ..App::default() };
    }

    /// The server's program starts again and finds this in its storage.
    pub fn restart_server(&mut self, (snapshot, outbox): (native::Snapshot, Outbox)) {
        self.cut();
        let config = *self.server.config();
        let boot = self.fresh();
        self.server = native::Session::restore(Server, config, boot, snapshot, outbox);
        self.server_app = App { holds: self.server_app.holds, ..App::default() };
    }

    /// What a client that keeps everything has in its storage now.
    pub fn client_store(&self) -> (native::Snapshot, Outbox) {
        (self.client.snapshot(), outbox_of(&texts(self.client.outbox())))
    }

    /// What a server that keeps everything has in its storage now.
    pub fn server_store(&self) -> (native::Snapshot, Outbox) {
        (self.server.snapshot(), outbox_of(&texts(self.server.outbox())))
    }

    pub fn events(&mut self) {
        self.client_app.listen(&mut self.client);
        self.server_app.listen(&mut self.server);
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
        // On a stream with checks a link may begin anew without a break.
        let begins_anew = self.server.config().get().check;
        self.greeted &= self.server.has_link() || !begins_anew;
        while self.greeted || self.server_greets() {
            feed(&mut self.server, &mut self.server_app, self.now, &mut self.up);
            self.greeted = self.server.has_link() || !begins_anew;
            if self.greeted {
                break;
            }
        }
        self.events();
    }

    /// Whether a hello has arrived on the new stream; it is answered then.
    fn server_greets(&mut self) -> bool {
        let bytes = std::mem::take(&mut self.up);
        match Greeting::read(&bytes, self.server.config().get().check) {
            Ok(Some((Greeting::Native(hello), taken))) => {
                let fresh = self.fresh();
                self.server.handle_hello(self.now, fresh, &hello);
                self.greeted = true;
                self.up = bytes[taken..].to_vec();
                self.server_sends();
                true
            }
            Ok(None) => {
                self.up = bytes;
                false
            }
            other => panic!("the server got {other:?} for a hello"),
        }
    }

    /// The client reads what has arrived.
    pub fn client_reads(&mut self) {
        feed(&mut self.client, &mut self.client_app, self.now, &mut self.down);
        self.events();
    }

    /// Both sides talk until neither has more to say; no time passes.
    pub fn drive(&mut self) {
        loop {
            self.client_sends();
            self.server_sends();
            let before = (self.up.len(), self.down.len());
            if before == (0, 0) {
                break;
            }
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
