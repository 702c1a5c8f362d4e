//! What a faster answer costs: each setting that was tried as a point, and the line of those that
//! nothing beats in both without refusing more.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::chart::{self, LEFT, Picture, RIGHT, Readout, Scale, Tick, px, x_axis, y_axis};
use super::series::{letter, marker};
use crate::money::Dollars;
use crate::report::{Kind, Measured, Report, Tried};
use crate::words;

const TOP: f64 = 34.0;
const BOTTOM: f64 = 380.0;
const HEIGHT: f64 = 446.0;
/// Points that are drawn beside the best ones; more would only hide each other.
const POINTS: usize = 300;

const READ: &str = " tried. Down and to the left is better. The line joins those for which \
                    nothing tried is both cheaper and faster without refusing more; the others are \
                    faint. Letters mark the alternatives of the table. Of the first seed.";

/// Where a letter may stand, from its marker; the first that is free is taken.
const PLACES: [(f64, f64); 8] = [
    (19.0, 0.0),
    (-19.0, 0.0),
    (0.0, -21.0),
    (0.0, 22.0),
    (18.0, -19.0),
    (-18.0, -19.0),
    (18.0, 19.0),
    (-18.0, 19.0),
];

/// One letter beside its alternative's marker, and its box to keep others out.
struct Label {
    letter: String,
    x: f64,
    y: f64,
}

