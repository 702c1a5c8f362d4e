//! The rules of the service, each as a short story in virtual time, and the driving contract under
//! random inputs.

mod choices;
mod contract;

use std::time::Duration;

use super::*;

/// A model, and what it ordered.
struct Service {
    model: Model,
}

fn service(config: Config) -> Service {
    Service { model: Model::new(config, 1, Time::ZERO) }
}

/// A config whose idle reap is out of the way.
fn config() -> Config {
    Config {
        function_timeout: Duration::from_secs(60),
        idle_jitter: Duration::ZERO,
        idle_timeout: Duration::from_secs(600),
        ..Config::default()
    }
}

impl Service {
    /// Tells the model what happened at `ms` and returns the orders, as text.
    fn at(&mut self, ms: u64, input: Input) -> Vec<String> {
        self.model.handle_input(Time::from_millis(ms), input);
        self.orders()
    }

    /// Lets the clock reach `ms`.
    fn until(&mut self, ms: u64) -> Vec<String> {
        self.model.handle_timeout(Time::from_millis(ms));
        self.orders()
    }

    fn orders(&mut self) -> Vec<String> {
        let orders = std::iter::from_fn(|| self.model.poll_output());
        let orders = orders.map(|output| output.to_string()).collect();
        self.model.check();
        orders
    }

    /// One idle environment per invoke in `invokes`, ready at `ms`.
    fn warm(&mut self, ms: u64, count: u64) {
        for number in 1..=count {
            drop(self.at(ms, Input::PrewarmRequested));
            drop(self.at(ms, next(number)));
        }
    }
}

fn invoke(number: u64) -> Input {
    Input::InvokeRequested { invoke: InvokeId::new(number) }
}

fn next(environment: u64) -> Input {
    Input::RuntimeNext { environment: EnvironmentId::new(environment) }
}

fn respond(environment: u64, invoke: u64) -> Input {
    let (environment, invoke) = (EnvironmentId::new(environment), InvokeId::new(invoke));
    Input::ResponsePosted { environment, invoke }
}

fn exited(environment: u64) -> Input {
    Input::ProcessExited { environment: EnvironmentId::new(environment) }
}

fn emptied(environment: u64) -> Input {
    Input::EnvironmentEmptied { environment: EnvironmentId::new(environment) }
}

fn registered(environment: u64, extension: u64, invoke: bool) -> Input {
    let environment = EnvironmentId::new(environment);
    Input::ExtensionRegistered { environment, extension: ExtensionId::new(extension), invoke }
}

fn extension_next(environment: u64, extension: u64) -> Input {
    let environment = EnvironmentId::new(environment);
    Input::ExtensionNext { environment, extension: ExtensionId::new(extension) }
}

const NOTHING: [&str; 0] = [];

#[test]
fn cold_start_is_the_injected_delay_and_the_real_init() {
    let mut service = service(Config { cold_start: Duration::from_secs(2), ..config() });
    assert_eq!(service.at(0, invoke(1)), NOTHING);
    assert_eq!(service.until(1_999), NOTHING);
    assert_eq!(service.until(2_000), ["start env-1"]);
    assert_eq!(
        service.at(2_300, next(1)),
        ["env-1 ready in 300ms", "deliver v1 to env-1 until 62.3s"]
    );
    assert_eq!(service.at(2_350, respond(1, 1)), ["answer v1: response"]);
    assert_eq!(
        service.at(2_351, next(1)),
        ["bill v1 on env-1: cold, init 300 ms, duration 51 ms, 128 MB", "freeze env-1"]
    );
}

#[test]
fn warm_environment_is_thawed_for_the_next_invoke() {
    let mut service = service(config());
    service.warm(0, 1);
    assert_eq!(service.at(5_000, invoke(1)), ["thaw env-1", "deliver v1 to env-1 until 65s"]);
    drop(service.at(5_010, respond(1, 1)));
    assert_eq!(
        service.at(5_010, next(1)),
        ["bill v1 on env-1: warm, init 0 ms, duration 10 ms, 128 MB", "freeze env-1"]
    );
}

