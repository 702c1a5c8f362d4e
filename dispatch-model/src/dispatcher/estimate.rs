//! What the pool has been measured to be: service time t, cold start T, arrival rate and its slope.
//!
//! Integers throughout. Means of durations are exponentially weighted, so they need no memory of
//! the past. The arrival rate is that of the last second without its two busiest tenths: a burst is
//! not a rate. What a burst needs, the queue tells; a rate that lasts shows within half a second.

use core::time::Duration;

use crate::time::{Time, nanos};

use super::tail::Tail;

/// Measured means of one pool.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Estimate {
    service: Option<u64>,
    /// Requests in that mean, 16 at most.
    served: u64,
    tail: Tail,
    /// What 99 in 100 requests need, as of the last tick.
    need: Duration,
    cold_start: Option<u64>,
    /// The last cold start alone.
    cold_start_last: u64,
    cold_start_known: Option<Duration>,
    /// Arrivals in each tenth of the last second; `oldest` is overwritten next.
    tenths: [u32; TENTHS],
    oldest: usize,
    /// Arrivals since `ticked`, the end of the last tenth.
    arrived_this_tick: u32,
    ticked: Time,
    /// Arrivals per 1,000 seconds: over the last second, and over about three.
    fast: u64,
    slow: u64,
}

impl Estimate {
    pub(crate) fn new(cold_start_known: Option<Duration>, now: Time) -> Self {
        Self {
            service: None,
            served: 0,
            tail: Tail::new(),
            need: Duration::ZERO,
            cold_start: None,
            cold_start_last: u64::MAX,
            cold_start_known,
            tenths: [0; TENTHS],
            oldest: 0,
            arrived_this_tick: 0,
            ticked: now,
            fast: 0,
            slow: 0,
        }
    }

    /// t, or a guess before anything has ended.
    pub(crate) fn service(&self) -> Duration {
        self.service.map_or(SERVICE_GUESS, Duration::from_nanos)
    }

    /// Whether any request has ended, so that t is not a guess.
    pub(crate) const fn has_served(&self) -> bool {
        self.service.is_some()
    }

    /// What 99 in 100 requests need of an instance's time at most; nothing before one has ended.
    pub(crate) const fn need(&self) -> Duration {
        self.need
    }

    /// T: what the operator says, else measured, else a guess.
    pub(crate) fn cold_start(&self) -> Duration {
        self.cold_start_known
            .unwrap_or_else(|| self.cold_start.map_or(COLD_START_GUESS, Duration::from_nanos))
    }

    /// The wait from which on a request has paid a cold start. Whoever waited for the last one has,
    /// also where that was quicker than most.
    pub(crate) fn exposed_from(&self) -> Duration {
        let mean = self.cold_start();
        match self.cold_start_known {
            Some(known) => known,
            None => mean.min(Duration::from_nanos(self.cold_start_last)),
        }
    }

    /// Beyond this a running request is stuck: it says nothing about when a slot will be free.
    pub(crate) fn stuck_after(&self) -> Duration {
        (self.service() * 4).max(self.cold_start())
    }

    pub(crate) fn arrived(&mut self) {
        self.arrived_this_tick = self.arrived_this_tick.saturating_add(1);
    }

    pub(crate) fn served(&mut self, took: Duration) {
        self.tail.add(took);
        self.served = (self.served + 1).min(16);
        self.service = Some(match self.service {
            // Whatever it took: before it there was only a guess.
            None => nanos(took),
            // A stuck request counts as one that just became stuck, so that one endless stream does
            // not turn milliseconds into hours while a real change still shows within a few.
            Some(mean) => blend(mean, nanos(took.min(self.stuck_after())), self.served),
        });
    }

    pub(crate) fn started_cold(&mut self, took: Duration) {
        let took = nanos(took);
        self.cold_start_last = took;
        self.cold_start = Some(self.cold_start.map_or(took, |mean| blend(mean, took, 4)));
    }

    /// Lets `now` be. What arrived since the last tenth that is over belongs to the latest that is
    /// over now.
    pub(crate) fn tick(&mut self, now: Time) {
        let span = nanos(now.saturating_since(self.ticked));
        let over = span / TENTH;
        if over == 0 {
            return;
        }
        self.need = self.tail.most();
        let span = over * TENTH;
        self.ticked = self.ticked + Duration::from_nanos(span);
        for silent in (0..over.min(TENTHS as u64)).rev() {
            self.tenths[self.oldest] = if silent == 0 { self.arrived_this_tick } else { 0 };
            self.oldest = (self.oldest + 1) % TENTHS;
        }
        self.arrived_this_tick = 0;
        let (mut all, mut most, mut second) = (0, 0, 0);
        for arrived in self.tenths.map(u64::from) {
            all += arrived;
            second = second.max(arrived.min(most));
            most = most.max(arrived);
        }
        self.fast = (all - most - second) * 1_000 * 10 / (TENTHS as u64 - 2);
        self.slow = blend_over(self.slow, self.fast, span, 3_000_000_000);
    }

