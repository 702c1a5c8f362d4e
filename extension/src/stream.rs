//! What a request comes on and its answer goes to: a stream of our own wire, or a channel of the
//! original's, of which the relay need not know.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use io_tokio::headers::ERROR;
use io_tokio::http2::{Error, Reason, Receiving, Responder, Sending};
use io_tokio::request_id::RequestId;
use io_tokio::wire_v1::body::Raw;
use io_tokio::wire_v1::head::write_response;
use tokio::sync::oneshot;

/// Where the body of a request comes from.
#[derive(Debug)]
pub(crate) enum Upload {
    Channel(Lent),
    Stream(Receiving),
}

/// The answer to a request, and where it goes.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) way: Way,
    /// It is to a HEAD, and so a head that tells of a body, with none after it.
    pub(crate) is_bodiless: bool,
}

/// Where an answer goes.
#[derive(Debug)]
pub(crate) enum Way {
    Channel(Sending),
    Stream(Responder),
}

impl Answer {
    /// The answer to a request with this method.
    pub(crate) fn to(method: &Method, way: Way) -> Self {
        Self { way, is_bodiless: method == Method::HEAD }
    }

    /// Ready when the router wants no answer any more.
    pub(crate) fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        match &mut self.way {
            Way::Channel(up) => up.poll_broken(cx),
            Way::Stream(respond) => respond.poll_broken(cx),
        }
    }

    /// Sends an interim answer, for which a channel has no words.
    pub(crate) fn send_interim(&mut self, head: &Response<()>) -> Result<(), Error> {
        match &mut self.way {
            Way::Channel(_) => Ok(()),
            Way::Stream(respond) => respond.send_interim(head),
        }
    }

    /// Gives the request back, of which the app has seen nothing; on a channel it cannot be.
    pub(crate) fn refuse(self, id: &RequestId) {
        match self.way {
            Way::Channel(_) => {
                self.say(StatusCode::BAD_GATEWAY, "The app cannot be reached.\n", None, id);
            }
            Way::Stream(mut respond) => respond.send_reset(Reason::REFUSED_STREAM),
        }
    }

    /// Answers with words of our own, which whoever asked for a head does not get.
    pub(crate) fn say(
        self,
        status: StatusCode,
        text: &'static str,
        error: Option<&'static str>,
        id: &RequestId,
    ) {
        let mut head = Response::new(());
        *head.status_mut() = status;
        let headers = head.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(text.len()));
        if let Some(error) = error {
            headers.insert(ERROR, HeaderValue::from_static(error));
        }
        let text = if self.is_bodiless { "" } else { text };
        let sent = match self.way {
            Way::Channel(mut up) => {
                // A head of ours is short enough.
                let head = write_response(head.into_parts().0).unwrap_or_default();
                up.send_data([&head[..], text.as_bytes()].concat().into(), true)
            }
            Way::Stream(respond) if self.is_bodiless => {
                respond.send_response(&head, true).map(drop)
            }
            Way::Stream(respond) => respond
                .send_response(&head, false)
                .and_then(|mut stream| stream.send_data(Bytes::from_static(text.as_bytes()), true)),
        };
        if let Err(error) = sent {
            tracing::debug!(request_id = %id, %error, "nobody waits for the answer");
        }
    }
}

/// The body of a request on a channel. When nobody reads it any more, it goes back to the channel,
/// which reads it to its end: a reset could make a router of the original cut the answer.
#[derive(Debug)]
pub(crate) struct Lent {
    /// And the way back. Gone only when this is.
    body: Option<(Box<Raw>, oneshot::Sender<Raw>)>,
}

impl Lent {
    /// Lends `body`; what is left of it comes back.
    pub(crate) fn new(body: Raw) -> (Self, oneshot::Receiver<Raw>) {
        let (back, returned) = oneshot::channel();
        (Self { body: Some((Box::new(body), back)) }, returned)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some((body, back)) = self.body.take() {
            // If the channel has ended, so has the body.
            drop(back.send(*body));
        }
    }
}

impl Body for Lent {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match &mut self.body {
            Some((body, _)) => Pin::new(&mut **body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(|(body, _)| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, |(body, _)| body.size_hint())
    }
}
