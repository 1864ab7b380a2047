//! Holdline for devices: an exactly-once line to a server that outlives every outage, without a heap, over any transport that speaks
//! `embedded-io-async`.
//!
//! A [`Channel`] is one line, for ever. Its [`Client`] keeps it up: joins the network, connects, notices outages, begins again. Its
//! [`Handle`], a copy for every task that wants one, reads and writes messages; every call just waits while the line is down.
//!
//! # Example
//!
//! A door that tells when it is opened, and opens when it is told. All that it names is here or in `core`; what a chip has to give
//! stands in the bounds.
//!
//! ```
//! use embedded_hal::digital::{InputPin, OutputPin};
//! use holdline_esp::{Board, Buffers, Channel, Client, Clock, Config, Connector, Handle, Heartbeat, Network, ReadError, WriteError};
//!
//! // Lines of at most 512 bytes, at most 8 messages that the door has not looked at.
//! const CONFIG: Config = Config::new().max_line(512).window(8).timeout_ms(2_000);
//!
//! // Received, unacknowledged, on its way, tasks that wait: the memory of the line.
//! type Memory = Buffers<1024, 1024, 544, 4>;
//!
//! async fn keep_up<N: Network, C: Connector, T: Clock, L: OutputPin>(
//!     mut client: Client<'_, '_>,
//!     mut board: Board<N, C, T, fn() -> u64, Heartbeat<L>>,
//! ) {
//!     client.run(&mut board).await; // returns when the channel is closed
//! }
//!
//! async fn watch(line: Handle<'_, '_>, sensor: &mut impl InputPin, clock: &impl Clock) -> Result<(), WriteError> {
//!     let mut was_open = false;
//!     loop {
//!         let is_open = sensor.is_high().unwrap_or(was_open);
//!         if is_open != was_open {
//!             line.write(if is_open { "opened" } else { "closed" }).await?; // delivered, once
//!             was_open = is_open;
//!         }
//!         clock.wait_until(clock.now().plus(50)).await;
//!     }
//! }
//!
//! async fn obey(line: Handle<'_, '_>, lock: &mut impl OutputPin) -> Result<(), ReadError> {
//!     let mut buffer = [0; 512];
//!     loop {
//!         let _ = match line.readline(&mut buffer).await? {
//!             "open" => lock.set_high(),
//!             _ => lock.set_low(),
//!         };
//!     }
//! }
//!
//! fn start(memory: &mut Memory, random: fn() -> u64, run: impl FnOnce(Client<'_, '_>, Handle<'_, '_>)) {
//!     let mut channel = Channel::new("door-1", CONFIG, memory, random).expect("the constants above fit together");
//!     let (client, line) = channel.split();
//!     run(client, line); // spawns keep_up, watch and obey, each with its copy of `line`
//! }
//! # let mut id = 0;
//! # start(&mut Memory::new(), || 1, |_, line| id = line.connects() + 1);
//! # assert_eq!(id, 1);
//! ```
//!
//! With an executor that wants `'static`, as embassy's does, memory and channel lie in a `StaticCell` each.
//!
//! # What a board gives
//!
//! A [`Board`] has five fields:
//!
//! - `network`, a [`Network`]: joins and leaves the WiFi. [`AlwaysUp`] where there is nothing to join.
//! - `connector`, a [`Connector`]: opens TCP connections, or whatever is an ordered stream of bytes. `NalConnector` (feature `nal`) does it
//!   over `embedded-nal-async`.
//! - `clock`, a [`Clock`]: `EmbassyClock` (feature `embassy-time`), or the chip's timer.
//! - `random`: 64 bits a call, from the chip's generator.
//! - `hooks`, [`Hooks`]: what to do on connection, heartbeat, failure of the first attempts, and to feed the watchdog.
//!   [`Heartbeat`] for a light alone, `()` for nothing.
//!
//! # A host without a network
//!
//! A microcontroller with a UART and no network has a relay at the other end of it, a chip with WiFi that copies bytes. The session
//! stays with the microcontroller, so the relay may crash, hang and be reset. With the feature `relay`, `HostLink` stands where
//! [`Client::run`] and [`Board`] stand above; it tells the relay what to join and where to connect, and resets it when it is silent.
//! `Relay` is the other side. The channel carries checks ([`Config::check`]), and so does the server's listener.
//! `docs/relay.md` has what passes between the two, for whoever writes one of them in another language.
//!
//! # What it promises
//!
//! Messages arrive once and in order, through outages, for as long as both programs run; what a loss of power can cost is told by
//! [`Config::keeps`] and the peer's ([`Status::peer_keeps`]). [`Handle::send_best_effort`] is the exception, on purpose.
//!
//! Every future may be dropped at any point, `select!` included: what that means is said with each. Reading and writing are
//! polled side by side and not in a `select`: no `read` or `write` of the transport is dropped before its link has ended.
//!
//! # Memory
//!
//! The caller's [`Buffers`] hold all texts. Beyond them a channel takes 544 bytes on a 32-bit chip, and [`Client::run`] about 330 and what
//! the board's own futures take. `docs/figures.md` has code and memory beside those of MQTT clients.
//!
//! # Features
//!
//! All are off by default. `classic`: `Channel::classic`, to talk to an original micropython-iot server, and `Channel::with_fallback`,
//! to talk to ours or, if that is what answers, to an original. `durable`: `Channel::durable` keeps outbox and cursors in a `Store`;
//! `flash`: `FlashStore`, in NOR flash. `embassy-time`, `nal`: adapters as above. `relay`: `HostLink`, the client of a microcontroller
//! without a network, and `Relay`, its way to the server at the other end of a serial wire (`docs/relay.md`). `i2c`: `DdcMaster` and
//! `DdcTarget`, streams of bytes over I2C. `defmt`: logs links, losses and acknowledgements, and `defmt::Format` on public types.
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod channel;
mod client;
#[cfg(feature = "relay")]
mod control;
#[cfg(feature = "i2c")]
mod ddc;
mod error;
#[cfg(feature = "flash")]
mod flash;
mod handle;
mod hooks;
#[cfg(feature = "relay")]
mod host;
mod inbox;
mod link;
#[cfg(feature = "nal")]
mod nal;
#[cfg(feature = "relay")]
mod relay;
#[cfg(feature = "durable")]
mod store;
mod transport;
#[cfg(feature = "relay")]
mod wire;

