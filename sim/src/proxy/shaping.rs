//! Latency, bandwidth and slices: the arithmetic of [`Stage`](super::stage::Stage).

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::chance::Chance;
use super::kind::{Bandwidth, Latency, Slicer, millis};
use super::stage::{Item, Ready};
use crate::rng::SplitMix64;

/// Pieces that wait for their time at most; so a piece of one byte cannot cost much more memory than its share.
const MOST_PIECES: usize = 1024;

/// How late a piece may be, for the timer's or the other connections' sake, before those behind it are late too.
const SLACK: Duration = Duration::from_millis(20);

/// `latency`: each item `latency` ± `jitter` after it came.
#[derive(Debug)]
pub(super) struct Delay {
    attributes: Latency,
    waiting: VecDeque<Late>,
    chance: Chance,
    seen: u64,
}

#[derive(Debug)]
struct Late {
    came: Instant,
    /// In `[0, 1)`, from the place in the stream and not from how many reads it took to get there.
    drawn: f64,
    item: Item,
}

impl Delay {
    pub(super) fn new(attributes: &Latency, chance: Chance) -> Self {
        Self { attributes: attributes.clone(), waiting: VecDeque::new(), chance, seen: 0 }
    }

    pub(super) fn set(&mut self, attributes: &Latency) {
        self.attributes = attributes.clone();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn wants(&self) -> bool {
        self.waiting.len() < MOST_PIECES
    }

    pub(super) fn push(&mut self, item: Item, came: Instant) {
        let drawn = self.chance.numbered(self.seen).unit();
        if let Item::Data(bytes) = &item {
            self.seen += bytes.len() as u64;
        }
        self.waiting.push_back(Late { came, drawn, item });
    }

    pub(super) fn pop(&mut self) -> Option<Item> {
        self.waiting.pop_front().map(|late| late.item)
    }

    pub(super) fn ready(&self) -> Ready {
        match self.waiting.front() {
            None => Ready::Never,
            // It follows the line that set it off.
            Some(Late { item: Item::Mark(_), .. }) => Ready::Now,
            Some(late) => Ready::At(late.came + self.delay(late.drawn)),
        }
    }

    fn delay(&self, drawn: f64) -> Duration {
        let (latency, jitter) = (millis(self.attributes.latency), millis(self.attributes.jitter));
        (latency + jitter.mul_f64(2.0 * drawn)).saturating_sub(jitter)
    }
}

/// `bandwidth`: the bytes of a tenth of a second at a time, each after the time that they take.
#[derive(Debug)]
pub(super) struct Pace {
    attributes: Bandwidth,
    held: Option<Item>,
    /// When the line was free for the first of the held bytes.
    began: Option<Instant>,
}

impl Pace {
    pub(super) fn new(attributes: &Bandwidth) -> Self {
        Self { attributes: attributes.clone(), held: None, began: None }
    }

    pub(super) fn set(&mut self, attributes: &Bandwidth) {
        self.attributes = attributes.clone();
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.held.is_none()
    }

    pub(super) fn push(&mut self, item: Item, now: Instant) {
        self.began = Some(follow(self.began, now));
        self.held = Some(item);
    }

    pub(super) fn pop(&mut self, now: Instant) -> Option<Item> {
        let Some(Item::Data(bytes)) = &self.held else { return self.release() };
        let piece = self.piece(bytes);
        let ended = self.began.map(|began| began + self.takes(piece));
        self.began = Some(follow(ended, now));
        split(&mut self.held, piece)
    }

    pub(super) fn release(&mut self) -> Option<Item> {
        self.held.take()
    }

    pub(super) fn ready(&self) -> Ready {
        match (&self.held, self.began) {
            (Some(Item::Data(_)), _) if self.attributes.rate == 0 => Ready::Never,
            (Some(Item::Data(bytes)), Some(began)) => Ready::At(began + self.takes(self.piece(bytes))),
            _ => Ready::Now,
        }
    }

    fn piece(&self, bytes: &Bytes) -> usize {
        usize::try_from(self.attributes.rate.saturating_mul(100)).unwrap_or(usize::MAX).clamp(1, bytes.len())
    }

    fn takes(&self, piece: usize) -> Duration {
        // A kilobyte a second is a byte a millisecond.
        Duration::from_nanos((piece as u64).saturating_mul(1_000_000) / self.attributes.rate.max(1))
    }
}

/// `slicer`: pieces whose ends are drawn along the stream.
#[derive(Debug)]
pub(super) struct Slice {
    attributes: Slicer,
    held: Option<Item>,
    /// Bytes of the slice under way that have not come yet.
    left: usize,
    /// When the next slice may begin.
    next: Option<Instant>,
    chance: SplitMix64,
}

impl Slice {
    pub(super) fn new(attributes: &Slicer, chance: Chance) -> Self {
        Self { attributes: attributes.clone(), held: None, left: 0, next: None, chance: chance.generator() }
    }

    pub(super) fn set(&mut self, attributes: &Slicer) {
        self.attributes = attributes.clone();
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.held.is_none()
    }

    pub(super) fn push(&mut self, item: Item) {
        self.held = Some(item);
    }

    pub(super) fn pop(&mut self, now: Instant) -> Option<Item> {
        let Some(Item::Data(bytes)) = &self.held else { return self.release() };
        let length = bytes.len();
        if self.left == 0 {
            self.left = self.draw();
        }
        let piece = self.left.min(length);
        self.left -= piece;
        if self.left == 0 {
            self.next = Some(follow(self.next, now) + micros(self.attributes.delay));
        }
        split(&mut self.held, piece)
    }

    pub(super) fn release(&mut self) -> Option<Item> {
        self.held.take()
    }

