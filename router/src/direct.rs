//! A runtime that serves one request per invoke, as plain Lambda does: what `demo` compares with.
//!
//! It stands where Lambda Web Adapter would: it takes an invoke, which carries one request, asks
//! the app, and answers the invoke with the response.

use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;

/// The request that an invoke carries.
#[derive(Debug, Deserialize, Serialize)]
pub struct DirectRequest {
    /// Path and query of a GET.
    pub path: String,
}

/// Serves invokes until the process is killed.
///
/// # Errors
///
/// The environment is not Lambda's, or its API fails.
pub async fn run() -> anyhow::Result<()> {
    let api = variable("AWS_LAMBDA_RUNTIME_API")?;
    let app = format!("127.0.0.1:{}", variable("LAMBDA_DISPATCH_PORT")?);
    while fetch(&app, Method::GET, "/health", Bytes::new()).await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    loop {
        let invoke =
            fetch(&api, Method::GET, "/2018-06-01/runtime/invocation/next", Bytes::new()).await?;
        let id = invoke.headers().get("lambda-runtime-aws-request-id");
        let id = id.and_then(|id| id.to_str().ok()).context("an invoke without an id")?;
        let request: DirectRequest = serde_json::from_slice(invoke.body())?;
        let answer = fetch(&app, Method::GET, &request.path, Bytes::new()).await?;
        ensure!(answer.status().is_success(), "the app answered {}", answer.status());
        let path = format!("/2018-06-01/runtime/invocation/{id}/response");
        fetch(&api, Method::POST, &path, answer.into_body()).await?;
    }
}

/// One request on a connection of its own.
///
/// # Errors
///
/// Nobody listens at `address`, or the connection broke.
pub async fn fetch(
    address: &str,
    method: Method,
    target: &str,
    body: Bytes,
) -> anyhow::Result<Response<Bytes>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut requests, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(target)
        .header("host", address)
        .body(Full::new(body))?;
    let (head, body) = requests.send_request(request).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    connection.abort();
    Ok(Response::from_parts(head, body))
}

fn variable(name: &str) -> anyhow::Result<String> {
    std::env::var(name).with_context(|| format!("{name} is not set; this program runs in `demo`"))
}
