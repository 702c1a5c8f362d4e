//! The driving contract, under random inputs and jumps of the clock, and what must hold beside it.

use alloc::vec::Vec;
use core::time::Duration;

use super::*;
use crate::prng::Prng;

/// A machine whose app is ready and that waits for its first invoke.
fn frozen(config: Config) -> Lifecycle {
    let mut machine = Lifecycle::new(config, Time::ZERO);
    machine.handle_input(Time::ZERO, Input::AppReady);
    drain_outputs(&mut machine);
    assert!(machine.is_frozen());
    machine
}

fn serve(number: u64, left: Option<Duration>) -> Input {
    let ask = Ask::Serve { fingerprint: number, sends_away: true };
    Input::Invoked { invoke: InvokeId(number), ask, left }
}

fn drain_outputs(machine: &mut Lifecycle) -> Vec<Output> {
    core::iter::from_fn(|| machine.poll_output()).collect()
}

fn at(ms: u64) -> Time {
    Time::from_millis(ms)
}

#[test]
#[should_panic(expected = "time went back")]
fn contract_1_time_never_goes_back() {
    let mut machine = Lifecycle::new(Config::default(), at(10));
    machine.handle_timeout(at(9));
}

#[test]
fn contract_2_due_timers_fire_before_the_input() {
    let mut machine = frozen(Config::default());
    machine.handle_input(at(0), serve(1, Some(Duration::from_secs(8))));
    machine.handle_input(at(1), Input::Attached);
    drain_outputs(&mut machine);
    // The lease ended at 6 s; a request that is heard of at 7 s came after the goaway.
    machine.handle_input(at(7000), Input::RequestStarted);
    let outputs = drain_outputs(&mut machine);
    assert!(outputs.contains(&Output::Goaway), "{outputs:?}");
}

#[test]
fn contract_3_a_link_is_gone_before_its_invoke_returns() {
    random_runs(|_, trace| {
        let mut linked = false;
        for step in trace {
            match step {
                Step::Out(Output::Connect { .. }) => linked = true,
                Step::In(_, Input::Disconnected { .. }) => linked = false,
                Step::Out(Output::Return(_) | Output::AwaitInvoke) => assert!(!linked),
                Step::In(..) | Step::Out(_) => {}
            }
        }
    });
}

#[test]
fn contract_4_no_timeout_is_ever_due_once_outputs_are_drained() {
    random_runs(|machine, _| {
        let due = machine.poll_timeout().is_some_and(|timeout| timeout.at <= machine.now);
        assert!(!due, "{:?} at {}", machine.poll_timeout(), machine.now);
    });
}

#[test]
fn contract_5_same_inputs_give_same_outputs() {
    random_runs(|_, trace| {
        let mut again = Lifecycle::new(config_of(trace), Time::ZERO);
        let mut outputs = Vec::new();
        outputs.extend(drain_outputs(&mut again));
        for step in trace {
            if let Step::In(now, input) = step {
                again.handle_input(*now, *input);
                outputs.extend(drain_outputs(&mut again));
            }
        }
        let first: Vec<_> = trace
            .iter()
            .filter_map(|step| match step {
                Step::Out(output) => Some(*output),
                Step::In(..) => None,
            })
            .collect();
        assert_eq!(first, outputs);
    });
}

#[test]
fn a_frozen_environment_has_no_timer_and_only_an_invoke_thaws_it() {
    for jump in [Duration::ZERO, Duration::from_nanos(1), Duration::from_secs(86_400)] {
        let mut machine = frozen(Config { linger: Some(Duration::ZERO), ..Config::default() });
        assert_eq!(machine.poll_timeout(), None);
        let now = Time::ZERO + jump;
        machine.handle_timeout(now);
        for input in [
            Input::Attached,
            Input::Heard,
            Input::RequestStarted,
            Input::RequestEnded,
            Input::Disconnected { end: LinkEnd::Lost },
            Input::AppReady,
        ] {
            machine.handle_input(now, input);
        }
        assert!(machine.is_frozen());
        assert_eq!(drain_outputs(&mut machine), []);
        assert_eq!(machine.stale_inputs(), 6);
        machine.handle_input(now, serve(1, Some(Duration::from_secs(60))));
        let lease = Duration::from_millis(59_500);
        assert_eq!(drain_outputs(&mut machine), [Output::Connect { lease, cold: true }]);
    }
}

