//! Latency against the share of requests that do not exceed it. Each nine has the same room, so
//! that the one request in a thousand is as easy to see as the half.

use maud::{Markup, html};

use super::chart::{self, LEFT, Picture, RIGHT, Readout, Scale, Tick, log10, px, x_axis, y_axis};
use super::series::{legend, letter, line_class, marker};
use crate::report::{Measured, Nine, Report};
use crate::words;

const TOP: f64 = 34.0;
const BOTTOM: f64 = 380.0;
const HEIGHT: f64 = 418.0;
/// Shares with a tick, and what they are called.
const SHARES: [(f64, &str); 7] = [
    (0.0, ""),
    (0.5, "50 %"),
    (0.9, "90 %"),
    (0.99, "99 %"),
    (0.999, "99.9 %"),
    (0.999_9, "99.99 %"),
    (0.999_99, "99.999 %"),
];
const READ: &str = "How to read it: at 99 %, a line shows the latency that 99 in 100 requests do \
                    not exceed. Lower is better. Each step to the right leaves out all but a tenth \
                    of the rest. Requests that were served, of the first seed.";
/// Letters at the ends of lines are at least so far apart.
const APART: f64 = 21.0;

/// The section, or nothing where no request was served.
pub(super) fn section(report: &Report) -> Markup {
    let served = |nine: &&Nine| nine.share < 1.0 && !nine.total.is_zero();
    let all = || report.alternatives.iter().flat_map(|m| m.nines.iter().filter(served));
    let times = || all().map(|nine| nine.total.as_secs_f64());
    let (low, high) = (times().fold(f64::INFINITY, f64::min), times().fold(0.0, f64::max));
    let most = all().map(|nine| nines(nine.share)).fold(1.0, f64::max).min(6.0);
    if high == 0.0 {
        return html! {};
    }
    let (from, to, y_ticks) = chart::log_time(low, high);
    let x = Scale::linear(most, LEFT, RIGHT - 14.0);
    let y = Scale { from, to, start: BOTTOM, end: TOP, is_log: true };
    let x_ticks: Vec<_> = SHARES
        .iter()
        .map(|(share, name)| Tick { at: nines(*share), label: (*name).to_owned() })
        .filter(|tick| tick.at <= most + 0.01)
        .collect();
    let inside = html! {
        text.name x="4" y="16" { "Latency from arrival to the complete response, log scale" }
        (y_axis(&y, &y_ticks))
        (x_axis(&x, &x_ticks, TOP, BOTTOM))
        @for (index, measured) in report.alternatives.iter().enumerate() {
            (drawn(index, measured, &x, &y))
        }
        (letters(&report.alternatives, &x, &y))
    };
    let picture = Picture {
        id: "nines",
        title: "Latency against the share of requests that do not exceed it",
        told: &told(&report.alternatives),
        height: HEIGHT,
        readout: readout(&report.alternatives, &x),
    };
    html! {
        section aria-labelledby="latency" {
            h2 #latency { "How long requests take" }
            figure {
                (legend(&report.alternatives))
                (picture.around(&inside))
                figcaption { (READ) }
            }
        }
    }
}

/// How many nines a share has: 0.99 has two.
fn nines(share: f64) -> f64 {
    -log10(1.0 - share)
}

fn point(nine: &Nine, x: &Scale, y: &Scale) -> (f64, f64) {
    (x.at(nines(nine.share)), y.at(nine.total.as_secs_f64()))
}

/// The point that says what `share` of the requests do not exceed.
fn at_share(measured: &Measured, share: f64) -> Option<&Nine> {
    measured.nines.iter().find(|nine| nine.share >= share * (1.0 - 1e-9) && nine.share < 1.0)
}

fn drawn(index: usize, measured: &Measured, x: &Scale, y: &Scale) -> Markup {
    let shown = measured.nines.iter().filter(|nine| nine.share < 1.0);
    let path = chart::line(shown.map(|nine| point(nine, x, y)));
    let marks = SHARES.iter().filter_map(|(share, _)| at_share(measured, *share));
    html! {
        g data-s=(index) {
            path class=(line_class(index, measured.kind)) d=(path) {}
            @for nine in marks { (marker(measured.kind, point(nine, x, y), 9.0, None)) }
        }
    }
}

/// A letter at the end of each line, pushed down where it would touch the one above.
fn letters(alternatives: &[Measured], x: &Scale, y: &Scale) -> Markup {
    let mut ends: Vec<(usize, (f64, f64))> = alternatives
        .iter()
        .enumerate()
        .filter_map(|(index, measured)| {
            let last = measured.nines.iter().rfind(|nine| nine.share < 1.0)?;
            Some((index, point(last, x, y)))
        })
        .collect();
    ends.sort_by(|one, other| one.1.1.total_cmp(&other.1.1));
    let mut above = f64::NEG_INFINITY;
    for (_, (_, at)) in &mut ends {
        *at = at.max(above + APART);
        above = *at;
    }
    html! {
        @for (index, (x, y)) in ends {
            text.letter data-s=(index) x=(px(x + 11.0)) y=(px(y)) dy=".35em" { (letter(index)) }
        }
    }
}

fn told(alternatives: &[Measured]) -> String {
    let each = alternatives.iter().map(|measured| {
        format!(
            "{}: half within {}, 99 in 100 within {}, 999 in 1,000 within {}.",
            measured.name,
            words::duration(measured.total.p50.mean),
            words::duration(measured.total.p99.mean),
            words::duration(measured.total.p999.mean),
        )
    });
    each.collect::<Vec<_>>().join(" ")
}

fn readout(alternatives: &[Measured], x: &Scale) -> Readout {
    let names = (0..alternatives.len()).map(letter);
    let rows = alternatives.iter().map(|measured| &measured.nines).max_by_key(|nines| nines.len());
    let shares = rows.into_iter().flatten().map(|nine| nine.share).filter(|share| *share < 1.0);
    Readout {
        names: std::iter::once("share of requests".to_owned()).chain(names).collect(),
        rows: shares
            .map(|share| {
                let of = |measured| at_share(measured, share).map(|n| n.total.as_secs_f64());
                let cells =
                    alternatives.iter().map(|m| of(m).map_or_else(|| "–".into(), words::duration));
                let cells = std::iter::once(words::share(share)).chain(cells);
                (x.at(nines(share)), cells.collect())
            })
            .collect(),
        top: TOP,
        bottom: BOTTOM,
    }
}
