//! Loss is reported if and only if there was loss: what the sessions told, against what the world knows that they forgot.

use crate::actor::Profile;
use std::collections::BTreeMap;

/// What a session can say of lost memory, by the end that says it (SPEC.md, section 13.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Report {
    /// The receiver: the stream begins anew.
    PeerReset,
    /// The receiver: messages that it does not remember are gone.
    LostIncoming,
    /// The sender: the receiver does not remember messages that are gone.
    LostOutgoing,
    /// The sender: the receiver remembers nothing.
    PeerForgot,
    /// The sender: its own memory is old.
    OwnReset,
}

/// The reports of one direction. Only the native profile makes any.
#[derive(Clone, Debug)]
pub(crate) struct Reports {
    /// Off where there are none, and where two endpoints shared a name: then all sorts of true things are told.
    judged: bool,
    counts: Counts,
    /// The receiver has lost memory under this life of the sender: its counts cannot be told from outside any more.
    uncertain: bool,
    /// Messages of this life taken since either side last lost memory: one proves that both know the stream.
    taken_since_loss: u64,
    acknowledged: u64,
    sender_losses: u32,
    receiver_losses: u32,
    roll_backs: u32,
    resets_told: u32,
    /// Somebody has lost memory, and nothing was acknowledged since.
    recent: bool,
    /// What has to be told before the end, of how many messages at least.
    awaited: BTreeMap<Report, u64>,
    violations: Vec<String>,
}

/// How far both ends of a stream were at some moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Which life of the sender it is: each loss of memory begins another.
    life: u32,
    /// Which life began the stream: one that falls back to an older memory goes on with the older stream, or with none that was known.
    stream: u32,
    /// Messages that the sender had queued in this life.
    queued: u64,
    /// Messages of this life that the receiver had accepted.
    taken: u64,
}

impl Reports {
    pub(super) fn new(profile: Profile) -> Self {
        Self {
            judged: profile == Profile::Native,
            counts: Counts::default(),
            uncertain: false,
            taken_since_loss: 0,
            acknowledged: 0,
            sender_losses: 0,
            receiver_losses: 0,
            roll_backs: 0,
            resets_told: 0,
            recent: false,
            awaited: BTreeMap::new(),
            violations: Vec::new(),
        }
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    pub(super) fn queued(&mut self) {
        self.counts.queued += 1;
    }

    pub(super) fn received(&mut self) {
        self.counts.taken += 1;
        self.taken_since_loss += 1;
    }

    pub(super) fn acknowledged(&mut self) {
        self.acknowledged += 1;
        self.recent &= self.taken_since_loss == 0;
    }

    pub(super) fn contested(&mut self) {
        self.judged = false;
    }

    /// Both ends know the stream for certain.
    fn is_known(&self) -> bool {
        self.taken_since_loss > 0
    }

    pub(super) fn sender_forgot(&mut self) {
        self.sender_losses += 1;
        // What the sender would have said, it does not remember any more.
        self.awaited.retain(|report, _| *report == Report::PeerReset);
        // HL-0073
        if self.is_known() {
            self.awaited.insert(Report::PeerReset, 0);
        }
        self.begin_life();
        self.counts.stream = self.counts.life;
        self.uncertain = false;
    }

    pub(super) fn sender_rolled_back(&mut self, to: Counts) {
        self.sender_losses += 1;
        self.roll_backs += 1;
        // Of what it had begun in between nobody may ever hear.
        self.awaited.clear();
        // HL-0063: the receiver has more of this stream than the sender remembers to have sent.
        if to.life == self.counts.life && !self.uncertain && self.counts.taken > to.queued {
            self.awaited.insert(Report::OwnReset, 0);
        }
        self.begin_life();
        self.counts.stream = to.stream;
        // Whether it is a new stream or the old one shows only when they meet.
        self.uncertain = true;
    }

    fn begin_life(&mut self) {
        self.counts = Counts { life: self.counts.life + 1, ..Counts::default() };
        (self.taken_since_loss, self.acknowledged) = (0, 0);
        self.recent = true;
    }

    pub(super) fn receiver_forgot(&mut self) {
        // What the receiver would have said, or what would have been said of it, is past.
        self.awaited.retain(|report, _| *report == Report::PeerForgot);
        // HL-0066
        if self.is_known() {
            self.awaited.insert(Report::PeerForgot, 0);
        }
        self.lose_receiver();
    }

    pub(super) fn receiver_rolled_back(&mut self, to: Counts) {
        // What it had forgotten it may know again.
        self.awaited.clear();
        if to.stream != self.counts.stream {
            if self.is_known() {
                self.awaited.insert(Report::PeerForgot, 0);
            }
        } else if to.life == self.counts.life && to.taken > 0 && !self.uncertain && self.acknowledged > to.taken {
            // HL-0065, HL-0071
            let lost = self.acknowledged - to.taken;
            self.awaited.insert(Report::LostIncoming, lost);
            self.awaited.insert(Report::LostOutgoing, lost);
        }
        self.lose_receiver();
    }

    fn lose_receiver(&mut self) {
        self.receiver_losses += 1;
        self.taken_since_loss = 0;
        self.uncertain = true;
        self.recent = true;
    }

    /// A session has reported something, of so many messages.
    pub(crate) fn told(&mut self, report: Report, messages: u64) {
        let told = match report {
            Report::PeerReset => {
                self.resets_told += 1;
                self.sender_losses > 0 && self.resets_told <= self.sender_losses + self.receiver_losses + self.roll_backs
            }
            // HL-0159: a sender that has fallen back to an earlier stream shows the receiver one with much behind it.
            Report::LostIncoming => self.recent && (self.receiver_losses > 0 || self.roll_backs > 0),
            Report::LostOutgoing => self.recent && self.receiver_losses > 0,
            // A receiver that restarts before it took the stream up looks the same, whatever it keeps (SPEC.md, section 12.1).
            Report::PeerForgot => self.recent || self.counts.taken == 0,
            Report::OwnReset => self.roll_backs > 0,
        };
        if !told {
            self.violation(format!("a loss was reported that did not happen: {report:?}"));
        }
        if let Some(lost) = self.awaited.remove(&report)
            && messages < lost
        {
            self.violation(format!("{report:?} named {messages} messages of {lost}"));
        }
        // HL-0073: the receiver will hear of the new stream.
        if report == Report::OwnReset && self.is_known() {
            self.awaited.insert(Report::PeerReset, 0);
        }
    }

    fn violation(&mut self, what: String) {
        if self.violations.len() < 16 {
            self.violations.push(what);
        }
    }

    pub(super) fn violations(&self, settled: bool) -> Vec<String> {
        if !self.judged {
            return Vec::new();
        }
        let untold = self.awaited.keys().filter(|_| settled).map(|report| format!("a loss was not reported: {report:?}"));
        self.violations.iter().cloned().chain(untold).collect()
    }
}
