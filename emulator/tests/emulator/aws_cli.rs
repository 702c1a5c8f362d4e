//! The real `aws` command against the emulator, where there is one (`pip install awscli`).

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::stage::Stage;

/// Runs `aws lambda` with `args`.
async fn aws_lambda(stage: &Stage, args: &[&str]) -> Output {
    Command::new("aws")
        .arg("lambda")
        .args(args)
        .env("AWS_ENDPOINT_URL_LAMBDA", stage.emulator.endpoint())
        .env("AWS_ACCESS_KEY_ID", "none")
        .env("AWS_SECRET_ACCESS_KEY", "none")
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .env("AWS_MAX_ATTEMPTS", "1")
        .output()
        .await
        .unwrap()
}

#[tokio::test]
async fn aws_command_line_can_invoke() {
    let version = Command::new("aws").arg("--version").output().await;
    if !version.is_ok_and(|output| output.status.success()) {
        println!("skipped: there is no `aws` command here; `pip install awscli` has one");
        return;
    }
    let stage = Stage::plain().await;
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (payload, answer) = (directory.join("payload.json"), directory.join("answer.json"));
    std::fs::write(&payload, r#"{"hello":"world"}"#).unwrap();
    let payload = format!("fileb://{}", payload.display());
    let invoke = ["invoke", "--function-name", "demo", "--payload", &payload];
    let invoke = [&invoke[..], &[answer.to_str().unwrap()]].concat();
    let output = aws_lambda(&stage, &invoke).await;
    assert!(output.status.success(), "{output:?}");
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed, json!({ "StatusCode": 200, "ExecutedVersion": "$LATEST" }));
    let answer: Value = serde_json::from_slice(&std::fs::read(&answer).unwrap()).unwrap();
    assert_eq!(answer["payload"], json!({ "hello": "world" }));

    stage.emulator.throttle(true).await;
    let output = aws_lambda(&stage, &invoke).await;
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("(TooManyRequestsException)") && said.contains("Rate Exceeded."),
        "{said}"
    );
}
