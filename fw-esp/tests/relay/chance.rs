//! A host, a server, a network and a wire that do anything, from a seed: the order of what is said holds, and the relay lives.

use crate::stage::{CONFIG, Heard, Stage};
use holdline_esp::ConnectFailure;
use std::collections::BTreeMap;
use std::rc::Rc;

/// What happens to one relay.
struct Walk {
    stage: Stage,
    random: Box<dyn FnMut() -> u64>,
    want: (u32, u32),
    /// What the server said in each connection.
    said: Vec<Vec<u8>>,
    /// What the host says in each link.
    letters: BTreeMap<u32, u8>,
}

impl Walk {
    fn new(seed: u64) -> Self {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let random = Box::new(move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state >> 8
        });
        Self { stage: Stage::new(), random, want: (100, 200), said: Vec::new(), letters: BTreeMap::new() }
    }

    fn draw(&mut self, below: u64) -> u64 {
        (self.random)() % below
    }

    fn want(&mut self) {
        self.stage.says(&format!("want\tjoin={}\tlink={}", self.want.0, self.want.1));
    }

    /// The host wants another thing, or the same again.
    fn host_wants(&mut self) {
        match self.draw(8) {
            0 => self.want.0 += 1,
            1 => self.want = (0, 0),
            2 => self.want.1 = 0,
            3 => {
                let config = CONFIG.replace("attic", ["attic", "cellar", "roof"][self.draw(3) as usize]);
                self.stage.says(&config);
            }
            4..7 => self.want.1 = self.next_link(),
            _ => {}
        }
        if self.want.0 == 0 && self.draw(2) == 0 {
            self.want.0 = 100 + self.stage.time.ms() as u32;
        }
        self.want();
    }

    /// A number that was never used.
    fn next_link(&mut self) -> u32 {
        1_000 + self.stage.time.ms() as u32 * 100 + self.draw(100) as u32
    }

    /// The host says something in the connection that it believes to be open: a letter for each.
    fn host_says(&mut self) {
        if self.stage.last("tcp") == "open" && self.stage.last("link") == self.want.1.to_string() {
            let next = b'A' + (self.letters.len() % 26) as u8;
            let letter = *self.letters.entry(self.want.1).or_insert(next);
            let text = vec![letter; self.draw(150) as usize];
            self.stage.host.borrow().to_relay.put(&text);
        }
    }

    fn server_says(&mut self) {
        let count = self.stage.lab.connections.borrow().len();
        let (Some(at), more) = (count.checked_sub(1), self.draw(120)) else { return };
        self.said.resize(count, Vec::new());
        let said = &mut self.said[at];
        let text: Vec<u8> = (0..more).map(|n| b'a' + ((at as u64 * 7 + (said.len() as u64 + n)) % 26) as u8).collect();
        said.extend(&text);
        self.stage.lab.connection().down.put(&text);
    }

    fn air_changes(&mut self) {
        let lab = Rc::clone(&self.stage.lab);
        match self.draw(5) {
            0 => lab.is_up.set(false),
            1 => lab.joins.borrow_mut().push_back([Some(true), Some(false), None][self.draw(3) as usize]),
            2 => lab
                .connects
                .borrow_mut()
                .push_back([None, Some(ConnectFailure::Refused), Some(ConnectFailure::TimedOut)][self.draw(3) as usize]),
            3 => lab.leave_hangs.set(self.draw(3) == 0),
            _ => lab.delay_ms.set(self.draw(50)),
        }
    }

    fn connection_changes(&mut self) {
        if self.stage.lab.connections.borrow().is_empty() {
            return;
        }
        let connection = self.stage.lab.connection();
        match self.draw(4) {
            0 => connection.down.end(),
            1 => connection.up.end(),
            2 => connection.close_hangs.set(true),
            _ => {
                connection.up.room.set([0, 50, usize::MAX][self.draw(3) as usize]);
                connection.up.wake();
            }
        }
    }

    fn wire_changes(&mut self) {
        let (to_relay, from_relay) = {
            let host = self.stage.host.borrow();
            (Rc::clone(&host.to_relay), Rc::clone(&host.from_relay))
        };
        to_relay.chunk.set(1 + self.draw(40) as usize);
        from_relay.chunk.set(1 + self.draw(40) as usize);
        let reads = self.draw(3) > 0;
        self.stage.host.borrow_mut().reads = reads;
        from_relay.room.set(if reads { usize::MAX } else { 20 });
        from_relay.wake();
    }

    fn step(&mut self) {
        match self.draw(12) {
            0..3 => self.host_wants(),
            3..5 => self.host_says(),
            5..8 => self.server_says(),
            8 => self.air_changes(),
            9 => self.connection_changes(),
            10 => self.wire_changes(),
            _ => {}
        }
        let ms = [0, 0, 1, 20, 150, 1_500][self.draw(6) as usize];
        self.stage.pass(ms);
    }

    /// All is well again, and the host wants what it has not wanted yet.
    fn heal(&mut self) {
        let lab = Rc::clone(&self.stage.lab);
        lab.joins.borrow_mut().clear();
        lab.connects.borrow_mut().clear();
        lab.leave_hangs.set(false);
        let from_relay = Rc::clone(&self.stage.host.borrow().from_relay);
        self.stage.host.borrow_mut().reads = true;
        from_relay.room.set(usize::MAX);
        from_relay.wake();
        self.want = (1 + self.want.0, 0);
        self.stage.says(CONFIG);
        self.want();
        let join = self.want.0.to_string();
        self.stage.until(|host| host.last("join") == join && host.last("wifi") == "up");
        self.want.1 = self.next_link();
        self.want();
        self.stage.until(|host| host.last("tcp") == "open");
    }
}

