//! What the application is told, and what it is refused.

use crate::stage::{BACKOFF_MS, CONFIG, SETTINGS, SILENCE_MS, SPREAD_MS, Scene, UP_MS, host, play};
use crate::world::Tasks;
use holdline_esp::{
    Buffers, Channel, ConnectFailure, DownReason, Ended, HostError, HostLink, InvalidSettings, Report, Settings, Wifi,
};
use std::cell::Cell;

#[test]
fn a_network_that_refuses_at_first_is_told_as_bad_wifi_and_may_end_it() {
    for gives_up in [false, true] {
        let scene = Scene::new();
        scene.radio.0.network.set(false);
        scene.log.diary.0.gives_up.set(gives_up);
        play(&scene, &host(), |play| {
            let (told, ended) = (&scene.log.diary.0.bad_wifi, play.ended);
            let peer = &scene.peer;
            play.tasks.run(peer, 1_500 + 3_000, |_| told.get() == if gives_up { 1 } else { 3 });
            assert_eq!(play.host.relay().wifi, Wifi::Failed);
            if gives_up {
                play.tasks.run(peer, 0, |_| ended.get() == Some(Ok(Ended::BadWifi)));
                return;
            }
            scene.radio.0.network.set(true);
            play.up(4_000 + UP_MS);
            assert_eq!((scene.log.diary.0.bad_wifi.get(), scene.log.diary.0.bad_server.get()), (3, 0));
        });
    }
}

#[test]
fn a_relay_that_never_answers_is_told_as_bad_wifi_after_a_minute() {
    let scene = Scene::new();
    scene.log.diary.0.gives_up.set(true);
    scene.chip.boot_ms.set(1_000_000);
    play(&scene, &host(), |play| {
        let ended = play.ended;
        play.tasks.run(&scene.peer, 60_000, |_| ended.get().is_some());
        assert_eq!((scene.time.ms(), ended.get()), (60_000, Some(Ok(Ended::BadWifi))));
        let relay = play.host.relay();
        // After 8, 16.2 and 32.4 s.
        assert_eq!((relay.alive, relay.boots, relay.pulses, play.pulses().len()), (false, 0, 3, 3));
    });
}

#[test]
fn a_server_that_cannot_be_reached_at_first_is_told_as_bad_server() {
    for failure in [ConnectFailure::Refused, ConnectFailure::Unreachable, ConnectFailure::TimedOut] {
        let scene = Scene::new();
        scene.radio.0.failures.borrow_mut().extend([failure; 2]);
        play(&scene, &host(), |play| {
            let told = &scene.log.diary.0.bad_server;
            play.until(10_000, |_| told.get() == 1);
            assert_eq!(*scene.log.server.borrow(), []);
            play.up(30_000);
            assert_eq!((scene.log.diary.0.bad_wifi.get(), scene.log.diary.0.bad_server.get()), (0, 2));
        });
        let scene = Scene::new();
        scene.radio.0.failures.borrow_mut().push_back(failure);
        scene.log.diary.0.gives_up.set(true);
        play(&scene, &host(), |play| {
            let ended = play.ended;
            play.tasks.run(&scene.peer, 10_000, |_| ended.get().is_some());
            assert_eq!(ended.get(), Some(Ok(Ended::BadServer)));
        });
    }
}

#[test]
fn a_connection_of_the_relay_is_told_and_its_end() {
    let scene = Scene::new();
    play(&scene, &host(), |play| {
        let (server, connections) = (&scene.log.server, &scene.log.diary.0.connections);
        play.up(5_000);
        assert_eq!((&*server.borrow(), &*connections.borrow()), (&vec![true], &vec![true]));
        play.wait(7_300);
        scene.peer.borrow_mut().hang_up();
        play.down(10);
        play.up(SPREAD_MS);
        play.wait(7_300);
        scene.chip.crash(Some(1_500));
        play.until(SILENCE_MS, |_| server.borrow().len() == 4);
        play.up(1_500 + SPREAD_MS + BACKOFF_MS);
        assert_eq!(*server.borrow(), [true, false, true, false, true]);
        assert_eq!(*connections.borrow(), [true, false, true, false, true]);
    });
}

