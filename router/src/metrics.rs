//! What the router counts, and how it shows it to Prometheus.
//!
//! Numbers come from two sides: the driver of a pool's model shows every input, output and turn to
//! a [`Watch`], and every finished exchange is recorded in [`PoolMetrics`]. Both only add to
//! atomics: nothing is locked or looked up by label on the way of a request. All the work is done
//! when somebody asks for `/metrics`, or when a period ends for CloudWatch.
//!
//! Labels are words of our own enums, status codes, and names of pools from the configuration, so
//! that no client can add a series. What no pool was for is counted under the pool `""`. A pool
//! that is replaced by one of the same name, as a reload may do, has the same series: both are in
//! the sums until the old one has finished. The series of a pool that is removed end with it, or
//! once its last numbers are taken for CloudWatch.

mod cloudwatch;
mod distribution;
mod exposition;
pub(crate) mod history;
mod standing;
mod tally;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use dispatch_model::{
    Dispatcher, Ending, Gauges, GoAwayReason, Input, InvokeOutcome, Output, RefuseReason, Stats,
    Time, time::nanos,
};
use io_tokio::clock::Clock;
use io_tokio::observe::{Access, AccessLog, Observer, Proof, Trouble};
use io_tokio::pool::Window;

use crate::decisions::{Decided, Decisions};
use crate::problems::{Problem, Problems, Suffered};

use distribution::Distribution;
use history::{History, Meter};
pub(crate) use standing::Standing;
use tally::Tally;

pub(crate) use cloudwatch::Period;
pub use cloudwatch::{CLOUDWATCH_METRICS, CloudWatchMetric};

/// Everything that is counted. Shared by those who count and those who show.
#[derive(Debug)]
pub struct Metrics {
    /// Those that somebody still counts for.
    pools: Mutex<BTreeMap<Arc<str>, Weak<PoolMetrics>>>,
    /// What no pool was for.
    unrouted: PoolMetrics,
    spans: Tally<{ SPANS.len() }>,
}

/// What becomes of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SpanFate {
    /// The collector has it.
    Exported,
    /// Too many waited to be sent.
    QueueFull,
    /// The collector does not want it.
    Rejected,
    /// The collector was away for too long.
    Unreachable,
}

impl SpanFate {
    const fn name(self) -> &'static str {
        match self {
            Self::Exported => "exported",
            Self::QueueFull => "queue_full",
            Self::Rejected => "rejected",
            Self::Unreachable => "unreachable",
        }
    }
}

/// What is counted of one pool.
#[derive(Debug)]
pub struct PoolMetrics {
    name: Arc<str>,
    totals: Totals,
    levels: Levels,
    latest: Latest,
    refused: Tally<{ REFUSALS.len() }>,
    redispatched: Tally<{ PROOFS.len() }>,
    unknown_outcome: AtomicU64,
    goaways: Tally<{ GOAWAYS.len() }>,
    invokes_ended: Tally<{ OUTCOMES.len() }>,
    requests: Requests,
    queue_wait: Distribution,
    handover: Distribution,
    app: Distribution,
    slot: Distribution,
    first_byte: Distribution,
    request_time: Distribution,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    decisions: Decisions,
    problems: Problems,
    history: History,
    /// For when they were made or met.
    clock: Clock,
}

/// The models' counters, as of their last turns.
#[derive(Debug, Default)]
struct Totals {
    arrived: AtomicU64,
    cancelled: AtomicU64,
    cold_exposed: AtomicU64,
    dispatched: AtomicU64,
    invokes: AtomicU64,
    attached_cold: AtomicU64,
    attached_warm: AtomicU64,
    stale_inputs: AtomicU64,
    instance_nanos: AtomicU64,
}

/// The models' gauges that add up, as of their last turns.
#[derive(Debug, Default)]
struct Levels {
    queued: AtomicU64,
    queued_bytes: AtomicU64,
    running: AtomicU64,
    slots: AtomicU64,
    slots_busy: AtomicU64,
    starting: AtomicU64,
    ready: AtomicU64,
    draining: AtomicU64,
    detached: AtomicU64,
    desired: AtomicU64,
}

/// Gauges that make no sum: of the model that had the last turn.
#[derive(Debug, Default)]
struct Latest {
    service_nanos: AtomicU64,
    cold_start_nanos: AtomicU64,
    breaker_open: AtomicU64,
}

