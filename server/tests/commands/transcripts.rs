//! The worked transcripts of the specification, replayed against the server: what it prints is what the text says.

use crate::device::Wire;
use crate::process::{Running, Signal, serve, texts_of};
use std::collections::HashMap;
use std::time::Duration;

/// What the specification shows.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// A connection begins.
    Connect,
    /// A line is typed, or a script prints something.
    Say(String),
    /// Nothing is said for a while.
    Sleep(Duration),
    /// Something is printed again and again until the link ends.
    Repeat(Duration, String),
    /// A line of the server.
    Hear(String),
}

/// The server of the transcripts, and the random numbers it was seen to use.
struct Stage {
    server: Running,
    address: String,
    bound: HashMap<String, String>,
}

#[test]
fn sessions_by_hand() {
    let mut stage = Stage::new();
    let first = transcript("15.1");
    stage.play(&first[0]);

    // Left open, and done again in a second terminal: the first one shows a takeover.
    let second = transcript("15.2");
    let held = stage.play(&second[0]);
    let again: Vec<Step> = second[0][..2].iter().map(|step| replaced(step, "base=2", "base=4")).collect();
    let _newer = stage.play(&again);
    assert_eq!(second[1], [Step::Hear("Btakeover".into())]);
    assert_eq!((held.frame().as_deref(), held.line()), (Some("Btakeover"), None));

    let third = transcript("15.3");
    assert_eq!(third.len(), 2);
    third.iter().for_each(|block| drop(stage.play(block)));
}

#[test]
fn keepalive_and_outage() {
    let mut stage = Stage::new();
    let blocks = transcript("15.4");
    let wire = stage.play(&blocks[0]);
    assert_eq!(blocks[1], [Step::Hear("Bmute".into())]);
    stage.hear_all(&wire, &blocks[1]);
    assert_eq!(wire.line(), None);

    let silent = stage.play(&blocks[2]);
    assert_eq!(silent.frame(), None, "closed after T without a word");
}

#[test]
fn refusals() {
    let mut stage = Stage::new();
    let blocks = transcript("15.5");
    for block in &blocks[..3] {
        assert_eq!(stage.play(block).line(), None);
    }
    // A line that never ends.
    assert!(matches!(&blocks[3][..], [Step::Connect, Step::Repeat(_, letter)] if letter == "H"), "{:?}", blocks[3]);
    assert_eq!(stage.play(&blocks[3]).line(), None);
}

#[test]
fn faults() {
    let mut stage = Stage::new();
    let hello = transcript("15.1")[0][..4].to_vec();
    let steps = transcript("15.6").remove(0);
    assert_eq!(steps.len(), 12);
    for (index, exchange) in steps.chunks(2).enumerate() {
        let mut block: Vec<Step> =
            hello.iter().map(|step| replaced(step, "client=door-1", &format!("client=fault-{index}"))).collect();
        // Each client is a new one, with an epoch of its own.
        stage.bound.remove("E1");
        block.extend_from_slice(exchange);
        assert_eq!(stage.play(&block).line(), None, "each line ends the link");
    }
}

#[test]
fn classic_2020() {
    let mut stage = Stage::new();
    let blocks = transcript("15.7");
    drop(stage.play(&blocks[0]));
    assert_eq!(stage.play(&blocks[1]).frame(), None);
}

#[test]
fn classic_2019() {
    let mut stage = Stage::new();
    stage.play(&transcript("15.8")[0]);
}

#[test]
fn the_first_page() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).expect("the first page is there");
    let block = readme.split("\n```").find(|block| block.starts_with("\n$ nc ")).expect("it shows a device by hand");
    let mut stage = Stage::new();
    let _wire = stage.play(&read_block(block));
    stage.server.signal(Signal::TERM);
    assert_eq!(texts_of("door-2", &stage.server.ended().out), ["opened"], "a repeat is not printed again");
}

#[test]
fn transcripts_are_read_as_they_are_written() {
    let block = "$ nc 127.0.0.1 8123\n> M1 light on\n< A1                       accepted\n>                          nothing\n<";
    let say = |text: &str| Step::Say(format!("{text}\n"));
    let hear = |text: &str| Step::Hear(text.into());
    assert_eq!(read_block(block), [Step::Connect, say("M1 light on"), hear("A1"), say(""), hear("")]);
    let script = "$ (printf 'a b\\n'; sleep 0.3\n   while sleep 1; do printf '\\n'; done) | nc 127.0.0.1 8123\n< x";
    let second = Duration::from_secs(1);
    let expected =
        [Step::Connect, say("a b"), Step::Sleep(Duration::from_millis(300)), Step::Repeat(second, "\n".into()), hear("x")];
    assert_eq!(read_block(script), expected);
}

impl Stage {
    fn new() -> Self {
        let (server, address) = serve(&["--app", "answer:open=light on", "--classic-2019", "meter-1"]);
        Self { server, address, bound: HashMap::new() }
    }

    /// Plays a block; the connection is left as it is at its end.
    fn play(&mut self, block: &[Step]) -> Wire {
        let mut wire = None;
        let mut index = 0;
        while let Some(step) = block.get(index) {
            index += 1;
            match step {
                Step::Connect => wire = Some(Wire::connect(&self.address)),
                Step::Say(line) => {
                    let line = self
                        .bound
                        .iter()
                        .fold(line.clone(), |line, (name, value)| line.replace(&format!("={name}"), &format!("={value}")));
                    wire.as_mut().expect("connected").send(line);
                }
                Step::Sleep(pause) => {
                    // What comes meanwhile is kept for later.
                    let (_open, nothing) = std::sync::mpsc::channel::<()>();
                    let _ = nothing.recv_timeout(*pause);
                }
                Step::Repeat(pause, line) => wire.as_mut().expect("connected").repeat(*pause, line.clone()),
                Step::Hear(_) => {
                    let run = block[index - 1..].iter().take_while(|step| matches!(step, Step::Hear(_))).count();
                    self.hear_all(wire.as_ref().expect("connected"), &block[index - 1..index - 1 + run]);
                    index += run - 1;
                }
            }
        }
        wire.expect("connected")
    }

