//! Both programs are dropped at every poll.

use crate::stage::{CONFIG, Scene, host, play};
use crate::world::{for_polls, numbered};
use holdline_esp::{Buffers, Channel};
use std::cell::RefCell;

#[test]
fn a_relay_program_that_is_dropped_at_every_poll_loses_nothing() {
    for polls in 0.. {
        let scene = Scene::new();
        scene.cable.each(|lane| lane.rate.set(20));
        scene.chip.crash_after.set(Some(polls));
        scene.chip.boot_ms.set(100);
        play(&scene, &host(), |play| {
            play.send(3);
            play.arrive(20_000);
            assert_eq!(play.pulses(), []);
        });
        if scene.chip.boots.get() == 1 {
            assert!(polls > 30, "{polls}");
            return;
        }
    }
}

#[test]
fn the_host_is_dropped_at_every_poll_and_goes_on_where_it_was() {
    for polls in 1..250 {
        let scene = Scene::new();
        scene.cable.each(|lane| lane.rate.set(20));
        let mut buffers = Buffers::<1024, 256, 400, 4>::new();
        let mut channel = Channel::new("pump-1", CONFIG, &mut buffers, scene.random()).expect("valid");
        let (mut client, line) = channel.split();
        let (host, read, mut wiring) = (host(), RefCell::new(Vec::new()), scene.wiring());
        if polls % 2 == 0 {
            // So that pulses are dropped too.
            scene.chip.boot_ms.set(10_000);
        }
        scene.send(&numbered(3));
        let mut tasks = scene.tasks();
        tasks.spawn(async {
            for _ in 0..3 {
                assert_eq!(for_polls(polls, host.run(&mut client, &mut wiring)).await, None);
                assert!(!scene.chip.is_held(), "the pin is let go");
                scene.time.sleep(5).await;
            }
            scene.chip.boot_ms.set(1_500);
            panic!("it ended: {:?}", host.run(&mut client, &mut wiring).await);
        });
        tasks.spawn(async {
            for text in numbered(3) {
                line.send(&text).await.expect("it can be sent");
            }
        });
        tasks.spawn(async {
            let mut buffer = [0; 512];
            while let Ok(text) = line.readline(&mut buffer).await {
                read.borrow_mut().push(text.to_owned());
            }
        });
        tasks
            .run(&scene.peer, 600_000, |peer| peer.received.len() >= 3 && read.borrow().len() >= 3 && line.status().unacked == 0);
        assert_eq!((&scene.peer.borrow().received, &*read.borrow()), (&numbered(3), &numbered(3)));
    }
}
