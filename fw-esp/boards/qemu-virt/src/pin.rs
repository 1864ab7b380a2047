//! The relay's reset pin. The machine has no pins: each change is a line of the log, for whoever acts for the wire.

use crate::log::Log;
use core::convert::Infallible;
use core::fmt::Write;
use embedded_hal::digital::{ErrorType, OutputPin};

/// Resets the relay while it is low.
pub struct ResetPin {
    is_high: bool,
}

impl ResetPin {
    /// The pin, high.
    pub fn new() -> Self {
        let mut pin = Self { is_high: false };
        pin.set(true);
        pin
    }

    fn set(&mut self, is_high: bool) {
        if self.is_high != is_high {
            self.is_high = is_high;
            let _ = writeln!(Log, "reset pin {}", if is_high { "high" } else { "low" });
        }
    }
}

impl Default for ResetPin {
    fn default() -> Self {
        Self::new()
    }
}

impl ErrorType for ResetPin {
    type Error = Infallible;
}

impl OutputPin for ResetPin {
    fn set_low(&mut self) -> Result<(), Infallible> {
        self.set(false);
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        self.set(true);
        Ok(())
    }
}
