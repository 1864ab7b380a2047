//! Noise on the line of a direction, and what it lets happen to best effort.

/// What a serial line does to the bytes of a direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Noise {
    /// Nothing.
    #[default]
    None,
    /// It damages them.
    Lasts,
    /// Nothing any more; but the LF of the last line may be lost, and then the next line is, too.
    Echoes,
}

impl Noise {
    /// Best effort is put on the wire: whether it may be lost with its line.
    pub(super) fn takes_datagram(&mut self) -> bool {
        let takes = *self != Self::None;
        if *self == Self::Echoes {
            *self = Self::None;
        }
        takes
    }
}

#[cfg(test)]
mod tests {
    use crate::actor::Profile;
    use crate::ledger::{Delivery, Ledger, Placed};
    use holdline_proto::Instant;

    const NOW: Instant = Instant::from_millis(0);

    #[test]
    fn a_datagram_may_be_lost_while_there_is_noise_and_one_behind_it() {
        let mut ledger = Ledger::new(Profile::Native);
        // 1 is under way when the noise begins, 2 is sent in it, 3 behind a line whose end may be lost.
        for number in 1..=4 {
            ledger.sent(Delivery::BestEffort, Placed::OnTheWire, NOW);
            if number < 3 {
                ledger.disturbed(number == 1);
            }
        }
        assert_eq!(ledger.violations(true), ["datagram 4 was lost"]);
        ledger.sent(Delivery::Reliable, Placed::Queued, NOW);
        assert_eq!(ledger.violations(true), ["message 1 was lost", "datagram 4 was lost"], "a message is sent again");
    }

    #[test]
    fn a_text_that_nobody_sent_is_a_violation_on_checked_lines_and_a_hole_on_others() {
        let mut ledger = Ledger::new(Profile::Native);
        ledger.damaged(Delivery::Reliable);
        let said = ["a message arrived with another text than was sent"];
        assert_eq!((ledger.violations(true), ledger.account(Delivery::Reliable).damaged), (said.map(str::to_owned).to_vec(), 1));
        let mut ledger = Ledger::new(Profile::Native);
        ledger.unguarded();
        ledger.damaged(Delivery::Reliable);
        ledger.sent(Delivery::Reliable, Placed::Queued, NOW);
        ledger.received(Delivery::Reliable, 7);
        ledger.acknowledged_to(0, |_| false);
        assert_eq!(ledger.violations(true), [""; 0]);
        assert_eq!(ledger.holes(true), [said[0], "message 7 was never sent", "message 1 was lost"]);
    }
}