#[test]
fn most_recently_used_idle_environment_is_taken_first() {
    let mut service = service(config());
    service.warm(0, 3);
    // env-2 serves and is idle last.
    assert_eq!(service.at(1, invoke(1))[0], "thaw env-3");
    assert_eq!(service.at(1, invoke(2))[0], "thaw env-2");
    for (environment, number) in [(3, 1), (2, 2)] {
        drop(service.at(2, respond(environment, number)));
        drop(service.at(2, next(environment)));
    }
    assert_eq!(service.at(3, invoke(3))[0], "thaw env-2");
    assert_eq!(service.at(3, invoke(4))[0], "thaw env-3");
    assert_eq!(service.at(3, invoke(5))[0], "thaw env-1");
    assert_eq!(service.at(3, invoke(6)), ["start env-4"]);
}

#[test]
fn invoke_stays_with_the_environment_created_for_it() {
    let mut service = service(config());
    service.warm(0, 1);
    drop(service.at(0, invoke(1)));
    assert_eq!(service.at(0, invoke(2)), ["start env-2"]);
    drop(service.at(5, respond(1, 1)));
    // env-1 is free long before env-2 is ready, and v2 does not move.
    assert_eq!(service.at(5, next(1)).last().unwrap(), "freeze env-1");
    assert_eq!(service.at(900, next(2))[1], "deliver v2 to env-2 until 60.9s");
}

#[test]
fn invoke_ends_when_the_extensions_have_finished_too() {
    let mut service = service(config());
    drop(service.at(0, invoke(1)));
    drop(service.at(10, registered(1, 1, true)));
    drop(service.at(10, registered(1, 2, false)));
    assert_eq!(service.at(20, next(1)), NOTHING);
    assert_eq!(service.at(30, extension_next(1, 1)), NOTHING);
    assert_eq!(service.at(40, extension_next(1, 2)).len(), 2, "now it is ready");
    assert_eq!(service.at(50, respond(1, 1)), ["answer v1: response"]);
    assert_eq!(service.at(60, next(1)), NOTHING);
    // Extension 2 does not see invokes: it has been waiting all the time.
    assert_eq!(
        service.at(90, extension_next(1, 1)),
        ["bill v1 on env-1: cold, init 40 ms, duration 50 ms, 128 MB", "freeze env-1"]
    );
}

#[test]
fn function_timeout_answers_bills_and_kills() {
    let mut service = service(Config { function_timeout: Duration::from_secs(3), ..config() });
    service.warm(0, 1);
    drop(service.at(0, invoke(1)));
    assert_eq!(
        service.until(3_000),
        [
            "answer v1: timed out after 3s",
            "bill v1 on env-1: warm, init 0 ms, duration 3000 ms, 128 MB",
            "kill env-1"
        ]
    );
    assert_eq!(service.at(3_001, respond(1, 1)), NOTHING);
    assert_eq!(service.at(3_002, emptied(1)), NOTHING);
    assert_eq!(service.at(3_003, invoke(2)), ["start env-2"]);
}

#[test]
fn init_beyond_its_limit_runs_again_inside_the_invoke() {
    let mut service = service(Config { function_timeout: Duration::from_secs(15), ..config() });
    drop(service.at(0, invoke(1)));
    assert_eq!(
        service.until(10_000),
        ["init failed in env-1: it was not ready in time", "kill env-1", "start env-2"]
    );
    // No init limit now: 12 s are fine under a time-out of 15 s, which has been running since 10 s.
    assert_eq!(
        service.at(22_000, next(2)),
        ["env-2 ready in 12s", "deliver v1 to env-2 until 25s"]
    );
    drop(service.at(22_100, respond(2, 1)));
    assert_eq!(
        service.at(22_100, next(2))[0],
        "bill v1 on env-2: cold, init 10000 ms, duration 12100 ms, 128 MB"
    );
}

