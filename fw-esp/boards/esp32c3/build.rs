//! What the program is told when it is built: the WiFi, the server, its name. And the linker's scripts.

use holdline_proto::ClientId;
use std::net::SocketAddrV4;

/// A variable of the environment, how it may be left out, what is wrong with a value, and what it is.
struct Setting {
    name: &'static str,
    default: Option<&'static str>,
    is_valid: fn(&str) -> bool,
    what: &'static str,
}

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
    println!("cargo:rerun-if-changed=build.rs");
    for setting in &SETTINGS {
        println!("cargo:rerun-if-env-changed={}", setting.name);
    }
    let wrong: Vec<String> = SETTINGS.iter().filter_map(|setting| tell(setting).err()).collect();
    if !wrong.is_empty() {
        println!("cargo::error=set these in the environment, and build again:");
        for line in wrong {
            println!("cargo::error={line}");
        }
        return;
    }
    for script in ["-Tlinkall.x", "-Tdefmt.x"] {
        println!("cargo:rustc-link-arg={script}");
    }
}

/// Hands a setting on to the compiler, for `env!`.
fn tell(setting: &Setting) -> Result<(), String> {
    let Setting { name, default, is_valid, what } = setting;
    let value = std::env::var(name).ok().or(default.map(String::from));
    match value {
        Some(value) if is_valid(&value) && !value.contains('\n') => {
            println!("cargo:rustc-env={name}={value}");
            Ok(())
        }
        Some(_) => Err(format!("{name} is not what it should be: {what}")),
        None => Err(format!("{name} is missing: {what}")),
    }
}
