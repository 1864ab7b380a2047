//! What is typed wrong, or cannot be had: one line that says so and what to do.

use crate::device::Wire;
use crate::process::{Ended, Signal, serve, start};
use std::io::{Read, Write};
use std::net::TcpListener;

/// The one line that a command ends with.
fn complaint(ended: &Ended, code: i32) -> &str {
    assert_eq!(ended.code, Some(code), "{ended:#?}");
    let complaints: Vec<&String> = ended.err.iter().filter(|line| line.starts_with("holdline-server: ")).collect();
    assert_eq!(complaints.len(), 1, "{ended:#?}");
    assert!(ended.err.last().is_some_and(|last| last == complaints[0]), "nothing follows it: {ended:#?}");
    complaints[0]
}

fn assert_complains(arguments: &[&str], about: &str, advice: &str) {
    let ended = start(arguments).finished();
    assert_eq!(ended.err.len(), 1, "{ended:#?}");
    let complaint = complaint(&ended, 2);
    assert!(complaint.contains(about) && complaint.contains(advice), "{complaint}");
}

#[test]
fn a_wrong_option_is_named() {
    assert_complains(&["--foo"], "'--foo'", "holdline-server serve --help");
    assert_complains(&["serve", "--windw", "3"], "'--windw'", "'--window'");
    assert_complains(&["srve"], "'srve'", "'serve'");
    assert_complains(&["--window", "x"], "'x'", "--window <MESSAGES>");
    assert_complains(&["--timeout", "5"], "`5` is no time", "500ms");
    assert_complains(&["--app", "ech"], "'ech'", "relay:FROM:TO");
    assert_complains(&["--only-expected"], "without --expect", "name who is expected");
    assert_complains(&["--listen-checked", "127.0.0.1:0", "--profile", "classic"], "native devices only", "--listen-checked");
    assert_complains(&["connect", "--id", "a", "--check", "--profile", "auto"], "only native", "leave out --check");
    assert_complains(&["connect"], "--id <NAME>", "holdline-server connect --help");
    assert_complains(&["connect", "--id", "a", "--profile", "new"], "'new'", "classic-2020");
    assert_complains(&["demo", "--seconds", "0"], "'0'", "3..=3600");
}

#[test]
fn a_value_out_of_range_is_refused_with_the_range() {
    // HL-0008
    assert_complains(&["--window", "0"], "the window", "1 to 65535");
    assert_complains(&["--max-line", "5"], "the longest line", "128 to 1048576");
    assert_complains(&["--timeout", "1ms..1h"], "the timeout range", "200 to 3600000 ms");
    assert_complains(&["--hello-timeout", "2min"], "the hello timeout", "1 to 60 seconds");
    assert_complains(&["connect", "--id", "a", "--timeout", "1ms"], "the timeout", "200 to 3600000 ms");
}

#[test]
fn an_invalid_name_is_refused() {
    for id in ["", "two words", "a=b", "süd", &"x".repeat(65)] {
        assert_complains(&["connect", "--id", id], "a client id is", "1 to 64 characters");
    }
}

#[test]
fn an_address_that_cannot_be_listened_on_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it listens").to_string();
    assert_complains(&["--listen", &address], &address, "choose a port with --listen");
    let checked = ["--listen", "127.0.0.1:0", "--listen-checked", &address];
    assert_complains(&checked, &address, "choose a port with --listen-checked");
    assert_complains(&["--listen", "8123"], "cannot listen on 8123", "HOST:PORT");
    assert_complains(&["--listen", "192.0.2.1:8123"], "192.0.2.1:8123", "one of its own");
}

#[test]
fn a_wrong_file_is_named_with_its_line() {
    let folder = std::env::temp_dir().join(format!("holdline-usage-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a place for files");
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("a place for files");
        path.to_str().expect("a temporary folder has a plain name").to_owned()
    };
    let missing = folder.join("missing.toml");
    assert_complains(&["--config", missing.to_str().expect("a plain name")], "cannot read", "--config");
    assert_complains(&["--config", &file("a.toml", "inbox = 3\nwindw = 3\n")], "a.toml:2:1", "`window`");
    assert_complains(&["--config", &file("b.toml", "window = \"x\"\n")], "b.toml:1:10", "expected u16");
    assert_complains(&["--config", &file("c.toml", "\n\nwindow =\n")], "c.toml:3:9", "correct it");
    assert_complains(&["--config", &file("d.toml", "window = 0\n")], "the window", "1 to 65535");
    let good = file("e.toml", "listen = \"127.0.0.1:0\"\nexpect = [\"door-1\"]\nonly-expected = true\n");
    let server = start(&["--config", &good]);
    server.err.wait_line("listens on 127.0.0.1:");
    std::fs::remove_dir_all(folder).expect("it is ours");
}

