//! A story in every profile, side by side.

use super::{Ended, HEADER, row, write};
use holdline_sim::actor::Profile;
use holdline_sim::swarm::{self, Progress};
use holdline_sim::{library, picture};
use std::path::PathBuf;
use std::process::ExitCode;

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
        println!("{}\n\n{seeds} seeds each:\n\n{HEADER}  runs with holes", story.about.trim());
        let mut columns = Vec::new();
        for profile in Profile::ALL {
            let progress = Progress::new(profile.name(), None);
            let total = swarm::play(0..seeds, |seed| story.run(profile, seed), |done, count| progress.tell(done, count));
            println!("{} {:>16}", row(profile.name(), &total.outcome), total.holed.len());
            columns.push(picture::Column { name: profile.name().to_owned(), total });
        }
        println!("\nA hole: something was lost, repeated or reordered although nobody forgot anything.");
        if let Some(file) = &self.svg {
            write(file, picture::svg(&story.name, seeds, &columns).as_bytes())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
