//! A report for spreadsheets: three files, each with a line of names first.
//!
//! Times are seconds, money is dollars, shares are from 0 to 1; the names say which. A cell stays
//! empty where there is no number.

use crate::json::plain;
use crate::report::{Estimate, Measured, Report, Timeline};
use crate::words;

/// A column of three, and how to find its number.
type Column = (&'static str, fn(&Measured) -> Estimate);

/// The numbers of an alternative that have an interval.
const ESTIMATES: [Column; 16] = [
    ("wait_p50_s", |measured| measured.wait.p50),
    ("wait_p90_s", |measured| measured.wait.p90),
    ("wait_p99_s", |measured| measured.wait.p99),
    ("wait_p999_s", |measured| measured.wait.p999),
    ("wait_max_s", |measured| measured.wait.max),
    ("total_p50_s", |measured| measured.total.p50),
    ("total_p90_s", |measured| measured.total.p90),
    ("total_p99_s", |measured| measured.total.p99),
    ("total_p999_s", |measured| measured.total.p999),
    ("total_max_s", |measured| measured.total.max),
    ("cold_share", |measured| measured.cold),
    ("refused_share", |measured| measured.refused),
    ("throttled_share", |measured| measured.throttled),
    ("instances_mean", |measured| measured.instances_mean),
    ("instances_peak", |measured| measured.instances_peak),
    ("utilisation_share", |measured| measured.utilisation),
];

/// `alternatives.csv`: a line for each alternative, with the interval of each number that has one.
#[must_use]
pub fn alternatives(report: &Report) -> String {
    let mut head: Vec<String> = Vec::new();
    head.extend(["name", "kind", "is_best", "month_dollars"].map(str::to_owned));
    head.extend(["per_million_dollars", "gb_seconds_month", "invokes_month"].map(str::to_owned));
    for (name, _) in ESTIMATES {
        head.extend([name.to_owned(), format!("{name}_low"), format!("{name}_high")]);
    }
    let mut out = line(&head);
    for measured in &report.alternatives {
        let mut cells = vec![
            measured.name.clone(),
            words::kind_id(measured.kind).to_owned(),
            measured.is_best.to_string(),
            plain(measured.month),
            plain(measured.per_million),
            number(measured.gb_seconds_month),
            number(measured.invokes_month),
        ];
        for (_, estimate) in ESTIMATES {
            let Estimate { mean, low, high } = estimate(measured);
            cells.extend([mean, low, high].map(number));
        }
        out.push_str(&line(&cells));
    }
    out
}

/// `timeline.csv`, in long form: a line for each alternative, span and measure.
#[must_use]
pub fn timeline(report: &Report) -> String {
    let mut out = line(&["alternative", "start_s", "measure", "value"].map(str::to_owned));
    for measured in &report.alternatives {
        for (measure, values) in measures(&measured.timeline) {
            let mut start = std::time::Duration::ZERO;
            for value in values {
                let start_s = number(start.as_secs_f64());
                out.push_str(&line(&[measured.name.clone(), start_s, measure.to_owned(), value]));
                start = start.saturating_add(measured.timeline.bucket);
            }
        }
    }
    out
}

/// `tried.csv`: a line for each setting that was tried.
#[must_use]
pub fn tried(report: &Report) -> String {
    let names = ["name", "kind", "total_p99_s", "month_dollars", "is_best_for_its_price"];
    let mut out = line(&names.map(str::to_owned));
    for tried in &report.tried {
        out.push_str(&line(&[
            tried.name.clone(),
            words::kind_id(tried.kind).to_owned(),
            number(tried.total_p99),
            plain(tried.month),
            tried.is_best_for_its_price.to_string(),
        ]));
    }
    out
}

fn measures(timeline: &Timeline) -> [(&'static str, Vec<String>); 7] {
    let whole = |values: &[u32]| values.iter().map(u32::to_string).collect::<Vec<_>>();
    let parts = |values: &[f32]| values.iter().map(|value| number(f64::from(*value))).collect();
    [
        ("arrivals", whole(&timeline.arrivals)),
        ("queued_max", whole(&timeline.queued)),
        ("starting_mean", parts(&timeline.starting)),
        ("ready_mean", parts(&timeline.ready)),
        ("draining_mean", parts(&timeline.draining)),
        ("desired", whole(&timeline.desired)),
        ("danger_max", parts(&timeline.danger)),
    ]
}

/// The shortest text that reads back as the same number, without an exponent.
fn number(number: f64) -> String {
    if number.is_finite() { number.to_string() } else { String::new() }
}

fn line(cells: &[String]) -> String {
    let mut line = cells.iter().map(|cell| quoted(cell)).collect::<Vec<_>>().join(",");
    line.push('\n');
    line
}

/// As RFC 4180 has it: in quotes where it must be, and quotes doubled.
fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}
