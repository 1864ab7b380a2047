//! A story in every profile, side by side.

use super::{Ended, HEADER, row, write};
use holdline_sim::actor::Profile;
use holdline_sim::swarm::{self, Progress, Total};
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
        println!();
        for column in &columns {
            println!("{:<13} {}", column.name, causes(&column.total));
            if let Some((seed, hole)) = &column.total.hole {
                let named = picture::quoted(&self.story);
                println!("{:<13} the first hole: {hole}", "");
                println!(
                    "{:<13} to see it:      holdline-sim run {named} --profile {} --seed {seed} --html hole.html",
                    "", column.name
                );
            }
        }
        println!("\nA hole: something was lost, repeated or reordered although nobody forgot anything.");
        println!(
            "The classic rows are Holdline's own sessions on the original's wire; its original programs do worse (docs/simulator.md)."
        );
        if let Some(file) = &self.svg {
            write(file, picture::svg(&story.name, seeds, &columns).as_bytes())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What a memory that was lost has cost, and what was the wire's fault.
fn causes(total: &Total) -> String {
    let account = total.outcome.account;
    let (lost, repeated) = (account.lost - account.lost_excused, account.repeated - account.repeated_excused);
    let said = [
        (account.lost_excused, "lost with somebody's memory"),
        (lost, "lost although nobody forgot"),
        (account.repeated_excused, "repeated to somebody who forgot"),
        (repeated, "repeated although nobody forgot"),
        (account.reordered, "reordered"),
        (account.damaged, "delivered with another text"),
    ];
    let said: Vec<_> = said.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if said.is_empty() { "everything once and in order".to_owned() } else { said.join(", ") }
}
