//! Requests to the app on this machine, by the protocol that it speaks.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http::{Response, request};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use io_tokio::clock::Clock;
use io_tokio::net::Connector;
use io_tokio::stream_body::StreamBody;
use thiserror::Error;
use tokio::sync::mpsc;

use crate::settings::AppProtocol;

mod h2c;
mod http1;

use h2c::H2c;
use http1::{Http1, Lent};

/// The app, as long as one link to the router lasts.
#[derive(Debug)]
pub(crate) enum App<C> {
    /// It speaks HTTP/2, without TLS.
    H2c(H2c<C>),
    /// It speaks HTTP/1.1.
    Http1(Http1<C>),
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
    /// It said that it has not looked at the request.
    #[error("the app gave the request back: {0}")]
    Unprocessed(#[source] hyper::Error),
    /// It saw nothing of the request.
    #[error("the app cannot be reached: {0}")]
    Unreachable(#[source] std::io::Error),
}

impl<C: Connector> App<C> {
    pub(crate) fn new(
        connector: C,
        port: u16,
        protocol: AppProtocol,
        clock: Clock,
    ) -> (Self, AllClosed) {
        // Each connection holds a sender.
        let (open, closed) = mpsc::channel(1);
        let app = match protocol {
            AppProtocol::H2c => Self::H2c(H2c::new(connector, port, open)),
            AppProtocol::Http1 => Self::Http1(Http1::new(connector, port, clock, open)),
        };
        (app, AllClosed(closed))
    }

    /// Sends a request and returns the head of its answer. What comes before that goes to
    /// `interim`, as much as there is room for.
    pub(crate) async fn send(
        &self,
        head: request::Parts,
        body: RequestBody,
        interim: mpsc::Sender<Box<Response<()>>>,
    ) -> Result<Response<ResponseBody>, AppError> {
        match self {
            Self::H2c(app) => app.send(head, body, interim).await,
            Self::Http1(app) => app.send(head, body, interim).await,
        }
    }

    /// Whether it can be asked to switch protocols.
    pub(crate) const fn knows_upgrade(&self) -> bool {
        matches!(self, Self::Http1(_))
    }
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

/// The body of the app's answer. Dropped before its end, it closes the connection at once, or
/// resets its stream.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    incoming: Incoming,
    /// What goes back to the others that nobody uses when all of it is read.
    connection: Option<Lent>,
}

impl ResponseBody {
    fn release_if_done(&mut self) {
        if self.incoming.is_end_stream() {
            self.release();
        }
    }

    fn release(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.give_back();
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
