//! A client of Lambda's two APIs for what runs inside an environment: the Runtime API (invokes) and
//! the Extensions API (shutdown).
//!
//! Written by hand because it is seven calls, and because we need what the ready-made clients do
//! not give: a path prefix, `next` asked for only when everything is closed, and no retry of our
//! own. Each [`LambdaApi`] has one connection and so makes one call at a time: `next` may take
//! hours.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use io_tokio::clock::Clock;
use io_tokio::net::{Connector, authority};
use serde::Deserialize;
use thiserror::Error;

use crate::settings::RuntimeApi;

/// One connection to Lambda's API.
#[derive(Debug)]
pub(crate) struct LambdaApi<C> {
    connector: C,
    at: RuntimeApi,
    clock: Clock,
    connection: Option<SendRequest<Full<Bytes>>>,
}

/// An invoke as Lambda hands it out.
#[derive(Debug)]
pub(crate) struct NextInvoke {
    /// Lambda's name for it.
    pub(crate) request_id: String,
    /// How long until Lambda ends it; `None` if that is not said or has passed.
    pub(crate) left: Option<Duration>,
    /// What the invoker sent.
    pub(crate) event: Bytes,
}

/// What the Extensions API tells.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExtensionEvent {
    /// `SHUTDOWN`, or something that was not asked for.
    pub(crate) event_type: String,
    /// When Lambda ends it, in milliseconds since 1970.
    #[serde(default)]
    pub(crate) deadline_ms: u64,
}

/// An extension's identifier.
#[derive(Clone, Debug)]
pub(crate) struct ExtensionId(String);

/// Why a call to Lambda's API failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LambdaApiError {
    /// Nobody listens there.
    #[error("cannot connect to Lambda's API at {at}: {source}")]
    Connect {
        /// Where.
        at: RuntimeApi,
        /// What is wrong.
        source: std::io::Error,
    },
    /// The connection broke.
    #[error("Lambda's API broke off {path}: {source}")]
    Http {
        /// The call.
        path: String,
        /// What is wrong.
        source: hyper::Error,
    },
    /// An answer that cannot be read.
    #[error("Lambda's API sent an answer to {path} that cannot be read: {what}")]
    Malformed {
        /// The call.
        path: String,
        /// What is wrong.
        what: &'static str,
    },
    /// An answer that is not a success.
    #[error("Lambda's API answered {path} with {status}: {body}")]
    Status {
        /// The call.
        path: String,
        /// The status.
        status: StatusCode,
        /// The beginning of the answer's body.
        body: String,
    },
}

impl<C: Connector> LambdaApi<C> {
    pub(crate) const fn new(connector: C, at: RuntimeApi, clock: Clock) -> Self {
        Self { connector, at, clock, connection: None }
    }