#[test]
fn second_init_ends_at_the_function_timeout() {
    let mut service = service(Config { function_timeout: Duration::from_secs(3), ..config() });
    drop(service.at(0, invoke(1)));
    drop(service.until(10_000));
    assert_eq!(
        service.until(13_000),
        [
            "init failed in env-2: it was not ready in time",
            "answer v1: timed out after 3s",
            "bill v1 on env-2: cold, init 10000 ms, duration 3000 ms, 128 MB",
            "kill env-2"
        ]
    );
}

#[test]
fn init_crash_is_tried_once_more_and_then_answered() {
    let mut service = service(config());
    drop(service.at(0, invoke(1)));
    assert_eq!(
        service.at(100, exited(1)),
        ["init failed in env-1: a process ended before it was ready", "kill env-1", "start env-2"]
    );
    assert_eq!(service.at(200, exited(2))[1], "answer v1: exit of env-2");
    drop(service.at(200, emptied(1)));
    drop(service.at(200, emptied(2)));
    assert_eq!(service.model.environments().count(), 0);
}

#[test]
fn prewarmed_environment_that_fails_is_not_tried_again() {
    let mut service = service(config());
    assert_eq!(service.at(0, Input::PrewarmRequested), ["start env-1"]);
    let failed = Input::InitErrorPosted { environment: EnvironmentId::new(1) };
    assert_eq!(
        service.at(1, failed),
        ["init failed in env-1: it reported an init error", "kill env-1"]
    );
}

#[test]
fn runtime_that_exits_during_an_invoke_is_an_exit_error() {
    let mut service = service(config());
    service.warm(0, 1);
    drop(service.at(0, invoke(1)));
    assert_eq!(
        service.at(7, exited(1)),
        [
            "answer v1: exit of env-1",
            "bill v1 on env-1: warm, init 0 ms, duration 7 ms, 128 MB",
            "kill env-1"
        ]
    );
}

#[test]
fn concurrency_beyond_the_account_is_throttled() {
    let mut service = service(Config { account_concurrency: 1, ..config() });
    drop(service.at(0, invoke(1)));
    assert_eq!(
        service.at(0, invoke(2)),
        ["answer v2: throttled, ConcurrentInvocationLimitExceeded"]
    );
    drop(service.at(1, next(1)));
    drop(service.at(2, respond(1, 1)));
    drop(service.at(3, next(1)));
    assert_eq!(service.at(4, invoke(3))[0], "thaw env-1");
}

#[test]
fn concurrency_beyond_the_reserve_is_throttled_for_its_own_reason() {
    let reserved = Some(0);
    let mut service = service(Config { reserved_concurrency: reserved, ..config() });
    assert_eq!(
        service.at(0, invoke(1)),
        ["answer v1: throttled, ReservedFunctionConcurrentInvocationLimitExceeded"]
    );
}

#[test]
fn invokes_beyond_ten_a_second_for_each_place_are_throttled_though_one_is_free() {
    for (reserved, reason) in [
        (None, "FunctionInvocationRateLimitExceeded"),
        (Some(1), "ReservedFunctionInvocationRateLimitExceeded"),
    ] {
        let account_concurrency = if reserved.is_some() { 1_000 } else { 1 };
        let limits = Config { account_concurrency, reserved_concurrency: reserved, ..config() };
        let mut service = service(limits);
        service.warm(0, 1);
        let mut served = |ms, number| {
            let first = service.at(ms, invoke(number)).remove(0);
            drop(service.at(ms, respond(1, number)));
            drop(service.at(ms, next(1)));
            first
        };
        for number in 1..=10 {
            assert_eq!(served(0, number), "thaw env-1", "v{number}");
        }
        assert_eq!(served(99, 11), format!("answer v11: throttled, {reason}"));
        assert_eq!(served(100, 12), "thaw env-1");
        assert_eq!(served(150, 13), format!("answer v13: throttled, {reason}"));
    }
}

