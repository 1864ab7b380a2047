//! Scenario files: what they can say, and where they are wrong.

use holdline_sim::actor::Profile;
use holdline_sim::picture::Recording;
use holdline_sim::scenario::{Count, Scenario};
use proptest::prelude::*;

const HEAD: &str = "name = 'x'\nabout = ''\nfor_ms = 9000\n";

fn wrong(text: &str) -> String {
    Scenario::parse(text).expect_err(text).to_string()
}

#[test]
fn every_mistake_is_told_with_its_line_and_column() {
    // What follows the first three lines, and what is said of it.
    let mistakes = [
        ("fleet = 3", "4:9: [fleet] is a number; give a table"),
        ("[fleet]\ndevices = 0", "5:11: `devices` is 0; give 1 to 10000"),
        ("[fleet]\ndevices = -4", "5:11: `devices` is -4; give 1 to 10000"),
        ("[fleet]\ndevices = 99999999999999999999", "5:11: `devices` is out of range; give 1 to 10000"),
        ("[fleet]\ndevices = 2.5", "5:11: `devices` is a number with a point; give a whole number, 1 to 10000"),
        ("[fleet]\ndevices = 'two'", "5:11: `devices` is text; give a whole number, 1 to 10000"),
        ("[fleet]\ntimeout_ms = 100", "5:14: the timeout must be 200 to 3600000 ms"),
        ("[fleet]\nwindow = 0", "5:10: the window must be 1 to 65535 messages"),
        ("[fleet]\nmessage_length = 5000", "5:18: `message_length` is 5000; give 24 to 4000"),
        ("[fleet]\nlatency_ms = 70000", "5:14: `latency_ms` is 70000; give 0 to 60000"),
        (
            "[fleet]\ndevice = 3",
            "5:1: [fleet] has no `device`; it has devices, timeout_ms, window, message_every_ms, message_length, deliveries, latency_ms, jitter_ms, check",
        ),
        ("[fleet]\ncheck = 1", "5:9: `check` is a number; give true or false"),
        (
            "[[outage]]\nat_ms = 1\ndo = 'noise'",
            "6:6: `noise` flips and drops nothing; give `flip_per_million`, `drop_per_million`, or both",
        ),
        (
            "[[outage]]\nat_ms = 1\ndo = 'noise'\nflip_per_million = 1000001",
            "7:20: `flip_per_million` is 1000001; give 0 to 1000000",
        ),
        (
            "[[outage]]\nat_ms = 1\ndo = 'noise'\nflip_per_million = 600000\ndrop_per_million = 400001",
            "8:20: 600000 flipped and 400001 dropped of a million are more than there are; give no more together",
        ),
        (
            "[random]\nat_ms = 5\ndo = 'noise'\nflip_per_million = [0, 600000]\ndrop_per_million = [0, 600000]",
            "8:20: 600000 flipped and 600000 dropped of a million are more than there are; give no more together",
        ),
        (
            "[random]\nat_ms = 5\ndo = 'noise'\nflip_per_million = [0, 0]",
            "6:6: `noise` flips and drops nothing; give `flip_per_million`, `drop_per_million`, or both",
        ),
        ("seed = -1", "4:8: `seed` is -1; give 0 to 9223372036854775807"),
        ("sed = 1", "4:1: the story has no `sed`; it has name, about, for_ms, seed, fleet, outage, random"),
        ("outage = 1", "4:10: [[outage]] is a number; give a table"),
        ("[[outage]]\ndo = 'roam'", "4:1: an outage begins at a time, `at_ms = 1000`, or after a count, `when = { line = 20 }`"),
        ("[[outage]]\nat_ms = 1", "4:1: an outage says what happens: do = \"black-hole\""),
        ("[[outage]]\nat_ms = 9001\ndo = 'roam'", "5:9: `at_ms` is 9001; give 0 to 9000"),
        ("[[outage]]\nat_ms = 1\ndevice = 1\ndo = 'roam'", "6:10: device 1 of 1: they are counted from 0; give 0"),
        (
            "[fleet]\ndevices = 3\n[[outage]]\nat_ms = 1\ndevice = 5\ndo = 'roam'",
            "8:10: device 5 of 3: they are counted from 0; give 0 to 2",
        ),
        ("[[outage]]\nat_ms = 1\ndevice = 0\ndo = 'server-stop'", "6:10: `server-stop` concerns the server and no device"),
        ("[[outage]]\nat_ms = 1\ndo = 'black-hole'\nwya = 'up'", "7:1: unknown field `wya`, expected `way` or `then`"),
        (
            "[[outage]]\nat_ms = 1\ndo = 'black-hole'\nway = 'sideways'",
            "7:7: `way`: unknown variant `sideways`, expected one of `both`, `up`, `down`",
        ),
        ("[[outage]]\nat_ms = 1\ndo = 'roam'\nway = 'up'", "7:1: `roam` has no `way`; it has nothing else"),
        ("[[outage]]\nat_ms = 1\ndo = 'nat-idle'", "6:6: `do`: missing field `idle_ms`"),
        ("[[outage]]\nat_ms = 1\nidle_ms = 0\ndo = 'nat-idle'", "6:11: `idle_ms` is 0; give 1 to 86400000"),
        ("[[outage]]\nat_ms = 1\ndo = 'segments'\nsize = 'x'", "7:8: `size`: invalid type: string \"x\", expected u32"),
        ("[[outage]]\nat_ms = 1\ndo = 'segments'\nsize = 0", "7:8: `size` is 0; give 1 to 65535"),
        ("[[outage]]\nwhen = 20\ndo = 'roam'", "5:8: when is a number; give a table"),
        ("[[outage]]\nwhen = {}\ndo = 'roam'", "5:8: `when` counts something: line = 20, byte = 1000 or delivered = 10"),
        ("[[outage]]\nwhen = { line = 2, byte = 1 }\ndo = 'roam'", "5:27: `when` counts one thing: line, byte or delivered"),
        ("[[outage]]\nwhen = { line = 0 }\ndo = 'roam'", "5:17: `line` is 0; give 1 to 4294967295"),
        ("[[outage]]\nwhen = { line = 2, way = 'both' }\ndo = 'roam'", "5:26: `way` is \"both\"; give \"up\" or \"down\""),
        ("[[outage]]\nwhen = { line = 2, device = 1 }\ndo = 'roam'", "5:29: device 1 of 1: they are counted from 0; give 0"),
        (
            "[[outage]]\nwhen = { lines = 2, byte = 2 }\ndo = 'roam'",
            "5:10: when has no `lines`; it has line, byte, delivered, device, way",
        ),
        ("[random]\ndo = 'roam'", "4:1: a random outage begins within a range: at_ms = [1000, 50000]"),
        ("[random]\nat_ms = [5, 2]\ndo = 'roam'", "5:9: `at_ms` is a range from 5 down to 2; give the lower end first"),
        ("[random]\nat_ms = [5, 9001]\ndo = 'roam'", "5:13: `at_ms` is 9001; give 0 to 9000"),
        ("[random]\nat_ms = [5, 6, 7]\ndo = 'roam'", "5:9: `at_ms` is a list of 3; give a range, [low, high]"),
        ("[random]\nat_ms = 5\ndo = 'segments'\nsize = [0, 7]", "7:8: `size` is 0; give 1 to 65535"),
        (
            "[random]\nat_ms = 5\ndo = 'black-hole'\nthen = ['rst', 'bang']",
            "7:8: `then`: unknown variant `bang`, expected one of `resume`, `fin`, `rst`, `never`",
        ),
        ("[random]\nat_ms = 5\ndo = 'black-hole'\nthen = ['rst', 1]", "7:8: `then` is a list of words and something else"),
        ("[random]\nat_ms = 5\ndo = ['roam', 'cut']\nwith = 'fin'", "7:1: `roam` has no `with`; it has nothing else"),
        ("[random]\nat_ms = 5\ncount = 1001\ndo = 'roam'", "6:9: `count` is 1001; give 0 to 1000"),
        ("[random]\nat_ms = 5", "4:1: an outage says what happens: do = \"black-hole\""),
        ("[random]\nat_ms = 5\ndo = []", "6:6: `do` wants a range of two numbers, or a list of words to draw one from"),
        ("ünïcode = 'ä' 'b'", "4:15: unexpected key or value, expected newline, `#`"),
        ("[[outage]]\nat_ms = 'ä", "5:11: invalid literal string, expected `'`"),
    ];
    let said: Vec<_> = mistakes.iter().map(|(text, _)| wrong(&format!("{HEAD}{text}"))).collect();
    let expected: Vec<_> = mistakes.iter().map(|(_, expected)| *expected).collect();
    for ((text, _), (said, expected)) in mistakes.iter().zip(said.iter().zip(&expected)) {
        assert_eq!(said, expected, "of\n{HEAD}{text}");
    }
}

