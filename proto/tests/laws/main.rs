//! What holds for any input: properties, not examples. `PROPTEST_CASES=20000` asks for more cases.
#[path = "../support/mod.rs"]
mod support;

mod bytes;
mod chunks;
mod codec;
mod deadlines;
mod guarantee;
mod world;

use proptest::test_runner::Config;

/// So many cases, unless `PROPTEST_CASES` says another number.
fn cases(default: u32) -> Config {
    let config = Config { failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_some() { config } else { Config { cases: default, ..config } }
}
