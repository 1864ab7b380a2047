//! The WiFi that the host names.

use crate::wifi;
use defmt::{info, warn};
use holdline_esp::{Configure, JoinFailed, Network, Settings};

/// A WiFi, once the host has said which.
pub struct Wifi {
    wifi: wifi::Wifi,
    /// Whether the driver took name and password.
    is_chosen: bool,
}

impl Wifi {
    /// None so far.
    pub fn new(wifi: wifi::Wifi) -> Self {
        Self { wifi, is_chosen: false }
    }
}

impl Configure for Wifi {
    fn configure(&mut self, settings: &Settings<'_>) {
        let chosen = wifi::choose(&mut self.wifi.radio, settings.ssid, settings.password);
        match chosen {
            Ok(()) => info!("the host's WiFi is \"{}\"", settings.ssid),
            Err(error) => warn!("the host's WiFi \"{}\" cannot be: {}", settings.ssid, error),
        }
        self.is_chosen = chosen.is_ok();
    }
}

impl Network for Wifi {
    async fn join(&mut self) -> Result<(), JoinFailed> {
        if self.is_chosen { self.wifi.join().await } else { Err(JoinFailed) }
    }

    async fn leave(&mut self) {
        self.wifi.leave().await;
    }

    fn is_up(&mut self) -> bool {
        self.wifi.is_up()
    }
}
