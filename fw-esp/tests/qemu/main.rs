//! The board of `boards/qemu-virt` against the real server, through the live proxy, while everything is broken that can be.
//!
//! It needs an emulator and a compiler for the board; so `fw-esp/test-qemu.sh` builds what it needs and runs it.

#![expect(clippy::disallowed_methods, reason = "the programs on the stage live in real time")]

mod judge;
mod relay;
mod relayed;
mod stage;
mod trial;
mod wire;

use judge::Judge;
use stage::{Joined, Stage};
use trial::Trial;

fn rounds() -> u64 {
    std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(1)
}

/// What the proxy does to the line, with its name, attributes, and for how many milliseconds.
const TOXICS: [(&str, &str, &str, u64); 10] = [
    ("a late line", "latency", r#""latency": 200, "jitter": 100"#, 2_000),
    ("a line in slices", "slicer", r#""average_size": 3, "size_variation": 2, "delay": 500"#, 2_000),
    ("a slow line", "bandwidth", r#""rate": 1"#, 3_000),
    ("a reset", "reset_peer", r#""timeout": 0"#, 500),
    ("a short black hole", "black_hole", "", 600),
    ("a long black hole", "black_hole", "", 4_000),
    ("a line that hears and is not heard", "black_hole", r#""one_way": true"#, 3_000),
    ("a server that does not read", "stall", "", 3_000),
    ("a half-open line, the server's end left", "half_open", r#""stays": "server""#, 2_500),
    ("a half-open line, the device's end left", "half_open", r#""stays": "client""#, 2_500),
];

#[test]
#[ignore = "it needs QEMU and the board's program: fw-esp/test-qemu.sh"]
fn the_board_loses_nothing_whatever_breaks() {
    let mut trial = networked("network", "HOLDLINE_BOARD", false);
    for round in 0..rounds() {
        for (name, kind, attributes, ms) in TOXICS {
            trial.let_the_link_last();
            trial.toxic(kind, attributes, ms);
            trial.until_it_flows(name);
        }
        for bytes in 0..6 {
            trial.let_the_link_last();
            trial.toxic("limit_data", &format!(r#""bytes": {}"#, 60 * round + 11 * bytes), 400);
            trial.until_it_flows("a cut");
        }
        trial.stage.post("/proxies/line", r#"{"enabled": false}"#);
        trial.run_for(2_500);
        trial.stage.post("/reset", "");
        trial.until_it_flows("nobody listens");
        trial.stage.machine("set_link", r#"{"name": "n0", "up": false}"#);
        trial.run_for(3_000);
        trial.stage.machine("set_link", r#"{"name": "n0", "up": true}"#);
        trial.until_it_flows("the cable was out");
        trial.reset_board();
        trial.until_it_flows("the board was reset");
        trial.restart_server("KILL");
        trial.until_it_flows("the server was killed");
        trial.stage.post("/proxies/line/toxics", r#"{"name": "t", "type": "black_hole"}"#);
        trial.run_for(1_500);
        trial.reset_board();
        trial.run_for(1_500);
        trial.stage.post("/reset", "");
        trial.until_it_flows("the board was reset in an outage");
        trial.restart_server("TERM");
        trial.until_it_flows("the server was stopped in good order");
        // The server takes the fourth within ten timeouts for another board, and lets it in after two more (HL-0123).
        for _ in 0..4 {
            trial.reset_board();
            trial.until_it_flows("the board was reset again");
            trial.run_for(150);
        }
    }
    trial.verdict();
}

#[test]
#[ignore = "it needs QEMU and the board's program: fw-esp/test-qemu.sh"]
fn the_durable_board_loses_nothing_whenever_it_is_reset() {
    let mut trial = networked("flash", "HOLDLINE_DURABLE_BOARD", true);
    for round in 0..rounds() {
        for pause in 0..12 {
            trial.run_for(20 + 37 * (pause + round) % 400);
            trial.reset_board();
            trial.until_it_flows("the board was reset");
        }
        // What is said in the outage, and thrown away, lies in the flash when the board is reset.
        for stream in ["upstream", "downstream"] {
            let lost = format!(r#"{{"type": "timeout", "stream": "{stream}", "attributes": {{"timeout": 0}}}}"#);
            trial.stage.post("/proxies/line/toxics", &lost);
        }
        trial.run_for(2_500);
        trial.reset_board();
        trial.run_for(2_500);
        trial.stage.post("/reset", "");
        trial.until_it_flows("the board was reset in an outage");
        let late = trial.judge.late();
        assert!(late > 0, "no message of before came out of the flash:\n{}", trial.stage.logs());
        trial.say(format_args!("  {late} of them came out of the flash"));
        trial.restart_server("KILL");
        trial.until_it_flows("the server was killed");
    }
    trial.verdict();
}

/// A trial of the board with a network card.
fn networked(name: &'static str, board: &str, is_durable: bool) -> Trial {
    Trial::new(name, Stage::new(board, Joined::ByNetwork, |_| ()), Judge::new(is_durable))
}
