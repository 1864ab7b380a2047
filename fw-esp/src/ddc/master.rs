//! The side that asks: a host.

use super::pipe::Pipe;
use super::{COUNT, DdcReader, DdcWriter, NOTHING};
use crate::transport::Clock;
use core::cell::Cell;
use core::convert::Infallible;
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;
use embedded_hal_async::i2c::{Error, ErrorKind, I2c, NoAcknowledgeSource};

/// The largest bound of a transaction, in bytes.
const TRANSACTION_MAX: usize = 128;
/// The bytes of a count.
const HEAD: usize = 2;

/// A stream of bytes in both directions to a target at one address of an I2C bus.
///
/// [`DdcMaster::run`] owns the transactions, all of them; reader and writer only meet it at its buffers. So a `read` or `write`
/// that is dropped breaks off no transaction, and loses nothing. At most `IN` bytes wait for the reader, and `OUT` for the bus.
/// All three run on one executor.
///
/// ```
/// # use holdline_esp::{Clock, DdcMaster};
/// # use embedded_hal_async::i2c::I2c;
/// # use embedded_io_async::{Read, Write};
/// async fn pump(master: &DdcMaster, mut bus: impl I2c, clock: impl Clock) {
///     master.run(&mut bus, &clock).await;
/// }
///
/// async fn greet(master: &DdcMaster) {
///     let (mut reader, mut writer) = master.split();
///     let _ = writer.write_all(b"hello\n").await;
///     let mut buffer = [0; 64];
///     let _ = reader.read(&mut buffer).await;
/// }
/// # let _ = DdcMaster::<256, 256>::new(0x42).interval_ms(10).transaction(64);
/// ```
#[derive(Debug)]
pub struct DdcMaster<const IN: usize = 256, const OUT: usize = 256> {
    address: u8,
    interval_ms: u32,
    transaction: usize,
    incoming: Pipe<IN>,
    outgoing: Pipe<OUT>,
    errors: Cell<u32>,
}

impl<const IN: usize, const OUT: usize> DdcMaster<IN, OUT> {
    /// Streams to the target with this 7-bit address.
    pub const fn new(address: u8) -> Self {
        Self { address, interval_ms: 5, transaction: 32, incoming: Pipe::new(), outgoing: Pipe::new(), errors: Cell::new(0) }
    }

    /// How often the target is asked whether it has something to say, in milliseconds. Default: 5.
    ///
    /// While it has, it is asked again at once; and what is written goes out at once.
    #[must_use]
    pub const fn interval_ms(mut self, ms: u32) -> Self {
        self.interval_ms = ms;
        self
    }

    /// The longest run of bytes in one direction, in bytes: what the FIFOs of both controllers hold. Default: 32. Range: 4 to
    /// 128.
    #[must_use]
    pub const fn transaction(mut self, bytes: usize) -> Self {
        self.transaction = if bytes < 4 {
            4
        } else if bytes > TRANSACTION_MAX {
            TRANSACTION_MAX
        } else {
            bytes
        };
        self
    }

    /// What the target says, and what it is to hear. Once: a second pair would share its bytes with the first.
    pub fn split(&self) -> (DdcReader<'_, IN>, DdcWriter<'_, OUT>) {
        (DdcReader(&self.incoming), DdcWriter(&self.outgoing))
    }

    /// How many transactions failed since the start.
    pub fn errors(&self) -> u32 {
        self.errors.get()
    }

    /// Moves the bytes, for ever.
    ///
    /// A transaction that fails is no end of the stream: the target may be starting again. The next follows when its time has
    /// come. A target that was not there (no acknowledgement of the address, or of a kind that the driver does not tell) has
    /// taken nothing, and the same bytes are sent again. Where a transaction fails later it is unknown how many bytes have
    /// passed. They are given up, never said twice: what runs over this has to notice that some are missing, as Holdline's
    /// lines do with `check`.
    ///
    /// If this is dropped in the middle of a transaction, the bytes of that one may be lost or said twice.
    pub async fn run<B: I2c, T: Clock>(&self, bus: &mut B, clock: &T) -> Infallible {
        let mut buffer = [0; TRANSACTION_MAX];
        // What the target has to say, as far as is known.
        let mut waiting = 0;
        loop {
            let next = clock.now().plus(self.interval_ms);
            if self.say(bus, &mut buffer).await.is_err() {
                clock.wait_until(next).await;
                continue;
            }
            match self.hear(bus, &mut buffer, waiting).await {
                Ok(left) => waiting = left,
                Err(_) => {
                    waiting = 0;
                    clock.wait_until(next).await;
                    continue;
                }
            }
            let mut timer = pin!(clock.wait_until(next));
            poll_fn(|cx| {
                let is_due = self.outgoing.poll_some(cx).is_ready()
                    || (waiting > 0 && self.incoming.poll_room(1, cx).is_ready())
                    || timer.as_mut().poll(cx).is_ready();
                if is_due { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        }
    }

    /// Sends what is written, or a part.
    async fn say<B: I2c>(&self, bus: &mut B, buffer: &mut [u8; TRANSACTION_MAX]) -> Result<(), B::Error> {
        let count = self.outgoing.copy(buffer.get_mut(..self.transaction).unwrap_or_default());
        if count == 0 {
            return Ok(());
        }
        if count == 1 {
            buffer[1] = NOTHING;
        }
        let said = bus.write(self.address, buffer.get(..count.max(2)).unwrap_or_default()).await;
        match &said {
            Err(error) if is_untouched(error) => {}
            _ => self.outgoing.skip(count),
        }
        self.counted(said)
    }

    /// Fetches of the `waiting` bytes what finds room, and returns how many wait after that.
    async fn hear<B: I2c>(&self, bus: &mut B, buffer: &mut [u8; TRANSACTION_MAX], waiting: usize) -> Result<usize, B::Error> {
        let wanted = waiting.min(self.incoming.room()).min(self.transaction - HEAD);
        let answer = buffer.get_mut(..HEAD + wanted).unwrap_or_default();
        let heard = bus.write_read(self.address, &[COUNT], answer).await;
        self.counted(heard)?;
        let [high, low, stream @ ..] = &*answer else { return Ok(0) };
        self.incoming.push(stream);
        // A count that nothing stands behind is a mistake of the bus.
        if wanted > 0 && stream.iter().all(|&byte| byte == NOTHING) {
            return Ok(0);
        }
        Ok(usize::from(u16::from_be_bytes([*high, *low])).saturating_sub(wanted))
    }

    fn counted<V, E>(&self, result: Result<V, E>) -> Result<V, E> {
        if result.is_err() {
            self.errors.set(self.errors.get().saturating_add(1));
        }
        result
    }
}

/// Whether the target has seen nothing of a transaction that failed so.
fn is_untouched(error: &impl Error) -> bool {
    matches!(error.kind(), ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address | NoAcknowledgeSource::Unknown))
}
