//! Where the session is kept: the partition `nvs` of the flash, which every usual partition table has and nothing else here writes to.

use embassy_embedded_hal::adapter::BlockingAsync;
use esp_bootloader_esp_idf::partitions::{DataPartitionSubType, PARTITION_TABLE_MAX_LEN, PartitionType, read_partition_table};
use esp_hal::peripherals::FLASH;
use esp_storage::FlashStorage;
use holdline_esp::FlashStore;

/// The longest record, in bytes: 33 of them and a page fit the 24 KiB that the partition usually has.
pub const RECORD: usize = 532;

/// The session's store.
pub type Store = FlashStore<BlockingAsync<FlashStorage<'static>>, RECORD>;

/// The store in the partition; why there is none otherwise.
pub fn open(flash: FLASH<'static>) -> Result<Store, &'static str> {
    let mut flash = FlashStorage::new(flash);
    let mut table = [0; PARTITION_TABLE_MAX_LEN];
    let table = read_partition_table(&mut flash, &mut table).map_err(|_| "the flash has no partition table")?;
    let nvs = table.find_partition(PartitionType::Data(DataPartitionSubType::Nvs)).ok().flatten();
    let nvs = nvs.ok_or("the partition table has no partition for data of the type nvs")?;
    let range = nvs.offset()..nvs.offset() + nvs.len();
    FlashStore::new(BlockingAsync::new(flash), range).map_err(|_| "the partition nvs is not of two whole pages at least")
}
