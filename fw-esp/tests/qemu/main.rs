//! The board of `boards/qemu-virt` against the real server, through the live proxy, while everything is broken that can be.
//!
//! It needs an emulator and a compiler for the board; so `fw-esp/test-qemu.sh` builds what it needs and runs it.

#![expect(clippy::disallowed_methods, reason = "the programs on the stage live in real time")]

mod judge;
mod stage;

use judge::Judge;
use stage::Stage;
use std::time::{Duration, Instant};

/// How long one fault may take to be survived before this is called stuck. Nothing depends on how fast it is.
const PATIENCE: Duration = Duration::from_secs(90);

/// Both ends at once: what the server prints is judged, and the device is kept busy.
struct Trial {
    stage: Stage,
    judge: Judge,
    /// The next text for the device in this life of the server.
    fed: u64,
}

impl Trial {
    fn new(board: &str, is_durable: bool) -> Self {
        let mut trial = Self { stage: Stage::new(board), judge: Judge::new(is_durable), fed: 0 };
        trial.until_it_flows("start");
        trial
    }

    fn step(&mut self) {
        for text in self.stage.printed(Duration::from_millis(20)) {
            self.judge.hear(&text);
        }
        let life = self.stage.life;
        // The server knows the device from its first message on; beyond that a few texts are on their way at any time.
        while self.stage.serves() && self.judge.was_heard_in(life) && self.fed < self.judge.answered(life) + 8 {
            self.stage.feed(&format!("d {life} {}", self.fed));
            self.fed += 1;
        }
    }

    /// Goes on for so long, whatever comes.
    fn run_for(&mut self, ms: u64) {
        let end = Instant::now() + Duration::from_millis(ms);
        while Instant::now() < end {
            self.step();
        }
    }

    /// Goes on until messages flow in both directions again.
    fn until_it_flows(&mut self, after: &str) {
        let (up, down, end) = (self.judge.counted() + 60, self.judge.answered(self.stage.life) + 6, Instant::now() + PATIENCE);
        while self.judge.counted() < up || self.judge.answered(self.stage.life) < down {
            assert!(Instant::now() < end, "nothing flows after {after}:\n{}", self.stage.logs());
            self.step();
        }
        println!("{after}: {}", self.judge);
    }

    fn toxic(&mut self, name: &str, kind: &str, attributes: &str, ms: u64) {
        self.stage.post("/proxies/line/toxics", &format!(r#"{{"name": "t", "type": "{kind}", "attributes": {{{attributes}}}}}"#));
        self.run_for(ms);
        self.stage.post("/reset", "");
        self.until_it_flows(name);
    }

    fn restart_server(&mut self, name: &str, signal: &str) {
        self.judge.expect_repeats();
        self.stage.stop_server(signal);
        // What it printed before it ended counts.
        self.run_for(300);
        self.stage.start_server();
        self.fed = 0;
        self.until_it_flows(name);
    }

    fn reset_board(&mut self, name: &str) {
        self.judge.expect_reset();
        self.stage.machine("system_reset", "{}");
        self.until_it_flows(name);
    }
}

fn rounds() -> u64 {
    std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(1)
}

#[test]
#[ignore = "it needs QEMU and the board's program: fw-esp/test-qemu.sh"]
fn the_board_loses_nothing_whatever_breaks() {
    let mut trial = Trial::new("HOLDLINE_BOARD", false);
    for round in 0..rounds() {
        trial.toxic("a late line", "latency", r#""latency": 200, "jitter": 100"#, 2_000);
        trial.toxic("a line in slices", "slicer", r#""average_size": 3, "size_variation": 2, "delay": 500"#, 2_000);
        trial.toxic("a slow line", "bandwidth", r#""rate": 1"#, 3_000);
        trial.toxic("a reset", "reset_peer", r#""timeout": 0"#, 500);
        trial.toxic("a short black hole", "black_hole", "", 600);
        trial.toxic("a long black hole", "black_hole", "", 4_000);
        trial.toxic("a line that hears and is not heard", "black_hole", r#""one_way": true"#, 3_000);
        trial.toxic("a server that does not read", "stall", "", 3_000);
        trial.toxic("a half-open line, the server's end left", "half_open", r#""stays": "server""#, 2_500);
        trial.toxic("a half-open line, the device's end left", "half_open", r#""stays": "client""#, 2_500);
        for bytes in 0..6 {
            trial.toxic("a cut", "limit_data", &format!(r#""bytes": {}"#, 60 * round + 11 * bytes), 400);
        }
        trial.stage.post("/proxies/line", r#"{"enabled": false}"#);
        trial.run_for(2_500);
        trial.stage.post("/reset", "");
        trial.until_it_flows("nobody listens");
        trial.stage.machine("set_link", r#"{"name": "n0", "up": false}"#);
        trial.run_for(3_000);
        trial.stage.machine("set_link", r#"{"name": "n0", "up": true}"#);
        trial.until_it_flows("the cable was out");
        trial.reset_board("the board was reset");
        trial.restart_server("the server was killed", "KILL");
        trial.stage.post("/proxies/line/toxics", r#"{"name": "t", "type": "black_hole"}"#);
        trial.run_for(1_500);
        trial.judge.expect_reset();
        trial.stage.machine("system_reset", "{}");
        trial.run_for(1_500);
        trial.stage.post("/reset", "");
        trial.until_it_flows("the board was reset in an outage");
        trial.restart_server("the server was stopped in good order", "TERM");
        for _ in 0..4 {
            trial.reset_board("the board was reset again");
            trial.run_for(150);
        }
    }
    trial.judge.verdict();
}

#[test]
#[ignore = "it needs QEMU and the board's program: fw-esp/test-qemu.sh"]
fn the_durable_board_loses_nothing_whenever_it_is_reset() {
    let mut trial = Trial::new("HOLDLINE_DURABLE_BOARD", true);
    for round in 0..rounds() {
        for pause in 0..12 {
            trial.run_for(20 + 37 * (pause + round) % 400);
            trial.reset_board("the board was reset");
        }
        // What is said in the outage, and thrown away, lies in the flash when the board is reset.
        for stream in ["upstream", "downstream"] {
            let lost = format!(r#"{{"type": "timeout", "stream": "{stream}", "attributes": {{"timeout": 0}}}}"#);
            trial.stage.post("/proxies/line/toxics", &lost);
        }
        trial.run_for(2_500);
        trial.judge.expect_reset();
        trial.stage.machine("system_reset", "{}");
        trial.run_for(2_500);
        trial.stage.post("/reset", "");
        trial.until_it_flows("the board was reset in an outage");
        let late = trial.judge.late();
        assert!(late >= 8, "only {late} messages of before came out of the flash:\n{}", trial.stage.logs());
        trial.restart_server("the server was killed", "KILL");
    }
    trial.judge.verdict();
}
