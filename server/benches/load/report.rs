//! The table.

use super::process::Kind;

/// One line of the table: what was measured, by server.
pub(crate) struct Row {
    pub(crate) what: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) goal: &'static str,
    values: Vec<(Kind, Vec<f64>)>,
}

impl Row {
    pub(crate) fn new(what: &'static str, unit: &'static str, goal: &'static str) -> Self {
        Self { what, unit, goal, values: Vec::new() }
    }

    pub(crate) fn add(&mut self, kind: Kind, value: f64) {
        match self.values.iter_mut().find(|(other, _)| *other == kind) {
            Some((_, values)) => values.push(value),
            None => self.values.push((kind, vec![value])),
        }
    }

    /// The median of the rounds.
    pub(crate) fn value(&self, kind: Kind) -> Option<f64> {
        let (_, values) = self.values.iter().find(|(other, _)| *other == kind)?;
        Some(median(values))
    }

    pub(crate) fn print(&self, kinds: &[Kind]) {
        print!("{:<44} {:<8}", self.what, self.unit);
        for &kind in kinds {
            match self.value(kind) {
                Some(value) => print!(" {:>10}", spelled(value)),
                None => print!(" {:>10}", "-"),
            }
        }
        let ratio = self.value(Kind::Holdline).zip(self.value(Kind::Echo)).map(|(own, floor)| own / floor);
        match ratio {
            Some(ratio) => print!(" {ratio:>7.2}"),
            None => print!(" {:>7}", "-"),
        }
        println!("   {}", self.goal);
    }
}

pub(crate) fn print_head(kinds: &[Kind]) {
    print!("{:<44} {:<8}", "", "");
    for kind in kinds {
        print!(" {:>10}", kind.name());
    }
    println!(" {:>7}   goal", "ratio");
}

pub(crate) fn median(values: &[f64]) -> f64 {
    percentile(values, 50)
}

pub(crate) fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get((sorted.len().saturating_sub(1)) * percent / 100).copied().unwrap_or(f64::NAN)
}

fn spelled(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}
