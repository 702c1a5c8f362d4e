//! What an answer has to meet, as people say it: `p99<300ms, cold<0.1%`.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use sim::span;

use crate::report::Measured;

/// Some limits that must all be met.
#[derive(Clone, Debug, PartialEq)]
pub struct Slo(Vec<Limit>);

/// One limit.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Limit {
    metric: Metric,
    /// In seconds, or as a share.
    below: f64,
    /// That much is still allowed.
    or_equal: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Metric {
    /// From arrival to the response, at this share of all requests in thousandths; 1,000 is the
    /// longest. Who failed has none, however quickly that was said.
    Total(u32),
    /// From arrival to a slot, likewise.
    Wait(u32),
    Cold,
    Refused,
}

const METRICS: [(&str, Metric); 12] = [
    ("p50", Metric::Total(500)),
    ("p90", Metric::Total(900)),
    ("p99", Metric::Total(990)),
    ("p99.9", Metric::Total(999)),
    ("max", Metric::Total(1_000)),
    ("wait-p50", Metric::Wait(500)),
    ("wait-p90", Metric::Wait(900)),
    ("wait-p99", Metric::Wait(990)),
    ("wait-p99.9", Metric::Wait(999)),
    ("wait-max", Metric::Wait(1_000)),
    ("cold", Metric::Cold),
    ("refused", Metric::Refused),
];

impl Slo {
    /// What is asked where nothing is said: fewer than 1 request in 1,000 pays a cold start, fewer
    /// than 1 in 1,000 is refused, and 99 in 100 take at most twice as long as with the fastest of
    /// those that are so good, if that takes any time.
    #[must_use]
    pub fn usual(measured: &[Measured]) -> Self {
        let limit = |metric| Limit { metric, below: 0.001, or_equal: false };
        let plain = Self(vec![limit(Metric::Cold), limit(Metric::Refused)]);
        let good = measured.iter().filter(|it| plain.broken(it).is_none());
        let fastest = good.map(|it| it.total_of_all.p99.mean).min_by(f64::total_cmp);
        let mut all = plain.0;
        if let Some(fastest) = fastest.filter(|fastest| *fastest > 0.0 && fastest.is_finite()) {
            // To two digits: it is a rule of thumb.
            let scale = 10_f64.powf(fastest.max(1e-6).log10().floor() - 1.0);
            let below = (fastest * 2.0 / scale).ceil() * scale;
            all.push(Limit { metric: Metric::Total(990), below, or_equal: false });
        }
        Self(all)
    }

    /// The limit that `measured` is farthest from meeting: what it is, and what was measured. That
    /// requests fail is said before all else.
    #[must_use]
    pub fn broken(&self, measured: &Measured) -> Option<String> {
        let of_failures =
            |limit: &Limit| limit.metric == Metric::Refused || limit.of(measured).is_infinite();
        let broken = self.0.iter().filter(|limit| !limit.is_met(measured));
        let broken = broken.max_by(|one, other| {
            let strains = limit_strains(one, other, measured);
            of_failures(one).cmp(&of_failures(other)).then(strains)
        })?;
        let value = broken.of(measured);
        if of_failures(broken) {
            let failed = rounded(measured.refused.mean * 100.0);
            return Some(format!("{failed}% of the requests failed, more than {broken} allows"));
        }
        Some(format!("{} is {}, not {broken}", broken.name(), broken.show(value)))
    }

    /// How far from its limits `measured` is: the largest quotient, below 1 if all are met.
    #[must_use]
    pub fn strain(&self, measured: &Measured) -> f64 {
        self.0.iter().map(|limit| limit.strain(measured)).fold(0.0, f64::max)
    }

    /// The limit that is nearest to being broken.
    #[must_use]
    pub fn binding(&self, measured: &Measured) -> String {
        let nearest = self.0.iter().max_by(|one, other| limit_strains(one, other, measured));
        nearest.map_or_else(String::new, |limit| {
            format!("{} is {} of {limit}", limit.name(), limit.show(limit.of(measured)))
        })
    }
}

fn limit_strains(one: &Limit, other: &Limit, measured: &Measured) -> Ordering {
    one.strain(measured).total_cmp(&other.strain(measured))
}

impl Limit {
    fn is_met(&self, measured: &Measured) -> bool {
        let value = self.of(measured);
        value < self.below || self.or_equal && value <= self.below
    }

