//! How times are spread: those of requests on an instance, of cold starts, of clients that think.
//!
//! A spread is known by its quantiles, and a draw is the quantile of a share that chance picks. So
//! each draw takes one number of the stream, whatever the spread, and what changes when a spread
//! does are the times only, never who draws which share. Logarithms are `libm`'s, because those of
//! the platform differ in the last bit, and with it all that follows.
//!
//! ```toml
//! time = "80ms"
//! time = { kind = "exponential", mean = "80ms" }
//! time = { kind = "log-normal", median = "40ms", p99 = "400ms" }
//! time = { kind = "pareto", least = "20ms", p99 = "1s" }
//! time = { kind = "empirical", values = ["10ms", "12ms", "95ms"] }
//! time = { kind = "empirical", file = "times.csv" }  # one a line, relative to the plan
//! ```

mod normal;

use std::fmt;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dispatch_model::Prng;
use dispatch_model::time::nanos;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use sim::span;

/// A distribution of times.
#[derive(Clone, Debug, PartialEq)]
pub struct Spread(Shape);

/// All in nanoseconds.
#[derive(Clone, Debug, PartialEq)]
enum Shape {
    Exponential {
        mean: f64,
    },
    /// Values that have not been read yet.
    File(PathBuf),
    Fixed(u64),
    LogNormal {
        median: f64,
        sigma: f64,
    },
    Pareto {
        least: f64,
        /// One over the shape, below 1.
        weight: f64,
    },
    /// (share, time), both rising, from share 0 to 1; in straight lines between.
    Percentiles(Arc<[(f64, f64)]>),
    /// Each as likely as the others, in order.
    Values(Arc<[u64]>),
}

impl Spread {
    /// Always `time`.
    #[must_use]
    pub const fn fixed(time: Duration) -> Self {
        Self(Shape::Fixed(nanos(time)))
    }

    /// Without memory.
    #[must_use]
    pub const fn exponential(mean: Duration) -> Self {
        Self(Shape::Exponential { mean: float(nanos(mean)) })
    }

    /// Whether it has no memory.
    pub(crate) const fn is_exponential(&self) -> bool {
        matches!(self.0, Shape::Exponential { .. })
    }

    /// Times that a rising share of all does not exceed: (share, nanoseconds), share 0 first and 1
    /// last.
    pub(crate) fn percentiles(mut knots: Vec<(f64, f64)>) -> Self {
        let mut least = 0.0_f64;
        for (_, time) in &mut knots {
            least = least.max(*time);
            *time = least;
        }
        Self(Shape::Percentiles(knots.into()))
    }

    /// Reads the file that it was told to consist of, if any, relative to `folder`.
    ///
    /// # Errors
    ///
    /// The file cannot be read, a line of it is no time, or it is empty.
    pub fn read(&mut self, folder: &Path) -> Result<(), SpreadError> {
        let Shape::File(path) = &self.0 else { return Ok(()) };
        let path = folder.join(path);
        let unreadable = |source| SpreadError::Read { path: path.clone(), source };
        let file = std::fs::File::open(&path).map_err(unreadable)?;
        let mut values = Vec::new();
        for (number, line) in (1_u64..).zip(std::io::BufReader::new(file).lines()) {
            let line = line.map_err(unreadable)?;
            let text = line.trim();
            if text.is_empty() {
                continue;
            }
            let time = span::parse(text).map_err(|what| SpreadError::Line {
                path: path.clone(),
                number,
                what,
            })?;
            values.push(nanos(time));
        }
        if values.is_empty() {
            return Err(SpreadError::Empty { path });
        }
        self.0 = Shape::values(values);
        Ok(())
    }

    /// One time.
    ///
    /// # Panics
    ///
    /// It consists of a file that was not [read](Self::read), which is the caller's bug.
    #[must_use]
    pub fn draw(&self, chance: &mut Prng) -> Duration {
        if let Shape::Fixed(time) = self.0 {
            return Duration::from_nanos(time);
        }
        Duration::from_nanos(self.0.quantile(share(chance)))
    }

