//! The line holds: over a wire that splits and stalls at every byte, over ends at every byte, over outages, and whatever is dropped.

mod world;

use holdline_esp::{
    AlwaysUp, Board, Buffers, Channel, Client, Config, ConnectFailure, Ended, Handle, Network, ReadError, WriteError,
};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use world::{Diary, Pace, Peer, Radio, Tasks, Time, for_polls, numbered, random};

const CONFIG: Config = Config::new().window(8).max_line(512);

type Parts<N> = Board<N, Radio, Time, Box<dyn FnMut() -> u64>, Diary>;

struct Scene {
    time: Time,
    radio: Radio,
    diary: Diary,
    peer: RefCell<Peer>,
}

impl Scene {
    fn new() -> Self {
        let (time, radio, diary) = (Time::default(), Radio::new(), Diary::default());
        *diary.0.time.borrow_mut() = time.clone();
        let config = Config::new().window(8).validate().expect("in range");
        let peer = RefCell::new(Peer::new(&radio, config));
        Self { time, radio, diary, peer }
    }

    fn board(&self) -> Parts<AlwaysUp> {
        self.board_with(AlwaysUp)
    }

    fn board_with<N: Network>(&self, network: N) -> Parts<N> {
        Board {
            network,
            connector: self.radio.clone(),
            clock: self.time.clone(),
            random: Box::new(random()),
            hooks: self.diary.clone(),
        }
    }

    fn tasks<'t>(&self) -> Tasks<'t> {
        Tasks::new(&self.time)
    }

    fn send(&self, count: u32) {
        let mut peer = self.peer.borrow_mut();
        for text in numbered(count) {
            peer.session.send(holdline_esp::Instant::from_millis(self.time.ms()), &text).expect("the outbox is large");
        }
    }
}

async fn keep_up<N: Network>(mut client: Client<'_, '_>, mut board: Parts<N>) {
    client.run(&mut board).await;
}

async fn read_all(line: Handle<'_, '_>, into: &RefCell<Vec<String>>) {
    let mut buffer = [0; 512];
    while let Ok(text) = line.readline(&mut buffer).await {
        into.borrow_mut().push(text.into());
    }
}

async fn send_all(line: Handle<'_, '_>, count: u32) {
    for text in numbered(count) {
        line.send(&text).await.expect("it can be sent");
    }
}

/// So many messages each way, however the wire behaves. Returns how many reads and writes were dropped half-way.
fn exchange<const TRANSMIT: usize>(scene: &Scene, count: u32, limit_ms: u64) -> u32 {
    let mut buffers = Buffers::<1024, 256, TRANSMIT, 4>::new();
    let mut channel = Channel::new("door-1", CONFIG, &mut buffers, random()).expect("valid");
    let (client, line) = channel.split();
    let read = RefCell::new(Vec::new());
    scene.send(count);
    let mut tasks = scene.tasks();
    tasks.spawn(keep_up(client, scene.board()));
    tasks.spawn(send_all(line, count));
    tasks.spawn(read_all(line, &read));
    tasks.run(&scene.peer, limit_ms, |peer| {
        peer.received.len() >= count as usize && read.borrow().len() >= count as usize && line.status().unacked == 0
    });
    assert_eq!(scene.peer.borrow().received, numbered(count));
    assert_eq!(*read.borrow(), numbered(count));
    scene.radio.0.dropped.get()
}

#[test]
fn messages_cross_a_wire_that_splits_and_stalls_at_every_byte() {
    for pace in [Pace::Whole, Pace::Bytes] {
        let scene = Scene::new();
        scene.radio.0.pace.set(pace);
        assert_eq!(exchange::<400>(&scene, 100, 20_000), 0, "no read and no write was dropped half-way");
        assert_eq!(scene.radio.0.attempts.get(), 1);
    }
}

#[test]
fn the_stream_ends_at_every_byte_and_nothing_is_lost_or_repeated() {
    let whole = {
        let scene = Scene::new();
        exchange::<400>(&scene, 6, 20_000);
        scene.radio.0.passed.get()
    };
    assert!(whole > 200);
    for pace in [Pace::Whole, Pace::Bytes] {
        for cut in 0..whole {
            let scene = Scene::new();
            scene.radio.0.pace.set(pace);
            scene.radio.0.cut_after.set(Some(cut));
            // Its greeting leaves in parts.
            let dropped = exchange::<40>(&scene, 6, 60_000);
            let links = scene.radio.0.attempts.get();
            assert!(dropped <= 2 * (links - 1), "only the end of a link drops a read or a write");
        }
    }
}

