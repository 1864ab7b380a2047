use crate::Pair;
use holdline_proto::native::Session;
use holdline_proto::{Client, ClientId, Config, Event, Greeting, Incarnation, Instant, Server, SliceOutbox};

type Outbox = SliceOutbox<[u8; 1024]>;

/// Two native sessions, each with an outbox over a slice: `send`, `poll_transmit`, `handle_transmitted` at the sender;
/// `handle_input`, `accept`, `poll_event`, `poll_transmit`, `handle_transmitted` at the receiver; `handle_input` of the
/// acknowledgement, which prunes the outbox, and `poll_event` at the sender.
pub struct Holdline {
    sender: Session<Client, Outbox>,
    receiver: Session<Server, Outbox>,
    wire: [u8; 512],
    now_ms: u64,
}

impl Pair for Holdline {
    fn connected() -> Self {
        let config = Config::new().validate().expect("the defaults are in range");
        let id = ClientId::new("device").expect("it has no blank");
        let outbox = SliceOutbox::new([0; 1024]);
        let mut sender = Session::new(Client { id }, config, Incarnation { boot: 1, epoch: 2 }, outbox.clone());
        let mut receiver = Session::new(Server, config, Incarnation { boot: 3, epoch: 4 }, outbox);
        let mut wire = [0; 512];
        let now = Instant::from_millis(1);

        sender.handle_connected(now, 5);
        let hello = sender.poll_transmit(&mut wire);
        sender.handle_transmitted(now, hello);
        match Greeting::read(&wire[..hello], false) {
            Ok(Some((Greeting::Native(hello), _))) => receiver.handle_hello(now, 6, &hello),
            other => panic!("a hello of ours is taken: {other:?}"),
        }
        let welcome = receiver.poll_transmit(&mut wire);
        receiver.handle_transmitted(now, welcome);
        let _ = sender.handle_input(now, &wire[..welcome]);
        assert_eq!(sender.poll_event(), Some(Event::Up { resumed: false }));
        let confirmation = sender.poll_transmit(&mut wire);
        sender.handle_transmitted(now, confirmation);
        let _ = receiver.handle_input(now, &wire[..confirmation]);
        assert_eq!(receiver.poll_event(), Some(Event::Up { resumed: false }));
        Self { sender, receiver, wire, now_ms: 1 }
    }

    fn exchange(&mut self, text: &str) -> usize {
        self.now_ms += 1;
        let now = Instant::from_millis(self.now_ms);
        let seq = self.sender.send(now, text).expect("the outbox is empty");
        let line = self.sender.poll_transmit(&mut self.wire);
        self.sender.handle_transmitted(now, line);

        let message = self.receiver.handle_input(now, &self.wire[..line]).message.expect("it was sent");
        let arrived = message.text.len();
        self.receiver.accept(message.receipt.expect("it was sent reliably"));
        while self.receiver.poll_event().is_some() {}
        let ack = self.receiver.poll_transmit(&mut self.wire);
        self.receiver.handle_transmitted(now, ack);

        let _ = self.sender.handle_input(now, &self.wire[..ack]);
        let mut acked = 0;
        while let Some(event) = self.sender.poll_event() {
            if let Event::Acked(upto) = event {
                acked = upto;
            }
        }
        assert_eq!(acked, seq);
        arrived
    }
}
