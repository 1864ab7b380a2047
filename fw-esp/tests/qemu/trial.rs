//! A trial: both ends at once, what the server prints is judged, and the device is kept busy.

use crate::judge::Judge;
use crate::stage::Stage;
use std::fmt;
use std::time::{Duration, Instant};

/// How long one fault may take to be survived before this is called stuck. Nothing depends on how fast it is.
const PATIENCE: Duration = Duration::from_secs(90);

/// What goes on on a stage.
pub(crate) struct Trial {
    name: &'static str,
    pub(crate) stage: Stage,
    pub(crate) judge: Judge,
    /// The next text for the device in this life of the server.
    fed: u64,
    /// Texts before this one are not waited for: a board without memory that was reset may have accepted them and forgotten its
    /// answers.
    forgotten: u64,
}

impl Trial {
    /// A trial that has begun: messages flow. Its name is before all that it says.
    pub(crate) fn new(name: &'static str, stage: Stage, judge: Judge) -> Self {
        let mut trial = Self { name, stage, judge, fed: 0, forgotten: 0 };
        trial.until_it_flows("start");
        trial
    }

    fn step(&mut self) {
        for text in self.stage.printed(Duration::from_millis(20)) {
            self.judge.hear(&text);
        }
        let life = self.stage.life;
        // The server knows the device from its first message on; beyond that a few texts are on their way at any time.
        let end = self.judge.answered(life).max(self.forgotten) + 8;
        while self.stage.serves() && self.judge.was_heard_in(life) && self.fed < end {
            self.stage.feed(&format!("d {life} {}", self.fed));
            self.fed += 1;
        }
    }

    /// Goes on for so long, whatever comes.
    pub(crate) fn run_for(&mut self, ms: u64) {
        let end = Instant::now() + Duration::from_millis(ms);
        while Instant::now() < end {
            self.step();
        }
    }

    /// Goes on until it is so.
    pub(crate) fn until(&mut self, what: &str, mut is_so: impl FnMut(&Judge) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_so(&self.judge) {
            let is_patient = Instant::now() < end;
            assert!(is_patient, "{}: not {what}: {}, {} texts fed:\n{}", self.name, self.judge, self.fed, self.stage.logs());
            self.step();
        }
    }

    /// Goes on until messages flow in both directions again.
    pub(crate) fn until_it_flows(&mut self, after: &str) {
        let life = self.stage.life;
        let (up, down) = (self.judge.counted() + 60, self.judge.answered(life) + 6);
        self.until(&format!("flowing after {after}"), |judge| judge.counted() >= up && judge.answered(life) >= down);
        self.say(format_args!("{after}: {}", self.judge));
    }

    /// Goes on for as long as a link must have lasted for its client not to back off when it ends: three timeouts, of a second each.
    pub(crate) fn let_the_link_last(&mut self) {
        self.run_for(3_200);
    }

    /// A fault of the proxy for so long, and its end.
    pub(crate) fn toxic(&mut self, kind: &str, attributes: &str, ms: u64) {
        self.stage.post("/proxies/line/toxics", &format!(r#"{{"name": "t", "type": "{kind}", "attributes": {{{attributes}}}}}"#));
        self.run_for(ms);
        self.stage.post("/reset", "");
    }

    /// The server ends without memory, by this signal, and starts again.
    pub(crate) fn restart_server(&mut self, signal: &str) {
        self.judge.expect_repeats();
        self.stage.stop_server(signal);
        // What it printed before it ended counts.
        self.run_for(300);
        self.stage.start_server();
        (self.fed, self.forgotten) = (0, 0);
    }

    /// The board begins again without memory.
    pub(crate) fn reset_board(&mut self) {
        self.judge.expect_reset();
        if !self.judge.is_durable {
            self.forgotten = self.fed;
        }
        self.stage.machine("system_reset", "{}");
    }

    /// What is to be said at the end.
    pub(crate) fn verdict(&self) {
        self.judge.verdict(self.stage.board_starts());
        self.say(format_args!("{}: nothing lost, repeated or out of order beyond what a lost memory costs", self.judge));
    }

    pub(crate) fn say(&self, what: fmt::Arguments<'_>) {
        println!("{}: {what}", self.name);
    }
}
