//! The errors of the Invoke API, in the shapes that SDKs take apart.

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde_json::json;

use crate::http_server::Reply;
use crate::model::ThrottleReason;

/// Why an API call fails.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error(
        "User: {CALLER} is not authorized to perform: lambda:{action} on resource: {resource} \
         because no identity-based policy allows the lambda:{action} action"
    )]
    Denied { action: &'static str, resource: String },
    #[error("Function not found: {arn}")]
    FunctionNotFound { arn: String },
    #[error("{reason}")]
    InvalidContent { reason: String },
    #[error("Invocation type `{0}` is not one of RequestResponse, Event, DryRun")]
    InvalidInvocationType(String),
    #[error(
        "The function name is not a name, a partial ARN or a full ARN, with or without a qualifier"
    )]
    InvalidName,
    #[error("The service is shutting down.")]
    ShutDown,
    #[error("Rate Exceeded.")]
    Throttled(ThrottleReason),
    #[error("Request must be smaller than {limit} bytes for the InvokeFunction operation")]
    TooLarge { limit: usize },
    #[error(
        "The emulator knows Invoke, GetFunctionConfiguration, GetFunctionConcurrency and \
         GetAccountSettings only"
    )]
    UnknownOperation,
}

impl ApiError {
    pub(super) fn into_reply(self) -> Reply {
        let (status, name) = match self {
            Self::Denied { .. } => (StatusCode::FORBIDDEN, "AccessDeniedException"),
            Self::FunctionNotFound { .. } => (StatusCode::NOT_FOUND, "ResourceNotFoundException"),
            Self::InvalidContent { .. } => {
                (StatusCode::BAD_REQUEST, "InvalidRequestContentException")
            }
            Self::InvalidInvocationType(_) => {
                (StatusCode::BAD_REQUEST, "InvalidParameterValueException")
            }
            Self::InvalidName => (StatusCode::BAD_REQUEST, "ValidationException"),
            Self::ShutDown => (StatusCode::SERVICE_UNAVAILABLE, "ServiceException"),
            Self::Throttled(_) => (StatusCode::TOO_MANY_REQUESTS, "TooManyRequestsException"),
            Self::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "RequestTooLargeException"),
            Self::UnknownOperation => (StatusCode::NOT_FOUND, "UnknownOperationException"),
        };
        let at_fault = if status.is_server_error() { "Service" } else { "User" };
        let mut body = json!({ "Type": at_fault, "message": self.to_string() });
        if matches!(self, Self::Denied { .. }) {
            // Not said by Lambda but by what stands before it, which writes it so.
            body = json!({ "Message": self.to_string() });
        }
        if let Self::Throttled(reason) = self {
            body["Reason"] = reason.as_str().into();
        }
        let mut reply = Response::new(Full::new(body.to_string().into()));
        *reply.status_mut() = status;
        let headers = reply.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ERROR_TYPE, HeaderValue::from_static(name));
        reply
    }
}

/// Who calls, as far as an error tells.
const CALLER: &str = "arn:aws:sts::123456789012:assumed-role/caller/emulator";

const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
