//! What every picture is made of: scales, ticks, paths, axes, as SVG.
//!
//! Coordinates are those of the view box, [`WIDTH`] wide whatever the screen is; letters are larger
//! there on a narrow screen, for which the margins leave room. Coordinates have one digit after the
//! point, so that equal numbers are equal bytes.

use std::fmt::Write as _;

use maud::{Markup, html};

/// Width of every view box.
pub(super) const WIDTH: f64 = 720.0;
/// Where every plot begins.
pub(super) const LEFT: f64 = 90.0;
/// Where every plot ends.
pub(super) const RIGHT: f64 = 694.0;

/// From numbers to coordinates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    /// Numbers at both ends.
    pub(super) from: f64,
    pub(super) to: f64,
    /// Coordinates of both ends.
    pub(super) start: f64,
    pub(super) end: f64,
    /// By the logarithm of the numbers.
    pub(super) is_log: bool,
}

impl Scale {
    /// Numbers from 0 to `to`, evenly.
    pub(super) const fn linear(to: f64, start: f64, end: f64) -> Self {
        Self { from: 0.0, to, start, end, is_log: false }
    }

    /// Where `value` is; what is beyond an end is drawn there.
    pub(super) fn at(&self, value: f64) -> f64 {
        let on = |value: f64| if self.is_log { log10(value) } else { value };
        let (from, to) = (on(self.from), on(self.to));
        let part = if to > from { (on(value) - from) / (to - from) } else { 0.0 };
        let part = if part.is_nan() { 0.0 } else { part.clamp(0.0, 1.0) };
        self.start + part * (self.end - self.start)
    }
}

/// One mark of an axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    pub(super) at: f64,
    pub(super) label: String,
}

/// The same on every platform, to the last bit.
pub(super) fn log10(value: f64) -> f64 {
    libm::log10(value.max(1e-12))
}

/// About `about` steps of 1, 2 or 5 times a power of ten from 0 to at least `high`; the last is the
/// axis's end.
pub(super) fn ticks(high: f64, about: u32) -> Vec<f64> {
    let high = if high.is_finite() && high > 0.0 { high } else { 1.0 };
    let rough = high / f64::from(about);
    let power = libm::exp10(libm::floor(libm::log10(rough)));
    let times = [1.0, 2.0, 5.0, 10.0];
    let step = times.iter().map(|by| by * power).find(|step| *step >= rough * (1.0 - 1e-9));
    let step = step.unwrap_or(10.0 * power);
    let mut ticks = vec![0.0];
    for n in 1..=2 * about {
        if ticks.last().is_some_and(|last| *last >= high * (1.0 - 1e-9)) {
            break;
        }
        ticks.push(f64::from(n) * step);
    }
    ticks
}

/// Times from 0 to `span` seconds at which people would look at a clock, six at most after the
/// first.
pub(super) fn time_ticks(span: f64) -> Vec<Tick> {
    let mut step = 1e-6;
    let clocks = [
        1.0,
        2.0,
        5.0,
        10.0,
        15.0,
        30.0,
        60.0,
        120.0,
        300.0,
        600.0,
        900.0,
        1_800.0,
        3_600.0,
        7_200.0,
        10_800.0,
        21_600.0,
        43_200.0,
        86_400.0,
        172_800.0,
        604_800.0,
        2_592_000.0,
    ];
    let small = (-6..0).flat_map(|power| [1.0, 2.0, 5.0].map(|by| by * libm::exp10(power.into())));
    for candidate in small.chain(clocks) {
        step = candidate;
        if step * 6.0 >= span * (1.0 - 1e-9) {
            break;
        }
    }
    let (unit, name) = unit(step);
    (0..=7_u32)
        .map(|n| f64::from(n) * step)
        .take_while(|at| *at <= span * (1.0 + 1e-9))
        .map(|at| Tick { at, label: if at == 0.0 { "0".into() } else { label(at / unit, name) } })
        .collect()
}

/// The ends of a logarithmic axis of times that holds `low` to `high` seconds, and its ticks.
pub(super) fn log_time(low: f64, high: f64) -> (f64, f64, Vec<Tick>) {
    let mut marks: Vec<(f64, bool)> = Vec::new();
    for power in -9..=1 {
        let one = libm::exp10(f64::from(power));
        marks.extend([(one, true), (2.0 * one, false), (5.0 * one, false)]);
    }
    marks.pop();
    marks.extend([(60.0, true), (120.0, false), (300.0, false), (600.0, true), (1_200.0, false)]);
    marks.extend([(3_600.0, true), (7_200.0, false), (18_000.0, false), (36_000.0, true)]);
    marks.extend([(86_400.0, true), (864_000.0, true), (8_640_000.0, true)]);
    let below = marks.iter().rposition(|(at, _)| *at <= low * (1.0 + 1e-9)).unwrap_or(0);
    let last = marks.len() - 1;
    let above = marks.iter().position(|(at, _)| *at >= high * (1.0 - 1e-9)).unwrap_or(last);
    let (below, above) = if above > below { (below, above) } else { (below, below + 1) };
    let shown = marks.get(below..=above.min(last)).unwrap_or(&marks);
    let are_few = shown.iter().filter(|(_, is_main)| *is_main).count() < 3;
    let ticks = shown.iter().filter(|(_, is_main)| *is_main || are_few).map(|(at, _)| {
        let (unit, name) = unit(*at);
        Tick { at: *at, label: label(at / unit, name) }
    });
    let ends = (shown.first().map_or(1e-3, |m| m.0), shown.last().map_or(1.0, |m| m.0));
    (ends.0, ends.1, ticks.collect())
}

