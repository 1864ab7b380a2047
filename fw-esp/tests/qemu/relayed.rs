//! The board without a network, behind a relay at the other end of a serial wire.

use crate::judge::Judge;
use crate::relay::Relay;
use crate::stage::{Joined, Stage, folder};
use crate::trial::Trial;
use crate::wire::Wire;
use holdline_sim::rng::SplitMix64;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

const BOARD: &str = "HOLDLINE_HOST_BOARD";

/// The noise of a bad wire, in bytes of a million: 1 in 2,000.
const NOISE: u32 = 500;
/// That of a burst: 1 in 50.
const BURST: u32 = 20_000;

/// How many faults are drawn besides each of them once.
const DRAWN: usize = 8;

/// What befalls the board, its wire, its relay, and what is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    RelayKilled,
    RelayHangs,
    RelayHangsForAMoment,
    RelayGoesMute,
    RelayRestarts,
    WifiLost,
    BytesFlip,
    BytesDrop,
    BytesFlipAndDrop,
    BurstOfNoise,
    WireCut,
    WireCutForLong,
    Reset,
    BlackHole,
    HalfOpenServer,
    HalfOpenRelay,
    ServerKilled,
    BoardReset,
    BoardResetInNoise,
    BoardResetInPulse,
}

use Fault::*;

const FAULTS: [Fault; 20] = [
    RelayKilled,
    RelayHangs,
    RelayHangsForAMoment,
    RelayGoesMute,
    RelayRestarts,
    WifiLost,
    BytesFlip,
    BytesDrop,
    BytesFlipAndDrop,
    BurstOfNoise,
    WireCut,
    WireCutForLong,
    Reset,
    BlackHole,
    HalfOpenServer,
    HalfOpenRelay,
    ServerKilled,
    BoardReset,
    BoardResetInNoise,
    BoardResetInPulse,
];

#[test]
#[ignore = "it needs QEMU and the board's program: fw-esp/test-qemu.sh"]
fn the_board_behind_a_relay_loses_nothing_whatever_breaks() {
    let seed = seed();
    let mut relayed = Relayed::new(seed);
    relayed
        .trial
        .say(format_args!("HOLDLINE_SEED={seed} has the same faults in the same order; when each of them strikes is real time"));
    for _ in 0..crate::rounds() {
        for fault in FAULTS {
            relayed.strike(fault, 0);
        }
        for _ in 0..DRAWN {
            let fault = FAULTS[(relayed.chance.next_u64() % FAULTS.len() as u64) as usize];
            relayed.strike(fault, NOISE / 2);
        }
    }
    relayed.verdict();
}

/// A trial, and what is between board and network.
struct Relayed {
    trial: Trial,
    relay: Relay,
    wire: Wire,
    told: Told,
    chance: SplitMix64,
    /// How often the relay was put where only its reset pin helps.
    wedged: u64,
}

impl Drop for Relayed {
    fn drop(&mut self) {
        self.relay.kill();
    }
}

impl Relayed {
    fn new(seed: u64) -> Self {
        let mut chance = SplitMix64::from_seed(seed);
        let folder = folder(BOARD);
        let wire = Wire::new(&folder, chance.next_u64());
        let (relay, told) = (Relay::new(&folder), Told::default());
        let (mut pin, mut listener) = (relay.reset_pin(), told.listener());
        let on_log = move |line: &str| {
            pin(line);
            listener(line);
        };
        let trial = Trial::new("relay", Stage::new(BOARD, Joined::BySerial, on_log), Judge::new(false));
        Self { trial, relay, wire, told, chance, wedged: 0 }
    }

