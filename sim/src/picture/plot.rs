//! Profiles side by side, as an SVG file.

use crate::swarm::Total;
use std::fmt::Write;

/// What one profile did in all runs of a comparison.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// All runs together.
    pub total: Total,
}

const STYLE: &str = "<style>
text{font:13px system-ui,'Segoe UI',Roboto,Arial,sans-serif;fill:#1b1f24}
.h{font-size:17px;font-weight:600}.t{font-weight:600}.s{fill:#667080;font-size:12px}.r{text-anchor:end}.m{text-anchor:middle}
.p{opacity:.4}.paper{fill:#fff}.rule{stroke:#d9dde3}.c0{fill:#12876f}.c1{fill:#1f5fbf}.c2{fill:#e07b00}.w{stroke:#1b1f24}
@media (prefers-color-scheme:dark){text{fill:#e4e8ee}.s{fill:#97a1b0}.paper{fill:#14171c}.rule{stroke:#323844}.c0{fill:#41cdb0}.c1{fill:#7fb0ff}.c2{fill:#ffae4a}.w{stroke:#e4e8ee}}
</style>";

const WIDTH: u32 = 960;
/// Where bars begin, and how long the longest is.
const LEFT: f64 = 140.0;
const BAR: f64 = 250.0;

/// A page of panels: lost, repeated, reordered, bytes for each message, and how long a device was without a link.
pub fn svg(story: &str, seeds: u64, columns: &[Column]) -> String {
    let rows = columns.len() as f64;
    let panel = 52.0 + 26.0 * rows;
    let times_height = 70.0 + 54.0 * rows;
    let height = 78.0 + 2.0 * panel + 12.0 + 2.0 * times_height + 12.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n\
         <title>{0}, {seeds} seeds</title>\n{STYLE}\n<rect class=\"paper\" width=\"{WIDTH}\" height=\"{height}\"/>\n\
         <text class=\"h\" x=\"24\" y=\"34\">{0}</text><text class=\"s\" x=\"24\" y=\"54\">{seeds} seeds in each profile; messages of both directions. Pale: what somebody's loss of memory cost.</text>\n",
        escaped(story)
    );
    let thousandth = |count: u64, of: u64| count as f64 * 1_000.0 / of.max(1) as f64;
    let counted = |total: &Total, count: u64, excused: u64| {
        let sent = total.outcome.account.sent;
        [thousandth(count, sent), thousandth(excused, sent)]
    };
    let figures: [Figure<'_>; 4] = [
        ("lost, of 1000 sent", &|total| counted(total, total.outcome.account.lost, total.outcome.account.lost_excused), true),
        (
            "repeated, of 1000 sent",
            &|total| counted(total, total.outcome.account.repeated, total.outcome.account.repeated_excused),
            true,
        ),
        ("reordered, of 1000 sent", &|total| counted(total, total.outcome.account.reordered, 0), true),
        ("bytes on the wire for each message", &|total| [total.outcome.bytes_per_message(), 0.0], false),
    ];
    for (index, figure) in figures.into_iter().enumerate() {
        let (left, top) = ((index % 2) as f64 * 480.0, 78.0 + (index / 2) as f64 * panel);
        bars(&mut out, left, top, columns, figure);
    }
    let top = 78.0 + 2.0 * panel + 12.0;
    let noticed = |total: &Total| [&total.outcome.device_noticed_ms[..], &total.outcome.server_noticed_ms].concat();
    times(&mut out, top, "time to notice: from the loss of a link to its end at the device, and at the server", columns, noticed);
    let recovered = |total: &Total| total.outcome.recovered_ms.clone();
    times(&mut out, top + times_height, "time to recover: from the end of an outage to the next link", columns, recovered);
    out.push_str("</svg>\n");
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

// Writing to a string cannot fail: so the results are not looked at.

/// Its title; what is drawn, and how much of that is pale; and whether zero is `none`.
type Figure<'f> = (&'f str, &'f dyn Fn(&Total) -> [f64; 2], bool);

fn bars(out: &mut String, left: f64, top: f64, columns: &[Column], (title, figure, good): Figure<'_>) {
    let most = columns.iter().map(|column| figure(&column.total)[0]).fold(0.0, f64::max);
    let _ = writeln!(out, "<text class=\"t\" x=\"{}\" y=\"{}\">{title}</text>", left + 24.0, top + 14.0);
    for (row, column) in columns.iter().enumerate() {
        let [value, pale] = figure(&column.total);
        let y = top + 26.0 + 26.0 * row as f64;
        let [length, pale] = [value, pale].map(|value| if most > 0.0 { value / most * BAR } else { 0.0 });
        // What nobody's memory excuses is never too thin to be seen.
        let solid = if length > pale || value == 0.0 { (length - pale).max(1.5) } else { 0.0 };
        let said = if value == 0.0 && good { "none".to_owned() } else { format!("{value:.*}", usize::from(value < 100.0)) };
        let said = if value > 0.0 && said == "0.0" { "< 0.1".to_owned() } else { said };
        let _ = writeln!(
            out,
            "<text class=\"r\" x=\"{:.1}\" y=\"{:.1}\">{}</text><rect class=\"c{} p\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"16\"/>\
             <rect class=\"c{}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{solid:.1}\" height=\"16\"/>\
             <text class=\"s\" x=\"{:.1}\" y=\"{:.1}\">{said}</text>",
            left + LEFT - 10.0,
            y + 13.0,
            escaped(&column.name),
            row % 3,
            left + LEFT,
            y,
            pale,
            row % 3,
            left + LEFT + pale,
            y,
            left + LEFT + pale + solid + 8.0,
            y + 13.0,
        );
    }
}

/// The shortest and the longest pause of the axis, in milliseconds: four powers of ten.
const AXIS: (f64, f64) = (10.0, 100_000.0);
const BINS: usize = 96;

/// How long something took: a distribution for each profile on one logarithmic axis, with median and longest.
fn times(out: &mut String, top: f64, title: &str, columns: &[Column], list: impl Fn(&Total) -> Vec<u64>) {
    let (from, wide) = (LEFT, f64::from(WIDTH) - LEFT - 190.0);
    let place = |ms: f64| ((ms.clamp(AXIS.0, AXIS.1) / AXIS.0).log10() / (AXIS.1 / AXIS.0).log10()).clamp(0.0, 1.0);
    let bottom = top + 30.0 + 54.0 * columns.len() as f64;
    let _ = writeln!(
        out,
        "<text class=\"t\" x=\"24\" y=\"{0:.1}\">{title}</text><text class=\"s r\" x=\"{1}\" y=\"{0:.1}\">height: how often, as a square root</text>",
        top + 14.0,
        WIDTH - 24
    );
    for (ms, said) in [(10.0, "≤ 10 ms"), (100.0, "100 ms"), (1e3, "1 s"), (1e4, "10 s"), (1e5, "100 s")] {
        let x = from + place(ms) * wide;
        let _ = writeln!(
            out,
            "<line class=\"rule\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{bottom:.1}\"/><text class=\"s m\" x=\"{x:.1}\" y=\"{:.1}\">{said}</text>",
            top + 26.0,
            bottom + 16.0
        );
    }
    for (row, column) in columns.iter().enumerate() {
        let base = top + 30.0 + 54.0 * (row + 1) as f64 - 8.0;
        let mut bins = [0u32; BINS];
        let mut sorted = list(&column.total);
        sorted.sort_unstable();
        for &pause in &sorted {
            bins[((place(pause as f64) * BINS as f64) as usize).min(BINS - 1)] += 1;
        }
        let most = f64::from(bins.iter().copied().max().unwrap_or(0).max(1));
        let _ = writeln!(out, "<text class=\"r\" x=\"{:.1}\" y=\"{base:.1}\">{}</text>", LEFT - 10.0, escaped(&column.name));
        let step = wide / BINS as f64;
        for (bin, &count) in bins.iter().enumerate().filter(|(_, count)| **count > 0) {
            let tall = 2.0 + 38.0 * (f64::from(count) / most).sqrt();
            let x = from + bin as f64 * step;
            let _ = writeln!(
                out,
                "<rect class=\"c{}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{tall:.1}\"/>",
                row % 3,
                base - tall,
                step - 0.8
            );
        }
        let said = match (sorted.get(sorted.len() / 2), sorted.last()) {
            (Some(&half), Some(&most)) => {
                let x = from + place(half as f64) * wide;
                let _ = writeln!(
                    out,
                    "<line class=\"w\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{base:.1}\" stroke-width=\"2\"/>",
                    base - 44.0
                );
                [format!("median {}", seconds(half)), format!("longest {}", seconds(most))]
            }
            _ => ["none".to_owned(), String::new()],
        };
        for (line, said) in said.iter().enumerate() {
            let y = base - 20.0 + 16.0 * line as f64;
            let _ = writeln!(out, "<text class=\"s\" x=\"{:.1}\" y=\"{y:.1}\">{said}</text>", from + wide + 16.0);
        }
    }
}

/// Median and longest of some times in milliseconds, as `1.8 s / 2.2 s`; a dash if there are none.
pub fn spread(mut times_ms: Vec<u64>) -> String {
    times_ms.sort_unstable();
    match (times_ms.get(times_ms.len() / 2), times_ms.last()) {
        (Some(&half), Some(&longest)) => format!("{} / {}", seconds(half), seconds(longest)),
        _ => "-".to_owned(),
    }
}

fn seconds(ms: u64) -> String {
    if ms < 1_000 { format!("{ms} ms") } else { format!("{:.1} s", ms as f64 / 1_000.0) }
}
