//! The table of guarantees.

use super::{Ended, write};
use holdline_sim::guarantees;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(crate) struct Table {
    /// Writes it into this file, between its marks, instead of printing it.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Compares it with what stands in this file; exit status 1 if it is another.
    #[arg(long, value_name = "FILE", conflicts_with = "write")]
    check: Option<PathBuf>,
}

impl Table {
    pub(crate) fn run(self) -> Ended {
        let table = guarantees::table();
        let Some(file) = self.write.as_ref().or(self.check.as_ref()) else {
            println!("{table}");
            return Ok(ExitCode::SUCCESS);
        };
        let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let new = guarantees::insert(&text, &table)
            .ok_or_else(|| format!("{}: the marks are missing: {} and {}", file.display(), guarantees::BEGIN, guarantees::END))?;
        if self.write.is_some() {
            write(file, new.as_bytes())?;
        } else if new != text {
            let shown = file.display();
            println!("{shown} says otherwise; `holdline-sim table --write {shown}` puts this there:\n\n{table}");
            return Ok(ExitCode::FAILURE);
        }
        Ok(ExitCode::SUCCESS)
    }
}
