//! Messages pass over a cable that does what it likes.

use crate::cable::{Lane, Mishap, seeded};
use crate::stage::{SETTINGS, Scene, exchange, host, play};
use crate::world::Pace;
use holdline_esp::{HostLink, Settings};

#[test]
fn messages_cross_a_clean_cable_that_splits_and_stalls_at_every_byte() {
    for (pace, rate) in [(Pace::Whole, 0), (Pace::Bytes, 0), (Pace::Whole, 11), (Pace::Whole, 1)] {
        let scene = Scene::new();
        scene.radio.0.pace.set(pace);
        scene.cable.each(|lane| (lane.pace.set(pace), lane.rate.set(rate)));
        exchange(&scene, 100, 60_000);
        assert_eq!(scene.radio.0.attempts.get(), 1);
        assert_eq!(*scene.chip.pulses.borrow(), [], "a relay that has just got its power is waited for");
    }
}

/// Plays one session in which something happens at every byte of each direction in turn, until none of them says so many.
fn at_every_byte(prepare: impl Fn(&Lane, u64)) {
    const COUNT: u32 = 3;
    let calm = Scene::new();
    exchange(&calm, COUNT, 20_000);
    for (which, whole) in calm.cable.lanes().map(|lane| lane.said.get()).into_iter().enumerate() {
        assert!(whole > 200);
        for at in 0..whole {
            let scene = Scene::new();
            prepare(scene.cable.lanes()[which], at);
            exchange(&scene, COUNT, 60_000);
        }
    }
}

#[test]
fn one_bit_is_flipped_at_every_byte() {
    for bit in [0, 3, 5, 7] {
        at_every_byte(|lane, at| lane.mishap.set(Some((at, Mishap::Flip(bit)))));
    }
}

#[test]
fn one_byte_is_dropped_at_every_place() {
    at_every_byte(|lane, at| lane.mishap.set(Some((at, Mishap::Drop))));
}

#[test]
fn the_cable_is_cut_at_every_byte_and_mended() {
    // Shorter than the session's timeout, than the silence of a relay that has crashed, and longer.
    for (ms, both) in [(700, true), (3_100, false), (6_000, true)] {
        at_every_byte(|lane, at| lane.cut_at.set(Some((at, ms, both))));
    }
}

#[test]
fn noise_costs_time_and_no_message() {
    for (one_in, limit_ms) in [(2_000, 600_000), (200, 3_600_000), (50, 24 * 3_600_000)] {
        for seed in 0..4 {
            let scene = Scene::seeded(seed);
            scene.cable.each(|lane| if seed % 2 == 0 { lane.flips.set(one_in) } else { lane.drops.set(one_in) });
            // At the worst a relay is understood once in six seconds, and a greeting once in twenty minutes.
            play(&scene, &host().silence_ms(60_000), |play| {
                play.send(20);
                play.arrive(limit_ms);
            });
        }
    }
}

#[test]
fn a_receiver_that_fails_now_and_then_costs_time_and_no_message() {
    let scene = Scene::new();
    play(&scene, &host(), |play| {
        for _ in 0..20 {
            play.scene.cable.each(|lane| lane.errors.set(3));
            play.send(3);
            play.arrive(30_000);
        }
        assert_eq!(play.pulses(), []);
    });
}

#[test]
fn a_burst_of_the_longest_messages_finds_room_on_a_cable_of_any_speed() {
    for (pace, rate) in [(Pace::Whole, 0), (Pace::Bytes, 0), (Pace::Whole, 90), (Pace::Whole, 11)] {
        let scene = Scene::new();
        scene.cable.each(|lane| (lane.pace.set(pace), lane.rate.set(rate)));
        let host = HostLink::new(Settings { report_s: 60, ..SETTINGS }).expect("they can be told");
        play(&scene, &host, |play| {
            play.up(10_000);
            let (line, read, text) = (play.line, play.read, "x".repeat(250));
            scene.send(&vec![text.clone(); 60]);
            play.tasks.spawn(async move {
                for _ in 0..60 {
                    line.send(&text).await.expect("it can be sent");
                }
            });
            play.until(60_000, |peer| peer.received.len() == 60 && read.borrow().len() == 60);
            play.wait(61_000);
            assert_eq!((play.host.relay().dropped, play.line.connects()), (0, 1));
            assert_eq!(scene.log.reports.borrow()[0].dropped, 0);
        });
    }
}

#[test]
fn any_bytes_at_all_may_come_and_when_they_stop_the_line_goes_on() {
    for seed in 0..40 {
        let scene = Scene::seeded(seed);
        play(&scene, &host(), |play| {
            play.send(10);
            let scene = play.scene;
            play.tasks.spawn(async move {
                let mut draw = seeded(seed);
                for _ in 0..2_000 {
                    // Some more like what is said here than others.
                    let alphabet: &[u8] =
                        [&[0xfe, b'\n', b'*', b'M', b'1'][..], b"wantrelayjoin=\t\n0123456789*", b"\n"][(draw() % 3) as usize];
                    let of_alphabet = draw() % 5;
                    let bytes: Vec<u8> = (0..draw() % 80)
                        .map(|_| if draw() % 4 < of_alphabet { alphabet[draw() as usize % alphabet.len()] } else { draw() as u8 })
                        .collect();
                    scene.cable.lanes()[(draw() % 2) as usize].noise(&bytes);
                    scene.time.sleep(draw() % 40).await;
                }
            });
            play.wait(41_000);
            play.send(10);
            play.arrive(60_000);
        });
    }
}
