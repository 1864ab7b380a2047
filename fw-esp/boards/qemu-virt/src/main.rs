//! A device that numbers its messages and answers those of the server, for `fw-esp/test-qemu.sh` to break.
//!
//! - `u BOOT N`: message N of this start, from 0 on, without end.
//! - `g BOOT TEXT`: the server's message TEXT arrived.
//!
//! BOOT tells one start of the machine from another. With the feature `durable` the session is kept in flash, and what was said under
//! one start arrives before what is said under the next.
#![no_std]
#![no_main]

mod board;
mod ethernet;
#[cfg(feature = "durable")]
mod flash;
mod tcp;

use board::{Uart, random, uptime_ms};
use core::fmt::Write;
use embassy_executor::{Executor, Spawner};
use embassy_net::{Ipv4Address, Runner, Stack, StackResources};
use embassy_time::Timer;
use holdline_esp::{Board, Buffers, Channel, Config, EmbassyClock, Handle, Hooks};
use static_cell::StaticCell;

const CONFIG: Config = Config::new().max_line(512).window(8).timeout_ms(1_000);

/// Received, unacknowledged, on its way, tasks that wait.
type Memory = Buffers<1024, 1024, 544, 4>;
type Line = Handle<'static, 'static>;

/// A line of the log for each link.
struct Log;

impl Hooks for Log {
    fn connection(&mut self, up: bool) {
        let _ = writeln!(Uart, "[{} ms] {}", uptime_ms(), if up { "up" } else { "down" });
    }
}

#[embassy_executor::task]
async fn network(mut runner: Runner<'static, ethernet::Ethernet>) -> ! {
    runner.run().await
}

/// All that the client needs of this machine.
type Machine = Board<tcp::Dhcp, tcp::Tcp, EmbassyClock, fn() -> u64, Log>;

fn machine(stack: Stack<'static>) -> Machine {
    // The host, as the machine sees it.
    let server = (Ipv4Address::new(10, 0, 2, 2), board::server_port());
    Board { network: tcp::Dhcp(stack), connector: tcp::Tcp::new(stack, server), clock: EmbassyClock, random, hooks: Log }
}

#[cfg(not(feature = "durable"))]
#[embassy_executor::task]
async fn keep_up(spawner: Spawner, stack: Stack<'static>, boot: u32) {
    let channel = Channel::new("board", CONFIG, MEMORY.init(Memory::new()), random).expect("the constants fit together");
    let (mut client, line) = CHANNEL.init(channel).split();
    applications(spawner, line, boot);
    client.run(&mut machine(stack)).await;
}

#[cfg(feature = "durable")]
#[embassy_executor::task]
async fn keep_up(spawner: Spawner, stack: Stack<'static>, boot: u32) {
    static RECORD: StaticCell<[u8; 96]> = StaticCell::new();
    // Three sectors behind the first.
    let mut store = holdline_esp::FlashStore::<_, 96>::new(flash::Flash, 0x4_0000..0x10_0000).expect("they are whole sectors");
    let channel =
        Channel::durable("board", CONFIG, MEMORY.init(Memory::new()), random, &mut store, RECORD.init([0; 96]), None).await;
    let channel = channel.expect("the flash can be read");
    let (mut client, line) = CHANNEL.init(channel).split();
    let _ = writeln!(Uart, "[{} ms] {} messages from before", uptime_ms(), line.status().unacked);
    applications(spawner, line, boot);
    client.run_durable(&mut machine(stack), &mut store).await;
}

fn applications(spawner: Spawner, line: Line, boot: u32) {
    spawner.spawn(count(line, boot).expect("it is spawned once"));
    spawner.spawn(answer(line, boot).expect("it is spawned once"));
}

/// A text that is written into a buffer; what does not fit is cut off.
struct Text<const N: usize>([u8; N], usize);

impl<const N: usize> Write for Text<N> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let place = self.0.get_mut(self.1..self.1 + text.len()).ok_or(core::fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.1 += text.len();
        Ok(())
    }
}

async fn send<const N: usize>(line: Line, text: core::fmt::Arguments<'_>) {
    let mut buffer = Text([0; N], 0);
    let _ = buffer.write_fmt(text);
    let text = core::str::from_utf8(&buffer.0[..buffer.1]).unwrap_or_default();
    if let Err(error) = line.send(text).await {
        let _ = writeln!(Uart, "not sent: {error}");
    }
}

#[embassy_executor::task]
async fn count(line: Line, boot: u32) {
    for number in 0_u64.. {
        send::<48>(line, format_args!("u {boot} {number}")).await;
        Timer::after_millis(5).await;
    }
}

#[embassy_executor::task]
async fn answer(line: Line, boot: u32) {
    let mut buffer = [0; 512];
    while let Ok(received) = line.recv(&mut buffer).await {
        send::<544>(line, format_args!("g {boot} {}", received.text)).await;
        if let Some(receipt) = received.receipt {
            line.accept(receipt);
        }
    }
}

static MEMORY: StaticCell<Memory> = StaticCell::new();
static CHANNEL: StaticCell<Channel<'static>> = StaticCell::new();

#[riscv_rt::entry]
fn main() -> ! {
    static RESOURCES: StaticCell<StackResources<3>> = StaticCell::new();
    static EXECUTOR: StaticCell<Executor> = StaticCell::new();

    board::init();
    let boot = random() as u32;
    let _ = writeln!(Uart, "[{} ms] boot {boot}, server at port {}", uptime_ms(), board::server_port());
    let card = ethernet::Ethernet::probe().expect("QEMU was started with a virtio-net-device");
    let config = embassy_net::Config::dhcpv4(Default::default());
    let (stack, runner) = embassy_net::new(card, config, RESOURCES.init(StackResources::new()), random());
    EXECUTOR.init(Executor::new()).run(|spawner: Spawner| {
        spawner.spawn(network(runner).expect("it is spawned once"));
        spawner.spawn(keep_up(spawner, stack, boot).expect("it is spawned once"));
    })
}
