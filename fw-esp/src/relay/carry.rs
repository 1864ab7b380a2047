//! One connection: its bytes from the wire and to the wire, until it ends or is not wanted any more.

use super::rules::{Rules, Step};
use super::{Turn, is_network_lost};
use crate::link::yield_now;
use crate::transport::{Clock, Network, Stream};
use crate::wire::Wire;
use core::cell::RefCell;
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;
use embedded_io_async::{Read, Write};
use holdline_proto::Instant;

/// How much is read from the connection or written to it at a time, in bytes.
const CHUNK: usize = 128;
/// How often a connection is read before others have their turn.
const TURNS: u8 = 16;
/// How long a connection may take to end in order, in milliseconds.
const CLOSE_MS: u32 = 1_000;

/// Carries bytes for as long as the connection is open and wanted, then ends it in order, if nothing else is to be done.
pub(super) async fn carry<T: Clock, const UP: usize, const DOWN: usize>(
    turn: &Turn<'_, T, UP, DOWN>,
    stream: &mut impl Stream,
    network: &mut impl Network,
    link: u32,
) {
    let wire = turn.wire;
    if !wire.borrow_mut().end.open(link) {
        return;
    }
    wire.borrow_mut().clear();
    let until = {
        let (mut reader, mut writer) = stream.split();
        let mut receiving = pin!(receive(wire, &mut reader, link));
        let mut sending = pin!(transmit(wire, &mut writer, link));
        let (mut is_received, mut is_sent, mut is_lost) = (false, false, false);
        poll_fn(|cx| {
            is_sent = is_sent || sending.as_mut().poll(cx).is_ready();
            is_received = is_received || receiving.as_mut().poll(cx).is_ready();
            is_lost = is_lost || is_network_lost(wire, network);
            if is_received || is_lost {
                end(&mut wire.borrow_mut(), link, is_lost);
            }
            if wire.borrow().end.is_open(link) { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
        let until = turn.clock.now().plus(CLOSE_MS);
        // What the host said before it gave the connection up, its good-bye, is sent; what the server says is lost.
        poll_fn(|cx| {
            is_received = is_received || receiving.as_mut().poll(cx).is_ready();
            is_sent = is_sent || sending.as_mut().poll(cx).is_ready();
            if is_sent || turn.is_pressed(until) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        until
    };
    let mut closing = pin!(stream.close());
    poll_fn(|cx| match closing.as_mut().poll(cx) {
        Poll::Pending if !turn.is_pressed(until) => Poll::Pending,
        _ => Poll::Ready(()),
    })
    .await;
}

/// The connection has ended, or the network with it; the host is told when it has been told all that came before.
fn end<const UP: usize, const DOWN: usize>(wire: &mut Wire<Rules, UP, DOWN>, link: u32, is_network_lost: bool) {
    wire.end.stop_listening();
    if !wire.is_flushed() || !wire.end.is_open(link) {
        return;
    }
    if is_network_lost {
        wire.end.lose_network();
    } else {
        wire.end.close();
    }
}

impl<T: Clock, const UP: usize, const DOWN: usize> Turn<'_, T, UP, DOWN> {
    /// Whether what is being ended has to give way: to the time, or to what the host wants next.
    fn is_pressed(&self, until: Instant) -> bool {
        matches!(self.wire.borrow().end.step(), Step::Join(_) | Step::Connect(_)) || self.clock.now() >= until
    }
}

/// From the connection to the wire, until it ends.
async fn receive<const UP: usize, const DOWN: usize>(wire: &RefCell<Wire<Rules, UP, DOWN>>, reader: &mut impl Read, link: u32) {
    let mut chunk = [0; CHUNK];
    let mut turns = TURNS;
    loop {
        let count = match reader.read(&mut chunk).await {
            Ok(count @ 1..) => count,
            _ => return,
        };
        let mut rest = chunk.get(..count).unwrap_or_default();
        poll_fn(|_| {
            let mut wire = wire.borrow_mut();
            if !wire.end.is_open(link) {
                return Poll::Ready(());
            }
            let taken = wire.send(rest);
            rest = rest.get(taken..).unwrap_or_default();
            if rest.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        turns -= 1;
        if turns == 0 {
            turns = TURNS;
            yield_now().await;
        }
    }
}

/// From the wire to the connection, until that is given up and has taken all, or takes no more.
async fn transmit<const UP: usize, const DOWN: usize>(wire: &RefCell<Wire<Rules, UP, DOWN>>, writer: &mut impl Write, link: u32) {
    let mut chunk = [0; CHUNK];
    let mut is_flushed = true;
    loop {
        let count = poll_fn(|_| {
            let mut wire = wire.borrow_mut();
            match wire.receive(&mut chunk) {
                0 if is_flushed && wire.end.is_open(link) => Poll::Pending,
                count => Poll::Ready(count),
            }
        })
        .await;
        let mut rest = chunk.get(..count).unwrap_or_default();
        while !rest.is_empty() {
            match writer.write(rest).await {
                Ok(taken @ 1..) => rest = rest.get(taken..).unwrap_or_default(),
                // What the server had said before is read, to the end.
                _ => return wire.borrow_mut().end.stop_listening(),
            }
        }
        if count > 0 {
            is_flushed = false;
        } else if is_flushed {
            return;
        } else if writer.flush().await.is_err() {
            return wire.borrow_mut().end.stop_listening();
        } else {
            is_flushed = true;
        }
    }
}
