//! A device with WiFi that numbers its messages and answers those of the server.
//!
//! - `n NUMBER`: every five seconds, from 0 on at each start.
//! - `got TEXT`: the server's message TEXT arrived.
#![no_std]
#![no_main]

#[cfg(feature = "durable")]
mod flash;
mod signs;
#[path = "../../qemu-virt/src/tcp.rs"]
mod tcp;
mod watchdog;
mod wifi;

use core::fmt::Write;
use core::net::SocketAddrV4;
use defmt::{info, warn};
use embassy_executor::Spawner;
use embassy_net::{Runner, StackResources};
use embassy_time::Timer;
// The log goes out where the chip is flashed, and what panics says so there.
use esp_backtrace as _;
use esp_println as _;

use esp_hal::clock::CpuClock;
use esp_hal::gpio::{Level, Output, OutputConfig};
use esp_hal::rng::Rng;
use esp_hal::timer::timg::TimerGroup;
use esp_radio::wifi::{Interface, WifiController};
use holdline_esp::{Board, Buffers, Channel, Client, Config, EmbassyClock, Handle};
use signs::Signs;
use static_cell::StaticCell;

esp_bootloader_esp_idf::esp_app_desc!();

const WIFI_SSID: &str = env!("HOLDLINE_WIFI_SSID");
const WIFI_PASSWORD: &str = env!("HOLDLINE_WIFI_PASSWORD");
const SERVER: &str = env!("HOLDLINE_SERVER");
const ID: &str = env!("HOLDLINE_ID");

/// What the WiFi driver allocates from, in bytes. Holdline does not.
const RADIO_HEAP: usize = 72 * 1024;

const CONFIG: Config = Config::new().max_line(512).window(8).timeout_ms(2_000);

/// Received, unacknowledged, on its way, tasks that wait.
type Memory = Buffers<1024, 1024, 544, 4>;
type Line = Handle<'static, 'static>;

/// All that the client needs of this chip.
type Chip = Board<wifi::Wifi, tcp::Tcp, EmbassyClock, fn() -> u64, Signs>;

/// From the chip's generator, which is truly random while the radio is on.
fn random() -> u64 {
    let chip = Rng::new();
    u64::from(chip.random()) << 32 | u64::from(chip.random())
}

#[embassy_executor::task]
async fn network(mut runner: Runner<'static, Interface>) -> ! {
    runner.run().await
}

#[cfg(not(feature = "durable"))]
#[embassy_executor::task]
async fn keep_up(mut client: Client<'static, 'static>, mut chip: Chip) {
    let ended = client.run(&mut chip).await;
    warn!("the client has ended: {}", ended);
}

#[cfg(feature = "durable")]
#[embassy_executor::task]
async fn keep_up(mut client: Client<'static, 'static>, mut chip: Chip, mut store: flash::Store) {
    let ended = client.run_durable(&mut chip, &mut store).await;
    warn!("the client has ended: {}", ended);
}

#[embassy_executor::task]
async fn count(line: Line) {
    for number in 0_u64.. {
        send::<32>(line, format_args!("n {number}")).await;
        Timer::after_secs(5).await;
    }
}

#[embassy_executor::task]
async fn answer(line: Line) {
    let mut buffer = [0; 512];
    while let Ok(received) = line.recv(&mut buffer).await {
        info!("received: {}", received.text);
        send::<544>(line, format_args!("got {}", received.text)).await;
        if let Some(receipt) = received.receipt {
            line.accept(receipt);
        }
    }
}

/// Sends a text of at most this many bytes.
async fn send<const N: usize>(line: Line, text: core::fmt::Arguments<'_>) {
    let mut buffer = Text::<N>([0; N], 0);
    let _ = buffer.write_fmt(text);
    if let Err(error) = line.send(core::str::from_utf8(&buffer.0[..buffer.1]).unwrap_or_default()).await {
        warn!("not sent: {}", error);
    }
}

/// A text that is written into a buffer; a part that does not fit is left out.
struct Text<const N: usize>([u8; N], usize);

impl<const N: usize> Write for Text<N> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let place = self.0.get_mut(self.1..self.1 + text.len()).ok_or(core::fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.1 += text.len();
        Ok(())
    }
}

#[esp_rtos::main]
async fn main(spawner: Spawner) {
    static RESOURCES: StaticCell<StackResources<3>> = StaticCell::new();
    static MEMORY: StaticCell<Memory> = StaticCell::new();
    static CHANNEL: StaticCell<Channel<'static>> = StaticCell::new();

    let chip = esp_hal::init(esp_hal::Config::default().with_cpu_clock(CpuClock::max()));
    esp_alloc::heap_allocator!(size: RADIO_HEAP);
    esp_rtos::start(TimerGroup::new(chip.TIMG0).timer0, chip.FROM_CPU_INTR0);
    info!("{} for {} over WiFi \"{}\"", ID, SERVER, WIFI_SSID);

    // Before the first random number.
    let mut radio = WifiController::new(chip.WIFI, Default::default()).expect("its configuration is the default");
    wifi::choose(&mut radio, WIFI_SSID, WIFI_PASSWORD).expect("the build has checked name and password");
    let dhcp = embassy_net::Config::dhcpv4(Default::default());
    let (stack, runner) = embassy_net::new(Interface::station(), dhcp, RESOURCES.init(StackResources::new()), random());

    let memory = MEMORY.init(Memory::new());
    #[cfg(not(feature = "durable"))]
    let channel = Channel::new(ID, CONFIG, memory, random).expect("the constants fit together");
    #[cfg(feature = "durable")]
    let (channel, store) = {
        static RECORD: StaticCell<[u8; flash::RECORD]> = StaticCell::new();
        let mut store = flash::open(chip.FLASH).expect("it was flashed with a partition table");
        let channel = Channel::durable(ID, CONFIG, memory, random, &mut store, RECORD.init([0; flash::RECORD]), None).await;
        (channel.expect("the partition nvs holds a session or nothing: erase it"), store)
    };
    let (client, line) = CHANNEL.init(channel).split();
    let server: SocketAddrV4 = SERVER.parse().expect("the build has checked it");
    let board = Board {
        network: wifi::Wifi::new(radio, stack),
        connector: tcp::Tcp::new(stack, (*server.ip(), server.port())),
        clock: EmbassyClock,
        random: random as fn() -> u64,
        hooks: Signs::new(Output::new(chip.GPIO8, Level::High, OutputConfig::default()), chip.TIMG1),
    };
    spawner.spawn(network(runner).expect("it is spawned once"));
    #[cfg(not(feature = "durable"))]
    spawner.spawn(keep_up(client, board).expect("it is spawned once"));
    #[cfg(feature = "durable")]
    spawner.spawn(keep_up(client, board, store).expect("it is spawned once"));
    spawner.spawn(count(line).expect("it is spawned once"));
    spawner.spawn(answer(line).expect("it is spawned once"));
}
