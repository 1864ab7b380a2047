//! What a master reads and writes, byte by byte.

use crate::now;
use embedded_io_async::{Read, Write};
use holdline_esp::DdcTarget;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

#[test]
fn the_stream_is_read_without_an_address_and_is_0xff_where_there_is_nothing() {
    let target: DdcTarget = DdcTarget::new();
    assert_eq!(read(&target, 3), [0xFF; 3]);
    say(&target, b"abc");
    assert_eq!(read(&target, 2), *b"ab");
    assert_eq!(read(&target, 3), [b'c', 0xFF, 0xFF]);
}

#[test]
fn the_count_is_at_0xfd_high_byte_first_and_the_stream_behind_it() {
    let target: DdcTarget<8, 512> = DdcTarget::new();
    say(&target, &[b'x'; 0x12C]);
    target.handle_write(&[0xFD]);
    assert_eq!(read(&target, 4), [0x01, 0x2C, b'x', b'x']);
    target.handle_write(&[0xFD]);
    assert_eq!(read(&target, 2), [0x01, 0x2A]);
    target.handle_write(&[0xFE]);
    assert_eq!(read(&target, 2), [0x2A, b'x']);
}

#[test]
fn the_pointer_steps_on_with_each_byte_and_stays_at_the_stream() {
    let target: DdcTarget = DdcTarget::new();
    say(&target, b"abc");
    target.handle_write(&[0xFB]);
    for byte in [0xFF, 0xFF, 0, 3, b'a', b'b', b'c', 0xFF, 0xFF] {
        assert_eq!(read(&target, 1), [byte]);
    }
    target.handle_write(&[0x00]);
    let all = read(&target, 0x100);
    assert!(all[..0xFD].iter().all(|&byte| byte == 0xFF), "nothing is there");
    assert_eq!(all[0xFD..], [0, 0, 0xFF]);
}

#[test]
fn both_bytes_of_a_count_are_of_one_moment() {
    let target: DdcTarget<8, 512> = DdcTarget::new();
    say(&target, &[b'x'; 0xFF]);
    target.handle_write(&[0xFD]);
    assert_eq!(read(&target, 1), [0x00]);
    say(&target, b"y");
    assert_eq!(read(&target, 1), [0xFF], "not the low byte of 0x0100");
    target.handle_write(&[0xFD]);
    assert_eq!(read(&target, 2), [0x01, 0x00]);
}

#[test]
fn one_byte_sets_the_pointer_and_two_are_data() {
    let target: DdcTarget = DdcTarget::new();
    target.handle_write(b"a");
    assert_eq!(heard(&target), b"");
    target.handle_write(b"ab");
    target.handle_write(&[b'c', 0xFF]);
    target.handle_write(b"def");
    target.handle_write(&[]);
    assert_eq!(heard(&target), b"abcdef");
}

#[test]
fn data_leaves_the_pointer_alone() {
    let target: DdcTarget = DdcTarget::new();
    target.handle_write(&[0xFE]);
    target.handle_write(b"data");
    assert_eq!(read(&target, 2), [0, 0xFF]);
}

#[test]
fn what_was_prepared_and_not_read_is_said_again() {
    let target: DdcTarget = DdcTarget::new();
    say(&target, b"abcd");
    let mut buffer = [0; 8];
    target.prepare_read(&mut buffer);
    assert_eq!(buffer, *b"abcd\xFF\xFF\xFF\xFF");
    // It was not among what the master has read, though there is more now.
    say(&target, b"efgh");
    target.handle_read(6);
    assert_eq!(read(&target, 5), *b"efgh\xFF");
    target.prepare_read(&mut buffer);
    target.handle_read(0);
    say(&target, b"i");
    assert_eq!(read(&target, 1), *b"i");
}

#[test]
fn what_finds_no_room_is_counted() {
    let target: DdcTarget<4, 4> = DdcTarget::new();
    target.handle_write(b"ab\xFFcdef");
    assert_eq!((target.room(), target.dropped()), (0, 2));
    assert_eq!(heard(&target), b"abcd");
    assert_eq!((target.room(), target.dropped()), (4, 2));
}

// ---- one end alone ----

/// What a master reads in one transaction.
fn read<const IN: usize, const OUT: usize>(target: &DdcTarget<IN, OUT>, count: usize) -> Vec<u8> {
    let mut buffer = vec![0; count];
    target.prepare_read(&mut buffer);
    target.handle_read(count);
    buffer
}

fn say<const IN: usize, const OUT: usize>(target: &DdcTarget<IN, OUT>, text: &[u8]) {
    now(target.split().1.write_all(text));
}

fn heard<const IN: usize, const OUT: usize>(target: &DdcTarget<IN, OUT>) -> Vec<u8> {
    let mut buffer = [0; 256];
    let polled = pin!(target.split().0.read(&mut buffer)).poll(&mut Context::from_waker(Waker::noop()));
    let count = if let Poll::Ready(Ok(count)) = polled { count } else { 0 };
    buffer[..count].to_vec()
}