pub use channel::{Buffers, Channel};
pub use client::{Board, Client, Ended};
#[cfg(feature = "relay")]
pub use control::{InvalidSettings, Report, Settings, Tcp, Wifi};
#[cfg(feature = "i2c")]
pub use ddc::{DdcMaster, DdcReader, DdcTarget, DdcWriter};
pub use error::{Closed, InvalidChannel, ReadError, WriteError};
#[cfg(feature = "flash")]
pub use flash::FlashStore;
pub use handle::{Handle, Received, Status};
#[cfg(feature = "classic")]
pub use holdline_proto::classic::Flavour;
pub use holdline_proto::{Config, DownReason, Instant, Keeps, OnForgotten, Receipt, SendError};
pub use hooks::{Heartbeat, Hooks, SoftwareWatchdog};
#[cfg(feature = "relay")]
pub use host::{HostError, HostLink, NoResetPin, Notices, RelayStatus, Wiring};
#[cfg(feature = "nal")]
pub use nal::{NalConnector, NalHalf, NalStream};
#[cfg(feature = "relay")]
pub use relay::{Configure, Relay, RelayBoard, RelayHooks};
#[cfg(feature = "durable")]
pub use store::{Store, StoreFailed};
#[cfg(feature = "embassy-time")]
pub use transport::EmbassyClock;
pub use transport::{AlwaysUp, Clock, ConnectFailure, Connector, JoinFailed, Network, Stream};
#[cfg(feature = "relay")]
pub use wire::WireEnded;
