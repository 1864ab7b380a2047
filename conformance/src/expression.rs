//! What stands between braces in a case, and what a time is: numbers, texts, names, sums, a few functions.

use crate::crc::{crc32, stream_sum};
use std::collections::BTreeMap;
use std::fmt;

/// A number or a run of bytes.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// Wide enough for every number of the wire and their sums.
    Number(i128),
    /// A text, or bytes that are none.
    Bytes(Vec<u8>),
}

/// Names and what they stand for.
pub type Names = BTreeMap<String, Value>;

impl Value {
    /// A text.
    pub fn text(text: impl AsRef<[u8]>) -> Self {
        Self::Bytes(text.as_ref().to_vec())
    }

    /// As it stands on the wire: a number in decimal.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Number(number) => number.to_string().into_bytes(),
            Self::Bytes(bytes) => bytes.clone(),
        }
    }

    fn number(&self) -> Result<i128, String> {
        match self {
            Self::Number(number) => Ok(*number),
            Self::Bytes(bytes) => {
                let number = std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok());
                number.ok_or_else(|| format!("{self} is no number"))
            }
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Bytes(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
        }
    }
}

/// The value of an expression: `seen + 1`, `repeat("a", max - 22)`, `0.5T`, `max(1T, 5s)`.
///
/// A number may have a unit: `T` (the timeout in force, the name `T`), `s`, `ms`; the value is in milliseconds.
///
/// # Errors
/// One sentence for people: what is wrong, and where.
pub fn evaluate(expression: &str, names: &Names) -> Result<Value, String> {
    let mut parser = Parser { text: expression, at: 0, names };
    let value = parser.sum()?;
    parser.blank();
    if parser.at < expression.len() {
        return Err(format!("`{}` is not understood in `{expression}`", &expression[parser.at..]));
    }
    Ok(value)
}

/// A time in milliseconds.
///
/// # Errors
/// As [`evaluate`], and a value that is no time.
pub fn span(expression: &str, names: &Names) -> Result<u64, String> {
    let ms = evaluate(expression, names)?.number()?;
    u64::try_from(ms).map_err(|_| format!("`{expression}` is no time"))
}

/// Whether a comparison holds: `epoch != before`, `n <= 3`.
///
/// # Errors
/// As [`evaluate`], and an expression that compares nothing.
pub fn holds(comparison: &str, names: &Names) -> Result<bool, String> {
    let operators = ["==", "!=", "<=", ">=", "<", ">"];
    let found = operators.iter().find_map(|operator| comparison.split_once(operator).map(|sides| (*operator, sides)));
    let Some((operator, (left, right))) = found else { return Err(format!("`{comparison}` compares nothing")) };
    let (left, right) = (evaluate(left, names)?, evaluate(right, names)?);
    Ok(match operator {
        "==" => left.bytes() == right.bytes(),
        "!=" => left.bytes() != right.bytes(),
        "<=" => left.number()? <= right.number()?,
        ">=" => left.number()? >= right.number()?,
        "<" => left.number()? < right.number()?,
        _ => left.number()? > right.number()?,
    })
}

struct Parser<'e> {
    text: &'e str,
    at: usize,
    names: &'e Names,
}

