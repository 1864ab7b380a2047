//! A subject behind a shim: a child process that is asked on its standard input, and reached over TCP.

use super::net::{Net, listen};
use super::{Bench, LinkId, Links, Stop};
use serde_json::{Value as Json, json};
use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A bench over a shim.
#[derive(Debug)]
pub struct Shim {
    command: Vec<String>,
    process: Option<Process>,
    net: Net,
    /// Where a client under test connects to.
    listener: Option<TcpListener>,
    /// Where a server under test listens.
    address: Option<SocketAddr>,
    is_server: bool,
    store: Folder,
    tolerance_ms: u64,
    patience: Duration,
    next_id: u64,
}

#[derive(Debug)]
struct Process {
    child: Child,
    input: ChildStdin,
    answers: Receiver<Vec<u8>>,
    log: Arc<Mutex<VecDeque<u8>>>,
}

/// The longest answer.
const ANSWER_MAX: u64 = 4 << 20;
/// What is kept of standard error.
const LOG_MAX: usize = 4096;

impl Shim {
    /// A bench for one case: nothing is started yet. An answer is waited for as long as `patience`.
    pub fn new(command: &[String], tolerance_ms: u64, patience: Duration) -> Self {
        Self {
            command: command.to_vec(),
            process: None,
            net: Net::new(),
            listener: None,
            address: None,
            is_server: false,
            store: Folder::default(),
            tolerance_ms,
            patience,
            next_id: 0,
        }
    }

    /// Starts the process, asks who is there, and whether it says `unimplemented` to nonsense.
    ///
    /// # Errors
    /// It cannot be started, or it is no shim.
    pub fn introduce(&mut self) -> Result<Json, Stop> {
        self.spawn()?;
        let hello = self.ask(json!({"do": "hello"}))?;
        if hello.get("ok") != Some(&json!(true)) || hello.get("shim") != Some(&json!(1)) {
            return Err(Stop::Unable(format!(
                "it does not speak the shim protocol, version 1: it answered `hello` with {hello}"
            )));
        }
        let nonsense = self.ask(json!({"do": "holdline-conformance-nonsense"}))?;
        if nonsense.get("error") != Some(&json!("unimplemented")) {
            return Err(Stop::Unable(format!(
                "it does not say `unimplemented` to a verb that does not exist, so nothing that it says can be believed: {nonsense}"
            )));
        }
        Ok(hello)
    }

    fn spawn(&mut self) -> Result<(), Stop> {
        let [program, arguments @ ..] = &self.command[..] else { return Err(Stop::Unable("there is no command".to_owned())) };
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| Stop::Unable(format!("{program}: {error}")))?;
        let (Some(input), Some(output), Some(errors)) = (child.stdin.take(), child.stdout.take(), child.stderr.take()) else {
            return Err(Stop::Unable("the command has no pipes".to_owned()));
        };
        let (sender, answers) = sync_channel(16);
        std::thread::spawn(move || {
            let mut output = BufReader::new(output);
            loop {
                let mut line = Vec::new();
                match output.by_ref().take(ANSWER_MAX).read_until(b'\n', &mut line) {
                    Ok(1..) => {}
                    Ok(0) | Err(_) => return,
                }
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let log = Arc::new(Mutex::new(VecDeque::new()));
        let kept = Arc::clone(&log);
        std::thread::spawn(move || keep_log(errors, &kept));
        self.process = Some(Process { child, input, answers, log });
        Ok(())
    }

    /// What the process last said on standard error.
    pub fn log(&self) -> String {
        let Some(process) = &self.process else { return String::new() };
        let log = process.log.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&log.iter().copied().collect::<Vec<u8>>()).into_owned()
    }

    /// Why it does not answer any more.
    fn crashed(&mut self) -> Stop {
        let Some(process) = &mut self.process else { return Stop::Crashed("the process was killed".to_owned()) };
        // Its output is closed; so it is ending, or will never answer again.
        super::clock::rest(50);
        let status = match process.child.try_wait() {
            Ok(Some(status)) => status.to_string(),
            _ => "it closed its standard output".to_owned(),
        };
        let log = self.log();
        let last: Vec<&str> = log.lines().rev().take(3).collect();
        let last = last.into_iter().rev().collect::<Vec<_>>().join(" / ");
        Stop::Crashed(format!("the subject's process ended: {status}{}{last}", if last.is_empty() { "" } else { ": " }))
    }
}

fn keep_log(mut errors: impl Read, log: &Mutex<VecDeque<u8>>) {
    let mut buffer = [0; 1024];
    while let Ok(count @ 1..) = errors.read(&mut buffer) {
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        log.extend(&buffer[..count]);
        let excess = log.len().saturating_sub(LOG_MAX);
        log.drain(..excess);
    }
}

impl Bench for Shim {
    fn now(&self) -> u64 {
        self.net.clock.now()
    }

    fn tolerance(&self) -> u64 {
        self.tolerance_ms
    }

    fn has_shim(&self) -> bool {
        true
    }

