//! What the program is told when it is built: the WiFi, the server, its name.

mod settings;

use holdline_proto::ClientId;
use settings::Setting;
use std::net::SocketAddrV4;

const SETTINGS: [Setting; 4] = [
    Setting {
        name: "HOLDLINE_WIFI_SSID",
        default: None,
        is_valid: |name| (1..=32).contains(&name.len()),
        what: "the name of the WiFi, 1 to 32 bytes",
    },
    Setting {
        name: "HOLDLINE_WIFI_PASSWORD",
        default: None,
        is_valid: |password| password.is_empty() || (8..=63).contains(&password.len()),
        what: "its WPA2 password, 8 to 63 bytes, or nothing (HOLDLINE_WIFI_PASSWORD=) for an open network",
    },
    Setting {
        name: "HOLDLINE_SERVER",
        default: None,
        is_valid: |server| server.parse::<SocketAddrV4>().is_ok_and(|server| server.port() != 0),
        what: "the server's IPv4 address and port, such as 192.168.1.10:8123",
    },
    Setting {
        name: "HOLDLINE_ID",
        default: Some("esp32c3"),
        is_valid: |id| ClientId::new(id).is_ok(),
        what: "the name of this device at the server, 1 to 64 printable ASCII characters without space and '='",
    },
];

fn main() {
    settings::settle(&SETTINGS);
}
