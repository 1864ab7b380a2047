//! What is there without a session: it moves what it receives about, with the four functions of the compiler's runtime that any
//! firmware has (memcpy, memmove, memset, memcmp), and sends it back.
#![no_std]
#![no_main]

use holdline_size::{Place, receive, the_world, transmit};

static RECEIVED: Place<[u8; 512]> = Place::new();
static COPY: Place<[u8; 512]> = Place::new();

#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    let received = RECEIVED.fill([0; 512]);
    let copy = COPY.fill([0; 512]);
    loop {
        let length = the_world(receive(received)).min(512);
        let (Some(from), Some(to)) = (received.get_mut(..length), copy.get_mut(..length)) else { continue };
        to.copy_from_slice(from);
        if the_world(&mut *to) == from {
            from.fill(the_world(0));
        }
        let moved = the_world(length).min(to.len());
        to.copy_within(moved.., 0);
        transmit(to);
    }
}
