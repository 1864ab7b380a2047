//! The wire as an I2C bus, on which the relay is a target with the registers of [`DdcTarget`].
//!
//! `esp-hal` sets the controller up. Its two calls for what follows, `listen` and `respond_to_read`, empty the FIFOs and let go of the
//! clock as they begin: what the host began before that would be lost, or answered with whatever lay there. And they do not say how
//! much of an answer was read. So the transactions are followed here, on the controller's registers, by the order of events that
//! Espressif's own driver goes by. The clock is held wherever the host has to wait: before an answer, and when the FIFO is full.

use crate::pin;
use core::future::poll_fn;
use core::task::Poll;
use embassy_executor::Spawner;
use embassy_sync::waitqueue::AtomicWaker;
use esp_hal::Blocking;
use esp_hal::handler;
use esp_hal::i2c::slave::{Config, I2cSlave};
use esp_hal::interrupt::bind_handler;
use esp_hal::peripherals::{I2C0, Interrupt};
use heapless::Vec;
use holdline_esp::{DdcReader, DdcTarget, DdcWriter};
use static_cell::StaticCell;

/// What the log calls it.
pub const NAME: &str = concat!("I2C, address ", env!("HOLDLINE_WIRE_ADDRESS"));

/// Bytes that wait in either direction.
const WAITING: usize = 512;
/// The controller's FIFOs, in bytes.
const FIFO: usize = 32;
/// What the controller says of why it holds the clock.
const READ_BEGINS: u8 = 0;
const NOTHING_TO_SEND: u8 = 1;

/// From the host.
pub type Reader = DdcReader<'static, WAITING>;
/// To the host.
pub type Writer = DdcWriter<'static, WAITING>;

static TRANSACTION: AtomicWaker = AtomicWaker::new();

/// Opens the wire, on the pins and at the address that were named to the build.
pub fn open(spawner: Spawner, controller: I2C0<'static>) -> (Reader, Writer) {
    static TARGET: StaticCell<DdcTarget<WAITING, WAITING>> = StaticCell::new();
    let address: u8 = env!("HOLDLINE_WIRE_ADDRESS").parse().expect("the build has checked it");
    let driver = I2cSlave::new(controller, Config::new(address))
        .expect("the build has checked the address")
        .with_sda(pin(env!("HOLDLINE_WIRE_SDA")))
        .with_scl(pin(env!("HOLDLINE_WIRE_SCL")));
    // A clock that we hold is not a bus that hangs.
    I2C0::regs().to().modify(|_, to| to.time_out_en().clear_bit());
    take_over();
    bind_handler(Interrupt::I2C_EXT0, on_transaction);
    let target = TARGET.init(DdcTarget::new());
    spawner.spawn(answer(driver, target).expect("it is spawned once"));
    target.split()
}

#[handler]
fn on_transaction() {
    // SAFETY: none of them is enabled.
    I2C0::regs().int_ena().write(|enabled| unsafe { enabled.bits(0) });
    TRANSACTION.wake();
}

/// Follows the transactions. It keeps the driver, which keeps pins and clock.
#[embassy_executor::task]
async fn answer(_driver: I2cSlave<'static, Blocking>, target: &'static DdcTarget<WAITING, WAITING>) -> ! {
    let mut heard = Heard { bytes: Vec::new(), is_continued: false, target };
    // What the FIFO was given for the read under way.
    let mut offered = None;
    loop {
        let Event { is_over, is_held } = event().await;
        // The end of a read comes before the begin of the next, if both were missed.
        if is_over && let Some(count) = offered.take() {
            target.handle_read(count - waiting_in_fifo());
        }
        heard.fetch().await;
        // If the bus is busy again, the last bytes may be the first of another write. It will be over too, or a read will begin.
        if is_over && !I2C0::regs().sr().read().bus_busy().bit_is_set() {
            heard.end();
        }
        if is_held {
            match I2C0::regs().sr().read().stretch_cause().bits() {
                READ_BEGINS if I2C0::regs().sr().read().slave_rw().bit_is_set() => {
                    heard.end();
                    clear_fifo();
                    offered = Some(offer(target));
                }
                NOTHING_TO_SEND => {
                    // All of it was read, and more is wanted.
                    target.handle_read(offered.take().unwrap_or(0));
                    offered = Some(offer(target));
                }
                _ => {}
            }
            I2C0::regs().scl_stretch_conf().modify(|_, stretch| stretch.slave_scl_stretch_clr().set_bit());
            take_over();
        }
    }
}

