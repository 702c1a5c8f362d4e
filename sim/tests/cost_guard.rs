//! A function that always fails costs at most 40 invokes in ten minutes, whatever the failure and
//! the traffic.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dispatch_model::{
    Budget, Config, Dispatcher, Ending, Input, InstanceId, InvokeOutcome, Limits, Output,
    RequestId, Time,
};
use sim::fault::{Fault, FaultKind, ZONES};
use sim::plan::{Extension, Lambda, Plan, Pool};
use sim::{Checks, Report, Traffic, fast};

const TEN_MINUTES: Duration = Duration::from_secs(600);
/// So that nobody who came last is served because all is well again.
const REST: Duration = Duration::from_secs(130);
/// Requests a second, and instances that are kept.
const TRAFFIC: [(u32, u32); 3] = [(1, 0), (1, 5), (1_000, 0)];

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
    for (per_second, instances_min) in TRAFFIC {
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

/// Their app takes requests and answers none, until the extension cuts them at the end of its time.
/// Until the first has shown that, more are started: as many as there may be.
#[test]
fn function_that_answers_nothing() {
    let plan = failing(FaultKind::AppHang);
    let pool = Pool { instances_max: 20, ..plan.pool };
    for seconds in [15, 60] {
        let function_timeout = Duration::from_secs(seconds);
        let lambda = Lambda { function_timeout, ..plan.lambda };
        let plan = Plan { lambda, pool, ..plan.clone() };
        assert_few_invokes(&format!("app-hang of {seconds} s"), &plan);
    }
}

/// Nothing comes through to them or from them, and their invokes return when they have noticed.
/// Until the first is known to be silent, ten seconds later, more are started: as many as there may
/// be.
#[test]
fn instances_that_fall_silent_when_they_have_attached() {
    assert_few_invokes_where(|| {
        let mut placed: BTreeMap<InstanceId, Vec<RequestId>> = BTreeMap::new();
        move |output| {
            if let Output::Dispatch { request, instance, .. } = output {
                placed.entry(instance).or_default().push(request);
            }
            let Output::Close { instance } = output else { return Vec::new() };
            let ending = Ending::Unknown { repeatable: false };
            let ended = |request| (Duration::ZERO, Input::RequestEnded { request, ending });
            let requests = placed.remove(&instance).unwrap_or_default();
            let mut inputs: Vec<_> = requests.into_iter().map(ended).collect();
            let outcome = InvokeOutcome::Returned;
            inputs.push((Duration::from_secs(5), Input::InvokeEnded { instance, outcome }));
            inputs
        }
    });
}

#[test]
fn app_that_answers_and_dies_soon_after_its_first_request() {
    assert_few_invokes_where(|| dying(Ending::Served));
}

#[test]
fn app_that_closes_the_connection_and_dies_soon_after_its_first_request() {
    assert_few_invokes_where(|| dying(Ending::Unknown { repeatable: false }));
}

/// Requests end so after 20 ms, and the instance 50 ms after the first of them.
fn dying(ending: Ending) -> impl FnMut(Output) -> Vec<(Duration, Input)> {
    let mut asked = BTreeSet::new();
    move |output| {
        let Output::Dispatch { request, instance, .. } = output else { return Vec::new() };
        let ended = Input::RequestEnded { request, ending };
        let mut inputs = vec![(Duration::from_millis(20), ended)];
        if asked.insert(instance) {
            let outcome = InvokeOutcome::Crashed;
            let dead = Duration::from_millis(70);
            inputs.push((dead, Input::InstanceLost { instance }));
            inputs.push((dead, Input::InvokeEnded { instance, outcome }));
        }
        inputs
    }
}

/// The simulation has no fault that befalls every link, or app, only when it has been of use. So
/// this is the dispatcher and an agenda, with what comes of each output, and how much later.
fn assert_few_invokes_where<R>(react: impl Fn() -> R)
where
    R: FnMut(Output) -> Vec<(Duration, Input)>,
{
    for (per_second, instances_min) in TRAFFIC {
        let invokes = invokes_where(per_second, instances_min, react());
        assert!((1..=40).contains(&invokes), "at {per_second}/s: {invokes} invokes");
    }
}

fn invokes_where(
    per_second: u32,
    instances_min: u32,
    mut react: impl FnMut(Output) -> Vec<(Duration, Input)>,
) -> u64 {
    let limits = Limits { instances_min, instances_max: 20, ..Limits::default() };
    let mut model = Dispatcher::new(Config::new(limits).expect("the limits agree"), 7, Time::ZERO);
    let arrival = |number| {
        let at = Time::from_millis(10) + TEN_MINUTES * number / (per_second * 600);
        ((at, number), Input::RequestArrived { request: RequestId::new(number, 0), bytes: 500 })
    };
    let mut agenda: BTreeMap<_, _> = (0..per_second * 600).map(arrival).collect();
    let mut number = per_second * 600;
    loop {
        let (due, next) = (model.poll_timeout(), agenda.first_key_value());
        let times = due.map(|due| due.at).into_iter().chain(next.map(|((at, _), _)| *at));
        let Some(now) = times.min().filter(|now| *now < Time::ZERO + TEN_MINUTES) else {
            return model.stats().invokes;
        };
        match agenda.first_entry().filter(|entry| entry.key().0 == now) {
            Some(entry) => model.handle_input(now, entry.remove()),
            None => model.handle_timeout(now),
        }
        while let Some(output) = model.poll_output() {
            let mut inputs = react(output);
            if let Output::Invoke { instance } = output {
                let lease = Duration::from_secs(59);
                let there = Input::InstanceAttached { instance, slots: 10, lease, cold: true };
                inputs.push((Duration::from_secs(1), there));
            }
            for (span, input) in inputs {
                number += 1;
                agenda.insert((now + span, number), input);
            }
        }
    }
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

/// Requests for two hundred instances and more during three hours, and money for twenty: an hour of
/// credit is spent, what the rate pays for, and once what two hundred with work to finish cost.
#[test]
fn budget_holds_however_much_is_asked_for() {
    let budget =
        Budget { microdollars_per_hour: 73_800, picodollars_per_instance_second: 1_000_000 };
    let (three_hours, service) = (Duration::from_secs(10_800), Duration::from_secs(20));
    let traffic = Traffic { span: three_hours, ..Traffic::burst(216_000, Duration::ZERO, service) };
    let plan = Plan {
        pool: Pool { budget: Some(budget), instances_max: 200, slots: 1, ..Pool::default() },
        traffic: vec![traffic],
        ..Plan::default()
    };
    let report = run(&plan);
    let microdollars = report.billed_ms / 1_000;
    let most = 4 * 73_800 + 200 * 20;
    assert!((200_000..=most).contains(&microdollars), "{microdollars} of {most}\n{report}");
}
