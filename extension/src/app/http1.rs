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
//! used again, before anything is written. When nothing runs at all, it is a socket and no more:
//! what hyper holds for a hundred of them, 35 KB each, is most of what a loaded process has.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use dispatch_model::time::Time;
use http::{HeaderValue, Method, Request, Response, header, request};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use io_tokio::clock::Clock;
use io_tokio::net::{Connector, Io};
use tokio::sync::mpsc;

use super::last_words::LastWords;
use super::{AppError, Interims, RequestBody};
use crate::readiness::APP_HOST;

/// The app, and the connections to it.
pub(crate) struct Http1<C: Connector> {
    connector: C,
    port: u16,
    clock: Clock,
    /// The stack of connections that nobody uses, and since when.
    idle: Mutex<Vec<(Connection<C::Io>, Time)>>,
    open: mpsc::Sender<()>,
}

impl<C: Connector> Http1<C> {
    pub(super) fn new(connector: C, port: u16, clock: Clock, open: mpsc::Sender<()>) -> Self {
        Self { connector, port, clock, idle: Mutex::default(), open }
    }

    /// Sends a request on a connection that is left on `line`, which must be polled meanwhile.
    pub(super) async fn send(
        &self,
        line: &Line<C::Io>,
        mut head: request::Parts,
        body: RequestBody,
        interims: &Interims,
    ) -> Result<Response<Incoming>, AppError> {
        announce(&body, &mut head);
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

    async fn connect(&self) -> Result<Connection<C::Io>, std::io::Error> {
        let io = self.connector.connect(APP_HOST, self.port).await?;
        Ok(Connection::Socket(Socket { io: LastWords::of(io), _open: self.open.clone() }))
    }

    /// Keeps what is on `line`, if that can be used again.
    pub(super) fn give_back(&self, line: Line<C::Io>) {
        let Some(mut http) = line.into_inner() else { return };
        if !http.sender.is_ready() {
            // It may not have looked beyond the last byte.
            http.poll(&mut Context::from_waker(Waker::noop()));
        }
        if http.sender.is_ready() {
            self.idle().push((Connection::Http(http), self.clock.now()));
        }
    }

    /// Leaves of idle connections no more than their sockets. Whether there was more.
    pub(super) fn rest(&self) -> bool {
        let mut idle = self.idle();
        let had_more = idle.iter().any(|(connection, _)| matches!(connection, Connection::Http(_)));
        if had_more {
            *idle = std::mem::take(&mut *idle)
                .into_iter()
                .filter_map(|(connection, since)| Some((connection.into_socket()?, since)))
                .map(|(socket, since)| (Connection::Socket(socket), since))
                .collect();
        }
        had_more
    }

    /// The connection that was used last, of those that can be used again.
    fn take(&self) -> Option<Connection<C::Io>> {
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

    fn idle(&self) -> MutexGuard<'_, Vec<(Connection<C::Io>, Time)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection, which ends with this value.
enum Connection<S: Io> {
    Socket(Socket<S>),
    Http(Http<S>),
}

impl<S: Io> Connection<S> {
    async fn into_http(self) -> hyper::Result<Http<S>> {
        match self {
            Self::Http(http) => Ok(http),
            Self::Socket(Socket { io, _open }) => {
                let (sender, driver) = http1::handshake(TokioIo::new(io)).await?;
                Ok(Http { sender, driver: Driver::Http(Box::new(driver)), _open })
            }
        }
    }

    /// `None` if it cannot be used again.
    fn into_socket(self) -> Option<Socket<S>> {
        match self {
            Self::Socket(socket) => Some(socket),
            Self::Http(Http { driver: Driver::Http(driver), _open, .. }) => {
                let http1::Parts { io, read_buf, .. } = driver.into_parts();
                read_buf.is_empty().then(|| Socket { io: io.into_inner(), _open })
            }
            Self::Http(_) => None,
        }
    }
}

struct Socket<S> {
    io: LastWords<S>,
    _open: mpsc::Sender<()>,
}

/// A connection and what hyper holds for it.
struct Http<S: Io> {
    sender: SendRequest<RequestBody>,
    driver: Driver<S>,
    _open: mpsc::Sender<()>,
}

enum Driver<S: Io> {
    Http(Box<http1::Connection<TokioIo<LastWords<S>>, RequestBody>>),
    /// The app is asked for another protocol, for which the socket is taken away.
    Switching(Pin<Box<dyn Future<Output = ()> + Send>>),
    /// It has ended.
    Gone,
}

impl<S: Io> Http<S> {
    /// Lets the request that comes next take the socket away.
    fn switch(&mut self) {
        if let Driver::Http(connection) = std::mem::replace(&mut self.driver, Driver::Gone) {
            let switching = connection.with_upgrades();
            // Errors reach whoever waits for an answer, here and below.
            self.driver = Driver::Switching(Box::pin(async move { drop(switching.await) }));
        }
    }

    /// Whether there is anything to drive.
    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        let polled = match &mut self.driver {
            Driver::Http(connection) => Pin::new(&mut **connection).poll(cx).map(drop),
            Driver::Switching(connection) => connection.as_mut().poll(cx),
            Driver::Gone => return false,
        };
        if polled.is_ready() {
            self.driver = Driver::Gone;
        }
        true
    }
}

/// The connection that carries a request, once there is one.
pub(crate) struct Line<S: Io>(Mutex<Option<Http<S>>>);

impl<S: Io> Default for Line<S> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<S: Io> Line<S> {
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
        self.http().as_mut().is_some_and(|http| http.poll(cx))
    }

    async fn exchange(
        &self,
        connection: Connection<S>,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, Failed> {
        let mut http = match connection.into_http().await {
            Ok(http) => http,
            Err(error) => return Err(Failed { unsent: Some(request), error }),
        };
        if request.headers().contains_key(header::UPGRADE) {
            http.switch();
        }
        let sent = self.http().insert(http).sender.try_send_request(request);
        match sent.await {
            Ok(response) => Ok(response),
            Err(mut error) => {
                // Whatever comes next has none yet.
                *self.http() = None;
                Err(Failed { unsent: error.take_message(), error: error.into_error() })
            }
        }
    }

    fn http(&self) -> MutexGuard<'_, Option<Http<S>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn into_inner(self) -> Option<Http<S>> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says that a body follows whose length nobody knows. hyper would do that by itself, but not for
/// GET and HEAD: to these it takes such a body for none, and drops it.
///
/// And that none follows where one is usual, since HTTP/1.1 has no other word for a body that was
/// announced in chunks and is empty (RFC 9110, 8.6); some apps answer 411 without it.
fn announce(body: &RequestBody, head: &mut request::Parts) {
    let (name, value) = if !body.is_end_stream() {
        (header::TRANSFER_ENCODING, "chunked")
    } else if [Method::POST, Method::PUT, Method::PATCH].contains(&head.method) {
        (header::CONTENT_LENGTH, "0")
    } else {
        return;
    };
    if !head.headers.contains_key(header::CONTENT_LENGTH) {
        head.headers.insert(name, HeaderValue::from_static(value));
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

#[cfg(test)]
mod tests;
