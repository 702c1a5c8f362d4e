//! One HTTP request to somebody next door: a metadata service, or this router's own admin port.

use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use io_tokio::net::unbracketed;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// One request with at most one header, over a connection of its own: status and body, which has
/// at most 64 KiB. The caller bounds its time; a second is for the connection.
///
/// # Errors
///
/// What went wrong, and where, in words.
pub(crate) async fn fetch(
    method: &Method,
    url: &str,
    extra: Option<(&str, &str)>,
) -> Result<(StatusCode, String), String> {
    let uri: Uri = url.parse().map_err(|_| format!("{url} is not a URL"))?;
    if uri.scheme() != Some(&Scheme::HTTP) {
        return Err(format!("{url} does not begin with http://"));
    }
    let authority = uri.authority().ok_or_else(|| format!("{url} has no host"))?.clone();
    let host = unbracketed(authority.host());
    let port = authority.port_u16().unwrap_or(80);
    let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect((host, port)))
        .await
        .map_err(|_| format!("{authority} did not answer within {CONNECT_TIMEOUT:?}"))?
        .map_err(|error| format!("{authority}: {error}"))?;
    let said = |error: &dyn std::error::Error| format!("{url}: {error}");
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| said(&error))?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request =
        Request::builder().method(method).uri(path).header(header::HOST, authority.as_str());
    if let Some((name, value)) = extra {
        request = request.header(name, value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| said(&error))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|error| said(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), BODY_MAX).collect().await;
        let body = body.map_err(|error| format!("{url}: {error}"))?.to_bytes();
        let text = String::from_utf8(body.to_vec());
        Ok((status, text.map_err(|_| format!("{url} answered with binary data"))?))
    };
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        ended = connection => match ended {
            Ok(()) => exchange.await,
            Err(error) => Err(said(&error)),
        },
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const BODY_MAX: usize = 64 << 10;