    fn strain(&self, measured: &Measured) -> f64 {
        let value = self.of(measured);
        // Of two that have no answer at that share, the one that fails more is farther from it.
        let value = if value.is_finite() { value } else { ENDLESS * measured.refused.mean };
        value / self.below.max(1e-12)
    }

    fn of(&self, measured: &Measured) -> f64 {
        let at = |quantiles: &crate::report::Quantiles, share| match share {
            500 => quantiles.p50.mean,
            900 => quantiles.p90.mean,
            990 => quantiles.p99.mean,
            999 => quantiles.p999.mean,
            _ => quantiles.max.mean,
        };
        match self.metric {
            Metric::Total(share) => at(&measured.total_of_all, share),
            Metric::Wait(share) => at(&measured.wait_of_all, share),
            Metric::Cold => measured.cold.mean,
            Metric::Refused => measured.refused.mean,
        }
    }

    fn name(&self) -> &'static str {
        let name = METRICS.iter().find(|(_, metric)| *metric == self.metric);
        name.map_or("?", |(name, _)| name)
    }

    fn show(&self, value: f64) -> String {
        match self.metric {
            Metric::Cold | Metric::Refused => format!("{}%", rounded(value * 100.0)),
            Metric::Total(_) | Metric::Wait(_) if value < 1.0 => {
                format!("{}ms", rounded(value * 1_000.0))
            }
            Metric::Total(_) | Metric::Wait(_) => format!("{}s", rounded(value)),
        }
    }
}

/// To three digits or so, without zeros that say nothing.
fn rounded(value: f64) -> String {
    let digits = if value >= 100.0 {
        0
    } else if value >= 1.0 {
        2
    } else {
        4
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let than = if self.or_equal { "<=" } else { "<" };
        write!(f, "{}{than}{}", self.name(), self.show(self.below))
    }
}

impl fmt::Display for Slo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limits: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&limits.join(", "))
    }
}

impl FromStr for Slo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let limits: Result<Vec<_>, _> = text.split(',').map(|part| limit(part.trim())).collect();
        limits.map(Self)
    }
}

fn limit(text: &str) -> Result<Limit, String> {
    let wrong = |why: &str| {
        let names: Vec<_> = METRICS.iter().map(|(name, _)| *name).collect();
        format!(
            "`{text}` {why}; write METRIC<VALUE such as p99<300ms or cold<0.1%; metrics: {}",
            names.join(", ")
        )
    };
    let (name, value) = text.split_once('<').ok_or_else(|| wrong("has no `<`"))?;
    let (value, or_equal) = value.strip_prefix('=').map_or((value, false), |value| (value, true));
    let (name, value) = (name.trim(), value.trim());
    let known = METRICS.iter().find(|(known, _)| *known == name);
    let (_, metric) = known.ok_or_else(|| wrong("names no metric"))?;
    let below = match metric {
        Metric::Cold | Metric::Refused => {
            let share = value.strip_suffix('%').and_then(|value| value.trim().parse::<f64>().ok());
            let share = share.filter(|share| (0.0..=100.0).contains(share));
            share.ok_or_else(|| wrong("needs a share such as 0.1%"))? / 100.0
        }
        Metric::Total(_) | Metric::Wait(_) => {
            span::parse(value).map_err(|why| wrong(&format!("has no span: {why}")))?.as_secs_f64()
        }
    };
    // Nothing is less than none.
    let or_equal = or_equal || below == 0.0;
    Ok(Limit { metric: *metric, below, or_equal })
}

/// Longer than any time, in seconds.
const ENDLESS: f64 = 1e12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_and_written() {
        let slo: Slo = "p99<300ms, cold < 0.1%,wait-max<=2s".parse().unwrap();
        assert_eq!(slo.to_string(), "p99<300ms, cold<0.1%, wait-max<=2s");
        let none: Slo = "refused<0%".parse().unwrap();
        assert_eq!(none.to_string(), "refused<=0%");
    }

    #[test]
    fn what_is_no_limit_is_told_with_what_is() {
        for text in ["", "p99", "p98<1s", "p99<fast", "cold<3", "cold<300%"] {
            let error = text.parse::<Slo>().unwrap_err();
            assert!(error.contains("p99<300ms") && error.contains("wait-p99.9"), "{error}");
        }
    }
}