#[test]
fn growth_beyond_the_ramp_is_throttled_and_reuse_is_not() {
    let mut service = service(Config { account_concurrency: 5_000, ..config() });
    service.warm(0, 1);
    for number in 1..=1_001 {
        assert!(!service.at(0, invoke(number))[0].starts_with("answer"), "v{number}");
    }
    assert_eq!(
        service.at(0, invoke(2_000)),
        ["answer v2000: throttled, FunctionInvocationRateLimitExceeded"]
    );
    drop(service.at(5, respond(1, 1)));
    drop(service.at(5, next(1)));
    assert_eq!(service.at(5, invoke(2_001))[0], "thaw env-1");
    assert_eq!(service.at(10, invoke(2_002)), ["start env-1002"]);
}

#[test]
fn throttling_everything_can_be_switched_on_and_off() {
    let mut service = service(config());
    service.warm(0, 1);
    drop(service.at(0, Input::ThrottleChanged { on: true }));
    assert_eq!(
        service.at(0, invoke(1)),
        ["answer v1: throttled, ConcurrentInvocationLimitExceeded"]
    );
    drop(service.at(0, Input::ThrottleChanged { on: false }));
    assert_eq!(service.at(0, invoke(2))[0], "thaw env-1");
}

#[test]
fn idle_environment_without_extensions_is_killed_at_the_reap() {
    let mut service = service(config());
    service.warm(0, 1);
    assert_eq!(service.until(599_999), NOTHING);
    assert_eq!(service.until(600_000), ["kill env-1"]);
}

#[test]
fn extensions_are_told_of_the_shutdown_and_have_a_budget() {
    let mut service = service(config());
    drop(service.at(0, Input::PrewarmRequested));
    drop(service.at(0, registered(1, 1, false)));
    drop(service.at(0, extension_next(1, 1)));
    drop(service.at(0, next(1)));
    assert_eq!(service.until(600_000), ["thaw env-1", "stop env-1 until 602s"]);
    assert_eq!(service.at(600_100, exited(1)), NOTHING, "it was asked to exit");
    assert_eq!(service.until(602_000), ["kill env-1"]);
    drop(service.at(602_100, emptied(1)));
    assert_eq!(service.model.poll_timeout(), None);
}

#[test]
fn reap_comes_late_by_the_jitter_that_the_seed_decides() {
    let config = Config { idle_jitter: Duration::from_secs(60), ..config() };
    let reaps: Vec<_> = (0..20)
        .map(|seed| {
            let mut service = Service { model: Model::new(config.clone(), seed, Time::ZERO) };
            service.warm(0, 1);
            service.model.poll_timeout().unwrap()
        })
        .collect();
    let (first, last) = (reaps.iter().min().unwrap(), reaps.iter().max().unwrap());
    assert!(*first >= Time::from_millis(600_000) && *last < Time::from_millis(660_000));
    assert!(last.saturating_since(*first) > Duration::from_secs(20), "the jitter spreads");
}

#[test]
fn shutdown_answers_every_invoke_and_ends_every_environment() {
    let mut service = service(Config { cold_start: Duration::from_secs(1), ..config() });
    drop(service.at(0, Input::PrewarmRequested));
    drop(service.until(1_000));
    drop(service.at(1_000, next(1)));
    drop(service.at(1_000, invoke(1)));
    drop(service.at(1_000, invoke(2)));
    assert_eq!(
        service.at(1_001, Input::ShutdownRequested),
        [
            "answer v1: unavailable",
            "bill v1 on env-1: warm, init 0 ms, duration 1 ms, 128 MB",
            "kill env-1",
            "answer v2: unavailable",
            "bill v2 on env-2: cold, init 0 ms, duration 0 ms, 128 MB",
        ]
    );
    assert_eq!(service.at(1_002, invoke(3)), ["answer v3: unavailable"]);
}

