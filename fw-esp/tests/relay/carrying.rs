//! Bytes on their way: which pass, in which order, and what may stall.

use crate::stage::{CONFIG, Heard, Stage, control};
use crate::world::random;
use holdline_esp::WireEnded;
use std::rc::Rc;

/// What is said in every line, in the order in which it is said: (link, tcp), or the session's bytes.
fn order(heard: &[Heard]) -> Vec<String> {
    let field = |line: &str, key: &str| line.split('\t').find_map(|field| field.strip_prefix(key)).unwrap_or_default().to_owned();
    heard
        .iter()
        .map(|heard| match heard {
            Heard::Line(line) => format!("{} {}", field(line, "link="), field(line, "tcp=")),
            Heard::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        })
        .collect()
}

#[test]
fn bytes_pass_both_ways() {
    for chunk in [1, 3, usize::MAX] {
        let stage = Stage::connected();
        let connection = stage.lab.connection();
        for pipe in [&stage.host.borrow().to_relay, &stage.host.borrow().from_relay, &connection.up, &connection.down] {
            pipe.chunk.set(chunk);
        }
        let (there, back) = ("M1 über\n".repeat(20), "A1\nM7 back\n".repeat(50));
        stage.host.borrow().to_relay.put(there.as_bytes());
        connection.down.put(back.as_bytes());
        stage.pass(0);
        assert_eq!(connection.up.take(usize::MAX), there.as_bytes());
        assert_eq!(stage.host.borrow().bytes(), back.as_bytes());
    }
}

#[test]
fn control_lines_go_in_between_and_never_into_the_session() {
    let stage = Stage::connected();
    let connection = stage.lab.connection();
    let wire = Rc::clone(&stage.host.borrow().to_relay);
    wire.put(b"M1 fi\xffrst");
    wire.put(&control("want\tjoin=1\tlink=5"));
    wire.put(&control("fortune\ttext=unknown words are ignored"));
    wire.put(b"\xff\n");
    stage.pass(0);
    assert_eq!(connection.up.take(usize::MAX), b"M1 first\n");
    connection.down.put(b"half a line");
    stage.pass(1_500);
    connection.down.put(b" and the rest");
    stage.pass(0);
    assert_eq!(order(&stage.news()), ["half a line", "5 open", " and the rest"]);
}

#[test]
fn bytes_without_a_connection_go_nowhere_and_are_not_counted() {
    let stage = Stage::joined();
    let wire = Rc::clone(&stage.host.borrow().to_relay);
    wire.put(&[b'x'; 1_000]);
    wire.put(&control("want\tjoin=1\tlink=5"));
    wire.put(b"too early");
    stage.until(|host| host.last("tcp") == "open");
    wire.put(b"in time");
    stage.pass(0);
    assert_eq!(stage.lab.connection().up.take(usize::MAX), b"in time");
    wire.put(&control("want\tjoin=1\tlink=0"));
    wire.put(b"too late");
    stage.pass(0);
    assert_eq!(stage.lab.connection().up.take(usize::MAX), b"");
    assert_eq!(stage.dropped(), 0);
}

#[test]
fn a_server_that_takes_nothing_costs_bytes_and_never_the_wire() {
    let stage = Stage::connected();
    let connection = stage.lab.connection();
    connection.up.room.set(10);
    for _ in 0..10 {
        stage.host.borrow().to_relay.put(&[b'x'; 100]);
        stage.pass(1_000);
        assert_eq!(stage.last("tcp"), "open", "the relay says that it lives");
        stage.news();
    }
    // Of 1,000 bytes 100 are with the server or on their way, and 256 wait.
    assert_eq!(stage.dropped(), 1_000 - 100 - 256);
    stage.says("want\tjoin=1\tlink=6");
    stage.pass(0);
    assert_eq!((stage.last("link"), stage.last("tcp")), ("6".into(), "open".into()));
    stage.host.borrow().to_relay.put(b"afresh");
    stage.pass(0);
    assert_eq!(stage.lab.connection().up.take(usize::MAX), b"afresh", "nothing of one connection gets into the next");
}

#[test]
fn a_server_that_stalls_gets_all_that_there_was_room_for() {
    let stage = Stage::connected();
    let connection = stage.lab.connection();
    connection.up.room.set(0);
    let bytes: Vec<u8> = (0..250).collect();
    stage.host.borrow().to_relay.put(&bytes[..200]);
    stage.pass(10_000);
    connection.up.room.set(usize::MAX);
    connection.up.wake();
    stage.pass(0);
    assert_eq!(connection.up.take(usize::MAX), bytes[..200]);
}

