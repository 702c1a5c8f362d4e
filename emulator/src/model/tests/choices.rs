//! What AWS lets its customer choose, or may do either way: new code, late binding, provisioned
//! concurrency.

use super::*;

fn late() -> Config {
    Config { late_binding: true, ..config() }
}

fn provisioned(count: u32) -> Config {
    Config { provisioned: count, ..config() }
}

fn provision(count: u32) -> Input {
    Input::ProvisionedChanged { count }
}

#[test]
fn new_code_stops_idle_environments_and_makes_the_next_invoke_cold() {
    let mut service = service(config());
    service.warm(0, 2);
    assert_eq!(service.at(1, Input::CodeUpdated), ["kill env-1", "kill env-2"]);
    assert_eq!(service.at(2, invoke(1)), ["start env-3"]);
}

#[test]
fn environment_of_old_code_serves_what_it_holds_and_stops() {
    let mut service = service(config());
    service.warm(0, 1);
    drop(service.at(0, invoke(1)));
    assert_eq!(service.at(0, invoke(2)), ["start env-2"]);
    assert_eq!(service.at(1, Input::CodeUpdated), NOTHING);
    assert_eq!(service.at(2, respond(1, 1)), ["answer v1: response"]);
    assert_eq!(service.at(2, next(1)).last().unwrap(), "kill env-1");
    // What was starting was started with the old code.
    assert_eq!(service.at(5, next(2))[1], "deliver v2 to env-2 until 60.005s");
    drop(service.at(6, respond(2, 2)));
    assert_eq!(service.at(6, next(2)).last().unwrap(), "kill env-2");
    assert_eq!(service.at(7, invoke(3)), ["start env-3"]);
}

#[test]
fn extensions_are_told_when_new_code_ends_their_environment() {
    let mut service = service(config());
    drop(service.at(0, invoke(1)));
    drop(service.at(0, registered(1, 1, false)));
    drop(service.at(0, extension_next(1, 1)));
    drop(service.at(1, next(1)));
    drop(service.at(2, Input::CodeUpdated));
    drop(service.at(3, respond(1, 1)));
    assert_eq!(service.at(3, next(1)).last().unwrap(), "stop env-1 until 2.003s");
}

#[test]
fn oldest_waiting_invoke_takes_what_falls_idle_first_when_binding_is_late() {
    let mut service = service(late());
    service.warm(0, 1);
    drop(service.at(0, invoke(1)));
    assert_eq!(service.at(0, invoke(2)), ["start env-2"]);
    assert_eq!(service.at(1, invoke(3)), ["start env-3"]);
    drop(service.at(5, respond(1, 1)));
    assert_eq!(
        service.at(5, next(1)),
        [
            "bill v1 on env-1: warm, init 0 ms, duration 5 ms, 128 MB",
            "deliver v2 to env-1 until 60.005s"
        ]
    );
    // The environment of v2 goes on without it, is billed, and takes v3 from its own.
    assert_eq!(
        service.at(900, next(2)),
        [
            "env-2 ready in 900ms",
            "bill env-2: init 900 ms, duration 0 ms, 128 MB",
            "deliver v3 to env-2 until 60.9s"
        ]
    );
    assert_eq!(
        service.at(901, next(3)),
        ["env-3 ready in 900ms", "bill env-3: init 900 ms, duration 0 ms, 128 MB", "freeze env-3"]
    );
}

#[test]
fn invoke_whose_own_environment_is_ready_first_stays_when_binding_is_late() {
    let mut service = service(late());
    service.warm(0, 1);
    drop(service.at(0, invoke(1)));
    drop(service.at(0, invoke(2)));
    assert_eq!(service.at(3, next(2))[1], "deliver v2 to env-2 until 60.003s");
    drop(service.at(5, respond(1, 1)));
    assert_eq!(service.at(5, next(1)).last().unwrap(), "freeze env-1");
}

