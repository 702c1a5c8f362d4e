//! What the router counts, and how it shows it to Prometheus.
//!
//! Numbers come from two sides: the model's driver shows every input, output and turn to a
//! [`Watch`], and every finished exchange is recorded in [`Metrics`]. Both only add to atomics that
//! exist from the start: nothing is allocated, locked or looked up by label on the way of a
//! request. All the work is done when somebody asks for `/metrics`.
//!
//! Labels are words of our own enums and status codes, so that no client can add a series.

mod distribution;
mod exposition;
mod tally;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use dispatch_model::{
    Dispatcher, Ending, Gauges, GoAwayReason, Input, InvokeOutcome, Output, RefuseReason, Stats,
    Time, time::nanos,
};
use io_tokio::observe::{Access, AccessLog, Observer, Proof};

use distribution::Distribution;
use tally::Tally;

/// Everything that is counted. Shared by those who count and those who show.
#[derive(Debug)]
pub struct Metrics {
    totals: Totals,
    levels: Levels,
    refused: Tally<{ REFUSALS.len() }>,
    redispatched: Tally<{ PROOFS.len() }>,
    unknown_outcome: AtomicU64,
    goaways: Tally<{ GOAWAYS.len() }>,
    invokes_ended: Tally<{ OUTCOMES.len() }>,
    /// By status, then by reason.
    requests: Box<[Tally<{ REASONS.len() }>]>,
    queue_wait: Distribution,
    first_byte: Distribution,
    request_time: Distribution,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

/// The model's counters, as of its last turn.
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

/// The model's gauges, as of its last turn.
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
    service_nanos: AtomicU64,
    cold_start_nanos: AtomicU64,
    breaker_open: AtomicU64,
}

impl Metrics {
    /// All zero.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            totals: Totals::default(),
            levels: Levels::default(),
            refused: Tally::new(&REFUSALS),
            redispatched: Tally::new(&PROOFS),
            unknown_outcome: AtomicU64::new(0),
            goaways: Tally::new(&GOAWAYS),
            invokes_ended: Tally::new(&OUTCOMES),
            requests: (0..=STATUS_MAX - STATUS_MIN).map(|_| Tally::new(&REASONS)).collect(),
            queue_wait: Distribution::default(),
            first_byte: Distribution::default(),
            request_time: Distribution::default(),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
        })
    }

    /// What the driver of the model's inputs and outputs is to call.
    #[must_use]
    pub fn watch(self: &Arc<Self>) -> Watch {
        Watch(Arc::clone(self))
    }

    /// Everything in the OpenMetrics text format, whose media type is [`MEDIA_TYPE`].
    ///
    /// # Errors
    ///
    /// None that is known: writing to memory does not fail.
    pub fn expose(self: &Arc<Self>) -> Result<String, std::fmt::Error> {
        exposition::text(Arc::clone(self))
    }

    /// Takes over how a model stands.
    fn show(&self, stats: &Stats, gauges: &Gauges) {
        let (totals, levels) = (&self.totals, &self.levels);
        for (total, value) in [
            (&totals.arrived, stats.arrived),
            (&totals.cancelled, stats.cancelled),
            (&totals.cold_exposed, stats.cold_exposed),
            (&totals.dispatched, stats.dispatched),
            (&totals.invokes, stats.invokes),
            (&totals.attached_cold, stats.attached_cold),
            (&totals.attached_warm, stats.attached.saturating_sub(stats.attached_cold)),
            (&totals.stale_inputs, stats.stale_inputs),
            (&totals.instance_nanos, nanos(stats.instance_time)),
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
            (&levels.service_nanos, nanos(gauges.service)),
            (&levels.cold_start_nanos, nanos(gauges.cold_start)),
            (&levels.breaker_open, gauges.breaker_open.into()),
        ] {
            total.store(value, Relaxed);
        }
    }
}

impl AccessLog for Metrics {
    fn record(&self, access: &Access) {
        let status = access.status.clamp(STATUS_MIN, STATUS_MAX) - STATUS_MIN;
        if let Some(reasons) = self.requests.get(usize::from(status)) {
            reasons.add(access.reason);
        }
        for proof in &access.proofs {
            self.redispatched.add(proof.name());
        }
        if let Some(first_byte) = access.first_byte {
            self.first_byte.add(first_byte);
        }
        self.request_time.add(access.total);
        self.bytes_in.fetch_add(access.bytes_in, Relaxed);
        self.bytes_out.fetch_add(access.bytes_out, Relaxed);
    }
}

/// Counts what the model of a pool is told and what it orders.
#[derive(Debug)]
pub struct Watch(Arc<Metrics>);

impl Observer for Watch {
    fn input(&mut self, _: Time, input: &Input) {
        if let Input::InvokeEnded { outcome, .. } = input {
            self.0.invokes_ended.add(outcome_name(outcome));
        } else if let Input::RequestEnded { ending: Ending::Unknown { .. }, .. } = input {
            self.0.unknown_outcome.fetch_add(1, Relaxed);
        }
    }

    fn output(&mut self, _: Time, output: &Output) {
        match output {
            Output::Dispatch { waited, .. } => self.0.queue_wait.add(*waited),
            Output::GoAway { reason, .. } => self.0.goaways.add(goaway_name(*reason)),
            Output::Refuse { reason, .. } => self.0.refused.add(reason.name()),
            Output::Close { .. }
            | Output::Decided(_)
            | Output::Invoke { .. }
            | Output::Ping { .. }
            | Output::Stopped => {}
        }
    }

    fn turn(&mut self, _: Time, model: &Dispatcher) {
        self.0.show(model.stats(), &model.gauges());
    }
}

const fn goaway_name(reason: GoAwayReason) -> &'static str {
    match reason {
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

const GOAWAYS: [&str; 4] = ["lease_ending", "shutdown", "silent", "surplus"];

const OUTCOMES: [&str; 7] =
    ["crashed", "forbidden", "returned", "throttled", "timed_out", "unavailable", "unknown"];

const PROOFS: [&str; 4] =
    [Proof::GoAway.name(), Proof::Refused.name(), Proof::Unsent.name(), Proof::None.name()];

const REFUSALS: [&str; 10] = [
    RefuseReason::Failed.name(),
    RefuseReason::OverBudget.name(),
    RefuseReason::PredictedWait.name(),
    RefuseReason::QueueBytes.name(),
    RefuseReason::QueueLength.name(),
    RefuseReason::QueueTimeout.name(),
    RefuseReason::ResponseTimeout.name(),
    RefuseReason::ShuttingDown.name(),
    RefuseReason::Unavailable.name(),
    RefuseReason::Undeliverable.name(),
];

/// How an exchange can end, the usual first; the refusals and whatever else the adapters say.
const REASONS: [&str; 18] = [
    "served",
    "client_gone",
    "truncated",
    "idle_timeout",
    "total_timeout",
    "bad_request",
    "request_timeout",
    RefuseReason::Failed.name(),
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
