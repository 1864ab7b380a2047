//! What the relay has, as the client of a board knows it: a network, connections.

use crate::hooks::Hooks;
use crate::host::{HostLink, Notices};
use crate::transport::{ConnectFailure, Connector, JoinFailed, Network, Stream};
use core::cell::RefCell;
use core::convert::Infallible;
use core::fmt;
use core::future::poll_fn;
use core::ops::ControlFlow;
use core::task::Poll;
use embedded_io_async::{ErrorKind, ErrorType, Read, Write};

/// The relay's WiFi.
pub(super) struct RelayNetwork<'h, 's>(pub(super) &'h HostLink<'s>);

/// While this lives, a relay that is silent is reset.
struct Need<'h, 's>(&'h HostLink<'s>);

impl Drop for Need<'_, '_> {
    fn drop(&mut self) {
        self.0.wire.borrow_mut().end.is_needed = false;
    }
}

impl Network for RelayNetwork<'_, '_> {
    async fn join(&mut self) -> Result<(), JoinFailed> {
        let link = self.0;
        link.change(|wire| wire.end.is_needed = true);
        let _need = Need(link);
        link.until(|wire| wire.end.is_ready().then_some(())).await;
        link.change(|wire| wire.end.join());
        link.until(|wire| wire.end.joined()).await
    }

    async fn leave(&mut self) {
        self.0.change(|wire| wire.end.leave());
        self.0.until(|wire| wire.end.has_left().then_some(())).await;
    }

    fn is_up(&mut self) -> bool {
        self.0.wire.borrow().end.is_up()
    }
}

/// The relay's connections.
pub(super) struct RelayConnector<'h, 's>(pub(super) &'h HostLink<'s>);

/// A connection of the relay, or the attempt to open one.
pub(super) struct RelayStream<'h, 's>(&'h HostLink<'s>);

impl Drop for RelayStream<'_, '_> {
    fn drop(&mut self) {
        self.0.change(|wire| {
            wire.end.disconnect();
            wire.clear();
        });
    }
}

impl<'h, 's> Connector for RelayConnector<'h, 's> {
    type Stream<'c>
        = RelayStream<'h, 's>
    where
        Self: 'c;

    async fn connect(&mut self) -> Result<RelayStream<'h, 's>, ConnectFailure> {
        self.0.change(|wire| {
            wire.clear();
            wire.end.connect();
        });
        let stream = RelayStream(self.0);
        self.0.until(|wire| wire.end.connected()).await?;
        Ok(stream)
    }
}

/// The receiving half.
pub(super) struct RelayReader<'h, 's>(&'h HostLink<'s>);

/// The sending half.
pub(super) struct RelayWriter<'h, 's>(&'h HostLink<'s>);

impl<'h, 's> Stream for RelayStream<'h, 's> {
    type Reader<'c>
        = RelayReader<'h, 's>
    where
        Self: 'c;
    type Writer<'c>
        = RelayWriter<'h, 's>
    where
        Self: 'c;

    fn split(&mut self) -> (RelayReader<'h, 's>, RelayWriter<'h, 's>) {
        (RelayReader(self.0), RelayWriter(self.0))
    }

    async fn close(&mut self) {
        let _ = RelayWriter(self.0).flush().await;
    }
}

impl ErrorType for RelayReader<'_, '_> {
    type Error = Infallible;
}

impl Read for RelayReader<'_, '_> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        if buffer.is_empty() {
            return Ok(0);
        }
        poll_fn(|_| {
            let mut wire = self.0.wire.borrow_mut();
            match wire.receive(buffer) {
                0 if wire.end.is_open() => Poll::Pending,
                count => Poll::Ready(Ok(count)),
            }
        })
        .await
    }
}

/// The connection has ended.
#[derive(Debug)]
pub(super) struct LinkOver;

impl fmt::Display for LinkOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the relay's connection to the server has ended")
    }
}

impl core::error::Error for LinkOver {}

impl embedded_io_async::Error for LinkOver {
    fn kind(&self) -> ErrorKind {
        ErrorKind::ConnectionReset
    }
}

impl ErrorType for RelayWriter<'_, '_> {
    type Error = LinkOver;
}

impl Write for RelayWriter<'_, '_> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, LinkOver> {
        if bytes.is_empty() {
            return Ok(0);
        }
        poll_fn(|_| {
            let mut wire = self.0.wire.borrow_mut();
            if !wire.end.is_open() {
                return Poll::Ready(Err(LinkOver));
            }
            match wire.send(bytes) {
                0 => Poll::Pending,
                count => Poll::Ready(Ok(count)),
            }
        })
        .await
    }

    async fn flush(&mut self) -> Result<(), LinkOver> {
        self.0
            .until(|wire| match (wire.end.is_open(), wire.is_flushed()) {
                (false, _) => Some(Err(LinkOver)),
                (true, true) => Some(Ok(())),
                (true, false) => None,
            })
            .await
    }
}

/// Notices, of which the client calls those that it knows while the host calls the others.
pub(super) struct Shared<'n, N>(pub(super) &'n RefCell<&'n mut N>);

impl<N: Notices> Hooks for Shared<'_, N> {
    const FEED_MS: u32 = N::FEED_MS;

    fn connection(&mut self, up: bool) {
        self.0.borrow_mut().connection(up);
    }

    fn heartbeat(&mut self) {
        self.0.borrow_mut().heartbeat();
    }

    fn feed(&mut self) {
        self.0.borrow_mut().feed();
    }

    fn bad_wifi(&mut self) -> ControlFlow<()> {
        self.0.borrow_mut().bad_wifi()
    }

    fn bad_server(&mut self) -> ControlFlow<()> {
        self.0.borrow_mut().bad_server()
    }
}
