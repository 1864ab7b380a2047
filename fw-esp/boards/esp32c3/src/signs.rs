//! What can be seen of the client from outside: a light, a log, and a restart when it is stuck.

use crate::watchdog;
use core::ops::ControlFlow;
use defmt::{error, info};
use esp_hal::gpio::Output;
use esp_hal::peripherals::TIMG1;
use esp_hal::timer::timg::Wdt;
use holdline_esp::{Heartbeat, Hooks};

/// How long the client may be silent before the chip is reset, in milliseconds.
const STUCK_MS: u64 = 10_000;

/// The light, the log and the chip's watchdog.
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

impl Hooks for Signs {
    const FEED_MS: u32 = 2_000;

    fn connection(&mut self, up: bool) {
        info!("link {}", if up { "up" } else { "down" });
    }

    fn heartbeat(&mut self) {
        self.light.toggle();
    }

    fn feed(&mut self) {
        self.watchdog.feed();
    }

    /// Goes on: the network may only be late.
    fn bad_wifi(&mut self) -> ControlFlow<()> {
        error!("WiFi \"{}\" cannot be joined: is it in reach, is the password right? Trying on.", crate::WIFI_SSID);
        ControlFlow::Continue(())
    }

    /// Goes on: the server may only be late.
    fn bad_server(&mut self) -> ControlFlow<()> {
        error!("no server answers at {}: is it running, is the address right? Trying on.", crate::SERVER);
        ControlFlow::Continue(())
    }
}
