//! The engine alone, with a machine that knows no protocol: the same seed is the same run, on every machine.

use holdline_proto::{ConnectFailure, Instant};
use holdline_sim::rng::SplitMix64;
use holdline_sim::{Access, Command, Connecting, Fate, Machine, NodeId, Remark, StreamId, World};

/// Says something now and then on every stream it has, and answers every tenth byte; opens a stream when it has none.
#[derive(Debug)]
struct Chatter {
    /// Whom it calls; without it, it waits to be called.
    peer: Option<NodeId>,
    /// Its streams, and what it has to say on each.
    streams: Vec<(StreamId, Vec<u8>)>,
    chance: SplitMix64,
    speak_at: Instant,
    call_at: Option<Instant>,
    commands: Vec<Command>,
    dirty: Vec<StreamId>,
    heard: u64,
}

impl Chatter {
    fn new(peer: Option<NodeId>, now: Instant, seed: u64) -> Self {
        Self {
            peer,
            streams: Vec::new(),
            chance: SplitMix64::from_seed(seed),
            speak_at: now.plus(100),
            call_at: peer.map(|_| now),
            commands: Vec::new(),
            dirty: Vec::new(),
            heard: 0,
        }
    }

    fn forget(&mut self, now: Instant, stream: StreamId) {
        self.streams.retain(|(open, _)| *open != stream);
        self.call_again(now);
    }

    fn call_again(&mut self, now: Instant) {
        self.call_at = self.peer.filter(|_| self.streams.is_empty()).map(|_| now.plus(700));
    }
}

impl Machine for Chatter {
    fn handle_opened(&mut self, _now: Instant, stream: StreamId, _incoming: bool, random: u64) {
        self.streams.push((stream, random.to_le_bytes().to_vec()));
    }

    fn handle_connect_failed(&mut self, now: Instant, _failure: ConnectFailure) {
        self.call_again(now);
    }

    fn handle_input(&mut self, now: Instant, stream: StreamId, bytes: &[u8]) -> usize {
        // An odd byte is left until another comes.
        let taken = bytes.len() & !1;
        self.heard += taken as u64;
        if let Some((_, text)) = self.streams.iter_mut().find(|(open, _)| *open == stream) {
            text.extend(bytes[..taken].iter().step_by(10));
        }
        if bytes.starts_with(&[0; 2]) {
            self.commands.push(Command::Close(stream));
            self.forget(now, stream);
        }
        taken
    }

    fn handle_transmitted(&mut self, _now: Instant, _stream: StreamId, _bytes: usize) {}

    fn handle_closed(&mut self, now: Instant, stream: StreamId) {
        self.forget(now, stream);
    }

    fn handle_timeout(&mut self, now: Instant, stream: Option<StreamId>) {
        if stream.is_some() {
            return;
        }
        if self.call_at.is_some_and(|at| at <= now) {
            self.call_at = None;
            self.commands.extend(self.peer.map(|to| Command::Connect { to, timeout_ms: 3_000 }));
        }
        if self.speak_at <= now {
            self.speak_at = now.plus(50 + (self.chance.next_u64() % 400) as u32);
            for (stream, text) in &mut self.streams {
                let length = self.chance.next_u64() % 3_000;
                text.extend((0..length).map(|at| (at * 7 + self.heard) as u8));
                self.dirty.push(*stream);
            }
        }
    }

    fn poll_transmit(&mut self, stream: StreamId, buffer: &mut [u8]) -> usize {
        let Some((_, text)) = self.streams.iter_mut().find(|(open, _)| *open == stream) else { return 0 };
        let length = text.len().min(buffer.len()).min(1_000);
        for (place, byte) in buffer.iter_mut().zip(text.drain(..length)) {
            *place = byte;
        }
        length
    }

    fn poll_timeout(&self, stream: Option<StreamId>) -> Option<Instant> {
        match stream {
            None => self.call_at.into_iter().chain([self.speak_at]).min(),
            Some(_) => Some(self.speak_at.plus(10)),
        }
    }

    fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop()
    }

    fn poll_dirty(&mut self) -> Option<StreamId> {
        self.dirty.pop()
    }

    fn poll_remark(&mut self) -> Option<Remark> {
        None
    }
}

/// Five minutes in which everything that the engine can do to a node is done to one of four.
fn storm(seed: u64) -> World<Chatter> {
    let mut chance = SplitMix64::from_seed(seed);
    let mut below = |bound: u64| chance.next_u64() % bound;
    let mut world = World::new(seed);
    let server = world.add(Chatter::new(None, world.now(), seed), Access::default());
    let usual = Access { jitter_ms: 3, buffer: 8_000, ..Access::default() };
    let callers: Vec<NodeId> =
        (1..4).map(|index| world.add(Chatter::new(Some(server), world.now(), seed + index), usual)).collect();
    world.cut_at(StreamId(7), 5_000, 300);
    for step in 1..600 {
        world.run_until(Instant::from_millis(step * 500 + below(400)));
        let node = callers[below(3) as usize];
        let fate = [Fate::Fin, Fate::Rst, Fate::Silent][below(3) as usize];
        match below(16) {
            0 => world.break_streams(node, fate),
            1 if world.is_powered(node) => world.power_off(node, fate),
            2 => world.suspend(node, true),
            3 => world.suspend(node, false),
            4 => world.jump_clock(node, below(5_000) as u32),
            5 => world.set_access(node, Access { out_blocked: true, ..usual }),
            6 => world.set_access(node, Access { in_blocked: true, ..usual }),
            7 => world.set_access(node, Access { rate: 2, latency_ms: 90, ..usual }),
            8 => world.set_access(node, Access { segment: 7, window: 100, ..usual }),
            9 => world.set_access(node, Access { nat_idle_ms: 200, ..usual }),
            10 => {
                let all = [
                    Connecting::Refused,
                    Connecting::Silent,
                    Connecting::Unreachable,
                    Connecting::AcceptedThenClosed,
                    Connecting::Works,
                ];
                world.set_access(node, Access { connecting: all[below(5) as usize], ..usual });
            }
            _ => world.set_access(node, usual),
        }
        if below(4) == 0 {
            for &node in &callers {
                if !world.is_powered(node) {
                    world.power_on(node, Chatter::new(Some(server), world.local(node), below(1 << 32)));
                }
                world.wake(node);
            }
        }
    }
    world
}