#[test]
fn a_relay_reports_as_often_as_it_is_asked_to() {
    let scene = Scene::new();
    let host = HostLink::new(Settings { report_s: 10, ..SETTINGS }).expect("they can be told");
    play(&scene, &host, |play| {
        play.up(5_000);
        play.wait(61_000);
        let reports = scene.log.reports.borrow();
        assert_eq!(reports.len(), 6);
        for (number, report) in reports.iter().enumerate() {
            let uptime_s = 10 * (number as u32 + 1);
            assert_eq!(*report, Report { connects: 1, uptime_s, free: None, damaged: 0, dropped: 0 });
        }
    });
    let scene = Scene::new();
    play(&scene, &self::host(), |play| play.wait(61_000));
    assert_eq!(*scene.log.reports.borrow(), []);
}

#[test]
fn a_channel_that_is_closed_says_good_bye_and_the_relay_leaves() {
    let scene = Scene::new();
    play(&scene, &host(), |play| {
        play.up(5_000);
        play.line.close();
        let ended = play.ended;
        play.tasks.run(&scene.peer, 100, |_| ended.get() == Some(Ok(Ended::Closed)));
        assert!(matches!(scene.peer.borrow().reason(), Some(DownReason::Bye { .. })), "{:?}", scene.peer.borrow().events);
        assert!(!scene.radio.0.joined.get());
        assert_eq!(*scene.log.server.borrow(), [true, false]);
    });
}

#[test]
fn a_channel_without_checks_is_refused() {
    let scene = Scene::new();
    let mut buffers = Buffers::<1024, 256, 400, 4>::new();
    let mut channel = Channel::new("pump-1", CONFIG.check(false), &mut buffers, scene.random()).expect("valid");
    refuses(&scene, &mut channel);
}

#[cfg(feature = "classic")]
#[test]
fn a_classic_channel_is_refused_whatever_it_says_of_checks() {
    let scene = Scene::new();
    let mut buffers = Buffers::<1024, 256, 400, 4>::new();
    let mut channel = Channel::classic("pump-1", holdline_esp::Flavour::V2020, CONFIG, &mut buffers).expect("valid");
    refuses(&scene, &mut channel);
}

fn refuses(scene: &Scene, channel: &mut Channel<'_>) {
    let (mut client, _) = channel.split();
    let (host, mut wiring, refused) = (host(), scene.wiring(), Cell::new(false));
    let mut tasks = Tasks::new(&scene.time);
    tasks.spawn(async {
        let error = host.run(&mut client, &mut wiring).await.expect_err("it has no checks");
        assert_eq!(error, HostError::Unchecked);
        assert!(error.to_string().contains("Config::check"), "{error}");
        refused.set(true);
    });
    tasks.run(&scene.peer, 0, |_| refused.get());
    assert_eq!(scene.cable.to_relay.said.get(), 0);
}

/// A socket as the wire may end, and so is what was open over it.
#[test]
fn a_wire_that_has_ended_ends_the_host() {
    let scene = Scene::new();
    play(&scene, &host(), |play| {
        play.up(5_000);
        scene.cable.to_host.ended.set(true);
        let ended = play.ended;
        play.tasks.run(&scene.peer, 1_000, |_| ended.get().is_some());
        assert_eq!(ended.get(), Some(Err(HostError::WireEnded)));
        assert!(!play.line.status().up);
    });
}

#[test]
fn settings_that_cannot_be_told_are_refused() {
    let long = "s".repeat(300);
    for (settings, error, told) in [
        (Settings { server: "", ..SETTINGS }, InvalidSettings::NoServer, "no name or address"),
        (Settings { port: 0, ..SETTINGS }, InvalidSettings::NoServer, "port is 0"),
        (Settings { ssid: "a\tb", ..SETTINGS }, InvalidSettings::ControlCharacter("network's name"), "network's name"),
        (Settings { password: "a\nb", ..SETTINGS }, InvalidSettings::ControlCharacter("password"), "password"),
        (Settings { server: &long, ..SETTINGS }, InvalidSettings::TooLong(105), "105 bytes too long"),
    ] {
        let refused = HostLink::new(settings).expect_err("it cannot be told");
        assert_eq!(refused, error);
        assert!(refused.to_string().contains(told), "{refused}");
    }
}
