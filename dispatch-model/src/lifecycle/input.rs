//! Everything that can happen to the extension.

use core::fmt;
use core::time::Duration;

/// One invocation of this environment, counted by the driver from 1. Printed `v1`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InvokeId(pub u64);

impl fmt::Display for InvokeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

impl fmt::Debug for InvokeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// Nobody listens on the app's port any more although somebody did, or its process ended.
    AppExited,
    /// The app answered its readiness check.
    AppReady,
    /// The router accepted the attach: requests may come.
    Attached,
    /// The link is gone, or never came about; nothing of it is left in this process, and every
    /// request on it has ended.
    Disconnected {
        /// How it ended.
        end: LinkEnd,
    },
    /// A response came with the word that the app has more to do after it. Told when it begins and
    /// again when it ends, before [`Input::RequestEnded`].
    HoldAsked {
        /// For how long from now.
        span: Duration,
    },
    /// Lambda handed an invoke to this environment.
    Invoked {
        /// Its name.
        invoke: InvokeId,
        /// What it asks for.
        ask: Ask,
        /// How long until Lambda ends it; `None` if Lambda's deadline cannot be read or has passed.
        left: Option<Duration>,
    },
    /// The router gave a sign of life: answered a ping, or sent anything else. Once a second is
    /// enough.
    Heard,
    /// A request on the link ended, in whatever way.
    RequestEnded,
    /// A request came over the link.
    RequestStarted,
    /// This environment is a copy of the one that was stored.
    Restored,
    /// Lambda, or a signal, ends this environment.
    Shutdown {
        /// How long it may still run.
        left: Duration,
    },
}

/// What an invoke asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ask {
    /// Nothing: it is no router's payload, but somebody else's event.
    Foreign,
    /// Start the app, then return.
    InitOnly,
    /// Nothing that can be done: the payload is wrong.
    Invalid,
    /// Attach and serve.
    Serve {
        /// A number that two payloads share only if they are the same.
        fingerprint: u64,
        /// Whether its router sends away whom it does not need; else idle instances leave by
        /// themselves.
        sends_away: bool,
    },
    /// Too late: the payload has expired.
    Stale,
}

/// How a link ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkEnd {
    /// Both sides were done, with everything written.
    Closed,
    /// It broke, or was cut by [`Output::Disconnect`](super::Output::Disconnect).
    Lost,
    /// The router refused the attach for good (a status of 4xx).
    Refused,
    /// The router cannot take an attach now (a status of 5xx).
    Unavailable,
    /// The router could not be reached, or is not a router that may be trusted.
    Unreachable,
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AppExited => f.write_str("app-exited"),
            Self::AppReady => f.write_str("app-ready"),
            Self::Attached => f.write_str("attached"),
            Self::Disconnected { end } => write!(f, "disconnected {end}"),
            Self::HoldAsked { span } => write!(f, "hold-asked {span:?}"),
            Self::Invoked { invoke, ask, left: Some(left) } => {
                write!(f, "invoked {invoke} {ask} left {left:?}")
            }
            Self::Invoked { invoke, ask, left: None } => write!(f, "invoked {invoke} {ask}"),
            Self::Heard => f.write_str("heard"),
            Self::RequestEnded => f.write_str("request-ended"),
            Self::RequestStarted => f.write_str("request-started"),
            Self::Restored => f.write_str("restored"),
            Self::Shutdown { left } => write!(f, "shutdown left {left:?}"),
        }
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str("foreign"),
            Self::InitOnly => f.write_str("init-only"),
            Self::Invalid => f.write_str("invalid"),
            Self::Serve { fingerprint, sends_away: true } => write!(f, "serve {fingerprint}"),
            Self::Serve { fingerprint, sends_away: false } => {
                write!(f, "serve {fingerprint} leaves-by-itself")
            }
            Self::Stale => f.write_str("stale"),
        }
    }
}

impl fmt::Display for LinkEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "closed",
            Self::Lost => "lost",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
            Self::Unreachable => "unreachable",
        })
    }
}
