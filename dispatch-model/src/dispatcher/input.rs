//! Everything that can happen to a [`Dispatcher`](super::Dispatcher).
//!
//! Inputs are facts in the past tense. Times are spans, never moments of another clock. An input
//! about something that has ended is legal (facts cross on the wire); it is counted as stale and
//! changes nothing.

use core::fmt;
use core::time::Duration;

use crate::ids::{InstanceId, RequestId};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Input {
    /// The extension said that it takes no new work. Requests in flight on it go on.
    GoAwayReceived {
        /// Who said it.
        instance: InstanceId,
    },
    /// An instance dialled back, proved who it is, and is ready to serve.
    InstanceAttached {
        /// Whose invoke it is.
        instance: InstanceId,
        /// How many requests it takes at once, 1 to 255; 0 means none yet.
        slots: u32,
        /// How long from now it may be used.
        lease: Duration,
        /// Whether this invoke made a new environment rather than thawing an old one.
        cold: bool,
    },
    /// The connection to an instance is gone, and not by an
    /// [`Output::Close`](super::Output::Close). Each request that was in flight on it is still to
    /// be reported by [`Input::RequestEnded`]: until then it keeps its place and the instance's.
    InstanceLost {
        /// Whose connection it was.
        instance: InstanceId,
    },
    /// The answer to [`Output::Invoke`](super::Output::Invoke): the Lambda invocation is over, or
    /// was never begun.
    InvokeEnded {
        /// Which invoke.
        instance: InstanceId,
        /// How it ended.
        outcome: InvokeOutcome,
    },
    /// The extension asked to be sent away soon. It takes new work until then.
    LeaveAsked {
        /// Who asked.
        instance: InstanceId,
        /// How long it can wait for that.
        patience: Duration,
    },
    /// The operator, a schedule or a shared budget moved the bounds on instances.
    LimitsChanged {
        /// Instances kept even when idle.
        instances_min: u32,
        /// Instances never exceeded.
        instances_max: u32,
    },
    /// The answer to [`Output::Ping`](super::Output::Ping).
    PongReceived {
        /// Who answered.
        instance: InstanceId,
    },
    /// A client's request head is complete and legal. While the dispatcher shuts down it is taken
    /// all the same, and instances start for it: whoever wants no more stops reporting them.
    RequestArrived {
        /// Its name. Its index is not that of another live request, whatever the generations.
        request: RequestId,
        /// Memory it holds while it waits, in bytes.
        bytes: u32,
    },
    /// The client went away, or its time ran out, while the request waited or ran. One that has
    /// been sent a response head ends as [`Ending::Unread`].
    RequestCancelled {
        /// Which request.
        request: RequestId,
    },
    /// A dispatched request has ended there. After [`Ending::Served`] and [`Ending::Unread`] it is
    /// over; after the others an order follows, to send it elsewhere or to refuse it, at once or
    /// later, and until a refusal its name is in use.
    RequestEnded {
        /// Which request.
        request: RequestId,
        /// How it ended.
        ending: Ending,
    },
    /// The operator wants the router to stop, or the pool is not needed any more. It may be said
    /// again, to make it sooner.
    ShutdownRequested {
        /// How long requests may still take, from now; the earliest end holds.
        drain: Duration,
    },
    /// An instance offers another number of slots than before.
    SlotsOffered {
        /// Who offers.
        instance: InstanceId,
        /// How many requests it takes at once from now on, 0 to 255.
        slots: u32,
    },
}

/// How a dispatched request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Ending {
    /// A response head reached the client. The body may have been cut; the client has seen that.
    Served,
    /// No response head came in the time that it may take. The app may still be at it.
    TimedOut,
    /// It is proved that no byte of it reached an app: the stream was refused, above the last
    /// stream of a goaway, or never opened. It may be sent elsewhere whatever its method.
    Undelivered,
    /// It failed before a response head, and the app may have seen it.
    Unknown {
        /// Whether it is safe to repeat: a safe method (`GET`, `HEAD`, `OPTIONS`) and no body.
        repeatable: bool,
    },
    /// A response head reached the client, which went away before the end of the body. Streams of
    /// events hardly ever end in another way.
    Unread,
}

/// How a Lambda invocation ended, by what it means for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum InvokeOutcome {
    /// The function crashed, exited, or failed to start.
    Crashed,
    /// Asking again will not help: no permission, no such function, bad parameters.
    Forbidden,
    /// The handler returned, as it should at the end of a lease.
    Returned,
    /// Lambda refused for now: too many at once, or too fast.
    Throttled {
        /// When Lambda said to try again, if it did.
        retry_after: Option<Duration>,
    },
    /// The function ran into its time-out.
    TimedOut,
    /// Lambda could not be reached or failed before it began the invocation.
    Unavailable,
    /// The call broke in the middle: the invocation may well be running.
    Unknown,
}

/// In the words of the scenarios: `attached i0 slots 10 lease 60s cold`.
impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GoAwayReceived { instance } => write!(f, "goaway-received {instance}"),
            Self::InstanceAttached { instance, slots, lease, cold } => {
                let start = if *cold { "cold" } else { "warm" };
                write!(f, "attached {instance} slots {slots} lease {lease:?} {start}")
            }
            Self::InstanceLost { instance } => write!(f, "lost {instance}"),
            Self::InvokeEnded { instance, outcome } => {
                write!(f, "invoke-ended {instance} {outcome}")
            }
            Self::LeaveAsked { instance, patience } => {
                write!(f, "leave-asked {instance} patience {patience:?}")
            }
            Self::LimitsChanged { instances_min, instances_max } => {
                write!(f, "limits {instances_min} {instances_max}")
            }
            Self::PongReceived { instance } => write!(f, "pong {instance}"),
            Self::RequestArrived { request, bytes } => write!(f, "request {request} bytes {bytes}"),
            Self::RequestCancelled { request } => write!(f, "cancelled {request}"),
            Self::RequestEnded { request, ending } => write!(f, "ended {request} {ending}"),
            Self::ShutdownRequested { drain } => write!(f, "shutdown drain {drain:?}"),
            Self::SlotsOffered { instance, slots } => write!(f, "slots {instance} {slots}"),
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Served => "served",
            Self::TimedOut => "timed-out",
            Self::Undelivered => "undelivered",
            Self::Unknown { repeatable: false } => "unknown",
            Self::Unknown { repeatable: true } => "unknown-repeatable",
            Self::Unread => "unread",
        })
    }
}

impl fmt::Display for InvokeOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Crashed => "crashed",
            Self::Forbidden => "forbidden",
            Self::Returned => "returned",
            Self::Throttled { retry_after: None } => "throttled",
            Self::Throttled { retry_after: Some(after) } => {
                return write!(f, "throttled retry-after {after:?}");
            }
            Self::TimedOut => "timed-out",
            Self::Unavailable => "unavailable",
            Self::Unknown => "unknown",
        })
    }
}
