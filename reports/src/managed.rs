//! Lambda Managed Instances: environments that serve several requests at once, on EC2 instances of
//! the account that AWS manages.
//!
//! There is no queue: when every slot is taken a request is refused with 429. Environments come
//! after the fact, for the use of the last minute, and not more than twice as many as five minutes
//! ago. What is paid for are the EC2 instances that they share, a fee on top, and each request.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sim::outside::{Source, Watch};

use crate::pool::{self, Pool};
use crate::tracking::Tracking;
use crate::usage::{Managed, Usage};

/// How managed instances are to serve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ManagedPlan {
    /// Environments that are always there. Default 3, one a zone.
    pub environments_min: u32,
    /// Most environments.
    pub environments_max: u32,
    /// Requests that one serves at once.
    pub concurrency: u32,
    /// Processors of each.
    pub vcpus: f64,
    /// The type of EC2 instances, for which there must be a price.
    pub instance_type: String,
    /// Environments that share one.
    pub environments_per_instance: u32,
    /// Busy share of the slots that is aimed at. Default 0.5, so that traffic may double.
    pub target: f64,
    /// How long a request may run; then it fails. Default 15 minutes.
    pub timeout: Duration,
    /// How long a new environment takes until it serves, its instance included.
    pub start: Duration,
}

impl Default for ManagedPlan {
    fn default() -> Self {
        Self {
            environments_min: 3,
            environments_max: 1_000,
            concurrency: 16,
            vcpus: 1.0,
            instance_type: "m7g.xlarge".to_owned(),
            environments_per_instance: 1,
            target: 0.5,
            timeout: Duration::from_secs(15 * 60),
            start: Duration::from_secs(60),
        }
    }
}

/// Serves all requests of `source` and says what that used.
pub fn run(plan: &ManagedPlan, source: &mut dyn Source, watch: &mut dyn Watch) -> Usage {
    let tracking = Tracking {
        target: plan.target,
        min: plan.environments_min,
        max: plan.environments_max,
        out_minutes: 1,
        ..Tracking::default()
    };
    let pool = Pool {
        count: plan.environments_min,
        slots: plan.concurrency,
        vcpus: plan.vcpus,
        queue_max: 0,
        queue_timeout: Duration::ZERO,
        timeout: plan.timeout,
        start: plan.start,
        tracking: Some(tracking),
        doubling: Some(DOUBLING),
        shared_by: plan.environments_per_instance,
    };
    let served = pool::serve(&pool, source, watch);
    Usage {
        span: served.span,
        managed: Managed {
            instance_type: plan.instance_type.clone(),
            time: served.paid,
            requests: served.requests,
        },
        paid_slot_time: served.lived * plan.concurrency,
        throttled: served.turned_away,
        ..Usage::default()
    }
}

/// In how long the environments may double.
const DOUBLING: Duration = Duration::from_secs(5 * 60);

#[cfg(test)]
mod tests;
