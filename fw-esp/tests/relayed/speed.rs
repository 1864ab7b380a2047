//! A slow cable: how long the timeout has to be, as docs/relay.md says.

use crate::stage::{Scene, host};
use holdline_esp::{Buffers, Channel, Config};
use std::cell::Cell;

/// How many long messages go each way.
const MESSAGES: u32 = 20;
/// The longest line in bytes, and what it takes on this cable in milliseconds.
const LINE: u32 = 512;

/// How many links it takes for long messages both ways, over a cable that passes a byte in a millisecond.
fn links(window: u16, timeout_ms: u32) -> u32 {
    let scene = Scene::new();
    scene.cable.each(|lane| lane.rate.set(1));
    let config = Config::new().max_line(LINE).window(window).timeout_ms(timeout_ms).check(true);
    let mut buffers = Buffers::<8192, 8192, 600, 4>::new();
    let mut channel = Channel::new("pump-1", config, &mut buffers, scene.random()).expect("valid");
    let (mut client, line) = channel.split();
    let text = "x".repeat(480);
    scene.send(&vec![text.clone(); MESSAGES as usize]);
    let (host, mut wiring, read) = (host(), scene.wiring(), Cell::new(0));
    let mut tasks = scene.tasks();
    tasks.spawn(async {
        let _ = host.run(&mut client, &mut wiring).await;
    });
    tasks.spawn(async {
        let mut buffer = [0; 512];
        while line.readline(&mut buffer).await.is_ok() {
            read.set(read.get() + 1);
        }
    });
    tasks.spawn(async {
        for _ in 0..MESSAGES {
            line.send(&text).await.expect("it can be sent");
        }
    });
    tasks.run(&scene.peer, 200_000, |peer| {
        peer.received.len() == MESSAGES as usize && read.get() == MESSAGES && line.status().unacked == 0
    });
    line.connects()
}

#[test]
fn a_timeout_of_a_window_of_longest_lines_and_one_more_keeps_the_link() {
    for window in [1, 4, 8] {
        assert_eq!(links(window, LINE * (u32::from(window) + 1)), 1, "a window of {window}");
    }
    // Twice the longest line is enough for a line alone, and not for those that TCP and the relay hold.
    assert!(links(4, LINE * 2) > 1);
}
