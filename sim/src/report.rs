//! What came of a run.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use dispatch_model::time::nanos;
use dispatch_model::{Stats, Time};
use hdrhistogram::Histogram;
use io_tokio::recording::Digest;

use crate::fault::{FaultKind, Fired};
use crate::plan::Plan;

/// Everything that is counted in a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Every input of the dispatchers, and every turn in which their timers fired, with its moment.
    pub digest_in: Digest,
    /// Every output of the dispatchers with its moment.
    pub digest_out: Digest,
    /// Every input and output of the extensions' machines. Equal digests: equal runs.
    pub digest_machines: Digest,
    /// What the dispatchers counted, summed over the router's lives.
    pub stats: Stats,
    /// Requests that clients sent.
    pub requests: u64,
    /// Requests whose client saw a response, whole or cut.
    pub served: u64,
    /// Requests whose client gave up.
    pub cancelled: u64,
    /// Requests whose client saw the router vanish, or found none.
    pub lost: u64,
    /// Requests answered with an error, by the reason's name.
    pub refused: BTreeMap<&'static str, u64>,
    /// The wait before each dispatch, in nanoseconds, to three digits.
    pub waits: Histogram<u32>,
    /// The longest of them, exactly.
    pub wait_max: Duration,
    /// The longest of those who arrived when the plan says that the pool has settled.
    pub settled_wait_max: Duration,
    /// Dispatches that had waited as long as the function takes to start, counted naively.
    pub waited_cold: u64,
    /// The longest time from an arrival to its end, whatever that was.
    pub longest: Duration,
    /// Billed time over all invokes, in milliseconds.
    pub billed_ms: u64,
    /// New environments that were started.
    pub environments: u64,
    /// Most environments that held an invoke at once.
    pub concurrency_max: u32,
    /// Virtual time from the start to the end.
    pub took: Duration,
    /// What went wrong, as planned.
    pub fired: Fired,
    /// In which states it did.
    pub marks: Marks,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            digest_in: Digest::default(),
            digest_out: Digest::default(),
            digest_machines: Digest::default(),
            stats: Stats::default(),
            requests: 0,
            served: 0,
            cancelled: 0,
            lost: 0,
            refused: BTreeMap::new(),
            waits: Histogram::new(3).expect("three digits are possible"),
            wait_max: Duration::ZERO,
            settled_wait_max: Duration::ZERO,
            waited_cold: 0,
            longest: Duration::ZERO,
            billed_ms: 0,
            environments: 0,
            concurrency_max: 0,
            took: Duration::ZERO,
            fired: Fired::default(),
            marks: Marks::default(),
        }
    }
}

impl Report {
    /// A dispatch `now` after this wait.
    pub fn waited(&mut self, plan: &Plan, now: Time, wait: Duration) {
        self.waits.record(nanos(wait)).ok();
        self.wait_max = self.wait_max.max(wait);
        let settled = plan.hold.as_ref().and_then(|hold| hold.settled);
        let arrived = now.saturating_since(Time::ZERO + wait);
        if settled.is_some_and(|settled| arrived >= settled) {
            self.settled_wait_max = self.settled_wait_max.max(wait);
        }
        self.waited_cold += u64::from(wait >= plan.lambda.cold_start());
    }

    /// The wait that this share of dispatches did not exceed, to three digits, and not more than
    /// the longest of all.
    #[must_use]
    pub fn wait(&self, share: f64) -> Duration {
        Duration::from_nanos(self.waits.value_at_quantile(share)).min(self.wait_max)
    }

    /// Requests answered with an error.
    #[must_use]
    pub fn refusals(&self) -> u64 {
        self.refused.values().sum()
    }

    /// Adds what a router counted in the life that has ended.
    pub(crate) fn add_stats(&mut self, life: &Stats) {
        let all = &mut self.stats;
        all.arrived += life.arrived;
        all.cancelled += life.cancelled;
        all.cold_exposed += life.cold_exposed;
        all.dispatched += life.dispatched;
        all.refused += life.refused;
        all.returned += life.returned;
        all.served += life.served;
        all.failed += life.failed;
        all.invokes += life.invokes;
        all.invokes_failed += life.invokes_failed;
        all.attached += life.attached;
        all.attached_cold += life.attached_cold;
        all.goaways += life.goaways;
        all.stale_inputs += life.stale_inputs;
        all.instance_time += life.instance_time;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, served, cancelled, lost, .. } = self;
        writeln!(
            f,
            "requests      {requests}: {served} served, {cancelled} given up, {lost} lost"
        )?;
        for (reason, count) in &self.refused {
            writeln!(f, "refused       {count} {reason}")?;
        }
        let (half, most) = (self.wait(0.5), self.wait(0.99));
        writeln!(f, "wait          p50 {half:?}, p99 {most:?}, max {:?}", self.wait_max)?;
        writeln!(f, "cold-exposed  {}", self.stats.cold_exposed)?;
        let (invokes, new) = (self.stats.invokes, self.environments);
        writeln!(f, "invokes       {invokes}, {new} new environments")?;
        writeln!(f, "billed        {} ms", self.billed_ms)?;
        if self.fired != Fired::default() {
            writeln!(f, "faults        {}", self.fired)?;
        }
        let (told, did) = (self.digest_in, self.digest_out);
        write!(f, "digests       in {told}, out {did}, machines {}", self.digest_machines)
    }
}

/// A run and what it broke.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// What was counted.
    pub report: Report,
    /// The first thing that did not hold, if any.
    pub broken: Option<String>,
    /// What the dispatchers were told and did, if that was asked for; see [`io_tokio::recording`].
    pub recording: Option<Vec<u8>>,
}

/// What a pool was like when a fault fired. Several may hold at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No request anywhere.
    Idle,
    /// Requests run and none waits.
    Serving,
    /// Requests wait though instances serve.
    Queueing,
    /// Instances are on their way.
    Starting,
    /// Instances finish what they have.
    Draining,
    /// The router stops, or is not there.
    Stopping,
}

impl State {
    /// Every state, in the order of a table's columns.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Idle, "idle"),
        (Self::Serving, "serving"),
        (Self::Queueing, "queueing"),
        (Self::Starting, "starting"),
        (Self::Draining, "draining"),
        (Self::Stopping, "stopping"),
    ];
}

/// How often each kind of fault fired in each state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks([[u64; State::ALL.len()]; FaultKind::ALL.len()]);

impl Default for Marks {
    fn default() -> Self {
        Self([[0; State::ALL.len()]; FaultKind::ALL.len()])
    }
}

impl Marks {
    /// A fault fired in this state.
    pub const fn note(&mut self, kind: FaultKind, state: State) {
        self.0[kind as usize][state as usize] += 1;
    }

    /// Adds what was marked elsewhere.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().flatten().zip(other.0.iter().flatten()) {
            *mine += theirs;
        }
    }
}

impl fmt::Display for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:24}", "fault x state")?;
        for (_, name) in State::ALL {
            write!(f, "{name:>10}")?;
        }
        for kind in FaultKind::ALL {
            let row = self.0[kind as usize];
            if row.iter().any(|count| *count > 0) {
                write!(f, "\n{:24}", kind.name())?;
                row.iter().try_for_each(|count| write!(f, "{count:>10}"))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waited_longer_than_the_longest_wait() {
        let mut report = Report::default();
        for _ in 0..10 {
            report.waited(&Plan::default(), Time::from_millis(1_000), Duration::from_secs(1));
        }
        assert_eq!(report.wait(0.5), Duration::from_secs(1));
        assert_eq!(report.wait(0.99), report.wait_max);
    }
}