    /// Waits for the next invoke. The environment may be frozen meanwhile.
    pub(crate) async fn next(&mut self) -> Result<NextInvoke, LambdaApiError> {
        let path = "/2018-06-01/runtime/invocation/next";
        let (headers, event) = self.call(Method::GET, path, &[], Bytes::new()).await?;
        let request_id = text(&headers, "lambda-runtime-aws-request-id")
            .filter(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_graphic()))
            .ok_or_else(|| LambdaApiError::Malformed {
                path: path.to_owned(),
                what: "no Lambda-Runtime-Aws-Request-Id",
            })?
            .to_owned();
        let deadline_ms =
            text(&headers, "lambda-runtime-deadline-ms").and_then(|text| text.parse().ok());
        let left = deadline_ms.and_then(|deadline_ms| time_left(deadline_ms, &self.clock));
        Ok(NextInvoke { request_id, left, event })
    }

    /// Answers an invoke.
    pub(crate) async fn respond(
        &mut self,
        request_id: &str,
        body: Bytes,
    ) -> Result<(), LambdaApiError> {
        let path = format!("/2018-06-01/runtime/invocation/{request_id}/response");
        self.call(Method::POST, &path, &[], body).await.map(drop)
    }

    /// Answers an invoke with a failure.
    pub(crate) async fn fail(
        &mut self,
        request_id: &str,
        error: Failure<'_>,
    ) -> Result<(), LambdaApiError> {
        let path = format!("/2018-06-01/runtime/invocation/{request_id}/error");
        let headers = [("lambda-runtime-function-error-type", error.kind)];
        self.call(Method::POST, &path, &headers, error.to_json()).await.map(drop)
    }

    /// Says that the environment will not do.
    pub(crate) async fn init_error(&mut self, error: Failure<'_>) -> Result<(), LambdaApiError> {
        self.report("/2018-06-01/runtime/init/error", error).await
    }

    /// Says that a restored copy will not do.
    pub(crate) async fn restore_error(&mut self, error: Failure<'_>) -> Result<(), LambdaApiError> {
        self.report("/2018-06-01/runtime/restore/error", error).await
    }

    async fn report(&mut self, path: &str, error: Failure<'_>) -> Result<(), LambdaApiError> {
        let headers = [("lambda-runtime-function-error-type", error.kind)];
        self.call(Method::POST, path, &headers, error.to_json()).await.map(drop)
    }

    /// Says that the environment may be stored as a snapshot; returns in a restored copy of it.
    pub(crate) async fn restore_next(&mut self) -> Result<(), LambdaApiError> {
        let path = "/2018-06-01/runtime/restore/next";
        let restored = self.call(Method::GET, path, &[], Bytes::new()).await.map(drop);
        // The socket was snapshotted with the process; its peer was not.
        self.connection = None;
        restored
    }

    /// Registers as an extension that is told of the end.
    pub(crate) async fn register(&mut self, name: &str) -> Result<ExtensionId, LambdaApiError> {
        let path = "/2020-01-01/extension/register";
        let headers = [("lambda-extension-name", name)];
        let body = Bytes::from_static(br#"{"events":["SHUTDOWN"]}"#);
        let (headers, _) = self.call(Method::POST, path, &headers, body).await?;
        let id = text(&headers, "lambda-extension-identifier");
        id.map(|id| ExtensionId(id.to_owned())).ok_or_else(|| LambdaApiError::Malformed {
            path: path.to_owned(),
            what: "no Lambda-Extension-Identifier",
        })
    }

    /// Waits for the next event of an extension.
    pub(crate) async fn next_event(
        &mut self,
        id: &ExtensionId,
    ) -> Result<ExtensionEvent, LambdaApiError> {
        let path = "/2020-01-01/extension/event/next";
        let headers = [("lambda-extension-identifier", id.0.as_str())];
        let (_, body) = self.call(Method::GET, path, &headers, Bytes::new()).await?;
        serde_json::from_slice(&body)
            .map_err(|_| LambdaApiError::Malformed { path: path.to_owned(), what: "not an event" })
    }

    /// Says that the extension ends with a failure.
    pub(crate) async fn exit_error(
        &mut self,
        id: &ExtensionId,
        error: Failure<'_>,
    ) -> Result<(), LambdaApiError> {
        let path = "/2020-01-01/extension/exit/error";
        let headers = [
            ("lambda-extension-identifier", id.0.as_str()),
            ("lambda-extension-function-error-type", error.kind),
        ];
        self.call(Method::POST, path, &headers, error.to_json()).await.map(drop)
    }

    async fn call(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
        body: Bytes,
    ) -> Result<(HeaderMap, Bytes), LambdaApiError> {
        let malformed = || LambdaApiError::Malformed {
            path: path.to_owned(),
            what: "an earlier answer does not fit into a request",
        };
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.at.prefix))
            .header(header::HOST, authority(&self.at.host, self.at.port));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).map_err(|_| malformed())?;

        let mut sender = self.connection().await?;
        let broke_off = |source| LambdaApiError::Http { path: path.to_owned(), source };
        let response = match sender.try_send_request(request).await {
            Ok(response) => response,
            Err(mut error) => match error.take_message() {
                // The connection had been closed meanwhile, and this call is not on it.
                Some(request) => {
                    sender = self.dial().await?;
                    sender.send_request(request).await.map_err(broke_off)?
                }
                None => return Err(broke_off(error.into_error())),
            },
        };
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(broke_off)?.to_bytes();
        self.connection = Some(sender);
        if head.status.is_success() {
            Ok((head.headers, body))
        } else {
            let body = String::from_utf8_lossy(&body).chars().take(200).collect();
            Err(LambdaApiError::Status { path: path.to_owned(), status: head.status, body })
        }
    }

    async fn connection(&mut self) -> Result<SendRequest<Full<Bytes>>, LambdaApiError> {
        match self.connection.take() {
            Some(sender) if sender.is_ready() => Ok(sender),
            Some(_) | None => self.dial().await,
        }
    }

    async fn dial(&self) -> Result<SendRequest<Full<Bytes>>, LambdaApiError> {
        let failed = |source| LambdaApiError::Connect { at: self.at.clone(), source };
        let io = self.connector.connect(&self.at.host, self.at.port).await.map_err(failed)?;
        let (sender, connection) = http1::handshake(TokioIo::new(io))
            .await
            .map_err(|error| failed(std::io::Error::other(error)))?;
        // Ends with its sender; its errors reach whoever waits for an answer.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }
}

/// A failure as both APIs take it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure<'a> {
    /// Such as `Extension.AppUnavailable`.
    pub(crate) kind: &'a str,
    /// For a human.
    pub(crate) message: &'a str,
}

impl Failure<'_> {
    fn to_json(self) -> Bytes {
        let json = serde_json::json!({
            "errorMessage": self.message,
            "errorType": self.kind,
            "stackTrace": [],
        });
        Bytes::from(json.to_string())
    }
}

/// How long until a moment of the wall clock; `None` if it has passed. Lambda says its deadlines in
/// that clock, and each is converted once, here.
pub(crate) fn time_left(deadline_ms: u64, clock: &Clock) -> Option<Duration> {
    let deadline = UNIX_EPOCH.checked_add(Duration::from_millis(deadline_ms))?;
    deadline.duration_since(clock.wall()).ok()
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}