#[test]
fn a_black_hole_is_noticed_in_time_and_the_line_goes_on_after_it() {
    let scene = Scene::new();
    let mut buffers = Buffers::<1024, 256, 400, 4>::new();
    let mut channel = Channel::new("door-1", CONFIG, &mut buffers, random()).expect("valid");
    let (client, line) = channel.split();
    let read = RefCell::new(Vec::new());
    let mut tasks = scene.tasks();
    tasks.spawn(keep_up(client, scene.board()));
    tasks.spawn(read_all(line, &read));
    tasks.run(&scene.peer, 1_000, |_| line.status().up);

    scene.radio.0.black_hole.set(true);
    let since = scene.time.ms();
    tasks.spawn(send_all(line, 20));
    scene.send(20);
    tasks.run(&scene.peer, 2_000, |_| !line.status().up);
    assert!((1_500..=2_000).contains(&(scene.time.ms() - since)));
    tasks.run(&scene.peer, 10_000, |_| scene.radio.0.attempts.get() >= 3);
    scene.radio.0.black_hole.set(false);
    tasks.run(&scene.peer, 60_000, |peer| peer.received.len() == 20 && read.borrow().len() == 20);

    assert_eq!((scene.peer.borrow().received.clone(), read.borrow().clone()), (numbered(20), numbered(20)));
    assert_eq!(*scene.diary.0.connections.borrow(), [true, false, true]);
    assert_eq!(line.connects(), 2);
    assert!(scene.diary.0.longest_hunger.get() <= 700, "the watchdog is fed while the line is down too");
}

#[test]
fn an_idle_line_stays_up_and_every_keepalive_moves_the_light() {
    let scene = Scene::new();
    let mut buffers = Buffers::<600, 64, 300, 2>::new();
    let mut channel = Channel::new("door-1", CONFIG, &mut buffers, random()).expect("valid");
    let (client, line) = channel.split();
    let time = scene.time.clone();
    let mut tasks = scene.tasks();
    tasks.spawn(keep_up(client, scene.board()));
    tasks.run(&scene.peer, 61_000, |_| time.ms() >= 60_000);
    assert_eq!((line.status().up, line.connects()), (true, 1));
    // One in 500 ms.
    assert!((110..=121).contains(&scene.diary.0.beats.get()), "{}", scene.diary.0.beats.get());
}

/// What an application does when each of its calls is dropped after so many polls.
async fn impatient(line: Handle<'_, '_>, polls: u32, sent: &RefCell<Vec<String>>, read: &RefCell<Vec<String>>) {
    let mut buffer = [0; 64];
    let mut next = 0;
    while next < 12 || read.borrow().len() < 12 {
        let _ = for_polls(polls, line.wait_up()).await;
        // Every dropped `send` is made again with the same text: it has queued nothing.
        let text = next.to_string();
        if next < 12 && for_polls(polls, line.send(&text)).await == Some(Ok(())) {
            sent.borrow_mut().push(text);
            next += 1;
        }
        let is_open = || read.borrow().len() < 12;
        if is_open()
            && let Some(Ok(text)) = for_polls(polls, line.readline(&mut buffer)).await
        {
            read.borrow_mut().push(text.into());
        }
        if is_open()
            && let Some(Ok(received)) = for_polls(polls, line.recv(&mut buffer)).await
        {
            read.borrow_mut().push(received.text.into());
            assert!(line.accept(received.receipt.expect("it is reliable")));
        }
    }
}

