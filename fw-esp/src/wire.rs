//! The serial wire between a host and its relay: the bytes of the session, and control lines among them.
//!
//! Both ends use this; what they say and do is [`End`]. Bytes may flip or be missing: a control line carries its check, and is said
//! again by whom it matters to.

use crate::link::yield_now;
use crate::transport::Clock;
use core::cell::RefCell;
use core::fmt::{self, Write as _};
use core::future::{Future, poll_fn};
use core::task::{Poll, Waker};
use embedded_io_async::{Error, ErrorKind, Read, Write};
use heapless::Deque;
use holdline_proto::{Instant, crc32, unchecked};

/// Begins a control line. No byte from 0xF8 on occurs in UTF-8, so the session never says it.
const START: u8 = 0xfe;
/// Nothing: what I2C reads where there is nothing to read.
const IDLE: u8 = 0xff;
/// The longest text of a control line, in bytes.
pub(crate) const TEXT_MAX: usize = 255;
/// Its frame: the start, `*` and 8 digits. The LF comes on top.
const LINE_MAX: usize = TEXT_MAX + 10;
/// How much is read or written at a time, in bytes: the longest control line at least.
const CHUNK: usize = LINE_MAX + 1;
/// How long a wire that fails is left alone, in milliseconds.
const PAUSE_MS: u32 = 10;
/// The longest wait that a clock is asked for, in milliseconds: one that counts microseconds does not overflow.
pub(crate) const WAIT_MAX_MS: u32 = 3_600_000;
/// How often an end reads before it lets others have their turn.
const TURNS: u8 = 16;

/// What one end of the wire says and understands.
pub(crate) trait End {
    /// A control line arrived.
    fn hear(&mut self, text: &str, now: Instant);

    /// Writes the text of the control line that is due now; `false` if there is none.
    fn say(&mut self, now: Instant, line: &mut ControlLine<'_>) -> bool;

    /// When there will be something to say or to do next if nothing happens.
    fn deadline(&self) -> Instant;

    /// Time has come. Called at the deadline or later, and then [`End::say`] is asked.
    fn tick(&mut self, now: Instant);

    /// Whether the bytes of the session that arrive now are to be kept.
    fn is_listening(&self) -> bool;
}

/// A control line while it is written.
pub(crate) struct ControlLine<'b> {
    buffer: &'b mut [u8],
    len: usize,
}

impl<'b> ControlLine<'b> {
    pub(crate) fn new(buffer: &'b mut [u8]) -> Self {
        let mut line = Self { buffer, len: 0 };
        line.push(&[START]);
        line
    }

    fn push(&mut self, bytes: &[u8]) -> bool {
        let place = self.len.checked_add(bytes.len()).and_then(|end| self.buffer.get_mut(self.len..end));
        let Some(place) = place else { return false };
        place.copy_from_slice(bytes);
        self.len += bytes.len();
        true
    }

    /// Ends the line with its check; the length of the whole, 0 if it did not fit.
    pub(crate) fn end(mut self) -> usize {
        let check = self.check();
        if writeln!(self, "*{check:08x}").is_ok() { self.len } else { 0 }
    }

    /// The check of what is written so far: the number in the line's last eight digits.
    pub(crate) fn check(&self) -> u32 {
        crc32(0, self.buffer.get(..self.len).unwrap_or_default())
    }
}

impl fmt::Write for ControlLine<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.push(text.as_bytes()) { Ok(()) } else { Err(fmt::Error) }
    }
}

/// The check of a control line with this text.
pub(crate) fn check(text: &str) -> u32 {
    crc32(crc32(0, &[START]), text.as_bytes())
}

/// Takes the bytes of a wire apart.
#[derive(Debug)]
struct Splitter {
    /// The control line from its start on, whole or not.
    line: heapless::Vec<u8, LINE_MAX>,
    is_in_control: bool,
    /// Whether the line is longer than any can be.
    is_overlong: bool,
    /// Control lines that were dropped for their check or length.
    damaged: u32,
}

