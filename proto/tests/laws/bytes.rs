//! Whatever bytes a peer sends: no panic, no memory beyond the bounds, and in the end a named fault or valid events. The assertions
//! stand in the bodies of the fuzz targets.

use crate::cases;
use proptest::prelude::*;

#[path = "../../fuzz/bodies.rs"]
mod bodies;

/// Bytes that get further than noise does: frames and greetings, whole, cut and bent.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let number = prop_oneof![
        6 => (0..8_u64).prop_map(|number| number.to_string()),
        1 => any::<u64>().prop_map(|number| number.to_string()),
        1 => "[0-9+ -]{0,22}",
    ];
    let frame = (prop::sample::select(vec!["M", "A", "R", "P", "D", "B", "", "H"]), number, " ?[^\n]{0,12}");
    let frame = frame.prop_map(|(letter, number, text)| match letter {
        "M" => format!("M{number} {text}\n"),
        "D" => format!("D {text}\n"),
        "A" | "R" | "P" => format!("{letter}{number}\n"),
        other => format!("{other}{text}\n"),
    });
    let hello = "HOLD/1 (ok|client=dev) boot=[0-9]{1,3} epoch=[0-9]{1,3} base=[0-9] peer=[0-9] seen=[0-9] keeps=both timeout=[0-9]{3} \
        window=[0-9]{1,3} max=[0-9]{3}( sum=[0-9]{1,10})?( bsum=[0-9]{1,10})?\n";
    let piece = prop_oneof![
        30 => frame.prop_map(String::into_bytes),
        2 => hello.prop_map(String::into_bytes),
        2 => prop::collection::vec(any::<u8>(), 0..8),
        1 => prop::collection::vec(any::<u8>(), 0..400),
        1 => Just(vec![b'\n'; 20]),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

fn input() -> impl Strategy<Value = Vec<u8>> {
    (any::<[u8; 2]>(), soup()).prop_map(|(how, bytes)| [&how[..], &bytes].concat())
}

proptest! {
    #![proptest_config(cases(300))]

    // HL-0144
    #[test]
    fn a_server_survives_any_input(data in input()) {
        bodies::server_input(&data);
    }

    // HL-0144
    #[test]
    fn a_client_survives_any_input(data in input()) {
        bodies::client_input(&data);
    }

    // HL-0144
    #[test]
    fn a_greeting_survives_any_input(data in input()) {
        bodies::greeting(&data);
    }
}