#[test]
fn every_call_is_dropped_at_every_poll_and_nothing_is_lost_or_repeated() {
    for polls in 1..=6 {
        for cut in [None, Some(150), Some(420), Some(430)] {
            let scene = Scene::new();
            scene.radio.0.pace.set(Pace::Bytes);
            scene.radio.0.cut_after.set(cut);
            scene.send(12);
            let mut buffers = Buffers::<600, 16, 300, 4>::new();
            let mut channel = Channel::new("door-1", CONFIG, &mut buffers, random()).expect("valid");
            let (client, line) = channel.split();
            let (sent, read) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
            let time = scene.time.clone();
            let mut tasks = scene.tasks();
            tasks.spawn(keep_up(client, scene.board()));
            tasks.spawn(async {
                // Time goes on, though the application is always awake.
                let mut app = Box::pin(impatient(line, polls, &sent, &read));
                while for_polls(50, &mut app).await.is_none() {
                    time.sleep(10).await;
                }
            });
            tasks.run(&scene.peer, 60_000, |peer| peer.received.len() >= 12 && read.borrow().len() >= 12);
            assert_eq!((&scene.peer.borrow().received, &*read.borrow()), (&numbered(12), &numbered(12)));
            assert_eq!(*sent.borrow(), numbered(12));
        }
    }
}

#[test]
fn a_write_that_is_dropped_is_delivered_once_or_was_never_queued() {
    let mut dropped = 0;
    for polls in 1..=8 {
        let scene = Scene::new();
        scene.radio.0.pace.set(Pace::Bytes);
        let mut buffers = Buffers::<600, 20, 300, 4>::new();
        let mut channel = Channel::new("door-1", CONFIG, &mut buffers, random()).expect("valid");
        let (client, line) = channel.split();
        let (done, finished) = (RefCell::new(Vec::new()), Cell::new(false));
        let time = scene.time.clone();
        let mut tasks = scene.tasks();
        tasks.spawn(keep_up(client, scene.board()));
        tasks.spawn(async {
            for text in numbered(30) {
                match for_polls(polls, line.write(&text)).await {
                    Some(result) => {
                        assert_eq!(result, Ok(()));
                        done.borrow_mut().push(text);
                    }
                    None => time.sleep(3).await,
                }
            }
            line.write("last").await.expect("it can be sent");
            finished.set(true);
        });
        tasks.run(&scene.peer, 60_000, |_| finished.get());
        let peer = scene.peer.borrow();
        let numbers: Vec<u32> = peer.received.iter().filter_map(|text| text.parse().ok()).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "none is repeated, none is out of order: {numbers:?}");
        assert!(done.borrow().iter().all(|text| peer.received.contains(text)));
        assert_eq!(peer.received.last().map(String::as_str), Some("last"));
        dropped += numbers.len() - done.borrow().len();
    }
    assert!(dropped > 30, "some were dropped after they were queued");
}

#[test]
fn the_client_itself_is_dropped_at_every_poll_and_goes_on_where_it_was() {
    for polls in 1..200 {
        let scene = Scene::new();
        scene.radio.0.pace.set(Pace::Bytes);
        scene.send(3);
        let mut buffers = Buffers::<600, 256, 300, 4>::new();
        let mut channel = Channel::new("door-1", CONFIG, &mut buffers, random()).expect("valid");
        let (mut client, line) = channel.split();
        let read = RefCell::new(Vec::new());
        let mut tasks = scene.tasks();
        let mut board = scene.board();
        let time = scene.time.clone();
        tasks.spawn(async move {
            assert_eq!(for_polls(polls, client.run(&mut board)).await, None);
            time.sleep(5).await;
            client.run(&mut board).await;
        });
        tasks.spawn(send_all(line, 3));
        tasks.spawn(read_all(line, &read));
        tasks.run(&scene.peer, 60_000, |peer| peer.received.len() >= 3 && read.borrow().len() >= 3 && line.status().unacked == 0);
        assert_eq!((&scene.peer.borrow().received, &*read.borrow()), (&numbered(3), &numbered(3)));
    }
}

#[test]
fn more_messages_than_there_is_room_for_wait_with_their_sender() {
    let scene = Scene::new();
    scene.send(60);
    // Room for the line that is received and two or three that wait; the application takes one in 300 ms.
    let mut buffers = Buffers::<560, 64, 300, 2>::new();
    let mut channel = Channel::new("door-1", CONFIG, &mut buffers, random()).expect("valid");
    let (client, line) = channel.split();
    let read = RefCell::new(Vec::new());
    let long = "x".repeat(300);
    for _ in 0..3 {
        scene.peer.borrow_mut().session.send(holdline_esp::Instant::from_millis(0), &long).expect("room");
    }
    let time = scene.time.clone();
    let mut tasks = scene.tasks();
    tasks.spawn(keep_up(client, scene.board()));
    tasks.spawn(async {
        let mut buffer = [0; 512];
        loop {
            time.sleep(1_700).await;
            let text = line.readline(&mut buffer).await.expect("open");
            read.borrow_mut().push(text.to_owned());
        }
    });
    tasks.run(&scene.peer, 300_000, |_| read.borrow().len() == 63);
    let expected: Vec<String> = numbered(60).into_iter().chain(std::iter::repeat_n(long, 3)).collect();
    assert_eq!(*read.borrow(), expected);
    assert_eq!(line.connects(), 1, "a slow application costs no link");
}

