//! What the relay is told when it is built: its pins, and the speed or the address of its wire.

#[path = "../esp32c3/settings.rs"]
mod settings;

use settings::Setting;

/// Not the flash's (11 to 17) and not those of the USB, where the log goes (18, 19).
const PIN: &str = "a GPIO: 0 to 10, 20 or 21";

const SETTINGS: [Setting; 9] = [
    pin("HOLDLINE_WIRE_RX", "6"),
    pin("HOLDLINE_WIRE_TX", "7"),
    Setting {
        name: "HOLDLINE_WIRE_CTS",
        default: Some(""),
        is_valid: is_pin_or_none,
        what: "a GPIO: 0 to 10, 20 or 21, or nothing",
    },
    Setting {
        name: "HOLDLINE_WIRE_RTS",
        default: Some(""),
        is_valid: is_pin_or_none,
        what: "a GPIO: 0 to 10, 20 or 21, or nothing",
    },
    Setting {
        name: "HOLDLINE_WIRE_BAUD",
        default: Some("115200"),
        is_valid: |baud| baud.parse().is_ok_and(|baud: u32| (1_200..=5_000_000).contains(&baud)),
        what: "the speed of the UART, 1200 to 5000000 baud",
    },
    pin("HOLDLINE_WIRE_SDA", "6"),
    pin("HOLDLINE_WIRE_SCL", "7"),
    Setting {
        name: "HOLDLINE_WIRE_ADDRESS",
        default: Some("66"),
        is_valid: |address| address.parse().is_ok_and(|address: u8| (0x08..=0x77).contains(&address)),
        what: "the relay's 7-bit address on the I2C bus, in decimal, 8 to 119",
    },
    pin("HOLDLINE_LIGHT", "8"),
];

const fn pin(name: &'static str, default: &'static str) -> Setting {
    Setting { name, default: Some(default), is_valid: is_pin, what: PIN }
}

fn is_pin(pin: &str) -> bool {
    pin.parse().is_ok_and(|pin: u8| matches!(pin, 0..=10 | 20 | 21))
}

fn is_pin_or_none(pin: &str) -> bool {
    pin.is_empty() || is_pin(pin)
}

fn main() {
    settings::settle(&SETTINGS);
    let is_i2c = std::env::var_os("CARGO_FEATURE_I2C").is_some();
    let used: &[&str] = if is_i2c {
        &["HOLDLINE_WIRE_SDA", "HOLDLINE_WIRE_SCL", "HOLDLINE_LIGHT"]
    } else {
        &["HOLDLINE_WIRE_RX", "HOLDLINE_WIRE_TX", "HOLDLINE_WIRE_CTS", "HOLDLINE_WIRE_RTS", "HOLDLINE_LIGHT"]
    };
    let mut pins: Vec<(u8, &str)> = SETTINGS
        .iter()
        .filter(|setting| used.contains(&setting.name))
        .filter_map(|setting| Some((setting.value()?.parse().ok()?, setting.name)))
        .collect();
    pins.sort_unstable();
    for pair in pins.windows(2) {
        if pair[0].0 == pair[1].0 {
            println!("cargo::error={} and {} are the same pin, {}", pair[0].1, pair[1].1, pair[0].0);
        }
    }
}
