//! The programs: the server, the proxy, the emulator, and the wires to each of them.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// All that runs; dropped, all of it ends.
pub(crate) struct Stage {
    folder: PathBuf,
    joined: Joined,
    server: Option<(Child, ChildStdin)>,
    server_port: u16,
    api_port: u16,
    _proxy: Running,
    _machine: Running,
    qmp: BufReader<UnixStream>,
    lines: (Sender<Printed>, Receiver<Printed>),
    /// How often the server was started again.
    pub(crate) life: u64,
}

/// A text, and the life of the server that printed it.
pub(crate) type Printed = (u64, String);

pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some((mut child, _)) = self.server.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

pub(crate) fn program(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} names no program: run fw-esp/test-qemu.sh"))
}

/// What joins the board to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Joined {
    /// Its network card.
    ByNetwork,
    /// Its serial port, whose other end is the socket `uart` in the stage's folder: a wire that may damage lines, so the server has them
    /// checked.
    BySerial,
}

impl Stage {
    /// All programs, with the board's that the variable names. Each line of its log goes to `on_log` before anything else is done with it.
    pub(crate) fn new(board: &str, joined: Joined, on_log: impl FnMut(&str) + Send + 'static) -> Self {
        let server_port = {
            let probe = TcpListener::bind("127.0.0.1:0").expect("a free port");
            probe.local_addr().expect("it is bound").port()
        };
        let folder = folder(board);
        let (proxy, proxy_port, api_port) = start_proxy(&folder, server_port);
        let (machine, qmp) = start_machine(&folder, board, joined, proxy_port, on_log);
        let mut stage = Self {
            folder,
            joined,
            server: None,
            server_port,
            api_port,
            _proxy: proxy,
            _machine: machine,
            qmp,
            lines: channel(),
            life: 0,
        };
        stage.machine("qmp_capabilities", "{}");
        stage.spawn_server();
        stage
    }

    /// The server again, without memory.
    pub(crate) fn start_server(&mut self) {
        self.life += 1;
        self.spawn_server();
    }

