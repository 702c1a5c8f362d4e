//! How many instances: three formulas as pure functions.
//!
//! [`simple`], [`ewma`] and [`constrain`] are the original's, to the last bit, so that its users
//! can move over; their tests, here and in `tests/formulas.rs`, carry worked examples. They compute
//! in IEEE doubles because the original does; addition, multiplication and division of doubles give
//! the same bits on every platform, and nothing else is used. [`rule`] is ours and computes in
//! integers.

use core::time::Duration;

use crate::time::nanos;

use super::output::Why;

/// The original's `simple` formula: instances for `pending` queued and `running` dispatched
/// requests, with `max_concurrent` (its `MaxConcurrentCount`) requests per instance at most and
/// `multiplier` (its `InstanceCountMultiplier`), both at least 1.
///
/// With g = ⌈max_concurrent / multiplier⌉ it is s = running / g + pending / max_concurrent / 2,
/// rounded up, or s × 1.2 rounded up where that is more. Negative counts are taken as 0.
///
/// ```
/// use dispatch_model::scaling::simple;
/// assert_eq!(simple(0, 0, 10, 2), 0);
/// assert_eq!(simple(100, 0, 10, 2), 6);
/// ```
#[must_use]
#[expect(clippy::float_arithmetic, reason = "the original's formula, exact on IEEE doubles")]
pub fn simple(pending: i64, running: i64, max_concurrent: u32, multiplier: u32) -> i64 {
    let (pending, running) = (pending.max(0), running.max(0));
    if pending == 0 && running == 0 {
        return 0;
    }
    let target = target_per_instance(max_concurrent, multiplier);
    let sum = double(running) / f64::from(target)
        + double(pending) / f64::from(max_concurrent.max(1)) / 2.0;
    let (plain, padded) = (ceil(sum), sum * 1.2);
    if double(plain) < padded { ceil(padded) } else { plain }
}

/// The original's `ewma` formula: instances for `requests_per_second` arrivals of
/// `mean_duration_ms` each, where `current` are desired now.
///
/// One instance does q = 1000 / max(2, duration) × g requests per second; the result is
/// ⌈requests_per_second / q × 1.2⌉, except that one fewer than `current` stays at `current`.
///
/// ```
/// use dispatch_model::scaling::ewma;
/// assert_eq!(ewma(100.0, 50.0, 0, 10, 2), 2);
/// assert_eq!(ewma(100.0, 50.0, 3, 10, 2), 3);
/// ```
#[must_use]
#[expect(clippy::float_arithmetic, reason = "the original's formula, exact on IEEE doubles")]
pub fn ewma(
    requests_per_second: f64,
    mean_duration_ms: f64,
    current: i64,
    max_concurrent: u32,
    multiplier: u32,
) -> i64 {
    let duration = if mean_duration_ms > 2.0 { mean_duration_ms } else { 2.0 };
    let target = target_per_instance(max_concurrent, multiplier);
    let per_instance = 1000.0 / duration * f64::from(target);
    let proposed = ceil(requests_per_second / per_instance * 1.2);
    if proposed == current.saturating_sub(1) { current } else { proposed }
}

/// The original's bound on one step from `current` towards `proposed`: at most
/// max(`step`, ⌈current × ratio⌉) at once, with `out_ratio` upwards and `in_ratio` downwards.
/// A proposal of 0 is always taken at once.
///
/// ```
/// use dispatch_model::scaling::constrain;
/// assert_eq!(constrain(100, 0, 5, 0.33, 0.33), 5);
/// assert_eq!(constrain(0, 100, 5, 0.33, 0.33), 0);
/// ```
#[must_use]
#[expect(clippy::float_arithmetic, reason = "the original's formula, exact on IEEE doubles")]
pub fn constrain(proposed: i64, current: i64, step: i64, out_ratio: f64, in_ratio: f64) -> i64 {
    if proposed == 0 {
        return 0;
    }
    let most_up = step.max(ceil(double(current) * out_ratio));
    let most_down = step.max(ceil(double(current) * in_ratio));
    let change = proposed.saturating_sub(current);
    if change > most_up {
        current.saturating_add(most_up)
    } else if change < most_down.saturating_neg() {
        current.saturating_sub(most_down)
    } else {
        proposed
    }
}