impl<'e> Parser<'e> {
    fn rest(&self) -> &'e str {
        &self.text[self.at..]
    }

    fn blank(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    /// Takes a character if it comes next.
    fn takes(&mut self, wanted: char) -> bool {
        self.blank();
        let found = self.rest().starts_with(wanted);
        self.at += if found { wanted.len_utf8() } else { 0 };
        found
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'e str {
        let rest = self.rest();
        let taken = &rest[..rest.find(|c| !wanted(c)).unwrap_or(rest.len())];
        self.at += taken.len();
        taken
    }

    fn sum(&mut self) -> Result<Value, String> {
        let mut value = self.product()?;
        loop {
            let sign = if self.takes('+') {
                1
            } else if self.takes('-') {
                -1
            } else {
                return Ok(value);
            };
            let right = self.product()?.number()?;
            value = self.number(value.number()?.checked_add(sign * right))?;
        }
    }

    fn product(&mut self) -> Result<Value, String> {
        let mut value = self.factor()?;
        loop {
            if self.takes('*') {
                let right = self.factor()?.number()?;
                value = self.number(value.number()?.checked_mul(right))?;
            } else if self.takes('/') {
                let right = self.factor()?.number()?;
                value = self.number(value.number()?.checked_div(right))?;
            } else {
                return Ok(value);
            }
        }
    }

    fn number(&self, number: Option<i128>) -> Result<Value, String> {
        number.map(Value::Number).ok_or_else(|| format!("`{}` is out of range", self.text))
    }

    fn factor(&mut self) -> Result<Value, String> {
        if self.takes('(') {
            let value = self.sum()?;
            return if self.takes(')') { Ok(value) } else { Err(format!("a ) is missing in `{}`", self.text)) };
        }
        for quote in ['"', '\''] {
            if self.takes(quote) {
                let text = self.take_while(|c| c != quote);
                return if self.takes(quote) {
                    Ok(Value::text(text))
                } else {
                    Err(format!("a text has no end in `{}`", self.text))
                };
            }
        }
        match self.rest().chars().next() {
            Some('0'..='9') => self.quantity(),
            Some(c) if c.is_ascii_alphabetic() || c == '_' => self.name(),
            _ => Err(format!("something is missing in `{}` at column {}", self.text, self.at + 1)),
        }
    }

    /// Digits, perhaps a fraction, perhaps a unit.
    fn quantity(&mut self) -> Result<Value, String> {
        let whole = self.take_while(|c| c.is_ascii_digit());
        let fraction = if self.rest().starts_with('.') {
            self.at += 1;
            self.take_while(|c| c.is_ascii_digit())
        } else {
            ""
        };
        let unit = match self.take_while(|c| c.is_ascii_alphabetic()) {
            "" if fraction.is_empty() => 1,
            "ms" => 1,
            "s" => 1_000,
            "T" => self.named("T")?.number()?,
            other => return Err(format!("`{whole}{other}` in `{}` has no unit that is known: T, s, ms", self.text)),
        };
        let digits: Option<i128> = format!("{whole}{fraction}").parse().ok();
        let scale = u32::try_from(fraction.len()).ok().and_then(|places| 10_i128.checked_pow(places));
        self.number(digits.and_then(|digits| digits.checked_mul(unit)?.checked_div(scale?)))
    }

    fn named(&self, name: &str) -> Result<Value, String> {
        self.names.get(name).cloned().ok_or_else(|| format!("nothing is named `{name}` in `{}`", self.text))
    }

    fn name(&mut self) -> Result<Value, String> {
        let name = self.take_while(|c| c.is_ascii_alphanumeric() || c == '_');
        if !self.takes('(') {
            return self.named(name);
        }
        let mut arguments = Vec::new();
        while !self.takes(')') {
            arguments.push(self.sum()?);
            if !self.takes(',') && !self.rest().starts_with(')') {
                return Err(format!("a ) is missing in `{}`", self.text));
            }
        }
        call(name, &arguments).map_err(|why| format!("{why} in `{}`", self.text))
    }
}

/// More is not needed to break what has a limit of a megabyte.
const LONGEST: i128 = 4 << 20;

