//! A run: many cases, some at once, each on a bench of its own, held against what is expected of them.

mod claims;
mod expectations;

pub use claims::Claims;
pub use expectations::{Expectations, Known};

use crate::bench::Stop;
use crate::bench::in_process::InProcess;
use crate::bench::shim::Shim;
use crate::bench::wire::{Way, Wire};
use crate::case::Case;
use crate::play::{Outcome, Terms, Transcript, Verdict, play};
use crate::specification::Level;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

/// What is under test, and how it is reached.
#[derive(Debug)]
pub enum Target {
    /// A server that listens there.
    Server(SocketAddr),
    /// A client that comes here.
    Client(TcpListener),
    /// A shim: its command and arguments.
    Shim(Vec<String>),
    /// The reference subject in this process, under virtual time.
    InProcess,
}

/// Choices of a run.
#[derive(Clone, Debug)]
pub struct Choices {
    /// T of native links, in milliseconds.
    pub timeout_ms: u64,
    /// T of classic links; none: as native.
    pub classic_timeout_ms: Option<u64>,
    /// How much earlier or later than it is written something may come, in milliseconds.
    pub tolerance_ms: u64,
    /// How many cases are played at once.
    pub jobs: usize,
    /// The order is drawn by this seed; none: as written.
    pub shuffle: Option<u64>,
    /// How long an answer of a shim is waited for.
    pub patience: Duration,
    /// What makes this run's client ids differ from those of any other.
    pub run: u64,
}

/// A case that was played.
#[derive(Clone, Debug)]
pub struct Done {
    /// The case.
    pub case: Case,
    /// How it went.
    pub outcome: Outcome,
    /// Whether that is as expected.
    pub standing: Standing,
}

/// A verdict held against what is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It passed, or did not apply.
    Good,
    /// It failed, and is known to.
    Known,
    /// It failed, and is known to do so at times.
    Flaky,
    /// It failed where the specification says SHOULD or MAY.
    Deviates,
    /// It failed.
    Bad,
    /// It passed, and is listed as failing.
    Stale,
}

/// Plays cases; `told` hears of each as soon as it is done, from one thread at a time.
pub fn run(
    cases: Vec<Case>,
    target: &Target,
    claims: &Claims,
    expectations: &Expectations,
    choices: &Choices,
    mut told: impl FnMut(&Done),
) -> Vec<Done> {
    let mut order: Vec<usize> = (0..cases.len()).collect();
    if let Some(seed) = choices.shuffle {
        shuffle(&mut order, seed);
    }
    // A client brings one connection at a time.
    let jobs = if matches!(target, Target::Client(_)) { 1 } else { choices.jobs.clamp(1, cases.len().max(1)) };
    let next = AtomicUsize::new(0);
    let (sender, results) = channel();
    let mut done: Vec<(usize, Done)> = Vec::with_capacity(cases.len());
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            let (sender, cases, order, next) = (sender.clone(), &cases, &order, &next);
            scope.spawn(move || {
                while let Some(&index) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = play_one(&cases[index], target, claims, choices);
                    if sender.send((index, outcome)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for (index, outcome) in results {
            let case = cases[index].clone();
            let standing = expectations.standing(&case, &outcome.verdict);
            let one = Done { case, outcome, standing };
            told(&one);
            done.push((index, one));
        }
    });
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, done)| done).collect()
}

fn play_one(case: &Case, target: &Target, claims: &Claims, choices: &Choices) -> Outcome {
    let unplayed = |verdict| Outcome { verdict, transcript: Transcript::default(), took_ms: 0 };
    if let Some(why) = claims.lack(case) {
        return unplayed(Verdict::Skipped(why));
    }
    let timeout_ms = match case.profile {
        crate::Profile::Native => choices.timeout_ms,
        _ => choices.classic_timeout_ms.unwrap_or(choices.timeout_ms),
    };
    let terms = Terms { timeout_ms, run: choices.run };
    match target {
        Target::InProcess => play(case, terms, &mut InProcess::new(choices.run)),
        Target::Server(address) => play(case, terms, &mut Wire::new(Way::To(*address), choices.tolerance_ms)),
        Target::Client(listener) => match listener.try_clone() {
            Ok(listener) => play(case, terms, &mut Wire::new(Way::From(listener), choices.tolerance_ms)),
            Err(error) => unplayed(Verdict::Unable(error.to_string())),
        },
        Target::Shim(command) => {
            let mut bench = Shim::new(command, choices.tolerance_ms, choices.patience);
            let mut outcome = play(case, terms, &mut bench);
            if !matches!(outcome.verdict, Verdict::Pass | Verdict::Skipped(_) | Verdict::Unimplemented(_)) {
                outcome.transcript.add_log(&bench.log());
            }
            outcome
        }
    }
}

/// Whether a shim is there, and what it has.
///
/// # Errors
/// What is wrong with it.
pub fn introduce(command: &[String], choices: &Choices) -> Result<Claims, String> {
    let mut bench = Shim::new(command, choices.tolerance_ms, choices.patience);
    match bench.introduce() {
        Ok(hello) => Claims::of_shim(&hello),
        Err(
            Stop::Unable(why)
            | Stop::Crashed(why)
            | Stop::Hung(why)
            | Stop::Garbage(why)
            | Stop::Flooded(why)
            | Stop::Skipped(why)
            | Stop::Unimplemented(why),
        ) => Err(why),
    }
}

/// Fisher and Yates, by SplitMix64.
fn shuffle(order: &mut [usize], seed: u64) {
    let mut random = crate::subject::Random::new(seed);
    for last in (1..order.len()).rev() {
        let at = (random.next() % (last as u64 + 1)) as usize;
        order.swap(last, at);
    }
}

impl Done {
    /// Whether the run cannot be called as expected with this.
    pub fn is_bad(&self) -> bool {
        self.standing == Standing::Bad
    }
}

impl Standing {
    /// The word in a report.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Good => "as expected",
            Self::Known => "known to fail",
            Self::Flaky => "known to be flaky",
            Self::Deviates => "deviates from a SHOULD or MAY",
            Self::Bad => "not as expected",
            Self::Stale => "listed as failing, and passes",
        }
    }
}

impl Expectations {
    fn standing(&self, case: &Case, verdict: &Verdict) -> Standing {
        let known = self.known(case);
        match (verdict, known) {
            (Verdict::Pass, Some(Known::Failing)) => Standing::Stale,
            (Verdict::Pass | Verdict::Skipped(_) | Verdict::Unimplemented(_), _) => Standing::Good,
            (_, Some(Known::Failing)) => Standing::Known,
            (_, Some(Known::Flaky)) => Standing::Flaky,
            (Verdict::Fail(_), None) if case.level != Level::Must => Standing::Deviates,
            _ => Standing::Bad,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::shuffle;

    #[test]
    fn a_seed_tells_the_order() {
        let order = |seed| {
            let mut order: Vec<usize> = (0..50).collect();
            shuffle(&mut order, seed);
            order
        };
        assert_eq!(order(7), order(7));
        assert_ne!(order(7), order(8));
        let mut sorted = order(7);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..50).collect::<Vec<_>>());
    }
}