#[test]
fn what_is_missing_at_the_top_is_told_at_the_top() {
    assert_eq!(wrong("name = 'x'"), "1:1: `for_ms` says how long the story lasts, in milliseconds: for_ms = 60000");
    assert_eq!(wrong("for_ms = 0"), "1:10: `for_ms` is 0; give 1 to 86400000");
    assert_eq!(wrong("name = 1\nfor_ms = 9"), "1:8: `name` is a number; give text");
}

#[test]
fn an_outage_that_is_not_known_is_answered_with_those_that_are() {
    let said = wrong(&format!("{HEAD}[[outage]]\nat_ms = 1\ndo = 'blackhole'"));
    assert!(said.starts_with("6:6: `do`: unknown variant `blackhole`, expected one of `black-hole`, `cut`,"), "{said}");
}

#[test]
fn a_file_is_named_before_the_line() {
    let file = std::env::temp_dir().join(format!("holdline-{}.toml", std::process::id()));
    std::fs::write(&file, format!("{HEAD}[fleet]\ndevices = 0")).expect("written");
    let said = holdline_sim::library::load(&file.display().to_string()).expect_err("no devices").to_string();
    std::fs::remove_file(&file).expect("removed");
    assert_eq!(said, format!("{}:5:11: `devices` is 0; give 1 to 10000", file.display()));
}

