//! Laws of the classic sessions: chunking never matters, no bytes do harm, and what the guarantee table (SPEC.md, 12.2) promises
//! holds over any cuts and restarts.
mod replay;

use holdline_proto::classic::Flavour::{self, V2019, V2020};
use holdline_proto::classic::{Session, Snapshot};
use holdline_proto::{Client, Config, DownReason, Event, Instant, Server, SliceOutbox};
use proptest::prelude::*;
use replay::Outbox;
use replay::lone::Lone;
use std::collections::BTreeMap;

fn flavours() -> impl Strategy<Value = Flavour> {
    prop_oneof![Just(V2019), Just(V2020)]
}

/// Bytes that often look like lines of a classic peer.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        4 => "[0-9a-f]{2}[a-z]{1,8}\n".prop_map(String::into_bytes),
        2 => "[0-9a-f]{2}\n".prop_map(String::into_bytes),
        2 => Just(b"\n".to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ];
    prop::collection::vec(line, 0..40).prop_map(|lines| lines.concat())
}

/// What a server makes of `bytes` that come in these pieces: the texts, the events, the lines it writes, and what it remembers.
fn outcome(flavour: Flavour, pieces: &[&[u8]]) -> (Vec<String>, Vec<Event>, String, Snapshot) {
    let mut lone = Lone::<Server>::up(flavour, |c| c.max_line(128));
    lone.sends("out");
    for piece in pieces {
        lone.hears_bytes(piece);
    }
    lone.events.retain(|event| !matches!(event, Event::Acked(_)));
    let said = lone.says();
    (lone.got, lone.events, said, lone.session.snapshot())
}

proptest! {
    // HL-0002
    #[test]
    fn chunking_never_matters(flavour in flavours(), bytes in noise(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20)) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        let whole = outcome(flavour, &[&bytes]);
        prop_assert_eq!(&outcome(flavour, &pieces), &whole);
        prop_assert_eq!(&outcome(flavour, &single), &whole);
    }

    // HL-0031, HL-0144
    #[test]
    fn any_bytes_end_in_messages_acks_or_one_named_fault(flavour in flavours(), bytes in noise(), waits in prop::collection::vec(0u64..3_000, 4)) {
        let mut lone = Lone::<Client>::up(flavour, |c| c.max_line(128).in_order(false));
        for (piece, wait) in bytes.chunks(bytes.len() / 4 + 1).zip(waits) {
            lone.sends("out");
            lone.hears_bytes(piece);
            lone.waits(wait);
        }
        prop_assert!(lone.downs().len() <= 1);
        if !lone.session.has_link() {
            prop_assert!(matches!(lone.downs()[..], [DownReason::Fault(_) | DownReason::Outage]));
            prop_assert_eq!(lone.session.poll_timeout(), None);
        }
    }

    // HL-0038, HL-0040, HL-0042, HL-0045, HL-0054: outages of any number and length, nobody restarts: none lost, none reordered,
    // and only the message with id 0 repeated (hole 1).
    #[test]
    fn outages_lose_nothing(flavour in flavours(), in_order in any::<bool>(), steps in steps()) {
        let world = World::play(flavour, in_order, &steps, false);
        for (sent, got) in world.both_ways() {
            let got = without_repeats_of(&sent[..1.min(sent.len())], got);
            if in_order {
                prop_assert_eq!(&got, sent);
            } else {
                prop_assert_eq!(counted(&got), counted(sent));
            }
        }
    }

    // HL-0042, HL-0043: the receiver restarts now and then, in order: what is repeated is at most one message a restart.
    #[test]
    fn a_receiver_that_restarts_loses_nothing(steps in steps()) {
        let world = World::play(V2020, true, &steps, true);
        let [(sent, got), _] = world.both_ways();
        let mut unique = got.clone();
        unique.dedup();
        prop_assert_eq!(&unique, sent);
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    ClientSends,
    ServerSends,
    /// Both live, and what they say arrives.
    Live(u64),
    /// The stream breaks; what is on its way up, and down, is lost. Both are told, and later there is a new one.
    Cut,
    /// Bytes are kept, and come through at the end if both still have the link.
    Stall(u64),
    ServerRestarts,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::ClientSends),
        4 => Just(Step::ServerSends),
        4 => (1u64..20).prop_map(|tenths| Step::Live(tenths * 100)),
        1 => Just(Step::Cut),
        1 => (1u64..60).prop_map(|tenths| Step::Stall(tenths * 100)),
        1 => Just(Step::ServerRestarts),
    ];
    prop::collection::vec(step, 1..40)
}

struct World {
    flavour: Flavour,
    in_order: bool,
    client: Lone<Client>,
    server: Lone<Server>,
    client_sent: Vec<String>,
    server_sent: Vec<String>,
    given_to_former_servers: Vec<String>,
}

