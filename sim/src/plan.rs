//! A plan: everything about a run that is not decided by the models themselves. A plan is read from
//! TOML ([`crate::scenario`]), drawn from a seed ([`crate::swarm`]) or left over by shrinking
//! ([`crate::shrink`]); whoever runs it, over discrete events or over the real adapters, does the
//! same with it.

use std::time::Duration;

use dispatch_model::{Budget, Limits, Matching, Scaling, lifecycle};
use serde::{Deserialize, Serialize};

use crate::fault::{Fault, FaultKind};
use crate::hold::Hold;
use crate::span;
use crate::traffic::Traffic;

/// What is run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Plan {
    /// What it is about, in words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// Decides what is left to chance: the models' choices, delays on the network, and arrivals
    /// that are said as a rate.
    pub seed: u64,
    /// The router's settings.
    pub pool: Pool,
    /// The extension's settings.
    pub extension: Extension,
    /// What AWS and the function are like.
    pub lambda: Lambda,
    /// What lies between the router and its instances.
    pub network: Network,
    /// From when on, after all that went wrong, every request must be served, and without a wait
    /// longer than one start and what is queued allow.
    #[serde(with = "span::maybe", skip_serializing_if = "Option::is_none")]
    pub calm: Option<Duration>,
    /// What must hold at the end, beside what always holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// When requests come, and what each needs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub traffic: Vec<Traffic>,
    /// What goes wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fault: Vec<Fault>,
}

impl Plan {
    /// When the last fault is over, and none that waits for somebody strikes any more.
    #[must_use]
    pub fn healed(&self) -> Duration {
        let last = self.fault.iter().map(Fault::end).max().unwrap_or_default();
        self.calm.map_or(last, |calm| calm.saturating_sub(KEPT_AWAY))
    }

    /// When the last request has arrived.
    #[must_use]
    pub fn last_arrival(&self) -> Duration {
        let bursts = self.fault.iter().filter(|fault| fault.kind == FaultKind::Burst);
        let traffic = self.traffic.iter().map(Traffic::end);
        traffic.chain(bursts.map(|burst| burst.at)).max().unwrap_or_default()
    }

    /// The kinds of fault that it plans.
    pub fn kinds(&self) -> impl Iterator<Item = FaultKind> + '_ {
        self.fault.iter().map(|fault| fault.kind)
    }
}

/// The router's settings, as far as simulations vary them. Defaults are those of [`Limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "said with the fields of the same names of Limits")]
pub struct Pool {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    #[serde(with = "span::maybe", skip_serializing_if = "Option::is_none")]
    pub cold_start: Option<Duration>,
    pub instances_max: u32,
    pub instances_min: u32,
    pub invokes_burst: u32,
    pub invokes_per_second: u32,
    #[serde(with = "span")]
    pub linger: Duration,
    pub matching: MatchingName,
    #[serde(with = "span")]
    pub ping_interval: Duration,
    #[serde(with = "span")]
    pub ping_timeout: Duration,
    #[serde(with = "span")]
    pub placement_margin: Duration,
    pub queue_bytes_max: u64,
    pub queue_len_max: u32,
    #[serde(with = "span")]
    pub queue_timeout: Duration,
    pub redispatch_max: u8,
    pub retry_repeatable: bool,
    pub scaling: ScalingName,
    pub slots: u32,
    #[serde(with = "span")]
    pub start_timeout: Duration,
    pub starts_unproven_max: u32,
}

/// [`Matching`] by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "said with Matching")]
pub enum MatchingName {
    LeastOutstanding,
    Pack,
}

/// [`Scaling`] by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "said with Scaling")]
pub enum ScalingName {
    Ewma,
    Rule,
    Simple,
}

impl Default for Pool {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            budget: limits.budget,
            cold_start: limits.cold_start,
            instances_max: limits.instances_max,
            instances_min: limits.instances_min,
            invokes_burst: limits.invokes_burst,
            invokes_per_second: limits.invokes_per_second,
            linger: limits.linger,
            matching: MatchingName::LeastOutstanding,
            ping_interval: limits.ping_interval,
            ping_timeout: limits.ping_timeout,
            placement_margin: limits.placement_margin,
            queue_bytes_max: limits.queue_bytes_max,
            queue_len_max: limits.queue_len_max,
            queue_timeout: limits.queue_timeout,
            redispatch_max: limits.redispatch_max,
            retry_repeatable: limits.retry_repeatable,
            scaling: ScalingName::Rule,
            slots: limits.slots,
            start_timeout: limits.start_timeout,
            starts_unproven_max: limits.starts_unproven_max,
        }
    }
}

