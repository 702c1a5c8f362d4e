//! What a run used of AWS, and what that costs a month.
//!
//! Whoever serves adds up amounts and knows no prices; [`cost`] scales the amounts to a month as
//! long as the one on a bill, 730 hours, and applies prices to them, so that volume discounts are
//! those of a month. A month has the traffic as often as it fits, and with it all that requests
//! use, however late they end; what is held is held all month, and was for the run's span.
//! Instances that are kept are held, though AWS bills them as it does those that come and go.

use std::time::Duration;

use serde::Serialize;

use crate::money::{Bill, Dollars};
use crate::prices::{Arch, Prices, PricesError};
use crate::report::Cost;

/// A month, as AWS counts when it gives examples: 730 hours.
pub const MONTH: Duration = Duration::from_secs(730 * 3_600);

/// What a run used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// From the start of the traffic until it and its last request were over.
    pub span: Duration,
    /// Invocations of Lambda on demand. Initialisations without one are in their time.
    pub on_demand: Bill,
    /// What of their memory and time is held whatever comes, in MB·ms.
    pub kept_mb_ms: u128,
    /// Provisioned concurrency.
    pub provisioned: Provisioned,
    /// Snapshots, of runtimes that pay for them.
    pub snapstart: SnapStart,
    /// Lambda Managed Instances.
    pub managed: Managed,
    /// Containers.
    pub containers: Containers,
    /// Time of slots that were paid for: of an environment one, of a container as many as it has.
    pub paid_slot_time: Duration,
    /// Requests that AWS refused with 429 at least once.
    pub throttled: u64,
}

/// What was used of Lambda's provisioned concurrency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Provisioned {
    /// Memory that was kept, times the time, in MB·ms. What was released within the run is rounded
    /// up to five minutes.
    pub held_mb_ms: u128,
    /// Memory of invocations that were served by it, times their time, in MB·ms.
    pub used_mb_ms: u128,
    /// Those invocations.
    pub requests: u64,
}

/// What was used of SnapStart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SnapStart {
    /// Memory of the snapshot times the time for which it was kept, in MB·ms.
    pub cached_mb_ms: u128,
    /// Memory of all environments that were restored, in MB.
    pub restored_mb: u64,
}

/// What was used of Lambda Managed Instances.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Managed {
    /// Which type of EC2 instances.
    pub instance_type: String,
    /// Their time in sum.
    pub time: Duration,
    /// Requests.
    pub requests: u64,
}

/// What containers of one size were used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Containers {
    /// Processor of each: 1,024 units are one vCPU.
    pub cpu_units: u32,
    /// Memory of each, in MB.
    pub memory_mb: u32,
    /// Their time in sum.
    pub time: Duration,
}

impl Usage {
    /// GB-seconds of Lambda that a month comes to, of traffic that lasts so long.
    #[must_use]
    pub fn gb_seconds_month(&self, traffic: Duration) -> f64 {
        let mb_ms = self.on_demand_month(traffic) + month(self.provisioned.used_mb_ms, traffic);
        mb_ms as f64 / (1_024.0 * 1_000.0)
    }

    /// MB·ms of Lambda on demand that a month comes to, of traffic that lasts so long.
    fn on_demand_month(&self, traffic: Duration) -> u128 {
        let all = self.on_demand.mb_ms();
        let kept = self.kept_mb_ms.min(all);
        month(kept, self.span).saturating_add(month(all - kept, traffic))
    }

    /// Requests that Lambda charges for in a month, of traffic that lasts so long.
    #[must_use]
    pub fn lambda_requests_month(&self, traffic: Duration) -> u64 {
        let requests =
            self.on_demand.requests() + self.provisioned.requests + self.managed.requests;
        u64::try_from(month(requests.into(), traffic)).unwrap_or(u64::MAX)
    }
}

/// What `amount` in `span` is in a month, rounded down.
pub(crate) fn month(amount: u128, span: Duration) -> u128 {
    let span = span.as_nanos().max(1);
    let (whole, part) = (amount / span, amount % span);
    whole.saturating_mul(MONTH.as_nanos()).saturating_add(part * MONTH.as_nanos() / span)
}

/// What a month of `usage` costs, line by line, of traffic that lasts so long; lines of nothing are
/// left out.
///
/// # Errors
/// There is no price for the type of its managed instances.
pub fn cost(
    usage: &Usage,
    traffic: Duration,
    prices: &Prices,
    arch: Arch,
) -> Result<Vec<Cost>, PricesError> {
    let Provisioned { held_mb_ms, used_mb_ms, .. } = usage.provisioned;
    let SnapStart { cached_mb_ms, restored_mb } = usage.snapstart;
    let Containers { cpu_units, memory_mb, time } = usage.containers;
    let used = |amount| month(amount, traffic);
    let held = |amount| month(amount, usage.span);
    let held_time = |time: Duration| Duration::from_nanos_u128(held(time.as_nanos()));
    let restored = u64::try_from(used(restored_mb.into())).unwrap_or(u64::MAX);
    let ec2 = if usage.managed.time.is_zero() {
        Dollars::default()
    } else {
        prices.ec2(&usage.managed.instance_type, held_time(usage.managed.time))?
    };
    let lines = [
        ("Lambda time", prices.lambda_time(usage.on_demand_month(traffic), arch)),
        ("Lambda requests", prices.lambda_requests(usage.lambda_requests_month(traffic))),
        ("provisioned concurrency", prices.provisioned_held(held(held_mb_ms), arch)),
        ("time on provisioned", prices.provisioned_used(used(used_mb_ms), arch)),
        ("SnapStart", prices.snapstart(held(cached_mb_ms), restored)),
        ("EC2 instances", ec2),
        ("fee for managing them", prices.managed_fee(ec2)),
        ("containers", prices.fargate(arch, cpu_units, memory_mb, held_time(time))),
    ];
    let lines = lines.into_iter().filter(|(_, month)| *month > Dollars::default());
    let cost = |(what, month): (&str, Dollars)| {
        let is_fixed = FIXED.contains(&what);
        Cost { what: what.to_owned(), is_fixed, month }
    };
    Ok(lines.map(cost).collect())
}