/// When the first outage begins.
fn begins(outage: &str, count: Count) -> (u64, u64) {
    let story = format!(
        "{HEAD}[fleet]\nmessage_every_ms = 500\ndeliveries = ['reliable']\n[[outage]]\nfor_ms = 100\ndo = 'cut'\n{outage}"
    );
    let story = Scenario::parse(&story).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(story.outages[0].when.expect("a trigger").count, count);
    let run = Recording::play(&story, "x", Profile::Native, 1);
    let lines: Vec<serde_json::Value> = run.json_lines().lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let at = lines.iter().find(|line| line["what"] == "outage").expect("it begins")["at_ms"].as_u64().expect("a time");
    let way = if outage.contains("down") { "back" } else { "out" };
    let written = lines.iter().filter(|line| line["what"] == "written" && line["way"] == way);
    let mut before = written.filter(|line| line["at_ms"].as_u64().expect("a time") <= at);
    let counted = match count {
        Count::Byte => before.map(|line| line["length"].as_u64().expect("a length")).sum(),
        Count::Line => before.map(|line| line["text"].as_str().expect("text").matches('\n').count() as u64).sum(),
        Count::Delivered => {
            before.by_ref().filter(|line| line["text"].as_str().is_some_and(|text| text.contains('M'))).count() as u64
        }
    };
    (at, counted)
}

#[test]
fn a_trigger_fires_in_the_millisecond_in_which_its_count_is_reached() {
    let (at, lines) = begins("when = { line = 8 }", Count::Line);
    assert!((8..=9).contains(&lines) && at > 0, "{lines} lines at {at} ms");
    let (at, bytes) = begins("when = { byte = 400, way = 'down' }", Count::Byte);
    assert!((400..500).contains(&bytes) && at > 0, "{bytes} bytes at {at} ms");
    let (at, messages) = begins("when = { delivered = 3 }", Count::Delivered);
    assert!(messages == 3 && (1_500..1_600).contains(&at), "{messages} messages at {at} ms");
    let (late, _) = begins("at_ms = 4000\nwhen = { delivered = 3 }", Count::Delivered);
    assert_eq!(late, 4_000, "not before its time");
}

#[test]
fn a_count_that_is_not_reached_is_no_outage() {
    let story = Scenario::parse(&format!("{HEAD}[[outage]]\nwhen = {{ line = 1000000 }}\ndo = 'server-stop'")).expect("a story");
    let quiet = Scenario { outages: Vec::new(), ..story.clone() };
    assert_eq!(story.run(Profile::Native, 1).hash, quiet.run(Profile::Native, 1).hash);
}