/// The step with which the original calls [`constrain`].
pub const STEP: i64 = 5;
/// The ratios with which the original calls [`constrain`].
pub const RATIO: f64 = 0.33;

/// What [`rule`] looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Requests that wait, or found no room to since the last look.
    pub queued: u32,
    /// Slots of instances that serve and will still serve when a new one would be up.
    pub slots: u32,
    /// Busy ones among them whose request has outlived what is normal: they will not be free soon.
    pub stuck: u32,
    /// Busy slots of instances that serve.
    pub busy: u32,
    /// Busy ones among them, but for the stuck, whose request will be over when a new instance
    /// would be up; `None` where there are enough of these for all who wait.
    pub due: Option<u32>,
    /// Slots of instances that start in a frozen environment and so will serve in a moment.
    pub slots_soon: u32,
    /// Slots per instance.
    pub slots_per_instance: u32,
    /// Frozen environments in which further instances could start.
    pub warm: u32,
    /// Arrivals per 1,000 seconds, as expected when a new instance would be up.
    pub arrivals_per_1000s: u64,
    /// Mean service time: t.
    pub service: Duration,
    /// Time from an invoke to its first slot with a new environment: T.
    pub cold_start: Duration,
}

/// Ours: instances for `load`, and why.
///
/// Two needs, the larger wins.
///
/// *Rate.* Little's law: λ·t requests are in flight on average, and the stuck ones besides. Square
/// root staffing (Halfin and Whitt 1981) adds √(λ·t) slots for chance. What is in flight now keeps
/// its slots in any case.
///
/// *Backlog.* Q queued requests leave through S free-running slots in Q/S·t. Below T nothing that
/// starts cold now would help any of them, so nothing is started: that is the product's promise.
/// Slots that were taken together are free together, though, after t, and not one by one: where t
/// is longer than T, only those whose request is due within T count.
/// From T on, frozen environments are used first, as many as clear the queue in an eighth of T.
/// Each of their F slots is free in a moment: Q ≤ F need nothing more, however long they take. If
/// Q/S·t with them is still not below T, what would be left after T, Q + λ·T − F − S·T/t, is given
/// enough cold slots to be gone within an eighth of T more (at least t): waiting nine eighths of a
/// cold start instead of one is worth several instances saved.
#[must_use]
pub fn rule(load: &Load) -> (u32, Why) {
    let service = nanos(load.service).max(1);
    let per_instance = u128::from(load.slots_per_instance.max(1));
    let arrivals = u128::from(load.arrivals_per_1000s);

    let in_flight_milli = arrivals * u128::from(service) / NANOS + u128::from(load.stuck) * 1_000;
    let spare_milli = (in_flight_milli * 1_000).isqrt();
    let rate_milli = (in_flight_milli + spare_milli).max(u128::from(load.busy) * 1_000);
    let rate = rate_milli.div_ceil(per_instance * 1_000);
    let for_rate = Why::Rate {
        arrivals_per_1000s: load.arrivals_per_1000s,
        service: load.service,
        stuck: load.stuck,
    };

    match backlog(load) {
        Some(backlog) if backlog > rate => {
            if let Some(due) = load.due {
                let (queued, cold_start) = (load.queued, load.cold_start);
                return (saturate(backlog), Why::Busy { queued, due, cold_start });
            }
            let why = Why::Backlog {
                queued: load.queued,
                slots: load.slots,
                service: load.service,
                cold_start: load.cold_start,
            };
            (saturate(backlog), why)
        }
        Some(_) | None => (saturate(rate), for_rate),
    }
}