    /// Hears what is expected, in this order. Keepalives can come anywhere, as many as are expected at least; an ack and a message
    /// can change places.
    fn hear_all(&mut self, wire: &Wire, expected: &[Step]) {
        let lines = expected.iter().map(|step| if let Step::Hear(line) = step { &**line } else { "" });
        let keepalives = lines.clone().filter(|line| line.is_empty()).count();
        let mut expected: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
        let mut heard = 0;
        while !expected.is_empty() || heard < keepalives {
            let line = wire.line().unwrap_or_else(|| panic!("the server closed instead of saying {expected:?}"));
            let (first, second) = (expected.first().copied(), expected.get(1).copied());
            if line.is_empty() {
                heard += 1;
            } else if first.is_some_and(|first| self.matches(first, &line)) {
                expected.remove(0);
            } else if first
                .zip(second)
                .is_some_and(|(first, second)| changes_places(first, second) && self.matches(second, &line))
            {
                expected.remove(1);
            } else {
                panic!("{line:?} instead of {expected:?}");
            }
        }
    }

    /// Whether a line is the one of the text, where `E1` and the like stand for numbers.
    fn matches(&mut self, wanted: &str, line: &str) -> bool {
        let (wanted, line): (Vec<&str>, Vec<&str>) = (wanted.split(' ').collect(), line.split(' ').collect());
        let mut found = Vec::new();
        let same = wanted.len() == line.len()
            && wanted.iter().zip(&line).all(|(wanted, word)| {
                let variable = wanted.split_once('=').filter(|(_, value)| matches!(*value, "S1" | "E1" | "E2" | "E3" | "…"));
                let Some((key, name)) = variable else { return wanted == word };
                let Some(value) = word.strip_prefix(key).and_then(|rest| rest.strip_prefix('=')) else { return false };
                if name == "…" {
                    return true;
                }
                found.push((name.to_owned(), value.to_owned()));
                self.bound.get(name).is_none_or(|known| known == value)
            });
        if same {
            self.bound.extend(found);
        }
        same
    }
}

/// The specification leaves open which of these comes first.
fn changes_places(one: &str, other: &str) -> bool {
    let is_ack = |line: &str| line.starts_with('A') && line[1..].bytes().all(|byte| byte.is_ascii_digit());
    let is_message = |line: &str| line.starts_with('M');
    is_ack(one) && is_message(other) || is_message(one) && is_ack(other)
}

fn replaced(step: &Step, from: &str, to: &str) -> Step {
    match step {
        Step::Say(line) => Step::Say(line.replace(from, to)),
        other => other.clone(),
    }
}

/// The blocks of a transcript of the specification.
fn transcript(section: &str) -> Vec<Vec<Step>> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../SPEC.md")).expect("the specification is there");
    let (_, after) = text.split_once(&format!("\n### {section} ")).expect("the section is there");
    let section = after.split("\n### ").next().and_then(|rest| rest.split("\n## ").next()).unwrap_or(after);
    // Between fences, every other part is a block; a blank line in one begins another connection.
    let fenced = section.split("\n```").skip(1).step_by(2);
    let blocks: Vec<Vec<Step>> = fenced.flat_map(|block| block.split("\n\n")).map(read_block).collect();
    assert!(!blocks.is_empty());
    blocks
}

fn read_block(block: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for line in block.lines().filter(|line| !line.is_empty()) {
        // A comment stands behind two blanks or more.
        let content = |marked: &str| marked.strip_prefix(' ').unwrap_or(marked).split("  ").next().unwrap_or_default().to_owned();
        if let Some(typed) = line.strip_prefix('>') {
            steps.push(Step::Say(content(typed).trim_start().to_owned() + "\n"));
        } else if let Some(heard) = line.strip_prefix('<') {
            steps.push(Step::Hear(content(heard)));
        } else {
            if line.starts_with('$') {
                steps.push(Step::Connect);
            }
            read_script(line, &mut steps);
        }
    }
    steps
}

/// Reads the commands of a script: `printf '…'`, `sleep N`, and a loop of both.
fn read_script(mut script: &str, steps: &mut Vec<Step>) {
    let seconds = |rest: &str| {
        let number = rest.trim_start().split(|c: char| !c.is_ascii_digit() && c != '.').next().unwrap_or_default();
        Duration::from_secs_f64(number.parse().expect("a number of seconds"))
    };
    loop {
        let next = ["while sleep", "printf '", "sleep"].into_iter().filter_map(|word| script.find(word).map(|at| (at, word)));
        let Some((at, word)) = next.min_by_key(|&(at, _)| at) else { return };
        script = &script[at + word.len()..];
        let printed = |rest: &str| rest.split('\'').next().unwrap_or_default().replace("\\n", "\n");
        match word {
            "while sleep" => {
                let (pause, body) = (seconds(script), script.split_once("printf '").expect("a loop prints").1);
                steps.push(Step::Repeat(pause, printed(body)));
                script = body.split_once("done").expect("a loop ends").1;
            }
            "sleep" => steps.push(Step::Sleep(seconds(script))),
            _ => {
                steps.push(Step::Say(printed(script)));
                script = script.split_once('\'').expect("a quote ends").1;
            }
        }
    }
}
