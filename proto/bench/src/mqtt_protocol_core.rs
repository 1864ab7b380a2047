use crate::Pair;
use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::Event;
use mqtt_protocol_core::mqtt::packet::v3_1_1::{Connack, Connect, Publish};
use mqtt_protocol_core::mqtt::packet::{GenericPacketTrait, Packet, Qos};
use mqtt_protocol_core::mqtt::result_code::ConnectReturnCode;
use mqtt_protocol_core::mqtt::{Connection, Version, role};

/// mqtt-protocol-core, which does no input or output either, as a client and a server of version 3.1.1 that answer by themselves:
/// PUBLISH, PUBREC, PUBREL, PUBCOMP.
pub struct MqttProtocolCore {
    sender: Connection<role::Client>,
    receiver: Connection<role::Server>,
}

/// What an end asked to be sent, as bytes, and how much text it was given.
fn settle(events: Vec<Event>, wire: &mut Vec<u8>) -> usize {
    let mut arrived = 0;
    for event in events {
        match event {
            Event::RequestSendPacket { packet, .. } => wire.extend_from_slice(&packet.to_continuous_buffer()),
            Event::NotifyPacketReceived(Packet::V3_1_1Publish(publish)) => arrived += publish.payload().as_slice().len(),
            Event::NotifyError(error) => panic!("the other end is the same crate: {error:?}"),
            _ => {}
        }
    }
    arrived
}

impl Pair for MqttProtocolCore {
    fn connected() -> Self {
        let (mut sender, mut receiver) = (Connection::new(Version::V3_1_1), Connection::new(Version::V3_1_1));
        let connect =
            Connect::builder().client_id("device").expect("it is short").clean_session(true).build().expect("it is whole");
        let connack =
            Connack::builder().session_present(false).return_code(ConnectReturnCode::Accepted).build().expect("it is whole");
        let mut wire = Vec::new();
        settle(sender.checked_send(connect), &mut wire);
        settle(receiver.recv(&mut Cursor::new(&wire)), &mut Vec::new());
        wire.clear();
        settle(receiver.checked_send(connack), &mut wire);
        settle(sender.recv(&mut Cursor::new(&wire)), &mut Vec::new());
        sender.set_auto_pub_response(true);
        receiver.set_auto_pub_response(true);
        Self { sender, receiver }
    }

    fn exchange(&mut self, text: &str) -> usize {
        let publish = Publish::builder()
            .packet_id(self.sender.acquire_packet_id().expect("none is in use"))
            .topic_name("device/1")
            .expect("it is short")
            .qos(Qos::ExactlyOnce)
            .payload(text)
            .build()
            .expect("it is whole");
        let (mut there, mut back) = (Vec::new(), Vec::new());
        settle(self.sender.checked_send(publish), &mut there);
        let mut arrived = 0;
        while !there.is_empty() {
            arrived += settle(self.receiver.recv(&mut Cursor::new(&there)), &mut back);
            there.clear();
            settle(self.sender.recv(&mut Cursor::new(&back)), &mut there);
            back.clear();
        }
        arrived
    }
}
