//! The Runtime API and the Extensions API of one environment, on its own port.
//!
//! Each call becomes one [`Call`] to the owner; what waits on AWS waits here. A call whose caller
//! goes away is dropped where it waits, and what was meant for it is kept for the next.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::call::{Call, Calls, Posted, Refusal, Registration};
use crate::http_server::{HttpServer, Reply, read_body};
use crate::model::EnvironmentId;
use crate::random_id;

/// The largest response, in bytes: 6 MB and what Lambda wraps it in.
pub(crate) const RESPONSE_MAX: usize = 6 * 1024 * 1024 + 100;

/// Serves the APIs of `environment` to what connects to `listener`.
pub(crate) fn start(
    listener: TcpListener,
    environment: EnvironmentId,
    function_name: &str,
    calls: &Calls,
) -> HttpServer {
    let api =
        RuntimeApi { environment, function_name: function_name.to_owned(), calls: calls.clone() };
    HttpServer::start(listener, move |request| {
        let api = api.clone();
        async move { api.serve(request).await.unwrap_or_else(Failure::into_reply) }
    })
}

#[derive(Clone)]
struct RuntimeApi {
    environment: EnvironmentId,
    function_name: String,
    calls: Calls,
}

/// Why a call fails.
enum Failure {
    /// The request cannot be read or understood; says why.
    BadRequest(String),
    /// The owner refuses.
    Refused(Refusal),
    /// The response was too large; the invoke has been answered with that.
    ResponseTooLarge,
    /// The emulator is ending.
    ShutDown,
    /// No such path or method.
    NotFound,
}

impl RuntimeApi {
    async fn serve(&self, request: Request<Incoming>) -> Result<Reply, Failure> {
        let path = request.uri().path().to_owned();
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        match (request.method(), segments.as_slice()) {
            (&Method::GET, ["2018-06-01", "runtime", "invocation", "next"]) => {
                self.runtime_next().await
            }
            (&Method::POST, ["2018-06-01", "runtime", "invocation", id, "response"]) => {
                self.response(id, request).await
            }
            (&Method::POST, ["2018-06-01", "runtime", "invocation", id, "error"]) => {
                let body = body_of(request).await?;
                self.post(id, Posted::Error(body)).await?;
                Ok(accepted())
            }
            (&Method::POST, ["2018-06-01", "runtime", "init" | "restore", "error"])
            | (&Method::POST, ["2020-01-01", "extension", "init" | "exit", "error"]) => {
                let environment = self.environment;
                let body = body_of(request).await?;
                self.ask(|reply| Call::InitError { environment, body, reply }).await?;
                Ok(accepted())
            }
            (&Method::GET, ["2018-06-01", "runtime", "restore", "next"]) => {
                let environment = self.environment;
                self.ask(|reply| Call::RestoreNext { environment, reply }).await?;
                Ok(json_reply(StatusCode::OK, String::new()))
            }
            (&Method::POST, ["2020-01-01", "extension", "register"]) => {
                self.register(request).await
            }
            (&Method::GET, ["2020-01-01", "extension", "event", "next"]) => {
                self.extension_next(&request).await
            }
            _ => Err(Failure::NotFound),
        }
    }

    async fn runtime_next(&self) -> Result<Reply, Failure> {
        let environment = self.environment;
        let delivery = self.ask(|reply| Call::RuntimeNext { environment, reply }).await?;
        let mut reply = Response::new(Full::new(delivery.payload));
        *reply.headers_mut() = delivery.headers;
        Ok(reply)
    }

    async fn response(&self, id: &str, request: Request<Incoming>) -> Result<Reply, Failure> {
        // In streaming mode the runtime may still fail after the body began, and says so in a
        // trailer.
        let streaming =
            request.headers().get(RESPONSE_MODE).is_some_and(|mode| mode == "streaming");
        let body = if streaming {
            streamed_body(request).await?
        } else {
            read_body(request.into_body(), RESPONSE_MAX)
                .await
                .map_err(|error| Failure::BadRequest(error.to_string()))?
                .map_or(Posted::TooLarge, Posted::Response)
        };
        let too_large = matches!(body, Posted::TooLarge);
        self.post(id, body).await?;
        if too_large { Err(Failure::ResponseTooLarge) } else { Ok(accepted()) }
    }

    async fn post(&self, id: &str, posted: Posted) -> Result<(), Failure> {
        let (environment, request_id) = (self.environment, id.to_owned());
        self.ask(|reply| Call::RuntimePosted { environment, request_id, posted, reply }).await
    }

    async fn register(&self, request: Request<Incoming>) -> Result<Reply, Failure> {
        #[derive(Deserialize)]
        struct Body {
            #[serde(default)]
            events: Vec<String>,
        }
        let name = header(&request, &EXTENSION_NAME)?;
        let body = body_of(request).await?;
        let body = if body.is_empty() { Bytes::from_static(b"{}") } else { body };
        let body: Body = serde_json::from_slice(&body)
            .map_err(|error| Failure::BadRequest(error.to_string()))?;
        if let Some(unknown) = body.events.iter().find(|it| !EVENTS.contains(&it.as_str())) {
            let message = format!("`{unknown}` is not an event; there are {EVENTS:?}");
            return Err(Failure::BadRequest(message));
        }
        let wants = |event: &str| body.events.iter().any(|it| it == event);
        let registration =
            Registration { name, invoke: wants(EVENTS[0]), shutdown: wants(EVENTS[1]) };
        let environment = self.environment;
        let identifier =
            self.ask(|reply| Call::ExtensionRegister { environment, registration, reply }).await?;
        let answer = json!({
            "functionName": self.function_name,
            "functionVersion": "$LATEST",
            "handler": "",
        });
        let mut reply = json_reply(StatusCode::OK, answer.to_string());
        set(&mut reply, EXTENSION_IDENTIFIER, &identifier);
        Ok(reply)
    }

