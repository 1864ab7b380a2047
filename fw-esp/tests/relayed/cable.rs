//! A serial cable in memory, which flips, drops, splits and stalls as it is told.

use crate::world::{Pace, Time, yield_once};
use embedded_io_async::{ErrorKind, ErrorType, Read, Write};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// What a chip's receiver holds while nobody reads, in bytes; then it loses what comes.
const FIFO: usize = 4_096;

/// Random numbers below 2^31 that are this seed's own.
pub fn seeded(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        // SplitMix64: neighbouring seeds have nothing in common.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) >> 33
    }
}

/// What happens to a byte.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mishap {
    Flip(u8),
    Drop,
}

/// One direction.
pub struct Lane {
    time: Time,
    bytes: RefCell<VecDeque<u8>>,
    reader: RefCell<Option<Waker>>,
    random: RefCell<Box<dyn FnMut() -> u64>>,
    pub pace: Cell<Pace>,
    /// Bytes in a millisecond; no limit if 0.
    pub rate: Cell<u32>,
    /// Bytes that were put on it.
    pub said: Cell<u64>,
    /// One in so many bytes has a bit flipped, one is dropped; none if 0.
    pub flips: Cell<u32>,
    pub drops: Cell<u32>,
    /// What happens to one byte.
    pub mishap: Cell<Option<(u64, Mishap)>>,
    /// From this byte on nothing passes for so many milliseconds, here or in both directions.
    pub cut_at: Cell<Option<(u64, u64, bool)>>,
    /// Nothing passes before this, here and in both directions.
    cut_until: Cell<u64>,
    both_cut_until: Rc<Cell<u64>>,
    /// The reads fail, as often as this.
    pub errors: Cell<u32>,
    /// There is nothing at the other end any more.
    pub ended: Cell<bool>,
}

impl Lane {
    fn new(time: &Time, seed: u64, both_cut_until: &Rc<Cell<u64>>) -> Rc<Self> {
        Rc::new(Self {
            time: time.clone(),
            bytes: RefCell::default(),
            reader: RefCell::default(),
            random: RefCell::new(Box::new(seeded(seed))),
            pace: Cell::new(Pace::Whole),
            rate: Cell::new(0),
            said: Cell::new(0),
            flips: Cell::new(0),
            drops: Cell::new(0),
            mishap: Cell::new(None),
            cut_at: Cell::new(None),
            cut_until: Cell::new(0),
            both_cut_until: Rc::clone(both_cut_until),
            errors: Cell::new(0),
            ended: Cell::new(false),
        })
    }

    fn happens(&self, one_in: u32) -> bool {
        one_in > 0 && (self.random.borrow_mut())().is_multiple_of(u64::from(one_in))
    }

    fn put(&self, byte: u8) {
        let at = self.said.replace(self.said.get() + 1);
        let planned = self.mishap.get().filter(|mishap| mishap.0 == at).map(|mishap| mishap.1);
        let mishap = match planned {
            None if self.happens(self.drops.get()) => Some(Mishap::Drop),
            None if self.happens(self.flips.get()) => Some(Mishap::Flip(((self.random.borrow_mut())() % 8) as u8)),
            planned => planned,
        };
        let byte = match mishap {
            Some(Mishap::Drop) => return,
            Some(Mishap::Flip(bit)) => byte ^ 1 << bit,
            None => byte,
        };
        if let Some((_, ms, both)) = self.cut_at.get().filter(|cut| at >= cut.0) {
            self.cut_at.set(None);
            if both { &self.both_cut_until } else { &self.cut_until }.set(self.time.ms() + ms);
        }
        if self.time.ms() >= self.cut_until.get().max(self.both_cut_until.get()) {
            self.noise(&[byte]);
        }
    }

    /// Bytes out of nowhere.
    pub fn noise(&self, bytes: &[u8]) {
        let mut waiting = self.bytes.borrow_mut();
        let room = FIFO - waiting.len();
        waiting.extend(&bytes[..bytes.len().min(room)]);
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }

    pub fn clear(&self) {
        self.bytes.borrow_mut().clear();
    }

    async fn stall(&self) {
        if self.pace.get() == Pace::Bytes {
            yield_once().await;
        }
    }

    fn most(&self, len: usize) -> usize {
        match (self.pace.get(), self.rate.get()) {
            (Pace::Bytes, _) => 1,
            (_, 0) => len,
            (_, rate) => len.min(rate as usize),
        }
    }
}

/// A receiver.
pub struct Rx(Rc<Lane>);
/// A transmitter.
pub struct Tx(Rc<Lane>);

impl ErrorType for Rx {
    type Error = ErrorKind;
}

impl ErrorType for Tx {
    type Error = ErrorKind;
}

impl Read for Rx {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ErrorKind> {
        let lane = &self.0;
        lane.stall().await;
        if lane.errors.get() > 0 {
            lane.errors.set(lane.errors.get() - 1);
            return Err(ErrorKind::Other);
        }
        poll_fn(|cx| {
            let mut bytes = lane.bytes.borrow_mut();
            let count = bytes.len().min(lane.most(buffer.len()));
            if count == 0 && !lane.ended.get() {
                *lane.reader.borrow_mut() = Some(cx.waker().clone());
                return Poll::Pending;
            }
            buffer.iter_mut().zip(bytes.drain(..count)).for_each(|(to, from)| *to = from);
            Poll::Ready(Ok(count))
        })
        .await
    }
}

impl Write for Tx {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        let lane = &self.0;
        lane.stall().await;
        if lane.rate.get() > 0 {
            lane.time.sleep(1).await;
        }
        let count = lane.most(bytes.len());
        bytes.iter().take(count).for_each(|&byte| lane.put(byte));
        Ok(count)
    }

    async fn flush(&mut self) -> Result<(), ErrorKind> {
        self.0.stall().await;
        Ok(())
    }
}

/// Both directions.
pub struct Cable {
    pub to_relay: Rc<Lane>,
    pub to_host: Rc<Lane>,
}

impl Cable {
    pub fn new(time: &Time, seed: u64) -> Self {
        let cut = Rc::default();
        Self { to_relay: Lane::new(time, seed, &cut), to_host: Lane::new(time, !seed, &cut) }
    }

    pub fn lanes(&self) -> [&Lane; 2] {
        [&self.to_relay, &self.to_host]
    }

    pub fn each<T>(&self, change: impl Fn(&Lane) -> T) {
        self.lanes().into_iter().for_each(|lane| drop(change(lane)));
    }

    pub fn at_host(&self) -> (Rx, Tx) {
        (Rx(Rc::clone(&self.to_host)), Tx(Rc::clone(&self.to_relay)))
    }

    pub fn at_relay(&self) -> (Rx, Tx) {
        (Rx(Rc::clone(&self.to_relay)), Tx(Rc::clone(&self.to_host)))
    }
}
