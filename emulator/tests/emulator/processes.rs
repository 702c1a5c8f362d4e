//! No process outlives its emulator.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use emulator::Program;
use emulator::model::Stage as At;
use serde_json::json;

use crate::stage::{Stage, function, is_gone, service, until};

#[tokio::test]
async fn shutdown_answers_every_caller_and_leaves_no_process() {
    let stage = Stage::plain().await;
    stage.emulator.prewarm(2).await.unwrap();
    let busy = stage.invoke_aside(json!({ "sleep_ms": 60_000 }));
    until("an invoke", async || {
        stage.emulator.environments().await.iter().any(|it| it.stage == At::Invoking)
    })
    .await;
    let pids: Vec<u32> =
        stage.emulator.environments().await.into_iter().flat_map(|it| it.pids).collect();
    assert_eq!(pids.len(), 2);
    stage.emulator.shutdown().await;
    for pid in pids {
        assert!(is_gone(pid), "{pid} is still there");
    }
    let answer = busy.await.unwrap();
    assert_eq!(
        (answer.status.as_u16(), answer.header("x-amzn-errortype")),
        (503, "ServiceException")
    );
}

#[tokio::test]
async fn dropped_emulator_kills_what_its_programs_started() {
    // A shell that starts another process and tells which.
    let mut function = function("runtime");
    let script = "sleep 600 & echo $!; wait";
    function.programs.push(Program::new("shell", ["sh", "-c", script]));
    let stage = Stage::set(service(), function).await;
    // Not idle: a frozen shell would say nothing.
    drop(stage.invoke_aside(json!({ "sleep_ms": 60_000 })));
    let prefix = "[env-1 shell] ";
    until("its line", async || stage.lines().iter().any(|line| line.starts_with(prefix))).await;
    let line = stage.lines().into_iter().find(|line| line.starts_with(prefix)).unwrap();
    let grandchild: u32 = line[prefix.len()..].parse().unwrap();
    let mut pids = stage.environment(1).await.unwrap().pids;
    assert_eq!(pids.len(), 2);
    pids.push(grandchild);
    assert!(pids.iter().all(|&pid| !is_gone(pid)));
    drop(stage);
    until("their end", async || pids.iter().all(|&pid| is_gone(pid))).await;
}

#[tokio::test]
async fn killed_emulator_takes_its_processes_along() {
    let mut emulator = Command::new(env!("CARGO_BIN_EXE_emulator-tiny-runtime"))
        .arg("emulate")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(emulator.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let pid: u32 = line.trim().parse().unwrap();
    assert!(!is_gone(pid));
    emulator.kill().unwrap();
    emulator.wait().unwrap();
    until("its end", async || is_gone(pid)).await;
}