impl Metrics {
    /// All zero.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            pools: Mutex::default(),
            unrouted: PoolMetrics::new(""),
            spans: Tally::new(&SPANS),
        })
    }

    /// The counts of a pool, which are shown for as long as somebody has them.
    #[must_use]
    pub fn pool(&self, name: &str) -> Arc<PoolMetrics> {
        let mut pools = self.pools();
        pools.retain(|_, pool| pool.strong_count() > 0);
        if let Some(pool) = pools.get(name).and_then(Weak::upgrade) {
            return pool;
        }
        let pool = Arc::new(PoolMetrics::new(name));
        pools.insert(Arc::clone(&pool.name), Arc::downgrade(&pool));
        pool
    }

    /// Everything in the OpenMetrics text format, whose media type is [`MEDIA_TYPE`].
    ///
    /// # Errors
    ///
    /// None that is known: writing to memory does not fail.
    pub fn expose(self: &Arc<Self>) -> Result<String, std::fmt::Error> {
        exposition::text(Arc::clone(self))
    }

    /// Counts what became of some spans.
    pub(crate) fn count_spans(&self, fate: SpanFate, count: u64) {
        self.spans.add_many(fate.name(), count);
    }

    /// The last scaling decisions of all pools, the oldest first.
    pub(crate) fn decisions(&self) -> Vec<Decided> {
        let mut decided: Vec<_> =
            self.live().iter().flat_map(|pool| pool.decisions.of(&pool.name)).collect();
        decided.sort_by_key(|one| one.at);
        decided
    }

    /// The last problems of all pools, by when they began, the oldest first.
    pub(crate) fn problems(&self) -> Vec<Suffered> {
        let mut suffered: Vec<_> =
            self.live().iter().flat_map(|pool| pool.problems.of(&pool.name)).collect();
        suffered.sort_by_key(|one| one.first);
        suffered
    }

    /// The pools that somebody still counts for.
    pub(crate) fn live(&self) -> Vec<Arc<PoolMetrics>> {
        self.pools().values().filter_map(Weak::upgrade).collect()
    }

    fn pools(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Weak<PoolMetrics>>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts what no pool was for.
impl AccessLog for Metrics {
    fn record(&self, access: &Access) {
        self.unrouted.record(access);
    }
}

impl PoolMetrics {
    fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            totals: Totals::default(),
            levels: Levels::default(),
            latest: Latest::default(),
            refused: Tally::new(&REFUSALS),
            redispatched: Tally::new(&PROOFS),
            unknown_outcome: AtomicU64::new(0),
            goaways: Tally::new(&GOAWAYS),
            invokes_ended: Tally::new(&OUTCOMES),
            requests: Requests::default(),
            queue_wait: Distribution::default(),
            handover: Distribution::default(),
            app: Distribution::default(),
            slot: Distribution::default(),
            first_byte: Distribution::default(),
            request_time: Distribution::default(),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            decisions: Decisions::default(),
            problems: Problems::default(),
            history: History::default(),
            clock: Clock::start(),
        }
    }

    /// Whose they are.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What the driver of the model's inputs and outputs is to call.
    #[must_use]
    pub fn watch(self: &Arc<Self>) -> Watch {
        let meter = Meter::default();
        Watch { pool: Arc::clone(self), totals: [0; TOTALS], levels: [0; LEVELS], meter }
    }

    fn suffer(&self, problem: Problem) {
        self.problems.add(self.clock.wall(), problem);
    }
}

impl AccessLog for PoolMetrics {
    fn record(&self, access: &Access) {
        self.requests.add(access.status, access.reason);
        // The model hears of it as of a client that leaves. A response that is cut so has its
        // reason: a WebSocket may be meant to end.
        if access.reason == "total_timeout" && access.status >= 500 {
            self.suffer(Problem::OutOfTime);
        }
        for proof in &access.proofs {
            self.redispatched.add(proof.name());
        }
        for (times, time) in [
            (&self.handover, access.handover),
            (&self.app, access.app),
            (&self.slot, access.slot),
            (&self.first_byte, access.first_byte),
        ] {
            if let Some(time) = time {
                times.add(time);
            }
        }
        self.request_time.add(access.total);
        self.bytes_in.fetch_add(access.bytes_in, Relaxed);
        self.bytes_out.fetch_add(access.bytes_out, Relaxed);
    }
}

