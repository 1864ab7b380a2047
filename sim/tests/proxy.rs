//! The live proxy on real sockets.

#![expect(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

#[path = "proxy/api.rs"]
mod api;
#[path = "proxy/bed.rs"]
mod bed;
#[path = "proxy/connecting.rs"]
mod connecting;
#[path = "proxy/losses.rs"]
mod losses;
#[path = "proxy/outages.rs"]
mod outages;
#[path = "proxy/stories.rs"]
mod stories;
#[path = "proxy/toxics.rs"]
mod toxics;
