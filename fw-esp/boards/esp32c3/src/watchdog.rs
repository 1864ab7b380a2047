//! The watchdog of the second timer group.

use esp_hal::peripherals::TIMG1;
use esp_hal::time::Duration;
use esp_hal::timer::timg::{MwdtStage, TimerGroup, Wdt};

/// Starts it: the chip is reset when it was not fed for `ms` milliseconds.
pub fn start(timers: TIMG1<'static>, ms: u64) -> Wdt<TIMG1<'static>> {
    let mut watchdog = TimerGroup::new(timers).wdt;
    watchdog.set_timeout(MwdtStage::Stage0, Duration::from_millis(ms));
    watchdog.enable();
    watchdog.feed();
    watchdog
}
