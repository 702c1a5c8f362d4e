//! What an answer of the Lambda API means for the next invoke.

use std::time::Duration;

use aws_sdk_lambda::config::http::HttpResponse;
use aws_sdk_lambda::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_lambda::operation::invoke::{InvokeError, InvokeOutput};
use dispatch_model::InvokeOutcome;
use io_tokio::invoker::Invoked;
use serde_json::Value;

use super::transport::TransportError;
use super::whole;

/// The call was answered with 200: the function ran, which does not mean that it went well.
pub(super) fn of_output(output: &InvokeOutput) -> Invoked {
    let payload = output.payload().map(|blob| blob.as_ref()).unwrap_or_default();
    let text = String::from_utf8_lossy(payload);
    match output.function_error() {
        None => Invoked::new(InvokeOutcome::Returned, &text),
        Some(kind) => {
            let outcome =
                if timed_out(payload) { InvokeOutcome::TimedOut } else { InvokeOutcome::Crashed };
            Invoked::new(outcome, &format_args!("{kind} function error: {text}"))
        }
    }
}

/// The call failed, at Lambda or on the way.
pub(super) fn of_error(error: &SdkError<InvokeError, HttpResponse>) -> Invoked {
    match error {
        SdkError::ServiceError(refusal) => {
            of_refusal(refusal.err(), refusal.raw().status().as_u16())
        }
        SdkError::DispatchFailure(failure) => {
            let error = failure.as_connector_error();
            let cause = error.and_then(std::error::Error::source);
            let broken = cause.and_then(|cause| cause.downcast_ref::<TransportError>());
            let outcome = match broken {
                Some(TransportError::Broken(_)) => InvokeOutcome::Unknown,
                Some(TransportError::Request(_)) => InvokeOutcome::Forbidden,
                // No connection, or no credentials to sign with at the moment.
                Some(TransportError::Connect { .. }) | None => InvokeOutcome::Unavailable,
            };
            Invoked::new(outcome, &error.map_or_else(String::new, |error| whole(error)))
        }
        SdkError::ConstructionFailure(_) => Invoked::new(InvokeOutcome::Forbidden, &whole(error)),
        // An answer began and could not be read to its end or makes no sense.
        SdkError::ResponseError(_) => Invoked::new(InvokeOutcome::Unknown, &whole(error)),
        SdkError::TimeoutError(_) => Invoked::new(InvokeOutcome::Unavailable, &whole(error)),
        _ => Invoked::new(InvokeOutcome::Unknown, &whole(error)),
    }
}

/// Lambda refused: nothing runs.
fn of_refusal(error: &InvokeError, status: u16) -> Invoked {
    let code = error.code().unwrap_or("no error code");
    let message = error.message().unwrap_or_default();
    if let InvokeError::TooManyRequestsException(throttle) = error {
        let retry_after = throttle
            .retry_after_seconds()
            .and_then(|seconds| seconds.trim().parse().ok())
            .map(Duration::from_secs);
        let reason = throttle.reason().map_or("no reason", |reason| reason.as_str());
        return Invoked::new(
            InvokeOutcome::Throttled { retry_after },
            &format_args!("{status} {code}, {reason}: {message}"),
        );
    }
    Invoked::new(meaning(code, status), &format_args!("{status} {code}: {message}"))
}

/// Codes whose status misleads; the status decides about all others.
fn meaning(code: &str, status: u16) -> InvokeOutcome {
    match code {
        "EC2ThrottledException"
        | "ENILimitReachedException"
        | "SubnetIPAddressLimitReachedException"
        | "RequestLimitExceeded"
        | "Throttling"
        | "ThrottlingException" => InvokeOutcome::Throttled { retry_after: None },
        // Sent with 502, but only the operator can mend it.
        "EC2AccessDeniedException"
        | "InvalidRuntimeException"
        | "InvalidSecurityGroupIDException"
        | "InvalidSubnetIDException"
        | "InvalidZipFileException"
        | "KMSAccessDeniedException"
        | "KMSDisabledException"
        | "KMSInvalidStateException"
        | "KMSNotFoundException" => InvokeOutcome::Forbidden,
        // Sent with 4xx, but they pass: the function is being updated, thawed or mounted.
        "ENINotReadyException"
        | "EFSIOException"
        | "EFSMountConnectivityException"
        | "EFSMountTimeoutException"
        | "ResourceConflictException"
        | "ResourceNotReadyException"
        | "SnapStartNotReadyException" => InvokeOutcome::Unavailable,
        "SnapStartException" => InvokeOutcome::Crashed,
        "SnapStartTimeoutException" => InvokeOutcome::TimedOut,
        _ => match status {
            429 => InvokeOutcome::Throttled { retry_after: None },
            400..=499 => InvokeOutcome::Forbidden,
            _ => InvokeOutcome::Unavailable,
        },
    }
}

/// Whether a function error says that the function's time-out killed it. Lambda has no field for
/// it, only a type in newer answers and a sentence in all.
fn timed_out(payload: &[u8]) -> bool {
    let Ok(Value::Object(error)) = serde_json::from_slice(payload) else { return false };
    let field = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
    field("errorType") == "Sandbox.Timedout"
        || field("errorMessage").contains("Task timed out after")
}
