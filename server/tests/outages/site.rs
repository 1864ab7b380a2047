//! The real server and the real clients on the hosts of a simulated net, and what outages do to them.

use crate::defect::{Defect, Transport};
use crate::line::{Line, OUTBOX, Way};
use holdline_server::proto::{Config, Role};
use holdline_server::{Chance, Client, Connection, Limits, Server, ServerConfig};
use holdline_sim::net::{Host, Net};
use holdline_sim::outage::{Remembers, Site, Stop, Target, reopen};
use holdline_sim::rng::SplitMix64;
use holdline_sim::scenario::Scenario;
use holdline_sim::{Access, Fate, StreamId};
use std::sync::Mutex;
use std::time::Duration;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

/// How long a server that stops in order may take.
const SHUTDOWN: Duration = Duration::from_secs(1);

/// A server and its devices, each a program of its own on a host of its own.
pub(crate) struct Premises {
    net: Net,
    story: Scenario,
    begun: Instant,
    chance: SplitMix64,
    server: Host,
    serving: Option<Serving>,
    devices: Vec<Device>,
    stalls: Vec<AbortHandle>,
    defect: Option<Defect>,
}

struct Device {
    line: Line,
    host: Host,
    /// The applications on it, while it has power.
    running: Option<JoinSet<()>>,
    clone: Option<(Host, Client)>,
}

struct Serving {
    server: Server,
    /// Listener, connections and applications.
    tasks: JoinSet<()>,
    /// It stops in order.
    stops: bool,
}

impl Premises {
    pub(crate) fn new(story: &Scenario, seed: u64, defect: Option<Defect>) -> Self {
        let mut chance = SplitMix64::from_seed(seed);
        let net = Net::new(chance.next_u64());
        let server = net.host(Access { latency_ms: 0, ..Access::default() });
        let begun = Instant::now();
        let mut premises = Self {
            net,
            story: story.clone(),
            begun,
            chance,
            server,
            serving: None,
            devices: Vec::new(),
            stalls: Vec::new(),
            defect,
        };
        let fleet = premises.story.fleet;
        for index in 0..fleet.devices {
            let host = premises.net.host(premises.usual());
            let id = format!("device-{index}");
            let net = premises.net.clone();
            let line = Line::new(id, host.clone(), net, fleet.timeout_ms, fleet.message_length as usize, defect);
            premises.devices.push(Device { line, host, running: None, clone: None });
        }
        premises.serve();
        for index in 0..premises.devices.len() {
            premises.switch_on(index);
        }
        premises
    }

    /// Lets the first connection carry so many bytes each way and no more.
    pub(crate) fn cut_first_link(&mut self, up: usize, down: usize) {
        self.net.world().cut_at(StreamId(0), up, down);
    }

    pub(crate) fn hash(&self) -> u64 {
        self.net.world().trace_hash()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.net.world().bytes_written()
    }

    pub(crate) fn lines(&self) -> impl Iterator<Item = &Line> {
        self.devices.iter().map(|device| &device.line)
    }

    pub(crate) fn begun(&self) -> Instant {
        self.begun
    }

    /// Undoes everything that is wrong.
    pub(crate) fn heal(&mut self) {
        for stall in self.stalls.drain(..) {
            stall.abort();
        }
        for target in (0..self.devices.len()).map(Target) {
            self.switch_clone(target, false);
            self.suspend(target, false);
            let usual = self.usual();
            self.change(target, |access| *access = usual);
            self.power_on(target, Remembers::Nothing);
        }
        self.start_server(Remembers::Nothing);
    }

    fn session(&self) -> Config {
        Config::new().timeout_ms(self.story.fleet.timeout_ms).window(self.story.fleet.window)
    }

    fn pace(&self) -> Pace {
        let every = Duration::from_millis(self.story.fleet.message_every_ms.into());
        Pace { every, end: self.begun + Duration::from_millis(self.story.for_ms.into()) }
    }

    /// Random numbers for a program that starts now.
    fn draws(&mut self) -> Chance {
        let mut random = self.chance.split();
        if self.defect == Some(Defect::SameNumbersAgain) {
            random = SplitMix64::from_seed(1);
        }
        let random = Mutex::new(random);
        Chance::new(move || random.lock().expect("nothing panics with it").next_u64())
    }

