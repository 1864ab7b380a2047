//! Processes of the built binary, and what they print.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

pub(crate) use rustix::process::Signal;

/// Far more than anything here takes; a test that needs it all has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A command at work; killed when dropped.
pub(crate) struct Running {
    child: Child,
    input: Option<ChildStdin>,
    pub(crate) out: Lines,
    pub(crate) err: Lines,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: Vec<String>,
    pub(crate) err: Vec<String>,
}

/// The lines that a command has printed so far.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<(Mutex<Printed>, Condvar)>);

#[derive(Default)]
struct Printed {
    lines: Vec<String>,
    closed: bool,
}

/// Starts the binary.
pub(crate) fn start(arguments: &[&str]) -> Running {
    let mut child = Command::new(env!("CARGO_BIN_EXE_holdline-server"))
        .args(arguments)
        .env_remove("RUST_LOG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary was built for this test");
    let out = Lines::of(child.stdout.take().expect("it is piped"));
    let err = Lines::of(child.stderr.take().expect("it is piped"));
    Running { input: child.stdin.take(), child, out, err }
}

/// Starts a server on a free port of this machine, and tells where it listens.
pub(crate) fn serve(options: &[&str]) -> (Running, String) {
    let server = start(&[&["serve", "--listen", "127.0.0.1:0"], options].concat());
    let address =
        server.err.wait(|lines| lines.iter().find_map(|line| line.split_once("listens on ")).map(|(_, at)| at.to_owned()));
    (server, address)
}

impl Running {
    /// Types a line.
    pub(crate) fn type_line(&mut self, line: impl AsRef<[u8]>) {
        let input = self.input.as_mut().expect("input was not ended");
        input.write_all(&[line.as_ref(), b"\n"].concat()).expect("it reads");
    }

    /// Types end of file.
    pub(crate) fn end_input(&mut self) {
        self.input = None;
    }

    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Waits until it has ended.
    pub(crate) fn ended(mut self) -> Ended {
        // Both are closed when it ends, and not before; one that does not end shows what it said.
        let closed = [&self.out, &self.err].map(|lines| lines.find(|printed| printed.closed.then_some(())));
        if closed.contains(&None) {
            panic!("it does not end; it printed {:#?} and said {:#?}", self.out.all(), self.err.all());
        }
        let code = self.child.wait().expect("it was started").code();
        Ended { code, out: self.out.all(), err: self.err.all() }
    }

    /// Ends its input and waits until it has ended.
    pub(crate) fn finished(mut self) -> Ended {
        self.end_input();
        self.ended()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Lines {
    fn of(stream: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let printed = lines.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n') {
                let Ok(line) = line else { break };
                printed.change(|printed| printed.lines.push(String::from_utf8_lossy(&line).into_owned()));
            }
            printed.change(|printed| printed.closed = true);
        });
        lines
    }

    fn change(&self, change: impl FnOnce(&mut Printed)) {
        let (printed, changed) = &*self.0;
        change(&mut printed.lock().unwrap_or_else(PoisonError::into_inner));
        changed.notify_all();
    }

    /// Waits until what has been printed satisfies `find`.
    pub(crate) fn wait<T>(&self, mut find: impl FnMut(&[String]) -> Option<T>) -> T {
        let found = self.find(|printed| find(&printed.lines));
        found.unwrap_or_else(|| panic!("it never printed what was waited for, but: {:#?}", self.all()))
    }

    /// Waits for a line that contains `text`, and tells it.
    pub(crate) fn wait_line(&self, text: &str) -> String {
        self.wait_nth(text, 1)
    }

    /// Waits for the `count`th line that contains `text`.
    pub(crate) fn wait_nth(&self, text: &str, count: usize) -> String {
        self.wait(|lines| lines.iter().filter(|line| line.contains(text)).nth(count - 1).cloned())
    }

    fn find<T>(&self, mut find: impl FnMut(&Printed) -> Option<T>) -> Option<T> {
        let (printed, changed) = &*self.0;
        let mut found = None;
        let guard = printed.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = |printed: &mut Printed| {
            found = find(printed);
            found.is_none() && !printed.closed
        };
        drop(changed.wait_timeout_while(guard, PATIENCE, waiting).unwrap_or_else(PoisonError::into_inner));
        found
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).lines.clone()
    }
}

/// The messages of a client among the lines that a server prints.
pub(crate) fn texts_of(client: &str, lines: &[String]) -> Vec<String> {
    let records = lines.iter().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("each line is JSON"));
    records.filter(|record| record["client"] == client).filter_map(|record| record["text"].as_str().map(Into::into)).collect()
}

/// The numbers of numbered messages, by run, in the order of arrival.
pub(crate) fn runs(texts: &[String]) -> Vec<(String, Vec<u64>)> {
    let mut runs: Vec<(String, Vec<u64>)> = Vec::new();
    for text in texts {
        let Some((number, run)) = text.strip_prefix("count=").and_then(|rest| rest.split_once(" run=")) else { continue };
        let number = number.parse().expect("a number");
        match runs.iter_mut().find(|(known, _)| known == run) {
            Some((_, numbers)) => numbers.push(number),
            None => runs.push((run.into(), vec![number])),
        }
    }
    runs
}