/// What was found on the wire.
#[derive(Debug, PartialEq)]
enum Piece<'w> {
    Session(&'w [u8]),
    Control(&'w str),
    Nothing,
}

impl Splitter {
    const fn new() -> Self {
        Self { line: heapless::Vec::new(), is_in_control: false, is_overlong: false, damaged: 0 }
    }

    /// What the input begins with, and how many of its bytes that are: at least one.
    fn take<'p>(&'p mut self, input: &'p [u8]) -> (usize, Piece<'p>) {
        match input.first() {
            Some(&START) => {
                self.damaged = self.damaged.saturating_add(self.is_in_control.into());
                self.line.clear();
                self.is_overlong = self.line.push(START).is_err();
                self.is_in_control = true;
            }
            Some(&IDLE) | None => {}
            Some(b'\n') if self.is_in_control => {
                self.is_in_control = false;
                let body = if self.is_overlong { None } else { unchecked(&self.line) };
                return match body.and_then(|body| core::str::from_utf8(body.get(1..)?).ok()) {
                    Some(text) => (1, Piece::Control(text)),
                    None => {
                        self.damaged = self.damaged.saturating_add(1);
                        (1, Piece::Nothing)
                    }
                };
            }
            Some(&byte) if self.is_in_control => self.is_overlong |= self.line.push(byte).is_err(),
            Some(_) => {
                let session = input.iter().take_while(|&&byte| byte < START).count();
                return (session, Piece::Session(input.get(..session).unwrap_or_default()));
            }
        }
        (1, Piece::Nothing)
    }
}

/// One end of a wire: what waits in both directions, and who speaks. `IN` and `OUT` are the bytes of the session that may wait.
#[derive(Debug)]
pub(crate) struct Wire<E, const IN: usize, const OUT: usize> {
    pub(crate) end: E,
    splitter: Splitter,
    incoming: Deque<u8, IN>,
    outgoing: Deque<u8, OUT>,
    /// Whether bytes are on their way from here to the transport.
    is_writing: bool,
    /// Bytes of the session that found no room.
    pub(crate) dropped: u32,
    waker: Option<Waker>,
}

impl<E: End, const IN: usize, const OUT: usize> Wire<E, IN, OUT> {
    pub(crate) const fn new(end: E) -> Self {
        Self {
            end,
            splitter: Splitter::new(),
            incoming: Deque::new(),
            outgoing: Deque::new(),
            is_writing: false,
            dropped: 0,
            waker: None,
        }
    }

    /// Begins anew, with nothing left of before.
    pub(crate) fn restart(&mut self, end: E) {
        self.end = end;
        self.splitter = Splitter::new();
        self.clear();
        (self.is_writing, self.dropped) = (false, 0);
    }

    /// Leaves the waker of the one task in which all of this end runs.
    pub(crate) fn park(&mut self, waker: &Waker) {
        match &mut self.waker {
            Some(parked) => parked.clone_from(waker),
            None => self.waker = Some(waker.clone()),
        }
    }

    /// Something has changed that another future of the task may wait for: all are polled again.
    pub(crate) fn touch(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    /// Control lines of the peer that were dropped for their check or length.
    pub(crate) fn damaged(&self) -> u32 {
        self.splitter.damaged
    }

    /// Takes bytes from the wire. They never have to wait: of the session's, those without room are dropped, and it asks for them again.
    fn take(&mut self, mut bytes: &[u8], now: Instant) {
        while !bytes.is_empty() {
            let room = self.room();
            let (count, piece) = self.splitter.take(bytes);
            match piece {
                Piece::Session(session) if self.end.is_listening() => {
                    let (kept, dropped) = session.split_at(session.len().min(room));
                    self.incoming.extend(kept.iter().copied());
                    self.dropped = self.dropped.saturating_add(dropped.len() as u32);
                }
                Piece::Control(text) => self.end.hear(text, now),
                Piece::Session(_) | Piece::Nothing => {}
            }
            bytes = bytes.get(count..).unwrap_or_default();
        }
        self.touch();
    }

    /// How many bytes of the session find room.
    fn room(&self) -> usize {
        self.incoming.capacity() - self.incoming.len()
    }

    /// Moves bytes of the session that arrived into `buffer`; returns how many.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> usize {
        drain(&mut self.incoming, buffer)
    }

