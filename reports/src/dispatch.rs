//! This system: the dispatcher of the router and the machine of the extension, as production runs
//! them, between the plan's traffic and the emulator's model of Lambda.

use std::io;
use std::ops::RangeInclusive;
use std::time::Duration;

use dispatch_model::{ConfigError, Time};
use serde::{Deserialize, Serialize};
use sim::outside::{Source, Watch};
use sim::plan::{Extension, Lambda, MatchingName, Network, Pool, ScalingName};
use sim::traffic::Arrival;
use sim::{Checks, Fault, FaultKind, span};

use crate::money::Bill;
use crate::plan::{
    FARGATE_CPU_UNITS, FARGATE_MEMORY_MB, Function, Plan, check_memory, check_range,
};
use crate::tally::Tally;
use crate::usage::{SnapStart, Usage};

/// Settings of the router and of the extension; what is not set is as in production.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dispatch {
    /// What it is called in the report; none: what is set.
    pub name: Option<String>,
    /// Requests that one instance serves at once. Default 10.
    pub slots: u32,
    /// Who decides how many instances there are: `rule` (default), `simple` or `ewma`.
    pub scaling: ScalingName,
    /// Which free slot a request takes: `least-outstanding` (default) or `pack`.
    pub matching: MatchingName,
    /// How long an instance that is not needed is kept. Default as in the router.
    #[serde(with = "span")]
    pub linger: Duration,
    /// After how long without work an instance leaves by itself; none (default): never.
    #[serde(with = "span::maybe")]
    pub extension_linger: Option<Duration>,
    /// Instances of each router that are kept though idle. Default 0.
    pub instances_min: u32,
    /// Most instances of each router. Default as in the router.
    pub instances_max: u32,
    /// Most requests that wait in each router. Default as in the router.
    pub queue_len_max: u32,
    /// How long a request waits before it is refused. Default as in the router.
    #[serde(with = "span")]
    pub queue_timeout: Duration,
    /// Memory of the function, in MB; none (default): the plan's.
    pub memory_mb: Option<u32>,
    /// Routers that share the traffic, each with a pool of its own: 100 at most. Default 1.
    pub routers: u32,
    /// Processor of each router, in Fargate's units: 1,024 are one vCPU. Default 1,024.
    pub router_cpu_units: u32,
    /// Memory of each router, in MB. Default 2,048.
    pub router_memory_mb: u32,
    /// What bytes take between a router and an instance, one way. Default 250 µs.
    #[serde(with = "span")]
    pub network: Duration,
}

impl Default for Dispatch {
    fn default() -> Self {
        let pool = Pool::default();
        Self {
            name: None,
            slots: pool.slots,
            scaling: pool.scaling,
            matching: pool.matching,
            linger: pool.linger,
            extension_linger: Extension::default().linger,
            instances_min: pool.instances_min,
            instances_max: pool.instances_max,
            queue_len_max: pool.queue_len_max,
            queue_timeout: pool.queue_timeout,
            memory_mb: None,
            routers: 1,
            router_cpu_units: 1_024,
            router_memory_mb: 2_048,
            network: Duration::from_micros(250),
        }
    }
}

impl Dispatch {
    /// Memory of an instance, in MB.
    #[must_use]
    pub fn memory_mb(&self, function: &Function) -> u32 {
        self.memory_mb.unwrap_or(function.memory_mb)
    }

    fn plan(&self, plan: &Plan, cold_start: Duration, seed: u64) -> sim::Plan {
        let (function, routers) = (&plan.function, self.routers);
        let placing = function.placing(cold_start);
        let deploy = |at: &Duration| Fault {
            kind: FaultKind::Deploy,
            at: *at,
            span: Duration::ZERO,
            whom: 0,
            size: 0,
        };
        sim::Plan {
            seed,
            pool: self.pool(),
            extension: Extension { linger: self.extension_linger, ..Extension::default() },
            lambda: Lambda {
                concurrency: (function.concurrency / routers).max(1),
                placing,
                init: cold_start.saturating_sub(placing),
                function_timeout: function.timeout,
                idle_timeout: function.idle_timeout,
                ramp: (function.ramp / routers).max(1),
                memory_mb: self.memory_mb(function),
            },
            network: Network { delay_min: self.network, delay_max: self.network },
            fault: plan.traffic.deploys().iter().map(deploy).collect(),
            ..sim::Plan::default()
        }
    }

