//! A client that keeps one reliable line in both directions over any number of outages: nothing that it could do without.
#![no_std]
#![no_main]

use holdline_proto::native::Session;
use holdline_proto::{Client, ClientId, Config, Event, Incarnation, Instant, SliceOutbox};
use holdline_size::{Place, now_ms, receive, the_world, transmit};

/// Its size is the state that a session takes.
#[unsafe(no_mangle)]
static SESSION: Place<Session<Client, SliceOutbox<&'static mut [u8]>>> = Place::new();
static OUTBOX: Place<[u8; 1024]> = Place::new();
static RECEIVED: Place<[u8; 512]> = Place::new();
static TRANSMIT: Place<[u8; 512]> = Place::new();

#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    // The configuration is not known to the compiler either: what one device would leave out, another needs.
    let config = the_world(Config::new()).validate();
    let id = ClientId::new(the_world("device"));
    let (Ok(config), Ok(id)) = (config, id) else { loop {} };
    let incarnation = Incarnation { boot: the_world(1), epoch: the_world(1) };
    let outbox = SliceOutbox::new(OUTBOX.fill([0; 1024]).as_mut_slice());
    let session = SESSION.fill(Session::new(Client { id }, config, incarnation, outbox));
    let received = RECEIVED.fill([0; 512]);
    let transmitted = TRANSMIT.fill([0; 512]);

    loop {
        let now = Instant::from_millis(now_ms());
        if the_world(false) {
            session.handle_connected(now, the_world(2));
        }
        if the_world(false) {
            session.handle_disconnected(now);
        }
        if let Ok(seq) = session.send(now, the_world("a text")) {
            the_world(seq);
        }
        let length = receive(received);
        let input = session.handle_input(now, received.get(..length).unwrap_or_default());
        the_world(input.consumed);
        if let Some(message) = input.message {
            the_world(message.text);
            if let Some(receipt) = message.receipt {
                session.accept(receipt);
            }
        }
        session.handle_timeout(now);
        while let Some(event) = session.poll_event() {
            the_world::<Event>(event);
        }
        let length = session.poll_transmit(transmitted);
        let taken = transmit(transmitted.get(..length).unwrap_or_default());
        session.handle_transmitted(now, taken);
        the_world(session.poll_timeout());
    }
}