#[test]
fn more_tasks_than_seats_are_all_served() {
    let scene = Scene::new();
    let mut buffers = Buffers::<600, 256, 300, 2>::new();
    let mut channel = Channel::new("door-1", CONFIG, &mut buffers, random()).expect("valid");
    let (client, line) = channel.split();
    let done = Cell::new(0);
    let mut tasks = scene.tasks();
    for number in 0..2 {
        let done = &done;
        tasks.spawn(async move {
            line.write(&number.to_string()).await.expect("it can be sent");
            done.set(done.get() + 1);
        });
    }
    tasks.spawn(keep_up(client, scene.board()));
    tasks.run(&scene.peer, 5_000, |_| done.get() == 2);
}

#[test]
fn an_application_that_waits_learns_that_the_channel_was_closed() {
    let scene = Scene::new();
    let mut buffers = Buffers::<600, 256, 300, 4>::new();
    let mut channel = Channel::new("door-1", CONFIG, &mut buffers, random()).expect("valid");
    let (mut client, line) = channel.split();
    let (ended, told) = (Cell::new(None), Cell::new(0));
    let mut board = scene.board();
    let mut tasks = scene.tasks();
    tasks.spawn(async { ended.set(Some(client.run(&mut board).await)) });
    tasks.spawn(async {
        assert_eq!(line.readline(&mut [0; 8]).await, Err(ReadError::Closed));
        told.set(told.get() + 1);
    });
    tasks.run(&scene.peer, 5_000, |_| line.status().up);
    line.close();
    tasks.run(&scene.peer, 5_000, |_| ended.get().is_some() && told.get() == 1);
    assert_eq!(ended.get(), Some(Ended::Closed));
    assert!(
        matches!(scene.peer.borrow().reason(), Some(holdline_esp::DownReason::Bye { .. })),
        "the server was told, and did not just see the stream end: {:?}",
        scene.peer.borrow().events
    );
    let refused = Rc::new(Cell::new(false));
    let mut tasks = scene.tasks();
    tasks.spawn(async {
        assert_eq!(line.send("late").await, Err(WriteError::Closed));
        refused.set(true);
    });
    tasks.run(&scene.peer, 0, |_| refused.get());
}

#[test]
fn a_message_longer_than_the_reader_s_buffer_waits_for_a_longer_one() {
    let scene = Scene::new();
    let mut buffers = Buffers::<600, 256, 300, 4>::new();
    let mut channel = Channel::new("door-1", CONFIG, &mut buffers, random()).expect("valid");
    let (client, line) = channel.split();
    scene.send(11);
    let finished = Cell::new(false);
    let mut tasks = scene.tasks();
    tasks.spawn(keep_up(client, scene.board()));
    tasks.spawn(async {
        for _ in 0..10 {
            line.readline(&mut [0; 1]).await.expect("one digit");
        }
        assert_eq!(line.readline(&mut [0; 1]).await, Err(ReadError::TooLong(2)));
        assert_eq!(line.readline(&mut [0; 2]).await, Ok("10"));
        finished.set(true);
    });
    tasks.run(&scene.peer, 5_000, |_| finished.get());
}

