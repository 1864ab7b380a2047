//! Which message a classic receiver takes for new (SPEC.md, 4.2), against a reference that keeps its list in the plainest way.

use holdline_proto::classic::{Flavour, Session};
use holdline_proto::{Config, Event, Instant, Receipt, Server, SliceOutbox};
use proptest::prelude::*;

type Receiver = Session<Server, SliceOutbox<[u8; 64]>>;

const NOW: Instant = Instant::from_millis(1_000);

fn receiver(flavour: Flavour) -> Receiver {
    let config = Config::new().validate().expect("the defaults are in range");
    let mut session = Session::new(Server, flavour, config, SliceOutbox::new([0; 64]));
    session.handle_id(NOW);
    session
}

fn hear(session: &mut Receiver, id: u8) -> Option<Receipt> {
    let line = format!("{id:02x}text\n");
    let input = session.handle_input(NOW, line.as_bytes());
    assert_eq!(input.consumed, line.len());
    while session.poll_event().is_some() {}
    input.message.and_then(|message| message.receipt)
}

/// Whether a message with this id is taken, and accepted at once.
fn takes(session: &mut Receiver, id: u8) -> bool {
    let receipt = hear(session, id);
    receipt.is_some_and(|receipt| session.accept(receipt))
}

fn said(session: &mut Receiver) -> String {
    let mut buffer = [0; 2_048];
    let mut said = Vec::new();
    loop {
        let written = session.poll_transmit(&mut buffer);
        if written == 0 {
            return String::from_utf8(said).expect("lines are UTF-8");
        }
        said.extend_from_slice(&buffer[..written]);
    }
}

/// SPEC.md's words, with places instead of arithmetic: the circle of 255, walked step by step.
#[derive(Default)]
struct Reference {
    newest: Option<u8>,
    taken: std::collections::BTreeSet<u8>,
    on_link: std::collections::BTreeSet<u8>,
}

impl Reference {
    fn takes(&mut self, id: u8) -> bool {
        let is_new = match self.newest {
            None => {
                self.newest = Some(id);
                true
            }
            Some(_) if id == 0 => {
                let first = !self.on_link.contains(&0);
                if first {
                    self.taken.clone_from(&self.on_link);
                    self.newest = Some(self.on_link.last().copied().unwrap_or(0));
                }
                first
            }
            Some(newest) => {
                let mut walker = newest;
                let steps = (1..=127).find(|_| {
                    walker = if walker == 255 { 1 } else { walker + 1 };
                    walker == id
                });
                match steps {
                    Some(steps) => {
                        let mut skipped = newest;
                        for _ in 1..steps {
                            skipped = if skipped == 255 { 1 } else { skipped + 1 };
                            self.taken.remove(&skipped);
                        }
                        self.newest = Some(id);
                        true
                    }
                    None => !self.taken.contains(&id),
                }
            }
        };
        self.taken.insert(id);
        self.on_link.insert(id);
        is_new
    }

    fn new_link(&mut self) {
        self.on_link.clear();
    }
}

// HL-0028, HL-0034
#[test]
fn ids_wrap_from_255_to_1_and_are_new_each_time() {
    let mut session = receiver(Flavour::V2020);
    assert!(takes(&mut session, 0));
    for round in 0..3 {
        for id in 1..=255 {
            assert!(takes(&mut session, id), "round {round}, id {id}");
            assert!(!takes(&mut session, id), "its repeat, round {round}, id {id}");
        }
    }
}

// HL-0033
#[test]
fn the_first_message_after_a_start_is_new_whatever_its_id() {
    for flavour in [Flavour::V2019, Flavour::V2020] {
        for id in 0..=255 {
            let mut session = receiver(flavour);
            assert!(takes(&mut session, id));
            assert!(!takes(&mut session, id));
        }
    }
}

// HL-0034: the table of SPEC.md, 4.2
#[test]
fn the_rows_of_the_specification() {
    let after = |ids: &[u8]| {
        let mut session = receiver(Flavour::V2020);
        for &id in ids {
            takes(&mut session, id);
        }
        session
    };
    assert!(takes(&mut after(&[1, 2, 3]), 5));
    assert!(takes(&mut after(&[254, 255]), 1));
    assert!(takes(&mut after(&[3, 5]), 4), "a late repeat");
    assert!(!takes(&mut after(&[3, 4, 5]), 4));
    assert!(!takes(&mut after(&[5]), 5));
    assert!(!takes(&mut after(&[200, 255, 10]), 200));
    assert!(takes(&mut after(&[3, 4]), 0));
}

