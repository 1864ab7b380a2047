//! A board on the wire of the original: both revisions, over an outage.
#![cfg(feature = "classic")]

mod world;

use holdline_esp::{AlwaysUp, Board, Buffers, Channel, Config, ConnectFailure, Flavour, SendError, WriteError};
use std::cell::RefCell;
use world::{ClassicPeer, Pace, Peer, Radio, Tasks, Time, numbered, random};

/// Ten messages each way over an outage, by a board that begins in the classic profile or falls back to it.
fn exchange(flavour: Flavour, falls_back: bool, pace: Pace, queue: u16, pause_ms: u64) {
    let (time, radio) = (Time::default(), Radio::new());
    radio.0.pace.set(pace);
    let config = Config::new().timeout_ms(flavour.default_timeout_ms()).max_line(512);
    let peer = RefCell::new(ClassicPeer::new(&radio, flavour, config.validate().expect("in range")));
    let mut buffers = Buffers::<640, 256, 300, 4>::new();
    let channel = if falls_back {
        Channel::with_fallback("door-1", flavour, config, &mut buffers, random())
    } else {
        Channel::classic("door-1", flavour, config, &mut buffers)
    };
    let mut channel = channel.expect("valid").queue(queue);
    let (mut client, line) = channel.split();
    for text in numbered(10) {
        peer.borrow_mut().session.send(holdline_esp::Instant::default(), &text).expect("the outbox is large");
    }
    let read = RefCell::new(Vec::new());
    let mut board = Board { network: AlwaysUp, connector: radio.clone(), clock: time.clone(), random: random(), hooks: () };
    let clock = time.clone();
    let mut tasks = Tasks::new(&time);
    tasks.spawn(async {
        client.run(&mut board).await;
    });
    tasks.spawn(async {
        for text in numbered(10) {
            line.write(&text).await.expect("it can be sent");
        }
    });
    tasks.spawn(async {
        let mut buffer = [0; 64];
        while let Ok(text) = line.readline(&mut buffer).await {
            read.borrow_mut().push(text.to_owned());
            clock.sleep(pause_ms).await;
        }
    });
    tasks.run(&peer, 120_000, |peer| peer.received.len() >= 3 && read.borrow().len() >= 3);
    radio.0.cut_after.set(Some(0));
    peer.borrow_mut().hang_up();
    let since = time.ms();
    tasks.run(&peer, 30_000, |_| !line.status().up);
    tasks.run(&peer, 30_000, |_| line.status().up);
    assert!(time.ms() - since >= 2 * u64::from(flavour.default_timeout_ms()), "an original server needs its quiet time");
    tasks.run(&peer, 240_000, |peer| peer.received.len() >= 10 && read.borrow().len() >= 10 && line.status().unacked == 0);
    assert_eq!((&peer.borrow().received, &*read.borrow()), (&numbered(10), &numbered(10)));
    assert_eq!(peer.borrow().strangers, u32::from(falls_back), "it speaks native once, and never again");
}

#[test]
fn a_board_talks_to_a_server_of_2020_over_an_outage() {
    exchange(Flavour::V2020, false, Pace::Whole, 20, 0);
    exchange(Flavour::V2020, false, Pace::Bytes, 20, 100);
}

#[test]
fn a_board_talks_to_a_server_of_2019_over_an_outage() {
    exchange(Flavour::V2019, false, Pace::Whole, 20, 0);
    exchange(Flavour::V2019, false, Pace::Bytes, 20, 100);
}

#[test]
fn a_slow_application_with_a_queue_of_one_gets_every_message_once() {
    for flavour in [Flavour::V2019, Flavour::V2020] {
        exchange(flavour, false, Pace::Whole, 1, 2_700);
    }
}

// HL-0014, HL-0015
#[test]
fn a_board_that_may_fall_back_goes_over_to_an_original_server_with_what_waits() {
    for flavour in [Flavour::V2019, Flavour::V2020] {
        exchange(flavour, true, Pace::Whole, 20, 0);
        exchange(flavour, true, Pace::Bytes, 20, 100);
    }
}

// HL-0015
#[test]
fn a_board_that_may_fall_back_stays_native_with_a_server_that_is_however_often_it_fails() {
    let (time, radio) = (Time::default(), Radio::new());
    let config = Config::new().max_line(512);
    let peer = RefCell::new(Peer::new(&radio, config.validate().expect("in range")));
    let mut buffers = Buffers::<640, 1024, 600, 4>::new();
    let channel = Channel::with_fallback("door-1", Flavour::V2020, config, &mut buffers, random());
    let mut channel = channel.expect("valid");
    let (mut client, line) = channel.split();
    assert_eq!(line.try_send(""), Err(WriteError::Text(SendError::Empty)), "to an original server that is an acknowledgement");
    assert_eq!(line.try_send(&"x".repeat(511)), Err(WriteError::Text(SendError::TooLong { max: 510 })));
    let mut board = Board { network: AlwaysUp, connector: radio.clone(), clock: time.clone(), random: random(), hooks: () };
    let mut tasks = Tasks::new(&time);
    tasks.spawn(async {
        client.run(&mut board).await;
    });
    for round in 1..=4 {
        radio.0.failures.borrow_mut().extend([ConnectFailure::Refused, ConnectFailure::TimedOut]);
        // In the middle of the greeting, and of what follows it.
        radio.0.cut_after.set(Some(60 * round as u64));
        line.try_send(&round.to_string()).expect("there is room");
        tasks.run(&peer, 240_000, |peer| peer.received.len() >= round as usize && line.status().unacked == 0);
        peer.borrow_mut().hang_up();
        tasks.run(&peer, 10_000, |_| !line.status().up);
    }
    assert_eq!(peer.borrow().received, ["1", "2", "3", "4"]);
}
