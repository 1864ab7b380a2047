//! The relay crashes, hangs and starts again; the network goes away, the server too.

use crate::chip::{Chip, Doing};
use crate::stage::{
    BACKOFF_MS, BOOT_MS, CONFIG, DEAF_MS, PULSE_MS, SILENCE_MS, SPREAD_MS, Scene, TIMEOUT_MS, UP_MS, exchange, host, play,
};
use crate::world::numbered;
use holdline_esp::{Buffers, Channel, ConnectFailure, NoResetPin, Tcp, Wifi, Wiring};
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};

#[test]
fn a_line_comes_up_as_soon_as_its_relay_has_started() {
    for boot_ms in [0, 1_500, 7_900] {
        let scene = Scene::new();
        scene.chip.boot_ms.set(boot_ms);
        play(&scene, &host(), |play| {
            play.up(boot_ms + UP_MS);
            assert_eq!(play.pulses(), []);
            let relay = play.host.relay();
            assert_eq!((relay.alive, relay.boots, relay.pulses, relay.damaged), (true, 1, 0, 0));
            assert_eq!((relay.wifi, relay.tcp), (Wifi::Up, Tcp::Open));
        });
    }
}

#[test]
fn a_relay_that_crashes_and_comes_back_by_itself_is_used_without_a_pulse() {
    // Its last word was said up to a second before it crashed.
    for back_after in [100, 1_000, 1_900, 2_100, SILENCE_MS - 1_001] {
        let scene = Scene::new();
        scene.chip.boot_ms.set(100);
        play(&scene, &host(), |play| {
            play.up(5_000);
            play.send(5);
            play.arrive(1_000);
            play.wait(7_300);
            play.scene.chip.crash(Some(back_after));
            play.send(5);
            let chip = &scene.chip;
            play.until(back_after, |_| chip.boots.get() == 2);
            // The client notices now, or when its own attempt has failed, which it began when it missed the server.
            play.arrive(SPREAD_MS + BACKOFF_MS + UP_MS);
            assert_eq!((play.pulses(), play.line.connects(), play.host.relay().boots), (vec![], 2, 2));
        });
    }
}

#[test]
fn a_relay_that_is_gone_gets_one_pulse_and_the_line_is_back_in_time() {
    let ills: [fn(&Chip); 3] = [|chip| chip.crash(None), Chip::hang, Chip::fall_silent];
    for ill in ills {
        for boot_ms in [300, 5_000, 7_900] {
            let scene = Scene::new();
            play(&scene, &host(), |play| {
                play.up(5_000);
                play.wait(7_300);
                play.scene.chip.boot_ms.set(boot_ms);
                for crashes in 1..4 {
                    play.send(5);
                    play.arrive(5_000);
                    let at = scene.time.ms();
                    ill(&scene.chip);
                    play.send(5);
                    play.down(TIMEOUT_MS + 1);
                    play.up(SILENCE_MS + BACKOFF_MS + PULSE_MS + boot_ms + UP_MS);
                    let back = *scene.chip.started.borrow().last().expect("it has started");
                    assert!(scene.time.ms() - back <= UP_MS, "{} ms after it is back", scene.time.ms() - back);
                    assert!(scene.time.ms() - at <= SILENCE_MS + BACKOFF_MS + PULSE_MS + boot_ms + UP_MS);
                    play.arrive(1_000);
                    assert_eq!(play.pulses(), vec![Doing::Ill; crashes]);
                    assert_eq!(play.host.relay().pulses as usize, crashes);
                    play.wait(7_300);
                }
            });
        }
    }
}

#[test]
fn a_relay_that_does_not_start_gets_another_pulse() {
    let scene = Scene::new();
    play(&scene, &host(), |play| {
        play.up(5_000);
        play.wait(7_300);
        // The first reset finds it in a state in which it takes for ever.
        scene.chip.boot_ms.set(1_000_000);
        scene.chip.crash(None);
        let chip = &scene.chip;
        play.until(SILENCE_MS + BACKOFF_MS, |_| chip.pulses.borrow().len() == 1);
        play.wait(PULSE_MS + 1);
        scene.chip.boot_ms.set(1_500);
        play.until(PULSE_MS + BOOT_MS, |_| chip.pulses.borrow().len() == 2);
        play.up(PULSE_MS + 1_500 + UP_MS);
        let pulses = scene.chip.pulses.borrow();
        assert_eq!(pulses[1].at - pulses[0].at, PULSE_MS + BOOT_MS);
        assert_eq!([pulses[0].was, pulses[1].was], [Doing::Ill, Doing::Booting]);
    });
}

