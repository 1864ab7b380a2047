//! The chip's WiFi as a network that the client joins and leaves.

use crate::tcp::Dhcp;
use defmt::{info, warn};
use embassy_net::Stack;
use esp_radio::wifi::sta::StationConfig;
use esp_radio::wifi::{AuthenticationMethodConfig, Config, WifiController, WifiError};
use holdline_esp::{JoinFailed, Network};

/// Which network the radio joins from now on.
///
/// # Errors
/// The driver takes no such name or password.
pub fn choose(radio: &mut WifiController<'_>, name: &str, password: &str) -> Result<(), WifiError> {
    let authentication = match password {
        "" => AuthenticationMethodConfig::Open,
        password => AuthenticationMethodConfig::Wpa2Personal(password.try_into()?),
    };
    let station = StationConfig::default().with_ssid(name.try_into()?).with_authentication(authentication);
    radio.set_config(&Config::Station(station))
}

/// The network of a radio, and the address that it gives.
pub struct Wifi {
    /// Joined to what it was told by [`choose`].
    pub radio: WifiController<'static>,
    address: Dhcp,
}

impl Wifi {
    /// The network of this radio, of which this is the stack.
    pub fn new(radio: WifiController<'static>, stack: Stack<'static>) -> Self {
        Self { radio, address: Dhcp(stack) }
    }
}

impl Network for Wifi {
    async fn join(&mut self) -> Result<(), JoinFailed> {
        if !self.radio.is_connected() {
            // An attempt that was given up may still be under way in the driver.
            self.leave().await;
            if let Err(error) = self.radio.connect_async().await {
                warn!("WiFi not joined: {}", error);
                return Err(JoinFailed);
            }
        }
        self.address.join().await?;
        info!("WiFi joined, address {}", self.address.0.config_v4().map(|config| config.address));
        Ok(())
    }

    async fn leave(&mut self) {
        // Its only error: there is nothing to leave.
        let _ = self.radio.disconnect_async().await;
    }

    fn is_up(&mut self) -> bool {
        self.radio.is_connected() && self.address.is_up()
    }
}
