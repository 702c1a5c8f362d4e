//! The Invoke API: shapes, limits, refusals.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use emulator::model::{Config, Stage as At};
use http::HeaderValue;
use serde_json::json;

use crate::client::{get, invoke_request, post, send, send_h2c};
use crate::stage::{Stage, function, service, until};

#[tokio::test]
async fn function_that_is_not_there_is_not_found() {
    let stage = Stage::plain().await;
    for name in ["other", "demo:live"] {
        let path = format!("/2015-03-31/functions/{name}/invocations");
        let answer = send(stage.address(), post(&path, "{}")).await;
        assert_eq!(answer.status, 404);
        assert_eq!(answer.header("x-amzn-errortype"), "ResourceNotFoundException");
        let arn = format!("arn:aws:lambda:us-east-1:123456789012:function:{name}");
        let message = format!("Function not found: {arn}");
        assert_eq!(answer.json(), json!({ "Type": "User", "message": message }));
    }
}

#[tokio::test]
async fn function_is_found_by_its_arn_and_over_h2c() {
    let stage = Stage::plain().await;
    let arn = "arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Ademo%3A%24LATEST";
    let path = format!("/2015-03-31/functions/{arn}/invocations?Qualifier=%24LATEST");
    let answer = send_h2c(stage.address(), post(&path, "")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["payload"], json!({}), "no payload is an empty object");
}

#[tokio::test]
async fn payload_must_be_json_and_no_larger_than_six_megabytes() {
    let stage = Stage::plain().await;
    let path = "/2015-03-31/functions/demo/invocations";
    let answer = send(stage.address(), post(path, "{not json")).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.header("x-amzn-errortype"), "InvalidRequestContentException");
    let large = format!("\"{}\"", "x".repeat(6 * 1024 * 1024 - 1));
    let answer = send(stage.address(), post(path, large)).await;
    assert_eq!(answer.status, 413);
    assert_eq!(answer.header("x-amzn-errortype"), "RequestTooLargeException");
    assert!(stage.emulator.environments().await.is_empty(), "nothing was started");
}

#[tokio::test]
async fn dry_run_starts_nothing_and_event_is_answered_at_once() {
    let stage = Stage::plain().await;
    let mut request = invoke_request(&json!({}));
    request.headers_mut().insert("x-amz-invocation-type", HeaderValue::from_static("DryRun"));
    assert_eq!(send(stage.address(), request).await.status, 204);
    assert!(stage.emulator.environments().await.is_empty());

    let mut request = invoke_request(&json!({ "sleep_ms": 300 }));
    request.headers_mut().insert("x-amz-invocation-type", HeaderValue::from_static("Event"));
    let answer = send(stage.address(), request).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (202, 0));
    until("its bill", async || stage.emulator.bills().await.len() == 1).await;
}

#[tokio::test]
async fn account_and_reserve_throttle_for_reasons_of_their_own() {
    let account = Config { account_concurrency: 1, ..service() };
    let reserved = Config { reserved_concurrency: Some(1), ..service() };
    for (service, reason) in [
        (account, "ConcurrentInvocationLimitExceeded"),
        (reserved, "ReservedFunctionConcurrentInvocationLimitExceeded"),
    ] {
        let stage = Stage::set(service, function("runtime")).await;
        let busy = stage.invoke_aside(json!({ "sleep_ms": 60_000 }));
        stage.until_stage(1, At::Invoking).await;
        let answer = stage.invoke(json!({})).await;
        assert_eq!(answer.status, 429);
        assert_eq!(answer.header("x-amzn-errortype"), "TooManyRequestsException");
        let body = json!({ "Type": "User", "message": "Rate Exceeded.", "Reason": reason });
        assert_eq!(answer.json(), body);
        assert!(!busy.is_finished(), "it goes on");
    }
}

#[tokio::test]
async fn growth_beyond_the_ramp_is_throttled() {
    let service = Config { ramp_environments: 1, ..service() };
    let stage = Stage::set(service, function("runtime")).await;
    drop(stage.invoke_aside(json!({ "sleep_ms": 60_000 })));
    stage.until_stage(1, At::Invoking).await;
    let answer = stage.invoke(json!({})).await;
    assert_eq!(answer.json()["Reason"], "FunctionInvocationRateLimitExceeded");
}

#[tokio::test]
async fn throttling_everything_can_be_switched() {
    let stage = Stage::plain().await;
    stage.emulator.throttle(true).await;
    assert_eq!(stage.invoke(json!({})).await.status, 429);
    stage.emulator.throttle(false).await;
    assert_eq!(stage.invoke(json!({})).await.status, 200);
}

#[tokio::test]
async fn caller_that_hangs_up_does_not_stop_the_function() {
    let stage = Stage::plain().await;
    let caller = stage.invoke_aside(json!({ "sleep_ms": 500, "print": "still here" }));
    stage.until_stage(1, At::Invoking).await;
    caller.abort();
    until("its bill", async || stage.emulator.bills().await.len() == 1).await;
    stage.until_stage(1, At::Idle).await;
    assert!(stage.emulator.bills().await[0].duration_ms >= 500);
}

