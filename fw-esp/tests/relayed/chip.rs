//! A chip with a relay on it, which crashes, hangs and falls silent as it is told, and can be reset by a pin.

use crate::cable::{Cable, Rx, Tx};
use crate::world::{Radio, Time};
use embedded_hal::digital::{ErrorType as PinError, OutputPin};
use embedded_io_async::{ErrorKind, ErrorType, Read, Write};
use holdline_esp::{Configure, Relay, RelayBoard, Settings};
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::rc::Rc;
use std::task::{Poll, Waker};

/// A chip with a relay on it.
pub struct Chip {
    time: Time,
    /// How long it takes to start.
    pub boot_ms: Cell<u64>,
    pub boots: Cell<u32>,
    is_running: Cell<bool>,
    /// Whether the pin holds it in reset.
    is_held: Cell<bool>,
    /// It has crashed; it starts again by itself after so long, if at all.
    crashed: Cell<Option<Option<u64>>>,
    /// It runs, and does nothing: only a reset helps.
    is_hung: Cell<bool>,
    /// It does everything, and nothing that it says leaves it: only a reset helps.
    is_mute: Cell<bool>,
    /// It says how it is, and hears nothing: only a reset helps.
    is_deaf: Cell<bool>,
    /// It crashes after so many polls of its program, and starts again.
    pub crash_after: Cell<Option<u32>>,
    /// When the pin went low and how long it stayed so, and whether the relay was well.
    pub pulses: RefCell<Vec<Pulse>>,
    /// When it started, each time.
    pub started: RefCell<Vec<u64>>,
    waker: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulse {
    pub at: u64,
    pub ms: u64,
    /// What the chip was doing.
    pub was: Doing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    Well,
    Booting,
    Ill,
}

impl Chip {
    pub fn new(time: &Time) -> Rc<Self> {
        Rc::new(Self {
            time: time.clone(),
            boot_ms: Cell::new(1_500),
            boots: Cell::new(0),
            is_running: Cell::new(false),
            is_held: Cell::new(false),
            crashed: Cell::new(None),
            is_hung: Cell::new(false),
            is_mute: Cell::new(false),
            is_deaf: Cell::new(false),
            crash_after: Cell::new(None),
            pulses: RefCell::default(),
            started: RefCell::default(),
            waker: RefCell::default(),
        })
    }

    pub fn is_held(&self) -> bool {
        self.is_held.get()
    }

    fn doing(&self) -> Doing {
        match (self.is_running.get(), self.crashed.get()) {
            (true, _) if self.is_hung.get() || self.is_mute.get() || self.is_deaf.get() => Doing::Ill,
            (true, _) => Doing::Well,
            (false, Some(None)) => Doing::Ill,
            (false, _) => Doing::Booting,
        }
    }

    /// It crashes, and starts again after so long; by itself, or only when it is reset.
    pub fn crash(&self, back_after: Option<u64>) {
        self.crashed.set(Some(back_after));
        self.wake();
    }

    pub fn hang(&self) {
        self.is_hung.set(true);
    }

    pub fn fall_silent(&self) {
        self.is_mute.set(true);
    }

