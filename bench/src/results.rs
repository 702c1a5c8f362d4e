//! What was measured, and what follows from it.
//!
//! Ratios are taken round by round, between samples that were taken seconds apart, and then the
//! median: what the machine did in the meantime falls out of them.

use serde::Serialize;

use crate::accounting::Usage;
use crate::contender::Contender;
use crate::load::Measured;
use crate::machine::Machine;

/// All of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    pub(crate) samples: Vec<Sample>,
    /// Single figures, by name.
    pub(crate) facts: Vec<Fact>,
    /// What is missing, and why.
    pub(crate) skipped: Vec<Skipped>,
}

/// One contender under one load, once.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sample {
    pub(crate) load: &'static str,
    pub(crate) contender: Contender,
    pub(crate) round: u32,
    pub(crate) measured: Measured,
    pub(crate) parts: Vec<PartSample>,
    /// The part of the machine's time that went to none of ours.
    pub(crate) others: f64,
}

/// What one program cost meanwhile.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PartSample {
    pub(crate) name: &'static str,
    pub(crate) usage: Usage,
    pub(crate) rss_kib: u64,
}

/// A figure that belongs to no load.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Fact {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
}

/// A contender that did not take part, or a measurement that failed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Skipped {
    pub(crate) what: &'static str,
    pub(crate) why: String,
}

/// What is read off a sample.
pub(crate) type Metric = fn(&Sample) -> Option<f64>;

impl Sample {
    pub(crate) fn per_second(&self) -> Option<f64> {
        (self.measured.seconds > 0.0).then(|| self.measured.requests as f64 / self.measured.seconds)
    }

    pub(crate) fn mib_per_second(&self) -> Option<f64> {
        (self.measured.seconds > 0.0).then(|| self.mib() / self.measured.seconds)
    }

    fn mib(&self) -> f64 {
        self.measured.bytes as f64 / f64::from(1 << 20)
    }

    /// CPU of all programs that the request passes between client and app, in µs.
    pub(crate) fn cpu_us(&self) -> Option<f64> {
        let all = self.parts.iter().map(|part| part.usage.cpu_ns).sum::<u64>();
        self.each(all).filter(|_| !self.parts.is_empty())
    }

    fn each(&self, nanos: u64) -> Option<f64> {
        (self.measured.requests > 0).then(|| nanos as f64 / 1e3 / self.measured.requests as f64)
    }

    /// As [`cpu_us`](Self::cpu_us), for each MiB of a body.
    pub(crate) fn cpu_us_per_mib(&self) -> Option<f64> {
        let us = self.cpu_us()? * self.measured.requests as f64;
        (self.measured.bytes > 0).then(|| us / self.mib())
    }

    /// The sample as if one of its programs were all that there is.
    pub(crate) fn of_part(&self, part: &PartSample) -> Self {
        Self { parts: vec![part.clone()], ..self.clone() }
    }

    pub(crate) const fn p50(&self) -> Option<f64> {
        self.measured.p50_us
    }

    pub(crate) const fn p99(&self) -> Option<f64> {
        self.measured.p99_us
    }

    pub(crate) const fn p999(&self) -> Option<f64> {
        self.measured.p999_us
    }
}

impl Results {
    pub(crate) fn of(&self, load: &str, contender: Contender) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(move |it| it.load == load && it.contender == contender)
    }

    /// The rounds' values of a metric.
    pub(crate) fn spread(&self, load: &str, who: Contender, metric: Metric) -> Option<Spread> {
        Spread::of(self.of(load, who).filter_map(metric).collect())
    }

    /// The rounds' ratios of a metric.
    pub(crate) fn ratio(
        &self,
        load: &str,
        [who, to]: [Contender; 2],
        metric: Metric,
    ) -> Option<Spread> {
        let pairs = self.of(load, who).filter_map(|sample| {
            let other = self.of(load, to).find(|other| other.round == sample.round)?;
            let (value, other) = (metric(sample)?, metric(other)?);
            (other > 0.0).then(|| value / other)
        });
        Spread::of(pairs.collect())
    }

    pub(crate) fn fact(&self, name: &str) -> Option<Spread> {
        Spread::of(self.facts.iter().filter(|fact| fact.name == name).map(|it| it.value).collect())
    }

    /// The largest part of the machine that others took in any sample, and in the middle.
    pub(crate) fn others(&self) -> Option<Spread> {
        Spread::of(self.samples.iter().map(|sample| sample.others).collect())
    }
}

/// Several values of one thing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    pub(crate) fn scaled(self, by: f64) -> Self {
        Self { median: self.median * by, min: self.min * by, max: self.max * by }
    }

    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = match values.len() {
            0 => return None,
            length if length % 2 == 0 => f64::midpoint(values[middle - 1], values[middle]),
            _ => values[middle],
        };
        Some(Self { median, min: values[0], max: *values.last()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_of_values_lies_between_two() {
        let spread = Spread::of(vec![4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!((spread.median, spread.min, spread.max), (2.5, 1.0, 4.0));
        assert_eq!(Spread::of(vec![7.0]).unwrap().median, 7.0);
        assert_eq!(Spread::of(Vec::new()), None);
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let sample = |contender, round, requests| Sample {
            load: "l",
            contender,
            round,
            measured: Measured { requests, seconds: 1.0, ..Measured::default() },
            parts: Vec::new(),
            others: 0.0,
        };
        let (a, b) = (Contender::Ours, Contender::Nginx);
        // The machine was ten times slower in the second round, for both.
        let samples =
            vec![sample(a, 0, 200), sample(b, 0, 100), sample(a, 1, 20), sample(b, 1, 10)];
        let (facts, skipped) = (Vec::new(), Vec::new());
        let results = Results { machine: Machine::this(), samples, facts, skipped };
        let ratio = results.ratio("l", [a, b], Sample::per_second).unwrap();
        assert_eq!(ratio, Spread { median: 2.0, min: 2.0, max: 2.0 });
    }
}
