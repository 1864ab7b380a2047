//! A store that is not what it says.

use super::defect::{Defect, Kind};
use crate::subject::Store;
use serde_json::Value as Json;

#[derive(Debug)]
pub(super) struct Tampered {
    inner: Box<dyn Store>,
    defect: &'static Defect,
    last: Vec<u8>,
}

impl Tampered {
    pub(super) fn new(inner: Box<dyn Store>, defect: &'static Defect) -> Self {
        Self { inner, defect, last: Vec::new() }
    }
}

impl Store for Tampered {
    fn load(&self) -> Vec<u8> {
        let bytes = self.inner.load();
        let Ok(mut records) = serde_json::from_slice::<Json>(&bytes) else { return bytes };
        for record in records.as_object_mut().into_iter().flat_map(|all| all.values_mut()) {
            for kind in self.defect.kinds {
                if let Kind::Load(tamper) = kind {
                    tamper(record);
                }
            }
        }
        records.to_string().into_bytes()
    }

    fn save(&mut self, bytes: &[u8]) {
        if !self.defect.kinds.iter().any(|kind| matches!(kind, Kind::StaleStore)) {
            self.inner.save(bytes);
        } else if self.last != bytes {
            let stale = std::mem::replace(&mut self.last, bytes.to_vec());
            self.inner.save(&stale);
        }
    }
}
