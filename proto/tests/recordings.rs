//! The recordings of the original programs, with a session of ours in the place of either side.
//!
//! Our session is fed what the other original said, when it said it, and our application sends what the original's sent, when it
//! sent it. Our application must be given each message once and in order, and a strict reader in the place of the other original
//! (`replay/original.rs`) must accept every line of ours, and make the same of it. Where the wire allows less, [`EXCEPTIONS`] says
//! what and why.
mod replay;

use holdline_proto::{Client, DownReason, SendError, Server};
use replay::recording::{Recording, Side};
use replay::{Plays, Story, replay};
use std::collections::BTreeSet;

/// Applications that had several messages on their way at once (`wait=False`); in 2019 all did (`pause=False`).
const UNORDERED: [&str; 5] = ["2020_16", "2020_17", "2020_24", "2020_26", "2020_27"];

/// One recording, and the side that we take, where not everything comes out once and in order.
struct Exception {
    recording: &'static str,
    side: Side,
    what: What,
    why: &'static str,
}

/// Texts are told by how they begin.
#[derive(Debug, PartialEq, Eq)]
enum What {
    /// Our application is not given this message.
    NotGiven(&'static str),
    /// Our application is given the messages in the order in which they first came through.
    GivenInOrderOfTheWire,
    /// The other application is given the messages in another order.
    ReorderedThere,
    /// The other application is given this message twice.
    TwiceThere(&'static str),
    /// The other application is not given these messages.
    NotThere(&'static [&'static str]),
    /// The session refuses a message of our application.
    Refused(SendError),
}

const TOO_LONG: SendError = SendError::TooLong { max: 4_093 };

const EXCEPTIONS: [Exception; 18] = [
    Exception {
        recording: "2019_05_stall_short",
        side: Side::Server,
        what: What::NotGiven("c-in-stall"),
        why: "the stall came just before a keepalive was due: silence for more than T, and the link is closed when it heals",
    },
    Exception {
        recording: "2019_11_duplicates",
        side: Side::Client,
        what: What::TwiceThere("C000000"),
        why: "the proxy doubled message 0, and an original takes any 0 for a power cycle",
    },
    Exception {
        recording: "2019_11_duplicates",
        side: Side::Server,
        what: What::TwiceThere("S000000"),
        why: "the proxy doubled message 0, and an original takes any 0 for a power cycle",
    },
    Exception {
        recording: "2019_13_client_reboot_halfopen",
        side: Side::Client,
        what: What::NotThere(&["C000001", "C000002"]),
        why: "our program is killed while message 0 does not count as delivered yet (T is 6 s here), and nothing goes beside that",
    },
    Exception {
        recording: "2019_13_client_reboot_halfopen",
        side: Side::Client,
        what: What::NotThere(&["G000001"]),
        why: "the recording ends before message 0 of the new life counts as delivered",
    },
    Exception {
        recording: "2019_13_client_reboot_halfopen",
        side: Side::Server,
        what: What::TwiceThere("S000000"),
        why: "the client restarted before it counted as delivered, and a restarted 2019 client knows nothing",
    },
    Exception {
        recording: "2019_21_max_line",
        side: Side::Client,
        what: What::Refused(TOO_LONG),
        why: "HL-0032: such a line can lose its LF at an original server, even if it did not here",
    },
    Exception {
        recording: "2020_04_blackhole_reconnect",
        side: Side::Client,
        what: What::GivenInOrderOfTheWire,
        why: "two writes at once, each with wait=True, overtake each other in the original server",
    },
    Exception {
        recording: "2020_09_lost_ack_mid0",
        side: Side::Client,
        what: What::TwiceThere("c-first"),
        why: "the ack of message 0 was lost; an original takes the repeat for a power cycle (hole 1)",
    },
    Exception {
        recording: "2020_09_lost_ack_mid0",
        side: Side::Server,
        what: What::TwiceThere("s-first"),
        why: "the ack of message 0 was lost; an original takes the repeat for a power cycle (hole 1)",
    },
    Exception {
        recording: "2020_11_duplicates",
        side: Side::Client,
        what: What::TwiceThere("C000000"),
        why: "the proxy doubled message 0, and an original takes any 0 for a power cycle",
    },
    Exception {
        recording: "2020_11_duplicates",
        side: Side::Server,
        what: What::TwiceThere("S000000"),
        why: "the proxy doubled message 0, and an original takes any 0 for a power cycle",
    },
    Exception {
        recording: "2020_17_concurrent_nowait_loss_reorder",
        side: Side::Client,
        what: What::GivenInOrderOfTheWire,
        why: "the original had four on their way, and repeats the one that was lost after its successors",
    },
    Exception {
        recording: "2020_17_concurrent_nowait_loss_reorder",
        side: Side::Client,
        what: What::ReorderedThere,
        why: "not in order by configuration (HL-0039): the one that was lost is repeated after its successors",
    },
    Exception {
        recording: "2020_17_concurrent_nowait_loss_reorder",
        side: Side::Server,
        what: What::GivenInOrderOfTheWire,
        why: "the original had four on their way, and repeats the one that was lost after its successors",
    },
    Exception {
        recording: "2020_17_concurrent_nowait_loss_reorder",
        side: Side::Server,
        what: What::ReorderedThere,
        why: "not in order by configuration (HL-0039): the one that was lost is repeated after its successors",
    },
    Exception {
        recording: "2020_21_max_line",
        side: Side::Client,
        what: What::Refused(TOO_LONG),
        why: "HL-0032: such a line can lose its LF at an original server, even if it did not here",
    },
    Exception {
        recording: "2020_22_line_4094",
        side: Side::Client,
        what: What::Refused(TOO_LONG),
        why: "HL-0032: such a line loses its LF at an original server, as it did here",
    },
];

/// The recording in which both applications send an empty text has a test of its own.
macro_rules! recordings {
    ($($name:ident)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn with_our_client() {
                check::<Client>(stringify!($name).trim_start_matches('r'));
            }

            #[test]
            fn with_our_server() {
                check::<Server>(stringify!($name).trim_start_matches('r'));
            }
        }
    )*};
}