#[tokio::test]
async fn end_of_the_log_is_returned_to_those_who_ask() {
    let stage = Stage::plain().await;
    let mut request = invoke_request(&json!({ "print": "hello from inside", "sleep_ms": 300 }));
    request.headers_mut().insert("x-amz-log-type", HeaderValue::from_static("Tail"));
    let answer = send(stage.address(), request).await;
    let log = BASE64.decode(answer.header("x-amz-log-result")).unwrap();
    let log = String::from_utf8(log).unwrap();
    let id = answer.header("x-amzn-requestid");
    assert!(log.starts_with(&format!("START RequestId: {id} Version: $LATEST\n")), "{log}");
    assert!(log.contains("\nhello from inside\n"), "{log}");
    assert!(log.contains(&format!("\nEND RequestId: {id}\nREPORT RequestId: {id}\t")), "{log}");
}

#[tokio::test]
async fn client_context_reaches_the_runtime_decoded() {
    let stage = Stage::plain().await;
    let mut request = invoke_request(&json!({}));
    let context = HeaderValue::from_static("eyJhIjoxfQ==");
    request.headers_mut().insert("x-amz-client-context", context);
    let answer = send(stage.address(), request).await;
    assert_eq!(answer.json()["headers"]["lambda-runtime-client-context"], "{\"a\":1}");
}

#[tokio::test]
async fn settings_can_be_read() {
    let service = Config { reserved_concurrency: Some(7), ..service() };
    let stage = Stage::set(service, function("runtime")).await;
    let configuration = get("/2015-03-31/functions/demo/configuration");
    let configuration = send(stage.address(), configuration).await.json();
    assert_eq!(
        (&configuration["Timeout"], &configuration["MemorySize"]),
        (&60.into(), &128.into())
    );
    let concurrency = send(stage.address(), get("/2019-09-30/functions/demo/concurrency")).await;
    assert_eq!(concurrency.json(), json!({ "ReservedConcurrentExecutions": 7 }));
    let account = send(stage.address(), get("/2016-08-19/account-settings/")).await.json();
    assert_eq!(account["AccountLimit"]["ConcurrentExecutions"], 1000);
    assert_eq!(account["AccountLimit"]["UnreservedConcurrentExecutions"], 993);
    let unknown = send(stage.address(), get("/2015-03-31/functions/")).await;
    assert_eq!(unknown.header("x-amzn-errortype"), "UnknownOperationException");
}

#[tokio::test]
async fn configuration_says_what_it_was_told_to_beside_what_is_known() {
    let mut described = function("runtime");
    described.env.push(("COLOUR".into(), "blue".into()));
    described.configuration = json!({ "State": "Inactive", "VpcConfig": { "VpcId": "vpc-1" } })
        .as_object()
        .unwrap()
        .clone();
    let stage = Stage::set(service(), described).await;
    let said = send(stage.address(), get("/2015-03-31/functions/demo/configuration")).await.json();
    assert_eq!(
        (&said["State"], &said["VpcConfig"]["VpcId"]),
        (&"Inactive".into(), &"vpc-1".into())
    );
    assert_eq!(said["Environment"]["Variables"], json!({ "COLOUR": "blue" }));
    assert_eq!(said["Timeout"], 60, "as before");
}

#[tokio::test]
async fn who_has_no_permission_is_told_which_is_missing_and_starts_nothing() {
    let denied = ["Invoke", "GetFunctionConfiguration", "GetFunctionConcurrency"];
    let denied = denied.map(str::to_owned).to_vec();
    let stage = Stage::with(emulator::Config { denied, ..Default::default() }, function("runtime"));
    let stage = stage.await;
    let mut dry = invoke_request(&json!({}));
    dry.headers_mut().insert("x-amz-invocation-type", HeaderValue::from_static("DryRun"));
    for (request, action) in [
        (invoke_request(&json!({})), "InvokeFunction"),
        (dry, "InvokeFunction"),
        (get("/2015-03-31/functions/demo/configuration"), "GetFunctionConfiguration"),
        (get("/2019-09-30/functions/demo/concurrency"), "GetFunctionConcurrency"),
        (get("/2015-03-31/functions/not-there/configuration"), "GetFunctionConfiguration"),
    ] {
        let answer = send(stage.address(), request).await;
        assert_eq!(answer.status, 403);
        assert_eq!(answer.header("x-amzn-errortype"), "AccessDeniedException");
        let said = answer.json()["Message"].as_str().unwrap().to_owned();
        assert!(said.contains(&format!("not authorized to perform: lambda:{action} on")), "{said}");
    }
    assert_eq!(send(stage.address(), get("/2016-08-19/account-settings/")).await.status, 200);
    assert!(stage.emulator.environments().await.is_empty());
}