    pub fn go_deaf(&self) {
        self.is_deaf.set(true);
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Waits for something, for as long as it is not held in reset; `false` if it is.
    async fn unless_held(&self, what: impl Future<Output = ()>) -> bool {
        let mut what = Box::pin(what);
        poll_fn(|cx| {
            *self.waker.borrow_mut() = Some(cx.waker().clone());
            if self.is_held.get() {
                return Poll::Ready(false);
            }
            what.as_mut().poll(cx).map(|()| true)
        })
        .await
    }

    /// What the chip does from the moment it has power.
    pub async fn power(self: Rc<Self>, cable: &Cable, radio: Radio) {
        loop {
            poll_fn(|cx| {
                *self.waker.borrow_mut() = Some(cx.waker().clone());
                if self.is_held.get() { Poll::Pending } else { Poll::Ready(()) }
            })
            .await;
            self.is_running.set(false);
            self.crashed.set(None);
            if !self.unless_held(self.time.sleep(self.boot_ms.get())).await {
                continue;
            }
            self.boots.set(self.boots.get() + 1);
            self.started.borrow_mut().push(self.time.ms());
            self.is_running.set(true);
            cable.to_relay.clear();
            let was_reset = !self.unless_held(self.relay(cable, &radio)).await;
            self.is_running.set(false);
            self.is_hung.set(false);
            self.is_mute.set(false);
            self.is_deaf.set(false);
            // What a chip had opened is gone with it, and nobody is told.
            if !was_reset {
                let pause = async {
                    match self.crashed.get().flatten() {
                        Some(ms) => self.time.sleep(ms.saturating_sub(self.boot_ms.get())).await,
                        None => pending().await,
                    }
                };
                self.unless_held(pause).await;
            }
        }
    }

    /// The program, until it crashes.
    async fn relay(&self, cable: &Cable, radio: &Radio) {
        let (reader, writer) = cable.at_relay();
        let (reader, writer) = (Ear { chip: self, reader }, Throat { chip: self, writer });
        let mut board = RelayBoard {
            reader,
            writer,
            network: radio.clone(),
            connector: radio.clone(),
            clock: self.time.clone(),
            boot: 0xb007_0000 + self.boots.get(),
            hooks: (),
        };
        let mut relay: Relay = Relay::new();
        let mut running = Box::pin(relay.run(&mut board));
        poll_fn(|cx| {
            if self.crash_after.get() == Some(0) {
                self.crash_after.set(None);
                self.crashed.set(Some(Some(0)));
            }
            self.crash_after.set(self.crash_after.get().map(|left| left - 1));
            if self.crashed.get().is_some() {
                return Poll::Ready(());
            }
            if !self.is_hung.get() {
                assert!(running.as_mut().poll(cx).is_pending(), "the wire does not end");
            }
            Poll::Pending
        })
        .await;
    }
}

/// What is said to a relay reaches it, unless it is deaf.
struct Ear<'c> {
    chip: &'c Chip,
    reader: Rx,
}

impl ErrorType for Ear<'_> {
    type Error = ErrorKind;
}

impl Read for Ear<'_> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ErrorKind> {
        loop {
            let count = self.reader.read(buffer).await?;
            if count == 0 || !self.chip.is_deaf.get() {
                return Ok(count);
            }
        }
    }
}

/// What a relay says leaves it, unless it is mute.
struct Throat<'c> {
    chip: &'c Chip,
    writer: Tx,
}

impl ErrorType for Throat<'_> {
    type Error = ErrorKind;
}

impl Write for Throat<'_> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        if self.chip.is_mute.get() { Ok(bytes.len()) } else { self.writer.write(bytes).await }
    }

    async fn flush(&mut self) -> Result<(), ErrorKind> {
        self.writer.flush().await
    }
}

impl Configure for Radio {
    fn configure(&mut self, settings: &Settings<'_>) {
        assert_eq!((settings.server, settings.ssid, settings.password), ("server", "attic", "secret"));
    }
}

/// The pin that is connected to the chip's reset.
pub struct ResetPin(pub Rc<Chip>);

impl PinError for ResetPin {
    type Error = Infallible;
}

impl OutputPin for ResetPin {
    fn set_low(&mut self) -> Result<(), Infallible> {
        let chip = &self.0;
        chip.pulses.borrow_mut().push(Pulse { at: chip.time.ms(), ms: u64::MAX, was: chip.doing() });
        chip.is_held.set(true);
        chip.wake();
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        let chip = &self.0;
        if chip.is_held.replace(false)
            && let Some(pulse) = chip.pulses.borrow_mut().last_mut()
        {
            pulse.ms = chip.time.ms() - pulse.at;
        }
        chip.wake();
        Ok(())
    }
}
