//! A device without a network, behind a relay at the other end of its serial port, for `fw-esp/test-qemu.sh` to break.
#![no_std]
#![no_main]

use core::fmt::Write;
use embassy_executor::{Executor, Spawner};
use embassy_time::Timer;
use holdline_esp::{Buffers, Channel, Client, Config, EmbassyClock, Handle, HostLink, RelayStatus, Settings, Wiring};
use holdline_qemu_virt::board::{self, random, uptime_ms};
use holdline_qemu_virt::log::Log;
use holdline_qemu_virt::pin::ResetPin;
use holdline_qemu_virt::{speech, uart};
use static_cell::StaticCell;

const CONFIG: Config = Config::new().max_line(512).window(8).timeout_ms(1_000).check(true);

/// Received, unacknowledged, on its way, tasks that wait.
type Memory = Buffers<1024, 1024, 544, 4>;
type Host = HostLink<'static>;

fn settings() -> Settings<'static> {
    Settings { server: "127.0.0.1", port: board::server_port(), ssid: "emulated", password: "waves", report_s: 1 }
}

#[embassy_executor::task]
async fn keep_up(mut client: Client<'static, 'static>, host: &'static Host) {
    let (reader, writer) = uart::open();
    let mut wiring = Wiring { reader, writer, reset: ResetPin::new(), clock: EmbassyClock, random, notices: Log };
    let ended = host.run(&mut client, &mut wiring).await;
    let _ = writeln!(Log, "[{} ms] ended: {ended:?}", uptime_ms());
}

/// Tells of the wire and the relay, every second.
#[embassy_executor::task]
async fn watch(host: &'static Host, line: Handle<'static, 'static>) {
    loop {
        Timer::after_secs(1).await;
        let RelayStatus { boots, pulses, damaged, dropped, wifi, tcp, .. } = host.relay();
        let (garbled, overrun) = (line.status().garbled, uart::overruns());
        let _ = writeln!(
            Log,
            "[{} ms] boots={boots} pulses={pulses} damaged_here={damaged} dropped={dropped} garbled={garbled} overrun={overrun} {wifi:?} {tcp:?}",
            uptime_ms()
        );
    }
}

#[riscv_rt::entry]
fn main() -> ! {
    static MEMORY: StaticCell<Memory> = StaticCell::new();
    static CHANNEL: StaticCell<Channel<'static>> = StaticCell::new();
    static HOST: StaticCell<Host> = StaticCell::new();
    static EXECUTOR: StaticCell<Executor> = StaticCell::new();

    board::init();
    let boot = random() as u32;
    let _ = writeln!(Log, "[{} ms] boot {boot}, server at port {}", uptime_ms(), board::server_port());
    let channel = Channel::new("board", CONFIG, MEMORY.init(Memory::new()), random).expect("the constants fit together");
    let (client, line) = CHANNEL.init(channel).split();
    let host = &*HOST.init(Host::new(settings()).expect("they can be told"));
    EXECUTOR.init(Executor::new()).run(|spawner: Spawner| {
        spawner.spawn(keep_up(client, host).expect("it is spawned once"));
        spawner.spawn(watch(host, line).expect("it is spawned once"));
        speech::spawn(spawner, line, boot);
    })
}
