//! What a subject keeps: one record for each session, all of them written at once.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Memory that outlives the subject.
pub trait Store: fmt::Debug + Send {
    /// What was saved last; nothing if there is nothing.
    fn load(&self) -> Vec<u8>;
    /// Replaces it, in one step.
    fn save(&mut self, bytes: &[u8]);
}

/// A store that another hand can look into.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<Vec<u8>>>);

impl Memory {
    /// What is in it.
    pub fn read(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts something else into it.
    pub fn write(&self, bytes: &[u8]) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = bytes.to_vec();
    }
}

impl Store for Memory {
    fn load(&self) -> Vec<u8> {
        self.read()
    }

    fn save(&mut self, bytes: &[u8]) {
        self.write(bytes);
    }
}

/// A session's memory; what is not kept is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) sent: Option<Sent>,
    pub(crate) seen: Option<Seen>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sent {
    pub(crate) epoch: u64,
    pub(crate) acked: u64,
    pub(crate) sum: Option<u32>,
    pub(crate) contacted: bool,
    pub(crate) peer_boot: u64,
    pub(crate) texts: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) epoch: u64,
    pub(crate) accepted: u64,
    pub(crate) sum: Option<u32>,
}

pub(crate) type Records = BTreeMap<String, Record>;

pub(crate) fn load(store: &dyn Store) -> Records {
    serde_json::from_slice(&store.load()).unwrap_or_default()
}

pub(crate) fn save(store: &mut dyn Store, records: &Records) {
    if let Ok(bytes) = serde_json::to_vec(records) {
        store.save(&bytes);
    }
}