    async fn extension_next(&self, request: &Request<Incoming>) -> Result<Reply, Failure> {
        let identifier = header(request, &EXTENSION_IDENTIFIER)?;
        let environment = self.environment;
        let event =
            self.ask(|reply| Call::ExtensionNext { environment, identifier, reply }).await?;
        let mut reply = json_reply(StatusCode::OK, event.json);
        set(&mut reply, EXTENSION_EVENT_IDENTIFIER, &random_id::uuid());
        Ok(reply)
    }

    async fn ask<T>(
        &self,
        call: impl FnOnce(oneshot::Sender<Result<T, Refusal>>) -> Call,
    ) -> Result<T, Failure> {
        let (reply, answer) = oneshot::channel();
        self.calls.send(call(reply)).await.map_err(|_| Failure::ShutDown)?;
        answer.await.map_err(|_| Failure::ShutDown)?.map_err(Failure::Refused)
    }
}

impl Failure {
    fn into_reply(self) -> Reply {
        let (status, kind, message) = match self {
            Self::BadRequest(message) => (StatusCode::BAD_REQUEST, "InvalidRequest", message),
            Self::NotFound => {
                let message =
                    "there is no such call in the Runtime API or Extensions API".to_owned();
                (StatusCode::NOT_FOUND, "NotFound", message)
            }
            Self::Refused(refusal) => match refusal {
                Refusal::InvalidRequestId => {
                    (StatusCode::BAD_REQUEST, "InvalidRequestID", refusal.to_string())
                }
                Refusal::InvalidState => {
                    (StatusCode::FORBIDDEN, "InvalidStateTransition", refusal.to_string())
                }
                Refusal::TooManyExtensions => {
                    (StatusCode::FORBIDDEN, "Extension.TooManyExtensions", refusal.to_string())
                }
                Refusal::UnknownExtension => (
                    StatusCode::FORBIDDEN,
                    "Extension.UnknownExtensionIdentifier",
                    refusal.to_string(),
                ),
            },
            Self::ResponseTooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "RequestEntityTooLarge",
                format!("Exceeded maximum allowed payload size ({RESPONSE_MAX} bytes)."),
            ),
            Self::ShutDown => {
                let message = "the emulator is shutting down".to_owned();
                (StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", message)
            }
        };
        json_reply(status, json!({ "errorType": kind, "errorMessage": message }).to_string())
    }
}

fn accepted() -> Reply {
    json_reply(StatusCode::ACCEPTED, r#"{"status":"OK"}"#.to_owned())
}

fn json_reply(status: StatusCode, body: String) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    set(&mut reply, CONTENT_TYPE, "application/json");
    reply
}

fn set(reply: &mut Reply, name: HeaderName, value: &str) {
    if let Ok(value) = value.try_into() {
        reply.headers_mut().insert(name, value);
    }
}

fn header(request: &Request<Incoming>, name: &HeaderName) -> Result<String, Failure> {
    let value = request.headers().get(name).and_then(|value| value.to_str().ok());
    value
        .map(str::to_owned)
        .ok_or_else(|| Failure::BadRequest(format!("header `{name}` is missing")))
}

async fn body_of(request: Request<Incoming>) -> Result<Bytes, Failure> {
    match read_body(request.into_body(), RESPONSE_MAX).await {
        Ok(Some(body)) => Ok(body),
        Ok(None) => Err(Failure::BadRequest("the body is too large".to_owned())),
        Err(error) => Err(Failure::BadRequest(error.to_string())),
    }
}

/// The whole of a streamed response, or the error in its trailers.
async fn streamed_body(request: Request<Incoming>) -> Result<Posted, Failure> {
    let body = request.into_body().collect().await;
    let body = body.map_err(|error| Failure::BadRequest(error.to_string()))?;
    let failed = body.trailers().is_some_and(|trailers| trailers.contains_key(ERROR_TYPE));
    let bytes = body.to_bytes();
    Ok(if failed {
        Posted::Error(bytes)
    } else if bytes.len() > STREAMED_RESPONSE_MAX {
        Posted::TooLarge
    } else {
        Posted::Response(bytes)
    })
}

const ERROR_TYPE: HeaderName = HeaderName::from_static("lambda-runtime-function-error-type");
const EXTENSION_EVENT_IDENTIFIER: HeaderName =
    HeaderName::from_static("lambda-extension-event-identifier");
const EXTENSION_IDENTIFIER: HeaderName = HeaderName::from_static("lambda-extension-identifier");
const EXTENSION_NAME: HeaderName = HeaderName::from_static("lambda-extension-name");
const RESPONSE_MODE: HeaderName = HeaderName::from_static("lambda-runtime-function-response-mode");

/// What an extension may ask to hear of.
const EVENTS: [&str; 2] = ["INVOKE", "SHUTDOWN"];

/// The largest streamed response, in bytes: 200 MB.
const STREAMED_RESPONSE_MAX: usize = 200 * 1024 * 1024;
