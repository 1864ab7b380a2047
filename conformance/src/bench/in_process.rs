//! The reference subject in this process, under virtual time: nothing waits, and a run is told whole by its seed.

use super::{Bench, Incident, LinkId, Links, Stop};
use crate::mutant::{Defect, Mutant};
use crate::subject::{Io, Memory};
use holdline_proto::{ConnectFailure, Instant};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A bench over [`Subject`](crate::subject::Subject), or over a [`Mutant`] of it.
#[derive(Debug)]
pub struct InProcess {
    now: u64,
    seed: u64,
    defect: Option<&'static Defect>,
    subject: Option<Mutant>,
    is_server: bool,
    memory: Memory,
    snapshots: BTreeMap<String, Vec<u8>>,
    incidents: VecDeque<Incident>,
    /// Streams that are open, at both ends.
    open: BTreeSet<LinkId>,
    /// Streams from which the suite reads nothing, and how many bytes are in their buffers.
    deaf: BTreeMap<LinkId, usize>,
    next_link: LinkId,
    /// Whether a client wants to connect, and until when it waits.
    wants: Option<u64>,
    listens: bool,
}

/// What a transport holds that nobody reads from.
const BUFFERS: usize = 8 * 1024;

impl InProcess {
    /// A bench whose every number follows from `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            now: 1_000_000,
            seed,
            defect: None,
            subject: None,
            is_server: false,
            memory: Memory::default(),
            snapshots: BTreeMap::new(),
            incidents: VecDeque::new(),
            open: BTreeSet::new(),
            deaf: BTreeMap::new(),
            next_link: 0,
            wants: None,
            listens: false,
        }
    }

    /// A bench over a subject with this defect.
    pub fn with_defect(seed: u64, defect: &'static Defect) -> Self {
        Self { defect: Some(defect), ..Self::new(seed) }
    }

    /// Whether the subject lives.
    fn look(&self) -> Result<(), Stop> {
        self.subject.as_ref().and_then(Mutant::ended).map_or(Ok(()), |stop| Err(stop.clone()))
    }

    fn instant(&self) -> Instant {
        Instant::from_millis(self.now)
    }

    /// Does what the subject wants done.
    fn serve(&mut self) {
        while let Some(io) = self.subject.as_mut().and_then(Mutant::poll_io) {
            match io {
                Io::Write { stream, bytes } => self.carry(stream as LinkId, bytes),
                Io::Close { stream } => {
                    if self.open.remove(&(stream as LinkId)) && !self.deaf.contains_key(&(stream as LinkId)) {
                        self.incidents.push_back(Incident::End { link: stream as LinkId, at: self.now });
                    }
                }
                Io::Connect { timeout_ms } => self.wants = Some(self.now + u64::from(timeout_ms)),
                Io::StopListening => self.listens = false,
            }
        }
    }

    fn carry(&mut self, link: LinkId, bytes: Vec<u8>) {
        if !self.open.contains(&link) {
            return;
        }
        let taken = match self.deaf.get_mut(&link) {
            None => bytes.len(),
            Some(held) => {
                let taken = bytes.len().min(BUFFERS.saturating_sub(*held));
                *held += taken;
                taken
            }
        };
        if !self.deaf.contains_key(&link) {
            self.incidents.push_back(Incident::Bytes { link, at: self.now, bytes });
        }
        let now = self.instant();
        if taken > 0
            && let Some(subject) = &mut self.subject
        {
            subject.handle_transmitted(now, link as u64, taken);
        }
    }

    fn next_stream(&mut self) -> LinkId {
        self.next_link += 1;
        self.open.insert(self.next_link);
        self.next_link
    }

    /// Lets time pass up to the subject's next deadline, or the time given.
    fn advance(&mut self, until: u64) {
        let due = self.subject.as_ref().and_then(Mutant::poll_timeout).map(Instant::as_millis);
        let given_up = self.wants;
        let next = [due, given_up, Some(until)].into_iter().flatten().min().unwrap_or(until).max(self.now);
        self.now = next.min(until.max(self.now));
        let now = self.instant();
        if self.wants.is_some_and(|until| until <= self.now) {
            self.wants = None;
            if let Some(subject) = &mut self.subject {
                subject.handle_connected(now, Err(ConnectFailure::TimedOut));
            }
        }
        if let Some(subject) = &mut self.subject {
            subject.handle_timeout(now);
        }
        self.serve();
    }
}