/// What is paid for whatever comes, as far as it is not made to follow.
const FIXED: [&str; 4] =
    ["provisioned concurrency", "EC2 instances", "fee for managing them", "containers"];

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(usage: &Usage) -> Vec<String> {
        let prices = Prices::builtin("us-east-1").unwrap();
        let lines = cost(usage, usage.span, &prices, Arch::X86).unwrap();
        lines.iter().map(|line| format!("{} {:.4}", line.what, line.month)).collect()
    }

    #[test]
    fn hour_is_scaled_to_the_hours_of_a_month() {
        let mut bill = Bill::new(1_024);
        (0..1_000).for_each(|_| bill.add_ms(100));
        let hour = Duration::from_secs(3_600);
        let usage = Usage { span: hour, on_demand: bill, ..Usage::default() };
        // 73,000 GB-s and 730,000 requests.
        assert_eq!(lines(&usage), ["Lambda time $1.2167", "Lambda requests $0.1460"]);
        assert_eq!(usage.lambda_requests_month(hour), 730_000);
        assert!((usage.gb_seconds_month(hour) - 73_000.0).abs() < 1.0);
    }

    #[test]
    fn discounts_are_those_of_a_month_although_the_run_was_short() {
        let mut bill = Bill::new(10_240);
        // A thousand environments of 10 GB for an hour: 36 M GB-s, in a month 26,280 M.
        bill.add_ms(3_600_000 * 1_000);
        let span = Duration::from_secs(3_600);
        let usage = Usage { span, on_demand: bill, ..Usage::default() };
        // 6,000 M at 16.6667, 9,000 M at 15, 11,280 M at 13.3334 dollars a million.
        assert_eq!(lines(&usage), ["Lambda time $385400.9520", "Lambda requests $0.0001"]);
    }

    #[test]
    fn each_way_to_serve_has_its_lines() {
        let span = Duration::from_secs(3_600);
        let usage = Usage {
            span,
            provisioned: Provisioned {
                held_mb_ms: 1_024 * 3_600_000,
                used_mb_ms: 1_024 * 1_000_000,
                requests: 1_000,
            },
            snapstart: SnapStart { cached_mb_ms: 1_024 * 3_600_000, restored_mb: 1_024 },
            managed: Managed {
                instance_type: "m7g.xlarge".to_owned(),
                time: span * 3,
                requests: 1_000,
            },
            containers: Containers { cpu_units: 1_024, memory_mb: 2_048, time: span * 2 },
            ..Usage::default()
        };
        assert_eq!(
            lines(&usage),
            [
                "Lambda requests $0.2920",
                "provisioned concurrency $10.9501",
                "time on provisioned $7.0972",
                "SnapStart $4.0561",
                "EC2 instances $357.4080",
                "fee for managing them $53.6112",
                "containers $72.0802",
            ]
        );
    }

    #[test]
    fn requests_that_end_after_the_traffic_are_a_part_of_it_and_what_is_held_is_for_a_month() {
        let mut bill = Bill::new(1_024);
        (0..1_000).for_each(|_| bill.add_ms(100));
        let hour = Duration::from_secs(3_600);
        let usage = Usage {
            span: hour * 2,
            on_demand: bill,
            provisioned: Provisioned { held_mb_ms: 1_024 * 7_200_000, ..Provisioned::default() },
            ..Usage::default()
        };
        let lines = cost(&usage, hour, &Prices::builtin("us-east-1").unwrap(), Arch::X86).unwrap();
        let lines: Vec<_> = lines.iter().map(|line| format!("{:.4}", line.month)).collect();
        // As of an hour, and one GB all month.
        assert_eq!(lines, ["$1.2167", "$0.1460", "$10.9501"]);
    }

    #[test]
    fn instances_that_are_kept_are_there_for_a_month_however_late_requests_end() {
        let second = Duration::from_secs(1);
        // Two were kept for all of 60 s, and a third was there for 30 s of it.
        let (kept, third) = (2 * 60_000, 30_000);
        let usage = Usage {
            span: second * 60,
            on_demand: Bill::of(1_024, 3, kept + third),
            kept_mb_ms: 1_024 * u128::from(kept),
            ..Usage::default()
        };
        let months = MONTH.as_secs_f64();
        let expected = 2.0 * months + 30.0 * months / 10.0;
        assert!((usage.gb_seconds_month(second * 10) - expected).abs() < 1.0);
        let prices = Prices::builtin("us-east-1").unwrap();
        let lines = cost(&usage, second * 10, &prices, Arch::X86).unwrap();
        let is = prices.lambda_time(5 * 1_024 * MONTH.as_millis(), Arch::X86);
        assert_eq!(lines[0].month, is, "{lines:?}");
    }

    #[test]
    fn nothing_costs_nothing() {
        assert_eq!(lines(&Usage::default()), [""; 0]);
    }
}
