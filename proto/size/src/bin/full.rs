//! A client that uses all that a session can do.
#![no_std]
#![no_main]

use holdline_proto::native::{Session, Snapshot};
use holdline_proto::{ByeCode, Client, ClientId, Config, Event, Incarnation, Instant, SliceOutbox};
use holdline_size::{Place, now_ms, receive, the_world, transmit};

/// Its size is the state that a session takes.
#[unsafe(no_mangle)]
static SESSION: Place<Session<Client, SliceOutbox<&'static mut [u8]>>> = Place::new();
static OUTBOX: Place<[u8; 1024]> = Place::new();
static RECEIVED: Place<[u8; 512]> = Place::new();
static TRANSMIT: Place<[u8; 512]> = Place::new();

#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    let config = the_world(Config::new()).validate();
    let id = ClientId::new(the_world("device"));
    let (Ok(config), Ok(id)) = (config, id) else { loop {} };
    let outbox = SliceOutbox::new(OUTBOX.fill([0; 1024]).as_mut_slice());
    let session = SESSION.fill(if the_world(true) {
        Session::restore(Client { id }, config, the_world(1), the_world(Snapshot::default()), outbox)
    } else {
        Session::new(Client { id }, config, Incarnation { boot: the_world(1), epoch: the_world(1) }, outbox)
    });
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
        if the_world(false) {
            session.close(the_world(ByeCode::Done), the_world(0));
        }
        if the_world(false) {
            session.handle_backlog(now);
        }
        let _ = the_world(session.send(now, the_world("a text")));
        let _ = the_world(session.send_latest(now, the_world(1), the_world("a text")));
        if let Ok(length) = session.send_best_effort(the_world("a text"), transmitted) {
            transmit(transmitted.get(..length).unwrap_or_default());
        }
        let length = receive(received);
        let input = session.handle_input(now, received.get(..length).unwrap_or_default());
        the_world(input.consumed);
        if let Some(message) = input.message {
            the_world(message.text);
            if let Some(receipt) = message.receipt {
                the_world(session.accept(receipt));
            }
        }
        the_world(session.snapshot());
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
