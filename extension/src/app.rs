//! Connections to the app on this machine.
//!
//! One request runs on a connection at a time (HTTP/1.1). A connection that is done goes on top of
//! a stack and is taken from there again, so that few stay warm; one that was idle for 4 s is
//! closed, because many servers close theirs after 5 s and a request that crosses that close is
//! lost.
//!
//! The race remains for closes that come earlier. A request on a *reused* connection that fails
//! before any byte of an answer is sent again on a fresh one if that is certain to be safe: if not
//! a byte of it was written, or its method is idempotent and it has no body. Never otherwise, and
//! never twice.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use dispatch_model::time::Time;
use h2::RecvStream;
use http::{Request, Response, StatusCode, request};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use io_tokio::clock::Clock;
use io_tokio::net::Connector;
use io_tokio::stream_body::StreamBody;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::readiness::APP_HOST;

/// The app, as long as one link to the router lasts.
#[derive(Debug)]
pub(crate) struct App<C> {
    connector: C,
    port: u16,
    idle: Arc<Idle>,
    open: mpsc::Sender<()>,
}

/// Ends when every connection of an [`App`] is closed.
#[derive(Debug)]
pub(crate) struct AllClosed(mpsc::Receiver<()>);

impl AllClosed {
    /// Returns when the [`App`] is gone and nothing is left of it.
    pub(crate) async fn wait(mut self) {
        while self.0.recv().await.is_some() {}
    }
}

/// Why the app gave no answer.
#[derive(Debug, Error)]
pub(crate) enum AppError {
    /// It saw the request, or part of it, perhaps.
    #[error("the app broke off: {0}")]
    Broken(#[source] hyper::Error),
    /// It went away between a first attempt and its repetition.
    #[error("the app cannot be reached any more: {0}")]
    Gone(#[source] std::io::Error),
    /// It saw nothing of the request.
    #[error("the app cannot be reached: {0}")]
    Unreachable(#[source] std::io::Error),
}

impl<C: Connector> App<C> {
    pub(crate) fn new(connector: C, port: u16, clock: Clock) -> (Self, AllClosed) {
        let idle = Arc::new(Idle { clock, connections: Mutex::default() });
        let (open, closed) = mpsc::channel(1);
        (Self { connector, port, idle, open }, AllClosed(closed))
    }

    /// Sends a request and returns the head of its answer.
    pub(crate) async fn send(
        &self,
        head: request::Parts,
        body: RequestBody,
    ) -> Result<Response<ResponseBody>, AppError> {
        let repeatable = body.is_end_stream() && head.method.is_idempotent();
        let Some(reused) = self.idle.take() else {
            let fresh = self.connect().await.map_err(AppError::Unreachable)?;
            let request = Request::from_parts(head, body);
            return self.exchange(fresh, request).await.map_err(|failed| failed.error);
        };
        let copy = repeatable.then(|| head.clone());
        let failed = match self.exchange(reused, Request::from_parts(head, body)).await {
            Ok(response) => return Ok(response),
            Err(failed) => failed,
        };
        let (request, unreachable): (_, fn(std::io::Error) -> AppError) =
            match (failed.unsent, copy) {
                (Some(request), _) => (request, AppError::Unreachable),
                (None, Some(head)) => {
                    (Request::from_parts(head, RequestBody::Empty), AppError::Gone)
                }
                (None, None) => return Err(failed.error),
            };
        let fresh = self.connect().await.map_err(unreachable)?;
        self.exchange(fresh, request).await.map_err(|failed| failed.error)
    }

    async fn exchange(
        &self,
        mut connection: Connection,
        request: Request<RequestBody>,
    ) -> Result<Response<ResponseBody>, Failed> {
        match connection.sender.try_send_request(request).await {
            Ok(response) => {
                let idle = Arc::clone(&self.idle);
                let mut response =
                    response.map(|incoming| ResponseBody::new(incoming, connection, idle));
                // After a switch of protocols the connection is of no use for anything else.
                if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                    response.body_mut().release_if_done();
                }
                Ok(response)
            }
            Err(mut error) => {
                let unsent = error.take_message();
                Err(Failed { unsent, error: AppError::Broken(error.into_error()) })
            }
        }
    }

    async fn connect(&self) -> Result<Connection, std::io::Error> {
        let io = self.connector.connect(APP_HOST, self.port).await?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(io)).await.map_err(std::io::Error::other)?;
        let open = self.open.clone();
        let driver = tokio::spawn(async move {
            // Its errors reach whoever waits for an answer.
            drop(connection.with_upgrades().await);
            drop(open);
        });
        Ok(Connection { sender, _driver: Driver(driver) })
    }
}

struct Failed {
    unsent: Option<Request<RequestBody>>,
    error: AppError,
}

/// The body of a request on its way to the app.
#[derive(Debug)]
pub(crate) enum RequestBody {
    Empty,
    Stream(StreamBody),
}

impl RequestBody {
    /// What comes on `stream`, of `content_length` bytes if the head said so.
    pub(crate) fn new(stream: RecvStream, content_length: Option<u64>) -> Self {
        let body = StreamBody::new(stream, content_length);
        if body.is_end_stream() { Self::Empty } else { Self::Stream(body) }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Stream(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Stream(body) => body.size_hint(),
        }
    }
}

/// The body of the app's answer. Dropped before its end, it closes the connection at once.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    incoming: Incoming,
    connection: Option<Connection>,
    idle: Arc<Idle>,
}

impl ResponseBody {
    const fn new(incoming: Incoming, connection: Connection, idle: Arc<Idle>) -> Self {
        Self { incoming, connection: Some(connection), idle }
    }

    fn release_if_done(&mut self) {
        if self.incoming.is_end_stream() {
            self.release();
        }
    }

    fn release(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.idle.put(connection);
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        match frame {
            Some(Ok(_)) => self.release_if_done(),
            Some(Err(_)) => self.connection = None,
            None => self.release(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// A connection, which ends with this value.
#[derive(Debug)]
struct Connection {
    sender: SendRequest<RequestBody>,
    _driver: Driver,
}

#[derive(Debug)]
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The stack of connections that nobody uses.
#[derive(Debug)]
struct Idle {
    clock: Clock,
    connections: Mutex<Vec<(Connection, Time)>>,
}

impl Idle {
    fn put(&self, connection: Connection) {
        self.lock().push((connection, self.clock.now()));
    }

    /// The connection that was used last, of those that can be used again.
    fn take(&self) -> Option<Connection> {
        let mut connections = self.lock();
        let oldest = self.clock.now().saturating_sub(IDLE_MAX);
        while let Some((connection, since)) = connections.pop() {
            if since < oldest {
                // All below it are older still.
                connections.clear();
                return None;
            }
            if connection.sender.is_ready() {
                return Some(connection);
            }
        }
        None
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Connection, Time)>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Less than the 5 s of Node.js and others.
const IDLE_MAX: Duration = Duration::from_secs(4);
