//! A story in every profile, side by side.

use super::{Ended, HEADER, row, write};
use holdline_sim::actor::Profile;
use holdline_sim::swarm::{self, Progress};
use holdline_sim::{library, picture};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;

#[derive(Debug, clap::Args)]
pub(crate) struct Compare {
    /// A name from `list`, or a file.
    story: String,
    /// How many seeds.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// Also draws it, as an SVG file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

impl Compare {
    pub(crate) fn run(self) -> Ended {
        let story = library::load(&self.story)?;
        let seeds = self.seeds;
        println!("{}\n\n{seeds} seeds each:\n\n{HEADER}  runs in which the guarantee broke", story.about.trim());
        let mut columns = Vec::new();
        for profile in Profile::ALL {
            let pauses = Mutex::new(Vec::new());
            let play = |seed| {
                let outcome = story.run(profile, seed);
                if let Ok(mut pauses) = pauses.lock() {
                    pauses.extend(&outcome.pauses_ms);
                }
                outcome
            };
            let total = {
                let progress = Progress::new(profile.name(), None);
                swarm::play(0..seeds, play, |done, count| progress.tell(done, count))
            };
            println!("{} {:>6}", row(profile.name(), &total.outcome), total.broken.len());
            let pauses_ms = pauses.into_inner().unwrap_or_default();
            columns.push(picture::Column { name: profile.name().to_owned(), total: total.outcome, pauses_ms });
        }
        if let Some(file) = &self.svg {
            write(file, picture::svg(&story.name, seeds, &columns).as_bytes())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
