//! Streams of bytes over I2C, by the register convention of u-blox' DDC port.
//!
//! I2C has a master, which says when something passes, and targets, which answer. The convention makes streams in both
//! directions of that. A target has three registers, and an address pointer:
//!
//! | register | read |
//! |---|---|
//! | 0xFD, 0xFE | how many bytes the target has to say, high byte first |
//! | 0xFF | the next of them; 0xFF where there is none |
//!
//! A write of one byte sets the pointer. A byte read steps it on, up to 0xFF, where it stays, as it is at the start. A write of
//! two bytes or more is data, and no register's: so one byte of data is padded.
//!
//! What is read at 0xFF can be nothing. So 0xFF is never data here: [`DdcWriter`] leaves it out, both ends skip it, and pad
//! with it. UTF-8 does without that byte, and so does all that a relay's wire carries.
//!
//! From: u-blox 8 / M8 Receiver description (UBX-13003221), "DDC port", which the NEO-D9S Integration manual (UBX-19026111)
//! words more clearly: "Register layout", "Read access types", "Write access". They leave open what the registers below 0xFD
//! are, here 0xFF, and what happens to a count between its two bytes, here nothing.

mod master;
mod pipe;
mod target;

use core::convert::Infallible;
use core::future::poll_fn;
use embedded_io_async::{ErrorType, Read, Write};
pub use master::DdcMaster;
use pipe::Pipe;
pub use target::DdcTarget;

/// The register of the count's high byte; the low one's is the next.
const COUNT: u8 = 0xFD;
/// The register of the stream.
const STREAM: u8 = 0xFF;
/// What is no data.
const NOTHING: u8 = 0xFF;

/// What the other end of the bus has said.
///
/// It never ends and never fails: that the other end is silent is for what runs over it to notice. A `read` may be dropped, and
/// takes nothing then.
#[derive(Debug)]
pub struct DdcReader<'d, const N: usize>(&'d Pipe<N>);

/// What the other end of the bus is to hear.
///
/// `write` waits for room, `flush` until the other end has it all, which it never may. Both may be dropped, and nothing is
/// written by a `write` that was. 0xFF is left out.
#[derive(Debug)]
pub struct DdcWriter<'d, const N: usize>(&'d Pipe<N>);

impl<const N: usize> ErrorType for DdcReader<'_, N> {
    type Error = Infallible;
}

impl<const N: usize> ErrorType for DdcWriter<'_, N> {
    type Error = Infallible;
}

impl<const N: usize> Read for DdcReader<'_, N> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        if buffer.is_empty() {
            return Ok(0);
        }
        poll_fn(|cx| self.0.poll_some(cx)).await;
        let count = self.0.copy(buffer);
        self.0.skip(count);
        Ok(count)
    }
}

impl<const N: usize> Write for DdcWriter<'_, N> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        if bytes.is_empty() {
            return Ok(0);
        }
        poll_fn(|cx| self.0.poll_room(1, cx)).await;
        Ok(self.0.push(bytes))
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        poll_fn(|cx| self.0.poll_room(N, cx)).await;
        Ok(())
    }
}
