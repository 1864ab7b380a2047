//! The example of docs/relay.md, byte for byte.

use crate::stage::Stage;
use std::rc::Rc;

const PAGE: &str = include_str!("../../../docs/relay.md");

/// The lines of the example: who speaks, and what.
fn example() -> Vec<(&'static str, Vec<u8>)> {
    let (_, example) = PAGE.split_once("\n```wire\n").expect("there is an example");
    let (example, _) = example.split_once("\n```").expect("it ends");
    example
        .lines()
        .map(|line| line.split_once(' ').expect("who, and what"))
        .map(|(who, what)| (who, bytes(what.trim())))
        .collect()
}

fn bytes(escaped: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), escaped);
    while let Some((before, escape)) = rest.split_once('\\') {
        bytes.extend(before.as_bytes());
        let (byte, len) = match escape.as_bytes() {
            [b'n', ..] => (b'\n', 1),
            [b't', ..] => (b'\t', 1),
            [b'x', b'f', b'e', ..] => (0xfe, 3),
            other => panic!("what does it escape? {other:?}"),
        };
        bytes.push(byte);
        rest = &escape[len..];
    }
    bytes.extend(rest.as_bytes());
    bytes
}

#[test]
fn the_page_s_example_is_what_passes_on_the_wire() {
    let stage = Stage::new();
    stage.lab.delay_ms.set(1);
    stage.host.borrow_mut().reads = false;
    let (to_relay, from_relay) = (Rc::clone(&stage.host.borrow().to_relay), Rc::clone(&stage.host.borrow().from_relay));
    let mut played = 0;
    for (who, what) in example() {
        let text = String::from_utf8_lossy(&what).into_owned();
        match who {
            "host" => to_relay.put(&what),
            "relay" => {
                // What takes a while takes a millisecond here.
                (0..2).filter(|_| from_relay.len() == 0).for_each(|_| stage.pass(1));
                assert_eq!(String::from_utf8_lossy(&from_relay.take(what.len())), text);
            }
            ">" => {
                to_relay.put(&what);
                stage.pass(0);
                assert_eq!(String::from_utf8_lossy(&stage.lab.connection().up.take(usize::MAX)), text);
            }
            "<" => {
                stage.lab.connection().down.put(&what);
                stage.pass(0);
                assert_eq!(String::from_utf8_lossy(&from_relay.take(usize::MAX)), text);
            }
            "server" => stage.lab.connection().down.end(),
            other => panic!("who is {other}?"),
        }
        // The lines of the session carry checks, which the relay does not look at.
        if matches!(who, "<" | ">") && text != "\n" {
            assert!(holdline_proto::unchecked(text.trim_end().as_bytes()).is_some(), "{text}");
        }
        played += 1;
    }
    stage.pass(1);
    assert_eq!((from_relay.len(), played), (0, 19), "that is all");
}
