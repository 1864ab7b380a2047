//! One classic session and a peer whose every line is written by hand.

use super::{Outbox, Plays};
use holdline_proto::classic::{Flavour, Session, Snapshot};
use holdline_proto::{Config, DownReason, Event, Instant, Receipt, SliceOutbox, Timer};

#[derive(Debug)]
pub struct Lone<R> {
    pub now: u64,
    pub session: Session<R, Outbox>,
    pub got: Vec<String>,
    pub held: Vec<Receipt>,
    /// Whether messages are held instead of accepted at once.
    pub holds: bool,
    pub events: Vec<Event>,
    unread: Vec<u8>,
    said: String,
}

impl<R: Plays> Lone<R> {
    /// A session without memory and without a link, with the timeout that is usual for its flavour.
    pub fn new(flavour: Flavour, build: impl Fn(Config) -> Config) -> Self {
        Self::restored(flavour, build, Snapshot::default(), SliceOutbox::new(vec![0; 16_384]))
    }

    pub fn restored(flavour: Flavour, build: impl Fn(Config) -> Config, snapshot: Snapshot, outbox: Outbox) -> Self {
        let config = build(Config::new().timeout_ms(flavour.default_timeout_ms())).validate();
        let config = config.expect("the test's configuration is in range");
        Self {
            now: 1_000,
            session: Session::restore(R::role(), flavour, config, snapshot, outbox),
            got: Vec::new(),
            held: Vec::new(),
            holds: false,
            events: Vec::new(),
            unread: Vec::new(),
            said: String::new(),
        }
    }

    /// A session whose link has carried the first blank line of the peer, and is settled; what was said and told is forgotten.
    pub fn up(flavour: Flavour, build: impl Fn(Config) -> Config) -> Self {
        let mut lone = Self::new(flavour, build);
        lone.connects();
        lone.settles();
        lone
    }

    /// The peer's first blank line, and then the pause before messages.
    pub fn settles(&mut self) {
        self.hears("\n");
        self.waits(500);
        self.hears("\n");
        self.says();
        self.events.clear();
    }

    pub fn instant(&self) -> Instant {
        Instant::from_millis(self.now)
    }

    pub fn connects(&mut self) {
        self.unread.clear();
        let now = self.instant();
        R::connected(&mut self.session, now);
        self.listens();
    }

    pub fn hears(&mut self, bytes: &str) {
        self.hears_bytes(bytes.as_bytes());
    }

    pub fn hears_bytes(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        let input = std::mem::take(&mut self.unread);
        let mut at = 0;
        loop {
            let step = self.session.handle_input(self.instant(), &input[at..]);
            at += step.consumed;
            if let Some(message) = step.message {
                let receipt = message.receipt.expect("every classic message has a receipt");
                self.got.push(message.text.to_owned());
                if self.holds {
                    self.held.push(receipt);
                } else {
                    assert!(self.session.accept(receipt));
                }
            }
            self.listens();
            if step.consumed == 0 || at == input.len() {
                break;
            }
        }
        self.unread = input[at..].to_vec();
    }

    /// Lets time pass, from deadline to deadline; the transport takes all output at once.
    pub fn waits(&mut self, ms: u64) {
        let end = self.now + ms;
        self.drains();
        while let Some(due) = self.session.poll_timeout().map(|deadline| deadline.at.as_millis()).filter(|&due| due <= end) {
            self.now = due;
            self.session.handle_timeout(self.instant());
            let next = self.session.poll_timeout().map(|deadline| deadline.at);
            assert!(next.is_none_or(|next| next > self.instant()), "the next deadline is later than now");
            self.listens();
            self.drains();
        }
        self.now = end;
    }

    /// Lets time pass while the peer says a blank line every quarter of the timeout, from now on.
    pub fn waits_while_the_peer_lives(&mut self, ms: u64) {
        let step = u64::from(self.session.config().get().timeout_ms) / 4;
        let end = self.now + ms;
        while self.now < end {
            self.waits(step.min(end - self.now));
            self.hears("\n");
        }
    }

    /// What was said since this was last asked.
    pub fn says(&mut self) -> String {
        self.drains();
        std::mem::take(&mut self.said)
    }

    /// What was said since this was last asked, without the blank lines.
    pub fn tells(&mut self) -> Vec<String> {
        self.says().lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    pub fn sends(&mut self, text: &str) -> u64 {
        self.session.send(self.instant(), text).expect("the test's messages fit")
    }

    pub fn downs(&self) -> Vec<DownReason> {
        let downs = self.events.iter().filter_map(|event| match event {
            Event::Down(reason) => Some(*reason),
            _ => None,
        });
        downs.collect()
    }

    pub fn timer(&self) -> Option<Timer> {
        self.session.poll_timeout().map(|deadline| deadline.timer)
    }

    pub fn listens(&mut self) {
        while let Some(event) = self.session.poll_event() {
            self.events.push(event);
        }
    }

    fn drains(&mut self) {
        let mut buffer = [0; 8_192];
        loop {
            let written = self.session.poll_transmit(&mut buffer);
            if written == 0 {
                break;
            }
            self.session.handle_transmitted(self.instant(), written);
            self.said.push_str(std::str::from_utf8(&buffer[..written]).expect("lines are UTF-8"));
        }
        self.listens();
    }
}
