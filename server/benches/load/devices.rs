//! Many devices on one thread, over raw sockets.

use super::wire::{Progress, Wire};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::Instant;

/// One device; dropping it resets or closes its connection without a goodbye.
struct Device {
    stream: TcpStream,
    progress: Progress,
    /// Received, and not complete.
    input: Vec<u8>,
    /// Said, and not taken by the system.
    output: Vec<u8>,
}

/// Devices of one protocol.
pub(crate) struct Devices {
    wire: Wire,
    timeout_ms: u64,
    address: SocketAddr,
    poll: Poll,
    events: Events,
    devices: Vec<Device>,
    /// Where the server has no application of its own: the client that receives every message.
    application: Option<Device>,
    /// Devices that were refused, or whose connection ended.
    pub(crate) lost: usize,
}

const APPLICATION: Token = Token(usize::MAX - 1);

/// How many connections may be in the making at once: below every limit of every server.
const GREETING_MAX: usize = 64;

impl Devices {
    pub(crate) fn new(wire: Wire, address: SocketAddr, timeout_ms: u64) -> io::Result<Self> {
        let (poll, events) = (Poll::new()?, Events::with_capacity(1024));
        let mut devices = Self { wire, timeout_ms, address, poll, events, devices: Vec::new(), application: None, lost: 0 };
        if let Some(greeting) = wire.application() {
            devices.application = Some(devices.dial(APPLICATION, greeting)?);
        }
        Ok(devices)
    }