    fn spawn_server(&mut self) {
        let log = File::options().create(true).append(true).open(self.folder.join("server.log")).expect("a log");
        let address = format!("127.0.0.1:{}", self.server_port);
        let listen = match self.joined {
            Joined::ByNetwork => vec!["--listen", &address],
            Joined::BySerial => vec!["--listen", "127.0.0.1:0", "--listen-checked", &address],
        };
        let mut child = Command::new(program("HOLDLINE_SERVER"))
            .arg("serve")
            .args(listen)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the server starts");
        let stdin = child.stdin.take().expect("it is piped");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        self.server = Some((child, stdin));
        let (lines, life) = (self.lines.0.clone(), self.life);
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let text = line.split_once(r#""text":""#).and_then(|(_, rest)| rest.split('"').next());
                let text = text.unwrap_or_else(|| panic!("the server prints {line:?}")).to_owned();
                if lines.send((life, text)).is_err() {
                    return;
                }
            }
        });
    }

    /// Ends the server by a signal, and waits for its end.
    pub(crate) fn stop_server(&mut self, signal: &str) {
        let (mut child, stdin) = self.server.take().expect("it runs");
        self::signal(&child, signal);
        child.wait().expect("it ends");
        drop(stdin);
    }

    /// Whether the server runs.
    pub(crate) fn serves(&self) -> bool {
        self.server.is_some()
    }

    /// Gives the server a text for the board.
    pub(crate) fn feed(&mut self, text: &str) {
        let (_, stdin) = self.server.as_mut().expect("it runs");
        writeln!(stdin, "board {text}").expect("the server reads");
    }

    /// What the servers have printed, each with its life; waits for so long if there is nothing.
    pub(crate) fn printed(&mut self, wait: Duration) -> Vec<Printed> {
        let first = self.lines.1.recv_timeout(wait).ok();
        first.into_iter().chain(self.lines.1.try_iter()).collect()
    }

    /// A request to the proxy.
    pub(crate) fn post(&self, path: &str, body: &str) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.api_port)).expect("the proxy listens");
        let head = format!("POST {path} HTTP/1.1\r\nHost: proxy\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all((head + body).as_bytes()).expect("the proxy reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the proxy answers");
        assert!(answer.starts_with("HTTP/1.1 2"), "{path} {body}: {answer}");
    }

    /// A command to QEMU.
    pub(crate) fn machine(&mut self, command: &str, arguments: &str) {
        let request = format!("{{\"execute\": \"{command}\", \"arguments\": {arguments}}}\n");
        self.qmp.get_mut().write_all(request.as_bytes()).expect("QEMU reads");
        loop {
            let mut line = String::new();
            self.qmp.read_line(&mut line).expect("QEMU answers");
            assert!(!line.is_empty() && !line.contains(r#""error""#), "{command}: {line:?}");
            if line.contains(r#""return""#) {
                return;
            }
        }
    }

    /// How often the board has started, as it says.
    pub(crate) fn board_starts(&self) -> u32 {
        let log = std::fs::read_to_string(self.folder.join("board.log")).expect("it was written");
        log.lines().filter(|line| line.contains(" ms] boot ")).count() as u32
    }

    /// The ends of all logs.
    pub(crate) fn logs(&self) -> String {
        let end = |name: &str| {
            let log = std::fs::read_to_string(self.folder.join(name)).unwrap_or_default();
            let from = log.len().saturating_sub(1_500);
            format!("--- {name}\n{}\n", log.get(from..).unwrap_or(&log))
        };
        ["board.log", "qemu.log", "relay.log", "server.log", "proxy.log"].map(end).concat()
    }
}

/// Sends a signal to a program that runs.
pub(crate) fn signal(child: &Child, name: &str) {
    let kill = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status();
    assert!(kill.is_ok_and(|status| status.success()), "it was running");
}

/// Where the stage of this board keeps its sockets and logs, which goes with it.
pub(crate) fn folder(board: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("holdline-{board}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for logs");
    folder
}

/// The proxy to this port; where it listens, and for requests.
fn start_proxy(folder: &Path, server_port: u16) -> (Running, u16, u16) {
    let mut proxy = Command::new(program("HOLDLINE_SIM"))
        .args(["proxy", "--listen", "127.0.0.1:0", "--api", "127.0.0.1:0", "--upstream"])
        .arg(format!("127.0.0.1:{server_port}"))
        .stdout(Stdio::piped())
        .stderr(File::create(folder.join("proxy.log")).expect("a log"))
        .spawn()
        .expect("the proxy starts");
    let mut said = BufReader::new(proxy.stdout.take().expect("it is piped")).lines();
    let mut port_after = |start: &str| -> u16 {
        let line = said.next().expect("the proxy says where it listens").expect("text");
        let port = line.strip_prefix(start).and_then(|rest| rest.split_whitespace().next()?.rsplit(':').next()?.parse().ok());
        port.unwrap_or_else(|| panic!("the proxy says {line:?}, and not {start:?}"))
    };
    let (proxy_port, api_port) = (port_after("line: "), port_after("HTTP API: "));
    std::thread::spawn(move || said.for_each(drop));
    (Running(proxy), proxy_port, api_port)
}

/// The emulator, with the port of its server, and the socket of its commands.
fn start_machine(
    folder: &Path,
    board: &str,
    joined: Joined,
    port: u16,
    mut on_log: impl FnMut(&str) + Send + 'static,
) -> (Running, BufReader<UnixStream>) {
    let socket = folder.join("qmp");
    let listener = UnixListener::bind(&socket).expect("a socket for QEMU's commands");
    let flash = folder.join("flash");
    // With a flash the machine starts there: `lui t0, 0x80000; jr t0` goes on where the kernel is.
    let mut erased = vec![0xff; 32 << 20];
    erased[..8].copy_from_slice(&[0xb7, 0x02, 0x00, 0x80, 0x67, 0x80, 0x02, 0x00]);
    std::fs::write(&flash, erased).expect("room for 32 MiB of flash");
    let mut command = Command::new("qemu-system-riscv32");
    command.args(["-machine", "virt", "-bios", "none", "-m", "16M", "-nographic", "-monitor", "none"]);
    match joined {
        Joined::ByNetwork => command
            .args(["-global", "virtio-mmio.force-legacy=false", "-device", "virtio-net-device,netdev=n0"])
            .args(["-netdev", "user,id=n0", "-serial", "none"]),
        Joined::BySerial => command.args([
            "-chardev",
            &format!("socket,id=wire,path={}", folder.join("uart").display()),
            "-serial",
            "chardev:wire",
        ]),
    };
    let mut machine = command
        .args(["-chardev", "stdio,id=log,signal=off", "-semihosting-config", "enable=on,target=native,chardev=log"])
        .args(["-drive", &format!("if=pflash,unit=0,format=raw,file={}", flash.display())])
        .args(["-device", &format!("loader,addr=0x80100000,data-len=4,data={port}")])
        .args(["-qmp", &format!("unix:{},server=off", socket.display())])
        .args(["-kernel", &program(board)])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::create(folder.join("qemu.log")).expect("a log"))
        .spawn()
        .expect("qemu-system-riscv32 starts: on Debian it is in qemu-system-misc");
    let said = BufReader::new(machine.stdout.take().expect("it is piped"));
    let mut log = File::create(folder.join("board.log")).expect("a log");
    std::thread::spawn(move || {
        for line in said.lines().map_while(Result::ok) {
            on_log(&line);
            let _ = writeln!(log, "{line}");
        }
    });
    let (qmp, _) = listener.accept().expect("QEMU connects");
    (Running(machine), BufReader::new(qmp))
}
