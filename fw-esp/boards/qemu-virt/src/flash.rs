//! The machine's first flash bank as NOR flash: two 16-bit chips side by side with Intel's commands.

use embedded_storage_async::nor_flash::{ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};

const BASE: usize = 0x2000_0000;
const BANK: usize = 32 << 20;
const SECTOR: usize = 256 << 10;

// The same command to both chips.
const WRITE: u32 = 0x0040_0040;
const ERASE: u32 = 0x0020_0020;
const CONFIRM: u32 = 0x00d0_00d0;
const CLEAR_STATUS: u32 = 0x0050_0050;
const READ: u32 = 0x00ff_00ff;
const READY: u32 = 0x0080_0080;
/// Bits of the status that tell of a failure, in either chip.
const FAILED: u32 = 0x003a_003a;

/// The bank, which QEMU keeps in a file (`-drive if=pflash,unit=0,format=raw,file=…`, 32 MiB). The machine starts at its beginning: the first
/// sector is not for data.
pub struct Flash;

/// The flash did not do what it was told, or was told something impossible.
#[derive(Debug)]
pub struct Failed(NorFlashErrorKind);

impl NorFlashError for Failed {
    fn kind(&self) -> NorFlashErrorKind {
        self.0
    }
}

impl Flash {
    fn at(offset: usize) -> *mut u32 {
        (BASE + offset) as *mut u32
    }

    fn check(offset: u32, len: usize, unit: usize) -> Result<usize, Failed> {
        let at = offset as usize;
        if at % unit != 0 || len % unit != 0 {
            return Err(Failed(NorFlashErrorKind::NotAligned));
        }
        if at + len > BANK {
            return Err(Failed(NorFlashErrorKind::OutOfBounds));
        }
        Ok(at)
    }

    /// Gives a command of two words, waits for its end, and returns to reading.
    fn command(at: *mut u32, first: u32, second: u32) -> Result<(), Failed> {
        // SAFETY: the place was checked to be in the bank, and nothing but this type touches it.
        unsafe {
            at.write_volatile(first);
            at.write_volatile(second);
            let mut status = at.read_volatile();
            while status & READY != READY {
                status = at.read_volatile();
            }
            at.write_volatile(CLEAR_STATUS);
            at.write_volatile(READ);
            if status & FAILED == 0 { Ok(()) } else { Err(Failed(NorFlashErrorKind::Other)) }
        }
    }
}

impl ErrorType for Flash {
    type Error = Failed;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 4;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Failed> {
        let at = Self::check(offset, bytes.len(), Self::READ_SIZE)?;
        for (index, word) in bytes.chunks_exact_mut(4).enumerate() {
            // SAFETY: as in `command`.
            word.copy_from_slice(&unsafe { Self::at(at + 4 * index).read_volatile() }.to_le_bytes());
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        BANK
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = SECTOR;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), Failed> {
        let start = Self::check(from, (to - from) as usize, SECTOR)?;
        (start..to as usize).step_by(SECTOR).try_for_each(|at| Self::command(Self::at(at), ERASE, CONFIRM))
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Failed> {
        let at = Self::check(offset, bytes.len(), Self::WRITE_SIZE)?;
        bytes.chunks_exact(4).enumerate().try_for_each(|(index, word)| {
            let word = word.try_into().map_or(u32::MAX, u32::from_le_bytes);
            Self::command(Self::at(at + 4 * index), WRITE, word)
        })
    }
}
