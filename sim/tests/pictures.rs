//! What a run leaves behind for people and machines: the page, the lines of JSON, the capture file, the plot.

use holdline_proto::unchecked;
use holdline_sim::actor::Profile;
use holdline_sim::library;
use holdline_sim::outage::Way;
use holdline_sim::picture::{Column, Frame, Kind, Recording, svg};
use holdline_sim::scenario::{Count, Scenario, When};
use holdline_sim::swarm::{self, Total};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

const STORY: &str = r#"
name = "three"
about = "Three devices, and what happens to them."
for_ms = 20000
[fleet]
devices = 3
message_every_ms = 500
[[outage]]
at_ms = 4000
for_ms = 5000
do = "black-hole"
then = "never"
[[outage]]
at_ms = 12000
for_ms = 1000
device = 1
do = "power-cycle"
[[outage]]
at_ms = 16000
for_ms = 500
do = "server-stop"
"#;

fn recording(story: &Scenario, profile: Profile) -> Recording {
    Recording::play(story, "three.toml", profile, 3)
}

fn three() -> Scenario {
    Scenario::parse(STORY).expect("a story")
}

/// The data that the viewer draws.
fn data(page: &str) -> Value {
    let begin = page.find(r#"id="data">"#).expect("data") + r#"id="data">"#.len();
    let end = begin + page[begin..].find("</script>").expect("an end");
    serde_json::from_str(&page[begin..end]).expect("JSON")
}

#[test]
fn recording_a_run_changes_nothing_in_it() {
    for profile in Profile::ALL {
        assert_eq!(recording(&three(), profile).outcome().hash, three().run(profile, 3).hash);
    }
}

#[test]
fn every_frame_has_a_kind_and_a_fate_in_every_profile() {
    for profile in Profile::ALL {
        let frames = recording(&three(), profile).frames();
        for kind in [Kind::Hello, Kind::Message, Kind::Keepalive] {
            assert!(
                frames.iter().any(|frame| frame.kind == kind && frame.arrived_ms.is_some()),
                "{profile:?}: no {kind:?} arrived"
            );
        }
        assert_eq!(frames.iter().any(|frame| frame.kind == Kind::Ack), profile != Profile::Classic2019, "{profile:?}");
        assert!(
            frames.iter().any(|frame| frame.arrived_ms.is_none() && !frame.under_way),
            "{profile:?}: the black hole lost nothing"
        );
        assert!(frames.iter().all(|frame| frame.arrived_ms.is_none_or(|arrived| arrived >= frame.written_ms)));
        assert!(frames.iter().all(|frame| frame.arrived_ms.is_none() || frame.got == frame.bytes.len() + 1));
    }
}

/// The lines that each end of each stream read, by the events of the run.
fn lines_read(recording: &Recording) -> BTreeMap<(u64, bool), Vec<Vec<u8>>> {
    let mut read: BTreeMap<(u64, bool), Vec<u8>> = BTreeMap::new();
    for line in recording.json_lines().lines() {
        let line: Value = serde_json::from_str(line).expect(line);
        if line["what"] != "arrived" {
            continue;
        }
        let bytes = match line["text"].as_str() {
            Some(text) => text.as_bytes().to_vec(),
            None => {
                let hex = line["hex"].as_str().expect("text or hex").as_bytes();
                hex.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("hex"), 16).expect("hex")).collect()
            }
        };
        read.entry((line["stream"].as_u64().expect("a stream"), line["way"] == "back")).or_default().extend(bytes);
    }
    read.into_iter().map(|(way, bytes)| (way, bytes.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect())).collect()
}

#[test]
fn a_line_that_noise_damaged_is_told_from_one_that_was_read_as_it_was_written() {
    for name in ["serial-noise", "serial-noise-restart"] {
        let story = library::load(name).expect("a story");
        let recording = Recording::play(&story, name, Profile::Native, 2);
        let frames = recording.frames();
        let damaged: Vec<_> = frames.iter().filter_map(|frame| Some((frame, frame.damage.as_ref()?))).collect();
        assert!(damaged.iter().any(|(_, damage)| damage.flipped > 0) && damaged.iter().any(|(_, damage)| damage.dropped > 0));
        assert!(damaged.iter().all(|(frame, damage)| frame.bytes != damage.read || frame.bytes.is_empty()), "{name}");
        for ((stream, is_down), lines) in lines_read(&recording) {
            // A reader that looks at the checks sees the lines that are not drawn as damaged, and no others.
            let good: Vec<_> = lines.into_iter().filter(|line| unchecked(line).is_some()).collect();
            let of_way = |frame: &&Frame| u64::from(frame.stream.0) == stream && (frame.direction.0 == 1) == is_down;
            let whole = |frame: &&Frame| frame.arrived_ms.is_some() && frame.damage.is_none() && !frame.bytes.is_empty();
            let drawn: Vec<_> = frames.iter().filter(of_way).filter(whole).map(|frame| frame.bytes.clone()).collect();
            assert_eq!(drawn, good, "{name}, stream {stream}, down: {is_down}");
        }
        let data = data(&recording.html());
        assert_eq!((&data["checked"], &data["damaged"]), (&true.into(), &0.into()));
        assert!(data["frames"]["damaged"].as_array().is_some_and(|columns| columns.len() > 10), "{}", data["frames"]["damaged"]);
    }
}

