//! How fast a function may grow, 1,000 new environments per 10 seconds, and how often it may be
//! invoked: both refilled continuously and not saved up beyond that.

use std::time::Duration;

use dispatch_model::Time;
use dispatch_model::time::nanos;

/// A bucket of time: a new environment, or an invoke, costs `window / count` of it, and a moment
/// refills what a moment lasts. Integers only, so that no platform rounds differently.
#[derive(Debug)]
pub(super) struct Ramp {
    cost_ns: u64,
    window_ns: u64,
    credit_ns: u64,
    at: Time,
}

impl Ramp {
    /// Full at `now`. A `count` of zero never allows one; a zero `window` always does.
    pub(super) fn new(count: u32, window: Duration, now: Time) -> Self {
        let window_ns = nanos(window);
        let cost_ns = window_ns.checked_div(u64::from(count)).unwrap_or(u64::MAX);
        Self { cost_ns, window_ns, credit_ns: window_ns, at: now }
    }

    /// Whether there may be one more at `now`; counts it if so.
    pub(super) fn take(&mut self, now: Time) -> bool {
        let refill = nanos(now.saturating_since(self.at));
        self.credit_ns = self.credit_ns.saturating_add(refill).min(self.window_ns);
        self.at = now;
        let allowed = self.credit_ns >= self.cost_ns;
        if allowed {
            self.credit_ns -= self.cost_ns;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_at_once_then_one_every_ten_milliseconds() {
        let mut ramp = Ramp::new(1_000, Duration::from_secs(10), Time::ZERO);
        assert!((0..1_000).all(|_| ramp.take(Time::ZERO)));
        assert!(!ramp.take(Time::from_millis(9)));
        assert!(ramp.take(Time::from_millis(10)));
        assert!(!ramp.take(Time::from_millis(19)));
        assert!(ramp.take(Time::from_millis(20)));
    }

    #[test]
    fn quiet_hours_save_up_no_more_than_one_window() {
        let mut ramp = Ramp::new(10, Duration::from_secs(10), Time::ZERO);
        let later = Time::from_millis(3_600_000);
        assert_eq!((0..50).filter(|_| ramp.take(later)).count(), 10);
    }

    #[test]
    fn no_environments_allowed_is_none_ever() {
        assert!(!Ramp::new(0, Duration::from_secs(10), Time::ZERO).take(Time::from_millis(99_999)));
    }
}
