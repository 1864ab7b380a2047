//! Your own protocol in the simulator: stop-and-wait, under cuts and outages, from a thousand seeds.
//!
//! ```console
//! $ cargo run --release -p holdline-sim --example stop_and_wait            # nothing is lost, repeated or reordered
//! $ cargo run --release -p holdline-sim --example stop_and_wait -- --bug   # and what is found when it is wrong
//! ```
//!
//! The sender writes `D n`, and sends nothing else until `A n` has come; what is not answered is sent again, on a new stream if need
//! be. With `--bug` it is content when the transport has taken the line, as many a program is.

use holdline_sim::fleet::Outcome;
use holdline_sim::rng::SplitMix64;
use holdline_sim::swarm::{self, Progress};
use holdline_sim::{Access, Command, ConnectFailure, Fate, Instant, Machine, NodeId, StreamId, World};
use std::fmt::Write;
use std::process::ExitCode;

const MESSAGES: u64 = 50;
/// A message that is not acknowledged for so long is sent again.
const RESEND_MS: u32 = 400;
/// A stream on which nothing was acknowledged for so long is given up.
const PATIENCE_MS: u32 = 2_000;

/// Either end; the sender is the one that knows whom to call.
#[derive(Debug, Default)]
struct Peer {
    calls: Option<NodeId>,
    bug: bool,
    stream: Option<StreamId>,
    /// The message that is sent, or expected.
    number: u64,
    /// When to send it again, and when to lose patience with the stream.
    resend_at: Option<Instant>,
    give_up_at: Instant,
    /// When to call again.
    call_at: Option<Instant>,
    output: Vec<u8>,
    commands: Vec<Command>,
    /// What the receiving application was given.
    given: Vec<u64>,
}

impl Peer {
    fn receiver() -> Self {
        Self { number: 1, ..Self::default() }
    }

    fn sender(to: NodeId, now: Instant, bug: bool) -> Self {
        Self { calls: Some(to), bug, number: 1, call_at: Some(now), ..Self::default() }
    }

    fn write(&mut self, kind: char, number: u64) {
        self.output.extend(format!("{kind} {number}\n").bytes());
    }

    fn send(&mut self, now: Instant) {
        self.resend_at = None;
        if self.stream.is_some() && self.number <= MESSAGES {
            self.write('D', self.number);
            self.resend_at = Some(now.plus(RESEND_MS));
        }
    }

    fn sent(&mut self, now: Instant) {
        self.number += 1;
        self.give_up_at = now.plus(PATIENCE_MS);
        self.send(now);
    }

    fn line(&mut self, now: Instant, line: &str) {
        let Some((kind, number)) = line.split_once(' ') else { return };
        let Ok(number) = number.parse() else { return };
        match kind {
            "D" => {
                if number == self.number {
                    self.given.push(number);
                    self.number += 1;
                }
                self.write('A', number);
            }
            "A" if number == self.number => self.sent(now),
            _ => {}
        }
    }

    fn lose_stream(&mut self, now: Instant) {
        self.stream = None;
        self.output.clear();
        self.resend_at = None;
        self.call_at = self.calls.map(|_| now.plus(300));
    }
}

impl Machine for Peer {
    fn handle_opened(&mut self, now: Instant, stream: StreamId, _incoming: bool, _random: u64) {
        self.stream = Some(stream);
        self.output.clear();
        self.give_up_at = now.plus(PATIENCE_MS);
        if self.calls.is_some() {
            self.send(now);
        }
    }

    fn handle_connect_failed(&mut self, now: Instant, _failure: ConnectFailure) {
        self.lose_stream(now);
    }

    fn handle_input(&mut self, now: Instant, stream: StreamId, bytes: &[u8]) -> usize {
        if self.stream != Some(stream) {
            return bytes.len();
        }
        // Whole lines; the rest comes again.
        let mut taken = 0;
        while let Some(length) = bytes[taken..].iter().position(|&byte| byte == b'\n') {
            if let Ok(line) = std::str::from_utf8(&bytes[taken..taken + length]) {
                self.line(now, line);
            }
            taken += length + 1;
        }
        taken
    }

    fn handle_transmitted(&mut self, now: Instant, stream: StreamId, _bytes: usize) {
        if self.bug && self.calls.is_some() && self.stream == Some(stream) {
            self.sent(now);
        }
    }

    fn handle_closed(&mut self, now: Instant, stream: StreamId) {
        if self.stream == Some(stream) {
            self.lose_stream(now);
        }
    }