// HL-0034: the original's list keeps bits that nobody clears, and they swallow what comes a round later.
#[test]
fn losses_in_a_row_leave_no_stale_bits() {
    let after = |id: u8, steps: u8| (u16::from(id) + u16::from(steps) - 1) % 255 + 1;
    for losses in 0..=126 {
        let mut session = receiver(Flavour::V2020);
        for id in 0..=255 {
            takes(&mut session, id);
        }
        let mut id = 255;
        for _ in 0..4 {
            id = after(id, losses + 1) as u8;
            assert!(takes(&mut session, id), "after {losses} losses, id {id}");
        }
        for _ in 0..255 {
            id = after(id, 1) as u8;
            assert!(takes(&mut session, id), "a round after {losses} losses, id {id}");
        }
    }
}

// HL-0036
#[test]
fn a_second_zero_on_one_link_is_a_duplicate_and_forgets_nothing() {
    let mut session = receiver(Flavour::V2020);
    for id in [0, 1, 2, 3] {
        assert!(takes(&mut session, id));
    }
    for id in [0, 1, 2, 3, 0] {
        assert!(!takes(&mut session, id), "{id} again");
    }
}

// HL-0035
#[test]
fn a_zero_on_a_new_link_is_a_power_cycle() {
    let mut session = receiver(Flavour::V2020);
    for id in [0, 1, 2, 3] {
        assert!(takes(&mut session, id));
    }
    session.handle_id(NOW);
    while session.poll_event().is_some() {}
    let input = session.handle_input(NOW, b"00again\n");
    assert!(input.message.is_some());
    let events: Vec<Event> = std::iter::from_fn(|| session.poll_event()).collect();
    assert_eq!(events, [Event::PeerReset]);
    for id in [1, 2, 3] {
        assert!(takes(&mut session, id), "{id} of the new life");
    }
}

// HL-0035
#[test]
fn a_late_zero_spares_what_came_on_its_own_link() {
    let mut session = receiver(Flavour::V2020);
    for id in 100..110 {
        assert!(takes(&mut session, id));
    }
    session.handle_id(NOW);
    for id in [1, 2, 3] {
        assert!(takes(&mut session, id), "{id} before the zero");
    }
    assert!(takes(&mut session, 0), "the zero was lost at first");
    for id in [1, 2, 3] {
        assert!(!takes(&mut session, id), "{id} again");
    }
    assert!(takes(&mut session, 4));
    assert!(takes(&mut session, 105), "the list of the former life is gone");
}

// HL-0042, HL-0043
#[test]
fn only_what_was_accepted_is_acknowledged() {
    let mut session = receiver(Flavour::V2020);
    said(&mut session);
    let first = hear(&mut session, 0).expect("new");
    let second = hear(&mut session, 1).expect("new");
    assert_eq!(said(&mut session), "");
    assert_eq!(hear(&mut session, 0), None);
    assert_eq!(said(&mut session), "", "a repeat of what is not accepted yet");
    assert!(session.accept(second));
    assert_eq!(said(&mut session), "01\n");
    assert!(session.accept(first));
    assert_eq!(said(&mut session), "00\n");
    assert!(!session.accept(first), "once is enough");
    assert_eq!(hear(&mut session, 1), None);
    assert_eq!(said(&mut session), "01\n", "a repeat of what is accepted");
}

// HL-0044
#[test]
fn a_declined_message_comes_again() {
    let mut session = receiver(Flavour::V2020);
    said(&mut session);
    for id in [0, 1, 2] {
        let receipt = hear(&mut session, id).expect("new");
        assert!(session.decline(receipt));
        assert!(!session.accept(receipt), "it is forgotten");
        assert_eq!(said(&mut session), "");
    }
    for id in [0, 1, 2] {
        assert!(takes(&mut session, id));
        assert_eq!(said(&mut session), format!("{id:02x}\n"));
    }
}

// HL-0042: the ack of one life would acknowledge a message of the next.
#[test]
fn a_message_of_an_earlier_link_is_acknowledged_only_when_it_is_repeated() {
    let mut session = receiver(Flavour::V2020);
    let receipt = hear(&mut session, 7).expect("new");
    session.handle_id(NOW);
    said(&mut session);
    assert!(session.accept(receipt));
    assert_eq!(said(&mut session), "");
    assert_eq!(hear(&mut session, 7), None);
    assert_eq!(said(&mut session), "07\n");
}