fn call(name: &str, arguments: &[Value]) -> Result<Value, String> {
    let numbers = || arguments.iter().map(Value::number).collect::<Result<Vec<_>, _>>();
    match (name, arguments) {
        ("min", [_, ..]) => Ok(Value::Number(numbers()?.into_iter().min().unwrap_or_default())),
        ("max", [_, ..]) => Ok(Value::Number(numbers()?.into_iter().max().unwrap_or_default())),
        ("len", [text]) => Ok(Value::Number(text.bytes().len() as i128)),
        ("sum", texts) => {
            let texts: Vec<Vec<u8>> = texts.iter().map(Value::bytes).collect();
            Ok(Value::Number(stream_sum(&texts).into()))
        }
        ("crc", [line]) => Ok(Value::text(format!("{:08x}", crc32(&line.bytes())))),
        ("repeat", [text, times]) => {
            let (text, times) = (text.bytes(), times.number()?);
            if times < 0 || times.saturating_mul(text.len() as i128) > LONGEST {
                return Err(format!("{times} times is out of range"));
            }
            Ok(Value::Bytes(text.repeat(times as usize)))
        }
        ("hex", [digits]) => {
            let digits = digits.bytes();
            let byte = |pair: &[u8]| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
            let bytes: Option<Vec<u8>> = digits.chunks(2).map(|pair| byte(pair).filter(|_| pair.len() == 2)).collect();
            bytes.map(Value::Bytes).ok_or_else(|| "hex() takes pairs of hex digits".to_owned())
        }
        ("id2", [number]) => match u8::try_from(number.number()?) {
            Ok(id) => Ok(Value::text(format!("{id:02x}"))),
            Err(_) => Err("id2() takes 0 to 255".to_owned()),
        },
        ("field", [line, key]) => {
            let (line, key) = (line.bytes(), key.bytes());
            let value = line.split(|&byte| byte == b' ').find_map(|field| field.strip_prefix(&key[..])?.strip_prefix(b"="));
            value.map(Value::text).ok_or_else(|| format!("there is no {} to be found", Value::Bytes(key)))
        }
        _ => Err(format!("there is no function {name}() of {} arguments", arguments.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::{Names, Value, evaluate, holds, span};

    fn names() -> Names {
        Names::from([
            ("T".to_owned(), Value::Number(2_000)),
            ("seen".to_owned(), Value::Number(4)),
            ("word".to_owned(), Value::text("17")),
        ])
    }

    fn value(expression: &str) -> String {
        match evaluate(expression, &names()) {
            Ok(value) => value.to_string(),
            Err(why) => panic!("{why}"),
        }
    }

    #[test]
    fn numbers_are_added_and_texts_are_made() {
        for (expression, expected) in [
            ("seen + 1", "5"),
            ("2 * (seen - 1) / 3", "2"),
            ("word + 1", "18"),
            ("max(1T, 5s) + 1T", "7000"),
            ("0.25T", "500"),
            ("1.5s", "1500"),
            ("repeat('ab', 3)", "\"ababab\""),
            ("sum('open', 'close')", "906551230"),
            ("crc('A17')", "\"f0f99c58\""),
            ("hex('ff0a')", "\"\\xff\\n\""),
            ("id2(10)", "\"0a\""),
            ("len(word)", "2"),
            ("field('a=1 bb=2', 'bb')", "\"2\""),
        ] {
            assert_eq!(value(expression), expected, "{expression}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (expression, why) in [
            ("unknown", "nothing is named `unknown`"),
            ("1 +", "something is missing"),
            ("1 2", "`2` is not understood"),
            ("5h", "has no unit that is known"),
            ("0.5", "has no unit"),
            ("repeat('a', 0 - 1)", "out of range"),
            ("id2(256)", "takes 0 to 255"),
            ("'a' + 1", "is no number"),
            ("(1", "a ) is missing"),
            ("min(1", "a ) is missing"),
            ("'a", "has no end"),
            ("9 / 0", "out of range"),
            ("frob(1)", "no function frob()"),
        ] {
            let error = evaluate(expression, &names()).expect_err(expression);
            assert!(error.contains(why), "{expression}: {error}");
        }
        assert!(span("0 - 1", &names()).is_err());
    }

    #[test]
    fn a_comparison_holds_or_not() {
        for (comparison, expected) in [("seen == 4", true), ("seen != 4", false), ("seen<=3", false), ("word > 4", true)] {
            assert_eq!(holds(comparison, &names()), Ok(expected), "{comparison}");
        }
        assert!(holds("seen", &names()).is_err());
    }
}
