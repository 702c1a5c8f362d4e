//! Environments that Lambda keeps frozen after an invoke has returned. An invoke that finds one has
//! its first slot in milliseconds, so a queue that such invokes can clear in time needs no cold
//! one.
//!
//! This is a belief, for Lambda does not say: an environment is counted when its invoke returns and
//! for as long as Lambda keeps it at the least. An invoke that was expected to find one and did not
//! ends the belief.

use core::time::Duration;

use crate::time::Time;

/// How many frozen environments there should be.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Warm {
    count: u32,
    until: Time,
    /// When the last invoke that should find one should have attached.
    expected: Time,
}

impl Warm {
    pub(crate) const NONE: Self = Self { count: 0, until: Time::ZERO, expected: Time::ZERO };

    pub(crate) fn count(&self, now: Time) -> u32 {
        if now < self.until { self.count } else { 0 }
    }

    /// An invoke has returned.
    pub(crate) fn add(&mut self, now: Time) {
        self.count = self.count(now).saturating_add(1);
        self.until = now + KEPT;
    }

    /// An invoke is ordered; says whether it should find one. It has an eighth of a cold start to
    /// show that it did.
    pub(crate) fn take(&mut self, now: Time, cold_start: Duration) -> bool {
        let found = self.count(now) > 0;
        if found {
            self.count -= 1;
            self.expected = now + cold_start / 8;
        }
        found
    }

    /// Whether invokes that should have found one may still attach in a moment.
    pub(crate) fn is_expected(&self, now: Time) -> bool {
        now < self.expected
    }

    /// An invoke did not find the one that it should have found.
    pub(crate) const fn forget(&mut self) {
        self.count = 0;
    }
}

/// AWS does not document it; five minutes is the least that was measured over the years.
const KEPT: Duration = Duration::from_secs(300);
