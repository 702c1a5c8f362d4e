//! What queueing theory says of a steady state, so that a simulated number can be believed.
//!
//! Requests that come independently of each other, take exponentially distributed times and wait in
//! one queue for one of `c` slots are M/M/c: Erlang's C formula (1917) gives who waits, and how
//! long.

use std::time::Duration;

/// One queue in front of like slots: M/M/c.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Queue {
    /// Requests a second.
    pub rate: f64,
    /// Mean service time.
    pub service: Duration,
    /// Slots.
    pub slots: u32,
}

impl Queue {
    /// Slots that are busy on average, were there enough.
    #[must_use]
    pub fn load(&self) -> f64 {
        self.rate * self.service.as_secs_f64()
    }

    /// Busy share of the slots; from 1 on the queue grows without end.
    #[must_use]
    pub fn utilisation(&self) -> f64 {
        self.load() / f64::from(self.slots)
    }

    /// Share of requests that wait at all, by Erlang's C formula; none if the queue grows without
    /// end.
    #[must_use]
    pub fn share_waits(&self) -> Option<f64> {
        let (load, utilisation) = (self.load(), self.utilisation());
        if utilisation >= 1.0 {
            return None;
        }
        // The share that a system without a queue would refuse, slot by slot.
        let refused = (1..=self.slots).fold(1.0, |refused, slots| {
            let offered = load * refused;
            offered / (f64::from(slots) + offered)
        });
        Some(refused / (1.0 - utilisation * (1.0 - refused)))
    }

    /// Mean wait of all requests, in seconds.
    #[must_use]
    pub fn wait(&self) -> Option<f64> {
        Some(self.share_waits()? / self.drained_per_second())
    }

    /// By how much more slots finish than come, a second.
    fn drained_per_second(&self) -> f64 {
        f64::from(self.slots) / self.service.as_secs_f64() - self.rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(rate: f64, slots: u32) -> Queue {
        Queue { rate, service: Duration::from_secs(1), slots }
    }

    fn assert_close(is: f64, should: f64, within: f64) {
        assert!((is - should).abs() <= within, "{is} instead of {should}");
    }

    #[test]
    fn erlang_c_gives_the_values_of_the_tables() {
        // One slot: who waits is who finds it busy.
        assert_close(queue(0.8, 1).share_waits().unwrap(), 0.8, 1e-12);
        assert_close(queue(0.8, 1).wait().unwrap(), 4.0, 1e-12);
        // Two slots: 2 rho^2 / (1 + rho).
        assert_close(queue(1.0, 2).share_waits().unwrap(), 1.0 / 3.0, 1e-12);
        // The call centre of every textbook: 8 of load, 10 agents.
        assert_close(queue(8.0, 10).share_waits().unwrap(), 0.409_18, 1e-5);
    }

    #[test]
    fn queue_that_grows_without_end_has_no_steady_state() {
        assert_eq!(queue(2.0, 2).share_waits(), None);
        assert_eq!(queue(3.0, 2).wait(), None);
    }
}
