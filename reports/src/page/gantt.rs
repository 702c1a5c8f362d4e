//! Each instance's life in a burst: a bar from its start to its end, its cold start hatched.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::chart::{self, LEFT, Picture, RIGHT, Readout, Scale, px, x_axis};
use super::series::{best, letter, swatch};
use crate::report::{Bar, Measured, Report};
use crate::words::{self, Several};

const TOP: f64 = 26.0;
/// Most bars that are drawn of one alternative; the first ones tell the story.
const BARS: usize = 80;

/// One alternative open, the others to be opened; nothing where the traffic is too long for bars.
pub(super) fn section(report: &Report) -> Markup {
    let shown = || report.alternatives.iter().enumerate().filter(|(_, m)| !m.gantt.is_empty());
    if shown().next().is_none() {
        return html! {};
    }
    let open = shown().find(|(_, measured)| measured.is_best).or_else(|| shown().next());
    let open = open.map(|(index, _)| index);
    // The same for all, so that lengths compare.
    let end = shown().flat_map(|(_, m)| m.gantt.iter().take(BARS)).map(|bar| bar.end).max();
    let end = end.unwrap_or_default().as_secs_f64();
    html! {
        section aria-labelledby="lives" {
            h2 #lives { "Each instance's life" }
            p.lead {
                "A bar is an instance, from the moment it was asked for to the moment it was gone. \
                 Hatched: its cold start, in which it serves nobody but is paid for."
            }
            @for (index, measured) in shown() {
                details.one name="lives" open[open == Some(index)] {
                    summary {
                        (swatch(index, measured.kind)) b { (letter(index)) } " " (measured.name)
                        @if measured.is_best { " " (best()) }
                    }
                    (figure(index, measured, end))
                }
            }
        }
    }
}

fn figure(index: usize, measured: &Measured, end: f64) -> Markup {
    let bars = measured.gantt.iter().take(BARS);
    let count = u32::try_from(bars.len()).unwrap_or(u32::MAX);
    let row = (560.0 / f64::from(count)).clamp(6.0, 16.0);
    let bottom = TOP + row * f64::from(count);
    let x = Scale::linear(end, LEFT, RIGHT);
    let lives = || measured.gantt.iter().take(BARS).map(|bar| ends(bar, &x));
    let inside = html! {
        text.name x="4" y="14" { "Instance" }
        path.starting d=(boxes(lives().map(|[start, ready, _]| (start, ready)), row)) {}
        path.ready d=(boxes(lives().map(|[_, ready, end]| (ready, end)), row)) {}
        (x_axis(&x, &chart::time_ticks(end), TOP, bottom))
        @for (bar, n) in bars.zip(0_u32..) {
            @let top = TOP + row * f64::from(n);
            @let [start, _, end] = ends(bar, &x);
            @if n == 0 || bar.instance % 10 == 0 {
                text.tick.end x=(px(LEFT - 8.0)) y=(px(top + row / 2.0)) dy=".35em" {
                    (bar.instance)
                }
            }
            @let whole = format!("M{} {}H{}v{}H{0}Z", px(start), px(top), px(end), px(row));
            path.touch d=(whole) { title { (told(bar)) } }
        }
    };
    let served: u64 = measured.gantt.iter().map(|bar| u64::from(bar.served)).sum();
    let rest = if measured.gantt.len() > BARS { " The first are drawn." } else { "" };
    let all = format!(
        "{} served {}.{rest}",
        Several(measured.gantt.len() as u64, "instance"),
        Several(served, "request"),
    );
    let picture = Picture {
        id: &format!("lives-{index}"),
        title: &format!("{}: each instance's life", measured.name),
        told: &all,
        height: bottom + 38.0,
        readout: Readout::default(),
    };
    html! {
        figure { (picture.around(&inside)) figcaption { (all) } }
    }
}

/// A bar's ends: asked for, ready, gone.
fn ends(bar: &Bar, x: &Scale) -> [f64; 3] {
    let at = |time: std::time::Duration| x.at(time.as_secs_f64());
    [at(bar.start), at(bar.ready), at(bar.end).max(at(bar.ready))]
}

/// All boxes of one kind in one path, for the page to stay small.
fn boxes(ends: impl Iterator<Item = (f64, f64)>, row: f64) -> String {
    let mut path = String::new();
    for ((from, to), n) in ends.zip(0_u32..) {
        let (y, height) = (px(TOP + row * (f64::from(n) + 0.1)), px(row * 0.8));
        _ = write!(path, "M{0} {y}H{1}v{height}H{0}Z", px(from), px(to));
    }
    path
}

fn told(bar: &Bar) -> String {
    format!(
        "{}: {}, {} to {}, ready at {}",
        bar.instance,
        Several(u64::from(bar.served), "request"),
        words::duration(bar.start.as_secs_f64()),
        words::duration(bar.end.as_secs_f64()),
        words::duration(bar.ready.as_secs_f64()),
    )
}
