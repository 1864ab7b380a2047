//! The reference shim: the protocol crate over std's TCP, with one thread that thinks and others that read and write.
//!
//! It is what `docs/conformance.md` describes, and small enough to be read as an example of it. With `--mutant NAME` the subject has
//! that defect, so that somebody can see what the suite says to it.

use holdline_conformance::mutant::{Defect, Mutant, find};
use holdline_conformance::subject::{Io, Store};
use holdline_proto::{ConnectFailure, Instant};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::io::{BufRead, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let defect = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => None,
        ["--mutant", name] if find(name).is_some() => find(name),
        _ => {
            eprintln!("usage: holdline-conformance-shim [--mutant NAME]; `holdline-conformance mutants --list` shows the names");
            return ExitCode::from(2);
        }
    };
    let (sender, news) = channel();
    let requests = sender.clone();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            if requests.send(News::Request(line)).is_err() {
                return;
            }
        }
        // Nobody is left who could ask.
        let _ = requests.send(News::Stop);
    });
    Shim::new(defect, sender).run(&news);
    ExitCode::SUCCESS
}

/// What wakes the shim.
enum News {
    Request(String),
    Accepted(TcpStream),
    Connected(Result<TcpStream, ConnectFailure>),
    Bytes(u64, Vec<u8>),
    End(u64),
    Written(u64, usize),
    Stop,
}

struct Shim {
    defect: Option<&'static Defect>,
    subject: Mutant,
    clock: std::time::Instant,
    sender: Sender<News>,
    streams: BTreeMap<u64, (TcpStream, Sender<Vec<u8>>)>,
    next_stream: u64,
    connect: Option<SocketAddr>,
    /// A `recv` that waits for a message: its request, and until when.
    waiting: Option<(Json, u64)>,
}

