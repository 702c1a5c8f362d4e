//! Async code without a runtime, where every byte is there already.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, ReadBuf};

/// What `future` gives without ever waiting.
///
/// # Panics
///
/// It waits, although there is nothing to wait for: a find.
pub(crate) fn at_once<F: Future>(future: F) -> F::Output {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("waits although every byte is there"),
    }
}

/// Bytes that arrive some at a time.
#[derive(Debug)]
pub(crate) struct Pieces<'a> {
    pub(crate) rest: &'a [u8],
    /// The most that one read gives.
    pub(crate) size: usize,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let length = self.size.min(buffer.remaining()).min(self.rest.len());
        let (piece, rest) = self.rest.split_at(length);
        buffer.put_slice(piece);
        self.rest = rest;
        Poll::Ready(Ok(()))
    }
}