/// The clock stood still for a day within an invoke (a suspended emulator): everything is due, each
/// thing happens once, and nothing spins.
#[test]
fn a_jump_of_a_day_within_an_invoke_ends_it() {
    let mut machine = frozen(Config::default());
    machine.handle_input(at(0), serve(1, Some(Duration::from_secs(60))));
    machine.handle_input(at(1), Input::Attached);
    machine.handle_input(at(2), Input::RequestStarted);
    drain_outputs(&mut machine);
    machine.handle_timeout(at(86_400_000));
    let outputs = drain_outputs(&mut machine);
    assert_eq!(outputs.last(), Some(&Output::Disconnect), "{outputs:?}");
    assert_eq!(outputs.iter().filter(|output| **output == Output::Disconnect).count(), 1);
    machine.handle_input(at(86_400_000), Input::RequestEnded);
    machine.handle_input(at(86_400_000), Input::Disconnected { end: LinkEnd::Lost });
    assert!(machine.is_frozen());
}

#[test]
fn an_invoke_may_last_for_ever() {
    let mut machine = frozen(Config { invoke_max: Duration::MAX, ..Config::default() });
    machine.handle_input(at(0), serve(1, Some(Duration::MAX)));
    assert!(matches!(drain_outputs(&mut machine)[..], [Output::Connect { .. }]));
}

#[test]
fn a_lease_ends_before_lambda_does_whatever_the_functions_timeout() {
    for (left_ms, lease_ms) in [
        (1, 0),
        (5_000, 4_500),
        (15_000, 14_500),
        (60_000, 59_500),
        (900_000, 899_500),
        (959_999, 899_500),
        (960_001, 59_500),
        (0, 59_500),
    ] {
        let mut machine = frozen(Config::default());
        machine.handle_input(at(0), serve(1, Some(Duration::from_millis(left_ms))));
        let lease = match left_ms {
            1 => Duration::from_micros(900),
            _ => Duration::from_millis(lease_ms),
        };
        assert_eq!(drain_outputs(&mut machine), [Output::Connect { lease, cold: true }]);
    }
    let mut machine = frozen(Config::default());
    machine.handle_input(at(0), serve(1, None));
    let lease = Duration::from_millis(59_500);
    assert_eq!(drain_outputs(&mut machine), [Output::Connect { lease, cold: true }]);
}

#[test]
fn the_last_64_payloads_are_not_obeyed_again() {
    let mut machine = frozen(Config::default());
    let reason = |machine: &mut Lifecycle, number| {
        machine.handle_input(at(number), serve(number, None));
        machine.handle_input(at(number), Input::Disconnected { end: LinkEnd::Refused });
        let returned = drain_outputs(machine).into_iter().find_map(|output| match output {
            Output::Return(report) => Some(report.reason),
            Output::AwaitInvoke
            | Output::AwaitRestore
            | Output::Connect { .. }
            | Output::Disconnect
            | Output::Exit { .. }
            | Output::Goaway
            | Output::Ping
            | Output::ProbeApp
            | Output::StopProbing => None,
        });
        returned.unwrap()
    };
    for number in 1..=65 {
        assert_eq!(reason(&mut machine, number), ExitReason::RouterStatus4xx);
    }
    let mut replay = |fingerprint| {
        let invoke = InvokeId(100);
        let ask = Ask::Serve { fingerprint, sends_away: true };
        machine.handle_input(at(70), Input::Invoked { invoke, ask, left: None });
        drain_outputs(&mut machine)[0]
    };
    let stale = ExitReason::SelfStaleRequest;
    let is_stale = |output| matches!(output, Output::Return(report) if report.reason == stale);
    assert!(is_stale(replay(65)) && is_stale(replay(2)));
    assert!(!is_stale(replay(1)), "the 65th last is forgotten");
}

/// Nobody but Lambda, the app or the lease's end cuts short what was promised to an app.
#[test]
fn a_hold_that_was_granted_is_kept() {
    random_runs(|_, trace| {
        let (mut held_until, mut before) = (Time::ZERO, Time::ZERO);
        let mut now = Time::ZERO;
        let mut cut_at = Time::ZERO;
        let mut serving = false;
        let mut ends = false;
        for step in trace {
            match step {
                Step::In(at, input) => {
                    now = *at;
                    before = held_until;
                    match input {
                        Input::Attached => serving = true,
                        Input::Disconnected { .. } => serving = false,
                        Input::HoldAsked { span } if serving => {
                            held_until = held_until.max(now + (*span).min(HOLD_MAX));
                        }
                        Input::AppExited | Input::Shutdown { .. } => ends = true,
                        Input::AppReady
                        | Input::HoldAsked { .. }
                        | Input::Invoked { .. }
                        | Input::Heard
                        | Input::RequestEnded
                        | Input::RequestStarted
                        | Input::Restored => {}
                    }
                }
                Step::Out(Output::Connect { lease, .. }) => {
                    (cut_at, serving, held_until) = (now + *lease, false, now);
                }
                // What was due came first, and the app asked too late.
                Step::Out(Output::Disconnect) => (serving, held_until) = (false, before),
                Step::Out(Output::Return(report)) => {
                    let kept = ends || now >= held_until.min(cut_at);
                    assert!(kept, "{report:?} at {now}, held until {held_until} of {cut_at}");
                    serving = false;
                }
                Step::Out(_) => {}
            }
        }
    });
}

