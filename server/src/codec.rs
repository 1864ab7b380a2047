//! Lines as frames, for those who want to look at the wire with tokio-util's tools.

use bytes::{Buf, BufMut, BytesMut};
use std::io;
use tokio_util::codec::{Decoder, Encoder};

/// Splits a byte stream into lines, without their LF, and joins them again. CR is an ordinary byte; an unterminated line at the end
/// of the stream is dropped.
///
/// The driver does not use it: it lends lines from one read buffer. It is for tools and tests beside it.
#[derive(Clone, Copy, Debug)]
pub struct LineCodec {
    max: usize,
    /// How far the buffer has been searched.
    searched: usize,
}

impl LineCodec {
    /// Lines of at most `max` bytes without their LF.
    pub const fn new(max: usize) -> Self {
        Self { max, searched: 0 }
    }
}

impl Decoder for LineCodec {
    type Item = BytesMut;
    type Error = io::Error;

    fn decode(&mut self, source: &mut BytesMut) -> io::Result<Option<BytesMut>> {
        // HL-0001
        let end = source.iter().skip(self.searched).position(|&byte| byte == b'\n').map(|at| self.searched + at);
        if end.unwrap_or(source.len()) > self.max {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a line longer than {} bytes", self.max)));
        }
        self.searched = if end.is_some() { 0 } else { source.len() };
        Ok(end.map(|end| {
            let line = source.split_to(end);
            source.advance(1);
            line
        }))
    }

    fn decode_eof(&mut self, source: &mut BytesMut) -> io::Result<Option<BytesMut>> {
        let line = self.decode(source)?;
        if line.is_none() {
            // HL-0003
            source.clear();
        }
        Ok(line)
    }
}

impl Encoder<&[u8]> for LineCodec {
    type Error = io::Error;

    fn encode(&mut self, line: &[u8], target: &mut BytesMut) -> io::Result<()> {
        if line.contains(&b'\n') || line.len() > self.max {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not one line, or too long"));
        }
        target.reserve(line.len() + 1);
        target.put_slice(line);
        target.put_u8(b'\n');
        Ok(())
    }
}
