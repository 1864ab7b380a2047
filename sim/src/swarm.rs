//! Many runs on all cores, and the smallest story that still fails.

use crate::fleet::Outcome;
use crate::scenario::Scenario;
use std::io::{IsTerminal, Write};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// What became of many runs together.
#[derive(Clone, Debug, Default)]
pub struct Total {
    /// All accounts added up; the longest pause of all.
    pub outcome: Outcome,
    /// The seeds of the runs that broke the guarantee, in order.
    pub broken: Vec<u64>,
}

/// Plays a run for each seed on all cores. `progress` is told how many are done, of how many, now and then.
pub fn play(seeds: Range<u64>, run: impl Fn(u64) -> Outcome + Sync, progress: impl Fn(u64, u64) + Sync) -> Total {
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
                    add(&mut total, seed, &outcome);
                    drop(total);
                    progress(seed + 1 - seeds.start, count);
                }
            });
        }
    });
    let mut total = total.into_inner().unwrap_or_default();
    total.broken.sort_unstable();
    total
}

fn add(total: &mut Total, seed: u64, outcome: &Outcome) {
    total.outcome.account += outcome.account;
    total.outcome.links += outcome.links;
    total.outcome.bytes += outcome.bytes;
    total.outcome.longest_pause_ms = total.outcome.longest_pause_ms.max(outcome.longest_pause_ms);
    // The order in which runs end must not matter.
    total.outcome.hash ^= outcome.hash;
    if !outcome.violations.is_empty() {
        total.broken.push(seed);
    }
}

/// Shows on a terminal how far the runs are.
pub fn progress(done: u64, count: u64) {
    let mut terminal = std::io::stderr();
    if terminal.is_terminal() && (done.is_multiple_of((count / 200).max(1)) || done == count) {
        let width = (done * 40 / count.max(1)) as usize;
        // A progress bar that cannot be shown is no reason to stop.
        let _ = write!(terminal, "\r[{:<40}] {done}/{count}{}", "#".repeat(width), if done == count { "\r\x1b[K" } else { "" });
        let _ = terminal.flush();
    }
}

/// The smallest story, by leaving out outages, for which `fails` still holds.
pub fn shrink(story: &Scenario, fails: impl Fn(&Scenario) -> bool) -> Scenario {
    let mut smallest = story.clone();
    let mut index = 0;
    while index < smallest.outages.len() {
        let mut candidate = smallest.clone();
        candidate.outages.remove(index);
        if fails(&candidate) {
            smallest = candidate;
            index = 0;
        } else {
            index += 1;
        }
    }
    smallest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_is_shrunk_to_what_matters() {
        let story = (0..).map(Scenario::random).find(|story| story.outages.len() == 6).expect("some story has six outages");
        let needed = story.outages[3];
        let shrunk = shrink(&story, |story| story.outages.contains(&needed));
        assert_eq!(shrunk.outages, [needed]);
    }

    #[test]
    fn all_cores_give_the_same_total_as_one() {
        let run = |seed| Scenario::random(seed).run(crate::actor::Profile::Native, seed);
        let together = play(0..8, run, |_, _| {});
        let mut alone = Total::default();
        for seed in 0..8 {
            add(&mut alone, seed, &run(seed));
        }
        assert_eq!((together.outcome.hash, together.outcome.account), (alone.outcome.hash, alone.outcome.account));
    }
}
