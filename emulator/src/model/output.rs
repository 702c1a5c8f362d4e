//! Everything the service can ask for.

use std::fmt;
use std::time::Duration;

use dispatch_model::Time;

use super::input::{EnvironmentId, InvokeId};

/// Something to do, or to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Output {
    /// Answer the caller of Invoke. Comes exactly once for each invoke.
    Answer {
        /// Whom.
        invoke: InvokeId,
        /// With what.
        answer: Answer,
    },
    /// An invoke is over and costs this much, once for each that an environment held; or an
    /// environment has initialised without one.
    Bill(Bill),
    /// Give the invoke to the runtime, and to the extensions that want to hear of it.
    Deliver {
        /// Where.
        environment: EnvironmentId,
        /// Which.
        invoke: InvokeId,
        /// When it times out.
        deadline: Time,
    },
    /// Stop every process of the environment, as it stands.
    Freeze {
        /// Which.
        environment: EnvironmentId,
    },
    /// To know: initialisation failed. What follows from it comes as further outputs.
    InitFailed {
        /// Where.
        environment: EnvironmentId,
        /// How.
        cause: InitFailure,
    },
    /// To know: the environment is ready for its first invoke.
    Initialised {
        /// Which.
        environment: EnvironmentId,
        /// How long its processes took, the injected delay not included.
        init: Duration,
    },
    /// Kill every process of the environment; answer with `EnvironmentEmptied` once they are gone.
    Kill {
        /// Which.
        environment: EnvironmentId,
    },
    /// Tell the runtime, which waits for that, that it has been restored from a snapshot.
    Restore {
        /// Where.
        environment: EnvironmentId,
    },
    /// Run the processes of a new environment.
    Start {
        /// Its number.
        environment: EnvironmentId,
    },
    /// Tell the extensions, and the runtime by SIGTERM, to end; answer with `EnvironmentEmptied`
    /// once they have.
    Stop {
        /// Which.
        environment: EnvironmentId,
        /// When it is killed.
        deadline: Time,
    },
    /// Let every process of the environment run on.
    Thaw {
        /// Which.
        environment: EnvironmentId,
    },
}

/// How an invoke was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A process of this environment ended: `Runtime.ExitError`.
    Exited {
        /// Which.
        environment: EnvironmentId,
    },
    /// With the error that the runtime posted.
    FunctionError,
    /// With the error that this environment's initialisation reported.
    InitError {
        /// Where.
        environment: EnvironmentId,
    },
    /// With the response that the runtime posted.
    Response,
    /// Refused with 429.
    Throttled(ThrottleReason),
    /// It took longer than the function may.
    TimedOut {
        /// The function's time-out.
        after: Duration,
    },
    /// The service is shutting down.
    Unavailable,
}

/// Why an invoke was throttled: AWS's own names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThrottleReason {
    /// The account has no concurrency left.
    ConcurrentInvocationLimitExceeded,
    /// The function may not grow that fast, or not be invoked that often.
    FunctionInvocationRateLimitExceeded,
    /// The function has used what is reserved for it.
    ReservedFunctionConcurrentInvocationLimitExceeded,
    /// The function may not be invoked that often with what is reserved for it.
    ReservedFunctionInvocationRateLimitExceeded,
}

/// How initialisation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitFailure {
    /// A process ended, or could not be started.
    Exited,
    /// The runtime or an extension said so.
    Reported,
    /// Not everybody asked for what comes next within the limit.
    TimedOut,
}

/// What an invoke costs, or an initialisation that no invoke waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bill {
    /// Who served it.
    pub environment: EnvironmentId,
    /// Which; none for an initialisation alone: of a provisioned environment, or of one whose
    /// invoke went elsewhere.
    pub invoke: Option<InvokeId>,
    /// Whether it waited for a new environment.
    pub cold: bool,
    /// Whether a provisioned environment served it.
    pub provisioned: bool,
    /// Initialisation, in milliseconds rounded up; 0 for an invoke that is not cold.
    pub init_ms: u64,
    /// From its delivery until the runtime and the extensions were done, in milliseconds rounded
    /// up.
    pub duration_ms: u64,
    /// The function's memory, in MB.
    pub memory_mb: u32,
}

impl Bill {
    /// What AWS charges: initialisation and duration, in milliseconds.
    #[must_use]
    pub const fn billed_ms(&self) -> u64 {
        self.init_ms + self.duration_ms
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer { invoke, answer } => write!(f, "answer {invoke}: {answer}"),
            Self::Bill(bill) => {
                let Bill { environment, init_ms, duration_ms, memory_mb, .. } = bill;
                let how = match (bill.provisioned, bill.cold) {
                    (true, _) => "provisioned",
                    (false, true) => "cold",
                    (false, false) => "warm",
                };
                match bill.invoke {
                    Some(invoke) => write!(f, "bill {invoke} on {environment}: {how}, ")?,
                    None => write!(f, "bill {environment}: ")?,
                }
                write!(f, "init {init_ms} ms, duration {duration_ms} ms, {memory_mb} MB")
            }
            Self::Deliver { environment, invoke, deadline } => {
                write!(f, "deliver {invoke} to {environment} until {deadline}")
            }
            Self::Freeze { environment } => write!(f, "freeze {environment}"),
            Self::InitFailed { environment, cause } => {
                write!(f, "init failed in {environment}: {cause}")
            }
            Self::Initialised { environment, init } => write!(f, "{environment} ready in {init:?}"),
            Self::Kill { environment } => write!(f, "kill {environment}"),
            Self::Restore { environment } => write!(f, "restore {environment}"),
            Self::Start { environment } => write!(f, "start {environment}"),
            Self::Stop { environment, deadline } => {
                write!(f, "stop {environment} until {deadline}")
            }
            Self::Thaw { environment } => write!(f, "thaw {environment}"),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited { environment } => write!(f, "exit of {environment}"),
            Self::FunctionError => f.write_str("function error"),
            Self::InitError { environment } => write!(f, "init error of {environment}"),
            Self::Response => f.write_str("response"),
            Self::Throttled(reason) => write!(f, "throttled, {}", reason.as_str()),
            Self::TimedOut { after } => write!(f, "timed out after {after:?}"),
            Self::Unavailable => f.write_str("unavailable"),
        }
    }
}

impl ThrottleReason {
    /// The word in the answer's `Reason`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConcurrentInvocationLimitExceeded => "ConcurrentInvocationLimitExceeded",
            Self::FunctionInvocationRateLimitExceeded => "FunctionInvocationRateLimitExceeded",
            Self::ReservedFunctionConcurrentInvocationLimitExceeded => {
                "ReservedFunctionConcurrentInvocationLimitExceeded"
            }
            Self::ReservedFunctionInvocationRateLimitExceeded => {
                "ReservedFunctionInvocationRateLimitExceeded"
            }
        }
    }
}

impl fmt::Display for InitFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exited => "a process ended before it was ready",
            Self::Reported => "it reported an init error",
            Self::TimedOut => "it was not ready in time",
        })
    }
}
