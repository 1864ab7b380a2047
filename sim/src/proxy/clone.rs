//! A second device with the same id.

use std::sync::Arc;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::connection::{close, dial, drain};
use super::kind::Close;
use super::listed::Orders;

/// Why it came, and when it has to go.
#[derive(Debug)]
pub(super) struct Reason {
    pub(super) toxic: u64,
    pub(super) connection: u64,
    pub(super) orders: watch::Receiver<Arc<Orders>>,
}

/// Says `hello` to the server and listens, until the server closes or its reason is gone. Dropping the future closes its socket.
pub(super) async fn visit(upstream: Arc<str>, hello: Bytes, mut reason: Reason) {
    let (toxic, connection) = (reason.toxic, reason.connection);
    let is_over =
        |orders: &Arc<Orders>| orders.close_before > connection || orders.toxics.iter().all(|listed| listed.id != toxic);
    let mut socket = match dial(&upstream).await {
        Ok(socket) => socket,
        Err(error) => return tracing::warn!(connection, %error, "the clone cannot reach the server"),
    };
    tracing::info!(connection, "a clone has come");
    tokio::select! {
        // An error is a server that has closed.
        _ = listen(&mut socket, &hello) => return,
        // An error is a proxy that is gone.
        () = async { drop(reason.orders.wait_for(is_over).await) } => {}
    }
    close(&mut socket, Close::Fin).await;
}

async fn listen(socket: &mut TcpStream, hello: &[u8]) -> std::io::Result<()> {
    socket.write_all(hello).await?;
    drain(socket, usize::MAX).await
}
