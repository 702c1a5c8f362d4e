//! A number that was found once for each seed, as one number and how sure it is.

use crate::report::{Estimate, Quantiles};
use crate::tally::Tally;

impl Estimate {
    /// From one value for each seed. The interval is Student's: mean ± t·s/√n.
    #[must_use]
    pub fn of(values: &[f64]) -> Self {
        let count = values.len() as f64;
        if values.is_empty() {
            return Self::default();
        }
        let mean = values.iter().sum::<f64>() / count;
        // An endless one is so in every sense.
        if values.len() == 1 || !mean.is_finite() {
            return Self { mean, low: mean, high: mean };
        }
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (squares / (count - 1.0)).sqrt();
        let t = STUDENT.get(values.len() - 2).copied().unwrap_or(NORMAL);
        let half = t * deviation / count.sqrt();
        Self { mean, low: mean - half, high: mean + half }
    }

    /// The same of a number that cannot be below nothing: the interval does not go there.
    #[must_use]
    pub fn not_below_zero(values: &[f64]) -> Self {
        let all = Self::of(values);
        Self { low: all.low.max(0.0), ..all }
    }
}

impl Quantiles {
    /// Of the books of each seed; `at` gives the time that a share did not exceed, in seconds. A
    /// seed without a request has none.
    pub(crate) fn of(tallies: &[&Tally], at: impl Fn(&Tally, f64) -> f64) -> Self {
        let share = |share: f64| {
            let came = tallies.iter().filter(|tally| tally.requests > 0);
            let values: Vec<_> = came.map(|tally| at(tally, share)).collect();
            Estimate::not_below_zero(&values)
        };
        Self {
            p50: share(0.5),
            p90: share(0.9),
            p99: share(0.99),
            p999: share(0.999),
            max: share(1.0),
        }
    }
}

/// The 97.5 % quantiles of Student's distribution with 1, 2, 3 … degrees of freedom.
const STUDENT: [f64; 29] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045,
];
/// The same of the normal distribution.
const NORMAL: f64 = 1.960;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interval_is_students() {
        let estimate = Estimate::of(&[1.0, 2.0, 3.0]);
        assert!((estimate.mean - 2.0).abs() < 1e-12);
        assert!((estimate.high - 2.0 - 4.303 / 3.0_f64.sqrt()).abs() < 1e-9, "{estimate:?}");
        assert_eq!(Estimate::of(&[7.0]), Estimate { mean: 7.0, low: 7.0, high: 7.0 });
        let mean = f64::INFINITY;
        assert_eq!(Estimate::of(&[7.0, mean]), Estimate { mean, low: mean, high: mean });
    }

    #[test]
    fn interval_of_shares_ends_at_nothing() {
        assert!(Estimate::of(&[0.0, 0.0, 0.1]).low < 0.0);
        assert_eq!(Estimate::not_below_zero(&[0.0, 0.0, 0.1]).low.to_bits(), 0);
    }
}
