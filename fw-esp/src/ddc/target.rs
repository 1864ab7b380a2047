//! The side that answers: a relay.

use super::pipe::Pipe;
use super::{COUNT, DdcReader, DdcWriter, NOTHING, STREAM};
use core::cell::Cell;

/// The target's registers and streams, without the bus: the driver of a chip's I2C target tells what the master wrote, and asks
/// what it reads.
///
/// At most `IN` bytes wait for the reader, and `OUT` for the master. Driver, reader and writer run on one executor.
///
/// ```
/// # use holdline_esp::DdcTarget;
/// # use embedded_io_async::Write;
/// let target: DdcTarget = DdcTarget::new();
/// let (_reader, mut writer) = target.split();
/// # futures_now(async {
/// writer.write(b"hi").await.unwrap();
/// # });
/// target.handle_write(&[0xFD]); // the master wants to know how much there is
/// let mut answer = [0; 8];
/// target.prepare_read(&mut answer);
/// assert_eq!(answer, [0, 2, b'h', b'i', 0xFF, 0xFF, 0xFF, 0xFF]);
/// target.handle_read(3); // it read count and "h", and stopped
/// # fn futures_now(future: impl Future<Output = ()>) {
/// #     let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
/// #     assert!(std::pin::pin!(future).poll(&mut cx).is_ready());
/// # }
/// ```
#[derive(Debug)]
pub struct DdcTarget<const IN: usize = 256, const OUT: usize = 256> {
    incoming: Pipe<IN>,
    outgoing: Pipe<OUT>,
    pointer: Cell<u8>,
    /// The low byte that belongs to the high byte which was prepared last.
    prepared_low: Cell<u8>,
    /// The same, once the high byte was read and the low one was not.
    low: Cell<Option<u8>>,
    /// How many bytes of the stream were prepared, and not read so far.
    offered: Cell<usize>,
    dropped: Cell<u32>,
}

impl<const IN: usize, const OUT: usize> DdcTarget<IN, OUT> {
    /// A target with nothing to say.
    pub const fn new() -> Self {
        Self {
            incoming: Pipe::new(),
            outgoing: Pipe::new(),
            pointer: Cell::new(STREAM),
            prepared_low: Cell::new(0),
            low: Cell::new(None),
            offered: Cell::new(0),
            dropped: Cell::new(0),
        }
    }

    /// What the master says, and what it is to hear. Once: a second pair would share its bytes with the first.
    pub fn split(&self) -> (DdcReader<'_, IN>, DdcWriter<'_, OUT>) {
        (DdcReader(&self.incoming), DdcWriter(&self.outgoing))
    }

    /// The master wrote these bytes in one transaction: one sets the pointer, more are data.
    ///
    /// A long transaction may be told in parts of two bytes or more. What finds no room is dropped and counted: a driver that
    /// can make the master wait does so until there is [`DdcTarget::room`].
    pub fn handle_write(&self, bytes: &[u8]) {
        match bytes {
            [] => {}
            [register] => {
                self.pointer.set(*register);
                self.low.set(None);
            }
            data => {
                let taken = self.incoming.push(data);
                let missed = data.get(taken..).unwrap_or_default().iter().filter(|&&byte| byte != NOTHING).count();
                self.dropped.set(self.dropped.get().saturating_add(u32::try_from(missed).unwrap_or(u32::MAX)));
            }
        }
    }

    /// How many bytes of data can be taken.
    pub fn room(&self) -> usize {
        self.incoming.room()
    }

    /// Waits until so many bytes of data can be taken, or as many as there ever can.
    pub async fn wait_room(&self, bytes: usize) {
        core::future::poll_fn(|cx| self.incoming.poll_room(bytes.min(IN), cx)).await;
    }

    /// How many bytes of data were dropped since the start.
    pub fn dropped(&self) -> u32 {
        self.dropped.get()
    }

    /// Fills the buffer with what a read from here on delivers. Nothing is taken until [`DdcTarget::handle_read`].
    pub fn prepare_read(&self, buffer: &mut [u8]) {
        let [high, low] = u16::try_from(self.outgoing.len()).unwrap_or(u16::MAX).to_be_bytes();
        self.prepared_low.set(low);
        let registers = self.registers_left().min(buffer.len());
        let (head, stream) = buffer.split_at_mut(registers);
        for (place, register) in head.iter_mut().zip(self.pointer.get()..) {
            *place = match register {
                COUNT => high,
                register if register == COUNT + 1 => self.low.get().unwrap_or(low),
                _ => NOTHING,
            };
        }
        stream.fill(NOTHING);
        self.offered.set(self.outgoing.copy(stream));
    }

    /// The master has read this many of the bytes prepared last, and the next read goes on behind them.
    pub fn handle_read(&self, count: usize) {
        let registers = self.registers_left().min(count);
        let before = self.pointer.get();
        let after = before.saturating_add(u8::try_from(registers).unwrap_or(u8::MAX));
        self.pointer.set(after);
        if registers > 0 {
            self.low.set((after == COUNT + 1).then_some(self.prepared_low.get()));
        }
        let taken = (count - registers).min(self.offered.get());
        self.outgoing.skip(taken);
        self.offered.set(self.offered.get() - taken);
    }

    /// How many registers are read before the stream's.
    fn registers_left(&self) -> usize {
        usize::from(STREAM - self.pointer.get())
    }
}

impl<const IN: usize, const OUT: usize> Default for DdcTarget<IN, OUT> {
    fn default() -> Self {
        Self::new()
    }
}
