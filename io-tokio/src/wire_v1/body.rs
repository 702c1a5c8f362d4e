//! What a channel carries in one direction: a head, then raw bytes until the stream ends.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use thiserror::Error;

use super::head::{BadHead, HeadBuffer};
use crate::http2::{self, Receiving};
use crate::stream_body::StreamBody;

/// Bytes that are there already, then those of a body, by default of a stream. Trailers, which this
/// wire has no words for, are dropped.
#[derive(Debug)]
pub struct Raw<B = StreamBody> {
    first: Bytes,
    body: B,
    /// What is left of a length that the head has named.
    left: Option<u64>,
}

impl Raw {
    /// `first`, then the data of `stream`.
    #[must_use]
    pub fn new(first: Bytes, stream: Receiving) -> Self {
        Self::before(first, StreamBody::new(stream, None))
    }
}

impl<B: Body<Data = Bytes> + Unpin> Raw<B> {
    /// `first`, then the data of `body`.
    pub const fn before(first: Bytes, body: B) -> Self {
        Self { first, body, left: None }
    }

    /// The same, which counts as ended once there were `length` bytes: the original ends a stream
    /// some time after its last byte.
    #[must_use]
    pub fn of_length(self, length: Option<u64>) -> Self {
        Self { left: length, ..self }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Raw<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = if self.first.is_empty() {
            let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
            frame.filter(|frame| !frame.as_ref().is_ok_and(Frame::is_trailers))
        } else {
            Some(Ok(Frame::data(std::mem::take(&mut self.first))))
        };
        if let (Some(left), Some(Ok(frame))) = (&mut self.left, &frame) {
            *left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len) as u64);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0) || self.first.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Why no head came.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NoHead {
    /// Something came, but no head.
    #[error(transparent)]
    Bad(#[from] BadHead),
    /// The stream broke.
    #[error("the channel broke: {0}")]
    Broken(#[from] http2::Error),
    /// The stream ended before a byte came.
    #[error("the channel ended without a word")]
    Ended,
}

/// Reads the head at the beginning of `stream`: gives it and what came with it. If dropped before
/// it is done, what has come is lost.
///
/// # Errors
///
/// See [`NoHead`].
pub async fn read_head(stream: &mut Receiving, bytes_max: usize) -> Result<(Bytes, Bytes), NoHead> {
    let mut buffer = HeadBuffer::new(bytes_max);
    while let Some(piece) = stream.data().await {
        let piece = piece?;
        if let Some(found) = buffer.take_in(piece)? {
            return Ok(found);
        }
    }
    Err(if buffer.is_empty() { NoHead::Ended } else { BadHead::Malformed.into() })
}
