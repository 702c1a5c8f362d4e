//! The life of environments, as callers and processes see it.

use std::time::Duration;

use emulator::model::{Config, EnvironmentId, Stage as At};
use emulator::{Emulator, Function, PrewarmError};
use serde_json::json;

use crate::stage::{Stage, function, is_gone, process_state, program, service, until};

#[tokio::test]
async fn payload_goes_in_and_the_answer_comes_out() {
    let stage = Stage::plain().await;
    let answer = stage.invoke(json!({ "hello": "world" })).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("x-amz-executed-version"), "$LATEST");
    assert_eq!(answer.header("x-amz-function-error"), "");
    let said = answer.json();
    assert_eq!(said["payload"], json!({ "hello": "world" }));

    let headers = &said["headers"];
    assert_eq!(headers["lambda-runtime-aws-request-id"], answer.header("x-amzn-requestid"));
    let arn = "arn:aws:lambda:us-east-1:123456789012:function:demo";
    assert_eq!(headers["lambda-runtime-invoked-function-arn"], arn);
    assert_eq!(headers["lambda-runtime-trace-id"], answer.header("x-amzn-trace-id"));
    let now = io_tokio::clock::Clock::start().wall().duration_since(std::time::UNIX_EPOCH).unwrap();
    let deadline: u128 = headers["lambda-runtime-deadline-ms"].as_str().unwrap().parse().unwrap();
    let left = deadline.saturating_sub(now.as_millis());
    assert!((20_000..=60_000).contains(&left), "{left} ms of 60 s are left");

    let variables = &said["variables"];
    assert_eq!(variables["AWS_LAMBDA_FUNCTION_NAME"], "demo");
    assert_eq!(variables["AWS_LAMBDA_INITIALIZATION_TYPE"], "on-demand");
    let port = stage.environment(1).await.unwrap().port.unwrap().to_string();
    assert_eq!(variables["LAMBDA_DISPATCH_PORT"], port);
    assert_eq!(variables["PORT"], port);
}

#[tokio::test]
async fn environment_is_stopped_between_invokes() {
    let stage = Stage::plain().await;
    let first = stage.invoke(json!({})).await.json();
    for _ in 0..3 {
        let pid = stage.until_stage(1, At::Idle).await.pids[0];
        until("state T", async || process_state(pid) == Some('T')).await;
        let again = stage.invoke(json!({})).await.json();
        assert_eq!(again["pid"], first["pid"], "the same process serves again");
    }
    stage.until_stage(1, At::Idle).await;
    let bills = stage.emulator.bills().await;
    let cold: Vec<bool> = bills.iter().map(|bill| bill.cold).collect();
    assert_eq!(cold, [true, false, false, false]);
    assert!(bills[0].init_ms > 0 && bills[1].init_ms == 0, "{bills:?}");
}

#[tokio::test]
async fn concurrent_invokes_have_an_environment_each_and_the_last_used_is_used_first() {
    let stage = Stage::plain().await;
    let slow = stage.invoke_aside(json!({ "sleep_ms": 4000 }));
    stage.until_stage(1, At::Invoking).await;
    stage.invoke(json!({})).await;
    stage.until_stage(2, At::Idle).await;
    let slow = slow.await.unwrap().json();
    stage.until_stage(1, At::Idle).await;
    let next = stage.invoke(json!({})).await.json();
    assert_eq!(next["pid"], slow["pid"], "environment 1 was used last");
    assert_eq!(stage.emulator.environments().await.len(), 2);
}

#[tokio::test]
async fn injected_cold_start_comes_before_the_processes_and_is_not_billed() {
    let cold_start = Duration::from_millis(800);
    let stage = Stage::set(Config { cold_start, ..service() }, function("runtime")).await;
    let invoke = stage.invoke_aside(json!({}));
    let creating = stage.until_stage(1, At::Creating).await;
    assert_eq!((creating.pids.len(), creating.port), (0, None));
    assert_eq!(invoke.await.unwrap().status, 200);
    stage.until_stage(1, At::Idle).await;
    assert_eq!(stage.emulator.bills().await.len(), 1);
}

