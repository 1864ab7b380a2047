//! What an idle line costs: every byte that is allocated for it, by whomever, so that it does not depend on the allocator's ways.
// Tokio's own share is another on other systems.
#![cfg(all(target_os = "linux", target_pointer_width = "64"))]

mod support;

use holdline_server::{Connection, Server, ServerConfig};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use support::{hello, soon};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// As many as fill the registry's table at the size it has then, so that none of it is counted twice.
const LINES: usize = 224;
/// Tokio's own for a socket.
const SOCKET: usize = 256;
/// What is reached for the rest: a task, the session with its name and a seat for one waiting call, a place in the registry.
const LINE_MAX: usize = SOCKET + 1_018;
/// A task that reads a line: all that is Holdline's in it is a handle and a call.
const READER_MAX: usize = 262;

/// A device that has said hello; what it hears is read when that is asked for.
struct Device {
    stream: TcpStream,
    heard: [u8; 512],
    length: usize,
}

impl Device {
    fn connect(address: SocketAddr, name: &str) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nonblocking(true).expect("it is a socket");
        let mut device = Self { stream, heard: [0; 512], length: 0 };
        device.say(&format!("{}\n", hello(name, "timeout=600000")));
        device
    }

    fn say(&mut self, lines: &str) {
        self.stream.write_all(lines.as_bytes()).expect("it fits into the socket's buffer");
    }

    /// Lets the server run until it has said this.
    async fn hear(&mut self, end: &[u8]) {
        while !self.heard[..self.length].ends_with(end) {
            match self.stream.read(&mut self.heard[self.length..]) {
                Ok(0) => panic!("the server hangs up"),
                Ok(length) => self.length += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Brings a line up and one message over it.
async fn bring_up(server: &Server, number: usize) -> (Device, Connection) {
    let name = format!("dev-{number:06}");
    let mut device = Device::connect(server.local_addr().expect("it listens"), &name);
    soon(device.hear(b"\n")).await;
    device.say("\nM1 text\n");
    let line = server.get(&name).expect("its device is admitted");
    assert_eq!(soon(line.readline()).await.as_deref(), Ok("text"));
    soon(device.hear(b"A1\n")).await;
    (device, line)
}

#[tokio::test]
async fn an_idle_line_costs_little() {
    let server = Server::bind("127.0.0.1:0", ServerConfig::default()).await.expect("a free port");
    let _first = bring_up(&server, 0).await;
    let mut devices = Vec::with_capacity(LINES);
    let mut lines = Vec::with_capacity(LINES);
    let idle = Region::new(ALLOCATOR);
    for number in 1..LINES {
        let (device, line) = bring_up(&server, number).await;
        devices.push(device);
        lines.push(line);
    }
    let line = allocated(&idle) / devices.len();

    let read = Region::new(ALLOCATOR);
    for line in lines.drain(..) {
        tokio::spawn(async move {
            while let Ok(text) = line.readline().await {
                std::hint::black_box(text);
            }
        });
    }
    tokio::task::yield_now().await;
    let reader = allocated(&read) / devices.len();

    println!("an idle line {line} bytes, {SOCKET} of them Tokio's for its socket; a task that reads it {reader}");
    assert!(line <= LINE_MAX, "{line} bytes a line");
    assert!(reader <= READER_MAX, "{reader} bytes a task that reads");
}

fn allocated(region: &Region<'_, System>) -> usize {
    let change = region.change();
    change.bytes_allocated.saturating_sub(change.bytes_deallocated)
}
