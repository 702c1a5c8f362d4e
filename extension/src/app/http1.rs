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

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dispatch_model::time::Time;
use http::{Request, Response, StatusCode, request};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use io_tokio::clock::Clock;
use io_tokio::net::Connector;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{AppError, RequestBody, ResponseBody};
use crate::readiness::APP_HOST;

/// The app, and the connections to it.
#[derive(Debug)]
pub(crate) struct Http1<C> {
    connector: C,
    port: u16,
    idle: Arc<Idle>,
    open: mpsc::Sender<()>,
}

impl<C: Connector> Http1<C> {
    pub(super) fn new(connector: C, port: u16, clock: Clock, open: mpsc::Sender<()>) -> Self {
        let idle = Arc::new(Idle { clock, connections: Mutex::default() });
        Self { connector, port, idle, open }
    }

    pub(super) async fn send(
        &self,
        head: request::Parts,
        body: RequestBody,
        interim: mpsc::Sender<Box<Response<()>>>,
    ) -> Result<Response<ResponseBody>, AppError> {
        let mut request = hearing(Request::from_parts(head, body), &interim);
        if let Some(reused) = self.idle.take() {
            match self.exchange(reused, request).await {
                Ok(response) => return Ok(response),
                Err(Failed { unsent: Some(unsent), .. }) => request = unsent,
                Err(Failed { unsent: None, error }) => return Err(AppError::Broken(error)),
            }
        }
        let fresh = self.connect().await.map_err(AppError::Unreachable)?;
        self.exchange(fresh, request).await.map_err(|Failed { unsent, error }| match unsent {
            Some(_) => AppError::Unreachable(std::io::Error::other(error)),
            None => AppError::Broken(error),
        })
    }

    async fn exchange(
        &self,
        mut connection: Connection,
        request: Request<RequestBody>,
    ) -> Result<Response<ResponseBody>, Failed> {
        match connection.sender.try_send_request(request).await {
            Ok(response) => {
                let idle = Arc::clone(&self.idle);
                let connection = Some(Lent { connection, idle });
                let mut response = response.map(|incoming| ResponseBody { incoming, connection });
                // After a switch of protocols the connection is of no use for anything else.
                if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                    response.body_mut().release_if_done();
                }
                Ok(response)
            }
            Err(mut error) => {
                let unsent = error.take_message();
                Err(Failed { unsent, error: error.into_error() })
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

/// A request whose interim answers are heard.
fn hearing(
    mut request: Request<RequestBody>,
    interim: &mpsc::Sender<Box<Response<()>>>,
) -> Request<RequestBody> {
    let interim = interim.clone();
    hyper::ext::on_informational(&mut request, move |answer| {
        let mut head = Response::new(());
        *head.status_mut() = answer.status();
        *head.headers_mut() = answer.headers().clone();
        // A flood has no room.
        interim.try_send(Box::new(head)).ok();
    });
    request
}

struct Failed {
    /// The request, if not a byte of it was written.
    unsent: Option<Request<RequestBody>>,
    error: hyper::Error,
}

/// A connection that a response comes on.
#[derive(Debug)]
pub(super) struct Lent {
    connection: Connection,
    idle: Arc<Idle>,
}

impl Lent {
    /// Nothing more will come on it.
    pub(super) fn give_back(self) {
        self.idle.put(self.connection);
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
