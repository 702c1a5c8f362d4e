//! An app that speaks HTTP/1.1.
//!
//! One request runs on a connection at a time (HTTP/1.1). A connection that is done goes on top of
//! a stack and is taken from there again, so that few stay warm; one that was idle for 4 s is
//! closed, because many servers close theirs after 5 s and a request that crosses that close is
//! lost.
//!
//! The race remains for closes that come earlier. A request on a *reused* connection that fails
//! before a byte of it was written is sent on a fresh one. Never otherwise, whatever its method: an
//! app that closed may have done what it was asked, and does nothing twice.
//!
//! A connection is driven by the task of the request that it carries, so that nothing is handed
//! from one to another, and by nobody while it is idle. That an app has closed it shows when it is
//! used again, before anything is written.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use dispatch_model::time::Time;
use http::{Request, Response, request};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use io_tokio::clock::Clock;
use io_tokio::net::Connector;
use tokio::sync::mpsc;

use super::last_words::LastWords;
use super::{AppError, Interims, RequestBody};
use crate::readiness::APP_HOST;

/// The app, and the connections to it.
#[derive(Debug)]
pub(crate) struct Http1<C> {
    connector: C,
    port: u16,
    clock: Clock,
    /// The stack of connections that nobody uses, and since when.
    idle: Mutex<Vec<(Connection, Time)>>,
    open: mpsc::Sender<()>,
}

impl<C: Connector> Http1<C> {
    pub(super) fn new(connector: C, port: u16, clock: Clock, open: mpsc::Sender<()>) -> Self {
        Self { connector, port, clock, idle: Mutex::default(), open }
    }

    /// Sends a request on a connection that is left on `line`, which must be polled meanwhile.
    pub(super) async fn send(
        &self,
        line: &Line,
        head: request::Parts,
        body: RequestBody,
        interims: &Interims,
    ) -> Result<Response<Incoming>, AppError> {
        let mut request = hearing(Request::from_parts(head, body), interims);
        if let Some(reused) = self.take() {
            match line.exchange(reused, request).await {
                Ok(response) => return Ok(response),
                Err(Failed { unsent: Some(unsent), .. }) => request = unsent,
                Err(Failed { unsent: None, error }) => return Err(AppError::Broken(error)),
            }
        }
        let fresh = self.connect().await.map_err(AppError::Unreachable)?;
        line.exchange(fresh, request).await.map_err(|Failed { unsent, error }| match unsent {
            Some(_) => AppError::Unreachable(std::io::Error::other(error)),
            None => AppError::Broken(error),
        })
    }

    async fn connect(&self) -> Result<Connection, std::io::Error> {
        let io = self.connector.connect(APP_HOST, self.port).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(LastWords::of(io)))
            .await
            .map_err(std::io::Error::other)?;
        let driver = Box::pin(async move {
            // Its errors reach whoever waits for an answer.
            drop(connection.with_upgrades().await);
        });
        Ok(Connection { sender, driver: Some(driver), _open: self.open.clone() })
    }

    /// Keeps what is on `line`, if that can be used again.
    pub(super) fn give_back(&self, line: Line) {
        let Some(mut connection) = line.into_inner() else { return };
        if !connection.sender.is_ready() {
            // It may not have looked beyond the last byte.
            connection.poll(&mut Context::from_waker(Waker::noop()));
        }
        if connection.sender.is_ready() {
            self.idle().push((connection, self.clock.now()));
        }
    }

    /// The connection that was used last, of those that can be used again.
    fn take(&self) -> Option<Connection> {
        let mut idle = self.idle();
        let oldest = self.clock.now().saturating_sub(IDLE_MAX);
        let (connection, since) = idle.pop()?;
        if since < oldest {
            // All below it are older still.
            idle.clear();
            return None;
        }
        Some(connection)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(Connection, Time)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connection that carries a request, once there is one.
#[derive(Debug, Default)]
pub(crate) struct Line(Mutex<Option<Connection>>);

impl Line {
    /// Drives `work` and what it puts on the line, in one task.
    pub(crate) fn poll_beside<T>(
        &self,
        mut work: Pin<&mut impl Future<Output = T>>,
        cx: &mut Context<'_>,
    ) -> Poll<T> {
        let had = self.poll(cx);
        let worked = work.as_mut().poll(cx);
        // What was put there just now wakes nobody.
        if worked.is_pending() && !had && self.poll(cx) {
            return work.poll(cx);
        }
        worked
    }

    /// Whether there is anything to drive.
    fn poll(&self, cx: &mut Context<'_>) -> bool {
        self.connection().as_mut().is_some_and(|connection| connection.poll(cx))
    }

    async fn exchange(
        &self,
        connection: Connection,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, Failed> {
        let sent = self.connection().insert(connection).sender.try_send_request(request);
        match sent.await {
            Ok(response) => Ok(response),
            Err(mut error) => {
                // Whatever comes next has none yet.
                *self.connection() = None;
                Err(Failed { unsent: error.take_message(), error: error.into_error() })
            }
        }
    }

    fn connection(&self) -> MutexGuard<'_, Option<Connection>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn into_inner(self) -> Option<Connection> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection, which ends with this value.
struct Connection {
    sender: SendRequest<RequestBody>,
    /// Gone when it has ended.
    driver: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    _open: mpsc::Sender<()>,
}

impl Connection {
    /// Whether there is anything to drive.
    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(driver) = &mut self.driver else { return false };
        if driver.as_mut().poll(cx).is_ready() {
            self.driver = None;
        }
        true
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.sender.fmt(f)
    }
}

/// A request whose interim answers are heard.
fn hearing(mut request: Request<RequestBody>, interims: &Interims) -> Request<RequestBody> {
    let interims = interims.clone();
    hyper::ext::on_informational(&mut request, move |answer| {
        let mut head = Response::new(());
        *head.status_mut() = answer.status();
        *head.headers_mut() = answer.headers().clone();
        interims.add(head);
    });
    request
}

struct Failed {
    /// The request, if not a byte of it was written.
    unsent: Option<Request<RequestBody>>,
    error: hyper::Error,
}

/// Less than the 5 s of Node.js and others.
const IDLE_MAX: Duration = Duration::from_secs(4);
