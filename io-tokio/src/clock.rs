//! The one file that reads a clock.
//!
//! The models know only [`Time`], nanoseconds since a zero that their driver chose. Here the zero
//! is the moment [`Clock::start`] was called, and the clock underneath is tokio's, so that a paused
//! or simulated runtime rules everything that is built on it.
//!
//! What crosses the border to others, such as an invoke's deadline, is told in the wall clock's
//! time. [`Clock::wall`] reads that too; in a simulation it follows the other clock, and may be set
//! ahead of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use dispatch_model::time::Time;
use tokio::time::Instant;

/// A monotonic clock with a zero of its own, and the wall clock. Clones share the zero.
#[derive(Clone, Debug)]
pub struct Clock {
    zero: Instant,
    wall: Wall,
}

#[derive(Clone, Debug)]
enum Wall {
    Simulated { zero: SystemTime, step: Step },
    System,
}

/// How far a simulated wall clock is ahead. Clones are the same step.
#[derive(Clone, Debug, Default)]
pub struct Step(Arc<AtomicU64>);

impl Step {
    /// Sets every clock with this step that far ahead, in whole milliseconds.
    pub fn set(&self, ahead: Duration) {
        let millis = u64::try_from(ahead.as_millis()).unwrap_or(u64::MAX);
        self.0.store(millis, Ordering::Relaxed);
    }

    fn get(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

impl Clock {
    /// A clock whose zero is now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place where a clock is read")]
    pub fn start() -> Self {
        Self { zero: Instant::now(), wall: Wall::System }
    }

    /// A clock whose zero is now, which is `zero` on the wall, and `step` ahead of that.
    #[must_use]
    pub fn simulated(zero: SystemTime, step: Step) -> Self {
        Self { wall: Wall::Simulated { zero, step }, ..Self::start() }
    }

    /// The time since this clock's zero.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place where a clock is read")]
    pub fn now(&self) -> Time {
        Time::ZERO + Instant::now().saturating_duration_since(self.zero)
    }

    /// The time on the wall. It may go back, and is never used to measure a span.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place where a clock is read")]
    pub fn wall(&self) -> SystemTime {
        match &self.wall {
            Wall::Simulated { zero, step } => {
                *zero + self.now().saturating_since(Time::ZERO) + step.get()
            }
            Wall::System => SystemTime::now(),
        }
    }

    /// Waits until `at`; returns at once if it has passed, never if it is beyond the clock's range.
    pub async fn sleep_until(&self, at: Time) {
        match self.zero.checked_add(Duration::from_nanos(at.as_nanos())) {
            Some(instant) => tokio::time::sleep_until(instant).await,
            None => std::future::pending().await,
        }
    }
}

/// When a timer of tokio's is due.
pub(crate) type Moment = Instant;

/// The moment `span` from now, for a timer that may be set later.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place where a clock is read")]
pub(crate) fn after(span: Duration) -> Moment {
    let now = Instant::now();
    // So far away that it never comes.
    now.checked_add(span).unwrap_or_else(|| now + Duration::from_secs(1 << 30))
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

    #[tokio::test(start_paused = true)]
    async fn simulated_wall_clock_follows_the_other_and_its_step() {
        let (zero, step) = (SystemTime::UNIX_EPOCH + Duration::from_secs(9), Step::default());
        let clock = Clock::simulated(zero, step.clone());
        clock.sleep_until(Time::from_millis(1500)).await;
        assert_eq!(clock.wall(), zero + Duration::from_millis(1500));
        step.set(Duration::from_secs(60));
        assert_eq!(clock.wall(), zero + Duration::from_millis(61_500));
    }
}
