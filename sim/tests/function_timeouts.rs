//! Whatever a function's time-out: requests are served all the time, each instance is replaced
//! before its lease ends so that nobody waits for a start, and that costs no more invokes than the
//! time-out makes necessary.

#![expect(clippy::unwrap_used, reason = "in a test a panic is a failure, which is what is wanted")]

use std::time::Duration;

use sim::plan::{Lambda, Plan, Pool};
use sim::{Checks, Report, Traffic, fast};

/// In seconds: the original loops below 15 s without ever serving; 900 s is Lambda's most.
const TIMEOUTS: [u32; 9] = [5, 10, 14, 15, 16, 30, 60, 300, 900];
/// Longer than any start here, with the first leases' ends.
const WARM_UP: Duration = Duration::from_secs(40);

/// Steady traffic over four leases at least, after a warm-up.
fn steady(timeout_s: u32, cold_start: Duration, service: Duration, per_second: u32) -> Plan {
    let timeout = Duration::from_secs(timeout_s.into());
    let span = (timeout * 4).max(Duration::from_secs(60));
    let requests = per_second * u32::try_from(span.as_secs()).unwrap();
    let warm_up = per_second * u32::try_from(WARM_UP.as_secs()).unwrap();
    Plan {
        pool: Pool { slots: 10, ..Pool::default() },
        lambda: Lambda { init: cold_start, function_timeout: timeout, ..Lambda::default() },
        traffic: vec![
            Traffic { span: WARM_UP, ..Traffic::burst(warm_up, Duration::ZERO, service) },
            Traffic { span, ..Traffic::burst(requests, WARM_UP, service) },
        ],
        ..Plan::default()
    }
}

fn run(plan: &Plan) -> Report {
    let (outcome, _) = fast::run(plan, Checks { model: false, ..Checks::ALL }).unwrap();
    assert_eq!(outcome.broken, None, "{}", outcome.report);
    outcome.report
}

/// What comes after the warm-up, which alone pays for the starts from nothing.
fn after_warm_up(plan: &Plan) -> (Report, u64, u64) {
    let warm_up = Plan { traffic: plan.traffic[..1].to_vec(), ..plan.clone() };
    let (before, all) = (run(&warm_up).stats, run(plan));
    let exposed = all.stats.cold_exposed - before.cold_exposed;
    let invokes = all.stats.invokes - before.invokes;
    (all, exposed, invokes)
}

#[test]
fn leases_end_and_nobody_waits_for_a_start() {
    for timeout_s in TIMEOUTS {
        for cold_ms in [500, 1_000, 4_000, 9_000] {
            let cold_start = Duration::from_millis(cold_ms);
            let plan = steady(timeout_s, cold_start, Duration::from_millis(100), 30);
            let (report, exposed, invokes) = after_warm_up(&plan);
            let what = format!("time-out {timeout_s} s, start {cold_ms} ms\n{report}");
            assert_eq!(report.refusals(), 0, "{what}");
            assert_eq!(exposed, 0, "{what}");
            // One at a time is enough. It is used for three quarters of its time at least, and the
            // next one comes at most half of that before its end.
            let leases = (report.took - WARM_UP).as_secs().div_ceil(timeout_s.into());
            assert!(invokes <= 3 * leases + 1, "{invokes} invokes for {leases} leases\n{what}");
            assert!(invokes >= 3, "no lease ended: {invokes} invokes\n{what}");
        }
    }
}

/// A request takes as long as it takes: nearly half of its instance's lease here. Only while nobody
/// knows that is one placed where it cannot finish.
#[test]
fn nothing_is_placed_where_it_cannot_finish() {
    for (timeout_s, service_ms) in [
        (5, 1_500),
        (10, 4_000),
        (15, 6_000),
        (30, 12_000),
        (60, 30_000),
        (300, 90_000),
        (900, 300_000),
    ] {
        let service = Duration::from_millis(service_ms);
        let plan = steady(timeout_s, Duration::from_secs(1), service, 2);
        let report = run(&plan);
        let what = format!("time-out {timeout_s} s, service {service_ms} ms\n{report}");
        assert_eq!(report.refusals(), 0, "{what}");
        assert_eq!(report.served, report.requests, "{what}");
    }
}

/// What takes longer than an invoke may is cut at the lease's end, and its client is told so. A
/// function of which nobody has ever had a response is invoked ever more rarely: the others wait,
/// and are told so as well.
#[test]
fn what_cannot_finish_is_told_so() {
    for timeout_s in [5, 10, 15, 60] {
        let service = Duration::from_secs(u64::from(timeout_s) * 2);
        let plan = steady(timeout_s, Duration::from_secs(1), service, 2);
        let report = run(&plan);
        let what = format!("time-out {timeout_s} s\n{report}");
        let told = |reason| report.refused.get(reason).copied().unwrap_or_default();
        let (cut, waited) = (told("lease_ended"), told("queue_timeout"));
        assert_eq!((report.served, cut + waited), (0, report.requests), "{what}");
        assert!(cut > report.requests / 10, "{what}");
        assert!(report.stats.invokes <= report.took.as_secs(), "{what}");
        let longest = plan.pool.queue_timeout + Duration::from_secs((timeout_s + 1).into());
        assert!(report.longest <= longest, "{what}");
    }
}
