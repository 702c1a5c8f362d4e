//! What queueing theory says of a steady state, so that a simulated number can be believed.
//!
//! Requests that come independently of each other, take exponentially distributed times and wait in
//! one queue for one of `c` slots are M/M/c: Erlang's C formula (1917) gives who waits, and how
//! long. Halfin and Whitt (1981) say how many slots that takes when there are many. Where slots are
//! switched off when idle and set up one at a time, Gandhi and Harchol-Balter (2010) add one set-up
//! to the wait.

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

    /// Share of requests that wait longer than `span`.
    #[must_use]
    pub fn share_waits_longer(&self, span: Duration) -> Option<f64> {
        let left = (-self.drained_per_second() * span.as_secs_f64()).exp();
        Some(self.share_waits()? * left)
    }

    /// Mean wait, in seconds, if a slot is switched off as soon as nobody needs it and takes
    /// `setup` on average, exponentially distributed, to be there again, one at a time
    /// (M/M/k/setup, staggered).
    #[must_use]
    pub fn wait_with_setup(&self, setup: Duration) -> Option<f64> {
        Some(self.wait()? + setup.as_secs_f64())
    }

    /// By how much more slots finish than come, a second.
    fn drained_per_second(&self) -> f64 {
        f64::from(self.slots) / self.service.as_secs_f64() - self.rate
    }
}

/// Share of requests that wait when there are `load + spare * sqrt(load)` of many slots.
#[must_use]
pub fn halfin_whitt(spare: f64) -> f64 {
    let density = (-spare * spare / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    1.0 / (1.0 + spare * normal(spare) / density)
}

/// Slots that `load` needs so that about this share of requests waits: load, and a multiple of its
/// square root.
#[must_use]
pub fn slots_needed(load: f64, share_waits: f64) -> f64 {
    let (mut low, mut high) = (0.0, 10.0);
    for _ in 0..60 {
        let spare = f64::midpoint(low, high);
        if halfin_whitt(spare) > share_waits { low = spare } else { high = spare }
    }
    load + high * load.sqrt()
}

/// Share of a standard normal distribution that is below `x`, for `x` from 0 on, to seven digits
/// (Abramowitz and Stegun 26.2.17).
fn normal(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * x);
    let factors = [1.330_274_429, -1.821_255_978, 1.781_477_937, -0.356_563_782, 0.319_381_530];
    let tail = factors.iter().fold(0.0, |sum, factor| (sum + factor) * t);
    1.0 - tail * (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt()
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
        let longer = queue(8.0, 10).share_waits_longer(Duration::from_secs(1)).unwrap();
        assert_close(longer, 0.409_18 * (-2.0_f64).exp(), 1e-5);
    }

    #[test]
    fn queue_that_grows_without_end_has_no_steady_state() {
        assert_eq!(queue(2.0, 2).share_waits(), None);
        assert_eq!(queue(3.0, 2).wait(), None);
    }

    #[test]
    fn setup_of_one_slot_after_the_other_is_waited_for_once() {
        let wait = queue(0.5, 1).wait_with_setup(Duration::from_secs(3)).unwrap();
        assert_close(wait, 4.0, 1e-12);
    }

    #[test]
    fn many_slots_behave_as_halfin_and_whitt_say() {
        for spare in [0.2_f64, 0.5, 1.0, 2.0] {
            let load = 10_000.0_f64;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small")]
            let slots = (load + spare * load.sqrt()).round() as u32;
            let exact = queue(load, slots).share_waits().unwrap();
            assert_close(halfin_whitt(spare), exact, 0.01);
            assert_close(slots_needed(load, halfin_whitt(spare)), f64::from(slots), 0.01);
        }
        assert_close(halfin_whitt(0.0), 1.0, 1e-9);
    }
}
