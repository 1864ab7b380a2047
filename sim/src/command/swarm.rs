//! Random stories by the thousand.

use super::{Ended, HEADER, Hook, Wire, row, verdict, write};
use holdline_sim::actor::Profile;
use holdline_sim::fleet::Outcome;
use holdline_sim::scenario::Scenario;
use holdline_sim::shrink::{kinds, shrink};
use holdline_sim::swarm::{self, Progress, Total};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(crate) struct Swarm {
    /// How many stories.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// As many stories as it takes for so many link outages, all profiles together; one for each outage and each device that it concerns.
    #[arg(long, conflicts_with = "seeds")]
    outages: Option<u64>,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// The wire; `all` plays every story in each of them.
    #[arg(long, value_enum, default_value_t = Wires::Native)]
    profile: Wires,
    /// The longest that it may take, such as `90s` or `8m`; exit status 1 if it has not done everything by then.
    #[arg(long, value_parser = duration)]
    budget: Option<Duration>,
    /// Writes the smallest story that fails into this directory.
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    #[command(flatten)]
    hook: Hook,
}

/// Runs in which a classic wire shows its holes.
const MANY: u64 = 1_000;

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Wires {
    /// Holdline's own.
    Native,
    /// micropython-iot since late January 2019.
    #[value(name = "classic-2020")]
    Classic2020,
    /// micropython-iot of January 2019.
    #[value(name = "classic-2019")]
    Classic2019,
    /// Each of them.
    All,
}

impl Wires {
    fn profiles(self) -> Vec<Profile> {
        match self {
            Self::Native => vec![Wire::Native.into()],
            Self::Classic2020 => vec![Wire::Classic2020.into()],
            Self::Classic2019 => vec![Wire::Classic2019.into()],
            Self::All => Profile::ALL.to_vec(),
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        other => return Err(format!("the unit is `{other}`; give s, m or h, as in 90s")),
    };
    let number: u64 = digits.parse().map_err(|error| format!("`{digits}`: {error}"))?;
    number.checked_mul(unit).map(Duration::from_secs).ok_or_else(|| "that is too long".to_owned())
}

impl Swarm {
    pub(crate) fn run(self) -> Ended {
        let profiles = self.profile.profiles();
        let seeds = match self.outages {
            Some(outages) => swarm::seeds_for(outages.div_ceil(profiles.len() as u64), self.from),
            None => self.seeds,
        };
        let to = self.from.checked_add(seeds).ok_or("there are no seeds above 18446744073709551615")?;
        let began = Progress::new("", self.budget);
        println!("{HEADER}  runs with holes");
        let (mut outages, mut runs, mut hash, mut good, mut holed) = (0, 0, 0u64, true, Vec::new());
        for &profile in &profiles {
            let left = self.budget.map(|budget| budget.saturating_sub(began.spent()));
            let progress = Progress::new(profile.name(), left);
            let play = |seed| self.hook.run(&Scenario::random(seed), profile, seed);
            let total = swarm::play(self.from..to, play, |done, count| progress.tell(done, count));
            println!("{} {:>16}", row(profile.name(), &total.outcome), total.holed.len());
            outages += (self.from..self.from + total.runs).map(|seed| Scenario::random(seed).link_outages()).sum::<u64>();
            runs += total.runs;
            hash = hash.rotate_left(1).wrapping_add(total.outcome.hash);
            if total.runs < seeds {
                println!("The time was up after {} of {seeds} runs.", total.runs);
                good = false;
            }
            good &= self.judge(profile, &total)?;
            holed.push((profile, total.holed.len()));
        }
        println!("\n{outages} link outages in {runs} runs, trace {hash:016x}.");
        if let Some((profile, _)) = holed.iter().find(|(profile, holes)| *profile != Profile::Native && *holes == 0)
            && seeds >= MANY
        {
            println!(
                "In {} not one of the losses was found that its wire is known for: something is wrong here.",
                profile.name()
            );
            good = false;
        }
        Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Says what broke, as small as it can be made; whether native kept its promise.
    fn judge(&self, profile: Profile, total: &Total) -> Result<bool, String> {
        let Some(&seed) = total.broken.first() else { return Ok(true) };
        println!("\n{} of {} runs broke a promise, the first with seed {seed}.", total.broken.len(), total.runs);
        println!("The whole story:  holdline-sim run seed-{seed} --profile {}{}", profile.name(), self.hook.flag());
        println!("Shrunk:\n");
        let story = Scenario::random(seed);
        let first = kinds(&self.hook.run(&story, profile, seed));
        let same = |outcome: &Outcome| !kinds(outcome).is_disjoint(&first);
        let mut story = shrink(&story, |story| same(&self.hook.run(story, profile, seed)));
        let outcome = self.hook.run(&story, profile, seed);
        story.about = format!("Drawn at random from the seed {seed}, and shrunk: {}.", outcome.violations.join("; "));
        println!("{}", story.to_toml());
        let _ = verdict(&outcome);
        self.tell_how_to_replay(&story, profile)?;
        // What is missing in a classic wire is counted; what breaks native's promise is a failure.
        Ok(profile != Profile::Native)
    }

    fn tell_how_to_replay(&self, story: &Scenario, profile: Profile) -> Result<(), String> {
        let directory = self.save.as_deref().unwrap_or(Path::new("."));
        let file = directory.join(format!("{}-{}.toml", story.name, profile.name()));
        if self.save.is_some() {
            std::fs::create_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
            write(&file, story.to_toml().as_bytes())?;
        } else {
            println!("\nSave it as {}, or let --save DIR do so. Then", file.display());
        }
        let replay = format!("holdline-sim run {} --profile {}{}", file.display(), profile.name(), self.hook.flag());
        println!("\nTo play it again:  {replay}");
        println!("To look at it:     {replay} --html {}", file.with_extension("html").display());
        Ok(())
    }
}
