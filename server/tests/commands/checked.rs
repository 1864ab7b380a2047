//! Listeners with and without checks in one server.

use crate::process::{Running, Signal, serve, start, texts_of};

/// A server with a listener of each kind, and where they are.
fn mixed(options: &[&str]) -> (Running, String, String) {
    let (server, plain) = serve(&[&["--listen-checked", "127.0.0.1:0"], options].concat());
    let line = server.err.wait_line("for devices whose lines carry checks");
    let checked = line.split_whitespace().find(|word| word.starts_with("127.0.0.1:")).expect("it says where").to_owned();
    (server, plain, checked)
}

#[test]
fn devices_of_both_kinds_talk_to_one_server() {
    // HL-0097
    let (mut server, plain, checked) = mixed(&[]);
    let mut devices = [
        start(&["connect", "--id", "desk", "--server", &plain, "--stay"]),
        start(&["connect", "--id", "uart", "--server", &checked, "--check", "--stay"]),
    ];
    for (device, id) in devices.iter_mut().zip(["desk", "uart"]) {
        device.type_line(format!("from {id}"));
    }
    server.out.wait(|lines| (lines.len() == 2).then_some(()));
    for id in ["desk", "uart"] {
        assert_eq!(texts_of(id, &server.out.all()), [format!("from {id}")]);
        server.type_line(format!("{id} hello"));
    }
    for device in &devices {
        device.out.wait_line("hello");
    }
    server.signal(Signal::TERM);
    assert_eq!(server.ended().code, Some(0));
}

#[test]
fn a_device_with_checks_at_the_other_listener_is_told_so_at_both_ends() {
    let (server, plain, _) = mixed(&[]);
    let ended = start(&["connect", "--id", "uart", "--server", &plain, "--check"]).ended();
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    let complaint = ended.err.last().expect("it says why");
    assert!(complaint.contains("malformed; this address takes no lines with checks: leave out --check"), "{complaint}");
    assert!(complaint.contains("--listen-checked"), "{complaint}");
    let line = server.err.wait_line("uart: turned away: its lines carry checks");
    assert!(line.contains("WARN") && line.contains("it belongs to that of --listen-checked"), "{line}");
}

#[test]
fn a_device_without_checks_at_the_checked_listener_is_told_so_at_both_ends() {
    // HL-0099, HL-0111
    let (server, _, checked) = mixed(&["--hello-timeout", "1s"]);
    let device = start(&["connect", "--id", "desk", "--server", &checked]);
    let line = server.err.wait_line("desk: not answered: its lines carry no checks");
    assert!(line.contains("WARN") && line.contains("it belongs to that of --listen"), "{line}");
    device.err.wait_line("trying again until Ctrl-C");
    device.err.wait_line("at its --listen-checked address only a client with --check is understood");
}

#[test]
fn a_program_reads_which_listener_is_which() {
    let server = start(&["serve", "--listen", "127.0.0.1:0", "--listen-checked", "127.0.0.1:0", "--json"]);
    let records = server.err.wait(|lines| (lines.len() >= 2).then(|| lines[..2].to_vec()));
    let records: Vec<serde_json::Value> = records.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(records.iter().all(|record| record["event"] == "listening" && record["address"].is_string()), "{records:?}");
    assert_eq!((&records[0]["check"], &records[1]["check"]), (&serde_json::Value::Null, &"crc32".into()));
}