struct Event {
    /// A transaction, or the read in it, has ended.
    is_over: bool,
    /// The controller holds the clock.
    is_held: bool,
}

/// Waits for the controller to have something to say.
async fn event() -> Event {
    poll_fn(|cx| {
        TRANSACTION.register(cx.waker());
        let regs = I2C0::regs();
        let raised = regs.int_raw().read();
        let event = Event {
            is_over: raised.trans_complete().bit_is_set() || raised.nack().bit_is_set(),
            is_held: raised.slave_stretch().bit_is_set(),
        };
        if event.is_over || event.is_held {
            // SAFETY: those that were seen are cleared, which is a 1 in their place.
            regs.int_clr().write(|clear| unsafe { clear.bits(raised.bits()) });
            return Poll::Ready(event);
        }
        regs.int_ena().write(|enabled| {
            enabled.trans_complete().set_bit();
            enabled.nack().set_bit();
            enabled.slave_stretch().set_bit()
        });
        Poll::Pending
    })
    .await
}

/// What the host has written, until it is known whether that is a register or data.
struct Heard {
    bytes: Vec<u8, FIFO>,
    /// Whether a part of this transaction was told already.
    is_continued: bool,
    target: &'static DdcTarget<WAITING, WAITING>,
}

impl Heard {
    /// Empties the FIFO, into which the host may be writing.
    async fn fetch(&mut self) {
        while I2C0::regs().sr().read().rxfifo_cnt().bits() > 0 {
            if self.bytes.is_full() {
                // The host waits meanwhile: the FIFO fills, and holds the clock.
                self.target.wait_room(FIFO).await;
                self.tell();
                self.is_continued = true;
            }
            let _ = self.bytes.push(I2C0::regs().data().read().fifo_rdata().bits());
        }
    }

    /// The transaction is over, as far as it was a write.
    fn end(&mut self) {
        match self.bytes[..] {
            [register] if !self.is_continued => self.target.handle_write(&[register]),
            _ => self.tell(),
        }
        self.bytes.clear();
        self.is_continued = false;
    }

    /// Data, and registers whose transactions were missed. No byte of a session or a control line is from 0xF8 to 0xFD.
    fn tell(&mut self) {
        for run in self.bytes.chunk_by(|&a, &b| !is_register(a) && !is_register(b)) {
            match *run {
                [byte] if !is_register(byte) => self.target.handle_write(&[byte, 0xFF]),
                _ => self.target.handle_write(run),
            }
        }
        self.bytes.clear();
    }
}

fn is_register(byte: u8) -> bool {
    matches!(byte, 0xF8..=0xFD)
}

/// Fills the FIFO with what a read gets, and returns how many bytes that are.
fn offer(target: &DdcTarget<WAITING, WAITING>) -> usize {
    let mut answer = [0; FIFO];
    target.prepare_read(&mut answer);
    for byte in answer {
        // SAFETY: every value of a byte is one to send.
        I2C0::regs().data().write(|data| unsafe { data.fifo_rdata().bits(byte) });
    }
    FIFO
}

/// How many bytes that were offered were not sent.
fn waiting_in_fifo() -> usize {
    usize::from(I2C0::regs().sr().read().txfifo_cnt().bits()).min(FIFO)
}

/// Forgets what was offered and not sent.
fn clear_fifo() {
    I2C0::regs().fifo_conf().modify(|_, fifo| fifo.tx_fifo_rst().set_bit());
    I2C0::regs().fifo_conf().modify(|_, fifo| fifo.tx_fifo_rst().clear_bit());
}

/// Makes the controller take over what was set.
fn take_over() {
    I2C0::regs().ctr().modify(|_, control| control.conf_upgate().set_bit());
}