/// The unit in which a time is at least one, and its name.
fn unit(seconds: f64) -> (f64, &'static str) {
    let units = [
        (86_400.0, "d"),
        (3_600.0, "h"),
        (60.0, "min"),
        (1.0, "s"),
        (1e-3, "ms"),
        (1e-6, "µs"),
        (1e-9, "ns"),
    ];
    let fits = units.into_iter().find(|(unit, _)| seconds >= unit * (1.0 - 1e-9));
    fits.unwrap_or((1e-9, "ns"))
}

fn label(number: f64, unit: &str) -> String {
    format!("{} {unit}", crate::words::number(number))
}

/// A coordinate as SVG has it.
pub(super) fn px(coordinate: f64) -> String {
    let text = format!("{coordinate:.1}");
    let text = text.strip_suffix(".0").unwrap_or(&text);
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// A line through `points`.
pub(super) fn line(points: impl Iterator<Item = (f64, f64)>) -> String {
    let mut path = String::new();
    for (x, y) in points {
        let order = if path.is_empty() { 'M' } else { 'L' };
        _ = write!(path, "{order}{} {}", px(x), px(y));
    }
    path
}

/// A line that keeps each value for as long as its span is; equal neighbours are one stroke.
/// Strokes are relative, which takes fewer letters; they add up exactly, because each is a
/// difference of rounded coordinates.
pub(super) fn steps(values: &[f64], x: &Scale, y: &Scale) -> String {
    let rounded = |coordinate: f64| (coordinate * 10.0).round();
    let mut path = String::new();
    let mut last = (rounded(x.start), f64::NAN);
    for (value, index) in values.iter().zip(0_u32..) {
        let next = (rounded(x.at(f64::from(index))), rounded(y.at(*value)));
        if path.is_empty() {
            _ = write!(path, "M{} {}", px(next.0 / 10.0), px(next.1 / 10.0));
            last = next;
        } else if next.1 != last.1 {
            stroke(&mut path, 'h', next.0 - last.0);
            stroke(&mut path, 'v', next.1 - last.1);
            last = next;
        }
    }
    if !path.is_empty() {
        _ = write!(path, "H{}", px(x.end));
    }
    path
}

fn stroke(path: &mut String, order: char, tenths: f64) {
    let text = px(tenths / 10.0);
    let (sign, size) = text.strip_prefix('-').map_or(("", text.as_str()), |size| ("-", size));
    let size = size.strip_prefix('0').filter(|rest| !rest.is_empty()).unwrap_or(size);
    _ = write!(path, "{order}{sign}{size}");
}

/// The same, closed down to the axis.
pub(super) fn area(values: &[f64], x: &Scale, y: &Scale) -> String {
    let steps = steps(values, x, y);
    if steps.is_empty() { steps } else { format!("{steps}V{}H{}Z", px(y.start), px(x.start)) }
}

/// Lines across the plot and their labels at its left.
pub(super) fn y_axis(y: &Scale, ticks: &[Tick]) -> Markup {
    html! {
        @for tick in ticks {
            @let at = y.at(tick.at);
            line.grid x1=(px(LEFT)) x2=(px(RIGHT)) y1=(px(at)) y2=(px(at)) {}
            text.tick.end x=(px(LEFT - 8.0)) y=(px(at)) dy=".35em" { (tick.label) }
        }
    }
}

/// Ticks below the plot and their labels; those at the ends stay inside the picture.
pub(super) fn x_axis(x: &Scale, ticks: &[Tick], top: f64, bottom: f64) -> Markup {
    html! {
        @for tick in ticks {
            @let at = x.at(tick.at);
            line.grid.down x1=(px(at)) x2=(px(at)) y1=(px(top)) y2=(px(bottom + 5.0)) {}
            text.tick.end[at > RIGHT - 30.0].middle[at <= RIGHT - 30.0]
                x=(px(if at > RIGHT - 30.0 { RIGHT + 24.0 } else { at }))
                y=(px(bottom + 10.0)) dy=".8em" { (tick.label) }
        }
        line.axis x1=(px(LEFT)) x2=(px(RIGHT)) y1=(px(bottom)) y2=(px(bottom)) {}
    }
}

/// A picture with a name and a description for who cannot see it.
pub(super) struct Picture<'a> {
    /// Unique in the page.
    pub(super) id: &'a str,
    pub(super) title: &'a str,
    pub(super) told: &'a str,
    pub(super) height: f64,
    /// What is shown where the pointer is.
    pub(super) readout: Readout,
}