    /// Queues bytes of the session; returns how many there was room for.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.outgoing.capacity() - self.outgoing.len());
        self.outgoing.extend(bytes.iter().take(count).copied());
        if count > 0 {
            self.touch();
        }
        count
    }

    /// Whether all that was queued has been taken by the transport.
    pub(crate) fn is_flushed(&self) -> bool {
        self.outgoing.is_empty() && !self.is_writing
    }

    /// Throws away what waits to be written.
    pub(crate) fn clear_outgoing(&mut self) {
        self.outgoing.clear();
        self.touch();
    }

    /// Throws away what waits in both directions.
    pub(crate) fn clear(&mut self) {
        self.incoming.clear();
        self.clear_outgoing();
    }

    /// What is to be written next: a control line that is due, or else bytes of the session.
    fn fill(&mut self, chunk: &mut [u8; CHUNK], now: Instant) -> usize {
        let mut line = ControlLine::new(chunk);
        let control = if self.end.say(now, &mut line) { line.end() } else { 0 };
        let count = if control > 0 { control } else { drain(&mut self.outgoing, chunk) };
        self.is_writing = count > 0;
        count
    }
}

fn drain<const N: usize>(from: &mut Deque<u8, N>, into: &mut [u8]) -> usize {
    let count = into.len().min(from.len());
    for place in into.iter_mut().take(count) {
        *place = from.pop_front().unwrap_or_default();
    }
    count
}

/// Reads the wire for ever, or until it ends.
pub(crate) async fn listen<E: End, const IN: usize, const OUT: usize>(
    wire: &RefCell<Wire<E, IN, OUT>>,
    reader: &mut impl Read,
    clock: &impl Clock,
) -> WireEnded {
    let mut chunk = [0; CHUNK];
    let mut turns = TURNS;
    loop {
        // Where there is no room, what comes is read all the same: there may be control lines in it.
        let most = match wire.borrow().room() {
            0 => CHUNK,
            room => room.min(CHUNK),
        };
        match reader.read(chunk.get_mut(..most).unwrap_or_default()).await {
            Ok(0) => return WireEnded,
            Ok(count) => wire.borrow_mut().take(chunk.get(..count).unwrap_or_default(), clock.now()),
            Err(error) if has_ended(&error) => return WireEnded,
            // Noise, or bytes that came too fast: what is missing will be asked for.
            Err(_) => clock.wait_until(clock.now().plus(PAUSE_MS)).await,
        }
        turns -= 1;
        // Who is to take what has come, and can, does so before there is more.
        if turns == 0 || wire.borrow().room() == 0 {
            turns = TURNS;
            yield_now().await;
        }
    }
}

/// Writes to the wire for ever, or until it ends: control lines as they are due, and between them what was queued.
pub(crate) async fn speak<E: End, const IN: usize, const OUT: usize>(
    wire: &RefCell<Wire<E, IN, OUT>>,
    writer: &mut impl Write,
    clock: &impl Clock,
) -> WireEnded {
    let mut chunk = [0; CHUNK];
    loop {
        let count = poll_fn(|_| match wire.borrow_mut().fill(&mut chunk, clock.now()) {
            0 => Poll::Pending,
            count => Poll::Ready(count),
        })
        .await;
        let mut rest = chunk.get(..count).unwrap_or_default();
        while !rest.is_empty() {
            match writer.write(rest).await {
                Ok(0) => return WireEnded,
                Ok(taken) => rest = rest.get(taken..).unwrap_or_default(),
                Err(error) if has_ended(&error) => return WireEnded,
                Err(_) => {
                    clock.wait_until(clock.now().plus(PAUSE_MS)).await;
                    rest = &[];
                }
            }
        }
        if writer.flush().await.is_err_and(|error| has_ended(&error)) {
            return WireEnded;
        }
        let mut wire = wire.borrow_mut();
        wire.is_writing = false;
        wire.touch();
    }
}

/// Does what time brings; never ready.
pub(crate) async fn keep_time<E: End, const IN: usize, const OUT: usize>(wire: &RefCell<Wire<E, IN, OUT>>, clock: &impl Clock) {
    loop {
        let at = wire.borrow().end.deadline().min(clock.now().plus(WAIT_MAX_MS));
        {
            let mut wait = core::pin::pin!(clock.wait_until(at));
            // What happens may bring an earlier deadline, never without this being polled.
            poll_fn(|cx| if wire.borrow().end.deadline() < at { Poll::Ready(()) } else { wait.as_mut().poll(cx) }).await;
        }
        let now = clock.now();
        let mut wire = wire.borrow_mut();
        if now >= wire.end.deadline() {
            wire.end.tick(now);
            wire.touch();
        }
    }
}

