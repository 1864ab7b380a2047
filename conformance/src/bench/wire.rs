//! A subject of which nothing is known but an address.

use super::net::Net;
use super::{Bench, LinkId, Links, Stop};
use serde_json::{Value as Json, json};
use std::net::{SocketAddr, TcpListener};

/// How a subject is reached.
#[derive(Debug)]
pub enum Way {
    /// A server listens there.
    To(SocketAddr),
    /// A client comes here.
    From(TcpListener),
}

/// A bench over bare TCP.
#[derive(Debug)]
pub struct Wire {
    way: Way,
    net: Net,
    tolerance_ms: u64,
}

impl Wire {
    /// A bench for one case.
    pub fn new(way: Way, tolerance_ms: u64) -> Self {
        Self { way, net: Net::new(), tolerance_ms }
    }

    /// How a subject is reached, for the next case.
    pub fn into_way(self) -> Way {
        let Self { way, .. } = self;
        way
    }
}

fn without_shim(what: &str) -> Stop {
    Stop::Skipped(format!("{what} takes a shim"))
}

impl Bench for Wire {
    fn now(&self) -> u64 {
        self.net.clock.now()
    }

    fn tolerance(&self) -> u64 {
        self.tolerance_ms
    }

    fn has_shim(&self) -> bool {
        false
    }

    fn start(&mut self, _: Json) -> Result<Json, Stop> {
        Ok(json!({"ok": true}))
    }

    fn open(&mut self, until: u64) -> Result<Option<LinkId>, Stop> {
        match &self.way {
            Way::To(address) => self.net.connect(*address, until),
            Way::From(listener) => self.net.accept(listener, until),
        }
    }

    fn links(&mut self) -> &mut dyn Links {
        &mut self.net
    }

    fn ask(&mut self, _: Json) -> Result<Json, Stop> {
        Err(without_shim("asking the application"))
    }

    fn kill(&mut self) -> Result<(), Stop> {
        Err(without_shim("killing the subject"))
    }

    fn snapshot(&mut self, _: &str) -> Result<(), Stop> {
        Err(without_shim("copying the store"))
    }

    fn restore(&mut self, _: Option<&str>) -> Result<(), Stop> {
        Err(without_shim("restoring the store"))
    }
}
