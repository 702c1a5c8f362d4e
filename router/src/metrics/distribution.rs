//! How long things took, in buckets.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use dispatch_model::time::nanos;

/// A histogram of times whose parts are atomics: adding is one search and two additions.
#[derive(Debug, Default)]
pub(super) struct Distribution {
    /// One for each bound, and one for what is above all.
    counts: [AtomicU64; BOUNDS.len() + 1],
    sum_nanos: AtomicU64,
}

impl Distribution {
    /// Counts one `time`.
    pub(super) fn add(&self, time: Duration) {
        let bucket = BOUNDS.partition_point(|bound| *bound < time);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Relaxed);
        }
        self.sum_nanos.fetch_add(nanos(time), Relaxed);
    }

    /// The sum of all times.
    pub(super) fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_nanos.load(Relaxed))
    }

    /// Upper bound of each bucket in seconds and how many times fell into it and no lower one.
    pub(super) fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = BOUNDS.iter().map(Duration::as_secs_f64).chain([f64::INFINITY]);
        bounds.zip(self.counts.iter().map(|count| count.load(Relaxed))).collect()
    }
}

/// From what passing on a head costs to what a queue's time-out allows; finer where cold starts
/// lie.
const BOUNDS: [Duration; 21] = [
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_millis(2),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(3),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(20),
    Duration::from_secs(30),
    Duration::from_secs(60),
    Duration::from_secs(120),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_on_a_bound_belongs_below_it() {
        let times = Distribution::default();
        for ms in [0, 1, 2, 3, 119_999, 120_000, 120_001] {
            times.add(Duration::from_millis(ms));
        }
        let counts: Vec<u64> = times.buckets().iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [1, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1]);
        assert_eq!(times.sum(), Duration::from_millis(360_006));
    }
}
