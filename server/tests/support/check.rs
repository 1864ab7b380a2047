//! Lines with their checks, by hand (SPEC.md, 8.2).

use super::{Hand, PIPE, soon};
use holdline_server::Server;
use tokio::io::{AsyncRead, AsyncWrite, duplex};

/// A line with its check.
pub fn with_check(line: &str) -> String {
    let crc = line.bytes().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 })
    });
    format!("{line}*{:08x}", !crc)
}

/// A wire to the server whose lines carry checks.
pub fn checked_wire(server: &Server) -> Hand {
    let (near, far) = duplex(PIPE);
    let server = server.clone();
    tokio::spawn(async move { server.serve_checked(far).await });
    Hand::new(near)
}

/// Says a line with its check.
pub async fn says<S: AsyncRead + AsyncWrite + Unpin>(hand: &mut Hand<S>, line: &str) {
    hand.says(&with_check(line)).await;
}

/// The next line that is not blank, whose check is right, without it.
pub async fn hears<S: AsyncRead + AsyncWrite + Unpin>(hand: &mut Hand<S>) -> Option<String> {
    let line = soon(hand.hears()).await?;
    let (body, _) = line.rsplit_once('*').unwrap_or_else(|| panic!("no check: {line}"));
    assert_eq!(line, with_check(body));
    Some(body.to_owned())
}

/// Says hello with a check, hears the welcome and confirms it.
pub async fn greets<S: AsyncRead + AsyncWrite + Unpin>(hand: &mut Hand<S>, hello: &str) -> String {
    says(hand, hello).await;
    let welcome = hears(hand).await.expect("an answer");
    assert!(welcome.starts_with("HOLD/1 ok "), "{welcome}");
    hand.says("").await;
    welcome
}