#[tokio::test]
async fn invoke_beyond_the_timeout_is_answered_and_its_processes_killed() {
    let service = Config { function_timeout: Duration::from_millis(1500), ..service() };
    let stage = Stage::set(service, function("runtime")).await;
    stage.emulator.prewarm(1).await.unwrap();
    let pid = stage.environment(1).await.unwrap().pids[0];
    let answer = stage.invoke(json!({ "sleep_ms": 60_000 })).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-amz-function-error")), (200, "Unhandled"));
    let error = answer.json();
    let message = error["errorMessage"].as_str().unwrap();
    assert!(message.ends_with("Task timed out after 1.50 seconds"), "{message}");
    until("its end", async || is_gone(pid)).await;
    assert_eq!(stage.emulator.bills().await[0].duration_ms, 1500);
    assert_ne!(stage.invoke(json!({})).await.json()["pid"], pid);
}

#[tokio::test]
async fn runtime_that_exits_is_an_exit_error_and_the_next_invoke_finds_a_fresh_one() {
    let stage = Stage::plain().await;
    let answer = stage.invoke(json!({ "exit": 7 })).await;
    assert_eq!(answer.header("x-amz-function-error"), "Unhandled");
    let error = answer.json();
    assert_eq!(error["errorType"], "Runtime.ExitError");
    let message = error["errorMessage"].as_str().unwrap();
    assert!(message.ends_with("Runtime exited with error: exit status 7"), "{message}");
    stage.until_line("[env-1 app] ended: exit status 7").await;
    assert_eq!(stage.invoke(json!({})).await.header("x-amz-function-error"), "");
}

#[tokio::test]
async fn killed_environment_is_an_exit_error() {
    let stage = Stage::plain().await;
    let invoke = stage.invoke_aside(json!({ "sleep_ms": 60_000 }));
    stage.until_stage(1, At::Invoking).await;
    assert!(stage.emulator.kill_environment(EnvironmentId::new(1)).await);
    let error = invoke.await.unwrap().json();
    let message = error["errorMessage"].as_str().unwrap();
    assert!(message.ends_with("Runtime exited with error: signal: killed"), "{message}");
    assert!(!stage.emulator.kill_environment(EnvironmentId::new(9)).await);
}

#[tokio::test]
async fn posted_error_is_the_answer() {
    let stage = Stage::plain().await;
    let answer = stage.invoke(json!({ "error": "as told" })).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-amz-function-error")), (200, "Unhandled"));
    assert_eq!(answer.json()["errorMessage"], "as told");
}

#[tokio::test]
async fn init_that_fails_twice_is_the_answer() {
    let stage = Stage::set(service(), function("fail-at-init")).await;
    let answer = stage.invoke(json!({})).await;
    assert_eq!(answer.json()["errorType"], "Init.Broken");
    let started = stage.lines().iter().filter(|line| line.contains("started")).count();
    assert_eq!(started, 2, "AWS tries once more inside the invoke");

    let stage = Stage::set(service(), function("exit-at-init")).await;
    assert_eq!(stage.invoke(json!({})).await.json()["errorType"], "Runtime.ExitError");
    stage.until_line("[env-2 app] ended: exit status 3").await;
}

#[tokio::test]
async fn prewarmed_environments_are_ready_before_the_first_invoke() {
    let stage = Stage::plain().await;
    stage.emulator.prewarm(2).await.unwrap();
    let environments = stage.emulator.environments().await;
    assert!(environments.iter().all(|it| it.stage == At::Idle), "{environments:?}");
    stage.invoke(json!({})).await;
    until("its bill", async || stage.emulator.bills().await.len() == 1).await;
    assert!(!stage.emulator.bills().await[0].cold);
}

#[tokio::test]
async fn prewarm_says_why_an_environment_did_not_get_ready() {
    let stage = Stage::set(service(), function("exit-at-init")).await;
    let error = stage.emulator.prewarm(1).await.unwrap_err().to_string();
    assert!(error.starts_with("env-1 did not get ready: a process ended"), "{error}");

    let init_timeout = Duration::from_millis(300);
    let stage = Stage::set(Config { init_timeout, ..service() }, function("never-ready")).await;
    let error = stage.emulator.prewarm(1).await.unwrap_err();
    assert!(matches!(error, PrewarmError::InitFailed { .. }));
    assert!(error.to_string().contains("it was not ready in time"), "{error}");
}

