//! The virtio network card as a driver for `embassy-net`, without a heap.

use core::cell::UnsafeCell;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::Context;
use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState, RxToken, TxToken};
use embassy_sync::waitqueue::AtomicWaker;
use static_cell::ConstStaticCell;
use virtio_drivers::device::net::VirtIONetRaw;
use virtio_drivers::transport::mmio::{MmioTransport, VirtIOHeader};
use virtio_drivers::transport::{DeviceType, Transport};
use virtio_drivers::{BufferDirection, Hal, PAGE_SIZE, PhysAddr};

/// Where a card may be: eight places, one after the other.
const SLOTS: usize = 8;
const BASE: usize = 0x1000_1000;
const STRIDE: usize = 0x1000;
const QUEUE: usize = 8;
/// An Ethernet frame and virtio's header.
const BUFFER: usize = 1536;
const MTU: usize = 1514;

static WAKER: AtomicWaker = AtomicWaker::new();

/// Acknowledges the interrupt of the card in this slot.
pub fn on_interrupt(slot: usize) {
    let base = BASE + slot * STRIDE;
    // SAFETY: the card's interrupt status and acknowledgement.
    unsafe {
        let status = ((base + 0x60) as *const u32).read_volatile();
        ((base + 0x64) as *mut u32).write_volatile(status);
    }
    WAKER.wake();
}

const PAGES: usize = 8;

#[repr(C, align(4096))]
struct Pool(UnsafeCell<[u8; PAGES * PAGE_SIZE]>);

// SAFETY: pages are handed out once each.
unsafe impl Sync for Pool {}

static POOL: Pool = Pool(UnsafeCell::new([0; PAGES * PAGE_SIZE]));
static NEXT_PAGE: AtomicUsize = AtomicUsize::new(0);

struct Memory;

// SAFETY: there is no address translation and no cache to mind on this machine; pages are aligned, zeroed and given out once.
unsafe impl Hal for Memory {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let at = NEXT_PAGE.fetch_add(pages, Ordering::Relaxed);
        assert!(at + pages <= PAGES, "the card wants more queues than there is memory for");
        let page = NonNull::from(&POOL).cast::<u8>();
        // SAFETY: it was checked to lie within the pool.
        let page = unsafe { page.add(at * PAGE_SIZE) };
        (page.as_ptr() as usize as PhysAddr, page)
    }

    unsafe fn dma_dealloc(_: PhysAddr, _: NonNull<u8>, _: usize) -> i32 {
        0
    }

    unsafe fn mmio_phys_to_virt(at: PhysAddr, _: usize) -> NonNull<u8> {
        NonNull::new(at as usize as *mut u8).expect("no card is at address 0")
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        buffer.as_ptr().cast::<u8>() as usize as PhysAddr
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}

type Nic = VirtIONetRaw<Memory, MmioTransport<'static>, QUEUE>;

/// The card.
pub struct Ethernet {
    nic: Nic,
    received: &'static mut [[u8; BUFFER]; QUEUE],
    /// Which token of the queue each buffer of `received` has.
    tokens: [u16; QUEUE],
    transmit: &'static mut [u8; BUFFER],
}

impl Ethernet {
    /// The first network card, if there is one.
    pub fn probe() -> Option<Self> {
        static RECEIVED: ConstStaticCell<[[u8; BUFFER]; QUEUE]> = ConstStaticCell::new([[0; BUFFER]; QUEUE]);
        static TRANSMIT: ConstStaticCell<[u8; BUFFER]> = ConstStaticCell::new([0; BUFFER]);
        for slot in 0..SLOTS {
            let header = NonNull::new((BASE + slot * STRIDE) as *mut VirtIOHeader)?;
            // SAFETY: each slot has the registers of a device, or of none, which is an error here.
            let Ok(transport) = (unsafe { MmioTransport::new(header, STRIDE) }) else { continue };
            if transport.device_type() != DeviceType::Network {
                core::mem::forget(transport);
                continue;
            }
            let mut nic = Nic::new(transport).ok()?;
            let received = RECEIVED.take();
            let mut tokens = [0; QUEUE];
            for (buffer, token) in received.iter_mut().zip(&mut tokens) {
                // SAFETY: the buffer is static, and not touched before it comes back.
                *token = unsafe { nic.receive_begin(buffer) }.ok()?;
            }
            nic.enable_interrupts();
            crate::board::enable_interrupt(slot + 1);
            return Some(Self { nic, received, tokens, transmit: TRANSMIT.take() });
        }
        None
    }
}

/// A frame that was received.
pub struct Received<'d> {
    nic: *mut Nic,
    buffer: &'d mut [u8; BUFFER],
    token: &'d mut u16,
    header: usize,
    len: usize,
}

/// Room for a frame.
pub struct Transmit<'d> {
    nic: *mut Nic,
    buffer: &'d mut [u8; BUFFER],
}

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, take: F) -> R {
        let result = take(&mut self.buffer[self.header..self.header + self.len]);
        // SAFETY: both tokens of a call borrow from the same card, and one of them is used at a time; the buffer is static.
        *self.token = unsafe { (*self.nic).receive_begin(self.buffer) }.expect("its place in the queue is free");
        result
    }
}

impl TxToken for Transmit<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, fill: F) -> R {
        let frame = &mut self.buffer[..len];
        let result = fill(frame);
        // SAFETY: as above. QEMU takes the frame at once.
        unsafe { &mut *self.nic }.send(frame).expect("QEMU takes every frame");
        result
    }
}

impl Driver for Ethernet {
    type RxToken<'d> = Received<'d>;
    type TxToken<'d> = Transmit<'d>;

    fn receive(&mut self, cx: &mut Context<'_>) -> Option<(Received<'_>, Transmit<'_>)> {
        WAKER.register(cx.waker());
        let token = self.nic.poll_receive()?;
        let index = self.tokens.iter().position(|&known| known == token)?;
        let buffer = &mut self.received[index];
        // SAFETY: it is the buffer that was given with this token.
        let (header, len) = unsafe { self.nic.receive_complete(token, buffer) }.ok()?;
        let nic: *mut Nic = &mut self.nic;
        Some((Received { nic, buffer, token: &mut self.tokens[index], header, len }, Transmit { nic, buffer: self.transmit }))
    }

    fn transmit(&mut self, cx: &mut Context<'_>) -> Option<Transmit<'_>> {
        WAKER.register(cx.waker());
        self.nic.can_send().then(|| Transmit { nic: &mut self.nic, buffer: self.transmit })
    }

    fn link_state(&mut self, _: &mut Context<'_>) -> LinkState {
        LinkState::Up
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.max_transmission_unit = MTU;
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ethernet(self.nic.mac_address())
    }
}
