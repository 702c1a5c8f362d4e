//! What happened over time, one alternative after the other: arrivals, the queue, instances by
//! state with the number that was wanted, and how near the next request was to a cold start.

use maud::{Markup, html};

use super::chart::{self, LEFT, Picture, RIGHT, Readout, Scale, Tick, px, x_axis, y_axis};
use super::series::{best, letter, swatch};
use crate::report::{Measured, Report, Timeline};
use crate::words;

/// Tops and bottoms of the panels.
const ARRIVALS: (f64, f64) = (38.0, 118.0);
const QUEUE: (f64, f64) = (174.0, 254.0);
const INSTANCES: (f64, f64) = (310.0, 450.0);
const DANGER: (f64, f64) = (506.0, 576.0);
/// Below the last panel, for the axis.
const AXIS: f64 = 38.0;
/// Danger beyond is cut: ten colds ahead are as bad as four.
const DANGER_MOST: f64 = 4.0;

/// One alternative open, the others to be opened; nothing where nothing is known.
pub(super) fn section(report: &Report) -> Markup {
    let shown = || report.alternatives.iter().enumerate().filter(|(_, m)| has_any(&m.timeline));
    let open = shown().find(|(_, measured)| measured.is_best).or_else(|| shown().next());
    let open = open.map(|(index, _)| index);
    if open.is_none() {
        return html! {};
    }
    html! {
        section aria-labelledby="time" {
            h2 #time { "What happened over time" }
            p.lead { "Of the first seed. Open an alternative to see it; one is open at a time." }
            (legend())
            @for (index, measured) in shown() {
                details.one name="timeline" open[open == Some(index)] {
                    summary {
                        (swatch(index, measured.kind)) b { (letter(index)) } " " (measured.name)
                        @if measured.is_best { " " (best()) }
                    }
                    (figure(index, measured))
                }
            }
        }
    }
}

fn has_any(timeline: &Timeline) -> bool {
    !timeline.arrivals.is_empty() && !timeline.bucket.is_zero()
}

fn legend() -> Markup {
    let key = |class: &str| {
        html! {
            svg.swatch viewBox="0 0 24 12" width="24" height="12" aria-hidden="true" {
                path class=(class) d="M1 1H23V11H1Z" {}
            }
        }
    };
    html! {
        ul.legend {
            li { (key("ready")) "ready: takes requests" }
            li { (key("starting")) "starting: in its cold start" }
            li { (key("draining")) "draining: finishes what it has" }
            li {
                svg.swatch viewBox="0 0 24 12" width="24" height="12" aria-hidden="true" {
                    path.wanted d="M1 6H23" {}
                }
                "desired: how many there should be"
            }
        }
    }
}

fn floats(values: &[u32]) -> Vec<f64> {
    values.iter().map(|value| f64::from(*value)).collect()
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|value| f64::from(*value)).collect()
}