/// Rows of a table that is read by pointing: a coordinate, then a cell for each name.
#[derive(Clone, Debug, Default)]
pub(super) struct Readout {
    pub(super) names: Vec<String>,
    pub(super) rows: Vec<(f64, Vec<String>)>,
    /// Where the pointer's line begins and ends.
    pub(super) top: f64,
    pub(super) bottom: f64,
}

impl Readout {
    fn names(&self) -> String {
        joined(&self.names)
    }

    fn rows(&self) -> String {
        let rows = self.rows.iter().map(|(x, cells)| format!("{}\t{}", px(*x), joined(cells)));
        rows.collect::<Vec<_>>().join("\n")
    }
}

fn joined(cells: &[String]) -> String {
    let clean = |cell: &String| cell.replace(|c: char| c.is_control(), " ");
    cells.iter().map(clean).collect::<Vec<_>>().join("\t")
}

impl Picture<'_> {
    /// The whole picture, around what is drawn in it.
    pub(super) fn around(&self, inside: &Markup) -> Markup {
        let Self { id, title, told, height, readout } = self;
        let view = format!("0 0 {} {}", px(WIDTH), px(*height));
        let labels = format!("{id}-title {id}-told");
        let has = !readout.rows.is_empty();
        let rows = has.then(|| readout.rows());
        let names = has.then(|| readout.names());
        html! {
            svg viewBox=(view) role="img" aria-labelledby=(labels) data-names=[names]
                data-rows=[rows] {
                title id=(format!("{id}-title")) { (title) }
                desc id=(format!("{id}-told")) { (told) }
                (inside)
                @if has {
                    line.rule y1=(px(readout.top)) y2=(px(readout.bottom)) {}
                }
            }
            @if has { p.readout aria-hidden="true" {} }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(ticks: &[Tick]) -> Vec<&str> {
        ticks.iter().map(|tick| tick.label.as_str()).collect()
    }

    #[test]
    fn axis_ends_at_a_round_number_that_holds_all() {
        assert_eq!(ticks(97.0, 5), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(ticks(0.0, 4).last(), Some(&1.0));
        assert_eq!(ticks(1.0, 1), [0.0, 1.0]);
        for high in [0.003, 1.0, 7.0, 12.3, 1e9] {
            let ticks = ticks(high, 4);
            assert!(ticks.last().is_some_and(|last| *last >= high), "{high}: {ticks:?}");
            assert!(ticks.len() <= 6, "{high}: {ticks:?}");
        }
    }

    #[test]
    fn clock_is_read_at_round_times() {
        assert_eq!(
            labels(&time_ticks(3_600.0)),
            ["0", "10 min", "20 min", "30 min", "40 min", "50 min", "60 min"]
        );
        assert_eq!(labels(&time_ticks(9.0)), ["0", "2 s", "4 s", "6 s", "8 s"]);
        assert_eq!(labels(&time_ticks(86_400.0)).len(), 5);
    }

    #[test]
    fn logarithmic_axis_holds_all_and_has_at_least_two_labels() {
        let (low, high, ticks) = log_time(0.08, 9.5);
        assert_eq!((low, high), (0.05, 10.0));
        assert_eq!(labels(&ticks), ["100 ms", "1 s", "10 s"]);
        for (low, high) in [(0.1, 0.1), (0.1, 0.11), (1e-9, 1e6), (59.0, 61.0)] {
            let (from, to, ticks) = log_time(low, high);
            assert!(from <= low && to >= high && ticks.len() >= 2, "{low} {high}: {ticks:?}");
        }
    }

    #[test]
    fn equal_neighbours_are_one_stroke() {
        let x = Scale::linear(4.0, 0.0, 40.0);
        let y = Scale::linear(2.0, 100.0, 0.0);
        assert_eq!(steps(&[1.0, 1.0, 2.0, 0.0], &x, &y), "M0 50h20v-50h10v100H40");
        assert_eq!(area(&[1.0], &Scale::linear(1.0, 0.0, 9.0), &y), "M0 50H9V100H0Z");
        assert_eq!(area(&[], &x, &y), "");
    }

    #[test]
    fn strokes_add_up_to_where_the_line_ends() {
        let x = Scale::linear(7.0, 0.0, 10.0);
        let y = Scale::linear(1.0, 10.0, 0.0);
        let path = steps(&[0.0, 0.31, 0.0, 0.31, 0.0, 0.31, 0.96], &x, &y);
        assert_eq!(path, "M0 10h1.4v-3.1h1.5v3.1h1.4v-3.1h1.4v3.1h1.4v-3.1h1.5v-6.5H10");
    }

    #[test]
    fn what_is_no_number_is_drawn_at_the_axis() {
        let y = Scale::linear(2.0, 100.0, 0.0);
        assert_eq!(
            (px(y.at(f64::NAN)), px(y.at(9.0)), px(y.at(-1.0))),
            ("100".into(), "0".into(), "100".into())
        );
        assert_eq!(px(-0.01), "0");
    }
}
