//! The machine `virt`: its clock, interrupts, and the numbers that whoever starts it leaves in memory.

use crate::log::Log;
use crate::{ethernet, uart};
use core::cell::RefCell;
use core::fmt::Write;
use core::task::Waker;
use critical_section::{CriticalSection, Mutex};
use embassy_time_driver::Driver;
use embassy_time_queue_utils::Queue;

/// The port of the server on the machine that runs QEMU: the word behind this program's memory, where QEMU is told to write it
/// (`-device loader,addr=0x80100000,data-len=4,data=PORT`).
pub fn server_port() -> u16 {
    // SAFETY: the machine has more memory than memory.x takes of it.
    unsafe { (0x8010_0000 as *const u32).read_volatile() as u16 }
}

/// Random numbers from the host's time of day: good enough to tell two starts of an emulator apart, and for nothing else. A chip has a
/// generator.
pub fn random() -> u64 {
    // SAFETY: the registers of the goldfish clock; reading the low half holds the high one.
    let wall = unsafe {
        let low = (0x0010_1000 as *const u32).read_volatile();
        u64::from((0x0010_1004 as *const u32).read_volatile()) << 32 | u64::from(low)
    };
    let mut mixed = wall ^ ticks().rotate_left(40);
    for multiplier in [0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb] {
        mixed = (mixed ^ mixed >> 30).wrapping_mul(multiplier);
    }
    mixed ^ mixed >> 31
}

/// Ends the emulator with a status.
fn exit(status: u16) -> ! {
    // SAFETY: the register of the sifive_test device.
    unsafe { (0x0010_0000 as *mut u32).write_volatile(u32::from(status) << 16 | 0x3333) };
    loop {}
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let _ = writeln!(Log, "{info}");
    exit(101)
}

const COMPARE: *mut u32 = 0x0200_4000 as *mut u32;
const TIME: *const u32 = 0x0200_bff8 as *const u32;

/// The time since the start, in units of 100 ns.
fn ticks() -> u64 {
    // SAFETY: the registers of the CLINT.
    unsafe {
        loop {
            let high = TIME.add(1).read_volatile();
            let low = TIME.read_volatile();
            if high == TIME.add(1).read_volatile() {
                return u64::from(high) << 32 | u64::from(low);
            }
        }
    }
}

/// The time since the start, in milliseconds.
pub fn uptime_ms() -> u64 {
    ticks() / 10_000
}

fn set_alarm(at: u64) {
    // SAFETY: the registers of the CLINT; the high half first, beyond any time, so that no wrong alarm goes off between.
    unsafe {
        COMPARE.add(1).write_volatile(u32::MAX);
        COMPARE.write_volatile(at as u32);
        COMPARE.add(1).write_volatile((at >> 32) as u32);
    }
}

struct Clint {
    queue: Mutex<RefCell<Queue>>,
}

impl Clint {
    fn arm(&self, cs: CriticalSection<'_>) {
        // An alarm in the past goes off at once.
        set_alarm(self.queue.borrow_ref_mut(cs).next_expiration(ticks()));
    }
}

impl Driver for Clint {
    fn now(&self) -> u64 {
        ticks()
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        critical_section::with(|cs| {
            if self.queue.borrow_ref_mut(cs).schedule_wake(at, waker) {
                self.arm(cs);
            }
        });
    }
}

embassy_time_driver::time_driver_impl!(static CLINT: Clint = Clint { queue: Mutex::new(RefCell::new(Queue::new())) });

#[riscv_rt::core_interrupt(riscv::interrupt::Interrupt::MachineTimer)]
fn on_timer() {
    critical_section::with(|cs| CLINT.arm(cs));
}

const PLIC: usize = 0x0c00_0000;

/// Lets the interrupt of this number through.
pub fn enable_interrupt(number: usize) {
    // SAFETY: the registers of the PLIC, for the machine mode of the first hart.
    unsafe {
        ((PLIC + 4 * number) as *mut u32).write_volatile(1);
        let enabled = (PLIC + 0x2000 + 4 * (number / 32)) as *mut u32;
        enabled.write_volatile(enabled.read_volatile() | 1 << (number % 32));
    }
}

#[riscv_rt::core_interrupt(riscv::interrupt::Interrupt::MachineExternal)]
fn on_external() {
    let claim = (PLIC + 0x20_0004) as *mut u32;
    // SAFETY: as above; what was claimed is completed.
    let number = unsafe { claim.read_volatile() };
    match number as usize {
        slot @ 1..=8 => ethernet::on_interrupt(slot - 1),
        uart::INTERRUPT => uart::on_interrupt(),
        _ => {}
    }
    unsafe { claim.write_volatile(number) };
}

/// Lets interrupts through.
pub fn init() {
    set_alarm(u64::MAX);
    // SAFETY: the handlers above are in place.
    unsafe {
        ((PLIC + 0x20_0000) as *mut u32).write_volatile(0);
        riscv::register::mie::set_mtimer();
        riscv::register::mie::set_mext();
        riscv::interrupt::enable();
    }
}
