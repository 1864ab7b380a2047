//! `demo`: what it is for, in 20 seconds.

mod plan;
mod table;
mod tally;

use super::failure::Failure;
use super::quantity::Readable;
use clap::Args;
use holdline_server::proto::{Config, Role, classic::Flavour};
use holdline_server::{Client, Connection, Profile, Server, ServerConfig, What};
use holdline_sim::proxy::{self, Proxies, ProxySpec};
use plan::Disturbance;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use table::Table;
use tally::{Device, Tally, Way};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Options {
    /// How long messages are sent
    #[arg(long, value_name = "N", default_value = "20", value_parser = clap::value_parser!(u64).range(3..=3_600))]
    seconds: u64,
    /// Which outages come when: the same number gives the same ones
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
}

const EXAMPLES: &str = "\
A server and four devices, one of them a classic-2020 device, send each other numbered messages in both directions. Between
them the simulator's proxy plays a bad radio link: it cuts connections, resets them, refuses them, leaves them half open, lets
bytes sink into a black hole in one direction or both while the sockets stay open, delays them, cuts them small; a device roams,
and once the access point of all devices reboots. The applications check each number that they receive. At the end the link is
left alone, what still waits is delivered, and the verdict follows.

The exit status is 1 if anything was lost, repeated or reordered.

Examples:
  holdline-server demo
  holdline-server demo --seconds 300 --seed 7";

/// The devices, and what they speak.
const DEVICES: [(&str, Profile); 4] = [
    ("door-1", Profile::Native),
    ("lamp-2", Profile::Native),
    ("pump-3", Profile::Native),
    ("sensor-4", Profile::Classic(Flavour::V2020)),
];
/// The timeout of every line: an outage is noticed within it.
const TIMEOUT_MS: u32 = 500;
/// How often each end of each line sends a message.
const PERIOD: Duration = Duration::from_millis(50);
/// What a proxy holds of a connection in a direction, in bytes.
const PROXY_BYTES: usize = 256 << 10;
/// Connections that live at a time; a line has one, and for a while those that are half open.
const PROXY_CONNECTIONS: usize = 256;
/// How often a table on a terminal is drawn.
const REDRAW: Duration = Duration::from_millis(200);
/// How long what waits at the end may take to arrive: more than the longest pause between two attempts, which is 30 s.
const DRAIN: Duration = Duration::from_secs(45);

pub(super) async fn run(options: Options) -> Result<ExitCode, Failure> {
    let session = Config::new().timeout_ms(TIMEOUT_MS);
    let config = ServerConfig { session, classic_timeout_ms: Some(TIMEOUT_MS), ..ServerConfig::default() };
    let listen = |error| Failure::Listen { address: "127.0.0.1:0".into(), error, option: "--listen" };
    let server = match Server::bind("127.0.0.1:0", config).await {
        Ok(server) => server,
        Err(holdline_server::BindError::Listen(error)) => return Err(listen(error)),
        Err(error) => return Err(Failure::Usage(error.to_string())),
    };
    let Some(address) = server.local_addr() else { return Err(listen(std::io::ErrorKind::NotConnected.into())) };
    let mut table = Table::new(options.seed, options.seconds);
    let proxies = Proxies::new(options.seed, PROXY_BYTES, PROXY_CONNECTIONS);
    let mut devices = Vec::new();
    let stop = CancellationToken::new();
    for (id, profile) in DEVICES {
        let link = proxies.create(&ProxySpec::new(id, "127.0.0.1:0", address.to_string())).await;
        let link = link.map_err(|error| listen(std::io::Error::other(error)))?;
        let client = Client::builder(id, &link.listen).profile(profile).session(session).start()?;
        let device = Arc::new(Device::new(id, profile, client.connection()));
        attend(&server, client, &device, &stop);
        devices.push(device);
    }
    table.start(&devices);
    warm_up(&devices).await;
    let begun = Instant::now();
    for (index, device) in devices.iter().enumerate() {
        let seed = options.seed.wrapping_mul(DEVICES.len() as u64).wrapping_add(index as u64);
        let plan = plan::draw(seed, calm_from(options.seconds), matches!(device.profile, Profile::Classic(_)));
        tokio::spawn(disturb(Arc::clone(device), proxies.clone(), plan, begun));
    }
    let end = begun + Duration::from_secs(options.seconds);
    draw_until(&mut table, &devices, tokio::time::sleep_until(end)).await;
    stop.cancel();
    let drained = async {
        for device in &devices {
            device.drained().await;
        }
    };
    draw_until(&mut table, &devices, async {
        let _ = tokio::time::timeout(DRAIN, drained).await;
    })
    .await;
    table.finish(&devices);
    Ok(verdict(&devices))
}