/// Instances that the queue needs, or `None` if those that serve clear it in time.
fn backlog(load: &Load) -> Option<u128> {
    let service = u128::from(nanos(load.service).max(1));
    let cold = u128::from(nanos(load.cold_start));
    let per_instance = u128::from(load.slots_per_instance.max(1));
    let queued = u128::from(load.queued);
    let soon = u128::from(load.slots_soon);
    let serving = u128::from(load.slots) + soon;
    let late = load.due.map_or(0, |due| load.busy.saturating_sub(load.stuck.saturating_add(due)));
    let free_running = serving.saturating_sub(u128::from(load.stuck) + u128::from(late));
    let in_time =
        |slots: u128, free: u128| queued <= free || queued * service < slots.saturating_mul(cold);
    if queued == 0 || in_time(free_running, soon) {
        return None;
    }
    let drain = (cold / 8).max(service);
    let slots_for = |requests: u128| requests.saturating_mul(service).div_ceil(drain);
    let warm = slots_for(queued).div_ceil(per_instance).min(load.warm.into());
    let free_running = free_running + warm * per_instance;
    let soon = soon + warm * per_instance;
    let extra = if in_time(free_running, soon) {
        0
    } else {
        let arriving = u128::from(load.arrivals_per_1000s) * cold / (NANOS * 1_000);
        let leaving = soon + free_running.saturating_mul(cold) / service;
        // At least one is left: the last of the queue waits T, which is what must not happen.
        slots_for((queued + arriving).saturating_sub(leaving).max(1))
    };
    Some((serving + extra).div_ceil(per_instance) + warm)
}

const NANOS: u128 = 1_000_000_000;

const fn target_per_instance(max_concurrent: u32, multiplier: u32) -> u32 {
    let (most, parts) = (if max_concurrent == 0 { 1 } else { max_concurrent }, multiplier);
    most.div_ceil(if parts == 0 { 1 } else { parts })
}