    /// Arrivals per 1,000 seconds as expected `ahead` from now, at most double what they are.
    pub(crate) fn arrivals_per_1000s(&self, ahead: Duration) -> u64 {
        // The two rates lag by half a second and by three: their difference is 2.5 s of slope.
        let slope_per_s = u128::from(self.fast.saturating_sub(self.slow)) * 2 / 5;
        let rise = slope_per_s * ahead.as_millis() / 1_000;
        self.fast.saturating_add(u64::try_from(rise).unwrap_or(u64::MAX).min(self.fast))
    }

    /// Whether the arrival rate has died away.
    pub(crate) fn is_silent(&self) -> bool {
        self.tenths == [0; TENTHS] && self.slow == 0 && self.arrived_this_tick == 0
    }
}

/// `mean` moved by one `n`th towards `sample`, at least by 1 so that it always gets there.
fn blend(mean: u64, sample: u64, n: u64) -> u64 {
    if sample >= mean {
        mean + (sample - mean).div_ceil(n)
    } else {
        mean - (mean - sample).div_ceil(n)
    }
}

/// `mean` moved towards `sample` by `span` of the time constant `tau`, both in nanoseconds.
fn blend_over(mean: u64, sample: u64, span: u64, tau: u64) -> u64 {
    let share = u128::from(mean.abs_diff(sample)) * u128::from(span);
    let step = share.div_ceil(u128::from(span) + u128::from(tau));
    let step = u64::try_from(step).unwrap_or(u64::MAX);
    if sample >= mean { mean.saturating_add(step) } else { mean.saturating_sub(step) }
}

const TENTHS: usize = 10;
/// A tenth of a second, in nanoseconds.
const TENTH: u64 = 100_000_000;
/// t until the first request has ended.
const SERVICE_GUESS: Duration = Duration::from_millis(100);
/// T until the first instance has started cold.
const COLD_START_GUESS: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_follows_arrivals_and_dies_away() {
        let mut estimate = Estimate::new(None, Time::ZERO);
        let mut now = Time::ZERO;
        for _ in 0..200 {
            for _ in 0..10 {
                estimate.arrived();
            }
            now = now + Duration::from_millis(100);
            estimate.tick(now);
        }
        let rate = estimate.arrivals_per_1000s(Duration::ZERO);
        assert!((99_000..=100_100).contains(&rate), "{rate}");
        for _ in 0..10_000 {
            now = now + Duration::from_millis(100);
            estimate.tick(now);
        }
        assert!(estimate.is_silent());
    }

    #[test]
    fn rise_is_expected_to_double_a_rate_at_most() {
        let mut estimate = Estimate::new(None, Time::ZERO);
        for tenth in 1..=15 {
            (0..20 * tenth).for_each(|_| estimate.arrived());
            estimate.tick(Time::from_millis(100 * tenth));
        }
        let rate = estimate.arrivals_per_1000s(Duration::ZERO);
        assert!(estimate.arrivals_per_1000s(Duration::from_secs(1)) > rate);
        assert_eq!(estimate.arrivals_per_1000s(Duration::from_secs(3_600)), 2 * rate);
    }

    #[test]
    fn burst_is_not_a_rate() {
        let mut estimate = Estimate::new(None, Time::ZERO);
        // Whatever the phase of the ticks, a burst falls into two tenths at most.
        for (millis, arrivals) in [(950, 0), (1_050, 500), (1_150, 500), (1_250, 0), (9_000, 0)] {
            (0..arrivals).for_each(|_| estimate.arrived());
            estimate.tick(Time::from_millis(millis));
            assert_eq!(estimate.arrivals_per_1000s(Duration::from_secs(3)), 0, "at {millis} ms");
        }
    }

    #[test]
    fn one_endless_stream_does_not_move_the_service_time_far() {
        let mut estimate = Estimate::new(Some(Duration::from_secs(1)), Time::ZERO);
        for _ in 0..100 {
            estimate.served(Duration::from_millis(50));
        }
        estimate.served(Duration::from_secs(3_600));
        assert!(estimate.service() < Duration::from_millis(120), "{:?}", estimate.service());
    }

    #[test]
    fn first_requests_tell_the_service_time() {
        let mut estimate = Estimate::new(Some(Duration::from_secs(1)), Time::ZERO);
        for millis in [10_000, 8_000, 12_000, 10_000] {
            estimate.served(Duration::from_millis(millis));
            let service = estimate.service();
            assert!((9_000..=10_000).contains(&service.as_millis()), "{service:?}");
        }
    }

    #[test]
    fn known_cold_start_is_not_overruled() {
        let mut estimate = Estimate::new(Some(Duration::from_secs(3)), Time::ZERO);
        estimate.started_cold(Duration::from_secs(1));
        assert_eq!(estimate.cold_start(), Duration::from_secs(3));
    }
}
