//! Times and ranges of times, as people write them.

use serde::Deserialize;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A length of time: a number with `ms`, `s`, `min` or `h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Span(Duration);

/// A range of times, `200ms..1h`; a single one is a range of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct SpanRange {
    pub(super) from: Span,
    pub(super) to: Span,
}

/// Not a time.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no time: write a number with its unit, such as 500ms, 2s, 1.5min or 1h")]
pub(super) struct NoSpan(String);

impl Span {
    pub(super) const fn duration(self) -> Duration {
        self.0
    }

    /// In milliseconds; more than fits counts as the most that does, which no range allows.
    pub(super) fn ms(self) -> u32 {
        u32::try_from(self.0.as_millis()).unwrap_or(u32::MAX)
    }
}

impl FromStr for Span {
    type Err = NoSpan;

    fn from_str(text: &str) -> Result<Self, NoSpan> {
        let wrong = || NoSpan(text.into());
        let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(wrong)?;
        let (number, unit) = text.split_at(unit_at);
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "min" => 60.0,
            "h" => 3_600.0,
            _ => return Err(wrong()),
        };
        let number: f64 = number.trim_end().parse().map_err(|_| wrong())?;
        // Rounded to whole milliseconds, which is what the protocol counts in.
        let ms = (number * seconds * 1_000.0).round();
        Duration::try_from_secs_f64(ms / 1_000.0).map(Self).map_err(|_| wrong())
    }
}

impl TryFrom<String> for Span {
    type Error = NoSpan;

    fn try_from(text: String) -> Result<Self, NoSpan> {
        text.parse()
    }
}

impl FromStr for SpanRange {
    type Err = NoSpan;

    fn from_str(text: &str) -> Result<Self, NoSpan> {
        match text.split_once("..") {
            Some((from, to)) => Ok(Self { from: from.parse()?, to: to.parse()? }),
            None => text.parse().map(|one| Self { from: one, to: one }),
        }
    }
}

impl TryFrom<String> for SpanRange {
    type Error = NoSpan;

    fn try_from(text: String) -> Result<Self, NoSpan> {
        text.parse()
    }
}

/// A length of time for a reader: `1.2 s`, `340 ms`, `5 min 3 s`.
pub(super) struct Readable(pub(super) Duration);

impl fmt::Display for Readable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0 => write!(f, "{} ms", self.0.as_millis()),
            1..60 => write!(f, "{seconds}.{} s", self.0.subsec_millis() / 100),
            60..3_600 => write!(f, "{} min {} s", seconds / 60, seconds % 60),
            _ => write!(f, "{} h {} min", seconds / 3_600, seconds / 60 % 60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        let ms = |text: &str| text.parse::<Span>().map(Span::ms).ok();
        assert_eq!(ms("500ms"), Some(500));
        assert_eq!(ms("2s"), Some(2_000));
        assert_eq!(ms("0.2 s"), Some(200));
        assert_eq!(ms("1.5min"), Some(90_000));
        assert_eq!(ms("1h"), Some(3_600_000));
        for wrong in ["", "2", "s", "2 days", "-1s", "infs", "2s3", "1e400s"] {
            assert_eq!(ms(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_range_may_be_one_time() {
        let range = |text: &str| text.parse::<SpanRange>().map(|range| (range.from.ms(), range.to.ms())).ok();
        assert_eq!(range("1s..1min"), Some((1_000, 60_000)));
        assert_eq!(range("2s"), Some((2_000, 2_000)));
        assert_eq!(range("2s.."), None);
    }

    #[test]
    fn times_are_read_easily() {
        let read = |ms| Readable(Duration::from_millis(ms)).to_string();
        assert_eq!([read(7), read(1_260), read(61_000), read(7_500_000)], ["7 ms", "1.2 s", "1 min 1 s", "2 h 5 min"]);
    }
}