#[tokio::test]
async fn command_that_is_not_there_is_an_error_at_the_start() {
    let function = Function::new("demo", vec![emulator::Program::new("app", ["no-such-thing"])]);
    let error = Emulator::start(emulator::Config::default(), function).await.unwrap_err();
    assert!(error.to_string().contains("`no-such-thing` is not in PATH"), "{error}");
}

#[tokio::test]
async fn response_to_another_invoke_is_refused() {
    let stage = Stage::plain().await;
    let answer = stage.invoke(json!({ "wrong_id": true })).await;
    assert_eq!(answer.json()["wrong_id_status"], 400);
}

#[tokio::test]
async fn response_beyond_six_megabytes_is_an_error() {
    let stage = Stage::plain().await;
    let answer = stage.invoke(json!({ "large": 6 * 1024 * 1024 + 200 })).await;
    assert_eq!(answer.json()["errorType"], "Function.ResponseSizeTooLarge");
    let answer = stage.invoke(json!({ "large": 6 * 1024 * 1024 - 2 })).await;
    assert_eq!(answer.body.len(), 6 * 1024 * 1024);
}

#[tokio::test]
async fn extension_hears_of_invokes_and_of_the_end() {
    let idle_timeout = Duration::from_millis(700);
    let service = Config { idle_timeout, idle_jitter: Duration::ZERO, ..service() };
    let mut function = function("extension");
    function.programs = vec![program("ext", "extension")];
    let stage = Stage::set(service, function).await;
    let pid = stage.invoke(json!({})).await.json()["pid"].as_u64().unwrap();
    stage.until_line("[env-1 ext] event INVOKE").await;
    stage.until_line("[env-1] frozen").await;
    stage.until_line("[env-1 ext] event SHUTDOWN").await;
    stage.until_line("[env-1 ext] spindown").await;
    until("its end", async || is_gone(u32::try_from(pid).unwrap())).await;
    until("no environment", async || stage.emulator.environments().await.is_empty()).await;
    assert!(!stage.lines().contains(&"[env-1] killed".to_owned()), "it ended by itself");
}

#[tokio::test]
async fn an_app_is_told_to_end_even_if_it_is_the_same_file_as_the_extension() {
    let service = Config {
        idle_timeout: Duration::from_millis(700),
        idle_jitter: Duration::ZERO,
        shutdown_budget: Duration::from_secs(60),
        ..service()
    };
    let mut function = function("extension");
    // It registers by the name of the file, which both are, and `app` ends at a signal.
    function.programs = vec![program("aside", "extension-by-file"), program("app", "never-ready")];
    let stage = Stage::set(service, function).await;
    assert_eq!(stage.invoke(json!({})).await.status, 200);
    stage.until_line("[env-1 aside] event SHUTDOWN").await;
    stage.until_line("[env-1 aside] spindown").await;
    until("no environment", async || stage.emulator.environments().await.is_empty()).await;
    assert!(!stage.lines().contains(&"[env-1] killed".to_owned()), "both ended by themselves");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_one_of_many_invokes_is_answered_whatever_happens_to_its_environment() {
    let service = Config { function_timeout: Duration::from_secs(5), ..service() };
    let stage = Stage::set(service, function("runtime")).await;
    let orders = [
        json!({ "sleep_ms": 20 }),
        json!({ "exit": 1 }),
        json!({ "sleep_ms": 60_000 }),
        json!({ "error": "as told" }),
        json!({ "print": "a line" }),
    ];
    let invokes: Vec<_> =
        (0..30).map(|number| stage.invoke_aside(orders[number % orders.len()].clone())).collect();
    let mut failed = 0;
    for invoke in invokes {
        let answer = invoke.await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        failed += u32::from(answer.header("x-amz-function-error") == "Unhandled");
    }
    assert_eq!(failed, 18, "those that exit, take too long or fail");
    until("30 bills", async || stage.emulator.bills().await.len() == 30).await;
}
