//! The live proxy: the simulator's outages between any client and any server on TCP.
//!
//! ```text
//!            ┌ upstream ──►  latency · bandwidth · slicer · trigger ──►  gates ┐
//!  client ◄──┤                                                               ├──► server
//!            └ gates  ◄── latency · bandwidth · slicer · trigger ◄── downstream ┘
//! ```
//!
//! A *proxy* listens and connects each client to its server. A [`Toxic`] is one thing done to its connections in one direction,
//! and acts on live ones as soon as it is added. [`Proxies`] is the handle to all of them; Toxiproxy's HTTP API, to which many
//! languages have clients, offers the same operations. [`play`] does what a list of [`Outage`]s says.
//!
//! What is random follows from the seed: which connections a toxic takes from the proxy's name, the number of the connection and
//! the toxic's name; jitter and slices from the place in the stream besides. When bytes come is up to the two programs and the
//! kernel, so that a run on real sockets is repeated in what is decided and not to the millisecond.
//!
//! The bytes that a connection holds are bounded in each direction; a receiver that stops reading makes the sender wait.
//!
//! ```
//! use holdline_sim::proxy::{BlackHole, Options, ProxySpec, Stream, Toxic, start};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let proxy = ProxySpec::new("device", "127.0.0.1:0", server.local_addr()?.to_string());
//! let running = start(Options { api: None, proxies: vec![proxy], ..Options::default() }).await?;
//!
//! let listen = running.proxies().get("device").await?.listen;
//! let client = tokio::net::TcpStream::connect(listen).await?;
//! running.proxies().add_toxic("device", Toxic::new(Stream::Upstream, BlackHole::default().into())?).await?;
//! // What the client sends now waits, and arrives after this:
//! running.proxies().remove_toxic("device", "black_hole_upstream").await?;
//! running.stop().await;
//! # drop(client);
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "api")]
mod api;
mod chance;
mod clone;
mod collection;
mod connection;
mod error;
mod gate;
mod hello;
mod kind;
mod lines;
mod link;
mod listed;
mod listener;
mod noise;
mod pipe;
mod plan;
mod portal;
#[cfg(feature = "api")]
mod program;
mod shaping;
mod stage;
mod stalls;
mod toxic;

pub use collection::{Proxies, ProxySpec};
pub use error::Error;
pub use kind::{
    Action, Bandwidth, BlackHole, BurstLoss, CloneId, Close, Cut, End, HalfOpen, Kind, Latency, LimitData, NatIdle, NoConnect,
    Noise, Noop, Place, Portal, ResetPeer, Slicer, SlowClose, Stall, Timeout, Trigger,
};
pub use listener::ProxyView;
pub use plan::{Act, Outage, play};
#[cfg(feature = "api")]
pub use program::{Options, Running, run, start};
pub use toxic::{Stream, Toxic};
