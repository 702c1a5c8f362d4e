//! When the original's formulas act.
//!
//! [`scaling`](super::scaling) says how many instances; this says how fast the count may move: at
//! most one step out per 2 s and one in per 2 s, each paid from a token bucket, steps in deferred
//! by 300 ms and never while anything waits. From and to 0 it moves at once. The original acts on a
//! message for each arrival and dispatch and per 250 ms, as far as they are not merged; here the
//! count moves at each of these events and on every tick of 100 ms, and what follows from it is
//! done at the ticks and when a request has to wait.

use core::time::Duration;

use crate::time::{Time, nanos};

use super::config::{Limits, Scaling};
use super::guard::Bucket;
use super::scaling::{RATIO, STEP, constrain, ewma, simple};

/// The state of the original's scaler.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Formula {
    desired: u32,
    rate: f64,
    duration_ms: f64,
    arrived: u32,
    ended: u32,
    ended_time: Duration,
    averaged: Time,
    last_out: Option<Time>,
    last_in: Option<Time>,
    out_tokens: Bucket,
    /// Five tokens a step, one a second: a step per 5 s, two at once.
    in_tokens: Bucket,
    falling: Option<(Time, u32)>,
    zero_since: Option<Time>,
}

impl Formula {
    pub(crate) const fn new(now: Time) -> Self {
        Self {
            desired: 0,
            rate: 0.0,
            duration_ms: 0.0,
            arrived: 0,
            ended: 0,
            ended_time: Duration::ZERO,
            averaged: now,
            last_out: None,
            last_in: None,
            out_tokens: Bucket::full(5, 1, now),
            in_tokens: Bucket::full(10, 1, now),
            falling: None,
            zero_since: None,
        }
    }

    pub(crate) fn arrived(&mut self) {
        self.arrived = self.arrived.saturating_add(1);
    }

    pub(crate) fn ended(&mut self, took: Duration) {
        self.ended = self.ended.saturating_add(1);
        self.ended_time = self.ended_time.saturating_add(took);
    }

    /// Moves both averages to `now`, one step of 100 ms after the other.
    #[expect(clippy::float_arithmetic, reason = "the original's averages, exact on IEEE doubles")]
    pub(crate) fn tick(&mut self, now: Time) {
        let steps = nanos(now.saturating_since(self.averaged)) / nanos(TICK);
        if steps == 0 {
            return;
        }
        self.averaged =
            self.averaged + TICK.saturating_mul(u32::try_from(steps).unwrap_or(u32::MAX));
        let mean_ms = if self.ended == 0 {
            0.0
        } else {
            // Whole microseconds are far below 2^53.
            f64::from(u32::try_from((self.ended_time / self.ended).as_micros()).unwrap_or(u32::MAX))
                / 1000.0
        };
        self.rate = ALPHA * (f64::from(self.arrived) / 0.1) + (1.0 - ALPHA) * self.rate;
        self.duration_ms = ALPHA * mean_ms + (1.0 - ALPHA) * self.duration_ms;
        (self.arrived, self.ended, self.ended_time) = (0, 0, Duration::ZERO);
        // Silent steps. After 40,000 of them a double has sunk to nothing.
        for _ in 1..steps.min(40_000) {
            self.rate *= 1.0 - ALPHA;
            self.duration_ms *= 1.0 - ALPHA;
        }
    }

    /// The count to have now.
    pub(crate) fn desired(
        &mut self,
        now: Time,
        limits: &Limits,
        pending: u32,
        running: u32,
    ) -> u32 {
        let current = i64::from(self.desired);
        let proposed = self.proposed(now, limits, pending, running, current);
        let next = constrain(proposed, current, STEP, RATIO, RATIO)
            .clamp(limits.instances_min.into(), limits.instances_max.into());
        let next = u32::try_from(next).expect("clamped to the limits, which are u32");
        if next > self.desired {
            self.falling = None;
            let may = self.desired == 0
                || (quiet(self.last_out, now) && self.out_tokens.available(now) > 0);
            if may {
                if self.desired > 0 {
                    self.out_tokens.take(now, 1);
                }
                self.desired = next;
                self.last_out = Some(now);
            }
        } else if next == self.desired || pending > 0 {
            self.falling = None;
        } else {
            self.fall(now, next);
        }
        self.desired
    }

