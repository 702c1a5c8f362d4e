//! The service's front: Invoke, and what a caller can ask about the function and the account.
//!
//! The shapes are AWS's own, close enough for its SDKs and command line. A connection stays silent
//! until the invoke ends; a caller that hangs up does not stop it.

mod error;
mod name;
mod settings;

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use io_tokio::clock::Clock;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::call::{Call, Calls, InvokeRequest, Outcome};
use crate::config::{Config, Function};
use crate::http_server::{HttpServer, Reply, read_body};
use crate::random_id;

use self::error::ApiError;
use self::name::FunctionName;

pub(crate) use self::name::is_name;

/// Serves the API to what connects to `listener`.
pub(crate) fn start(
    listener: TcpListener,
    config: Arc<Config>,
    function: Arc<Function>,
    calls: Calls,
) -> HttpServer {
    let api = InvokeApi { config, function, calls };
    HttpServer::start(listener, move |request| {
        let api = api.clone();
        async move {
            let request_id = random_id::uuid();
            let served = api.serve(request, &request_id).await;
            let mut reply = served.unwrap_or_else(ApiError::into_reply);
            set(reply.headers_mut(), REQUEST_ID, &request_id);
            reply
        }
    })
}

#[derive(Clone)]
struct InvokeApi {
    config: Arc<Config>,
    function: Arc<Function>,
    calls: Calls,
}

impl InvokeApi {
    async fn serve(&self, request: Request<Incoming>, id: &str) -> Result<Reply, ApiError> {
        let path = request.uri().path().to_owned();
        let query = request.uri().query().unwrap_or_default().to_owned();
        let segments: Vec<&str> = path.trim_end_matches('/').split('/').skip(1).collect();
        match (request.method(), segments.as_slice()) {
            (&Method::POST, ["2015-03-31", "functions", name, "invocations"]) => {
                self.check_permission("Invoke", name)?;
                self.check_name(name, &query)?;
                self.invoke(request, id).await
            }
            (&Method::GET, ["2015-03-31", "functions", name, "configuration"]) => {
                self.check_permission("GetFunctionConfiguration", name)?;
                self.check_name(name, &query)?;
                Ok(json(&settings::configuration(&self.config, &self.function)))
            }
            (&Method::GET, ["2019-09-30", "functions", name, "concurrency"]) => {
                self.check_permission("GetFunctionConcurrency", name)?;
                self.check_name(name, &query)?;
                Ok(json(&settings::concurrency(&self.config)))
            }
            (&Method::GET, ["2016-08-19", "account-settings"]) => {
                self.check_permission("GetAccountSettings", "")?;
                Ok(json(&settings::account(&self.config)))
            }
            _ => Err(ApiError::UnknownOperation),
        }
    }

    /// Before anything else, as on AWS: who may not ask does not learn what is there.
    fn check_permission(&self, operation: &'static str, name: &str) -> Result<(), ApiError> {
        if !self.config.denied.iter().any(|denied| denied == operation) {
            return Ok(());
        }
        let name = FunctionName::parse(name, "").map(|name| self.arn(&name));
        // The one operation whose permission has another name.
        let action = if operation == "Invoke" { "InvokeFunction" } else { operation };
        Err(ApiError::Denied { action, resource: name.unwrap_or_else(|| "*".to_owned()) })
    }

    fn check_name(&self, segment: &str, query: &str) -> Result<(), ApiError> {
        let name = FunctionName::parse(segment, query).ok_or(ApiError::InvalidName)?;
        if name.name == self.function.name
            && name.qualifier.as_ref().is_none_or(|it| it == "$LATEST")
        {
            return Ok(());
        }
        Err(ApiError::FunctionNotFound { arn: self.arn(&name) })
    }

    fn arn(&self, name: &FunctionName) -> String {
        let Config { region, account_id, .. } = &*self.config;
        format!("arn:aws:lambda:{region}:{account_id}:function:{}", name.as_asked)
    }

