//! What the modelled service allows, and what the function asks for.

use std::time::Duration;

/// The service's limits and the function's settings. [`Config::default`] is AWS's defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Invokes that the account may have in flight, when none are reserved; ten times as many may
    /// come in a second. Default 1,000.
    pub account_concurrency: u32,
    /// How long before an environment's processes start: placing it, fetching the image. It stands
    /// for AWS's own part of a cold start, so it is not billed and not under the init limit.
    /// Default 0.
    pub cold_start: Duration,
    /// How long an invoke may take. Default 3 s.
    pub function_timeout: Duration,
    /// Up to this much is added to `idle_timeout`, by chance. Default 60 s.
    pub idle_jitter: Duration,
    /// How long an environment stays after its last invoke. AWS says nothing; measured 5 to 60
    /// minutes over the years. Default 7 minutes.
    pub idle_timeout: Duration,
    /// How long initialisation may take before it is given up and run again inside the invoke.
    /// Default 10 s.
    pub init_timeout: Duration,
    /// Whether an invoke that waits for its own cold start takes an environment that falls idle
    /// first. AWS has said since 2023 that it may; bursts that were measured looked as if it did
    /// not. The environment that was created for it starts and is billed all the same. Default no.
    pub late_binding: bool,
    /// Memory of an environment, for the bill, in MB. Default 128.
    pub memory_mb: u32,
    /// Environments that are kept initialised without an invoke: provisioned concurrency.
    /// Default 0.
    pub provisioned: u32,
    /// Time between the allocations of two provisioned environments. Default 10 ms, which is AWS's
    /// 6,000 a minute.
    pub provisioned_pace: Duration,
    /// New environments allowed per `ramp_window`. Default 1,000.
    pub ramp_environments: u32,
    /// Span over which `ramp_environments` counts. Default 10 s.
    pub ramp_window: Duration,
    /// Invokes that this function may have in flight, set apart from the account's; ten times as
    /// many may come in a second. Default `None`.
    pub reserved_concurrency: Option<u32>,
    /// For a function whose initialisation is kept as a snapshot (SnapStart): how long it takes to
    /// make an environment of it, from its invoke to the answer to `restore/next`. Default `None`.
    pub restore: Option<Duration>,
    /// What extensions have between the SHUTDOWN event and the kill. Default 2 s.
    pub shutdown_budget: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            account_concurrency: 1_000,
            cold_start: Duration::ZERO,
            function_timeout: Duration::from_secs(3),
            idle_jitter: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(7 * 60),
            init_timeout: Duration::from_secs(10),
            late_binding: false,
            memory_mb: 128,
            provisioned: 0,
            provisioned_pace: Duration::from_millis(10),
            ramp_environments: 1_000,
            ramp_window: Duration::from_secs(10),
            reserved_concurrency: None,
            restore: None,
            shutdown_budget: Duration::from_secs(2),
        }
    }
}
