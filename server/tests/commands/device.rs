//! Devices that speak the protocol by hand, and a cable that can be cut.

use crate::process::PATIENCE;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A raw connection to a server.
pub(crate) struct Wire {
    stream: TcpStream,
    lines: mpsc::Receiver<Vec<u8>>,
    /// Dropped with this, which ends what is repeated.
    repeated: Vec<mpsc::Sender<()>>,
}

impl Wire {
    pub(crate) fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("a TCP socket");
        let (sender, lines) = mpsc::channel();
        let mut input = BufReader::new(stream.try_clone().expect("a socket can be cloned"));
        std::thread::spawn(move || {
            let mut line = Vec::new();
            while input.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                if line.pop() != Some(b'\n') || sender.send(std::mem::take(&mut line)).is_err() {
                    return;
                }
            }
        });
        Self { stream, lines, repeated: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the server has not closed");
    }

    /// Sends this again and again, until the connection ends.
    pub(crate) fn repeat(&mut self, pause: Duration, bytes: String) {
        let (alive, ended) = mpsc::channel::<()>();
        let mut stream = self.stream.try_clone().expect("a socket can be cloned");
        std::thread::spawn(move || {
            while ended.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) && stream.write_all(bytes.as_bytes()).is_ok() {}
        });
        self.repeated.push(alive);
    }

    /// The next line, keepalives included; `None` when the server has closed.
    pub(crate) fn line(&self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(String::from_utf8(line).expect("the server writes UTF-8")),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("the server said nothing, and did not close"),
        }
    }

    /// The next line that is no keepalive.
    pub(crate) fn frame(&self) -> Option<String> {
        loop {
            let line = self.line();
            if line.as_deref() != Some("") {
                return line;
            }
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // The reading thread holds a clone, which would keep the connection open.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// A classic-2020 device that keeps its link alive by itself, and acknowledges what it gets.
pub(crate) struct ClassicDevice {
    messages: mpsc::Receiver<String>,
    acks: mpsc::Receiver<String>,
    stream: TcpStream,
    next: u8,
}

impl ClassicDevice {
    pub(crate) fn connect(address: &str, id: &str) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        let (input, output) =
            (stream.try_clone().expect("a socket"), Arc::new(Mutex::new(stream.try_clone().expect("a socket"))));
        writeln!(&stream, "{id}").expect("the server listens");
        let (got, messages) = mpsc::channel();
        let (acked, acks) = mpsc::channel();
        let (alive, ended) = mpsc::channel::<()>();
        let keepalive = Arc::clone(&output);
        std::thread::spawn(move || {
            while ended.recv_timeout(Duration::from_millis(300)) == Err(RecvTimeoutError::Timeout) {
                if keepalive.lock().expect("no thread panics with it").write_all(b"\n").is_err() {
                    return;
                }
            }
        });
        std::thread::spawn(move || {
            let _alive = alive;
            for line in BufReader::new(input).lines() {
                let Ok(line) = line else { return };
                match line.len() {
                    0 => continue,
                    2 => acked.send(line).ok(),
                    _ => {
                        let (id, text) = line.split_at(2);
                        let ack = format!("{id}\n");
                        // A link that has ended is seen by whoever waits for something on it.
                        let _ = output.lock().expect("no thread panics with it").write_all(ack.as_bytes());
                        got.send(text.to_owned()).ok()
                    }
                };
            }
        });
        Self { messages, acks, stream, next: 0 }
    }

    /// Sends a message and waits for its ack.
    pub(crate) fn write(&mut self, text: &str) {
        let id = format!("{:02x}", self.next);
        self.next += 1;
        self.stream.write_all(format!("{id}{text}\n").as_bytes()).expect("the link is up");
        assert_eq!(self.acks.recv_timeout(PATIENCE).expect("an ack in time"), id);
    }

    /// Waits for a message.
    pub(crate) fn read(&self) -> String {
        self.messages.recv_timeout(PATIENCE).expect("a message in time")
    }
}

impl Drop for ClassicDevice {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// A cable: it carries connections to a server until it is cut, and then the next ones.
pub(crate) struct Cable {
    pub(crate) address: String,
    carried: Arc<Mutex<Vec<TcpStream>>>,
}

impl Cable {
    pub(crate) fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it listens").to_string();
        let carried = Arc::new(Mutex::new(Vec::new()));
        let (open, server) = (Arc::clone(&carried), server.to_owned());
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect(&server) else { continue };
                let mut open = open.lock().expect("no thread panics with it");
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (mut from, mut to) = (from.try_clone().expect("a socket"), to.try_clone().expect("a socket"));
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
                open.extend([near, far]);
            }
        });
        Self { address, carried }
    }

    /// Cuts what it carries now.
    pub(crate) fn cut(&self) {
        for stream in self.carried.lock().expect("no thread panics with it").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