    /// Has it happen on a wire with that much noise, and goes on until it is over and messages flow.
    fn strike(&mut self, fault: Fault, noise: u32) {
        let name = format!("{fault:?}");
        self.trial.let_the_link_last();
        self.wire.damage(noise, noise);
        let before = (self.relay.pulses(), self.wire.damaged());
        match fault {
            RelayKilled => self.wedge(Relay::kill),
            RelayHangs => self.wedge(Relay::stop),
            RelayGoesMute => self.wedge(Relay::restart_mute),
            RelayHangsForAMoment => {
                self.relay.stop();
                self.trial.run_for(1_500);
                self.relay.go_on();
            }
            RelayRestarts => {
                for _ in 0..4 {
                    self.relay.restart();
                    self.run_for_up_to(800);
                }
            }
            WifiLost => {
                self.relay.hide_wifi(true);
                self.trial.run_for(2_500);
                self.relay.hide_wifi(false);
            }
            BytesFlip => self.noise(NOISE, 0, 3_000),
            BytesDrop => self.noise(0, NOISE, 3_000),
            BytesFlipAndDrop => self.noise(NOISE, NOISE, 3_000),
            BurstOfNoise => self.burst(),
            WireCut => {
                let lost = self.wire.lost();
                self.wire.cut(true);
                self.trial.run_for(2_500);
                self.wire.cut(false);
                assert!(self.wire.lost() > lost, "nothing was said into the cut wire");
            }
            // The board takes a relay that it cannot hear for dead.
            WireCutForLong => {
                let wire = self.wire.clone();
                self.wedge(|_| wire.cut(true));
                self.wire.cut(false);
            }
            Reset => self.trial.toxic("reset_peer", r#""timeout": 0"#, 500),
            BlackHole => self.trial.toxic("black_hole", "", 2_500),
            HalfOpenServer => self.trial.toxic("half_open", r#""stays": "server""#, 2_500),
            HalfOpenRelay => self.trial.toxic("half_open", r#""stays": "client""#, 2_500),
            ServerKilled => self.trial.restart_server("KILL"),
            BoardReset => {
                for _ in 0..3 {
                    self.trial.reset_board();
                    self.run_for_up_to(800);
                }
            }
            BoardResetInNoise => {
                self.trial.reset_board();
                self.noise(NOISE, NOISE, 3_000);
            }
            // While the pin is low; a board that starts lets it go.
            BoardResetInPulse => {
                self.wedge(Relay::stop);
                self.trial.reset_board();
            }
        }
        self.trial.until_it_flows(&name);
        self.wire.damage(0, 0);
        let (pulses, damaged) = (self.relay.pulses() - before.0, self.wire.damaged() - before.1);
        self.trial.say(format_args!("  {pulses} pulses of the reset pin, {damaged} bytes damaged"));
    }

    /// Puts the relay where only its reset pin helps, and waits for that.
    fn wedge(&mut self, how: impl FnOnce(&Relay)) {
        self.wedged += 1;
        let pulses = self.relay.pulses();
        how(&self.relay);
        self.trial.until("resetting the relay", |_| self.relay.pulses() > pulses);
    }

    /// So much noise that each kind of line is damaged, and that was noticed.
    fn burst(&mut self) {
        let before = self.told.damaged();
        for _ in 0..20 {
            self.noise(BURST / 2, BURST / 2, 2_000);
            // The relay reports every second, and is heard.
            self.trial.run_for(1_300);
            if self.told.damaged().iter().zip(before).all(|(now, before)| *now > before) {
                return;
            }
        }
        panic!("one kind of line is never damaged: {before:?} before, {:?} after", self.told.damaged());
    }

    fn run_for_up_to(&mut self, ms: u64) {
        let drawn = self.chance.next_u64() % ms;
        self.trial.run_for(drawn);
    }

    /// Checks besides that it was not idle.
    fn verdict(&self) {
        let Self { relay, wire, wedged, .. } = self;
        let (pulses, starts) = (relay.pulses(), relay.starts());
        let [garbled, here, there] = self.told.damaged();
        let (dropped, overrun) = (self.told.sum("dropped"), self.told.sum("overrun"));
        self.trial.say(format_args!("{wire}"));
        self.trial.say(format_args!(
            "the board saw {garbled} garbled lines of the session and {here} damaged lines of the relay, which saw {there} of the board; \
             {dropped} and {overrun} bytes found no room"
        ));
        self.trial
            .say(format_args!("{wedged} times only the reset pin could help, {pulses} pulses, {starts} starts of the relay"));
        assert!(pulses >= *wedged && *wedged > 0, "each time the board has reset its relay");
        self.trial.verdict();
    }

    fn noise(&mut self, flips: u32, drops: u32, ms: u64) {
        let damaged = self.wire.damaged();
        self.wire.damage(flips, drops);
        self.trial.run_for(ms);
        self.trial.until("damaged on its way", |_| self.wire.damaged() > damaged);
        self.wire.damage(0, 0);
    }
}

/// What the board counts in its log, in words like `garbled=3`.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<BTreeMap<String, Count>>>);

/// A number that begins again at 0 when who counts starts again.
#[derive(Clone, Copy, Default)]
struct Count {
    last: u64,
    sum: u64,
}

impl Told {
    /// What hears each line of the log.
    fn listener(&self) -> impl FnMut(&str) + Send + 'static {
        let told = self.clone();
        move |line| {
            let mut counts = told.0.lock().unwrap_or_else(PoisonError::into_inner);
            for (key, value) in line.split(' ').filter_map(|word| word.split_once('=')) {
                if let Ok(value) = value.parse() {
                    let count = counts.entry(key.to_owned()).or_default();
                    count.sum += if value < count.last { value } else { value - count.last };
                    count.last = value;
                }
            }
        }
    }

    /// What was counted, over all starts; at least.
    fn sum(&self, key: &str) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).map_or(0, |count| count.sum)
    }

    /// Damaged lines: of the session, of the relay, and what the relay has reported of the board's.
    fn damaged(&self) -> [u64; 3] {
        ["garbled", "damaged_here", "damaged_there"].map(|key| self.sum(key))
    }
}

fn seed() -> u64 {
    std::env::var("HOLDLINE_SEED").map_or(1, |seed| seed.parse().expect("HOLDLINE_SEED is a number"))
}