/// The wire has ended: there is nothing at its other side. The wire of a chip never does; a socket may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct WireEnded;

impl fmt::Display for WireEnded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the serial wire has ended: what it led to was closed")
    }
}

impl core::error::Error for WireEnded {}

fn has_ended(error: &impl Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::NotConnected
    )
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::string::String;
    use std::vec::Vec;

    fn control(text: &str) -> Vec<u8> {
        let mut buffer = [0; CHUNK];
        let mut line = ControlLine::new(&mut buffer);
        line.write_str(text).expect("it fits");
        let len = line.end();
        buffer[..len].to_vec()
    }

    /// What the splitter makes of the bytes, which come in slices of this length.
    fn split(bytes: &[u8], slice: usize) -> (Vec<u8>, Vec<String>, u32) {
        let (mut session, mut controls, mut splitter) = (Vec::new(), Vec::new(), Splitter::new());
        for mut input in bytes.chunks(slice) {
            while !input.is_empty() {
                let (count, piece) = splitter.take(input);
                match piece {
                    Piece::Session(bytes) => session.extend_from_slice(bytes),
                    Piece::Control(text) => controls.push(text.into()),
                    Piece::Nothing => {}
                }
                input = &input[count..];
            }
        }
        (session, controls, splitter.damaged)
    }

    #[test]
    fn a_control_line_is_found_wherever_it_begins() {
        let line = control("want\tjoin=1\tlink=2");
        assert_eq!(line, b"\xfewant\tjoin=1\tlink=2*14161a45\n");
        let session = "M1 gr\u{fc}n\n";
        for at in 0..=session.len() {
            let mut bytes = session.as_bytes().to_vec();
            bytes.splice(at..at, [&[IDLE], &line[..], &[IDLE]].concat());
            for slice in 1..=bytes.len() {
                let (heard, controls, damaged) = split(&bytes, slice);
                assert_eq!((heard, controls, damaged), (session.into(), std::vec!["want\tjoin=1\tlink=2".into()], 0));
            }
        }
    }

    #[test]
    fn a_wire_that_says_nothing_but_starts_is_counted_to_the_end() {
        let mut splitter = Splitter { damaged: u32::MAX - 2, ..Splitter::new() };
        for byte in [START, START, START, START, b'\n'] {
            splitter.take(&[byte]);
        }
        assert_eq!(splitter.damaged, u32::MAX);
    }

    #[test]
    fn a_damaged_control_line_is_never_understood() {
        let line = control("want\tjoin=1\tlink=2");
        for at in 0..line.len() {
            for bit in 0..8 {
                let mut bytes = [&line[..], b"\n", &control("x")].concat();
                bytes[at] ^= 1 << bit;
                let (heard, controls, damaged) = split(&bytes, 7);
                assert_eq!(controls.last().map(String::as_str), Some("x"), "byte {at}, bit {bit}");
                assert!(controls.len() == 1 && (damaged > 0 || heard.len() > 1), "byte {at}, bit {bit}: {controls:?}");
                assert!(heard.split(|&byte| byte == b'\n').all(|line| unchecked(line).is_none()), "byte {at}, bit {bit}");
            }
            // Without its LF it would end at the next one.
            let mut bytes = [&line[..], &control("x")].concat();
            bytes.remove(at);
            let (heard, controls, _) = split(&bytes, 7);
            assert_eq!(controls, ["x"], "without byte {at}");
            assert!(heard.split(|&byte| byte == b'\n').all(|line| unchecked(line).is_none()), "without byte {at}");
        }
    }

    #[test]
    fn what_is_too_long_is_dropped_up_to_the_end_of_its_line() {
        let longest = "t".repeat(TEXT_MAX);
        assert_eq!(split(&control(&longest), 5), (Vec::new(), std::vec![longest], 0));
        let mut bytes = std::vec![START];
        bytes.extend([b't'; 10_000]);
        bytes.extend(b"\nA7\n");
        assert_eq!(split(&bytes, 100), (b"A7\n".to_vec(), Vec::new(), 1));
    }
}
