//! Many seeds on all cores: what they came to together, and the one line for each that failed.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Mutex;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::driver::{Driver, commit};
use crate::fast::Checks;
use crate::fault::{FaultKind, Fired};
use crate::report::{Marks, Report};

/// What seeds came to.
#[derive(Debug, Default)]
pub struct Totals {
    /// Seeds that were run.
    pub seeds: u64,
    /// Requests in them.
    pub requests: u64,
    /// Virtual time in them.
    pub took: Duration,
    /// What went wrong in them, as planned.
    pub fired: Fired,
    /// In which states it did.
    pub marks: Marks,
    /// What failed, a line each; the line reproduces it.
    pub failures: Vec<String>,
    /// Processor time that it cost.
    pub cpu: Duration,
    /// Time on the wall that it cost.
    pub wall: Duration,
}

impl Totals {
    fn add(&mut self, report: &Report) {
        self.seeds += 1;
        self.requests += report.requests;
        self.took += report.took;
        self.fired.add(&report.fired);
        self.marks.add(&report.marks);
    }

    /// Kinds of fault that `driver` plays and that never fired: what was not tested.
    #[must_use]
    pub fn silent(&self, driver: Driver) -> Vec<FaultKind> {
        self.fired.missing(FaultKind::ALL.into_iter().filter(|kind| driver.plays(*kind)))
    }
}

impl fmt::Display for Totals {
    /// The last line of a run.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seeds, requests, took, cpu, wall, failures, .. } = self;
        let per = |count: u64, span: Duration| count as f64 / span.as_secs_f64().max(1e-9);
        write!(
            f,
            "{seeds} seeds, {requests} requests, {} virtual hours in {:.1} s ({:.1} CPU-s): \
             {:.0} seeds a minute, {:.0} requests per CPU-second; {} failed",
            took.as_secs() / 3_600,
            wall.as_secs_f64(),
            cpu.as_secs_f64(),
            per(*seeds, *wall) * 60.0,
            per(*requests, *cpu),
            failures.len(),
        )
    }
}

/// Runs `seeds` on all cores; tells `failed` of each that fails, at once.
pub fn run(
    driver: Driver,
    seeds: RangeInclusive<u64>,
    checks: Checks,
    failed: impl Fn(&str) + Sync,
) -> Totals {
    let (cpu, wall) = (cpu_time(), wall_time());
    let left = Mutex::new(seeds);
    let totals = Mutex::new(Totals::default());
    let next = || left.lock().expect("nobody panics with it").next();
    let work = || {
        while let Some(seed) = next() {
            let (outcome, _) = driver.run(&driver.plan(seed), checks);
            let mut totals = totals.lock().expect("nobody panics with it");
            totals.add(&outcome.report);
            if let Some(broken) = outcome.broken {
                let line = line(driver, seed, &broken);
                failed(&line);
                totals.failures.push(line);
            }
        }
    };
    std::thread::scope(|scope| {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    let mut totals = totals.into_inner().expect("nobody panics with it");
    totals.cpu = cpu_time().saturating_sub(cpu);
    totals.wall = wall_time().saturating_sub(wall);
    totals
}

/// The line that reproduces a failure, and says what it is.
#[must_use]
pub fn line(driver: Driver, seed: u64, broken: &str) -> String {
    format!("cargo sim {driver} --seed {seed}  # commit {}: {broken}", commit())
}

/// Processor time of this process so far.
#[must_use]
pub fn cpu_time() -> Duration {
    span(clock_gettime(ClockId::ProcessCPUTime))
}

/// Time on the wall since some moment.
#[must_use]
pub fn wall_time() -> Duration {
    span(clock_gettime(ClockId::Monotonic))
}

fn span(time: rustix::time::Timespec) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}