    fn poll_transmit(&mut self, stream: StreamId, buffer: &mut [u8]) -> usize {
        if self.stream != Some(stream) {
            return 0;
        }
        let length = self.output.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.output[..length]);
        self.output.drain(..length);
        length
    }

    fn handle_timeout(&mut self, now: Instant, stream: Option<StreamId>) {
        if stream.is_none() {
            self.call_at = None;
            self.commands.extend(self.calls.map(|to| Command::Connect { to, timeout_ms: PATIENCE_MS }));
        } else if self.give_up_at <= now {
            self.commands.extend(stream.map(Command::Close));
            self.lose_stream(now);
        } else {
            self.send(now);
        }
    }

    fn poll_timeout(&self, stream: Option<StreamId>) -> Option<Instant> {
        match stream {
            None => self.call_at,
            Some(_) if self.stream == stream => self.resend_at.map(|at| at.min(self.give_up_at)),
            Some(_) => None,
        }
    }

    fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop()
    }
}

/// Plays one run, and tells what went wrong on the way.
fn run(seed: u64, bug: bool) -> (Outcome, String) {
    let mut chance = SplitMix64::from_seed(seed);
    let mut below = |bound: u64| chance.next_u64() % bound;
    let mut story = String::new();
    let usual = Access { jitter_ms: 20, ..Access::default() };
    let mut world = World::new(seed);
    let receiver = world.add(Peer::receiver(), usual);
    // The first streams break after any byte.
    for stream in 0..3 {
        let (up, down) = (below(60) as usize, below(60) as usize);
        world.cut_at(StreamId(stream), up, down);
        let _ = writeln!(story, "  stream {stream} carries {up} bytes up and {down} down, and then nothing");
    }
    let sender = world.add(Peer::sender(receiver, world.now(), bug), usual);
    for _ in 0..6 {
        world.run_until(world.now().plus(1 + below(1_500) as u32));
        let fate = [Fate::Fin, Fate::Rst, Fate::Silent][below(3) as usize];
        let lasts = 1 + below(3_000) as u32;
        let _ = match below(4) {
            0 => {
                world.break_streams(sender, fate);
                writeln!(story, "  {:>6} ms: every stream breaks, {fate:?}", world.now().as_millis())
            }
            1 => {
                world.set_access(sender, Access { out_blocked: true, ..usual });
                writeln!(story, "  {:>6} ms: nothing leaves the sender for {lasts} ms", world.now().as_millis())
            }
            2 => {
                world.set_access(sender, Access { in_blocked: true, ..usual });
                writeln!(story, "  {:>6} ms: nothing reaches the sender for {lasts} ms", world.now().as_millis())
            }
            _ => {
                world.suspend(receiver, true);
                writeln!(story, "  {:>6} ms: the receiver stands still for {lasts} ms", world.now().as_millis())
            }
        };
        world.run_until(world.now().plus(lasts));
        world.set_access(sender, usual);
        world.suspend(receiver, false);
    }
    // Everything is healed: what was promised has to arrive.
    world.run_until(world.now().plus(60_000));
    let given = std::mem::take(&mut world.machine(receiver).given);
    let missing = (1..=MESSAGES).filter(|number| !given.contains(number)).map(|number| format!("message {number} was lost"));
    let mut violations: Vec<String> = missing.collect();
    if !given.is_sorted_by(|before, after| before < after) {
        violations.push("a message came twice, or late".into());
    }
    (Outcome { violations, bytes: world.bytes_written(), hash: world.trace_hash(), ..Outcome::default() }, story)
}

fn main() -> ExitCode {
    const SEEDS: u64 = 1_000;
    let bug = std::env::args().any(|argument| argument == "--bug");
    let progress = Progress::new("stop-and-wait", None);
    let total = swarm::play(0..SEEDS, |seed| run(seed, bug).0, |done, count| progress.tell(done, count));
    let Some(&seed) = total.broken.first() else {
        println!(
            "{SEEDS} seeds, and all {MESSAGES} messages arrived once and in order in each; trace {:016x}.",
            total.outcome.hash
        );
        return ExitCode::SUCCESS;
    };
    let (outcome, story) = run(seed, bug);
    println!("{} of {SEEDS} seeds break it, the first is {seed}:\n\n{story}", total.broken.len());
    for violation in outcome.violations.iter().take(5) {
        println!("  {violation}");
    }
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_and_wait_survives_every_seed() {
        for seed in 0..200 {
            let (outcome, story) = run(seed, false);
            assert!(outcome.violations.is_empty(), "seed {seed}: {:?} after\n{story}", outcome.violations);
        }
    }

    #[test]
    fn a_sender_that_trusts_its_transport_is_found_out() {
        let broken = (0..200).filter(|&seed| !run(seed, true).0.violations.is_empty()).count();
        assert!(broken > 100, "only {broken} of 200 seeds find it");
    }

    #[test]
    fn a_seed_tells_the_whole_run() {
        assert_eq!(run(3, false).0.hash, run(3, false).0.hash);
        assert_ne!(run(3, false).0.hash, run(4, false).0.hash);
    }
}
