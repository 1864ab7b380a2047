//! What became of a run, or of many.

use crate::actor::Accounts;
use crate::ledger::{Account, Delivery};

/// What became of a run, or of many.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Reliable messages, both directions together.
    pub account: Account,
    /// Values of which only the latest matters, both directions together.
    pub latest: Account,
    /// Best effort, both directions together; lost are also those that were given while the link was down.
    pub best_effort: Account,
    /// Links that came up.
    pub links: u64,
    /// The longest pause between two links of one device, in milliseconds.
    pub longest_pause_ms: u64,
    /// Every pause, in milliseconds.
    pub pauses_ms: Vec<u64>,
    /// Bytes that were written by both sides.
    pub bytes: u64,
    /// For each outage that took a device's link: how long until the device noticed, in milliseconds.
    pub device_noticed_ms: Vec<u64>,
    /// For each outage that took a device's link: how long until the server noticed, in milliseconds.
    pub server_noticed_ms: Vec<u64>,
    /// For each outage that took a device's link: how long after its end the device was up again, in milliseconds; 0 when that was
    /// sooner.
    pub recovered_ms: Vec<u64>,
    /// What broke a promise of the profile (SPEC.md, section 12).
    pub violations: Vec<String>,
    /// Everything that was lost, repeated or reordered although nobody forgot anything, whatever the profile promises: none in native.
    pub holes: Vec<String>,
    /// One number for the whole run.
    pub hash: u64,
}

impl Outcome {
    /// Bytes on the wire for each message of any delivery that was sent.
    pub fn bytes_per_message(&self) -> f64 {
        let sent = self.account.sent + self.latest.sent + self.best_effort.sent;
        self.bytes as f64 / sent.max(1) as f64
    }
}

impl Outcome {
    pub(super) fn add_device(&mut self, id: &str, accounts: &Accounts, settled: bool) {
        self.links += u64::from(accounts.links);
        self.pauses_ms.extend(&accounts.pauses);
        let [device, server] = &accounts.aftermath.noticed_ms;
        self.device_noticed_ms.extend(device);
        self.server_noticed_ms.extend(server);
        self.recovered_ms.extend(&accounts.aftermath.recovered_ms);
        self.violations.extend(accounts.violations.iter().map(|what| format!("{id}: {what}")));
        for (ledger, way) in [(&accounts.up, "up"), (&accounts.down, "down")] {
            self.account += ledger.account(Delivery::Reliable);
            self.latest += ledger.account(Delivery::Latest);
            self.best_effort += ledger.account(Delivery::BestEffort);
            let named = |found: Vec<String>| found.into_iter().map(move |what| format!("{id} {way}: {what}"));
            self.violations.extend(named(ledger.violations(settled)));
            self.holes.extend(named(ledger.holes(settled)));
        }
        let [device, server] = accounts.is_up();
        if settled && !device {
            self.violations.push(format!("{id} did not come back"));
        } else if settled && !server {
            self.violations.push(format!("{id} is back, and the server does not know"));
        }
    }
}