    pub(super) fn ready(&self) -> Ready {
        match (&self.held, self.next) {
            (Some(Item::Data(_)), Some(next)) if self.left == 0 => Ready::At(next),
            _ => Ready::Now,
        }
    }

    fn draw(&mut self) -> usize {
        let Slicer { average_size, size_variation, .. } = self.attributes;
        let shortest = average_size.saturating_sub(size_variation).max(1);
        let longest = average_size.saturating_add(size_variation);
        let lengths = (longest - shortest).saturating_add(1);
        usize::try_from(shortest + self.chance.next_u64() % lengths).unwrap_or(usize::MAX)
    }
}

/// When something goes on that could have gone on at `planned`, now that it is `now`.
fn follow(planned: Option<Instant>, now: Instant) -> Instant {
    match planned {
        Some(planned) if planned + SLACK >= now => planned,
        _ => now,
    }
}

fn split(held: &mut Option<Item>, piece: usize) -> Option<Item> {
    match held {
        Some(Item::Data(bytes)) if piece < bytes.len() => Some(Item::Data(bytes.split_to(piece))),
        _ => held.take(),
    }
}

fn micros(microseconds: u64) -> Duration {
    Duration::from_micros(microseconds).min(millis(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(length: usize) -> Item {
        Item::Data(Bytes::from(vec![b'x'; length]))
    }

    fn length(item: &Item) -> usize {
        match item {
            Item::Data(bytes) => bytes.len(),
            _ => 0,
        }
    }

    #[test]
    fn latency_waits_from_when_an_item_came_and_jitter_follows_from_the_seed() {
        let now = Instant::now();
        let delays = |seed| {
            let attributes = Latency { latency: 100, jitter: 30 };
            let mut delay = Delay::new(&attributes, Chance::from_seed(seed));
            let mut delays = Vec::new();
            for _ in 0..100 {
                delay.push(data(10), now);
                let Ready::At(ready) = delay.ready() else { panic!("it waits for its time") };
                delays.push(ready - now);
                delay.pop();
            }
            delays
        };
        let (seen, again) = (delays(1), delays(1));
        assert_eq!(seen, again);
        assert_ne!(seen, delays(2));
        let within =
            |from, to| seen.iter().filter(|d| (Duration::from_millis(from)..Duration::from_millis(to)).contains(d)).count();
        assert_eq!(within(70, 131), 100);
        assert!(within(70, 100) > 30 && within(100, 131) > 30, "{seen:?}");
    }

    #[test]
    fn bandwidth_sends_a_tenth_of_a_second_at_a_time_and_is_as_fast_as_it_says() {
        let start = Instant::now();
        let mut pace = Pace::new(&Bandwidth { rate: 10 });
        pace.push(data(2_500), start);
        let mut passed = Vec::new();
        let mut now = start;
        while let Ready::At(ready) = pace.ready() {
            assert!(ready > now, "no piece before its time");
            now = ready;
            passed.push((length(&pace.pop(now).unwrap()), (now - start).as_millis()));
        }
        assert_eq!(passed, [(1_000, 100), (1_000, 200), (500, 250)]);
    }

    #[test]
    fn bandwidth_gives_no_credit_for_idle_time() {
        let start = Instant::now();
        let mut pace = Pace::new(&Bandwidth { rate: 1 });
        pace.push(data(10), start);
        pace.pop(start + Duration::from_millis(10)).unwrap();
        let later = start + Duration::from_secs(60);
        pace.push(data(10), later);
        assert_eq!(pace.ready(), Ready::At(later + Duration::from_millis(10)));
    }

    #[test]
    fn slices_end_where_the_seed_says_however_the_bytes_came() {
        let ends = |chunks: &[usize]| {
            let mut slice = Slice::new(&Slicer { average_size: 10, size_variation: 5, delay: 0 }, Chance::from_seed(3));
            let now = Instant::now();
            let (mut at, mut ends) = (0, Vec::new());
            for &chunk in chunks {
                slice.push(data(chunk));
                while let Some(item) = slice.pop(now) {
                    assert!((1..=15).contains(&length(&item)));
                    at += length(&item);
                    ends.push(at);
                }
            }
            ends
        };
        let whole = ends(&[400]);
        assert!((25..60).contains(&whole.len()), "{whole:?}");
        let mut parted = ends(&[100, 1, 299]);
        parted.retain(|end| ![100, 101].contains(end) || whole.contains(end));
        assert_eq!(parted, whole);
    }

    #[test]
    fn slices_are_apart_by_the_delay() {
        let now = Instant::now();
        let mut slice = Slice::new(&Slicer { average_size: 4, size_variation: 0, delay: 5_000 }, Chance::from_seed(3));
        slice.push(data(8));
        assert_eq!(slice.ready(), Ready::Now);
        assert_eq!(slice.pop(now), Some(data(4)));
        assert_eq!(slice.ready(), Ready::At(now + Duration::from_millis(5)));
    }

    #[test]
    fn no_attribute_is_too_large() {
        let now = Instant::now();
        let mut delay = Delay::new(&Latency { latency: u64::MAX, jitter: u64::MAX }, Chance::from_seed(1));
        delay.push(data(1), now);
        assert!(matches!(delay.ready(), Ready::At(_)));
        let mut pace = Pace::new(&Bandwidth { rate: u64::MAX });
        pace.push(data(1), now);
        assert_eq!(pace.pop(now), Some(data(1)));
        let everything = Slicer { average_size: u64::MAX, size_variation: u64::MAX, delay: u64::MAX };
        let mut slice = Slice::new(&everything, Chance::from_seed(1));
        slice.push(data(1));
        assert_eq!(slice.pop(now), Some(data(1)));
    }
}