    async fn invoke(&self, request: Request<Incoming>, id: &str) -> Result<Reply, ApiError> {
        let headers = request.headers().clone();
        let kind = InvocationType::of(&headers)?;
        let limit = match kind {
            InvocationType::Event => EVENT_PAYLOAD_MAX,
            InvocationType::DryRun | InvocationType::RequestResponse => PAYLOAD_MAX,
        };
        let payload = read_body(request.into_body(), limit)
            .await
            .map_err(|error| ApiError::InvalidContent { reason: error.to_string() })?
            .ok_or(ApiError::TooLarge { limit })?;
        let payload = if payload.is_empty() { Bytes::from_static(b"{}") } else { payload };
        if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&payload) {
            let reason = format!("Could not parse request body into json: {error}");
            return Err(ApiError::InvalidContent { reason });
        }
        if kind == InvocationType::DryRun {
            return Ok(empty(StatusCode::NO_CONTENT));
        }
        let tail = kind == InvocationType::RequestResponse
            && headers.get(LOG_TYPE).is_some_and(|value| value == "Tail");
        let trace = headers.get(TRACE_ID).and_then(|value| value.to_str().ok());
        let request = InvokeRequest {
            request_id: id.to_owned(),
            payload,
            client_context: client_context(&headers)?,
            trace: trace.map_or_else(|| random_id::trace(epoch_seconds()), str::to_owned),
            tail,
        };
        let trace = request.trace.clone();
        let (reply, outcome) = oneshot::channel();
        self.calls.send(Call::Invoke { request, reply }).await.map_err(|_| ApiError::ShutDown)?;
        if kind == InvocationType::Event {
            return Ok(empty(StatusCode::ACCEPTED));
        }
        let mut reply = answer(outcome.await.unwrap_or(Outcome::Unavailable))?;
        set(reply.headers_mut(), TRACE_ID, &trace);
        Ok(reply)
    }
}

/// Whether the caller waits for the answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum InvocationType {
    DryRun,
    Event,
    RequestResponse,
}

impl InvocationType {
    fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        match headers.get(INVOCATION_TYPE).map(HeaderValue::as_bytes) {
            None | Some(b"RequestResponse") => Ok(Self::RequestResponse),
            Some(b"DryRun") => Ok(Self::DryRun),
            Some(b"Event") => Ok(Self::Event),
            Some(other) => {
                Err(ApiError::InvalidInvocationType(String::from_utf8_lossy(other).into_owned()))
            }
        }
    }
}

fn answer(outcome: Outcome) -> Result<Reply, ApiError> {
    let (body, function_error, log_tail) = match outcome {
        Outcome::Ran { body, function_error, log_tail } => (body, function_error, log_tail),
        Outcome::Throttled(reason) => return Err(ApiError::Throttled(reason)),
        Outcome::Unavailable => return Err(ApiError::ShutDown),
    };
    let mut reply = Response::new(Full::new(body));
    let headers = reply.headers_mut();
    set(headers, CONTENT_TYPE, "application/json");
    set(headers, EXECUTED_VERSION, "$LATEST");
    if function_error {
        set(headers, FUNCTION_ERROR, "Unhandled");
    }
    if let Some(tail) = log_tail {
        set(headers, LOG_RESULT, &BASE64.encode(tail));
    }
    Ok(reply)
}

/// The context of mobile SDKs: JSON in base64.
fn client_context(headers: &HeaderMap) -> Result<Option<Bytes>, ApiError> {
    let Some(value) = headers.get(CLIENT_CONTEXT) else { return Ok(None) };
    match BASE64.decode(value) {
        Ok(decoded) => Ok(Some(decoded.into())),
        Err(_) => Err(ApiError::InvalidContent {
            reason: "Client context must be a valid base64-encoded JSON object.".to_owned(),
        }),
    }
}

fn json(value: &serde_json::Value) -> Reply {
    let mut reply = Response::new(Full::new(value.to_string().into()));
    set(reply.headers_mut(), CONTENT_TYPE, "application/json");
    reply
}

fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(Full::default());
    *reply.status_mut() = status;
    reply
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = value.try_into() {
        headers.insert(name, value);
    }
}

fn epoch_seconds() -> u64 {
    Clock::start().wall().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

const CLIENT_CONTEXT: HeaderName = HeaderName::from_static("x-amz-client-context");
const EXECUTED_VERSION: HeaderName = HeaderName::from_static("x-amz-executed-version");
const FUNCTION_ERROR: HeaderName = HeaderName::from_static("x-amz-function-error");
const INVOCATION_TYPE: HeaderName = HeaderName::from_static("x-amz-invocation-type");
const LOG_RESULT: HeaderName = HeaderName::from_static("x-amz-log-result");
const LOG_TYPE: HeaderName = HeaderName::from_static("x-amz-log-type");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const TRACE_ID: HeaderName = HeaderName::from_static("x-amzn-trace-id");

/// The largest payload of an asynchronous invoke, in bytes: 1 MB.
const EVENT_PAYLOAD_MAX: usize = 1024 * 1024;

/// The largest payload of a synchronous invoke, in bytes: 6 MB.
const PAYLOAD_MAX: usize = 6 * 1024 * 1024;