    /// The mean of all draws.
    ///
    /// # Panics
    ///
    /// As [`Self::draw`].
    #[must_use]
    pub fn mean(&self) -> Duration {
        let mean = match &self.0 {
            Shape::Exponential { mean } => *mean,
            Shape::File(path) => unread(path),
            Shape::Fixed(time) => return Duration::from_nanos(*time),
            Shape::LogNormal { median, sigma } => median * libm::exp(sigma * sigma / 2.0),
            Shape::Pareto { least, weight } => least / (1.0 - weight),
            Shape::Percentiles(knots) => knots
                .windows(2)
                .map(|pair| (pair[1].0 - pair[0].0) * f64::midpoint(pair[0].1, pair[1].1))
                .sum(),
            Shape::Values(values) => {
                let sum: u128 = values.iter().copied().map(u128::from).sum();
                let mean = sum / values.len().max(1) as u128;
                return Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX));
            }
        };
        Duration::from_nanos(whole(mean))
    }

    /// The time that this share of draws, from 0 to 1, does not exceed. Where there is no longest,
    /// that of share 1 is the longest span there is.
    ///
    /// # Panics
    ///
    /// As [`Self::draw`].
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        Duration::from_nanos(self.0.quantile(share.clamp(0.0, 1.0)))
    }
}

/// In the words of the plan.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |share| span::write(Duration::from_nanos(self.0.quantile(share)));
        match &self.0 {
            Shape::Exponential { mean } => {
                write!(f, "exponential, mean {}", span::write(Duration::from_nanos(whole(*mean))))
            }
            Shape::File(path) => write!(f, "empirical, {}", path.display()),
            Shape::Fixed(time) => f.write_str(&span::write(Duration::from_nanos(*time))),
            Shape::LogNormal { .. } => {
                write!(f, "log-normal, median {}, p99 {}", at(0.5), at(0.99))
            }
            Shape::Pareto { .. } => write!(f, "Pareto, least {}, p99 {}", at(0.0), at(0.99)),
            Shape::Percentiles(_) => {
                write!(f, "empirical, median {}, p99 {}", at(0.5), at(0.99))
            }
            Shape::Values(values) => write!(f, "empirical, {} values", values.len()),
        }
    }
}

impl Shape {
    fn values(mut values: Vec<u64>) -> Self {
        values.sort_unstable();
        Self::Values(values.into())
    }

    fn quantile(&self, share: f64) -> u64 {
        match self {
            Self::Exponential { mean } => whole(-mean * libm::log(1.0 - share)),
            Self::File(path) => unread(path),
            Self::Fixed(time) => *time,
            Self::LogNormal { median, sigma } => {
                whole(median * libm::exp(sigma * normal::quantile(share)))
            }
            Self::Pareto { least, weight } => {
                whole(least * libm::exp(-libm::log(1.0 - share) * weight))
            }
            Self::Percentiles(knots) => whole(between(knots, share)),
            Self::Values(values) => {
                let index = floor(share * float(values.len() as u64));
                let last = values.len().saturating_sub(1);
                values.get(index.min(last)).copied().unwrap_or_default()
            }
        }
    }
}

/// On the straight line between the two knots around `share`.
fn between(knots: &[(f64, f64)], share: f64) -> f64 {
    let after = knots.partition_point(|(knot, _)| *knot < share);
    match (knots.get(after.wrapping_sub(1)), knots.get(after)) {
        (Some(low), Some(high)) => low.1 + (high.1 - low.1) * (share - low.0) / (high.0 - low.0),
        (Some(only), None) | (None, Some(only)) => only.1,
        (None, None) => 0.0,
    }
}

fn unread(path: &Path) -> ! {
    panic!("{} was not read before times are drawn from it", path.display())
}

/// A share between 0 and 1, neither of them included.
pub(crate) fn share(chance: &mut Prng) -> f64 {
    const STEP: f64 = 1.0 / float(1 << 53);
    (float(chance.next_u64() >> 11) + 0.5) * STEP
}