#[test]
fn a_wire_that_takes_nothing_holds_up_the_server_and_nothing_else() {
    let stage = Stage::connected();
    let (connection, wire) = (stage.lab.connection(), Rc::clone(&stage.host.borrow().from_relay));
    stage.host.borrow_mut().reads = false;
    wire.room.set(0);
    let bytes: Vec<u8> = (0..240).cycle().take(5_000).collect();
    connection.down.put(&bytes);
    stage.pass(5_000);
    // Room for 64; before it stalled the wire took as many, and the connection is read by 128.
    let left = connection.down.len();
    assert!(left >= 5_000 - 64 - 266 - 128, "{left} of 5,000 are left with the server");
    stage.host.borrow().to_relay.put(b"there and");
    stage.pass(0);
    assert_eq!(connection.up.take(usize::MAX), b"there and");
    stage.host.borrow_mut().reads = true;
    wire.room.set(usize::MAX);
    wire.wake();
    stage.until(|host| host.bytes().len() >= bytes.len());
    assert!(stage.host.borrow().bytes() == bytes, "nothing is lost by it");

    // The host's wishes are heard, too.
    stage.host.borrow_mut().reads = false;
    wire.room.set(0);
    connection.down.put(&bytes);
    stage.pass(5_000);
    stage.says("want\tjoin=1\tlink=6");
    stage.pass(0);
    assert_eq!(stage.lab.news(), ["connect"]);
}

#[test]
fn what_the_server_said_is_said_before_the_end_of_its_connection() {
    for chunk in [1, 7, usize::MAX] {
        let stage = Stage::connected();
        let (connection, wire) = (stage.lab.connection(), Rc::clone(&stage.host.borrow().from_relay));
        // A slow wire.
        stage.host.borrow_mut().reads = false;
        wire.room.set(20);
        wire.chunk.set(chunk);
        connection.down.put(&[b'x'; 300]);
        connection.down.end();
        for _ in 0..40 {
            stage.pass(100);
            let bytes = wire.take(20);
            stage.host.borrow_mut().hears(&bytes);
        }
        let heard = order(&stage.news());
        let said: usize = heard.iter().filter(|what| what.starts_with('x')).map(String::len).sum();
        assert_eq!(said, 300);
        let closed = heard.iter().position(|what| what == "5 closed").expect("the end is told");
        assert!(heard[closed..].iter().all(|what| what == "5 closed"), "{heard:?}");
        assert!(heard[..closed].iter().all(|what| what == "5 open" || what.starts_with('x')), "{heard:?}");
    }
}

#[test]
fn what_the_server_said_is_said_before_the_loss_of_the_network() {
    let stage = Stage::connected();
    let wire = Rc::clone(&stage.host.borrow().from_relay);
    stage.host.borrow_mut().reads = false;
    wire.room.set(10);
    stage.lab.connection().down.put(&[b'x'; 60]);
    stage.lab.is_up.set(false);
    stage.pass(1_000);
    stage.host.borrow_mut().reads = true;
    wire.room.set(usize::MAX);
    stage.pass(0);
    let heard = order(&stage.news());
    assert_eq!(heard.last().map(String::as_str), Some("5 closed"), "{heard:?}");
    assert_eq!(heard.iter().filter(|what| what.starts_with('x')).map(String::len).sum::<usize>(), 60);
    assert_eq!(heard.iter().position(|what| what == "5 closed"), Some(heard.len() - 1));
}

#[test]
fn what_waits_of_a_connection_is_thrown_away_when_the_host_wants_another() {
    let stage = Stage::connected();
    let wire = Rc::clone(&stage.host.borrow().from_relay);
    stage.host.borrow_mut().reads = false;
    wire.room.set(0);
    stage.lab.connection().down.put(&[b'x'; 500]);
    stage.pass(100);
    stage.says("want\tjoin=1\tlink=6");
    stage.pass(100);
    stage.lab.connection().down.put(b"new");
    stage.pass(100);
    stage.host.borrow_mut().reads = true;
    wire.room.set(usize::MAX);
    wire.wake();
    stage.pass(0);
    let heard = order(&stage.news());
    // What was with the wire already is said before the line that ends it.
    let [old, line, new] = &heard[..] else { panic!("{heard:?}") };
    assert!(old.len() <= 266 && old.starts_with('x'), "{heard:?}");
    assert_eq!((line.as_str(), new.as_str()), ("6 open", "new"));
}

