//! Every input that a fuzzer or a person found worth keeping, run through the same bodies as under the fuzzer.

#[path = "../fuzz/bodies.rs"]
mod bodies;

use std::path::PathBuf;

#[test]
fn server_input() {
    replay("server_input", bodies::server_input);
}

#[test]
fn client_input() {
    replay("client_input", bodies::client_input);
}

#[test]
fn greeting() {
    replay("greeting", bodies::greeting);
}

/// Inputs may be cut anywhere: each of their prefixes is an input as well.
fn replay(target: &str, body: fn(&[u8])) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> =
        folder.read_dir().expect("the corpus is there").map(|entry| entry.expect("it is readable").path()).collect();
    files.sort();
    assert!(files.len() >= 12, "{} holds next to nothing", folder.display());
    for file in files {
        let data = std::fs::read(&file).expect("it is readable");
        for length in 0..=data.len() {
            let done = std::panic::catch_unwind(|| body(&data[..length]));
            assert!(done.is_ok(), "{} fails in its first {length} bytes", file.display());
        }
    }
}
