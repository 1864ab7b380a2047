//! TCP links with a thread each that reads; what they read waits in one bounded queue.

use super::clock::{Clock, rest};
use super::{Incident, LinkId, Links, Stop};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// Links over TCP.
#[derive(Debug)]
pub(crate) struct Net {
    pub(crate) clock: Clock,
    links: BTreeMap<LinkId, TcpStream>,
    next_link: LinkId,
    sender: SyncSender<Incident>,
    incidents: Receiver<Incident>,
}

/// Segments that wait to be looked at; beyond them the subject feels that nobody reads.
const QUEUE: usize = 256;
/// What is read at once.
const SEGMENT: usize = 4096;
/// How long a subject may refuse to take a line.
const WRITE: Duration = Duration::from_secs(10);
/// Enough for a subject to read what is there.
const SEPARATE_MS: u64 = 2;
/// How often the listener is asked.
const POLL_MS: u64 = 2;

impl Net {
    pub(crate) fn new() -> Self {
        let (sender, incidents) = sync_channel(QUEUE);
        Self { clock: Clock::start(), links: BTreeMap::new(), next_link: 0, sender, incidents }
    }

    pub(crate) fn connect(&mut self, address: SocketAddr, until: u64) -> Result<Option<LinkId>, Stop> {
        let patience = self.clock.until(until).max(Duration::from_millis(1));
        match TcpStream::connect_timeout(&address, patience) {
            Ok(stream) => self.take(stream).map(Some),
            Err(_) => Ok(None),
        }
    }

    pub(crate) fn accept(&mut self, listener: &TcpListener, until: u64) -> Result<Option<LinkId>, Stop> {
        loop {
            match listener.accept() {
                Ok((stream, _)) => return self.take(stream).map(Some),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(Stop::Unable(format!("accepting a connection: {error}"))),
            }
            if self.clock.now() >= until {
                return Ok(None);
            }
            rest(POLL_MS);
        }
    }

    fn take(&mut self, stream: TcpStream) -> Result<LinkId, Stop> {
        let unable = |error: std::io::Error| Stop::Unable(format!("a connection: {error}"));
        stream.set_nonblocking(false).map_err(unable)?;
        stream.set_nodelay(true).map_err(unable)?;
        stream.set_write_timeout(Some(WRITE)).map_err(unable)?;
        let reader = stream.try_clone().map_err(unable)?;
        self.next_link += 1;
        let (link, sender, clock) = (self.next_link, self.sender.clone(), self.clock);
        std::thread::spawn(move || read(reader, link, &sender, clock));
        self.links.insert(link, stream);
        Ok(link)
    }

    fn close(&mut self, link: LinkId) {
        if let Some(stream) = self.links.remove(&link) {
            // It may be closed by the subject already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub(crate) fn close_all(&mut self) {
        for (_, stream) in std::mem::take(&mut self.links) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Links for Net {
    fn write(&mut self, link: LinkId, bytes: &[u8]) -> Result<(), Stop> {
        let Some(stream) = self.links.get_mut(&link) else { return Ok(()) };
        match stream.write_all(bytes) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Err(Stop::Hung(format!("it took none of a line for {} s", WRITE.as_secs())))
            }
            // Its end is what the reader tells.
            _ => Ok(()),
        }
    }

    fn separate(&mut self) {
        rest(SEPARATE_MS);
    }

    fn next(&mut self, until: u64) -> Result<Incident, Stop> {
        match self.incidents.recv_timeout(self.clock.until(until)) {
            Ok(incident) => Ok(incident),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Ok(Incident::Nothing),
        }
    }

    fn cut(&mut self, link: LinkId) {
        self.close(link);
    }

    fn finish(&mut self, link: LinkId) {
        self.close(link);
    }

    fn deafen(&mut self, _: LinkId) -> Result<(), Stop> {
        Err(Stop::Skipped("the buffers of TCP are too large to be filled".to_owned()))
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        self.close_all();
    }
}

fn read(mut stream: TcpStream, link: LinkId, sender: &SyncSender<Incident>, clock: Clock) {
    let mut buffer = [0; SEGMENT];
    loop {
        let read = stream.read(&mut buffer);
        let at = clock.now();
        let incident = match read {
            Ok(0) | Err(_) => Incident::End { link, at },
            Ok(count) => Incident::Bytes { link, at, bytes: buffer[..count].to_vec() },
        };
        let is_end = matches!(incident, Incident::End { .. });
        // Nobody listens any more when the case is over.
        if sender.send(incident).is_err() || is_end {
            return;
        }
    }
}

/// Listens on a free port of this machine, or on the address given.
pub(crate) fn listen(address: &str) -> Result<TcpListener, Stop> {
    let unable = |error: std::io::Error| Stop::Unable(format!("listening on {address}: {error}"));
    let listener = TcpListener::bind(address).map_err(unable)?;
    listener.set_nonblocking(true).map_err(unable)?;
    Ok(listener)
}
