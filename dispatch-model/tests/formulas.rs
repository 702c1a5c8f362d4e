//! The original's formulas against a second transcription, written from its description with the
//! standard library's rounding, over wide ranges of inputs.

use std::time::Duration;

use dispatch_model::scaling::{Load, constrain, ewma, rule, simple};
use proptest::prelude::*;

fn target(most: u32, multiplier: u32) -> f64 {
    (f64::from(most) / f64::from(multiplier)).ceil()
}

/// Exact below 2^53, and no count is anywhere near.
fn double(count: i64) -> f64 {
    format!("{count}").parse().expect("a number is a number")
}

fn simple_again(pending: i64, running: i64, most: u32, multiplier: u32) -> f64 {
    let (p, r) = (double(pending.max(0)), double(running.max(0)));
    if p == 0.0 && r == 0.0 {
        return 0.0;
    }
    let a = r / target(most, multiplier);
    let b = p / f64::from(most) / 2.0;
    let s = a + b;
    if s.ceil() < s * 1.2 { (s * 1.2).ceil() } else { s.ceil() }
}

fn ewma_again(rate: f64, duration: f64, current: i64, most: u32, multiplier: u32) -> f64 {
    let q = 1000.0 / f64::max(2.0, duration) * target(most, multiplier);
    let n = (rate / q * 1.2).ceil();
    if n == double(current) - 1.0 { double(current) } else { n }
}

fn constrain_again(n: i64, c: i64, s: i64, u: f64, v: f64) -> f64 {
    let (n, c, s) = (double(n), double(c), double(s));
    let (up, down) = (f64::max(s, (c * u).ceil()), f64::max(s, (c * v).ceil()));
    if n == 0.0 { 0.0 } else { n.clamp(c - down, c + up) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn simple_is_the_originals(
        pending in prop_oneof![-10_i64..2_000, 0_i64..1_000_000_000],
        running in prop_oneof![-10_i64..2_000, 0_i64..1_000_000_000],
        most in prop_oneof![1_u32..100, 1_u32..1_000_000],
        multiplier in 1_u32..=20,
    ) {
        let expected = simple_again(pending, running, most, multiplier);
        prop_assert_eq!(double(simple(pending, running, most, multiplier)), expected);
    }

    #[test]
    fn ewma_is_the_originals(
        rate in prop_oneof![0.0..1_000.0, 0.0..1e9, (0_u32..10_000).prop_map(f64::from)],
        duration in prop_oneof![0.0..10.0, 0.0..1e6, (0_u32..10_000).prop_map(f64::from)],
        current in 0_i64..10_000,
        most in prop_oneof![1_u32..100, 1_u32..100_000],
        multiplier in 1_u32..=20,
    ) {
        let expected = ewma_again(rate, duration, current, most, multiplier);
        prop_assert_eq!(double(ewma(rate, duration, current, most, multiplier)), expected);
    }

    #[test]
    fn constrain_is_the_originals(
        proposed in prop_oneof![-5_i64..1_000, 0_i64..1_000_000_000],
        current in prop_oneof![0_i64..1_000, 0_i64..1_000_000_000],
        step in 0_i64..20,
        out_ratio in prop_oneof![Just(0.33), 0.0..3.0],
        in_ratio in prop_oneof![Just(0.33), 0.0..3.0],
    ) {
        let expected = constrain_again(proposed, current, step, out_ratio, in_ratio);
        prop_assert_eq!(double(constrain(proposed, current, step, out_ratio, in_ratio)), expected);
    }

    #[test]
    fn queue_that_clears_within_a_cold_start_starts_nothing(
        queued in 0_u32..100_000,
        slots in 0_u32..10_000,
        slots_soon in 0_u32..100,
        warm in 0_u32..100,
        arrivals_per_1000s in 0_u64..10_000_000,
        service_ms in 1_u64..60_000,
        cold_start_ms in 1_u64..60_000,
    ) {
        let load = Load {
            queued,
            slots,
            stuck: 0,
            busy: slots,
            due: None,
            slots_soon,
            slots_per_instance: 10,
            warm,
            arrivals_per_1000s,
            service: Duration::from_millis(service_ms),
            cold_start: Duration::from_millis(cold_start_ms),
        };
        let serving = u64::from(slots + slots_soon);
        let clears = u64::from(queued) * service_ms < serving * cold_start_ms;
        let (with, _) = rule(&load);
        let (without, _) = rule(&Load { queued: 0, ..load });
        prop_assert!(with >= without);
        prop_assert!(!clears || with == without, "{} instead of {}", with, without);
    }
}
