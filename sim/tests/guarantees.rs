//! SPEC.md says what runs show.

use holdline_sim::guarantees;

#[test]
fn the_table_of_the_specification_is_what_runs_show() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../SPEC.md");
    let text = std::fs::read_to_string(file).expect("SPEC.md is there");
    let table = guarantees::table();
    let new = guarantees::insert(&text, &table).expect("the marks are there");
    assert!(new == text, "put this into SPEC.md with `holdline-sim table --write SPEC.md`:\n{table}");
    // Native's column holds what 12.1 says, and without checks nothing is said of noise.
    let (table, unchecked) = table.split_once("| the same noise on lines without checks |").expect("the last rows");
    assert_eq!(unchecked.lines().filter(|row| row.ends_with(" | happens | happens | happens |")).count(), 4, "{unchecked}");
    let native: Vec<_> = table.lines().filter_map(|line| line.split(" | ").nth(2)).collect();
    assert!(native.len() > 10 && !native.contains(&"happens"), "{table}");
    // And the runs are no calm ones.
    assert!(table.contains("| happens |"), "{table}");
}
