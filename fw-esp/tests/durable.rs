//! The power is cut at every operation of the flash, and nothing is lost or repeated.
#![cfg(feature = "flash")]

mod world;

use embedded_storage_async::nor_flash::{ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};
use holdline_esp::{AlwaysUp, Board, Buffers, Channel, Config, FlashStore, Handle, Receipt, StoreFailed};
use holdline_proto::Event;
use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::rc::Rc;
use std::task::Poll;
use world::{Pace, Peer, Radio, Tasks, Time, numbered, random, yield_once};

const PAGE: usize = 1024;
const PAGES: usize = 6;
const MESSAGES: u32 = 26;

/// NOR flash: bits go from 1 to 0 until their page is erased. Its power can be cut in the middle of an operation.
#[derive(Clone)]
struct Chip {
    bytes: Rc<RefCell<Vec<u8>>>,
    /// Operations until the power is cut.
    left: Rc<Cell<Option<u32>>>,
    operations: Rc<Cell<u32>>,
}

impl Chip {
    fn new() -> Self {
        let bytes = Rc::new(RefCell::new(vec![0xff; PAGE * PAGES]));
        Self { bytes, left: Rc::default(), operations: Rc::default() }
    }

    fn is_dead(&self) -> bool {
        self.left.get() == Some(0)
    }

    /// Counts an operation that changes something; `Some` for the one in which the power goes.
    async fn begin(&self) -> bool {
        yield_once().await;
        if self.is_dead() {
            pending::<()>().await;
        }
        self.operations.set(self.operations.get() + 1);
        self.left.set(self.left.get().map(|left| left - 1));
        self.is_dead()
    }
}

#[derive(Debug)]
struct OutOfRange;

impl NorFlashError for OutOfRange {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::OutOfBounds
    }
}

impl ErrorType for Chip {
    type Error = OutOfRange;
}

impl ReadNorFlash for Chip {
    const READ_SIZE: usize = 4;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), OutOfRange> {
        let at = offset as usize;
        bytes.copy_from_slice(self.bytes.borrow().get(at..at + bytes.len()).ok_or(OutOfRange)?);
        Ok(())
    }

    fn capacity(&self) -> usize {
        PAGE * PAGES
    }
}

impl NorFlash for Chip {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = PAGE;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), OutOfRange> {
        let dies = self.begin().await;
        let end = if dies { (from + to) / 2 } else { to } as usize;
        self.bytes.borrow_mut().get_mut(from as usize..end).ok_or(OutOfRange)?.fill(0xff);
        if dies { pending().await } else { Ok(()) }
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), OutOfRange> {
        let dies = self.begin().await;
        let count = if dies { bytes.len() / 2 } else { bytes.len() };
        let range = offset as usize..offset as usize + count;
        for (to, from) in self.bytes.borrow_mut().get_mut(range).ok_or(OutOfRange)?.iter_mut().zip(bytes) {
            assert_eq!(*to & from, *from, "a bit is written that was not erased");
            *to = *from;
        }
        if dies { pending().await } else { Ok(()) }
    }
}

/// What the application has of its own, safe from the loss of power.
#[derive(Default)]
struct Notes {
    /// The number to be sent next, and how often the power was cut.
    next: Cell<u32>,
    life: Cell<u32>,
    /// What was sent for certain.
    sent: RefCell<Vec<String>>,
    read: RefCell<Vec<String>>,
    taken: Cell<Option<Receipt>>,
}

async fn tell(line: Handle<'_, '_>, notes: &Notes, chip: &Chip) {
    while notes.next.get() < MESSAGES && !chip.is_dead() {
        let text = format!("{}.{}", notes.next.get(), notes.life.get());
        line.send(&text).await.expect("it can be sent");
        notes.sent.borrow_mut().push(text);
        notes.next.set(notes.next.get() + 1);
    }
}

async fn listen(line: Handle<'_, '_>, notes: &Notes, chip: &Chip) {
    let mut buffer = [0; 64];
    loop {
        let received = line.recv(&mut buffer).await.expect("open");
        let receipt = received.receipt.expect("it is reliable");
        if chip.is_dead() {
            return;
        }
        // One step: what the message did, and that it did.
        notes.read.borrow_mut().push(received.text.into());
        notes.taken.set(Some(receipt));
        line.accept(receipt);
    }
}

struct Scene {
    time: Time,
    radio: Radio,
    peer: RefCell<Peer>,
    chip: Chip,
    notes: Notes,
    draw: RefCell<Box<dyn FnMut() -> u64>>,
}

impl Scene {
    fn new(pace: Pace) -> Self {
        let (time, radio) = (Time::default(), Radio::new());
        radio.0.pace.set(pace);
        let mut peer = Peer::new(&radio, Config::new().validate().expect("in range"));
        for text in numbered(MESSAGES) {
            peer.session.send(holdline_esp::Instant::default(), &text).expect("the outbox is large");
        }
        let draw: RefCell<Box<dyn FnMut() -> u64>> = RefCell::new(Box::new(random()));
        Self { time, radio, peer: RefCell::new(peer), chip: Chip::new(), notes: Notes::default(), draw }
    }

