//! The stories that come with the simulator, and how one looks as a file.

use super::Ended;
use holdline_sim::library;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    /// Its name.
    story: String,
}

impl Show {
    pub(crate) fn run(self) -> Ended {
        print!("{}", library::load(&self.story)?.to_toml());
        Ok(ExitCode::SUCCESS)
    }
}

/// The stories, a line each.
pub(crate) fn list() -> Ended {
    for name in library::names() {
        let about = library::load(name).map(|story| story.about).unwrap_or_default();
        let first = about.trim().split_inclusive('.').next().unwrap_or_default().replace('\n', " ");
        println!("{name:<24} {first}");
    }
    Ok(ExitCode::SUCCESS)
}
