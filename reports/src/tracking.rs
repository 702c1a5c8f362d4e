//! Target tracking: how AWS's Application Auto Scaling follows a utilisation, for provisioned
//! concurrency and for containers alike.
//!
//! From memory of what AWS documents and of the alarms that it creates: a metric a minute, an alarm
//! that is on when it was above the target for three minutes in a row, and one that is on when it
//! was below nine tenths of the target for fifteen. While an alarm is on the count is set each
//! minute to what would have met the target. Delays of the metric itself are left out.

use std::time::Duration;

use dispatch_model::Time;
use dispatch_model::time::nanos;
use serde::{Deserialize, Serialize};

/// What is tracked.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tracking {
    /// Busy share that is aimed at, above 0 and at most 1. Default 0.7.
    pub target: f64,
    /// Never fewer than this. Default 1.
    pub min: u32,
    /// Never more than this. Default 1,000.
    pub max: u32,
    /// Minutes above the target before there are more. Default 3.
    pub out_minutes: u32,
    /// Minutes below it before there are fewer. Default 15.
    pub in_minutes: u32,
}

impl Default for Tracking {
    fn default() -> Self {
        Self { target: 0.7, min: 1, max: 1_000, out_minutes: 3, in_minutes: 15 }
    }
}

impl Tracking {
    /// Whether a utilisation can be followed so.
    pub(crate) fn check(&self) -> Result<(), String> {
        let Self { target, min, max, .. } = *self;
        if !(target > 0.0 && target <= 1.0) {
            return Err(format!("target is {target}, must be above 0 and at most 1: 0.7 is 70 %"));
        }
        if min > max {
            return Err(format!(
                "tracking.min is {min}, must be at most {max}, which is tracking.max"
            ));
        }
        Ok(())
    }
}

/// What the alarms have seen.
#[derive(Debug, Default)]
pub(crate) struct Alarms {
    above: u32,
    below: u32,
}

impl Alarms {
    /// How many there should be from now on, after a minute in which `busy` of `count` were used.
    pub(crate) fn minute(&mut self, tracking: &Tracking, busy: f64, count: u32) -> u32 {
        let share = busy / f64::from(count.max(1));
        self.above = if share > tracking.target { self.above + 1 } else { 0 };
        self.below = if share < tracking.target * 0.9 { self.below + 1 } else { 0 };
        let out = self.above >= tracking.out_minutes.max(1);
        let back = self.below >= tracking.in_minutes.max(1);
        if !out && !back {
            return count.clamp(tracking.min, tracking.max.max(tracking.min));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the cast saturates, and is clamped below"
        )]
        let wanted = (busy / tracking.target).ceil() as u32;
        wanted.clamp(tracking.min, tracking.max.max(tracking.min))
    }
}

/// The mean of a count over time.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    since: Time,
    value: u32,
    /// Count times nanoseconds.
    sum: u128,
}

impl Meter {
    pub(crate) fn set(&mut self, now: Time, value: u32) {
        self.sum += u128::from(self.value) * u128::from(nanos(now.saturating_since(self.since)));
        self.since = now;
        self.value = value;
    }

    pub(crate) const fn value(&self) -> u32 {
        self.value
    }

    /// The count times the time for which it was so, since this was last asked.
    pub(crate) fn take(&mut self, now: Time) -> Duration {
        self.set(now, self.value);
        Duration::from_nanos_u128(std::mem::take(&mut self.sum))
    }
}

/// Between two looks at a metric.
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_minutes_above_scale_out_and_fifteen_below_scale_in() {
        let tracking = Tracking::default();
        let mut alarms = Alarms::default();
        let counts: Vec<_> = (0..4).map(|_| alarms.minute(&tracking, 9.0, 10)).collect();
        assert_eq!(counts, [10, 10, 13, 13]);
        assert_eq!(alarms.minute(&tracking, 6.9, 10), 10, "a minute between ends it");
        let counts: Vec<_> = (0..15).map(|_| alarms.minute(&tracking, 2.0, 10)).collect();
        assert_eq!((counts[13], counts[14]), (10, 3));
        assert_eq!(alarms.minute(&tracking, 0.0, 10), 1);
    }

    #[test]
    fn mean_of_a_count_is_weighed_by_time() {
        let mut meter = Meter::default();
        meter.set(Time::from_millis(1_000), 4);
        meter.set(Time::from_millis(2_000), 1);
        assert_eq!(meter.take(Time::from_millis(4_000)), Duration::from_secs(6));
        assert_eq!(meter.take(Time::from_millis(5_000)), Duration::from_secs(1));
    }
}