#[test]
fn what_native_lost_in_the_cut_is_repeated() {
    let frames = recording(&three(), Profile::Native).frames();
    let lost = frames.iter().filter(|frame| frame.kind == Kind::Message && frame.arrived_ms.is_none());
    let repeated = lost.filter(|frame| frame.repeated_by.is_some_and(|index| frames[index].bytes.ends_with(b".")));
    assert!(repeated.count() > 0);
}

#[test]
fn the_page_has_every_lane_and_outage() {
    let data = data(&recording(&three(), Profile::Native).html());
    assert_eq!(data["lanes"], serde_json::json!(["server", "device-0", "device-1", "device-2"]));
    let spans = |number: usize| data["outages"][number]["spans"].clone();
    assert_eq!(data["outages"][0]["name"], "black-hole");
    assert_eq!(spans(0), serde_json::json!([[1, 4_000, 9_000], [2, 4_000, 9_000], [3, 4_000, 9_000]]));
    assert_eq!(spans(1), serde_json::json!([[2, 12_000, 13_000]]));
    assert_eq!(spans(2), serde_json::json!([[0, 16_000, 16_500]]));
    let columns =
        ["at", "after", "lane", "way", "kind", "stream", "text"].map(|name| data["frames"][name].as_array().map_or(0, Vec::len));
    assert!(columns[0] > 500 && columns.iter().all(|&length| length == columns[0]), "{columns:?}");
    for lane in 1..4 {
        let bars = data["bars"][lane].as_array().expect("bars");
        assert!(bars.iter().any(|bar| bar[2] == 2 && bar[3] != ""), "a link of lane {lane} goes up, and down for a reason");
    }
}

#[test]
fn a_clone_has_a_lane_of_its_own() {
    let mut story = three();
    story.outages = library::load("cloned-id").expect("a story").outages;
    for entry in &mut story.outages {
        (entry.at_ms, entry.for_ms) = (2_000, 3_000);
    }
    let data = data(&recording(&story, Profile::Native).html());
    assert!(
        data["lanes"].as_array().is_some_and(|lanes| lanes.iter().any(|lane| lane == "device-0 (clone)")),
        "{}",
        data["lanes"]
    );
}

#[test]
fn the_page_asks_for_nothing_from_outside() {
    let page = recording(&three(), Profile::Native).html();
    for outside in ["http://", "https://", "src=", "<link", "@import", "url(", "fetch(", "XMLHttpRequest", "{{data}}"] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn hostile_text_stays_text() {
    let mut story = three();
    story.name = "</title><script>alert(1)</script>{{data}}".into();
    story.about = "</script><img src=x onerror=alert(2)>".into();
    let page = recording(&story, Profile::Native).html();
    assert_eq!(page.matches("<script").count(), 2, "ours");
    assert!(!page.contains("<img") && !page.contains("<script>alert"));
    assert_eq!(data(&page)["about"], story.about);
    let drawn = svg(&story.name, 1, &[]);
    assert!(!drawn.contains("<script"));
}

#[test]
fn json_lines_tell_the_whole_run() {
    let text = recording(&three(), Profile::Native).json_lines();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert_eq!((&lines[0]["story"], &lines[0]["seed"]), (&"three".into(), &3.into()));
    assert_eq!(lines[0]["outages"][1]["do"], "power-cycle");
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    let mut written = 0;
    for line in &lines[1..] {
        assert!(line["at_ms"].is_u64(), "{line}");
        *seen.entry(line["what"].as_str().expect("what")).or_default() += 1;
        if line["what"] == "written" {
            written += line["length"].as_u64().expect("length");
        }
    }
    for what in ["asked", "opened", "failed", "written", "arrived", "closed", "power", "up", "down", "outage"] {
        assert!(seen.contains_key(what), "{what}: {seen:?}");
    }
    assert_eq!(seen["outage"], 2 * (3 + 1 + 1));
    assert_eq!(written, recording(&three(), Profile::Native).outcome().bytes);
}

#[test]
fn the_capture_file_is_tcp_with_numbers_that_follow_each_other() {
    let recording = recording(&three(), Profile::Native);
    let file = recording.pcap();
    assert_eq!((&file[..4], file[20]), (&[0xd4, 0xc3, 0xb2, 0xa1][..], 101));
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().expect("four")) as usize;
    let (mut at, mut before, mut payload) = (24, (0, 0), 0);
    let mut next: BTreeMap<(Vec<u8>, Vec<u8>), u32> = BTreeMap::new();
    while at < file.len() {
        let stamp = (word(at), word(at + 4));
        assert!(stamp >= before, "time goes on");
        before = stamp;
        let length = word(at + 8);
        let packet = &file[at + 16..at + 16 + length];
        assert_eq!((sum(&packet[..20]), usize::from(packet[2]) << 8 | usize::from(packet[3])), (0xffff, length));
        let flow = ([&packet[12..16], &packet[20..22]].concat(), [&packet[16..20], &packet[22..24]].concat());
        let number = u32::from_be_bytes(packet[24..28].try_into().expect("four"));
        let (flags, data) = (packet[33], length as u32 - 40);
        let expected = next.entry(flow).or_default();
        if flags & 4 == 0 {
            assert_eq!(number, *expected);
            *expected = number + data + u32::from(flags & 3 != 0);
        }
        payload += u64::from(data);
        at += 16 + length;
    }
    assert_eq!((at, payload), (file.len(), recording.outcome().bytes));
}

