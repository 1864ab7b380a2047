//! Scenario files, read so that every mistake is told with its line and column.

use super::random::{Choice, Span, Template};
use super::{Count, Entry, FleetTable, Scenario, ScenarioError, When};
use crate::ledger::Deliveries;
use crate::outage::{Outage, Way};
use holdline_proto::{Config, ConfigError};
use serde::Deserialize;
use serde::de::IntoDeserializer;
use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The longest story, in milliseconds: a day.
const FOR_MAX: u64 = 86_400_000;
/// The parameters of outages that not every number is good for.
const PARAMETERS: &[(&str, RangeInclusive<u64>)] = &[
    ("latency_ms", 0..=60_000),
    ("jitter_ms", 0..=60_000),
    ("idle_ms", 1..=FOR_MAX),
    ("longest_ms", 1..=600_000),
    ("every_ms", 10..=600_000),
    ("size", 1..=65_535),
    ("dhcp_ms", 0..=600_000),
    ("ppm", 0..=100_000),
    ("rate", 1..=u32::MAX as u64),
    ("buffer", 0..=u32::MAX as u64),
    ("flip_per_million", 0..=MILLION as u64),
    ("drop_per_million", 0..=MILLION as u64),
];
/// Of a million bytes no more than so many can be damaged.
const MILLION: u32 = 1_000_000;
/// What an entry says besides the outage itself.
const COMMON: [&str; 4] = ["at_ms", "for_ms", "device", "when"];
/// The most outages that one `[random]` block draws.
const COUNT_MAX: u64 = 1_000;

type Read<T> = Result<T, ScenarioError>;

pub(super) fn scenario(text: &str) -> Read<Scenario> {
    let root = DeTable::parse(text).map_err(|error| syntax(text, &error))?;
    let mut root = Table::new(text, "the story", &root);
    let name = root.word("name")?.unwrap_or_default();
    let about = root.word("about")?.unwrap_or_default();
    let for_ms = root.number("for_ms", 1..=FOR_MAX)?;
    let Some(for_ms) = for_ms else {
        return Err(root.missing("`for_ms` says how long the story lasts, in milliseconds: for_ms = 60000"));
    };
    let seed = root.number("seed", 0..=i64::MAX as u64)?;
    let fleet = match root.take("fleet") {
        Some(value) => fleet(root.table("[fleet]", value)?)?,
        None => FleetTable::default(),
    };
    let mut story = Scenario { name, about, for_ms: for_ms as u32, seed, fleet, ..Scenario::default() };
    for value in root.tables("outage")? {
        let entry = entry(root.table("[[outage]]", value)?, &story)?;
        story.outages.push(entry);
    }
    for value in root.tables("random")? {
        let template = template(root.table("[[random]]", value)?, &story)?;
        story.random.push(template);
    }
    root.finish()?;
    Ok(story)
}

fn syntax(text: &str, error: &toml::de::Error) -> ScenarioError {
    let what = error.message().replace('\n', ", ");
    ScenarioError::at(text, &error.span().unwrap_or(0..0), what)
}

fn fleet(mut table: Table<'_>) -> Read<FleetTable> {
    let usual = FleetTable::default();
    let devices = table.small("devices", 1..=10_000)?.unwrap_or(usual.devices);
    let timeout_ms = table.small("timeout_ms", 0..=u32::MAX.into())?.unwrap_or(usual.timeout_ms);
    let window = table.small("window", 0..=u16::MAX.into())?.map_or(usual.window, |window| window as u16);
    if let Err(error) = Config::new().timeout_ms(timeout_ms).window(window).validate() {
        let key = if error == ConfigError::Window { "window" } else { "timeout_ms" };
        return Err(table.wrong(key, error.to_string()));
    }
    let fleet = FleetTable {
        devices,
        timeout_ms,
        window,
        message_every_ms: table.small("message_every_ms", 0..=FOR_MAX)?.unwrap_or(usual.message_every_ms),
        message_length: table.small("message_length", 24..=4_000)?.unwrap_or(usual.message_length),
        deliveries: table.deliveries("deliveries")?.unwrap_or(usual.deliveries),
        latency_ms: table.small("latency_ms", 0..=60_000)?.unwrap_or(usual.latency_ms),
        jitter_ms: table.small("jitter_ms", 0..=60_000)?.unwrap_or(usual.jitter_ms),
        check: table.flag("check")?.unwrap_or(usual.check),
    };
    table.finish()?;
    Ok(fleet)
}