/// Chance, as the hash maps of std have it.
fn seed() -> u64 {
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

impl Shim {
    #[expect(clippy::disallowed_methods, reason = "there is no runtime here whose clock could be asked")]
    fn new(defect: Option<&'static Defect>, sender: Sender<News>) -> Self {
        Self {
            defect,
            subject: Mutant::new(defect, seed(), Box::new(Nowhere)),
            clock: std::time::Instant::now(),
            sender,
            streams: BTreeMap::new(),
            next_stream: 0,
            connect: None,
            waiting: None,
        }
    }

    #[expect(clippy::disallowed_methods, reason = "see above")]
    fn ms(&self) -> u64 {
        u64::try_from(self.clock.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn now(&self) -> Instant {
        Instant::from_millis(self.ms())
    }

    fn run(&mut self, news: &Receiver<News>) {
        loop {
            let due = self.subject.poll_timeout().map(Instant::as_millis);
            let until = [due, self.waiting.as_ref().map(|(_, until)| *until)].into_iter().flatten().min();
            let one = match until {
                Some(until) => news.recv_timeout(Duration::from_millis(until.saturating_sub(self.ms()))),
                None => news.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match one {
                Ok(News::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(one) => {
                    if !self.learn(one) {
                        return;
                    }
                    // HL-0105: what has arrived goes before what is due.
                    while let Ok(one) = news.try_recv() {
                        if matches!(one, News::Stop) || !self.learn(one) {
                            return;
                        }
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.subject.handle_timeout(self.now());
            self.serve();
            self.go_on_waiting();
            if let Some(stop) = self.subject.ended() {
                eprintln!("{stop:?}");
                std::process::exit(101);
            }
        }
    }

    /// `false` when it is asked to stop.
    fn learn(&mut self, news: News) -> bool {
        let now = self.now();
        match news {
            News::Request(line) => return self.answer(&line),
            News::Accepted(stream) => {
                let id = self.take(stream);
                self.subject.handle_accepted(now, id);
            }
            News::Connected(result) => {
                let result = result.map(|stream| self.take(stream));
                self.subject.handle_connected(now, result);
            }
            News::Bytes(id, bytes) => self.subject.handle_input(now, id, &bytes),
            News::End(id) => self.subject.handle_disconnected(now, id),
            News::Written(id, bytes) => self.subject.handle_transmitted(now, id, bytes),
            News::Stop => return false,
        }
        self.serve();
        true
    }

    fn answer(&mut self, line: &str) -> bool {
        let Ok(request) = serde_json::from_str::<Json>(line) else {
            say(&json!({"ok": false, "error": "failed", "why": "the request is no JSON"}));
            return true;
        };
        let verb = request.get("do").and_then(Json::as_str).unwrap_or_default().to_owned();
        let mut answer = if verb == "start" { self.start(&request) } else { self.subject.ask(self.now(), &request) };
        self.serve();
        let wait = request.get("wait_ms").and_then(Json::as_u64).unwrap_or(0);
        if verb == "recv" && wait > 0 && answer.get("text") == Some(&Json::Null) {
            self.waiting = Some((request, self.ms() + wait));
            return true;
        }
        answer["id"] = request.get("id").cloned().unwrap_or_default();
        say(&answer);
        verb != "stop"
    }

    fn go_on_waiting(&mut self) {
        let Some((request, until)) = self.waiting.take() else { return };
        let mut answer = self.subject.ask(self.now(), &request);
        if answer.get("text") == Some(&Json::Null) && self.ms() < until {
            self.waiting = Some((request, until));
            return;
        }
        self.serve();
        answer["id"] = request.get("id").cloned().unwrap_or_default();
        say(&answer);
    }

    fn start(&mut self, request: &Json) -> Json {
        let failed = |why: String| json!({"ok": false, "error": "failed", "why": why});
        let text = |key: &str| request.get(key).and_then(Json::as_str);
        if let Some(folder) = text("store") {
            let folder = Folder { file: PathBuf::from(folder).join("memory.json"), last: Vec::new() };
            self.subject = Mutant::new(self.defect, seed(), Box::new(folder));
        }
        if let Some(address) = text("connect") {
            match address.to_socket_addrs().ok().and_then(|mut all| all.next()) {
                Some(address) => self.connect = Some(address),
                None => return failed(format!("{address:?} is no address")),
            }
        }
        let mut answer = self.subject.ask(self.now(), request);
        if let Some(address) = text("listen").filter(|_| answer.get("ok") == Some(&json!(true))) {
            let listener = match TcpListener::bind(address) {
                Ok(listener) => listener,
                Err(error) => return failed(format!("{address}: {error}")),
            };
            answer["address"] = json!(listener.local_addr().map(|address| address.to_string()).unwrap_or_default());
            let sender = self.sender.clone();
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    if sender.send(News::Accepted(stream)).is_err() {
                        return;
                    }
                }
            });
        }
        answer
    }

    /// Gives a stream its threads.
    fn take(&mut self, stream: TcpStream) -> u64 {
        self.next_stream += 1;
        let id = self.next_stream;
        // A line is worth sending at once; a failure only costs latency.
        let _ = stream.set_nodelay(true);
        let (writer, lines) = channel();
        if let (Ok(reading), Ok(writing)) = (stream.try_clone(), stream.try_clone()) {
            let (from, to) = (self.sender.clone(), self.sender.clone());
            std::thread::spawn(move || read(reading, id, &from));
            std::thread::spawn(move || write(writing, id, &lines, &to));
        }
        self.streams.insert(id, (stream, writer));
        id
    }

    /// Does what the subject wants done.
    fn serve(&mut self) {
        while let Some(io) = self.subject.poll_io() {
            match io {
                Io::Write { stream, bytes } => {
                    if let Some((_, writer)) = self.streams.get(&stream) {
                        // Its thread has ended if the stream is broken, which the other one tells.
                        let _ = writer.send(bytes);
                    }
                }
                // Its writing thread closes the stream behind the last line.
                Io::Close { stream } => drop(self.streams.remove(&stream)),
                Io::Connect { timeout_ms } => self.call(timeout_ms),
                // Connections that still come are closed at once by the subject.
                Io::StopListening => {}
            }
        }
    }

    fn call(&self, timeout_ms: u32) {
        let Some(address) = self.connect else { return };
        let sender = self.sender.clone();
        std::thread::spawn(move || {
            let attempt = TcpStream::connect_timeout(&address, Duration::from_millis(timeout_ms.into()));
            let result = attempt.map_err(|error| match error.kind() {
                ErrorKind::ConnectionRefused => ConnectFailure::Refused,
                ErrorKind::TimedOut => ConnectFailure::TimedOut,
                _ => ConnectFailure::Unreachable,
            });
            // Nobody wants to know when the process is about to end.
            let _ = sender.send(News::Connected(result));
        });
    }
}

fn read(mut stream: TcpStream, id: u64, sender: &Sender<News>) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        if sender.send(News::Bytes(id, buffer[..count].to_vec())).is_err() {
            return;
        }
    }
    let _ = sender.send(News::End(id));
}

fn write(mut stream: TcpStream, id: u64, lines: &Receiver<Vec<u8>>, sender: &Sender<News>) {
    for bytes in lines {
        if stream.write_all(&bytes).is_err() || sender.send(News::Written(id, bytes.len())).is_err() {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
}

fn say(answer: &Json) {
    let mut output = std::io::stdout().lock();
    // Without anybody who reads there is nothing to be done about it; the end of the input ends the process.
    let _ = writeln!(output, "{answer}").and_then(|()| output.flush());
}

/// A store that keeps nothing.
#[derive(Debug)]
struct Nowhere;

impl Store for Nowhere {
    fn load(&self) -> Vec<u8> {
        Vec::new()
    }

    fn save(&mut self, _: &[u8]) {}
}

/// A store that is a file, replaced in one step.
#[derive(Debug)]
struct Folder {
    file: PathBuf,
    last: Vec<u8>,
}

impl Store for Folder {
    fn load(&self) -> Vec<u8> {
        fs::read(&self.file).unwrap_or_default()
    }

    fn save(&mut self, bytes: &[u8]) {
        if self.last == bytes {
            return;
        }
        let new = self.file.with_extension("new");
        match fs::write(&new, bytes).and_then(|()| fs::rename(&new, &self.file)) {
            Ok(()) => self.last = bytes.to_vec(),
            Err(error) => {
                // What cannot be kept must not be promised to the peer.
                eprintln!("{}: {error}", self.file.display());
                std::process::exit(1);
            }
        }
    }
}
