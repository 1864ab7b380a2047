//! Many runs on all cores.

use crate::fleet::Outcome;
use crate::scenario::Scenario;
use std::io::{IsTerminal, Write};
use std::ops::{ControlFlow, Range};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What became of many runs together.
#[derive(Clone, Debug, Default)]
pub struct Total {
    /// How many runs there were.
    pub runs: u64,
    /// All accounts added up; the longest pause of all, and every time that was taken, in rising order.
    pub outcome: Outcome,
    /// The seeds of the runs that broke a promise of their profile, in order.
    pub broken: Vec<u64>,
    /// The seeds of the runs in which something was lost, repeated or reordered although nobody forgot anything, in order.
    pub holed: Vec<u64>,
    /// The first of them, and the first thing that it lost, repeated or reordered so.
    pub hole: Option<(u64, String)>,
}

/// Plays a run for each seed on all cores. `progress` is told how many are done, of how many, after each; when it breaks off, no further
/// run begins.
pub fn play(
    seeds: Range<u64>,
    run: impl Fn(u64) -> Outcome + Sync,
    progress: impl Fn(u64, u64) -> ControlFlow<()> + Sync,
) -> Total {
    let next = AtomicU64::new(seeds.start);
    let total = Mutex::new(Total::default());
    let count = seeds.end - seeds.start;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    let outcome = run(seed);
                    let Ok(mut total) = total.lock() else { break };
                    total.add(seed, outcome);
                    let done = total.runs;
                    drop(total);
                    if progress(done, count).is_break() {
                        next.store(seeds.end, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let mut total = total.into_inner().unwrap_or_default();
    total.broken.sort_unstable();
    total.holed.sort_unstable();
    let sums = &mut total.outcome;
    for times in [&mut sums.pauses_ms, &mut sums.device_noticed_ms, &mut sums.server_noticed_ms, &mut sums.recovered_ms] {
        times.sort_unstable();
    }
    total
}

impl Total {
    fn add(&mut self, seed: u64, outcome: Outcome) {
        self.runs += 1;
        let sum = &mut self.outcome;
        sum.account += outcome.account;
        sum.latest += outcome.latest;
        sum.best_effort += outcome.best_effort;
        sum.links += outcome.links;
        sum.bytes += outcome.bytes;
        sum.longest_pause_ms = sum.longest_pause_ms.max(outcome.longest_pause_ms);
        sum.pauses_ms.extend(outcome.pauses_ms);
        sum.device_noticed_ms.extend(outcome.device_noticed_ms);
        sum.server_noticed_ms.extend(outcome.server_noticed_ms);
        sum.recovered_ms.extend(outcome.recovered_ms);
        // The order in which runs end must not matter, nor two runs that are the same hide each other.
        sum.hash = sum.hash.wrapping_add(crate::rng::SplitMix64::from_seed(outcome.hash ^ seed).next_u64());
        if !outcome.violations.is_empty() {
            self.broken.push(seed);
        }
        if let Some(hole) = outcome.holes.into_iter().next() {
            self.holed.push(seed);
            if self.hole.as_ref().is_none_or(|(first, _)| seed < *first) {
                self.hole = Some((seed, hole));
            }
        }
    }
}

/// How many of the random stories, from this seed on, have so many link outages together.
pub fn seeds_for(outages: u64, from: u64) -> u64 {
    let mut left = outages;
    let mut seeds = 0;
    while left > 0 {
        left = left.saturating_sub(Scenario::random(from + seeds).link_outages());
        seeds += 1;
    }
    seeds
}

/// Shows on a terminal how far the runs are, how fast they go, and how long it will take; breaks off when a budget is spent.
#[derive(Debug)]
pub struct Progress {
    began: Instant,
    shown: Mutex<Instant>,
    budget: Option<Duration>,
    what: String,
}

/// Between two pictures of the bar.
const REDRAW: Duration = Duration::from_millis(100);

#[expect(clippy::disallowed_methods, reason = "a person waits; no run sees this clock")]
fn now() -> Instant {
    Instant::now()
}

impl Progress {
    /// A bar for runs of this name that begin now, and may take so long.
    pub fn new(what: &str, budget: Option<Duration>) -> Self {
        Self { began: now(), shown: Mutex::new(now()), budget, what: what.to_owned() }
    }

    /// How long it has taken.
    pub fn spent(&self) -> Duration {
        now().duration_since(self.began)
    }

    /// So many are done, of so many.
    pub fn tell(&self, done: u64, count: u64) -> ControlFlow<()> {
        let (now, spent) = (now(), self.spent());
        let mut terminal = std::io::stderr();
        if let Ok(mut shown) = self.shown.lock()
            && terminal.is_terminal()
            && (done == count || now.duration_since(*shown) >= REDRAW)
        {
            *shown = now;
            // A bar that cannot be shown is no reason to stop.
            let _ = write!(
                terminal,
                "\r{}\x1b[K{}",
                bar(&self.what, done, count, spent),
                if done == count { "\r\x1b[K" } else { "" }
            );
            let _ = terminal.flush();
        }
        if self.budget.is_some_and(|budget| spent >= budget) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

fn bar(what: &str, done: u64, count: u64, spent: Duration) -> String {
    let width = (done * 30 / count.max(1)) as usize;
    let rate = done as f64 / spent.as_secs_f64().max(1e-3);
    let left = (count.saturating_sub(done)) as f64 / rate.max(1e-3);
    let left = if left < 90.0 { format!("{left:.0} s") } else { format!("{:.0} min", left / 60.0) };
    format!("{what} [{:<30}] {done}/{count}  {rate:.0} runs/s  {left} left", "#".repeat(width))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::Profile;

    fn run(seed: u64) -> Outcome {
        Scenario::random(seed).run(Profile::Native, seed)
    }

    #[test]
    fn all_cores_give_the_same_total_as_one() {
        let together = play(0..8, run, |_, _| ControlFlow::Continue(()));
        let mut alone = Total::default();
        for seed in 0..8 {
            alone.add(seed, run(seed));
        }
        assert_eq!((together.outcome.hash, together.outcome.account), (alone.outcome.hash, alone.outcome.account));
        assert_eq!(together.runs, 8);
    }

    #[test]
    fn a_budget_ends_the_runs() {
        let total = play(0..100_000, run, |done, _| if done >= 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) });
        assert!((3..100).contains(&total.runs), "{}", total.runs);
    }

    #[test]
    fn outages_are_counted_for_each_link() {
        let story = Scenario::parse(
            "name = ''\nabout = ''\nfor_ms = 9\nfleet.devices = 3\n[[outage]]\nat_ms = 1\ndo = 'cut'\n[[outage]]\nat_ms = 1\ndevice = 2\ndo = 'cut'\n\
             [[outage]]\nat_ms = 1\ndo = 'server-stop'",
        );
        assert_eq!(story.map(|story| story.link_outages()), Ok(5));
        let seeds = seeds_for(1_000, 7);
        let counted = |seeds| (7..7 + seeds).map(|seed| Scenario::random(seed).link_outages()).sum::<u64>();
        assert!(counted(seeds) >= 1_000 && counted(seeds - 1) < 1_000);
    }

    #[test]
    fn the_bar_says_how_fast_and_how_long() {
        assert_eq!(
            bar("native", 250, 1_000, Duration::from_secs(5)),
            "native [#######                       ] 250/1000  50 runs/s  15 s left"
        );
        assert!(bar("native", 1, 100_000, Duration::from_secs(1)).ends_with("1 runs/s  1667 min left"));
    }
}
