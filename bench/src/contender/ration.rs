//! A router whose threads are slow, so that all else has time to spare on the same few cores.
//!
//! How much more two threads serve than one shows only where they are what everything waits for,
//! and wait for nothing themselves. On two cores that clients, app and instance share as well, that
//! is so when each thread runs a twentieth of the time: 0.25 ms in every 5, by the kernel's
//! deadline scheduler, which lets nobody go before it. With a fifth of the time two of them already
//! wait for the others, and serve few requests at a time, which costs more for each.

use std::path::Path;

use anyhow::{Context, ensure};
use tokio::process::Command;

/// Slows down the threads of a router that serve.
///
/// # Errors
///
/// It needs root, or `CAP_SYS_NICE`.
pub(super) async fn ration(router: u32, workers: u32) -> anyhow::Result<()> {
    let mut rationed = 0;
    for task in std::fs::read_dir(format!("/proc/{router}/task"))? {
        let task = task?.path();
        if serves(&task, router, workers)? {
            slow_down(task.file_name().context("a task has a number")?.as_ref()).await?;
            rationed += 1;
        }
    }
    ensure!(rationed == workers, "the router has {rationed} threads that serve, not {workers}");
    Ok(())
}

/// One that serves alone is the process's first; of several, that one does nothing.
fn serves(task: &Path, router: u32, workers: u32) -> anyhow::Result<bool> {
    if workers == 1 {
        return Ok(task.ends_with(router.to_string()));
    }
    Ok(std::fs::read_to_string(task.join("comm"))?.trim() == "tokio-rt-worker")
}

async fn slow_down(task: &Path) -> anyhow::Result<()> {
    let mut command = Command::new("chrt");
    // What it starts is not slowed down, without which it could start nothing.
    command.args(["--deadline", "--reset-on-fork", "--sched-runtime", RUNTIME]);
    command.args(["--sched-deadline", PERIOD, "--sched-period", PERIOD, "--pid", "0"]);
    let output = command.arg(task).output().await.context("chrt (util-linux) does not start")?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "threads cannot be slowed down: {}", words.trim());
    Ok(())
}

/// In nanoseconds.
const RUNTIME: &str = "250000";
const PERIOD: &str = "5000000";
