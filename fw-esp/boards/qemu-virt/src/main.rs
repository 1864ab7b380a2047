//! A device on the network, for `fw-esp/test-qemu.sh` to break.
//!
//! With the feature `durable` its session is kept in flash, and what was said under one start arrives before what is said under the next.
#![no_std]
#![no_main]

use core::fmt::Write;
use embassy_executor::{Executor, Spawner};
use embassy_net::{Ipv4Address, Runner, Stack, StackResources};
use holdline_esp::{Board, Buffers, Channel, Config, EmbassyClock};
use holdline_qemu_virt::board::{self, random, uptime_ms};
#[cfg(feature = "durable")]
use holdline_qemu_virt::flash::Flash;
use holdline_qemu_virt::log::Log;
#[cfg(feature = "nal")]
use holdline_qemu_virt::nal::{self, Tcp};
#[cfg(not(feature = "nal"))]
use holdline_qemu_virt::tcp::Tcp;
use holdline_qemu_virt::{ethernet, speech, tcp};
use static_cell::StaticCell;

const CONFIG: Config = Config::new().max_line(512).window(8).timeout_ms(1_000);

/// Received, unacknowledged, on its way, tasks that wait.
type Memory = Buffers<1024, 1024, 544, 4>;

#[embassy_executor::task]
async fn network(mut runner: Runner<'static, ethernet::Ethernet>) -> ! {
    runner.run().await
}

/// All that the client needs of this machine.
type Machine = Board<tcp::Dhcp, Tcp, EmbassyClock, fn() -> u64, Log>;

fn machine(stack: Stack<'static>) -> Machine {
    // The machine that runs QEMU, as this one sees it.
    let server = (Ipv4Address::new(10, 0, 2, 2), board::server_port());
    #[cfg(feature = "nal")]
    let connector = nal::connector(stack, server);
    #[cfg(not(feature = "nal"))]
    let connector = Tcp::new(stack, server);
    Board { network: tcp::Dhcp(stack), connector, clock: EmbassyClock, random, hooks: Log }
}

#[cfg(not(feature = "durable"))]
#[embassy_executor::task]
async fn keep_up(spawner: Spawner, stack: Stack<'static>, boot: u32) {
    let channel = Channel::new("board", CONFIG, MEMORY.init(Memory::new()), random).expect("the constants fit together");
    let (mut client, line) = CHANNEL.init(channel).split();
    speech::spawn(spawner, line, boot);
    client.run(&mut machine(stack)).await;
}

#[cfg(feature = "durable")]
#[embassy_executor::task]
async fn keep_up(spawner: Spawner, stack: Stack<'static>, boot: u32) {
    static RECORD: StaticCell<[u8; 96]> = StaticCell::new();
    // Three sectors behind the first.
    let mut store = holdline_esp::FlashStore::<_, 96>::new(Flash, 0x4_0000..0x10_0000).expect("they are whole sectors");
    let channel =
        Channel::durable("board", CONFIG, MEMORY.init(Memory::new()), random, &mut store, RECORD.init([0; 96]), None).await;
    let channel = channel.expect("the flash can be read");
    let (mut client, line) = CHANNEL.init(channel).split();
    let _ = writeln!(Log, "[{} ms] {} messages from before", uptime_ms(), line.status().unacked);
    speech::spawn(spawner, line, boot);
    client.run_durable(&mut machine(stack), &mut store).await;
}

static MEMORY: StaticCell<Memory> = StaticCell::new();
static CHANNEL: StaticCell<Channel<'static>> = StaticCell::new();

#[riscv_rt::entry]
fn main() -> ! {
    static RESOURCES: StaticCell<StackResources<3>> = StaticCell::new();
    static EXECUTOR: StaticCell<Executor> = StaticCell::new();

    board::init();
    let boot = random() as u32;
    let _ = writeln!(Log, "[{} ms] boot {boot}, server at port {}", uptime_ms(), board::server_port());
    let card = ethernet::Ethernet::probe().expect("QEMU was started with a virtio-net-device");
    let config = embassy_net::Config::dhcpv4(Default::default());
    let (stack, runner) = embassy_net::new(card, config, RESOURCES.init(StackResources::new()), random());
    EXECUTOR.init(Executor::new()).run(|spawner: Spawner| {
        spawner.spawn(network(runner).expect("it is spawned once"));
        spawner.spawn(keep_up(spawner, stack, boot).expect("it is spawned once"));
    })
}
