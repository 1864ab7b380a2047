//! An I2C bus in memory, from a master to a target, that stalls, is not answered, and breaks off.
#![allow(unreachable_pub, missing_debug_implementations, reason = "it is used by the files beside it")]

use crate::seeded;
use crate::world::{FarEnd, Tasks, Time};
use embedded_hal_async::i2c::{Error, ErrorKind, ErrorType, I2c, NoAcknowledgeSource, Operation};
use holdline_esp::{DdcMaster, DdcTarget, Instant};
use std::cell::{Cell, RefCell};

pub const ADDRESS: u8 = 0x42;

#[derive(Clone, Copy, Default)]
pub struct Faults {
    pub seed: u64,
    /// Of a thousand transactions, how many are not answered; at most three in a row fail.
    pub nacks: u64,
    /// Of a thousand, how many break off in the middle.
    pub breaks: u64,
}

pub struct Scene {
    pub time: Time,
    pub target: DdcTarget,
    faults: Faults,
    /// Nobody answers.
    pub absent: Cell<bool>,
    pub nacks: Cell<u32>,
    pub log: RefCell<Vec<String>>,
    pub done: Cell<bool>,
}

/// Nobody acts but the tasks.
struct Nobody;

impl FarEnd for Nobody {
    fn step(&mut self, _: Instant) -> bool {
        false
    }

    fn deadline(&self) -> Option<u64> {
        None
    }
}

impl Scene {
    pub fn new(faults: Faults) -> Self {
        Self {
            time: Time::default(),
            target: DdcTarget::new(),
            faults,
            absent: Cell::new(false),
            nacks: Cell::new(0),
            log: RefCell::default(),
            done: Cell::new(false),
        }
    }

    pub fn tasks<'t>(&self) -> Tasks<'t> {
        Tasks::new(&self.time)
    }

    #[track_caller]
    pub fn run(&self, tasks: &mut Tasks<'_>, limit_ms: u64) {
        tasks.run(&RefCell::new(Nobody), limit_ms, |_| self.done.get());
    }

    pub async fn pump<const IN: usize, const OUT: usize>(&self, master: &DdcMaster<IN, OUT>) {
        let mut bus = Bus { scene: self, random: Box::new(seeded(self.faults.seed)), failed: 0 };
        master.run(&mut bus, &self.time).await;
    }
}

#[derive(Debug)]
enum Fault {
    Absent,
    Broken,
}

impl Error for Fault {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Absent => ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address),
            Self::Broken => ErrorKind::ArbitrationLoss,
        }
    }
}

struct Bus<'s> {
    scene: &'s Scene,
    random: Box<dyn FnMut() -> u64>,
    /// Failures in a row.
    failed: u32,
}

impl ErrorType for Bus<'_> {
    type Error = Fault;
}

impl I2c for Bus<'_> {
    async fn transaction(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), Fault> {
        self.write_down(operations);
        let Faults { nacks, breaks, .. } = self.scene.faults;
        let draw = if self.failed < 3 { (self.random)() % 1_000 } else { 1_000 };
        self.failed += 1;
        if address != ADDRESS || self.scene.absent.get() || draw < nacks {
            self.scene.nacks.set(self.scene.nacks.get() + 1);
            return Err(Fault::Absent);
        }
        let breaks = draw < nacks + breaks;
        for operation in operations {
            let is_whole = match operation {
                Operation::Write(bytes) => self.write(bytes, breaks).await,
                Operation::Read(buffer) => self.read(buffer, breaks).await,
            };
            if !is_whole {
                return Err(Fault::Broken);
            }
        }
        self.failed = 0;
        Ok(())
    }
}

impl Bus<'_> {
    /// The target sees what came before the break, and holds the bus until it has room.
    async fn write(&mut self, bytes: &[u8], breaks: bool) -> bool {
        if bytes.len() == 1 {
            self.scene.target.handle_write(bytes);
            return true;
        }
        let seen = if breaks { (self.random)() as usize % bytes.len() } else { bytes.len() };
        self.scene.target.wait_room(seen).await;
        self.stall().await;
        if seen != 1 {
            self.scene.target.handle_write(&bytes[..seen]);
        }
        !breaks
    }

    async fn read(&mut self, buffer: &mut [u8], breaks: bool) -> bool {
        let seen = if breaks { (self.random)() as usize % buffer.len() } else { buffer.len() };
        let mut at = 0;
        while at < seen {
            let part = 1 + (self.random)() as usize % (seen - at);
            self.scene.target.prepare_read(&mut buffer[at..at + part]);
            self.stall().await;
            self.scene.target.handle_read(part);
            at += part;
        }
        !breaks
    }

    async fn stall(&mut self) {
        if self.scene.faults.seed > 0 {
            self.scene.time.sleep((self.random)() % 3).await;
        }
    }

    fn write_down(&self, operations: &[Operation<'_>]) {
        let words = operations.iter().map(|operation| match operation {
            Operation::Write(bytes) => bytes.iter().fold("W".to_string(), |line, byte| format!("{line} {byte:02x}")),
            Operation::Read(buffer) => format!("R {}", buffer.len()),
        });
        self.scene.log.borrow_mut().push(words.collect::<Vec<_>>().join(" "));
    }
}
