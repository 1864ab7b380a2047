//! Holdline on Tokio: a server and a client that keep a line of messages through outages.

mod chance;
mod channel;
mod client;
mod clock;
pub mod codec;
mod config;
mod connection;
mod doors;
mod driver;
mod error;
#[cfg(all(test, holdline_loom))]
mod interleavings;
mod listener;
mod mismatch;
mod registry;
mod report;
mod server;
mod sync;

pub use chance::Chance;
pub use channel::Received;
pub use client::{Client, ClientBuilder, InvalidClient};
pub use config::{InvalidConfig, Limits, ServerConfig};
pub use connection::{Connection, Profile, Status};
pub use error::{Closed, WriteError};
pub use holdline_proto as proto;
pub use report::{Report, Reports, What};
pub use server::{BindError, Server};
