//! A function that always fails costs at most 40 invokes in ten minutes, whatever the failure and
//! the traffic.

use std::time::Duration;

use dispatch_model::{InvokeOutcome, Limits, Time};
use sim::{Behaviour, Report, Scenario, Workload, fast};

const TEN_MINUTES: Duration = Duration::from_secs(600);

fn run(behaviour: Behaviour, per_second: u32, limits: Limits) -> Report {
    let scenario = Scenario {
        workload: Workload::Steady { per_second, span: TEN_MINUTES },
        init: Duration::from_secs(1),
        limits,
        behaviours: vec![(Time::ZERO, behaviour)],
        horizon: Time::from_millis(600_000),
        ..Scenario::default()
    };
    fast::run(&scenario, 7).expect("the limits are in range")
}

fn assert_few_invokes(behaviour: Behaviour) {
    for (per_second, instances_min) in [(1, 0), (1, 5), (1_000, 0)] {
        let limits = Limits { instances_min, ..Limits::default() };
        let report = run(behaviour, per_second, limits);
        let invokes = report.stats.invokes;
        assert!(invokes <= 40, "{behaviour:?} at {per_second}/s: {invokes} invokes\n{report}");
        assert!(invokes >= 1, "{behaviour:?}: it is never tried\n{report}");
        assert_eq!(report.stats.served, 0);
    }
}

#[test]
fn crashing_function() {
    assert_few_invokes(Behaviour::Answers(InvokeOutcome::Crashed));
}

#[test]
fn function_that_crashes_at_init() {
    assert_few_invokes(Behaviour::CrashesAtInit);
}

#[test]
fn function_that_crashes_at_its_first_request() {
    assert_few_invokes(Behaviour::CrashesAtFirstRequest);
}

#[test]
fn function_that_never_starts() {
    assert_few_invokes(Behaviour::HangsAtInit);
}

#[test]
fn function_that_leaves_at_once() {
    assert_few_invokes(Behaviour::LeavesAtOnce);
}

#[test]
fn forbidden_function() {
    assert_few_invokes(Behaviour::Answers(InvokeOutcome::Forbidden));
}

#[test]
fn invokes_that_return_without_an_instance() {
    assert_few_invokes(Behaviour::Answers(InvokeOutcome::Returned));
}

#[test]
fn invokes_that_time_out() {
    assert_few_invokes(Behaviour::Answers(InvokeOutcome::TimedOut));
}

#[test]
fn throttled_function() {
    assert_few_invokes(Behaviour::Throttled);
    assert_few_invokes(Behaviour::Answers(InvokeOutcome::Throttled {
        retry_after: Some(Duration::ZERO),
    }));
}

#[test]
fn unavailable_lambda() {
    assert_few_invokes(Behaviour::Answers(InvokeOutcome::Unavailable));
}

#[test]
fn invokes_of_which_nothing_is_known() {
    assert_few_invokes(Behaviour::Answers(InvokeOutcome::Unknown));
}

#[test]
fn throttled_account_backs_off_while_its_instances_serve_on() {
    // Room for 50 instances, and traffic for 60 that is there from the start: a first wave of 50
    // too many, and one of half that.
    let scenario = Scenario {
        workload: Workload::Poisson { per_second: 6_000, span: Duration::from_secs(30) },
        service: Duration::from_millis(100),
        init: Duration::from_secs(1),
        limits: Limits { queue_timeout: Duration::from_secs(5), ..Limits::default() },
        lambda: emulator::model::Config {
            reserved_concurrency: Some(50),
            ..Scenario::default().lambda
        },
        ..Scenario::default()
    };
    let report = fast::run(&scenario, 7).unwrap();
    assert!(report.stats.served > 5_000 * 25, "the 50 serve all the time\n{report}");
    let failed = report.stats.invokes_failed;
    assert!((3..150).contains(&failed), "{failed} invokes were throttled\n{report}");
}
