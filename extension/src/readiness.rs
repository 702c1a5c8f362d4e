//! Waiting for the app to be ready.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use io_tokio::clock::Clock;
use io_tokio::net::Connector;

use crate::settings::{AppProtocol, Readiness, Settings};

/// Returns when the app is ready: asks at once, and then every 10 ms. The log says what is waited
/// for and what came instead, ever more seldom: a wrong port looks like an app that is slow.
pub(crate) async fn until_ready<C: Connector>(connector: &C, settings: &Settings, clock: &Clock) {
    let mut pause = WARNING_PAUSE;
    let mut warn_at = clock.now() + pause;
    loop {
        let asked = tokio::time::timeout(ANSWER_PATIENCE, ask(connector, settings)).await;
        let problem = match asked {
            Ok(Ok(())) => return,
            Ok(Err(problem)) => problem,
            Err(_) => format!("no answer within {ANSWER_PATIENCE:?}"),
        };
        if clock.now() >= warn_at {
            tracing::warn!("{}", waiting(settings, &problem));
            pause *= 2;
            warn_at = clock.now() + pause;
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Asks the app once; why it is not ready, if it is not.
async fn ask<C: Connector>(connector: &C, settings: &Settings) -> Result<(), String> {
    let connected = connector.connect(APP_HOST, settings.readiness_port).await;
    let io = connected.map_err(|error| error.to_string())?;
    let Readiness::Http { path, statuses } = &settings.readiness else { return Ok(()) };
    let status = call(io, settings.app_protocol, Method::GET, path).await?;
    let is_ready = statuses.iter().any(|range| range.contains(&status.as_u16()));
    if is_ready { Ok(()) } else { Err(format!("the answer is {status}")) }
}

fn waiting(settings: &Settings, problem: &str) -> String {
    let port = settings.readiness_port;
    let see = if port == settings.app_port {
        "LAMBDA_DISPATCH_PORT"
    } else {
        "LAMBDA_DISPATCH_READINESS_PORT"
    };
    let no_get = match settings.app_protocol {
        // Those of Python, Ruby and C++ reset its stream.
        AppProtocol::H2c => {
            "; a gRPC server that answers no GET needs LAMBDA_DISPATCH_READINESS_PROTOCOL=tcp"
        }
        AppProtocol::Http1 => "",
    };
    match &settings.readiness {
        Readiness::Http { path, .. } => format!(
            "waiting for GET http://{APP_HOST}:{port}{path}: {problem}; see {see}, \
             LAMBDA_DISPATCH_READINESS_PATH, LAMBDA_DISPATCH_READINESS_STATUS{no_get}"
        ),
        Readiness::Tcp => {
            format!("waiting for a connection to {APP_HOST}:{port}: {problem}; see {see}")
        }
    }
}

/// One call without a body on a connection that is closed after it; what it is answered with, or
/// why it is not.
pub(crate) async fn call<I: io_tokio::net::Io>(
    io: I,
    protocol: AppProtocol,
    method: Method,
    path: &str,
) -> Result<StatusCode, String> {
    match protocol {
        AppProtocol::H2c => over_h2c(io, method, path).await.map_err(|error| error.to_string()),
        AppProtocol::Http1 => over_http1(io, method, path).await.map_err(|error| error.to_string()),
    }
}

async fn over_http1<I: io_tokio::net::Io>(
    io: I,
    method: Method,
    path: &str,
) -> Result<StatusCode, hyper::Error> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await?;
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.method_mut() = method;
    if let Ok(uri) = path.parse() {
        *request.uri_mut() = uri;
    }
    let headers = request.headers_mut();
    headers.insert(header::HOST, header::HeaderValue::from_static("localhost"));
    headers.insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    tokio::select! {
        biased;
        response = sender.send_request(request) => Ok(response?.status()),
        // The connection is what drives the request; it ends first only with an error.
        ended = async { connection.await.and(std::future::pending().await) } => ended,
    }
}

async fn over_h2c<I: io_tokio::net::Io>(
    io: I,
    method: Method,
    path: &str,
) -> Result<StatusCode, h2::Error> {
    let (requests, connection) = h2::client::handshake(io).await?;
    let mut request = Request::new(());
    *request.method_mut() = method;
    if let Ok(uri) = format!("http://localhost{path}").parse() {
        *request.uri_mut() = uri;
    }
    let answered = async {
        let (response, _) = requests.ready().await?.send_request(request, true)?;
        Ok(response.await?.status())
    };
    tokio::select! {
        biased;
        status = answered => status,
        ended = async { connection.await.and(std::future::pending().await) } => ended,
    }
}

/// Where the app listens.
pub(crate) const APP_HOST: &str = "127.0.0.1";
const INTERVAL: Duration = Duration::from_millis(10);
/// An app that takes a connection and then does not answer is asked again.
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);
/// How long an app may start before the log says that it is waited for; most are ready by then.
const WARNING_PAUSE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
