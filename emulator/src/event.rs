//! What the emulator tells its user while it runs.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{Bill, EnvironmentId, InitFailure};

/// Takes in events. Called on the emulator's own tasks, so it must not block: hand on what takes
/// time.
pub type Observer = Arc<dyn Fn(&Event) + Send + Sync>;

/// Something that happened. Its `Display` is the line to print for it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// An invoke is over and was priced.
    Billed(Bill),
    /// An environment's processes were started.
    EnvironmentStarted {
        /// Which.
        environment: EnvironmentId,
        /// The port that its app is to listen on.
        port: u16,
    },
    /// A program ended by itself: not because the emulator killed it.
    Exited {
        /// Where.
        environment: EnvironmentId,
        /// The program's name.
        program: String,
        /// How it ended.
        end: ProcessEnd,
    },
    /// An environment was frozen.
    Frozen {
        /// Which.
        environment: EnvironmentId,
    },
    /// An environment is ready for its first invoke.
    InitDone {
        /// Which.
        environment: EnvironmentId,
        /// How long that took, the injected delay not included.
        init: Duration,
    },
    /// An environment did not get ready.
    InitFailed {
        /// Which.
        environment: EnvironmentId,
        /// How.
        cause: InitFailure,
    },
    /// An environment was killed.
    Killed {
        /// Which.
        environment: EnvironmentId,
    },
    /// A program printed a line, to its standard output or error.
    Line {
        /// Where.
        environment: EnvironmentId,
        /// The program's name.
        program: String,
        /// The line, without its end; bytes that are not UTF-8 are replaced.
        line: String,
    },
    /// An environment was restored from a snapshot.
    Restored {
        /// Which.
        environment: EnvironmentId,
    },
    /// A program could not be started.
    SpawnFailed {
        /// Where.
        environment: EnvironmentId,
        /// The program's name.
        program: String,
        /// What the system said.
        error: String,
    },
    /// An environment was thawed.
    Thawed {
        /// Which.
        environment: EnvironmentId,
    },
}

/// How a process ended. Its `Display` is AWS's wording: `exit status 1`, `signal: killed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessEnd(ExitStatus);

impl ProcessEnd {
    pub(crate) const fn new(status: ExitStatus) -> Self {
        Self(status)
    }

    /// Its exit code, unless a signal ended it.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.0.code()
    }
}

impl fmt::Display for ProcessEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.code(), self.0.signal()) {
            (Some(code), _) => write!(f, "exit status {code}"),
            (None, Some(9)) => f.write_str("signal: killed"),
            (None, Some(signal)) => write!(f, "signal: {signal}"),
            (None, None) => f.write_str("unknown"),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Billed(bill) => write!(
                f,
                "[{}] billed {} ms at {} MB ({}, init {} ms)",
                bill.environment,
                bill.billed_ms(),
                bill.memory_mb,
                match bill.invoke {
                    Some(_) if bill.cold => "cold",
                    Some(_) => "warm",
                    None => "no invoke",
                },
                bill.init_ms,
            ),
            Self::EnvironmentStarted { environment, port } => {
                write!(f, "[{environment}] started, app on port {port}")
            }
            Self::Exited { environment, program, end } => {
                write!(f, "[{environment} {program}] ended: {end}")
            }
            Self::Frozen { environment } => write!(f, "[{environment}] frozen"),
            Self::InitDone { environment, init } => {
                write!(f, "[{environment}] ready in {init:.0?}")
            }
            Self::InitFailed { environment, cause } => {
                write!(f, "[{environment}] init failed: {cause}")
            }
            Self::Killed { environment } => write!(f, "[{environment}] killed"),
            Self::Line { environment, program, line } => {
                write!(f, "[{environment} {program}] {line}")
            }
            Self::Restored { environment } => write!(f, "[{environment}] restored"),
            Self::SpawnFailed { environment, program, error } => {
                write!(f, "[{environment} {program}] cannot be started: {error}")
            }
            Self::Thawed { environment } => write!(f, "[{environment}] thawed"),
        }
    }
}

/// The default observer: lines of programs and failures are worth seeing, the rest is for
/// debugging.
pub(crate) fn observe_by_tracing() -> Observer {
    Arc::new(|event| match event {
        Event::Exited { .. } | Event::InitFailed { .. } | Event::SpawnFailed { .. } => {
            tracing::warn!("{event}");
        }
        Event::Line { .. } => tracing::info!("{event}"),
        Event::Billed(_)
        | Event::EnvironmentStarted { .. }
        | Event::Frozen { .. }
        | Event::InitDone { .. }
        | Event::Killed { .. }
        | Event::Restored { .. }
        | Event::Thawed { .. } => tracing::debug!("{event}"),
    })
}