recordings!(
    r2019_01_clean_session
    r2019_02_server_to_client
    r2019_03_client_to_server
    r2019_04_blackhole_reconnect
    r2019_05_stall_short
    r2019_06_stall_long
    r2019_10_delivered_then_outage_dedup
    r2019_11_duplicates
    r2019_12_client_reboot_slow
    r2019_13_client_reboot_halfopen
    r2019_14_server_restart
    r2019_15_rst_both
    r2019_16_concurrent_nowait
    r2019_19_utf8
    r2019_21_max_line
    r2019_23_segments_partial
    r2019_24_segments_coalesced
    r2019_27_id_wrap
    r2019_28_late_server
    r2020_01_clean_session
    r2020_02_server_to_client
    r2020_03_client_to_server
    r2020_04_blackhole_reconnect
    r2020_05_stall_short
    r2020_06_stall_long
    r2020_07_lost_message_retransmit
    r2020_08_lost_ack_dedup
    r2020_09_lost_ack_mid0
    r2020_10_delivered_then_outage_dedup
    r2020_11_duplicates
    r2020_12_client_reboot_slow
    r2020_13_client_reboot_halfopen
    r2020_14_server_restart
    r2020_15_rst_both
    r2020_16_concurrent_nowait
    r2020_17_concurrent_nowait_loss_reorder
    r2020_18_qos_false
    r2020_19_utf8
    r2020_20_utf8_split_segment
    r2020_21_max_line
    r2020_22_line_4094
    r2020_23_segments_partial
    r2020_24_segments_coalesced
    r2020_26_queue_overflow
    r2020_27_id_wrap
    r2020_28_late_server
);

fn check<R: Plays>(name: &str) {
    let recording = Recording::load(name);
    let in_order = !name.starts_with("2019") && !UNORDERED.iter().any(|unordered| name.starts_with(unordered));
    let story = replay::<R>(&recording, |config| config.in_order(in_order));
    let exceptions: Vec<&Exception> =
        EXCEPTIONS.iter().filter(|exception| exception.recording == name && exception.side == R::SIDE).collect();
    check_given(&recording, R::SIDE, &story, &exceptions);
    check_delivered(&story, &exceptions);
    check_outages(name, &recording, R::SIDE, &story);
}