/// The section, or nothing where nothing was tried.
pub(super) fn section(report: &Report) -> Markup {
    if report.tried.is_empty() {
        return html! {};
    }
    let all = || report.tried.iter().map(|t| (dollars(t.month), t.total_p99));
    let low = all().map(|(_, p99)| p99).filter(|p99| *p99 > 0.0).fold(f64::INFINITY, f64::min);
    let high = all().map(|(_, p99)| p99).filter(|p99| p99.is_finite()).fold(0.0, f64::max);
    let (from, to, y_ticks) = chart::log_time(low.min(high), high);
    let x_ticks = chart::ticks(all().map(|(month, _)| month).fold(0.0, f64::max), 5);
    let x = Scale::linear(x_ticks.last().copied().unwrap_or(1.0), LEFT, RIGHT);
    let y = Scale { from, to, start: BOTTOM, end: TOP, is_log: true };
    let label = |at: &f64| Tick { at: *at, label: format!("${}", words::number(*at)) };
    let x_ticks: Vec<_> = x_ticks.iter().map(label).collect();
    let inside = html! {
        text.name x="4" y="16" { "Latency that 99 in 100 requests do not exceed, log scale" }
        (y_axis(&y, &y_ticks))
        (x_axis(&x, &x_ticks, TOP, BOTTOM))
        text.name.middle x=(px((LEFT + RIGHT) / 2.0)) y=(px(HEIGHT - 8.0)) { "Dollars a month" }
        path.front d=(front(&report.tried, &x, &y)) {}
        (points(&report.tried, &x, &y))
        (alternatives(report, &x, &y))
    };
    let picture = Picture {
        id: "tried",
        title: "Cost a month against latency",
        told: &told(&report.tried),
        height: HEIGHT,
        readout: Readout::default(),
    };
    html! {
        section aria-labelledby="cost" {
            h2 #cost { "What a faster answer costs" }
            figure {
                (kinds(report))
                (picture.around(&inside))
                figcaption { (words::Several(report.tried.len() as u64, "setting")) (READ) }
                (best(&report.tried))
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a thousandth of a pixel is not seen")]
fn dollars(money: Dollars) -> f64 {
    money.picodollars() as f64 / 1e12
}

fn point(tried: &Tried, x: &Scale, y: &Scale) -> (f64, f64) {
    (x.at(dollars(tried.month)), y.at(tried.total_p99))
}

/// The cheapest first.
fn best_for_price(tried: &[Tried]) -> Vec<&Tried> {
    let mut best: Vec<_> = tried.iter().filter(|tried| tried.is_best_for_its_price).collect();
    best.sort_by_key(|tried| tried.month);
    best
}

/// As far as money goes: between two points one has the cheaper one's latency.
fn front(tried: &[Tried], x: &Scale, y: &Scale) -> String {
    let mut path = String::new();
    for (x, y) in best_for_price(tried).into_iter().map(|tried| point(tried, x, y)) {
        _ = if path.is_empty() {
            write!(path, "M{} {}", px(x), px(y))
        } else {
            write!(path, "H{}V{}", px(x), px(y))
        };
    }
    path
}

fn points(tried: &[Tried], x: &Scale, y: &Scale) -> Markup {
    let others = tried.iter().filter(|tried| !tried.is_best_for_its_price).take(POINTS);
    let name = |tried: &Tried| {
        let (p99, month) = (words::duration(tried.total_p99), words::money(tried.month));
        format!("{}: {p99}, {month} a month", tried.name)
    };
    html! {
        g.faint {
            @for tried in others {
                (marker(tried.kind, point(tried, x, y), 8.0, Some(&name(tried))))
            }
        }
        @for tried in best_for_price(tried) {
            (marker(tried.kind, point(tried, x, y), 10.0, Some(&name(tried))))
        }
    }
}

/// Larger, with a letter where it touches no other letter.
fn alternatives(report: &Report, x: &Scale, y: &Scale) -> Markup {
    // Where it is as it was tried, not as it is in the mean over seeds: on the line or beside it.
    let mark = |measured: &Measured| {
        let tried = report.tried.iter().find(|tried| tried.name == measured.name);
        let own = || (x.at(dollars(measured.month)), y.at(measured.total.p99.mean));
        tried.map_or_else(own, |tried| point(tried, x, y))
    };
    let marks: Vec<_> = report.alternatives.iter().map(mark).collect();
    let mut labels: Vec<Label> = Vec::new();
    for (index, (at, height)) in marks.iter().copied().enumerate() {
        let free = PLACES.iter().find(|(right, down)| {
            let (x, y) = (at + right, height + down);
            let is_inside = x > LEFT + 8.0 && x < RIGHT - 4.0 && y < BOTTOM - 8.0;
            let is_apart =
                |(of_x, of_y): (f64, f64)| (of_x - x).abs() > 17.0 || (of_y - y).abs() > 18.0;
            let mut others = labels.iter().map(|label| (label.x, label.y));
            is_inside && others.all(is_apart) && marks.iter().copied().all(is_apart)
        });
        let (right, down) = free.copied().unwrap_or(PLACES[0]);
        labels.push(Label { letter: letter(index), x: at + right, y: height + down });
    }
    html! {
        @for (index, measured) in report.alternatives.iter().enumerate() {
            @let at = marks[index];
            g data-s=(index) {
                path.ring d=(format!("M{} {}h.01", px(at.0), px(at.1))) {}
                (marker(measured.kind, at, 12.0, Some(&measured.name)))
                @if let Some(label) = labels.get(index) {
                    text.letter.middle x=(px(label.x)) y=(px(label.y)) dy=".35em" { (label.letter) }
                }
            }
        }
    }
}

/// The markers of the kinds that occur.
fn kinds(report: &Report) -> Markup {
    let mut kinds: Vec<Kind> = Vec::new();
    let tried = report.tried.iter().map(|tried| tried.kind);
    for kind in report.alternatives.iter().map(|measured| measured.kind).chain(tried) {
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    html! {
        ul.legend {
            @for kind in kinds {
                li {
                    svg.swatch viewBox="0 0 14 14" width="14" height="14" aria-hidden="true" {
                        (marker(kind, (7.0, 7.0), 11.0, None))
                    }
                    (words::kind(kind))
                }
            }
        }
    }
}

fn told(tried: &[Tried]) -> String {
    let best = best_for_price(tried);
    let fastest = best.iter().min_by(|one, other| one.total_p99.total_cmp(&other.total_p99));
    let ends = best.first().zip(fastest).map(|(cheapest, fastest)| {
        let told = |tried: &Tried| {
            let (p99, month) = (words::duration(tried.total_p99), words::money(tried.month));
            format!("{} at {month} a month with {p99}", tried.name)
        };
        format!(" The cheapest is {}; the fastest of them {}.", told(cheapest), told(fastest))
    });
    let (all, best) = (tried.len(), best.len());
    format!(
        "{all} settings, of which {best} are beaten by none in both.{} A table follows.",
        ends.unwrap_or_default()
    )
}

fn best(tried: &[Tried]) -> Markup {
    html! {
        details {
            summary { "The settings on the line, as a table" }
            div.scroll tabindex="0" role="region" aria-label="Settings on the line" {
                table {
                    caption {
                        "Settings that nothing tried beats in both cost and latency without refusing \
                         more"
                    }
                    thead { tr {
                        th scope="col" { "Setting" }
                        th.n scope="col" { "$ a month" }
                        th.n scope="col" { "99 in 100 within" }
                    } }
                    tbody {
                        @for tried in best_for_price(tried) {
                            tr {
                                th scope="row" { (tried.name) }
                                td.n { (words::money(tried.month)) }
                                td.n { (words::duration(tried.total_p99)) }
                            }
                        }
                    }
                }
            }
        }
    }
}
