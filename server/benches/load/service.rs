//! The server processes: Holdline with an application, and the echo that is the floor.

use futures_core::Stream;
use holdline_server::{Connection, Reports, Server, ServerConfig, What};
use std::future::poll_fn;
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};

/// Serves until killed, after the address it listens on has been printed.
pub(crate) fn run(kind: &str, workers: usize) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build();
    let Ok(runtime) = runtime else { return ExitCode::FAILURE };
    let kind = kind.to_owned();
    let served = runtime.block_on(async move {
        // As a task: the workers then have all of it, and the main thread sleeps.
        tokio::spawn(async move {
            match &*kind {
                "echo" => echo().await,
                "gathered" => gathered().await,
                _ => holdline().await,
            }
        })
        .await
    });
    match served {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
        Err(_) => ExitCode::FAILURE,
    }
}

fn announce(address: SocketAddr) -> io::Result<()> {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{address}")?;
    stdout.flush()
}

/// What a line costs on Tokio at all: no protocol, no timer, and no buffer while idle.
async fn echo() -> io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    let listener = socket.listen(4_096)?;
    announce(listener.local_addr()?)?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            // What the socket did not take: rare, so it may cost an allocation.
            let mut rest = Vec::new();
            poll_fn(|cx| poll_echo(cx, &mut stream, &mut rest)).await
        });
    }
}

/// Writes back what can be read, until there is no more of it.
fn poll_echo(cx: &mut Context<'_>, stream: &mut TcpStream, rest: &mut Vec<u8>) -> Poll<io::Result<()>> {
    // Not zeroed, which would take longer than all the rest of it.
    let mut bytes = [MaybeUninit::<u8>::uninit(); 16 * 1024];
    loop {
        while !rest.is_empty() {
            let written = ready!(Pin::new(&mut *stream).poll_write(cx, rest))?;
            rest.drain(..written);
        }
        let mut buffer = ReadBuf::uninit(&mut bytes);
        ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer))?;
        if buffer.filled().is_empty() {
            return Poll::Ready(Ok(()));
        }
        let written = match Pin::new(&mut *stream).poll_write(cx, buffer.filled()) {
            Poll::Ready(written) => written?,
            Poll::Pending => 0,
        };
        rest.extend_from_slice(&buffer.filled()[written..]);
    }
}

/// The server as an application uses it: it learns of lines from the reports, and reads each in a task of its own.
async fn holdline() -> io::Result<()> {
    let (server, mut reports) = listen().await?;
    while let Some(line) = next_line(&server, &mut reports).await {
        tokio::spawn(async move {
            while let Ok(text) = line.readline().await {
                std::hint::black_box(text);
            }
        });
    }
    Ok(())
}

/// The server as an application with very many lines uses it: one task reads those that have something.
async fn gathered() -> io::Result<()> {
    let (server, mut reports) = listen().await?;
    let gathered = Arc::new(Gathered::default());
    tokio::spawn(read_all(Arc::clone(&gathered)));
    while let Some(line) = next_line(&server, &mut reports).await {
        gathered.tell(|shared| shared.joined.push(line));
    }
    Ok(())
}

#[derive(Default)]
struct Gathered(Mutex<Shared>);

#[derive(Default)]
struct Shared {
    joined: Vec<Connection>,
    /// Lines that have something to read.
    ready: Vec<usize>,
    reader: Option<Waker>,
}

/// The waker of one line.
struct Bell {
    gathered: Arc<Gathered>,
    line: usize,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.gathered.tell(|shared| shared.ready.push(self.line));
    }
}

impl Gathered {
    fn tell(&self, tell: impl FnOnce(&mut Shared)) {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tell(&mut shared);
        let reader = shared.reader.take();
        drop(shared);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

async fn read_all(gathered: Arc<Gathered>) {
    let mut lines: Vec<(Connection, Waker)> = Vec::new();
    poll_fn(|cx| {
        let mut shared = gathered.0.lock().unwrap_or_else(PoisonError::into_inner);
        shared.reader = Some(cx.waker().clone());
        let (joined, ready) = (std::mem::take(&mut shared.joined), std::mem::take(&mut shared.ready));
        drop(shared);
        let first = lines.len();
        // Not twice as much each time: it is measured.
        lines.reserve_exact(joined.len());
        for line in joined {
            let bell = Bell { gathered: Arc::clone(&gathered), line: lines.len() };
            lines.push((line, Arc::new(bell).into()));
        }
        for index in ready.into_iter().chain(first..lines.len()) {
            let Some((line, waker)) = lines.get_mut(index) else { continue };
            while let Poll::Ready(Some(text)) = Pin::new(&mut *line).poll_next(&mut Context::from_waker(waker)) {
                std::hint::black_box(text);
            }
        }
        Poll::<()>::Pending
    })
    .await;
}

async fn listen() -> io::Result<(Server, Reports)> {
    let server = Server::bind("127.0.0.1:0", ServerConfig::default()).await.map_err(io::Error::other)?;
    let reports = server.reports();
    announce(server.local_addr().ok_or(io::ErrorKind::AddrNotAvailable)?)?;
    Ok((server, reports))
}

async fn next_line(server: &Server, reports: &mut Reports) -> Option<Connection> {
    loop {
        let report = reports.next().await?;
        if report.what == What::Connected {
            return server.get(&report.client);
        }
    }
}