#[test]
fn a_relay_that_starts_slowly_is_given_more_time_after_each_pulse() {
    let scene = Scene::new();
    play(&scene, &host(), |play| {
        play.up(5_000);
        play.wait(7_300);
        scene.chip.boot_ms.set(3 * BOOT_MS);
        scene.chip.crash(None);
        let wasted = BOOT_MS + 2 * BOOT_MS;
        play.down(SILENCE_MS + BACKOFF_MS);
        play.up(SILENCE_MS + BACKOFF_MS + 3 * PULSE_MS + wasted + 3 * BOOT_MS + UP_MS);
        assert_eq!(play.pulses(), [Doing::Ill, Doing::Booting, Doing::Booting]);
        // Once it has spoken all is as before.
        scene.chip.boot_ms.set(1_500);
        scene.chip.crash(None);
        play.down(SILENCE_MS + BACKOFF_MS);
        play.up(SILENCE_MS + BACKOFF_MS + PULSE_MS + 1_500 + UP_MS);
    });
}

#[test]
fn a_relay_that_speaks_and_does_not_listen_is_reset() {
    let scene = Scene::new();
    play(&scene, &host(), |play| {
        play.up(5_000);
        play.wait(7_300);
        for crashes in 1..4 {
            scene.chip.go_deaf();
            play.send(5);
            play.down(2 * TIMEOUT_MS);
            play.up(SPREAD_MS + 1_000 + DEAF_MS + PULSE_MS + scene.chip.boot_ms.get() + BACKOFF_MS + UP_MS);
            play.arrive(1_000);
            assert_eq!(play.pulses(), vec![Doing::Ill; crashes]);
            play.wait(20_000);
        }
    });
}

#[test]
fn a_host_that_draws_the_same_numbers_at_each_start_gets_a_fresh_connection() {
    let scene = Scene::new();
    let lives = Cell::new(0);
    let mut tasks = scene.tasks();
    tasks.spawn(async {
        loop {
            let mut buffers = Buffers::<1024, 256, 400, 4>::new();
            let mut channel = Channel::new("pump-1", CONFIG, &mut buffers, scene.random()).expect("valid");
            let (mut client, line) = channel.split();
            let host = host();
            // A host without a source of random numbers has a counter in flash.
            let mut wiring = Wiring { random: Box::new(|| 7_u64) as Box<dyn FnMut() -> u64>, ..scene.wiring() };
            let mut running = Box::pin(host.run(&mut client, &mut wiring));
            let mut talking = Box::pin(async {
                line.wait_up().await.expect("open");
                line.write(&lives.get().to_string()).await.expect("it can be sent");
            });
            poll_fn(|cx| {
                assert!(running.as_mut().poll(cx).is_pending(), "it ended");
                talking.as_mut().poll(cx)
            })
            .await;
            lives.set(lives.get() + 1);
            assert_eq!(scene.radio.0.attempts.get(), lives.get(), "a connection for each life");
        }
    });
    tasks.run(&scene.peer, 60_000, |_| lives.get() == 4);
    assert_eq!(scene.peer.borrow().received, numbered(4));
}

#[test]
fn a_relay_without_a_reset_pin_is_waited_for() {
    let scene = Scene::new();
    let (reader, writer) = scene.cable.at_host();
    let mut wiring = Wiring { reader, writer, reset: NoResetPin, clock: scene.time.clone(), random: scene.random(), notices: () };
    let mut buffers = Buffers::<1024, 256, 400, 4>::new();
    let mut channel = Channel::new("pump-1", CONFIG, &mut buffers, scene.random()).expect("valid");
    let (mut client, line) = channel.split();
    let host = host();
    let mut tasks = scene.tasks();
    tasks.spawn(async { panic!("it ended: {:?}", host.run(&mut client, &mut wiring).await) });
    for connects in 1..4 {
        tasks.run(&scene.peer, 200_000, |_| line.connects() == connects && line.status().up);
        scene.chip.crash(Some(100_000));
        tasks.run(&scene.peer, 5_000, |_| !line.status().up);
    }
}

#[test]
fn a_reboot_is_one_pulse_whatever_the_relay_does() {
    let scene = Scene::new();
    let host = host();
    // Before the host has begun.
    host.reboot();
    play(&scene, &host, |play| {
        play.up(PULSE_MS + 1_500 + UP_MS);
        assert_eq!(play.pulses(), [Doing::Booting]);
        play.wait(7_300);
        for pulses in 2..5 {
            play.send(5);
            play.host.reboot();
            assert!(!play.host.relay().alive);
            play.arrive(SPREAD_MS + PULSE_MS + 1_500 + UP_MS);
            assert_eq!(play.pulses().len(), pulses);
            assert_eq!(play.pulses()[pulses - 1], Doing::Well);
            play.wait(10_000);
        }
        assert_eq!((play.pulses().len(), play.line.connects()), (4, 4));
    });
}

