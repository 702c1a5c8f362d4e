//! A report for a terminal: plain text, at most [`COLUMNS`] wide, readable without colours.

use std::fmt::Write as _;

use crate::report::{Arrived, Measured, Report};
use crate::solve::Solved;
use crate::words::{self, Several};

/// No line is wider, but for a command that must stay whole to be copied.
pub const COLUMNS: usize = 100;

/// The verdict, the alternatives side by side, what follows, the best one's bill, the method and
/// what was assumed.
#[must_use]
pub fn write(report: &Report) -> String {
    let mut out = String::new();
    wrap(&mut out, "", &printable(&report.title));
    out.push('\n');
    wrap(&mut out, "  ", &printable(&report.verdict));
    out.push('\n');
    traffic(&mut out, &report.traffic);
    out.push('\n');
    alternatives(&mut out, report);
    if !report.findings.is_empty() {
        out.push_str("\nWhat else follows\n");
        for finding in &report.findings {
            wrap(&mut out, "  - ", &printable(finding));
        }
    }
    if let Some(best) = report.alternatives.iter().find(|measured| measured.is_best) {
        bill(&mut out, best);
    }
    out.push_str("\nHow this was found\n");
    let method = &report.method;
    let seeds = Several(u64::from(method.seeds), "seed");
    wrap(&mut out, "  ", &format!("{seeds} from {}, digest {}", method.seed, method.digest));
    wrap(&mut out, "  ", &format!("{}; prices: {}", method.version, printable(&method.prices)));
    _ = writeln!(out, "  {}", printable(&method.command));
    assumed(&mut out, &method.assumptions);
    out
}

fn assumed(out: &mut String, assumptions: &[String]) {
    if !assumptions.is_empty() {
        out.push_str("\nWhat was assumed\n");
    }
    for assumption in assumptions {
        wrap(out, "  - ", &printable(assumption));
    }
}

/// The cheapest settings, what binds, what else was tried, and what was assumed.
#[must_use]
pub fn solved(solved: &Solved) -> String {
    let mut out = String::new();
    match &solved.best {
        Some(best) => {
            let month = words::money(best.month);
            let what =
                format!("The cheapest that meets {}: {}, {month} a month.", solved.slo, best.name);
            wrap(&mut out, "", &printable(&what));
            let settings: Vec<_> =
                best.settings.iter().map(|(name, value)| format!("{name} {value}")).collect();
            wrap(&mut out, "  ", &printable(&settings.join(", ")));
        }
        None => wrap(&mut out, "", &format!("Nothing that was tried meets {}.", solved.slo)),
    }
    if let Some(binds) = &solved.binds {
        wrap(&mut out, "", &format!("What binds: {binds}."));
    }
    if let Some((name, why)) = &solved.cheaper {
        wrap(&mut out, "", &printable(&format!("The next cheaper, {name}, does not: {why}.")));
    }
    out.push_str("\nThe best of each way\n");
    let head = ["", "$/month", "p99", "p99.9", "cold", "errors", "meets it"];
    let mut rows = vec![head.map(str::to_owned)];
    for (measured, broken) in &solved.kinds {
        rows.push([
            format!("  {}", printable(&measured.name)),
            words::money(measured.month),
            words::duration(measured.total_of_all.p99.mean),
            words::duration(measured.total_of_all.p999.mean),
            words::share(measured.cold.mean),
            words::share(measured.refused.mean),
            if broken.is_none() { "yes" } else { "no" }.to_owned(),
        ]);
    }
    table(&mut out, &rows);
    let tried = solved.tried.len();
    let failed = "Requests that fail count as never answered (–).";
    _ = writeln!(out, "{tried} settings were tried. {failed}");
    assumed(&mut out, &solved.assumptions);
    out
}

fn traffic(out: &mut String, traffic: &Arrived) {
    wrap(
        out,
        "",
        &format!(
            "Traffic: {}. {} in {}; {} on average, {} in the busiest second. Each takes {} \
             (99 in 100: at most {}); a cold start takes {}.",
            printable(&traffic.about),
            Several(traffic.requests, "request"),
            words::duration(traffic.span.as_secs_f64()),
            words::rate(traffic.rate_mean),
            words::rate(traffic.rate_peak),
            words::duration(traffic.service_mean.as_secs_f64()),
            words::duration(traffic.service_p99.as_secs_f64()),
            words::duration(traffic.cold_start.as_secs_f64()),
        ),
    );
    if traffic.bad_lines > 0 {
        let lines = Several(traffic.bad_lines, "line");
        wrap(out, "", &format!("{lines} of the recordings could not be used."));
    }
}

fn alternatives(out: &mut String, report: &Report) {
    let head = ["", "$/month", "p50", "p99", "p99.9", "wait p99", "cold", "errors", "instances"];
    let mut rows = vec![head.map(str::to_owned)];
    for measured in &report.alternatives {
        let mark = if measured.is_best { "* " } else { "  " };
        rows.push([
            format!("{mark}{}", printable(&measured.name)),
            words::money(measured.month),
            words::duration(measured.total.p50.mean),
            words::duration(measured.total.p99.mean),
            words::duration(measured.total.p999.mean),
            words::duration(measured.wait.p99.mean),
            words::share(measured.cold.mean),
            words::share(measured.refused.mean),
            words::number(measured.instances_mean.mean),
        ]);
    }
    table(out, &rows);
    wrap(
        out,
        "",
        "* the best answer. p50, p99, p99.9: from arrival to the complete response, of those that \
         have one. wait: until somebody works on it. cold: waited at least as long as a cold \
         start. instances: on average, idle ones too.",
    );
}

fn bill(out: &mut String, best: &Measured) {
    _ = writeln!(out, "\nA month of {}", printable(&best.name));
    let mut rows = Vec::new();
    for cost in &best.costs {
        rows.push([format!("  {}", printable(&cost.what)), words::money(cost.month)]);
    }
    let per_million = words::money(best.per_million);
    rows.push([format!("  in all ({per_million} per million requests)"), words::money(best.month)]);
    table(out, &rows);
}

/// Columns as wide as they must be: the first to the left, and cut to what the others leave of the
/// line; the others to the right.
fn table<const N: usize>(out: &mut String, rows: &[[String; N]]) {
    let mut widths: [usize; N] =
        std::array::from_fn(|at| rows.iter().map(|row| width(&row[at])).max().unwrap_or(0));
    let others: usize = widths.iter().skip(1).map(|width| width + 2).sum();
    widths[0] = widths[0].min(COLUMNS.saturating_sub(others));
    for row in rows {
        for (at, cell) in row.iter().enumerate() {
            let cell = cut(cell, widths[at]);
            let pad = " ".repeat(widths[at] - width(&cell));
            _ = if at == 0 { write!(out, "{cell}{pad}") } else { write!(out, "  {pad}{cell}") };
        }
        out.push('\n');
    }
}

/// `text` in lines of at most [`COLUMNS`]; the first begins with `first`, the others align.
fn wrap(out: &mut String, first: &str, text: &str) {
    let indent = " ".repeat(width(first));
    let mut line = first.to_owned();
    let mut is_empty = true;
    for word in text.split_whitespace() {
        if !is_empty && width(&line) + 1 + width(word) > COLUMNS {
            out.push_str(&line);
            out.push('\n');
            line.clone_from(&indent);
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    out.push_str(&line);
    out.push('\n');
}

/// Without what would move the terminal's cursor or colour it: names come from files.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let kept: String = text.chars().take(columns.saturating_sub(1)).collect();
    format!("{kept}…")
}

fn width(text: &str) -> usize {
    text.chars().count()
}