impl Pool {
    /// What the model is asked to do.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            budget: self.budget,
            cold_start: self.cold_start,
            instances_max: self.instances_max,
            instances_min: self.instances_min,
            invokes_burst: self.invokes_burst,
            invokes_per_second: self.invokes_per_second,
            linger: self.linger,
            matching: match self.matching {
                MatchingName::LeastOutstanding => Matching::LeastOutstanding,
                MatchingName::Pack => Matching::Pack,
            },
            ping_interval: self.ping_interval,
            ping_timeout: self.ping_timeout,
            placement_margin: self.placement_margin,
            queue_bytes_max: self.queue_bytes_max,
            queue_len_max: self.queue_len_max,
            queue_timeout: self.queue_timeout,
            redispatch_max: self.redispatch_max,
            retry_repeatable: self.retry_repeatable,
            scaling: match self.scaling {
                ScalingName::Ewma => Scaling::Ewma,
                ScalingName::Rule => Scaling::Rule,
                ScalingName::Simple => Scaling::Simple,
            },
            slots: self.slots,
            start_timeout: self.start_timeout,
            starts_unproven_max: self.starts_unproven_max,
            ..Limits::default()
        }
    }
}

/// The extension's settings, as far as simulations vary them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "said with the fields of the same names of lifecycle::Config")]
pub struct Extension {
    pub async_init: bool,
    #[serde(with = "span")]
    pub app_patience: Duration,
    #[serde(with = "span")]
    pub lead: Duration,
    #[serde(with = "span::maybe", skip_serializing_if = "Option::is_none")]
    pub linger: Option<Duration>,
}

impl Default for Extension {
    fn default() -> Self {
        let config = lifecycle::Config::default();
        Self {
            async_init: config.async_init,
            app_patience: config.app_patience,
            lead: config.lead,
            linger: config.linger,
        }
    }
}

impl Extension {
    /// What the extension's machine is asked to do.
    #[must_use]
    pub fn config(&self) -> lifecycle::Config {
        lifecycle::Config {
            async_init: self.async_init,
            app_patience: self.app_patience,
            lead: self.lead,
            linger: self.linger,
            ..lifecycle::Config::default()
        }
    }
}

/// What AWS and the function are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lambda {
    /// Invokes that may be in flight. Default 1,000.
    pub concurrency: u32,
    /// From an invoke to the start of its new environment's processes. Default none.
    #[serde(with = "span")]
    pub placing: Duration,
    /// How long the app takes to get ready. Default 1 s; with `placing` it makes T.
    #[serde(with = "span")]
    pub init: Duration,
    /// How long an invoke may take. Default 15 min.
    #[serde(with = "span")]
    pub function_timeout: Duration,
    /// How long an environment is kept without an invoke. Default 7 min.
    #[serde(with = "span")]
    pub idle_timeout: Duration,
    /// New environments allowed in 10 s. Default 1,000.
    pub ramp: u32,
    /// Memory of an environment, in MB. Default 1,024.
    pub memory_mb: u32,
}

impl Default for Lambda {
    fn default() -> Self {
        Self {
            concurrency: 1_000,
            placing: Duration::ZERO,
            init: Duration::from_secs(1),
            function_timeout: Duration::from_secs(900),
            idle_timeout: Duration::from_secs(7 * 60),
            ramp: 1_000,
            memory_mb: 1_024,
        }
    }
}

impl Lambda {
    /// T, from an invoke to an instance that serves.
    #[must_use]
    pub fn cold_start(&self) -> Duration {
        self.placing + self.init
    }

    /// What the emulator's model is told.
    #[must_use]
    pub fn config(&self) -> emulator::model::Config {
        emulator::model::Config {
            account_concurrency: self.concurrency,
            cold_start: self.placing,
            function_timeout: self.function_timeout,
            idle_timeout: self.idle_timeout,
            memory_mb: self.memory_mb,
            ramp_environments: self.ramp,
            ..emulator::model::Config::default()
        }
    }
}

/// The network between the router and its instances, the same in both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// Least time that bytes take. Default none.
    #[serde(with = "span")]
    pub delay_min: Duration,
    /// Most time that bytes take, unless it is less than the least.
    #[serde(with = "span")]
    pub delay_max: Duration,
}

/// How long before all is calm the last fault is over: the router's longest pause between two
/// tries, the time that it gives the one that it lets through, and some.
pub const KEPT_AWAY: Duration = Duration::from_secs(130);