#[test]
fn snapshot_is_copied_ahead_of_need_and_restored_when_there_is_need() {
    let mut lambda = service(Config { restore: Some(Duration::from_millis(200)), ..config() });
    assert_eq!(lambda.orders(), ["start env-1"]);
    let stored = lambda.at(3_000, Input::RestoreNext { environment: EnvironmentId::new(1) });
    assert_eq!(stored, ["env-1 ready in 3s", "freeze env-1"]);
    assert_eq!(lambda.until(90_000), [""; 0], "nobody pays for it, and nobody ends it");
    assert_eq!(lambda.at(100_000, invoke(1)), ["start env-2"], "the next one is made");
    assert_eq!(lambda.until(100_199), [""; 0]);
    assert_eq!(lambda.until(100_200), ["thaw env-1", "restore env-1"]);
    // The runtime has the app look after itself first.
    assert_eq!(lambda.at(100_300, next(1)), ["deliver v1 to env-1 until 160.3s"]);
    let response =
        Input::ResponsePosted { environment: EnvironmentId::new(1), invoke: InvokeId::new(1) };
    drop(lambda.at(100_400, response));
    let over = lambda.at(100_400, next(1));
    assert!(over.contains(&"freeze env-1".to_owned()), "{over:?}");
    assert!(over[0].contains("cold, init 0 ms, duration 100 ms"), "{over:?}");
    assert_eq!(lambda.at(101_000, invoke(2))[0], "thaw env-1", "it is warm from now on");
}

#[test]
fn extension_that_sees_invokes_goes_on_waiting_through_a_snapshot() {
    let mut lambda = service(Config { restore: Some(Duration::from_millis(200)), ..config() });
    drop(lambda.orders());
    drop(lambda.at(10, registered(1, 1, true)));
    drop(lambda.at(20, extension_next(1, 1)));
    drop(lambda.at(3_000, Input::RestoreNext { environment: EnvironmentId::new(1) }));
    drop(lambda.at(100_000, invoke(1)));
    assert_eq!(lambda.until(100_200), ["thaw env-1", "restore env-1"]);
    assert_eq!(lambda.at(100_300, next(1)), ["deliver v1 to env-1 until 160.3s"]);
}

#[test]
fn copy_that_is_needed_before_it_is_made_is_restored_at_once() {
    let mut lambda = service(Config { restore: Some(Duration::from_millis(200)), ..config() });
    drop(lambda.at(0, invoke(1)));
    drop(lambda.at(0, invoke(2)));
    assert_eq!(lambda.model.environments().count(), 3, "a copy each, and one ahead of need");
    let made = lambda.at(2_000, Input::RestoreNext { environment: EnvironmentId::new(2) });
    assert_eq!(made, ["env-2 ready in 2s", "freeze env-2"]);
    assert_eq!(lambda.until(2_200), ["thaw env-2", "restore env-2"]);
}

#[test]
fn copy_that_does_not_get_ready_fails_its_invoke() {
    for (late, answer) in
        [(None, "answer v1: init error of env-1"), (Some(10_200), "answer v1: timed out after 10s")]
    {
        let mut lambda = service(Config { restore: Some(Duration::from_millis(200)), ..config() });
        let environment = EnvironmentId::new(1);
        drop(lambda.at(0, Input::RestoreNext { environment }));
        drop(lambda.at(0, invoke(1)));
        drop(lambda.until(200));
        let failed = match late {
            None => lambda.at(300, Input::InitErrorPosted { environment }),
            Some(ms) => lambda.until(ms),
        };
        assert!(failed.iter().any(|order| order == answer), "{failed:?}");
        assert!(failed.contains(&"kill env-1".to_owned()), "{failed:?}");
    }
}

#[test]
fn copies_of_old_code_are_not_restored() {
    let mut lambda = service(Config { restore: Some(Duration::from_millis(200)), ..config() });
    let environment = EnvironmentId::new(1);
    drop(lambda.at(0, Input::RestoreNext { environment }));
    let orders = lambda.at(1_000, Input::CodeUpdated);
    assert_eq!(orders, ["kill env-1", "start env-2"]);
}
