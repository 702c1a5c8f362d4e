//! Everything a [`Dispatcher`](super::Dispatcher) can ask for.
//!
//! Outputs are orders, to be carried out in the order in which they come. Carrying one out late is
//! slow, never wrong.

use core::fmt;
use core::time::Duration;

use crate::ids::{InstanceId, RequestId};

use super::config::Scaling;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[must_use]
pub enum Output {
    /// Close the connection to this instance now; what is in flight on it is lost, and each such
    /// request is still to be reported by [`Input::RequestEnded`](super::Input::RequestEnded).
    /// [`Input::InstanceLost`](super::Input::InstanceLost) is not owed after it.
    Close {
        /// Whose connection.
        instance: InstanceId,
    },
    /// The number of instances that should serve has changed. For the log; nothing to do.
    Decided(Decision),
    /// Send this request to this instance.
    Dispatch {
        /// Which request.
        request: RequestId,
        /// Who serves it.
        instance: InstanceId,
        /// How long it waited since it arrived.
        waited: Duration,
        /// Whether it waited as long as a cold start takes.
        cold_exposed: bool,
    },
    /// Tell this instance to finish what it has and leave. A [`Output::Close`] follows when it has
    /// nothing left in flight. It may be told twice, for another reason.
    GoAway {
        /// Whom to tell.
        instance: InstanceId,
        /// Why.
        reason: GoAwayReason,
    },
    /// Invoke the function once. Acknowledged by
    /// [`Input::InvokeEnded`](super::Input::InvokeEnded), in between by
    /// [`Input::InstanceAttached`](super::Input::InstanceAttached).
    Invoke {
        /// The name of the instance it shall become.
        instance: InstanceId,
    },
    /// Ask this instance for a sign of life.
    Ping {
        /// Whom to ask.
        instance: InstanceId,
    },
    /// Answer this request with an error. It is over; no input about it is owed.
    Refuse {
        /// Which request.
        request: RequestId,
        /// Why.
        reason: RefuseReason,
        /// When trying again may help, in whole seconds; 0 means that it would not.
        retry_after_s: u16,
    },
    /// Shutdown is complete: nothing is in flight and no instance is attached. Or time is up: then
    /// requests that run are still to be reported as ended, and refused where they need an answer.
    Stopped,
}

/// Why an instance is told to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum GoAwayReason {
    /// It lets its requests time out, and others do not.
    Hung,
    /// Its lease has no room for another request.
    LeaseEnding,
    /// It did not answer a ping.
    Silent,
    /// The router stops.
    Shutdown,
    /// Fewer instances are enough.
    Surplus,
}

/// Why a request is answered with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum RefuseReason {
    /// The instance failed and may have begun it.
    Failed,
    /// The instance's lease ended before it had.
    LeaseEnded,
    /// The money budget is spent and nothing serves.
    OverBudget,
    /// It would wait longer than the queue's time-out.
    PredictedWait,
    /// The queue holds as many bytes as it may.
    QueueBytes,
    /// The queue holds as many requests as it may.
    QueueLength,
    /// It waited as long as it may.
    QueueTimeout,
    /// Its response did not begin in time.
    ResponseTimeout,
    /// The router stops.
    ShuttingDown,
    /// The function fails to start, so waiting is pointless.
    Unavailable,
    /// It was given back by instances as often as it may be.
    Undeliverable,
}

/// A change of the number of instances that should serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Decision {
    /// Instances that served or were starting.
    pub from: u32,
    /// Instances that should serve.
    pub to: u32,
    /// The reason.
    pub why: Why,
}

/// The reason of a [`Decision`], with the numbers that led to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Why {
    /// Queued requests would wait as long as a cold start.
    Backlog {
        /// Requests in the queue, and those that found no room in it since the last look.
        queued: u32,
        /// Slots that serve.
        slots: u32,
        /// Mean service time.
        service: Duration,
        /// Time from an invoke to its first slot.
        cold_start: Duration,
    },
    /// The money budget forbids more.
    Budget,
    /// Queued requests would wait as long as a cold start, as requests take longer than that and
    /// too few of those that run are over soon.
    Busy {
        /// Requests in the queue, and those that found no room in it since the last look.
        queued: u32,
        /// Requests that will be over when a new instance would be up.
        due: u32,
        /// Time from an invoke to its first slot.
        cold_start: Duration,
    },
    /// One of the original's formulas.
    Formula(Scaling),
    /// Nothing arrived for the linger time.
    Idle,
    /// The operator's bounds.
    Limits,
    /// Little's law on the arrival rate.
    Rate {
        /// Arrivals per 1,000 seconds, as expected when a new instance would be up.
        arrivals_per_1000s: u64,
        /// Mean service time.
        service: Duration,
        /// Requests that have run for much longer and keep their slots.
        stuck: u32,
    },
}

