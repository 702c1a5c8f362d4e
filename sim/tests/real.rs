//! The real adapters over a simulated network: a plan gives the same run each time, whatever ran
//! before it, and what it promises holds.

use std::time::Duration;

use sim::{Checks, Fault, FaultKind, Outcome, Plan, Traffic, real};

/// Requests for two seconds, while an instance dies, a link breaks and the router is replaced.
fn plan(seed: u64) -> Plan {
    let fault = |kind, at| Fault {
        kind,
        at: Duration::from_millis(at),
        span: Duration::from_millis(300),
        whom: 0,
        size: 3,
    };
    let mut plan = Plan { seed, ..Plan::default() };
    plan.traffic = vec![Traffic {
        span: Duration::from_secs(2),
        upload: 1_000,
        download: 100_000,
        ..Traffic::burst(40, Duration::ZERO, Duration::from_millis(100))
    }];
    plan.lambda.init = Duration::from_millis(100);
    plan.pool.slots = 2;
    plan.fault = vec![
        fault(FaultKind::CrashBusy, 700),
        fault(FaultKind::ResetBody, 900),
        fault(FaultKind::RouterCrash, 1_300),
    ];
    plan
}

fn run(seed: u64) -> (Outcome, String) {
    let ran = real::run(&plan(seed), Checks { trace: true, ..Checks::ALL });
    let ran = ran.expect("the limits are in range");
    assert_eq!(ran.0.broken, None, "seed {seed}");
    assert!(ran.0.report.fired.missing(plan(seed).kinds()).is_empty(), "seed {seed}");
    ran
}

#[test]
fn a_burst_after_all_else_is_served() {
    let mut plan = Plan::default();
    let at = Duration::from_secs(1);
    plan.fault = vec![Fault { kind: FaultKind::Burst, at, span: Duration::ZERO, whom: 0, size: 3 }];
    let (outcome, _) = real::run(&plan, Checks::ALL).expect("the limits are in range");
    assert_eq!(outcome.broken, None);
    assert_eq!((outcome.report.served, outcome.report.lost), (3, 0));
}

#[test]
fn a_plan_gives_the_same_run_each_time_and_after_others() {
    let first = run(1);
    run(2);
    let second = run(1);
    let differs = first.1.lines().zip(second.1.lines()).find(|(one, other)| one != other);
    assert_eq!(differs, None);
    assert_eq!(first.0, second.0);
}
