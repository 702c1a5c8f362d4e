//! The body of a response on its way to the client. Its end is the end of the exchange.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use crate::entry::Entry;
use crate::patience::Busy;
use crate::pool::Ticket;
use crate::stream_body::StreamBody;
use crate::upload::Sending;

/// The body of a response to a client. The request is done when it is dropped.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    source: Source,
    busy: Option<Busy>,
}

/// Where a body comes from.
#[derive(Debug)]
pub(crate) enum Source {
    /// A short text of our own.
    Text(Option<Bytes>),
    /// The instance's.
    Relayed(Box<Relayed>),
}

impl From<Source> for ResponseBody {
    fn from(source: Source) -> Self {
        Self { source, busy: None }
    }
}

impl ResponseBody {
    /// Keeps its connection busy until it is dropped.
    pub(crate) fn keep(&mut self, busy: Busy) {
        self.busy = Some(busy);
    }
}

/// The instance's body on its way to the client. When it ends, so does the exchange.
#[derive(Debug)]
pub(crate) struct Relayed {
    body: StreamBody,
    /// Gone once the exchange is over.
    ticket: Option<Ticket>,
    entry: Entry,
    /// The rest of the request's body, which is still on its way.
    sending: Option<Sending>,
    idle_limit: Duration,
    /// Runs while the instance is silent.
    idle: Option<Pin<Box<Sleep>>>,
}

impl Relayed {
    pub(crate) fn new(
        body: StreamBody,
        ticket: Ticket,
        entry: Entry,
        sending: Option<Sending>,
        idle_limit: Duration,
    ) -> Self {
        let mut relayed =
            Self { body, ticket: Some(ticket), entry, sending, idle_limit, idle: None };
        // Nobody polls a body that is known to be empty.
        if relayed.body.is_end_stream() {
            relayed.finish("served");
        }
        relayed
    }

    fn finish(&mut self, reason: &'static str) {
        if let Some(ticket) = self.ticket.take() {
            ticket.served();
            self.entry.finish(reason);
            self.sending = None;
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.idle = None;
                self.entry.add_bytes_out(frame.data_ref().map_or(0, Bytes::len));
                if self.body.is_end_stream() {
                    self.finish("served");
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.finish("truncated");
                Poll::Ready(Some(Err(Cut::Instance(error))))
            }
            Poll::Ready(None) => {
                self.finish("served");
                Poll::Ready(None)
            }
            Poll::Pending => {
                let limit = self.idle_limit;
                let idle = self.idle.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
                ready!(idle.as_mut().poll(cx));
                self.finish("idle_timeout");
                Poll::Ready(Some(Err(Cut::Idle(limit))))
            }
        }
    }
}

/// Dropped before its end: the client has gone. Dropping the ticket tells the model, dropping the
/// body resets the stream, and so the app hears of it.
impl Drop for Relayed {
    fn drop(&mut self) {
        if self.ticket.is_some() {
            self.entry.finish("client_gone");
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match &mut self.source {
            Source::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Source::Relayed(relayed) => relayed.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Text(text) => text.is_none(),
            Source::Relayed(relayed) => relayed.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Text(text) => {
                SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64))
            }
            Source::Relayed(relayed) => relayed.body.size_hint(),
        }
    }
}

/// Why a response body did not reach its end. The client sees it cut.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cut {
    /// Nothing came for as long as a response may be silent.
    #[error("the response was silent for {0:?}")]
    Idle(Duration),
    /// The instance or its app failed.
    #[error("the instance cut the response: {0}")]
    Instance(h2::Error),
}