    /// Runs from power-up until the power is cut after so many operations; whether everything was done before.
    fn live(&self, operations: Option<u32>) -> bool {
        self.chip.left.set(operations);
        self.notes.life.set(self.notes.life.get() + 1);
        let (mut buffers, mut record) = (Buffers::<1024, 256, 400, 4>::new(), [0; 64]);
        let is_done = Cell::new(false);
        let (chip, notes) = (&self.chip, &self.notes);
        let mut tasks = Tasks::new(&self.time);
        tasks.spawn(async {
            let mut store = FlashStore::<_, 64>::new(chip.clone(), 0..(PAGE * PAGES) as u32).expect("six pages");
            let config = Config::new().window(4).max_line(512);
            let draw = || (self.draw.borrow_mut())();
            let channel =
                Channel::durable("door-1", config, &mut buffers, draw, &mut store, &mut record, notes.taken.get()).await;
            let mut channel = channel.expect("it can be restored");
            let (mut client, line) = channel.split();
            let mut board =
                Board { network: AlwaysUp, connector: self.radio.clone(), clock: self.time.clone(), random: draw, hooks: () };
            let mut work = std::pin::pin!(async {
                let mut telling = std::pin::pin!(tell(line, notes, chip));
                let mut listening = std::pin::pin!(listen(line, notes, chip));
                let mut told = false;
                poll_fn::<(), _>(|cx| {
                    told = told || telling.as_mut().poll(cx).is_ready();
                    let _ = listening.as_mut().poll(cx);
                    is_done.set(told && notes.next.get() == MESSAGES && line.status().unacked == 0);
                    Poll::Pending
                })
                .await
            });
            let mut running = std::pin::pin!(client.run_durable(&mut board, &mut store));
            poll_fn::<(), _>(|cx| {
                let _ = running.as_mut().poll(cx);
                let _ = work.as_mut().poll(cx);
                Poll::Pending
            })
            .await;
        });
        tasks.run(&self.peer, 120_000, |peer| {
            chip.is_dead()
                || (is_done.get()
                    && notes.read.borrow().len() >= MESSAGES as usize
                    && peer.session.next_seq() - 1 == peer.session.acked())
        });
        let is_alive = !chip.is_dead();
        drop(tasks);
        is_alive
    }

    fn judge(&self) {
        let peer = self.peer.borrow();
        assert_eq!(*self.notes.read.borrow(), numbered(MESSAGES), "each message of the server once and in order");
        let mut seen = peer.received.clone();
        seen.dedup();
        assert_eq!(seen.len(), peer.received.len(), "none is repeated: {:?}", peer.received);
        let numbers: Vec<u32> = seen.iter().filter_map(|text| text.split('.').next()?.parse().ok()).collect();
        assert!(numbers.is_sorted(), "none is out of order: {seen:?}");
        let sent = self.notes.sent.borrow();
        assert!(sent.iter().all(|text| seen.contains(text)), "what was said to be safe arrives: {sent:?} {seen:?}");
        // Beyond that there can be one message a life, of which the application did not learn that it was safe.
        assert!(seen.len() < sent.len() + self.notes.life.get() as usize);
        let surprises = peer.events.iter().filter(|event| {
            matches!(event, Event::PeerReset | Event::LostIncoming { .. } | Event::LostOutgoing { .. } | Event::OwnReset { .. })
        });
        assert_eq!(surprises.count(), 0, "{:?}", peer.events);
    }
}

#[test]
fn the_power_is_cut_once_at_every_operation_of_the_flash() {
    let operations = {
        let scene = Scene::new(Pace::Whole);
        assert!(scene.live(None));
        scene.judge();
        scene.chip.operations.get()
    };
    assert!(operations > 100, "{operations}");
    for pace in [Pace::Whole, Pace::Bytes] {
        for cut in 1..=operations {
            let scene = Scene::new(pace);
            if !scene.live(Some(cut)) {
                assert!(scene.live(None));
            }
            scene.judge();
        }
    }
}

#[test]
fn the_power_is_cut_again_and_again() {
    for between in 12..60 {
        let scene = Scene::new(Pace::Whole);
        let mut lives = 1;
        while !scene.live(Some(between + lives % 5)) {
            lives += 1;
            assert!(lives < 200, "it comes nowhere with {between} operations a life");
        }
        scene.judge();
    }
}

#[test]
fn a_server_that_forgot_everything_gets_what_it_had_not_acknowledged() {
    let scene = Scene::new(Pace::Whole);
    assert!(!scene.live(Some(40)));
    scene.peer.borrow_mut().restart(Config::new().validate().expect("in range"));
    scene.notes.read.borrow_mut().resize(MESSAGES as usize, String::new());
    assert!(scene.live(None));
    assert_eq!(scene.peer.borrow().received.iter().filter(|text| **text == format!("{}.2", MESSAGES - 1)).count(), 1);
}