fn entry(mut table: Table<'_>, story: &Scenario) -> Read<Entry> {
    let devices = u64::from(story.fleet.devices);
    let at_ms = table.small("at_ms", 0..=story.for_ms.into())?;
    let for_ms = table.small("for_ms", 0..=FOR_MAX)?.unwrap_or(0);
    let device = table.device("device", devices)?.map(|device| device as u32);
    let when = match table.take("when") {
        Some(value) => Some(when(table.table("when", value)?, devices)?),
        None => None,
    };
    if at_ms.is_none() && when.is_none() {
        return Err(table.missing("an outage begins at a time, `at_ms = 1000`, or after a count, `when = { line = 20 }`"));
    }
    let mut keys = toml::Table::new();
    for (key, value) in table.rest(&COMMON) {
        match toml::Value::deserialize(value.clone().into_deserializer()) {
            Ok(value) => keys.insert(key.to_owned(), value),
            Err(error) => return Err(table.wrong(key, format!("`{key}`: {}", error.message()))),
        };
    }
    let outage = table.outage(&keys)?;
    table.does_something(&outage)?;
    if let (true, Some(_)) = (outage.is_servers(), device) {
        return Err(table.wrong("device", format!("`{}` concerns the server and no device", outage.name())));
    }
    Ok(Entry { at_ms: at_ms.unwrap_or(0), when, for_ms, device, outage })
}

fn when(mut table: Table<'_>, devices: u64) -> Read<When> {
    let mut after = None;
    for (key, count) in [("line", Count::Line), ("byte", Count::Byte), ("delivered", Count::Delivered)] {
        let Some(number) = table.number(key, 1..=u32::MAX.into())? else { continue };
        if after.replace((count, number)).is_some() {
            return Err(table.wrong(key, "`when` counts one thing: line, byte or delivered"));
        }
    }
    let device = table.device("device", devices)?.unwrap_or(0) as u32;
    let way = match table.word("way")?.as_deref() {
        None | Some("up") => Way::Up,
        Some("down") => Way::Down,
        Some(other) => return Err(table.wrong("way", format!("`way` is \"{other}\"; give \"up\" or \"down\""))),
    };
    let Some((count, number)) = after else {
        return Err(table.missing("`when` counts something: line = 20, byte = 1000 or delivered = 10"));
    };
    table.finish()?;
    Ok(When { count, number, device, way })
}

fn template(mut table: Table<'_>, story: &Scenario) -> Read<Template> {
    let one = Span { low: 1, high: 1 };
    let count = table.span("count", 0..=COUNT_MAX)?.unwrap_or(one);
    let Some(at_ms) = table.span("at_ms", 0..=story.for_ms.into())? else {
        return Err(table.missing("a random outage begins within a range: at_ms = [1000, 50000]"));
    };
    let for_ms = table.span("for_ms", 0..=FOR_MAX)?.unwrap_or(Span { low: 0, high: 0 });
    let device = table.span("device", 0..=u64::from(story.fleet.devices) - 1)?;
    let mut parameters = BTreeMap::new();
    for (key, value) in table.rest(&["count", "at_ms", "for_ms", "device"]) {
        parameters.insert(key.to_owned(), choice(table.text, key, value)?);
    }
    let template = Template { count, at_ms, for_ms, device, parameters };
    // What can be drawn has to be an outage: every word, and both ends of every range.
    for keys in template.extremes() {
        table.outage(&keys)?;
    }
    let most = table.outage(&template.highest())?;
    table.does_something(&most)?;
    Ok(template)
}

fn choice(text: &str, key: &str, value: &Spanned<DeValue<'_>>) -> Read<Choice> {
    let wrong = |what: &str| Err(ScenarioError::at(text, &value.span(), format!("`{key}` {what}")));
    match value.get_ref() {
        DeValue::String(word) => Ok(Choice::Words(vec![word.to_string()])),
        DeValue::Boolean(flag) => Ok(Choice::Flags(vec![*flag])),
        DeValue::Integer(_) => Ok(Choice::Number(span(text, key, value, &(0..=u32::MAX.into()))?)),
        DeValue::Array(items) => match items.first().map(Spanned::get_ref) {
            Some(DeValue::Integer(_)) => Ok(Choice::Number(span(text, key, value, &(0..=u32::MAX.into()))?)),
            Some(DeValue::String(_)) => match items.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect() {
                Some(words) => Ok(Choice::Words(words)),
                None => wrong("is a list of words and something else"),
            },
            Some(DeValue::Boolean(_)) => match items.iter().map(|item| item.get_ref().as_bool()).collect() {
                Some(flags) => Ok(Choice::Flags(flags)),
                None => wrong("is a list of true or false and something else"),
            },
            _ => wrong("wants a range of two numbers, or a list of words to draw one from"),
        },
        _ => wrong("wants a number, a range of two numbers, a word, or a list of words"),
    }
}

