//! One run of a story.

use super::{Ended, HEADER, Wire, row, verdict, write};
use holdline_sim::actor::Profile;
use holdline_sim::library;
use holdline_sim::picture::Recording;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// A name from `list`, a random story as `seed-1234`, or a file.
    story: String,
    /// What everything random follows from; if it is not said, the story's own, or 1.
    #[arg(long)]
    seed: Option<u64>,
    /// The wire.
    #[arg(long, value_enum, default_value_t = Wire::Native)]
    profile: Wire,
    #[command(flatten)]
    pictures: Pictures,
    #[command(flatten)]
    hook: super::Hook,
}

/// What to keep of a run besides its sums.
#[derive(Debug, clap::Args)]
struct Pictures {
    /// Draws the run into one page for a browser: every device, outage and frame, to zoom and to point at.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Writes everything that happened as lines of JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes the streams as a capture file for Wireshark.
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
}

impl Run {
    pub(crate) fn run(self) -> Ended {
        let story = library::load(&self.story)?;
        let (profile, seed) = (Profile::from(self.profile), self.seed.or(story.seed).unwrap_or(1));
        println!("{}\n", story.about.trim());
        let outcome = match &self.pictures {
            Pictures { html: None, json: None, pcap: None } => self.hook.run(&story, profile, seed),
            Pictures { html, json, pcap } => {
                let recording = Recording::play(&story, &self.story, profile, seed);
                if let Some(file) = html {
                    write(file, recording.html().as_bytes())?;
                }
                if let Some(file) = json {
                    write(file, recording.json_lines().as_bytes())?;
                }
                if let Some(file) = pcap {
                    write(file, &recording.pcap())?;
                }
                recording.outcome().clone()
            }
        };
        println!("{HEADER}\n{}", row(profile.name(), &outcome));
        println!("\nseed {seed}, trace {:016x}", outcome.hash);
        Ok(verdict(&outcome))
    }
}