impl World {
    fn play(flavour: Flavour, in_order: bool, steps: &[Step], restarts: bool) -> Self {
        let build = |c: Config| c.in_order(in_order);
        let mut world = Self {
            flavour,
            in_order,
            client: Lone::new(flavour, build),
            server: Lone::new(flavour, build),
            client_sent: Vec::new(),
            server_sent: Vec::new(),
            given_to_former_servers: Vec::new(),
        };
        world.connect();
        for step in steps {
            match step {
                Step::ClientSends => {
                    let text = format!("c{}", world.client_sent.len());
                    world.client.sends(&text);
                    world.client_sent.push(text);
                }
                // The server of the other law forgets its outbox.
                Step::ServerSends if restarts => {}
                Step::ServerSends => {
                    let text = format!("s{}", world.server_sent.len());
                    world.server.sends(&text);
                    world.server_sent.push(text);
                }
                Step::Live(ms) => world.live(*ms),
                Step::Cut => world.reconnect(),
                Step::Stall(ms) => world.stall(*ms),
                Step::ServerRestarts if restarts => world.restart_server(),
                Step::ServerRestarts => {}
            }
            if !world.client.session.has_link() || !world.server.session.has_link() {
                world.reconnect();
            }
        }
        // Heal, and everything arrives.
        world.reconnect();
        world.live(100_000);
        world
    }

    fn connect(&mut self) {
        self.client.connects();
        self.server.connects();
        self.client.waits(0);
    }

    fn reconnect(&mut self) {
        // What was written and not read is lost.
        self.client.says();
        self.server.says();
        let (up, down) = (self.client.instant(), self.server.instant());
        self.client.session.handle_disconnected(up);
        self.server.session.handle_disconnected(down);
        self.client.listens();
        self.server.listens();
        self.connect();
    }

    fn restart_server(&mut self) {
        let former = std::mem::replace(&mut self.server, Lone::new(self.flavour, |c| c.in_order(self.in_order)));
        self.given_to_former_servers.extend(former.got);
        self.server.now = former.now;
        self.reconnect();
    }

    fn live(&mut self, ms: u64) {
        for _ in 0..ms / 100 {
            self.client.waits(100);
            self.server.waits(100);
            loop {
                let (up, down) = (self.client.says(), self.server.says());
                if up.is_empty() && down.is_empty() {
                    break;
                }
                self.arrive(&up, &down);
            }
        }
    }

    fn stall(&mut self, ms: u64) {
        self.client.waits(ms);
        self.server.waits(ms);
        let (up, down) = (self.client.says(), self.server.says());
        if self.client.session.has_link() && self.server.session.has_link() {
            self.arrive(&up, &down);
        }
    }

    fn arrive(&mut self, up: &str, down: &str) {
        self.server.hears(up.strip_prefix("a\n").unwrap_or(up));
        self.client.hears(down);
    }

    /// What each application sent, and the other was given.
    fn both_ways(&self) -> [(&Vec<String>, Vec<String>); 2] {
        let up = [&self.given_to_former_servers[..], &self.server.got].concat();
        [(&self.client_sent, up), (&self.server_sent, self.client.got.clone())]
    }
}

/// `got` without the second and later times of these.
fn without_repeats_of(texts: &[String], got: Vec<String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for text in got {
        if !(texts.contains(&text) && kept.contains(&text)) {
            kept.push(text);
        }
    }
    kept
}

fn counted(texts: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for text in texts {
        *counts.entry(text.as_str()).or_default() += 1;
    }
    counts
}

// HL-0144: every call in any order, on a session with and without a link.
#[test]
fn calls_out_of_place_do_no_harm() {
    for flavour in [V2019, V2020] {
        let config = Config::new().validate().expect("the defaults are in range");
        let mut session: Session<Client, Outbox> =
            Session::new(<Client as replay::Plays>::role(), flavour, config, SliceOutbox::new(vec![0; 64]));
        let now = Instant::from_millis(5);
        let mut buffer = [0; 128];
        assert_eq!(session.poll_transmit(&mut buffer), 0);
        session.handle_timeout(now);
        session.handle_backlog(now);
        session.handle_transmitted(now, 10);
        session.handle_disconnected(now);
        session.close();
        assert_eq!(session.handle_input(now, b"00x\n").consumed, 4);
        assert_eq!((session.poll_event(), session.poll_timeout()), (None, None));
        session.handle_connected(now);
        assert_eq!(session.poll_transmit(&mut [0; 1]), 0, "no half line");
        assert_eq!(session.poll_transmit(&mut buffer), 2);
    }
}
