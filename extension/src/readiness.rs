//! Waiting for the app to be ready.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use io_tokio::net::Connector;

use crate::settings::{AppProtocol, Readiness, Settings};

/// Returns when the app is ready: asks at once, and then every 10 ms.
pub(crate) async fn until_ready<C: Connector>(connector: &C, settings: &Settings) {
    loop {
        let ready = tokio::time::timeout(ANSWER_PATIENCE, is_ready(connector, settings));
        if ready.await == Ok(true) {
            return;
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

async fn is_ready<C: Connector>(connector: &C, settings: &Settings) -> bool {
    let connected = connector.connect(APP_HOST, settings.readiness_port).await;
    let Ok(io) = connected else { return false };
    match &settings.readiness {
        Readiness::Tcp => true,
        Readiness::Http { path, statuses } => {
            let status = call(io, settings.app_protocol, Method::GET, path).await.ok();
            let status = status.as_ref().map(StatusCode::as_u16);
            status.is_some_and(|status| statuses.iter().any(|range| range.contains(&status)))
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