#[test]
fn a_storm_is_the_same_everywhere_and_for_ever() {
    // Another number here is another engine: every seed that anybody noted down now means another run.
    let known = [9_744_872_129_061_581_658u64, 4_915_357_033_125_949_742, 13_822_152_392_664_432_814, 609_230_593_386_311_949];
    let runs: Vec<World<Chatter>> = (0..4).map(storm).collect();
    for world in &runs {
        assert!(world.bytes_written() > 500_000, "the storm has to carry something: {} bytes", world.bytes_written());
    }
    let hashes: Vec<u64> = runs.iter().map(World::trace_hash).collect();
    assert_eq!(hashes, known);
}

/// Writes one line when its stream opens, and counts what it gets. It has no timer: nothing but the world wakes it.
#[derive(Debug, Default)]
struct OneLine {
    calls: Option<NodeId>,
    text: Vec<u8>,
    got: Vec<u8>,
}

impl Machine for OneLine {
    fn handle_opened(&mut self, _now: Instant, _stream: StreamId, _incoming: bool, _random: u64) {}

    fn handle_input(&mut self, _now: Instant, _stream: StreamId, bytes: &[u8]) -> usize {
        self.got.extend(bytes);
        bytes.len()
    }

    fn poll_transmit(&mut self, _stream: StreamId, buffer: &mut [u8]) -> usize {
        let length = self.text.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.text[..length]);
        self.text.drain(..length);
        length
    }

    fn handle_timeout(&mut self, _now: Instant, _stream: Option<StreamId>) {}

    fn poll_timeout(&self, _stream: Option<StreamId>) -> Option<Instant> {
        None
    }

    fn poll_command(&mut self) -> Option<Command> {
        self.calls.take().map(|to| Command::Connect { to, timeout_ms: 1_000 })
    }
}

/// A listener and a caller with so much to say, and these ways between them.
fn one_line(length: usize, listener: Access, caller: Access, seed: u64) -> (World<OneLine>, NodeId, NodeId) {
    let mut world = World::new(seed);
    let listener = world.add(OneLine::default(), listener);
    let text = (0..length).map(|at| (at % 251) as u8).collect();
    let caller = world.add(OneLine { calls: Some(listener), text, ..OneLine::default() }, caller);
    (world, listener, caller)
}

#[test]
fn a_writer_that_waited_for_room_goes_on_when_there_is_some() {
    let (mut world, listener, _) = one_line(5_000, Access { window: 0, ..Access::default() }, Access::default(), 1);
    world.run_until(Instant::from_millis(10_000));
    assert_eq!(world.machine(listener).got.len(), 0);
    world.set_access(listener, Access::default());
    world.run_until(Instant::from_millis(11_000));
    assert_eq!(world.machine(listener).got.len(), 5_000);
}

#[test]
fn a_writer_that_was_stopped_while_it_waited_goes_on_afterwards() {
    let (mut world, listener, caller) = one_line(5_000, Access::default(), Access { buffer: 1_000, ..Access::default() }, 1);
    world.run_until(Instant::from_millis(21));
    world.suspend(caller, true);
    world.run_until(Instant::from_millis(10_000));
    let before = world.machine(listener).got.len();
    assert!((1..5_000).contains(&before), "{before} bytes got through while the writer was stopped");
    world.suspend(caller, false);
    world.run_until(Instant::from_millis(11_000));
    assert_eq!(world.machine(listener).got.len(), 5_000);
}

#[test]
fn a_serial_line_loses_and_flips_the_bytes_it_is_told_to() {
    const LENGTH: usize = 200_000;
    let noisy = |flip_per_million, drop_per_million| {
        let caller = Access { flip_per_million, drop_per_million, ..Access::default() };
        let (mut world, listener, _) = one_line(LENGTH, Access::default(), caller, 7);
        world.run_until(Instant::from_millis(10_000));
        (std::mem::take(&mut world.machine(listener).got), world.trace_hash())
    };
    let (clean, quiet) = noisy(0, 0);
    assert_eq!(clean.len(), LENGTH);

    let (flipped, hash) = noisy(10_000, 0);
    let wrong: Vec<u8> = flipped.iter().zip(&clean).map(|(got, sent)| got ^ sent).filter(|&bits| bits != 0).collect();
    assert!(wrong.iter().all(|bits| bits.count_ones() == 1), "one bit of a byte");
    assert!((1_700..2_300).contains(&wrong.len()), "{} of 2,000 were flipped", wrong.len());
    assert_eq!((flipped.len(), noisy(10_000, 0).1), (LENGTH, hash), "nothing is lost, and the noise follows from the seed");
    assert_ne!(hash, quiet, "the trace tells what arrived");

    let (left, _) = noisy(0, 10_000);
    assert!((1_700..2_300).contains(&(LENGTH - left.len())), "{} of 2,000 were lost", LENGTH - left.len());
    let mut sent = clean.iter();
    assert!(left.iter().all(|got| sent.any(|byte| byte == got)), "what arrives is in order");
}
