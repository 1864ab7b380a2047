//! One reliable exchange of a text of 64 bytes, in memory, both ends: by Holdline, by MQTT at quality of service 2, and by as
//! little as can be written by hand.
//!
//! Every pair of ends lives in one thread and hands its bytes over in a buffer. What is measured begins with the text in the
//! hands of the sending application and ends when the sender knows that it was accepted and has forgotten it.

#![warn(missing_docs)]

mod floor;
mod holdline;
mod mqtt_protocol_core;
mod rumqttc;

pub use floor::Floor;
pub use holdline::Holdline;
pub use mqtt_protocol_core::MqttProtocolCore;
pub use rumqttc::Rumqttc;

/// 64 bytes, as a device would send them.
pub const TEXT: &str = "temperature=21.5 humidity=40.2 door=closed battery=87% n=0001234";

/// Exchanges before the measured one: enough that every buffer has been used, and that numbers have four digits.
pub const WARM_UP: u32 = 2_000;

/// Two ends that are connected.
pub trait Pair {
    /// Connects two ends.
    fn connected() -> Self;

    /// Sends a text from one end to the other, which accepts it, until the sender has forgotten it. Returns how many bytes of text
    /// arrived.
    fn exchange(&mut self, text: &str) -> usize;
}

/// Two connected ends that have exchanged texts before.
pub fn warmed_up<P: Pair>() -> Box<P> {
    let mut pair = P::connected();
    for _ in 0..WARM_UP {
        assert_eq!(pair.exchange(TEXT), TEXT.len());
    }
    Box::new(pair)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_exchanges_texts() {
        warmed_up::<Holdline>();
        warmed_up::<Floor>();
        warmed_up::<Rumqttc>();
        warmed_up::<MqttProtocolCore>();
    }
}