/// Rounds up to an integer. `core` has no `ceil` for doubles.
#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, which is meant")]
fn ceil(value: f64) -> i64 {
    let whole = value as i64;
    if double(whole) < value { whole.saturating_add(1) } else { whole }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
const fn double(value: i64) -> f64 {
    value as f64
}

fn saturate(value: u128) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load() -> Load {
        Load {
            queued: 0,
            slots: 10,
            stuck: 0,
            busy: 0,
            due: None,
            slots_soon: 0,
            slots_per_instance: 10,
            warm: 0,
            arrivals_per_1000s: 0,
            service: Duration::from_millis(50),
            cold_start: Duration::from_secs(3),
        }
    }

    #[test]
    fn simple_gives_the_originals_numbers() {
        // (pending, running, M, k) -> worked by hand from the formula.
        for (pending, running, max, multiplier, expected) in [
            (0, 0, 10, 2, 0),
            (-5, 0, 10, 2, 0),
            (1, 0, 10, 2, 1),    // s = 0.05, 1 >= 0.06
            (0, 5, 10, 2, 2),    // s = 1, 1 < 1.2 -> 2
            (0, 4, 10, 2, 1),    // s = 0.8, 1 >= 0.96
            (100, 0, 10, 2, 6),  // s = 5, 5 < 6 -> 6
            (100, 10, 10, 2, 9), // s = 7, 7 < 8.4 -> 9
            (7, 3, 1, 1, 8),     // s = 6.5, 7 < 7.8 -> 8
            (3, 3, 3, 10, 5),    // g = 1, s = 3.5, 4 < 4.2 -> 5
        ] {
            assert_eq!(simple(pending, running, max, multiplier), expected, "{pending} {running}");
        }
    }

    #[test]
    fn ewma_gives_the_originals_numbers() {
        for (rate, duration, current, expected) in [
            (0.0, 50.0, 0, 0),
            (100.0, 50.0, 0, 2), // q = 100, 1.2 -> 2
            (100.0, 50.0, 3, 3), // one fewer than now stays
            (100.0, 50.0, 4, 2),
            (1000.0, 1.0, 0, 1), // a duration below 2 ms counts as 2: q = 2500, 0.48 -> 1
        ] {
            assert_eq!(
                ewma(rate, duration, current, 10, 2),
                expected,
                "{rate} {duration} {current}"
            );
        }
    }

    #[test]
    fn constrain_bounds_steps_but_not_the_way_to_zero() {
        for (proposed, current, expected) in [
            (0, 100, 0),
            (100, 0, 5),
            (100, 100, 100),
            (200, 100, 133),
            (10, 100, 67),
            (96, 100, 96),
        ] {
            assert_eq!(constrain(proposed, current, STEP, RATIO, RATIO), expected, "{current}");
        }
    }

    #[test]
    fn nothing_is_started_while_the_queue_clears_within_a_cold_start() {
        // 599 x 50 ms / 10 = 2.995 s < 3 s.
        assert!(rule(&Load { queued: 599, ..load() }).0 <= 1);
        assert!(rule(&Load { queued: 600, ..load() }).0 > 1);
    }

    #[test]
    fn from_zero_a_burst_gets_slots_for_an_eighth_of_a_cold_start() {
        // 100 x 50 ms / 375 ms = 13.3 slots.
        let (instances, why) = rule(&Load { queued: 100, slots: 0, ..load() });
        assert_eq!(instances, 2);
        assert!(matches!(why, Why::Backlog { queued: 100, slots: 0, .. }));
    }

    #[test]
    fn frozen_environments_come_before_cold_ones() {
        // Two environments clear 100 x 50 ms in an eighth of 3 s.
        assert_eq!(rule(&Load { queued: 100, slots: 0, warm: 5, ..load() }).0, 2);
        // One is not enough for that, but enough for the promise: 0.5 s < 3 s.
        assert_eq!(rule(&Load { queued: 100, slots: 0, warm: 1, ..load() }).0, 1);
        // Once it is on its way, nothing more is needed.
        assert!(rule(&Load { queued: 100, slots: 0, slots_soon: 10, ..load() }).0 <= 1);
        // 1,000 x 50 ms / 10 = 5 s: one is not enough.
        assert!(rule(&Load { queued: 1_000, slots: 0, warm: 1, ..load() }).0 > 1);
        // Ten wait and ten slots are free in a moment, if each for longer than a start.
        let long = Load { queued: 10, slots: 0, service: Duration::from_secs(40), ..load() };
        assert_eq!(rule(&Load { warm: 1, ..long }).0, 1);
        assert!(rule(&Load { slots_soon: 10, ..long }).0 <= 1);
        // The eleventh has none.
        assert!(rule(&Load { queued: 11, warm: 1, ..long }).0 > 1);
        assert!(rule(&Load { queued: 11, slots_soon: 10, ..long }).0 > 1);
    }

    #[test]
    fn steady_traffic_is_staffed_by_littles_law() {
        // 1,000/s x 50 ms = 50 in flight, and 7.07 spare.
        assert_eq!(rule(&Load { arrivals_per_1000s: 1_000_000, ..load() }).0, 6);
    }

    #[test]
    fn requests_in_flight_keep_their_slots_when_nothing_arrives() {
        assert_eq!(rule(&Load { busy: 11, ..load() }).0, 2);
    }

    #[test]
    fn slots_that_will_not_be_free_soon_do_not_count() {
        let stuck = Load { queued: 1, stuck: 10, ..load() };
        assert_eq!(rule(&stuck).0, 2);
    }

    #[test]
    fn extreme_numbers_do_not_overflow() {
        let most = Load {
            queued: u32::MAX,
            slots: u32::MAX,
            stuck: u32::MAX,
            busy: u32::MAX,
            due: Some(0),
            slots_soon: u32::MAX,
            slots_per_instance: 1,
            warm: u32::MAX,
            arrivals_per_1000s: u64::MAX,
            service: Duration::MAX,
            cold_start: Duration::MAX,
        };
        assert_eq!(rule(&most).0, u32::MAX);
        assert_eq!(simple(i64::MAX, i64::MAX, 1, 1), i64::MAX);
    }
}
