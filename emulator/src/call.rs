//! What tasks tell and ask the owner.

use bytes::Bytes;
use http::HeaderMap;
use tokio::sync::{mpsc, oneshot};

use crate::emulator::{EnvironmentInfo, PrewarmError};
use crate::event::ProcessEnd;
use crate::model::{Bill, EnvironmentId, ThrottleReason};

/// The way to the owner. Bounded: whoever calls waits for its turn.
pub(crate) type Calls = mpsc::Sender<Call>;

/// Answers a call. Whoever asked may have stopped waiting, and then nobody needs the answer.
pub(crate) fn answer<T>(reply: oneshot::Sender<T>, with: T) {
    if reply.send(with).is_err() {
        tracing::trace!("a caller has gone");
    }
}

/// One thing to tell or ask the owner.
#[derive(Debug)]
pub(crate) enum Call {
    /// Every bill there is.
    Bills { reply: oneshot::Sender<Vec<Bill>> },
    /// Every environment there is.
    Environments { reply: oneshot::Sender<Vec<EnvironmentInfo>> },
    /// An extension waits for its next event.
    ExtensionNext {
        environment: EnvironmentId,
        identifier: String,
        reply: oneshot::Sender<Result<ExtensionEvent, Refusal>>,
    },
    /// An extension makes itself known.
    ExtensionRegister {
        environment: EnvironmentId,
        registration: Registration,
        reply: oneshot::Sender<Result<String, Refusal>>,
    },
    /// Somebody called Invoke.
    Invoke { request: InvokeRequest, reply: oneshot::Sender<Outcome> },
    /// The runtime or an extension cannot initialise.
    InitError {
        environment: EnvironmentId,
        body: Bytes,
        reply: oneshot::Sender<Result<(), Refusal>>,
    },
    /// Kill the processes of an environment behind the service's back.
    KillEnvironment { environment: EnvironmentId, reply: oneshot::Sender<bool> },
    /// Start this many environments and say when they are ready.
    Prewarm { count: u32, reply: oneshot::Sender<Result<(), PrewarmError>> },
    /// A process ended.
    ProcessEnded { environment: EnvironmentId, program: String, end: ProcessEnd },
    /// The runtime waits to be restored from a snapshot.
    RestoreNext { environment: EnvironmentId, reply: oneshot::Sender<Result<(), Refusal>> },
    /// The runtime waits for its next invoke.
    RuntimeNext { environment: EnvironmentId, reply: oneshot::Sender<Result<Delivery, Refusal>> },
    /// The runtime answers its invoke.
    RuntimePosted {
        environment: EnvironmentId,
        request_id: String,
        posted: Posted,
        reply: oneshot::Sender<Result<(), Refusal>>,
    },
    /// End everything; replied to when nothing is left.
    Shutdown { reply: oneshot::Sender<()> },
    /// Throttle every invoke, or stop doing so.
    Throttle { on: bool },
}

/// An invoke as its caller sent it.
#[derive(Debug)]
pub(crate) struct InvokeRequest {
    pub(crate) request_id: String,
    pub(crate) payload: Bytes,
    /// The context that mobile SDKs send, already decoded.
    pub(crate) client_context: Option<Bytes>,
    pub(crate) trace: String,
    /// Whether the caller wants the end of the log.
    pub(crate) tail: bool,
}

/// What became of an invoke.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It ran. `function_error` says that the body tells of a failure.
    Ran { body: Bytes, function_error: bool, log_tail: Option<String> },
    /// It was refused.
    Throttled(ThrottleReason),
    /// The service is ending.
    Unavailable,
}

/// An invoke on its way to the runtime.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Bytes,
}

/// What the runtime said of its invoke.
#[derive(Debug)]
pub(crate) enum Posted {
    /// This is the error.
    Error(Bytes),
    /// This is the response.
    Response(Bytes),
    /// The response was larger than a response may be.
    TooLarge,
}

/// An extension that makes itself known.
#[derive(Debug)]
pub(crate) struct Registration {
    pub(crate) name: String,
    pub(crate) invoke: bool,
    pub(crate) shutdown: bool,
}

/// An event on its way to an extension, as JSON.
#[derive(Clone, Debug)]
pub(crate) struct ExtensionEvent {
    pub(crate) json: String,
}

/// Why the owner does not do what a runtime or extension asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// The environment is not in a stage for that, or gone.
    #[error("State transition is not allowed")]
    InvalidState,
    /// Not the invoke that this environment holds.
    #[error("Invalid request ID")]
    InvalidRequestId,
    /// One extension more than AWS allows.
    #[error("Extension limit reached")]
    TooManyExtensions,
    /// No extension of this environment.
    #[error("Unknown extension identifier")]
    UnknownExtension,
}