#[test]
fn a_host_that_is_reset_finds_its_relay_well_and_loses_what_it_had_alone() {
    let scene = Scene::new();
    scene.send(&numbered(40));
    let (read, lives) = (RefCell::new(Vec::new()), Cell::new(0));
    let mut tasks = scene.tasks();
    tasks.spawn(async {
        loop {
            let mut buffers = Buffers::<1024, 256, 400, 4>::new();
            let mut channel = Channel::new("pump-1", CONFIG, &mut buffers, scene.random()).expect("valid");
            let (mut client, line) = channel.split();
            let (host, mut wiring, since) = (host(), scene.wiring(), scene.time.ms());
            let mut running = Box::pin(host.run(&mut client, &mut wiring));
            let mut talking = Box::pin(async {
                line.wait_up().await.expect("open");
                let waited = scene.time.ms() - since;
                // A relay that is up speaks within a second, and is in its network.
                assert!(waited <= UP_MS + if lives.get() == 0 { 1_500 } else { 1_000 }, "{waited} ms");
                line.write(&lives.get().to_string()).await.expect("it can be sent");
                // Of the last that it reads it is reset before the server can know.
                let mut buffer = [0; 64];
                for _ in 0..10 {
                    let text = line.readline(&mut buffer).await.expect("open");
                    read.borrow_mut().push(text.parse::<u32>().expect("a number"));
                    scene.time.sleep(300).await;
                }
                if lives.get() < 3 {
                    line.readline(&mut buffer).await.expect("open");
                }
            });
            poll_fn(|cx| {
                assert!(running.as_mut().poll(cx).is_pending(), "it ended");
                talking.as_mut().poll(cx)
            })
            .await;
            lives.set(lives.get() + 1);
        }
    });
    tasks.run(&scene.peer, 60_000, |_| lives.get() == 4);
    assert_eq!((&scene.peer.borrow().received, &*read.borrow()), (&numbered(4), &(0..40).collect()));
    assert_eq!((&*scene.chip.pulses.borrow(), scene.chip.boots.get(), scene.radio.0.joins.get()), (&vec![], 1, 1));
}

#[test]
fn a_network_that_is_lost_is_joined_again() {
    let scene = Scene::new();
    play(&scene, &host(), |play| {
        play.up(5_000);
        for away_ms in [50, 400, 5_000, 40_000] {
            play.wait(7_300);
            play.send(5);
            play.scene.radio.0.network.set(false);
            play.wait(away_ms);
            play.scene.radio.0.network.set(true);
            // The longest pause is 30 s.
            play.arrive(30_000 + SPREAD_MS + UP_MS);
        }
        assert!(scene.radio.0.joins.get() >= 3, "{}", scene.radio.0.joins.get());
        assert_eq!(play.pulses(), []);
    });
}

#[test]
fn a_server_that_cannot_be_reached_is_tried_again_and_after_three_failures_over_a_network_joined_anew() {
    let scene = Scene::new();
    play(&scene, &host(), |play| {
        play.up(5_000);
        for (failures, joins) in [
            (vec![ConnectFailure::Refused; 6], 0),
            (vec![ConnectFailure::TimedOut; 2], 0),
            (vec![ConnectFailure::Unreachable, ConnectFailure::TimedOut, ConnectFailure::Unreachable], 1),
        ] {
            play.wait(7_300);
            let before = scene.radio.0.joins.get();
            scene.radio.0.failures.borrow_mut().extend(failures);
            play.send(5);
            scene.peer.borrow_mut().hang_up();
            play.arrive(120_000);
            assert_eq!(scene.radio.0.joins.get() - before, joins);
            assert!(scene.radio.0.failures.borrow().is_empty());
        }
        assert_eq!(play.pulses(), []);
    });
}

#[test]
fn a_connection_is_cut_at_every_byte() {
    let whole = {
        let scene = Scene::new();
        exchange(&scene, 3, 20_000);
        scene.radio.0.passed.get()
    };
    assert!(whole > 200);
    for cut in 0..whole {
        let scene = Scene::new();
        scene.radio.0.cut_after.set(Some(cut));
        exchange(&scene, 3, 60_000);
    }
}

#[test]
fn a_black_hole_is_noticed_and_the_line_goes_on_after_it() {
    let scene = Scene::new();
    play(&scene, &host(), |play| {
        play.up(5_000);
        play.wait(7_300);
        scene.radio.0.black_hole.set(true);
        play.send(20);
        play.down(TIMEOUT_MS + 1);
        play.wait(12_000);
        scene.radio.0.black_hole.set(false);
        play.arrive(60_000);
        assert_eq!(play.pulses(), []);
        assert!(scene.log.diary.0.longest_hunger.get() <= 700, "the watchdog is fed");
    });
}