#[test]
fn nothing_of_a_connection_is_said_after_the_host_has_given_it_up() {
    let others = ["want\tjoin=1\tlink=0", "want\tjoin=0\tlink=5", &CONFIG.replace("attic", "cellar")];
    for other in others {
        let stage = Stage::connected();
        let (connection, wire) = (stage.lab.connection(), Rc::clone(&stage.host.borrow().from_relay));
        stage.host.borrow_mut().reads = false;
        wire.room.set(0);
        // What waits when the host says so, and what comes while the connection is being closed.
        connection.up.room.set(0);
        connection.down.put(&[b'x'; 500]);
        stage.host.borrow().to_relay.put(b"good-bye");
        stage.pass(100);
        stage.says(other);
        stage.pass(100);
        connection.down.put(&[b'x'; 500]);
        stage.host.borrow_mut().reads = true;
        wire.room.set(usize::MAX);
        wire.wake();
        stage.pass(3_000);
        let heard = order(&stage.news());
        assert!(heard.len() > 1 && heard[0].starts_with('x'), "{heard:?}");
        assert!(!heard[1..].iter().any(|what| what.starts_with('x')), "{heard:?}");
    }
}

#[test]
fn nothing_of_a_connection_is_said_before_it_is_open() {
    let stage = Stage::joined();
    stage.says("want\tjoin=1\tlink=5");
    stage.pass(0);
    stage.lab.connection().down.put(b"early");
    stage.pass(0);
    let heard = order(&stage.news());
    assert_eq!(&heard[heard.len() - 2..], ["5 open", "early"], "{heard:?}");
}

// ---- the end of a connection ----

#[test]
fn what_the_host_said_last_reaches_the_server_and_the_connection_is_closed_in_order() {
    for chunk in [1, usize::MAX] {
        let stage = Stage::connected();
        let connection = stage.lab.connection();
        connection.up.chunk.set(chunk);
        connection.up.room.set(100);
        let wire = Rc::clone(&stage.host.borrow().to_relay);
        wire.put(&[b'x'; 200]);
        wire.put(&control("want\tjoin=1\tlink=0"));
        stage.pass(500);
        assert_eq!((stage.last("link"), stage.last("tcp")), ("0".into(), "none".into()));
        assert!(!connection.gone.get());
        connection.up.take(usize::MAX);
        stage.pass(0);
        assert_eq!(connection.up.take(usize::MAX).len(), 100);
        assert!(connection.closed.get() && connection.gone.get());
    }
}

#[test]
fn closing_in_order_takes_a_second_at_most_and_gives_way_to_the_next_connection() {
    for close_hangs in [false, true] {
        let stuck = |stage: &Stage| {
            let connection = stage.lab.connection();
            connection.up.room.set(usize::from(close_hangs) * 1_000);
            connection.close_hangs.set(close_hangs);
            stage.host.borrow().to_relay.put(b"good-bye");
            stage.pass(0);
            connection
        };
        let stage = Stage::connected();
        let connection = stuck(&stage);
        stage.says("want\tjoin=1\tlink=0");
        stage.pass(900);
        assert!(!connection.gone.get());
        stage.pass(200);
        assert!(connection.gone.get());

        let stage = Stage::connected();
        let connection = stuck(&stage);
        stage.says("want\tjoin=1\tlink=0");
        stage.pass(50);
        stage.says("want\tjoin=1\tlink=6");
        stage.pass(0);
        assert_eq!((stage.last("link"), stage.last("tcp")), ("6".into(), "open".into()));
        assert!(connection.gone.get());
    }
}

#[test]
fn a_connection_that_takes_no_more_is_read_to_its_end() {
    let stage = Stage::connected();
    let connection = stage.lab.connection();
    connection.up.end();
    stage.host.borrow().to_relay.put(b"x");
    stage.pass(0);
    stage.host.borrow().to_relay.put(&[b'x'; 1_000]);
    stage.pass(2_000);
    connection.down.put(b"Bfull");
    stage.pass(0);
    assert_eq!((stage.last("tcp"), stage.host.borrow().bytes()), ("open".into(), b"Bfull".to_vec()));
    connection.down.end();
    stage.pass(0);
    assert_eq!(stage.last("tcp"), "closed");
    assert_eq!(stage.dropped(), 0, "for a connection that is no more there is nothing to drop");
    stage.says("want\tjoin=1\tlink=6");
    stage.pass(0);
    stage.host.borrow().to_relay.put(b"M1 again");
    stage.pass(0);
    assert_eq!(stage.lab.connection().up.take(usize::MAX), b"M1 again");
}

// ---- the wire ----

