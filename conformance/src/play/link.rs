//! A link as the suite sees it.

use crate::bench::LinkId;
use std::collections::VecDeque;

#[derive(Debug)]
pub(super) struct Link {
    pub(super) id: LinkId,
    pub(super) name: String,
    /// Lines that no step has looked at, with the time of their LF and their place in the transcript.
    pub(super) lines: VecDeque<(u64, Vec<u8>, usize)>,
    pub(super) partial: Vec<u8>,
    /// When the subject closed it.
    pub(super) ended: Option<u64>,
    /// Whether the suite has ended it, and looks at it no more.
    pub(super) is_over: bool,
    /// From here on blank lines of the subject mean nothing.
    pub(super) is_greeted: bool,
    /// Whether the suite says keepalives.
    pub(super) keeps_alive: bool,
    pub(super) last_sent: u64,
    pub(super) keepalive_ms: u64,
}

impl Link {
    pub(super) fn new(id: LinkId, name: &str, keepalive_ms: u64, now: u64) -> Self {
        Self {
            id,
            name: name.to_owned(),
            lines: VecDeque::new(),
            partial: Vec::new(),
            ended: None,
            is_over: false,
            is_greeted: false,
            keeps_alive: true,
            last_sent: now,
            keepalive_ms,
        }
    }

    /// When the suite's next keepalive is due.
    pub(super) fn keepalive_at(&self) -> Option<u64> {
        let alive = self.is_greeted && self.keeps_alive && !self.is_over && self.ended.is_none();
        alive.then_some(self.last_sent + self.keepalive_ms)
    }
}
