//! An app that speaks HTTP/2 without TLS, by prior knowledge: gRPC servers, most of all.
//!
//! All requests are streams of one connection. When the app ends that, with a goaway or without,
//! what runs on it runs on, and the next request makes another.
//!
//! A request that the app provably has not looked at is sent once more on a fresh connection if
//! nothing of it was written, else the router is told, which has all of it and may send it again:
//! proof is `REFUSED_STREAM`, or a goaway that names an earlier stream as the last.

use std::error::Error;

use h2::Reason;
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderMap, Request, Response, Version, header, request};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use io_tokio::interim::continues;
use io_tokio::net::Connector;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use super::{AppError, Interims, RequestBody};
use crate::readiness::APP_HOST;

/// The app, and the connection to it.
#[derive(Debug)]
pub(crate) struct H2c<C> {
    connector: C,
    port: u16,
    connections: Mutex<Connections>,
    open: mpsc::Sender<()>,
}

#[derive(Debug, Default)]
struct Connections {
    /// The one for new requests.
    current: Option<SendRequest<RequestBody>>,
    /// What drives it and those before it, until the app itself is dropped.
    drivers: JoinSet<()>,
}

impl<C: Connector> H2c<C> {
    pub(super) fn new(connector: C, port: u16, open: mpsc::Sender<()>) -> Self {
        Self { connector, port, connections: Mutex::default(), open }
    }

    pub(super) async fn send(
        &self,
        head: request::Parts,
        body: RequestBody,
        interims: &Interims,
    ) -> Result<Response<Incoming>, AppError> {
        // hyper keeps to itself what comes before an answer, so that nobody would hear the app say
        // that a body may come.
        interims.add(continues());
        let mut request = Request::from_parts(h2_head(head), body);
        loop {
            let (mut sender, is_fresh) = self.sender().await.map_err(AppError::Unreachable)?;
            let mut failed = match sender.try_send_request(request).await {
                Ok(response) => return Ok(response),
                Err(failed) => failed,
            };
            match failed.take_message() {
                Some(unsent) if !is_fresh => {
                    // It has ended, though that may not show yet.
                    self.connections.lock().await.current = None;
                    request = unsent;
                }
                Some(_) => return Err(AppError::Unprocessed(failed.into_error())),
                None => {
                    let error = failed.into_error();
                    let is_unseen = h2_error(&error).is_some_and(is_unseen);
                    return Err(if is_unseen {
                        AppError::Unprocessed(error)
                    } else {
                        AppError::Broken(error)
                    });
                }
            }
        }
    }

    /// A sender on the current connection, and whether that was made for it.
    async fn sender(&self) -> Result<(SendRequest<RequestBody>, bool), std::io::Error> {
        let mut connections = self.connections.lock().await;
        if let Some(sender) = &connections.current
            && !sender.is_closed()
        {
            return Ok((sender.clone(), false));
        }
        let io = self.connector.connect(APP_HOST, self.port).await?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES_MAX)
            .max_header_list_size(HEADER_BYTES_MAX)
            .handshake(TokioIo::new(io))
            .await
            .map_err(std::io::Error::other)?;
        let open = self.open.clone();
        while connections.drivers.try_join_next().is_some() {}
        connections.drivers.spawn(async move {
            // Its errors reach whoever waits for an answer.
            drop(connection.await);
            drop(open);
        });
        connections.current = Some(sender.clone());
        Ok((sender, true))
    }
}

/// What says `Host` in HTTP/1.1 is a part of the target in HTTP/2.
fn h2_head(mut head: request::Parts) -> request::Parts {
    let host = head.headers.get(header::HOST);
    let authority = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let authority = authority.unwrap_or_else(|| Authority::from_static("localhost"));
    let path = head.uri.path_and_query().cloned();
    let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(Scheme::HTTP);
    uri.authority = Some(authority);
    uri.path_and_query = Some(path);
    // All three parts are there, which is all that can be wrong.
    head.uri = Uri::from_parts(uri).unwrap_or_default();
    head.version = Version::HTTP_2;
    let kept = head.headers.iter().filter(|(name, _)| **name != header::HOST);
    head.headers = kept.map(|(name, value)| (name.clone(), value.clone())).fold(
        HeaderMap::with_capacity(head.headers.len()),
        |mut headers, (name, value)| {
            headers.append(name, value);
            headers
        },
    );
    head
}

/// Whether the app has said that it has not looked at the request: it refused the stream, or said
/// goaway and that stream is above the last one that it took.
fn is_unseen(error: &h2::Error) -> bool {
    let is_refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
    error.is_remote() && (error.is_go_away() || is_refused)
}

/// What HTTP/2 says of an error.
fn h2_error(error: &hyper::Error) -> Option<&h2::Error> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref() {
            return Some(error);
        }
        cause = error.source();
    }
    None
}

/// What the app may send of one answer before the router has taken it.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// So much that all answers of an instance, which has 255 slots at most, never fill it: one that
/// stalls stops no other.
const CONNECTION_WINDOW_BYTES: u32 = 256 * STREAM_WINDOW_BYTES;
const FRAME_BYTES_MAX: u32 = 64 * 1024;
const HEADER_BYTES_MAX: u32 = 256 * 1024;