#[test]
fn a_range_of_no_whole_pages_is_refused() {
    assert_eq!(FlashStore::<_, 64>::new(Chip::new(), 0..100).err(), Some(StoreFailed));
}

/// A life in which `act` is done first without a server and then with one, until the server has `count` texts or the power is cut.
fn short_life<F: AsyncFn(Handle<'_, '_>)>(time: &Time, radio: &Radio, peer: &RefCell<Peer>, chip: &Chip, act: F, count: usize) {
    let (mut buffers, mut record) = (Buffers::<1024, 256, 400, 4>::new(), [0; 64]);
    // Each life draws its own.
    let seed = u64::from(chip.operations.get()) + 1;
    let mut draws = 0;
    let mut draw = || {
        draws += 1;
        seed * 1_000 + draws
    };
    let unacked = Cell::new(1);
    let mut tasks = Tasks::new(time);
    tasks.spawn(async {
        let mut store = FlashStore::<_, 64>::new(chip.clone(), 0..(PAGE * PAGES) as u32).expect("six pages");
        let config = Config::new().window(4).max_line(512);
        let channel = Channel::durable("door-1", config, &mut buffers, &mut draw, &mut store, &mut record, None).await;
        let mut channel = channel.expect("it can be restored");
        let (mut client, line) = channel.split();
        let mut board = Board { network: AlwaysUp, connector: radio.clone(), clock: time.clone(), random: &mut draw, hooks: () };
        radio.0.black_hole.set(true);
        let mut running = std::pin::pin!(client.run_durable(&mut board, &mut store));
        let mut acting = std::pin::pin!(act(line));
        let mut acted = false;
        poll_fn::<(), _>(|cx| {
            if !acted && acting.as_mut().poll(cx).is_ready() {
                acted = true;
                radio.0.black_hole.set(false);
            }
            let _ = running.as_mut().poll(cx);
            unacked.set(line.status().unacked);
            Poll::Pending
        })
        .await;
    });
    tasks.run(peer, 60_000, |peer| chip.is_dead() || (peer.received.len() >= count && unacked.get() == 0));
    drop(tasks);
    peer.borrow_mut().hang_up();
}

#[test]
fn a_reading_that_was_replaced_is_replaced_in_the_flash() {
    let (time, radio, chip) = (Time::default(), Radio::new(), Chip::new());
    let peer = RefCell::new(Peer::new(&radio, Config::new().validate().expect("in range")));
    let act = async |line: Handle<'_, '_>| {
        line.send_latest(1, "old").await.expect("it can be sent");
        line.send_latest(1, "new").await.expect("it can be sent");
        // The power goes with the next write, which this one needs.
        chip.left.set(Some(1));
        let _ = line.send("never safe").await;
    };
    short_life(&time, &radio, &peer, &chip, act, 1);
    assert!(chip.is_dead());
    chip.left.set(None);
    short_life(&time, &radio, &peer, &chip, async |_| {}, 1);
    assert_eq!(peer.borrow().received, ["new"]);
}

#[test]
fn a_flash_restored_from_a_backup_loses_nothing_it_held_wherever_the_power_is_cut() {
    for cut in 1.. {
        let (time, radio, chip) = (Time::default(), Radio::new(), Chip::new());
        let peer = RefCell::new(Peer::new(&radio, Config::new().validate().expect("in range")));
        let three = |name: char| {
            async move |line: Handle<'_, '_>| {
                for number in 0..3 {
                    line.send(&format!("{name}{number}")).await.expect("it can be sent");
                }
            }
        };
        short_life(&time, &radio, &peer, &chip, three('a'), 3);
        let backup = chip.bytes.borrow().clone();
        short_life(&time, &radio, &peer, &chip, three('b'), 6);
        *chip.bytes.borrow_mut() = backup;
        // Held, and then the server says that it has other texts under these numbers.
        let before = chip.operations.get();
        let act = async |line: Handle<'_, '_>| {
            three('c')(line).await;
            chip.left.set(Some(cut));
        };
        short_life(&time, &radio, &peer, &chip, act, 9);
        let was_cut = chip.is_dead();
        chip.left.set(None);
        short_life(&time, &radio, &peer, &chip, async |_| {}, 9);
        let peer = peer.borrow();
        let texts: Vec<&str> = peer.received.iter().map(String::as_str).collect();
        for text in ["c0", "c1", "c2"] {
            assert!(texts.contains(&text), "{text} is lost at {cut} of {}: {texts:?}", chip.operations.get() - before);
        }
        if !was_cut {
            assert!(cut > 6, "there was something to be cut");
            return;
        }
    }
}