    /// Connects `count` devices and returns once the server has admitted all of them.
    ///
    /// # Errors
    /// A connection could not be made, or not all were admitted within a minute.
    pub(crate) fn connect(&mut self, count: usize) -> io::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let first = self.devices.len();
        while self.devices.len() < first + count || self.waiting() > 0 {
            let mut waiting = self.waiting();
            while self.devices.len() < first + count && waiting < GREETING_MAX {
                self.open(self.devices.len())?;
                waiting += 1;
            }
            self.turn(Duration::from_millis(100), |_, _| {})?;
            if Instant::now() > deadline || self.lost > 0 {
                let (up, lost) = (self.devices.len() - self.waiting(), self.lost);
                return Err(io::Error::other(format!("{up} of {count} devices were admitted, {lost} lost")));
            }
        }
        Ok(())
    }

    fn waiting(&self) -> usize {
        // They come up in nearly the order in which they were opened.
        let recent = self.devices.len().saturating_sub(16 * GREETING_MAX);
        self.devices[recent..].iter().filter(|device| !device.progress.up).count()
    }

    fn open(&mut self, name: usize) -> io::Result<()> {
        let device = self.dial(Token(self.devices.len()), self.wire.greeting(name, self.timeout_ms))?;
        self.devices.push(device);
        Ok(())
    }

    fn dial(&self, token: Token, greeting: Vec<u8>) -> io::Result<Device> {
        // Blocking until connected: on loopback that is at once, and the server accepts later.
        let stream = std::net::TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        self.poll.registry().register(&mut stream, token, Interest::READABLE)?;
        let mut device = Device { stream, progress: Progress::default(), input: Vec::new(), output: greeting };
        device.flush();
        Ok(device)
    }

    /// Waits for input, takes all there is, and lets each device that got some say more.
    fn turn(&mut self, wait: Duration, mut say: impl FnMut(&mut Progress, &mut Vec<u8>)) -> io::Result<()> {
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &self.events {
            if let (APPLICATION, Some(application)) = (event.token(), &mut self.application) {
                application.read(self.wire);
                application.flush();
                continue;
            }
            let Some(device) = self.devices.get_mut(event.token().0) else { continue };
            let was_gone = device.progress.gone;
            device.read(self.wire);
            if !device.progress.gone {
                say(&mut device.progress, &mut device.output);
            }
            device.flush();
            self.lost += usize::from(device.progress.gone && !was_gone);
        }
        Ok(())
    }

    /// Every device keeps `window` messages in flight for as long as `lasts`; returns how many were done.
    pub(crate) fn pipeline(&mut self, window: u64, lasts: Duration) -> io::Result<u64> {
        let wire = self.wire;
        let top_up = |progress: &mut Progress, output: &mut Vec<u8>| {
            // Half a window at a time, as a device with a full outbox does.
            if progress.sent - progress.done <= window / 2 {
                while progress.sent - progress.done < window {
                    wire.message(progress, output);
                }
            }
        };
        let before = self.done();
        for device in &mut self.devices {
            top_up(&mut device.progress, &mut device.output);
            device.flush();
        }
        let end = Instant::now() + lasts;
        while Instant::now() < end {
            self.turn(Duration::from_millis(10), top_up)?;
        }
        Ok(self.done() - before)
    }

    /// Every device says something each `period`, evenly spread: a keepalive, or each `message_each`-th time, if given, a message.
    /// Answers are read. Returns how many messages were done.
    pub(crate) fn idle(&mut self, period: Duration, message_each: Option<usize>, lasts: Duration) -> io::Result<u64> {
        const STEP: Duration = Duration::from_millis(2);
        let steps = (period.as_micros() / STEP.as_micros()) as usize;
        let wire = self.wire;
        let before = self.done();
        let start = Instant::now();
        let mut step = 0;
        while start.elapsed() < lasts {
            let (from, to) = (step % steps * self.devices.len() / steps, (step % steps + 1) * self.devices.len() / steps);
            let round = step / steps;
            for (index, device) in self.devices.iter_mut().enumerate().take(to).skip(from) {
                match message_each {
                    // A message is a sign of life as well.
                    Some(each) if (round + index).is_multiple_of(each) => wire.message(&mut device.progress, &mut device.output),
                    _ => device.output.extend_from_slice(wire.keepalive()),
                }
                device.flush();
            }
            step += 1;
            let due = start + STEP * step as u32;
            loop {
                let left = due.saturating_duration_since(Instant::now());
                self.turn(left, |_, _| {})?;
                if left.is_zero() {
                    break;
                }
            }
        }
        Ok(self.done() - before)
    }

    /// Every device sends one message; returns once all are done.
    pub(crate) fn say_something(&mut self) -> io::Result<()> {
        let mut at = 0;
        let deadline = Instant::now() + Duration::from_secs(60);
        let before = self.done();
        while self.done() < before + self.devices.len() as u64 {
            for device in self.devices.iter_mut().skip(at).take(GREETING_MAX) {
                self.wire.message(&mut device.progress, &mut device.output);
                device.flush();
            }
            at += GREETING_MAX;
            self.turn(Duration::from_millis(5), |_, _| {})?;
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("{} messages were answered", self.done() - before)));
            }
        }
        Ok(())
    }

    /// One message after the other from the first device; returns how long each took.
    pub(crate) fn ping_pong(&mut self, count: usize) -> io::Result<Vec<Duration>> {
        let wire = self.wire;
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let start = Instant::now();
            let device = self.devices.first_mut().ok_or(io::ErrorKind::NotConnected)?;
            wire.message(&mut device.progress, &mut device.output);
            device.flush();
            while self.done() < self.devices[0].progress.sent {
                if self.lost > 0 || start.elapsed() > Duration::from_secs(5) {
                    return Err(io::Error::other("the message got no answer"));
                }
                self.turn(Duration::from_secs(1), |_, _| {})?;
            }
            times.push(start.elapsed());
        }
        Ok(times)
    }

    /// All devices lose power and come back at one moment: their old connections stay open. Returns how long it took until the last
    /// was up again.
    pub(crate) fn come_back(&mut self) -> io::Result<Duration> {
        // They stay open until this returns, and nobody reads them.
        let old = std::mem::take(&mut self.devices);
        (self.poll, self.application) = (Poll::new()?, None);
        let start = Instant::now();
        for name in 0..old.len() {
            self.open(name)?;
        }
        while self.devices.iter().any(|device| !device.progress.up) {
            self.turn(Duration::from_millis(10), |_, _| {})?;
            if start.elapsed() > Duration::from_secs(60) {
                return Err(io::Error::other("not all were up within a minute"));
            }
        }
        Ok(start.elapsed())
    }

    fn done(&self) -> u64 {
        self.devices.iter().map(|device| device.progress.done).sum()
    }
}

impl Device {
    fn read(&mut self, wire: Wire) {
        let mut buffer = [0; 16 * 1024];
        loop {
            let length = match self.stream.read(&mut buffer) {
                Ok(0) => return self.progress.gone = true,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => return self.progress.gone = true,
            };
            let bytes = &buffer[..length];
            if self.input.is_empty() {
                let taken = wire.take(bytes, &mut self.progress, &mut self.output);
                self.input.extend_from_slice(&bytes[taken..]);
            } else {
                self.input.extend_from_slice(bytes);
                let taken = wire.take(&self.input, &mut self.progress, &mut self.output);
                self.input.drain(..taken);
            }
            // A short read has emptied the socket; what comes later makes an event of its own.
            if length < buffer.len() {
                return;
            }
        }
    }

    fn flush(&mut self) {
        if self.output.is_empty() {
            return;
        }
        match self.stream.write(&self.output) {
            Ok(length) => drop(self.output.drain(..length)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.progress.gone = true,
        }
    }
}

/// Lets time pass.
pub(crate) fn rest(time: Duration) {
    let end = Instant::now() + time;
    if let Ok(mut poll) = Poll::new() {
        while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            // Nothing is registered: this only waits.
            let _ = poll.poll(&mut Events::with_capacity(1), Some(left));
        }
    }
}
