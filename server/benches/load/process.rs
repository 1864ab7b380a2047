//! The servers under measurement, each in a process of its own, and what the system says about it.

use super::Options;
use super::wire::Wire;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A server to be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One Tokio task a connection that writes back what it reads: the floor.
    Echo,
    /// Holdline, with an application that reads every line in a task of its own.
    Holdline,
    /// Holdline, with an application that reads all lines in one task.
    Gathered,
    /// The broker, with a subscriber that receives every message.
    Mosquitto,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Echo, Self::Holdline, Self::Gathered, Self::Mosquitto];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Holdline => "holdline",
            Self::Gathered => "gathered",
            Self::Mosquitto => "mosquitto",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    pub(crate) fn wire(self) -> Wire {
        match self {
            Self::Echo => Wire::Echo,
            Self::Holdline | Self::Gathered => Wire::Native,
            Self::Mosquitto => Wire::Mqtt,
        }
    }
}

/// A running server.
pub(crate) struct Process {
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    child: Child,
    /// A file to be removed with it.
    config: Option<std::path::PathBuf>,
}

impl Process {
    /// Starts a server; `Err` says why it cannot be measured here.
    pub(crate) fn start(kind: Kind, options: &Options) -> Result<Self, String> {
        let started = match kind {
            Kind::Mosquitto => Self::start_mosquitto(),
            _ => Self::start_self(kind, options),
        };
        started.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => "not installed".to_owned(),
            _ => error.to_string(),
        })
    }

    fn start_self(kind: Kind, options: &Options) -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve", kind.name(), &options.workers.to_string()])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?).read_line(&mut line)?;
        let address = line.trim().parse().map_err(|_| io::Error::other("the server did not start"))?;
        Ok(Self { kind, address, child, config: None })
    }

    fn start_mosquitto() -> io::Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let path = std::env::temp_dir().join(format!("holdline-load-{port}.conf"));
        let mut file = fs::File::create(&path)?;
        writeln!(
            file,
            "listener {port} 127.0.0.1\nallow_anonymous true\nlog_dest none\nmax_inflight_messages 1000\nmax_queued_messages 0"
        )?;
        let program = ["mosquitto", "/usr/sbin/mosquitto"]
            .into_iter()
            .find(|program| Command::new(program).arg("-h").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok())
            .ok_or(io::ErrorKind::NotFound)?;
        let child = Command::new(program).arg("-c").arg(&path).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let process = Self { kind: Kind::Mosquitto, address: (Ipv4Addr::LOCALHOST, port).into(), child, config: Some(path) };
        // It does not say when it listens.
        for _ in 0..200 {
            if TcpStream::connect(process.address).is_ok() {
                return Ok(process);
            }
            super::devices::rest(Duration::from_millis(10));
        }
        Err(io::Error::other("it does not listen"))
    }

    /// The CPU time of all its threads so far, user and system.
    pub(crate) fn cpu(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).into_iter().flatten().flatten();
        let spent = tasks.filter_map(|task| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(spent.sum())
    }

    /// Bytes of memory that it alone has written to: heap, stacks, the allocator's own included.
    pub(crate) fn memory(&self) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id())).unwrap_or_default();
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        (field("Private_Dirty:").unwrap_or(0) + field("Swap:").unwrap_or(0)) * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(path) = &self.config {
            let _ = fs::remove_file(path);
        }
    }
}