#[test]
fn a_message_that_cannot_be_sent_is_named_by_its_line() {
    let (mut server, address) = serve(&[]);
    let mut device = start(&["connect", "--id", "door-1", "--server", &address]);
    device.type_line("fine");
    device.type_line("x".repeat(4_075));
    device.type_line("a\0b");
    device.type_line(b"no \xff text");
    device.type_line("x".repeat(2 << 20));
    device.type_line("x".repeat(4_074));
    device.end_input();
    let said = |line: &str| device.err.wait_line(line);
    assert!(said("line 2 was not sent").contains("longer than the 4074 bytes of a message: split it"));
    assert!(said("line 3 was not sent").contains("NUL"));
    assert!(said("line 4 was not sent").contains("not UTF-8"));
    assert!(said("line 5 was not sent").contains("split it"));
    assert_eq!(device.ended().code, Some(1));
    server.out.wait(|lines| (lines.len() == 2).then_some(()));

    server.type_line(r#"{"client":"door-1","text":"two\nlines"}"#);
    assert!(server.err.wait_line("line 1 was not sent").contains("cannot contain a line feed"));
    server.type_line("door-1");
    assert!(server.err.wait_line("line 2 was not sent").contains("`door-1 hello`"));
    server.type_line("{door-1 hello");
    assert!(server.err.wait_line("line 3 was not sent").contains(r#"{"client":"NAME","text":"TEXT"}"#));
    server.type_line(format!("door-1 {}", "x".repeat(4_075)));
    assert!(server.err.wait_line("line 4 was not sent").contains("split it"));
}

#[test]
fn a_classic_device_cannot_send_an_empty_message() {
    let (_server, address) = serve(&[]);
    let mut device = start(&["connect", "--id", "old", "--profile", "classic-2020", "--server", &address]);
    device.type_line("");
    assert!(device.err.wait_line("line 1 was not sent").contains("empty message"));
    assert_eq!(device.finished().code, Some(1));
}

#[test]
fn a_server_that_is_something_else_is_recognised() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it listens").to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                // As web servers do.
                let _ = stream.read(&mut [0; 512]);
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
            });
        }
    });
    for profile in ["native", "classic-2020", "auto"] {
        let ended = start(&["connect", "--id", "a", "--server", &address, "--profile", profile]).ended();
        let complaint = complaint(&ended, 1);
        assert!(
            complaint.contains(&address) && complaint.contains("does not speak") && complaint.contains("--profile"),
            "{complaint}"
        );
    }
}

#[test]
fn a_server_that_does_not_want_this_client_is_not_asked_again() {
    // HL-0117, HL-0118
    let (_server, address) = serve(&["--expect", "door-1", "--only-expected", "--profile", "native"]);
    let ended = start(&["connect", "--id", "door-2", "--server", &address]).ended();
    assert!(complaint(&ended, 1).contains("unknown-client; it serves only the clients it expects"));
    let (_server, address) = serve(&["--profile", "classic"]);
    let ended = start(&["connect", "--id", "door-1", "--server", &address]).ended();
    assert!(complaint(&ended, 1).contains("profile; it does not serve this profile"));
}

#[test]
fn nobody_listening_is_said_and_waited_for() {
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("it listens").to_string()
    };
    let mut device = start(&["connect", "--id", "door-1", "--server", &address]);
    let said = device.err.wait_line("cannot reach");
    assert!(said.contains(&address) && said.contains("trying again"), "{said}");
    let server = start(&["serve", "--listen", &address]);
    device.type_line("at last");
    server.out.wait_line("at last");
    assert_eq!(device.finished().code, Some(0));
}

#[test]
fn a_reader_of_the_output_that_goes_away_ends_the_server() {
    let mut server = std::process::Command::new(env!("CARGO_BIN_EXE_holdline-server"))
        .args(["serve", "--listen", "127.0.0.1:0", "--json"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the binary was built for this test");
    drop(server.stdout.take());
    let mut log = std::io::BufReader::new(server.stderr.take().expect("it is piped"));
    let mut line = String::new();
    std::io::BufRead::read_line(&mut log, &mut line).expect("it logs");
    let listening: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    let mut device = Wire::connect(listening["address"].as_str().expect("where it listens"));
    device.send("sensor-7\n00open\n");
    let mut rest = String::new();
    log.read_to_string(&mut rest).expect("it ends");
    assert!(rest.contains("nobody reads standard output any more"), "{rest}");
    assert_eq!(server.wait().expect("it was started").code(), Some(1));
}

#[test]
fn help_has_examples() {
    for arguments in [&["--help"][..], &["serve", "--help"], &["connect", "--help"], &["demo", "--help"]] {
        let ended = start(arguments).finished();
        assert_eq!(ended.code, Some(0));
        assert!(ended.out.iter().any(|line| line == "Examples:"), "{ended:#?}");
    }
}

#[test]
fn a_second_signal_ends_the_server_at_once() {
    let (server, address) = serve(&["--drain", "60s"]);
    let mut device = start(&["connect", "--id", "1", "--server", &address, "--timeout", "1h"]);
    device.type_line("here");
    server.out.wait_line("here");
    // It takes nothing, so the server has something to wait for.
    device.signal(Signal::STOP);
    let mut server = server;
    server.type_line("1 hello");
    server.type_line("2 hello");
    server.err.wait_line("line 2 was not sent");
    server.signal(Signal::TERM);
    server.err.wait_line("stopping");
    server.signal(Signal::TERM);
    assert_eq!(server.ended().code, Some(1));
    device.signal(Signal::CONT);
}