fn most(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

fn figure(index: usize, measured: &Measured) -> Markup {
    let timeline = &measured.timeline;
    let bucket = timeline.bucket.as_secs_f64();
    let spans = u32::try_from(timeline.arrivals.len()).unwrap_or(u32::MAX);
    let x = Scale::linear(f64::from(spans), LEFT, RIGHT);
    let arrivals: Vec<_> = floats(&timeline.arrivals).iter().map(|n| n / bucket).collect();
    let queued = floats(&timeline.queued);
    let has_danger = timeline.danger.iter().any(|danger| *danger > 0.0);
    let bottom = if has_danger { DANGER.1 } else { INSTANCES.1 };
    let x_ticks: Vec<_> = chart::time_ticks(f64::from(spans) * bucket)
        .into_iter()
        .map(|tick| Tick { at: tick.at / bucket, label: tick.label })
        .collect();
    let inside = html! {
        (panel("Arrivals a second", ARRIVALS, &arrivals, &x, "arrivals"))
        (panel("Requests that wait, the most at once", QUEUE, &queued, &x, "queue"))
        (instances(timeline, &x))
        @if has_danger { (danger(timeline, &x)) }
        (x_axis(&x, &x_ticks, bottom, bottom))
    };
    let name = format!("{}: arrivals, queue and instances over time", measured.name);
    let picture = Picture {
        id: &format!("timeline-{index}"),
        title: &name,
        told: &told(timeline),
        height: bottom + AXIS,
        readout: readout(timeline, &x, bottom),
    };
    html! {
        figure {
            (picture.around(&inside))
            @if has_danger { figcaption { (danger_told(timeline)) } }
        }
    }
}

/// One row of the figure: its name above, its own scale, its values as an area.
fn panel(name: &str, (top, bottom): (f64, f64), of: &[f64], x: &Scale, class: &str) -> Markup {
    let (y, ticks) = y_scale(most(of), top, bottom);
    html! {
        text.name x="4" y=(px(top - 18.0)) { (name) }
        path class=(class) d=(chart::area(of, x, &y)) {}
        (y_axis(&y, &ticks))
        line.axis x1=(px(LEFT)) x2=(px(RIGHT)) y1=(px(bottom)) y2=(px(bottom)) {}
    }
}

fn y_scale(high: f64, top: f64, bottom: f64) -> (Scale, Vec<Tick>) {
    let ticks = chart::ticks(high, if bottom - top > 100.0 { 4 } else { 3 });
    let y = Scale::linear(ticks.last().copied().unwrap_or(1.0), bottom, top);
    let label = |at: &f64| Tick { at: *at, label: words::number(*at) };
    (y, ticks.iter().map(label).collect())
}

/// Stacked: each state is drawn from the axis, and the ones below over it.
fn instances(timeline: &Timeline, x: &Scale) -> Markup {
    let (top, bottom) = INSTANCES;
    let ready = wide(&timeline.ready);
    let sum = |one: &[f64], other: &[f32]| -> Vec<f64> {
        one.iter().zip(other).map(|(one, other)| one + f64::from(*other)).collect()
    };
    let starting = sum(&ready, &timeline.starting);
    let draining = sum(&starting, &timeline.draining);
    let desired = floats(&timeline.desired);
    let (y, ticks) = y_scale(most(&draining).max(most(&desired)), top, bottom);
    html! {
        text.name x="4" y=(px(top - 18.0)) { "Instances, by state" }
        path.draining d=(chart::area(&draining, x, &y)) {}
        path.starting d=(chart::area(&starting, x, &y)) {}
        path.ready d=(chart::area(&ready, x, &y)) {}
        (y_axis(&y, &ticks))
        @if most(&desired) > 0.0 { path.wanted d=(chart::steps(&desired, x, &y)) {} }
        line.axis x1=(px(LEFT)) x2=(px(RIGHT)) y1=(px(bottom)) y2=(px(bottom)) {}
    }
}

/// Q/C·t, or a wait, in units of T: calm below one, red and hatched from there.
fn danger(timeline: &Timeline, x: &Scale) -> Markup {
    let (top, bottom) = DANGER;
    let values = wide(&timeline.danger);
    let high = most(&values).clamp(2.0, DANGER_MOST);
    let y = Scale::linear(high, bottom, top);
    let over: Vec<_> =
        values.iter().map(|danger| if *danger >= 1.0 { *danger } else { 0.0 }).collect();
    let label = |at: f64, text: &str| Tick { at, label: text.to_owned() };
    let last = if most(&values) > high { format!("≥ {high} T") } else { format!("{high} T") };
    html! {
        text.name x="4" y=(px(top - 18.0)) { "Danger: wait ahead (Q/C·t) or had, in cold starts (T)" }
        path.calm d=(chart::area(&values, x, &y)) {}
        path.danger d=(chart::area(&over, x, &y)) {}
        (y_axis(&y, &[label(0.0, "0"), label(high, &last)]))
        line.limit x1=(px(LEFT)) x2=(px(RIGHT)) y1=(px(y.at(1.0))) y2=(px(y.at(1.0))) {}
        text.tick.end x=(px(LEFT - 8.0)) y=(px(y.at(1.0))) dy=".35em" { "1 T" }
    }
}

fn danger_told(timeline: &Timeline) -> String {
    let over = || timeline.danger.iter().zip(0_u32..).filter(|(danger, _)| **danger >= 1.0);
    let when = |index: u32| words::duration(f64::from(index) * timeline.bucket.as_secs_f64());
    let worst = wide(&timeline.danger);
    let most = words::number(most(&worst));
    let what = "Danger is how long the queue would take to clear with the slots there are, or how \
                long a request did wait, in units of a cold start T; from 1 T on, waiting is no \
                better than a cold start.";
    match over().next() {
        None => format!("{what} Here it stays below 1 T; its most is {most} T."),
        Some((_, first)) => format!(
            "{what} Here it reaches 1 T in {} of {} spans of {}, first at {}; its most is {most} T.",
            over().count(),
            timeline.danger.len(),
            words::duration(timeline.bucket.as_secs_f64()),
            when(first),
        ),
    }
}

fn told(timeline: &Timeline) -> String {
    let bucket = timeline.bucket.as_secs_f64();
    let arrivals = most(&floats(&timeline.arrivals)) / bucket;
    let mut told = format!(
        "In spans of {}: at most {} arrive; at most {} wait; at most {} instances are ready.",
        words::duration(bucket),
        words::rate(arrivals),
        words::number(most(&floats(&timeline.queued))),
        words::number(most(&wide(&timeline.ready))),
    );
    if timeline.danger.iter().any(|danger| *danger > 0.0) {
        told.push(' ');
        told.push_str(&danger_told(timeline));
    }
    told
}

/// What never is more than zero has no column.
fn readout(timeline: &Timeline, x: &Scale, bottom: f64) -> Readout {
    let bucket = timeline.bucket.as_secs_f64();
    let arrivals = floats(&timeline.arrivals).iter().map(|n| n / bucket).collect();
    let mut columns: Vec<(&str, Vec<f64>)> = vec![
        ("arrivals/s", arrivals),
        ("waiting", floats(&timeline.queued)),
        ("starting", wide(&timeline.starting)),
        ("ready", wide(&timeline.ready)),
        ("draining", wide(&timeline.draining)),
        ("desired", floats(&timeline.desired)),
        ("danger in T", wide(&timeline.danger)),
    ];
    columns.retain(|(_, values)| most(values) > 0.0);
    let names = columns.iter().map(|(name, _)| (*name).to_owned());
    let rows = (0_u32..).zip(&timeline.arrivals).zip(0_usize..);
    Readout {
        names: std::iter::once("at".to_owned()).chain(names).collect(),
        rows: rows
            .map(|((n, _), at)| {
                let value = |values: &[f64]| words::number(values.get(at).map_or(f64::NAN, |v| *v));
                let cells = columns.iter().map(|(_, values)| value(values));
                let time = words::duration(f64::from(n) * bucket);
                (x.at(f64::from(n) + 0.5), std::iter::once(time).chain(cells).collect())
            })
            .collect(),
        top: ARRIVALS.0,
        bottom,
    }
}