/// Counts requests by status and reason. Most statuses are never seen, so there is room for those
/// of a class, such as 5xx, from its first one on.
#[derive(Debug, Default)]
struct Requests([OnceLock<Box<Class>>; 5]);

type Class = [Tally<{ REASONS.len() }>; 100];

impl Requests {
    fn add(&self, status: u16, reason: &str) {
        let place = usize::from(status.clamp(STATUS_MIN, STATUS_MAX) - STATUS_MIN);
        if let Some(class) = self.0.get(place / 100) {
            let class =
                class.get_or_init(|| Box::new(std::array::from_fn(|_| Tally::new(&REASONS))));
            if let Some(reasons) = class.get(place % 100) {
                reasons.add(reason);
            }
        }
    }

    /// How many had a status from `first` to `last`.
    fn between(&self, first: u16, last: u16) -> u64 {
        let counts = self.iter().filter(|(status, _, _)| (first..=last).contains(status));
        counts.map(|(_, _, count)| count).sum()
    }

    /// Status, reason and count of what has been seen.
    fn iter(&self) -> impl Iterator<Item = (u16, &'static str, u64)> {
        let classes = (STATUS_MIN..).step_by(100).zip(&self.0);
        let seen = classes.filter_map(|(first, class)| Some((first..).zip(class.get()?.iter())));
        seen.flatten()
            .flat_map(|(status, reasons)| {
                reasons.iter().map(move |(reason, count)| (status, reason, count))
            })
            .filter(|(_, _, count)| *count > 0)
    }
}

/// Counts what the model of a pool is told and what it orders. Its part of what adds up leaves with
/// it, as far as it is not history.
#[derive(Debug)]
pub struct Watch {
    pool: Arc<PoolMetrics>,
    /// What is in the pool's numbers of this model.
    totals: [u64; TOTALS],
    levels: [u64; LEVELS],
    meter: Meter,
}

const TOTALS: usize = 9;
const LEVELS: usize = 10;

impl Watch {
    /// Takes over how the model stands.
    fn show(&mut self, stats: &Stats, gauges: &Gauges) {
        let totals = &self.pool.totals;
        let news: [_; TOTALS] = [
            (&totals.arrived, stats.arrived),
            (&totals.cancelled, stats.cancelled),
            (&totals.cold_exposed, stats.cold_exposed),
            (&totals.dispatched, stats.dispatched),
            (&totals.invokes, stats.invokes),
            (&totals.attached_cold, stats.attached_cold),
            (&totals.attached_warm, stats.attached.saturating_sub(stats.attached_cold)),
            (&totals.stale_inputs, stats.stale_inputs),
            (&totals.instance_nanos, nanos(stats.instance_time)),
        ];
        replace(news, &mut self.totals);
        self.show_levels(gauges);
        let latest = &self.pool.latest;
        for (level, value) in [
            (&latest.service_nanos, nanos(gauges.service)),
            (&latest.cold_start_nanos, nanos(gauges.cold_start)),
            (&latest.breaker_open, gauges.breaker_open.into()),
        ] {
            level.store(value, Relaxed);
        }
    }

    fn show_levels(&mut self, gauges: &Gauges) {
        let levels = &self.pool.levels;
        let news: [_; LEVELS] = [
            (&levels.queued, gauges.queued.into()),
            (&levels.queued_bytes, gauges.queued_bytes),
            (&levels.running, gauges.running.into()),
            (&levels.slots, gauges.slots.into()),
            (&levels.slots_busy, gauges.slots_busy.into()),
            (&levels.starting, gauges.starting.into()),
            (&levels.ready, gauges.ready.into()),
            (&levels.draining, gauges.draining.into()),
            (&levels.detached, gauges.detached.into()),
            (&levels.desired, gauges.desired.into()),
        ];
        replace(news, &mut self.levels);
    }
}