#[test]
fn failed_start_of_an_environment_whose_invoke_went_elsewhere_is_billed_and_not_repeated() {
    let mut service = service(late());
    service.warm(0, 1);
    drop(service.at(0, invoke(1)));
    drop(service.at(0, invoke(2)));
    drop(service.at(5, respond(1, 1)));
    drop(service.at(5, next(1)));
    assert_eq!(
        service.at(70, exited(2)),
        [
            "init failed in env-2: a process ended before it was ready",
            "bill env-2: init 70 ms, duration 0 ms, 128 MB",
            "kill env-2"
        ]
    );
}

#[test]
fn provisioned_environments_are_allocated_one_after_the_other_and_billed_for_their_start() {
    let mut service = service(provisioned(3));
    assert_eq!(service.until(0), ["start env-1"]);
    assert_eq!(service.until(10), ["start env-2"]);
    assert_eq!(service.until(25), ["start env-3"]);
    assert_eq!(
        service.at(500, next(1)),
        ["env-1 ready in 500ms", "bill env-1: init 500 ms, duration 0 ms, 128 MB", "freeze env-1"]
    );
}

#[test]
fn provisioned_environment_may_initialise_for_longer_than_others() {
    let mut service = service(provisioned(1));
    assert_eq!(service.until(129_999), ["start env-1"]);
    assert_eq!(
        service.until(130_000),
        [
            "init failed in env-1: it was not ready in time",
            "bill env-1: init 130000 ms, duration 0 ms, 128 MB",
            "start env-2",
            "kill env-1"
        ]
    );
}

#[test]
fn provisioned_environment_is_taken_before_others_and_never_reaped() {
    let mut service = service(provisioned(1));
    drop(service.until(0));
    drop(service.at(1, next(1)));
    assert_eq!(service.at(2, invoke(1)), ["thaw env-1", "deliver v1 to env-1 until 60.002s"]);
    assert_eq!(service.at(2, invoke(2)), ["start env-2"], "it spills over");
    drop(service.at(3, respond(1, 1)));
    assert_eq!(
        service.at(3, next(1))[0],
        "bill v1 on env-1: provisioned, init 0 ms, duration 1 ms, 128 MB"
    );
    drop(service.at(4, next(2)));
    drop(service.at(5, respond(2, 2)));
    assert_eq!(
        service.at(5, next(2))[0],
        "bill v2 on env-2: cold, init 2 ms, duration 1 ms, 128 MB"
    );
    // env-2 fell idle later, and env-1 comes first all the same.
    assert_eq!(service.at(6, invoke(3))[0], "thaw env-1");
    drop(service.at(7, respond(1, 3)));
    drop(service.at(7, next(1)));
    assert_eq!(service.until(3_600_000), ["kill env-2"]);
}

#[test]
fn provisioned_environment_that_dies_is_replaced() {
    let mut service = service(provisioned(1));
    drop(service.until(0));
    drop(service.at(1, next(1)));
    assert_eq!(service.at(20, exited(1)), ["start env-2", "kill env-1"]);
    assert_eq!(service.at(20, Input::CodeUpdated), NOTHING, "the next one comes 10 ms later");
    assert_eq!(service.until(30), ["start env-3"]);
}

#[test]
fn fewer_provisioned_environments_are_idle_ones_first() {
    let mut service = service(provisioned(3));
    drop(service.until(20));
    (1..=3).for_each(|environment| drop(service.at(30, next(environment))));
    assert_eq!(service.at(31, invoke(1))[0], "thaw env-3");
    assert_eq!(service.at(32, provision(1)), ["kill env-1", "kill env-2"]);
    assert_eq!(service.at(33, provision(0)), NOTHING);
    drop(service.at(34, respond(3, 1)));
    assert_eq!(
        service.at(34, next(3)),
        ["bill v1 on env-3: provisioned, init 0 ms, duration 3 ms, 128 MB", "kill env-3"]
    );
    assert_eq!(service.at(40, provision(1)), ["start env-4"]);
}
