//! A function that always fails costs at most 40 invokes in ten minutes, whatever the failure and
//! the traffic.

use std::time::Duration;

use sim::fault::{Fault, FaultKind, ZONES};
use sim::plan::{Extension, Lambda, Plan, Pool};
use sim::{Checks, Report, Traffic, fast};

const TEN_MINUTES: Duration = Duration::from_secs(600);
/// So that nobody who came last is served because all is well again.
const REST: Duration = Duration::from_secs(130);

/// A function that fails in this way in every zone from the start.
fn failing(kind: FaultKind) -> Plan {
    let everywhere =
        |whom| Fault { kind, at: Duration::ZERO, span: TEN_MINUTES + REST, whom, size: 4_000 };
    Plan { fault: (0..ZONES).map(everywhere).collect(), ..Plan::default() }
}

/// Without looks at every step: there are millions.
fn run(plan: &Plan) -> Report {
    let (outcome, _) = fast::run(plan, Checks::NONE).expect("the limits are in range");
    assert_eq!(outcome.broken, None);
    outcome.report
}

fn assert_few_invokes(name: &str, failing: &Plan) {
    for (per_second, instances_min) in [(1, 0), (1, 5), (1_000, 0)] {
        let first = Duration::from_millis(10);
        let traffic = Traffic {
            span: TEN_MINUTES - first,
            ..Traffic::burst(per_second * 600, first, Duration::from_millis(50))
        };
        let plan = Plan {
            traffic: vec![traffic],
            pool: Pool { instances_min, ..failing.pool },
            ..failing.clone()
        };
        let report = run(&plan);
        let invokes = report.stats.invokes;
        assert!(invokes <= 40, "{name} at {per_second}/s: {invokes} invokes\n{report}");
        assert!(invokes >= 1, "{name}: it is never tried\n{report}");
        assert_eq!(report.served, 0, "{name}: somebody was served\n{report}");
    }
}

#[test]
fn function_that_crashes_at_init() {
    assert_few_invokes("init-crash", &failing(FaultKind::InitCrash));
}

#[test]
fn function_that_crashes_at_its_first_request() {
    assert_few_invokes("crash-on-request", &failing(FaultKind::CrashOnRequest));
}

#[test]
fn function_that_never_starts() {
    let plan = failing(FaultKind::InitHang);
    assert_few_invokes("init-hang", &plan);
    let lambda = Lambda { function_timeout: Duration::from_secs(5), ..plan.lambda };
    assert_few_invokes("init-hang that times out", &Plan { lambda, ..plan });
}

#[test]
fn function_that_cannot_reach_the_router() {
    assert_few_invokes("connect-refused", &failing(FaultKind::ConnectRefused));
    assert_few_invokes("untrusted", &failing(FaultKind::Untrusted));
    assert_few_invokes("partition", &failing(FaultKind::Partition));
}

#[test]
fn function_whose_offers_have_all_expired_returns_without_an_instance() {
    assert_few_invokes("clock-step", &failing(FaultKind::ClockStep));
}

#[test]
fn forbidden_function() {
    assert_few_invokes("forbidden", &failing(FaultKind::Forbidden));
}

#[test]
fn throttled_function() {
    assert_few_invokes("throttle", &failing(FaultKind::Throttle));
}

#[test]
fn unavailable_lambda() {
    assert_few_invokes("unavailable", &failing(FaultKind::Unavailable));
}

/// It works, and its instances leave before anybody has asked them for anything.
#[test]
fn instances_that_leave_at_once_and_nobody_who_wants_them() {
    let plan = Plan {
        extension: Extension { linger: Some(Duration::from_millis(10)), ..Extension::default() },
        pool: Pool { instances_min: 5, ..Pool::default() },
        traffic: vec![Traffic::burst(1, TEN_MINUTES, Duration::from_millis(50))],
        ..Plan::default()
    };
    let report = run(&plan);
    assert!((1..=40).contains(&report.stats.invokes), "{report}");
    assert_eq!(report.served, 1, "{report}");
}
