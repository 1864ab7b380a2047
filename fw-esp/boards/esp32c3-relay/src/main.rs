//! A relay: copies the bytes of a Holdline session between a host's wire and a connection to the server, over WiFi.
//!
//! The host says which network, which server, and when. The relay knows nothing by itself, and keeps nothing.
#![no_std]
#![no_main]

mod network;
mod server;
mod signs;
#[path = "../../qemu-virt/src/tcp.rs"]
mod tcp;
#[path = "../../esp32c3/src/watchdog.rs"]
mod watchdog;
#[path = "../../esp32c3/src/wifi.rs"]
mod wifi;
#[cfg_attr(feature = "i2c", path = "i2c.rs")]
#[cfg_attr(not(feature = "i2c"), path = "uart.rs")]
mod wire;

use defmt::{error, info};
use embassy_executor::Spawner;
use embassy_net::{Runner, StackResources};
// The log goes out where the chip is flashed, and what panics says so there.
use esp_backtrace as _;
use esp_println as _;

use esp_hal::clock::CpuClock;
use esp_hal::gpio::{AnyPin, Level, Output, OutputConfig};
use esp_hal::rng::{Trng, TrngSource};
use esp_hal::timer::timg::TimerGroup;
use esp_radio::wifi::{Interface, WifiController};
use holdline_esp::{EmbassyClock, Relay, RelayBoard};
use signs::Signs;
use static_cell::StaticCell;

esp_bootloader_esp_idf::esp_app_desc!();

/// What the WiFi driver allocates from, in bytes. The relay does not.
const RADIO_HEAP: usize = 72 * 1024;

/// All that the relay needs of this chip.
type Chip = RelayBoard<wire::Reader, wire::Writer, network::Wifi, server::Server, EmbassyClock, Signs>;

#[embassy_executor::task]
async fn run_network(mut runner: Runner<'static, Interface>) -> ! {
    runner.run().await
}

#[embassy_executor::task]
async fn relay(mut chip: Chip) {
    let mut relay: Relay = Relay::new();
    relay.run(&mut chip).await;
    // No wire of this chip ends. The watchdog does what is left to do.
    error!("the wire has ended");
}

/// The pin with this number, one of those that the build has checked.
fn pin(number: &str) -> AnyPin<'static> {
    // SAFETY: the build has checked that it is a pin of no other use, and that each is named once; nothing else here takes pins.
    unsafe { AnyPin::steal(number.parse().expect("the build has checked it")) }
}

#[esp_rtos::main]
async fn main(spawner: Spawner) {
    // The stack's own two, the question for a name's address, and the connection.
    static RESOURCES: StaticCell<StackResources<4>> = StaticCell::new();

    let chip = esp_hal::init(esp_hal::Config::default().with_cpu_clock(CpuClock::max()));
    esp_alloc::heap_allocator!(size: RADIO_HEAP);
    esp_rtos::start(TimerGroup::new(chip.TIMG0).timer0, chip.FROM_CPU_INTR0);

    let noise = TrngSource::new(chip.RNG, chip.ADC1);
    let (boot, seed) = {
        let random = Trng::try_new().expect("its source is on");
        (random.random(), u64::from(random.random()) << 32 | u64::from(random.random()))
    };
    drop(noise);
    info!("relay, boot {:08x}, {}", boot, wire::NAME);

    let radio = WifiController::new(chip.WIFI, Default::default()).expect("its configuration is the default");
    let dhcp = embassy_net::Config::dhcpv4(Default::default());
    let (stack, runner) = embassy_net::new(Interface::station(), dhcp, RESOURCES.init(StackResources::new()), seed);
    #[cfg(feature = "i2c")]
    let (reader, writer) = wire::open(spawner, chip.I2C0);
    #[cfg(not(feature = "i2c"))]
    let (reader, writer) = wire::open(chip.UART1);
    let light = Output::new(pin(env!("HOLDLINE_LIGHT")), Level::High, OutputConfig::default());
    let board = RelayBoard {
        reader,
        writer,
        network: network::Wifi::new(wifi::Wifi::new(radio, stack)),
        connector: server::Server::new(stack),
        clock: EmbassyClock,
        boot,
        hooks: Signs::new(light, chip.TIMG1),
    };
    spawner.spawn(run_network(runner).expect("it is spawned once"));
    spawner.spawn(relay(board).expect("it is spawned once"));
}