#[test]
fn a_relay_that_is_fed_garbage_stays_alive() {
    let stage = Stage::connected();
    let mut random = random();
    for _ in 0..300 {
        let wire = Rc::clone(&stage.host.borrow().to_relay);
        // Bytes of all kinds, with more of those that mean something than chance would give.
        let bytes: Vec<u8> = (0..500)
            .map(|_| match random() % 64 {
                0 => 0xfe,
                1 => 0xff,
                2 => b'\n',
                3 => b'\t',
                _ => random() as u8,
            })
            .collect();
        wire.put(&bytes);
        for line in ["want\tjoin=\tlink=\n", "want\t\t\t===", "config\tserver=\tport=0\tssid=\tpassword=\treport=0"] {
            wire.put(&control(line));
        }
        wire.chunk.set(1 + (random() % 300) as usize);
        stage.pass(100);
        stage.lab.connection().up.take(usize::MAX);
    }
    assert_eq!((stage.last("link"), stage.last("tcp")), ("5".into(), "open".into()));
    stage.host.borrow().to_relay.put(b"\n");
    stage.pass(0);
    stage.lab.connection().up.take(usize::MAX);
    stage.host.borrow().to_relay.put(b"M1 sense\n");
    stage.pass(0);
    assert_eq!(stage.lab.connection().up.take(usize::MAX), b"M1 sense\n");
    assert_eq!(stage.lab.longest_hunger.get(), 100);
}

#[test]
fn a_wire_that_never_rests_holds_up_nothing() {
    let stage = Stage::connected();
    stage.host.borrow().to_relay.endless.set(true);
    stage.lab.connection().down.put(b"heard all the same");
    stage.until(|host| host.bytes() == b"heard all the same");
}

#[test]
fn noise_on_the_wire_is_passed_over() {
    let stage = Stage::connected();
    let wire = Rc::clone(&stage.host.borrow().to_relay);
    wire.noise.set(Some(embedded_io_async::ErrorKind::Other));
    wire.wake();
    stage.pass(100);
    wire.put(b"after the noise");
    stage.pass(0);
    assert_eq!(stage.lab.connection().up.take(usize::MAX), b"after the noise");
    assert_eq!(stage.ended.get(), None);
}

#[test]
fn what_the_relay_reads_and_writes_on_the_wire_is_never_given_up_half_way() {
    let stage = Stage::connected();
    let host = (Rc::clone(&stage.host.borrow().to_relay), Rc::clone(&stage.host.borrow().from_relay));
    host.1.room.set(30);
    host.1.chunk.set(3);
    for link in 6..20 {
        stage.says(&format!("want\tjoin={}\tlink={link}", link % 3));
        stage.lab.is_up.set(link % 5 != 0);
        stage.pass(130);
    }
    assert_eq!((host.0.dropped.get(), host.1.dropped.get()), (0, 0));
    host.0.end();
    stage.pass(0);
    assert_eq!(stage.ended.get(), Some(WireEnded));
}

#[test]
fn a_relay_that_is_dropped_and_called_again_begins_anew() {
    let stage = Stage::connected();
    let (connection, wire) = (stage.lab.connection(), Rc::clone(&stage.host.borrow().from_relay));
    // It has something of everything: bytes that wait in both directions, half a control line.
    stage.host.borrow_mut().reads = false;
    wire.room.set(0);
    connection.up.room.set(0);
    connection.down.put(&[b'x'; 500]);
    stage.host.borrow().to_relay.put(&[b'y'; 200]);
    stage.host.borrow().to_relay.put(b"\xfewant\tjo");
    stage.pass(100);
    stage.lab.is_dropped.set(true);
    stage.pass(200);
    assert!(connection.gone.get());
    stage.host.borrow_mut().reads = true;
    wire.room.set(usize::MAX);
    wire.wake();
    stage.host.borrow().to_relay.put(b"in=1\tlink=0*00000000\n");
    stage.pass(100);
    let heard = stage.news();
    let who = "relay\tboot=0000b007\tconfig=none\tjoin=0\twifi=off\tlink=0\ttcp=none";
    assert!(heard.iter().all(|heard| *heard == Heard::Line(who.into())) && !heard.is_empty(), "{heard:?}");
    stage.says(CONFIG);
    stage.says("want\tjoin=1\tlink=0");
    stage.until(|host| host.last("wifi") == "up");
    stage.says("want\tjoin=1\tlink=5");
    stage.until(|host| host.last("tcp") == "open");
    stage.host.borrow().to_relay.put(b"afresh");
    stage.pass(0);
    assert_eq!(stage.lab.connection().up.take(usize::MAX), b"afresh");
    assert_eq!(stage.dropped(), 0);
}