#[test]
fn the_first_failures_are_told_and_the_board_may_give_up() {
    let scene = Scene::new();
    scene.radio.0.network.set(false);
    let mut buffers = Buffers::<600, 256, 300, 4>::new();
    let mut channel = Channel::new("door-1", CONFIG, &mut buffers, random()).expect("valid");
    let (mut client, line) = channel.split();
    let ended = Cell::new(None);
    let mut board = scene.board_with(scene.radio.clone());
    let mut tasks = scene.tasks();
    tasks.spawn(async { ended.set(Some(client.run(&mut board).await)) });
    tasks.run(&scene.peer, 120_000, |_| scene.diary.0.bad_wifi.get() == 3);
    assert_eq!((scene.radio.0.joins.get(), scene.radio.0.attempts.get()), (3, 0));

    scene.radio.0.network.set(true);
    scene.radio.0.failures.borrow_mut().extend([ConnectFailure::Refused, ConnectFailure::TimedOut]);
    tasks.run(&scene.peer, 120_000, |_| scene.diary.0.bad_server.get() == 2);
    assert_eq!(scene.diary.0.bad_wifi.get(), 3);
    tasks.run(&scene.peer, 120_000, |_| line.status().up);

    // Later failures are everyday life.
    scene.radio.0.failures.borrow_mut().extend([ConnectFailure::Refused, ConnectFailure::Refused]);
    scene.peer.borrow_mut().hang_up();
    tasks.run(&scene.peer, 120_000, |_| line.connects() == 2);
    assert_eq!((scene.diary.0.bad_wifi.get(), scene.diary.0.bad_server.get()), (3, 2));
    assert_eq!(ended.get(), None);

    let scene = Scene::new();
    scene.diary.0.gives_up.set(true);
    scene.radio.0.failures.borrow_mut().push_back(ConnectFailure::Refused);
    let mut buffers = Buffers::<600, 256, 300, 4>::new();
    let mut channel = Channel::new("door-1", CONFIG, &mut buffers, random()).expect("valid");
    let (mut client, _) = channel.split();
    let mut board = scene.board();
    let mut tasks = scene.tasks();
    tasks.spawn(async { ended.set(Some(client.run(&mut board).await)) });
    tasks.run(&scene.peer, 10_000, |_| ended.get().is_some());
    assert_eq!(ended.get(), Some(Ended::BadServer));
}

#[test]
fn a_network_that_went_away_is_joined_again_and_one_that_swallows_connections_is_left_first() {
    let scene = Scene::new();
    let mut buffers = Buffers::<600, 256, 300, 4>::new();
    let mut channel = Channel::new("door-1", CONFIG, &mut buffers, random()).expect("valid");
    let (client, line) = channel.split();
    let mut tasks = scene.tasks();
    tasks.spawn(keep_up(client, scene.board_with(scene.radio.clone())));
    tasks.run(&scene.peer, 5_000, |_| line.status().up);
    assert_eq!(scene.radio.0.joins.get(), 1);

    scene.radio.0.joined.set(false);
    scene.peer.borrow_mut().hang_up();
    tasks.run(&scene.peer, 60_000, |_| line.connects() == 2);
    assert_eq!(scene.radio.0.joins.get(), 2);

    scene.radio.0.failures.borrow_mut().extend([ConnectFailure::TimedOut, ConnectFailure::Unreachable, ConnectFailure::TimedOut]);
    scene.peer.borrow_mut().hang_up();
    tasks.run(&scene.peer, 120_000, |_| line.connects() == 3);
    assert_eq!(scene.radio.0.joins.get(), 3);
}

#[test]
fn best_effort_arrives_while_the_link_is_up_and_is_dropped_while_it_is_not() {
    let scene = Scene::new();
    let mut buffers = Buffers::<600, 256, 300, 4>::new();
    let mut channel = Channel::new("door-1", CONFIG, &mut buffers, random()).expect("valid");
    let (client, line) = channel.split();
    let time = scene.time.clone();
    let mut tasks = scene.tasks();
    assert_eq!(line.send_best_effort("early"), Err(holdline_esp::SendError::Down));
    tasks.spawn(keep_up(client, scene.board()));
    tasks.run(&scene.peer, 5_000, |_| line.status().up);
    tasks.run(&scene.peer, 5_000, |_| time.ms() >= 1_000);
    for number in 0..5 {
        line.send_best_effort(&number.to_string()).expect("the link is up");
    }
    line.try_send("reliable").expect("there is room");
    tasks.run(&scene.peer, 5_000, |peer| peer.received.len() == 6);
    assert_eq!(scene.peer.borrow().received, ["0", "1", "2", "3", "4", "reliable"]);
}

