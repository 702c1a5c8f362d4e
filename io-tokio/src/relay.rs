//! The body of a response on its way to the client. Its end is the end of the exchange.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;
use tokio::time::Sleep;

use crate::edge::Patience;
use crate::entry::Entry;
use crate::http2;
use crate::patience::Busy;
use crate::pool::Ticket;
use crate::stalled;
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
    /// None: what comes next on the connection is not HTTP, and whose it is needs to be told that
    /// the connection is busy.
    Switched(Option<oneshot::Sender<Busy>>),
}

impl From<Source> for ResponseBody {
    fn from(source: Source) -> Self {
        Self { source, busy: None }
    }
}

impl ResponseBody {
    /// Keeps its connection busy until it is dropped.
    pub(crate) fn keep(&mut self, busy: Busy) {
        match &mut self.source {
            // Its connection lives on without it; a tunnel that is gone needs nothing.
            Source::Switched(tunnel) => drop(tunnel.take().map(|tunnel| tunnel.send(busy))),
            Source::Text(_) | Source::Relayed(_) => self.busy = Some(busy),
        }
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
    limits: Limits,
    /// Runs while the instance is silent, with how much of the request had come when it began.
    idle: Option<(Pin<Box<Sleep>>, u64)>,
    /// Runs until the exchange has had all of its time.
    total: Option<Pin<Box<Sleep>>>,
    /// Why the response is cut, once that is known.
    cut: Option<Cut>,
}

/// How long a response may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Longest silence.
    idle: Duration,
    /// From the end of the request's head.
    total: Option<Duration>,
}

impl Limits {
    /// What `patience` means for a response with `headers`.
    pub(crate) fn new(patience: Patience, headers: &HeaderMap) -> Self {
        let Patience { idle, total, .. } = patience.for_response(headers);
        Self { idle, total }
    }
}

impl Relayed {
    pub(crate) fn new(
        body: StreamBody,
        ticket: Ticket,
        entry: Entry,
        sending: Option<Sending>,
        limits: Limits,
    ) -> Self {
        let total = limits.total.map(|total| Box::pin(tokio::time::sleep(entry.left(total))));
        let ticket = Some(ticket);
        let mut relayed =
            Self { body, ticket, entry, sending, limits, idle: None, total, cut: None };
        // Nobody polls a body that is known to be empty.
        if relayed.body.is_end_stream() {
            relayed.finish("served");
        }
        relayed
    }

    /// Why the instance broke off.
    fn why_cut(&self) -> &'static str {
        let asked = self.ticket.as_ref().zip(self.entry.instance());
        asked.map_or("truncated", |(ticket, instance)| ticket.pool().why_cut(instance))
    }

    fn finish(&mut self, reason: &'static str) {
        if let Some(ticket) = self.ticket.take() {
            ticket.served();
            self.entry.finish(reason);
            self.sending = None;
        }
    }

    /// The next frame. hyper throws away what it has not written yet when it hears of an error, the
    /// response's head included, and writes it when it is told to wait; so it is told that first.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if let Some(cut) = self.cut.take() {
            return Poll::Ready(Some(Err(cut)));
        }
        let polled = self.poll_source(cx);
        if let Poll::Ready(Some(Err(cut))) = polled {
            self.cut = Some(cut);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        polled
    }

    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if let Poll::Ready(cut) = self.poll_total(cx) {
            return Poll::Ready(Some(Err(cut)));
        }
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
                self.finish(self.why_cut());
                Poll::Ready(Some(Err(Cut::Instance(error))))
            }
            Poll::Ready(None) => {
                self.finish("served");
                Poll::Ready(None)
            }
            Poll::Pending => self.poll_idle(cx).map(|cut| Some(Err(cut))),
        }
    }

    /// The instance is silent, which is no silence of the exchange while its client sends.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Cut> {
        let limit = self.limits.idle;
        loop {
            let received = self.entry.bytes_in();
            let (idle, before) =
                self.idle.get_or_insert_with(|| (Box::pin(tokio::time::sleep(limit)), received));
            ready!(idle.as_mut().poll(cx));
            if received == *before {
                self.finish("idle_timeout");
                return Poll::Ready(Cut::Idle(limit));
            }
            self.idle = None;
        }
    }

    fn poll_total(&mut self, cx: &mut Context<'_>) -> Poll<Cut> {
        let Some(total) = &mut self.total else { return Poll::Pending };
        ready!(total.as_mut().poll(cx));
        self.finish("total_timeout");
        Poll::Ready(Cut::Total)
    }
}

/// Dropped before its end: the client has gone, unless there was nothing left but the word that it
/// is the end, for which hyper does not wait. Dropping the body resets the stream, and so the app
/// hears of it.
impl Drop for Relayed {
    fn drop(&mut self) {
        if self.body.is_complete() {
            self.finish("served");
        } else if let Some(ticket) = self.ticket.take() {
            ticket.unread();
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
        stalled::asked();
        let polled = match &mut self.source {
            Source::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Source::Relayed(relayed) => relayed.poll(cx),
            Source::Switched(_) => Poll::Ready(None),
        };
        if polled.is_ready() {
            stalled::given();
        }
        if let (Poll::Ready(Some(Err(_))), Some(busy)) = (&polled, &self.busy) {
            busy.cut();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Text(text) => text.is_none(),
            Source::Relayed(relayed) => relayed.body.is_end_stream(),
            Source::Switched(_) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Text(text) => {
                SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64))
            }
            Source::Relayed(relayed) => relayed.body.size_hint(),
            Source::Switched(_) => SizeHint::with_exact(0),
        }
    }
}

/// Why a response body did not reach its end. The client sees it cut.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cut {
    /// Nothing came for as long as a response may be silent.
    #[error("the response was silent for {0:?}")]
    Idle(Duration),
    /// The exchange has had all of its time.
    #[error("the exchange took longer than it may")]
    Total,
    /// The instance or its app failed.
    #[error("the instance cut the response: {0}")]
    Instance(http2::Error),
}
