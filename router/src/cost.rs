//! What a pool costs an hour, and what the same requests would cost on Lambda by itself: estimates,
//! from what was used of late and what AWS charges.
//!
//! *Ours* is what Lambda bills for instances, from invoke to end, starts included: their time at
//! the price of their memory, and a fee for each invoke. *Plain* is an invocation for each request,
//! as long as the request was on its instance: their mean time, rounded up to a whole millisecond
//! as Lambda bills it, and a fee for each. Its cold starts are left out, which Lambda bills too, so
//! it is an estimate in favour of plain Lambda; so are the router's own machine and the load
//! balancer, which plain Lambda does not need (`lambda-dispatch report` reckons with all of it).

use std::sync::LazyLock;
use std::time::Duration;

use reports::{Arch, Prices};

/// What was used within a span of time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Used {
    /// The span.
    pub(crate) span: Duration,
    /// Time of instances, summed over them.
    pub(crate) instances: Duration,
    /// Invokes ordered.
    pub(crate) invokes: u64,
    /// Time of requests on instances, summed over them.
    pub(crate) running: Duration,
    /// Requests given to instances.
    pub(crate) requests: u64,
}

/// Dollars per hour.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Hourly {
    /// What the pool costs.
    pub(crate) ours: f64,
    /// What its requests would cost without a router.
    pub(crate) plain: f64,
}

/// At what rate `used` costs, at this price of an instance's second in picodollars.
pub(crate) fn hourly(used: &Used, per_second: u64) -> Hourly {
    let request = per_request();
    let cost = |time: u128, requests: u64| {
        let dollars = time.saturating_mul(per_second.into()) / SECOND
            + u128::from(requests) * u128::from(request);
        per_hour(dollars, used.span)
    };
    let each = used.running.as_nanos().div_ceil(u128::from(used.requests.max(1)) * MILLISECOND);
    let billed = each * u128::from(used.requests.max(1)) * MILLISECOND;
    Hourly {
        ours: cost(used.instances.as_nanos(), used.invokes),
        plain: cost(billed, used.requests),
    }
}

/// Picodollars for a second of an instance with so much memory, on x86.
pub(crate) fn per_second(memory_mb: u32) -> u64 {
    PRICES.lambda_time(u128::from(memory_mb) * 1_000, Arch::X86).picodollars()
}

/// Picodollars for an invoke, whatever becomes of it. It is the same in nearly every region.
fn per_request() -> u64 {
    PRICES.lambda_requests(1).picodollars()
}

#[expect(clippy::cast_precision_loss, reason = "an estimate, for people")]
fn per_hour(picodollars: u128, span: Duration) -> f64 {
    if span.is_zero() {
        return 0.0;
    }
    picodollars as f64 / 1e12 / span.as_secs_f64() * 3_600.0
}

static PRICES: LazyLock<Prices> =
    LazyLock::new(|| Prices::builtin("us-east-1").expect("its prices are built in"));

/// In nanoseconds.
const SECOND: u128 = 1_000_000_000;
const MILLISECOND: u128 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// A minute in which 10 instances with 1 GB ran and 6,000 requests took 100.2 ms each.
    const MINUTE: Used = Used {
        span: Duration::from_secs(60),
        instances: Duration::from_secs(600),
        invokes: 30,
        running: Duration::from_micros(6_000 * 100_200),
        requests: 6_000,
    };

    fn is_near(is: f64, expected: f64) {
        assert!((is - expected).abs() < 1e-6, "{is} is not {expected}");
    }

    #[test]
    fn time_is_billed_for_instances_or_for_each_request_and_so_are_fees() {
        let Hourly { ours, plain } = hourly(&MINUTE, per_second(1_024));
        // 36,000 GB-seconds an hour at $0.0000166667, 1,800 invokes at $0.20 a million.
        is_near(ours, 36_000.0 * 0.000_016_666_7 + 1_800.0 * 2e-7);
        // 360,000 requests an hour, 101 ms each.
        is_near(plain, 36_360.0 * 0.000_016_666_7 + 360_000.0 * 2e-7);
        let arm = hourly(&MINUTE, 13_333_400);
        assert!(arm.ours < ours && arm.plain < plain);
    }

    #[test]
    fn a_request_that_has_not_ended_costs_and_nothing_costs_nothing() {
        let stream = Used { requests: 0, running: Duration::from_secs(60), ..MINUTE };
        is_near(hourly(&stream, per_second(1_024)).plain, 3_600.0 * 0.000_016_666_7);
        assert_eq!(hourly(&Used::default(), per_second(1_024)), Hourly::default());
        let idle = Used { span: Duration::from_secs(1), ..Used::default() };
        assert_eq!(hourly(&idle, per_second(1_024)), Hourly::default());
    }

    #[test]
    fn the_price_that_settings_begin_with_is_that_of_reports() {
        let setting = crate::settings::find("pool.price_per_gb_second").unwrap();
        let dollars: f64 = setting.default.parse().unwrap();
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let price = per_second(1_024) as f64;
        is_near(dollars * 1e6, price / 1e6);
    }
}
