//! Looking for a line in a stream, however it is chopped.

use std::collections::VecDeque;
use std::sync::Arc;

use super::kind::{Place, Trigger, millis};
use super::stage::{Item, Mark};

/// `trigger`: passes everything at once, and a mark behind the line it waits for.
#[derive(Debug)]
pub(super) struct Watch {
    attributes: Trigger,
    lines: Lines,
    passing: VecDeque<Item>,
    matched: u64,
    fired: bool,
}

impl Watch {
    pub(super) fn new(attributes: &Trigger) -> Self {
        let lines = Lines::new(attributes.line.as_bytes(), attributes.place);
        Self { attributes: attributes.clone(), lines, passing: VecDeque::new(), matched: 0, fired: false }
    }

    pub(super) fn set(&mut self, attributes: &Trigger) {
        if self.attributes != *attributes {
            let passing = std::mem::take(&mut self.passing);
            *self = Self { passing, ..Self::new(attributes) };
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.passing.is_empty()
    }

    pub(super) fn push(&mut self, item: Item, active: bool) {
        let Item::Data(mut bytes) = item else { return self.passing.push_back(item) };
        while let Some(end) = self.lines.next_match(&bytes) {
            self.passing.push_back(Item::Data(bytes.split_to(end)));
            if active && !self.fired {
                self.count();
            }
        }
        if !bytes.is_empty() {
            self.passing.push_back(Item::Data(bytes));
        }
    }

    pub(super) fn pop(&mut self) -> Option<Item> {
        self.passing.pop_front()
    }

    fn count(&mut self) {
        self.matched += 1;
        if self.matched < self.attributes.count {
            return;
        }
        self.matched = 0;
        self.fired = !self.attributes.repeat;
        let Trigger { toxic, action, lasts, .. } = &self.attributes;
        let lasts = (*lasts > 0).then(|| millis(*lasts));
        self.passing.push_back(Item::Mark(Arc::new(Mark { toxic: toxic.clone(), action: *action, lasts })));
    }
}

/// Where the lines end that hold a pattern. It keeps no byte of the stream, whatever the length of a line.
#[derive(Debug)]
struct Lines {
    pattern: Vec<u8>,
    /// For each length of the pattern's beginning, how much of it is also its end (Knuth, Morris and Pratt).
    borders: Vec<usize>,
    place: Place,
    progress: Progress,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// So many bytes of the pattern were the last ones of the line.
    Begun(usize),
    Found,
    /// It is not at the line's beginning, where it had to be.
    Missed,
}

impl Lines {
    fn new(pattern: &[u8], place: Place) -> Self {
        let mut borders = vec![0; pattern.len()];
        for at in 1..pattern.len() {
            let mut border = borders[at - 1];
            while border > 0 && pattern[at] != pattern[border] {
                border = borders[border - 1];
            }
            borders[at] = border + usize::from(pattern[at] == pattern[border]);
        }
        Self { pattern: pattern.to_vec(), borders, place, progress: Progress::Begun(0) }
    }

    /// Reads on; stops behind the first newline that ends a line with the pattern, and says how far that is.
    fn next_match(&mut self, bytes: &[u8]) -> Option<usize> {
        for (at, &byte) in bytes.iter().enumerate() {
            if byte == b'\n' {
                let found = self.progress == Progress::Found;
                self.progress = Progress::Begun(0);
                if found {
                    return Some(at + 1);
                }
            } else if let Progress::Begun(length) = self.progress {
                self.progress = self.follow(length, byte);
            }
        }
        None
    }

    fn follow(&self, mut length: usize, byte: u8) -> Progress {
        while self.pattern.get(length) != Some(&byte) {
            if self.place == Place::StartsWith {
                return Progress::Missed;
            }
            if length == 0 {
                return Progress::Begun(0);
            }
            length = self.borders[length - 1];
        }
        if length + 1 == self.pattern.len() { Progress::Found } else { Progress::Begun(length + 1) }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::proxy::kind::Action;

    fn ends(pattern: &str, place: Place, chunks: &[&[u8]]) -> Vec<usize> {
        let mut lines = Lines::new(pattern.as_bytes(), place);
        let (mut ends, mut before) = (Vec::new(), 0);
        for chunk in chunks {
            let mut from = 0;
            while let Some(end) = lines.next_match(&chunk[from..]) {
                from += end;
                ends.push(before + from);
            }
            before += chunk.len();
        }
        ends
    }

    proptest! {
        #[test]
        fn a_line_is_found_where_a_search_of_the_whole_finds_it(
            stream in "[ab\n]{0,60}", pattern in "[ab]{1,4}", cut in 0..61_usize, at_start: bool,
        ) {
            let mut expected = Vec::new();
            let mut at = 0;
            for line in stream.split_inclusive('\n') {
                at += line.len();
                let found = if at_start { line.starts_with(&pattern) } else { line.contains(&pattern) };
                if found && line.ends_with('\n') {
                    expected.push(at);
                }
            }
            let place = if at_start { Place::StartsWith } else { Place::Contains };
            let (head, tail) = stream.as_bytes().split_at(cut.min(stream.len()));
            prop_assert_eq!(ends(&pattern, place, &[head, tail]), expected);
        }
    }

    #[test]
    fn the_mark_stands_behind_the_whole_line_and_the_count_decides_which() {
        let trigger = Trigger { line: "ping".into(), toxic: "hole".into(), count: 2, ..Trigger::default() };
        let mut watch = Watch::new(&trigger);
        watch.push(Item::Data(Bytes::from_static(b"ping\nxping 2\nping\nrest")), true);
        let passed: Vec<Item> = std::iter::from_fn(|| watch.pop()).collect();
        let mark = Mark { toxic: "hole".into(), action: Action::Start, lasts: None };
        let data = |bytes| Item::Data(Bytes::from_static(bytes));
        assert_eq!(passed, [data(b"ping\n"), data(b"xping 2\n"), Item::Mark(Arc::new(mark)), data(b"ping\n"), data(b"rest")]);
    }
}
