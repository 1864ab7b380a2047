//! Standard output, written by one task: what a message is acknowledged for has been handed over before.

use holdline_server::Connection;
use holdline_server::proto::{Receipt, Role};
use serde::Serialize;
use std::io;
use tokio::io::{AsyncWriteExt, Stdout};
use tokio::sync::mpsc;

/// A line for standard output, and the message that is accepted when it has been written.
#[derive(Debug)]
pub(super) struct Line<R: Role> {
    pub(super) text: String,
    pub(super) accept: Option<(Connection<R>, Receipt)>,
}

/// A message as a program reads it.
#[derive(Debug, Serialize)]
pub(super) struct MessageRecord<'m> {
    pub(super) client: &'m str,
    pub(super) text: &'m str,
    /// Only where the wire tells: best effort of the native profile.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) best_effort: bool,
}

/// How many lines are written at once.
const BATCH: usize = 256;

/// Writes lines, and accepts what they stand for, until every sender is gone.
///
/// # Errors
/// Standard output takes nothing any more.
pub(super) async fn write<R: Role>(mut lines: mpsc::Receiver<Line<R>>) -> io::Result<()> {
    let mut out = tokio::io::stdout();
    let mut batch = Vec::new();
    while lines.recv_many(&mut batch, BATCH).await > 0 {
        write_batch(&mut out, &batch).await?;
        for line in batch.drain(..) {
            if let Some((connection, receipt)) = line.accept {
                connection.accept(receipt);
            }
        }
    }
    Ok(())
}

async fn write_batch<R: Role>(out: &mut Stdout, batch: &[Line<R>]) -> io::Result<()> {
    let mut bytes = Vec::new();
    for line in batch {
        bytes.extend_from_slice(line.text.as_bytes());
        bytes.push(b'\n');
    }
    out.write_all(&bytes).await?;
    out.flush().await
}
