//! The relay: a process, as its chip is one of its own, with a reset pin.

use crate::stage::{Running, program, signal};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The relay's place at the wire.
#[derive(Clone)]
pub(crate) struct Relay(Arc<Mutex<Chip>>);

struct Chip {
    folder: PathBuf,
    running: Option<Running>,
    /// Whether the reset pin is low.
    is_held: bool,
    pulses: u64,
    starts: u64,
}

impl Relay {
    /// A relay that is powered, at the wire of this folder.
    pub(crate) fn new(folder: &Path) -> Self {
        let mut chip = Chip { folder: folder.to_owned(), running: None, is_held: false, pulses: 0, starts: 0 };
        chip.start(false);
        Self(Arc::new(Mutex::new(chip)))
    }

    /// What acts on the board's reset pin: it is given the board's log.
    pub(crate) fn reset_pin(&self) -> impl FnMut(&str) + Send + 'static {
        let relay = self.clone();
        move |line| match line {
            "reset pin low" => relay.chip().hold(),
            "reset pin high" => relay.chip().let_go(),
            _ => {}
        }
    }

    /// Ends it, as a crash does.
    pub(crate) fn kill(&self) {
        self.chip().running = None;
    }

    /// Starts it anew, unless the pin does that.
    pub(crate) fn restart(&self) {
        self.chip().start(false);
    }

    /// Starts it anew, as one that reads what it is told and says nothing.
    pub(crate) fn restart_mute(&self) {
        self.chip().start(true);
    }

    /// Has it hang.
    pub(crate) fn stop(&self) {
        self.signal("STOP");
    }

    /// Has it go on.
    pub(crate) fn go_on(&self) {
        self.signal("CONT");
    }

    /// Takes its WiFi away, or gives it back.
    pub(crate) fn hide_wifi(&self, is_hidden: bool) {
        let file = self.chip().no_wifi_file();
        let done = if is_hidden { File::create(file).map(drop) } else { std::fs::remove_file(file) };
        done.expect("it can be written and removed");
    }

    /// How often it was reset by its pin.
    pub(crate) fn pulses(&self) -> u64 {
        self.chip().pulses
    }

    /// How often it was started.
    pub(crate) fn starts(&self) -> u64 {
        self.chip().starts
    }

    fn signal(&self, name: &str) {
        if let Some(Running(child)) = &self.chip().running {
            signal(child, name);
        }
    }

    fn chip(&self) -> MutexGuard<'_, Chip> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Chip {
    fn hold(&mut self) {
        self.pulses += 1;
        self.is_held = true;
        self.running = None;
    }

    fn let_go(&mut self) {
        // A board that starts drives the pin high, which resets nothing.
        if self.is_held {
            self.is_held = false;
            self.start(false);
        }
    }

    fn no_wifi_file(&self) -> PathBuf {
        self.folder.join("no-wifi")
    }

    fn start(&mut self, is_mute: bool) {
        self.running = None;
        if self.is_held {
            return;
        }
        self.starts += 1;
        let log = File::options().create(true).append(true).open(self.folder.join("relay.log")).expect("a log");
        let child = Command::new(program("HOLDLINE_RELAY"))
            .args(["--ssid", "emulated", "--password", "waves", "--wire"])
            .arg(format!("unix:{}", self.folder.join("relay").display()))
            .arg("--no-wifi-file")
            .arg(self.no_wifi_file())
            .args(is_mute.then_some("--mute"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the relay starts");
        self.running = Some(Running(child));
    }
}
