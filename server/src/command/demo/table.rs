//! The table: redrawn in place on a terminal, printed once at the end elsewhere.

use super::plan::Disturbance;
use super::tally::{Device, Figures, Way};
use crate::command::quantity::Readable;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::sync::Arc;
use tokio::time::Instant;

#[derive(Debug)]
pub(super) struct Table {
    terminal: bool,
    seed: u64,
    seconds: u64,
    begun: Instant,
    /// How many lines stand on the terminal.
    drawn: usize,
    /// Off a terminal: what has been told of each device.
    told: Vec<Option<Disturbance>>,
}

impl Table {
    pub(super) fn new(seed: u64, seconds: u64) -> Self {
        let terminal = std::io::stdout().is_terminal();
        Self { terminal, seed, seconds, begun: Instant::now(), drawn: 0, told: Vec::new() }
    }

    /// Says what is about to be seen.
    pub(super) fn start(&mut self, devices: &[Arc<Device>]) {
        print(&format!(
            "A server, {} devices, and a link between them that misbehaves for {} s (seed {}).\n\
             Messages are numbered in both directions; each application checks what it gets.\n\n",
            devices.len(),
            self.seconds,
            self.seed,
        ));
        self.told = vec![None; devices.len()];
    }

    /// Shows how it stands.
    pub(super) fn draw(&mut self, devices: &[Arc<Device>]) {
        if self.terminal { self.redraw(devices, false) } else { self.tell_news(devices) }
    }

    /// Shows how it ended.
    pub(super) fn finish(&mut self, devices: &[Arc<Device>]) {
        if self.terminal { self.redraw(devices, true) } else { print(&format!("\n{}\n", rows(devices, true))) }
    }

    fn redraw(&mut self, devices: &[Arc<Device>], finished: bool) {
        let mut table = rows(devices, finished);
        let seconds = self.begun.elapsed().as_secs();
        let doing = match (finished, seconds < self.seconds) {
            (true, _) => String::new(),
            (false, true) => format!("{seconds} s of {}", self.seconds),
            (false, false) => "what still waits is being delivered".into(),
        };
        let _ = writeln!(table, "\n{doing}");
        let mut screen = String::new();
        if self.drawn > 0 {
            let _ = write!(screen, "\x1b[{}A", self.drawn);
        }
        for line in table.lines() {
            let _ = writeln!(screen, "{line}\x1b[K");
        }
        self.drawn = table.lines().count();
        print(&screen);
    }

    /// A line for each disturbance as it begins, and for each return.
    fn tell_news(&mut self, devices: &[Arc<Device>]) {
        let at = self.begun.elapsed().as_secs_f64();
        for (device, told) in devices.iter().zip(&mut self.told) {
            let now = device.disturbance();
            if let Some(disturbance) = now.filter(|_| now != *told) {
                print(&format!("{at:5.1} s  {:<9} {}\n", device.id, described(disturbance)));
            }
            *told = now;
            if let Some(after) = device.take_back() {
                print(&format!("{at:5.1} s  {:<9} back after {}\n", device.id, Readable(after)));
            }
        }
    }
}

/// Prints on standard output; nobody there is no reason to stop.
pub(super) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn described(disturbance: Disturbance) -> String {
    let name = disturbance.kind.name();
    if disturbance.lasts.is_zero() { name.into() } else { format!("{name}, {}", Readable(disturbance.lasts)) }
}

/// The table, without the line below it.
fn rows(devices: &[Arc<Device>], finished: bool) -> String {
    let mut table =
        format!("{:<24}{:>8}{:>11}{:>6}{:>10}{:>11}{:>9}\n", "", "sent", "delivered", "lost", "repeated", "reordered", "pause");
    for device in devices {
        let outages = device.outages();
        let now = match (device.disturbance(), device.is_up()) {
            (Some(disturbance), _) => described(disturbance),
            (None, true) => "connected".into(),
            (None, false) => "coming back".into(),
        };
        let plural = if outages == 1 { "" } else { "s" };
        // Errors do not occur: a string takes everything.
        let _ = writeln!(table, "{:<10}{:<14}{now}; {outages} outage{plural}", device.id, device.profile.to_string());
        for Way { name, tally } in [&device.up, &device.down] {
            let Figures { sent, delivered, lost, repeated, reordered, longest_pause, .. } = tally.figures();
            // While it runs, what has not arrived is on its way; in the end it is lost.
            let lost = if finished { sent.saturating_sub(delivered) } else { lost };
            let pause = Readable(longest_pause).to_string();
            let _ =
                writeln!(table, "          {name:<14}{sent:>8}{delivered:>11}{lost:>6}{repeated:>10}{reordered:>11}{pause:>9}");
        }
    }
    table
}