const HOLD_MAX: Duration = Duration::from_secs(60);

enum Step {
    In(Time, Input),
    Out(Output),
}

fn config(seed: u64) -> Config {
    Config {
        async_init: seed.is_multiple_of(3),
        snap_start: seed.is_multiple_of(5),
        linger: seed.is_multiple_of(2).then_some(Duration::from_millis(250)),
        ..Config::default()
    }
}

/// The configuration is drawn from the first input's time, so that a trace is all there is.
fn config_of(trace: &[Step]) -> Config {
    let first = trace.iter().find_map(|step| match step {
        Step::In(now, _) => Some(now.as_nanos()),
        Step::Out(_) => None,
    });
    config(first.unwrap_or(0))
}

/// Drives machines with random inputs: half of them what a real driver would say next, half of them
/// anything. `look` sees the machine and the trace so far, now and then and at the end.
fn random_runs(look: impl Fn(&Lifecycle, &[Step])) {
    for seed in 0..400 {
        let mut prng = Prng::new(seed);
        let mut now = Time::from_nanos(seed);
        let mut machine = Lifecycle::new(config(seed), Time::ZERO);
        let mut trace: Vec<_> = drain_outputs(&mut machine).into_iter().map(Step::Out).collect();
        for number in 0..200 {
            let input = random_input(&mut prng, number, &trace);
            trace.push(Step::In(now, input));
            machine.handle_input(now, input);
            trace.extend(drain_outputs(&mut machine).into_iter().map(Step::Out));
            now = next_moment(&mut prng, now, &machine);
            if number % 50 == 49 {
                look(&machine, &trace);
            }
        }
    }
}

fn next_moment(prng: &mut Prng, now: Time, machine: &Lifecycle) -> Time {
    match prng.below(8) {
        0 => now,
        1 => now + Duration::from_nanos(1),
        2 => now + Duration::from_secs(86_400),
        3 | 4 => machine.poll_timeout().map_or(now, |timeout| timeout.at),
        _ => now + Duration::from_millis(prng.below(3_000)),
    }
}

fn random_input(prng: &mut Prng, number: u64, trace: &[Step]) -> Input {
    let last = trace.iter().rev().find_map(|step| match step {
        Step::Out(output) => Some(*output),
        Step::In(..) => None,
    });
    let ends = [
        LinkEnd::Closed,
        LinkEnd::Lost,
        LinkEnd::Refused,
        LinkEnd::Unavailable,
        LinkEnd::Unreachable,
    ];
    let end = ends[usize::try_from(prng.below(5)).unwrap()];
    let answer = match last {
        Some(Output::AwaitInvoke) => {
            Some(serve(number, Some(Duration::from_secs(prng.below(900)))))
        }
        Some(Output::Connect { .. }) if prng.below(3) > 0 => Some(Input::Attached),
        Some(Output::Connect { .. } | Output::Disconnect | Output::Goaway) => {
            // Without a link it would be a driver's bug, not a race.
            is_linked(trace).then_some(Input::Disconnected { end })
        }
        Some(Output::Ping) => Some(Input::Heard),
        Some(Output::ProbeApp) => Some(Input::AppReady),
        Some(Output::AwaitRestore) => Some(Input::Restored),
        Some(Output::Exit { .. } | Output::Return(_) | Output::StopProbing) | None => None,
    };
    if let Some(answer) = answer.filter(|_| prng.below(2) == 0) {
        return answer;
    }
    match prng.below(40) {
        0 => Input::Shutdown { left: Duration::from_millis(prng.below(2_000)) },
        1 => Input::AppExited,
        2 => Input::AppReady,
        3..8 => Input::Heard,
        8..12 => Input::Attached,
        12..15 => Input::HoldAsked { span: Duration::from_millis(prng.below(120_000)) },
        15 => Input::Restored,
        16..24 => Input::RequestStarted,
        24..36 => Input::RequestEnded,
        _ if is_linked(trace) => Input::Disconnected { end },
        _ => Input::Heard,
    }
}

fn is_linked(trace: &[Step]) -> bool {
    let last = trace.iter().rev().find_map(|step| match step {
        Step::In(_, Input::Disconnected { .. }) => Some(false),
        Step::Out(Output::Connect { .. }) => Some(true),
        Step::In(..) | Step::Out(_) => None,
    });
    last.unwrap_or(false)
}