fn field<'l>(line: &'l str, key: &str) -> &'l str {
    line.split('\t').find_map(|field| field.strip_prefix(key)).unwrap_or_default()
}

/// What the host heard of each link, in the order of the links. Bytes come only while the last line says `open`, and a link that is
/// over never opens again.
fn heard_by_link(heard: &[Heard]) -> Vec<Vec<u8>> {
    let (mut links, mut place): (Vec<Vec<u8>>, BTreeMap<String, usize>) = Default::default();
    let (mut link, mut tcp) = (String::new(), String::new());
    for heard in heard {
        match heard {
            Heard::Line(line) => {
                let now = (field(line, "link=").to_owned(), field(line, "tcp=").to_owned());
                if now.1 == "open" && now != (link.clone(), tcp.clone()) {
                    assert!(place.insert(now.0.clone(), links.len()).is_none(), "{} was open before", now.0);
                    links.push(Vec::new());
                }
                (link, tcp) = now;
            }
            Heard::Bytes(bytes) => {
                assert_eq!(tcp, "open", "bytes of no connection: {}", String::from_utf8_lossy(bytes));
                links[place[&link]].extend(bytes);
            }
        }
    }
    links
}

/// Each link heard the beginning of what the server said in one connection, each in a later one than the link before.
fn check_down(links: &[Vec<u8>], said: &[Vec<u8>]) {
    let mut at = 0;
    for link in links.iter().filter(|link| !link.is_empty()) {
        let found = said[at..].iter().position(|said| said.starts_with(link));
        let found = found.unwrap_or_else(|| panic!("nobody said {}", String::from_utf8_lossy(link)));
        at += found + 1;
    }
}

/// In each connection the server received what the host said in one link, and no link is in two connections.
fn check_up(stage: &Stage) {
    let mut before = None;
    for connection in stage.lab.connections.borrow().iter() {
        let mut letters = connection.up.take(usize::MAX);
        letters.dedup();
        assert!(letters.len() <= 1 && (letters.is_empty() || letters.first() != before.as_ref()), "{letters:?} after {before:?}");
        before = letters.first().copied().or(before);
    }
}

#[test]
fn whatever_happens_the_order_holds_and_the_relay_lives() {
    let (mut opened, mut received) = (0, 0);
    for seed in 1..=60 {
        let mut walk = Walk::new(seed);
        walk.stage.says(CONFIG);
        walk.want();
        for _ in 0..200 {
            walk.step();
        }
        walk.heal();
        let stage = &walk.stage;
        assert_eq!(stage.lab.longest_hunger.get(), 100, "seed {seed}");
        let (to_relay, from_relay) = (Rc::clone(&stage.host.borrow().to_relay), Rc::clone(&stage.host.borrow().from_relay));
        assert_eq!((to_relay.dropped.get(), from_relay.dropped.get()), (0, 0), "seed {seed}");
        let links = heard_by_link(&stage.host.borrow().heard);
        opened += links.len();
        received += links.iter().map(Vec::len).sum::<usize>();
        check_down(&links, &walk.said);
        check_up(stage);
    }
    assert!(opened > 300 && received > 20_000, "{opened} connections, {received} bytes: the walk goes nowhere");
}
