//! Who is on the threshold: connections that have not said who they are, and those that were turned away.

use crate::config::Limits;
use crate::registry::Registry;
use crate::sync::{Mutex, lock};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio_util::sync::CancellationToken;

/// Counts who is on the threshold, and has the key to put everybody out.
#[derive(Debug)]
pub(crate) struct Doors {
    half_open: AtomicUsize,
    half_open_max: usize,
    per_address: Mutex<HashMap<IpAddr, usize>>,
    per_address_max: usize,
    turned_away: AtomicU64,
    out: CancellationToken,
}

/// A place among the half-open connections; given back when dropped.
pub(crate) struct Place {
    doors: Arc<Doors>,
    address: IpAddr,
}

impl Doors {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            half_open: AtomicUsize::new(0),
            half_open_max: limits.half_open,
            per_address: Mutex::default(),
            per_address_max: limits.half_open_per_address,
            turned_away: AtomicU64::new(0),
            out: CancellationToken::new(),
        }
    }

    pub(crate) fn turned_away(&self) -> u64 {
        self.turned_away.load(Ordering::Relaxed)
    }

    /// Closes every connection where it stands, those that greet and those of the registry, which must let nobody in any more.
    pub(crate) fn slam(&self, registry: &Registry) {
        self.out.cancel();
        for channel in registry.all() {
            channel.lock().cut();
        }
    }

    /// Waits until everybody is put out.
    pub(crate) async fn slammed(&self) {
        self.out.cancelled().await;
    }

    /// A place for a newcomer from this address, if there is one.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        // HL-0113
        if self.half_open.fetch_add(1, Ordering::Relaxed) >= self.half_open_max {
            self.half_open.fetch_sub(1, Ordering::Relaxed);
            self.turn_away();
            return None;
        }
        let mut addresses = lock(&self.per_address);
        let count = addresses.entry(address).or_default();
        // HL-0114
        if *count >= self.per_address_max {
            self.half_open.fetch_sub(1, Ordering::Relaxed);
            self.turn_away();
            return None;
        }
        *count += 1;
        Some(Place { doors: Arc::clone(self), address })
    }

    fn turn_away(&self) {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
    }
}

impl Place {
    /// Counts the connection that has it among those that were turned away.
    pub(crate) fn turn_away(&self) {
        self.doors.turn_away();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.doors.half_open.fetch_sub(1, Ordering::Relaxed);
        let mut addresses = lock(&self.doors.per_address);
        if let Some(count) = addresses.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&self.address);
            }
        }
    }
}