/// Brings sums from what one of their parts `was` to what it is.
fn replace<const N: usize>(news: [(&AtomicU64, u64); N], was: &mut [u64; N]) {
    for ((sum, is), was) in news.into_iter().zip(was) {
        if is != *was {
            sum.fetch_add(is.wrapping_sub(*was), Relaxed);
            *was = is;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.show_levels(&Gauges::default());
    }
}

impl Observer for Watch {
    fn opened(&mut self, window: &Window) {
        self.pool.history.open(window);
    }

    fn input(&mut self, _: Time, input: &Input) {
        if let Input::InvokeEnded { outcome, .. } = input {
            let name = outcome_name(outcome);
            self.pool.invokes_ended.add(name);
            if *outcome != InvokeOutcome::Returned {
                self.pool.suffer(Problem::Invoke(name));
            }
        } else if let Input::RequestEnded { ending: Ending::Unknown { .. }, .. } = input {
            self.pool.unknown_outcome.fetch_add(1, Relaxed);
        }
    }

    fn output(&mut self, _: Time, output: &Output) {
        match output {
            Output::Dispatch { waited, .. } => {
                self.pool.queue_wait.add(*waited);
                self.pool.history.waited(*waited);
            }
            Output::GoAway { reason, .. } => self.pool.goaways.add(goaway_name(*reason)),
            Output::Refuse { reason, .. } => {
                self.pool.refused.add(reason.name());
                self.pool.suffer(Problem::Refused(reason.name()));
            }
            Output::Decided(decision) => {
                self.pool.decisions.add(self.pool.clock.wall(), *decision);
            }
            Output::Close { .. }
            | Output::Invoke { .. }
            | Output::Ping { .. }
            | Output::Stopped => {}
        }
    }

    fn trouble(&mut self, _: Time, trouble: Trouble) {
        self.pool.suffer(Problem::Trouble(trouble));
    }

    fn turn(&mut self, now: Time, model: &Dispatcher) {
        let gauges = model.gauges();
        self.show(model.stats(), &gauges);
        self.meter.turn(now, &gauges, &self.pool.history);
    }
}

const fn goaway_name(reason: GoAwayReason) -> &'static str {
    match reason {
        GoAwayReason::Hung => "hung",
        GoAwayReason::LeaseEnding => "lease_ending",
        GoAwayReason::Shutdown => "shutdown",
        GoAwayReason::Silent => "silent",
        GoAwayReason::Surplus => "surplus",
    }
}

const fn outcome_name(outcome: &InvokeOutcome) -> &'static str {
    match outcome {
        InvokeOutcome::Crashed => "crashed",
        InvokeOutcome::Forbidden => "forbidden",
        InvokeOutcome::Returned => "returned",
        InvokeOutcome::Throttled { .. } => "throttled",
        InvokeOutcome::TimedOut => "timed_out",
        InvokeOutcome::Unavailable => "unavailable",
        InvokeOutcome::Unknown => "unknown",
    }
}

/// Media type of [`Metrics::expose`].
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const STATUS_MIN: u16 = 100;
const STATUS_MAX: u16 = 599;

const GOAWAYS: [&str; 5] = ["hung", "lease_ending", "shutdown", "silent", "surplus"];

const OUTCOMES: [&str; 7] =
    ["crashed", "forbidden", "returned", "throttled", "timed_out", "unavailable", "unknown"];

const PROOFS: [&str; 4] =
    [Proof::GoAway.name(), Proof::Refused.name(), Proof::Unsent.name(), Proof::None.name()];

const SPANS: [&str; 4] = [
    SpanFate::Exported.name(),
    SpanFate::QueueFull.name(),
    SpanFate::Rejected.name(),
    SpanFate::Unreachable.name(),
];

const REFUSALS: [&str; RefuseReason::ALL.len()] = {
    let mut names = [""; RefuseReason::ALL.len()];
    let mut place = 0;
    while place < names.len() {
        names[place] = RefuseReason::ALL[place].name();
        place += 1;
    }
    names
};

/// How an exchange can end, the usual first; the refusals and whatever else the adapters say.
const REASONS: [&str; 21] = [
    "served",
    "client_gone",
    "truncated",
    "idle_timeout",
    "total_timeout",
    "bad_request",
    "request_timeout",
    "unknown_host",
    "unknown_path",
    RefuseReason::Failed.name(),
    RefuseReason::LeaseEnded.name(),
    RefuseReason::OverBudget.name(),
    RefuseReason::PredictedWait.name(),
    RefuseReason::QueueBytes.name(),
    RefuseReason::QueueLength.name(),
    RefuseReason::QueueTimeout.name(),
    RefuseReason::ResponseTimeout.name(),
    RefuseReason::ShuttingDown.name(),
    RefuseReason::Unavailable.name(),
    RefuseReason::Undeliverable.name(),
    "other",
];

#[cfg(test)]
mod tests;
