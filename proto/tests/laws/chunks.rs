//! How a stream is cut into pieces never matters.

use crate::cases;
use crate::support::{App, Greets, Lone, Outbox, WELCOME, checked, config};
use holdline_proto::{Client, Event, Server, native::Session};
use proptest::prelude::*;

/// What came out of a stream: messages, events, what is left over, output, and all that the session remembers.
#[derive(Debug, PartialEq)]
struct Outcome<R> {
    got: Vec<String>,
    best_effort: Vec<String>,
    events: Vec<Event>,
    unread: Vec<u8>,
    said: Vec<u8>,
    session: Session<R, Outbox>,
}

fn outcome<R: Greets + Clone>(up: &Lone<R>, stream: &[u8], cuts: &[usize]) -> Outcome<R> {
    let mut session = up.session.clone();
    let mut app = App::default();
    let mut unread = Vec::new();
    let mut rest = stream;
    let mut cuts = cuts.iter().cycle();
    while !rest.is_empty() {
        let length = cuts.next().map_or(rest.len(), |&cut| cut.min(rest.len()));
        unread.extend_from_slice(&rest[..length]);
        rest = &rest[length..];
        if session.has_link() || app.events.is_empty() {
            crate::support::feed(&mut session, &mut app, up.now, &mut unread);
        }
    }
    // Acknowledgements are told as one where they were read as one.
    app.events.retain(|event| !matches!(event, Event::Acked(_)));
    let mut said = Vec::new();
    crate::support::drain(&mut session, up.now, &mut said);
    if !session.has_link() {
        unread.clear();
    }
    Outcome { got: app.got, best_effort: app.best_effort, events: app.events, unread, said, session }
}

/// A line as an honest peer might say it, more or less.
fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        5 => (1..9_u64, "[a-z é☃]{0,9}").prop_map(|(seq, text)| format!("M{seq} {text}")),
        2 => (0..5_u64).prop_map(|seq| format!("A{seq}")),
        1 => (1..5_u64).prop_map(|seq| format!("R{seq}")),
        1 => (0..9_u64).prop_map(|seq| format!("P{seq}")),
        2 => "D [a-z é☃]{0,9}",
        2 => Just(String::new()),
    ]
}

/// Lines, and sometimes a few bytes of them changed, left out or put in.
fn stream(check: bool) -> impl Strategy<Value = Vec<u8>> {
    let lines = prop::collection::vec(line(), 0..30).prop_map(move |lines| {
        let whole = |line: String| if check && !line.is_empty() { checked(&line) } else { line + "\n" };
        lines.into_iter().map(whole).collect::<String>().into_bytes()
    });
    let bends = prop::collection::vec((any::<prop::sample::Index>(), 0..3_u8, any::<u8>()), 0..3);
    (lines, bends, any::<bool>()).prop_map(|(mut bytes, bends, bent)| {
        for (at, how, byte) in bends.into_iter().filter(|_| bent && !bytes.is_empty()).collect::<Vec<_>>() {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ if bytes.len() > 1 => {
                    bytes.remove(at);
                }
                _ => {}
            }
        }
        bytes
    })
}

fn sessions<R: Greets>(check: bool) -> Lone<R> {
    let mut lone = Lone::up_with(config(|c| c.check(check).max_line(128)), "");
    for text in ["one", "two", "three"] {
        lone.sends(text);
    }
    lone.says();
    lone
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![Just(vec![1]), prop::collection::vec(1..40_usize, 1..8)]
}

fn whole_or_in_pieces<R: Greets + Clone + PartialEq + std::fmt::Debug>(check: bool, stream: &[u8], cuts: &[usize]) {
    let up = sessions::<R>(check);
    let mut pieces = outcome(&up, stream, cuts);
    let mut whole = outcome(&up, stream, &[]);
    // A line that grew too long in the last piece, or one that ended in it: what is said of them is the same, and nothing is left.
    if !whole.session.has_link() {
        whole.unread.clear();
        pieces.unread.clear();
    }
    assert_eq!(pieces, whole);
}

proptest! {
    #![proptest_config(cases(300))]

    // HL-0002
    #[test]
    fn at_a_client(stream in stream(false), cuts in cuts()) {
        whole_or_in_pieces::<Client>(false, &stream, &cuts);
    }

    // HL-0002
    #[test]
    fn at_a_server(stream in stream(false), cuts in cuts()) {
        whole_or_in_pieces::<Server>(false, &stream, &cuts);
    }

    // HL-0002
    #[test]
    fn with_checks(stream in stream(true), cuts in cuts()) {
        whole_or_in_pieces::<Client>(true, &stream, &cuts);
        whole_or_in_pieces::<Server>(true, &stream, &cuts);
    }

    // HL-0002
    #[test]
    fn from_the_welcome_on(stream in stream(false), cuts in cuts()) {
        let mut client = Lone::<Client>::new(config(|c| c));
        client.connect();
        let stream = [WELCOME.as_bytes(), b"\n", &stream].concat();
        assert_eq!(outcome(&client, &stream, &cuts), outcome(&client, &stream, &[]));
    }
}
