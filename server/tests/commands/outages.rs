//! Two terminals, and what happens to people's devices: suspended, killed, cut off.

use crate::device::{Cable, ClassicDevice};
use crate::process::{Lines, Running, Signal, runs, serve, start, texts_of};

/// Numbered messages for a client, typed at the server.
fn feed(server: &mut Running, client: &str, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        server.type_line(format!("{client} count={number} run=fed"));
    }
}

/// Waits until the server has printed at least this many messages of a client.
fn wait_messages(lines: &Lines, client: &str, count: usize) {
    lines.wait(|lines| (texts_of(client, lines).len() >= count).then_some(()));
}

fn numbers(range: std::ops::RangeInclusive<u64>) -> Vec<u64> {
    range.collect()
}

/// The only run among these texts.
fn only_run(texts: &[String]) -> Vec<u64> {
    let mut runs = runs(texts);
    assert_eq!(runs.len(), 1, "{runs:?}");
    runs.remove(0).1
}

#[test]
fn a_client_that_was_suspended_goes_on_where_it_was() {
    let (mut server, address) = serve(&[]);
    let mut other = ClassicDevice::connect(&address, "sensor-7");
    let device =
        start(&["connect", "--id", "1", "--server", &address, "--timeout", "500ms", "--count", "200", "--rate", "50", "--stay"]);
    for round in 1..=3 {
        let fed = 40 * (round as u64 - 1);
        wait_messages(&server.out, "1", 50 * round);
        feed(&mut server, "1", fed + 1..=fed + 20);
        device.signal(Signal::STOP);
        server.err.wait_nth("1: outage", round);
        feed(&mut server, "1", fed + 21..=fed + 40);
        other.write("beside them");
        device.signal(Signal::CONT);
        server.err.wait_nth("1: resumed", round);
    }
    wait_messages(&server.out, "1", 200);
    device.out.wait(|lines| (lines.len() >= 120).then_some(()));
    device.signal(Signal::TERM);
    let device = device.ended();
    assert_eq!(device.code, Some(0), "{device:#?}");
    assert_eq!(only_run(&device.out), numbers(1..=120));
    server.signal(Signal::TERM);
    let server = server.ended();
    assert_eq!(only_run(&texts_of("1", &server.out)), numbers(1..=200));
    assert_eq!(texts_of("sensor-7", &server.out), ["beside them"; 3]);
}

/// A client without memory that is killed loses what was not acknowledged yet, and nothing else: what arrived of it is a beginning
/// without gaps. What it had received and not acknowledged comes again to its next life.
#[test]
fn a_killed_client_loses_only_what_was_not_acknowledged() {
    let (mut server, address) = serve(&[]);
    let mut other = ClassicDevice::connect(&address, "sensor-7");
    let live = || start(&["connect", "--id", "1", "--server", &address, "--count", "100000", "--rate", "100"]);
    let mut lives = Vec::new();
    for life in 0..3 {
        let device = live();
        device.err.wait_line("connected");
        let seen = texts_of("1", &server.out.all()).len();
        wait_messages(&server.out, "1", seen + 50);
        feed(&mut server, "1", life * 60 + 1..=life * 60 + 30);
        device.out.wait(|lines| lines.iter().any(|line| line.contains(&format!("count={} ", life * 60 + 30))).then_some(()));
        device.signal(Signal::KILL);
        lives.push(only_run(&device.ended().out));
        other.write("beside them");
        feed(&mut server, "1", life * 60 + 31..=life * 60 + 60);
    }
    let seen = texts_of("1", &server.out.all()).len();
    let last = live();
    wait_messages(&server.out, "1", seen + 10);
    last.out.wait(|lines| lines.iter().any(|line| line.contains("count=180 ")).then_some(()));
    last.signal(Signal::TERM);
    lives.push(only_run(&last.ended().out));

    let mut before = 0;
    for life in &lives {
        let (first, end) = (*life.first().expect("each was sent some"), *life.last().expect("each was sent some"));
        assert_eq!(*life, numbers(first..=end), "in order, none left out, none twice in one life");
        assert!(first <= before + 1, "lost between two lives: {before} to {first}");
        assert!(before < first + 16, "repeated from {first} to {before}: more than a window can have been unacknowledged");
        before = end;
    }
    assert_eq!(before, 180);
    server.signal(Signal::TERM);
    let printed = server.ended().out;
    let sent = runs(&texts_of("1", &printed));
    assert_eq!(sent.len(), 4);
    for (run, received) in sent {
        assert_eq!(received, numbers(1..=received.len() as u64), "run {run}");
    }
    assert_eq!(texts_of("sensor-7", &printed), ["beside them"; 3]);
}

