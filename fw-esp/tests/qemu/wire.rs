//! The serial wire between the board and its relay, which flips and drops bytes as it is told.

use holdline_sim::rng::SplitMix64;
use std::fmt;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a byte takes: 460,800 baud. The emulator would take them all at once, and no serial port can.
const BYTE: Duration = Duration::from_micros(22);
/// How many bytes are carried at a time.
const CHUNK: usize = 64;
/// How long a relay may refuse a byte before it is lost: a serial port waits for nobody.
const REFUSAL: Duration = Duration::from_millis(1);

/// The wire. Dropped, it goes on for as long as there is a board at one of its ends.
#[derive(Clone, Default)]
pub(crate) struct Wire(Arc<Line>);

#[derive(Default)]
struct Line {
    /// Of a million bytes so many come out changed, and so many do not come out.
    flips: AtomicU32,
    drops: AtomicU32,
    is_cut: AtomicBool,
    tally: Tally,
    /// The end at the relay, while there is one.
    relay: Mutex<Option<UnixStream>>,
}

/// How many bytes went in, and what became of them.
#[derive(Default)]
struct Tally {
    carried: AtomicU64,
    flipped: AtomicU64,
    dropped: AtomicU64,
    lost: AtomicU64,
}

impl Wire {
    /// A wire whose ends are the sockets `uart`, for the board, and `relay`. Which bytes are damaged follows from the seed and from how
    /// many came before, which is a matter of real time.
    pub(crate) fn new(folder: &Path, seed: u64) -> Self {
        let wire = Self::default();
        let mut chance = SplitMix64::from_seed(seed);
        let (mut up, mut down) = (chance.split(), chance.split());
        let uart = UnixListener::bind(folder.join("uart")).expect("a socket for the board");
        let relays = UnixListener::bind(folder.join("relay")).expect("a socket for the relay");
        let line = Arc::clone(&wire.0);
        std::thread::spawn(move || {
            let (board, _) = uart.accept().expect("QEMU connects");
            let to_board = board.try_clone().expect("a second handle");
            let below = Arc::clone(&line);
            std::thread::spawn(move || {
                while let Ok((relay, _)) = relays.accept() {
                    below.plug_in(&relay);
                    below.carry(&relay, &mut down, |bytes| (&to_board).write_all(bytes).is_ok());
                }
            });
            line.carry(&board, &mut up, |bytes| {
                line.give_relay(bytes);
                true
            });
        });
        wire
    }

    /// Damages so many of a million bytes from now on.
    pub(crate) fn damage(&self, flips: u32, drops: u32) {
        self.0.flips.store(flips, Ordering::Relaxed);
        self.0.drops.store(drops, Ordering::Relaxed);
    }

    /// Cuts the wire, or mends it.
    pub(crate) fn cut(&self, is_cut: bool) {
        self.0.is_cut.store(is_cut, Ordering::Relaxed);
    }

    /// How many bytes it has flipped or dropped.
    pub(crate) fn damaged(&self) -> u64 {
        self.0.tally.flipped.load(Ordering::Relaxed) + self.0.tally.dropped.load(Ordering::Relaxed)
    }

    /// How many bytes were lost because it was cut, or nobody was at its end.
    pub(crate) fn lost(&self) -> u64 {
        self.0.tally.lost.load(Ordering::Relaxed)
    }
}

impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { carried, flipped, dropped, lost } = &self.0.tally;
        let [carried, flipped, dropped, lost] = [carried, flipped, dropped, lost].map(|count| count.load(Ordering::Relaxed));
        write!(f, "{carried} bytes on the wire, {flipped} flipped, {dropped} dropped, {lost} at a cut or a loose end")
    }
}

impl Line {
    fn plug_in(&self, relay: &UnixStream) {
        let writer = relay.try_clone().expect("a second handle");
        writer.set_write_timeout(Some(REFUSAL)).expect("it is no zero");
        *self.relay.lock().unwrap_or_else(PoisonError::into_inner) = Some(writer);
    }

    /// Carries bytes until one end is closed.
    fn carry(&self, mut from: &UnixStream, chance: &mut SplitMix64, mut give: impl FnMut(&[u8]) -> bool) {
        let mut buffer = [0; CHUNK];
        while let Ok(len @ 1..) = from.read(&mut buffer) {
            std::thread::sleep(BYTE * len as u32);
            let bytes = self.pass(&buffer[..len], chance);
            if !bytes.is_empty() && !give(&bytes) {
                return;
            }
        }
    }

    /// What comes out of the wire.
    fn pass(&self, bytes: &[u8], chance: &mut SplitMix64) -> Vec<u8> {
        let count = |counter: &AtomicU64, bytes: usize| counter.fetch_add(bytes as u64, Ordering::Relaxed);
        count(&self.tally.carried, bytes.len());
        if self.is_cut.load(Ordering::Relaxed) {
            count(&self.tally.lost, bytes.len());
            return Vec::new();
        }
        let (flips, drops) = (self.flips.load(Ordering::Relaxed), self.drops.load(Ordering::Relaxed));
        let mut passed = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            let drawn = chance.next_u64();
            let lot = (drawn >> 32) as u32 % 1_000_000;
            if lot < drops {
                count(&self.tally.dropped, 1);
            } else if lot < drops + flips {
                count(&self.tally.flipped, 1);
                passed.push(byte ^ 1 << (drawn & 7));
            } else {
                passed.push(byte);
            }
        }
        passed
    }

    fn give_relay(&self, bytes: &[u8]) {
        let mut relay = self.relay.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = relay.as_mut().map_or(Ok(0), |relay| relay.write(bytes));
        let lost = bytes.len() - taken.unwrap_or(0);
        self.tally.lost.fetch_add(lost as u64, Ordering::Relaxed);
    }
}
