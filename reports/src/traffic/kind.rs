//! What a plan may say of its traffic.

use std::path::Path;
use std::time::Duration;

use dispatch_model::Prng;
use dispatch_model::time::nanos;
use serde::Deserialize;
use sim::span;

use super::curve::{self, Comes, Piece, Pieces};
use super::import::Format;
use crate::spread::{Spread, SpreadError, float, whole};

/// A span of time, as it stands in lists.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub(super) struct Span(#[serde(with = "span")] pub(super) Duration);

/// Who sends. Rates are requests a second.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Kind {
    Alb {
        files: Vec<String>,
    },
    #[serde(rename = "azure-2019")]
    Azure2019 {
        files: Vec<String>,
        /// Files with the times of functions.
        #[serde(default)]
        durations: Vec<String>,
        /// The hash of the only function that is wanted.
        function: Option<String>,
    },
    Burst {
        requests: u32,
        #[serde(default, with = "span")]
        at: Duration,
    },
    ClosedLoop {
        clients: u32,
        #[serde(default = "at_once")]
        think: Spread,
    },
    Cloudwatch {
        files: Vec<String>,
        #[serde(default, with = "span::maybe")]
        period: Option<Duration>,
    },
    Csv {
        files: Vec<String>,
    },
    Diurnal {
        /// The mean.
        rate: f64,
        /// The largest rate over the smallest.
        ratio: f64,
        #[serde(default = "day", with = "span")]
        period: Duration,
        #[serde(with = "span")]
        peak_at: Duration,
    },
    FlashCrowd {
        base: f64,
        peak: f64,
        #[serde(with = "span")]
        at: Duration,
        #[serde(with = "span")]
        rise: Duration,
        #[serde(with = "span")]
        fall: Duration,
    },
    Flight {
        files: Vec<String>,
    },
    OnOff {
        rate_on: f64,
        #[serde(default)]
        rate_off: f64,
        /// The mean of how long it is on.
        #[serde(with = "span")]
        on: Duration,
        #[serde(with = "span")]
        off: Duration,
    },
    Poisson {
        rate: f64,
    },
    Steady {
        rate: f64,
    },
    Steps {
        steps: Vec<Step>,
    },
}

/// A rate for a while.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    #[serde(rename = "for", with = "span")]
    span: Duration,
    rate: f64,
}

const fn at_once() -> Spread {
    Spread::fixed(Duration::ZERO)
}

const fn day() -> Duration {
    Duration::from_hours(24)
}

/// The files of recorded traffic, and how they are to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Files<'a> {
    pub(super) format: Format,
    pub(super) files: &'a [String],
    pub(super) durations: &'a [String],
    pub(super) function: Option<&'a str>,
    pub(super) period: Option<Duration>,
}

impl Kind {
    pub(super) const fn recorded(format: Format, files: Vec<String>) -> Self {
        match format {
            Format::Alb => Self::Alb { files },
            Format::Azure2019 => Self::Azure2019 { files, durations: Vec::new(), function: None },
            Format::Cloudwatch => Self::Cloudwatch { files, period: None },
            Format::Csv => Self::Csv { files },
            Format::Flight => Self::Flight { files },
        }
    }

