//! Message bodies between an HTTP/2 stream and `http_body`, in both directions.
//!
//! [`StreamBody`] is what arrives on a stream, [`send_body`] writes a body to one. Both hold one
//! chunk at a time, so that memory is constant and a slow reader slows the writer down (HTTP/2's
//! windows carry the pressure from end to end). Nothing waits for a chunk to fill: what comes is
//! passed on. A body that was cut arrives as cut: a reset is an error and never an end, and a body
//! that fails resets the stream.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use crate::headers::passable_trailers;
use crate::http2::{By, Error, Reason, Receiving, Sending};

/// A body that arrives on an HTTP/2 stream.
#[derive(Debug)]
pub struct StreamBody {
    stream: Receiving,
    /// What is left of a declared length, in bytes.
    left: Option<u64>,
    /// Whether a body can come at all.
    is_bodiless: bool,
    data_ended: bool,
}

impl StreamBody {
    /// The body on `stream`, of `content_length` bytes if the head said so.
    ///
    /// The link itself resets a stream whose data does not add up to its content-length.
    #[must_use]
    pub fn new(stream: Receiving, content_length: Option<u64>) -> Self {
        let data_ended = stream.is_end_stream();
        let left = if data_ended { Some(0) } else { content_length };
        Self { stream, left, is_bodiless: false, data_ended }
    }

    /// The end of a message on `stream` that has no body, whatever its head says of a length.
    pub(crate) fn bodiless(stream: Receiving) -> Self {
        Self { is_bodiless: true, ..Self::new(stream, None) }
    }

    /// Whether no more data can come, though the end may be yet to come.
    pub(crate) fn is_complete(&self) -> bool {
        self.left == Some(0)
    }

    fn poll_trailers(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let trailers = ready!(self.stream.poll_trailers(cx));
        let frame = |trailers| Frame::trailers(passable_trailers(&trailers));
        Poll::Ready(trailers.transpose().map(|result| result.map(frame)))
    }
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        while !self.data_ended {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => self.data_ended = true,
            }
        }
        self.poll_trailers(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.is_bodiless || self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Why a body was not sent whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError<E> {
    /// The body itself failed; the stream was reset with `INTERNAL_ERROR`, so that the peer sees a
    /// cut.
    #[error("the body ended early: {0}")]
    Body(E),
    /// The connection or the stream is gone.
    #[error("the stream is gone: {0}")]
    Closed(Error),
    /// The peer reset the stream. `NO_ERROR` means that it needs no more of the body: its response
    /// is complete.
    #[error("the peer reset the stream with {0}")]
    Reset(Reason),
}

/// Writes `body` to `stream` until its end, and returns how many bytes of data that were.
///
/// Returns as soon as the peer resets the stream, even while the body is silent. If the returned
/// future is dropped before its end, the stream is reset with `CANCEL`.
///
/// # Errors
///
/// See [`SendError`].
pub async fn send_body<B>(body: B, stream: Sending) -> Result<u64, SendError<B::Error>>
where
    B: Body<Data = Bytes>,
{
    let mut body = pin!(body);
    let mut sender = Sender { stream, done: false };
    let mut sent = 0;
    loop {
        if body.is_end_stream() {
            sender.send(Bytes::new(), true)?;
            return Ok(sent);
        }
        let next = poll_fn(|cx| {
            if let Poll::Ready(error) = sender.poll_reset(cx) {
                return Poll::Ready(Err(error));
            }
            body.as_mut().poll_frame(cx).map(Ok)
        });
        let frame = match next.await? {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                sender.reset(Reason::INTERNAL_ERROR);
                return Err(SendError::Body(error));
            }
            None => {
                sender.send(Bytes::new(), true)?;
                return Ok(sent);
            }
        };
        match frame.into_data() {
            Ok(data) => {
                sent += data.len() as u64;
                // The end travels with the last data where the body knows it.
                let is_last = body.is_end_stream();
                sender.send_in_pieces(data, is_last).await?;
                if is_last {
                    return Ok(sent);
                }
            }
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    sender.send_trailers(&trailers)?;
                    return Ok(sent);
                }
            }
        }
    }
}

/// Resets its stream unless it was ended: whoever stops half-way has cut the body.
struct Sender {
    stream: Sending,
    done: bool,
}

impl Sender {
    /// Sends `data` as the peer's windows and our buffer allow; returns when all of it is queued.
    async fn send_in_pieces<E>(&mut self, mut data: Bytes, end: bool) -> Result<(), SendError<E>> {
        if data.is_empty() {
            return if end { self.send(data, true) } else { Ok(()) };
        }
        while !data.is_empty() {
            let room = poll_fn(|cx| self.poll_room(cx)).await?;
            let piece = data.split_to(room.min(data.len()));
            self.send(piece, end && data.is_empty())?;
        }
        Ok(())
    }

    /// How many bytes may be sent, at least 1.
    fn poll_room<E>(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, SendError<E>>> {
        let room = ready!(self.stream.poll_room(cx));
        Poll::Ready(room.map_err(|error| self.gone(error)))
    }

    fn poll_reset<E>(&mut self, cx: &mut Context<'_>) -> Poll<SendError<E>> {
        let error = ready!(self.stream.poll_broken(cx));
        Poll::Ready(self.gone(error))
    }

    fn send<E>(&mut self, data: Bytes, end: bool) -> Result<(), SendError<E>> {
        self.stream.send_data(data, end).map_err(|error| self.gone(error))?;
        self.done = end;
        Ok(())
    }

    fn send_trailers<E>(&mut self, trailers: &HeaderMap) -> Result<(), SendError<E>> {
        let trailers = passable_trailers(trailers);
        if trailers.is_empty() {
            return self.send(Bytes::new(), true);
        }
        self.stream.send_trailers(trailers).map_err(|error| self.gone(error))?;
        self.done = true;
        Ok(())
    }

    fn reset(&mut self, reason: Reason) {
        self.stream.send_reset(reason);
        self.done = true;
    }

    fn gone<E>(&mut self, error: Error) -> SendError<E> {
        self.done = true;
        if let Error::Reset { reason, by: By::Peer } = error {
            return SendError::Reset(reason);
        }
        SendError::Closed(error)
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if !self.done {
            self.stream.send_reset(Reason::CANCEL);
        }
    }
}
