//! Everything that the extension's machine can ask for.

use core::fmt;
use core::time::Duration;

use super::InvokeId;

/// What to do.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// Ask Lambda for the next invoke: the environment may be frozen from here on. Answered by
    /// [`Input::Invoked`](super::Input::Invoked).
    AwaitInvoke,
    /// Let the environment be stored as a snapshot, and wait in the copies. Answered by
    /// [`Input::Restored`](super::Input::Restored).
    AwaitRestore,
    /// Dial the router and attach. Answered by `Attached` or `Disconnected`.
    Connect {
        /// How much longer requests may run on this instance, for the hello: until what is left is
        /// cut.
        lease: Duration,
        /// Whether this is the environment's first attempt to serve.
        cold: bool,
    },
    /// Drop the link and what is in flight on it, whatever its state. Answered by `Disconnected`.
    Disconnect,
    /// End the process.
    Exit {
        /// Whether that is a failure, to be reported to Lambda as one.
        failed: bool,
    },
    /// Take no more requests on the link, finish those that are running, then close it. Answered by
    /// `Disconnected`.
    Goaway,
    /// Ask the router for a sign of life. Answered by `Heard`.
    Ping,
    /// Check every few milliseconds whether the app is ready. Answered by `AppReady`.
    ProbeApp,
    /// Answer the invoke. Nothing of it is left: no link, no timer.
    Return(Report),
    /// Stop checking whether the app is ready.
    StopProbing,
}

/// How an invoke went, as its answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Report {
    /// The invoke.
    pub invoke: InvokeId,
    /// Why it returns.
    pub reason: ExitReason,
    /// How many requests it took.
    pub requests: u64,
    /// How long it took.
    pub took: Duration,
    /// Whether Lambda is told that the function failed.
    pub failed: bool,
}

/// Why an invoke returns. The names are the original's and go over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExitReason {
    /// The app is gone, or did not get ready in time.
    AppConnectionError,
    /// The link broke.
    RouterConnectionError,
    /// The router closed the link: it has no more work.
    RouterGoAway,
    /// The payload is wrong.
    RouterLambdaInvokeInvalid,
    /// The router refused the attach.
    RouterStatus4xx,
    /// The router could not take the attach.
    RouterStatus5xx,
    /// The router could not be reached.
    RouterUnreachable,
    /// The lease ended, or the environment is being shut down.
    SelfDeadline,
    /// It was only to start the app.
    SelfInitOnly,
    /// No request for as long as an idle instance stays.
    SelfLastActive,
    /// The payload has expired, or was seen before.
    SelfStaleRequest,
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AwaitInvoke => f.write_str("await-invoke"),
            Self::AwaitRestore => f.write_str("await-restore"),
            Self::Connect { lease, cold } => {
                write!(f, "connect lease {lease:?}{}", if *cold { " cold" } else { "" })
            }
            Self::Disconnect => f.write_str("disconnect"),
            Self::Exit { failed } => {
                write!(f, "exit{}", if *failed { " failed" } else { "" })
            }
            Self::Goaway => f.write_str("goaway"),
            Self::Ping => f.write_str("ping"),
            Self::ProbeApp => f.write_str("probe-app"),
            Self::Return(Report { invoke, reason, requests, took, failed }) => write!(
                f,
                "return {invoke} {reason} requests {requests} took {took:?}{}",
                if *failed { " failed" } else { "" }
            ),
            Self::StopProbing => f.write_str("stop-probing"),
        }
    }
}