#[test]
fn after_an_outage_the_latest_reading_of_a_slot_is_sent_and_no_stale_one() {
    let scene = Scene::new();
    let mut buffers = Buffers::<600, 64, 300, 4>::new();
    let mut channel = Channel::new("door-1", CONFIG, &mut buffers, random()).expect("valid");
    let (client, line) = channel.split();
    let mut tasks = scene.tasks();
    tasks.spawn(async {
        for reading in 0..1_000 {
            line.send_latest(1, &reading.to_string()).await.expect("it takes the place of the last");
        }
        line.send("end").await.expect("there is room");
    });
    tasks.run(&scene.peer, 0, |_| line.status().unacked == 2);
    tasks.spawn(keep_up(client, scene.board()));
    tasks.run(&scene.peer, 5_000, |peer| peer.received.len() == 2);
    assert_eq!(scene.peer.borrow().received, ["999", "end"]);
}

#[test]
fn a_writer_learns_that_its_message_was_dropped_by_policy() {
    let scene = Scene::new();
    let config = CONFIG.on_forgotten(holdline_esp::OnForgotten::Skip);
    let mut buffers = Buffers::<600, 64, 300, 4>::new();
    let mut channel = Channel::new("garage", config, &mut buffers, random()).expect("valid");
    let (client, line) = channel.split();
    let outcome = Cell::new(None);
    let mut tasks = scene.tasks();
    tasks.spawn(keep_up(client, scene.board()));
    tasks.run(&scene.peer, 5_000, |_| line.status().up);
    scene.radio.0.black_hole.set(true);
    tasks.spawn(async { outcome.set(Some(line.write("open the door").await)) });
    tasks.run(&scene.peer, 5_000, |_| !line.status().up);
    scene.radio.0.black_hole.set(false);
    let server = Config::new().validate().expect("in range");
    scene.peer.borrow_mut().restart(server);
    tasks.run(&scene.peer, 60_000, |_| outcome.get().is_some());
    assert_eq!(outcome.get(), Some(Err(WriteError::Dropped)));
    assert!(scene.peer.borrow().received.is_empty());
}

#[test]
fn in_an_outage_that_nobody_has_noticed_no_more_is_sent_than_the_server_would_hold() {
    for writes in [true, false] {
        let scene = Scene::new();
        // Room for more than the server's window of eight.
        let mut buffers = Buffers::<600, 256, 300, 4>::new();
        let mut channel = Channel::new("door-1", CONFIG, &mut buffers, random()).expect("valid");
        let (client, line) = channel.split();
        let mut tasks = scene.tasks();
        tasks.spawn(keep_up(client, scene.board()));
        tasks.run(&scene.peer, 5_000, |_| line.status().up);
        scene.radio.0.black_hole.set(true);
        tasks.spawn(async {
            for text in numbered(100) {
                let sent = if writes { line.write(&text).await } else { line.send(&text).await };
                sent.expect("it can be sent");
            }
        });
        tasks.run(&scene.peer, 5_000, |_| !line.status().up);
        let swallowed = String::from_utf8(scene.radio.0.swallowed.take()).expect("lines of text");
        let on_its_way = swallowed.lines().filter(|line| line.starts_with('M')).count();
        assert_eq!((on_its_way, line.status().unacked > 8), if writes { (1, false) } else { (8, true) });
        scene.radio.0.black_hole.set(false);
        tasks.run(&scene.peer, 60_000, |peer| peer.received.len() == 100 && line.status().unacked == 0);
        assert_eq!(scene.peer.borrow().received, numbered(100));
    }
}

#[test]
fn a_burst_of_best_effort_is_dropped_where_the_transport_does_not_take_it() {
    let scene = Scene::new();
    let mut buffers = Buffers::<600, 256, 300, 4>::new();
    let mut channel = Channel::new("door-1", CONFIG, &mut buffers, random()).expect("valid");
    let (client, line) = channel.split();
    let mut tasks = scene.tasks();
    tasks.spawn(keep_up(client, scene.board()));
    tasks.run(&scene.peer, 5_000, |_| line.status().up);
    // The client has no turn in between, as if its transport took nothing.
    let taken = (0..1_000).take_while(|number: &u32| line.send_best_effort(&number.to_string()).is_ok()).count();
    assert_eq!(line.send_best_effort("1000"), Err(holdline_esp::SendError::Full));
    assert!((10..300).contains(&taken), "what a transmit buffer of 300 bytes holds: {taken}");
    tasks.run(&scene.peer, 5_000, |peer| peer.received.len() == taken);
    line.send_best_effort("again").expect("there is room again");
    tasks.run(&scene.peer, 5_000, |peer| peer.received.len() == taken + 1);
}
