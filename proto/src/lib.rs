//! Holdline's protocol as a value: a state machine that is told the time and handed bytes.
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod config;
mod event;
mod frame;
mod guard;
mod hello;
mod outbox;
mod session;
mod supervisor;
mod time;

pub use config::{Config, ConfigError, Keeps, OnForgotten, ValidConfig};
pub use event::{ByeCode, DownReason, Event, PeerFault, RefusalCode, SendError};
pub use guard::TakeoverGuard;
pub use hello::{CLASSIC_ID_MAX, CLIENT_ID_MAX, ClientId, Greeting, HELLO_MAX, Hello, InvalidClientId, Terms, refuse};
#[cfg(feature = "alloc")]
pub use outbox::VecOutbox;
pub use outbox::{Full, Outbox, SliceOutbox};
pub use session::any::Session;
pub use session::classic::{self};
pub use session::native::{self};
pub use session::{Client, Incarnation, Input, Message, Receipt, Role, Server};
pub use supervisor::{Action, ConnectFailure, FirstFailure, Supervisor, SupervisorConfig};
pub use time::{Deadline, Instant, Timer};

/// Writes a goodbye for a link that no session holds any more, such as the old link after a takeover; returns its length, or 0
/// if `buffer` is too small for it (64 bytes suffice).
pub fn write_bye(code: ByeCode, retry_ms: u32, check: bool, buffer: &mut [u8]) -> usize {
    let mut writer = frame::Writer::new(buffer, check);
    let _ = native::bye(&mut writer, code, retry_ms);
    writer.written()
}
