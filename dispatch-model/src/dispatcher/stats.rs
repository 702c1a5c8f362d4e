//! Counters that only grow, and the gauges that go with them: what metrics are made of. And what
//! can be seen of one instance, for whoever wants to look at each.

use core::time::Duration;

use crate::ids::InstanceId;
use crate::time::Time;

use super::instances::{Instance, State};

/// What a [`Dispatcher`](super::Dispatcher) has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Stats {
    /// Requests that arrived.
    pub arrived: u64,
    /// Requests that were given up, waiting or running.
    pub cancelled: u64,
    /// Dispatches of requests that had waited at least as long as a cold start takes.
    pub cold_exposed: u64,
    /// Orders to serve a request, repeats included.
    pub dispatched: u64,
    /// Requests answered with an error by the model, any reason.
    pub refused: u64,
    /// Requests put back because no app had seen them.
    pub returned: u64,
    /// Requests that ended with a response.
    pub served: u64,
    /// Requests that failed before a response and were not repeated.
    pub failed: u64,
    /// Orders to invoke.
    pub invokes: u64,
    /// Invokes that ended with any outcome but a plain return.
    pub invokes_failed: u64,
    /// Invokes that attached.
    pub attached: u64,
    /// Invokes that attached with a new environment.
    pub attached_cold: u64,
    /// Orders to leave.
    pub goaways: u64,
    /// Inputs about something that had ended.
    pub stale_inputs: u64,
    /// Time from invoke to its end, summed over invokes that are over.
    pub instance_time: Duration,
}

/// How a [`Dispatcher`](super::Dispatcher) stands now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Requests that wait.
    pub queued: u32,
    /// Bytes that waiting requests hold.
    pub queued_bytes: u64,
    /// How long the first in line has waited; zero if nobody waits.
    pub oldest_wait: Duration,
    /// Requests in flight.
    pub running: u32,
    /// Slots of instances that serve, busy ones included.
    pub slots: u32,
    /// Busy slots of instances that serve.
    pub slots_busy: u32,
    /// Instances invoked and not attached yet.
    pub starting: u32,
    /// Instances that take new work.
    pub ready: u32,
    /// Instances that finish what they have.
    pub draining: u32,
    /// Instances without a connection whose invoke has not ended.
    pub detached: u32,
    /// Instances that should serve.
    pub desired: u32,
    /// Mean service time.
    pub service: Duration,
    /// Time from an invoke to its first slot with a new environment: T.
    pub cold_start: Duration,
    /// Whether the function fails so that requests are refused at once.
    pub breaker_open: bool,
    /// Whether the last thing that is known of starting instances is that it fails.
    pub starts_fail: bool,
}

/// One instance, as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstanceView {
    /// Which.
    pub id: InstanceId,
    /// Where it is in its life.
    pub state: State,
    /// Requests that it serves at once. Those of one that starts are not known yet: 0.
    pub slots: u32,
    /// Requests that it serves.
    pub busy: u32,
    /// When its invoke was ordered.
    pub invoked: Time,
    /// From when to when it may be used, once it has attached.
    pub lease: Option<(Time, Time)>,
}

impl From<&Instance> for InstanceView {
    fn from(instance: &Instance) -> Self {
        Self {
            id: instance.id,
            state: instance.state,
            slots: instance.slots,
            busy: instance.busy,
            invoked: instance.invoked,
            lease: instance.attached.map(|at| (at, instance.lease_end)),
        }
    }
}
