//! Requests to the app on this machine, by the protocol that it speaks.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Response, request};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use io_tokio::clock::Clock;
use io_tokio::http2;
use io_tokio::interim::INTERIM_MAX;
use io_tokio::net::Connector;
use io_tokio::stream_body::StreamBody;
use thiserror::Error;
use tokio::sync::mpsc;

use crate::settings::AppProtocol;
use crate::stream::{Lent, Upload};

mod h2c;
mod http1;
mod last_words;

use h2c::H2c;
use http1::Http1;
pub(crate) use http1::Line;

/// The app, as long as one link to the router lasts.
pub(crate) enum App<C: Connector> {
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
    /// `interims`. What carries it is left on `line`, beside which all of it has to be polled until
    /// the answer's end.
    pub(crate) async fn send(
        &self,
        line: &Line<C::Io>,
        head: request::Parts,
        body: RequestBody,
        interims: &Interims,
    ) -> Result<Response<Incoming>, AppError> {
        match self {
            // Large, and not to be carried by requests to others.
            Self::H2c(app) => Box::pin(app.send(head, body, interims)).await,
            Self::Http1(app) => app.send(line, head, body, interims).await,
        }
    }

    /// Takes back what carried a request.
    pub(crate) fn give_back(&self, line: Line<C::Io>) {
        match self {
            // Its one connection was never lent.
            Self::H2c(_) => {}
            Self::Http1(app) => app.give_back(line),
        }
    }

    /// Gives up what connections need only while they are used. Whether there was anything.
    pub(crate) fn rest(&self) -> bool {
        match self {
            // Its one connection stays as it is.
            Self::H2c(_) => false,
            Self::Http1(app) => app.rest(),
        }
    }

    /// Whether it can be asked to switch protocols.
    pub(crate) const fn knows_upgrade(&self) -> bool {
        matches!(self, Self::Http1(_))
    }
}

/// The body of a request on its way to the app.
///
/// Small, because hyper keeps room for dozens of requests on each connection.
#[derive(Debug)]
pub(crate) struct RequestBody(Option<Box<Source>>);

#[derive(Debug)]
enum Source {
    Channel(Lent),
    Stream(StreamBody),
}

impl RequestBody {
    /// None.
    pub(crate) const EMPTY: Self = Self(None);

    /// What comes on a request's stream, of `content_length` bytes if the head said so.
    pub(crate) fn new(upload: Upload, content_length: Option<u64>) -> Self {
        let source = match upload {
            Upload::Channel(body) => Source::Channel(body),
            Upload::Stream(stream) => Source::Stream(StreamBody::new(stream, content_length)),
        };
        if source.is_end_stream() { Self::EMPTY } else { Self(Some(Box::new(source))) }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = http2::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, http2::Error>>> {
        match self.get_mut().0.as_deref_mut() {
            None => Poll::Ready(None),
            Some(Source::Channel(body)) => Pin::new(body).poll_frame(cx),
            Some(Source::Stream(body)) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|source| source.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match self.0.as_deref() {
            None => SizeHint::with_exact(0),
            Some(Source::Channel(body)) => body.size_hint(),
            Some(Source::Stream(body)) => body.size_hint(),
        }
    }
}

impl Source {
    fn is_end_stream(&self) -> bool {
        match self {
            Self::Channel(body) => body.is_end_stream(),
            Self::Stream(body) => body.is_end_stream(),
        }
    }
}

/// What an app says before it answers, in order. Clones are the same.
///
/// It is added to in the task of the request, which looks here whenever it is polled.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interims(Arc<Mutex<VecDeque<Response<()>>>>);

impl Interims {
    /// A flood has no room.
    fn add(&self, head: Response<()>) {
        let mut heads = self.heads();
        if heads.len() < INTERIM_MAX {
            heads.push_back(head);
        }
    }

    /// Waits for the next one.
    pub(crate) async fn next(&self) -> Response<()> {
        poll_fn(|_| self.take().map_or(Poll::Pending, Poll::Ready)).await
    }

    /// The next one, if it is there.
    pub(crate) fn take(&self) -> Option<Response<()>> {
        self.heads().pop_front()
    }

    fn heads(&self) -> MutexGuard<'_, VecDeque<Response<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
