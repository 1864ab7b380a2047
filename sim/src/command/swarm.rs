//! Random stories by the thousand.

use super::{Ended, HEADER, Wire, row, verdict};
use holdline_sim::actor::Profile;
use holdline_sim::scenario::Scenario;
use holdline_sim::swarm;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(crate) struct Swarm {
    /// How many.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// The wire.
    #[arg(long, value_enum, default_value_t = Wire::Native)]
    profile: Wire,
}

impl Swarm {
    pub(crate) fn run(self) -> Ended {
        let (from, seeds, profile) = (self.from, self.seeds, Profile::from(self.profile));
        let total = swarm::play(from..from + seeds, |seed| Scenario::random(seed).run(profile, seed), swarm::progress);
        println!("{HEADER}\n{}", row(profile.name(), &total.outcome));
        let Some(&seed) = total.broken.first() else {
            println!("{seeds} stories, and the guarantee held in each.");
            return Ok(ExitCode::SUCCESS);
        };
        println!("{} of {seeds} stories broke the guarantee, the first with seed {seed}. Shrunk:\n", total.broken.len());
        let story = swarm::shrink(&Scenario::random(seed), |story| !story.run(profile, seed).violations.is_empty());
        println!("{}", story.to_toml());
        println!("# Save it, and play it again with:  holdline-sim run FILE --seed {seed} --profile {}", profile.name());
        let _ = verdict(&story.run(profile, seed));
        Ok(if profile == Profile::Native { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}