    /// A client that calls from a host.
    fn client(&mut self, host: &Host, id: &str, line: Option<&Line>) -> Client {
        let (host, server, defect) = (host.clone(), self.server.id(), self.defect);
        let line = line.cloned();
        let connect = move || {
            let (host, line) = (host.clone(), line.clone());
            async move {
                loop {
                    if let Some(line) = &line {
                        line.lock().tried();
                    }
                    match host.connect(server).await {
                        Err(_) if defect == Some(Defect::ImpatientConnector) => {}
                        connected => return connected.map(|socket| Transport::new(socket, defect)),
                    }
                }
            }
        };
        let session = self.session().check(self.story.fleet.check);
        let client = Client::builder(id, "").session(session).outbox(OUTBOX, 1 << 16).chance(self.draws());
        client.start_with(connect).expect("the story was checked")
    }

    fn switch_on(&mut self, index: usize) {
        let (line, host) = (self.devices[index].line.clone(), self.devices[index].host.clone());
        let id = line.lock().id.clone();
        let client = self.client(&host, &id, Some(&line));
        let mut tasks = JoinSet::new();
        start_applications(&mut tasks, &client.connection(), &line, [Way::Up, Way::Down], self.pace());
        judge_when_told(&mut tasks, client.reports(), vec![line.clone()]);
        line.lock().device_starts(client);
        self.devices[index].running = Some(tasks);
    }

    fn serve(&mut self) {
        let limits = Limits { outbox_messages: OUTBOX, outbox_bytes: 1 << 16, ..Limits::default() };
        let config = ServerConfig { session: self.session(), limits, chance: self.draws(), ..ServerConfig::default() };
        let server = Server::new(config).expect("the story was checked");
        let mut tasks = JoinSet::new();
        let (mut listener, door) = (self.server.listen(), server.clone());
        let is_checked = self.story.fleet.check;
        tasks.spawn(async move {
            // Dropped with this task, as the system closes what a process has open.
            let mut links = JoinSet::new();
            loop {
                let socket = listener.accept().await;
                let server = door.clone();
                links.spawn(
                    async move { if is_checked { server.serve_checked(socket).await } else { server.serve(socket).await } },
                );
            }
        });
        let lines: Vec<Line> = self.lines().cloned().collect();
        judge_when_told(&mut tasks, server.reports(), lines.clone());
        let pace = self.pace();
        for line in lines {
            let (id, server, reports) = (line.lock().id.clone(), server.clone(), server.reports());
            tasks.spawn(async move {
                let Ok(handle) = server.client(&id).await else { return };
                drop(server);
                line.lock().server_starts(handle.clone(), reports);
                let mut applications = JoinSet::new();
                start_applications(&mut applications, &handle, &line, [Way::Down, Way::Up], pace);
                while applications.join_next().await.is_some() {}
            });
        }
        self.serving = Some(Serving { server, tasks, stops: false });
    }

    /// Ends what is left of the server; nothing that it says gets out any more.
    fn end_server(&mut self, fate: Fate) {
        if self.serving.is_none() {
            return;
        }
        self.server.power_off(fate);
        for line in self.lines() {
            line.lock().server_stops();
        }
        self.serving = None;
    }
}

/// How often an application sends, and how long.
#[derive(Clone, Copy)]
struct Pace {
    every: Duration,
    end: Instant,
}

/// Starts what sends on a line, and what receives.
fn start_applications<R: Role + Send + Sync + 'static>(
    tasks: &mut JoinSet<()>,
    handle: &Connection<R>,
    line: &Line,
    ways: [Way; 2],
    pace: Pace,
) {
    let [sends, receives] = ways;
    if !pace.every.is_zero() {
        let (line, handle) = (line.clone(), handle.clone());
        tasks.spawn(async move {
            let mut at = Instant::now() + pace.every;
            while at <= pace.end {
                tokio::time::sleep_until(at).await;
                line.send(sends, &handle);
                at += pace.every;
            }
        });
    }
    let (line, handle) = (line.clone(), handle.clone());
    tasks.spawn(async move {
        while let Ok(text) = handle.readline().await {
            line.receive(receives, &text);
        }
    });
}

/// Has lines judged as soon as somebody reports something.
fn judge_when_told(tasks: &mut JoinSet<()>, mut reports: holdline_server::Reports, lines: Vec<Line>) {
    tasks.spawn(async move {
        while reports.next().await.is_some() {
            for line in &lines {
                line.lock().judge();
            }
        }
    });
}

impl Site for Premises {
    fn devices(&self) -> usize {
        self.devices.len()
    }

    fn usual(&self) -> Access {
        let fleet = self.story.fleet;
        Access { latency_ms: fleet.latency_ms, jitter_ms: fleet.jitter_ms, ..Access::default() }
    }

