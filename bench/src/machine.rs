//! Where the figures come from.

use std::fs;
use std::process::Command;

use io_tokio::clock::Clock;
use serde::Serialize;

/// The machine, the code, and the programs it is compared with.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_mib: u64,
    pub(crate) kernel: String,
    pub(crate) commit: String,
    pub(crate) versions: Vec<String>,
    pub(crate) date: String,
    /// How our programs were compiled.
    pub(crate) programs: &'static str,
    pub(crate) command: String,
}

impl Machine {
    pub(crate) fn this() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpu = read("/proc/cpuinfo");
        let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
        let memory = read("/proc/meminfo");
        let memory = memory.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok());
        let dirty = said("git", &["status", "--porcelain", "--untracked-files=no"]);
        let commit = said("git", &["rev-parse", "--short=12", "HEAD"]);
        let changed = if dirty.is_empty() { "" } else { " and changes" };
        Self {
            cpu: cpu.unwrap_or("unknown").to_owned(),
            cores: cores(),
            memory_mib: memory.unwrap_or(0) >> 10,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            commit: format!("{commit}{changed}"),
            versions: vec![
                said("nginx", &["-v"]),
                said("haproxy", &["-v"]),
                said("wrk", &["-v"]),
                said("h2load", &["--version"]),
            ],
            date: io_tokio::rfc3339::format(Clock::start().wall()),
            programs: if are_optimised() {
                "as for the images, static and by a profile of themselves (`bench/optimise`)"
            } else {
                "by `cargo build --release` (`--plain`)"
            },
            command: format!(
                "bench/run {}",
                std::env::args().skip(2).collect::<Vec<_>>().join(" ")
            ),
        }
    }
}

/// Whether this program stands beside what `bench/optimise` made.
fn are_optimised() -> bool {
    std::env::current_exe()
        .is_ok_and(|me| me.parent().is_some_and(|at| at.ends_with("optimised/bin")))
}

/// How many CPUs may be used.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Which ones. In a container they need not begin with 0.
pub(crate) fn allowed_cores() -> anyhow::Result<Vec<usize>> {
    let set = rustix::thread::sched_getaffinity(None)?;
    Ok((0..rustix::thread::CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect())
}

/// The first line that a program says.
fn said(program: &str, arguments: &[&str]) -> String {
    let Ok(output) = Command::new(program).args(arguments).output() else {
        return format!("{program}: not installed");
    };
    let said = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    String::from_utf8_lossy(&said).lines().next().unwrap_or_default().trim().to_owned()
}
