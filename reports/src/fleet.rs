//! A fleet of containers behind a load balancer: so many tasks on Fargate, each with so many slots.
//!
//! All are there when the traffic begins. Their number stays, or follows the busy share of their
//! slots as ECS follows a utilisation; new ones take their time to start. Fargate's minimum of a
//! minute a task is left out: one lives longer.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sim::outside::{Source, Watch};

use crate::pool::{self, Pool};
use crate::tracking::Tracking;
use crate::usage::{Containers, Usage};

/// What fleet is to serve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FleetPlan {
    /// Containers at the start.
    pub containers: u32,
    /// Requests that one serves at once.
    pub slots: u32,
    /// Processor of each, in Fargate's units: 1,024 are one vCPU.
    pub cpu_units: u32,
    /// Memory of each, in MB.
    pub memory_mb: u32,
    /// Requests that may wait when all slots are taken; more are refused.
    pub queue_max: u32,
    /// How long one may wait before it is refused.
    pub queue_timeout: Duration,
    /// Their number follows their use; none: it stays.
    pub tracking: Option<Tracking>,
    /// How long a new container takes until it serves.
    pub start: Duration,
}

impl Default for FleetPlan {
    fn default() -> Self {
        Self {
            containers: 2,
            slots: 10,
            cpu_units: 1_024,
            memory_mb: 2_048,
            queue_max: 10_000,
            queue_timeout: Duration::from_secs(60),
            tracking: None,
            start: Duration::from_secs(60),
        }
    }
}

/// Serves all requests of `source` and says what that used.
pub fn run(plan: &FleetPlan, source: &mut dyn Source, watch: &mut dyn Watch) -> Usage {
    let pool = Pool {
        count: plan.containers,
        slots: plan.slots,
        vcpus: f64::from(plan.cpu_units) / 1_024.0,
        queue_max: plan.queue_max,
        queue_timeout: plan.queue_timeout,
        timeout: Duration::MAX,
        start: plan.start,
        tracking: plan.tracking,
        doubling: None,
        shared_by: 1,
    };
    let served = pool::serve(&pool, source, watch);
    let FleetPlan { cpu_units, memory_mb, slots, .. } = *plan;
    Usage {
        span: served.span,
        containers: Containers { cpu_units, memory_mb, time: served.paid },
        paid_slot_time: served.lived * slots,
        ..Usage::default()
    }
}

#[cfg(test)]
mod tests;