    /// Whether the router would take these settings, and AWS the function.
    ///
    /// # Errors
    ///
    /// Which it would not, and what is allowed.
    pub fn check(&self) -> Result<(), String> {
        self.memory_mb.map_or(Ok(()), check_memory)?;
        check_range("routers", self.routers, &ROUTERS)?;
        check_range("router_cpu_units", self.router_cpu_units, &FARGATE_CPU_UNITS)?;
        check_range("router_memory_mb", self.router_memory_mb, &FARGATE_MEMORY_MB)?;
        let limits = self.pool().limits();
        dispatch_model::Config::new(limits).map(drop).map_err(|why| why.to_string())
    }

    fn pool(&self) -> Pool {
        Pool {
            slots: self.slots,
            scaling: self.scaling,
            matching: self.matching,
            linger: self.linger,
            instances_min: self.instances_min,
            instances_max: self.instances_max,
            queue_len_max: self.queue_len_max,
            queue_timeout: self.queue_timeout,
            ..Pool::default()
        }
    }

    /// Serves all that `open` gives: called once for each router, with its number.
    ///
    /// # Errors
    ///
    /// The settings are out of range, or a request's line could not be written.
    pub(crate) fn run<S: Source>(
        &self,
        plan: &Plan,
        cold_start: Duration,
        seed: u64,
        tally: &mut Tally,
        mut open: impl FnMut() -> S,
    ) -> Result<Usage, RunError> {
        let routers = self.routers;
        let function = &plan.function;
        let (mut usage, mut restored) = (Usage::default(), 0);
        let mut bill = Bill::new(self.memory_mb(&plan.function));
        for number in 0..routers {
            let plan = self.plan(plan, cold_start, seed.wrapping_add(number.into()));
            let mut share = Share { source: open(), number, of: routers, next: 0 };
            let mut own = tally.another();
            let watch: &mut dyn Watch = &mut own;
            let (outcome, _) = sim::fast::play(&plan, &mut share, watch, CHECKS)?;
            if let Some(broken) = outcome.broken {
                return Err(RunError::Broken(broken));
            }
            let report = outcome.report;
            own.finish(Time::ZERO + report.took)?;
            tally.merge(own);
            let memory_mb = plan.lambda.memory_mb;
            bill = Bill::of(
                memory_mb,
                bill.requests() + report.stats.invokes,
                bill.billed_ms() + report.billed_ms,
            );
            usage.paid_slot_time +=
                Duration::from_millis(report.billed_ms).saturating_mul(self.slots);
            usage.span = usage.span.max(report.took);
            restored += report.environments * u64::from(memory_mb);
        }
        if function.snapstart_is_billed {
            let memory_mb = u128::from(self.memory_mb(function));
            let cached_mb_ms = memory_mb * usage.span.as_millis();
            usage.snapstart = SnapStart { cached_mb_ms, restored_mb: restored };
        }
        // What the instances that are kept would have held without any request.
        let kept_ms = usage.span.as_millis() * u128::from(self.instances_min) * u128::from(routers);
        let kept_ms = kept_ms.min(bill.billed_ms().into());
        usage.kept_mb_ms = u128::from(bill.memory_mb()) * kept_ms;
        Ok(Usage { on_demand: bill, ..usage })
    }
}

/// Why an alternative could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The settings are out of range.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// The per-request file could not be written.
    #[error("a request's line could not be written: {0}")]
    Io(#[from] io::Error),
    /// Something does not hold that always must: a bug.
    #[error("a bug: {0}")]
    Broken(String),
}

/// Every request in its turn goes to the next of several routers.
struct Share<S> {
    source: S,
    number: u32,
    of: u32,
    /// Whose turn the source's next request is.
    next: u32,
}

impl<S: Source> Share<S> {
    /// Leaves out what is others'.
    fn skip(&mut self) {
        while self.next != self.number && self.source.next().is_some() {
            self.next = (self.next + 1) % self.of;
        }
    }
}

impl<S: Source> Source for Share<S> {
    fn next_at(&mut self) -> Option<Time> {
        self.skip();
        self.source.next_at()
    }

    fn next(&mut self) -> Option<Arrival> {
        self.skip();
        let arrival = self.source.next()?;
        self.next = (self.next + 1) % self.of;
        Some(arrival)
    }

    fn ended(&mut self, now: Time, arrived: Time) {
        self.source.ended(now, arrived);
    }

    fn lasts(&self) -> Time {
        self.source.lasts()
    }

    fn init(&mut self) -> Option<Duration> {
        self.source.init()
    }
}

/// Each takes all of the traffic in turn, to find its share.
const ROUTERS: RangeInclusive<u32> = 1..=100;
/// The checks are those of `cargo sim`.
const CHECKS: Checks = Checks::NONE;
