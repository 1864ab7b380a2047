use crate::Pair;
use bytes::BytesMut;
use rumqttc::{MqttState, Outgoing, Packet, Publish, QoS, Request};

/// rumqttc's state machine at both ends, version 3.1.1: PUBLISH, PUBREC, PUBREL, PUBCOMP, each written to and read from a buffer,
/// and the events taken as its event loop takes them. It has no state machine for a server; a client that receives does the same.
pub struct Rumqttc {
    sender: MqttState,
    receiver: MqttState,
    wire: BytesMut,
}

const PACKET_MAX: usize = 1024;

impl Rumqttc {
    /// Carries a packet to an end, and returns that end's answer.
    fn carry(wire: &mut BytesMut, packet: &Packet, end: &mut MqttState) -> Option<Packet> {
        packet.write(wire, PACKET_MAX).expect("it is short");
        let packet = Packet::read(wire, PACKET_MAX).expect("it was written whole");
        end.handle_incoming_packet(packet).expect("it was expected")
    }
}

impl Pair for Rumqttc {
    fn connected() -> Self {
        Self {
            sender: MqttState::new(100, false),
            receiver: MqttState::new(100, false),
            wire: BytesMut::with_capacity(10 * PACKET_MAX),
        }
    }

    fn exchange(&mut self, text: &str) -> usize {
        let Self { sender, receiver, wire } = self;
        let publish = Publish::new("device/1", QoS::ExactlyOnce, text);
        let publish =
            sender.handle_outgoing_packet(Request::Publish(publish)).expect("one is in flight").expect("it goes out at once");
        let received = Self::carry(wire, &publish, receiver).expect("PUBREC");
        let release = Self::carry(wire, &received, sender).expect("PUBREL");
        let complete = Self::carry(wire, &release, receiver).expect("PUBCOMP");
        assert!(Self::carry(wire, &complete, sender).is_none());

        let mut arrived = 0;
        for event in receiver.events.drain(..) {
            if let rumqttc::Event::Incoming(Packet::Publish(publish)) = event {
                arrived += publish.payload.len();
            }
        }
        let mut sent = 0;
        for event in sender.events.drain(..) {
            sent += usize::from(matches!(event, rumqttc::Event::Outgoing(Outgoing::Publish(_))));
        }
        assert_eq!(sent, 1);
        arrived
    }
}