/// The Internet checksum of a header that carries its own: all ones if it is right.
fn sum(header: &[u8]) -> u32 {
    let sum: u32 = header.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    (sum & 0xffff) + (sum >> 16)
}

#[test]
fn the_plot_names_every_profile_and_says_none_where_there_is_none() {
    let column = |name: &str, lost, pauses_ms: &[u64]| {
        let mut total = Total::default();
        (total.outcome.account.sent, total.outcome.account.lost) = (1_000, lost);
        total.outcome.recovered_ms = pauses_ms.to_vec();
        Column { name: name.into(), total }
    };
    let drawn = svg("half-open-server", 10, &[column("native", 0, &[40, 1_000]), column("classic-2020", 12, &[])]);
    for text in [">native<", ">classic-2020<", ">12.0<", ">none<", "median 1.0 s", "longest 1.0 s", ">none<"] {
        assert!(drawn.contains(text), "{text}");
    }
    assert!(drawn.starts_with("<svg") && drawn.trim_end().ends_with("</svg>"));
}

#[test]
fn an_outage_that_waits_for_a_count_is_listed_where_it_began_or_as_never() {
    let mut story = three();
    story.outages.truncate(1);
    let mut never = story.outages[0];
    (story.outages[0].at_ms, story.outages[0].when) =
        (0, Some(When { count: Count::Delivered, number: 10, device: 1, way: Way::Up }));
    (never.at_ms, never.when) = (0, Some(When { count: Count::Line, number: 1_000_000, device: 0, way: Way::Down }));
    story.outages.push(never);
    let data = data(&recording(&story, Profile::Native).html());
    let at = data["outages"][0]["atMs"].as_u64().expect("a time");
    assert!(at > 1_000, "{at}");
    assert_eq!(data["outages"][0]["spans"][0][1], at);
    assert!(
        data["outages"][0]["words"].as_str().is_some_and(|words| words.ends_with("when message 10 was delivered from device-1"))
    );
    assert!(data["outages"][1]["atMs"].is_null() && data["outages"][1]["spans"] == serde_json::json!([]));
}

#[test]
fn the_page_counts_bytes_for_a_message_as_the_table_does() {
    let recording = recording(&three(), Profile::Native);
    assert_eq!(data(&recording.html())["bytesPerMessage"], recording.outcome().bytes_per_message());
}

#[test]
fn the_half_open_story_shows_what_the_classic_wire_loses_and_repeats_and_native_does_not() {
    let story = library::load("half-open-server").expect("a story");
    let total = |profile| swarm::play(0..30, |seed| story.run(profile, seed), |_, _| ControlFlow::Continue(()));
    let native = total(Profile::Native);
    assert!(native.hole.is_none() && native.outcome.account.repeated == 0);
    assert_eq!(native.outcome.account.lost, native.outcome.account.lost_excused);
    for profile in [Profile::Classic2020, Profile::Classic2019] {
        let classic = total(profile);
        let account = classic.outcome.account;
        assert!(account.repeated > account.repeated_excused, "{profile:?}: message 0 came twice");
        assert!(account.lost > native.outcome.account.lost, "{profile:?} keeps nothing over a power cut");
        assert_eq!(classic.hole.map(|(seed, _)| seed), classic.holed.first().copied(), "{profile:?}");
    }
}
