//! The outbox of an endpoint: the usual one, unless a defect is seeded.

use crate::defect::{Defect, Seeded};
use holdline_proto::{Full, Outbox, VecOutbox};

/// Messages that an outbox holds.
pub(crate) const OUTBOX: u32 = 256;
/// Bytes of text that an outbox holds.
const OUTBOX_BYTES: u32 = 1 << 16;

/// An outbox of [`OUTBOX`] messages.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    inner: VecOutbox,
    seeded: Seeded,
    pops: u32,
}

impl Store {
    pub(crate) fn new(seeded: Seeded) -> Self {
        let inner = if seeded.is(Defect::OutboxUnbounded) {
            VecOutbox::new(u32::MAX, u32::MAX)
        } else {
            VecOutbox::new(OUTBOX, OUTBOX_BYTES)
        };
        Self { inner, seeded, pops: 0 }
    }
}

impl Outbox for Store {
    fn len(&self) -> usize {
        self.inner.len()
    }

    fn get(&self, index: usize) -> Option<&[u8]> {
        self.inner.get(index)
    }

    fn slot(&self, index: usize) -> Option<u8> {
        self.inner.slot(index)
    }

    fn push(&mut self, slot: Option<u8>, text: &str) -> Result<(), Full> {
        self.inner.push(slot, text)
    }

    fn replace(&mut self, index: usize, text: &str) -> Result<(), Full> {
        self.inner.replace(index, text)
    }

    fn pop(&mut self, count: usize) {
        self.pops += u32::from(count > 0);
        let more = count > 0 && self.seeded.is(Defect::PrunedEarly) && self.pops.is_multiple_of(2);
        self.inner.pop(count + usize::from(more));
    }
}