    pub(super) fn files(&self) -> Option<Files<'_>> {
        let (format, files) = match self {
            Self::Alb { files } => (Format::Alb, files),
            Self::Azure2019 { files, .. } => (Format::Azure2019, files),
            Self::Cloudwatch { files, .. } => (Format::Cloudwatch, files),
            Self::Csv { files } => (Format::Csv, files),
            Self::Flight { files } => (Format::Flight, files),
            Self::Burst { .. }
            | Self::ClosedLoop { .. }
            | Self::Diurnal { .. }
            | Self::FlashCrowd { .. }
            | Self::OnOff { .. }
            | Self::Poisson { .. }
            | Self::Steady { .. }
            | Self::Steps { .. } => return None,
        };
        let mut all = Files { format, files, durations: &[], function: None, period: None };
        if let Self::Azure2019 { durations, function, .. } = self {
            (all.durations, all.function) = (durations, function.as_deref());
        }
        if let Self::Cloudwatch { period, .. } = self {
            all.period = *period;
        }
        Some(all)
    }

    /// Says what makes no sense.
    pub(super) fn check(&self, span: Option<Duration>) -> Result<(), String> {
        for (name, rate) in self.rates() {
            if !(0.0..=RATE_MAX).contains(&rate) {
                return Err(format!("`{name}` is {rate}, must be from 0 to {RATE_MAX} a second"));
            }
        }
        let above_zero = |name, span: Duration| {
            if span.is_zero() { Err(format!("`{name}` is 0s, must be longer")) } else { Ok(()) }
        };
        match self {
            Self::Burst { at, .. } if span.is_some_and(|span| *at >= span) => {
                return Err("`at` must be before the end of the traffic, which is `for`".into());
            }
            Self::Cloudwatch { period: Some(period), .. } => above_zero("period", *period)?,
            Self::Diurnal { ratio, period, .. } => {
                above_zero("period", *period)?;
                if !(1.0..=RATE_MAX).contains(ratio) {
                    return Err(format!("`ratio` is {ratio}, must be at least 1"));
                }
            }
            Self::OnOff { on, off, .. } => {
                above_zero("on", *on)?;
                above_zero("off", *off)?;
            }
            Self::Alb { .. }
            | Self::Azure2019 { .. }
            | Self::Burst { .. }
            | Self::ClosedLoop { .. }
            | Self::Cloudwatch { .. }
            | Self::Csv { .. }
            | Self::FlashCrowd { .. }
            | Self::Flight { .. }
            | Self::Poisson { .. }
            | Self::Steady { .. }
            | Self::Steps { .. } => {}
        }
        match self.span(span) {
            Some(span) => above_zero("for", span),
            None if self.files().is_some() => Ok(()),
            None => Err("`for` says how long the traffic lasts, such as \"1h\"".into()),
        }
    }

    fn rates(&self) -> Vec<(&'static str, f64)> {
        match self {
            Self::Diurnal { rate, .. } | Self::Poisson { rate } | Self::Steady { rate } => {
                vec![("rate", *rate)]
            }
            Self::FlashCrowd { base, peak, .. } => vec![("base", *base), ("peak", *peak)],
            Self::OnOff { rate_on, rate_off, .. } => {
                vec![("rate_on", *rate_on), ("rate_off", *rate_off)]
            }
            Self::Steps { steps } => steps.iter().map(|step| ("rate", step.rate)).collect(),
            Self::Alb { .. }
            | Self::Azure2019 { .. }
            | Self::Burst { .. }
            | Self::ClosedLoop { .. }
            | Self::Cloudwatch { .. }
            | Self::Csv { .. }
            | Self::Flight { .. } => Vec::new(),
        }
    }

    /// How long it lasts, if it does not depend on a recording and the plan's `for` is this.
    pub(super) fn span(&self, span: Option<Duration>) -> Option<Duration> {
        let Self::Steps { steps } = self else { return span };
        let all = steps.iter().fold(Duration::ZERO, |all, step| all.saturating_add(step.span));
        Some(span.map_or(all, |span| span.min(all)))
    }

    /// Reads the file of its spread, if there is one.
    pub(super) fn read(&mut self, folder: &Path) -> Result<(), SpreadError> {
        let Self::ClosedLoop { think, .. } = self else { return Ok(()) };
        think.read(folder)
    }

    /// Its curve, `scale` times as high; none where it is none.
    pub(super) fn pieces(&self, span: Duration, scale: f64, chance: Prng) -> Option<Pieces> {
        let nothing_until = |at| Piece { span: at, comes: Comes::Evenly(0) };
        let pieces = match self {
            Self::Burst { requests, at } => {
                let all = whole(float(u64::from(*requests)) * scale);
                let row = [nothing_until(nanos(*at)), Piece { span: 0, comes: Comes::Evenly(all) }];
                Box::new(row.into_iter())
            }
            Self::Diurnal { rate, ratio, period, peak_at } => {
                curve::wave(rate * scale, *ratio, *period, *peak_at)
            }
            Self::FlashCrowd { base, peak, at, rise, fall } => {
                curve::flash(base * scale, peak * scale, [at, rise, fall].map(|span| nanos(*span)))
            }
            Self::OnOff { rate_on, rate_off, on, off } => {
                let (rates, means) = ([rate_on, rate_off], [on, off]);
                curve::on_off(rates.map(|rate| rate * scale), means.map(|at| nanos(*at)), chance)
            }
            Self::Poisson { rate } => curve::flat(rate * scale, nanos(span)),
            Self::Steady { rate } => {
                let all = whole(rate * scale * span.as_secs_f64());
                let piece = Piece { span: nanos(span), comes: Comes::Evenly(all) };
                Box::new(std::iter::once(piece))
            }
            Self::Steps { steps } => {
                let steps = steps.clone().into_iter();
                Box::new(steps.map(move |Step { span, rate }| Piece {
                    span: nanos(span),
                    comes: Comes::Random(rate * scale),
                }))
            }
            Self::Alb { .. }
            | Self::Azure2019 { .. }
            | Self::ClosedLoop { .. }
            | Self::Cloudwatch { .. }
            | Self::Csv { .. }
            | Self::Flight { .. } => return None,
        };
        Some(pieces)
    }

    /// It in words, where it is `scale` times as much and lasts for `span`.
    pub(super) fn about(&self, span: Duration, scale: f64) -> String {
        let span = words(span);
        let rate = |rate: &f64| format!("{}/s", rate * scale);
        let files = |what: &str, files: &[String]| {
            let times =
                if scale == 1.0 { String::new() } else { format!(", {scale} times as much") };
            format!("{what} in {}, over {span}{times}", files.join(" "))
        };
        match self {
            Self::Alb { files: names } => files("access logs of an ALB", names),
            Self::Azure2019 { files: names, function, .. } => match function {
                Some(function) => files(&format!("function {function} of Azure's trace"), names),
                None => files("all functions of Azure's trace", names),
            },
            Self::Burst { requests, at } => {
                let all = whole(float(u64::from(*requests)) * scale);
                format!("{all} requests at once after {}, seen for {span}", words(*at))
            }
            Self::ClosedLoop { clients, think } => {
                let clients = whole(float(u64::from(*clients)) * scale);
                format!("{clients} clients that wait for their answers (thinking: {think}), {span}")
            }
            Self::Cloudwatch { files: names, .. } => files("counts of CloudWatch", names),
            Self::Csv { files: names } => files("requests", names),
            Self::Diurnal { rate: mean, ratio, period, .. } => {
                let (mean, period) = (rate(mean), words(*period));
                format!(
                    "a wave of {period} around {mean}, its peak {ratio} times its trough, {span}"
                )
            }
            Self::FlashCrowd { base, peak, at, .. } => {
                let (base, peak, at) = (rate(base), rate(peak), words(*at));
                format!("{base} with a flash crowd of {peak} after {at}, {span}")
            }
            Self::Flight { files: names } => files("flights of our own recorder", names),
            Self::OnOff { rate_on, rate_off, on, off } => {
                let (high, low) = (rate(rate_on), rate(rate_off));
                let (on, off) = (words(*on), words(*off));
                format!("{high} for {on} and {low} for {off} in the mean, in turns, {span}")
            }
            Self::Poisson { rate: mean } => format!("Poisson, {} for {span}", rate(mean)),
            Self::Steady { rate: mean } => format!("evenly spaced, {} for {span}", rate(mean)),
            Self::Steps { steps } => {
                let steps = steps.iter();
                let steps: Vec<_> = steps
                    .map(|step| format!("{} for {}", rate(&step.rate), words(step.span)))
                    .collect();
                format!("Poisson, {}", steps.join(", then "))
            }
        }
    }
}

/// A span to be read: `1h`, `1m30s`, `250ms`.
fn words(span: Duration) -> String {
    let seconds = whole(span.as_secs_f64());
    if seconds < 60 {
        return span::write(Duration::from_millis(nanos(span) / 1_000_000));
    }
    let parts = [(seconds / 3_600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect()
}

/// Requests a second.
const RATE_MAX: f64 = 1e8;
