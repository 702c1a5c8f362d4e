//! When requests arrive. Integers only, so that a seed gives the same arrivals on every machine.

use std::time::Duration;

use dispatch_model::time::nanos;
use dispatch_model::{Prng, Time};

/// A stream of arrivals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// All at the same moment.
    Burst {
        /// How many.
        requests: u32,
        /// When.
        at: Time,
    },
    /// Independent of each other, as from many clients.
    Poisson {
        /// Mean arrivals per second, at least 1.
        per_second: u32,
        /// How long, from the start.
        span: Duration,
    },
    /// Evenly spaced.
    Steady {
        /// Arrivals per second, at least 1.
        per_second: u32,
        /// How long, from the start.
        span: Duration,
    },
}

impl Workload {
    /// Every arrival, in order.
    #[must_use]
    pub fn arrivals(&self, seed: u64) -> Vec<Time> {
        match *self {
            Self::Burst { requests, at } => vec![at; requests as usize],
            Self::Poisson { per_second, span } => {
                let mut prng = Prng::new(seed ^ ARRIVALS);
                let mean = SECOND / u64::from(per_second.max(1));
                spaced(span, || exponential(&mut prng, mean))
            }
            Self::Steady { per_second, span } => {
                let gap = SECOND / u64::from(per_second.max(1));
                spaced(span, || gap)
            }
        }
    }
}

fn spaced(span: Duration, mut gap: impl FnMut() -> u64) -> Vec<Time> {
    let mut at = 0_u64;
    let next = || {
        at = at.saturating_add(gap());
        (at <= nanos(span)).then(|| Time::from_nanos(at))
    };
    std::iter::from_fn(next).collect()
}

/// A number from the exponential distribution with this mean, by von Neumann's method (1951), which
/// only compares: no logarithm, whose last bit differs between platforms.
fn exponential(prng: &mut Prng, mean: u64) -> u64 {
    let mut whole = 0_u64;
    loop {
        let first = prng.next_u64();
        let (mut last, mut length) = (first, 1_u32);
        loop {
            let next = prng.next_u64();
            if next > last {
                break;
            }
            last = next;
            length += 1;
        }
        if length % 2 == 1 {
            let part = (u128::from(first) * u128::from(mean)) >> 64;
            return whole.saturating_add(u64::try_from(part).unwrap_or(u64::MAX));
        }
        whole = whole.saturating_add(mean);
    }
}

const SECOND: u64 = 1_000_000_000;
/// Keeps the arrivals' chance apart from the model's.
const ARRIVALS: u64 = 0x6172_7269_7661_6c73;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poisson_arrivals_have_the_mean_and_the_variance_of_their_rate() {
        let span = Duration::from_secs(1_000);
        let arrivals = Workload::Poisson { per_second: 100, span }.arrivals(7);
        assert!((99_000..101_000).contains(&arrivals.len()), "{}", arrivals.len());
        let mut per_second = vec![0_i64; 1_000];
        for arrival in &arrivals {
            let second = usize::try_from(arrival.as_nanos() / SECOND).unwrap().min(999);
            per_second[second] += 1;
        }
        let variance: i64 =
            per_second.iter().map(|count| (count - 100).pow(2)).sum::<i64>() / 1_000;
        assert!((80..120).contains(&variance), "{variance}");
    }

    #[test]
    fn steady_arrivals_are_evenly_spaced() {
        let span = Duration::from_secs(1);
        let arrivals = Workload::Steady { per_second: 4, span }.arrivals(0);
        assert_eq!(arrivals, [250, 500, 750, 1_000].map(Time::from_millis));
    }
}
