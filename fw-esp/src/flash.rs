//! A store in NOR flash, by `sequential-storage`.

use crate::store::{Store, StoreFailed};
use core::fmt;
use core::ops::Range;
use embedded_storage_async::nor_flash::NorFlash;
use sequential_storage::cache::{Cache, Uncached};
use sequential_storage::map::{MapConfig, MapStorage};

/// Records in a range of NOR flash: safe against loss of power at any moment, wear spread over all pages.
///
/// `RECORD` is the longest record in bytes, a multiple of the flash's word: the longest text, 19 more, rounded up; 52 at least. The
/// range must hold 33 such records and a page more. Every message sent, every acknowledgement and every accepted message writes one: a page
/// of 4 KiB that is good for 100,000 erasures takes some 5 million of 64 bytes.
pub struct FlashStore<F: NorFlash, const RECORD: usize = 128> {
    map: MapStorage<u8, F, Cache<Uncached, Uncached, Uncached, u8>>,
    scratch: [u8; RECORD],
}

impl<F: NorFlash, const RECORD: usize> FlashStore<F, RECORD> {
    /// A store in this range of the flash, which nothing else writes to.
    ///
    /// # Errors
    /// The range is not one of at least two whole pages.
    pub fn new(flash: F, range: Range<u32>) -> Result<Self, StoreFailed> {
        let config = MapConfig::try_new(range).map_err(|_| StoreFailed)?;
        Ok(Self { map: MapStorage::new(flash, config, Cache::new_uncached()), scratch: [0; RECORD] })
    }

    /// Forgets everything: the next start begins a new session.
    ///
    /// # Errors
    /// The flash cannot be erased.
    pub async fn erase(&mut self) -> Result<(), StoreFailed> {
        self.map.erase_all().await.map_err(|_| StoreFailed)
    }

    /// Gives the flash back.
    pub fn into_flash(self) -> F {
        self.map.destroy().0
    }
}

impl<F: NorFlash, const RECORD: usize> fmt::Debug for FlashStore<F, RECORD> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlashStore").finish_non_exhaustive()
    }
}

impl<F: NorFlash, const RECORD: usize> Store for FlashStore<F, RECORD> {
    async fn load(&mut self, number: u8, into: &mut [u8]) -> Result<Option<usize>, StoreFailed> {
        let record: Option<&[u8]> = self.map.fetch_item(&mut self.scratch, &number).await.map_err(|_| StoreFailed)?;
        let Some(record) = record else { return Ok(None) };
        into.get_mut(..record.len()).ok_or(StoreFailed)?.copy_from_slice(record);
        Ok(Some(record.len()))
    }

    async fn save(&mut self, number: u8, record: &[u8]) -> Result<(), StoreFailed> {
        self.map.store_item(&mut self.scratch, &number, &record).await.map_err(|_| StoreFailed)
    }
}