#[test]
fn a_cut_costs_nothing() {
    let (mut server, address) = serve(&[]);
    let mut other = ClassicDevice::connect(&address, "sensor-7");
    let cable = Cable::to(&address);
    let connect = |id, profile| {
        start(&[
            "connect",
            "--id",
            id,
            "--server",
            &cable.address,
            "--profile",
            profile,
            "--count",
            "150",
            "--rate",
            "50",
            "--stay",
        ])
    };
    let devices = [("1", connect("1", "native")), ("2", connect("2", "classic-2020"))];
    for round in 1..=3 {
        for (id, device) in &devices {
            // The first message of a classic client must be acknowledged before the cut (SPEC.md, hole 1).
            wait_messages(&server.out, id, 40 * round);
            let fed = 20 * (round as u64 - 1);
            feed(&mut server, id, fed + 1..=fed + 10);
            if round == 1 {
                device.out.wait_line("count=2 ");
            }
            feed(&mut server, id, fed + 11..=fed + 20);
        }
        cable.cut();
        other.write("beside them");
        for (id, _) in &devices {
            server.err.wait_nth(&format!("{id}: resumed"), round);
        }
    }
    for (id, device) in devices {
        wait_messages(&server.out, id, 150);
        device.out.wait(|lines| (lines.len() >= 60).then_some(()));
        device.signal(Signal::TERM);
        let device = device.ended();
        assert_eq!(device.code, Some(0), "{device:#?}");
        assert_eq!(only_run(&device.out), numbers(1..=60));
    }
    server.type_line("sensor-7 to a classic device");
    assert_eq!(other.read(), "to a classic device");
    server.signal(Signal::TERM);
    let printed = server.ended().out;
    assert_eq!(only_run(&texts_of("1", &printed)), numbers(1..=150));
    assert_eq!(only_run(&texts_of("2", &printed)), numbers(1..=150));
    assert_eq!(texts_of("sensor-7", &printed), ["beside them"; 3]);
}

#[test]
fn a_server_that_ends_in_order_is_followed_by_the_next_without_a_gap() {
    let (server, address) = serve(&["--retry", "100ms"]);
    let device = start(&["connect", "--id", "1", "--server", &address, "--count", "150", "--rate", "50"]);
    wait_messages(&server.out, "1", 50);
    server.signal(Signal::TERM);
    let first = server.ended();
    assert_eq!(first.code, Some(0), "{first:#?}");
    device.err.wait_line("closing");
    let second = start(&["serve", "--listen", &address]);
    let device = device.ended();
    assert_eq!(device.code, Some(0), "{device:#?}");
    second.signal(Signal::TERM);
    let (first, second) = (only_run(&texts_of("1", &first.out)), only_run(&texts_of("1", &second.ended().out)));
    let (end, begin) = (*first.last().expect("at least 50"), *second.first().expect("the rest"));
    assert_eq!(first, numbers(1..=end));
    assert_eq!(second, numbers(begin..=150));
    assert!(begin <= end + 1, "lost between the servers: {end} to {begin}");
    assert!(end < begin + 16, "repeated from {begin} to {end}: more than a window can have been unacknowledged");
}

#[test]
fn what_could_not_be_delivered_is_said_at_the_end() {
    let (mut server, address) = serve(&["--drain", "1s"]);
    let mut device = start(&["connect", "--id", "1", "--server", &address]);
    device.type_line("here");
    server.out.wait_line("here");
    device.signal(Signal::KILL);
    server.err.wait_line("1: outage");
    server.type_line("1 too late");
    server.type_line("2 nobody");
    server.err.wait_line("line 2 was not sent: no client `2` has been here yet");
    server.signal(Signal::INT);
    let server = server.ended();
    assert_eq!(server.code, Some(0));
    assert!(
        server.err.last().is_some_and(|line| line.contains("1 messages were not delivered and are gone: 1 for 1")),
        "{server:#?}"
    );
}