impl Links for InProcess {
    fn write(&mut self, link: LinkId, bytes: &[u8]) -> Result<(), Stop> {
        let now = self.instant();
        if self.open.contains(&link)
            && let Some(subject) = &mut self.subject
        {
            subject.handle_input(now, link as u64, bytes);
        }
        self.serve();
        Ok(())
    }

    fn separate(&mut self) {}

    fn next(&mut self, until: u64) -> Result<Incident, Stop> {
        loop {
            self.look()?;
            if let Some(incident) = self.incidents.pop_front() {
                return Ok(incident);
            }
            if self.now >= until {
                return Ok(Incident::Nothing);
            }
            self.advance(until);
        }
    }

    fn cut(&mut self, link: LinkId) {
        let now = self.instant();
        if self.open.remove(&link)
            && let Some(subject) = &mut self.subject
        {
            subject.handle_disconnected(now, link as u64);
        }
        self.serve();
    }

    fn finish(&mut self, link: LinkId) {
        self.cut(link);
    }

    fn deafen(&mut self, link: LinkId) -> Result<(), Stop> {
        self.deaf.insert(link, 0);
        Ok(())
    }
}

impl Bench for InProcess {
    fn now(&self) -> u64 {
        self.now
    }

    fn tolerance(&self) -> u64 {
        1
    }

    fn has_shim(&self) -> bool {
        true
    }

    fn start(&mut self, mut settings: Json) -> Result<Json, Stop> {
        self.seed = self.seed.wrapping_add(1);
        self.is_server = settings.get("role").is_some_and(|role| role == "server");
        settings["do"] = json!("start");
        let mut subject = Mutant::new(self.defect, self.seed, Box::new(self.memory.clone()));
        let answer = subject.ask(self.instant(), &settings);
        self.subject = Some(subject);
        self.listens = self.is_server;
        self.serve();
        Ok(answer)
    }

    fn open(&mut self, until: u64) -> Result<Option<LinkId>, Stop> {
        let now = self.instant();
        if self.is_server {
            if !self.listens {
                return Ok(None);
            }
            let link = self.next_stream();
            if let Some(subject) = &mut self.subject {
                subject.handle_accepted(now, link as u64);
            }
            self.serve();
            return Ok(Some(link));
        }
        loop {
            if self.wants.take().is_some() {
                let link = self.next_stream();
                let now = self.instant();
                if let Some(subject) = &mut self.subject {
                    subject.handle_connected(now, Ok(link as u64));
                }
                self.serve();
                return Ok(Some(link));
            }
            if self.now >= until {
                return Ok(None);
            }
            self.advance(until);
        }
    }

    fn links(&mut self) -> &mut dyn Links {
        self
    }

    fn ask(&mut self, request: Json) -> Result<Json, Stop> {
        let now = self.instant();
        let Some(subject) = &mut self.subject else { return Ok(json!({"ok": false, "error": "failed", "why": "it is dead"})) };
        let answer = subject.ask(now, &request);
        self.serve();
        self.look()?;
        Ok(answer)
    }

    fn kill(&mut self) -> Result<(), Stop> {
        self.subject = None;
        self.wants = None;
        self.listens = false;
        self.open.clear();
        self.incidents.clear();
        Ok(())
    }

    fn snapshot(&mut self, name: &str) -> Result<(), Stop> {
        self.snapshots.insert(name.to_owned(), self.memory.read());
        Ok(())
    }

    fn restore(&mut self, name: Option<&str>) -> Result<(), Stop> {
        let bytes = match name {
            None => Vec::new(),
            Some(name) => {
                let snapshot = self.snapshots.get(name).cloned();
                snapshot.ok_or_else(|| Stop::Unable(format!("there is no snapshot `{name}`")))?
            }
        };
        self.memory.write(&bytes);
        Ok(())
    }
}