fn number(text: &str, key: &str, value: &Spanned<DeValue<'_>>, range: &RangeInclusive<u64>) -> Read<u64> {
    let (low, high) = (range.start(), range.end());
    let wrong = |what: String| Err(ScenarioError::at(text, &value.span(), what));
    match i64::deserialize(value.clone().into_deserializer()) {
        Ok(signed) => match u64::try_from(signed) {
            Ok(number) if range.contains(&number) => Ok(number),
            _ => wrong(format!("`{key}` is {signed}; give {low} to {high}")),
        },
        Err(_) if matches!(value.get_ref(), DeValue::Integer(_)) => {
            wrong(format!("`{key}` is out of range; give {low} to {high}"))
        }
        Err(_) => wrong(format!("`{key}` is {}; give a whole number, {low} to {high}", kind(value.get_ref()))),
    }
}

fn span(text: &str, key: &str, value: &Spanned<DeValue<'_>>, range: &RangeInclusive<u64>) -> Read<Span> {
    let DeValue::Array(ends) = value.get_ref() else {
        let number = number(text, key, value, range)?;
        return Ok(Span { low: number, high: number });
    };
    let ends: Vec<_> = ends.iter().collect();
    let [low, high] = ends[..] else {
        return Err(ScenarioError::at(
            text,
            &value.span(),
            format!("`{key}` is a list of {}; give a range, [low, high]", ends.len()),
        ));
    };
    let span = Span { low: number(text, key, low, range)?, high: number(text, key, high, range)? };
    if span.low > span.high {
        let what = format!("`{key}` is a range from {} down to {}; give the lower end first", span.low, span.high);
        return Err(ScenarioError::at(text, &value.span(), what));
    }
    Ok(span)
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A table that is read key by key, and complains of what is left.
struct Table<'t> {
    text: &'t str,
    name: &'static str,
    place: Range<usize>,
    keys: &'t DeTable<'t>,
    asked: Vec<&'static str>,
}

impl<'t> Table<'t> {
    fn new(text: &'t str, name: &'static str, keys: &'t Spanned<DeTable<'t>>) -> Self {
        Self { text, name, place: 0..0, keys: keys.get_ref(), asked: Vec::new() }
    }

    fn table(&self, name: &'static str, value: &'t Spanned<DeValue<'t>>) -> Read<Self> {
        match value.get_ref() {
            DeValue::Table(keys) => Ok(Self { text: self.text, name, place: value.span(), keys, asked: Vec::new() }),
            other => Err(ScenarioError::at(self.text, &value.span(), format!("{name} is {}; give a table", kind(other)))),
        }
    }

    /// One table, or a list of them.
    fn tables(&mut self, key: &'static str) -> Read<Vec<&'t Spanned<DeValue<'t>>>> {
        Ok(match self.take(key) {
            None => Vec::new(),
            Some(value) => match value.get_ref() {
                DeValue::Array(values) => values.iter().collect(),
                _ => vec![value],
            },
        })
    }

    fn take(&mut self, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.asked.push(key);
        self.find(key).map(|(_, value)| value)
    }

    fn find(&self, key: &str) -> Option<(&'t Spanned<std::borrow::Cow<'t, str>>, &'t Spanned<DeValue<'t>>)> {
        self.keys.iter().find(|(name, _)| name.get_ref() == key)
    }

    fn word(&mut self, key: &'static str) -> Read<Option<String>> {
        match self.take(key) {
            None => Ok(None),
            Some(value) => match value.get_ref() {
                DeValue::String(word) => Ok(Some(word.to_string())),
                other => Err(self.wrong(key, format!("`{key}` is {}; give text", kind(other)))),
            },
        }
    }

    fn deliveries(&mut self, key: &'static str) -> Read<Option<Deliveries>> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let read = Deliveries::deserialize(value.clone().into_deserializer());
        read.map(Some).map_err(|error| self.wrong(key, format!("`{key}`: {}", error.message())))
    }

    fn flag(&mut self, key: &'static str) -> Read<Option<bool>> {
        match self.take(key).map(Spanned::get_ref) {
            None => Ok(None),
            Some(DeValue::Boolean(flag)) => Ok(Some(*flag)),
            Some(other) => Err(self.wrong(key, format!("`{key}` is {}; give true or false", kind(other)))),
        }
    }

    fn number(&mut self, key: &'static str, range: RangeInclusive<u64>) -> Read<Option<u64>> {
        self.take(key).map(|value| number(self.text, key, value, &range)).transpose()
    }

    /// A number in a range that ends below 2^32.
    fn small(&mut self, key: &'static str, range: RangeInclusive<u64>) -> Read<Option<u32>> {
        Ok(self.number(key, range)?.map(|number| number as u32))
    }