/// From the exponential distribution with mean 1.
pub(crate) fn memoryless(chance: &mut Prng) -> f64 {
    -libm::log(1.0 - share(chance))
}

#[expect(clippy::cast_precision_loss, reason = "times below 104 days are exact")]
pub(crate) const fn float(number: u64) -> f64 {
    number as f64
}

/// The nearest whole number; what is too large or no number stays in range.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
pub(crate) const fn whole(number: f64) -> u64 {
    (number + 0.5) as u64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
const fn floor(number: f64) -> usize {
    number as usize
}

impl<'de> Deserialize<'de> for Spread {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnySpread)
    }
}

struct AnySpread;

impl<'de> Visitor<'de> for AnySpread {
    type Value = Spread;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a span such as \"80ms\", or a table with `kind`")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Spread, E> {
        span::parse(text).map(Spread::fixed).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Spread, A::Error> {
        let table = Table::deserialize(MapAccessDeserializer::new(map))?;
        table.shape().map(Spread).map_err(A::Error::custom)
    }
}

/// As it is written in a plan.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
enum Table {
    Empirical {
        #[serde(default)]
        values: Vec<Span>,
        file: Option<PathBuf>,
    },
    Exponential {
        mean: Span,
    },
    LogNormal {
        median: Span,
        p99: Span,
    },
    Pareto {
        least: Span,
        p99: Span,
    },
}

impl Table {
    fn shape(self) -> Result<Shape, String> {
        let rising = |low: &Span, name: &str, p99: &Span| {
            if low.0.is_zero() || p99.0 < low.0 {
                let (low, p99) = (span::write(low.0), span::write(p99.0));
                return Err(format!(
                    "{name} is {low} and p99 {p99}; {name} must be above zero and p99 not below it"
                ));
            }
            let (low, p99) = (float(nanos(low.0)), float(nanos(p99.0)));
            Ok((low, libm::log(p99 / low)))
        };
        match self {
            Self::Empirical { values, file: None } if !values.is_empty() => {
                Ok(Shape::values(values.iter().map(|value| nanos(value.0)).collect()))
            }
            Self::Empirical { values, file: Some(file) } if values.is_empty() => {
                Ok(Shape::File(file))
            }
            Self::Empirical { .. } => Err("an empirical spread has either `values`, a list of \
                                           spans, or `file`, with one a line"
                .to_owned()),
            Self::Exponential { mean } => Ok(Shape::Exponential { mean: float(nanos(mean.0)) }),
            Self::LogNormal { median, p99 } => {
                let (median, ratio) = rising(&median, "median", &p99)?;
                Ok(Shape::LogNormal { median, sigma: ratio / normal::quantile(0.99) })
            }
            Self::Pareto { least, p99 } => {
                let (low, ratio) = rising(&least, "least", &p99)?;
                let weight = ratio / libm::log(100.0);
                if weight >= 1.0 {
                    return Err(format!(
                        "p99 is {} and least {}: from 100 times on, a Pareto spread has no mean; \
                         write a p99 below that, or a log-normal spread",
                        span::write(p99.0),
                        span::write(least.0)
                    ));
                }
                Ok(Shape::Pareto { least: low, weight })
            }
        }
    }
}

#[derive(Deserialize)]
struct Span(#[serde(with = "span")] Duration);

/// Why the file of a spread cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpreadError {
    /// There is nothing in it.
    #[error("{path} is empty; write one span a line, such as 80ms")]
    Empty {
        /// Which file.
        path: PathBuf,
    },
    /// A line of it is no time.
    #[error("{path}:{number}: {what}")]
    Line {
        /// Which file.
        path: PathBuf,
        /// Which line, counted from 1.
        number: u64,
        /// What is wrong with it.
        what: String,
    },
    /// It cannot be read.
    #[error("{path} cannot be read: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

#[cfg(test)]
mod tests;