    fn fall(&mut self, now: Time, next: u32) {
        let since = self.falling.map_or(now, |(since, _)| since);
        self.falling = Some((since, next));
        if now.saturating_since(since) < DEFER {
            return;
        }
        let quiet = quiet(self.last_in, now) && quiet(self.last_out, now);
        if next == 0 || (quiet && self.in_tokens.available(now) >= 5) {
            if next > 0 {
                self.in_tokens.take(now, 5);
            }
            self.desired = next;
            self.last_in = Some(now);
            self.falling = None;
        }
    }

    fn proposed(
        &mut self,
        now: Time,
        limits: &Limits,
        pending: u32,
        running: u32,
        current: i64,
    ) -> i64 {
        let (slots, multiplier) = (limits.slots, limits.instance_count_multiplier);
        let by_simple = simple(pending.into(), running.into(), slots, multiplier);
        if by_simple > 0 || pending > 0 || running > 0 {
            self.zero_since = None;
        } else if self.zero_since.is_none() {
            self.zero_since = Some(now);
        }
        let idle = self.zero_since.is_some_and(|since| now.saturating_since(since) > IDLE);
        if limits.scaling == Scaling::Ewma && self.rate != 0.0 && self.duration_ms != 0.0 && !idle {
            ewma(self.rate, self.duration_ms, current, slots, multiplier)
        } else {
            by_simple
        }
    }
}

fn quiet(last: Option<Time>, now: Time) -> bool {
    last.is_none_or(|last| now.saturating_since(last) >= COOL_DOWN)
}

/// 1 − e^(−0.1 / 5), the share of a tick of 100 ms in averages over 5 s.
const ALPHA: f64 = 0.019_801_326_693_244_747;
const TICK: Duration = Duration::from_millis(100);
const COOL_DOWN: Duration = Duration::from_secs(2);
const DEFER: Duration = Duration::from_millis(300);
const IDLE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn count_rises_from_zero_at_once_and_falls_to_zero_after_the_deferral() {
        let limits = Limits { scaling: Scaling::Simple, ..Limits::default() };
        let mut formula = Formula::new(Time::ZERO);
        assert_eq!(formula.desired(Time::from_millis(1), &limits, 100, 0), 5);
        // Within 2 s of the last step out nothing more is added.
        assert_eq!(formula.desired(Time::from_millis(1_900), &limits, 200, 10), 5);
        assert_eq!(formula.desired(Time::from_millis(2_001), &limits, 200, 10), 10);
        assert_eq!(formula.desired(Time::from_millis(5_000), &limits, 0, 0), 10);
        assert_eq!(formula.desired(Time::from_millis(5_299), &limits, 0, 0), 10);
        assert_eq!(formula.desired(Time::from_millis(5_300), &limits, 0, 0), 0);
    }

    #[test]
    fn nothing_is_retired_while_a_request_waits() {
        let limits = Limits { scaling: Scaling::Simple, ..Limits::default() };
        let mut formula = Formula::new(Time::ZERO);
        assert_eq!(formula.desired(Time::ZERO, &limits, 100, 0), 5);
        for ms in (3_000..60_000).step_by(100) {
            assert_eq!(formula.desired(Time::from_millis(ms), &limits, 1, 0), 5);
        }
    }

    #[test]
    fn averages_follow_the_originals_recurrence() {
        let mut formula = Formula::new(Time::ZERO);
        for _ in 0..10 {
            formula.arrived();
        }
        formula.ended(Duration::from_millis(50));
        formula.tick(Time::from_millis(100));
        assert!((formula.rate - ALPHA * 100.0).abs() < 1e-12);
        assert!((formula.duration_ms - ALPHA * 50.0).abs() < 1e-12);
        formula.tick(Time::from_millis(300));
        assert!((formula.rate - ALPHA * 100.0 * (1.0 - ALPHA).powi(2)).abs() < 1e-12);
    }
}