#[test]
fn a_receipt_of_a_former_life_accepts_nothing_of_the_new_one() {
    let mut session = receiver(Flavour::V2020);
    let old = hear(&mut session, 0).expect("new");
    session.handle_id(NOW);
    said(&mut session);
    let new = hear(&mut session, 0).expect("a power cycle");
    assert!(!session.accept(old));
    assert_eq!(said(&mut session), "");
    assert!(session.accept(new));
    assert_eq!(said(&mut session), "00\n");
}

// HL-0044, HL-0055: a round of 255 ids later the first one is still held.
#[test]
fn an_id_that_is_still_held_is_not_taken_again() {
    for (flavour, consumed) in [(Flavour::V2020, 7), (Flavour::V2019, 0)] {
        let mut session = receiver(flavour);
        let held = hear(&mut session, 1).expect("new");
        for id in 2..=255 {
            assert!(takes(&mut session, id));
        }
        said(&mut session);
        let input = session.handle_input(NOW, b"01again\n");
        assert_eq!(input.message, None);
        assert_eq!(input.consumed > 0, consumed > 0, "2019: nobody would send it again, so it stays unread");
        assert!(session.accept(held));
        assert_eq!(said(&mut session), "", "the ack would be taken for that of the message that waits");
        assert!(session.handle_input(NOW, b"01again\n").message.is_some());
    }
}

// HL-0042
#[test]
fn the_ack_of_an_id_that_was_passed_over_would_be_that_of_its_next_message() {
    let mut session = receiver(Flavour::V2020);
    let held = hear(&mut session, 1).expect("new");
    for id in 2..=255 {
        assert!(takes(&mut session, id));
    }
    assert!(takes(&mut session, 5), "1 to 4 were lost");
    said(&mut session);
    assert!(session.accept(held));
    assert_eq!(said(&mut session), "");
    assert!(takes(&mut session, 1), "the lost one comes again");
}

// HL-0033
#[test]
fn a_restored_list_knows_what_was_accepted_and_nothing_else() {
    let mut session = receiver(Flavour::V2020);
    for id in [0, 1, 2] {
        assert!(takes(&mut session, id));
    }
    hear(&mut session, 3).expect("new");
    let config = Config::new().validate().expect("the defaults are in range");
    let mut restored: Receiver = Session::restore(Server, Flavour::V2020, config, session.snapshot(), SliceOutbox::new([0; 64]));
    restored.handle_id(NOW);
    for id in [1, 2] {
        assert!(!takes(&mut restored, id), "{id} was accepted");
    }
    assert!(takes(&mut restored, 3), "it was never accepted, so it was never acknowledged");
}

proptest! {
    // HL-0033, HL-0034, HL-0035, HL-0036
    #[test]
    fn any_ids_on_any_links_are_judged_as_the_reference_does(
        steps in prop::collection::vec(prop_oneof![8 => any::<u8>().prop_map(Some), 4 => (0u8..6).prop_map(Some), 1 => Just(None)], 1..400),
    ) {
        let mut session = receiver(Flavour::V2020);
        let mut reference = Reference::default();
        for (index, step) in steps.into_iter().enumerate() {
            match step {
                Some(id) => prop_assert_eq!(takes(&mut session, id), reference.takes(id), "step {}, id {}", index, id),
                None => {
                    session.handle_id(NOW);
                    reference.new_link();
                }
            }
        }
    }

    // HL-0034, HL-0037: while a sender keeps to 100 ids, each message is taken once, whatever is lost, repeated and late.
    #[test]
    fn a_sender_within_its_bound_has_each_message_taken_once(
        steps in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>(), any::<bool>()), 1..1_500),
    ) {
        let mut session = receiver(Flavour::V2020);
        let id_at = |place: usize| if place == 0 { 0 } else { ((place - 1) % 255 + 1) as u8 };
        let mut times = Vec::new();
        let mut open: Vec<usize> = Vec::new();
        for (which, arrives, is_acked) in steps {
            let may_begin = open.first().is_none_or(|oldest| times.len() - oldest < 100);
            if may_begin {
                open.push(times.len());
                times.push(0);
            }
            // The newest goes out, and one of those in flight is repeated.
            for place in [open[open.len() - 1], *which.get(&open)] {
                if arrives {
                    times[place] += usize::from(takes(&mut session, id_at(place)));
                    prop_assert_eq!(times[place], 1, "place {}", place);
                }
            }
            if arrives && is_acked {
                let place = *which.get(&open);
                open.retain(|&other| other != place);
            }
        }
    }
}