    fn device(&mut self, key: &'static str, devices: u64) -> Read<Option<u64>> {
        match self.number(key, 0..=u32::MAX.into())? {
            Some(device) if device >= devices => {
                let last = devices - 1;
                let give = if last == 0 { "give 0".to_owned() } else { format!("give 0 to {last}") };
                Err(self.wrong(key, format!("device {device} of {devices}: they are counted from 0; {give}")))
            }
            device => Ok(device),
        }
    }

    fn span(&mut self, key: &'static str, range: RangeInclusive<u64>) -> Read<Option<Span>> {
        self.take(key).map(|value| span(self.text, key, value, &range)).transpose()
    }

    /// The keys that are not among `common`, with their values.
    fn rest(&self, common: &[&str]) -> Vec<(&'t str, &'t Spanned<DeValue<'t>>)> {
        let all = self.keys.iter().map(|(name, value)| (name.get_ref().as_ref(), value));
        all.filter(|(name, _)| !common.contains(name)).collect()
    }

    /// The outage that these keys say; what is wrong is looked for in this table.
    fn outage(&self, keys: &toml::Table) -> Read<Outage> {
        if !keys.contains_key("do") {
            return Err(self.missing("an outage says what happens: do = \"black-hole\""));
        }
        let outage = match parsed(keys) {
            Ok(outage) => outage,
            Err(error) => {
                // The key without which something else is wrong, or nothing.
                let culprit = keys.keys().filter(|key| *key != "do").find(|key| {
                    let mut others = keys.clone();
                    others.remove(*key);
                    parsed(&others).err().as_ref() != Some(&error)
                });
                return Err(match culprit {
                    Some(key) if error.starts_with("unknown field") => self.wrong_key(key, error),
                    Some(key) => self.wrong(key, format!("`{key}`: {error}")),
                    None => self.wrong("do", format!("`do`: {error}")),
                });
            }
        };
        // Some outages would ignore a key that is none of theirs.
        let known = toml::Table::try_from(outage).unwrap_or_default();
        for (key, value) in keys {
            if !known.contains_key(key) {
                let knows: Vec<_> = known.keys().filter(|key| *key != "do").map(|key| format!("`{key}`")).collect();
                let knows = if knows.is_empty() { "nothing else".to_owned() } else { knows.join(", ") };
                return Err(self.wrong_key(key, format!("`{}` has no `{key}`; it has {knows}", outage.name())));
            }
            let range = PARAMETERS.iter().find(|(name, _)| name == key).map(|(_, range)| range);
            if let (Some(range), Some(number)) = (range, value.as_integer())
                && !u64::try_from(number).is_ok_and(|number| range.contains(&number))
            {
                return Err(self.wrong(key, format!("`{key}` is {number}; give {} to {}", range.start(), range.end())));
            }
        }
        if let Outage::Noise { flip_per_million, drop_per_million } = outage
            && flip_per_million + drop_per_million > MILLION
        {
            let both = format!("{flip_per_million} flipped and {drop_per_million} dropped");
            return Err(
                self.wrong("drop_per_million", format!("{both} of a million are more than there are; give no more together"))
            );
        }
        Ok(outage)
    }

    /// Complains of an outage that is none.
    fn does_something(&self, outage: &Outage) -> Read<()> {
        if matches!(outage, Outage::Noise { flip_per_million: 0, drop_per_million: 0 }) {
            let what = "`noise` flips and drops nothing; give `flip_per_million`, `drop_per_million`, or both";
            return Err(self.wrong("do", what));
        }
        Ok(())
    }

    /// An error at the value of a key.
    fn wrong(&self, key: &str, what: impl Into<String>) -> ScenarioError {
        let place = self.find(key).map_or(self.place.clone(), |(_, value)| value.span());
        ScenarioError::at(self.text, &place, what)
    }

    /// An error at a key.
    fn wrong_key(&self, key: &str, what: impl Into<String>) -> ScenarioError {
        let place = self.find(key).map_or(self.place.clone(), |(name, _)| name.span());
        ScenarioError::at(self.text, &place, what)
    }

    /// An error about a key that is not there.
    fn missing(&self, what: &str) -> ScenarioError {
        ScenarioError::at(self.text, &self.place, what)
    }

    /// Complains of the first key that nothing asked for.
    fn finish(&self) -> Read<()> {
        let unknown = self.keys.keys().filter(|name| !self.asked.contains(&name.get_ref().as_ref()));
        match unknown.min_by_key(|name| name.span().start) {
            None => Ok(()),
            Some(name) => {
                let what = format!("{} has no `{}`; it has {}", self.name, name.get_ref(), self.asked.join(", "));
                Err(ScenarioError::at(self.text, &name.span(), what))
            }
        }
    }
}

fn parsed(keys: &toml::Table) -> Result<Outage, String> {
    Outage::deserialize(keys.clone()).map_err(|error: toml::de::Error| error.message().to_owned())
}
