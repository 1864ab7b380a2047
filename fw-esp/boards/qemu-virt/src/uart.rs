//! The serial port, a 16550 that interrupts: the wire to a relay.

use core::convert::Infallible;
use core::future::poll_fn;
use core::sync::atomic::{AtomicU32, Ordering};
use core::task::Poll;
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::pipe::Pipe;
use embassy_sync::waitqueue::AtomicWaker;
use embedded_io_async::{ErrorType, Read, Write};

/// Its number at the interrupt controller.
pub const INTERRUPT: usize = 10;

const BASE: *mut u8 = 0x1000_0000 as *mut u8;
/// How many bytes the port takes at once when it has none.
const FIFO: usize = 16;

// The registers. Two are the divisor of the clock while `LATCH` is set.
const DATA: usize = 0;
const ENABLED: usize = 1;
const FIFO_CONTROL: usize = 2;
const LINE_CONTROL: usize = 3;
const LINE_STATUS: usize = 5;

// Bits of the interrupts that are enabled, of the line's control, and of its status.
const ON_RECEIVED: u8 = 0x01;
const ON_EMPTY: u8 = 0x02;
const LATCH: u8 = 0x80;
const EIGHT_BITS: u8 = 0x03;
const RECEIVED: u8 = 0x01;
const OVERRUN: u8 = 0x02;
const EMPTY: u8 = 0x20;

/// What was received and not read yet: 90 ms at 115,200 baud.
static RING: Pipe<CriticalSectionRawMutex, 1024> = Pipe::new();
static OVERRUNS: AtomicU32 = AtomicU32::new(0);
static SENDER: AtomicWaker = AtomicWaker::new();

fn read(register: usize) -> u8 {
    // SAFETY: the port's registers are there on this machine.
    unsafe { BASE.add(register).read_volatile() }
}

fn write(register: usize, value: u8) {
    // SAFETY: as above.
    unsafe { BASE.add(register).write_volatile(value) };
}

/// Opens the port at 115,200 baud.
pub fn open() -> (Receiver, Sender) {
    write(LINE_CONTROL, LATCH);
    write(DATA, 1);
    write(ENABLED, 0);
    write(LINE_CONTROL, EIGHT_BITS);
    // Both queues on and empty; an interrupt at 8 received bytes, or when fewer have waited for four times that of a byte.
    write(FIFO_CONTROL, 0x87);
    write(ENABLED, ON_RECEIVED);
    crate::board::enable_interrupt(INTERRUPT);
    (Receiver(()), Sender(()))
}

/// Takes what was received into the ring, and wakes who waits to send.
pub(crate) fn on_interrupt() {
    let mut status = read(LINE_STATUS);
    while status & RECEIVED != 0 {
        let is_lost = RING.try_write(&[read(DATA)]).is_err();
        OVERRUNS.fetch_add(u32::from(is_lost) + u32::from(status & OVERRUN != 0), Ordering::Relaxed);
        status = read(LINE_STATUS);
    }
    if status & EMPTY != 0 {
        write(ENABLED, ON_RECEIVED);
        SENDER.wake();
    }
}

/// How many bytes were lost because nobody read them in time; at least, as the port itself counts several for one.
pub fn overruns() -> u32 {
    OVERRUNS.load(Ordering::Relaxed)
}

/// The receiving half.
pub struct Receiver(());

impl ErrorType for Receiver {
    type Error = Infallible;
}

impl Read for Receiver {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        Ok(RING.read(buffer).await)
    }
}

/// The sending half.
pub struct Sender(());

impl ErrorType for Sender {
    type Error = Infallible;
}

impl Write for Sender {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        self.flush().await?;
        let taken = bytes.len().min(FIFO);
        bytes[..taken].iter().for_each(|&byte| write(DATA, byte));
        Ok(taken)
    }

    /// Waits until the port has no byte but the one that is on the wire.
    async fn flush(&mut self) -> Result<(), Infallible> {
        poll_fn(|cx| {
            SENDER.register(cx.waker());
            if read(LINE_STATUS) & EMPTY != 0 {
                return Poll::Ready(Ok(()));
            }
            write(ENABLED, ON_RECEIVED | ON_EMPTY);
            Poll::Pending
        })
        .await
    }
}
