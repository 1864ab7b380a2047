//! Holdline's protocol as a value: a synchronous state machine that is told the time and handed bytes, and answers with bytes,
//! events and a deadline.
//!
//! A *session* joins one client and one server, and outlives every connection (*link*) that carries it. [`native::Session`] and
//! [`classic::Session`] are its two ends in the profiles of SPEC.md; [`Session`] is one or the other. There is no I/O in this
//! crate, no clock, no random numbers, no allocator and no `unsafe`; what blocks, sleeps or draws lives in an *adapter*, which
//! this page is enough to write.
//!
//! ```text
//!                  handle_connected / handle_hello            handle_timeout
//!                        (a new link)                         (at poll_timeout)
//!                              │                                    │
//!              ┌───────────────▼────────────────────────────────────▼─────────────┐
//!  received ──►│ handle_input ──► message (lent from the input) ──────────────────│──► application ──┐
//!   bytes      │                                                                  │                  │ accept(receipt)
//!              │ poll_transmit ◄── outbox ◄── send ◄──────────────────────────────│◄── application ◄─┘
//!  bytes to ◄──│                                                                  │
//!    send      │ poll_event ──► Up, Down, Acked, PeerReset, Lost…, …              │
//!              └──────────────────────────────────────────────────────────────────┘
//!                                    Session: survives every link
//! ```
//!
//! # The run loop
//!
//! For each link, an adapter
//!
//! 1. opens the stream and calls `handle_connected` (client), or accepts one, reads its first line with [`Greeting::read`], and
//!    calls `handle_hello` (server);
//! 2. writes what `poll_transmit` gives until it gives nothing, and reports what the transport took with `handle_transmitted`;
//! 3. waits for the first of: received bytes, the instant of `poll_timeout`, something that the application wants to send;
//! 4. on bytes, calls `handle_input` until it consumes nothing; each time reads `poll_event` until it is empty and then hands over
//!    the message that was lent; keeps the unconsumed tail in front of what it reads next;
//! 5. on the deadline, first reads what the transport holds, and then calls `handle_timeout`;
//! 6. when the application has taken a message, calls `accept` with its receipt: only then is it acknowledged;
//! 7. on [`Event::Down`], writes what `poll_transmit` still has, as far as the transport takes it, and closes the stream; on the
//!    end of the stream calls `handle_disconnected`;
//! 8. goes on with 2, and after the link with 1: a client asks its [`Supervisor`] when.
//!
//! Methods named `handle_…` and `send…` are inputs, and the only places where time enters; methods named `poll_…` are outputs and
//! move no time. Every `handle_…` may be called too often without harm. After `handle_timeout(t)` the next deadline is later than
//! `t`, or there is none.
//!
//! # Example
//!
//! Two sessions and a wire between them that is two buffers:
//!
//! ```
//! use holdline_proto::{
//!     Client, ClientId, Event, Greeting, Incarnation, Instant, Server, SliceOutbox, ValidConfig, native::Session,
//! };
//!
//! let now = Instant::from_millis(0);
//! let config = ValidConfig::default();
//! let role = Client { id: ClientId::new("door-1")? };
//! // Real adapters draw these numbers at random, all 64 bits of them.
//! let mut client = Session::new(role, config, Incarnation { boot: 1, epoch: 2 }, SliceOutbox::new([0; 256]));
//! let mut server = Session::new(Server, config, Incarnation { boot: 3, epoch: 4 }, SliceOutbox::new([0; 256]));
//!
//! // An application may send at any time; the outbox keeps it until the link is up and the peer has accepted it.
//! client.send(now, "opened")?;
//!
//! // The client greets; the server answers.
//! let (mut up, mut down) = ([0; 512], [0; 512]);
//! client.handle_connected(now, 5);
//! let length = client.poll_transmit(&mut up);
//! let Ok(Some((Greeting::Native(hello), taken))) = Greeting::read(&up[..length], false) else { panic!("no hello") };
//! assert_eq!((hello.client, taken), ("door-1", length));
//! server.handle_hello(now, 6, &hello);
//! let length = server.poll_transmit(&mut down);
//! let welcome = client.handle_input(now, &down[..length]);
//! assert_eq!(welcome.consumed, length);
//! assert_eq!(client.poll_event(), Some(Event::Up { resumed: false }));
//!
//! // The message crosses, is accepted, and is acknowledged.
//! let length = client.poll_transmit(&mut up);
//! let mut at = 0;
//! while at < length {
//!     let input = server.handle_input(now, &up[at..length]);
//!     at += input.consumed;
//!     if let Some(message) = input.message {
//!         assert_eq!(message.text, "opened");
//!         server.accept(message.receipt.expect("a reliable message has one"));
//!     }
//!     while let Some(event) = server.poll_event() {
//!         assert_eq!(event, Event::Up { resumed: false });
//!     }
//! }
//! let length = server.poll_transmit(&mut down);
//! let ack = client.handle_input(now, &down[..length]);
//! assert_eq!(ack.consumed, length);
//! assert_eq!(client.poll_event(), Some(Event::Acked(1)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What the adapter owns
//!
//! - **Buffers.** Input is consumed a whole line at a time, so the caller's receive buffer must hold `max_line` bytes and an LF (512
//!   at least). A transmit buffer of `max_text() + 31` bytes holds any line, 512 a greeting. An idle link needs neither.
//! - **The outbox**, behind [`Outbox`]: [`SliceOutbox`] over a slice, `VecOutbox` on the heap (feature `alloc`), or flash.
//! - **Time**: [`Instant`] counts milliseconds from wherever the caller likes.
//! - **Chance**: [`Incarnation`] at the start of the program, one number for each link, a seed for the supervisor.
//! - **Memory over restarts**: `snapshot` and `restore`; what to commit with what is on [`native::Snapshot`].
//!
//! # Panics, errors, faults
//!
//! Nothing that a peer sends makes this crate panic or hold more memory. A violation of the protocol is a [`PeerFault`]: it closes
//! the link it happened on, is told to the peer, and leaves the session as it was. A text that cannot be sent is a [`SendError`]; a
//! configuration out of range is a [`ConfigError`].
//!
//! # Features
//!
//! Both are off by default. `alloc`: `VecOutbox`. `defmt`: `defmt::Format` on public types.
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod config;
mod digits;
mod event;
mod frame;
mod guard;
mod hello;
mod outbox;
mod session;
mod supervisor;
mod time;
mod words;

pub use config::{Config, ConfigError, Keeps, OnForgotten, ValidConfig};
pub use event::{ByeCode, DownReason, Event, PeerFault, RefusalCode, SendError};
pub use frame::{crc32, unchecked};
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