    fn change(&mut self, target: Target, change: impl FnOnce(&mut Access)) {
        change_access(&self.net, &self.devices[target.0].host, change);
    }

    fn break_streams(&mut self, target: Target, fate: Fate) {
        self.net.world().break_streams(self.devices[target.0].host.id(), fate);
    }

    /// A client on a system with sockets is not told; it finds out.
    fn set_network(&mut self, _target: Target, _up: bool) {}

    /// The network of the host rests, and its system keeps what is written. The program itself cannot be stopped apart from the others:
    /// they share the runtime's clock.
    fn suspend(&mut self, target: Target, suspended: bool) {
        if self.devices[target.0].running.is_some() {
            self.net.world().suspend(self.devices[target.0].host.id(), suspended);
        }
    }

    /// Tokio's clock does not jump.
    fn jump_clock(&mut self, _target: Target, _ms: u32) {}

    fn drift_clock(&mut self, _target: Target, _ppm: i32) {}

    fn draw(&mut self) -> u64 {
        self.chance.next_u64()
    }

    fn stall(&mut self, target: Target, stalls: Vec<(u32, u32)>) {
        let (net, host, now) = (self.net.clone(), self.devices[target.0].host.clone(), Instant::now());
        let stalls = tokio::spawn(async move {
            for (from, to) in stalls {
                for (at_ms, stalled) in [(from, true), (to, false)] {
                    tokio::time::sleep_until(now + Duration::from_millis(at_ms.into())).await;
                    change_access(&net, &host, |access| (access.out_blocked, access.in_blocked) = (stalled, stalled));
                }
            }
        });
        self.stalls.push(stalls.abort_handle());
    }

    fn give_network_back(&mut self, target: Target, after_ms: u32) {
        let (net, host, usual) = (self.net.clone(), self.devices[target.0].host.clone(), self.usual());
        if after_ms == 0 {
            change_access(&net, &host, |access| reopen(access, usual));
            return;
        }
        let back = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(after_ms.into())).await;
            change_access(&net, &host, |access| reopen(access, usual));
        });
        self.stalls.push(back.abort_handle());
    }

    fn power_off(&mut self, target: Target, fate: Fate) {
        let device = &mut self.devices[target.0];
        if device.running.is_none() {
            return;
        }
        device.host.power_off(fate);
        device.running = None;
        device.line.lock().device_stops();
    }

    /// The server crate keeps nothing on disk: who starts again has forgotten everything.
    fn power_on(&mut self, target: Target, _memory: Remembers) {
        if self.devices[target.0].running.is_some() {
            return;
        }
        self.devices[target.0].line.lock().device_forgot();
        self.devices[target.0].host.power_on();
        self.switch_on(target.0);
    }

    fn back_up(&mut self) {}

    fn stop_server(&mut self, how: Stop) {
        let Some(serving) = &mut self.serving else { return };
        match how {
            Stop::Graceful => {
                serving.stops = true;
                let (server, host) = (serving.server.clone(), self.server.clone());
                serving.tasks.spawn(async move {
                    server.shutdown(Duration::from_secs(1), SHUTDOWN).await;
                    host.power_off(Fate::Rst);
                });
            }
            Stop::Killed => self.end_server(Fate::Rst),
            Stop::HostLost => self.end_server(Fate::Silent),
        }
    }

    fn start_server(&mut self, _memory: Remembers) {
        if self.serving.as_ref().is_some_and(|serving| !serving.stops) {
            return;
        }
        self.end_server(Fate::Rst);
        for line in self.lines() {
            line.lock().server_forgot();
        }
        self.server.power_on();
        self.serve();
    }

    fn switch_clone(&mut self, target: Target, on: bool) {
        if !on {
            if let Some((host, client)) = self.devices[target.0].clone.take() {
                host.power_off(Fate::Rst);
                drop(client);
                self.devices[target.0].line.lock().contest(on);
            }
            return;
        }
        self.devices[target.0].line.lock().contest(on);
        let host = self.net.host(self.usual());
        let id = self.devices[target.0].line.lock().id.clone();
        let client = self.client(&host, &id, None);
        let reader = client.connection();
        tokio::spawn(async move { while reader.readline().await.is_ok() {} });
        self.devices[target.0].clone = Some((host, client));
    }
}

fn change_access(net: &Net, host: &Host, change: impl FnOnce(&mut Access)) {
    let mut world = net.world();
    let mut access = world.access(host.id());
    change(&mut access);
    world.set_access(host.id(), access);
}