/// Starts the two applications of a line, and counts its outages.
fn attend(server: &Server, client: Client, device: &Arc<Device>, stop: &CancellationToken) {
    let mut reports = client.reports();
    let counted = Arc::clone(device);
    tokio::spawn(async move {
        while let Some(report) = reports.next().await {
            match report.what {
                What::Outage(_) => counted.count_outage(),
                What::Resumed { after } => counted.is_back(after),
                _ => {}
            }
        }
    });
    tokio::spawn(stop.clone().run_until_cancelled_owned(send(client.connection(), Arc::clone(&device.up.tally))));
    let (server, device, stop) = (server.clone(), Arc::clone(device), stop.clone());
    tokio::spawn(receive(client.connection(), Arc::clone(&device.down.tally)));
    tokio::spawn(async move {
        // The client lives as long as its line.
        let _client = client;
        let Ok(line) = server.client(device.id).await else { return };
        tokio::spawn(stop.run_until_cancelled_owned(send(line.clone(), Arc::clone(&device.down.tally))));
        receive(line, Arc::clone(&device.up.tally)).await;
    });
}

/// Sends numbered messages.
async fn send<R: Role>(line: Connection<R>, tally: Arc<Tally>) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if line.send(&tally.next()).await.is_err() {
            return;
        }
    }
}

/// Checks what arrives.
async fn receive<R: Role>(line: Connection<R>, tally: Arc<Tally>) {
    while let Ok(text) = line.readline().await {
        tally.take(&text);
    }
}

/// Lets every line carry its first messages undisturbed: in the classic profiles the very first one has no protection against a
/// cut before its acknowledgement (SPEC.md, hole 1).
async fn warm_up(devices: &[Arc<Device>]) {
    let first = async {
        for way in devices.iter().flat_map(|device| [&device.up, &device.down]) {
            way.tally.has_received(2).await;
        }
    };
    // If it takes longer, there is something to see.
    let _ = tokio::time::timeout(Duration::from_secs(10), first).await;
}

/// When the last disturbance has ended, so that the end shows what came through and not what is still on its way.
fn calm_from(seconds: u64) -> Duration {
    Duration::from_secs(seconds).mul_f64(0.75)
}

/// Plays the plan of one device.
async fn disturb(device: Arc<Device>, proxies: Proxies, plan: Vec<Disturbance>, begun: Instant) {
    for disturbance in plan {
        tokio::time::sleep_until(begun + disturbance.at).await;
        device.disturbed(Some(disturbance));
        let played = match disturbance.outages(device.id) {
            Ok(outages) => proxy::play(&proxies, &outages).await,
            Err(error) => Err(error),
        };
        device.disturbed(None);
        if let Err(error) = played {
            // The line may have lost its link for good, and the verdict says so.
            tracing::error!(device = device.id, %error, "the proxy could not do what was planned");
        }
    }
}

async fn draw_until(table: &mut Table, devices: &[Arc<Device>], until: impl Future<Output = ()>) {
    let mut until = std::pin::pin!(until);
    let mut redraw = tokio::time::interval(REDRAW);
    redraw.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = &mut until => return,
            _ = redraw.tick() => table.draw(devices),
        }
    }
}

/// Says whether it held, in a line and as an exit status.
fn verdict(devices: &[Arc<Device>]) -> ExitCode {
    let ways: Vec<&Way> = devices.iter().flat_map(|device| [&device.up, &device.down]).collect();
    let sum = |of: fn(&tally::Figures) -> u64| ways.iter().map(|way| of(&way.tally.figures())).sum::<u64>();
    let (sent, delivered) = (sum(|figures| figures.sent), sum(|figures| figures.delivered));
    let (repeated, reordered, wrong) = (sum(|f| f.repeated), sum(|f| f.reordered), sum(|f| f.wrong));
    let lost = sent.saturating_sub(delivered);
    let outages: u32 = devices.iter().map(|device| device.outages()).sum();
    let pause = ways.iter().map(|way| way.tally.figures().longest_pause).max().unwrap_or_default();
    let held = (lost, repeated, reordered, wrong) == (0, 0, 0, 0) && sent > 0;
    let (word, status) = if held { ("PASS", ExitCode::SUCCESS) } else { ("FAIL", ExitCode::FAILURE) };
    table::print(&format!(
        "The longest pause was {}.\n{word}: {lost} lost, {repeated} repeated, {reordered} reordered{} of {sent} messages over {outages} outages\n",
        Readable(pause),
        if wrong > 0 { format!(", {wrong} not as sent,") } else { ",".into() },
    ));
    status
}
