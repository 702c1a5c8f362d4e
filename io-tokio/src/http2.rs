//! HTTP/2 (RFC 9113) for the links between routers and instances.
//!
//! Clients and apps are spoken to with hyper and h2, which know everything. A link carries every
//! request there is, both its ends are ours, and what h2 does for each took two fifths of all that
//! router and extension do in user space. So here is what a link needs and no more, in a form that
//! any other implementation understands: the tests of both sides speak h2 to it. Not here are push,
//! priorities, and the writing of Huffman's code.
//!
//! ```text
//!  handles ──▶ State ──▶ Outbox ──▶ Driver ──▶ socket
//!          ◀──       ◀────────────         ◀──
//! ```
//!
//! `State` is the connection without its bytes, behind one lock. The driver reads all that there
//! is, wakes whom it concerns, and writes in one go what they have put out; whoever runs it, a
//! [`ClientConnection`] or a [`ServerConnection`], has to be polled for anything to happen. Heads
//! are put out when they are said, and data as far as the peer's windows allow; what is more waits
//! at its stream.
//!
//! | file | what |
//! |---|---|
//! | `handles` | what tasks hold: to open streams, read, write, answer, ping |
//! | `state`, `stream` | what a connection and its streams are at, and how they end |
//! | `send`, `receive` | what we say, and what the peer's frames do |
//! | `head`, `hpack` | requests, responses and trailers as fields, and fields as bytes |
//! | `connection`, `frame`, `outbox` | the bytes themselves |

use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

pub use h2::Reason;
pub use h2::ext::Protocol;
use http::Request;
use thiserror::Error as ThisError;

use crate::net::Io;

mod connection;
mod frame;
mod handles;
mod head;
mod hpack;
mod outbox;
mod receive;
mod send;
mod state;
mod stream;

use connection::Driver;
use handles::Handle;
pub use handles::{Awaited, Head, Opener, Pinger, Receiving, Responder, Sending};
use state::State;

/// What a side allows the other.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Bytes of one stream that may wait to be read; of a server at least 65,535, for a client may
    /// send so much before it hears of less.
    pub stream_window: u32,
    /// The same for all streams together, at least 65,535.
    pub connection_window: u32,
    /// The payload of a frame: 16,384 to 16,777,215.
    pub frame_bytes: u32,
    /// The fields of a head, each counted with 32 bytes more.
    pub head_bytes: u32,
    /// Streams that a client may have open. What a server allows does not concern a client.
    pub streams_max: u32,
}

/// The window of one of `streams` that never fill one of `bytes` together, so that one which nobody
/// reads stops no other.
#[must_use]
pub fn share_of(bytes: u32, streams: u32) -> u32 {
    bytes.checked_div(streams).unwrap_or(bytes)
}

/// Who has ended something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The other side.
    Peer,
    /// This side.
    Us,
}

/// Why a stream or its connection ended before its time.
#[derive(Clone, Debug, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// The connection is given up. Said of a stream by the peer, it has not looked at it.
    #[error("goaway from {}: {reason}", .by.name())]
    GoAway {
        /// As the peer may read it.
        reason: Reason,
        /// Who gave it up.
        by: By,
    },
    /// The bytes do not flow any more.
    #[error("the connection broke: {0}")]
    Io(#[source] Arc<io::Error>),
    /// Of a stream, what cannot be done was asked for.
    #[error("not possible: {0}")]
    Misuse(&'static str),
    /// One stream was reset.
    #[error("the stream was reset by {}: {reason}", .by.name())]
    Reset {
        /// As the peer may read it.
        reason: Reason,
        /// Who reset it.
        by: By,
    },
}

impl By {
    const fn name(self) -> &'static str {
        match self {
            Self::Peer => "the peer",
            Self::Us => "this side",
        }
    }
}

impl Error {
    fn closed() -> Self {
        io::Error::new(io::ErrorKind::BrokenPipe, "it is closed").into()
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}

/// Which side of a connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

/// A connection's state, for all that have a part in it.
#[derive(Debug)]
struct Shared(Mutex<State>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Begins a connection as its client. Nothing is sent before the connection is polled.
pub fn client<S: Io>(io: S, config: Config) -> (Opener, ClientConnection<S>) {
    let shared = Arc::new(Shared(Mutex::new(State::new(Side::Client, config))));
    let driver = Driver::new(io, Arc::clone(&shared));
    (Opener::new(shared), ClientConnection(driver))
}

/// Begins a connection as its server. Nothing is sent before the connection is polled.
pub fn server<S: Io>(io: S, config: Config) -> ServerConnection<S> {
    let shared = Arc::new(Shared(Mutex::new(State::new(Side::Server, config))));
    ServerConnection(Driver::new(io, shared))
}

/// A client's connection, which does nothing unless it is polled.
#[derive(Debug)]
pub struct ClientConnection<S>(Driver<S>);

impl<S: Io> ClientConnection<S> {
    /// Runs it until the peer ends it, or the last stream ends after the last [`Opener`] is gone
    /// or the peer has said goaway.
    ///
    /// # Errors
    ///
    /// It broke, or one side broke HTTP/2's rules.
    pub async fn run(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.0.poll(cx)).await
    }

    /// Gives up all that runs on it: nothing is opened or read any more. [`run`](Self::run) then
    /// tells the peer, which is no error, and ends when that has closed as well.
    pub fn close(&mut self) {
        self.0.shared().lock().close();
    }

    /// Pings on this connection.
    pub fn pinger(&self) -> Pinger {
        Pinger::new(Arc::clone(self.0.shared()))
    }
}

/// A request, and where its answer goes.
pub type Arrival = (Request<Receiving>, Responder);

/// A server's connection, which does nothing unless it is polled.
#[derive(Debug)]
pub struct ServerConnection<S>(Driver<S>);

impl<S: Io> ServerConnection<S> {
    /// Runs it until the next request comes; `None` when it has ended as it should. May be dropped
    /// without losing anything.
    ///
    /// # Errors
    ///
    /// As for a client.
    pub async fn accept(&mut self) -> Option<Result<Arrival, Error>> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Arrival, Error>>> {
        loop {
            let shared = self.0.shared();
            if let Some((key, request)) = shared.lock().accept() {
                let (reader, writer) = Handle::pair(shared, key);
                let request = request.map(|()| Receiving::new(reader));
                return Poll::Ready(Some(Ok((request, Responder::new(writer)))));
            }
            if let Poll::Ready(end) = self.0.poll(cx) {
                return Poll::Ready(end.err().map(Err));
            }
            if self.0.shared().lock().arrived.is_empty() {
                return Poll::Pending;
            }
        }
    }

    /// Takes no more requests; the connection ends with the last that it has.
    pub fn leave(&mut self) {
        self.0.shared().lock().leave();
    }

    /// Lets all streams together receive `bytes` before they are read, if that is more than before.
    pub fn set_connection_window(&mut self, bytes: u32) {
        self.0.shared().lock().set_window(bytes);
    }

    /// Pings on this connection.
    pub fn pinger(&self) -> Pinger {
        Pinger::new(Arc::clone(self.0.shared()))
    }
}
