//! The one file that reads a clock.
//!
//! The models know only [`Time`], nanoseconds since a zero that their driver chose. Here the zero
//! is the moment [`Clock::start`] was called, and the clock underneath is tokio's, so that a paused
//! or simulated runtime rules everything that is built on it.

use std::time::Duration;

use dispatch_model::time::Time;
use tokio::time::Instant;

/// A monotonic clock with a zero of its own. Copies share the zero.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    zero: Instant,
}

impl Clock {
    /// A clock whose zero is now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place where a clock is read")]
    pub fn start() -> Self {
        Self { zero: Instant::now() }
    }

    /// The time since this clock's zero.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place where a clock is read")]
    pub fn now(&self) -> Time {
        Time::ZERO + Instant::now().saturating_duration_since(self.zero)
    }

    /// Waits until `at`; returns at once if it has passed, never if it is beyond the clock's range.
    pub async fn sleep_until(&self, at: Time) {
        match self.zero.checked_add(Duration::from_nanos(at.as_nanos())) {
            Some(instant) => tokio::time::sleep_until(instant).await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn sleeping_until_a_moment_ends_at_that_moment() {
        let clock = Clock::start();
        clock.sleep_until(Time::from_millis(1500)).await;
        assert_eq!(clock.now(), Time::from_millis(1500));
        clock.sleep_until(Time::ZERO).await;
        assert_eq!(clock.now(), Time::from_millis(1500));
    }
}
