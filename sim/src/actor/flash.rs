//! What outlives a loss of power.

use super::application::OUTBOX;
use holdline_proto::{Outbox, Role, Session, VecOutbox, native};

/// What a durable device has in its flash.
#[derive(Clone, Debug)]
pub struct Flash {
    snapshot: native::Snapshot,
    texts: Vec<String>,
}

impl Flash {
    pub(super) fn open(&self) -> (native::Snapshot, VecOutbox) {
        let mut outbox = VecOutbox::new(OUTBOX, 1 << 16);
        for text in &self.texts {
            // It was in an outbox of the same size.
            let _ = outbox.push(None, text);
        }
        (self.snapshot, outbox)
    }
}

pub(super) fn flash<R: Role>(session: &Session<R, VecOutbox>) -> Option<Flash> {
    let Session::Native(session) = session else { return None };
    let texts = (0..session.outbox().len()).filter_map(|index| session.outbox().get(index));
    let texts = texts.filter_map(|text| std::str::from_utf8(text).ok()).map(str::to_owned).collect();
    Some(Flash { snapshot: session.snapshot(), texts })
}
