//! What can be seen of the relay from outside: a light, and a restart when it is stuck.

use crate::watchdog;
use esp_hal::gpio::Output;
use esp_hal::peripherals::TIMG1;
use esp_hal::timer::timg::Wdt;
use holdline_esp::{Heartbeat, RelayHooks};

/// How long the relay may be silent before the chip is reset, in milliseconds. The host may have pulled its reset before.
const STUCK_MS: u64 = 5_000;

/// The light and the chip's watchdog.
pub struct Signs {
    light: Heartbeat<Output<'static>>,
    watchdog: Wdt<TIMG1<'static>>,
}

impl Signs {
    /// Starts the watchdog.
    pub fn new(light: Output<'static>, timers: TIMG1<'static>) -> Self {
        Self { light: Heartbeat::new(light), watchdog: watchdog::start(timers, STUCK_MS) }
    }
}

impl RelayHooks for Signs {
    fn feed(&mut self) {
        self.watchdog.feed();
    }

    fn keepalive(&mut self) {
        self.light.toggle();
    }

    /// Of what the WiFi driver allocates from.
    fn free_memory(&mut self) -> Option<u32> {
        u32::try_from(esp_alloc::HEAP.free()).ok()
    }
}