/// HL-0002, HL-0027, HL-0033, HL-0034, HL-0035, HL-0036: whatever the wire did, our application has each message once, in order.
fn check_given(recording: &Recording, side: Side, story: &Story, exceptions: &[&Exception]) {
    let sent = recording.sent_by(side.other());
    let not_given = |text: &String| {
        exceptions.iter().any(|exception| matches!(exception.what, What::NotGiven(begin) if text.starts_with(begin)))
    };
    let mut expected: Vec<String> = sent.into_iter().filter(|text| !not_given(text)).collect();
    if let Some(exception) = exceptions.iter().find(|exception| exception.what == What::GivenInOrderOfTheWire) {
        let on_wire = recording.order_on_the_wire(side.other());
        assert_ne!(on_wire, expected, "no exception needed: {}", exception.why);
        assert_eq!(sorted(&on_wire), sorted(&expected));
        expected = on_wire;
    }
    assert_eq!(story.got, expected);
}

/// HL-0037, HL-0038, HL-0040, HL-0045, HL-0054: the other application has each of ours once, in order.
fn check_delivered(story: &Story, exceptions: &[&Exception]) {
    let mut refusals = exceptions.iter().filter_map(|exception| match &exception.what {
        What::Refused(error) => Some(*error),
        _ => None,
    });
    for (text, error) in &story.refused {
        assert_eq!(refusals.next(), Some(*error), "{text}");
    }
    assert_eq!(refusals.next(), None, "nothing was refused");
    let mut expected = story.sent.clone();
    for exception in exceptions {
        if let What::NotThere(begins) = exception.what {
            expected.retain(|text| !begins.iter().any(|begin| text.starts_with(begin)));
        }
        if let What::TwiceThere(begin) = exception.what {
            let index = expected.iter().position(|text| text.starts_with(begin)).expect("our application sent it");
            expected.insert(index, expected[index].clone());
        }
    }
    if exceptions.iter().any(|exception| exception.what == What::ReorderedThere) {
        assert_ne!(story.delivered, expected, "no exception needed");
        assert_eq!(sorted(&story.delivered), sorted(&expected));
    } else if exceptions.iter().any(|exception| matches!(exception.what, What::TwiceThere(_))) {
        // The repeat may come after its successors.
        assert_eq!(sorted(&story.delivered), sorted(&expected));
    } else {
        assert_eq!(story.delivered, expected);
    }
}

/// The originals noticed an outage later than we do, or told nobody.
const OUTAGES_APART: [(&str, &str); 1] =
    [("2019_28", "the server was stopped by a signal, on a link that had never been told to be up")];

/// HL-0104: an outage is noticed when the original noticed it, which polls every 50 or 100 ms on a loaded machine.
fn check_outages(name: &str, recording: &Recording, side: Side, story: &Story) {
    let originals = recording.downs_of(side);
    for (at, _) in story.downs().into_iter().filter(|(_, reason)| *reason == DownReason::Outage) {
        if OUTAGES_APART.iter().all(|(apart, _)| !name.starts_with(apart)) {
            assert!(originals.iter().any(|original| (at..at + 150).contains(original)), "{at}, the original at {originals:?}");
        }
    }
}

fn sorted(texts: &[String]) -> BTreeSet<(&str, usize)> {
    let mut set = BTreeSet::new();
    for text in texts {
        let copy = texts.iter().take_while(|other| !std::ptr::eq(*other, text)).filter(|other| *other == text).count();
        set.insert((text.as_str(), copy));
    }
    set
}

// HL-0007, HL-0041
#[test]
fn an_empty_text_is_refused_and_one_of_an_original_is_an_acknowledgement() {
    let recording = Recording::load("2020_25_empty_payload");
    for (story, other) in [
        (replay::<Client>(&recording, |config| config), Side::Server),
        (replay::<Server>(&recording, |config| config), Side::Client),
    ] {
        assert_eq!(recording.sent_by(other).last().map(String::as_str), Some(""), "the original took it");
        assert_eq!(story.refused, [(String::new(), SendError::Empty)]);
        // Its line cannot be told from an acknowledgement, and none of its text would be lost (hole 10).
        assert_eq!(story.got, recording.sent_by(other)[..1]);
        assert_eq!((story.delivered, story.acked), (story.sent, 1));
    }
}

/// HL-0032: the line of 4096 bytes was never delivered by the original server; our server has it.
#[test]
fn a_line_whose_lf_comes_in_the_next_segment_is_whole() {
    let recording = Recording::load("2020_22_line_4094");
    let story = replay::<Server>(&recording, |config| config);
    assert_eq!(story.got, recording.sent_by(Side::Client));
    assert_ne!(recording.got_by(Side::Server), story.got);
}