    fn start(&mut self, mut settings: Json) -> Result<Json, Stop> {
        if self.process.is_none() {
            self.spawn()?;
        }
        self.is_server = settings.get("role").is_some_and(|role| role == "server");
        if settings.get("store").is_some() {
            settings["store"] = json!(self.store.path()?);
        }
        settings["do"] = json!("start");
        if self.is_server {
            settings["listen"] = json!("127.0.0.1:0");
        } else {
            if self.listener.is_none() {
                self.listener = Some(listen("127.0.0.1:0")?);
            }
            let address = self.listener.as_ref().and_then(|listener| listener.local_addr().ok());
            settings["connect"] = json!(address.map(|address| address.to_string()).unwrap_or_default());
        }
        let answer = self.ask(settings)?;
        if self.is_server && answer.get("ok") == Some(&json!(true)) {
            let address = answer.get("address").and_then(Json::as_str).unwrap_or_default();
            self.address = address.to_socket_addrs().ok().and_then(|mut all| all.next());
            if self.address.is_none() {
                return Err(Stop::Garbage(format!("the answer to `start` has no good `address`: {answer}")));
            }
        }
        Ok(answer)
    }

    fn open(&mut self, until: u64) -> Result<Option<LinkId>, Stop> {
        match (&self.listener, self.address) {
            (Some(listener), _) if !self.is_server => self.net.accept(listener, until),
            (_, Some(address)) => self.net.connect(address, until),
            _ => Err(Stop::Unable("the subject was not started".to_owned())),
        }
    }

    fn links(&mut self) -> &mut dyn Links {
        &mut self.net
    }

    fn ask(&mut self, mut request: Json) -> Result<Json, Stop> {
        self.next_id += 1;
        request["id"] = json!(self.next_id);
        let Some(process) = &mut self.process else { return Err(Stop::Unable("the subject was not started".to_owned())) };
        if writeln!(process.input, "{request}").and_then(|()| process.input.flush()).is_err() {
            return Err(self.crashed());
        }
        let line = match process.answers.recv_timeout(self.patience) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => {
                return Err(Stop::Hung(format!("no answer to {request} within {} s", self.patience.as_secs())));
            }
            Err(RecvTimeoutError::Disconnected) => return Err(self.crashed()),
        };
        let shown = || String::from_utf8_lossy(line.get(..200).unwrap_or(&line)).trim_end().to_owned();
        let answer: Json = serde_json::from_slice(&line)
            .map_err(|error| Stop::Garbage(format!("{request} was answered with `{}`: {error}", shown())))?;
        if answer.get("id") != Some(&json!(self.next_id)) || !answer.get("ok").is_some_and(Json::is_boolean) {
            return Err(Stop::Garbage(format!("{request} was answered with `{}`, which has another `id`, or no `ok`", shown())));
        }
        Ok(answer)
    }

    fn kill(&mut self) -> Result<(), Stop> {
        if let Some(mut process) = self.process.take() {
            // One that has ended by itself is as dead.
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
        self.address = None;
        Ok(())
    }

    fn snapshot(&mut self, name: &str) -> Result<(), Stop> {
        self.store.copy_as(name)
    }

    fn restore(&mut self, name: Option<&str>) -> Result<(), Stop> {
        self.store.put_back(name)
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        // Killing a process that runs cannot fail in a way that could be mended here.
        let _ = self.kill();
    }
}

/// A subject's store, and copies of it.
#[derive(Debug, Default)]
struct Folder(Option<PathBuf>);

static FOLDERS: AtomicU64 = AtomicU64::new(0);

impl Folder {
    fn base(&mut self) -> Result<PathBuf, Stop> {
        if let Some(base) = &self.0 {
            return Ok(base.clone());
        }
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let base = std::env::temp_dir().join(format!("holdline-conformance-{}-{number}", std::process::id()));
        fs::create_dir_all(base.join("store")).map_err(unable)?;
        self.0 = Some(base.clone());
        Ok(base)
    }

    fn path(&mut self) -> Result<PathBuf, Stop> {
        Ok(self.base()?.join("store"))
    }

    fn copy_as(&mut self, name: &str) -> Result<(), Stop> {
        let base = self.base()?;
        let copy = base.join(format!("copy-{name}"));
        if copy.exists() {
            fs::remove_dir_all(&copy).map_err(unable)?;
        }
        copy_folder(&base.join("store"), &copy).map_err(unable)
    }

    fn put_back(&mut self, name: Option<&str>) -> Result<(), Stop> {
        let base = self.base()?;
        let store = base.join("store");
        fs::remove_dir_all(&store).map_err(unable)?;
        match name {
            None => fs::create_dir_all(&store).map_err(unable),
            Some(name) => copy_folder(&base.join(format!("copy-{name}")), &store).map_err(unable),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Some(base) = &self.0 {
            // It is in the folder for what may be lost.
            let _ = fs::remove_dir_all(base);
        }
    }
}

fn unable(error: std::io::Error) -> Stop {
    Stop::Unable(format!("the subject's store: {error}"))
}

fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
