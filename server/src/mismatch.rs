//! Hellos whose lines carry a check where none is taken, or none where one is: to their client the server is mute.

use crate::report::{Reporter, What};
use crate::sync::{Mutex, lock};
use holdline_proto::{Greeting, Instant};
use std::sync::Arc;

/// How long nothing more is told of one kind, in milliseconds.
const PAUSE_MS: u64 = 60_000;

/// Tells the operator of them, now and then.
#[derive(Debug, Default)]
pub(crate) struct Mismatches {
    /// When it was told last: on streams without checks, and on checked ones.
    told: Mutex<[Option<Instant>; 2]>,
}

impl Mismatches {
    /// Tells that this client's hello came over a stream of the other kind than it is made for; `checked` says which one that is.
    pub(crate) fn tell(&self, reporter: &Reporter, now: Instant, client: &str, checked: bool) {
        let told = &mut lock(&self.told)[usize::from(checked)];
        // Whoever has one such client has many, and each tries again every few seconds.
        if told.is_none_or(|told| now.since(told) >= PAUSE_MS) {
            *told = Some(now);
            reporter.tell(&Arc::from(client), What::WrongCheck { checked });
        }
    }
}

/// The client that says, in this whole line of a stream, a hello for streams of the other kind.
pub(crate) fn misled(line: &[u8], checked: bool) -> Option<&str> {
    match Greeting::read(line, !checked) {
        // One that was made for a checked stream, and has lost its check on it, still names its link.
        Ok(Some((Greeting::Native(hello), _))) if (hello.terms.link == 0) == checked => Some(hello.client),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "HOLD/1 client=uart-1 boot=7 epoch=11 base=0 peer=0 seen=0 keeps=none timeout=2000 window=4 max=512\n";
    /// The example of SPEC.md 8.2.
    const CHECKED: &str =
        "HOLD/1 client=uart-1 boot=7 epoch=11 base=0 peer=0 seen=0 keeps=none timeout=2000 window=4 max=512 link=4242*6d4468ba\n";

    #[test]
    fn only_a_whole_hello_of_the_other_kind_is_misled() {
        assert_eq!(misled(CHECKED.as_bytes(), false), Some("uart-1"));
        assert_eq!(misled(PLAIN.as_bytes(), true), Some("uart-1"));
        for (line, checked) in [
            (PLAIN, false),
            (CHECKED, true),
            // Damaged on a checked stream.
            (&CHECKED.replace("6d4468ba", "6d4468bb"), true),
            (&CHECKED.replace("*6d4468ba", ""), true),
            (&CHECKED.replace("uart-1", "uart-2"), false),
            ("uart-1\n", true),
            ("A17*f0f99c58\n", false),
            ("", true),
        ] {
            assert_eq!(misled(line.as_bytes(), checked), None, "{line} where checked is {checked}");
        }
    }
}