#[test]
fn an_outage_that_lasts_no_time_is_over_at_once() {
    let story = |outage: &str| format!("{HEAD}[fleet]\nlatency_ms = 5\n[[outage]]\nat_ms = 4000\n{outage}");
    let late = Scenario::parse(&story("do = 'bufferbloat'\nlatency_ms = 1500")).expect("a story");
    let slow = late.run(Profile::Native, 1);
    let quiet = Scenario { outages: Vec::new(), ..late }.run(Profile::Native, 1);
    assert_eq!((slow.links, slow.account), (quiet.links, quiet.account));
    let off = Scenario::parse(&story("do = 'server-stop'")).expect("a story").run(Profile::Native, 1);
    assert_eq!(off.links, 2, "it is there again long before everything heals: {off:?}");
}

const RANDOM: &str = "[fleet]\ndevices = 3\n[random]\ncount = [2, 6]\nat_ms = [1000, 8000]\nfor_ms = [50, 900]\ndevice = [0, 2]\n\
    do = 'black-hole'\nthen = ['resume', 'never']\n[[random]]\nat_ms = 500\ndo = ['roam', 'cut']";

#[test]
fn a_random_block_is_drawn_from_the_seed_within_its_ranges() {
    let story = Scenario::parse(&format!("{HEAD}{}", RANDOM.replace("[random]\ncount", "[[random]]\ncount"))).expect("a story");
    let mut counts = std::collections::BTreeSet::new();
    for seed in 0..50 {
        let drawn = story.drawn(seed);
        assert_eq!(drawn, story.drawn(seed));
        assert!(drawn.random.is_empty());
        counts.insert(drawn.outages.len());
        for entry in &drawn.outages[..drawn.outages.len() - 1] {
            assert!((1_000..=8_000).contains(&entry.at_ms) && (50..=900).contains(&entry.for_ms));
            assert!(entry.device.is_some_and(|device| device < 3));
        }
    }
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), [3, 4, 5, 6, 7]);
    assert_ne!(story.run(Profile::Native, 1).hash, story.run(Profile::Native, 2).hash);
}

#[test]
fn a_story_survives_being_written_and_read() {
    let text = format!(
        "{HEAD}seed = 9\n{}\n[[outage]]\nfor_ms = 5\nwhen = {{ byte = 7, device = 1, way = 'down' }}\ndo = 'slow'\nrate = 3",
        RANDOM.replace("[random]\ncount", "[[random]]\ncount")
    );
    let story = Scenario::parse(&text).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(Scenario::parse(&story.to_toml()), Ok(story));
}

/// Pieces that look like a scenario more often than letters do.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-z_\\[\\]{}=\"'#. 0-9\\n-]{0,12}",
        proptest::sample::select(vec![
            "name = 'x'\n",
            "for_ms = ",
            "9000\n",
            "-1\n",
            "[fleet]\n",
            "devices = ",
            "[[outage]]\n",
            "at_ms = ",
            "[random]\n",
            "[[random]]\n",
            "do = ",
            "'roam'\n",
            "'black-hole'\n",
            "['cut', 'roam']\n",
            "when = { line = ",
            "5 }\n",
            "[1, 5]\n",
            "[]\n",
            "device = ",
            "0\n",
            "18446744073709551616\n",
            "1e400\n",
            "size = ",
            "'segments'\n",
            "true\n",
            "[[[[",
            "1979-05-27\n",
            "ä",
        ])
        .prop_map(str::to_owned),
    ];
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics_the_reader(text in pieces()) {
        if let Err(error) = Scenario::parse(&text) {
            prop_assert!(error.to_string().split(':').take(2).all(|part| part.parse::<u32>().is_ok()), "{error} has no place");
        }
    }

    #[test]
    fn no_story_with_one_character_changed_panics_the_reader(at in 0_usize..900, with in any::<char>()) {
        let text = holdline_sim::library::text("device-brownout").expect("a story");
        let changed: String = text.chars().enumerate().map(|(place, was)| if place == at { with } else { was }).collect();
        let _ = Scenario::parse(&changed).map(|story| story.drawn(1));
    }
}
