//! A captive portal's answer to whatever came.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::kind::Portal;

/// How long a client may take to read it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends the client where the portal wants it.
pub(super) async fn answer(client: &mut TcpStream, portal: &Portal) {
    // A client that is gone needs no answer.
    let _ = timeout(PATIENCE, client.write_all(page(portal).as_bytes())).await;
}

fn page(Portal { location }: &Portal) -> String {
    let body =
        format!("<html><body><a href=\"{}\">Log in to use this network</a></body></html>\n", location.replace('&', "&amp;"));
    let length = body.len();
    format!(
        "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n{body}"
    )
}