/// In the words of the scenarios: `dispatch r1 to i0 after 5ms`.
impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Close { instance } => write!(f, "close {instance}"),
            Self::Decided(decision) => write!(f, "decide {decision}"),
            Self::Dispatch { request, instance, waited, cold_exposed } => {
                let exposed = if *cold_exposed { ", cold-exposed" } else { "" };
                write!(f, "dispatch {request} to {instance} after {waited:?}{exposed}")
            }
            Self::GoAway { instance, reason } => write!(f, "goaway {instance} {reason:?}"),
            Self::Invoke { instance } => write!(f, "invoke {instance}"),
            Self::Ping { instance } => write!(f, "ping {instance}"),
            Self::Refuse { request, reason, retry_after_s } => {
                let (reason, status) = (reason.name(), reason.status());
                write!(f, "refuse {request} {reason} {status}, retry after {retry_after_s}s")
            }
            Self::Stopped => f.write_str("stopped"),
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.to > self.from { "start" } else { "retire" };
        write!(
            f,
            "{} -> {} instances ({verb} {}): ",
            self.from,
            self.to,
            self.from.abs_diff(self.to)
        )?;
        match self.why {
            Why::Backlog { queued, slots: 0, cold_start, .. } => {
                write!(f, "{queued} queued and no slot; a start takes {cold_start:?}")
            }
            Why::Backlog { queued, slots, service, cold_start } => write!(
                f,
                "{queued} queued / {slots} slots x {service:?} is not under a start \
                 of {cold_start:?}"
            ),
            Why::Budget => write!(f, "the budget allows no more"),
            Why::Busy { queued, due, cold_start } => write!(
                f,
                "{queued} queued and {due} of the busy slots due within a start of {cold_start:?}"
            ),
            Why::Formula(scaling) => write!(f, "by the formula {scaling}"),
            Why::Idle => write!(f, "idle for the linger time"),
            Why::Limits => write!(f, "configured bounds"),
            Why::Rate { arrivals_per_1000s, service, stuck } => {
                let (whole, milli) = (arrivals_per_1000s / 1000, arrivals_per_1000s % 1000);
                write!(f, "{whole}.{milli:03} requests/s x {service:?} each")?;
                if stuck > 0 { write!(f, " and {stuck} that run long") } else { Ok(()) }
            }
        }
    }
}

impl RefuseReason {
    /// Every reason, in the order of the names.
    pub const ALL: [Self; 11] = [
        Self::Failed,
        Self::LeaseEnded,
        Self::OverBudget,
        Self::PredictedWait,
        Self::QueueBytes,
        Self::QueueLength,
        Self::QueueTimeout,
        Self::ResponseTimeout,
        Self::ShuttingDown,
        Self::Unavailable,
        Self::Undeliverable,
    ];

    /// The HTTP status that tells a client what to think of it.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Failed => 502,
            Self::OverBudget => 429,
            Self::LeaseEnded | Self::QueueTimeout | Self::ResponseTimeout => 504,
            Self::PredictedWait
            | Self::QueueBytes
            | Self::QueueLength
            | Self::ShuttingDown
            | Self::Unavailable
            | Self::Undeliverable => 503,
        }
    }

    /// One word for logs and metrics, `snake_case`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::LeaseEnded => "lease_ended",
            Self::OverBudget => "over_budget",
            Self::PredictedWait => "predicted_wait",
            Self::QueueBytes => "queue_bytes",
            Self::QueueLength => "queue_length",
            Self::QueueTimeout => "queue_timeout",
            Self::ResponseTimeout => "response_timeout",
            Self::ShuttingDown => "shutting_down",
            Self::Unavailable => "unavailable",
            Self::Undeliverable => "undeliverable",
        }
    }
}
